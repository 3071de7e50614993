"""Commands that write: ``append`` and ``fork``."""

import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from .. import (
    EntryHash,
    FileStore,
    HeadConflict,
    InvalidEntry,
    LogEntry,
    SessionExists,
    SessionId,
    SessionLog,
    SessionNotFound,
    SessionStartState,
    create_session_with_id,
    fork_at,
    now_ms,
    open_session,
)
from .base import App, common_options, example, runs
from .completion import complete_session
from .entry_json import parse_entry
from .lookup import find_record, find_session
from .output import Refused
from .stdin import stdin_lines
from .text import counted, short


@click.command(
    epilog=example(
        'echo \'{"kind":"extension","domain":"my-tool","payload":{"step":1}}\' |',
        "  sessionlog append my-session --create",
    )
)
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option("--create", is_flag=True, help="Make the session first if it is not there; ID is then its whole id.")
@common_options
@runs
async def append(app: App, session: str, create: bool) -> None:
    """Append entries from standard input.

    One JSON object a line, so that any program can log through a pipe. The hash of each record is printed as soon as it
    is safely on disk. An entry without "ts" gets the present time; kinds that are not known are kept. The first bad
    line ends it with exit status 2; what was accepted before it stays. Where another writer comes in between, the
    entries go behind what it wrote.
    """
    async with app.open_store(make=create) as store:
        intake = _Intake(app, store, await _open_log(app, store, session, create=create))
        if sys.stdin is not None and sys.stdin.isatty():
            await app.out.note("reading entries from the terminal, one JSON object a line; Ctrl-D ends")
        async for lines in stdin_lines(line_bytes_max=store.line_bytes_max):
            await intake.take(lines)


@click.command(epilog=example("sessionlog fork 0190163d --at cb0c56b8", "sessionlog fork 0190163d --at 42"))
@click.argument("session", metavar="ID", shell_complete=complete_session)
@click.option(
    "--at", required=True, metavar="RECORD", help="The last record that the fork takes over: its number or hash."
)
@common_options
@runs
async def fork(app: App, session: str, at: str) -> None:
    """Make a session from a record of another.

    It goes on from the state after that record, and its id is printed. The source stays as it is. The new session names
    the source and the record, and an audit checks that it starts with just that state. Up to 7 digits alone are a
    number, 8 and more the beginning of a hash.
    """
    async with app.open_store() as store:
        source_id = await find_session(store, session)
        origin = await find_record(store, source_id, at)
        log = await fork_at(store, source_id, origin)
    if app.out.json:
        made = {"session_id": log.session_id, "head_hash": log.head_hash}
        await app.out.object({**made, "forked_from": {"session_id": source_id, "at_hash": origin}})
        return
    await app.out.line(log.session_id)
    await app.out.note(f"forked from {source_id} at {short(origin)}")


class _Intake:
    """Appends lines of entries to a session: one commit for those that came together, each acknowledged by its hash."""

    def __init__(self, app: App, store: FileStore, log: SessionLog) -> None:
        self._app = app
        self._store = store
        self._log = log
        self._line = 0
        self._accepted = 0

    async def take(self, lines: Sequence[bytes]) -> None:
        """Append the entries in ``lines`` up to the first bad one, which raises :class:`Refused`."""
        entries: list[tuple[int, LogEntry]] = []
        fault: ValueError | None = None
        for line in lines:
            self._line += 1
            try:
                if line.strip():
                    entries.append((self._line, parse_entry(line, now_ms=now_ms())))
            except ValueError as error:
                fault = error
                break
        await self._commit(entries)
        if fault is not None:
            raise self._refused(self._line, str(fault)) from fault

    async def _commit(self, entries: Sequence[tuple[int, LogEntry]]) -> None:
        if not entries:
            return
        try:
            hashes = await self._append([entry for _, entry in entries])
        except InvalidEntry as error:
            if len(entries) == 1:
                raise self._refused(entries[0][0], error.reason) from error
            for entry in entries:  # one by one: those before the bad one go in
                await self._commit([entry])
            return
        self._accepted += len(hashes)
        await self._acknowledge([line for line, _ in entries], hashes)

    async def _append(self, entries: Sequence[LogEntry]) -> list[EntryHash]:
        """Append behind whatever is last: entries that come through a pipe do not depend on what was read before."""
        while True:
            try:
                return await self._log.append_all(entries)
            except HeadConflict:
                self._log = await open_session(self._store, self._log.session_id)

    async def _acknowledge(self, lines: Sequence[int], hashes: Sequence[EntryHash]) -> None:
        assert self._log.head is not None  # noqa: S101 - it is the last of these
        first_seq = self._log.head.seq - len(hashes) + 1
        for seq, (line, hash_) in enumerate(zip(lines, hashes, strict=True), first_seq):
            if self._app.out.json:
                await self._app.out.object({"line": line, "seq": seq, "hash": hash_})
            else:
                await self._app.out.line(hash_)
        await self._app.out.flush()

    def _refused(self, line: int, reason: str) -> Refused:
        kept = "nothing was appended" if not self._accepted else f"the {counted(self._accepted, 'entry', 'entries')}"
        kept += " before it stay in the log" if self._accepted else ""
        return Refused(f"line {line} of standard input: {reason}; {kept}")


async def _open_log(app: App, store: FileStore, session: str, *, create: bool) -> SessionLog:
    session_id = SessionId(session)
    if create and not await store.exists(session_id):
        with suppress(SessionExists):  # made by somebody else meanwhile
            log = await create_session_with_id(store, session_id, SessionStartState())
            await app.out.note(f"made session {session}")
            return log
    if create:
        return await open_session(store, session_id)
    try:
        return await open_session(store, await find_session(store, session))
    except SessionNotFound as error:
        raise Refused(f"{error}: give --create to make it") from error
