"""When the markets of Fyers trade: shares and their derivatives by the calendar, the others from Monday to Friday."""

from collections.abc import Set
from datetime import datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from livetrade.calendars import ZONE, MarketHours

NEW_YORK = ZoneInfo("America/New_York")
HOLIDAYS = "the holidays of currencies and commodities are not known"


class Hours(NamedTuple):
    """From when to when a market trades on its days, in Asia/Kolkata. in_winter: when it closes while New York keeps
    standard time, whose prices the commodities of MCX follow."""

    opens: time
    closes: time
    in_winter: time

    def hold(self, now: datetime) -> bool:
        """Whether they hold at a moment in Asia/Kolkata, on any Monday to Friday."""
        is_summer = bool(now.astimezone(NEW_YORK).dst())
        return now.weekday() < 5 and self.opens <= now.time() < (self.closes if is_summer else self.in_winter)


SHARES = Hours(time(9, 15), time(15, 30), time(15, 30))
CURRENCIES = Hours(time(9), time(17), time(17))
COMMODITIES = Hours(time(9), time(23, 30), time(23, 55))


class Markets:
    """Whether markets trade. doubt: why the last answer is a guess; "" where it is not."""

    def __init__(self, shares: MarketHours) -> None:
        self._shares = shares
        self.doubt = ""

    @property
    def are_known(self) -> bool:
        """Whether there is a calendar."""
        return self._shares.has_calendar

    def prepare(self) -> None:
        """Has the calendar read, if there is none yet; to be called some seconds before anything is asked."""
        self._shares.prepare()

    def are_open(self, which: Set[Hours], now_ns: int) -> bool:
        """True where at least one of them trades at this moment (integer nanoseconds UTC), or may."""
        now = datetime.fromtimestamp(now_ns / 1e9, ZONE)
        if SHARES in which and self._shares.may_be_open(now):
            self.doubt = self._shares.doubt
            return True
        self.doubt = HOLIDAYS
        return any(hours.hold(now) for hours in which - {SHARES})
