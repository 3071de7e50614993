"""How many records a second are verified (the bytes), and audited (what they say too)?

The naive peer is what a chain costs whose hash is taken over JSON that is encoded anew: parse, take the hash out,
encode, SHA-256.
"""

import hashlib
import json
from pathlib import Path

from sessionlog import FileStore, audit_session, verify_session

from .. import peers, reading
from ..harness import Bench, Case, Contender, Question
from ..work import Stopwatch, StoredLog

NAME = "verify"


async def cases(bench: Bench) -> list[Case]:
    log = await bench.shop.log(bench.plan.stored_records)
    verifying = [_verify(log), reading.slice_and_hash(log), _reencode(log)]
    if peers.is_installed(peers.LEDGER.needs):
        few = max(1, log.records // 5)
        path = reading.ledger_log(bench.shop.folder, few)
        verifying.append(
            reading.ledger(
                path, few, "langgraph-ledger verify_log", lambda ledger, p: ledger.verify_log(p), reading.VERIFIED
            )
        )
    auditing = [_audit(log), reading.hash_and_decode(log), reading.hash_decode_encode(log), reading.slice_and_hash(log)]
    return [
        Case(f"{NAME}/verify", "verify: shape, hashes, links, positions", "records/s", "more", verifying),
        Case(f"{NAME}/audit", "audit: what every record says, too", "records/s", "more", auditing),
    ]


def _verify(log: StoredLog) -> Contender:
    async def run() -> int:
        async with FileStore(log.store) as store:
            report = await verify_session(store, log.session_id)
        return report.verdict.record_count if report.ok else 0

    return reading.timed("sessionlog", run, log.records)


def _audit(log: StoredLog) -> Contender:
    async def run() -> int:
        async with FileStore(log.store) as store:
            report = await audit_session(store, log.session_id)
        return report.verdict.record_count if report.ok else 0

    return reading.timed("sessionlog", run, log.records)


def _reencode(log: StoredLog) -> Contender:
    async def measure(_folder: Path) -> float:
        watch = Stopwatch()
        with log.path.open("rb", buffering=reading.BUFFER_BYTES) as file:
            for line in file:
                members = json.loads(line)
                members.pop("hash")
                hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()
        return watch.rate(log.records)

    return Contender("naive: json, encoded anew, SHA-256", "peer", measure, reading.VERIFIED)


QUESTION = Question(NAME, "How many records a second are verified, and audited?", cases)
