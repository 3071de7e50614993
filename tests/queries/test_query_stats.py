"""Statistics count what happened in a session, once, and their cost is never a guess."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sessionlog import (
    AssistantItems,
    ConfigChanged,
    Extension,
    LlmUsage,
    LogEntry,
    MemoryStore,
    RequestConfig,
    SessionId,
    SessionStart,
    SessionStartState,
    ToolResult,
    ToolResults,
    TurnEnd,
    UserInput,
    build_chain,
    create_session,
    fork_at,
    restore,
    tool_call,
    tool_result,
    user_message,
)
from sessionlog.entries import FORMAT
from sessionlog.importers.claude_code import import_paths
from sessionlog.queries import (
    RATES_BYTES_MAX,
    DayUsage,
    Gap,
    RatesError,
    SessionStats,
    Tally,
    Tokens,
    parse_rates,
    price,
    session_stats,
    total_stats,
)
from sessionlog.queries.rates import LINE_DOTS_MAX

pytestmark = pytest.mark.anyio
START = SessionStart(ts=0, format=FORMAT, session_id=SessionId("s"), config=RequestConfig(), history=[])
RATES = b'{"models":{"m":{"input":2,"output":10,"cache_read":0.5,"cache_write":4}}}'


def tally(*entries: LogEntry) -> Tally:
    result = Tally(SessionId("s"), keep_requests=True)
    for record in build_chain([START, *entries]):
        result.take(record)
    return result


def usage(input_total: int, read: int = 0, written: int = 0, output: int = 0, ts: int = 1) -> LlmUsage:
    return LlmUsage(
        ts=ts,
        history_len=0,
        input_total_tokens=input_total,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=output,
    )


async def test_calls_failures_and_calls_without_a_result() -> None:
    """A result answers the oldest open call of its id; the time of a tool is from call to result."""
    failed = ToolResult("c1", "no", is_error=True)
    stats = tally(
        AssistantItems(ts=1000, items=[tool_call("c1", "A", ""), tool_call("c1", "B", ""), tool_call("c2", "B", "")]),
        ToolResults(ts=1500, items=[failed]),
        ToolResults(ts=3000, items=[tool_result("c1", ""), tool_result("nobody", "")]),
    ).stats
    assert vars(stats.tools["A"]) == {"calls": 1, "failures": 1, "timed": 1, "time_ms": 500}
    assert vars(stats.tools["B"]) == {"calls": 2, "failures": 0, "timed": 1, "time_ms": 2000}
    assert (stats.dangling_calls, stats.tool_use.calls, stats.wall_ms) == (1, 3, 2000)


async def test_turns_are_those_that_ended_or_else_the_inputs() -> None:
    say = UserInput(ts=1, item=user_message("x"))
    assert tally(say, say, say).stats.turns == 3
    ended = tally(say, say, TurnEnd(ts=1, turn_count=1), say).stats
    assert (ended.turns, ended.turns_ended) == (1, 1)


async def test_applications_own_records_are_no_time_spent() -> None:
    """An importer's note of today does not stretch a session of last year."""
    stats = tally(Extension(ts=10**12, domain="import", payload=1), usage(1, ts=5), usage(1, ts=9)).stats
    assert (stats.first_ts, stats.last_ts, stats.wall_ms) == (5, 9, 4)
    assert tally(Extension(ts=1, domain="d", payload=1)).stats.first_ts is None


async def test_what_a_fork_takes_over_counts_in_its_source_alone() -> None:
    store = MemoryStore()
    log = await create_session(store, SessionStartState())
    await log.save_delta([user_message("x"), tool_call("c1", "A", "{}")])
    await log.save_usage(2, 10, 0, 0, 1)
    assert log.head_hash is not None
    fork = await fork_at(store, log.session_id, log.head_hash)
    await fork.save_delta([ToolResult("c1", "late", is_error=True)])
    stats = (await session_stats(store, fork.session_id)).stats
    assert (stats.tool_use.calls, stats.tool_use.failures, stats.dangling_calls) == (0, 1, 0)
    assert stats.tools["A"].timed == 0
    both = total_stats([stats, (await session_stats(store, log.session_id)).stats])
    assert (both.tool_use.calls, both.tokens.input_total, both.kinds["session_start"]) == (1, 10, 2)


async def test_tokens_are_counted_by_model() -> None:
    other = ConfigChanged(ts=1, config=RequestConfig(model="m"))
    stats = tally(usage(1), other, usage(100, read=60, written=30, output=5), usage(1)).stats
    assert stats.models == {None: Tokens(1, 1), "m": Tokens(2, 101, 60, 30, 5)}
    assert stats.models["m"].uncached == 11


async def test_requests_belong_to_turns() -> None:
    say = UserInput(ts=1, item=user_message("x"))
    assert [one.turn for one in tally(say, usage(1), usage(2), say, usage(3)).requests] == [1, 1, 2]


async def test_dangling_calls_agree_with_the_restored_state(shared: Path) -> None:
    store = MemoryStore()
    await import_paths(store, [shared / "data" / "claude-code"])
    for session_id in await store.list_sessions():
        stats = (await session_stats(store, session_id)).stats
        assert stats.dangling_calls == len((await restore(store, session_id)).dangling_tool_calls)


async def test_totals_of_real_sessions_agree_with_an_independent_count(shared: Path) -> None:
    """Calls, failures, tokens, kinds: against JSON lines read without the library."""
    store = MemoryStore()
    await import_paths(store, [shared / "data" / "claude-code"])
    want: Counter[str] = Counter()
    have: list[SessionStats] = []
    for session_id in await store.list_sessions():
        have.append((await session_stats(store, session_id)).stats)
        for record in await store.read_all(session_id):
            entry: dict[str, Any] = msgspec.json.decode(record.line)
            want[entry["kind"]] += 1
            want["bytes"] += len(record.line) + 1
            want["input"] += entry.get("input_total_tokens", 0)
            want["read"] += entry.get("cache_read_tokens", 0)
            want["written"] += entry.get("cache_write_tokens", 0)
            want["output"] += entry.get("output_tokens", 0)
            for item in entry.get("items", []):
                want[item["type"]] += 1
                want["errors"] += item.get("is_error", False)
    total = total_stats(have)
    assert total.kinds == Counter({kind: want[kind] for kind in total.kinds})
    assert total.records == sum(total.kinds.values())
    assert total.record_bytes == want["bytes"]
    assert total.tokens == Tokens(want["llm_usage"], want["input"], want["read"], want["written"], want["output"])
    assert (total.tool_use.calls, total.tool_use.failures) == (want["tool_call"], want["errors"])
    assert total.tool_use.calls > 200


async def test_a_price_is_the_sum_of_each_kind_of_tokens() -> None:
    cost = price([DayUsage("2026-01-31", "m", Tokens(1, 3_000_000, 1_000_000, 1_000_000, 100_000))], parse_rates(RATES))
    assert cost.amount == pytest.approx(2 + 0.5 + 4 + 1)
    assert (cost.currency, len(cost.gaps)) == ("USD", 0)


async def test_gaps_are_told_and_not_guessed() -> None:
    """A model without rates, a rate that is missing, a model that no record names."""
    rates = parse_rates(b'currency = "EUR"\n[models."m"]\ninput = 1\n')
    used = [
        DayUsage("2026-01-31", "m", Tokens(1, 1_000_000, 500_000, 0, 3)),
        DayUsage("2026-02-01", "m", Tokens(1, 1_000_000, 0, 0, 4)),
        DayUsage("2026-01-31", "m-2", Tokens(1, 5)),
        DayUsage("2026-01-31", None, Tokens(1, 0, 0, 0, 3)),
    ]
    cost = price(used, rates)
    assert (cost.amount, cost.currency) == (1.5, "EUR")
    assert cost.gaps == [
        Gap("m", "cache_read", 500_000),
        Gap("m", "output", 7),
        Gap("m-2", "input", 5),
        Gap(None, "output", 3),
    ]


async def test_toml_and_json_rates_are_the_same() -> None:
    toml = b"[models.m]\ninput = 2\noutput = 10\ncache_read = 0.5\ncache_write = 4\n"
    assert parse_rates(toml) == parse_rates(RATES) == parse_rates(b"\xef\xbb\xbf" + RATES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "models"),
        (b"\xff\xfe", "UTF-8"),
        (b"{", "truncated"),
        (b"[models", "Expected"),
        (b'{"models":{"m":{"inputs":1}}}', "inputs"),
        (b'{"models":{"m":{"input":"1"}}}', "Expected"),
        (b'{"models":{"m":{"input":-1}}}', "from 0 on"),
        (b"[models.m]\ninput = nan\n", "from 0 on"),
        (b"[models.m]\ninput = inf\n", "from 0 on"),
        (b"x=" + b"[" * 100_000, "too deep"),
        (b'{"a":' * 100_000, "too deep"),
        (b"x=" + b"{a=" * 100_000, "too deep"),
        (b".".join([b"a"] * 500_000), "too deep"),
        (b"[" + b".".join([b"a"] * 100_000) + b"]\n" + b"x=1\n" * 100_000, "too deep"),
        (".".join(["a", '"\u2028"'] * 20).encode() + b"=1", "too deep"),
    ],
)
async def test_what_holds_no_rates_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(RatesError, match=words):
        parse_rates(data)


async def test_rates_at_a_limit_are_taken_and_beyond_it_are_not() -> None:
    """The length of all, and the dots of a line; those of a comment do not count."""
    rates = b"[models.m]\ninput = 2\n" + b"#" + b"." * 100 + b"\n"
    assert parse_rates(rates + b" " * (RATES_BYTES_MAX - len(rates))).models["m"].input == 2
    with pytest.raises(RatesError, match="longer than"):
        parse_rates(rates + b" " * (RATES_BYTES_MAX - len(rates) + 1))
    name = "m" + "." * (LINE_DOTS_MAX - 1)
    assert list(parse_rates(f'[models."{name}"]\ninput=2\n'.encode()).models) == [name]
    with pytest.raises(RatesError, match=f"more than {LINE_DOTS_MAX} dots"):
        parse_rates(f'[models."{name}."]\ninput=2\n'.encode())


async def test_totals_of_real_sessions_agree_with_their_source_files(shared: Path) -> None:
    """Calls, failures and output tokens: against the transcripts themselves, read with the standard library."""
    folder = shared / "data" / "claude-code"
    calls: set[str] = set()
    failures: set[str] = set()
    output: dict[str, int] = {}
    for path in folder.rglob("*.jsonl"):
        for line in source_objects(path.read_text(encoding="utf-8")):
            message = line.get("message") or {}
            blocks = message.get("content")
            for block in blocks if isinstance(blocks, list) else ():
                if block["type"] == "tool_use":
                    calls.add(block["id"])
                elif block["type"] == "tool_result" and block.get("is_error"):
                    failures.add(block["tool_use_id"])
            if line.get("type") == "assistant":
                output[f"{path.name} {message['id']}"] = message["usage"]["output_tokens"]
    store = MemoryStore()
    await import_paths(store, [folder])
    total = total_stats([(await session_stats(store, one)).stats for one in await store.list_sessions()])
    assert (total.tool_use.calls, total.tool_use.failures) == (len(calls), len(failures))
    assert (total.tokens.requests, total.tokens.output) == (len(output), sum(output.values()))


def source_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a transcript, also those glued on one line."""
    decoder = json.JSONDecoder()
    for line in text.split("\n"):
        at = 0
        while at < len(line.rstrip()):
            value, at = decoder.raw_decode(line, at)
            yield value
