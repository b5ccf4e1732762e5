"""The ticks of a journal as a recording: in the order in which its engine took them, at the times when it did."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livetrade.core.instruments import Instrument
from livetrade.encoding import Decoder
from livetrade.errors import JournalError
from livetrade.journal.chain import followed
from livetrade.journal.rows import TickBatch, unpacked_steps, unpacked_ticks
from livetrade.journal.store import EVENTS, TICKS, UNREADABLE, rows_of
from livetrade.journal.verify import reading

if TYPE_CHECKING:
    import pandas as pd

SQLITE = b"SQLite format 3\x00"
_COLUMNS = {"bid": "bid_raw", "ask": "ask_raw", "last": "last_raw"}
_SIZES = {"volume": "volume_raw", "bid_size": "bid_size_raw", "ask_size": "ask_size_raw"}


def is_journal(path: Path) -> bool:
    """Whether a file is one of SQLite."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


def recorded(path: Path) -> "tuple[pd.DataFrame, Sequence[Instrument]]":
    """The ticks, with the columns time (when the engine took them, UTC), symbol, bid, ask, last, volume, bid_size and
    ask_size; and the instruments that the journal knows. Raises `JournalError`."""
    import pandas as pd

    with reading(path) as connection:
        try:
            instruments = _instruments(connection)
            batches = [unpacked_ticks(row.data) for row in followed(TICKS, rows_of(connection, TICKS))]
        except UNREADABLE as error:
            raise JournalError(f"{path} cannot be read: {error}") from error
    if not batches:
        raise JournalError(f"{path.name} has no ticks: its engine had none, or FileJournal(..., ticks=False)")
    return pd.concat([_frame(batch, instruments) for batch in batches], ignore_index=True), tuple(instruments.values())


def _instruments(connection: Any) -> dict[str, Instrument]:
    decoder, seen = Decoder(), 1
    with closing(rows_of(connection, EVENTS)) as rows:
        for _, _, _, _, data in rows:
            for step in unpacked_steps(data, seen, decoder):  # type: ignore[arg-type]
                seen += len(step.events)
    return decoder.instruments


def _frame(batch: TickBatch, instruments: dict[str, Instrument]) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    items = [instruments[symbol] for symbol in batch.symbols]
    codes = np.frombuffer(batch.codes, np.int32)
    figures = {name: np.frombuffer(column, np.int64) for name, column in batch.figures.items()}
    columns: dict[str, Any] = {
        "time": pd.to_datetime(figures["received_ns"], utc=True),
        "symbol": np.array([item.symbol for item in items], dtype=object)[codes],
    }
    steps = 10.0 ** np.array([item.scale for item in items])
    for name, figure in _COLUMNS.items():
        columns[name] = np.where(figures[figure] > 0, figures[figure] / steps[codes], np.nan)
    units = 10.0 ** np.array([item.quantity_scale for item in items])
    for name, figure in _SIZES.items():
        columns[name] = np.where(figures[figure] >= 0, figures[figure] / units[codes], np.nan)
    return pd.DataFrame(columns)
