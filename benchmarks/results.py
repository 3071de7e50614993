"""What a run found, as it is shown, kept in a JSON file and published."""

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from .harness import CaseResult

PACKAGES = (
    "sessionlog",
    "anyio",
    "blake3",
    "msgspec",
    "openai-agents",
    "langgraph-checkpoint-sqlite",
    "langgraph-ledger",
    "eventsourcing",
    "lmdb",
    "aiofiles",
    "inotify-simple",
)


class Machine(msgspec.Struct, kw_only=True):
    """Where it was measured: of which kind, not which one."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    file_system: str
    python: str
    packages: dict[str, str]


class Results(msgspec.Struct, kw_only=True):
    """One run."""

    plan: str
    rounds: int
    date: str
    seconds: float
    machine: Machine
    cases: list[CaseResult]
    skipped: dict[str, str]

    def case(self, name: str) -> CaseResult | None:
        """Return the case of this name."""
        return next((case for case in self.cases if case.name == name), None)


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(UTC).date().isoformat()


def describe_machine(folder: Path) -> Machine:
    """Describe this machine; ``folder`` is where files are written."""
    packages = {"sqlite3": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        file_system=_file_system(folder),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=packages,
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Return the kind of the file system that holds ``folder``."""
    kind, longest = "unknown", -1
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return kind
    resolved = folder.resolve()
    for mount in mounts:
        _, point, found, *_ = mount.split()
        if resolved.is_relative_to(point) and len(point) > longest:
            kind, longest = found, len(point)
    return kind
