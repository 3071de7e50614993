"""The keys of an anchor log as files: the private key, its name, and what was signed last.

    <keys>/log.key     the private key, PKCS#8 PEM, 0600; not there if a program signs
    <keys>/log.vkey    the public key, under the log's origin
    <keys>/last        size and root of the newest checkpoint that was signed, written before its signature leaves

A witness keeps its pair in the same way, as ``witness.key`` and ``witness.vkey``, without ``last``.

``last`` is what keeps one key from signing two histories on one machine: anchors that were restored from an old backup
end before it.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from ..stores.file.system import System
from .anchor_files import EvidenceDirectory
from .errors import AnchoringStopped, InvalidEvidence
from .keys import KeyType, PrivateKey, VerifierKey, check_key_name, parse_public_pem, parse_vkey
from .strict import HASH_BYTES, encode_base64, parse_base64, parse_decimal, parse_text, split_lines

KEY_FILE_BYTES_MAX: Final = 16 * 1024
_LAST: Final = "last"


class KeyRole(StrEnum):
    """Whose keys they are: the name of their files."""

    LOG = "log"
    WITNESS = "witness"

    @property
    def key_type(self) -> KeyType:
        """What such a key signs."""
        return KeyType.LOG if self is KeyRole.LOG else KeyType.COSIGNATURE


class Signed(msgspec.Struct, frozen=True):
    """What was signed last: how many entries the anchor log had, and its root."""

    size: int
    root: bytes


def default_keys() -> Path:
    """Return where keys are kept unless told otherwise: ``~/.config/sessionlog/keys``, by ``XDG_CONFIG_HOME``."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "sessionlog" / "keys"


def make_keys(keys: str | os.PathLike[str], origin: str, *, public_key: bytes | None = None) -> VerifierKey:
    """Make the key of a new anchor log in the directory ``keys``, and return its public half.

    Args:
        keys: The directory; made 0700 if it is missing. Never one inside the store.
        origin: The log's name for ever, like a URL without its scheme: ``example.com/agents/store``.
        public_key: The public half, as PEM, of a key that a program keeps (:func:`parse_signer`); none is made then.

    Raises:
        AnchoringStopped: There is a key already.
        InvalidEvidence: The origin cannot name a log, or that is no public key of Ed25519.
        StoreFailed: The files cannot be written.
    """
    return make_key_pair(keys, origin, KeyRole.LOG, public_key=public_key)


def make_key_pair(
    keys: str | os.PathLike[str], name: str, role: KeyRole, *, public_key: bytes | None = None
) -> VerifierKey:
    """Make a key in the directory ``keys``, or name one that is kept elsewhere. Raises as :func:`make_keys`."""
    directory = EvidenceDirectory(keys)
    private, public = f"{role}.key", f"{role}.vkey"
    pem = None
    if public_key is None:
        made = PrivateKey.generate(name, role.key_type)
        key, pem = made.key, made.to_pem()
    else:
        key = VerifierKey(check_key_name(name), role.key_type, parse_public_pem(public_key))
    with directory.locked():
        if any(directory.read(one, KEY_FILE_BYTES_MAX) is not None for one in (private, public, _LAST)):
            raise AnchoringStopped(f"{directory.root} holds a key already: one key signs one log")
        if pem is not None:
            directory.write({private: pem})
        directory.write({public: f"{key}\n".encode()})
    return key


def read_vkey(keys: str | os.PathLike[str]) -> VerifierKey:
    """Return the public key in the directory ``keys``. Raises :class:`InvalidEvidence`, :class:`StoreFailed`."""
    return KeyFiles(keys).vkey()


class KeyFiles:
    """The files of one key. All calls block."""

    def __init__(self, keys: str | os.PathLike[str], system: System | None = None, role: KeyRole = KeyRole.LOG) -> None:
        """Look into the directory ``keys``; nothing is read yet."""
        self._directory = EvidenceDirectory(keys, system)
        self._role = role

    def vkey(self) -> VerifierKey:
        """Return the public key."""
        name = f"{self._role}.vkey"
        lines = split_lines(parse_text(self._read(name), "the public key"), "the public key")
        if len(lines) != 1:
            raise InvalidEvidence(f"{self._directory.path(name)} must hold one verifier key on one line")
        key = parse_vkey(lines[0])
        if key.type is not self._role.key_type:
            raise InvalidEvidence(f"{self._directory.path(name)} is not the key of a {self._role}")
        return key

    def signer(self) -> PrivateKey:
        """Return the private key. Raises :class:`InvalidEvidence` unless it is the public key's other half."""
        vkey = self.vkey()
        key = PrivateKey.from_pem(vkey.name, self._read(f"{self._role}.key"), vkey.type)
        if key.key != vkey:
            raise InvalidEvidence(f"the private key in {self._directory.root} is not the one of {self._role}.vkey")
        return key

    def last(self) -> Signed | None:
        """Return what was signed last; ``None`` if nothing was."""
        data = self._directory.read(_LAST, KEY_FILE_BYTES_MAX)
        if data is None:
            return None
        lines = split_lines(parse_text(data, "the file 'last'"), "the file 'last'")
        if len(lines) != 2:
            raise InvalidEvidence(f"{self._directory.path(_LAST)} must hold a size and a root")
        return Signed(
            parse_decimal(lines[0], "the size signed last"),
            parse_base64(lines[1], "the root signed last", size=HASH_BYTES),
        )

    def write_last(self, signed: Signed) -> None:
        """Keep what is signed next; on return it survives power loss."""
        self._directory.write({_LAST: f"{signed.size}\n{encode_base64(signed.root)}\n".encode()})

    def _read(self, name: str) -> bytes:
        data = self._directory.read(name, KEY_FILE_BYTES_MAX)
        if data is None:
            command = "keys init ORIGIN" if self._role is KeyRole.LOG else "witness init NAME"
            raise InvalidEvidence(
                f"there is no {name} in {self._directory.root}: make a key with 'sessionlog {command}'"
            )
        return data


__all__ = ["KeyFiles", "KeyRole", "Signed", "default_keys", "make_key_pair", "make_keys", "read_vkey"]
