"""Programs that are not ours read what is made here: Go, OpenSSL, b3sum, the PyPI packages aics-tlog, aics-witness.

A program that is not installed is named as skipped. ``SESSIONLOG_GO_MOD`` is the source tree of golang.org/x/mod if it
is not where Debian's golang-golang-x-mod-dev puts it; ``SESSIONLOG_AICS_PYTHON`` is a Python that has those.
"""

import base64
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from evidence_vectors import CHECKPOINT, COSIGNED, LOG, ORIGIN, TREE, WITNESS
from keeper import Keeper

from sessionlog.evidence import (
    AnchoringStopped,
    Checkpoint,
    CheckpointWitness,
    Note,
    PrivateKey,
    Tree,
    WitnessServer,
    consistency_proof,
    cosign,
    encode_entry_tile,
    inclusion_proof,
    leaf_hash,
    make_witness,
    open_checkpoint,
    parse_policy,
    read_vkey,
    sign,
    sign_checkpoint,
    tiles_of,
)

GO_MOD = Path(os.environ.get("SESSIONLOG_GO_MOD", "/usr/share/gocode/src/golang.org/x/mod"))
GO_PROGRAM = """package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func hashes(text string) []tlog.Hash {
	var all []tlog.Hash
	for _, one := range strings.Fields(text) {
		var h tlog.Hash
		data, err := base64.StdEncoding.DecodeString(one)
		if err != nil {
			panic(err)
		}
		copy(h[:], data)
		all = append(all, h)
	}
	return all
}

func main() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		panic(err)
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		panic(err)
	}
	fmt.Print(opened.Text)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "|")
		from, _ := strconv.ParseInt(parts[1], 10, 64)
		size, _ := strconv.ParseInt(parts[2], 10, 64)
		all := hashes(parts[3])
		first, second, proof := all[0], all[1], all[2:]
		if parts[0] == "inclusion" {
			err = tlog.CheckRecord(tlog.RecordProof(proof), size, second, from, first)
		} else {
			err = tlog.CheckTree(tlog.TreeProof(proof), size, second, from, first)
		}
		if err != nil {
			panic(fmt.Sprint(lines.Text(), err))
		}
	}
	fmt.Println("accepted")
}
"""


def test_go_accepts_notes_and_proofs(tmp_path: Path) -> None:
    """sumdb/note opens a checkpoint; sumdb/tlog accepts every inclusion and consistency proof of small trees."""
    go = shutil.which("go")
    if go is None or not (GO_MOD / "sumdb" / "note").is_dir():
        pytest.skip("no Go with golang.org/x/mod: install golang-go and golang-golang-x-mod-dev")
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    (tmp_path / "go.mod").write_text(
        "module check\n\ngo 1.19\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    )
    for part in ("note", "tlog"):
        shutil.copytree(GO_MOD / "sumdb" / part, tmp_path / "mod" / "sumdb" / part)
    shutil.copytree(GO_MOD / "internal" / "lazyregexp", tmp_path / "mod" / "internal" / "lazyregexp")
    (tmp_path / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.19\n")
    (tmp_path / "checkpoint").write_bytes(COSIGNED)
    result = subprocess.run(
        [go, "run", ".", "checkpoint", str(LOG.key)],
        cwd=tmp_path,
        input=_proofs(13),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(tmp_path / "cache")},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == CHECKPOINT.text().decode() + "accepted\n"


def _proofs(size_max: int) -> str:
    """List proofs, one a line: ``kind|index or old size|size|hashes``; leaf or old root first, root second."""
    lines = []
    tree = Tree(leaf_hash(b"%d" % n) for n in range(size_max))
    for size in range(1, size_max + 1):
        root = tree.root(size)
        for n in range(size):
            hashes = [tree.node(0, n), root, *inclusion_proof(n, size, tree.node)]
            lines.append(f"inclusion|{n}|{size}|{_words(hashes)}")
            if n:
                hashes = [tree.root(n), root, *consistency_proof(n, size, tree.node)]
                lines.append(f"consistency|{n}|{size}|{_words(hashes)}")
    return "\n".join(lines) + "\n"


def _words(hashes: list[bytes]) -> str:
    return " ".join(base64.b64encode(one).decode() for one in hashes)


def test_openssl_verifies_signatures_and_reads_keys(tmp_path: Path) -> None:
    """The signature is plain Ed25519 over the text, and the private key is plain PKCS#8."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    key = PrivateKey.generate(ORIGIN)
    note = sign_checkpoint(Checkpoint(ORIGIN, 7, CHECKPOINT.root), key)
    text, _, line = note.rpartition(b"\n\n")
    (tmp_path / "text").write_bytes(text + b"\n")
    (tmp_path / "signature").write_bytes(base64.b64decode(line.split()[-1])[4:])
    (tmp_path / "key.pem").write_bytes(key.to_pem())
    der = subprocess.run(
        [openssl, "pkey", "-in", tmp_path / "key.pem", "-pubout", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert der == bytes.fromhex("302a300506032b6570032100") + key.key.public_key
    (tmp_path / "public.der").write_bytes(der)
    verified = subprocess.run(
        f"{openssl} pkeyutl -verify -pubin -inkey public.der -keyform DER -rawin -in text -sigfile signature",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "rawin" in verified.stderr:
        pytest.skip("this openssl is older than 3.0")
    assert verified.returncode == 0, verified.stderr


AICS_PROGRAM = """
import base64, json, sys
from pathlib import Path
import aics_tlog as tlog

folder, log, witness = Path(sys.argv[1]), tlog.parse_vkey(sys.argv[2]), tlog.parse_vkey(sys.argv[3])
note = tlog.parse_note((folder / "checkpoint").read_bytes())
result = tlog.verify_checkpoint(note, log, policy=tlog.WitnessPolicy(1, [witness]))
assert result.ok, result
size, root = result.size, result.root
tlog.audit_tiles(tlog.FileSystemTileReader(folder), size, root)
for line in sys.stdin.read().splitlines():
    kind, start, end, words = line.split("|")
    first, second, *proof = map(base64.b64decode, words.split())
    if kind == "inclusion":
        assert tlog.verify_inclusion(first, int(start), int(end), proof, second), line
    else:
        assert tlog.verify_consistency(int(start), int(end), first, second, proof), line
print("accepted", size)
"""


def test_aics_tlog_accepts_checkpoints_proofs_and_tiles(tmp_path: Path) -> None:
    """Another implementation of the same documents checks the signatures, every proof, and a log's tiles."""
    python = os.environ.get("SESSIONLOG_AICS_PYTHON")
    if python is None:
        pytest.skip("no aics-tlog: set SESSIONLOG_AICS_PYTHON to a Python 3.12 that has it")
    entries = [b"entry %d" % n for n in range(600)]
    tree = Tree(map(leaf_hash, entries))
    for tile in tiles_of(len(entries)):
        path = tmp_path / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        first = tile.index * 256
        if tile.level == "entries":
            path.write_bytes(encode_entry_tile(entries[first : first + tile.width]))
        else:
            path.write_bytes(b"".join(tree.node(8 * tile.level, first + n) for n in range(tile.width)))
    text = Checkpoint(ORIGIN, len(entries), tree.root()).text()
    (tmp_path / "checkpoint").write_bytes(Note(text, [sign(text, LOG), cosign(text, WITNESS, 1_790_000_000)]).encode())
    result = subprocess.run(
        [python, "-c", AICS_PROGRAM, str(tmp_path), str(LOG.key), str(WITNESS.key)],
        input=_proofs(13),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "accepted 600\n", "")


AICS_WITNESS = """
import sys, threading
from pathlib import Path
import aics_tlog as tlog
from aics_witness import LogConfig, Witness, WitnessStore, load_or_create_key, make_server

folder, vkey = Path(sys.argv[1]), tlog.parse_vkey(sys.argv[2])
key, _, _ = load_or_create_key(folder / "key", environ={})
witness = Witness("example.com/aics", key, WitnessStore(folder / "state", create=True), [LogConfig(vkey.name, (vkey,))])
server = make_server(witness)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(witness.vkey_text, server.url, flush=True)
sys.stdin.read()
server.shutdown()
"""


def test_aics_witness_cosigns_what_is_anchored(tmp_path: Path) -> None:
    """Another witness over HTTP: it cosigns, stays in step, and stops a log that was rolled back."""
    python = os.environ.get("SESSIONLOG_AICS_PYTHON")
    if python is None:
        pytest.skip("no aics-witness: set SESSIONLOG_AICS_PYTHON to a Python 3.12 that has it")
    keeper = Keeper(tmp_path / "keeper")
    keeper.write("one", "a")
    command = [python, "-c", AICS_WITNESS, str(tmp_path), str(read_vkey(keeper.keys))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as witness:
        assert witness.stdout is not None
        vkey, url = witness.stdout.readline().split()
        keeper.anchors.mkdir()
        policy = f"log {read_vkey(keeper.keys)}\nwitness w {vkey} {url}\nquorum w\n".encode()
        (keeper.anchors / "policy").write_bytes(policy)
        assert not keeper.anchor().pending
        restore = keeper.keep("anchors", "keys", "store")
        keeper.write("one", "b")
        done = keeper.anchor()
        assert (done.size, done.pending, done.unsent) == (2, False, None)
        assert parse_policy(policy).check(keeper.checkpoint()).checkpoint.size == 2
        restore()
        keeper.write("one", "another")
        with pytest.raises(AnchoringStopped, match="has cosigned 2 entries"):
            keeper.anchor()
        witness.communicate("")


AICS_CLIENT = """
import base64, sys
from pathlib import Path
from aics_witness import submit_checkpoint

url, vkey, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
proofs = {(0, 3): [], (3, 7): [base64.b64decode(one) for one in sys.argv[4].split()]}
for size in (3, 7):
    note = (folder / str(size)).read_bytes()
    print(submit_checkpoint(url, note, lambda old, new: proofs[old, new], witness_vkey=vkey), end="")
"""


def test_aics_witness_accepts_our_witness(tmp_path: Path) -> None:
    """Another client asks our server, and verifies what it answers."""
    python = os.environ.get("SESSIONLOG_AICS_PYTHON")
    if python is None:
        pytest.skip("no aics-witness: set SESSIONLOG_AICS_PYTHON to a Python 3.12 that has it")
    vkey = make_witness(tmp_path / "witness", "example.com/witness")
    (tmp_path / "witness" / "logs").write_text(f"{LOG.key}\n")
    for size in (3, 7):
        (tmp_path / str(size)).write_bytes(sign_checkpoint(Checkpoint(ORIGIN, size, TREE.root(size)), LOG))
    with WitnessServer(CheckpointWitness(tmp_path / "witness")) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        proof = _words(consistency_proof(3, 7, TREE.node))
        command = [python, "-c", AICS_CLIENT, server.url, str(vkey), str(tmp_path), proof]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        server.shutdown()
        thread.join()
    assert (result.returncode, result.stderr) == (0, "")
    note = (tmp_path / "7").read_bytes() + result.stdout.splitlines(keepends=True)[-1].encode()
    cosigned = open_checkpoint(note, [LOG.key], [vkey])
    assert [one.key for one in cosigned.cosignatures] == [vkey]
