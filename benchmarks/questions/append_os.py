"""How many appends a second that survive a killed process, by 1 writer, by 64 and by 1,000 sessions at once?

The synced peers of ``append-disk`` are here once more, for one session, and do more than was asked: they flush.
"""

from .. import appending, bare_appending, peers
from ..harness import Bench, Case, Question
from ..plan import Plan

NAME = "append-os"


async def cases(bench: Bench) -> list[Case]:
    return [_case(bench, sessions) for sessions in bench.plan.sessions_at_once]


def _case(bench: Bench, sessions: int) -> Case:
    plan: Plan = bench.plan
    fast = max(1, plan.os_appends // sessions)
    slow = max(1, plan.slow_appends // sessions)
    contenders = [
        appending.library("os", sessions=sessions, each=fast),
        appending.store_alone("os", sessions=sessions, each=fast),
        bare_appending.in_place(sessions=sessions, each=fast),
        bare_appending.in_place_checked(sessions=sessions, each=fast),
    ]
    others: list[tuple[peers.AsyncPeer | peers.BlockingPeer, int]] = [
        (peers.LMDB_UNSYNCED, fast),
        (peers.SQLITE_NORMAL, max(1, fast // 4)),
    ]
    if sessions < 1000:
        others += [(peers.LEDGER, slow * 4), (peers.NAIVE, slow)]
    if sessions == 1:
        others += [(peers.AGENTS, slow), (peers.LANGGRAPH, slow), (peers.EVENTSOURCING, slow)]
    contenders += [
        appending.peer(peer, sessions=sessions, each=each) for peer, each in others if peers.is_installed(peer.needs)
    ]
    at_once = "1 session" if sessions == 1 else f"{sessions:,} sessions at once"
    return Case(f"{NAME}/{sessions}", f'append, "os", {at_once}', "appends/s", "more", contenders)


QUESTION = Question(NAME, "How many appends a second that survive a killed process?", cases)
