"""Asking a witness to cosign a checkpoint (C2SP tlog-witness, the side of the log).

A witness that has more than the log, or another history, says that the log was rolled back or that there are two of it:
:class:`AnchoringStopped`. Whatever else keeps it from cosigning, it is asked again by the next run. Nothing that a
witness answers is believed but a good signature, and an answer is bounded in size and time.
"""

import contextlib
import http.client
import shlex
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ..errors import StoreFailed
from .checkpoints import Checkpoint
from .errors import AnchoringStopped, InvalidEvidence
from .merkle import NodeReader, consistency_proof
from .notes import Note, NoteSignature, parse_note, parse_signatures
from .programs import run_program
from .strict import parse_decimal, parse_text, shown
from .witness_protocol import ANSWER_BYTES_MAX, AddCheckpoint, WitnessAnswer, parse_answer

WITNESS_TIMEOUT_S: Final = 10.0
"""The longest that one exchange with a witness takes."""
WITNESS_EXCHANGES_MAX: Final = 4
"""How often a witness is asked in one go: once without its size, once with it, and again if it moved meanwhile."""


class WitnessClient:
    """A witness that can be asked."""

    def __init__(self, name: str, send: Callable[[bytes], WitnessAnswer]) -> None:
        """Ask by ``send``, which takes a request and raises :class:`StoreFailed` or :class:`InvalidEvidence`."""
        self.name: str = name
        self._send = send

    def cosign(self, note: bytes, checkpoint: Checkpoint, nodes: NodeReader, *, guess: int) -> Sequence[NoteSignature]:
        """Ask for cosignatures of ``note``, whose signed text is ``checkpoint``; they are not verified.

        Args:
            note: The checkpoint as the log signed it.
            checkpoint: What it says.
            nodes: The log's tree.
            guess: The size that the witness may have cosigned last.

        Raises:
            AnchoringStopped: The witness has more than this log, or another history.
            InvalidEvidence: It answered nonsense.
            StoreFailed: It cannot be reached, or refuses for a reason of its own.
        """
        note = _own_signature_only(note, checkpoint)
        old = min(guess, checkpoint.size)
        for _ in range(WITNESS_EXCHANGES_MAX):
            proof = consistency_proof(old, checkpoint.size, nodes)
            answer = self._send(AddCheckpoint(old, proof, note).encode())
            if answer.status == 200:
                return parse_signatures(parse_text(answer.body, "the answer of the witness"))
            size = _told_size(answer)
            if size is None:
                raise self._refused(answer, checkpoint)
            if size > checkpoint.size:
                raise AnchoringStopped(
                    f"the witness {self.name} has cosigned {size} entries, the anchors have {checkpoint.size}: they "
                    "were restored from an old backup, or another machine anchors with the same key"
                )
            old = size
        raise StoreFailed(f"the witness {self.name} told another size {WITNESS_EXCHANGES_MAX} times")

    def _refused(self, answer: WitnessAnswer, checkpoint: Checkpoint) -> Exception:
        reason = shown(answer.body.decode("utf-8", "replace").strip())
        if answer.status in (409, 422):
            return AnchoringStopped(
                f"the witness {self.name} has cosigned another history than the {checkpoint.size} entries of the "
                f"anchors: {reason}"
            )
        return StoreFailed(f"the witness {self.name} refused with status {answer.status}: {reason}")


def _told_size(answer: WitnessAnswer) -> int | None:
    """Return the witness's size from an answer of status 409; ``None`` if it tells none."""
    if answer.status != 409:
        return None
    try:
        return parse_decimal(answer.body.decode("utf-8", "replace").removesuffix("\n"), "the size of the witness")
    except InvalidEvidence:
        return None


def _own_signature_only(note: bytes, checkpoint: Checkpoint) -> bytes:
    parsed = parse_note(note)
    return Note(parsed.text, [one for one in parsed.signatures if one.name == checkpoint.origin]).encode()


def parse_witness(text: str) -> WitnessClient:
    """Return the witness that an HTTP URL, or ``exec:PROGRAM ARG…``, names. Raises ``ValueError``."""
    if text.startswith("exec:") and (words := shlex.split(text.removeprefix("exec:"))):
        return WitnessClient(words[0], lambda request: _ask_program(words, request))
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username:
        raise ValueError(f"a witness is http://HOST/PATH, https://HOST/PATH or exec:PROGRAM, not {text!r}")
    _ = url.port  # raises ValueError
    return WitnessClient(text, lambda request: _post(url, request))


def _ask_program(words: Sequence[str], request: bytes) -> WitnessAnswer:
    output = run_program(
        words, request, timeout_s=WITNESS_TIMEOUT_S, output_bytes_max=ANSWER_BYTES_MAX, what="the witness"
    )
    return parse_answer(output)


def _post(url: SplitResult, request: bytes) -> WitnessAnswer:
    """Send one request, and follow no redirect."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=WITNESS_TIMEOUT_S)
    timed_out = threading.Event()

    def end() -> None:
        timed_out.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(WITNESS_TIMEOUT_S, end)  # the timeout of a socket is one for each read
    timer.start()
    try:
        connection.request("POST", f"{url.path.rstrip('/')}/add-checkpoint", body=request)
        response = connection.getresponse()
        body = response.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"no answer in {WITNESS_TIMEOUT_S:g} s" if timed_out.is_set() else str(error) or type(error).__name__
        raise StoreFailed(f"the witness {url.geturl()} cannot be asked: {shown(reason)}") from error
    finally:
        timer.cancel()
        connection.close()
    if timed_out.is_set():
        raise StoreFailed(f"the witness {url.geturl()} gave no answer in {WITNESS_TIMEOUT_S:g} s")
    if len(body) > ANSWER_BYTES_MAX:
        raise InvalidEvidence(f"the answer of the witness has more than {ANSWER_BYTES_MAX} bytes")
    return WitnessAnswer(response.status, body)


__all__ = ["WITNESS_EXCHANGES_MAX", "WITNESS_TIMEOUT_S", "WitnessClient", "parse_witness"]
