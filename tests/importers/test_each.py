"""Importing many files in worker processes: the store and the reports of one process, whatever happens to a worker."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import importing_calls
import pytest
from foreign import SID
from hypothesis import given
from hypothesis import strategies as st
from test_claude_code_loops import with_agent
from test_codex import SID as CODEX_SID
from test_copies import claude, codex, cuts_of, parted, pi
from test_pi import SID as PI_SID

from sessionlog import FileStore, StoreFailed, WorkerDied, delete
from sessionlog.importers import FORMATS, ImportFailed, ImportReport, each, find_transcripts, import_each
from sessionlog.importers.grouping import UNKNOWN, groups_of, keys_of

pytestmark = pytest.mark.anyio
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))]
STREAM = "5e55105e-0000-4000-8000-00000000000"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Workers are tested on both event loops elsewhere."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is worth a process, and a batch of its own."""
    monkeypatch.setattr(each, "PROCESS_BYTES", 1)
    monkeypatch.setattr(each, "BATCH_BYTES", 0)


class Result(NamedTuple):
    """What an import told of each file, in order, and the files of the store."""

    outcomes: list[ImportReport | tuple[Path, str]]
    logs: dict[str, bytes]

    @property
    def failed(self) -> list[str]:
        return [one[0].name for one in self.outcomes if isinstance(one, tuple)]


async def run(root: Path, files: Sequence[Path], *, jobs: int, import_one: Any = None, **options: Any) -> Result:
    outcomes: list[ImportReport | tuple[Path, str]] = []

    async def take(outcome: ImportReport | ImportFailed) -> None:
        outcomes.append((outcome.path, outcome.reason) if isinstance(outcome, ImportFailed) else outcome)

    import_one = import_one or importing_calls.at_noon
    async with FileStore(root, "os") as store:
        await import_each(store, files, import_one, formats=FORMATS, on_file=take, jobs=jobs, **options)
    return Result(outcomes, {path.name: path.read_bytes() for path in root.glob("*.jsonl")})


def families(folder: Path, random_: random.Random) -> None:
    """Write transcripts of several sessions, with copies, forks, sub-agents and odd files, in an order by chance."""
    made: list[bytes] = []
    for number, data in enumerate((claude(), codex(), pi(), claude(), pi())):
        new_id = str(uuid5(UUID(SID), str(number))).encode()
        for sid in (SID, CODEX_SID, PI_SID):
            data = data.replace(sid.encode(), new_id)
        made += cuts_of(data, random_)
    made += [parted("a", "b", "c"), parted("a", "x", "y"), parted("z"), parted("a", "b"), parted("a", "x"), parted("a")]
    made += [b"", b"\n", b"no JSON\n", b'{"rows":1}\n', bytes(range(256))]
    random_.shuffle(made)
    for number, data in enumerate(made):
        (folder / f"{number:03}.jsonl").write_bytes(data)
    for number in range(4):
        own = str(uuid5(UUID(SID), f"parent {number}"))
        main, agent = (one.bytes().replace(SID.encode(), own.encode()) for one in with_agent())
        (folder / f"{own}.jsonl").write_bytes(main)
        (folder / own / "subagents").mkdir(parents=True)
        (folder / own / "subagents" / "agent-a1.jsonl").write_bytes(agent)


@pytest.mark.parametrize("seed", SEEDS)
async def test_processes_make_the_store_that_one_process_makes(tmp_path: Path, seed: int) -> None:
    """The same bytes in every log, and the same reports in the same order; a second import changes nothing."""
    folder = tmp_path / "transcripts"
    folder.mkdir()
    families(folder, random.Random(seed))
    files = await find_transcripts([folder])
    alone = await run(tmp_path / "alone", files, jobs=1)
    apart = await run(tmp_path / "apart", files, jobs=3)
    assert apart == alone
    assert len(apart.logs) > 20
    assert len(apart.failed) == 3
    again = await run(tmp_path / "apart", files, jobs=1)
    assert again.logs == alone.logs
    assert all(one.unchanged for one in again.outcomes if isinstance(one, ImportReport))


async def test_real_transcripts_in_processes(tmp_path: Path, shared: Path) -> None:
    """The same for files that tools wrote."""
    files = await find_transcripts([shared / "data"])
    done: list[int] = []
    alone = await run(tmp_path / "alone", files, jobs=1)
    apart = await run(tmp_path / "apart", files, jobs=2, progress=done.append)
    assert apart == alone
    assert sum(done) == sum(path.stat().st_size for path in files)


async def test_logs_of_another_store_tell_whose_they_are(tmp_path: Path) -> None:
    """By the session that the first record names, whatever the file is called."""
    folder = tmp_path / "transcripts"
    folder.mkdir()
    families(folder, random.Random(9))
    await run(tmp_path / "logs", await find_transcripts([folder]), jobs=1)
    for path in list((tmp_path / "logs").glob("*.jsonl")):
        assert await keys_of(str(path.rename(tmp_path / "log")), FORMATS) == {path.stem}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six transcripts of six sessions."""
    folder = tmp_path / "transcripts"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jsonl").write_bytes(parted("a", "b").replace(SID.encode(), f"{STREAM}{number}".encode()))
    return folder


async def test_a_killed_worker_fails_its_file_alone(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of its batch is imported by another worker, even behind it in the same session."""
    monkeypatch.setattr(each, "batches_of", lambda groups, _sizes, _count: [[at for group in groups for at in group]])
    (folder / "2.jsonl").rename(folder / "kill2.jsonl")
    (folder / "kill1.jsonl").write_bytes((folder / "1.jsonl").read_bytes())
    (folder / "z1.jsonl").write_bytes(parted("a", "b", "c").replace(SID.encode(), f"{STREAM}1".encode()))
    files = await find_transcripts([folder])
    told = await run(tmp_path / "store", files, jobs=2, import_one=importing_calls.dying)
    assert told.failed == ["kill1.jsonl", "kill2.jsonl"]
    reasons = {one[1] for one in told.outcomes if isinstance(one, tuple)}
    assert reasons == {
        "the process that imported it died (SIGKILL killed it: the memory may be short): import it again"
    }
    expected = await run(tmp_path / "alone", [one for one in files if "kill" not in one.name], jobs=1)
    assert told.logs == expected.logs
    assert [one for one in told.outcomes if isinstance(one, ImportReport)] == expected.outcomes
    assert not (await run(tmp_path / "store", files, jobs=1)).failed


async def test_files_that_conflict_are_imported_after_all_others(tmp_path: Path, folder: Path) -> None:
    """Another writer came first in a worker: the import is made again here, and told in its place."""
    files = await find_transcripts([folder])
    alone = await run(tmp_path / "alone", files, jobs=1)
    assert await run(tmp_path / "store", files, jobs=2, import_one=importing_calls.conflicting) == alone


@pytest.mark.parametrize("seed", SEEDS)
async def test_files_of_one_session_in_several_processes(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the grouping missed them: every line is in the store once all the same, and importing again adds none."""
    monkeypatch.setattr(each, "groups_of", lambda keys: [[at] for at in range(len(keys))])
    folder = tmp_path / "transcripts"
    folder.mkdir()
    data = claude()
    for number, copy in enumerate(cuts_of(data, random.Random(seed))):
        (folder / f"{number}.jsonl").write_bytes(copy)
    files = await find_transcripts([folder])
    alone = await run(tmp_path / "alone", files[:1], jobs=1)
    apart = await run(tmp_path / "apart", files, jobs=2)
    assert not apart.failed
    assert apart.logs.keys() == alone.logs.keys()
    new = [one.imported - one.imported_before for one in apart.outcomes if isinstance(one, ImportReport)]
    [whole] = alone.outcomes
    assert isinstance(whole, ImportReport)
    assert sum(new) == whole.imported
    again = await run(tmp_path / "apart", files, jobs=1)
    assert again.logs == apart.logs


async def test_what_the_store_raises_ends_all(tmp_path: Path, folder: Path) -> None:
    """As it is; what was committed stays."""
    (folder / "3.jsonl").rename(folder / "full3.jsonl")
    files = await find_transcripts([folder])
    with pytest.raises(StoreFailed, match="no space left on device"):
        await run(tmp_path / "store", files, jobs=2, import_one=importing_calls.full)
    assert not (await run(tmp_path / "store", files, jobs=1)).failed


async def test_what_the_caller_raises_ends_all(tmp_path: Path, folder: Path) -> None:
    """Such as a reader of standard output that has gone: as it is, not in a group."""

    async def take(_outcome: object) -> None:
        raise BrokenPipeError

    files = await find_transcripts([folder])
    async with FileStore(tmp_path / "store") as store:
        with pytest.raises(BrokenPipeError):
            await import_each(store, files, importing_calls.at_noon, formats=FORMATS, on_file=take, jobs=2)


async def test_workers_that_cannot_start_are_told(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    files = await find_transcripts([folder])
    with pytest.raises(WorkerDied, match="ended with status 1"):
        await run(tmp_path / "store", files, jobs=2)


async def test_deleted_sessions_stay_deleted_in_processes(tmp_path: Path, folder: Path) -> None:
    """Unless they are asked for."""
    files = await find_transcripts([folder])
    whole = await run(tmp_path / "store", files, jobs=1)
    async with FileStore(tmp_path / "store") as store:
        await delete(store, f"{STREAM}2")
    later = await run(tmp_path / "store", files, jobs=2)
    assert [one.deleted for one in later.outcomes if isinstance(one, ImportReport) and one.deleted] == [[f"{STREAM}2"]]
    assert f"{STREAM}2.jsonl" not in later.logs
    back = await run(tmp_path / "store", files, jobs=2, again=True)
    assert back.logs[f"{STREAM}2.jsonl"] == whole.logs[f"{STREAM}2.jsonl"]


def test_processes_are_started_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes, by the number of files, and no more than there are jobs or files."""
    monkeypatch.setattr(each, "PROCESS_BYTES", 1000)
    monkeypatch.setattr(each, "FILE_BYTES", 10)
    assert each.process_count([1979], 4) == 1
    assert each.process_count([989, 990], 4) == 1
    assert each.process_count([990, 990], 4) == 2
    assert each.process_count([0] * 199, 4) == 1
    assert each.process_count([0] * 200, 4) == 2
    assert each.process_count([0] * 2000, 4) == 4
    assert each.process_count([10**6, 10**6], 4) == 2
    assert each.process_count([10**6] * 9, 1) == 1
    assert each.process_count([], 4) == 0


keys_lists = st.lists(st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=2))


@given(keys_lists)
def test_no_two_groups_share_a_key(keys: list[frozenset[str]]) -> None:
    """Every file is in one group, groups and files in order, and no group could be parted."""
    groups = groups_of(keys)
    assert sorted(at for group in groups for at in group) == list(range(len(keys)))
    assert all(group == sorted(group) for group in groups)
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)
    held = [frozenset().union(*(keys[at] for at in group)) for group in groups]
    assert sum(map(len, held)) == len(frozenset().union(*held))
    for group in groups:
        assert set(_reached(group[0], group, keys)) == set(group)


def _reached(start: int, group: Sequence[int], keys: Sequence[frozenset[str]]) -> Iterator[int]:
    seen, left = {start}, [start]
    while left:
        at = left.pop()
        yield at
        new = [other for other in group if other not in seen and keys[other] & keys[at]]
        seen.update(new)
        left += new


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), st.integers(1, 4), st.randoms())
def test_batches_hold_every_group_whole(sizes: list[int], count: int, random_: random.Random) -> None:
    """Each file once; a group in its order, in one batch."""
    keys = [frozenset((random_.choice("abcdefgh"),)) for _ in sizes]
    groups = groups_of(keys)
    batches = each.batches_of(groups, sizes, count)
    assert sorted(at for batch in batches for at in batch) == list(range(len(sizes)))
    for group in groups:
        [holding] = [batch for batch in batches if group[0] in batch]
        assert [at for at in holding if at in group] == group


def test_what_holds_the_end_up_goes_first() -> None:
    """The rest stays in its order, and small files are given out together."""
    sizes = [100, 100, 10**9, 100, 2 * 10**9]
    assert each.batches_of([[0], [1], [2], [3], [4]], sizes, 2)[:2] == [[4], [2]]


@pytest.mark.parametrize(
    ("name", "data", "key"),
    [
        ("x.jsonl", b"", None),
        ("x.jsonl", b"no JSON\n" * 9, None),
        (f"{SID}.jsonl", b"", SID),
        (f"rollout-2026-{CODEX_SID}.jsonl", b"torn", CODEX_SID),
        ("t.jsonl", claude(), SID),
        ("t.jsonl", claude().split(b"\n")[1], SID),
        ("t.jsonl", b'{"type":"summary","summary":"s","leafUuid":"u"}\n' * 9000 + claude(), SID),
        ("t.jsonl", codex(), CODEX_SID),
        ("t.jsonl", pi(), PI_SID),
    ],
)
async def test_the_beginning_of_a_file_tells_whose_it_is(
    tmp_path: Path, name: str, data: bytes, key: str | None
) -> None:
    """Or else its name does; or nothing."""
    path = tmp_path / name
    path.write_bytes(data)
    assert await keys_of(str(path), FORMATS) == (UNKNOWN if key is None else {key})


async def test_a_sub_agent_goes_with_its_parent(tmp_path: Path) -> None:
    _, agent = with_agent()
    path = agent.write(tmp_path)
    assert await keys_of(str(path), FORMATS) == {SID, f"{SID}-agent-a1"}


@pytest.mark.parametrize("name", ["gone", ".", "\0"])
async def test_what_is_no_file_does_not_tell(tmp_path: Path, name: str) -> None:
    assert await keys_of(str(tmp_path / name), FORMATS) == UNKNOWN
