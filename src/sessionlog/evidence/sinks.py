"""Sinks: where checkpoints go that the keeper of a store cannot take back.

``dir:PATH`` copies the checkpoint, the tiles and the statements to a directory, on another disk or another machine's
mount; a file that is there already is never changed. ``exec:PROGRAM`` runs a program with the checkpoint on its
standard input: to mail it, to commit it, to print it. The secrets of the nonces go nowhere: back them up yourself.
``witness:`` asks a witness for its cosignature (:mod:`.witness_client`).
"""

import shlex
import subprocess
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from ..errors import StoreFailed
from ..stores.file.system import System
from .anchor_catalog import statements_name
from .anchor_files import EvidenceDirectory
from .anchor_log import AnchorLog
from .checkpoints import Checkpoint, open_checkpoint
from .errors import AnchoringStopped, InvalidEvidence
from .keys import VerifierKey
from .log_entries import AnchorEntry, parse_log_entry
from .notes import NOTE_BYTES_MAX
from .policy import POLICY_BYTES_MAX
from .statements import STATEMENTS_BYTES_MAX
from .tiles import ENTRY_TILE_BYTES_MAX, tiles_of
from .witness_client import WitnessClient, parse_witness

EXEC_TIMEOUT_S: Final = 300


class Sink(Protocol):
    """A place that checkpoints go to."""

    def newest(self, key: VerifierKey) -> Checkpoint | None:
        """Return the newest checkpoint there that ``key`` signed; ``None`` if there is none, or it cannot be asked."""
        ...

    def take(self, note: bytes, log: AnchorLog, directory: EvidenceDirectory, key: VerifierKey) -> None:
        """Take a checkpoint, of ``log``, in. Raises :class:`StoreFailed`, :class:`AnchoringStopped`."""
        ...


AnySink: TypeAlias = Sink | WitnessClient
"""What a run is given: where checkpoints go, and who cosigns them."""


def parse_sink(text: str) -> AnySink:
    """Return what ``dir:PATH``, ``exec:PROGRAM ARG…`` or ``witness:URL`` names. Raises ``ValueError``.

    A witness is an HTTP URL, or ``witness:exec:PROGRAM ARG…`` for a program that takes the request on its standard
    input, such as ``ssh HOST sessionlog witness add-checkpoint --dir DIR``.
    """
    kind, _, rest = text.partition(":")
    if kind == "dir" and rest:
        return DirectorySink(rest)
    if kind == "exec" and (words := shlex.split(rest)):
        return ProgramSink(words)
    if kind == "witness" and rest:
        return parse_witness(rest)
    raise ValueError(f"a sink is dir:PATH, exec:PROGRAM or witness:URL, not {text!r}")


class DirectorySink:
    """Copies everything that an audit needs, the secrets aside, to another directory."""

    def __init__(self, path: str, system: System | None = None) -> None:
        """Copy to ``path``, which is made if it is missing; ``system`` is for tests."""
        self._directory = EvidenceDirectory(path, system)

    def newest(self, key: VerifierKey) -> Checkpoint | None:
        """Return the checkpoint there, if ``key`` signed it."""
        note = self._directory.read("checkpoint", NOTE_BYTES_MAX)
        if note is None:
            return None
        try:
            return open_checkpoint(note, [key]).checkpoint
        except InvalidEvidence:
            return None

    def take(self, note: bytes, log: AnchorLog, directory: EvidenceDirectory, key: VerifierKey) -> None:
        """Copy what is missing, the checkpoint last."""
        newest = self.newest(key)
        since = 0 if newest is None else newest.size
        if since > log.size:
            raise AnchoringStopped(f"the sink {self._directory.root} has more than is copied to it")
        for tile in tiles_of(log.size, since=since):
            self._put(tile.path, log.read_tile(tile), ENTRY_TILE_BYTES_MAX)
        for index, entry in enumerate(log.entries(since), start=since):
            if isinstance(parse_log_entry(entry), AnchorEntry):
                name = statements_name(index)
                self._put(name, directory.read(name, STATEMENTS_BYTES_MAX) or b"", STATEMENTS_BYTES_MAX)
        policy = directory.read("policy", POLICY_BYTES_MAX)
        if policy is not None:
            self._put("policy", policy, POLICY_BYTES_MAX, replace=True)
        self._put(f"checkpoints/{log.size}", note, NOTE_BYTES_MAX, replace=True)
        self._directory.write({"checkpoint": note})

    def _put(self, name: str, data: bytes, bytes_max: int, *, replace: bool = False) -> None:
        there = self._directory.read(name, bytes_max)
        if there == data:
            return
        if there is not None and not replace:
            raise AnchoringStopped(f"{self._directory.path(name)} is there and differs: the sink saw another history")
        self._directory.write({name: data})


class ProgramSink:
    """Runs a program with the checkpoint on its standard input; status 0 says that it took it."""

    def __init__(self, words: Sequence[str]) -> None:
        """Run ``words``, without a shell."""
        self._words = list(words)

    def newest(self, key: VerifierKey) -> Checkpoint | None:  # noqa: ARG002 - a program cannot be asked
        """Return nothing."""
        return None

    def take(self, note: bytes, log: AnchorLog, directory: EvidenceDirectory, key: VerifierKey) -> None:  # noqa: ARG002
        """Run the program. Raises :class:`StoreFailed` if it fails or takes longer than ``EXEC_TIMEOUT_S``."""
        try:
            done = subprocess.run(  # noqa: S603 - the program that the keeper named
                self._words, input=note, stdout=subprocess.DEVNULL, check=False, timeout=EXEC_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreFailed(f"the sink {self._words[0]} failed: {error}") from error
        if done.returncode != 0:
            raise StoreFailed(f"the sink {self._words[0]} ended with status {done.returncode}")


__all__ = ["EXEC_TIMEOUT_S", "AnySink", "DirectorySink", "ProgramSink", "Sink", "parse_sink"]
