"""Keys in the note format: ``<name>+<key id>+base64(<type> || <public key>)`` (C2SP signed-note, "vkey").

Two types, both Ed25519 (RFC 8032): :attr:`KeyType.LOG` signs the text of a note, :attr:`KeyType.COSIGNATURE` the text
and a time (C2SP tlog-cosignature). The key id only says which key to try; it is no security, since the verifier has
the whole key from elsewhere.
"""

import hashlib
import re
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from .errors import InvalidEvidence
from .strict import NUMBER_MAX, encode_base64, parse_base64, shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_NAME_BYTES_MAX: Final = 255
SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32
_VKEY: Final = re.compile(r"([^+]*)\+([0-9a-f]{8})\+(.*)", re.ASCII | re.DOTALL)


class KeyType(IntEnum):
    """What a key signs: the first byte of its encoding."""

    LOG = 0x01
    COSIGNATURE = 0x04


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key, and the name under which it signs."""

    name: str
    type: KeyType
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || LF || type || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._encoded()).digest()[:4]

    def __str__(self) -> str:
        """Return the vkey."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(self._encoded())}"

    def _encoded(self) -> bytes:
        return bytes([self.type]) + self.public_key

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over exactly ``message``."""
        ed25519, invalid = _ed25519()
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (invalid, ValueError):
            return False
        return True


def parse_vkey(text: str) -> VerifierKey:
    """Return the key that a vkey stands for. Raises :class:`InvalidEvidence`: misspelt, or of a type not known here."""
    match = _VKEY.fullmatch(text)
    if match is None:
        raise InvalidEvidence(f"not a verifier key, <name>+<key id>+<base64>: {shown(text)}")
    name, key_id, encoded = match.groups()
    check_key_name(name)
    data = parse_base64(encoded, "the verifier key")
    if not data or data[0] not in tuple(KeyType):
        raise InvalidEvidence(f"the key {shown(name)} is of a type not known here, which are Ed25519's 01 and 04")
    if len(data) != 1 + PUBLIC_KEY_BYTES:
        raise InvalidEvidence(f"the key {shown(name)} has {len(data) - 1} bytes, not {PUBLIC_KEY_BYTES}")
    key = VerifierKey(name, KeyType(data[0]), data[1:])
    if key.key_id.hex() != key_id:
        raise InvalidEvidence(f"the key id of {shown(name)} does not fit its key: the vkey was miscopied")
    return key


def check_key_name(name: str) -> str:
    """Return ``name`` if a key, or the origin of a log, may have it. Raises :class:`InvalidEvidence`."""
    bad = not name or "+" in name or any(char.isspace() or not char.isprintable() for char in name)
    if bad or len(name.encode()) > KEY_NAME_BYTES_MAX:
        raise InvalidEvidence(
            f"not a name for a key or a log: {shown(name)}; "
            f"it is 1 to {KEY_NAME_BYTES_MAX} bytes without spaces and '+', such as example.com/store"
        )
    return name


class Signer(Protocol):
    """Signs for one key: a file, or a program that keeps the key."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature over ``message``, 64 bytes."""
        ...


class PrivateKey:
    """An Ed25519 private key in memory; a :class:`Signer`."""

    def __init__(self, name: str, key: "Ed25519PrivateKey", key_type: KeyType = KeyType.LOG) -> None:
        """Sign as ``name``."""
        self._private = key
        self._key = VerifierKey(check_key_name(name), key_type, key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str, key_type: KeyType = KeyType.LOG) -> "PrivateKey":
        """Make a new key."""
        return cls(name, _ed25519()[0].Ed25519PrivateKey.generate(), key_type)

    @classmethod
    def from_seed(cls, name: str, seed: bytes, key_type: KeyType = KeyType.LOG) -> "PrivateKey":
        """Return the key of a 32-byte seed (RFC 8032 section 5.1.5)."""
        return cls(name, _ed25519()[0].Ed25519PrivateKey.from_private_bytes(seed), key_type)

    @classmethod
    def from_pem(cls, name: str, pem: bytes, key_type: KeyType = KeyType.LOG) -> "PrivateKey":
        """Return the key in an unencrypted PKCS#8 PEM file. Raises :class:`InvalidEvidence`."""
        ed25519 = _ed25519()[0]
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - checked to be there just now
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidEvidence(f"not an unencrypted private key in PKCS#8 PEM: {error}") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise InvalidEvidence("the private key is not an Ed25519 key")
        return cls(name, key, key_type)

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PKCS#8 PEM, which OpenSSL reads."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an instance proves that it is there

        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """Return the signature over ``message``."""
        return self._private.sign(message)


def parse_public_pem(pem: bytes) -> bytes:
    """Return the Ed25519 public key in a PEM file, as OpenSSL writes it. Raises :class:`InvalidEvidence`."""
    ed25519 = _ed25519()[0]
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - checked to be there just now
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidEvidence(f"not a public key in PEM: {error}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InvalidEvidence("the public key is not an Ed25519 key")
    public: bytes = key.public_bytes_raw()
    return public


def check_time(time_s: int) -> int:
    """Return a time in POSIX seconds if a cosignature can hold it. Raises :class:`InvalidEvidence`."""
    if not 0 <= time_s <= NUMBER_MAX:
        raise InvalidEvidence("the time of a cosignature is 0 to 2^63-1 seconds")
    return time_s


def _ed25519() -> tuple[Any, type[Exception]]:
    """Return ``cryptography``'s Ed25519 and its exception for a bad signature."""
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra's, loaded when first needed
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise ModuleNotFoundError("evidence needs the extra: pip install 'sessionlog[evidence]'") from error
    return ed25519, InvalidSignature


__all__ = [
    "KEY_NAME_BYTES_MAX",
    "PUBLIC_KEY_BYTES",
    "SIGNATURE_BYTES",
    "KeyType",
    "PrivateKey",
    "Signer",
    "VerifierKey",
    "check_key_name",
    "check_time",
    "parse_public_pem",
    "parse_vkey",
]
