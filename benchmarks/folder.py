"""A folder of transcripts of all formats: the real ones beside this checkout, again and again as new sessions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .transcript import real_transcript, write_transcript

_IDS: Final = (
    re.compile(rb'"sessionId":\s*"([^"]{8,})"'),
    re.compile(rb'"type":\s*"session(?:_meta)?".*?"id":\s*"([^"]{8,})"'),
)
"""Where a Claude Code line names its session, and where the first line of a rollout or a pi session does."""
_HEAD_BYTES: Final = 20_000


async def write_folder(folder: Path, size: int) -> tuple[Path, int]:
    """Write transcripts of ``size`` bytes or a little more below one folder, once; return it and its size."""
    root = folder / f"transcripts-{size}"
    if not root.exists():
        real = real_transcript()
        if real is None:
            (await write_transcript(folder, size))[0].parent.rename(root)
        else:
            _write_copies(root, real.parent.parent.parent, size)
    return root, sum(path.stat().st_size for path in root.rglob("*.jsonl"))


def _write_copies(root: Path, real: Path, size: int) -> None:
    written = 0
    for path, number in _again_and_again(sorted(real.rglob("*.jsonl"))):
        data = path.read_bytes()
        own = next((match[1] for match in (one.search(data[:_HEAD_BYTES]) for one in _IDS) if match), b"")
        if own:
            data = data.replace(own, own[:-6] + b"%06x" % number)
        copy = root / f"{number:06x}" / path.relative_to(real)
        copy.parent.mkdir(parents=True, exist_ok=True)
        written += copy.write_bytes(data)
        if written >= size:
            return


def _again_and_again(paths: list[Path]) -> Iterator[tuple[Path, int]]:
    number = 0
    while True:
        yield from ((path, number) for path in paths)
        number += 1
