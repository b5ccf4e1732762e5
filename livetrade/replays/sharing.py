"""Ticks for many processes: written once, and mapped into each, so that all of them look at the same memory."""

import mmap
import pickle
from functools import lru_cache
from pathlib import Path

from livetrade.adapters.recorded import RecordedFeed
from livetrade.errors import FeedError

ALIGNED = 64
"""Columns begin at multiples of so many bytes."""


def share(feed: RecordedFeed, folder: Path) -> None:
    """Writes a feed into an empty folder: its columns end to end in one file, all else in another."""
    columns: list[pickle.PickleBuffer] = []
    head = pickle.dumps(feed, protocol=5, buffer_callback=columns.append)
    places = []
    with (folder / "columns").open("wb") as file:
        for column in columns:
            file.write(bytes(-file.tell() % ALIGNED))
            data = column.raw()
            places.append((file.tell(), data.nbytes))
            file.write(data)
        file.write(b"\0")  # an empty file cannot be mapped
    (folder / "head").write_bytes(pickle.dumps((head, places), protocol=5))


@lru_cache(maxsize=4)
def shared(folder: Path) -> RecordedFeed:
    """The feed that was written there; in one process it is read once. Raises `FeedError`."""
    try:
        head, places = pickle.loads((folder / "head").read_bytes())
        with (folder / "columns").open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise FeedError(
            f"the ticks of this sweep cannot be read here ({error}); workers on other machines need a folder that they "
            "all see: sweep(..., folder=...)"
        ) from None
    feed = pickle.loads(head, buffers=[mapped[start : start + size] for start, size in places])
    assert isinstance(feed, RecordedFeed)
    return feed
