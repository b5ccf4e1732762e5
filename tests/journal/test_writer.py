"""The thread that writes: on a store that fails, nothing is lost, doubled, put in another order or said too early."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.ticks import Tick
from livetrade.encoding import Decoder
from livetrade.journal.chain import START, Head, Row
from livetrade.journal.file import FileJournal
from livetrade.journal.rows import FIGURES, unpacked_marks, unpacked_steps, unpacked_ticks
from livetrade.journal.writer import STEPS_AT_ONCE, TICKS_AT_ONCE, Writer
from tests.core.kit import SBIN
from tests.journal.kit import Told, nothing, read_back
from tests.support import soon

FULL = sqlite3.OperationalError("database or disk is full")
BROKEN = OSError(5, "Input/output error")


class FakeStore:
    """Takes rows in memory; `failures` are raised first, one at each write."""

    path = Path("fake.journal")

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.rows: list[tuple[Row | None, Row | None]] = []
        self.tries = 0
        self.head = Head(START, START)
        self.synced = 0
        self.head_failures: list[Exception] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def write(self, ticks: Row | None, events: Row | None) -> None:
        self.may_go_on.wait(30)
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        self.rows.append((ticks, events))
        self.head = Head(events.link if events else self.head.events, ticks.link if ticks else self.head.ticks)

    def write_head(self) -> None:
        if self.head_failures:
            raise self.head_failures.pop(0)

    def sync_head(self) -> None:
        self.synced += 1

    def halts(self) -> list[str]:
        """The reasons of all halts that were written, in order; each batch must go on where the one before ended."""
        decoder = Decoder()
        reasons: list[str] = []
        for _, row in self.rows:
            steps = list(unpacked_steps(row.data, len(reasons) + 1, decoder)) if row else []
            reasons += [event.reason for step in steps for event in step.events if isinstance(event, ev.Halted)]
        return reasons

    def ticks(self) -> list[int]:
        return [last for row, _ in self.rows if row for last in unpacked_ticks(row.data).figures["last_raw"]]


class Bench:
    """A writer whose posts are done at once, or when they are asked for."""

    def __init__(self, store: FakeStore, **terms: int) -> None:
        self.store = store
        self.durable: list[int] = []
        self.failed = 0
        self.ended = 0
        self.writer = Writer(store, lambda job: job(), self._fail, self._end, **terms)  # type: ignore[arg-type]

    def _fail(self) -> None:
        self.failed += 1

    def _end(self) -> None:
        self.ended += 1

    def halt(self, number: int) -> None:
        def durable() -> None:
            assert f"{number}" in self.store.halts(), "it was said to be safe before it was written"
            self.durable.append(number)

        self.writer.append([ev.Halted(1, f"{number}")], durable)

    def tick(self, *prices: int) -> None:
        self.writer.record([Tick(SBIN, 1, last_raw=price) for price in prices])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("livetrade").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("livetrade").setLevel(logging.NOTSET)


JOBS = st.lists(st.sampled_from(["halt", "nothing", "tick", "work", "work", "full", "broken", "odd"]), max_size=40)
ERRORS = {"full": FULL, "broken": BROKEN, "odd": ValueError("odd")}


@given(jobs=JOBS)
def test_whatever_fails_all_is_written_once_and_in_order(jobs: list[str]) -> None:
    bench = Bench(FakeStore())
    halts: list[int] = []
    prices: list[int] = []
    for number, job in enumerate(jobs, 1):
        if job == "halt":
            halts.append(number)
            bench.halt(number)
        elif job == "nothing":
            bench.writer.append([], lambda: None)
        elif job == "tick":
            prices += [number, number + 1]
            bench.tick(number, number + 1)
        elif job == "work":
            failing = bool(bench.store.failures)
            wrote = bench.writer.work()
            assert bool(bench.writer.fault) is not wrote
            assert wrote or failing
        else:
            bench.store.failures.append(ERRORS[job])
    bench.store.failures.clear()
    while not bench.writer.is_done():
        assert bench.writer.work()
    assert bench.durable == halts
    assert bench.store.halts() == [str(number) for number in halts]
    assert bench.store.ticks() == prices


@given(before=st.lists(st.integers(1, 3), max_size=6))
def test_each_step_tells_the_ticks_before_it(before: list[int]) -> None:
    bench = Bench(FakeStore())
    for number, count in enumerate(before):
        bench.tick(*range(1, count + 1))
        bench.halt(number)
    bench.writer.work()
    ((ticks, events),) = bench.store.rows or [(None, None)]
    counts = [sum(before[: number + 1]) for number in range(len(before))]
    steps = list(unpacked_steps(events.data, 1, Decoder())) if events else []
    parts = unpacked_marks(ticks.marks) if ticks else []
    assert [step.ticks for step in steps] == [part.ticks for part in parts] == counts
    assert [part.marks for part in parts] == [{SBIN.symbol: [2, 2 * count, 2 * count]} for count in before]


def test_a_failure_is_told_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("livetrade").setLevel(logging.WARNING)
    bench = Bench(FakeStore(FULL, FULL, BROKEN, ValueError()))
    bench.halt(1)
    faults = []
    while not bench.writer.work():
        faults.append(bench.writer.fault)
    assert faults == [str(FULL), str(FULL), str(BROKEN), "ValueError"]
    assert (bench.failed, bench.writer.fault, bench.durable) == (4, "", [1])
    assert [record.getMessage() for record in caplog.records] == [f"fake.journal cannot be written: {FULL}"]


def test_a_head_that_cannot_be_written_stops_nothing() -> None:
    bench = Bench(FakeStore())
    bench.store.head_failures = [BROKEN]
    bench.halt(1)
    assert bench.writer.work()
    assert bench.durable == [1]


def test_one_commit_takes_so_much_and_no_more() -> None:
    bench = Bench(FakeStore())
    for _ in range(STEPS_AT_ONCE + 1):
        bench.writer.append([ev.Halted(1, "x")], nothing)
    bench.tick(*[1] * TICKS_AT_ONCE)
    bench.tick(2)
    while not bench.writer.is_done():
        bench.writer.work()
    sizes = [(ticks.link.seq if ticks else 0, events.link.seq if events else 0) for ticks, events in bench.store.rows]
    assert sizes == [(0, STEPS_AT_ONCE), (TICKS_AT_ONCE, STEPS_AT_ONCE + 1), (TICKS_AT_ONCE + 1, 0)]


def test_ticks_are_dropped_and_counted_once_too_many_wait_and_events_never() -> None:
    bench = Bench(FakeStore(FULL), ticks_waiting=4)
    bench.tick(1, 2, 3)
    assert not bench.writer.work()
    bench.tick(4, 5)
    bench.tick(6)
    bench.halt(1)
    bench.tick(7)
    assert bench.writer.dropped_ticks == 3
    while not bench.writer.is_done():
        bench.writer.work()
    assert (bench.store.ticks(), bench.durable) == ([1, 2, 3, 6], [1])
    bench.tick(8, 9, 10, 11)  # there is room again
    assert bench.writer.work()
    assert (bench.store.ticks()[4:], bench.writer.dropped_ticks) == ([8, 9, 10, 11], 3)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("value", [10**30, -(10**30)])
def test_a_tick_beyond_any_sense_stops_nothing(figure: str, value: int) -> None:
    bench = Bench(FakeStore())
    quote = Tick(SBIN, 1, last_raw=5)
    setattr(quote, figure, value)
    bench.writer.record([quote, Tick(SBIN, 2, last_raw=6)])
    bench.halt(1)
    assert bench.writer.work()
    (ticks, _) = bench.store.rows[0]
    assert ticks is not None
    figures = unpacked_ticks(ticks.data).figures
    assert figures[figure][0] == (1 if value > 0 else -1) * ((1 << 63) - 1)
    assert figures["last_raw"][1] == 6


# ── its thread ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_thread_writes_until_it_is_stopped_and_then_what_is_left() -> None:
    for number in range(50):
        bench = Bench(FakeStore())
        bench.writer.start(f"writer {number}")
        for step in range(number):
            bench.halt(step)
        assert bench.writer.stop(30)
        assert (bench.durable, bench.ended) == (list(range(number)), 1)
        assert bench.store.synced


def test_many_who_hand_over_are_never_unheard() -> None:
    bench = Bench(FakeStore())
    bench.writer.start("writer")
    for step in range(300):
        bench.halt(step)
        if step % 3 == 0:
            soon(lambda: len(bench.durable) == step + 1)  # noqa: B023  asked at once
    assert bench.writer.stop(30)
    assert bench.durable == list(range(300))


def test_a_store_that_hangs_does_not_hold_up_who_stops_it() -> None:
    bench = Bench(FakeStore())
    bench.store.may_go_on.clear()
    bench.writer.start("writer")
    bench.halt(1)
    assert not bench.writer.stop(0.01)
    assert not bench.ended
    bench.store.may_go_on.set()
    soon(lambda: bench.ended)  # it lets go all the same, once it can
    assert bench.durable == [1]
    assert bench.writer.stop(30)


def test_once_stopped_a_failing_store_is_given_up() -> None:
    bench = Bench(FakeStore(*[FULL] * 1000))
    bench.writer.start("writer")
    bench.halt(1)
    soon(lambda: bench.failed)
    assert not bench.writer.stop(30)
    soon(lambda: bench.ended)
    assert (bench.durable, bench.writer.is_done()) == ([], False)
    assert bench.store.tries < 5  # once a second, and not for each of the jobs below


def test_a_failing_store_is_not_asked_for_each_thing_that_comes() -> None:
    bench = Bench(FakeStore(*[FULL] * 1000))
    bench.writer.start("writer")
    bench.halt(0)
    soon(lambda: bench.failed)
    for number in range(1, 200):
        bench.halt(number)
    bench.store.failures.clear()
    assert bench.writer.stop(30)
    assert bench.durable == list(range(200))
    assert bench.store.tries < 10


# ── with the file ────────────────────────────────────────────────────────────────────────────────────────────────────


def begun(path: Path) -> FileJournal:
    journal = FileJournal(path)
    journal.open()
    journal.restore(Told())
    journal.start(lambda job: job(), lambda: None)
    return journal


def append(journal: FileJournal, number: int) -> Callable[[], bool]:
    done: list[int] = []
    journal.append([ev.Halted(number, f"{number}")], lambda: done.append(number))
    return lambda: bool(done)


def test_after_a_failure_the_rows_that_were_never_safe_are_written_anew(tmp_path: Path) -> None:
    """Somebody holds the file locked; meanwhile a row stands there as one does whose commit failed half-way."""
    path = tmp_path / "a.journal"
    journal = begun(path)
    soon(append(journal, 1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    second = append(journal, 2)
    soon(lambda: journal.fault() == "database is locked")
    assert repr(journal) == "FileJournal('a.journal', 1 event, cannot be written: database is locked)"
    other.execute("INSERT INTO events VALUES (2, 7, x'00', x'00', x'00')")
    other.execute("COMMIT")
    other.close()
    soon(second)
    assert journal.fault() == ""
    assert journal.close(30)
    assert [event.ts for event in read_back(path)[0].told] == [1, 2]


def test_a_file_that_no_longer_holds_what_was_written_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = begun(path)
    soon(append(journal, 1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    append(journal, 2)
    soon(journal.fault)
    other.execute("DELETE FROM events")
    other.execute("COMMIT")
    other.close()
    soon(lambda: journal.fault() == "a.journal no longer holds what was written to it")
    assert not journal.close(30)


@pytest.mark.parametrize("way", ["removed", "replaced", "folder moved"])
def test_a_file_that_is_taken_away_is_a_fault(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "a.journal"
    journal = begun(path)
    soon(append(journal, 1))
    assert journal.fault() == ""
    if way == "folder moved":
        folder.rename(tmp_path / "elsewhere")
    else:
        path.rename(folder / "kept")
    if way == "replaced":
        path.write_bytes(b"x")
    assert ("replaced by another" if way == "replaced" else "No such file") in journal.fault()
    journal.close(30)


def test_what_was_dropped_is_said(tmp_path: Path) -> None:
    journal = begun(tmp_path / "a.journal")
    assert journal._writer is not None
    journal._writer.dropped_ticks = 1234
    assert repr(journal) == "FileJournal('a.journal', 0 events, saved, 1,234 ticks dropped)"
    journal.close(30)


def test_a_journal_used_again_begins_with_nothing_to_tell(tmp_path: Path) -> None:
    journal = begun(tmp_path / "a.journal")
    soon(append(journal, 1))
    journal._writer.fault = "old"  # type: ignore[union-attr]
    journal.notes.append("old")
    journal.close(30)
    journal.open()
    state = Told()
    assert journal.restore(state) == 1
    assert (journal.notes, journal.fault(), state.halted) == ([], "", "1")
    assert journal.close(0)
