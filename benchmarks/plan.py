"""How much to do: the sizes of a full run, of a quick one, and of one that only shows that everything runs."""

from typing import Final, NamedTuple


class Plan(NamedTuple):
    """Sizes. What is counted in appends is the whole of one measurement, over all sessions."""

    name: str
    rounds: int
    case_s: float
    """No further round of a case begins after so many seconds."""
    os_appends: int
    """By the library, its floors, and peers that are as fast."""
    slow_appends: int
    """By what flushes, starts a transaction or goes to a thread for each append."""
    sessions_at_once: tuple[int, ...]
    batch_count: int
    stored_records: int
    """In the log that is read, verified and forked."""
    big_records: int
    """In the log of which size should not matter: a record is 1 KiB, so a million of them are 1 GB."""
    listed_sessions: int
    small_sessions: int
    """In the store that is verified, audited and asked for as a whole."""
    transcript_bytes: int
    folder_bytes: int
    searched_bytes: int
    """Of transcripts, imported into the store that is searched."""
    torn_bytes: int
    """Behind the last record of a log that a crash cut off."""
    follow_records: int
    imports: int
    """Processes started for each figure of an import time."""


FULL: Final = Plan(
    name="full",
    rounds=7,
    case_s=90,
    os_appends=20_000,
    slow_appends=600,
    sessions_at_once=(1, 64, 1000),
    batch_count=100,
    stored_records=50_000,
    big_records=1_000_000,
    listed_sessions=100_000,
    small_sessions=20_000,
    transcript_bytes=30_000_000,
    folder_bytes=100_000_000,
    searched_bytes=1_000_000_000,
    torn_bytes=600_000_000,
    follow_records=200,
    imports=5,
)
QUICK: Final = Plan(
    name="quick",
    rounds=3,
    case_s=20,
    os_appends=6_000,
    slow_appends=128,
    sessions_at_once=(1, 64, 1000),
    batch_count=20,
    stored_records=25_000,
    big_records=100_000,
    listed_sessions=10_000,
    small_sessions=2_000,
    transcript_bytes=3_000_000,
    folder_bytes=5_000_000,
    searched_bytes=20_000_000,
    torn_bytes=60_000_000,
    follow_records=40,
    imports=1,
)
TINY: Final = Plan(
    name="tiny",
    rounds=1,
    case_s=20,
    os_appends=64,
    slow_appends=8,
    sessions_at_once=(1, 4),
    batch_count=1,
    stored_records=40,
    big_records=2_000,
    listed_sessions=20,
    small_sessions=120,
    transcript_bytes=30_000,
    folder_bytes=60_000,
    searched_bytes=60_000,
    torn_bytes=500_000,
    follow_records=3,
    imports=1,
)
