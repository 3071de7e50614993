"""The shell script that checks a proof by OpenSSL and b3sum: it agrees with the package, and shares no code with it."""

import shutil
import subprocess
from pathlib import Path

import anyio
import pytest
from keeper import Keeper

from sessionlog import FileStore
from sessionlog.evidence import Proved, prove_record, read_vkey

SCRIPT = Path(__file__).resolve().parents[2] / "src" / "sessionlog" / "evidence" / "check-proof.sh"
TOOLS = ("bash", "openssl", "b3sum", "od", "base64")


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    keeper = Keeper(tmp_path)
    keeper.add_witness()
    keeper.write("one", "a", "b", "c", "d", "e")
    keeper.anchor_witnessed()
    for name in ("two", "three", "four", "five"):
        keeper.write(name, name)
        keeper.anchor_witnessed()
    return keeper


def prove(keeper: Keeper, seq: int) -> Proved:
    async def run() -> Proved:
        async with FileStore(keeper.store) as store:
            return await prove_record(store, keeper.anchors, "one", seq)

    return anyio.run(run)


def check(
    keeper: Keeper, proof: bytes, record: bytes, *, stranger: str | None = None
) -> subprocess.CompletedProcess[str]:
    assert keeper.witness is not None
    (keeper.root / "proof").write_bytes(proof)
    (keeper.root / "record").write_bytes(record)
    keys = [str(read_vkey(keeper.keys)), stranger or str(keeper.witness.key)]
    return subprocess.run(
        ["bash", str(SCRIPT), "proof", "record", *keys], cwd=keeper.root, capture_output=True, text=True, check=False
    )


def test_it_proves_what_is_so(keeper: Keeper) -> None:
    """Records at both ends, each at its position and no other line for it."""
    proved = prove(keeper, 0)
    for seq in (0, 5):
        proved = prove(keeper, seq)
        ran = check(keeper, proved.proof, proved.records)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith(f"PROVED: this is record {seq} of 6 of session one (live), as of 5 entries of ")
    other = keeper.log("one").read_bytes().splitlines(keepends=True)[1]
    assert check(keeper, proved.proof, other).returncode == 1
    assert check(keeper, proved.proof, proved.records * 2).returncode == 1
    assert check(keeper, proved.proof, b"").returncode == 1
    stranger = str(read_vkey(keeper.keys)).replace("example", "example2")
    assert check(keeper, proved.proof, proved.records, stranger=stranger).returncode == 1


def test_it_refuses_what_was_changed(keeper: Keeper) -> None:
    """A flipped byte is refused, or is one that base64 does not count: then it says the very same."""
    proved = prove(keeper, 2)
    said = check(keeper, proved.proof, proved.records).stdout
    refused = 0
    for at in range(7, len(proved.proof), len(proved.proof) // 8):
        changed = proved.proof[:at] + bytes([proved.proof[at] ^ 1]) + proved.proof[at + 1 :]
        ran = check(keeper, changed, proved.records)
        refused += ran.returncode
        assert ran.returncode == 1 or ran.stdout == said, at
    assert refused >= 6
    for at in range(0, len(proved.records), len(proved.records) // 3):
        changed = proved.records[:at] + bytes([proved.records[at] ^ 1]) + proved.records[at + 1 :]
        assert check(keeper, proved.proof, changed).returncode == 1, at
