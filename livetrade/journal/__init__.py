"""Where events are kept: in memory (`base`), or in a file that outlives the process (`file`, loaded on demand)."""

from livetrade.journal.base import Journal, MemoryJournal

__all__ = ["Journal", "MemoryJournal"]
