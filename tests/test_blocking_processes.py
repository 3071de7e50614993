"""The synchronous face under signals and forks, with real processes."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionlog import (
    Extension,
    FileStore,
    SessionStartState,
    StoreFailed,
    TurnEnd,
    blocking,
)
from sessionlog.stores.file.system import System

WAIT_S = 600
"""Only a failure lasts so long."""
STARTED = SessionStartState()


def run_script(text: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python of its own, which heeds Ctrl-C: the background jobs of a shell, and their children, ignore it."""
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.Popen(
        [sys.executable, "-c", heeding + textwrap.dedent(text), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_child(body: Callable[[], str]) -> tuple[int, int]:
    """Fork; return the child and what its answer can be read from."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receive)
            answer = body()
        except BaseException as error:  # noqa: BLE001
            answer = repr(error)
        os.write(send, answer.encode())
        os._exit(0)
    os.close(send)
    return child, receive


def answer_of(child: int, receive: int) -> str:
    with open(receive, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


HELD_FLUSH = """
    import os, signal, sys, threading
    from sessionlog import FileStore, SessionStartState, blocking
    from sessionlog.stores.file.system import System

    class HeldFlush(System):
        held = False
        def flush(self, fd):
            if self.held:
                print("flushing", flush=True)
                sys.stdin.readline()
            super().flush(fd)

    system = HeldFlush()
    store = blocking.Store(FileStore(sys.argv[1], system=system))
    log = blocking.create_session_with_id(store, "s", SessionStartState())
    system.held = True
    try:
        log.save_turn_end(1)
        print("returned")
    except KeyboardInterrupt:
        print("interrupted at", log.head.seq)
    system.held = False
    log.save_turn_end(2)
    store.close()
"""


def test_ctrl_c_in_a_commit_waits_for_its_outcome(tmp_path: Path) -> None:
    """However often it is pressed: the call ends when the flush has, with KeyboardInterrupt, and the record is in."""
    process = run_script(HELD_FLUSH, tmp_path)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "flushing\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    process.stdin.write("\n")
    process.stdin.flush()
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, err) == (0, "interrupted at 1\n", "")
    with blocking.open_store(tmp_path) as store:
        assert blocking.restore(store, "s").turn_count == 2


FOLLOWING = """
    import sys
    from sessionlog import SessionStartState, blocking

    store = blocking.open_store(sys.argv[1])
    log = blocking.create_session_with_id(store, "s", SessionStartState())
    try:
        for record in store.follow("s"):
            print("record", record.seq, flush=True)
    except KeyboardInterrupt:
        print("interrupted")
    log.save_turn_end(1)
    print(blocking.restore(store, "s").turn_count)
    for record in store.follow("s"):  # left open at the end of the process
        break
    keep = store.read("s")
    next(keep)
"""


def test_ctrl_c_ends_a_follower_and_the_process_ends_with_streams_still_open(tmp_path: Path) -> None:
    process = run_script(FOLLOWING, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "record 0\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, err) == (0, "interrupted\n1\n", "")


INTERRUPTED_ANYWHERE = """
    import signal, sys
    from sessionlog import SessionStartState, blocking
    from sessionlog.blocking import portal

    class Interrupted(BaseException):
        pass

    def interrupt(_, frame):  # wherever the call is, but not behind it
        while frame is not None:
            if frame.f_code is portal.Portal.run.__code__:
                raise Interrupted
            frame = frame.f_back

    store = blocking.open_store(sys.argv[1], durability="os")
    log = blocking.create_session_with_id(store, "s", SessionStartState())
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    interrupted = 0
    for count in range(500):
        before = log.head.seq
        try:
            log.save_turn_end(count)
        except Interrupted:
            interrupted += 1
        else:
            assert log.head.seq == before + 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert log.head == store.read_head("s")
    assert log.head.seq >= 500 - interrupted
    assert blocking.verify_session(store, "s").ok
    print("done")
"""


def test_a_call_can_be_interrupted_at_any_moment(tmp_path: Path) -> None:
    """Each of 500 calls ends, and the log's head is what it knows, wherever a signal's handler raised."""
    out, err = run_script(INTERRUPTED_ANYWHERE, tmp_path).communicate(timeout=WAIT_S)
    assert (out, err) == ("done\n", "")


def test_a_forked_child_uses_the_store_through_a_portal_of_its_own(tmp_path: Path) -> None:
    """The store, and a domain of it, go on in the child; an open session is to be opened there. The parent goes on."""
    with blocking.open_store(tmp_path, durability="os") as store:
        log = blocking.create_session_with_id(store, "s", STARTED)
        log.save_turn_end(1)

        def body() -> str:
            with pytest.raises(StoreFailed, match="opened by the parent process"):
                log.save_turn_end(7)
            blocking.open_session(store, "s").save_turn_end(2)
            return str(blocking.restore(store, "s").turn_count)

        assert answer_of(*in_child(body)) == "2"
        assert blocking.restore(store, "s").turn_count == 2
        log.change(lambda state: [TurnEnd(ts=0, turn_count=state.turn_count + 1)])
        assert blocking.restore(store, "s").turn_count == 3


def test_a_store_in_memory_stays_with_its_process() -> None:
    with blocking.open_store("memory:") as store:
        blocking.create_session_with_id(store, "s", STARTED)
        answer = answer_of(*in_child(lambda: repr(store.list_sessions())))
        assert "opened by the parent process" in answer
        assert store.list_sessions() == ["s"]


LOCKING_PARENT = """
    import os, signal, sys
    from sessionlog import FileStore, SessionStartState, blocking
    from sessionlog.stores.file.system import System

    class ForksInCommit(System):
        forks = False
        def write(self, fd, data):
            if self.forks:  # the lock is held now: fork, and be killed
                child = os.fork()
                if child == 0:
                    print(os.getpid(), flush=True)
                    sys.stdin.readline()
                    os._exit(0)
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write(fd, data)

    system = ForksInCommit()
    store = blocking.Store(FileStore(sys.argv[1], system=system))
    log = blocking.create_session_with_id(store, "s", SessionStartState())
    system.forks = True
    log.save_turn_end(1)
"""


def test_a_lock_ends_with_the_parent_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    """The child lets go of the inherited descriptors; else nobody could append for as long as it lives."""
    process = run_script(LOCKING_PARENT, tmp_path)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait(timeout=WAIT_S)
    assert process.returncode == -signal.SIGKILL
    try:
        os.kill(child, 0)  # it lives
        with blocking.Store(FileStore(tmp_path, "os", lock_wait_s=0.5)) as store:
            blocking.open_session(store, "s").append(Extension(ts=0, domain="x", payload=1))
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()


def test_closing_an_inherited_store_closes_nothing_of_the_childs(tmp_path: Path) -> None:
    """What was inherited is closed when the child begins; its number may belong to another file by now."""
    with blocking.open_store(tmp_path / "one", durability="os") as store:
        log = blocking.create_session_with_id(store, "s", STARTED)
        async_store = store.asynchronous

        def body() -> str:
            with blocking.open_store(tmp_path / "two", durability="os") as other:
                mine = blocking.create_session_with_id(other, "s", STARTED)
                blocking.run(async_store.aclose)
                mine.save_turn_end(1)
                return str(mine.head and mine.head.seq)

        assert answer_of(*in_child(body)) == "1"
        log.save_turn_end(1)


def test_an_inherited_descriptor_is_closed_in_the_child_alone(tmp_path: Path) -> None:
    system = System()
    fd = system.open(str(tmp_path / "file"), os.O_RDWR | os.O_CREAT)

    def body() -> str:
        try:
            os.fstat(fd)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "open"

    assert answer_of(*in_child(body)) == "EBADF"
    os.fstat(fd)
    system.close(fd)
