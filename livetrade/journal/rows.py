"""What stands in the rows: batches of events, and batches of ticks.

A batch of events is the steps that one commit holds: JSON `[version, first, [[ticks, [event, ...]], ...]]`, where
`first` is the sequence number of the first event and `ticks` counts the ticks recorded before a step.

A batch of ticks is a line of JSON `[version, count, symbols, sources]` and, deflated, its columns one after the other.
Beside it stand its marks, JSON `[[ticks, time, {symbol: [low, high, last]}], ...]`: what the ticks up to a step did to
the mark of each symbol (twice the price), which is all that a restart needs of them, and when the last was received.
"""

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence

from livetrade.core import events as ev
from livetrade.core.records import record
from livetrade.core.ticks import Tick
from livetrade.encoding import VERSION, Decoder, Plain, check_version, encoded, plain
from livetrade.errors import JournalError

Marks = dict[str, list[int]]
"""By symbol: the lowest, the highest and the last mark."""


@record
class Step:
    """The events of one step, and how many ticks were recorded before it."""

    ticks: int
    events: Sequence[ev.Event]


def packed_steps(steps: Sequence[Step], first: int) -> bytes:
    batch = [[step.ticks, [plain(event) for event in step.events]] for step in steps]
    return encoded([VERSION, first, batch])


def events_in(batches: Iterable[bytes]) -> Iterator[ev.Event]:
    """The events of batches that follow each other from the first on."""
    decoder = Decoder()
    for data in batches:
        _, first, _ = json.loads(data)
        for step in unpacked_steps(data, first, decoder):
            yield from step.events


def unpacked_steps(data: bytes, first: int, decoder: Decoder) -> Iterator[Step]:
    """The steps of a batch whose first event should have this number. Raises `JournalError`."""
    try:
        version, number, steps = json.loads(data)
        if number != first:
            raise ValueError(f"it begins with event {number}, not {first}")
        pairs: list[tuple[int, list[Plain]]] = [(ticks, list(events)) for ticks, events in steps]
    except (TypeError, ValueError) as error:
        raise JournalError(f"the batch of event {first} cannot be read: {error}") from error
    for ticks, events in pairs:
        yield Step(ticks, [decoder.event(event, version) for event in events])


# ── ticks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_LARGEST = (1 << 63) - 1
FIGURES = ("received_ns", "time_ns", "bid_raw", "ask_raw", "last_raw", "volume_raw", "bid_size_raw", "ask_size_raw")


@record
class Marked:
    """What some ticks in a row did: how many were recorded up to the last, when that was received, and the marks."""

    ticks: int
    last_ns: int
    marks: Marks


def marked(quotes: Sequence[Tick], ticks: int) -> Marked:
    """`ticks` counts all that were recorded up to the last of these."""
    return Marked(ticks, quotes[-1].received_ns, marks_of(quotes))


def packed_marks(parts: Sequence[Marked]) -> bytes:
    return encoded([[part.ticks, part.last_ns, part.marks] for part in parts])


def unpacked_marks(data: bytes) -> list[Marked]:
    """Raises `JournalError`."""
    try:
        return [Marked(ticks, last_ns, marks) for ticks, last_ns, marks in json.loads(data)]
    except (TypeError, ValueError) as error:
        raise JournalError(f"the marks of ticks cannot be read: {error}") from error


def marks_of(quotes: Sequence[Tick]) -> Marks:
    marks: Marks = {}
    for quote in quotes:
        _see(marks, quote.symbol, quote.mark_raw)
    return marks


def _see(marks: Marks, symbol: str, mark: int) -> None:
    seen = marks.get(symbol)
    if not mark:
        return
    if seen is None:
        marks[symbol] = [mark, mark, mark]
    else:
        seen[:] = min(seen[0], mark), max(seen[1], mark), mark


def packed_ticks(quotes: Sequence[Tick]) -> bytes:
    symbols: dict[str, int] = {}
    sources: dict[str, int] = {}
    codes = array("i", [symbols.setdefault(quote.symbol, len(symbols)) for quote in quotes])
    origins = array("i", [sources.setdefault(quote.source, len(sources)) for quote in quotes])
    columns = [array("q", [_shown(quote, name) for quote in quotes]) for name in FIGURES]
    header = encoded([VERSION, len(quotes), list(symbols), list(sources)])
    return header + b"\n" + zlib.compress(b"".join(_little(column) for column in (codes, origins, *columns)), 1)


def _shown(quote: Tick, name: str) -> int:
    """A figure beyond any sense is kept as the largest that a column holds."""
    value: int | None = getattr(quote, name)
    return -1 if value is None else max(-_LARGEST, min(value, _LARGEST))


def _little(column: "array[int]") -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


@record
class TickBatch:
    """Ticks in columns: which of `symbols` and of `sources` each has, and its `figures` by name (-1: not given)."""

    symbols: Sequence[str]
    sources: Sequence[str]
    codes: "array[int]"
    origins: "array[int]"
    figures: "dict[str, array[int]]"


def unpacked_ticks(data: bytes) -> TickBatch:
    """Raises `JournalError`."""
    try:
        header, _, body = data.partition(b"\n")
        version, count, symbols, sources = json.loads(header)
        check_version(version)
        content = memoryview(zlib.decompress(body))
        columns = []
        for kind in "ii" + "q" * len(FIGURES):
            column = array(kind)
            size = count * column.itemsize
            column.frombytes(content[:size])
            content = content[size:]
            if sys.byteorder == "big":
                column.byteswap()
            if len(column) != count:
                raise ValueError(f"a column holds {len(column)} of {count}")
            columns.append(column)
    except (TypeError, ValueError, zlib.error) as error:
        raise JournalError(f"ticks cannot be read: {error}") from error
    return TickBatch(symbols, sources, columns[0], columns[1], dict(zip(FIGURES, columns[2:], strict=True)))


def marks_until(data: bytes, end: int, after: int, until_ns: int) -> Marked:
    """The marks of a batch's ticks received up to `until_ns`. `end` counts all ticks up to the batch's last, `after`
    those that are not asked for any more. Raises `JournalError`."""
    batch = unpacked_ticks(data)
    figures = batch.figures
    first = end - len(batch.codes)
    marks: Marks = {}
    last_ns, ticks = 0, after
    for number in range(max(0, after - first), len(batch.codes)):
        if figures["received_ns"][number] > until_ns:
            break
        last_ns, ticks = figures["received_ns"][number], first + number + 1
        bid, ask, last = (figures[name][number] for name in ("bid_raw", "ask_raw", "last_raw"))
        _see(marks, batch.symbols[batch.codes[number]], 2 * last if last else bid + ask if bid and ask else 0)
    return Marked(ticks, last_ns, marks)
