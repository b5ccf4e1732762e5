"""Columns of raw integers, codes and texts -> the columns of a DataFrame, exactly or as floats.

`exact` decides what a number is: False gives `float64` (NaN where unknown), True gives `Decimal` objects (None where
unknown), "arrow" gives Arrow decimals with 18 decimals (a column that those cannot hold gets 30 decimals in 256 bits).
pandas, NumPy and pyarrow load with the first frame, not with this module.
"""

import math
from array import array
from collections.abc import Iterable, Mapping
from datetime import timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from livetrade.core.history import Amounts, Money, Text, Texts
from livetrade.core.numbers import MONEY_ONE, at, money, to_decimal
from livetrade.core.records import record
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

T = TypeVar("T")

Kind = Literal["text", "number", "count", "time"] | type[StrEnum]
Schema = dict[str, Kind]
Exact = bool | Literal["arrow"]
Freq = str | float | timedelta
"""A pandas frequency such as "1min", or seconds."""
Columns = Mapping[str, Any]
"""Columns by name, of equal length: `Text`, `Money`, `RawMoney`, typed arrays, or plain lists."""


@record
class View:
    """How a read looks at the account: its time zone, the last event it saw, and when (nanoseconds UTC)."""

    zone: tzinfo
    seq: int
    as_of: int


@record
class Scaled:
    """A column of raw integers on one decimal scale, or on one for each row; `unknown` stands for no number."""

    raws: Any
    scales: Any
    unknown: int | None = None


@record
class RawMoney:
    """A column of raw money that hardly repeats."""

    raws: list[int]


def money_column(raws: Iterable[int]) -> Money:
    known = Amounts()
    return Money(array("i", [known[raw] for raw in raws]), known, len(known))


def text_column(data: Text | list[str]) -> Text:
    if isinstance(data, Text):
        return data
    known = Texts()
    return Text(array("i", [known[text] for text in data]), known, len(known))


def repeated_text(text: str, rows: int) -> Text:
    known = Texts()
    return Text(array("i", [known[text]]) * rows, known, 1)


@cache
def _categories(kind: type[StrEnum]) -> "pd.CategoricalDtype":
    import pandas as pd

    return pd.CategoricalDtype([member.value for member in kind])


class Maker:
    """Makes the columns of one frame, of the chosen rows (None: all)."""

    def __init__(self, view: View, exact: Exact, rows: "Array | None" = None) -> None:
        if exact not in (False, True, "arrow"):
            raise OrderError(f'exact must be False, True or "arrow", not {exact!r}')
        self.view = view
        self.exact = exact
        self.rows = rows
        if exact == "arrow":
            needs("pyarrow", 'exact="arrow"', "arrow")

    def frame(self, schema: Schema, columns: Columns, index: "str | pd.DatetimeIndex | None") -> "pd.DataFrame":
        """The frame; its index is one of the columns (a time or a text), a ready one, or the number of the row."""
        import pandas as pd

        made = {name: self.column(kind, columns[name]) for name, kind in schema.items()}
        frame = pd.DataFrame(made, index=self.index(columns, index), copy=False)
        frame.attrs = {"seq": self.view.seq, "as_of": at(self.view.as_of, self.view.zone).isoformat()}
        return frame

    def index(self, columns: Columns, index: "str | pd.DatetimeIndex | None") -> "pd.Index[Any] | None":
        import pandas as pd

        if not isinstance(index, str):
            return index
        values = self.times(columns[index]) if index == "time" else self.text(columns[index])
        return pd.Index(values, name=index, copy=False)

    def column(self, kind: Kind, data: Any) -> Any:
        if kind == "number":
            return self.number(data)
        if kind == "text":
            return self.text(data)
        if kind == "count":
            return self.pick(data).astype("int64")
        if kind == "time":
            return self.times(data).array
        return self.category(kind, data)

    def pick(self, data: Any) -> Any:
        """The chosen rows of a column of numbers; it may be the column's own memory."""
        import numpy as np

        numbers = np.asarray(data, dtype=None if len(data) else getattr(data, "typecode", np.int64))
        return numbers if self.rows is None else numbers[self.rows]

    def times(self, data: Any) -> "pd.DatetimeIndex":
        import numpy as np
        import pandas as pd

        ns = self.pick(data).astype(np.int64)  # a copy
        if not ns.all():
            ns[ns == 0] = pd.NaT.value
        return pd.DatetimeIndex(ns, dtype=pd.DatetimeTZDtype("ns", self.view.zone), copy=False)

    def category(self, kind: type[StrEnum], data: Any) -> "pd.Categorical":
        import pandas as pd

        if isinstance(data, list):
            numbers: dict[str, int] = {member: number for number, member in enumerate(kind)}
            numbers[""] = -1  # no category
            data = array("b", [numbers[member] for member in data])
        return pd.Categorical.from_codes(self.pick(data).copy(), dtype=_categories(kind), validate=False)

    def text(self, data: Text | list[str]) -> Any:
        import numpy as np
        import pandas as pd

        column = text_column(data)
        codes = self.pick(column.codes)
        dtype = pd.StringDtype(na_value=np.nan)  # what "str" means; kept by pyarrow where that is installed
        if dtype.storage == "pyarrow":
            return dtype.__from_arrow__(_arrow_text(column, codes))  # type: ignore[attr-defined]
        texts = pd.array(np.array(column.distinct, dtype=object), dtype=dtype)
        return texts if _in_order(codes, column.count) else texts.take(codes)

    def number(self, data: "Scaled | Money | RawMoney | list[Decimal | None]") -> Any:
        import numpy as np

        if isinstance(data, Scaled):
            return self._scaled(data)
        if isinstance(data, Money):
            return self._money(data)
        if isinstance(data, RawMoney):
            return self._raw_money(data)
        values = self._chosen(data)
        if self.exact:
            return self._exactly(values, np.arange(len(values)))
        return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)

    def _chosen(self, data: list[T]) -> list[T]:
        import numpy as np

        return data if self.rows is None else np.array(data, dtype=object)[self.rows].tolist()

    def _raw_money(self, data: RawMoney) -> Any:
        import numpy as np

        raws = self._chosen(data.raws)
        if self.exact:
            return self._exactly([money(raw) for raw in raws], np.arange(len(raws)))
        return np.array([raw / MONEY_ONE for raw in raws], dtype=np.float64)

    def _money(self, data: Money) -> Any:
        import numpy as np

        codes = self.pick(data.codes)
        if not self.exact:
            return np.asarray(data.floats)[codes]
        raws = data.distinct
        if len(codes) < len(raws):
            used, codes = np.unique(codes, return_inverse=True)
            raws = [raws[code] for code in used]
        return self._exactly([None if raw is None else money(raw) for raw in raws], codes)

    def _scaled(self, data: Scaled) -> Any:
        import numpy as np

        raws, scales = self.pick(data.raws), self._scales(data)
        if self.exact:
            return self._exactly(*_coded(raws, scales, data.unknown))
        numbers = raws / np.array([10.0**scale for scale in range(20)])[scales]
        if data.unknown is not None:
            numbers[raws == data.unknown] = np.nan
        return numbers

    def _scales(self, data: Scaled) -> Any:
        """The scale, when all chosen rows have the same one; else the scale of each."""
        if isinstance(data.scales, int):
            return data.scales
        scales = self.pick(data.scales)
        return int(scales[0]) if len(scales) and (scales == scales[0]).all() else scales

    def _exactly(self, values: list[Decimal | None], codes: "Array") -> Any:
        """The column that holds values[codes]."""
        import numpy as np
        import pandas as pd

        if self.exact == "arrow":
            return pd.arrays.ArrowExtensionArray(_arrow_decimals(values).take(codes))
        return np.full(len(codes), values[0], object) if len(values) == 1 else np.array(values, dtype=object)[codes]


def _coded(raws: "Array", scales: Any, unknown: int | None) -> "tuple[list[Decimal | None], Array]":
    """The distinct numbers of a column, and which of them stands in each row."""
    import numpy as np

    if isinstance(scales, int):
        distinct, codes = _distinct(raws)
        return [None if raw == unknown else to_decimal(raw, scales) for raw in distinct.tolist()], codes
    values: list[Decimal | None] = []
    codes = np.empty(len(raws), dtype=np.int64)
    for scale in np.unique(scales).tolist():
        there = scales == scale
        there_values, there_codes = _coded(raws[there], scale, unknown)
        codes[there] = there_codes + len(values)
        values += there_values
    return values, codes


def _distinct(raws: "Array") -> "tuple[Array, Array]":
    """The distinct integers, and the number of each row's."""
    import numpy as np
    import pandas as pd

    low, high = (int(raws.min()), int(raws.max())) if len(raws) else (0, 0)
    if high - low > 4 * len(raws):
        codes, distinct = pd.factorize(raws)
        return distinct, codes
    above = raws - low
    seen = np.zeros(high - low + 1, dtype=bool)
    seen[above] = True
    return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[above]


def _in_order(codes: "Array", count: int) -> bool:
    import numpy as np

    return len(codes) == count and bool((codes == np.arange(count)).all())


def _arrow_text(column: Text, codes: "Array") -> Any:
    """An Arrow array of the texts; one text in every row, and every row its own text, need no looking up."""
    import numpy as np
    import pyarrow as pa

    def made(data: bytearray, ends: Any) -> Any:
        return pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(data))

    data, ends = column.utf8
    rows = len(codes)
    if rows and (codes == codes[0]).all():
        text = data[ends[codes[0]] : ends[codes[0] + 1]]
        return made(text * rows, np.arange(rows + 1) * len(text))
    return made(data, ends) if _in_order(codes, column.count) else made(data, ends).take(pa.array(codes))


def _arrow_decimals(values: list[Decimal | None]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values, pa.decimal128(38, 18))
    except pa.ArrowInvalid:
        return pa.array(values, pa.decimal256(76, 30))


def frequency(freq: Any) -> Any:
    """A pandas offset, longer than nothing, from what pandas takes for one, or seconds. Raises `OrderError`."""
    from pandas.tseries.frequencies import to_offset

    is_seconds = isinstance(freq, int | float) and not isinstance(freq, bool)
    try:
        offset: Any = to_offset(timedelta(seconds=freq) if is_seconds else freq)
        if offset is not None and offset.n > 0:
            return offset
    except (ValueError, TypeError, OverflowError):
        pass
    raise OrderError(f"freq must be a pandas frequency such as '1min', '15min' or '1D', not {freq!r}")


def needs(package: str, what: str, extra: str) -> None:
    try:
        import_module(package)
    except ImportError:
        raise ImportError(f'{what} needs {package}: pip install "livetrade[{extra}]"') from None
