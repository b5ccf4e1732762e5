"""Where events are kept: in memory (`MemoryJournal`), or in a file that outlives the process (`FileJournal`)."""

from livetrade.journal.base import Journal, MemoryJournal
from livetrade.journal.file import FileJournal

__all__ = ["FileJournal", "Journal", "MemoryJournal"]
