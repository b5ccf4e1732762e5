"""Quotes that an engine kept: a folder of recordings, one of its files, or a journal.

They are whole, with every time, and their figures are raw integers; so what is played is what there was, to the digit.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livetrade.adapters.recorded.table import FIGURES, Table, listed
from livetrade.adapters.recorded.times import Period
from livetrade.core.instruments import Instrument
from livetrade.encoding import Decoder
from livetrade.errors import FeedError, JournalError
from livetrade.journal.rows import TickBatch, unpacked_ticks
from livetrade.recorder import folder, parquet

if TYPE_CHECKING:
    import pandas as pd


def quotes_in(path: Path, symbol: str | None, period: Period | None) -> Table | None:
    """The table of a folder, of a Parquet file that is one of a folder's, or of a journal; None for another file.

    Raises `FeedError`.
    """
    instruments: dict[str, Instrument] = {}
    try:
        batches = _batches(path, instruments, period)
        if batches is None:
            return None
        quotes = parquet.joined(batches)
        if not len(quotes.codes) and period is not None:  # what there is at all, of which the period leaves no row
            return quotes_in(path, symbol, None)
        return _table(path.name, quotes, instruments, symbol)
    except ImportError:
        raise FeedError(f"{path.name}: reading Parquet needs pyarrow: pip install 'livetrade[arrow]'") from None
    except (JournalError, OSError, ValueError) as error:
        raise FeedError(f"{path.name} cannot be read: {error}") from error


def _batches(path: Path, instruments: dict[str, Instrument], period: Period | None) -> Iterator[TickBatch] | None:
    if path.is_dir():
        return folder.batches_in(path, instruments, None if period is None else period.meets)
    if path.suffix == ".parquet":
        about = parquet.about(path)
        if about is None:
            return None
        instruments.update(about.instruments)
        return parquet.batches_of(path)
    if path.name.endswith((".csv", ".csv.gz")):
        return None
    return _in_journal(path, instruments)


def _in_journal(path: Path, instruments: dict[str, Instrument]) -> Iterator[TickBatch]:
    from livetrade.journal.chain import followed
    from livetrade.journal.store import EVENTS, TICKS, UNREADABLE, rows_of
    from livetrade.journal.verify import reading

    decoder = Decoder()
    try:
        with reading(path) as connection:
            with closing(rows_of(connection, EVENTS)) as rows:
                for row in followed(EVENTS, rows):
                    if b'"InstrumentAdded"' in row.data or b'"AccountOpened"' in row.data:
                        _decode_instruments(row.data, decoder)
            instruments.update(decoder.instruments)
            with closing(rows_of(connection, TICKS)) as rows:
                for row in followed(TICKS, rows):
                    yield unpacked_ticks(row.data)
    except (JournalError, *UNREADABLE) as error:
        raise FeedError(
            f"{path.name} is damaged: {error}; `livetrade journal salvage` writes what is good of it into a new journal"
        ) from error


def _decode_instruments(data: bytes, decoder: Decoder) -> None:
    version, _, steps = json.loads(data)
    for _, events in steps:
        for event in events:
            if event[0] in ("InstrumentAdded", "AccountOpened"):
                decoder.event(event, version)


def _table(name: str, quotes: TickBatch, instruments: dict[str, Instrument], symbol: str | None) -> Table:
    import numpy as np
    import pandas as pd

    codes = np.asarray(quotes.codes)
    rows = np.arange(len(codes))
    unknown = [each for each in quotes.symbols if each not in instruments]
    if unknown:
        raise FeedError(f"{name} does not say on what scales the prices of {listed(unknown)} are")
    if not len(codes):
        raise FeedError(f"{name} has no ticks")
    if symbol is not None:
        if symbol not in quotes.symbols:
            raise FeedError(f"{name} has no ticks of {symbol!r}, but of {listed(quotes.symbols)}")
        rows = rows[codes == quotes.symbols.index(symbol)]
    received = np.asarray(quotes.figures["received_ns"])[rows]
    if np.any(received[1:] < received[:-1]):  # the files of several engines
        rows = rows[np.argsort(received, kind="stable")]
    figures = {column: np.asarray(values)[rows] for column, values in quotes.figures.items()}
    received, own = figures["received_ns"], figures["time_ns"]
    raw: dict[str, Any] = {column: figures[f"{column}_raw"] for column in FIGURES}
    symbols = pd.array(np.array(quotes.symbols, dtype=object), dtype="str").take(codes[rows])
    return Table(
        name,
        _utc(np.where(own == 0, received, own)),
        pd.DataFrame({"symbol": symbols, **raw}),
        _utc(received),
        own != 0,
        np.array(quotes.sources, dtype=object)[np.asarray(quotes.origins)[rows]],
        instruments,
    )


def _utc(nanoseconds: Any) -> "pd.DatetimeIndex":
    import pandas as pd

    return pd.DatetimeIndex(nanoseconds, dtype="datetime64[ns, UTC]")
