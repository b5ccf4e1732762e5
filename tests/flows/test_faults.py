"""A disk that is full, fails or is mute: nothing is opened, what protects is sent, nothing is told too early."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest

import livetrade as lt
from livetrade import outbox
from livetrade.core import events as ev
from livetrade.core.kinds import PriceSource
from livetrade.journal.chain import Row
from livetrade.journal.store import Store
from livetrade.journal.verify import verify
from tests.needs import missing, require_strace
from tests.support import INFY, SBIN, ScriptedBroker, picture_of, quoted, soon, trading

UNAVAILABLE = "Journal unavailable: "
NOT_SAVED = "but this is not saved. Journal unavailable: "


def accepted(order: lt.Order) -> ev.Accepted:
    return ev.Accepted(0, order.client_order_id, f"V{order.client_order_id}")


def executed(order: lt.Order, quantity_raw: int | None = None, price_raw: int = 54900) -> ev.Executed:
    quantity = order.quantity_raw if quantity_raw is None else quantity_raw
    return ev.Executed(0, order.client_order_id, f"{order.client_order_id}/{quantity}", quantity, price_raw, _VENUE)


_VENUE = PriceSource.VENUE


def stored_by(kind: Callable[[Path], Store], path: Path) -> tuple[lt.FileJournal, Any]:
    """A journal on a store of the test's own."""
    journal = lt.FileJournal(path)
    store = kind(journal.path)
    journal._store = store
    return journal, store


@contextmanager
def holding(broker: ScriptedBroker, journal: Any = None) -> Iterator[tuple[lt.LiveTradingEngine, list[lt.Fill]]]:
    """An engine at a broker, which holds 10 with a stop at 540; and the fills that it tells of from then on."""
    told: list[lt.Fill] = []
    with trading(broker=broker, journal=journal) as engine:
        engine.on_fill(told.append)
        bought = engine.market_buy(SBIN, 10, stop_loss_price=540)
        order = broker.wait_for(ev.Submit).order
        broker.say(accepted(order), executed(order))
        bought.result(30).raise_if_failed()
        soon(lambda: told)
        told.clear()
        yield engine, told


def submits(broker: ScriptedBroker) -> list[lt.Order]:
    return [request.order for request in broker.asked if isinstance(request, ev.Submit)]


def is_unsaved(handle: Any) -> str:
    """What an answer says that cannot be saved."""
    answer = handle.result(30)
    assert not answer.success
    assert answer.message.startswith("Not confirmed: ")
    assert NOT_SAVED in answer.message
    with pytest.raises(lt.OrderPendingError):
        answer.raise_if_failed()
    return str(answer.message)


def is_refused(handle: Any, why: str) -> None:
    answer = handle.result(30)
    assert not answer.success
    assert answer.message.startswith(UNAVAILABLE + why), answer.message
    with pytest.raises(lt.OrderRefusedError):
        answer.raise_if_failed()


def reads_the_same(path: Path, engine: lt.LiveTradingEngine) -> None:
    """The file holds the engine's account, without damage."""
    assert verify(path).whole
    with trading(None, quoted(), journal=path) as again:
        before, after = picture_of(engine), picture_of(again)
        for part in ("feed", "alarms"):  # these are of a session
            before.pop(part), after.pop(part)
        fills = [item.pop("fills")["fill"] for item in (before, after)]
        assert fills[0] == fills[1]
        assert before == after


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────────────


class SmallDisk:
    """A file system of a few MiB, and what takes its room away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "account.journal"
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)
        assert os.statvfs(self.folder).f_bavail == 0

    def free(self) -> None:
        self._ballast.unlink()

    def copy(self, to: Path) -> Path:
        """The journal as another process would find it if this one were killed now."""
        to.mkdir()
        for file in self.folder.glob(f"{self.journal.name}*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, to)
        return to / self.journal.name


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", os.fspath(folder)]
    is_there = shutil.which("mount") and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not is_there:
        missing("to be allowed to mount a small file system, as root is")
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", os.fspath(folder)], check=True)


def test_a_full_disk_on_paper(small_disk: SmallDisk, tmp_path: Path) -> None:
    told: list[lt.Fill] = []
    with trading(journal=small_disk.journal) as engine:
        engine.on_fill(told.append)
        assert engine.market_buy(SBIN, 10, stop_loss_price=540, client_order_id="held").result(30).success
        assert engine.limit_buy(SBIN, 1, 500, client_order_id="rests").result(30).success
        soon(lambda: len(told) == 1)
        small_disk.fill()

        is_refused(engine.market_buy(SBIN, 1), "its disk is full, 0 bytes are left")
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        assert not engine.position(SBIN)
        soon(lambda: "cannot be written" in repr(engine.journal))
        assert any("sent before it could be journaled" in alarm for alarm in engine.health()["alarms"])
        assert any("the journal cannot be written" in alarm for alarm in engine.health()["alarms"])
        assert "Canceled rests" in is_unsaved(engine.cancel("rests"))
        assert "Closed everything" in is_unsaved(engine.flatten())
        assert "Trading is halted" in is_unsaved(engine.halt("full"))
        assert len(told) == 1, "a fill was told that is not durable"

        then = lt.open_journal(small_disk.copy(tmp_path / "killed"))
        assert then.damage == ""
        assert then.position(SBIN).quantity == 10
        assert then.orders(open=True).index.tolist() == ["rests"]
        assert list(then.risk_orders()["status"]) == ["ARMED"]

        small_disk.free()
        soon(lambda: len(told) == 2)
        assert told[1].source == "STOP_LOSS"
        assert engine.resume().result(30).success
        assert engine.market_buy(SBIN, 2).result(30).success
        soon(lambda: len(told) == 3)
    reads_the_same(small_disk.journal, engine)


def test_a_full_disk_at_a_broker(small_disk: SmallDisk, tmp_path: Path) -> None:
    broker = ScriptedBroker()
    with holding(broker, small_disk.journal) as (engine, told):
        resting = engine.limit_buy(SBIN, 1, 500, client_order_id="rests")
        broker.say(accepted(broker.wait_for(ev.Submit, 2).order))
        assert resting.result(30).success
        small_disk.fill()

        is_refused(engine.market_buy(SBIN, 1), "its disk is full, 0 bytes are left")
        canceled = engine.cancel("rests")
        broker.wait_for(ev.Cancel)
        broker.say(ev.Canceled(0, "rests"))
        assert "Canceled rests" in is_unsaved(canceled)
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        sold = broker.wait_for(ev.Submit, 3).order
        assert (sold.side, sold.quantity_raw, sold.opening_raw) == ("SELL", 10, 0)
        assert f"sent before it could be journaled: {sold!r}" in engine.health()["alarms"]
        flattened = engine.flatten()
        broker.say(accepted(sold), executed(sold, price_raw=54000))
        assert "Closed everything" in is_unsaved(flattened)
        soon(lambda: not engine.position(SBIN))
        assert "Trading is halted" in is_unsaved(engine.halt("full"))
        assert len(submits(broker)) == 3
        assert told == []

        then = lt.open_journal(small_disk.copy(tmp_path / "killed"))
        assert then.position(SBIN).quantity == 10
        assert then.orders(open=True).index.tolist() == ["rests"]
        assert list(then.risk_orders()["status"]) == ["ARMED"]

        small_disk.free()
        soon(lambda: [fill.quantity for fill in told] == [10])
        assert engine.resume().result(30).success
        bought = engine.market_buy(SBIN, 2)
        order = broker.wait_for(ev.Submit, 4).order
        broker.say(executed(order))
        assert bought.result(30).success
    reads_the_same(small_disk.journal, engine)


# ── a disk that fails ────────────────────────────────────────────────────────────────────────────────────────────────


class Doubtful(Store):
    """Its commits are made and said to have failed, as after an error of a sync."""

    failing = False

    def write(self, ticks: Row | None, events: Row | None) -> None:
        before = self.head
        super().write(ticks, events)
        if self.failing:
            self.head = before
            self._drop()
            raise sqlite3.OperationalError("disk I/O error")


def test_an_order_in_flight_as_the_disk_fails_never_leaves(tmp_path: Path) -> None:
    broker = ScriptedBroker()
    journal, store = stored_by(Doubtful, tmp_path / "account.journal")
    with holding(broker, journal) as (engine, _):
        store.failing = True
        is_refused(engine.market_buy(SBIN, 1, client_order_id="inflight"), "disk I/O error")
        is_refused(engine.market_buy(SBIN, 1), "disk I/O error")
        assert engine.order("inflight").status == "REJECTED"
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        sold = broker.wait_for(ev.Submit, 2).order
        broker.say(executed(sold))
        store.failing = False
        soon(lambda: "saved" in repr(engine.journal))
        bought = engine.market_buy(SBIN, 3)
        broker.say(executed(broker.wait_for(ev.Submit, 3).order))
        assert bought.result(30).success
        assert [order.quantity_raw for order in submits(broker)] == [10, 10, 3]
    reads_the_same(tmp_path / "account.journal", engine)


def test_on_paper_it_has_filled_and_is_not_confirmed(tmp_path: Path) -> None:
    told: list[lt.Fill] = []
    journal, store = stored_by(Doubtful, tmp_path / "account.journal")
    with trading(journal=journal) as engine:
        engine.on_fill(told.append)
        store.failing = True
        assert "Bought 1 NSE:SBIN-EQ" in is_unsaved(engine.market_buy(SBIN, 1, client_order_id="first"))
        is_refused(engine.market_buy(SBIN, 1), "disk I/O error")
        assert engine.position(SBIN).quantity == 1
        assert told == []
        again = engine.market_buy(SBIN, 1, client_order_id="first")
        is_unsaved(again)
        store.failing = False
        soon(lambda: len(told) == 1)
        assert engine.market_buy(SBIN, 1, client_order_id="first").result(30).success
        assert engine.position(SBIN).quantity == 1
    reads_the_same(tmp_path / "account.journal", engine)


TRADER = """
import json, resource, sys, threading
import livetrade as lt
sys.path.insert(0, {root!r})
from tests.support import SBIN, quoted, soon, trading

def tell(*facts):
    print(json.dumps(facts), flush=True)

def buy(engine, number):
    answer = engine.market_buy(SBIN, 1, client_order_id=f"order{{number}}").result(60)
    tell(number, answer.success, answer.message)
    return answer
"""
LIMITED = (
    TRADER
    + """
with trading(journal={path!r}) as engine:
    for number in range(5):
        buy(engine, number)
    log = {path!r} + "-wal"
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (__import__("os").stat(log).st_size, hard))
    for number in range(5, 8):
        buy(engine, number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    soon(lambda: "saved" in repr(engine.journal))
    for number in range(8, 12):
        buy(engine, number)
    tell("held", int(engine.position(SBIN).quantity))
"""
)
STRUCK = (
    TRADER
    + """
with trading(journal={path!r}) as engine:
    for number in range(30):
        if not buy(engine, number).success:
            soon(lambda: "saved" in repr(engine.journal))
    tell("held", int(engine.position(SBIN).quantity))
"""
)
ROOT = Path(__file__).parents[2]


def facts_of(script: str, path: Path, *before: str) -> list[list[Any]]:
    """What a trader in a process of its own tells."""
    code = script.format(root=os.fspath(ROOT), path=os.fspath(path))
    done = subprocess.run(
        [*before, sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def all_is_kept(facts: list[list[Any]], path: Path) -> None:
    """What was confirmed is in the journal, and so is what the engine held at its end, once."""
    assert verify(path).whole
    kept = lt.open_journal(path)
    held = facts.pop()[1]
    assert kept.position(SBIN).quantity == held == len(kept.fills())
    for number, success, message in facts:
        order = kept.order(f"order{number}")
        assert order.status == ("FILLED" if success or NOT_SAVED in message else "DENIED"), message


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process here")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The free space shows nothing of it: the write itself fails."""
    path = tmp_path / "account.journal"
    facts = facts_of(LIMITED, path)
    successes = [success for _, success, *_ in facts[:-1]]
    assert successes == [True] * 5 + [False] * 3 + [True] * 4
    assert NOT_SAVED in facts[5][2]
    assert facts[6][2].startswith(UNAVAILABLE)
    all_is_kept(facts, path)


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_what_failed_to_reach_the_disk_is_written_anew(call: str, tmp_path: Path) -> None:
    """Linux forgets what it could not write after one failed sync: the next sync's success says nothing of it."""
    require_strace()
    path, log = tmp_path / "account.journal", tmp_path / "calls"
    inject = ["-e", f"inject={call}:error=EIO:when=9..10", "-e", f"trace={call},openat"]
    facts = facts_of(STRUCK, path, "strace", "-f", "-o", os.fspath(log), "-P", f"{path}-wal", *inject)
    assert [success for _, success, *_ in facts[:-1]].count(False) >= 1
    all_is_kept(facts, path)
    calls = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if "-wal" in line or call in line]
    struck = next(number for number, text in enumerate(calls) if "INJECTED" in text)
    after = [text for text in calls[struck + 1 :] if "INJECTED" not in text]
    assert after[0].startswith("openat"), f"something was {call}ed again on the connection that had failed"


# ── a disk that does not answer ──────────────────────────────────────────────────────────────────────────────────────


class Stalling(Store):
    """While it is stalled, each write of events waits until it is allowed to go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_stalled = False
        self.waits = Event()
        self.allowed = Semaphore(0)

    def write(self, ticks: Row | None, events: Row | None) -> None:
        if self.is_stalled and events is not None:
            self.waits.set()
            self.allowed.acquire()
            self.waits.clear()
        super().write(ticks, events)

    def stall(self) -> None:
        self.is_stalled = True

    def go_on(self) -> None:
        self.is_stalled = False
        self.allowed.release()

    def one(self) -> None:
        """Lets one write through, and waits for the next."""
        self.allowed.release()


def test_a_disk_that_had_nothing_to_do_is_not_mute(tmp_path: Path) -> None:
    """Right after a quiet time a step that is being written is no sign of anything."""
    journal, store = stored_by(Stalling, tmp_path / "account.journal")
    with holding(ScriptedBroker(), journal) as (engine, _):
        engine._read(lambda _: [engine._outbox.beat() for _ in range(2 * outbox.STALLED_BEATS)])
        store.stall()
        engine.stream.update(INFY, bid=1500, ask=1501)  # an event of its own: an instrument is added
        bought = engine.market_buy(INFY, 1, client_order_id="afterwards")
        assert store.waits.wait(30)
        assert engine.order("afterwards").status is not lt.OrderStatus.DENIED
        store.go_on()
        assert not bought.done() or bought.result().order.status is not lt.OrderStatus.DENIED


def test_a_disk_that_does_not_answer_is_a_fault_and_nothing_is_done_twice(tmp_path: Path) -> None:
    broker = ScriptedBroker()
    journal, store = stored_by(Stalling, tmp_path / "account.journal")
    with holding(broker, journal) as (engine, told):
        store.stall()
        waiting = engine.market_buy(SBIN, 1, client_order_id="waiting")
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        is_refused(waiting, "its disk does not answer")
        sold = broker.wait_for(ev.Submit, 2).order
        assert sold.side == "SELL"
        is_refused(engine.market_buy(SBIN, 1), "its disk does not answer")
        is_unsaved(engine.halt("mute"))
        broker.say(executed(sold))
        soon(lambda: not engine.position(SBIN))
        assert told == []

        store.go_on()
        soon(lambda: len(told) == 1)
        assert engine.resume().result(30).success
        bought = engine.market_buy(SBIN, 3)
        broker.say(executed(broker.wait_for(ev.Submit, 3).order))
        assert bought.result(30).success
        assert [order.quantity_raw for order in submits(broker)] == [10, 10, 3]
        soon(lambda: [fill.quantity for fill in told] == [10, 3])
        assert engine.order("waiting").status == "REJECTED"
    reads_the_same(tmp_path / "account.journal", engine)


def test_an_engine_closed_while_its_disk_does_not_answer_answers_everybody(tmp_path: Path) -> None:
    journal, store = stored_by(Stalling, tmp_path / "account.journal")
    with trading(journal=journal) as engine:
        store.stall()
        bought, halted = engine.market_buy(SBIN, 1), engine.halt("over")
        assert store.waits.wait(30)
        with pytest.warns(RuntimeWarning, match="its last events are not saved"):
            engine.close()
        is_unsaved(bought)
        is_unsaved(halted)
        store.go_on()
    soon(journal._writer.is_done)
    assert soon(lambda: lt.open_journal(tmp_path / "account.journal").position(SBIN)).quantity == 1


# ── nothing is told too early ────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_waits_for_all_that_it_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that fills while the commit of its acceptance is still on its way to the disk."""
    monkeypatch.setattr(outbox, "STALLED_BEATS", 1 << 30)  # however slow the machine is
    seen: list[tuple[str, int]] = []
    journal, store = stored_by(Stalling, tmp_path / "account.journal")
    with trading(journal=journal) as engine:
        engine.on_order(lambda order: seen.append((order.status, order.filled_raw)))
        soon(lambda: not engine._outbox)
        store.stall()
        resting = engine.limit_buy(SBIN, 10, 548, client_order_id="rests")
        assert store.waits.wait(30)
        engine.stream.update(SBIN, bid="547.95", ask=548)
        assert engine.order("rests").status == "FILLED"
        following = resting.wait_for("FILLED", 60)
        store.one()
        soon(lambda: seen)
        assert seen == [("ACCEPTED", 0)]
        assert resting.result(30).message.startswith("Accepted")
        assert not following.done(), "a fill was confirmed that is not durable"
        store.go_on()
        assert following.result(30).success
        soon(lambda: seen[-1] == ("FILLED", 10))
    reads_the_same(tmp_path / "account.journal", engine)


def test_flatten_waits_for_what_was_being_canceled_before() -> None:
    broker = ScriptedBroker()
    with holding(broker) as (engine, _):
        resting = engine.limit_sell(SBIN, 10, 600, client_order_id="rests")
        order = broker.wait_for(ev.Submit, 2).order
        broker.say(accepted(order))
        resting.result(30).raise_if_failed()
        canceled = engine.cancel("rests")
        broker.wait_for(ev.Cancel)
        flattened, closed = engine.flatten(), engine.close_position(SBIN)
        engine.health()
        assert not flattened.done(), "said to be closed, and nothing was sold"
        broker.say(ev.Canceled(0, "rests"))
        assert canceled.result(30).success
        sold = broker.wait_for(ev.Submit, 3).order
        assert sold.quantity_raw == 10
        broker.say(executed(sold))
        assert flattened.result(30).message == "Closed everything"
        assert closed.result(30).success
        assert not engine.position(SBIN)
        assert len(submits(broker)) == 3


@pytest.mark.parametrize("end", ["filled", "rejected"])
def test_flatten_waits_for_an_exit_that_sells_already(end: str) -> None:
    broker = ScriptedBroker()
    with holding(broker) as (engine, _):
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        sold = broker.wait_for(ev.Submit, 2).order
        flattened, closed = engine.flatten(), engine.close_position(SBIN, 4)
        engine.health()
        assert not flattened.done(), "said to be closed, and nothing has been sold"
        assert not closed.done()
        broker.say(executed(sold) if end == "filled" else ev.Rejected(0, sold.client_order_id, "no"))
        for answer in (flattened.result(30), closed.result(30)):
            assert answer.success is (end == "filled")
            assert answer.message.startswith("Closed") or answer.message == "no"


def test_flatten_whose_cancel_was_refused_tells_what_is_left() -> None:
    """The refusal overtakes the end of the order: nothing of it fills any more, and nobody sold the rest."""
    broker = ScriptedBroker()
    with holding(broker) as (engine, _):
        engine.limit_sell(SBIN, 4, 600, client_order_id="rests")
        broker.say(accepted(broker.wait_for(ev.Submit, 2).order))
        soon(lambda: engine.order("rests").status == "ACCEPTED")
        flattened = engine.flatten()
        sold = broker.wait_for(ev.Submit, 3).order
        assert sold.quantity_raw == 6
        broker.say(ev.RequestRejected(0, "rests", "it is over"), ev.Expired(0, "rests"), executed(sold))
        answer = flattened.result(30)
        assert not answer.success
        assert answer.message == f"Not closed: 4 {SBIN} held"


def test_cancel_all_and_halt_wait_for_what_was_being_canceled_before() -> None:
    broker = ScriptedBroker()
    with holding(broker) as (engine, _):
        engine.limit_buy(SBIN, 1, 500, client_order_id="rests")
        broker.say(accepted(broker.wait_for(ev.Submit, 2).order))
        engine.cancel("rests")
        broker.wait_for(ev.Cancel)
        later = [engine.cancel_all(), engine.halt()]
        engine.health()
        assert not any(handle.done() for handle in later)
        broker.say(ev.Canceled(0, "rests"))
        assert all(handle.result(30).success for handle in later)


def test_flatten_that_cannot_sell_yet_is_not_confirmed() -> None:
    """The venue says nothing of a cancel: after 5 s of the engine's time that is what is told."""
    broker = ScriptedBroker()
    with holding(broker) as (engine, _):
        resting = engine.limit_sell(SBIN, 10, 600, client_order_id="rests")
        broker.say(accepted(broker.wait_for(ev.Submit, 2).order))
        resting.result(30).raise_if_failed()
        engine.cancel("rests")
        answer = engine.flatten().result(30)
        assert not answer.success
        assert answer.message.startswith(f"Not confirmed: {SBIN} is not closed, no answer yet")
        assert engine.position(SBIN).quantity == 10
