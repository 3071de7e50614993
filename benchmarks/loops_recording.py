"""What recording an event costs, and whether that grows with the tree and the log.

    python -m benchmarks.loops_recording            100,000 events each, some twenty seconds
    python -m benchmarks.loops_recording --quick    5,000, a second

One session is fed loops of ten turns, each turn a question, an answer and a tool's output: six events. The figures
are microseconds per event, over tenths of the run; the last column is the last tenth over the first. Flat is 1.0.
"""

import argparse
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

from sessionlog import FileStore, MemoryStore
from sessionlog.loops import (
    AgentEnd,
    AgentEvent,
    AgentStart,
    AssistantMessage,
    MessageEnd,
    SessionRecorder,
    Text,
    ToolExecutionEnd,
    ToolExecutionStart,
    ToolResult,
    ToolResultMessage,
    TurnEnd,
    TurnStart,
    Usage,
    UserMessage,
)

EVENT_COUNT: Final = 100_000
QUICK_EVENT_COUNT: Final = 5_000
PARTS: Final = 10
TURNS_PER_LOOP: Final = 10
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
QUESTION: Final = UserMessage([Text("q" * 200)])
ANSWER: Final = AssistantMessage([Text("a" * 400)], model="m", provider="p", usage=Usage(input=100, output=50))
OUTPUT: Final = ToolResultMessage("t", "ls", [Text("o" * 400)])


def events() -> Iterator[AgentEvent]:
    """Yield a session's events for ever; each loop continues the one before."""
    number = 0
    while True:
        loop_id, at = f"bench.main.{number}", START + timedelta(seconds=number)
        parent = f"bench.main.{number - 1}" if number else None
        yield AgentStart(agent_id="a", session_id="bench", loop_id=loop_id, parent_loop_id=parent, timestamp=at)
        for index in range(TURNS_PER_LOOP):
            yield TurnStart(loop_id=loop_id, turn_index=index, timestamp=at)
            yield MessageEnd(loop_id=loop_id, message=QUESTION)
            yield MessageEnd(loop_id=loop_id, message=ANSWER)
            yield ToolExecutionStart(loop_id=loop_id, tool_call_id="t", tool_name="ls", args={"path": "."})
            yield ToolExecutionEnd(loop_id=loop_id, tool_call_id="t", tool_name="ls", result=ToolResult([Text("o")]))
            yield TurnEnd(loop_id=loop_id, message=ANSWER, timestamp=at, tool_results=[OUTPUT])
        yield AgentEnd(loop_id=loop_id, timestamp=at, usage=Usage(input=1000, output=500))
        number += 1


async def in_memory(event_count: int) -> list[float]:
    """Return the µs per event of ``on_event``, by parts of the run."""
    recorder, stream, costs = SessionRecorder(), events(), []
    for _ in range(PARTS):
        part = [next(stream) for _ in range(event_count // PARTS)]
        begun = time.perf_counter()
        for event in part:
            recorder.on_event(event)
        costs.append((time.perf_counter() - begun) / len(part) * 1e6)
    return costs


async def recorded(event_count: int, recorder: SessionRecorder) -> list[float]:
    """Return the µs per event of ``record``, by parts of the run."""
    stream, costs = events(), []
    for _ in range(PARTS):
        part = [next(stream) for _ in range(event_count // PARTS)]
        begun = time.perf_counter()
        for event in part:
            await recorder.record(event)
        costs.append((time.perf_counter() - begun) / len(part) * 1e6)
    return costs


@asynccontextmanager
async def file_recorder() -> AsyncIterator[SessionRecorder]:
    """Give a recorder over a store in a folder that is removed afterwards; what it wrote survives a killed process."""
    with tempfile.TemporaryDirectory(prefix="sessionlog-bench-") as folder:
        async with FileStore(folder, durability="os") as store:
            yield SessionRecorder(store=store)


async def measure(*, quick: bool) -> dict[str, list[float]]:
    """Run all of it once; return the µs per event by name, a figure for each tenth of the run."""
    event_count = QUICK_EVENT_COUNT if quick else EVENT_COUNT
    results = {"on_event": await in_memory(event_count)}
    results["record, MemoryStore"] = await recorded(event_count, SessionRecorder(store=MemoryStore()))
    async with file_recorder() as recorder:
        results['record, FileStore "os"'] = await recorded(event_count, recorder)
    return results


def main(quick: bool = False) -> None:
    """Measure and print the table."""
    results = anyio.run(lambda: measure(quick=quick))
    print(f"{'':24} {'first':>8} {'median':>8} {'last':>8}   last/first   (µs per event)")
    for name, costs in results.items():
        middle = sorted(costs)[len(costs) // 2]
        print(f"{name:24} {costs[0]:8.1f} {middle:8.1f} {costs[-1]:8.1f}   {costs[-1] / costs[0]:10.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What recording an event costs.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the events")
    main(quick=parser.parse_args().quick)
