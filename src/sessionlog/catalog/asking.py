"""What is asked of a catalog, as SQL: conditions, orders, cursors, and names to add up by."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from ..queries import DayUsage, Tokens, by_model, day_of
from .rows import SessionKind, SessionRow, SessionState
from .tables import ROW_COLUMNS, SUM_TOKENS

Order: TypeAlias = Literal["last", "first", "turns", "tokens", "records", "bytes"]
"""By what sessions are ordered: when the conversation went on last, when it began, or the most of something."""
UsageBy: TypeAlias = Literal["day", "week", "month", "project", "model", "agent", "label", "session"]
"""By what tokens are added up."""

_DIGITS_MAX: Final = 18
_ORDERS: Final[Mapping[Order, str]] = {
    "last": "coalesce(s.last_ts, 0)",
    "first": "coalesce(s.first_ts, 0)",
    "turns": "s.turns",
    "tokens": "(s.input_tokens + s.output_tokens)",
    "records": "s.records",
    "bytes": "s.bytes",
}
_THURSDAY: Final = "u.day, '-3 days', 'weekday 4'"
"""The Thursday of a day's week, whose year and number are the week's (ISO 8601)."""
_USAGE_NAMES: Final[Mapping[UsageBy, str]] = {
    "day": "u.day",
    "week": f"coalesce(strftime('%Y', {_THURSDAY}) || printf('-W%02d', (strftime('%j', {_THURSDAY}) + 6) / 7), u.day)",
    "month": "substr(u.day, 1, 7)",
    "project": "coalesce(s.project, '')",
    "model": "u.model",
    "agent": "coalesce(s.agent, '')",
    "label": "coalesce(l.key || '=' || l.value, '')",
    "session": "s.session_id",
}


class Link(NamedTuple):
    """Where a session comes from: ``source_id`` is ``None`` if from nowhere, and may be no session of the store.

    ``at_hash`` is the record that it was forked or compacted at, or the record that notes the call which ran it;
    ``at_seq`` is that one's position in the source's log, ``None`` if that is not there or does not hold it.
    """

    session_id: str
    kind: SessionKind
    source_id: str | None
    at_hash: str | None
    at_seq: int | None
    records: int
    first_words: str
    last_ts: int | None
    state: SessionState
    fault: str | None


_LINKS: Final = """
SELECT s.session_id, s.kind, coalesce(s.origin_id, p.session_id, s.parent_id), coalesce(s.origin_hash, c.hash),
    iif(s.origin_id IS NULL, c.seq, iif(s.origin_seq < 0, NULL, s.origin_seq)),
    s.records, s.first_words, s.last_ts, s.state, s.fault,
    min(printf('%020d %s', coalesce(p.first_ts, 0), p.session_id))
FROM sessions s
LEFT JOIN spawns c ON c.child_id = s.session_id AND c.no <> s.no AND s.origin_id IS NULL
LEFT JOIN sessions p ON p.no = c.no
WHERE s.kind <> 'receipts' GROUP BY s.no ORDER BY coalesce(s.last_ts, 0) DESC, s.session_id DESC
"""
"""Of several that say they ran a session, the first one counts: the others mostly repeat it."""
CHILDREN: Final = f"SELECT {ROW_COLUMNS} FROM sessions s WHERE s.origin_id = ? OR s.parent_id = ? ORDER BY s.session_id"  # noqa: S608


class Asked(NamedTuple):
    """Which sessions are asked for, as a condition in SQL (empty: all) and its values."""

    where: str
    values: list[Any]


class UsageRow(msgspec.Struct, frozen=True):
    """What was used under one ``name`` (a day, a project, …): tokens by day and model, and by how many sessions."""

    name: str
    sessions: int
    usage: Sequence[DayUsage]

    @property
    def models(self) -> dict[str | None, Tokens]:
        """The tokens of each model; ``None`` where the log names none."""
        return by_model(self.usage)


def links(connection: sqlite3.Connection) -> list[Link]:
    """Return where each session comes from, last activity first."""
    return [Link(*one[:-1]) for one in connection.execute(_LINKS)]


def asked(
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    project: str | None = None,
    model: str | None = None,
    label: str | None = None,
    kind: SessionKind | None = None,
) -> Asked:
    """Return which sessions are asked for; receipts only if they are the ``kind``."""
    conditions: dict[str, list[Any]] = {"s.kind <> 'receipts'": []} if kind is None else {"s.kind = ?": [kind]}
    if since_ms is not None:
        conditions["s.last_ts >= ?"] = [since_ms]
    if until_ms is not None:
        conditions["s.first_ts < ?"] = [until_ms]
    if project is not None:
        conditions["(s.project = ? OR substr(s.project, -length(?) - 1) = '/' || ?)"] = [project] * 3
    if model is not None:
        conditions["s.no IN (SELECT no FROM usage WHERE substr(model, 1, length(?)) = ?)"] = [model] * 2
    if label is not None:
        key, equals, value = label.partition("=")
        conditions["s.no IN (SELECT no FROM labels WHERE key = ?)"] = [key]
        if equals:
            conditions["s.no IN (SELECT no FROM labels WHERE key = ? AND value = ?)"] = [key, value]
    return Asked(f" WHERE {' AND '.join(conditions)}", [one for values in conditions.values() for one in values])


def among(asked: Asked, session_ids: Collection[str]) -> Asked:
    """Return those of the sessions asked for that are among ``session_ids``."""
    where = f"{asked.where} AND s.session_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - no text of others
    return Asked(where, [*asked.values, msgspec.json.encode(list(session_ids)).decode()])


def page(asked: Asked, order: Order, limit: int | None, after: str | None) -> tuple[str, list[Any]]:
    """Return the query for a page of rows, with one more than ``limit``. Raises ``ValueError`` for an odd cursor."""
    key = _ORDERS[order]
    where, values = asked.where, list(asked.values)
    if after is not None:
        where += f" AND ({key}, s.session_id) < (?, ?)"
        values += _decode_cursor(after)
    sql = f"SELECT {ROW_COLUMNS} FROM sessions s{where} ORDER BY {key} DESC, s.session_id DESC"  # noqa: S608
    if limit is not None:
        sql += " LIMIT ?"
        values.append(limit + 1)
    return sql, values


def cursor_of(row: SessionRow, order: Order) -> str:
    """Return the cursor that asks for the rows after this one."""
    match order:
        case "last":
            at = row.last_ts or 0
        case "first":
            at = row.first_ts or 0
        case "tokens":
            at = row.tokens.input_total + row.tokens.output
        case _:
            at = getattr(row, order)
    return f"{at}:{row.session_id}"


def usage_queries(by: UsageBy, asked: Asked, since_ms: int | None, until_ms: int | None) -> tuple[str, str, list[Any]]:
    """Return the queries for tokens by name, day and model, and for sessions by name, and the values of both."""
    name = _USAGE_NAMES[by]
    where, values = asked.where, list(asked.values)
    for operator, ms in ((">=", since_ms), ("<", until_ms)):
        if ms is not None:
            where += f" AND u.day {operator} ?"
            values.append(day_of(ms))
    source = "FROM usage u JOIN sessions s ON s.no = u.no"
    if by == "label":
        source += " LEFT JOIN labels l ON l.no = u.no"
    return (
        f"SELECT {name}, u.day, u.model, {SUM_TOKENS} {source}{where} GROUP BY 1, 2, 3 ORDER BY 1, 3, 2",
        f"SELECT {name}, count(DISTINCT u.no) {source}{where} GROUP BY 1",
        values,
    )


def usage_rows(tokens: Sequence[tuple[Any, ...]], sessions: Sequence[tuple[Any, ...]]) -> list[UsageRow]:
    """Return what the two queries found, in the order of the names."""
    counts = dict(sessions)
    found: dict[str, list[DayUsage]] = {}
    for name, day, model, *used in tokens:
        found.setdefault(name, []).append(DayUsage(day, model or None, Tokens(*used)))
    return [UsageRow(name, counts[name], usage) for name, usage in found.items()]


def _decode_cursor(cursor: str) -> tuple[int, str]:
    at, colon, session_id = cursor.partition(":")
    if not colon or not at.lstrip("-").isdecimal() or len(at) > _DIGITS_MAX:
        raise ValueError(f"{cursor!r} is no cursor: give the one that came with the page before")
    return int(at), session_id
