"""Recorded ticks as a feed: from Parquet, CSV, a DataFrame, bars, a folder of recordings, or a journal.

What a user gave wrongly (a missing file or column, times that cannot be read) raises at once. What is wrong with one
row of many is counted by its reason, and the rest goes on.
"""

from livetrade.adapters.recorded.feed import RecordedFeed
from livetrade.adapters.recorded.reading import read_ticks
from livetrade.adapters.recorded.rows import CHUNK, Part
from livetrade.adapters.recorded.table import FIGURES, PRICES, SIZES

__all__ = ["CHUNK", "FIGURES", "PRICES", "Part", "RecordedFeed", "SIZES", "read_ticks"]
