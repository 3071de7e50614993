"""How many appends a second that survive power loss, by 1 writer, by 64 and by 1,000 sessions at once?

A peer that blocks is measured twice with many sessions: called in turn on the event loop, which stands still meanwhile,
and each call on a worker thread, as a program has to that serves all of these sessions.
"""

from .. import appending, bare_appending, peers
from ..harness import Bench, Case, Question

NAME = "append-disk"
GROUP_FACTOR = 8
"""The library commits appends of many sessions in one group: it gets so many times the work of a peer."""


async def cases(bench: Bench) -> list[Case]:
    return [_case(bench, sessions) for sessions in bench.plan.sessions_at_once]


def _case(bench: Bench, sessions: int) -> Case:
    slow = max(1, bench.plan.slow_appends // sessions)
    blocking = [peers.EVENTSOURCING, peers.SQLITE_FULL, peers.LMDB_SYNCED]
    others: list[peers.AsyncPeer | peers.BlockingPeer]
    if sessions == 1:
        contenders = [
            appending.library("disk", sessions=1, each=slow),
            appending.store_alone("disk", sessions=1, each=slow),
            bare_appending.flushed(count=slow),
            bare_appending.flushed_checked(count=slow),
        ]
        others = [peers.AGENTS, peers.LANGGRAPH, *blocking]
    else:
        ours = max(4, GROUP_FACTOR * bench.plan.slow_appends // sessions)
        contenders = [
            appending.library("disk", sessions=sessions, each=ours),
            appending.store_alone("disk", sessions=sessions, each=ours),
            bare_appending.group(sessions=sessions, each=ours),
            bare_appending.group_checked(sessions=sessions, each=ours),
        ]
        others = [peers.SQLITE_FULL, peers.threaded(peers.SQLITE_FULL)]
        if sessions < 1000:
            others += [peers.AGENTS, peers.LANGGRAPH, peers.EVENTSOURCING, peers.threaded(peers.EVENTSOURCING)]
            others += [peers.LMDB_SYNCED, peers.threaded(peers.LMDB_SYNCED)]
    contenders += [
        appending.peer(peer, sessions=sessions, each=slow) for peer in others if peers.is_installed(peer.needs)
    ]
    at_once = "1 session, one at a time" if sessions == 1 else f"{sessions:,} sessions at once"
    return Case(f"{NAME}/{sessions}", f'append, "disk", {at_once}', "appends/s", "more", contenders)


QUESTION = Question(NAME, "How many appends a second that survive power loss?", cases)
