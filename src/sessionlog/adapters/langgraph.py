"""LangGraph: :class:`SessionlogSaver`, a checkpointer whose threads are logs.

    graph = builder.compile(checkpointer=SessionlogSaver("logs"))

A checkpoint is one append, and so is what a task writes. A thread's log holds what the framework's in-memory saver
holds: checkpoints, the values of channels by version, and writes. Synchronous and asynchronous methods answer in any
thread and on any event loop, and any number of savers and processes may work on one directory.
"""

import functools
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import Domain, Store
from ..blocking import run
from .core import Logs
from .langgraph_thread import DOMAIN, Kept, Row, Thread, packed

_THREADS: Final = Domain(DOMAIN, Thread, Thread.apply)


class SessionlogSaver(BaseCheckpointSaver[str]):
    """A LangGraph checkpointer that keeps each thread in a log."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        serde: SerializerProtocol | None = None,
        *,
        store: Store | None = None,
    ) -> None:
        """Keep threads in the directory ``root``, or in ``store``.

        Args:
            root: The directory of the logs. A thread's id names its log if it is a valid session id, else its hash.
            serde: How values become bytes; LangGraph's own by default. No value is stored in another form, so that a
                serializer that encrypts keeps its secrets.
            store: A store to use instead.
        """
        super().__init__(serde=serde)
        self._logs = Logs(_THREADS, root, store=store)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that ``config`` names, or its thread's latest one, with the writes to it."""
        return self._found(config, run(self._logs.view, _thread_id(config), _row(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As :meth:`get_tuple`."""
        return self._found(config, await self._logs.view(_thread_id(config), _row(config)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield the checkpoints that match, newest first, thread by thread; without ``config``, of all threads."""
        found = 0
        for thread_id in run(self._logs.keys) if config is None else [_thread_id(config)]:
            for row in run(self._logs.view, thread_id, _rows(config, before)):
                if limit is not None and found >= limit:
                    return
                one = self._tuple(thread_id, row)
                if _matches(one.metadata, filter):
                    found += 1
                    yield one

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As :meth:`list`."""
        found = 0
        for thread_id in await self._logs.keys() if config is None else [_thread_id(config)]:
            for row in await self._logs.view(thread_id, _rows(config, before)):
                if limit is not None and found >= limit:
                    return
                one = self._tuple(thread_id, row)
                if _matches(one.metadata, filter):
                    found += 1
                    yield one

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint; return the configuration that names it."""
        payload = self._put_payload(config, checkpoint, metadata, new_versions)
        run(self._logs.change, _thread_id(config), lambda thread: (thread.new_put(payload), None))
        return _config(_thread_id(config), payload["ns"], payload["id"])

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As :meth:`put`."""
        payload = self._put_payload(config, checkpoint, metadata, new_versions)
        await self._logs.change(_thread_id(config), lambda thread: (thread.new_put(payload), None))
        return _config(_thread_id(config), payload["ns"], payload["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task wrote: once, but for the special channels, whose last write counts."""
        payload = self._writes_payload(config, writes, task_id, task_path)
        run(self._logs.change, _thread_id(config), lambda thread: (thread.new_writes(payload), None))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As :meth:`put_writes`."""
        payload = self._writes_payload(config, writes, task_id, task_path)
        await self._logs.change(_thread_id(config), lambda thread: (thread.new_writes(payload), None))

    def delete_thread(self, thread_id: str) -> None:
        """Delete the thread's log: what it held is off the disk."""
        run(self.adelete_thread, thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        """As :meth:`delete_thread`."""
        await self._logs.delete(str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Drop the checkpoints that these runs made, in all threads, with the writes to them."""
        run(self.adelete_for_runs, run_ids)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As :meth:`delete_for_runs`."""
        gone = frozenset(run_ids)
        for thread_id in await self._logs.keys() if gone else ():
            await self._logs.change(thread_id, lambda thread: (thread.drop_runs(gone), None))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Add all checkpoints and writes of one thread to another, in one commit."""
        run(self.acopy_thread, source_thread_id, target_thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As :meth:`copy_thread`."""
        payloads = await self._logs.view(str(source_thread_id), lambda thread: [*thread.payloads()])
        await self._logs.change(str(target_thread_id), lambda _: (payloads, None))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop all but the latest checkpoint of each namespace, or delete the threads with ``strategy="delete"``.

        Ancestors from which a ``DeltaChannel`` of a latest checkpoint is rebuilt stay.
        """
        run(functools.partial(self.aprune, strategy=strategy), thread_ids)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As :meth:`prune`."""
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"no strategy {strategy!r}: use 'keep_latest' or 'delete'")
        for thread_id in thread_ids:
            if strategy == "delete":
                await self._logs.delete(str(thread_id))
            else:
                await self._logs.change(str(thread_id), lambda thread: (thread.drop_all_but_latest(), None))

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002
        """Return a later version; two branches that fork from one never get the same."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311

    def _kept(self, value: Any) -> Kept:
        kind, data = self.serde.dumps_typed(value)
        return kind, packed(data)

    def _put_payload(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> dict[str, Any]:
        values = checkpoint["channel_values"]
        rest = {name: value for name, value in checkpoint.items() if name not in ("channel_values", "channel_versions")}
        whole = get_checkpoint_metadata(config, metadata)
        payload = {
            "op": "put",
            "ns": config["configurable"].get("checkpoint_ns", ""),
            "id": checkpoint["id"],
            "parent": get_checkpoint_id(config),
            "run": whole.get("run_id"),
            "checkpoint": self._kept(rest),
            "metadata": self._kept(whole),
            "versions": dict(checkpoint["channel_versions"]),
            "values": [
                [name, version, *self._kept(values[name])] for name, version in new_versions.items() if name in values
            ],
        }
        if deltas := whole.get("counters_since_delta_snapshot"):
            payload["deltas"] = sorted(deltas)
        return payload

    def _writes_payload(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> dict[str, Any]:
        configurable = config["configurable"]
        return {
            "op": "writes",
            "ns": configurable.get("checkpoint_ns", ""),
            "id": configurable["checkpoint_id"],
            "task": task_id,
            "path": task_path,
            "writes": [
                [WRITES_IDX_MAP.get(channel, index), channel, *self._kept(value)]
                for index, (channel, value) in enumerate(writes)
            ],
        }

    def _found(self, config: RunnableConfig, row: Row | None) -> CheckpointTuple | None:
        named = config if get_checkpoint_id(config) else None
        return None if row is None else self._tuple(_thread_id(config), row, named)

    def _tuple(self, thread_id: str, row: Row, config: RunnableConfig | None = None) -> CheckpointTuple:
        checkpoint = {
            **self.serde.loads_typed(row.checkpoint),
            "channel_versions": dict(row.versions),
            "channel_values": {name: self.serde.loads_typed(value) for name, value in row.values.items()},
        }
        return CheckpointTuple(
            config=config or _config(thread_id, row.ns, row.id),
            checkpoint=cast("Checkpoint", checkpoint),
            metadata=self.serde.loads_typed(row.metadata),
            parent_config=_config(thread_id, row.ns, row.parent) if row.parent else None,
            pending_writes=[(task, channel, self.serde.loads_typed(value)) for task, channel, value in row.writes],
        )


def _thread_id(config: RunnableConfig) -> str:
    return str(config["configurable"]["thread_id"])


def _config(thread_id: str, ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}


def _row(config: RunnableConfig) -> Callable[[Thread], Row | None]:
    ns, checkpoint_id = config["configurable"].get("checkpoint_ns", ""), get_checkpoint_id(config)
    return lambda thread: thread.row(ns, checkpoint_id)


def _rows(config: RunnableConfig | None, before: RunnableConfig | None) -> Callable[[Thread], Sequence[Row]]:
    ns = config["configurable"].get("checkpoint_ns") if config else None
    id = get_checkpoint_id(config) if config else None
    before_id = get_checkpoint_id(before) if before else None
    return lambda thread: thread.rows(ns=ns, checkpoint_id=id, before_id=before_id)


def _matches(metadata: CheckpointMetadata, wanted: dict[str, Any] | None) -> bool:
    return not wanted or all(metadata.get(name) == value for name, value in wanted.items())


__all__ = ["SessionlogSaver"]
