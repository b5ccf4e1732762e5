"""Recorded ticks, from Parquet, CSV or a DataFrame, as a feed.

What a user gave wrongly (a missing file or column, times that cannot be read) raises at once. What is wrong with one
row of many is counted by its reason, and the rest goes on.
"""

import asyncio
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache, partial
from itertools import repeat
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livetrade.core.instruments import Instrument, check_symbol
from livetrade.core.kinds import FeedState
from livetrade.core.numbers import positive
from livetrade.core.quotes import BACKWARD, EMPTY
from livetrade.core.ticks import Tick
from livetrade.errors import FeedError, OrderError, PriceError
from livetrade.handle import Handle
from livetrade.ports import Sink

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

Source: TypeAlias = "str | PathLike[str] | pd.DataFrame"

PRICES = ("bid", "ask", "last")
SIZES = ("bid_size", "ask_size")
FIGURES = (*PRICES, "volume", *SIZES)
MISSING_IN_CSV = ["", "NaN", "nan", "NA", "N/A", "<NA>", "null", "NULL", "None"]

CHUNK = 256
"""Rows that become ticks together, and that hold up the loop together."""
SLICE = 0.002
"""Seconds of work after which the loop gets its turn."""
LONGEST_SLEEP = 60.0

SNAP, NOISE = 2.0**-24, 2.0**-50
CERTAIN = 2.0**45
"""Below this many raw units a product of floats is off by less than 0.01 of a unit."""


def read_ticks(
    source: Source,
    symbol: str | None = None,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    *,
    timezone: str | tzinfo = "Asia/Kolkata",
) -> "pd.DataFrame":
    """Recorded ticks as a DataFrame: indexed by an aware `time` (nanoseconds, in `timezone`), with the columns symbol,
    bid, ask, last, volume, and bid_size and ask_size where the source has them. NaN is what a row does not tell.

    source: the path of a Parquet or CSV file (`.parquet`, `.csv`, `.csv.gz`), that of a journal that kept ticks (whose
    times are when its engine took them), or a DataFrame. It has a time index or a `time` column (datetimes or ISO 8601
    text, naive ones in `timezone`), a `symbol` column unless `symbol` is given, and one of bid, ask and last. Rows stay
    in their order. Numbers are float64; columns of text or `Decimal` stay as they are, and exact.
    symbol: only this one; or what a source without a `symbol` column is about.
    start, end: both included; a date without a time is the whole day.

    Raises `FeedError` for a source that cannot be read, or holds nothing, or nothing of the symbol; `OrderError` for a
    malformed symbol or an unknown time zone.
    """
    zone = _zone(timezone)
    table = _table(source, symbol)
    times = _localized(table.times, zone, table.name)
    frame = table.frame.set_axis(times.rename("time"), axis="index")
    for name in set(FIGURES) & set(frame.columns):
        if _is_numeric(frame[name]):
            frame[name] = frame[name].astype("float64")
    keep = _between(times, start, end, zone)
    return frame if keep is None else frame[keep]


class RecordedFeed:
    """Plays recorded ticks. The engine's clock is then the recording's.

    source, symbol: as `read_ticks` takes them; naive times are in the engine's time zone.
    speed: 1.0 is the original pace, 60 sixty times as fast, None as fast as the strategies keep up, one tick at a time.
    autoplay: False waits for `play()`.
    instruments: what is known of the symbols; others are what a journal had, or what the engine takes them for.
    otherwise: the symbol of a source that does not name any.

    A row that is no tick is quarantined by its reason: a price that is zero, negative, infinite, not a number or finer
    than the instrument's scale; a negative volume or size; no price at all ("empty"); a time before an earlier one of
    its symbol ("backward"). Ticks of several symbols are played in the order of their times, those of one time in the
    order of their rows. Raises `FeedError` and `OrderError` as `read_ticks` does, and for a source without a row.
    """

    def __init__(
        self,
        source: Source,
        speed: float | None = 1.0,
        autoplay: bool = True,
        *,
        symbol: str | None = None,
        instruments: Sequence[Instrument] = (),
        otherwise: str | None = None,
    ) -> None:
        self.speed = None if speed is None else float(positive(speed, "speed"))
        table = _table(source, symbol, otherwise)
        self.instruments = (*table.instruments, *instruments)
        if not len(table.times):
            raise FeedError(f"{table.name} has no ticks")
        self._name = table.name
        self._rows = _Rows(table)
        self._autoplay = autoplay
        self._asked = autoplay
        self._running = False
        self._start: Callable[[], object] | None = None
        self._posted = 0
        self._handle = self._new_handle()

    @property
    def name(self) -> str:
        """What it plays, for messages."""
        return self._name

    @property
    def symbols(self) -> tuple[str, ...]:
        """What it has ticks of."""
        return tuple(self._rows.symbols)

    def start_ns(self, zone: tzinfo) -> int:
        """The time of its first row, in integer nanoseconds UTC: where the engine's clock begins."""
        return self._rows.start_ns(zone)

    def __len__(self) -> int:
        """The number of its rows."""
        return len(self._rows)

    def play(self) -> Handle[int]:
        """Starts it, from any thread; with `autoplay`, or when it was started before, it only answers.

        The handle resolves at the end of the recording with the number of ticks posted. It fails with `FeedError` when
        the engine closes before. Another engine plays the recording from its beginning, with another handle.
        """
        self._asked = True
        start = self._start
        if start is not None:
            with suppress(RuntimeError):  # the loop has just closed
                start()
        return self._handle

    def rows(self, instrument: Callable[[str], Instrument], zone: tzinfo) -> Iterator[Tick | str]:
        """Every row in the order of playing, without a loop: a tick, or the reason why it is none.

        instrument: gives what each symbol's ticks are built with. zone: how naive times are meant.
        """
        return self._rows.ticks([instrument(symbol) for symbol in self._rows.symbols], zone)

    def parts(self, instrument: Callable[[str], Instrument], zone: tzinfo, rows: int) -> "Iterator[Part]":
        """The same in columns of raw integers, at most so many rows at a time."""
        return self._rows.parts([instrument(symbol) for symbol in self._rows.symbols], zone, rows)

    async def run(self, sink: Sink) -> None:
        """Plays to the end, or until it is cancelled."""
        if self._running:
            raise FeedError(f"{self._name} is already being played by another engine; make a feed for each")
        self._running = True
        if self._handle.done():
            self._handle, self._asked = self._new_handle(), self._autoplay
        self._posted = 0
        try:
            for instrument in self.instruments:
                sink.register(instrument)
            await self._asked_to_play(sink)
            sink.state(FeedState.LIVE)
            await self._play(self.rows(sink.instrument, sink.zone), sink)
            sink.state(FeedState.CLOSED, "the recording has ended")
            self._handle.resolve(self._posted)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            reason = "the recording was stopped" if cancelled else f"the recording failed: {error}"
            self._handle.fail(FeedError(f"{reason}; ticks posted: {self._posted:,}"))
            sink.state(FeedState.CLOSED if cancelled else FeedState.FAILED, reason)
            raise
        finally:
            self._running, self._start = False, None

    async def _asked_to_play(self, sink: Sink) -> None:
        asked = asyncio.Event()
        self._start = partial(asyncio.get_running_loop().call_soon_threadsafe, asked.set)
        if not self._asked:
            sink.state(FeedState.CONNECTING, "waiting for play()")
            await asked.wait()

    async def _play(self, rows: Iterable[Tick | str], sink: Sink) -> None:
        clock = asyncio.get_running_loop().time
        speed = self.speed
        origin: float | None = None  # when time zero of the recording would have been, by the loop's clock
        pause = clock() + SLICE
        for row in rows:
            if isinstance(row, str):
                sink.quarantine(row)
            elif speed is None:
                sink.tick(row)
                self._posted += 1
                await sink.idle()
            else:
                offset = row.received_ns / 1e9 / speed
                origin = clock() - offset if origin is None else origin
                await _until(origin + offset, clock)
                sink.tick(row)
                self._posted += 1
            if clock() >= pause:
                await asyncio.sleep(0)
                pause = clock() + SLICE

    def _new_handle(self) -> Handle[int]:
        return Handle(f"playing {self._name}")

    def __repr__(self) -> str:
        speed = "as fast as it is read" if self.speed is None else f"speed={self.speed:g}"
        return f"<RecordedFeed {self._name} {len(self):,} rows {speed}>"


async def _until(due: float, clock: Callable[[], float]) -> None:
    left = due - clock()
    while left > 0:
        await asyncio.sleep(min(left, LONGEST_SLEEP))
        left = due - clock()


# ── rows become ticks ────────────────────────────────────────────────────────────────────────────────────────────────


class _Rows:
    """The rows of a table in the order of playing."""

    def __init__(self, table: "_Table") -> None:
        import numpy as np
        import pandas as pd

        self._name = table.name
        codes, symbols = pd.factorize(table.frame["symbol"])
        self.symbols = [str(symbol) for symbol in symbols]
        times = table.times.asi8
        latest = pd.Series(times).groupby(codes).cummax().to_numpy()
        # stable, so that equal times stay in the order of their rows
        order = None if np.all(latest[1:] >= latest[:-1]) else np.argsort(latest, kind="stable")

        def ordered(values: "Array") -> "Array":
            return values if order is None else values[order]

        self._codes = ordered(codes)
        self._backward = ordered(times < latest)
        self._times = table.times if order is None else table.times[order]
        self._columns = {
            name: ordered(_figures(table.frame[name])) for name in FIGURES if name in table.frame and table.given(name)
        }

    def __len__(self) -> int:
        return len(self._codes)

    def start_ns(self, zone: tzinfo) -> int:
        return int(_localized(self._times[:1], zone, self._name).asi8[0])

    def ticks(self, instruments: Sequence[Instrument], zone: tzinfo) -> Iterator[Tick | str]:
        import numpy as np

        item_of = np.empty(len(instruments), dtype=object)
        item_of[:] = instruments
        for part in self.parts(instruments, zone, CHUNK):
            yield from _built(item_of[part.codes].tolist(), part.times.tolist(), part.raw, part.refused)

    def parts(self, instruments: Sequence[Instrument], zone: tzinfo, rows: int) -> "Iterator[Part]":
        import numpy as np

        times = _localized(self._times, zone, self._name).asi8
        readers = [_reader(name, values, instruments) for name, values in self._columns.items()]
        for first in range(0, len(self), rows):
            part = slice(first, first + rows)
            codes = self._codes[part]
            refused = dict.fromkeys(np.flatnonzero(self._backward[part]).tolist(), BACKWARD)
            raw = {reader.name: reader.raw(part, codes, refused) for reader in readers}
            priced = np.zeros(len(codes), dtype=np.int64)
            for name in raw.keys() & set(PRICES):
                priced |= raw[name]
            for row in np.flatnonzero(priced == 0).tolist():
                refused.setdefault(row, EMPTY)
            yield Part(codes, times[part], raw, refused)


class Part(NamedTuple):
    """Some rows in the order of playing, in columns.

    codes: which of the symbols; times: ns UTC; raw: integers by column, 0 for an unknown price and -1 for a size or
    volume that is not given; refused: why a row is no tick, by its number here.
    """

    codes: "Array"
    times: "Array"
    raw: "dict[str, Array]"
    refused: dict[int, str]


def _built(
    items: list[Instrument], times: list[int], raw: dict[str, "Array"], refused: dict[int, str]
) -> Iterable[Tick | str]:
    bids, asks, lasts = (raw[name].tolist() if name in raw else repeat(0) for name in PRICES)
    volumes, bid_sizes, ask_sizes = (_or_none(raw.get(name)) for name in ("volume", *SIZES))
    ticks = map(Tick, items, times, bids, asks, lasts, times, volumes, bid_sizes, ask_sizes)
    if not refused:
        return ticks
    return [refused.get(row, tick) for row, tick in enumerate(ticks)]


def _or_none(sizes: "Array | None") -> Iterable[int | None]:
    if sizes is None:
        return repeat(None)
    return [None if size < 0 else size for size in sizes.tolist()]


class _Reader(NamedTuple):
    """One column as raw integers: what is plain by vectors, the rest by the one rule for its figures."""

    name: str
    values: "Array"
    absent: int
    factors: "Array"
    """Raw units of one, for each symbol."""
    plain: "Callable[[Array, Array], Array]"
    exact: Sequence[Callable[[Any], int]]
    """For each symbol: the raw integer, or `PriceError`."""

    def raw(self, part: slice, codes: "Array", refused: dict[int, str]) -> "Array":
        """The raw integers of some rows; a refused one gets its reason, unless it has one already."""
        import numpy as np

        values = self.values[part]
        if values.dtype == object:
            raw = np.full(len(values), self.absent, dtype=np.int64)
            unclear = [row for row, value in enumerate(values) if value is not None]
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                exact = values * self.factors[codes]
                whole = np.rint(exact)
                plain = self.plain(exact, whole)
            raw = np.where(plain, whole, self.absent).astype(np.int64)
            unclear = np.flatnonzero(~plain & ~np.isnan(values)).tolist()
        for row in unclear:
            if row in refused:
                continue
            try:
                raw[row] = self.exact[codes[row]](values[row])
            except PriceError as error:
                refused[row] = error.reason
        return raw


def _reader(name: str, values: "Array", instruments: Sequence[Instrument]) -> _Reader:
    import numpy as np

    price = name in PRICES
    rule = _price if price else _size
    scales = [item.scale if price else item.quantity_scale for item in instruments]
    return _Reader(
        name,
        values,
        0 if price else -1,
        10.0 ** np.array(scales),
        _plain_prices if price else _plain_sizes,
        [lru_cache(maxsize=1 << 16, typed=True)(partial(rule, item, name)) for item in instruments],
    )


def _plain_prices(exact: "Array", whole: "Array") -> "Array":
    """Where the nearest price on the scale surely explains the float, as `Instrument.price_raw` would say."""
    import numpy as np

    room = np.minimum(0.49, 0.99 * SNAP * exact)
    plain: Array = (whole >= 1) & (whole < CERTAIN) & (np.abs(exact - whole) <= room)
    return plain


def _plain_sizes(exact: "Array", whole: "Array") -> "Array":
    """Where the float is a whole number of units, but for the last bits of its arithmetic."""
    import numpy as np

    plain: Array = (whole >= 0) & (whole < CERTAIN) & (np.abs(exact - whole) <= NOISE * whole)
    return plain


def _price(instrument: Instrument, what: str, value: str | Decimal | float) -> int:
    return instrument.price_raw(value, what)


def _size(instrument: Instrument, what: str, value: str | Decimal | float) -> int:
    raw = instrument.size_raw(value, what)
    return -1 if raw is None else raw


def _is_numeric(column: "pd.Series[Any]") -> bool:
    return getattr(column.dtype, "kind", "O") in "iuf"


def _figures(column: "pd.Series[Any]") -> "Array":
    """float64 with NaN, or objects (text, `Decimal`, a Python number) with None, where a figure is missing."""
    import numpy as np
    import pandas as pd

    if _is_numeric(column):
        return column.to_numpy(dtype="float64", na_value=np.nan)
    values = column.to_numpy(dtype=object)
    figures = np.empty(len(values), dtype=object)
    figures[:] = [
        None if missing else value if isinstance(value, str | Decimal | int | float) else str(value)
        for value, missing in zip(values, pd.isna(values) | (column == "").to_numpy(dtype=bool), strict=True)
    ]
    return figures


# ── reading a source ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Table(NamedTuple):
    """A source that was read and checked: its rows in their order."""

    name: str
    times: "pd.DatetimeIndex"
    """Naive, or UTC; nanoseconds."""
    frame: "pd.DataFrame"
    """The columns symbol, bid, ask, last, volume, and the sizes where they are given."""

    instruments: tuple[Instrument, ...] = ()
    """What a journal knows of the symbols."""

    def given(self, name: str) -> bool:
        return not self.frame[name].isna().all()


def _table(source: Source, symbol: str | None, otherwise: str | None = None) -> _Table:
    for each in (symbol, otherwise):
        if each is not None:
            check_symbol(each)
    name, frame, instruments = _loaded(source)
    if not frame.columns.is_unique:
        raise FeedError(f"{name} has a column twice: {_names(frame.columns[frame.columns.duplicated()])}")
    frame = _with_columns(frame, name)
    if not set(PRICES) & set(frame.columns):
        raise FeedError(f"{name} has no price: it needs a column bid, ask or last, and has {_names(frame.columns)}")
    if otherwise is not None and "symbol" not in frame.columns and symbol is None:
        frame = frame.assign(symbol=otherwise)
    frame = _of_symbol(frame, symbol, name)
    kept = frame.reindex(columns=["symbol", *FIGURES[:4], *(size for size in SIZES if size in frame.columns)])
    return _Table(name, _times(frame["time"], name), kept, tuple(instruments))


def _loaded(source: Source) -> "tuple[str, pd.DataFrame, Sequence[Instrument]]":
    import pandas as pd

    from livetrade.journal.recording import is_journal, recorded

    if isinstance(source, pd.DataFrame):
        return "the DataFrame", source, ()
    if not isinstance(source, str | PathLike):
        raise FeedError(f"ticks come from a path or a DataFrame, not from {type(source).__name__}")
    path = Path(fspath(source)).expanduser()
    if is_journal(path):
        return path.name, *recorded(path)
    if not path.name.endswith((".parquet", ".csv", ".csv.gz")):
        raise FeedError(f"{path.name}: unknown suffix; ticks are read from .parquet, .csv, .csv.gz and journals")
    if not path.is_file():
        raise FeedError(f"{path}: no such file")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except ImportError:
        raise FeedError(f"{path.name}: reading Parquet needs pyarrow: pip install 'livetrade[arrow]'") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise FeedError(f"{path.name} cannot be read: {error}") from error
    if frame.empty:
        raise FeedError(f"{path.name} has no ticks")
    return path.name, frame, ()


def _csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(
        path,
        dtype={"symbol": str},
        keep_default_na=False,  # a symbol may well be called NA
        na_values=dict.fromkeys(FIGURES, MISSING_IN_CSV),
        low_memory=False,
    )


def _with_columns(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The frame with `time` as a column, and `symbol` too if it stands in the index."""
    import pandas as pd

    inside = [level for level in frame.index.names if level in ("time", "symbol") and level not in frame.columns]
    if inside:
        frame = frame.reset_index(level=inside)
    if "time" in frame.columns:
        return frame
    if isinstance(frame.index, pd.DatetimeIndex):
        return frame.rename_axis("time").reset_index()
    raise FeedError(f"{name} has no times: it needs a time index or a column time, and has {_names(frame.columns)}")


def _of_symbol(frame: "pd.DataFrame", symbol: str | None, name: str) -> "pd.DataFrame":
    if "symbol" not in frame.columns:
        if symbol is None:
            raise FeedError(f"{name} does not say what it is about: give symbol=..., or a column symbol")
        return frame.assign(symbol=symbol)
    column = frame["symbol"]
    if column.isna().any():
        raise FeedError(f"{name} has no symbol in row {int(column.isna().to_numpy().argmax())}")
    found = list(column.unique())
    for each in found:
        try:
            check_symbol(each)
        except OrderError as error:
            raise FeedError(f"{name}: {error}") from None
    if symbol is None:
        return frame
    if found and symbol not in found:
        raise FeedError(f"{name} has no ticks of {symbol!r}, but of {_names(found)}")
    return frame[column == symbol]


_OFFSET = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$")


def _times(column: "pd.Series[Any]", name: str) -> "pd.DatetimeIndex":
    import pandas as pd

    kind = getattr(column.dtype, "kind", "O")
    if len(column) and kind in "iufb":
        raise FeedError(f"{name} has numbers for times; make them datetimes, such as pd.to_datetime(..., unit='s')")
    try:
        # several offsets, as around a change to summer time, are one time line
        offsets = kind != "M" and all(isinstance(time, str) and _OFFSET.search(time) for time in column)
        times = pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601", utc=offsets))
        times = (times if times.tz is None else times.tz_convert("UTC")).as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        told = str(error).partition(". ")[0].partition("\n")[0]
        raise FeedError(f"{name} has times that are neither datetimes nor ISO 8601: {told}") from error
    if times.hasnans:
        raise FeedError(f"{name} has no time in row {int(times.isna().argmax())}")
    return times


def _localized(times: "pd.DatetimeIndex", zone: tzinfo, name: str) -> "pd.DatetimeIndex":
    """The times in `zone`; naive ones are meant there."""
    if times.tz is not None:
        return times.tz_convert(zone)
    try:
        return times.tz_localize(zone)
    except ValueError as error:
        raise FeedError(f"{name} has a naive time that {zone} does not have just once: {error}") from error


def _zone(timezone: str | tzinfo) -> tzinfo:
    if isinstance(timezone, tzinfo):
        return timezone
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise OrderError(f"unknown time zone {timezone!r}; write one such as 'Asia/Kolkata'") from None


def _between(
    times: "pd.DatetimeIndex", start: datetime | date | str | None, end: datetime | date | str | None, zone: tzinfo
) -> "Array | None":
    import pandas as pd

    keep = None
    if start is not None:
        keep = times >= _stamp(start, zone, "start")
    if end is not None:
        last = _stamp(end, zone, "end")
        whole_day = ":" not in end if isinstance(end, str) else not isinstance(end, datetime)
        before = times < last + pd.DateOffset(days=1) if whole_day else times <= last
        keep = before if keep is None else keep & before
    return keep


def _stamp(when: datetime | date | str, zone: tzinfo, what: str) -> "pd.Timestamp":
    import pandas as pd

    try:
        stamp = pd.Timestamp(when)
        return stamp.tz_localize(zone) if stamp.tz is None else stamp
    except (ValueError, TypeError, OverflowError) as error:
        raise OrderError(f"{what} is not a time: {when!r} ({error})") from None


def _names(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "") if listed else "none"
