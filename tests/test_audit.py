"""Audits over any store: one session or all of them, meaning and provenance, in slices and within bounds."""

import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forging import TURN_END, USER, forged_line, forged_lines, forged_log
from raw_store import RawStore
from sessionlog import (
    CorruptLog,
    Damage,
    EntryHash,
    EntryNotFound,
    Extension,
    Finding,
    HashedEntry,
    InvalidSessionId,
    Item,
    LogState,
    MemoryStore,
    Message,
    Report,
    RequestConfig,
    RestoredState,
    SessionId,
    SessionLog,
    SessionNotFound,
    SessionOrigin,
    SessionStartState,
    Store,
    StoreFailed,
    TextPart,
    UnknownEntry,
    assistant_message,
    audit_session,
    audit_store,
    build_chain,
    compact,
    create_session_with_id,
    decode_entry,
    fork,
    fork_at,
    restore,
    system_message,
    user_message,
    verify_session,
    verify_store,
)
from sessionlog.audit import FINDINGS_MAX
from sessionlog.audit.meaning import Meaning
from sessionlog.turns import INLINE_BYTES_MAX, SLICE_BYTES
from strategies import chains

pytestmark = pytest.mark.anyio

Check = Callable[[Store, SessionId], Awaitable[Report]]

S = "s"
ID = SessionId(S)


def start(session_id: str = S, more: bytes = b"", *, history: bytes = b"[]") -> bytes:
    return b'{"kind":"session_start","ts":1,"format":"sessionlog/1","session_id":"%s","config":{},"history":%s%s}' % (
        session_id.encode(),
        history,
        more,
    )


def origin(member: str, session_id: str, at_hash: str) -> bytes:
    return f',"{member}":{{"session_id":"{session_id}","at_hash":"{at_hash}"}}'.encode()


def hash_at(log: bytes, seq: int) -> str:
    return log.split(b"\n")[seq][9:73].decode()


def damages(report: Report) -> list[tuple[Damage, int]]:
    return [(finding.damage, finding.seq) for finding in report.findings]


async def collect(reports: AsyncGenerator[Report, None]) -> dict[str, Report]:
    found = [report async for report in reports]
    by_id = {report.session_id: report for report in found}
    assert len(by_id) == len(found)
    for report in found:
        assert report.ok is (not report.findings and report.verdict.state is not LogState.UNREADABLE)
        assert all(finding.session_id == report.session_id for finding in report.findings)
    return by_id


# --- one session


@given(chains())
def test_nothing_is_found_in_what_was_written(records: list[HashedEntry]) -> None:
    """Whatever entries a log is made of, an audit finds nothing, but a source that is not there."""
    session_id = SessionId(records[0].line.split(b'"session_id":"', 1)[1].split(b'"', 1)[0].decode())
    store = RawStore()
    store.put(session_id, b"".join(record.line + b"\n" for record in records))
    assert anyio.run(verify_session, store, session_id).findings == ()
    report = anyio.run(audit_session, store, session_id)
    assert all(damage is Damage.PROVENANCE for damage, _ in damages(report))
    claimed = sum(name in records[0].line for name in (b',"forked_from":{', b',"compacted_from":{'))
    assert bool(report.findings) is bool(claimed)


@pytest.mark.parametrize("check", [verify_session, audit_session])
async def test_a_session_that_is_not_there_raises(check: Check) -> None:
    """Of a single session, that it is missing, misnamed or unreadable is an error, not a finding."""
    store = RawStore()
    with pytest.raises(SessionNotFound):
        await check(store, ID)
    with pytest.raises(InvalidSessionId):
        await check(store, SessionId("../x"))
    store.put(S, [StoreFailed("input/output error")])
    with pytest.raises(StoreFailed):
        await check(store, ID)


@pytest.mark.parametrize("check", [verify_session, audit_session])
async def test_what_stands_in_the_place_of_a_log_is_a_finding(check: Check) -> None:
    """A log that the store refuses to read, a symbolic link say, is broken, with the store's own words."""
    store = RawStore()
    fault = CorruptLog("it is a symbolic link", damage=Damage.FILE, seq=0, offset=0, session_id=ID)
    store.put(S, [fault])
    report = await check(store, ID)
    assert report.findings == (
        Finding(session_id=ID, damage=Damage.FILE, seq=0, line=1, offset=0, reason="it is a symbolic link"),
    )
    assert (report.verdict.state, report.verdict.record_count) == (LogState.BROKEN, 0)


async def test_a_log_that_becomes_unreadable_keeps_what_was_read() -> None:
    """A fault in the middle of reading leaves the good records before it in the verdict."""
    data = forged_log(start(), TURN_END)
    store = RawStore()
    store.put(S, [data, CorruptLog("it was replaced", damage=Damage.FILE, seq=2, offset=len(data), session_id=ID)])
    report = await audit_session(store, ID)
    assert damages(report) == [(Damage.FILE, 2)]
    assert (report.verdict.record_count, report.verdict.valid_bytes) == (2, len(data))


async def test_a_log_that_is_made_anew_while_it_is_read_is_no_damage() -> None:
    """Of two logs, one behind the other, nothing can be said: the check of a store says so, and goes on."""
    data = forged_log(start(), TURN_END)
    store = RawStore()
    store.put(S, [data, EntryNotFound(ID, "0" * 64)])
    for look in (verify_store, audit_store):
        reports = [report async for report in look(store)]
        assert [report.verdict.state for report in reports] == [LogState.UNREADABLE]
        assert "made anew" in (reports[0].verdict.reason or "")


async def test_bytes_that_pass_by_are_no_damage() -> None:
    """A reader that met a failed write being cut back looks again, and reports what is there then."""
    good = forged_log(start(), TURN_END)
    glued = good[:-1] + b'garbage of a failed write\n{"more'
    for look in (verify_session, audit_session):
        store = RawStore()
        store.put(S, glued, good)
        report = await look(store, ID)
        assert (report.ok, report.verdict.record_count) == (True, 2)
        store.put(S, glued, glued)
        assert damages(await look(store, ID)) == [(Damage.SHAPE, 1)]


@given(st.lists(st.integers(1, 300), max_size=20))
def test_chunks_of_any_size_give_the_same_report(sizes: list[int]) -> None:
    """However the store cuts the bytes, reports are the same: offsets, damage and words."""
    data = forged_log(
        start(), TURN_END, b'{"kind":"turn_end","ts":1}', USER, start(), b'{"kind":"new","ts":1,"a":1,"a":2}', TURN_END
    )
    chunks, rest = [], data
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    store = RawStore()
    store.put("s", data)
    whole = anyio.run(audit_session, store, ID)
    assert damages(whole) == [(Damage.ENTRY, 2), (Damage.FIRST_RECORD, 4), (Damage.DUPLICATE_MEMBER, 5)]
    offsets = [0, *(at + 1 for at, byte in enumerate(data) if byte == 0x0A)]
    assert [finding.offset for finding in whole.findings] == [offsets[2], offsets[4], offsets[5]]
    store.put("s", [*chunks, rest])
    assert anyio.run(audit_session, store, ID) == whole


async def test_a_broken_chain_comes_first_and_meaning_before_it_is_kept() -> None:
    """The finding that breaks the chain leads; faults of the records before it follow; after it nothing is judged."""
    lines = forged_lines(start(), b'{"kind":"turn_end","ts":1}', TURN_END, b'{"kind":"turn_end","ts":2}')
    lines[2] = lines[2].replace(b'"turn_count":1', b'"turn_count":2')
    store = RawStore()
    store.put(S, b"".join(line + b"\n" for line in lines))
    assert damages(await audit_session(store, ID)) == [(Damage.HASH, 2), (Damage.ENTRY, 1)]


@pytest.mark.parametrize("extra", [-1, 0, 1, 500])
async def test_findings_are_bounded(extra: int) -> None:
    """A report lists 100 faults of meaning, and then one finding says how many more there are, and from where."""
    assert FINDINGS_MAX == 100
    count = FINDINGS_MAX + extra
    data = forged_log(start(), *[b'{"kind":"turn_end","ts":1}'] * count, TURN_END)
    store = RawStore()
    store.put(S, data)
    findings = (await audit_session(store, ID)).findings
    assert [finding.seq for finding in findings] == list(range(1, min(count, FINDINGS_MAX + 1) + 1))
    assert [finding.damage for finding in findings] == [Damage.ENTRY] * len(findings)
    if extra > 0:
        assert f"{extra} more" in findings[-1].reason
    assert all("more" not in finding.reason for finding in findings[:FINDINGS_MAX])
    store.put(S, data + b"bad\n")
    bounded = (await audit_session(store, ID)).findings
    assert (bounded[0].damage, bounded[1:]) == (Damage.SHAPE, findings)


async def test_a_log_being_written_is_reported_up_to_its_last_record() -> None:
    """Half of a record at the end, whatever half, is a torn tail and no finding."""
    data = forged_log(start(), USER, TURN_END)
    store = RawStore()
    for size in range(len(data)):
        store.put(S, data[:size])
        report = await audit_session(store, ID)
        assert report.ok
        assert report.verdict.record_count == data[:size].count(b"\n")


@pytest.mark.parametrize(
    ("entry", "damage"),
    [
        (b'{"kind":"new","ts":1,"a":%s}' % (b"[" * 63 + b"]" * 63), None),
        (b'{"kind":"new","ts":1,"a":%s}' % (b"[" * 64 + b"]" * 64), Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":%s}' % (b'{"b":' * 63 + b"1" + b"}" * 63), None),
        (b'{"kind":"new","ts":1,"a":%s}' % (b'{"b":' * 64 + b"1" + b"}" * 64), Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":%s}' % (b"[" * 99_999 + b"]" * 99_999), Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":[%s]}' % b",".join([b"[{}]"] * 99), None),
        (b'{"kind":"new","ts":1,"a":"%s"}' % (b'[{\\"' * 99), None),
        (b'{"kind":"new","ts":1,"a":["\\\\",%s,[]]}' % (b"[" * 62 + b"]" * 62), None),
        (b'{"kind":"new","ts":1,"a":["\\\\",%s,[]]}' % (b"[" * 63 + b"]" * 63), Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":18446744073709551615}', None),
        (b'{"kind":"new","ts":1,"a":18446744073709551616}', Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":-9223372036854775808}', None),
        (b'{"kind":"new","ts":1,"a":-9223372036854775809}', Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":%s}' % (b"9" * 9999), Damage.LIMIT),
        (b'{"kind":"turn_end","ts":99999999999999999999,"turn_count":1}', Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":[1.5e308,-0.0,1e-999,-0]}', None),
        (b'{"kind":"new","ts":1,"a":[-1e309]}', Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":"\\ud83d\\ude00"}', None),
        (b'{"kind":"new","ts":1,"a":"\\\\ud800"}', None),
        (b'{"kind":"new","ts":1,"a":"\\ud83d"}', Damage.LIMIT),
        (b'{"kind":"new","ts":1,"\\uDC00":1}', Damage.LIMIT),
        (b'{"kind":"new","ts":1,"a":-Infinity}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":01}', Damage.JSON),
        (b'{"kind":"new","ts":1,\'a\':1}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":"\\x"}', Damage.JSON),
        (b'{"kind":"new","ts":1}}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":" \\t\\" , : { } [ ] ","b":[1,{}]}', None),
        (b'{"kind":"new","ts":1, "a":1}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a": 1}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":[1\t,2]}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":"\\\\" ,"b":""}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":[ ]}', Damage.JSON),
        (b'{"kind":"new","ts":1 }', Damage.JSON),
        (b'{"kind":"turn_end","ts":1,"turn_count":1\r}', Damage.JSON),
        (b'{"kind":"new","ts":1,"a":{"b":1,"c":{"b":1}}}', None),
        (b'{"kind":"new","ts":1,"a":{"b":1,"b":1}}', Damage.DUPLICATE_MEMBER),
        (b'{"kind":"new","ts":1,"kind":"new"}', Damage.DUPLICATE_MEMBER),
        (b'{"kind":"turn_end","ts":1,"turn_count":1,"turn_count":2}', Damage.DUPLICATE_MEMBER),
        (b'{"kind":"new","ts":1,"a":"\xed\xa0\x80"}', Damage.ENCODING),
        (b'{"kind":"new","ts":1,"a":"\xc0\x80"}', Damage.ENCODING),
        (b'{"kind":"new","ts":1,"\xff":1}', Damage.ENCODING),
        (b'{"kind":"new","ts":1.5}', Damage.ENTRY),
        (b'{"kind":"new","a":1}', Damage.ENVELOPE),
        (b'{"kind":"new"}', Damage.ENVELOPE),
        (b'{"kind":"session_start","ts":1}', Damage.FIRST_RECORD),
        (b'{"kind":"user_input","ts":1,"item":{"type":"message","role":"robot","content":[]}}', Damage.ENTRY),
        (b'{"kind":"cache_locked","ts":1,"locked_prefix_len":1}', None),
    ],
)
async def test_meaning_is_checked_to_the_limit(entry: bytes, damage: Damage | None) -> None:
    """What a writer would have refused is found, with its kind of damage; what it would have taken is not."""
    store = RawStore()
    store.put(S, forged_log(start(), entry, TURN_END))
    assert (await verify_session(store, ID)).ok
    report = await audit_session(store, ID)
    assert damages(report) == ([] if damage is None else [(damage, 1)])
    assert all(len(finding.reason.encode()) < 400 for finding in report.findings)


@pytest.mark.parametrize("member", ["hash", "prev_hash", "seq"])
def test_the_parsed_envelope_is_that_of_the_offsets(member: str) -> None:
    """A record whose parsed members are not those at the fixed offsets is found, whatever made them differ."""
    (line,) = forged_lines(start())
    right = {"hash": EntryHash(line[9:73].decode()), "prev_hash": None, "seq": 0}
    assert Meaning().fault(HashedEntry(line, **right)) is None  # type: ignore[arg-type]
    wrong = {**right, member: 7 if member == "seq" else EntryHash("0" * 64)}
    fault = Meaning().fault(HashedEntry(line, **wrong))  # type: ignore[arg-type]
    assert fault is not None
    assert fault[0] is Damage.ENVELOPE
    assert member in fault[1]


async def test_verify_reads_no_json() -> None:
    """Verifying passes bytes that are no JSON at all, as long as they chain; auditing names each."""
    store = RawStore()
    store.put(S, forged_log(start(), b'{"kind":"\xff[[[}', b'{"kind":"}'))
    report = await verify_session(store, ID)
    assert (report.ok, report.verdict.record_count) == (True, 3)
    assert damages(await audit_session(store, ID)) == [(Damage.ENCODING, 1), (Damage.JSON, 2)]


# --- provenance


@pytest.fixture
async def store() -> RawStore:
    return RawStore()


@pytest.fixture
async def source(store: RawStore) -> SessionLog:
    """Make a session with some of everything."""
    state = SessionStartState("p", RequestConfig(model="m", temperature=0.5), [user_message("before")])
    log = await create_session_with_id(store, SessionId("source"), state)
    await log.save_delta([user_message("é\u2028"), assistant_message("two")])
    await log.append(UnknownEntry(kind="from_the_future", ts=1, members={"history": []}))
    await log.save_config_changed(RequestConfig(model="later"))
    await log.save_extension("d", {"a": 1})
    await log.save_usage(1, 2, 3, 4, 5)
    await log.save_delta([system_message("three")])
    return log


async def test_forks_at_every_record_are_borne_out(store: RawStore, source: SessionLog) -> None:
    """A fork at any record, one of an unknown kind too, and a fork of that fork, pass the audit."""
    for record in await store.read_all(source.session_id):
        forked = await fork_at(store, source.session_id, record.hash)
        await forked.save_delta([user_message("more")])
        assert forked.head_hash is not None
        again = await fork_at(store, forked.session_id, forked.head_hash)
        for log in (forked, again):
            assert (await audit_session(store, log.session_id)).findings == ()
    reports = await collect(audit_store(store))
    assert all(report.ok for report in reports.values())
    assert len(reports) == 17


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: SessionStartState("other", s.config, s.history), "system_prompt"),
        (lambda s: SessionStartState(None, s.config, s.history), "system_prompt"),
        (lambda s: SessionStartState(s.system_prompt, RequestConfig(model="m"), s.history), "config"),
        (lambda s: SessionStartState(s.system_prompt, s.config, s.history[:-1]), "history"),
        (lambda s: SessionStartState(s.system_prompt, s.config, [*s.history, s.history[0]]), "history"),
        (lambda s: SessionStartState(s.system_prompt, s.config, s.history[::-1]), "history"),
        (lambda _: SessionStartState(None, RequestConfig(), []), "system_prompt and config and history"),
    ],
    ids=range(7),
)
async def test_a_fork_with_another_state_is_found(
    store: RawStore, source: SessionLog, change: Callable[[RestoredState], SessionStartState], says: str
) -> None:
    """A fork whose start is not the state of its origin is found, alone and in a store, and told what differs."""
    state = await restore(store, source.session_id)
    assert state.head_hash is not None
    forked = await fork(store, change(state), SessionOrigin(source.session_id, state.head_hash))
    for report in (
        await audit_session(store, forked.session_id),
        (await collect(audit_store(store)))[forked.session_id],
    ):
        assert damages(report) == [(Damage.PROVENANCE, 0)]
        assert f" {says} at its start" in report.findings[0].reason
        assert (report.findings[0].line, report.findings[0].offset) == (1, 0)
        assert report.verdict.state is LogState.VALID
        assert not report.ok
    assert (await verify_session(store, forked.session_id)).ok


async def test_items_are_compared_one_by_one(store: RawStore, source: SessionLog) -> None:
    """Two histories whose items only look alike when run together are told apart."""
    a = await create_session_with_id(store, SessionId("a"), SessionStartState(history=[Message("user", [])] * 2))
    assert a.head_hash is not None
    parts = [TextPart("x"), TextPart("y")]
    forked = await fork(
        store, SessionStartState(history=[Message("user", parts)]), SessionOrigin(a.session_id, a.head_hash)
    )
    assert damages(await audit_session(store, forked.session_id)) == [(Damage.PROVENANCE, 0)]


async def test_compactions_name_a_record_that_is_there(store: RawStore, source: SessionLog) -> None:
    """A compaction holds another history than its source, and passes as long as the source holds the record."""

    async def summarize(state: RestoredState) -> list[Item]:
        return [system_message("in short")]

    made = await compact(store, source.session_id, summarize)
    assert (await audit_session(store, made.session_id)).findings == ()
    assert all(report.ok for report in (await collect(audit_store(store))).values())


@pytest.mark.parametrize("member", ["forked\\u005ffrom", "\\u0063ompacted_from", "forked_fro\\u006d"])
async def test_a_claim_whose_name_is_written_with_escapes_is_followed(member: str) -> None:
    """JSON lets any character of a name be escaped: none hides where a session says that it comes from."""
    store = RawStore()
    store.put(S, forged_log(start(S, origin(member, "gone", "0" * 64))))
    report = await audit_session(store, ID)
    assert Damage.PROVENANCE in [finding.damage for finding in report.findings]
    [listed] = [report async for report in audit_store(store)]
    assert listed == report


@pytest.mark.parametrize("member", ["forked_from", "compacted_from"])
@pytest.mark.parametrize(
    ("claimed", "says"),
    [
        (("gone", "0" * 64), "missing"),
        (("../x", "0" * 64), "missing"),
        (("", ""), "missing"),
        (("source", "0" * 64), "holds no record"),
        (("source", "x" * 9999), "holds no record"),
        ((S, "0" * 64), "holds no record"),
        (("broken", "HASH"), "broken at record 2"),
        (("file", "HASH"), "symbolic link"),
    ],
)
async def test_sources_that_bear_nothing_out(
    store: RawStore, source: SessionLog, member: str, claimed: tuple[str, str], says: str
) -> None:
    """A source that is missing, damaged, or does not hold the record is a finding on the session made from it."""
    lines = forged_lines(start("broken"), TURN_END, TURN_END)
    store.put("broken", b"".join(line + b"\n" for line in (*lines[:2], lines[2].replace(b"1}", b"2}"))))
    store.put("file", [CorruptLog("a symbolic link", damage=Damage.FILE, seq=0, offset=0)])
    at_hash = claimed[1].replace("HASH", lines[1][9:73].decode())
    store.put(S, forged_log(start(S, origin(member, claimed[0], at_hash)), TURN_END))
    for report in (await audit_session(store, ID), (await collect(audit_store(store)))[ID]):
        assert damages(report) == [(Damage.PROVENANCE, 0)]
        assert report.findings[0].reason.startswith(f"{member}: ")
        assert says in report.findings[0].reason
        assert len(report.findings[0].reason) < 400
        assert report.verdict.state is LogState.VALID


async def test_a_source_whose_state_cannot_be_folded(store: RawStore) -> None:
    """Where the source chains and does not decode, a fork behind that place cannot be borne out; one before it can."""
    bad = forged_log(start("bad"), TURN_END, b'{"kind":"turn_end","ts":1}', TURN_END)
    store.put("bad", bad)
    store.put("after", forged_log(start("after", origin("forked_from", "bad", hash_at(bad, 3)))))
    store.put("before", forged_log(start("before", origin("forked_from", "bad", hash_at(bad, 1)))))
    store.put("compacted", forged_log(start("compacted", origin("compacted_from", "bad", hash_at(bad, 3)))))
    reports = await collect(audit_store(store))
    for name, expected in (("after", [(Damage.PROVENANCE, 0)]), ("before", []), ("compacted", [])):
        assert damages(reports[SessionId(name)]) == expected
        assert damages(await audit_session(store, SessionId(name))) == expected
    assert "record 2 cannot be folded" in reports[SessionId("after")].findings[0].reason
    assert damages(reports[SessionId("bad")]) == [(Damage.ENTRY, 2)]


async def test_a_torn_source_bears_its_records_out(store: RawStore) -> None:
    """A source with a torn tail verifies: what it holds before the tail counts."""
    torn = forged_log(start("torn"), TURN_END) + b'{"hash":"'
    store.put("torn", torn)
    store.put(S, forged_log(start(S, origin("forked_from", "torn", hash_at(torn, 1)))))
    assert all(report.ok for report in (await collect(audit_store(store))).values())


async def test_provenance_is_listed_before_faults_of_meaning(store: RawStore) -> None:
    """However many faults of meaning a session has, where it comes from is not left out."""
    claim = origin("forked_from", "gone", "0" * 64)
    store.put(S, forged_log(start(S, claim), *[b'{"kind":"turn_end","ts":1}'] * (FINDINGS_MAX + 5)))
    found = damages(await audit_session(store, ID))
    assert found[:2] == [(Damage.PROVENANCE, 0), (Damage.ENTRY, 1)]
    assert len(found) == FINDINGS_MAX + 2


async def test_only_the_look_that_counts_gives_evidence(store: RawStore) -> None:
    """What a source held in a look that was broken is no evidence: the second look says what it holds."""
    first = forged_log(start("a"), USER, TURN_END)
    store.put("a", first[:-4] + b"????\n", forged_log(start("a"), TURN_END))
    store.put(S, forged_log(start(S, origin("compacted_from", "a", hash_at(first, 1)))))
    report = await audit_session(store, ID)
    assert damages(report) == [(Damage.PROVENANCE, 0)]
    assert "holds no record" in report.findings[0].reason


async def test_states_are_compared_as_the_fold_has_them(store: RawStore) -> None:
    """Where a source starts anew in the middle, which its own audit finds, the fold does too, and so does the fork."""
    item = USER.split(b'"item":', 1)[1][:-1]
    twice = forged_log(start("a", history=b"[%s]" % item), TURN_END, start("a", history=b"[%s,%s]" % (item, item)))
    store.put("a", twice)
    store.put(S, forged_log(start(S, origin("forked_from", "a", hash_at(twice, 2)), history=b"[%s,%s]" % (item, item))))
    reports = await collect(audit_store(store))
    assert damages(reports[ID]) == []
    assert damages(reports[SessionId("a")]) == [(Damage.FIRST_RECORD, 2)]


# --- whole stores


async def test_every_session_gets_one_report(store: RawStore, source: SessionLog) -> None:
    """A store-wide check goes on behind damage, and reports each session once, also an unreadable one."""
    store.put("good", forged_log(start("good")))
    store.put("broken", forged_log(start("broken"), TURN_END).replace(b'"turn_count":1', b'"turn_count":2'))
    store.put("gone", [SessionNotFound(SessionId("gone"))])
    store.put("unreadable", [StoreFailed("permission denied")])
    store.put("file", [CorruptLog("a symbolic link", damage=Damage.FILE, seq=0, offset=0)])
    store.put("meaning", forged_log(start("meaning"), b'{"kind":"turn_end","ts":1}'))
    for check, meaning in ((verify_store, []), (audit_store, [(Damage.ENTRY, 1)])):
        reports = await collect(check(store))
        assert {name: damages(report) for name, report in reports.items()} == {
            "source": [],
            "good": [],
            "broken": [(Damage.HASH, 1)],
            "gone": [(Damage.FILE, 0)],
            "unreadable": [],
            "file": [(Damage.FILE, 0)],
            "meaning": meaning,
        }
        assert reports[SessionId("unreadable")].verdict.reason == "permission denied"
        assert reports[SessionId("unreadable")].verdict.state is LogState.UNREADABLE
        assert not reports[SessionId("unreadable")].ok
        assert reports[SessionId("gone")].findings[0].offset is None


async def test_an_empty_store_has_no_reports() -> None:
    """Nothing to check gives nothing; a store that cannot be listed raises."""
    store = MemoryStore()
    assert await collect(verify_store(store)) == await collect(audit_store(store)) == {}
    await store.aclose()
    for check in (verify_store, audit_store):
        with pytest.raises(StoreFailed):
            await collect(check(store))


async def test_verify_goes_by_last_activity_and_audit_by_descent(store: RawStore, source: SessionLog) -> None:
    """Verify keeps the store's order; audit has a source before what was made from it, however the store lists them."""
    assert source.head_hash is not None
    child = await fork_at(store, source.session_id, source.head_hash)
    assert child.head_hash is not None
    grandchild = await fork_at(store, child.session_id, child.head_hash)
    assert [r.session_id async for r in verify_store(store)] == await store.list_sessions()
    assert [r.session_id async for r in audit_store(store)] == [
        *(source.session_id, child.session_id, grandchild.session_id)
    ]


async def test_forks_of_one_source_do_not_read_it_again(store: RawStore, source: SessionLog) -> None:
    """A store-wide audit reads every log twice at most, however many sessions were made from it."""

    async def summarize(state: RestoredState) -> list[Item]:
        return []

    for record in (await store.read_all(source.session_id)) * 5:
        await compact(store, source.session_id, summarize)
        await fork_at(store, source.session_id, record.hash)
        await compact(store, source.session_id, summarize)
    store.opened.clear()
    reports = await collect(audit_store(store))
    assert all(report.ok for report in reports.values())
    assert store.opened.count(source.session_id) == 2
    assert len(store.opened) == 2 * len(reports)


async def test_sources_in_a_circle_end(store: RawStore) -> None:
    """Sessions that name each other, or themselves, are audited once each and found to be made up."""
    store.put("a", forged_log(start("a", origin("forked_from", "b", "0" * 64))))
    store.put("b", forged_log(start("b", origin("forked_from", "a", "0" * 64))))
    store.put("c", forged_log(start("c", origin("forked_from", "c", "0" * 64))))
    reports = await collect(audit_store(store))
    assert {name: damages(report) for name, report in reports.items()} == {
        name: [(Damage.PROVENANCE, 0)] for name in "abc"
    }


async def test_long_lines_of_descent(store: RawStore) -> None:
    """A thousand generations are followed without recursion."""
    log = forged_log(start("g0"))
    store.put("g0", log)
    for n in range(1, 1200):
        log = forged_log(start(f"g{n}", origin("forked_from", f"g{n - 1}", hash_at(log, 0))))
        store.put(f"g{n}", log)
    reports = await collect(audit_store(store))
    assert len(reports) == 1200
    assert all(report.ok for report in reports.values())


async def test_a_first_line_that_lies_only_costs_time(store: RawStore, source: SessionLog) -> None:
    """The plan is made from unchecked bytes: where the log then says otherwise, its claim is followed anew."""
    assert source.head_hash is not None
    true = forged_log(start(S, origin("compacted_from", "source", source.head_hash)))
    store.put(S, forged_log(start(S)), true)
    assert (await collect(audit_store(store)))[ID].ok
    store.put(S, forged_log(start(S)), forged_log(start(S, origin("forked_from", "source", source.head_hash))))
    assert damages((await collect(audit_store(store)))[ID]) == [(Damage.PROVENANCE, 0)]
    store.put(S, true, forged_log(start(S, origin("forked_from", "source", source.head_hash))))
    assert damages((await collect(audit_store(store)))[ID]) == [(Damage.PROVENANCE, 0)]


async def test_evidence_is_taken_from_the_look_that_counts(store: RawStore) -> None:
    """When a source is looked at twice, its records count once, from the second look."""
    good = forged_log(start("a"), USER, TURN_END)
    store.put("a", good[: len(good) - 4] + b"????\n", good)
    item = USER.split(b'"item":', 1)[1][:-1]
    child = forged_log(start(S, origin("forked_from", "a", hash_at(good, 1)), history=b"[%s]" % item))
    store.put(S, child)
    assert (await audit_session(store, ID)).findings == ()


# --- bounds


async def test_memory_does_not_grow_with_the_log() -> None:
    """Verifying and auditing 24 MiB, a fork and its source, takes less than 4 MiB."""
    lines = forged_lines(start("big"), *[b'{"kind":"turn_end","ts":1,"turn_count":1,"x":"%s"}' % (b"x" * 900)] * 1000)
    prefix = b"".join(line + b"\n" for line in lines)

    large = b'{"kind":"extension","ts":1,"domain":"d","payload":"%s"}' % (b"x" * 65536)

    class Big(RawStore):
        async def read_raw(self, session_id: str) -> AsyncGenerator[bytes, None]:
            if session_id != "big":
                async for chunk in super().read_raw(session_id):
                    yield chunk
                return
            yield prefix
            prev, seq = lines[-1][9:73], len(lines)
            for _ in range(24):
                chunk = b""
                for _ in range(16):
                    line = forged_line(prev, seq, large)
                    prev, seq = line[9:73], seq + 1
                    chunk += line + b"\n"
                yield chunk

    store = Big()
    store.put("big", b"")
    store.put(S, forged_log(start(S, origin("forked_from", "big", lines[-1][9:73].decode()))))
    tracemalloc.start()
    try:
        for check in (verify_session, audit_session):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            report = await check(store, SessionId("big"))
            assert (report.ok, report.verdict.record_count) == (True, 1001 + 24 * 16)
            assert tracemalloc.get_traced_memory()[1] - before < 4 * 2**20
        before = tracemalloc.get_traced_memory()[0]
        assert (await audit_session(store, ID)).ok
        assert tracemalloc.get_traced_memory()[1] - before < 4 * 2**20
    finally:
        tracemalloc.stop()


async def test_a_line_without_end_is_not_gathered() -> None:
    """Of a log of 64 MiB without an LF, no more is held than a line may be: a torn tail, however long."""
    store = RawStore(line_bytes_max=2**20)
    store.put(S, [b"x" * 2**18] * 256)
    tracemalloc.start()
    try:
        (report,) = [report async for report in audit_store(store)]
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert damages(report) == []
    assert (report.verdict.state, report.verdict.torn_bytes) == (LogState.TORN_TAIL, 64 * 2**20)


async def test_the_event_loop_turns_between_slices() -> None:
    """While a log is checked, other tasks get a turn at least every 64 KiB, also where chunks are single records."""
    records = build_chain([decode_entry(start()), *[Extension(ts=1, domain="d", payload="x" * 1000)] * 1000])
    data = b"".join(record.line + b"\n" for record in records)
    for look in ([data], [record.line + b"\n" for record in records]):
        store = RawStore()
        store.put(S, look)
        for check in (verify_session, audit_session):
            turns = 0
            done = anyio.Event()

            async def count(done: anyio.Event) -> None:
                nonlocal turns
                while not done.is_set():
                    turns += 1
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(count, done)
                report = await check(store, ID)
                done.set()
            assert report.ok
            assert turns >= len(data) // (2 * SLICE_BYTES)


async def test_long_lines_are_checked_on_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than a slice may take inline goes to a worker thread; shorter ones do not."""
    hops: list[int] = []
    run_sync = anyio.to_thread.run_sync

    async def counted(function, data):  # type: ignore[no-untyped-def]
        hops.append(len(data))
        return await run_sync(function, data)

    monkeypatch.setattr("anyio.to_thread.run_sync", counted)
    short = forged_log(start(), *[TURN_END] * 5000)
    large = b'{"kind":"extension","ts":1,"domain":"d","payload":"%s"}' % (b"x" * INLINE_BYTES_MAX)
    long = forged_log(start(), large, TURN_END)
    for data, expected in ((short, 0), (long, 1)):
        hops.clear()
        store = RawStore()
        store.put(S, data)
        assert (await audit_session(store, ID)).ok
        assert len(hops) == expected


async def test_checks_can_be_cancelled_and_streams_are_closed() -> None:
    """A store-wide check that is stopped half-way leaves nothing open."""
    store = MemoryStore()
    for name in "abc":
        await create_session_with_id(store, SessionId(name), SessionStartState())
    for check in (verify_store, audit_store):
        reports = check(store)
        assert (await anext(reports)).ok
        await reports.aclose()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await collect(check(store))
        assert scope.cancelled_caught


def test_reports_are_data() -> None:
    """Reports and findings go to JSON as they are, for whoever keeps them."""
    store = RawStore()
    store.put(S, forged_log(start(), b'{"kind":"turn_end","ts":1}'))
    report = anyio.run(audit_session, store, ID)
    again = msgspec.json.decode(msgspec.json.encode(report), type=Report)
    assert (again.session_id, again.verdict, tuple(again.findings)) == (ID, report.verdict, report.findings)
