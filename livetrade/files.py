"""DataFrames into files: Excel, Parquet and CSV, each whole or not there."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livetrade.columns import needs
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import pandas as pd


def export(path: str | os.PathLike[str], frames: Mapping[str, "pd.DataFrame"]) -> list[Path]:
    """Writes frames by the suffix of `path` and returns the files written; a file is whole or not there.

    `.xlsx`: a sheet for each frame, times without zone, their zone in the header. `.parquet` and `.csv`: a single frame
    into `path`, several into files beside each other that end in their names (`out_orders.csv`).

    Raises `OrderError` for any other suffix and a folder that is not there, `ImportError` naming what to install.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise OrderError(f"export writes .xlsx, .parquet or .csv, not {target.name!r}")
    if not frames:
        raise OrderError("there is nothing to export")
    if not target.parent.is_dir():
        raise OrderError(f"there is no folder {str(target.parent)!r} to export to")
    parts = {target: frames}
    if suffix != ".xlsx" and len(frames) > 1:
        parts = {target.with_name(f"{target.stem}_{name}{target.suffix}"): {name: frames[name]} for name in frames}
    from uuid import uuid4  # pulls in more than the rest of this module

    staged = {place.with_name(f".{place.name}.{uuid4().hex}.tmp"): place for place in parts}
    try:
        for draft, place in staged.items():
            _WRITERS[suffix](draft, parts[place])
        for draft, place in staged.items():
            draft.replace(place)
    finally:
        for draft in staged:
            draft.unlink(missing_ok=True)
    return list(parts)


def _write_csv(path: Path, frames: Mapping[str, "pd.DataFrame"]) -> None:
    for frame in frames.values():
        frame.to_csv(path, index=frame.index.name is not None)


def _write_parquet(path: Path, frames: Mapping[str, "pd.DataFrame"]) -> None:
    needs("pyarrow", "a .parquet file", "arrow")
    for frame in frames.values():
        frame.to_parquet(path, engine="pyarrow")


def _write_excel(path: Path, frames: Mapping[str, "pd.DataFrame"]) -> None:
    needs("openpyxl", "an .xlsx file", "excel")
    from openpyxl import Workbook
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    for name, frame in frames.items():
        if len(frame) >= _SHEET_ROWS:
            raise OrderError(f"{name}: {len(frame):,} rows do not fit in a sheet; export to .parquet or .csv")
        table = frame if frame.index.name is None else frame.reset_index()
        headers = [_header(table[column]) for column in table]
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "B2"
        for number, header in enumerate(headers, start=1):
            sheet.column_dimensions[get_column_letter(number)].width = max(14, len(header) + 2)
        sheet.append(headers)
        for row in zip(*(_cells(table[column], sheet) for column in table), strict=True):
            sheet.append(row)
    book.save(path)


_SHEET_ROWS = 1_048_576


def _header(column: "pd.Series[Any]") -> str:
    zone = getattr(column.dtype, "tz", None)
    return str(column.name) if zone is None else f"{column.name} ({zone})"


def _cells(column: "pd.Series[Any]", sheet: Any) -> list[Any]:
    """What openpyxl writes for a column: nothing where nothing is known, times without zone, text as text."""
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        naive = column.dt.tz_localize(None).dt.floor("us")
        return [None if when is pd.NaT else _timed(when.to_pydatetime(), sheet) for when in naive]
    values = [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]
    return [_guarded(value, sheet) if isinstance(value, str) else value for value in values]


def _timed(when: datetime, sheet: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, when)
    cell.number_format = "yyyy-mm-dd hh:mm:ss.000"
    return cell


def _guarded(text: str, sheet: Any) -> Any:
    """Text that a spreadsheet would take for a formula or an error stays text."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    text = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)
    if not text.startswith(("=", "+", "-", "@", "#", "\t", "\r")):
        return text
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    cell.quotePrefix = True
    return cell


_WRITERS: dict[str, Callable[[Path, Mapping[str, "pd.DataFrame"]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xlsx": _write_excel,
}
