"""One writer: whoever comes second is told who is first, and nobody stays first after its death."""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import livetrade as lt
from livetrade.errors import JournalError
from livetrade.journal.file import FileJournal
from livetrade.journal.lock import NETWORK, OwnerLock, file_system, refuse_network
from livetrade.journal.verify import verify
from tests.support import SBIN, quoted, trading

TRADER = """
import sys, time
import livetrade as lt
stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
engine = lt.LiveTradingEngine(None if len(sys.argv) > 2 else 500_000, stream, journal=sys.argv[1])
engine.market_buy("NSE:SBIN-EQ", 10).result(30)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.journal"


@contextmanager
def another_process(path: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that trades on the journal, until it is killed."""
    with subprocess.Popen([sys.executable, "-c", TRADER, path, *more], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(path: Path) -> None:
    with another_process(path) as owner:
        for _ in range(2):
            with pytest.raises(JournalError, match=rf"in use by the process {owner.pid} \(pid {owner.pid}\)"):
                lt.LiveTradingEngine(journal=path)
    with trading(None, quoted(), journal=path) as engine:
        assert engine.position(SBIN).quantity == 10
        assert engine.market_buy(SBIN, 1).result(5).success
        assert "did not end in good order" in engine.health()["alarms"][0]


@pytest.mark.parametrize("way", ["path", "symlink", "folder", "relative"])
def test_a_second_engine_of_this_process_is_refused(path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path
    if way == "symlink":
        other = path.with_name("link.journal")
        other.symlink_to(path.name)
    elif way == "folder":
        (path.parent / "elsewhere").symlink_to(path.parent)
        other = path.parent / "elsewhere" / path.name
    elif way == "relative":
        monkeypatch.chdir(path.parent)
        other = Path(path.name)
    with trading(journal=path) as engine:
        with pytest.raises(JournalError, match=rf"an engine of this process \(pid {os.getpid()}\)"):
            lt.LiveTradingEngine(500_000, journal=other, name="other")
        assert engine.market_buy(SBIN, 1).result(5).success
    with trading(500_000, journal=other, name="other") as engine:
        assert engine.position(SBIN).quantity == 1


def test_a_lock_that_nobody_could_write_into_is_let_go(path: Path) -> None:
    """As on a full disk: whoever could not say who it is, is not the owner."""
    lock = OwnerLock(Path("/dev/full"))
    with pytest.raises(OSError, match=r"Invalid argument|No space"):
        lock.acquire()
    lock.release()
    path.with_name(path.name + ".lock").mkdir()
    with pytest.raises(JournalError, match="cannot be locked"):
        FileJournal(path).open()


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def a_child(work: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """A forked process that does its work when it is told to; gives back what tells it and waits for its end."""
    hears, tells = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of later Pythons, which say that it is dangerous
        pid = os.fork()
    if not pid:
        code = 9
        try:
            os.close(tells)
            os.read(hears, 1)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(hears)
    status: list[int] = []

    def end() -> int:
        if not status:
            os.close(tells)
            status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return status[0]

    try:
        yield end
    finally:
        end()


def test_a_copy_of_a_file_that_a_child_has_not_closed_yet_keeps_no_lock(path: Path) -> None:
    """A child that was just forked may not have run at all when its parent closes the engine and makes the next."""
    lock, following = OwnerLock(path), OwnerLock(path)
    lock.acquire()
    assert lock._file is not None
    copy = os.dup(lock._file)
    lock.release()
    following.acquire()
    following.release()
    os.close(copy)


def test_a_child_that_closes_its_copy_leaves_the_lock_to_its_parent(path: Path) -> None:
    lock = OwnerLock(path)
    lock.acquire()
    with a_child(lock.release) as end:
        assert end() == 0
        with pytest.raises(JournalError, match="in use by an engine of this process"):
            OwnerLock(path).acquire()
    lock.release()


def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 10).result(5)
        with a_child(lambda: None) as end:
            engine.close()
            with trading(None, quoted(), journal=path, name="next") as following:
                assert following.position(SBIN).quantity == 10
            assert end() == 0


def test_the_end_of_a_child_changes_nothing_for_its_parent(path: Path) -> None:
    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 10).result(5)
        with a_child(lambda: None) as end:
            assert end() == 0
        assert engine.market_buy(SBIN, 5).result(5).success
    assert verify(path).whole
    with trading(None, quoted(), journal=path) as engine:
        assert engine.position(SBIN).quantity == 15


def ends_as_a_script_does(path: Path) -> str:
    """A script that forks: its child reaches the end of the interpreter after others have written the journal."""
    return f"""
import os, sys, warnings
import livetrade as lt
warnings.simplefilter("ignore")
stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
engine = lt.LiveTradingEngine(500_000, stream, journal={str(path)!r})
engine.market_buy("NSE:SBIN-EQ", 10).result(30)
child = os.fork()
if child:
    engine.close()
    print(child, flush=True)
    os._exit(0)
del engine
sys.stdin.read()
"""


def test_a_child_that_outlives_its_parent_takes_nothing_from_the_next_owner(path: Path) -> None:
    """SQLite, asked to close the connection it inherited, would remove a log that is not its own."""
    script = [sys.executable, "-c", ends_as_a_script_does(path)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with another_process(path, "goes on"):
            pass
        before = verify(path)
        assert before.whole
        parent.stdin.close()
        while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
            time.sleep(0.01)
    assert verify(path) == before


def test_a_forked_child_may_not_open_what_its_parent_has_open(path: Path) -> None:
    told = path.with_name("told")

    def work() -> None:
        for opens in (lt.open_journal, verify, lambda p: FileJournal(p).open()):
            try:
                opens(path)
            except JournalError as error:
                told.write_text((told.read_text() if told.exists() else "") + f"{error}\n")

    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 10).result(5)
        with a_child(work) as end:
            engine.close()
            assert end() == 0
    lines = told.read_text().splitlines()
    assert len(lines) == 3
    assert all("the process that this one was forked from; use a new one (spawn)" in line for line in lines)
    assert lt.open_journal(path).position(SBIN).quantity == 10


# ── network file systems ─────────────────────────────────────────────────────────────────────────────────────────────

MOUNTS = r"""
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:26 / /mnt/a\040share rw shared:7 master:2 - nfs4 server:/a rw,vers=4.2
31 30 254:2 / /mnt/a\040share/disk rw - xfs /dev/vdb rw
32 22 0:27 / /mnt/k\303\266ln rw - cifs //server/k rw
33 22 0:28 / /mnt/über rw - 9p hostshare rw
34 22 0:29 / /mnt/back\134slash rw - fuse.sshfs me@there: rw
35 22 0:30 / /twice rw - nfs server:/b rw
36 35 254:3 / /twice rw - ext4 /dev/vdc rw
37 22 0:31 / /mnt/a\040share-not rw - btrfs /dev/vdd rw
nonsense

38 22 0:32 / /cut
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "ext4"),
        ("/mnt/a share", "nfs4"),
        ("/mnt/a share/x/y", "nfs4"),
        ("/mnt/a share/disk/x", "xfs"),
        ("/mnt/a share-not/x", "btrfs"),
        ("/mnt/köln/x", "cifs"),
        ("/mnt/über", "9p"),
        ("/mnt/back\\slash", "fuse.sshfs"),
        ("/twice/x", "ext4"),
        ("/cut", "ext4"),
    ],
)
def test_the_file_system_of_a_folder(tmp_path: Path, folder: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, encoding="utf-8")
    assert file_system(Path(folder), mounts) == kind
    if kind in NETWORK:
        with pytest.raises(JournalError, match=rf"on a network file system \({kind}\).*keep it on a local disk"):
            refuse_network(Path(folder), mounts)
    else:
        refuse_network(Path(folder), mounts)


def test_where_nothing_tells_the_file_system(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "none") == ""
    refuse_network(tmp_path, tmp_path / "none")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_this_machine(tmp_path: Path) -> None:
    assert file_system(Path("/proc/self")) == "proc"
    refuse_network(tmp_path)


def test_the_owner_is_told_from_what_an_earlier_one_wrote(path: Path) -> None:
    lock = OwnerLock(path)
    path.write_text("123456789012345\n")
    lock.acquire()
    with pytest.raises(JournalError, match=rf"pid {os.getpid()}\)"):
        OwnerLock(path).acquire()
    lock.release()
