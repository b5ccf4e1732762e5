"""Which rows of a recording are later than all before of their symbol, whatever the parts that they come in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livetrade.adapters.recorded import Part
from livetrade.replays.source import _Known

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 3)), min_size=1, max_size=30)


@given(ROWS, st.integers(1, 10))
def test_a_row_is_plain_where_it_is_later_than_all_before_of_its_symbol(
    rows: list[tuple[int, int]], length: int
) -> None:
    codes = np.array([code for code, _ in rows])
    times = np.cumsum([step for _, step in rows])
    known, plain = _Known(3), []
    for first in range(0, len(rows), length):
        part = slice(first, first + length)
        raw = {"last": np.ones(len(codes[part]), dtype=np.int64)}
        plain += known.plain(Part(codes[part], times[part], raw, {}, None)).tolist()
    latest: dict[int, int] = {}  # by symbol
    now = min(times)
    for code, time, is_plain in zip(codes.tolist(), times.tolist(), plain, strict=True):
        assert is_plain == (time > latest.get(code, time - 1))
        now = max(now, time)  # a row that runs backward is played now
        latest[code] = now
