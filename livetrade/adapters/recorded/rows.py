"""Rows of a table become ticks: figures become raw integers, by vectors where they are plain."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache, partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from livetrade.adapters.recorded.table import FIGURES, PRICES, SIZES, Table, is_numeric
from livetrade.adapters.recorded.times import localized
from livetrade.core.instruments import Instrument
from livetrade.core.numbers import to_decimal
from livetrade.core.quotes import BACKWARD, EMPTY
from livetrade.core.ticks import Tick
from livetrade.errors import PriceError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CHUNK = 256
"""Rows that become ticks together, and that hold up the loop together."""

SNAP, NOISE = 2.0**-24, 2.0**-50
CERTAIN = 2.0**45
"""Below this many raw units a product of floats is off by less than 0.01 of a unit."""


RawReader: TypeAlias = "Callable[[slice, Array, dict[int, str]], Array]"
"""Raw integers of some rows, which have these symbols; what is refused of them is put into the last."""


class Whole(NamedTuple):
    """What rows that are an engine's whole quotes tell beside their figures: the source's own time (0: none), and the
    source."""

    times: "Array"
    sources: "Array"


class Part(NamedTuple):
    """Some rows in the order of playing, in columns.

    codes: which of the symbols; times: ns UTC; raw: integers by column, 0 for an unknown price and -1 for a size or
    volume that is not given; refused: why a row is no tick, by its number here. whole: None where what a row leaves out
    stays as it was; else the rows are whole quotes, and `times` is when an engine received them.
    """

    codes: "Array"
    times: "Array"
    raw: "dict[str, Array]"
    refused: dict[int, str]
    whole: Whole | None = None


class Rows:
    """The rows of a table in the order of playing."""

    def __init__(self, table: Table) -> None:
        import numpy as np
        import pandas as pd

        self._name = table.name
        codes, symbols = pd.factorize(table.frame["symbol"])
        self.symbols = [str(symbol) for symbol in symbols]
        times = table.times if table.received is None else table.received
        latest = pd.Series(times.asi8).groupby(codes).cummax().to_numpy()
        # stable, so that equal times stay in the order of their rows
        order = None if np.all(latest[1:] >= latest[:-1]) else np.argsort(latest, kind="stable")

        def ordered(values: "Array") -> "Array":
            return values if order is None else values[order]

        self._codes = ordered(codes)
        self._backward = ordered(times.asi8 < latest)
        self._times = times if order is None else times[order]
        self._own: pd.DatetimeIndex | None = None
        if table.received is not None:
            given = np.full(len(times), True) if table.given is None else table.given
            self._own = table.times if order is None else table.times[order]
            self._given = ordered(given)
            self._sources = None if table.sources is None else ordered(table.sources)
        self._instruments = table.instruments
        self._columns = {
            name: ordered(table.frame[name].to_numpy() if table.instruments else _figures(table.frame[name]))
            for name in FIGURES
            if table.has(name)
        }

    def __len__(self) -> int:
        return len(self._codes)

    def start_ns(self, zone: tzinfo) -> int:
        return int(localized(self._times[:1], zone, self._name).asi8[0])

    def ticks(self, instruments: Sequence[Instrument], zone: tzinfo) -> Iterator[Tick | str]:
        import numpy as np

        item_of = np.empty(len(instruments), dtype=object)
        item_of[:] = instruments
        for part in self.parts(instruments, zone, CHUNK):
            yield from _built(item_of[part.codes].tolist(), part)

    def parts(self, instruments: Sequence[Instrument], zone: tzinfo, rows: int) -> Iterator[Part]:
        import numpy as np

        times = localized(self._times, zone, self._name).asi8
        whole = self._whole(zone)
        readers = self._readers(instruments)
        for first in range(0, len(self), rows):
            part = slice(first, first + rows)
            codes = self._codes[part]
            refused = dict.fromkeys(np.flatnonzero(self._backward[part]).tolist(), BACKWARD)
            raw = {name: reader(part, codes, refused) for name, reader in readers.items()}
            priced = np.zeros(len(codes), dtype=np.int64)
            for name in raw.keys() & set(PRICES):
                priced |= raw[name]
            for row in np.flatnonzero(priced == 0).tolist():
                refused.setdefault(row, EMPTY)
            told = None if whole is None else Whole(whole.times[part], whole.sources[part])
            yield Part(codes, times[part], raw, refused, told)

    def _whole(self, zone: tzinfo) -> Whole | None:
        import numpy as np

        if self._own is None:
            return None
        own = np.where(self._given, localized(self._own, zone, self._name).asi8, 0)
        sources = np.full(len(own), "", dtype=object) if self._sources is None else self._sources
        return Whole(own, sources)

    def _readers(self, instruments: Sequence[Instrument]) -> "dict[str, RawReader]":
        known = self._instruments
        if known is not None:
            before = [known[symbol] for symbol in self.symbols]
            if _scales(before) == _scales(instruments):
                return {name: partial(_as_they_are, values) for name, values in self._columns.items()}
            columns = {name: _decimals(name, values, self._codes, before) for name, values in self._columns.items()}
        else:
            columns = self._columns
        return {name: _reader(name, values, instruments).raw for name, values in columns.items()}


def _scales(instruments: Iterable[Instrument]) -> list[tuple[int, int]]:
    return [(item.scale, item.quantity_scale) for item in instruments]


def _as_they_are(values: "Array", part: slice, codes: "Array", refused: Mapping[int, str]) -> "Array":
    return values[part]


def _decimals(name: str, values: "Array", codes: "Array", instruments: Sequence[Instrument]) -> "Array":
    """Raw integers on other scales than they are asked for on, as exact numbers."""
    import numpy as np

    price = name in PRICES
    scales = [item.scale if price else item.quantity_scale for item in instruments]
    numbers = np.empty(len(values), dtype=object)
    numbers[:] = [
        to_decimal(raw, scales[code]) if raw > (0 if price else -1) else None
        for raw, code in zip(values.tolist(), codes.tolist(), strict=True)
    ]
    return numbers


def _built(items: list[Instrument], part: Part) -> Iterable[Tick | str]:
    raw, times = part.raw, part.times.tolist()
    bids, asks, lasts = (raw[name].tolist() if name in raw else repeat(0) for name in PRICES)
    volumes, bid_sizes, ask_sizes = (_or_none(raw.get(name)) for name in ("volume", *SIZES))
    if part.whole is None:
        ticks = map(Tick, items, times, bids, asks, lasts, times, volumes, bid_sizes, ask_sizes)
    else:
        own, sources = part.whole.times.tolist(), part.whole.sources.tolist()
        ticks = map(Tick, items, times, bids, asks, lasts, own, volumes, bid_sizes, ask_sizes, sources, repeat(True))
    if not part.refused:
        return ticks
    return [part.refused.get(row, tick) for row, tick in enumerate(ticks)]


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
            is_plain = plain.all()
            raw = (whole if is_plain else np.where(plain, whole, self.absent)).astype(np.int64)
            unclear = [] if is_plain else np.flatnonzero(~plain & ~np.isnan(values)).tolist()
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


def _figures(column: "pd.Series[Any]") -> "Array":
    """float64 with NaN, or objects (text, `Decimal`, a Python number) with None, where a figure is missing."""
    import numpy as np
    import pandas as pd

    if is_numeric(column):
        return column.to_numpy(dtype="float64", na_value=np.nan)
    values = column.to_numpy(dtype=object)
    figures = np.empty(len(values), dtype=object)
    figures[:] = [
        None if missing else value if isinstance(value, str | Decimal | int | float) else str(value)
        for value, missing in zip(values, pd.isna(values) | (column == "").to_numpy(dtype=bool), strict=True)
    ]
    return figures
