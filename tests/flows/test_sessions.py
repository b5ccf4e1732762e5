"""An engine on a simulated market that opens and closes."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest

import livetrade as lt
from livetrade.calendars import ZONE
from tests.support import quietly_close, soon

SBIN = "NSE:SBIN-EQ"
Overrides = dict[date | str, tuple[str, str] | None]


def around_today(hours: tuple[str, str] | None) -> Overrides:
    """The same for yesterday, today and tomorrow, for midnight may pass in a test."""
    today = datetime.now(ZONE).date()
    return {today + timedelta(days=days): hours for days in (-1, 0, 1)}


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[lt.LiveTradingEngine]:
    feed = lt.SimulatedFeed(SBIN, ticks_per_second=100, calendar=lt.TradingCalendar(request.param))
    engine = lt.LiveTradingEngine(500_000, feed=feed)
    yield engine
    quietly_close(engine)


OPEN, CLOSED = around_today(("00:00", "23:59:59")), around_today(None)
NEXT = max(day for day in CLOSED if isinstance(day, date)) + timedelta(days=1)


@pytest.mark.parametrize("engine", [OPEN], indirect=True)
def test_in_a_session_it_trades(engine: lt.LiveTradingEngine) -> None:
    soon(lambda: engine.health()["ticks"])
    assert engine.market_buy(SBIN, 10).result(5).success


@pytest.mark.parametrize("engine", [{**CLOSED, NEXT: ("10:00", "11:00")}], indirect=True)
def test_out_of_one_nothing_is_opened_and_the_reason_says_when_it_opens(engine: lt.LiveTradingEngine) -> None:
    soon(lambda: engine.health()["feed"] == "STALE")
    told = f"the simulated market is closed until {NEXT:%A %Y-%m-%d} 10:00"
    assert (engine.health()["feed_reason"], engine.health()["ticks"]) == (told, 0)
    engine.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
    assert engine.market_buy(SBIN, 10).result(5).message == f"Stale price: {told}"


def test_on_a_day_that_its_calendar_does_not_know_the_feed_fails_and_says_so() -> None:
    calendar = lt.TradingCalendar()
    calendar.known_until = date(2000, 1, 3)
    engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed(SBIN, calendar=calendar))
    try:
        soon(lambda: engine.health()["feed"] == "FAILED")
        assert "to 2000-01-03 are known, not of" in engine.health()["feed_reason"]
    finally:
        quietly_close(engine)
