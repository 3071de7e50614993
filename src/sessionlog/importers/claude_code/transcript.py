"""One Claude Code transcript, as the engine asks for it: the other modules of this package, put together."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ...entries import LogEntry, RequestConfig
from ...ids import SessionId
from ...items import Item
from ..lines import Found
from ..plan import Plan as AnyPlan
from ..plan import derived_id
from ..protocol import Header, Kept
from ..told import Told
from ..usage import Due
from ..values import LastParsed
from .convert import DOMAIN, line_entries, summary_message
from .index import Index
from .lines import LINE_KEYS
from .shapes import line_ms, parse_line
from .source import agent_meta, transcript_id
from .told import AGENT_ID, told_by
from .tree import Plan, plan
from .usage import usage_due

_TREE_MEMBERS = frozenset(("type", "uuid", "sessionId", "isSidechain"))
_MEMBERS_OUTSIDE: Final[dict[str, frozenset[str]]] = {
    "file-history-snapshot": frozenset(("messageId", "snapshot")),
    "queue-operation": frozenset(("operation", "sessionId")),
    "summary": frozenset(("summary", "leafUuid")),
    **dict.fromkeys(
        (
            *("agent-color", "agent-name", "agent-setting", "ai-title", "content-replacement", "custom-title"),
            *("last-prompt", "mode", "permission-mode", "pr-link", "tag", "worktree-state"),
        ),
        frozenset(("sessionId",)),
    ),
}
"""Lines outside the tree, by type: the members that each has."""


class ClaudeCode:
    """The format of Claude Code's transcripts."""

    name = "claude-code"
    domain = DOMAIN
    line_keys = LINE_KEYS

    def recognises(self, value: dict[str, Any]) -> bool:
        """Tell whether this is a line of the conversation, or one of those that stand outside it."""
        if value.keys() >= _TREE_MEMBERS:
            return isinstance(value["isSidechain"], bool)
        kind = value.get("type")
        return isinstance(kind, str) and kind in _MEMBERS_OUTSIDE and value.keys() >= _MEMBERS_OUTSIDE[kind]

    def transcript(self, path: Path) -> "ClaudeCodeTranscript":
        """Return the reader of one file."""
        return ClaudeCodeTranscript(path)


class ClaudeCodeTranscript:
    """One file."""

    def __init__(self, path: Path) -> None:
        """Read the file at ``path``; a sub-agent's may have a description beside it."""
        self._line = LastParsed(parse_line)
        self._path = path
        self._index = Index()
        self._agents_base = ""
        self._agent_file = False

    def add(self, found: Found, *, fits: bool) -> str | Kept | None:
        """Take the next line in."""
        return self._index.add(found, fits=fits)

    async def header(self) -> Header | None:
        """Return whose conversation this is, as its first message says; ``None`` before that."""
        first = self._index.first
        if first is None:
            return None
        self._agent_file = bool(first.is_sidechain and first.agent_id)
        conversation = transcript_id(self._path, first, agent_file=self._agent_file)
        self._agents_base = conversation
        started = next((node.ts for node in self._index.nodes if node.ts is not None), 0)
        header = Header(session_id=conversation, cwd=first.cwd, version=first.version, started_ms=started)
        if not self._agent_file:
            return header
        return Header(
            session_id=derived_id(conversation, "agent", first.agent_id or ""),
            role="agent",
            parent=conversation,
            cwd=first.cwd,
            version=first.version,
            agent=await agent_meta(self._path),
            started_ms=started,
        )

    def plan(self, base: SessionId, settled: Mapping[int, SessionId], taken: Iterable[SessionId]) -> Plan:
        """Lay the tree out."""
        return plan(self._index, base, settled, agent_file=self._agent_file, agents_base=self._agents_base, taken=taken)

    def usage(self, plan: AnyPlan, *, growing: bool | None) -> Mapping[SessionId, list[Due]]:
        """Return the usage of each API message."""
        assert isinstance(plan, Plan)  # noqa: S101 - it is the one that was made above
        return usage_due(plan, file_is_growing=bool(growing))

    def time(self, found: Found) -> int | None:
        """Return the line's time."""
        return line_ms(self._line(found))

    def entries(self, found: Found, *, ts: int, config: RequestConfig, begins: bool = False) -> list[LogEntry]:
        """Return what the line says."""
        return [] if begins else line_entries(self._line(found), found.value, ts=ts, config=config)

    @property
    def agent_id(self) -> str:
        """Who acts: the tool itself, or the sub-agent whose file it is."""
        first = self._index.first
        return first.agent_id or AGENT_ID if first is not None and self._agent_file else AGENT_ID

    def told(self, found: Found, *, ts: int) -> Told | None:
        """Return what the line tells of the loops."""
        return told_by(self._line(found), found.value, ts=ts)

    def summary(self, found: Found) -> Sequence[Item]:
        """Return the message with which a compacted conversation goes on."""
        line = self._line(found)
        message = summary_message(line) if line.is_compact_summary else None
        return [] if message is None else [message]
