"""A recording as a replay takes it: its rows in columns of raw integers, in the order of playing.

Most rows are *plain*: they tell all that their symbol's rows before told, later than those, and bid and ask are not
crossed. Such a row is its symbol's next quote as it stands; the rest goes through `core.quotes.merge`.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo
from itertools import repeat
from math import nan
from typing import TYPE_CHECKING, Any, TypeAlias

from livetrade.adapters.recorded import FIGURES, PRICES, SIZES, Part, RecordedFeed
from livetrade.core.instruments import Instrument
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.ticklog import TickLog

if TYPE_CHECKING:
    import numpy as np

ROWS = 1 << 12
"""How many rows stand in memory as Python numbers at a time."""
EXACT_FLOATS = 1 << 53
"""Below this every whole number is a float."""
ROUGH = -1
"""The code of a row that is not plain."""


Row: TypeAlias = "tuple[int, int, int, int, int, float, Tick | None]"


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
    """Some rows, in lists; `codes` says which symbol a row is of, or ROUGH."""

    def __init__(self, part: Part, plain: "np.ndarray[Any, Any]", items: list[Instrument]) -> None:
        import numpy as np

        self.count = len(part.codes)
        self.refused = part.refused
        self.codes: list[int] = np.where(plain, part.codes, ROUGH).tolist()
        self.times: list[int] = part.times.tolist()
        self._part = part
        self._items = items

    def code(self, row: int) -> int:
        """Which symbol a row is of, plain or not."""
        return int(self._part.codes[row])

    def tick(self, row: int) -> Tick:
        """One row as an update."""
        ts, raw, whole = self.times[row], self._part.raw, self._part.whole
        bid, ask, last = (int(raw[name][row]) if name in raw else 0 for name in PRICES)
        sizes = (int(raw[name][row]) if name in raw else -1 for name in ("volume", *SIZES))
        volume, bid_size, ask_size = (None if size < 0 else size for size in sizes)
        item, time_ns, source = self._items[self.code(row)], ts, ""
        if whole is not None:
            time_ns, source = int(whole.times[row]), whole.sources[row]
        return Tick(item, ts, bid, ask, last, time_ns, volume, bid_size, ask_size, source, whole=whole is not None)

    def columns(self, codes: Iterator[int]) -> Iterator[Row]:
        """For each row: its code, time, bid, ask, last, mid, and its tick where that tells more than these."""
        raw = self._part.raw
        bids, asks, lasts = (raw[name].tolist() if name in raw else repeat(0) for name in PRICES)
        mids = self._mids()
        plain = mids is not None and not raw.keys() & {"volume", *SIZES}
        ticks: Iterable[Tick | None] = repeat(None) if plain else map(self.tick, range(self.count))
        return zip(codes, self.times, bids, asks, lasts, mids or repeat(nan), ticks, strict=False)

    def _mids(self) -> "Iterable[float] | None":
        """The mid of each row; None where numbers are so large that floats would have to be rounded twice."""
        import numpy as np

        raw = self._part.raw
        if "bid" not in raw or "ask" not in raw:
            return repeat(nan)
        bids, asks = raw["bid"], raw["ask"]
        if max(bids.max(initial=0), asks.max(initial=0)) >= EXACT_FLOATS // 2:
            return None
        sums = bids + asks
        twice = np.array([item.twice for item in self._items], dtype=np.float64)
        mids: list[float] = np.where((bids > 0) & (asks > 0), sums / twice[self._part.codes], nan).tolist()
        return mids


def is_marked(part: Part) -> "np.ndarray[Any, Any]":
    """Where a row tells what its symbol is worth: the last price, or both sides."""
    import numpy as np

    nothing = np.zeros(len(part.codes), dtype=np.int64)
    bids, asks, lasts = (part.raw.get(name, nothing) > 0 for name in PRICES)
    marked: np.ndarray[Any, Any] = lasts | (bids & asks)
    return marked


class _Known:
    """What the rows so far have told of each symbol."""

    def __init__(self, symbols: int) -> None:
        import numpy as np

        self._times = np.full(symbols, np.iinfo(np.int64).min)
        self._small = np.int16 if symbols < 1 << 15 else np.int64  # sorting small numbers is much faster
        self._told = {name: np.zeros(symbols, dtype=bool) for name in FIGURES}

    def plain(self, part: Part) -> "np.ndarray[Any, Any]":
        import numpy as np

        if part.whole is not None:  # its times are not all that they tell
            return np.zeros(len(part.codes), dtype=bool)
        codes, raw = part.codes, part.raw
        plain = self._is_later(codes, part.times)
        plain &= is_marked(part)
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

        before_all = self._times.max()
        if (times[1:] > times[:-1]).all() and (times[:1] > before_all).all():  # as mostly: later than all before
            self._times[codes] = times  # of several of one symbol the last one stays
            return np.ones(len(codes), dtype=bool)
        played = np.maximum(np.maximum.accumulate(times), before_all)
        order = np.argsort(codes.astype(self._small), kind="stable")
        by_symbol, ordered = codes[order], played[order]
        first = np.ones(len(codes), dtype=bool)
        first[1:] = by_symbol[1:] != by_symbol[:-1]
        before = np.empty_like(ordered)
        before[1:] = ordered[:-1]
        before[first] = self._times[by_symbol[first]]
        self._times[by_symbol] = ordered
        later = np.empty(len(codes), dtype=bool)
        later[order] = times[order] > before
        return later
