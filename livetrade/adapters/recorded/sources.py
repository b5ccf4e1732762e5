"""What ticks are read from: a DataFrame, a file, a folder of recordings, a journal."""

import zlib
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from livetrade.adapters.recorded.bars import OHLC, length_of
from livetrade.adapters.recorded.table import FIGURES, Table, of_frame
from livetrade.adapters.recorded.times import Period
from livetrade.core.instruments import check_symbol
from livetrade.errors import FeedError
from livetrade.journal import Journal

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = "str | PathLike[str] | pd.DataFrame | Journal"

MISSING_IN_CSV = ["", "NaN", "nan", "NA", "N/A", "<NA>", "null", "NULL", "None"]
_FILES = (".parquet", ".csv", ".csv.gz")
_SQLITE = b"SQLite format 3\0"


def table_of(
    source: Source,
    symbol: str | None,
    bars: object = None,
    period: Period | None = None,
    otherwise: str | None = None,
) -> Table:
    """The table of a source. period: what is asked for of it; files of a folder that have nothing of that are not read.
    otherwise: the symbol of one that names none.

    Raises `FeedError`, `OrderError`."""
    import pandas as pd

    from livetrade.adapters.recorded import kept  # with all of a journal behind it

    for each in (symbol, otherwise):
        if each is not None:
            check_symbol(each)
    length = length_of(bars)
    if isinstance(source, pd.DataFrame):
        return of_frame(source, "the DataFrame", symbol, length, otherwise)
    path = _path(source)
    table = kept.quotes_in(path, symbol, period)
    if table is None:
        frame = _loaded(path)
        return of_frame(frame, path.name, symbol, length, otherwise)
    if length is not None:
        raise FeedError(f"{table.name} has ticks; bars=... is for open, high, low and close")
    return table


def _path(source: object) -> Path:
    given = getattr(source, "path", None) if isinstance(source, Journal) else source
    if given is None and source is not None:
        raise FeedError(f"{source!r} keeps no ticks; a journal in a file does")
    if not isinstance(given, str | PathLike):
        raise FeedError(f"ticks come from a path or a DataFrame, not from {type(source).__name__}")
    path = Path(fspath(given)).expanduser()
    if not (path.is_dir() or path.name.endswith(_FILES) or (path.is_file() and _is_sqlite(path))):
        raise FeedError(
            f"{path.name}: unknown suffix; ticks are read from .parquet, .csv and .csv.gz, from a folder of recordings "
            "and from a journal"
        )
    if not path.exists():
        raise FeedError(f"{path}: no such file")
    return path


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _loaded(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except ImportError:
        raise FeedError(f"{path.name}: reading Parquet needs pyarrow: pip install 'livetrade[arrow]'") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise FeedError(f"{path.name} cannot be read: {error}") from error
    if frame.empty:
        raise FeedError(f"{path.name} has no ticks")
    return frame


def _csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(
        path,
        dtype={"symbol": str, "source": str},
        keep_default_na=False,  # a symbol may well be called NA
        na_values=dict.fromkeys((*FIGURES, *OHLC), MISSING_IN_CSV),
        low_memory=False,
    )
