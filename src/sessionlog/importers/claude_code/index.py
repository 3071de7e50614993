"""The first pass over a transcript: what stands where, without keeping what it says.

A :class:`Node` is a line of the conversation tree (it has a ``uuid``) in some hundred bytes; of every other line only
its ordinal is kept. The index also lists what cannot be imported, and why: torn lines, messages that are in the file
twice, values that no log entry can hold (integers past 64 bits, nesting deeper than 64, lines longer than the store
takes).
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ...entries import Extension, RequestConfig, encode_entry
from ...errors import InvalidEntry
from .convert import DOMAIN, line_entries
from .lines import Bad, Found, Piece, Tail
from .shapes import Block, Line, Usage, blocks_of, line_ms, parse_line, spawned_agent

RECORD_OVERHEAD_BYTES: Final = 512
"""Room for a record's envelope and an entry's own members around what a line says."""

TOKENS_END: Final = 2**53
"""No count of tokens reaches this; what does is no count."""

_SUSPICIOUS_INTEGER: Final = re.compile(rb"[0-9]{19}")
_SUSPICIOUS_BRACKETS: Final = 50


class NotUnderstood(msgspec.Struct, frozen=True):
    """A piece of the source that was not imported: its line, from 1, and the reason."""

    line: int
    reason: str


@dataclass(slots=True)
class Node:
    """A line of the conversation tree: where it stands, and what of it decides to which session it belongs."""

    ordinal: int
    line: int
    type: str
    uuid: str
    parent_uuid: str | None
    logical_uuid: str | None
    group: str | None
    """The sub-agent that a sidechain line names, ``""`` if it names none; ``None`` off the side chains."""
    boundary: bool = False
    meta: bool = False
    summary: bool = False
    ends_turn: bool = False
    prompts: bool = False
    """The user says something here: text or images, not only tool results."""
    message_id: str | None = None
    calls: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    usage: tuple[int, int, int, int] | None = None
    """Tokens: input in total, read from cache, written to cache, output."""
    ts: int | None = None
    spawn: tuple[str, str | None] | None = None
    """The sub-agent that the line tells of, and the tool call that it answers."""
    call_texts: tuple[tuple[str, int], ...] = ()
    """For each call with a prompt: its id and the prompt's fingerprint."""
    text: int = 0
    """The fingerprint of what the line says."""

    @property
    def speaks(self) -> bool:
        """True for a message of the user or the assistant; not for progress, hooks, notes of the tool."""
        return self.type in ("user", "assistant")


@dataclass
class Index:
    """What the first pass learned about a file."""

    nodes: list[Node] = field(default_factory=list)
    by_uuid: dict[str, Node] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    """Ordinals of the lines outside the tree that are kept."""
    left_out: set[int] = field(default_factory=set)
    """Ordinals of the objects that are listed, not imported; their nodes stay in the tree."""
    not_understood: list[NotUnderstood] = field(default_factory=list)
    waiting: list[NotUnderstood] = field(default_factory=list)
    unfinished: bool = False
    """The file ends in the middle of a line."""
    object_count: int = 0
    consumed_bytes: int = 0
    first: Line | None = None
    """The first line of the tree."""
    other_lines: dict[int, int] = field(default_factory=dict)
    """For each ordinal in ``others``, its line."""

    def add(self, piece: Piece, *, line_bytes_max: int) -> None:
        """Take the next piece of the file in."""
        if isinstance(piece, Tail):
            self.unfinished = True
            self.waiting.append(NotUnderstood(piece.line, f"an unfinished line of {piece.size} bytes: it waits"))
            return
        self.consumed_bytes = piece.end
        if isinstance(piece, Bad):
            self.not_understood.append(NotUnderstood(piece.line, piece.reason))
            return
        self.object_count += 1
        line = parse_line(piece.value)
        reason = _refusal(piece, line, line_bytes_max=line_bytes_max)
        if reason is not None:
            self.left_out.add(piece.ordinal)
            self.not_understood.append(NotUnderstood(piece.line, reason))
        if line.uuid is None:
            self._add_other(piece)
        elif line.uuid in self.by_uuid:
            self._add_again(piece, line, self.by_uuid[line.uuid])
        else:
            self._add_node(piece, line)

    def _add_node(self, piece: Found, line: Line) -> None:
        node = _node(piece, line)
        if self.first is None:
            self.first = line
        self.nodes.append(node)
        self.by_uuid[node.uuid] = node

    def _add_other(self, piece: Found) -> None:
        if piece.ordinal not in self.left_out:
            self.others.append(piece.ordinal)
            self.other_lines[piece.ordinal] = piece.line

    def _add_again(self, piece: Found, line: Line, first: Node) -> None:
        """A uuid that is there already: the same message is listed; another content is kept, outside the tree."""
        if _fingerprint(line, piece) != first.text:
            self._add_other(piece)
        elif piece.ordinal not in self.left_out:
            self.left_out.add(piece.ordinal)
            reason = f"duplicate: message {line.uuid} stands on line {first.line} already"
            self.not_understood.append(NotUnderstood(piece.line, reason))


def _node(piece: Found, line: Line) -> Node:
    assert line.uuid is not None  # noqa: S101 - the only caller has looked
    blocks = blocks_of(line)
    answers = (
        tuple(b.tool_use_id for b in blocks if b.type == "tool_result" and b.tool_use_id) if _is(line, "user") else ()
    )
    agent = spawned_agent(line)
    return Node(
        ordinal=piece.ordinal,
        line=piece.line,
        type=line.type,
        uuid=line.uuid,
        parent_uuid=line.parent_uuid,
        logical_uuid=line.logical_parent_uuid,
        group=(line.agent_id or "") if line.is_sidechain else None,
        boundary=_is(line, "system") and line.subtype == "compact_boundary",
        meta=bool(line.is_meta),
        summary=bool(line.is_compact_summary),
        ends_turn=_is(line, "system") and line.subtype in ("turn_duration", "stop_hook_summary"),
        prompts=_is(line, "user") and any(b.type != "tool_result" for b in blocks),
        message_id=_message_id(line),
        calls=tuple(b.id for b in blocks if b.type == "tool_use" and b.id) if _is(line, "assistant") else (),
        answers=answers,
        usage=_usage(line),
        ts=line_ms(line),
        spawn=None if agent is None else (agent, line.parent_tool_use_id or (answers[0] if answers else None)),
        call_texts=tuple((b.id, hash(prompt)) for b in blocks if b.id and (prompt := _prompt(b)) is not None),
        text=_fingerprint(line, piece),
    )


def text_fingerprint(line: Line) -> int:
    """Return the fingerprint of a message's plain text."""
    return hash("".join(b.text for b in blocks_of(line) if b.text is not None))


def _is(line: Line, kind: str) -> bool:
    return line.type == kind


def _prompt(block: Block) -> str | None:
    prompt = block.input.get("prompt") if block.type == "tool_use" and isinstance(block.input, dict) else None
    return prompt if isinstance(prompt, str) else None


def _message_id(line: Line) -> str | None:
    if line.type != "assistant" or line.message is None:
        return None
    return line.message.id or line.request_id or line.uuid


def _usage(line: Line) -> tuple[int, int, int, int] | None:
    usage = line.message.usage if line.type == "assistant" and line.message is not None else None
    return None if usage is None else usage_tokens(usage)


def usage_tokens(usage: Usage) -> tuple[int, int, int, int]:
    """Return tokens as ``llm_usage`` counts them: the whole input, of it read from and written to cache, the output."""
    read, written = _tokens(usage.cache_read_input_tokens), _tokens(usage.cache_creation_input_tokens)
    return _tokens(usage.input_tokens) + read + written, read, written, _tokens(usage.output_tokens)


def _tokens(count: int | None) -> int:
    return count if count is not None and 0 <= count < TOKENS_END else 0


def _fingerprint(line: Line, piece: Found) -> int:
    """Tell messages apart by what they say; lines without a message by all of their bytes."""
    blocks = blocks_of(line)
    if not blocks:
        return hash(piece.raw)
    if len(blocks) == 1 and blocks[0].type == "text":
        return text_fingerprint(line)
    return hash(msgspec.json.encode(blocks))


def _refusal(piece: Found, line: Line, *, line_bytes_max: int) -> str | None:
    """Say why no entry can hold the line; the costly check is made only where a cheap look gives cause."""
    raw = piece.raw
    cheap = (
        len(raw) * 3 + RECORD_OVERHEAD_BYTES < line_bytes_max
        and raw.count(b"{") + raw.count(b"[") < _SUSPICIOUS_BRACKETS
        and _SUSPICIOUS_INTEGER.search(raw) is None
    )
    return None if cheap else _full_refusal(piece.value, line, line_bytes_max=line_bytes_max)


def _full_refusal(value: dict[str, Any], line: Line, *, line_bytes_max: int) -> str | None:
    try:
        entries = line_entries(line, value, ts=0, config=RequestConfig())
        if line.is_compact_summary or not entries:
            entries = [*entries, Extension(ts=0, domain=DOMAIN, payload=None)]
        sizes = [len(encode_entry(entry)) for entry in entries]
    except (InvalidEntry, ValueError, OverflowError) as error:
        return str(error)
    if max(sizes) + RECORD_OVERHEAD_BYTES > line_bytes_max:
        return f"its record would be longer than the {line_bytes_max} bytes that the store takes"
    return None
