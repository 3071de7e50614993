"""The published examples: a log of seven entries, its keys and a witness's, and files that other programs accepted."""

from sessionlog.evidence import Checkpoint, KeyType, PrivateKey, Tree, leaf_hash

ENTRIES = [f"entry {n}".encode() for n in range(7)]
ORIGIN = "example.com/agents/store"
LOG_VKEY = "example.com/agents/store+94aeb74a+AW1E+Tn4KdQ1mLze3akN4B22n6pQyqM+jGwyikuQDU2s"
WITNESS_VKEY = "example.com/witness+c2671135+BMhTrQ8M0rYZrqks7sT9VqJNZJnVhM55JX5Fz9gTm2Cn"
COSIGNED_AT_S = 1_790_000_000

LOG = PrivateKey.from_seed(ORIGIN, b"l" * 32)
WITNESS = PrivateKey.from_seed("example.com/witness", b"w" * 32, KeyType.COSIGNATURE)

TREE = Tree(map(leaf_hash, ENTRIES))
CHECKPOINT = Checkpoint(ORIGIN, 7, TREE.root())

LOG_LINE = (
    "— example.com/agents/store "
    "lK63SivZZVM+5aIIqmHh+WAG2Cwas+QGeH8m4xPK8a5IQuFx8fzVjRFzeuzR5xJnwdYSvxoBeido6DM2qmprVdS1ZwI=\n"
)
WITNESS_LINE = (
    "— example.com/witness wmcRNQAAAABqsTuA8cdD/bIcZo6zt9VzWlBKAaP6LMNohDSd62zSqVwSKEdR7QyTxdcHJufp45tQJLWLgoi7rcoQuFF"
    "kolEzOr1SDg==\n"
)
CHECKPOINT_TEXT = f"{ORIGIN}\n7\nmMl/C6MXXNCLAx3QhLncTmSbZNGijm6mlGRlAxc6tYc=\n"
SIGNED = f"{CHECKPOINT_TEXT}\n{LOG_LINE}".encode()
COSIGNED = f"{CHECKPOINT_TEXT}\n{LOG_LINE}{WITNESS_LINE}".encode()
PROOF_OF_3 = (
    b"c2sp.org/tlog-proof@v1\n"
    b"index 3\n"
    b"V8efTzGuApxdS9MLBzwnyU35NDiytGl+Hh7vW8A5SkE=\n"
    b"WkdmL9ijF9lgSaP59HxV3GfKZgUbqjaD27GbL+CaB7A=\n"
    b"lK+4osoFHAVFjqOdzRmxvWjn4zUp8QtDnSphWlH2NuI=\n"
    b"\n"
) + COSIGNED
