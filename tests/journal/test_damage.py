"""What is damaged is found: bits that flip, files cut short, rows edited, lost, moved or doubled, old copies.

Each trial damages a copy. What SQLite would read of it then is compared, row by row, with what was written. If that is
another, `verify` must say so, and `FileJournal` must refuse it with a `JournalError`, leaving everything as it is.
`-m campaign` flips ten thousand bits, from a seed that is printed and that LIVETRADE_SEED sets.
"""

import json
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from livetrade.core.ticks import Tick
from livetrade.errors import JournalError
from livetrade.journal.file import FileJournal
from livetrade.journal.lock import OwnerLock
from livetrade.journal.store import connect
from livetrade.journal.verify import verify
from tests.journal.kit import SIDE_FILES, contents, copied, read_back, session, side, written

STEPS = 400
ROWS = "SELECT number, seq, hash, marks, data FROM"


class Original:
    """A journal of about 200 rows, as it was closed, as a killed process leaves it, and both at half of the way."""

    def __init__(self, folder: Path) -> None:
        desk = session(5, STEPS)
        half = len(desk.items) // 2
        self.events = desk.events
        self.copies: dict[str, Path] = {}
        for name, items in (("half", desk.items[:half]), ("whole", desk.items)):
            path = folder / f"{name}.journal"
            store = written(path, items)
            self.copies[f"{name}, killed"] = copied(path, folder / f"{name}-killed")
            store.close()
            self.copies[f"{name}, closed"] = copied(path, folder / f"{name}-closed")
        self.rows = {name: rows_of(copied(path, folder / "look")) for name, path in self.copies.items()}
        self.steps = sum(not isinstance(item[0], Tick) for item in desk.items)

    def damaged(self, name: str, folder: Path) -> Path:
        """A copy to be damaged."""
        return copied(self.copies[name], folder)


def rows_of(path: Path) -> dict[str, Any]:
    """What SQLite reads, row by row, with nothing checked; what stopped it stands for the rest."""
    rows: dict[str, Any] = {"events": [], "ticks": []}
    with closing(connect(path, read_only=True)) as connection:
        for table, found in rows.items():
            try:
                found.extend(connection.execute(f"{ROWS} {table} ORDER BY number"))
            except (sqlite3.Error, UnicodeError, OverflowError) as error:
                found.append(repr(error))
    return rows


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    made = Original(tmp_path_factory.mktemp("original"))
    assert 150 < made.steps < 250, made.steps
    killed = made.copies["whole, killed"]
    assert b"Filled" in side(killed, "-wal").read_bytes()
    assert not side(made.copies["whole, closed"], "-wal").exists()
    return made


class Trials:
    """Judges damaged copies against one original, and counts."""

    def __init__(self, original: Original, folder: Path) -> None:
        self.original = original
        self.folder = folder
        self.counts: Counter[str] = Counter()

    def judge(self, path: Path, name: str, what: str) -> None:
        true = self.original.rows[name]
        before = contents(path)
        found = self._verified(path)
        assert _untouched(path, before), f"{what}: verify changed something"
        told = self._opened(path, name, what)
        if told is None:
            assert _untouched(path, before), f"{what}: a journal that was refused was changed"
        self._lock_is_free(path)
        now = rows_of(copied_back(path, before))
        changed = [table for table in ("events", "ticks") if now[table] != true[table]]
        self.counts["trials"] += 1
        self.counts["changed what is read"] += bool(changed)
        self.counts["found"] += bool(changed) and found != ""
        if changed:
            assert found, f"{what}: the {changed} read differently, and verify says that all is well"
        if "events" in changed:
            assert found == "events", f"{what}: verify did not find it"
            assert told is None, f"{what}: opened, though the events read differently"

    def _verified(self, path: Path) -> str:
        """What is damaged: events, ticks or nothing."""
        try:
            verdict = verify(path)
        except JournalError:
            return "events"
        assert verdict.whole is not bool(verdict.damage or verdict.ticks_damage)
        return "events" if verdict.damage else "ticks" if verdict.ticks_damage else ""

    def _opened(self, path: Path, name: str, what: str) -> list[str] | None:
        """The notes of an opening, whose events must be the true ones; None where it was refused."""
        try:
            state, notes = read_back(path)
        except JournalError:
            return None
        assert state.told == self.original.events[: len(state.told)], f"{what}: other events were read"
        assert state.seq == self.original.rows[name]["events"][-1][1], f"{what}: other events were read"
        return notes

    def _lock_is_free(self, path: Path) -> None:
        lock = OwnerLock(side(path, ".lock"))
        lock.acquire()
        lock.release()

    def __str__(self) -> str:
        trials, changed, found = (self.counts[key] for key in ("trials", "changed what is read", "found"))
        return f"{trials:,} trials: {changed:,} changed what is read back, {found:,} of these were found"


def _untouched(path: Path, before: dict[str, bytes]) -> bool:
    now = contents(path)
    return all(now.get(suffix) == data for suffix, data in before.items())


def copied_back(path: Path, before: dict[str, bytes]) -> Path:
    """The damaged files once more, for SQLite may have worked on those that were opened."""
    target = path.parent.with_name("again") / path.name
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir()
    for suffix, data in before.items():
        side(target, suffix).write_bytes(data)
    return target


@pytest.fixture
def trials(original: Original, tmp_path: Path) -> Trials:
    return Trials(original, tmp_path)


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Writes a line that is seen without `-s`."""
    plugins = request.config.pluginmanager
    terminal, capture = plugins.getplugin("terminalreporter"), plugins.getplugin("capturemanager")

    def say(line: object) -> None:
        with capture.global_and_fixture_disabled():
            terminal.write_line(f"\n  {line}")

    return say


# ── bits ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def flip_bits(trials: Trials, seed: int, count: int) -> None:
    dice = random.Random(seed)
    for number in range(count):
        name = ("whole, killed", "whole, closed")[number % 2]
        path = trials.original.damaged(name, trials.folder / "copy")
        suffix = dice.choice([suffix for suffix in SIDE_FILES if side(path, suffix).exists()])
        data = bytearray(side(path, suffix).read_bytes())
        bit = dice.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        side(path, suffix).write_bytes(data)
        trials.judge(path, name, f"seed {seed}, trial {number}: bit {bit} of {name} {suffix or 'file'}")
    assert trials.counts["changed what is read"] > count / 20
    assert trials.counts["found"] == trials.counts["changed what is read"]


def test_single_bits(trials: Trials, say: Callable[[object], None]) -> None:
    flip_bits(trials, 1, 200)
    say(trials)


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_many_single_bits(trials: Trials, say: Callable[[object], None]) -> None:
    seed = int(os.environ.get("LIVETRADE_SEED") or random.SystemRandom().randrange(10**6))
    say(f"LIVETRADE_SEED={seed}")
    flip_bits(trials, seed, 10_000)
    say(trials)


@pytest.mark.parametrize("name", ["whole, killed", "whole, closed"])
def test_bits_of_the_first_page(trials: Trials, name: str) -> None:
    """SQLite's own header and its tables' names: every third byte of it, by one of its bits."""
    for byte in range(100 if name == "whole, closed" else 32):
        path = trials.original.damaged(name, trials.folder / "copy")
        suffix = "" if name == "whole, closed" else "-wal"
        data = bytearray(side(path, suffix).read_bytes())
        data[byte] ^= 1 << byte % 8
        side(path, suffix).write_bytes(data)
        trials.judge(path, name, f"byte {byte} of {name}")


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["whole, killed", "whole, closed"])
@pytest.mark.parametrize("suffix", SIDE_FILES)
def test_a_file_cut_short(trials: Trials, name: str, suffix: str) -> None:
    dice = random.Random(2)
    size = len(contents(trials.original.copies[name]).get(suffix, b""))
    for length in [0, 1, *(dice.randrange(size) for _ in range(15 if size else 0))]:
        path = trials.original.damaged(name, trials.folder / "copy")
        if side(path, suffix).exists():
            os.truncate(side(path, suffix), length)
            trials.judge(path, name, f"{name} {suffix or 'file'} cut to {length} bytes")
    assert trials.counts["trials"] >= 10 or (suffix == "-wal" and "closed" in name)


@pytest.mark.parametrize("name", ["whole, killed", "whole, closed"])
@pytest.mark.parametrize("suffix", SIDE_FILES)
def test_a_file_that_is_gone(original: Original, tmp_path: Path, name: str, suffix: str) -> None:
    path = original.damaged(name, tmp_path / "copy")
    if not side(path, suffix).exists():
        return
    side(path, suffix).unlink()
    before = contents(path)
    with pytest.raises(JournalError, match=r"is missing|are missing|is gone"):
        read_back(path)
    assert _untouched(path, before)
    assert set(contents(path)) <= {*before, "-wal"}
    if suffix:
        assert verify(path).damage
    else:
        with pytest.raises(JournalError, match="no such journal"):
            verify(path)


def test_a_log_that_outlived_its_file_is_not_put_into_a_new_one(original: Original, tmp_path: Path) -> None:
    """SQLite would take it for the new file's, and old rows would come back."""
    path = original.damaged("whole, killed", tmp_path / "copy")
    path.unlink()
    side(path, ".head").unlink()
    with pytest.raises(JournalError, match="itself is gone"):
        FileJournal(path).open()
    side(path, "-wal").unlink()
    journal = FileJournal(path)
    journal.open()
    journal.close(0)


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_an_older_copy_under_the_newer_head(original: Original, trials: Trials, state: str, tmp_path: Path) -> None:
    path = copied(original.copies[f"half, {state}"], tmp_path / "old")
    newer = original.copies[f"whole, {state}"]
    shutil.copy(side(newer, ".head"), side(path, ".head"))
    assert trials._verified(path) == "events"
    with pytest.raises(JournalError, match=r"the last [0-9,]+ are missing"):
        read_back(path)


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_an_older_head_vouches_for_less_and_is_no_damage(original: Original, state: str, tmp_path: Path) -> None:
    """So is a head that did not reach the disk before the power went."""
    path = copied(original.copies[f"whole, {state}"], tmp_path / "copy")
    shutil.copy(side(original.copies[f"half, {state}"], ".head"), side(path, ".head"))
    assert verify(path).whole
    state_, notes = read_back(path)
    assert (state_.told, notes) == (original.events, [])
    assert verify(path).whole


def test_the_log_of_another_time(original: Original, trials: Trials, tmp_path: Path) -> None:
    for file, log in (("whole", "half"), ("half", "whole")):
        path = copied(original.copies[f"{file}, killed"], tmp_path / "copy")
        shutil.copy(side(original.copies[f"{log}, killed"], "-wal"), side(path, "-wal"))
        shutil.copy(side(original.copies["whole, killed"], ".head"), side(path, ".head"))
        trials.judge(path, "whole, killed", f"the {file} file with the {log} log")


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

EDITS = {
    "deleted": "DELETE FROM {t} WHERE number = {n}",
    "the last deleted": "DELETE FROM {t} WHERE number > {last} - {n}",
    "all deleted": "DELETE FROM {t}",
    "moved": "UPDATE {t} SET number = {last} + 1 WHERE number = {n}",
    "doubled": "INSERT INTO {t} SELECT {last} + 1, seq, hash, marks, data FROM {t} WHERE number = {n}",
    "swapped": "UPDATE {t} SET number = -number WHERE number IN ({n}, {n} + 1);"
    "UPDATE {t} SET number = 2 * {n} + 1 + number WHERE number < 0",
    "another's data": "UPDATE {t} SET data = (SELECT data FROM {t} WHERE number = {n} + 1) WHERE number = {n}",
    "a digit": "UPDATE {t} SET data = CAST(replace(CAST(data AS TEXT), '1', '7') AS BLOB) WHERE number = {n}",
    "data empty": "UPDATE {t} SET data = x'' WHERE number = {n}",
    "data gone": "UPDATE {t} SET data = NULL WHERE number = {n}",
    "data no text": "UPDATE {t} SET data = CAST(x'ff00fe' AS TEXT) WHERE number = {n}",
    "marks": "UPDATE {t} SET marks = marks || x'20' WHERE number = {n}",
    "marks as a number": "UPDATE {t} SET marks = 1.5 WHERE number = {n}",
    "count": "UPDATE {t} SET seq = seq + 1 WHERE number = {n}",
    "count smaller": "UPDATE {t} SET seq = seq - 1 WHERE number = {n}",
    "count gone": "UPDATE {t} SET seq = NULL WHERE number = {n}",
    "count as text": "UPDATE {t} SET seq = 'many' WHERE number = {n}",
    "count a fraction": "UPDATE {t} SET seq = 1.5 WHERE number = {n}",
    "count infinite": "UPDATE {t} SET seq = 9e999 WHERE number = {n}",
    "hash": "UPDATE {t} SET hash = zeroblob(32) WHERE number = {n}",
    "hash gone": "UPDATE {t} SET hash = NULL WHERE number = {n}",
    "hash as text": "UPDATE {t} SET hash = 'x' WHERE number = {n}",
    "no table": "DROP TABLE {t}",
    "another table": "ALTER TABLE {t} RENAME TO other",
    "a column less": "ALTER TABLE {t} DROP COLUMN marks",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("table", ["events", "ticks"])
def test_an_edit(trials: Trials, original: Original, table: str, edit: str) -> None:
    name = "whole, closed"
    last = len(original.rows[name][table])
    for number in {1, last // 2, last} if "{n}" in EDITS[edit] else {0}:
        path = original.damaged(name, trials.folder / "copy")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection, suppress(sqlite3.IntegrityError):
            connection.executescript(EDITS[edit].format(t=table, n=number, last=last))
        trials.judge(path, name, f"{table}: {edit}, row {number}")
    assert trials.counts["changed what is read"] >= trials.counts["trials"] - 1  # a row may hold no such digit


@pytest.mark.parametrize("number", [1, 30, -1])
def test_after_damaged_ticks_an_engine_goes_on_and_numbers_stay_gapless(
    original: Original, tmp_path: Path, number: int
) -> None:
    """The ticks of a batch are lost; what comes later is recorded behind it, and verify goes on to say so."""
    path = original.damaged("whole, closed", tmp_path / "copy")
    last = len(original.rows["whole, closed"]["ticks"])
    number = number % (last + 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE ticks SET seq = 'x', hash = NULL WHERE number = ?", (number,))
    for _ in range(2):
        journal = FileJournal(path)
        journal.open()
        state = session_of(journal)
        assert state == original.events
        journal.start(lambda job: job(), lambda: None)
        journal.record([Tick(original.events[2].instrument, 10**18, last_raw=5)] * 3)  # type: ignore[union-attr]
        assert journal.close(30)
        verdict = verify(path)
        assert (verdict.damage, verdict.ticks_damage) == ("", f"row {number} is not readable")
    numbers = [row[0] for row in rows_of(path)["ticks"]]
    assert numbers == list(range(1, last + 3))


def session_of(journal: FileJournal) -> list[Any]:
    from tests.journal.kit import Told

    state = Told()
    journal.restore(state)
    return state.told


def test_damaged_ticks_of_the_last_day_are_told(original: Original, tmp_path: Path) -> None:
    for edit in ("DELETE FROM ticks WHERE number = {}", "UPDATE ticks SET data = x'00' WHERE number = {}"):
        path = original.damaged("whole, closed", tmp_path / "copy")
        last = len(original.rows["whole, closed"]["ticks"])
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(edit.format(last))
        state, notes = read_back(path)
        assert state.told == original.events
        assert len(notes) == 1
        assert notes[0].startswith("recorded ticks are damaged, marks and extremes may be older: ")


def test_a_verdict_says_how_far_it_is_good(original: Original, tmp_path: Path) -> None:
    path = original.damaged("whole, closed", tmp_path / "copy")
    rows = original.rows["whole, closed"]["events"]
    number, good = len(rows) // 2, rows[len(rows) // 2 - 2][1]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE events SET data = x'00' WHERE number = ?", (number,))
    verdict = verify(path)
    assert (verdict.events, verdict.first_damaged, verdict.ticks_damage) == (good, good + 1, "")
    assert verdict.damage == f"row {number} was changed, or does not follow the one before it"
    assert str(verdict).startswith(f"damaged from event {good + 1:,} on: {verdict.damage}; {good:,} events and ")
    assert json.loads(json.dumps(verdict.as_dict()))["whole"] is False
    with pytest.raises(JournalError, match=rf"damaged: row {number} was changed.*; its first {good:,} events are good"):
        FileJournal(path).open()
