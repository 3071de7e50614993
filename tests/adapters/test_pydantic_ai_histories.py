"""``SessionlogConversationStore`` beside Pydantic AI's in-memory store: the same calls give the same results."""

import asyncio
import copy
import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="needs Pydantic AI: pip install 'sessionlog[pydantic-ai]'")

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import RequestUsage, RunUsage

from sessionlog import MemoryStore
from sessionlog.adapters.pydantic_ai import SessionlogConversationStore

from . import suites

EXAMPLES = 60
THEN = datetime(2026, 1, 1, tzinfo=UTC)
IDS = ("one", "two", "a third/one")
SCOPES = (None, "ann", "bob")

ids, scopes, places = st.sampled_from(IDS), st.sampled_from(SCOPES), st.none() | st.integers(-1, 4)
CALLS = st.one_of(
    st.tuples(st.just("say"), ids, scopes, st.integers(0, 3)),
    st.tuples(st.just("save stale"), ids, scopes),
    st.tuples(st.just("save as new"), ids, scopes),
    st.tuples(st.just("rewrite"), ids, scopes, st.integers(0, 3)),
    st.tuples(st.just("load"), ids, scopes, places),
    st.tuples(st.just("entries"), ids, scopes, places),
    st.tuples(st.just("branch"), ids, scopes, places, places),
    st.tuples(st.just("fork"), ids, scopes, places, places, ids),
    st.tuples(st.just("delete"), ids, scopes),
    st.tuples(st.just("list"), scopes, places),
)


def message(number: int) -> ModelMessage:
    if number % 2:
        usage = RequestUsage(input_tokens=number, output_tokens=1)
        return ModelResponse([TextPart(f"answer {number}")], usage=usage, model_name="scripted", timestamp=THEN)
    return ModelRequest([UserPromptPart(f"question {number}", timestamp=THEN)])


class Side:
    """One of the stores, with what a program that uses it has in hand."""

    def __init__(self, store: ConversationStore) -> None:
        self.store = store
        self.held: dict[str, Conversation] = {}
        self.older: dict[str, Conversation] = {}
        self.seen: dict[str, int] = {}
        self.entries: list[str] = []
        self.said = 0

    async def do(self, name: str, *args: Any) -> Any:
        try:
            return self.plain(await getattr(self, name.replace(" ", "_"))(*args))
        except (UserError, LookupError) as error:
            return type(error)

    def plain(self, value: Any) -> Any:
        """Return what a call gave, with the ids that a store makes up numbered as they came."""
        match value:
            case Conversation():
                return value.messages, value.usage, value.conversation_id, value.deferred_tool_requests
            case ConversationEntry():
                self.entries.append(value.id)
                return self.number(value.id), self.number(value.parent_id), value.message
            case ConversationRecord():
                kept = dataclasses.asdict(value)
                for name in ("head_id", "forked_at"):
                    kept[name] = self.number(kept[name])
                kept["branches"] = [self.number(one) for one in value.branches]
                return {name: one for name, one in kept.items() if name not in ("revision", "updated_at")}
            case list():
                return [self.plain(one) for one in value]
            case _:
                return value

    def number(self, id: str | None) -> int | None:
        return None if id is None else self.seen.setdefault(id, len(self.seen))

    def entry(self, place: int | None) -> str | None:
        return None if place is None or not self.entries else self.entries[place % len(self.entries)]

    def hold(self, conversation: Conversation | None) -> Conversation | None:
        if conversation is not None:
            self.older[conversation.conversation_id] = copy.deepcopy(conversation)
            self.held[conversation.conversation_id] = conversation
        return conversation

    async def say(self, id: str, scope: str | None, count: int) -> Any:
        conversation = self.held.setdefault(id, Conversation(conversation_id=id))
        self.older[id] = copy.copy(conversation)
        for _ in range(count):
            self.said += 1
            conversation.messages.append(message(self.said))
        conversation.usage += RunUsage(requests=1, input_tokens=count, details={"said": self.said})
        return await self.store.save(conversation, scope=scope)

    async def save_stale(self, id: str, scope: str | None) -> Any:
        conversation = self.older.get(id)
        return None if conversation is None else await self.store.save(copy.copy(conversation), scope=scope)

    async def save_as_new(self, id: str, scope: str | None) -> Any:
        return self.hold(self.held.get(id)) and await self.store.save(
            Conversation(conversation_id=id, messages=[message(0)]), scope=scope
        )

    async def rewrite(self, id: str, scope: str | None, place: int) -> Any:
        conversation = await self.store.load(id)
        if conversation is None or place >= len(conversation.messages):
            return None
        self.said += 1
        conversation.messages[place] = message(self.said)
        return await self.store.save(conversation, scope=scope)

    async def load(self, id: str, scope: str | None, limit: int | None) -> Any:
        return self.hold(await self.store.load(id, limit=limit, scope=scope))

    async def entries_of(self, id: str, scope: str | None, limit: int | None) -> Any:
        return await self.store.load_entries(id, limit=limit, scope=scope)

    async def branch(self, id: str, scope: str | None, at: int | None, entry: int | None) -> Any:
        held = self.held.get(id)
        revision = None if held is None else held.revision
        return self.hold(
            await self.store.branch(id, at=at, from_entry=self.entry(entry), expected_revision=revision, scope=scope)
        )

    async def fork(self, id: str, scope: str | None, at: int | None, entry: int | None, new: str) -> Any:
        return self.hold(
            await self.store.fork(id, at=at, from_entry=self.entry(entry), new_conversation_id=new, scope=scope)
        )

    async def read(self, id: str) -> Any:
        return await self.store.read_entry(id)

    async def delete(self, id: str, scope: str | None) -> Any:
        await self.store.delete(id, scope=scope)

    async def list(self, scope: str | None, limit: int | None) -> Any:
        return await self.store.list_conversations(scope=scope, limit=limit)


async def check_history(calls: list[Any]) -> None:
    logs = MemoryStore()
    sides = Side(InMemoryConversationStore()), Side(SessionlogConversationStore(store=logs))
    for name, *args in calls:
        theirs, ours = [await side.do("entries of" if name == "entries" else name, *args) for side in sides]
        assert ours == theirs, (name, args)
        sides[1].store = SessionlogConversationStore(store=logs)  # nothing that an object remembers is needed
    for id in IDS:
        theirs, ours = [await side.do("entries of", id, None, None) for side in sides]
        assert ours == theirs
    known = list(sides[0].seen.items())
    for (theirs, _), (ours, _) in zip(known, sides[1].seen.items(), strict=True):
        found = [await side.do("read", one) for side, one in zip(sides, (theirs, ours), strict=True)]
        assert found[0] == found[1]


def test_histories_give_what_the_in_memory_store_gives() -> None:
    """Saves, stale saves, rewrites, branches, forks, deletions and lists, with and without a scope."""
    agreed = []

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.lists(CALLS, max_size=14))
    def agree(calls: list[Any]) -> None:
        asyncio.run(check_history(calls))
        agreed.append(len(calls))

    agree()
    suites.report("pydantic-ai", "histories beside InMemoryConversationStore", passed=len(agreed), deselected={})
