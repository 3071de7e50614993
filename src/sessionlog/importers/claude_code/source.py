"""The name of a Claude Code conversation, and what lies beside a sub-agent's file."""

import re
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from ...entries import Extension, encode_entry
from ...errors import InvalidEntry
from ...ids import SessionId
from ..plan import session_name
from .shapes import Line

AGENT_META_BYTES_MAX: Final = 64 * 1024

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def transcript_id(path: Path, first: Line, *, agent_file: bool) -> SessionId:
    """Return the id of the conversation: the file's name where that is a UUID, else what its first message says.

    A resumed conversation may start with lines of the one it continues, which name that one; the file's name is right
    then. A sub-agent's file names the conversation that spawned it.
    """
    if _UUID.fullmatch(path.stem) and not agent_file:
        return SessionId(path.stem)
    return session_name(first.session_id or path.stem)


async def agent_meta(path: Path) -> Any:
    """Return what the ``.meta.json`` beside a sub-agent's file says; ``None`` without one that can be kept."""
    meta = anyio.Path(path.with_suffix(".meta.json"))
    try:
        if not await meta.is_file() or (await meta.stat()).st_size > AGENT_META_BYTES_MAX:
            return None
        value = msgspec.json.decode(await meta.read_bytes())
        encode_entry(Extension(ts=0, domain="import", payload={"agent": {"meta": value}}))
    except (OSError, ValueError, InvalidEntry, RecursionError):
        return None
    return value
