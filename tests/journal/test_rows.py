"""What stands in the rows: it comes back as it was put in, and what is no row is a `JournalError` and nothing else."""

import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.ticks import Tick
from livetrade.encoding import VERSION, Decoder, LaterVersionError
from livetrade.errors import JournalError
from livetrade.journal.rows import (
    FIGURES,
    Marked,
    Step,
    marked,
    marks_until,
    packed_marks,
    packed_steps,
    packed_ticks,
    unpacked_marks,
    unpacked_steps,
    unpacked_ticks,
)
from tests.core.kit import GOLD, SBIN

RAW = st.integers(0, (1 << 63) - 1)
SIZE = st.none() | RAW
SOURCE = st.sampled_from(["", "a", "b\n", "₹"])
TICK = st.builds(Tick, st.sampled_from([SBIN, GOLD]), RAW, RAW, RAW, RAW, RAW, SIZE, SIZE, SIZE, SOURCE)
STEPS = [Step(2, [ev.Halted(1, "x\n"), ev.Resumed(2)]), Step(5, [ev.Halted(3, "₹")])]


@given(st.lists(TICK, min_size=1, max_size=30))
def test_ticks_come_back(quotes: list[Tick]) -> None:
    batch = unpacked_ticks(packed_ticks(quotes))
    assert [batch.symbols[code] for code in batch.codes] == [quote.symbol for quote in quotes]
    assert [batch.sources[origin] for origin in batch.origins] == [quote.source for quote in quotes]
    for name in FIGURES:
        given_ones = [getattr(quote, name) for quote in quotes]
        assert list(batch.figures[name]) == [-1 if value is None else value for value in given_ones]


@given(quotes=st.lists(TICK, min_size=1, max_size=30), cut=st.integers(0, 30), start=st.integers(0, 9))
def test_the_marks_of_some_ticks_of_a_batch(quotes: list[Tick], cut: int, start: int) -> None:
    """Those that were received until a time are found in the batch itself, as if it had ended there."""
    quotes.sort(key=lambda quote: quote.received_ns)
    until_ns = quotes[min(cut, len(quotes) - 1)].received_ns
    wanted = [quote for quote in quotes[start:] if quote.received_ns <= until_ns]
    before = 100
    found = marks_until(packed_ticks(quotes), before + len(quotes), before + start, until_ns)
    assert found == (marked(wanted, before + start + len(wanted)) if wanted else Marked(before + start, 0, {}))


def test_steps_and_marks_come_back() -> None:
    assert list(unpacked_steps(packed_steps(STEPS, 7), 7, Decoder())) == STEPS
    parts = [Marked(3, 10, {"A": [1, 2, 3]}), Marked(4, 11, {})]
    assert unpacked_marks(packed_marks(parts)) == parts


def reads(data: bytes) -> list[Any]:
    """Each way to read a row."""
    return [
        lambda: list(unpacked_steps(data, 7, Decoder())),
        lambda: unpacked_marks(data),
        lambda: unpacked_ticks(data),
        lambda: marks_until(data, 9, 0, 5),
    ]


ROWS = (packed_steps(STEPS, 7), packed_marks([Marked(3, 10, {"A": [1, 2, 3]})]), packed_ticks([Tick(SBIN, 1)] * 3))


@given(row=st.sampled_from(ROWS), cut=st.integers(0, 400), put=st.binary(max_size=6))
def test_what_is_no_row_is_told(row: bytes, cut: int, put: bytes) -> None:
    for read in reads(row[:cut] + put + row[cut + len(put) :]):
        with suppress(JournalError):
            read()


NONSENSE = [
    b"",
    b"[]",
    b"{}",
    b"null",
    b"[1,8,[]]",
    b"[1,7,[[0]]]",
    b"[1,7,[0]]",
    b"[1,7,[[0,5]]]",
    b"\xff",
    b"[1,2]\n",
]


@pytest.mark.parametrize("data", NONSENSE)
def test_what_is_no_batch_is_told(data: bytes) -> None:
    with pytest.raises(JournalError, match=r"the batch of event 7 cannot be read"):
        list(unpacked_steps(data, 7, Decoder()))
    with pytest.raises(JournalError, match="ticks cannot be read"):
        unpacked_ticks(data)


def test_a_column_cut_short_is_told() -> None:
    header, _, body = packed_ticks([Tick(SBIN, 1)] * 3).partition(b"\n")
    for size in (0, 8, 12, 24, 100):
        with pytest.raises(JournalError, match="ticks cannot be read"):
            unpacked_ticks(header + b"\n" + zlib.compress(zlib.decompress(body)[:size]))


def test_ticks_of_a_later_version_are_told() -> None:
    with pytest.raises(LaterVersionError, match="update livetrade"):
        unpacked_ticks(b"[%d,0,[],[]]\n" % (VERSION + 1))
