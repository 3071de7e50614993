"""Policies: who must have signed, counted by key."""

import pytest
from evidence_vectors import COSIGNED, LOG_VKEY, SIGNED, WITNESS, WITNESS_VKEY

from sessionlog.evidence import InvalidEvidence, KeyType, PrivateKey, parse_policy
from sessionlog.evidence.policy import POLICY_BYTES_MAX

KEYS = {n: PrivateKey.from_seed(f"example.com/w{n}", bytes([n]) * 32, KeyType.COSIGNATURE).key for n in range(1, 6)}
LINES = "".join(f"witness w{n} {key}\n" for n, key in KEYS.items())


def test_a_quorum_of_one_witness() -> None:
    """The cosigned checkpoint meets it, and the one that only the log signed does not."""
    policy = parse_policy(
        f"# ours\n\nlog {LOG_VKEY}\nwitness w {WITNESS_VKEY} https://example.com\nquorum w\n".encode()
    )
    assert policy.check(COSIGNED).checkpoint.size == 7
    assert not policy.open(SIGNED).cosignatures
    with pytest.raises(InvalidEvidence, match="quorum w is not met"):
        policy.check(SIGNED)
    assert policy.witnesses["w"].url == "https://example.com"


def test_no_quorum() -> None:
    """With ``quorum none`` the log's signature is enough, and still needed."""
    policy = parse_policy(f"log {LOG_VKEY}\nquorum none\n".encode())
    assert policy.check(SIGNED).checkpoint.size == 7
    with pytest.raises(InvalidEvidence):
        policy.check(SIGNED.replace(b"\n7\n", b"\n8\n"))


@pytest.mark.parametrize(
    ("signed", "met"),
    [((1,), False), ((1, 2), False), ((1, 4), True), ((1, 2, 3), False), ((4, 5), False), ((2, 5), True)],
)
def test_groups_of_groups(signed: tuple[int, ...], met: bool) -> None:
    """One of three in the one group and one of two in the other."""
    text = f"log {LOG_VKEY}\n{LINES}group a any w1 w2 w3\ngroup b 1 w4 w5\ngroup both all a b\nquorum both\n"
    policy = parse_policy(text.encode())
    assert policy.is_met(KEYS[n] for n in signed) is met
    assert parse_policy(policy.encode()) == policy


def test_votes_are_counted_by_key() -> None:
    """A key under two names is refused, so nobody votes twice; the log's key cannot be a witness's."""
    other_name = PrivateKey.from_seed("example.com/again", b"\x01" * 32, KeyType.COSIGNATURE).key
    log_as_witness = PrivateKey.from_seed("example.com/w", b"l" * 32, KeyType.COSIGNATURE).key
    for key in (other_name, log_as_witness):
        with pytest.raises(InvalidEvidence, match="twice"):
            parse_policy(f"log {LOG_VKEY}\n{LINES}witness again {key}\nquorum none\n".encode())
    policy = parse_policy(f"log {LOG_VKEY}\n{LINES}group g 2 w1 w2\nquorum g\n".encode())
    assert not policy.is_met([KEYS[1], KEYS[1], other_name])
    assert policy.is_met([other_name, KEYS[2]])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none\n",
        f"log {LOG_VKEY}\n",
        f"log {LOG_VKEY}\nquorum none\nquorum none\n",
        f"log {LOG_VKEY}\nquorum none",
        f"log {LOG_VKEY}\nquorum w\n",
        f"log {LOG_VKEY}\nlog {LOG_VKEY}\nquorum none\n",
        f"log {WITNESS_VKEY}\nquorum none\n",
        f"log {LOG_VKEY}\nwitness w {LOG_VKEY}\nquorum none\n",
        f"log {LOG_VKEY}\nwitness none {WITNESS_VKEY}\nquorum none\n",
        f"log {LOG_VKEY}\n{LINES}group g 0 w1\nquorum g\n",
        f"log {LOG_VKEY}\n{LINES}group g 2 w1\nquorum g\n",
        f"log {LOG_VKEY}\n{LINES}group g 01 w1\nquorum g\n",
        f"log {LOG_VKEY}\n{LINES}group g any\nquorum g\n",
        f"log {LOG_VKEY}\n{LINES}group g any w1 w1\nquorum g\n",
        f"log {LOG_VKEY}\n{LINES}group g any w1\ngroup h any w1\nquorum h\n",
        f"log {LOG_VKEY}\n{LINES}group g any g\nquorum g\n",
        f"log {LOG_VKEY}\n{LINES}group w1 any w2\nquorum w1\n",
        f"log {LOG_VKEY}\n{LINES}group g any later\nquorum g\n",
        f"log {LOG_VKEY}\nmirror x\nquorum none\n",
        f"log {LOG_VKEY} a b\nquorum none\n",
        f"log {LOG_VKEY}\r\nquorum none\n",
    ],
)
def test_wrong_policies_are_refused(text: str) -> None:
    """A policy that says nothing, or two things, is refused rather than read somehow."""
    with pytest.raises(InvalidEvidence):
        parse_policy(text.encode())


def test_the_line_is_named() -> None:
    """A fault says where it is."""
    with pytest.raises(InvalidEvidence, match="line 2"):
        parse_policy(f"log {LOG_VKEY}\nquorun none\n".encode())


def test_limit() -> None:
    """A policy may be so long, and one byte more is refused."""
    text = f"log {LOG_VKEY}\nquorum none\n"
    full = text + "#" + "x" * (POLICY_BYTES_MAX - len(text) - 2) + "\n"
    parse_policy(full.encode())
    with pytest.raises(InvalidEvidence, match="bytes"):
        parse_policy(b"#" + full.encode())
    assert str(WITNESS.key) == WITNESS_VKEY
