"""`list`: what each session is and used, from the catalog, by the time of its conversation."""

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sessionlog.cli.moments import Moment
from sessionlog.stores.file import stamps

from .conftest import Cli, user
from .terminal import look

T0 = 1_700_000_000_000
LATER = T0 + 9 * 86_400_000


def used(tokens: int, ts: int = T0) -> dict[str, object]:
    counts = {"input_total_tokens": tokens, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 2}
    return {"kind": "llm_usage", "ts": ts, "history_len": 1, **counts}


def note(**members: object) -> dict[str, object]:
    return {"kind": "extension", "domain": "import", "payload": {"format": "codex", **members}}


@pytest.fixture
def store(empty: Cli) -> Cli:
    """A session with a sub-agent and a fork, and one of another project that is written first and went on last."""
    empty.append("later", note(cwd="/srv/apples"), {**user("Pick them"), "ts": LATER}, used(5, LATER))
    model = {"kind": "config_changed", "ts": T0, "config": {"model": "fruit-1-20260101"}}
    hashes = empty.append("main", note(cwd="/srv/pears"), model, user("Peel the pears"), used(100))
    empty.append("main-agent-1", note(cwd="/srv/pears", role="agent", parent="main"), user("Find one"), used(7))
    empty("fork", "main", "--at", hashes[2])
    return empty


def test_list_shows_the_conversation_that_went_on_last_first(store: Cli) -> None:
    """Whatever was written last; with project, model, turns, tokens and first words."""
    ran = store("list")
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.lines == [
        "SESSION  LAST        TIME   PROJECT  MODEL    TURNS  TOKENS  TITLE",
        "later    2023-11-23  22:13  apples   -            1       7  Pick them",
        "main     2023-11-14  22:13  pears    fruit-1      2     111  +1 sub-agent, 1 fork  Peel the pears",
    ]


def test_flat_and_json_give_every_session(store: Cli) -> None:
    flat = store("list", "--flat")
    assert len(flat.lines) == 5
    assert "main-agent-1  2023-11-14  22:13  pears    -            1       9  Find one" in "\n".join(
        flat.lines
    ).replace(" " * 24, "")
    rows = {row["session_id"]: row for row in store("list", "--json").objects}
    assert len(rows) == 4
    row = rows["main"]
    assert (row["project"], row["agent"], row["turns"], row["tokens"]["output"]) == ("/srv/pears", "codex", 1, 2)
    assert (row["first_message"], row["kind"], row["state"], row["fault"]) == ("Peel the pears", "main", "valid", None)
    assert len(row["head_hash"]) == 64
    assert rows["main-agent-1"]["parent"] == "main"
    [fork] = [row for row in rows.values() if row["kind"] == "fork"]
    assert fork["forked_from"]["session_id"] == "main"


def test_what_is_asked_for_is_listed(store: Cli) -> None:
    store("label", "later", "team=orchard")

    def ids(*args: str) -> list[str]:
        return [row["session_id"] for row in store("list", "--json", *args).objects]

    assert ids("--project", "apples") == ids("--project", "/srv/apples") == ids("--since", "2023-11-20") == ["later"]
    assert (
        ids("--label", "team") == ids("--label", "team=orchard") == ids("--sort", "last", "--limit", "1") == ["later"]
    )
    assert ids("--label", "team=x") == ids("--since", "7d") == []
    assert "later" not in ids("--until", "2023-11-14")
    assert ids("--model", "fruit") == ids("--sort", "tokens", "--limit", "1") == ["main"]
    assert "no session is what was asked for" in store("list", "--project", "chard").stderr


def test_a_time_may_be_how_long_ago() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    moment = Moment(end=False, now=lambda: now)
    for text, day, hour in (("7d", 24, 12), ("12h", 31, 0), ("2w", 17, 12)):
        assert moment.convert(text, None, None) == datetime(2026, 1, day, hour, tzinfo=UTC).timestamp() * 1000


def test_a_catalog_that_cannot_be_written_hides_nothing(store: Cli) -> None:
    """That it is read without one is told."""
    (store.store / "catalog.sqlite3").mkdir()
    ran = store("list")
    assert ran.status == 0
    assert len(ran.lines) == 3
    ran.assert_one_line("catalog.sqlite3", "all logs are read instead")


def test_a_catalog_that_lies_is_found_out_by_verify(store: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "SETTLING_S", float("-inf"))  # nothing is read again because it is young
    store("list")
    with sqlite3.connect(store.store / "catalog.sqlite3") as catalog:
        catalog.execute("UPDATE sessions SET first_words = 'forged'")
    catalog.close()
    assert "forged" in store("list").stdout
    assert "forged" not in store("list", "--verify").stdout
    assert "forged" not in store("list").stdout


def test_a_damaged_log_is_told_every_time(store: Cli) -> None:
    """Also where nothing is new, and where what was asked for is another session."""
    path = store.log("main")
    path.write_bytes(path.read_bytes().replace(b"Peel", b"Peal"))
    for _ in range(2):
        ran = store("list")
        assert ran.status == 1
        assert "damaged" in next(line for line in ran.lines if line.startswith("main "))
        assert "later" in ran.stdout
        ran.assert_one_line("main is damaged")
    assert store("list", "--project", "apples").status == 1


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal(store: Cli, columns: int) -> None:
    """A title has room, and the columns that went for it are named."""
    long = "0190163d-8694-739b-aea5-966c26f8ad91"
    store.append(long, note(cwd="/srv/" + "p" * 40), user("Each title has some room, whatever the terminal"))
    seen = look("list", store=store.store, columns=columns)
    seen.assert_sound()
    assert next(line for line in seen.lines if line.startswith("0190163d ")).count("Each title has") == 1
    assert ("without MODEL" in seen.text) is (columns < 120)


@pytest.mark.long
def test_a_foreign_store_that_is_read_only_is_listed(store: Cli, tmp_path: Path) -> None:
    """Without a catalog beside it."""
    (store.store / "catalog.sqlite3").unlink(missing_ok=True)
    store.store.chmod(0o500)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert "Pick them" in store.process("list", env=env).stdout
    store.store.chmod(0o700)
