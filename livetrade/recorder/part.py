"""The file that grows while an engine runs, until it becomes Parquet: frames that are whole or not there.

A Parquet file can be read once it is complete, and a process may be killed before. So ticks are first appended to a
part: each frame is its kind, its length and its checksum, then `packed_ticks` or instruments as JSON. What a killed
process left behind is read up to the last frame that is whole.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct

from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from livetrade.encoding import VERSION, check_version, encoded
from livetrade.errors import JournalError
from livetrade.journal.rows import TickBatch, packed_ticks, unpacked_ticks
from livetrade.recorder.parquet import packed_instruments, unpacked_instruments

_FRAME = Struct("<cII")
_TICKS, _INSTRUMENTS = b"T", b"I"


class Part:
    """Appends frames. One that fails half-way is cut off again before the next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._end = 0
        self._known: set[str] = set()
        self.ticks = 0

    def append(self, quotes: list[Tick]) -> None:
        """Adds quotes, and what their scales are. Raises `OSError`, and then nothing was added."""
        new = {quote.symbol: quote.instrument for quote in quotes if quote.symbol not in self._known}
        data = _framed(_TICKS, packed_ticks(quotes))
        if new:
            described = encoded({"version": VERSION, "instruments": packed_instruments(new.values())})
            data = _framed(_INSTRUMENTS, described) + data
        os.ftruncate(self._file, self._end)
        _write_all(self._file, data, self._end)
        self._end += len(data)
        self._known |= new.keys()
        self.ticks += len(quotes)

    def close(self) -> None:
        os.close(self._file)


def _framed(kind: bytes, data: bytes) -> bytes:
    return _FRAME.pack(kind, len(data), zlib.crc32(data)) + data


def _write_all(file: int, data: bytes, place: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, place)
        left, place = left[written:], place + written


def read(path: Path, instruments: dict[str, Instrument]) -> Iterator[TickBatch]:
    """The quotes of a part, in order, up to the last frame that is whole; puts what they are of into `instruments`."""
    for kind, data in _frames(path):
        try:
            if kind == _TICKS:
                yield unpacked_ticks(data)
            else:
                told = json.loads(data)
                check_version(told["version"])
                instruments.update(unpacked_instruments(told["instruments"], told["version"]))
        except (ValueError, LookupError, TypeError) as error:
            raise JournalError(f"{path.name} cannot be read: {error}") from error


def _frames(path: Path) -> Iterator[tuple[bytes, bytes]]:
    with path.open("rb") as file:
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            kind, length, check = _FRAME.unpack(head)
            if kind not in (_TICKS, _INSTRUMENTS):
                return
            data = file.read(length)
            if len(data) < length or zlib.crc32(data) != check:
                return
            yield kind, data


def grouped(batches: Iterable[TickBatch], rows: int) -> Iterator[list[TickBatch]]:
    """Batches in lists of at least so many rows, the last one excepted."""
    group: list[TickBatch] = []
    count = 0
    for batch in batches:
        group.append(batch)
        count += len(batch.codes)
        if count >= rows:
            yield group
            group, count = [], 0
    if group:
        yield group
