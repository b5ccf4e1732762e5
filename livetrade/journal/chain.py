"""Rows that name the ones before them: a number without a gap, and a hash over the row and the hash of the one before.

A row that was changed, left out, moved or put in breaks the chain where that happened. What the chain cannot tell is
that rows are missing at its end, so a head beside the journal (`PATH.head`) says how far it had come: a journal that
does not reach its head is damaged. The head is written after each commit and so is never ahead of what was safe.
"""

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from struct import Struct

from livetrade.core.records import record
from livetrade.errors import JournalError

_PLACE = Struct("<sqqq")
_LOOKS = 5


@record
class Link:
    """Where a chain has come: the number of its last row, how many items its rows hold together, and its hash."""

    number: int
    seq: int
    hash: bytes


START = Link(0, 0, bytes(32))


@record
class Row:
    """One row of a table: `seq` counts the items up to its end; `marks` stands beside ticks only."""

    link: Link
    marks: bytes
    data: bytes


def linked(table: bytes, before: Link, count: int, data: bytes, marks: bytes = b"") -> Row:
    """The row that follows `before` and holds so many items."""
    number, seq = before.number + 1, before.seq + count
    place = _PLACE.pack(table, number, seq, len(marks))
    return Row(Link(number, seq, sha256(before.hash + place + marks + data).digest()), marks, data)


class BrokenChainError(JournalError):
    """A row is not the one that belongs here. `before` is the last good link."""

    def __init__(self, message: str, before: Link) -> None:
        super().__init__(message)
        self.before = before


def followed(table: bytes, rows: Iterable[tuple[object, ...]], before: Link = START) -> Iterator[Row]:
    """Rows (number, seq, hash, marks, data) as they were read, each checked against the one before it.

    Raises `BrokenChainError` at the first that does not follow.
    """
    for number, seq, digest, marks, data in rows:
        if number != before.number + 1:
            raise BrokenChainError(f"row {before.number + 1} is missing", before)
        if not (isinstance(seq, int) and isinstance(marks, bytes) and isinstance(data, bytes) and seq >= before.seq):
            raise BrokenChainError(f"row {number} is not readable", before)
        row = linked(table, before, seq - before.seq, data, marks)
        if row.link.hash != digest:
            raise BrokenChainError(f"row {number} was changed, or does not follow the one before it", before)
        yield row
        before = row.link


# ── the head ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class Head:
    """How far the chains of events and of ticks had come at the last commit."""

    events: Link
    ticks: Link


class HeadFile:
    """One line of fixed length in a file of its own, written in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, head: Head) -> None:
        text = " ".join(f"{link.number:020d} {link.seq:020d} {link.hash.hex()}" for link in (head.events, head.ticks))
        line = f"{text} {_sum(text)}\n".encode()
        os.pwrite(self._file, line, 0)

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def read_head(path: Path) -> Head | None:
    """What a head says; None where there is none, or only the empty file that it begins as.

    It may be in the middle of being written, so one look is not the last word. Raises `JournalError` for a head that
    cannot be read.
    """
    for _ in range(_LOOKS):
        try:
            line = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"its head {path.name} cannot be read: {error}") from error
        head = _head_in(line)
        if head is not None or not line:
            return head
    raise JournalError(f"its head {path.name} cannot be read: it does not add up")


def _head_in(line: bytes) -> Head | None:
    text, _, check = line.decode("ascii", "replace").rpartition(" ")
    if check != f"{_sum(text)}\n":
        return None
    words = text.split(" ")
    events, ticks = (Link(int(n), int(s), bytes.fromhex(h)) for n, s, h in (words[:3], words[3:]))
    return Head(events, ticks)


def _sum(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
