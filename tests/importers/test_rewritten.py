"""A transcript that is rewritten while it is imported: what is committed is what was read, under its digest."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from foreign import Transcript, check_store, is_note

from sessionlog import AssistantItems, HashedEntry, MemoryStore, Message
from sessionlog.importers import FORMATS, ImportFailed, import_file, source
from sessionlog.importers.lines import CHUNK_BYTES, ByteFile, open_bytes

pytestmark = pytest.mark.anyio
LINES = 260


def text_of(letter: str) -> bytes:
    """Return a transcript of more than four chunks that says ``letter``, with torn lines in it."""
    made = Transcript()
    for number in range(LINES):
        made.says(f"{number} " + letter * 4_000, f"m{number}")
        if number % 50 == 0:
            made.raw(letter.encode() * 40)
    return made.bytes()


GOOD, OTHER = text_of("a"), text_of("b")


class Swapping:
    """A file that is written anew, in its place, just before one of its reads."""

    def __init__(self, file: ByteFile, swap: Callable[[], None], reads: int) -> None:
        self._file = file
        self._swap = swap
        self.left = reads

    async def read(self, size: int, /) -> bytes:
        if self.left == 0:
            self._swap()
        self.left -= 1
        return await self._file.read(size)

    async def seek(self, offset: int, /) -> int:
        return await self._file.seek(offset)

    async def close(self) -> None:
        await self._file.close()


class SwappingStore(MemoryStore):
    """A store that lets the file be written anew at one of its commits."""

    def __init__(self, swap: Callable[[], None], commits: int) -> None:
        super().__init__()
        self._swap = swap
        self.left = commits

    async def create_session(self, session_id: str, records: Sequence[HashedEntry]) -> None:
        self._count()
        await super().create_session(session_id, records)

    async def append(self, session_id: str, *records: HashedEntry) -> None:
        self._count()
        await super().append(session_id, *records)

    def _count(self) -> None:
        if self.left == 0:
            self._swap()
        self.left -= 1


async def check(store: MemoryStore) -> str:
    """Check that the store holds a beginning of one text under that text's digest; return its letters."""
    await check_store(store)
    said = ""
    for session_id in await store.list_sessions():
        records = await store.read_all(session_id)
        digests = {one.entry.payload["source"]["blake3"] for one in records if is_note(one.entry)}  # type: ignore[union-attr]
        texts = [
            item.text
            for one in records
            if isinstance(one.entry, AssistantItems)
            for item in one.entry.items
            if isinstance(item, Message)
        ]
        letters = {text.rpartition(" ")[2][0] for text in texts}
        assert len(letters) <= 1
        assert [text.split()[0] for text in texts] == [str(number) for number in range(len(texts))]
        data = GOOD if letters == {"a"} else OTHER
        assert digests == {blake3(data[:-1]).hexdigest()}
        said += "".join(letters)
    return said


async def test_rewritten_before_any_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each read of each pass: it is noticed before a record of the other text is committed."""
    path = tmp_path / "t.jsonl"
    assert len(GOOD) > 4 * CHUNK_BYTES
    refused = 0
    for reads in range(100):
        path.write_bytes(GOOD)
        files: list[Swapping] = []

        async def opened(path: Path, reads: int = reads, files: list[Swapping] = files) -> ByteFile:
            files.append(Swapping(await open_bytes(path), lambda: _rewrite(path, OTHER), reads))
            return files[-1]

        monkeypatch.setattr(source, "open_bytes", opened)
        store = MemoryStore()
        try:
            await import_file(store, path, formats=FORMATS[:1])
        except ImportFailed as error:
            assert "rewritten" in error.reason  # noqa: PT017 - or none is raised
            refused += 1
        await check(store)
        if files[-1].left > 0:
            break
    assert refused > 8


def _rewrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


@pytest.mark.parametrize("other", [OTHER, OTHER[:-9], b"", GOOD.replace(b"a" * 40 + b"\n", b"c" * 40 + b"\n")])
async def test_rewritten_at_any_commit(tmp_path: Path, other: bytes) -> None:
    """At each commit, to another text, a shorter one, an empty one, one with other torn bytes: only the good is in."""
    path = tmp_path / "t.jsonl"

    def swap() -> None:
        path.write_bytes(other)

    for commits in range(100):
        path.write_bytes(GOOD)
        store = SwappingStore(swap, commits)
        try:
            await import_file(store, path)
        except ImportFailed as error:
            assert "rewritten" in error.reason  # noqa: PT017 - or none is raised
        assert await check(store) == "a"
        if store.left > 0:
            break
        path.write_bytes(GOOD)
        store.left = -1
        await import_file(store, path)
        assert (await import_file(store, path)).unchanged
    assert commits > 3
