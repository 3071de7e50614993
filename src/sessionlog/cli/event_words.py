"""What an agent event says, in words: "tool Bash started: ls -la", "turn 3 of main.0 ended, 1,234 tokens in, 56 out".

A loop is named without its session, which the reader knows. What an event of an unknown type holds stands as JSON.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .arguments import arguments_line
from .text import counted, one_line

if TYPE_CHECKING:
    from .. import loops
    from ..loops import AgentEvent, AgentMessage, Content, ContinuationKind, Usage

_TEXT_CHARS_MAX = 400


def describe_event(data: Any) -> str:
    """Return on one line what the JSON of an event says. Nothing is escaped here."""
    from ..loops import decode_event  # noqa: PLC0415 - only logs with events need the tree's vocabulary

    return one_line(_words(decode_event(data), data), chars_max=_TEXT_CHARS_MAX)


def _words(event: "AgentEvent", data: Any) -> str:
    from .. import loops  # noqa: PLC0415

    match event:
        case loops.AgentStart() | loops.AgentEnd():
            return _loop_words(event)
        case loops.TurnStart() | loops.TurnRequest() | loops.TurnEnd():
            return _turn_words(event)
        case loops.MessageStart(message=message):
            return f"{_speaker(message)} begins a message"
        case loops.MessageUpdate(message=message, delta=delta):
            return f"{_speaker(message)} goes on: {delta.delta}"
        case loops.MessageEnd(message=message):
            return f"{_speaker(message)}: {_message_text(message)}"
        case loops.ToolExecutionStart():
            return _joined(f"tool {event.tool_name} started", arguments_line(event.args))
        case loops.ToolExecutionUpdate():
            return _joined(f"tool {event.tool_name} goes on", _content_text(event.partial_result.content))
        case loops.ToolExecutionEnd():
            child = f", ran {_loop(event.child)}" if event.child else ""
            ended = f"tool {event.tool_name} {'failed' if event.is_error else 'ended'}{child}"
            return _joined(ended, _content_text(event.result.content))
        case loops.ProgressMessage():
            return _joined(f"tool {event.tool_name}", event.text)
        case loops.UnknownEvent():
            return _json(data)
        case _:
            return _rare_words(event, data)


def _loop_words(event: "loops.AgentStart | loops.AgentEnd") -> str:
    from .. import loops  # noqa: PLC0415

    if isinstance(event, loops.AgentEnd):
        ended = f"loop {_loop(event.loop_id)} ended{_tokens(event.usage)}"
        return ended if event.rejection is None else f"{ended}, input rejected: {event.rejection}"
    came = _came(event.continuation_kind)
    parent = f", {came or 'run by'} {_loop(event.parent_loop_id)}" if event.parent_loop_id else ""
    model = f", model {event.config_snapshot.model}" if event.config_snapshot else ""
    return f"loop {_loop(event.loop_id)} of agent {event.agent_id} started{parent}{model}"


def _turn_words(event: "loops.TurnStart | loops.TurnRequest | loops.TurnEnd") -> str:
    from .. import loops  # noqa: PLC0415

    loop = _loop(event.loop_id)
    match event:
        case loops.TurnStart(turn_index=index, triggered_by=trigger):
            return f"turn {index} of {loop} started" + ("" if trigger == "user" else f" ({trigger})")
        case loops.TurnRequest(turn_index=index):
            return f"turn {index} of {loop} asks the model"
        case loops.TurnEnd(message=message):
            turn_id = getattr(message, "turn_id", None)
            name = f"turn {turn_id.turn_index} of {loop}" if turn_id is not None else f"turn of {loop}"
            return _joined(f"{name} ended{_tokens(event.usage)}", _message_text(message))


def _rare_words(event: "AgentEvent", data: Any) -> str:
    from .. import loops  # noqa: PLC0415

    match event:
        case loops.InputRejected(reason=reason):
            return _joined("input rejected", reason)
        case loops.ParallelLoopStart(loop_ids=loop_ids):
            return f"{counted(len(loop_ids), 'parallel loop')} started: {', '.join(map(_loop, loop_ids))}"
        case loops.ParallelLoopEnd():
            return f"parallel loop {_loop(event.selected_loop_id)} selected{_tokens(event.evaluation_usage)}"
        case loops.CompactionStarted():
            return f"compaction started at {event.estimated_tokens:,} tokens"
        case loops.CompactionEnded():
            before, after = event.estimated_tokens_before, event.estimated_tokens_after
            return f"compaction ended, {before:,} tokens before, {after:,} after"
        case loops.PrunApplied():
            return _joined(
                f"{counted(event.messages_removed, 'message')} pruned, {event.tokens_removed:,} tokens", event.memo
            )
        case loops.RevertApplied(applied=applied):
            what = f"reverted to {event.target}" if applied else "revert refused"
            return _joined(what, event.summary if applied else event.reason)
        case _:
            return _recorder_words(event, data)


def _recorder_words(event: "AgentEvent", data: Any) -> str:
    from .. import loops  # noqa: PLC0415

    match event:
        case loops.SessionFormed():
            return "session formed" + (f", {event.scope}" if event.scope else "")
        case loops.SpawnLinked():
            return f"{_loop(event.child_loop_id)} run by tool {event.tool_name} in {_loop(event.parent_loop_id)}"
        case loops.EventsFiltered(count=count):
            return f"{counted(count, 'event')} of {_loop(event.loop_id)} not kept"
        case loops.SessionFlushed():
            return "open loops aborted"
        case loops.CompactionBlockAdded():
            return f"compacted messages put over {_loop(event.loop_id)}"
        case loops.SessionImported():
            return "session imported"
        case loops.LoopImported():
            return "loop imported"
        case _:
            return _json(data)


def _came(kind: "ContinuationKind") -> str:
    from .. import loops  # noqa: PLC0415

    match kind:
        case loops.Default():
            return "continues"
        case loops.Rerun():
            return "reruns"
        case loops.Branch():
            return "branches from"
        case loops.Compaction():
            return "compacts"
        case _:
            return ""


def _speaker(message: "AgentMessage") -> str:
    from .. import loops  # noqa: PLC0415

    match message:
        case loops.UserMessage():
            return "user"
        case loops.AssistantMessage():
            return "assistant"
        case loops.ToolResultMessage(tool_name=name):
            return f"tool {name}"
        case loops.ExtensionMessage(kind=kind):
            return kind


def _message_text(message: "AgentMessage") -> str:
    from .. import loops  # noqa: PLC0415

    if isinstance(message, loops.ExtensionMessage):
        return message.data if isinstance(message.data, str) else _json(message.data)
    return _content_text(message.content)


def _content_text(content: "Sequence[Content]") -> str:
    return " ".join(filter(None, _content_words(content)))


def _content_words(content: "Iterable[Content]") -> Iterable[str]:
    from .. import loops  # noqa: PLC0415

    for part in content:
        match part:
            case loops.Text(text):
                yield text[:_TEXT_CHARS_MAX]
            case loops.Thinking(thinking):
                yield f"(thinking) {thinking[:_TEXT_CHARS_MAX]}"
            case loops.ToolCallContent(name=name, arguments=arguments):
                yield f"-> {name} {arguments_line(arguments)}"
            case loops.Image():
                yield "[image]"


def _loop(loop_id: str) -> str:
    """Return a loop's id without its session's: a session's holds no dot."""
    return loop_id.partition(".")[2] or loop_id


def _tokens(usage: "Usage") -> str:
    tokens_in = usage.input + usage.cache_read + usage.cache_write
    return f", {tokens_in:,} tokens in, {usage.output:,} out" if tokens_in or usage.output else ""


def _joined(what: str, text: str | None) -> str:
    return f"{what}: {text}" if text and text.strip() else what


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
