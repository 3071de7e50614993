"""Getting lost or outdated anchors back from a ``dir:`` sink: all but the secrets of the nonces, which no sink has.

The sink must hold what the key signed last, and extend what is left of the anchors: else going on would sign a second
history. A session whose secret is lost, too, is named by each run until a backup of ``blind`` is restored, or its loss
is accepted.
"""

from .anchor_catalog import load_catalog, statements_name
from .anchor_files import EvidenceDirectory
from .anchor_log import AnchorLog
from .checkpoints import Checkpoint, open_checkpoint
from .errors import AnchoringStopped, InvalidEvidence
from .key_files import KeyFiles, Signed
from .keys import VerifierKey
from .log_entries import AnchorEntry, parse_log_entry
from .merkle import Frontier, leaf_hash
from .notes import NOTE_BYTES_MAX
from .policy import POLICY_BYTES_MAX
from .statements import STATEMENTS_BYTES_MAX
from .tiles import tiles_of


def recover_anchors(directory: EvidenceDirectory, keys: KeyFiles, source: EvidenceDirectory) -> None:
    """Copy the anchors back from the sink ``source``. Blocks; ``directory`` is locked by the caller.

    Raises:
        AnchoringStopped: The sink has no checkpoint of this key, or less or something else than was signed; nothing was
            changed.
        InvalidEvidence: What lies in the sink is malformed or changed.
        StoreFailed: A file cannot be read or written.
    """
    key = keys.vkey()
    note = source.read("checkpoint", NOTE_BYTES_MAX)
    if note is None:
        raise AnchoringStopped(f"there is no checkpoint in {source.root}: is it a dir: sink of these anchors?")
    checkpoint = open_checkpoint(note, [key]).checkpoint
    log = AnchorLog(source, checkpoint.size)
    _check_whole(log, checkpoint)
    load_catalog(source, log)
    _check_extends(log, keys.last(), directory, key)

    for tile in tiles_of(log.size):
        directory.write({tile.path: log.read_tile(tile)})
    for index, entry in enumerate(log.entries()):
        if isinstance(parse_log_entry(entry), AnchorEntry):
            name = statements_name(index)
            directory.write({name: source.read(name, STATEMENTS_BYTES_MAX) or b""})
    for size in source.names("checkpoints"):
        directory.write({f"checkpoints/{size}": source.read(f"checkpoints/{size}", NOTE_BYTES_MAX) or b""})
    policy = source.read("policy", POLICY_BYTES_MAX)
    if policy is not None and directory.read("policy", POLICY_BYTES_MAX) is None:
        directory.write({"policy": policy})
    directory.write({"checkpoint": note})
    directory.remove("pending")
    directory.remove("cache")
    keys.write_last(Signed(checkpoint.size, checkpoint.root))


def _check_whole(log: AnchorLog, checkpoint: Checkpoint) -> None:
    frontier = Frontier()
    for entry in log.entries():
        frontier.push(leaf_hash(entry))
    if frontier.root() != checkpoint.root or log.root() != checkpoint.root:
        raise InvalidEvidence("the sink does not hold the entries of its checkpoint: it was changed, or is not whole")


def _check_extends(log: AnchorLog, last: Signed | None, directory: EvidenceDirectory, key: VerifierKey) -> None:
    """Check that the sink goes on from everything that this key is known to have signed."""
    signed = [] if last is None else [(last.size, last.root, "the key")]
    for name in ("checkpoint", "pending"):
        note = directory.read(name, NOTE_BYTES_MAX)
        if note is not None:
            one = open_checkpoint(note, [key]).checkpoint
            signed.append((one.size, one.root, f"the file '{name}'"))
    for size, root, who in signed:
        if size > log.size:
            raise AnchoringStopped(
                f"{who} has {size} entries, the sink only {log.size}: recover from another sink, or begin a new log "
                "with a new key and an empty directory"
            )
        if log.root(size) != root:
            raise AnchoringStopped(f"{who} and the sink have another history: their first {size} entries differ")


__all__ = ["recover_anchors"]
