"""Where the anchor log stands, and signing what comes next: one history for each key, whatever was restored or killed.

A run writes its tiles and statements, then ``last`` beside the key, then signs, then writes ``pending``. So a killed
run has said nothing, or what it would have said is on the medium: :meth:`SignedLog.resume` finishes it. Anchors that
end before ``last``, or before what a sink or a witness has, were restored or belong to another machine: stop.

Witnesses are asked to cosign what is signed already before anything new is: that tells whether they have more or
another history, and an unchanged log stays fresh by it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from ..errors import SessionLogError
from ..ids import now_ms
from .anchor_files import EvidenceDirectory
from .anchor_log import AnchorLog
from .checkpoints import Checkpoint, OpenedCheckpoint, open_checkpoint, sign_checkpoint
from .cosigning import add_cosignatures
from .errors import AnchoringStopped, InvalidEvidence
from .key_files import KeyFiles, Signed
from .keys import Signer
from .merkle import EMPTY_ROOT
from .notes import NOTE_BYTES_MAX, NoteSignature
from .policy import POLICY_BYTES_MAX, Policy, parse_policy
from .sinks import AnySink, ProgramSink
from .witness_client import WitnessClient, parse_witness

_UNSENT: Final = "unsent"
"""A file that is there from before a checkpoint is published until every sink took it."""
WITNESSES_ASKED_AT_ONCE: Final = 8
CLOCK_DIFFERENCE_S_MAX: Final = 24 * 60 * 60
"""A witness whose time differs by more is told of: either clock is wrong."""


class SignedLog:
    """The anchor log of one key. All calls block; the directory is locked by the caller."""

    def __init__(
        self,
        directory: EvidenceDirectory,
        keys: KeyFiles,
        sinks: Sequence[AnySink],
        clock: Callable[[], int] = now_ms,
        signer: Signer | None = None,
    ) -> None:
        """Load the key, unless there is another ``signer``. Raises :class:`InvalidEvidence`, :class:`StoreFailed`."""
        self._directory = directory
        self._keys = keys
        self._sinks = [one for one in sinks if not isinstance(one, WitnessClient)]
        self._clock = clock
        self._signer: Signer = keys.signer() if signer is None else signer
        if self._signer.key != keys.vkey():
            raise InvalidEvidence("the signer's key is not the one in the directory of the keys")
        self.policy: Policy = self._load_policy()
        self._witnesses = self._all_witnesses([one for one in sinks if isinstance(one, WitnessClient)])
        self.faults: dict[str, str] = {}
        """The witnesses that did not cosign in this run, and why."""
        self.warnings: set[str] = set()

    def _load_policy(self) -> Policy:
        data = self._directory.read("policy", POLICY_BYTES_MAX)
        if data is None:
            policy = Policy((self._signer.key,), {}, {}, None)
            self._directory.write({"policy": policy.encode()})
            return policy
        policy = parse_policy(data)
        if self._signer.key not in policy.logs:
            raise AnchoringStopped(
                f"the policy in {self._directory.root} is about another log than the key {self._signer.key}"
            )
        return policy

    def _all_witnesses(self, named: Sequence[WitnessClient]) -> list[WitnessClient]:
        """Return the witnesses that were named, and those whose URL the policy names."""
        try:
            in_policy = [parse_witness(one.url) for one in self.policy.witnesses.values() if one.url is not None]
        except ValueError as error:
            raise InvalidEvidence(f"the policy in {self._directory.root}: {error}") from error
        return list({one.name: one for one in (*in_policy, *named)}.values())

    def resume(self) -> AnchorLog:
        """Return the log as it was signed last, finishing a run that was killed after it had decided to sign.

        Raises :class:`AnchoringStopped` if it would go on from an old history, or from another one.
        """
        last = self._keys.last()
        signed = [one for name in ("checkpoint", "pending") if (one := self._read(name)) is not None]
        size, root = max(((one.checkpoint.size, one.checkpoint.root) for one in signed), default=(0, b""))
        if last is not None and size == last.size and root != last.root:
            raise AnchoringStopped("the newest checkpoint is not what the key signed last, and has the same size")
        if size > (0 if last is None else last.size):
            self._check_confirmed(size, root)
            last = Signed(size, root)
            self._keys.write_last(last)
        if last is None:
            return AnchorLog(self._directory, 0)
        log = AnchorLog(self._directory, last.size)
        self._check_root(log, last.size, last.root, "what the key signed last")
        for one in signed:
            checkpoint = one.checkpoint
            self._check_root(log, checkpoint.size, checkpoint.root, f"the checkpoint of {checkpoint.size} entries")
        self._check_sinks(log)
        if size < last.size:
            self._write_pending(last)
        return log

    def _check_confirmed(self, size: int, root: bytes) -> None:
        """Check that a sink has just what the anchors end with: then keys without ``last`` may go on from there."""
        newest = [sink.newest(self._signer.key) for sink in self._sinks]
        if not any(one is not None and (one.size, one.root) == (size, root) for one in newest):
            raise AnchoringStopped(
                f"the anchors hold a checkpoint of {size} entries, of which the file 'last' beside the key does not "
                "know: the keys were restored, or another machine anchors with the same key; name a sink that has this "
                "checkpoint, or begin a new log with a new key and an empty directory"
            )

    def _check_sinks(self, log: AnchorLog) -> None:
        for sink in self._sinks:
            newest = sink.newest(self._signer.key)
            if newest is None:
                continue
            if newest.size > log.size:
                raise AnchoringStopped(
                    f"a sink has a checkpoint of {newest.size} entries, the anchors have {log.size}: they were "
                    "restored from an old backup, or another machine anchors with the same key"
                )
            self._check_root(log, newest.size, newest.root, "what a sink has")

    def _check_root(self, log: AnchorLog, size: int, root: bytes, what: str) -> None:
        try:
            found = log.root(size)
        except InvalidEvidence as error:
            raise AnchoringStopped(f"the anchors do not reach {what}: {error}; restore them from a backup") from error
        if found != root:
            raise AnchoringStopped(f"the anchors are another history than {what}: their {size} entries differ")

    def sign(self, log: AnchorLog) -> None:
        """Sign the log, whose files are on the medium, and keep the checkpoint as ``pending``."""
        signed = Signed(log.size, log.root())
        self._keys.write_last(signed)
        self._write_pending(signed)

    def _write_pending(self, signed: Signed) -> None:
        note = sign_checkpoint(Checkpoint(self._signer.key.name, signed.size, signed.root), self._signer)
        self._directory.write({"pending": note})

    def cosign(self, log: AnchorLog) -> None:
        """Ask every witness to cosign what is signed of the log, and keep what they answer, if it is good.

        Raises :class:`AnchoringStopped` if one of them has more, or another history. What else keeps one from cosigning
        is in :attr:`faults`; it is not asked again in this run.
        """
        waiting = [one for one in self._witnesses if one.name not in self.faults]
        if not waiting:
            return
        name = "pending" if self._directory.read("pending", NOTE_BYTES_MAX) is not None else "checkpoint"
        signed = self._read(name)
        if signed is None:  # nothing can be kept, but a size of 0 is consistent with all that a witness may have
            checkpoint = Checkpoint(self._signer.key.name, 0, EMPTY_ROOT)
            note = sign_checkpoint(checkpoint, self._signer)
        else:
            checkpoint, note = signed.checkpoint, signed.note
        answers = self._ask(waiting, note, checkpoint, log)
        for witness, answer in answers.items():
            try:
                note = self._with_cosignatures(note, answer, witness)
            except InvalidEvidence as error:
                self.faults[witness] = error.reason
        if signed is not None and note != signed.note:
            if name == "checkpoint":
                self._directory.write({f"checkpoints/{checkpoint.size}": note})
            self._directory.write({name: note})

    def _ask(
        self, witnesses: Sequence[WitnessClient], note: bytes, checkpoint: Checkpoint, log: AnchorLog
    ) -> dict[str, Sequence[NoteSignature]]:
        published = self._read("checkpoint")
        guess = 0 if published is None else published.checkpoint.size
        answers: dict[str, Sequence[NoteSignature]] = {}
        with ThreadPoolExecutor(WITNESSES_ASKED_AT_ONCE) as pool:
            asked = {
                one.name: pool.submit(partial(one.cosign, note, checkpoint, log.nodes, guess=guess))
                for one in witnesses
            }
        for name, future in asked.items():
            try:
                answers[name] = future.result()
            except AnchoringStopped:
                raise
            except SessionLogError as error:
                self.faults[name] = str(error)
        return answers

    def _with_cosignatures(self, note: bytes, answer: Sequence[NoteSignature], witness: str) -> bytes:
        cosigned = add_cosignatures(note, answer, [one.key for one in self.policy.witnesses.values()]).encode()
        now_s = self._clock() // 1000
        for one in self.policy.open(cosigned).cosignatures:
            if one not in self.policy.open(note).cosignatures and abs(one.time_s - now_s) > CLOCK_DIFFERENCE_S_MAX:
                difference_h = abs(one.time_s - now_s) // 3600
                self.warnings.add(f"the clock of this machine and of the witness {witness} differ by {difference_h} h")
        return cosigned

    def publish(self, log: AnchorLog) -> OpenedCheckpoint | None:
        """Make the pending checkpoint the newest one if it meets the quorum; return the newest that does."""
        pending = self._read("pending")
        if pending is None:
            return self._read("checkpoint")
        if not self.policy.is_met(one.key for one in pending.cosignatures):
            return self._read("checkpoint")
        self._directory.write({_UNSENT: b""})
        self._directory.write({f"checkpoints/{log.size}": pending.note})
        self._directory.write({"checkpoint": pending.note})
        self._directory.remove("pending")
        return pending

    def send(self, opened: OpenedCheckpoint) -> None:
        """Give a checkpoint to every sink, also after one fails. Raises what the first one that failed did.

        A program gets it until all sinks took it, so at least once; a directory is compared each time.
        """
        log = AnchorLog(self._directory, opened.checkpoint.size)
        is_unsent = self._directory.read(_UNSENT, 0) is not None
        faults: list[Exception] = []
        for sink in self._sinks:
            if isinstance(sink, ProgramSink) and not is_unsent:
                continue
            try:
                sink.take(opened.note, log, self._directory, self._signer.key)
            except SessionLogError as error:
                faults.append(error)
        if faults:
            raise faults[0]
        if is_unsent:
            self._directory.remove(_UNSENT)

    def _read(self, name: str) -> OpenedCheckpoint | None:
        note = self._directory.read(name, NOTE_BYTES_MAX)
        if note is None:
            return None
        witnesses = [one.key for one in self.policy.witnesses.values()]
        return open_checkpoint(note, [self._signer.key], witnesses)
