"""What loops add up to: turns, tokens by model, and what they cost at given rates. Nothing is guessed.

Pure, over the trees of :mod:`sessionlog.loops` and the rates of :mod:`sessionlog.queries`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final, TypeAlias

from ..loops import AssistantMessage, LoopRecord, MessageEnd, ParallelGroupRecord, Session, Text, Usage, UserMessage
from ..queries import Cost, DayUsage, Rates, Tokens, all_tokens, by_model, price

TokensByModel: TypeAlias = dict[str | None, Tokens]
"""Tokens by the model that the log names; ``None``: it names none."""
_NO_DAY: Final = ""
"""The day of tokens of which no log says when they were used; nobody knows their model either."""


@dataclass(frozen=True)
class Sums:
    """Turns and tokens of a loop, a group, a session or several."""

    turns: int
    usage: Sequence[DayUsage]

    @property
    def by_model(self) -> TokensByModel:
        """The tokens of each model."""
        return by_model(self.usage)

    @property
    def tokens(self) -> Tokens:
        """The tokens of all models together."""
        return all_tokens(self.usage)

    def cost(self, rates: Rates | None) -> Cost | None:
        """Return what the tokens cost; ``None`` without rates."""
        return None if rates is None else price(self.usage, rates)


def add_up(parts: Iterable[Sums]) -> Sums:
    """Return the sum of ``parts``."""
    found = list(parts)
    return Sums(sum(one.turns for one in found), [used for one in found for used in one.usage])


def sum_session(session: Session) -> Sums:
    """Count a session: its loops, and the evaluation of each of its parallel groups once."""
    groups = {group_key(loop.parallel_group): loop.parallel_group for loop in session.loops if loop.parallel_group}
    return add_up([*map(sum_loop, session.loops), *map(sum_evaluation, groups.values())])


def sum_evaluation(group: ParallelGroupRecord) -> Sums:
    """Count what it took to compare a group's branches; the log does not say which model did that."""
    return Sums(0, [DayUsage(_NO_DAY, None, _tokens(group.evaluation_usage))])


def sum_loop(loop: LoopRecord) -> Sums:
    """Count a loop: its tokens as its end told them, or else (no end yet, or none told) as its turns did.

    Where its turns ran on several models, what the loop used beyond them has no model. Where its turns used more than
    the loop, nothing has: they do not tell then how it divides. All of it counts on the day on which the loop began.
    """
    of_loop = model_name(loop.config.model) if loop.config is not None else None
    models: TokensByModel = {}
    in_turns = Usage()
    for turn in loop.turns:
        message = turn.output_message
        model = (model_name(message.model) if isinstance(message, AssistantMessage) else None) or of_loop
        models.setdefault(model, Tokens()).add(_tokens(turn.usage, requests=1))
        in_turns += turn.usage
    if loop.usage != Usage():
        models = _divide(loop, models, in_turns, of_loop=of_loop)
    day = loop.started_at.astimezone(UTC).date().isoformat()
    return Sums(loop.turn_count, [DayUsage(day, model, tokens) for model, tokens in models.items()])


def prompt_of(loop: LoopRecord) -> str:
    """Return what the user said that began the loop; empty where that is not known."""
    if loop.turns:
        told = loop.turns[0].input_messages
    else:
        told = [item.event.message for item in loop.events if isinstance(item.event, MessageEnd)]
    said = [one for one in told if isinstance(one, UserMessage)]
    # what a tool puts in before, such as its notes on the surroundings, comes first: the last one is the prompt
    return "\n".join(part.text for part in said[-1].content if isinstance(part, Text)) if said else ""


def model_name(model: str) -> str | None:
    """Return the model that a name stands for; ``None`` for none, and for what a tool made up, as ``<synthetic>``."""
    return None if not model or (model.startswith("<") and model.endswith(">")) else model


def _divide(loop: LoopRecord, models: TokensByModel, in_turns: Usage, *, of_loop: str | None) -> TokensByModel:
    """Return what the loop's end told, by the models of its turns."""
    told = loop.usage
    if len(models) <= 1:
        return {next(iter(models), of_loop): _tokens(told, requests=loop.turn_count)}
    rest = Usage(
        input=told.input - in_turns.input,
        output=told.output - in_turns.output,
        cache_read=told.cache_read - in_turns.cache_read,
        cache_write=told.cache_write - in_turns.cache_write,
    )
    if min(rest.input, rest.output, rest.cache_read, rest.cache_write) < 0:
        return {None: _tokens(told, requests=loop.turn_count)}
    if rest != Usage():
        models.setdefault(None, Tokens()).add(_tokens(rest))
    return models


def group_key(group: ParallelGroupRecord) -> tuple[str, ...]:
    """Return what the loops of one parallel group have in common."""
    return (group.selected_loop_id, *group.all_loop_ids)


def _tokens(usage: Usage, *, requests: int = 0) -> Tokens:
    return Tokens(
        requests=requests,
        input_total=usage.input + usage.cache_read + usage.cache_write,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        output=usage.output,
    )
