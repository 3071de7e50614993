"""Policies: whose signatures a checkpoint needs (C2SP tlog-policy).

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> <k>|any|all <name>...     members are defined above; each is in one group at most
    quorum <name>|none                     exactly one

Blank lines and lines that begin with ``#`` are skipped. Votes are counted by key: a witness's Ed25519 cosignature does
not bind its name, so one key under two names would be counted twice. Two lines with one public key are refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from .checkpoints import OpenedCheckpoint, open_checkpoint
from .errors import InvalidEvidence
from .keys import KeyType, VerifierKey, check_key_name, parse_vkey
from .strict import check_size, parse_decimal, parse_text, shown, split_lines

POLICY_BYTES_MAX: Final = 64 * 1024
_NO_QUORUM: Final = "none"


class Witness(msgspec.Struct, frozen=True):
    """A witness under the policy's own name for it."""

    name: str
    key: VerifierKey
    url: str | None = None


class Group(msgspec.Struct, frozen=True):
    """Witnesses or groups of which at least ``needed`` must have signed."""

    name: str
    needed: int
    members: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """The logs that are trusted, and which witnesses must have seen their checkpoints."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str | None

    def open(self, data: bytes) -> OpenedCheckpoint:
        """Verify a checkpoint: its log's signature and the witnesses'. Raises :class:`InvalidEvidence`.

        The quorum is not asked for; see :meth:`is_met` and :meth:`check`.
        """
        return open_checkpoint(data, self.logs, [one.key for one in self.witnesses.values()])

    def check(self, data: bytes) -> OpenedCheckpoint:
        """Verify a checkpoint, the quorum included. Raises :class:`InvalidEvidence`."""
        opened = self.open(data)
        if not self.is_met(one.key for one in opened.cosignatures):
            names = sorted({one.key.name for one in opened.cosignatures})
            raise InvalidEvidence(
                f"the quorum {self.quorum} is not met: the checkpoint is cosigned by {', '.join(names) or 'no witness'}"
            )
        return opened

    def is_met(self, signed: Iterable[VerifierKey]) -> bool:
        """Tell whether the witnesses with these keys are a quorum."""
        if self.quorum is None:
            return True
        keys = {key.public_key for key in signed}
        met = {name for name, witness in self.witnesses.items() if witness.key.public_key in keys}
        for group in self.groups.values():  # members stand above their group
            if sum(member in met for member in group.members) >= group.needed:
                met.add(group.name)
        return self.quorum in met

    def encode(self) -> bytes:
        """Return the policy as text; :func:`parse_policy` is the inverse."""
        lines = [f"log {key}" for key in self.logs]
        lines += [
            f"witness {one.name} {one.key}" + ("" if one.url is None else f" {one.url}")
            for one in self.witnesses.values()
        ]
        lines += [f"group {one.name} {one.needed} {' '.join(one.members)}" for one in self.groups.values()]
        lines.append(f"quorum {self.quorum or _NO_QUORUM}")
        return "".join(f"{line}\n" for line in lines).encode()


def parse_policy(data: bytes) -> Policy:
    """Return the policy that ``data`` states. Raises :class:`InvalidEvidence`, naming the line."""
    check_size(data, POLICY_BYTES_MAX, "the policy")
    parser = _Parser()
    for number, line in enumerate(split_lines(parse_text(data, "the policy"), "the policy"), start=1):
        if not line.strip(" ") or line.startswith("#"):
            continue
        keyword, *words = line.split(" ")
        try:
            parser.take(keyword, [word for word in words if word])
        except InvalidEvidence as error:
            raise InvalidEvidence(f"policy, line {number}: {error.reason}") from error
    return parser.policy()


class _Parser:
    def __init__(self) -> None:
        self._logs: list[VerifierKey] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, Group] = {}
        self._quorums: list[str] = []
        self._grouped: set[str] = set()
        self._public_keys: set[bytes] = set()

    def take(self, keyword: str, words: Sequence[str]) -> None:
        match keyword, words:
            case "log", [vkey] | [vkey, _]:
                self._logs.append(self._key(vkey, KeyType.LOG))
            case "witness", [name, vkey, *url] if len(url) <= 1:
                key = self._key(vkey, KeyType.COSIGNATURE)
                self._witnesses[self._new_name(name)] = Witness(name, key, url[0] if url else None)
            case "group", [name, needed, *members] if members:
                self._take_group(self._new_name(name), needed, members)
            case "quorum", [name]:
                if name != _NO_QUORUM:
                    self._check_defined(name)
                self._quorums.append(name)
            case _:
                raise InvalidEvidence(f"not a line of a policy: {shown(' '.join((keyword, *words)))}")

    def _take_group(self, name: str, needed: str, members: Sequence[str]) -> None:
        for member in members:
            self._check_defined(member)
            if member in self._grouped:
                raise InvalidEvidence(f"{shown(member)} is in a group already, or twice in this one")
            self._grouped.add(member)
        words = {"any": 1, "all": len(members)}
        count = words[needed] if needed in words else parse_decimal(needed, "the number that a group needs")
        if not 1 <= count <= len(members):
            raise InvalidEvidence(f"a group of {len(members)} cannot need {count}")
        self._groups[name] = Group(name, count, tuple(members))

    def policy(self) -> Policy:
        if not self._logs:
            raise InvalidEvidence("the policy names no log")
        if len(self._quorums) != 1:
            raise InvalidEvidence("the policy must have exactly one line 'quorum'")
        quorum = None if self._quorums[0] == _NO_QUORUM else self._quorums[0]
        return Policy(tuple(self._logs), self._witnesses, self._groups, quorum)

    def _key(self, vkey: str, key_type: KeyType) -> VerifierKey:
        key = parse_vkey(vkey)
        if key.type is not key_type:
            raise InvalidEvidence(f"the key {shown(key.name)} is of type {key.type:02x}, not {key_type:02x}")
        if key.public_key in self._public_keys:
            raise InvalidEvidence(f"the public key of {shown(key.name)} stands in the policy twice")
        self._public_keys.add(key.public_key)
        return key

    def _new_name(self, name: str) -> str:
        if name == _NO_QUORUM or name in self._witnesses or name in self._groups:
            raise InvalidEvidence(f"the name {shown(name)} is taken")
        return check_key_name(name)

    def _check_defined(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise InvalidEvidence(f"{shown(name)} is not defined above")


__all__ = ["POLICY_BYTES_MAX", "Group", "Policy", "Witness", "parse_policy"]
