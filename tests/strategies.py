"""Hypothesis strategies for whatever a log may hold."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from sessionlog import (
    AgentEventEntry,
    AssistantItems,
    CacheUnlocked,
    ConfigChanged,
    EntryHash,
    Extension,
    HashedEntry,
    HookInjectedItems,
    ImagePart,
    Item,
    LabelsChanged,
    LlmUsage,
    Locked,
    LogEntry,
    Message,
    Reasoning,
    RefusalPart,
    RequestConfig,
    RunOutcome,
    SessionId,
    SessionOrigin,
    SessionStart,
    TextPart,
    ToolCall,
    ToolResult,
    ToolResults,
    TurnEnd,
    UnknownEntry,
    UserInput,
    build_chain,
)
from sessionlog.entries import ENVELOPE_MEMBERS, FORMAT, INTEGER_MAX, INTEGER_MIN, KINDS

texts = st.text(max_size=20) | st.sampled_from(
    ["", "\u2028", "😀", '"', "\\", "\n", "\r\n", "\0", "\x7f", "\ufeff", "{[]}"]
)
"""Any text that UTF-8 carries, what JSON has to escape among it."""
integers = st.integers(INTEGER_MIN, INTEGER_MAX) | st.sampled_from([INTEGER_MIN, INTEGER_MAX, 0])
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
timestamps = st.integers(0, 2**48) | integers
counts = st.integers(0, 1000) | integers
_maybe_text = st.none() | texts
_statuses = st.sampled_from([None, "in_progress", "completed", "incomplete"])

parts = (
    st.builds(TextPart, texts)
    | st.builds(ImagePart, data=_maybe_text, media_type=_maybe_text, url=_maybe_text)
    | st.builds(RefusalPart, texts)
)
messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "system"]),
    st.lists(parts, max_size=3),
    id=_maybe_text,
    status=_statuses,
)
call_ids = st.sampled_from(["c1", "c2", "c3"]) | texts
tool_calls = st.builds(ToolCall, call_ids, texts, texts, id=_maybe_text, status=_statuses)
tool_results = st.builds(ToolResult, call_ids, texts, content=_maybe_text, is_error=st.booleans(), id=_maybe_text)
reasonings = st.builds(Reasoning, texts, signature=_maybe_text, id=_maybe_text, status=_statuses)
items: st.SearchStrategy[Item] = st.one_of(messages, tool_calls, tool_results, reasonings)
histories = st.lists(items, max_size=4)

configs = st.builds(
    RequestConfig,
    model=_maybe_text,
    max_tokens=st.none() | integers,
    temperature=st.none() | floats,
    top_p=st.none() | floats,
    top_k=st.none() | integers,
    stop_sequences=st.lists(texts, max_size=2),
)
session_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", fullmatch=True).map(SessionId)
hashes = st.from_regex(r"[0-9a-f]{64}", fullmatch=True).map(EntryHash)
origins = st.builds(SessionOrigin, session_ids, hashes)
starts = st.builds(
    SessionStart,
    ts=timestamps,
    format=st.just(FORMAT),
    session_id=session_ids,
    system_prompt=_maybe_text,
    config=configs,
    history=histories,
    forked_from=st.none() | origins,
    compacted_from=st.none() | origins,
    title=_maybe_text,
    labels=st.dictionaries(texts, texts, max_size=3),
)
unknown_entries = st.builds(
    UnknownEntry,
    kind=texts.filter(lambda kind: kind != "" and kind not in KINDS),
    ts=timestamps,
    members=st.dictionaries(texts.filter(lambda name: name not in ENVELOPE_MEMBERS), json_values, max_size=3),
)
later_entries: st.SearchStrategy[LogEntry] = st.one_of(
    st.builds(UserInput, ts=timestamps, item=items),
    st.builds(AssistantItems, ts=timestamps, items=histories),
    st.builds(ToolResults, ts=timestamps, items=histories),
    st.builds(HookInjectedItems, ts=timestamps, items=histories),
    st.builds(TurnEnd, ts=timestamps, turn_count=counts),
    st.builds(Locked, ts=timestamps, locked_prefix_len=counts),
    st.builds(CacheUnlocked, ts=timestamps),
    st.builds(
        LabelsChanged,
        ts=timestamps,
        title=st.just(msgspec.UNSET) | st.none() | texts,
        labels=st.dictionaries(texts, st.none() | texts, max_size=3),
    ),
    st.builds(
        RunOutcome,
        ts=timestamps,
        outcome=st.sampled_from(["finished", "paused", "limit_reached", "yielded", "error"]),
        message=_maybe_text,
        interrupted=st.booleans(),
    ),
    st.builds(ConfigChanged, ts=timestamps, config=configs),
    st.builds(
        LlmUsage,
        ts=timestamps,
        history_len=counts,
        input_total_tokens=counts,
        cache_read_tokens=counts,
        cache_write_tokens=counts,
        output_tokens=counts,
    ),
    st.builds(Extension, ts=timestamps, domain=texts, payload=json_values),
    st.builds(AgentEventEntry, ts=timestamps, event=json_values),
    unknown_entries,
)
"""Whatever may follow a ``SessionStart``."""
entries: st.SearchStrategy[LogEntry] = starts | later_entries


@st.composite
def chains(draw: st.DrawFn, max_size: int = 6) -> list[HashedEntry]:
    """Draw a whole log of at least one record."""
    return build_chain([draw(starts), *draw(st.lists(later_entries, max_size=max_size - 1))])
