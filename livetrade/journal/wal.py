"""SQLite's log beside a journal, looked at before SQLite cleans it up: did a write stop half-way?

The layout is that of SQLite's file format, section 4 (The Write-Ahead Log): a header of 32 bytes, then frames of 24
bytes and a page. A frame belongs to the log while it repeats the header's salt; one with a database size ends a commit.
Each frame carries a checksum over the one before it and its own content.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, unpack

_HEADER = Struct(">8I")
_FRAME = Struct(">6I")
_MAGIC = 0x377F0682
_LAST_FRAMES = 64


def torn_bytes(path: Path) -> int:
    """How many bytes of the log belong to a write that was never committed; 0 where there is none, or no log."""
    try:
        with path.open("rb") as log:
            return _torn(log.read(_HEADER.size), log.fileno(), os.fstat(log.fileno()).st_size)
    except OSError:
        return 0


def _torn(header: bytes, file: int, size: int) -> int:
    if len(header) < _HEADER.size:
        return len(header)
    magic, _, page, _, *salt = _HEADER.unpack(header)[:6]
    if magic & ~1 != _MAGIC:
        return 0
    step = _FRAME.size + page
    committed, written = _HEADER.size, _HEADER.size
    for place, frame in _frames(file, step, salt):
        written = min(place + step, size)
        if frame[1] and place + step <= size and _is_whole(file, place, page, magic & 1):
            committed = written
    return written - committed


def _frames(file: int, step: int, salt: list[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The place and the header of each frame of this log; what an older log left behind has another salt."""
    place = _HEADER.size
    while len(head := os.pread(file, _FRAME.size, place)) == _FRAME.size:
        frame = _FRAME.unpack(head)
        if list(frame[2:4]) != salt:
            return
        yield place, frame
        place += step


def _is_whole(file: int, place: int, page: int, big_endian: int) -> bool:
    """Does the frame's checksum hold? It goes on from that of the frame before, or of the header."""
    before = os.pread(file, 8, place - page - 8) if place > _HEADER.size else os.pread(file, 8, 24)
    content = os.pread(file, _FRAME.size + page, place)
    first, second = unpack(">2I", before)
    words = unpack(f"{'>' if big_endian else '<'}{(8 + page) // 4}I", content[:8] + content[_FRAME.size :])
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return (first, second) == unpack(">2I", content[16:24])
