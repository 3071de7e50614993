"""Keys, signed notes, checkpoints and cosignatures: the published examples, and every way to be wrong."""

import pytest
from evidence_vectors import (
    CHECKPOINT,
    CHECKPOINT_TEXT,
    COSIGNED,
    COSIGNED_AT_S,
    LOG,
    LOG_LINE,
    LOG_VKEY,
    ORIGIN,
    SIGNED,
    WITNESS,
    WITNESS_LINE,
    WITNESS_VKEY,
)

from sessionlog.evidence import (
    Checkpoint,
    InvalidEvidence,
    KeyType,
    Note,
    PrivateKey,
    VerifierKey,
    cosign,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    sign,
    sign_checkpoint,
)
from sessionlog.evidence.keys import KEY_NAME_BYTES_MAX
from sessionlog.evidence.notes import NOTE_BYTES_MAX, SIGNATURES_MAX
from sessionlog.evidence.strict import encode_base64

FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()


def test_keys_are_spelt_as_published() -> None:
    """A seed gives the published vkey, and a vkey reads back as the key."""
    assert str(LOG.key) == LOG_VKEY
    assert str(WITNESS.key) == WITNESS_VKEY
    assert parse_vkey(LOG_VKEY) == LOG.key
    assert parse_vkey(WITNESS_VKEY) == WITNESS.key
    assert PrivateKey.from_pem(ORIGIN, LOG.to_pem()).key == LOG.key


def test_a_published_note_opens() -> None:
    """The example of the specification verifies, and encodes to its own bytes."""
    opened = open_note(FOO_NOTE, [parse_vkey(FOO)])
    assert opened.text == b"This is an example message.\n"
    assert parse_note(FOO_NOTE).encode() == FOO_NOTE


def test_a_checkpoint_is_signed_and_cosigned_as_published() -> None:
    """Signing gives the published bytes, and opening gives back the checkpoint and the time of the cosignature."""
    assert sign_checkpoint(CHECKPOINT, LOG) == SIGNED
    text = CHECKPOINT.text()
    assert Note(text, [sign(text, LOG), cosign(text, WITNESS, COSIGNED_AT_S)]).encode() == COSIGNED
    opened = open_checkpoint(COSIGNED, [LOG.key], [WITNESS.key])
    assert (opened.checkpoint, opened.key) == (CHECKPOINT, LOG.key)
    assert [(one.key, one.time_s) for one in opened.cosignatures] == [(WITNESS.key, COSIGNED_AT_S)]


@pytest.mark.parametrize("at", range(len(COSIGNED)))
def test_every_flipped_byte_of_a_checkpoint_is_refused(at: int) -> None:
    """No byte of a cosigned checkpoint can be changed: not in the text, the names, the key ids or the signatures."""
    for bit in (0x01, 0x20, 0x80):
        changed = bytearray(COSIGNED)
        changed[at] ^= bit
        try:
            opened = open_checkpoint(bytes(changed), [LOG.key], [WITNESS.key])
        except InvalidEvidence:
            continue
        # a changed name or key id makes a signature of the witness one of an unknown key: ignored, and not counted
        assert opened.checkpoint == CHECKPOINT
        assert not opened.cosignatures


def test_signatures_of_strangers_are_ignored_and_wrong_ones_of_known_keys_spoil() -> None:
    """A note opens by one good trusted signature; a bad one beside it refuses the whole note."""
    stranger = PrivateKey.from_seed("example.com/stranger", b"s" * 32)
    text = CHECKPOINT.text()
    good, other = sign(text, LOG), sign(text, stranger)
    assert open_note(Note(text, [other, good]).encode(), [LOG.key]).signed_by == [LOG.key]
    with pytest.raises(InvalidEvidence, match="no signature of a trusted key"):
        open_note(Note(text, [other]).encode(), [LOG.key])
    forged = Note(text, [good, cosign(b"another text\n", WITNESS, COSIGNED_AT_S)])
    with pytest.raises(InvalidEvidence, match="wrong"):
        open_checkpoint(forged.encode(), [LOG.key], [WITNESS.key])
    assert not open_checkpoint(forged.encode(), [LOG.key]).cosignatures


def test_a_witness_alone_does_not_make_a_checkpoint() -> None:
    """Without the log's own signature, under its own name, a checkpoint is refused."""
    text = CHECKPOINT.text()
    for signature in (cosign(text, WITNESS, 1), sign(text, PrivateKey.from_seed("example.com/other", b"o" * 32))):
        with pytest.raises(InvalidEvidence):
            open_checkpoint(
                Note(text, [signature]).encode(),
                [LOG.key, PrivateKey.from_seed("example.com/other", b"o" * 32).key],
                [WITNESS.key],
            )
    with pytest.raises(InvalidEvidence, match="cannot sign"):
        sign_checkpoint(CHECKPOINT, PrivateKey.from_seed("example.com/other", b"o" * 32))


def test_a_log_signature_is_no_cosignature() -> None:
    """One Ed25519 key of each type: what the one signed does not pass as the other's."""
    as_witness = PrivateKey.from_seed(ORIGIN, b"l" * 32, KeyType.COSIGNATURE)
    text = CHECKPOINT.text()
    line = sign(text, LOG)
    moved = type(line)(ORIGIN, as_witness.key.key_id, line.signature)
    with pytest.raises(InvalidEvidence):
        open_note(Note(text, [moved]).encode(), [as_witness.key])


def test_a_signer_that_does_not_sign_is_found_out() -> None:
    """What a signing program returns is verified before anybody sees it."""

    class Broken:
        key = LOG.key

        def sign(self, message: bytes) -> bytes:
            return bytes(len(message))[:64]

    with pytest.raises(InvalidEvidence, match="did not return a good signature"):
        sign_checkpoint(CHECKPOINT, Broken())


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com",
        "+94aeb74a+AW1E+Tn4KdQ1mLze3akN4B22n6pQyqM+jGwyikuQDU2s",
        LOG_VKEY.replace("94ae", "94AE"),
        LOG_VKEY.replace("94ae", "94af"),
        LOG_VKEY + "=",
        LOG_VKEY + "\n",
        LOG_VKEY.replace("agents", "a gents"),
        LOG_VKEY.replace("agents", "a\u2003gents"),
        LOG_VKEY[:-4],
        "example.com/p256+00000000+" + encode_base64(b"\x02" + bytes(64)),
    ],
)
def test_misspelt_keys_are_refused(vkey: str) -> None:
    """A vkey has one spelling; a wrong id, a wrong length and an unknown type are refused."""
    with pytest.raises(InvalidEvidence):
        parse_vkey(vkey)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        CHECKPOINT_TEXT.encode(),
        CHECKPOINT_TEXT.encode() + b"\n",
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED.replace(b"\n", b"\r\n"),
        SIGNED.replace(b"7\n", b"7\t\n"),
        SIGNED.replace(b"ZwI=\n", b"ZwJ=\n"),  # the same bytes, in a spelling that is not canonical
        SIGNED.replace(b"ZwI=\n", b"ZwI\n"),
        SIGNED.replace("— ".encode(), b"- "),
        SIGNED.replace("— ".encode(), "—\u00a0".encode()),
        SIGNED + b"\xff",
        SIGNED.replace(b"7\n", b"\xff\n"),
    ],
)
def test_misshapen_notes_are_refused(note: bytes) -> None:
    """What is not exactly a signed note never opens."""
    with pytest.raises(InvalidEvidence):
        open_note(note, [LOG.key])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n\n",
        f"{ORIGIN}\n7\n".encode(),
        CHECKPOINT_TEXT.replace("\n7\n", "\n07\n").encode(),
        CHECKPOINT_TEXT.replace("\n7\n", "\n+7\n").encode(),
        CHECKPOINT_TEXT.replace("\n7\n", "\n-7\n").encode(),
        CHECKPOINT_TEXT.replace("\n7\n", "\n\u0667\n").encode(),
        CHECKPOINT_TEXT.replace("\n7\n", "\n7 \n").encode(),
        CHECKPOINT_TEXT.replace("\n7\n", f"\n{2**63}\n").encode(),
        CHECKPOINT_TEXT.replace("\n7\n", "\n0\n").encode(),
        CHECKPOINT_TEXT.replace("tYc=", "tYd=").encode(),
        CHECKPOINT_TEXT.replace("mMl/", "").encode(),
        CHECKPOINT_TEXT.encode() + b"\n",
        CHECKPOINT_TEXT.encode()[:-1],
    ],
)
def test_misshapen_checkpoints_are_refused(text: bytes) -> None:
    """An origin, a plain decimal size and a root of 32 bytes, one spelling each."""
    with pytest.raises(InvalidEvidence):
        parse_checkpoint(text)


def test_extension_lines_are_kept_and_signed() -> None:
    """A log of others may have them: they are in the text that is verified."""
    extended = Checkpoint(ORIGIN, 7, CHECKPOINT.root, ("more", "of it"))
    assert parse_checkpoint(extended.text()) == extended
    assert open_checkpoint(sign_checkpoint(extended, LOG), [LOG.key]).checkpoint == extended


def test_limits() -> None:
    """A note of as many bytes, signatures and characters of a name as allowed opens; one more is refused."""
    text = CHECKPOINT.text()
    line = sign(text, LOG)
    open_note(Note(text, [line] * SIGNATURES_MAX).encode(), [LOG.key])
    with pytest.raises(InvalidEvidence, match="signatures"):
        open_note(Note(text, [line] * (SIGNATURES_MAX + 1)).encode(), [LOG.key])

    def note_of(size: int) -> bytes:
        tail = ("\n\n" + LOG_LINE).encode()
        return b"x" * (size - len(tail)) + tail

    assert len(parse_note(note_of(NOTE_BYTES_MAX)).encode()) == NOTE_BYTES_MAX
    with pytest.raises(InvalidEvidence, match="bytes"):
        parse_note(note_of(NOTE_BYTES_MAX + 1))
    PrivateKey.from_seed("x" * KEY_NAME_BYTES_MAX, b"l" * 32)
    with pytest.raises(InvalidEvidence, match="name"):
        PrivateKey.from_seed("x" * (KEY_NAME_BYTES_MAX + 1), b"l" * 32)


def test_a_time_beyond_63_bits_is_refused() -> None:
    """A cosignature's time is at most 2^63-1."""
    text = CHECKPOINT.text()
    cosign(text, WITNESS, 2**63 - 1)
    with pytest.raises(InvalidEvidence):
        cosign(text, WITNESS, 2**63)
    raw = WITNESS.sign(b"cosignature/v1\ntime %d\n" % 2**63 + text)
    line = type(sign(text, LOG))(WITNESS.key.name, WITNESS.key.key_id, (2**63).to_bytes(8, "big") + raw)
    with pytest.raises(InvalidEvidence):
        open_note(Note(text, [line]).encode(), [WITNESS.key])


def test_a_private_key_of_another_kind_is_refused() -> None:
    """What is no unencrypted Ed25519 key in PEM is said to be none."""
    for pem in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", LOG_LINE.encode()):
        with pytest.raises(InvalidEvidence):
            PrivateKey.from_pem(ORIGIN, pem)


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    """A key that is misshapen is a wrong signature, not a crash."""
    assert not VerifierKey("x", KeyType.LOG, b"\xff" * 32).is_signed(b"text", bytes(64))
    assert WITNESS_LINE.encode() in COSIGNED
