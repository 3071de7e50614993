"""A program as the signer: it keeps the key, in hardware or under another user, and this process never sees it."""

import shlex
from collections.abc import Sequence
from typing import Final

from .keys import SIGNATURE_BYTES, VerifierKey
from .programs import run_program

SIGNER_TIMEOUT_S: Final = 60.0


class ProgramSigner:
    """Runs a program with the message on its standard input; it prints the 64 bytes of the Ed25519 signature."""

    def __init__(self, words: Sequence[str], key: VerifierKey) -> None:
        """Run ``words``, without a shell; ``key`` is the public half of the program's key."""
        self._words = list(words)
        self._key = key

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """Return what the program prints; whoever asks for it checks it.

        Raises :class:`StoreFailed` if it fails, prints more, or takes longer than ``SIGNER_TIMEOUT_S``.
        """
        return run_program(
            self._words, message, timeout_s=SIGNER_TIMEOUT_S, output_bytes_max=SIGNATURE_BYTES, what="the signer"
        )


def parse_signer(text: str, key: VerifierKey) -> ProgramSigner:
    """Return the signer that ``exec:PROGRAM ARG…`` names. Raises ``ValueError``."""
    kind, _, rest = text.partition(":")
    if kind != "exec" or not (words := shlex.split(rest)):
        raise ValueError(f"a signer is exec:PROGRAM, not {text!r}")
    return ProgramSigner(words, key)


__all__ = ["SIGNER_TIMEOUT_S", "ProgramSigner", "parse_signer"]
