"""Compaction as an overlay: making a block for a loop, and loading a chain of loops through its blocks.

Nothing is rewritten. A block is an entry of its own in the chain (:class:`CompactionBlockAdded`); the loop's messages
and turns stay where they are, and whoever wants the originals reads them from the :class:`LoopRecord`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from .blocks import CompactedSection, CompactionBlock, TurnRange
from .messages import AgentMessage, ExtensionMessage, Text, ToolResultMessage
from .model import LoopRecord, Session

TOOL_OUTPUT_CHARS_MAX: Final = 2000
"""How many characters of a tool's output a block keeps in recent turns, unless told otherwise."""


def make_block(
    loop: LoopRecord,
    *,
    first_turns: int,
    recent_turns: int,
    summary: Sequence[AgentMessage],
    created_at: datetime,
    tool_output_chars_max: int = TOOL_OUTPUT_CHARS_MAX,
) -> CompactionBlock:
    """Return a block over the loop as it is now: its first turns whole, its last ones shortened, ``summary`` between.

    Where nothing is left between, the summary still covers the whole loop, for the time when the loop is an older
    one: it then lies over the same turns as the others, which win. A loop without turns is all summary. Nothing is
    recorded here. Raises ``ValueError`` for counts below zero.
    """
    if first_turns < 0 or recent_turns < 0 or tool_output_chars_max < 0:
        raise ValueError("first_turns, recent_turns and tool_output_chars_max count from 0")
    turns = turn_messages(loop)
    indices = [index for index, _ in turns]
    first = indices[:first_turns]
    recent = turns[max(len(turns) - recent_turns, len(first)) :]
    between = indices[len(first) : len(indices) - len(recent)] or indices or [0]
    shortened = [shorten_tool_output(message, tool_output_chars_max) for _, turn in recent for message in turn]
    return CompactionBlock(
        keep_first=TurnRange(first[0], first[-1]) if first else None,
        keep_recent=CompactedSection(TurnRange(recent[0][0], recent[-1][0]), shortened) if recent else None,
        keep_compacted=CompactedSection(TurnRange(between[0], between[-1]), list(summary)),
        created_at=created_at,
    )


def load_context(session: Session, loop_id: str) -> list[AgentMessage]:
    """Return the messages with which ``loop_id`` goes on: those of its chain from the root, through the blocks.

    Of the loop itself: the first turns as they are, the summary in the place of the middle ones, the recent ones with
    shortened tool output; turns that no section covers (those after the block was made) as they are. Of older loops:
    the summary only. A loop without a block comes whole. Extension messages never reach a model and are left out.
    Empty for an unknown loop.
    """
    context: list[AgentMessage] = []
    chain = session.loop_chain_to(loop_id)
    for member_id in chain:
        loop = session.get_loop(member_id)
        if loop is None:
            continue
        if loop.compaction_block is None:
            context += whole_messages(loop)
        elif member_id == chain[-1]:
            context += _through(loop, loop.compaction_block)
        elif loop.compaction_block.keep_compacted is not None:
            context += loop.compaction_block.keep_compacted.messages
    return [message for message in context if not isinstance(message, ExtensionMessage)]


def whole_messages(loop: LoopRecord) -> list[AgentMessage]:
    """Return the loop's own messages: as its end told them, or else those of the turns that ended."""
    return list(loop.messages) or [message for turn in loop.turns for message in turn.all_messages]


def turn_messages(loop: LoopRecord) -> list[tuple[int, list[AgentMessage]]]:
    """Return the loop's messages by turn, with the turns' 0-based indices, ascending.

    By the turn ids of the messages where they have any (a message without one belongs to the turn before it); else by
    the turns that ended; else each message counts as a turn of its own.
    """
    by_turn: dict[int, list[AgentMessage]] = {}
    ids = [None if isinstance(message, ExtensionMessage) else message.turn_id for message in loop.messages]
    if any(turn_id is not None for turn_id in ids):
        index = next(turn_id.turn_index for turn_id in ids if turn_id is not None)
        for message, turn_id in zip(loop.messages, ids, strict=True):
            index = index if turn_id is None else turn_id.turn_index
            by_turn.setdefault(index, []).append(message)
    elif loop.turns:
        for turn in loop.turns:
            by_turn.setdefault(turn.index, []).extend(turn.all_messages)
    else:
        by_turn = {index: [message] for index, message in enumerate(loop.messages)}
    return sorted(by_turn.items())


def shorten_tool_output(message: AgentMessage, chars_max: int) -> AgentMessage:
    """Return a tool's result with its texts cut to ``chars_max`` characters together; what was left out is noted."""
    if not isinstance(message, ToolResultMessage):
        return message
    left = chars_max
    content = []
    for part in message.content:
        if isinstance(part, Text) and len(part.text) > left:
            part = Text(f"{part.text[:left]}… [{len(part.text) - left} characters left out]")
            left = 0
        elif isinstance(part, Text):
            left -= len(part.text)
        content.append(part)
    return msgspec.structs.replace(message, content=content)


def _through(loop: LoopRecord, block: CompactionBlock) -> list[AgentMessage]:
    """Load the newest loop; where sections overlap, the first turns win, then the recent ones.

    A section with all of its turns won by others is not loaded; one whose turns are not there is, in its place.
    """
    turns = turn_messages(loop)
    left = [section for section in (block.keep_compacted, block.keep_recent) if section is not None]
    pieces = [
        (section.range.start_turn, section.messages)
        for section in left
        if not any(index in section.range for index, _ in turns)
    ]
    for index, messages in turns:
        first = block.keep_first is not None and index in block.keep_first
        covering = next((s for s in (block.keep_recent, block.keep_compacted) if _covers(s, index)), None)
        if first or covering is None:
            pieces.append((index, messages))
        elif covering in left:
            left.remove(covering)
            pieces.append((index, covering.messages))
    return [message for _, piece in sorted(pieces, key=lambda piece: piece[0]) for message in piece]


def _covers(section: CompactedSection | None, turn_index: int) -> bool:
    return section is not None and turn_index in section.range


__all__ = [
    "TOOL_OUTPUT_CHARS_MAX",
    "load_context",
    "make_block",
    "shorten_tool_output",
    "turn_messages",
    "whole_messages",
]
