"""Recorded quotes as Parquet.

A row is the whole quote after a tick: `symbol` and `source` (dictionaries), `time` (the source's own, else when it was
received; UTC, nanoseconds), `lag_ns` (received = time + lag_ns; null where the source gave no time, and then they are
equal), and raw integers, null where unknown: `bid_raw`, `ask_raw`, `last_raw`, `volume_raw`, `bid_size_raw`,
`ask_size_raw`.
A price is raw / 10^scale, a size or volume raw / 10^quantity_scale. The scales are in the file's metadata under
`livetrade`, JSON: `version`, `instruments`, `ticks`, `first_ns` and `last_ns` (the bounds of `time`).

Rows of a group are sorted by symbol, for neighbours that differ little take little; `row` restores their order.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from livetrade.columns import needs
from livetrade.core import events as ev
from livetrade.core.instruments import Instrument
from livetrade.core.numbers import MAX_RAW
from livetrade.core.records import record
from livetrade.encoding import VERSION, Decoder, check_version, encoded, plain
from livetrade.errors import FeedError, JournalError
from livetrade.journal.rows import TickBatch

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

PRICES = ("bid_raw", "ask_raw", "last_raw")
SIZES = ("volume_raw", "bid_size_raw", "ask_size_raw")
ROWS_A_GROUP = 131_072
KEY = b"livetrade"
_DICTIONARIES = ["symbol", "source", "bid_size_raw", "ask_size_raw"]
_DELTAS = ("time", "lag_ns", "row", *PRICES, "volume_raw")


@record
class About:
    """What a file says of itself."""

    instruments: Mapping[str, Instrument]
    ticks: int
    first_ns: int
    last_ns: int


def packed_instruments(instruments: Iterable[Instrument]) -> list[Any]:
    return [plain(ev.InstrumentAdded(0, item)) for item in instruments]


def unpacked_instruments(packed: Iterable[Any], version: int) -> dict[str, Instrument]:
    decoder = Decoder()
    for each in packed:
        decoder.event(each, version)
    return decoder.instruments


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class ParquetFile:
    """Written group by group; complete once it is closed."""

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self._schema = _schema()
        self._writer = parquet.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=_DICTIONARIES,
            column_encoding=dict.fromkeys(_DELTAS, "DELTA_BINARY_PACKED"),
        )
        self._ticks = 0
        self._first_ns, self._last_ns = MAX_RAW, -MAX_RAW

    def write(self, batches: list[TickBatch]) -> None:
        """Writes a group."""
        import numpy as np

        quotes = joined(batches)
        received, own = (np.asarray(quotes.figures[name]) for name in ("received_ns", "time_ns"))
        time = np.where(own == 0, received, own)
        self._ticks += len(time)
        self._first_ns = min(self._first_ns, int(time.min()))
        self._last_ns = max(self._last_ns, int(time.max()))
        self._writer.write_table(self._table(quotes, time, np.where(own == 0, -1, received - own), own == 0))

    def _table(self, quotes: TickBatch, time: "Array", lag: "Array", no_lag: "Array") -> "pa.Table":
        import numpy as np
        import pyarrow as pa

        order = np.argsort(quotes.codes, kind="stable")
        columns = {
            "symbol": _coded(quotes.codes, quotes.symbols, order),
            "source": _coded(quotes.origins, quotes.sources, order),
            "time": pa.array(time[order], pa.timestamp("ns", "UTC")),
            "lag_ns": pa.array(lag[order], mask=no_lag[order]),
            "row": pa.array(order.astype(np.int32)),
        }
        for name in (*PRICES, *SIZES):
            raw = np.asarray(quotes.figures[name])[order]
            columns[name] = pa.array(raw, mask=raw == 0 if name in PRICES else raw < 0)
        return pa.table(columns, schema=self._schema)

    def close(self, instruments: Iterable[Instrument]) -> None:
        about = {
            "version": VERSION,
            "instruments": packed_instruments(instruments),
            "ticks": self._ticks,
            "first_ns": self._first_ns,
            "last_ns": self._last_ns,
        }
        self._writer.add_key_value_metadata({KEY: encoded(about)})
        self._writer.close()


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("symbol", text),
            ("source", text),
            ("time", pa.timestamp("ns", "UTC")),
            ("lag_ns", pa.int64()),
            ("row", pa.int32()),
            *((name, pa.int64()) for name in (*PRICES, *SIZES)),
        ]
    )


def _coded(codes: Any, texts: Any, order: "Array") -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.asarray(codes, dtype=np.int32)[order], pa.array(texts, pa.string()))


def joined(batches: Iterable[TickBatch]) -> TickBatch:
    """Batches as one, with one numbering of symbols and sources."""
    import numpy as np

    batches = list(batches)
    symbols: dict[str, int] = {}
    sources: dict[str, int] = {}

    def renumbered(codes: Any, texts: Any, known: dict[str, int]) -> "Array":
        new = np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int32)
        return new[np.asarray(codes)] if len(new) else np.empty(0, np.int32)

    codes = [renumbered(batch.codes, batch.symbols, symbols) for batch in batches]
    origins = [renumbered(batch.origins, batch.sources, sources) for batch in batches]
    figures = {
        name: np.concatenate([np.empty(0, np.int64), *(np.asarray(batch.figures[name]) for batch in batches)])
        for name in ("received_ns", "time_ns", *PRICES, *SIZES)
    }
    nothing = np.empty(0, np.int32)
    made: Any = (np.concatenate([nothing, *codes]), np.concatenate([nothing, *origins]), figures)
    return TickBatch(list(symbols), list(sources), *made)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def about(path: Path) -> About | None:
    """What a Parquet file says of itself; None for one that nobody recorded here. Raises `FeedError`."""
    from pyarrow import parquet

    packed = (parquet.read_metadata(path).metadata or {}).get(KEY)
    if packed is None:
        return None
    try:
        told = json.loads(packed)
        check_version(told["version"])
        instruments = unpacked_instruments(told["instruments"], told["version"])
        return About(instruments, told["ticks"], told["first_ns"], told["last_ns"])
    except (JournalError, ValueError, LookupError, TypeError) as error:
        raise FeedError(f"{path.name}: its metadata cannot be read: {error}") from error


def batches_of(path: Path) -> Iterator[TickBatch]:
    """The quotes of a file, group by group, in the order in which they were recorded."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield _batch(file.read_row_group(group))


def _batch(table: "pa.Table") -> TickBatch:
    import numpy as np

    def numbers(name: str, absent: int) -> "Array":
        values = table[name].cast("int64") if name == "time" else table[name]
        return np.asarray(values.fill_null(absent).combine_chunks().to_numpy(zero_copy_only=False), np.int64)[order]

    order = np.argsort(table["row"].to_numpy())
    no_lag = table["lag_ns"].is_null().to_numpy()[order]
    time = numbers("time", 0)
    figures = {
        "received_ns": time + numbers("lag_ns", 0),
        "time_ns": np.where(no_lag, 0, time),
        **{name: numbers(name, 0) for name in PRICES},
        **{name: numbers(name, -1) for name in SIZES},
    }
    parts = []
    for name in ("symbol", "source"):
        column = table[name].unify_dictionaries().combine_chunks()
        parts.append((column.dictionary.to_pylist(), np.asarray(column.indices)[order]))
    (symbols, codes), (sources, origins) = parts
    made: Any = (codes, origins, figures)
    return TickBatch(symbols, sources, *made)


def needs_pyarrow(what: str) -> None:
    """Raises `ImportError` naming what to install."""
    needs("pyarrow", what, "arrow")
