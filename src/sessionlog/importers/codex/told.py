"""What a line of a rollout tells of the loops.

A turn is a request to the model: what it said, up to a tool's answer, a message, or the ``token_count`` that says what
it cost. Which lines are of one request follows from those before them: :class:`Requests` keeps it for each.
"""

from typing import Any, Final, NamedTuple

import msgspec

from ...items import ContentPart, ImagePart, Item, Message, Reasoning, TextPart, ToolCall, ToolResult
from ...loops import (
    AssistantMessage,
    Content,
    Image,
    StopReason,
    Text,
    Thinking,
    ToolCallContent,
    ToolResultMessage,
    Usage,
    UserMessage,
)
from ..told import Answered, Told
from ..usage import token_count
from .convert import is_interruption, is_model_output, is_prompt, item_of
from .shapes import Compacted, Event, Meta, Payload, ResponseItem, TokenUsage, TurnContext

AGENT_ID: Final = "codex"


class Standing(NamedTuple):
    """What is known at a line by those before it and itself; ``message_id`` is empty if the model says nothing."""

    message_id: str = ""
    calls: bool = False
    """The message has called a tool."""
    model: str = ""
    provider: str = ""
    metadata: dict[str, str] | None = None


class Requests:
    """Tells for each line which request it is of."""

    def __init__(self) -> None:
        """Begin in front of the first line."""
        self._standing: dict[int, Standing] = {}
        self._now = Standing()
        self._message_id = ""
        self._calls = False
        self._open = False
        """What the model says next is of the same message."""
        self._counted: TokenUsage | None = None

    def take(self, line: Payload | None, ordinal: int, meta: Meta | None) -> None:
        """Take the next line in; ``meta`` is the header so far."""
        match line:
            case Meta() if meta is line:
                known = {"cwd": meta.cwd, "cli_version": meta.cli_version}
                metadata = {name: word for name, word in known.items() if word is not None} or None
                provider = meta.model_provider if isinstance(meta.model_provider, str) else ""
                self._now = self._now._replace(provider=provider, metadata=metadata)
            case TurnContext(model=str(model)):
                self._now = self._now._replace(model=model)
            case ResponseItem():
                self._take_item(line, ordinal)
            case Compacted():
                self._leave(ordinal)
            case Event(type="thread_rolled_back"):
                self._leave(ordinal)
            case Event(type="token_count", info=info) if info is not None and info.last_token_usage is not None:
                self._take_usage(info.total_token_usage, info.last_token_usage, ordinal)

    def at(self, ordinal: int) -> Standing:
        """Return what is known at a line."""
        return self._standing.get(ordinal, Standing())

    def _take_item(self, item: ResponseItem, ordinal: int) -> None:
        if is_model_output(item):
            if not self._open:
                self._message_id, self._calls, self._open = str(ordinal), False, True
            self._calls = self._calls or isinstance(item_of(item), ToolCall)
            self._standing[ordinal] = self._now._replace(message_id=self._message_id, calls=self._calls)
        elif is_prompt(item) or is_interruption(item):
            self._leave(ordinal)
        elif item_of(item) is not None:
            self._open = False
            self._standing[ordinal] = self._now

    def _take_usage(self, total: TokenUsage | None, last: TokenUsage, ordinal: int) -> None:
        """Count a request once, as for ``llm_usage``; one that left nothing in the file is a message of its own."""
        if (total is not None and total == self._counted) or _usage(last) == Usage():
            return
        self._counted = total
        self._standing[ordinal] = self._now._replace(message_id=self._message_id or str(ordinal), calls=self._calls)
        self._message_id, self._calls, self._open = "", False, False

    def _leave(self, ordinal: int) -> None:
        """Note that no turn goes on behind the line."""
        self._message_id, self._calls, self._open = "", False, False
        self._standing[ordinal] = self._now


def told_by(line: Payload | None, standing: Standing, *, ts: int) -> Told | None:
    """Return what ``line`` tells at ``ts``; ``None`` for nothing."""
    match line:
        case ResponseItem():
            return _told_by_item(line, standing, ts=ts)
        case Compacted(message=message, replacement_history=history):
            alone = message is not None and history is None
            asked = UserMessage([Text(message or "")], ts) if alone else None
            return Told(compacts=0, asked=asked, metadata=standing.metadata)
        case Event(type="task_complete" | "turn_complete" | "turn_aborted"):
            return Told(ends=True)
        case Event(info=info) if standing.message_id and info is not None and info.last_token_usage is not None:
            stop = StopReason.TOOL_USE if standing.calls else StopReason.STOP
            answer = _answer([], stop, standing, ts=ts)
            answer = msgspec.structs.replace(answer, usage=_usage(info.last_token_usage))
            return Told(message_id=standing.message_id, answer=answer, metadata=standing.metadata)
        case _:
            return None


def _told_by_item(item: ResponseItem, standing: Standing, *, ts: int) -> Told | None:
    made = item_of(item)
    if made is None:
        return None
    if isinstance(made, ToolResult):
        content: list[Content] = [Text(made.summary)] if made.summary else []
        message = ToolResultMessage(made.call_id, "", content, made.is_error, ts, node_id=item.id)
        details = None if made.content is None else item.output
        return Told(results=[Answered(message, details)], metadata=standing.metadata)
    if not standing.message_id:
        return Told(
            asked=UserMessage(_contents(made, item), ts, node_id=item.id),
            prompts=is_prompt(item),
            interrupts=is_interruption(item),
            metadata=standing.metadata,
        )
    goes_on = standing.calls or isinstance(made, Reasoning)
    stop = StopReason.TOOL_USE if goes_on else StopReason.STOP
    answer = _answer(_contents(made, item), stop, standing, ts=ts, node_id=item.id)
    return Told(message_id=standing.message_id, answer=answer, metadata=standing.metadata)


def _answer(
    content: list[Content], stop: StopReason, standing: Standing, *, ts: int, node_id: str | None = None
) -> AssistantMessage:
    return AssistantMessage(
        content, ts, stop_reason=stop, model=standing.model, provider=standing.provider, node_id=node_id
    )


def _usage(tokens: TokenUsage) -> Usage:
    total, read = token_count(tokens.input_tokens), token_count(tokens.cached_input_tokens)
    return Usage(input=max(0, total - read), output=token_count(tokens.output_tokens), cache_read=read)


def _contents(made: Item, item: ResponseItem) -> list[Content]:
    match made:
        case Reasoning(text=text, signature=signature):
            return [Thinking(text, signature)]
        case ToolCall(call_id=call_id, name=name, arguments=text):
            return [ToolCallContent(call_id, name, _arguments(text) if item.type != "custom_tool_call" else text)]
        case Message(content=parts):
            return [piece for part in parts if (piece := _part(part)) is not None]
        case _:
            return []


def _part(part: ContentPart) -> Content | None:
    match part:
        case TextPart(text=text):
            return Text(text)
        case ImagePart(data=data, media_type=media_type, url=url):
            return Image(data or "", media_type or "", url)
        case _:
            return None


def _arguments(text: str) -> Any:
    """Return what the JSON says; the text where it is none."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
