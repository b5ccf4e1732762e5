"""A recording as a replay takes it: its rows in columns of raw integers, in the order of playing.

Most rows are *plain*: they tell all that their symbol's rows before told, later than those, and bid and ask are not
crossed. Such a row is its symbol's next quote as it stands; the rest goes through `core.quotes.merge`.
"""

from collections.abc import Callable, Iterator
from datetime import tzinfo
from itertools import repeat
from typing import TYPE_CHECKING, Any

from livetrade.adapters.recorded import FIGURES, PRICES, SIZES, Part, RecordedFeed
from livetrade.core.instruments import Instrument
from livetrade.core.quotes import merge
from livetrade.core.ticks import PriceTick, Tick
from livetrade.ticklog import TickLog

if TYPE_CHECKING:
    import numpy as np

ROWS = 1 << 14
"""How many rows stand in memory as Python numbers at a time."""
ROUGH = -1
"""The code of a row that is not plain."""


class Recording:
    """The rows of a feed, with the instruments that their symbols have in one replay."""

    def __init__(self, feed: RecordedFeed, instrument: Callable[[str], Instrument], zone: tzinfo) -> None:
        self.name = feed.name
        self.symbols = feed.symbols
        self.items = [instrument(symbol) for symbol in feed.symbols]
        self.start_ns = feed.start_ns(zone)
        self._feed = feed
        self._zone = zone

    def __len__(self) -> int:
        return len(self._feed)

    def parts(self) -> "Iterator[Rows]":
        """All its rows, in the order of playing."""
        known = _Known(len(self.symbols))
        by_symbol = dict(zip(self.symbols, self.items, strict=True))
        for part in self._feed.parts(by_symbol.__getitem__, self._zone, ROWS):
            yield Rows(part, known.plain(part), self.items)

    def ticks_of(self, symbol: str) -> Iterator[tuple[int, Tick]]:
        """Each quote of a symbol, with the number of its row in the recording."""
        import numpy as np

        if symbol not in self.symbols:
            return
        code, quote, first = self.symbols.index(symbol), None, 0
        by_symbol = dict(zip(self.symbols, self.items, strict=True))
        for part in self._feed.parts(by_symbol.__getitem__, self._zone, ROWS):
            plain = np.zeros(len(part.codes), dtype=bool)
            rows = Rows(part, plain, self.items)
            for row in np.flatnonzero(part.codes == code).tolist():
                merged = part.refused.get(row) or merge(quote, rows.tick(row))
                if isinstance(merged, Tick):
                    quote = merged
                    yield first + row, merged
            first += len(part.codes)


class Log:
    """The latest ticks of each symbol that somebody asked for, read from the recording up to where the replay is."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._log = TickLog()
        self._ahead: dict[str, tuple[Iterator[tuple[int, Tick]], tuple[int, Tick] | None]] = {}

    def copy(self, symbol: str, played: int) -> dict[str, Any]:
        """In columns (`TickLog.copy`); `played` is how many rows of the recording were taken."""
        coming, following = self._ahead.get(symbol) or self._begun(symbol)
        while following is not None and following[0] < played:
            self._log.add(following[1])
            following = next(coming, None)
        self._ahead[symbol] = coming, following
        return self._log.copy(symbol)

    def _begun(self, symbol: str) -> tuple[Iterator[tuple[int, Tick]], tuple[int, Tick] | None]:
        coming = self._recording.ticks_of(symbol)
        return coming, next(coming, None)


class Rows:
    """Some rows, as lists: `codes` says which symbol, or ROUGH."""

    def __init__(self, part: Part, plain: "np.ndarray[Any, Any]", items: list[Instrument]) -> None:
        import numpy as np

        raw = part.raw
        self.count = len(part.codes)
        self.refused = part.refused
        self.codes: list[int] = np.where(plain, part.codes, ROUGH).tolist()
        self.times: list[int] = part.times.tolist()
        self.bids, self.asks, self.lasts = (_prices(raw.get(name), self.count) for name in PRICES)
        self.marks: list[int] = marks_of(raw, self.count).tolist()
        """Twice the price that a position is valued at (`Tick.mark_raw`), where a row is plain."""
        self._sizes = {name: _sizes(raw.get(name), self.count) for name in ("volume", *SIZES)}
        self._part_codes = part.codes
        self._items = items
        self._only_prices = not raw.keys() & self._sizes.keys()

    def quotes(self) -> Iterator[Tick]:
        """A tick for each row, made when it is asked for."""
        import numpy as np

        item_of = np.empty(len(self._items), dtype=object)
        item_of[:] = self._items
        prices = item_of[self._part_codes].tolist(), self.times, self.bids, self.asks, self.lasts
        if self._only_prices:
            return map(PriceTick, *prices)
        return map(Tick, *prices, self.times, *self._sizes.values())

    def code(self, row: int) -> int:
        """Which symbol a row is of."""
        return int(self._part_codes[row])

    def tick(self, row: int) -> Tick:
        """One row as an update."""
        ts = self.times[row]
        prices = self.bids[row], self.asks[row], self.lasts[row]
        volume, bid_size, ask_size = (column[row] for column in self._sizes.values())
        return Tick(self._items[self.code(row)], ts, *prices, ts, volume, bid_size, ask_size)


def _prices(column: "np.ndarray[Any, Any] | None", count: int) -> list[int]:
    values: list[int] = [0] * count if column is None else column.tolist()
    return values


def marks_of(raw: "dict[str, np.ndarray[Any, Any]]", count: int) -> "np.ndarray[Any, Any]":
    import numpy as np

    bids, asks, lasts = (raw.get(name, np.zeros(count, dtype=np.int64)) for name in PRICES)
    return np.where(lasts > 0, 2 * lasts, np.where((bids > 0) & (asks > 0), bids + asks, 0))


def _sizes(column: "np.ndarray[Any, Any] | None", count: int) -> list[int | None]:
    if column is None:
        return list(repeat(None, count))
    return [None if size < 0 else size for size in column.tolist()]


class _Known:
    """What the rows so far have told of each symbol."""

    def __init__(self, symbols: int) -> None:
        import numpy as np

        self._times = np.full(symbols, np.iinfo(np.int64).min)
        self._small = np.int16 if symbols < 1 << 15 else np.int64  # sorting small numbers is much faster
        self._told = {name: np.zeros(symbols, dtype=bool) for name in FIGURES}

    def plain(self, part: Part) -> "np.ndarray[Any, Any]":

        codes, raw = part.codes, part.raw
        plain = self._is_later(codes, part.times)
        plain &= marks_of(raw, len(codes)) > 0
        for name, column in raw.items():
            given = column > 0 if name in PRICES else column >= 0
            told = self._told[name]
            told[codes[given]] = True
            plain &= given | ~told[codes]
        if "bid" in raw and "ask" in raw:
            plain &= (raw["bid"] <= raw["ask"]) | (raw["ask"] == 0)
        plain[list(part.refused)] = False
        return plain

    def _is_later(self, codes: "np.ndarray[Any, Any]", times: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Where a row's time is later than each before it of its symbol. Rows come in the order of playing, so that one
        that runs backward counts as of the time when it is played."""
        import numpy as np

        played = np.maximum.accumulate(times)
        order = np.argsort(codes.astype(self._small), kind="stable")
        by_symbol, ordered = codes[order], played[order]
        first = np.ones(len(codes), dtype=bool)
        first[1:] = by_symbol[1:] != by_symbol[:-1]
        before = np.empty_like(ordered)
        before[1:] = ordered[:-1]
        before[first] = self._times[by_symbol[first]]
        self._times[by_symbol] = ordered  # of several of one symbol the last one stays
        later = np.empty(len(codes), dtype=bool)
        later[order] = times[order] > before
        return later
