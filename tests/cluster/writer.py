"""A process of a history: appends to sessions that others append to as well, and says how each append ended.

    python -m cluster.writer <JSON of Task>     one line of JSON an append on stdout, until ``acks`` were acknowledged

A line is ``[fate, session, mark]``: ``ack``, ``refused`` (the store said that nothing was written) or ``unknown`` (the
store said that it does not know). The mark is in the record, so that it can be looked for.
"""

import asyncio
import importlib
import json
import random
import sys
from typing import Any

import msgspec

from sessionlog import CorruptLog, Extension, HeadConflict, SessionLogError, SessionNotFound, StoreFailed, link

PAUSE_S = 0.02
"""A writer whose store failed waits so long: a server that starts again is not asked a thousand times."""


class Task(msgspec.Struct):
    """What a writer does. ``make_store`` names a function, ``module:name``, that takes ``where``."""

    name: str
    make_store: str
    where: dict[str, Any]
    sessions: list[str]
    acks: int
    seed: int


def say(*said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


async def write(task: Task) -> None:
    module, _, name = task.make_store.partition(":")
    choose = random.Random(task.seed)
    number = acked = 0
    async with getattr(importlib.import_module(module), name)(task.where) as store:
        while acked < task.acks:
            session = choose.choice(task.sessions)
            number += 1
            mark = f"{task.name}-{number}"
            try:
                head = await store.read_head(session)
                records = []
                for part in range(choose.randint(1, 3)):
                    records.append(link(head, Extension(ts=0, domain="history", payload=[mark, part])))
                    head = records[-1].head
            except CorruptLog as error:  # nobody can go on from here
                say("read", session, repr(error))
                return
            except SessionLogError as error:
                say("read", session, repr(error))
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                await store.append(session, *records)
            except (HeadConflict, SessionNotFound):
                say("refused", session, mark, len(records))
            except StoreFailed as failure:
                say("unknown" if failure.poisoned else "refused", session, mark, len(records))
                await asyncio.sleep(PAUSE_S)
            except SessionLogError:
                say("refused", session, mark, len(records))
            else:
                acked += 1
                say("ack", session, mark, len(records))


if __name__ == "__main__":
    asyncio.run(write(msgspec.json.decode(sys.argv[1], type=Task)))
