"""The first pass over a transcript: what stands where, without keeping what it says.

A :class:`Node` is a line of the conversation tree (it has a ``uuid``) in some hundred bytes; of every other line only
its ordinal is kept.
"""

from dataclasses import dataclass, field

import msgspec

from ..lines import Found
from ..protocol import NOT_UNDERSTOOD, Kept
from ..usage import token_count
from .convert import is_understood
from .shapes import Block, Line, Usage, blocks_of, line_ms, parse_line, spawned_agent


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
    first: Line | None = None
    """The first line of the tree."""

    def add(self, piece: Found, *, fits: bool) -> str | Kept | None:
        """Take the next object of the file in; return why it is not to be imported, or to be listed."""
        line = parse_line(piece.value)
        if line.uuid is None:
            self._add_other(piece, fits=fits)
        elif line.uuid in self.by_uuid:
            return self._add_again(piece, line, self.by_uuid[line.uuid], fits=fits)
        else:
            self._add_node(piece, line)
        return None if is_understood(line) else NOT_UNDERSTOOD

    def _add_node(self, piece: Found, line: Line) -> None:
        node = _node(piece, line)
        if self.first is None:
            self.first = line
        self.nodes.append(node)
        self.by_uuid[node.uuid] = node

    def _add_other(self, piece: Found, *, fits: bool) -> None:
        if fits:
            self.others.append(piece.ordinal)

    def _add_again(self, piece: Found, line: Line, first: Node, *, fits: bool) -> str | None:
        """A uuid that is there already: the same message is listed; another content is kept, outside the tree."""
        if _fingerprint(line, piece) == first.text:
            return f"duplicate: message {line.uuid} stands on line {first.line} already"
        self._add_other(piece, fits=fits)
        return None


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
        ends_turn=ends_turn(line),
        prompts=_is(line, "user") and any(b.type != "tool_result" for b in blocks),
        message_id=message_id_of(line),
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


def ends_turn(line: Line) -> bool:
    """Tell whether the tool notes that the model has had its turn."""
    return _is(line, "system") and line.subtype in ("turn_duration", "stop_hook_summary")


def message_id_of(line: Line) -> str | None:
    """Return the id of the API message that the line is a part of; the request's or the line's where it has none."""
    if line.type != "assistant" or line.message is None:
        return None
    return line.message.id or line.request_id or line.uuid


def _usage(line: Line) -> tuple[int, int, int, int] | None:
    usage = line.message.usage if line.type == "assistant" and line.message is not None else None
    return None if usage is None else usage_tokens(usage)


def usage_tokens(usage: Usage) -> tuple[int, int, int, int]:
    """Return tokens as ``llm_usage`` counts them: the whole input, of it read from and written to cache, the output."""
    read, written = token_count(usage.cache_read_input_tokens), token_count(usage.cache_creation_input_tokens)
    return token_count(usage.input_tokens) + read + written, read, written, token_count(usage.output_tokens)


def _fingerprint(line: Line, piece: Found) -> int:
    """Tell messages apart by what they say; lines without a message by all of their bytes."""
    blocks = blocks_of(line)
    if not blocks:
        return hash(piece.raw)
    if len(blocks) == 1 and blocks[0].type == "text":
        return text_fingerprint(line)
    return hash(msgspec.json.encode(blocks))
