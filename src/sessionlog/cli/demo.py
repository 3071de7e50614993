"""``demo``: the whole way of a session, on a transcript that ships with the package.

It uses the public API as any program would: import, list, show, verify, go on, resume, fork, compact, draw; and then
one byte is changed in a copy, to see that it shows.
"""

import re
from contextlib import ExitStack, aclosing
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio.to_thread
import click

from .. import (
    FileStore,
    HashedEntry,
    Item,
    RestoredState,
    SessionId,
    SessionLog,
    ToolResults,
    assistant_message,
    compact,
    fork_at,
    open_session,
    restore,
    tool_call,
    tool_result,
    user_message,
    verify_session,
    verify_store,
)
from .base import STORE_VARIABLE, App, common_options, example, runs
from .checking import print_heading, print_report
from .graph import print_graph, read_graph
from .importing import import_claude_code
from .listing import print_list
from .reading import print_state
from .records import print_record
from .short_ids import ShownId
from .text import counted, short

DATA: Final = "demo_data"
_SHOWN_RECORDS: Final = 8
_QUESTION: Final = "One more thing: is a tree without any harvest counted right?"
_STEPS: Final = (
    assistant_message("I will try it."),
    tool_call("call_demo_1", "Bash", '{"command":"pytest -q -k no_harvest"}'),
    tool_result("call_demo_1", "1 passed in 0.02s"),
)
_ANSWER: Final = "Yes: a test covers a tree without any harvest, and it passes."
_LAST_QUESTION: Final = "Good. Run the whole suite before you stop."
_LAST_CALL: Final = tool_call("call_demo_2", "Bash", '{"command":"pytest -q"}')
_OTHER_ANSWER: Final = "Let me mend it where the rows are read instead."
_SUMMARY: Final = "windfalls are counted once, the tests pass."


@click.command(epilog=example("sessionlog demo", "sessionlog demo --store ./demo-sessions"))
@common_options
@runs
async def demo(app: App) -> None:
    """See it run on an example, step by step.

    Imports a transcript that ships with the package, verifies it, goes on with it, forks and compacts it, and changes
    one byte of a copy. In a temporary store, unless --store names one to keep.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="sessionlog-demo-")))
        data = stack.enter_context(as_file(files(__package__) / DATA))
        root = app.settings.store or str(scratch / "sessions")
        inner = App(replace(app.settings, store=root), app.out)
        async with inner.open_store(make=True) as store:
            await _Demo(inner, store, scratch, kept=app.settings.store is not None).run(data)


class _Demo:
    """The steps, in order; ``kept`` tells whether the store stays."""

    def __init__(self, app: App, store: FileStore, scratch: Path, *, kept: bool) -> None:
        self._app = app
        self._out = app.out
        self._store = store
        self._scratch = scratch
        self._kept = kept
        self._steps = 0

    async def run(self, data: Path) -> None:
        """Take every step, from the transcripts in ``data`` on."""
        first, live = await self._import(data)
        await self._look(first)
        await self._verify()
        log = await self._go_on(live)
        await self._resume(log)
        await self._fork(first)
        await self._compact(log)
        await self._graph()
        await self._tamper(first)
        await self._finish(first)

    async def _step(self, title: str, words: str, command: str) -> None:
        """Begin a step: what it is, in a sentence, and how to do it yourself."""
        self._steps += 1
        if self._out.json:
            await self._out.object({"step": self._steps, "title": title, "command": command})
            return
        if self._steps > 1:
            await self._out.line()
        await self._out.line((f"{self._steps}. {title}", "bold"))
        await self._out.line(words)
        await self._out.line((command, "dim"), indent=2)
        await self._out.flush()

    async def _import(self, data: Path) -> tuple[SessionId, SessionId]:
        """Import; return the transcript's first session, and the one that it ended in."""
        await self._step(
            "Import a transcript",
            "A recorded conversation becomes sessions: hash-chained, append-only.",
            "$ sessionlog import claude-code demo_data",
        )
        reports = await import_claude_code(self._app, self._store, [data])
        return next(
            (one.session_id, one.live_session_id) for one in reports if one and one.session_id and one.live_session_id
        )

    async def _look(self, session_id: SessionId) -> None:
        await self._step(
            "List the sessions",
            "Each is one file in the store's directory, with one record a line.",
            "$ sessionlog list",
        )
        await print_list(self._app, self._store)
        await self._step(
            "Show a session",
            "What each record says; every one is verified before it is shown.",
            f"$ sessionlog show {(await self._shown())(session_id)} | head -n {_SHOWN_RECORDS}",
        )
        async with aclosing(self._store.read(session_id)) as records:
            async for record in records:
                await self._print(record)
                if record.seq + 1 == _SHOWN_RECORDS:
                    break

    async def _verify(self) -> None:
        await self._step(
            "Verify everything",
            "Each hash covers its record's bytes and the hash before it.",
            "$ sessionlog verify",
        )
        await print_heading(self._app)
        shown = await self._shown()
        async for report in verify_store(self._store):
            await print_report(self._app, report, shown)

    async def _go_on(self, session_id: SessionId) -> SessionLog:
        """Append a live turn, as an agent runtime does."""
        await self._step(
            "Go on with it, live",
            "A runtime appends each step of a run; when append returns, it is on disk.",
            "log = await open_session(store, session_id); await log.save_delta(items)",
        )
        log = await open_session(self._store, session_id)
        before = log.head
        await log.save_delta([user_message(_QUESTION), *_STEPS])
        await log.save_usage(
            history_len=4, input_total_tokens=5210, cache_read_tokens=4890, cache_write_tokens=320, output_tokens=85
        )
        await log.save_delta([assistant_message(_ANSWER)])
        await log.save_turn_end((await restore(self._store, session_id)).turn_count + 1)
        await log.save_delta([user_message(_LAST_QUESTION), _LAST_CALL])
        async for record in self._store.read(session_id, after=None if before is None else before.seq):
            await self._print(record)
        return log

    async def _resume(self, log: SessionLog) -> None:
        shown = await self._shown()
        await self._step(
            "Resume it",
            "The records add up to a state to go on from. A tool call has no result yet:",
            f"$ sessionlog restore {shown(log.session_id)}",
        )
        state = await restore(self._store, log.session_id)
        await print_state(self._app, log.session_id, state, shown, items_shown=4)

    async def _fork(self, session_id: SessionId) -> None:
        """Fork behind the tool results in the middle."""
        head = await self._store.read_head(session_id)
        results = [one.head async for one in self._store.read(session_id) if isinstance(one.entry, ToolResults)]
        at = min(results, key=lambda one: abs(one.seq - (head.seq // 2 if head else 0)))
        await self._step(
            "Fork it in the middle",
            f"Try another way after record {at.seq}; the new session says where it is from.",
            f"$ sessionlog fork {(await self._shown())(session_id)} --at {short(at.hash)}",
        )
        log = await fork_at(self._store, session_id, at.hash)
        await log.save_delta([assistant_message(_OTHER_ANSWER)])
        await self._made(log)

    async def _compact(self, log: SessionLog) -> None:
        await self._step(
            "Compact it",
            "A summary starts a new session, and the whole story stays where it was.",
            "await compact(store, session_id, summarize)",
        )
        await self._made(await compact(self._store, log.session_id, _summarize))

    async def _graph(self) -> None:
        await self._step(
            "See what came from what", "Forks, compactions and sub-agents, below their source.", "$ sessionlog graph"
        )
        await print_graph(self._app, await read_graph(self._app, self._store), await self._shown())

    async def _tamper(self, session_id: SessionId) -> None:
        """Change one byte of a copy, and verify it."""
        copy = self._scratch / "copy"
        name = f"{session_id}.jsonl"
        change = await anyio.to_thread.run_sync(_copy_but_one_byte, self._store.root / name, copy / name)
        await self._step(
            "Tamper with a copy",
            f"One byte changes in a copy of the file: {change}. Verify tells:",
            f"$ sessionlog verify {(await self._shown())(session_id)} --store copy",
        )
        async with FileStore(copy) as store:
            await print_heading(self._app)
            await print_report(self._app, await verify_session(store, session_id), await self._shown())

    async def _finish(self, session_id: SessionId) -> None:
        if self._out.json:
            return
        await self._out.line()
        await self._out.line(("Try next", "bold"))
        if self._kept:
            await self._out.row(f"export {STORE_VARIABLE}={self._app.store_name}", indent=2)
            await self._out.row(f"sessionlog show {(await self._shown())(session_id)} --full", indent=2)
            await self._out.row("sessionlog audit", indent=2)
        else:
            await self._out.row(
                "sessionlog demo --store ./demo-sessions    # the same, to keep and play with", indent=2
            )
        await self._out.line("sessionlog import claude-code ~/.claude/projects    # your own sessions", indent=2)
        await self._out.line("sessionlog --help", indent=2)

    async def _made(self, log: SessionLog) -> None:
        if self._out.json:
            await self._out.object({"session_id": log.session_id, "head_hash": log.head_hash})
        else:
            await self._out.row("made session ", ((await self._shown())(log.session_id), "cyan"))
        async for record in self._store.read(log.session_id):
            await self._print(record)

    async def _shown(self) -> ShownId:
        return await self._app.shown_ids(self._store)

    async def _print(self, record: HashedEntry) -> None:
        await print_record(self._out, record, seq_chars=4)


async def _summarize(state: RestoredState) -> list[Item]:
    """Stand in for the model that would write the summary."""
    return [user_message(f"Summary of {counted(len(state.history), 'item')}: {_SUMMARY}")]


def _copy_but_one_byte(source: Path, target: Path) -> str:
    """Copy a log, but for the case of the first letter that a user wrote in its later half; say which word it was."""
    data = bytearray(source.read_bytes())
    marker = b'"role":"user","content":[{"type":"text","text":"'
    at = data.find(marker, len(data) // 2)
    at = (at if at >= 0 else data.find(marker)) + len(marker)
    at += next(index for index, byte in enumerate(data[at:]) if chr(byte).isalpha() and byte < 128)
    word = re.compile(rb"[A-Za-z]+").match(data, at)
    before = "" if word is None else word[0].decode()
    data[at] ^= 0x20
    target.parent.mkdir()
    target.write_bytes(data)
    return f"{before!r} becomes {before.swapcase()[:1] + before[1:]!r}"
