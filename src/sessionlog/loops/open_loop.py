"""A loop that still runs: its record, its event counter, and the turn that is under way."""

from collections.abc import Iterable
from typing import Any

import msgspec

from .events import AgentEnd, AgentEvent, TurnEnd, TurnRequest, TurnStart
from .kinds import LoopConfigSnapshot, LoopStatus, TurnId
from .loop_ids import config_segment_of
from .messages import AgentMessage, AssistantMessage, ExtensionMessage, ToolResultMessage
from .model import LoopEvent, LoopRecord, Turn


class OpenLoop:
    """Grows one :class:`LoopRecord`."""

    __slots__ = ("_ended", "_inputs", "_next_sequence", "_request", "_turn", "record")

    def __init__(self, record: LoopRecord) -> None:
        """Go on where the record's events end."""
        self.record: LoopRecord = record
        self._next_sequence = record.events[-1].sequence + 1 if record.events else 0
        self._ended = {turn.index for turn in record.turns}
        self._turn: TurnStart | None = None
        self._inputs: list[AgentMessage] = []
        self._request: Any = None

    def keep(self, event: AgentEvent) -> None:
        """Add the event to the loop's stream."""
        self.record.events.append(LoopEvent(self._next_sequence, event))
        self._next_sequence += 1

    def skip(self, count: int) -> None:
        """Leave a gap in the stream, for ``count`` events that were not kept."""
        self._next_sequence += max(count, 0)

    def start_turn(self, event: TurnStart) -> None:
        """Begin a turn; one that was under way is dropped, one that is there already is left alone."""
        if self._turn is not None and self._turn.turn_index == event.turn_index:
            return
        if event.turn_index in self._ended:
            return
        self._turn, self._inputs, self._request = event, [], None

    def keep_request(self, event: TurnRequest) -> None:
        """Note the request of the turn that is under way."""
        if self._turn is not None and self._turn.turn_index == event.turn_index:
            self._request = event.payload

    def take_message(self, message: AgentMessage) -> None:
        """Note a whole message: the model's tells the configuration, any other one goes into the turn under way."""
        if isinstance(message, AssistantMessage):
            self._learn_config((message,))
        else:
            self._inputs.append(message)

    def end_turn(self, event: TurnEnd) -> None:
        """Complete the turn that is under way, if one is."""
        self._learn_config((event.message,))
        if self._turn is None:
            return
        turn_id = TurnId(self.record.loop_id, self._turn.turn_index)
        self._ended.add(turn_id.turn_index)
        answered = {m.tool_call_id for m in event.tool_results if isinstance(m, ToolResultMessage)}
        self.record.turns.append(
            Turn(
                turn_id=turn_id,
                triggered_by=self._turn.triggered_by,
                usage=event.usage,
                input_messages=[
                    m for m in self._inputs if not (isinstance(m, ToolResultMessage) and m.tool_call_id in answered)
                ],
                output_message=event.message,
                tool_results=[
                    m if isinstance(m, ExtensionMessage) else msgspec.structs.replace(m, turn_id=turn_id)
                    for m in event.tool_results
                ],
                started_at=self._turn.timestamp,
                ended_at=event.timestamp,
                request_payload=self._request,
            )
        )
        self._turn = None

    def end(self, event: AgentEnd) -> None:
        """Close the loop; a turn that is under way is dropped."""
        record = self.record
        record.ended_at = event.timestamp
        record.status = LoopStatus.COMPLETED if event.rejection is None else LoopStatus.REJECTED
        record.rejection = event.rejection
        record.messages = list(event.messages)
        record.usage = event.usage
        self._learn_config(event.messages)

    def _learn_config(self, messages: Iterable[AgentMessage]) -> None:
        if self.record.config is None:
            for message in messages:
                if isinstance(message, AssistantMessage):
                    segment = config_segment_of(self.record.loop_id)
                    self.record.config = LoopConfigSnapshot(message.model, message.provider, config_id=segment)
                    return
