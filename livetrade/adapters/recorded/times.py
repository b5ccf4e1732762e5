"""Times of recordings: what is read as one, the zone of those that tell none, and periods of them."""

import re
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from livetrade.core import numbers
from livetrade.errors import FeedError, OrderError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_OFFSET = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$")


def parsed(column: "pd.Series[Any]", name: str) -> "pd.DatetimeIndex":
    """Nanoseconds: naive, or in the zone that they tell (several offsets: UTC). Raises `FeedError`."""
    import pandas as pd

    kind = getattr(column.dtype, "kind", "O")
    if len(column) and kind in "iufb":
        raise FeedError(f"{name} has numbers for times; make them datetimes, such as pd.to_datetime(..., unit='s')")
    try:
        # several offsets, as around a change to summer time, are one time line
        offsets = kind != "M" and all(isinstance(time, str) and _OFFSET.search(time) for time in column)
        times = pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601", utc=offsets)).as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        told = str(error).partition(". ")[0].partition("\n")[0]
        raise FeedError(f"{name} has times that are neither datetimes nor ISO 8601: {told}") from error
    if times.hasnans:
        raise FeedError(f"{name} has no time in row {int(times.isna().argmax())}")
    return times


def in_utc(times: "pd.DatetimeIndex") -> "pd.DatetimeIndex":
    """The times in UTC; naive ones stay as they are."""
    return times if times.tz is None else times.tz_convert("UTC")


def localized(times: "pd.DatetimeIndex", zone: tzinfo, name: str) -> "pd.DatetimeIndex":
    """The times in `zone`; naive ones are meant there."""
    if times.tz is not None:
        return times.tz_convert(zone)
    try:
        return times.tz_localize(zone)
    except ValueError as error:
        raise FeedError(f"{name} has a naive time that {zone} does not have just once: {error}") from error


def zone_named(timezone: str | tzinfo) -> tzinfo:
    return timezone if isinstance(timezone, tzinfo) else numbers.zone_named(timezone)


class Period:
    """From start to end, both included; a date without a time is the whole day, and None has no bound."""

    def __init__(self, start: datetime | date | str | None, end: datetime | date | str | None, zone: tzinfo) -> None:
        self.first = None if start is None else _stamp(start, zone, "start")
        self.last, self._before = None if end is None else _stamp(end, zone, "end"), False
        if self.last is not None and _is_day(end):
            self.last, self._before = _day_after(self.last), True

    def has(self, times: "pd.DatetimeIndex") -> "NDArray[np.bool_] | None":
        """Which of the aware times it includes; None for all of them."""
        keep = None
        if self.first is not None:
            keep = times >= self.first
        if self.last is not None:
            before = times < self.last if self._before else times <= self.last
            keep = before if keep is None else keep & before
        return keep

    def meets(self, first_ns: int, last_ns: int) -> bool:
        """Whether some time between these two may be in it."""
        return (self.last is None or first_ns <= self.last.value) and (
            self.first is None or last_ns >= self.first.value
        )


def _is_day(when: datetime | date | str | None) -> bool:
    return ":" not in when if isinstance(when, str) else not isinstance(when, datetime)


def _day_after(day: "pd.Timestamp") -> "pd.Timestamp":
    import pandas as pd

    return day + pd.DateOffset(days=1)


def _stamp(when: datetime | date | str, zone: tzinfo, what: str) -> "pd.Timestamp":
    import pandas as pd

    try:
        stamp = pd.Timestamp(when)
        return (stamp.tz_localize(zone) if stamp.tz is None else stamp).as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        raise OrderError(f"{what} is not a time: {when!r} ({error})") from None
