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
_PAGES = frozenset(1 << power for power in range(9, 17))


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
    magic: int
    page: int
    magic, _, page, _, *salt = _HEADER.unpack(header)[:6]
    if magic & ~1 != _MAGIC or page not in _PAGES:
        return 0
    start, step = _HEADER.size, _FRAME.size + page
    frames = list(_frames(file, step, salt))
    end = start + len(frames) * step
    written = size if size < end + _FRAME.size else end
    for number in range(len(frames), 0, -1):
        if frames[number - 1] and _is_whole(file, start + (number - 1) * step, page, magic & 1):
            return written - start - number * step
    return written - start


def _frames(file: int, step: int, salt: list[int]) -> Iterator[bool]:
    """Whether it ends a commit, of each frame of this log; what an older log left behind has another salt."""
    place = _HEADER.size
    while len(head := os.pread(file, _FRAME.size, place)) == _FRAME.size:
        _, pages, *its_salt = _FRAME.unpack(head)[:4]
        if its_salt != salt:
            return
        yield pages > 0
        place += step


def _is_whole(file: int, place: int, page: int, big_endian: int) -> bool:
    """Does the frame's checksum hold? It goes on from that of the frame before, or of the header."""
    before = os.pread(file, 8, place - page - 8) if place > _HEADER.size else os.pread(file, 8, 24)
    content = os.pread(file, _FRAME.size + page, place)
    if len(content) < _FRAME.size + page:
        return False
    first, second = unpack(">2I", before)
    words = unpack(f"{'>' if big_endian else '<'}{(8 + page) // 4}I", content[:8] + content[_FRAME.size :])
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return (first, second) == unpack(">2I", content[16:24])
