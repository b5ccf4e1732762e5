"""A folder of recordings: closed files in Parquet, and the part that grows, whose name begins with a dot.

So `pandas.read_parquet(folder)` and the like see closed files alone. One engine writes at a time; a lock says which.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import tzinfo
from operator import attrgetter
from pathlib import Path

from livetrade.core.instruments import Instrument
from livetrade.core.numbers import at
from livetrade.core.state import day_of
from livetrade.core.ticks import Tick
from livetrade.errors import FeedError, JournalError, OrderError
from livetrade.journal.lock import OwnerLock
from livetrade.journal.rows import TickBatch
from livetrade.journal.store import sync
from livetrade.recorder import parquet, part

TICKS_A_FILE = 1_000_000
Wanted = Callable[[int, int], bool]
"""Whether files whose times lie between these two are asked for."""
_SUFFIX, _PART, _DRAFT = ".parquet", ".part", ".draft"


class Folder:
    """Writes quotes into files by day and size. Used by one thread at a time."""

    def __init__(self, path: Path, zone: tzinfo, ticks_a_file: int = TICKS_A_FILE) -> None:
        """Makes the folder and takes it. Raises `OrderError` where it cannot be."""
        self.path = path
        self._zone = zone
        self._ticks_a_file = ticks_a_file
        self._part: part.Part | None = None
        self._midnight_ns = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = OwnerLock(path / ".lock")
            self._lock.acquire()
        except JournalError as error:
            raise OrderError(f"{path}: each recording needs a folder of its own: {error}") from None
        except OSError as error:
            raise OrderError(f"{path} cannot be recorded into: {error}") from None

    def adopt(self) -> None:
        """Makes Parquet of what a killed process left behind."""
        for draft in self.path.glob(f".*{_DRAFT}"):
            draft.unlink(missing_ok=True)
        for found in sorted(self.path.glob(f".*{_PART}")):
            if self._part is None or found != self._part.path:
                self._convert(found)

    def write(self, quotes: list[Tick]) -> None:
        """Appends quotes, which come in the order of their receipt. Raises `OSError`; what was not written of them is
        left in the list."""
        while quotes:
            if self._part is not None and not self._has_room(self._part, quotes[0]):
                self.close_file()
            if self._part is None:
                self._begin(quotes[0])
            assert self._part is not None
            end = bisect_left(quotes, self._midnight_ns, key=attrgetter("received_ns"))
            end = max(1, min(end, self._ticks_a_file - self._part.ticks))
            self._part.append(quotes[:end])
            del quotes[:end]

    def _has_room(self, current: part.Part, quote: Tick) -> bool:
        return current.ticks < self._ticks_a_file and quote.received_ns < self._midnight_ns

    def _begin(self, quote: Tick) -> None:
        _, _, self._midnight_ns = day_of(quote.received_ns, self._zone)
        name = f"{at(quote.received_ns, self._zone):%Y-%m-%d_%H%M%S}_{quote.received_ns % 10**9:09d}"
        taken = {_stem(path) for path in self.path.iterdir()}
        numbered = (name if number == 1 else f"{name}_{number}" for number in range(1, len(taken) + 2))
        free = next(stem for stem in numbered if stem not in taken)
        self._part = part.Part(self.path / f".{free}{_PART}")

    def close_file(self) -> None:
        """The file that grows becomes Parquet. Raises `OSError`; what is left is then adopted later."""
        current, self._part = self._part, None
        if current is not None:
            current.close()
            self._convert(current.path)

    def _convert(self, found: Path) -> None:
        target = self.path / f"{_stem(found)}{_SUFFIX}"
        if not target.exists():  # else a process was killed before it took the part away
            draft = target.with_name(f".{target.stem}{_DRAFT}")
            instruments: dict[str, Instrument] = {}
            file = parquet.ParquetFile(draft)
            try:
                for group in part.grouped(part.read(found, instruments), parquet.ROWS_A_GROUP):
                    file.write(group)
            finally:
                file.close(instruments.values())
            sync(draft)
            if instruments:
                draft.replace(target)
            else:
                draft.unlink()
        found.unlink()

    def let_go(self) -> None:
        self._lock.release()


def _stem(path: Path) -> str:
    return path.name.removeprefix(".").partition(".")[0]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def batches_in(folder: Path, instruments: dict[str, Instrument], wanted: Wanted | None = None) -> Iterator[TickBatch]:
    """All quotes of a folder, file by file, also while an engine writes it; puts what they are of into `instruments`.

    Raises `FeedError`, `OSError`, `JournalError`.
    """
    for stem in sorted({_stem(path) for path in folder.iterdir() if path.name.endswith((_SUFFIX, _PART))}):
        yield from _of_stem(folder, stem, instruments, wanted)


def _of_stem(folder: Path, stem: str, instruments: dict[str, Instrument], wanted: Wanted | None) -> Iterator[TickBatch]:
    closed = folder / f"{stem}{_SUFFIX}"
    if not closed.exists():
        with suppress(FileNotFoundError):  # it has just become Parquet
            yield from list(part.read(folder / f".{stem}{_PART}", instruments))
            return
    about = parquet.about(closed)
    if about is None:
        raise FeedError(f"{closed} was not recorded by an engine; give its own path")
    instruments.update(about.instruments)
    if wanted is None or wanted(about.first_ns, about.last_ns):
        yield from parquet.batches_of(closed)
