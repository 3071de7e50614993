"""The fold of a LangGraph thread's log, without LangGraph: what is dropped, copied, and kept of lists that grow."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlog import DomainRecord, EntryHash
from sessionlog.adapters.langgraph_thread import Thread, packed


def put(id: str, parent: str | None = None, *, values: Any = None, versions: Any = None, **more: Any) -> dict[str, Any]:
    """Return the record of a checkpoint; a changed channel's version is the checkpoint's id."""
    values = values or {}
    return {
        "op": "put",
        "ns": "",
        "id": id,
        "parent": parent,
        "run": None,
        "checkpoint": ["null", ""],
        "metadata": ["null", ""],
        "versions": {**(versions or {}), **dict.fromkeys(values, id)},
        "values": [[name, id, "msgpack", packed(msgspec.msgpack.encode(value))] for name, value in values.items()],
        **more,
    }


def fold(*payloads: dict[str, Any], thread: Thread | None = None) -> Thread:
    thread = thread or Thread()
    for payload in payloads:
        thread.apply(DomainRecord(payload, 0, 0, EntryHash("")))
    return thread


def grown(*payloads: dict[str, Any]) -> tuple[Thread, list[dict[str, Any]]]:
    """Fold records as a saver writes them; return these, too."""
    thread, written = Thread(), []
    for payload in payloads:
        (record,) = thread.new_put(payload)
        written.append(record)
        fold(record, thread=thread)
    return thread, written


def ids(thread: Thread) -> list[str]:
    return [row.id for row in thread.rows(ns=None, checkpoint_id=None, before_id=None)]


def value(thread: Thread, id: str, channel: str) -> Any:
    row = thread.row("", id)
    assert row is not None
    return msgspec.msgpack.decode(row.values[channel][1])


@pytest.mark.parametrize(("snapshot_at", "left"), [("1", ["4", "3", "2", "1"]), ("3", ["4", "3"]), ("4", ["4"])])
def test_pruning_keeps_what_delta_channels_are_rebuilt_from(snapshot_at: str, left: list[str]) -> None:
    """Ancestors of the latest checkpoint stay back to the one that holds the channel's last snapshot."""
    payloads = []
    for id, parent in ("1", None), ("2", "1"), ("3", "2"), ("4", "3"):
        snapshot = {"d": [id]} if id == snapshot_at else None
        payloads.append(put(id, parent, values=snapshot, versions={"d": f"{id} delta"}, deltas=["d"]))
    thread = fold(*payloads)
    fold(*thread.drop_all_but_latest(), thread=thread)
    assert ids(thread) == left


def test_dropping_takes_the_values_that_nothing_else_has() -> None:
    """A dropped checkpoint's writes and values go, values that another one has stay; twice drops nothing more."""
    first = put("1", values={"a": ["x"], "b": "kept"}, run="r1")
    second = put("2", "1", values={"a": ["y"]}, versions=first["versions"], run="r2")
    writes = {"op": "writes", "ns": "", "id": "1", "task": "t", "path": "", "writes": [[0, "a", "null", ""]]}
    thread = fold(first, second, writes)
    (drop,) = thread.drop_runs(frozenset({"r1", "unknown"}))
    assert drop == {"op": "drop", "checkpoints": [["", "1"]], "values": [["", "a", "1"]]}
    fold(drop, thread=thread)
    assert (ids(thread), value(thread, "2", "b")) == (["2"], "kept")
    assert thread.drop_runs(frozenset({"r1"})) == thread.drop_all_but_latest() == []


LISTS = st.lists(st.integers(0, 9) | st.text(max_size=3), max_size=40)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), LISTS), max_size=8))
def test_lists_that_grow_come_back_whole(steps: list[tuple[int, bool, list[Any]]]) -> None:
    """Whatever a checkpoint's parent, and whether its list grew or was replaced, every checkpoint has its own list."""
    payloads: list[dict[str, Any]] = []
    lists: list[list[Any]] = []
    for number, (back, grows, more) in enumerate(steps):
        parent = number - 1 - back % number if number else None
        lists.append([*(lists[parent] if grows and parent is not None else []), *more])
        payloads.append(put(str(number), None if parent is None else str(parent), values={"m": lists[-1]}))
    thread, written = grown(*payloads)
    for folded in (thread, fold(*written), fold(*thread.payloads())):
        assert [value(folded, str(number), "m") for number in range(len(lists))] == lists


@pytest.mark.parametrize("length", [1, 15, 16, 0xFFFF, 0x10000])
def test_a_list_of_any_length_grows_by_what_is_new(length: int) -> None:
    """Also where MessagePack writes an array's length in another way, the record holds what is new, and no more."""
    versions = {"m": "1"}
    thread, (_, second) = grown(
        put("1", values={"m": [7] * length}), put("2", "1", values={"m": [7] * length + [8]}, versions=versions)
    )
    assert second["values"] == [["m", "2", "msgpack", packed(b"\x08"), "1", 1]]
    assert value(thread, "2", "m") == [7] * length + [8]


def test_the_first_write_counts_and_of_special_channels_the_last() -> None:
    """A task's write of an index that is there is not written again; one below 0 replaces the one before."""

    def writes(*writes: list[Any]) -> dict[str, Any]:
        return {"op": "writes", "ns": "", "id": "1", "task": "t", "path": "", "writes": list(writes)}

    thread = fold(put("1"), writes([0, "a", "null", ""], [-1, "error", "null", ""]))
    assert thread.new_writes(writes([0, "a", "bytes", "AA=="], [-1, "error", "null", ""])) == []
    new = thread.new_writes(writes([0, "a", "bytes", "AA=="], [1, "b", "null", ""], [-1, "error", "bytes", "AA=="]))
    assert new == [writes([1, "b", "null", ""], [-1, "error", "bytes", "AA=="])]
    row = fold(*new, thread=thread).row("", None)
    assert row is not None
    assert row.writes == [("t", "error", ("bytes", b"\0")), ("t", "a", ("null", b"")), ("t", "b", ("null", b""))]
