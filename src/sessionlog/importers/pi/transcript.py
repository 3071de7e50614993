"""One pi session file: who it is, the tree of its lines, what was kept at a compaction, what requests cost.

A line whose parent is not there (a bad line took its place) goes on behind the line before it; so does every line of
version 1, which names no parents.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...entries import LogEntry, RequestConfig
from ...ids import SessionId
from ...items import Item
from ..layout import START, Layout
from ..lines import Found
from ..plan import Plan, session_name
from ..protocol import NOT_UNDERSTOOD, Header, Kept
from ..told import Told
from ..usage import Due, token_count
from ..values import LastParsed
from .convert import DOMAIN, TURN_ENDS, is_understood, line_entries, summary_message
from .shapes import Line, Usage, is_header, is_line, line_ms, parse_line
from .told import AGENT_ID, told_by


class Pi:
    """The format of pi's sessions."""

    name = "pi"
    domain = DOMAIN
    line_keys: frozenset[str] = frozenset(("type", "timestamp"))

    def recognises(self, value: dict[str, Any]) -> bool:
        """Tell whether this is a line of a session, of any version."""
        return is_line(value)

    def transcript(self, path: Path) -> "PiTranscript":
        """Return the reader of one file."""
        return PiTranscript(path)


class PiTranscript:
    """One file."""

    def __init__(self, path: Path) -> None:
        """Read the file at ``path``, whose name counts where its header is lost."""
        self._line = LastParsed(parse_line)
        self._path = path
        self._layout = Layout()
        self._header: Line | None = None
        self._started_ms: int | None = None
        self._by_id: dict[str, tuple[int, int, int]] = {}
        """For each line with an id: its ordinal, its line, its fingerprint."""
        self._turn_counts = array("L")
        """For each object, the turns that are over behind it."""
        self._dues: list[tuple[int, Due]] = []

    def add(self, found: Found, *, fits: bool) -> str | Kept | None:  # noqa: ARG002 - what does not fit keeps its place
        """Take the next line in."""
        line = self._line(found)
        ts = line_ms(line)
        if self._started_ms is None:
            self._started_ms = ts
        if found.ordinal == 0 and is_header(found.value):
            self._header = line
            self._place(line, found, ts, after=START)
            return None
        first = None if line.id is None else self._by_id.get(line.id)
        if first is not None:
            self._layout.aside()
            self._turn_counts.append(self._turn_counts[self._layout.last])
            return f"duplicate: {line.id} stands on line {first[1]} already" if first[2] == hash(found.raw) else None
        self._place(line, found, ts, after=self._parent(line, found.value))
        if line.id is not None:
            self._by_id[line.id] = (found.ordinal, found.line, hash(found.raw))
        self._take_usage(line, found.ordinal, ts)
        return None if is_understood(line) else NOT_UNDERSTOOD

    async def header(self) -> Header | None:
        """Return which session this is: as its first line says, else the file's name."""
        if not len(self._layout):
            return None
        header = self._header
        name = self._path.stem.rpartition("_")[2] if header is None or header.id is None else header.id
        parent = None if header is None or header.parent_session is None else Path(header.parent_session).stem
        return Header(
            session_id=session_name(name or self._path.stem),
            parent=None if parent is None else session_name(parent.rpartition("_")[2] or parent),
            cwd=None if header is None else header.cwd,
            version=None if header is None or header.version is None else str(header.version),
            started_ms=self._started_ms or 0,
        )

    def plan(self, base: SessionId, settled: Mapping[int, SessionId], taken: Iterable[SessionId]) -> Plan:
        """Place every line."""
        return self._layout.plan(base, settled, taken)

    def usage(self, plan: Plan, *, growing: bool | None) -> Mapping[SessionId, list[Due]]:  # noqa: ARG002 - it is final
        """Return what each request cost."""
        due: dict[SessionId, list[Due]] = {}
        for ordinal, one in self._dues:
            due.setdefault(plan.session_of[ordinal].session_id, []).append(one)
        return due

    def time(self, found: Found) -> int | None:
        """Return the line's time."""
        return line_ms(self._line(found))

    def entries(self, found: Found, *, ts: int, config: RequestConfig, begins: bool = False) -> list[LogEntry]:
        """Return what the line says."""
        known = found.ordinal < len(self._turn_counts)
        turn_count = self._turn_counts[found.ordinal] if known else 0
        line = self._line(found)
        return line_entries(line, found.value, ts=ts, config=config, turn_count=turn_count, begins=begins)

    @property
    def agent_id(self) -> str:
        """Who acts: the tool itself."""
        return AGENT_ID

    def told(self, found: Found, *, ts: int) -> Told | None:
        """Return what the line tells of the loops."""
        cwd = None if self._header is None else self._header.cwd
        metadata = None if cwd is None else {"cwd": cwd}
        return told_by(self._line(found), found.value, ordinal=found.ordinal, ts=ts, metadata=metadata)

    def summary(self, found: Found) -> Sequence[Item]:
        """Return the summary that stands for what a compaction left out."""
        line = self._line(found)
        message = summary_message(line) if line.type == "compaction" else None
        return [] if message is None else [message]

    def _parent(self, line: Line, value: dict[str, Any]) -> int:
        """Return the object that the line goes on behind."""
        if line.parent_id is not None and line.parent_id in self._by_id:
            return self._by_id[line.parent_id][0]
        if line.id is not None and "parentId" in value and value["parentId"] is None:
            return START if self._header is None else 0
        return self._layout.last

    def _place(self, line: Line, found: Found, ts: int | None, *, after: int) -> None:
        name = line.id or str(found.line)
        if line.type == "compaction" and after != START:
            self._layout.compact(name, ts=ts, after=after, kept_from=self._kept_from(line, after))
        else:
            self._layout.follow(name, ts=ts, after=after)
        said = None if line.type != "message" else line.message
        ends = said is not None and said.role == "assistant" and said.stop_reason in TURN_ENDS
        before = 0 if after == START else self._turn_counts[after]
        self._turn_counts.append(before + ends)

    def _kept_from(self, line: Line, after: int) -> int | None:
        """Return the object from which on messages were kept, if it stands on the way to the compaction."""
        kept = line.first_kept_entry_index
        if line.first_kept_entry_id is not None:
            kept = self._by_id.get(line.first_kept_entry_id, (None, 0, 0))[0]
        if kept is None or not 0 <= kept <= after:
            return None
        return kept if self._layout.leads_to(kept, after) else None

    def _take_usage(self, line: Line, ordinal: int, ts: int | None) -> None:
        said = None if line.type != "message" else line.message
        if said is None or said.role != "assistant" or said.usage is None:
            return
        tokens = _tokens(said.usage)
        if any(tokens):
            self._dues.append((ordinal, Due(ordinal + 0.5, line.id or f"line {ordinal}", tokens, ordinal, ts)))


def _tokens(usage: Usage) -> tuple[int, int, int, int]:
    read, written = token_count(usage.cache_read), token_count(usage.cache_write)
    return token_count(usage.input) + read + written, read, written, token_count(usage.output)
