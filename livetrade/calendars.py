"""When Indian exchanges trade: `lt.TradingCalendar`.

The days come from `exchange_calendars` (its XBOM: BSE, whose holidays NSE shares), which knows them year by year as
they are published; what it misses stands here, by date. A day that nobody knows of is an error and never an open day.
Who watches a market cannot stop at that: `MarketHours` answers for every day, and says where it is in doubt.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import date, datetime, time
from functools import cache
from threading import Lock, Thread
from typing import Any
from zoneinfo import ZoneInfo

from livetrade.columns import needs
from livetrade.core.records import record
from livetrade.errors import CalendarError, OrderError

ZONE = ZoneInfo("Asia/Kolkata")
OPENS, CLOSES = time(9, 15), time(15, 30)

_READING = Lock()  # two at once would read everything twice

Hours = tuple[time, time]
UNKNOWN = "unknown"

SPECIAL: dict[str, Hours | str | None] = {
    # sessions that the library does not know, from secondary sources; UNKNOWN: it is held, and its hours are not known
    "2025-02-01": (OPENS, CLOSES),  # Saturday, the budget
    "2026-02-01": (OPENS, CLOSES),  # Sunday, the budget
    "2026-11-08": UNKNOWN,  # Sunday, Diwali: a session of about an hour, announced shortly before
}


@record
class Session:
    """One day's continuous trading; times are aware, in Asia/Kolkata."""

    day: date
    opens: datetime
    closes: datetime


class TradingCalendar:
    """The sessions of NSE's and BSE's equity segments: 09:15 to 15:30 in Asia/Kolkata, but for the special ones.

    overrides: by day (a date or its ISO text), what you know better: ("18:15", "19:15") for a session with these hours,
    None for a day without one. They also reach past `known_until`. Sessions of about an hour at Diwali before 2026, and
    special ones at weekends before 2025, are not known here: those days read as closed. Needs
    `pip install "livetrade[calendar]"`: raises `ImportError` without.

    Every question raises `CalendarError` for a day before `known_from` or after `known_until`, and for a session whose
    hours are not known.
    """

    def __init__(self, overrides: Mapping[date | str, tuple[str, str] | None] | None = None) -> None:
        with _READING:
            self._days, self.known_from, self.known_until = _known_days()
        self._special = {_day(day): hours for day, hours in SPECIAL.items()}
        self._special |= {_day(day): _hours(day, hours) for day, hours in (overrides or {}).items()}
        special = [day for day, hours in self._special.items() if hours is not None]
        closed = {day for day, hours in self._special.items() if hours is None}
        self._all = sorted({*self._days, *special} - closed)

    def session(self, day: date | str) -> Session | None:
        """The session of a day; None where there is none."""
        when = _day(day)
        self._check_known(when)
        if when not in self._special:
            hours: Hours | str | None = (OPENS, CLOSES) if _has(self._all, when) else None
        else:
            hours = self._special[when]
        if isinstance(hours, str):
            raise CalendarError(
                f"there is a session on {when}, and its hours are not known: give "
                f"TradingCalendar(overrides={{'{when}': ('18:00', '19:00')}}) with the right ones"
            )
        if hours is None:
            return None
        return _session(when, hours)

    def is_session(self, day: date | str) -> bool:
        """Whether there is one on a day, whatever its hours."""
        when = _day(day)
        self._check_known(when)
        return _has(self._all, when)

    def is_open(self, when: datetime) -> bool:
        """Whether the market trades at a moment (at its opening, yes; at its close, no). Naive times are India's."""
        local = _local(when)
        session = self.session(local.date())
        return session is not None and session.opens <= local < session.closes

    def next_session(self, when: datetime | date) -> Session:
        """The first session that opens at or after a moment, or on or after a day."""
        local = _local(when) if isinstance(when, datetime) else datetime.combine(when, time(), ZONE)
        for day in self._from(local.date()):
            session = self.session(day)
            if session is not None and session.opens >= local:
                return session
        raise CalendarError(f"no session after {self.known_until} is known")

    def sessions(self, since: date | str, until: date | str) -> list[Session]:
        """Those from one day to another, both included."""
        first, last = _day(since), _day(until)
        self._check_known(first)
        self._check_known(last)
        days = self._all[bisect_left(self._all, first) : bisect_right(self._all, last)]
        return [session for session in map(self.session, days) if session is not None]

    def lacks_hours(self, day: date | str) -> bool:
        """Whether there is a session on a day, at hours that are not known."""
        return self._special.get(_day(day)) == UNKNOWN

    def _from(self, day: date) -> list[date]:
        self._check_known(day)
        following = self._all[bisect_left(self._all, day) :]
        return [other for other in following if other <= self.known_until or other in self._special]

    def _check_known(self, day: date) -> None:
        if day in self._special or self.known_from <= day <= self.known_until:
            return
        raise CalendarError(
            f"the sessions of {self.known_from} to {self.known_until} are known, not of {day}: update "
            f"exchange_calendars, or give TradingCalendar(overrides={{'{day}': ...}})"
        )

    def __repr__(self) -> str:
        return f"TradingCalendar(known from {self.known_from} to {self.known_until})"


class MarketHours:
    """When Indian shares trade, for who watches or warns and needs an answer for every day.

    It is the calendar's. Without one, and for a day that it does not know, 09:15 to 15:30 from Monday to Friday is
    taken for a session, and a session whose hours are not known may be open at any time of its day: it is better to
    watch a closed market than to sleep through an open one. doubt: why the last answer is no more than that; "" where
    the calendar knows.
    """

    def __init__(self, calendar: TradingCalendar | None = None) -> None:
        if calendar is not None:
            check_calendar(calendar)
        self._calendar = calendar
        self._lacking = "" if calendar is not None else "the calendar is not read yet"
        self.doubt = ""

    @property
    def has_calendar(self) -> bool:
        return self._calendar is not None

    def prepare(self) -> None:
        """Makes a calendar where there is none and the extra is installed. That takes seconds, and so a thread of its
        own (its imports hold up other threads for a tenth of a second); until then the answers are those without."""
        if self._calendar is None:
            Thread(target=self._make_calendar, name="livetrade-calendar", daemon=True).start()

    def _make_calendar(self) -> None:
        try:
            calendar = TradingCalendar()
        except Exception as error:  # noqa: BLE001  a library's edge: a market is watched all the same
            self._lacking = f"holidays are not known: {error}"
        else:
            self._calendar, self._lacking = calendar, ""

    def session(self, day: date) -> Session | None:
        """The session of a day, at the usual hours where nobody knows better."""
        self.doubt = self._lacking
        is_held = day.weekday() < 5
        if self._calendar is not None:
            try:
                return self._calendar.session(day)
            except CalendarError as error:
                self.doubt = str(error)
                is_held = is_held or self._calendar.lacks_hours(day)
        return _session(day, (OPENS, CLOSES)) if is_held else None

    def may_be_open(self, when: datetime) -> bool:
        """Whether shares trade at a moment, or may."""
        local = _local(when)
        session = self.session(local.date())
        if session is None:
            return False
        is_any_time = self._calendar is not None and self._calendar.lacks_hours(session.day)
        return is_any_time or session.opens <= local < session.closes


def check_calendar(calendar: object) -> None:
    """Raises `OrderError` for what is no calendar."""
    if not isinstance(calendar, TradingCalendar):
        raise OrderError(f"calendar must be a TradingCalendar, not {type(calendar).__name__}")


@cache
def _known_days() -> tuple[frozenset[date], date, date]:
    """(days with a session, the first and the last day that the library knows of)."""
    needs("exchange_calendars", "TradingCalendar", "calendar")
    import warnings

    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, of the newest pandas
        kind: Any = exchange_calendars.exchange_calendar_xbom.XBOMExchangeCalendar
        first, last = kind.bound_min(), kind.bound_max()
        calendar = kind(start=first, end=last)
        days = frozenset(session.date() for session in calendar.sessions)
    return days, first.date(), last.date()


def _session(day: date, hours: Hours) -> Session:
    return Session(day, *(datetime.combine(day, at, ZONE) for at in hours))


def _has(days: list[date], day: date) -> bool:
    place = bisect_left(days, day)
    return place < len(days) and days[place] == day


def _day(day: date | str) -> date:
    if isinstance(day, datetime):
        return _local(day).date()
    if isinstance(day, date):
        return day
    try:
        return date.fromisoformat(day)
    except (TypeError, ValueError):
        raise CalendarError(f"a day is a date, or a text such as '2026-03-02', not {day!r}") from None


def _local(when: datetime) -> datetime:
    return when.replace(tzinfo=ZONE) if when.tzinfo is None else when.astimezone(ZONE)


def _hours(day: object, hours: tuple[str, str] | None) -> Hours | None:
    if hours is None:
        return None
    try:
        opens, closes = (time.fromisoformat(text) for text in hours)
    except (TypeError, ValueError):
        raise CalendarError(f"the hours of {day} are such as ('18:00', '19:00'), or None, not {hours!r}") from None
    if opens >= closes:
        raise CalendarError(f"the session of {day} closes before it opens: {hours!r}")
    return opens, closes
