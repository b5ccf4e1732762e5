"""When a silent market is an open one: shares by the calendar, currencies and commodities by their usual hours."""

import sys
from datetime import date, datetime

import pytest

from livetrade import calendars
from livetrade.adapters.fyers.hours import COMMODITIES, CURRENCIES, HOLIDAYS, SHARES, Markets
from livetrade.adapters.fyers.symbols import SEGMENTS
from livetrade.calendars import ZONE, MarketHours, TradingCalendar
from tests.adapters.fyers.market import NEVER, in_india
from tests.support import soon

NO_EXTRA = 'holidays are not known: TradingCalendar needs exchange_calendars: pip install "livetrade[calendar]"'


@pytest.fixture(scope="module")
def nse() -> TradingCalendar:
    return TradingCalendar()


@pytest.fixture(scope="module")
def markets(nse: TradingCalendar) -> Markets:
    return Markets(MarketHours(nse))


@pytest.mark.parametrize(
    ("digits", "opens", "closes"),
    [
        ("1010", "09:15", "15:30"),
        ("1011", "09:15", "15:30"),
        ("1210", "09:15", "15:30"),
        ("1211", "09:15", "15:30"),
        ("1012", "09:00", "17:00"),
        ("1212", "09:00", "17:00"),
        ("1020", "09:00", "23:55"),
        ("1120", "09:00", "23:55"),
    ],
)
def test_the_hours_of_a_market(markets: Markets, digits: str, opens: str, closes: str) -> None:
    these = {SEGMENTS[digits].hours}
    monday = "2026-11-23 "
    second = 10**9
    assert [markets.are_open(these, in_india(monday + opens) + shift) for shift in (-second, 0)] == [False, True]
    assert [markets.are_open(these, in_india(monday + closes) + shift) for shift in (-second, 0)] == [True, False]
    assert not markets.are_open(these, in_india("2026-11-28 10:00"))  # a Saturday
    assert not markets.are_open(these, in_india("2026-11-29 10:00"))


@pytest.mark.parametrize(
    ("day", "closes"),
    [("2026-03-06", "23:55"), ("2026-03-09", "23:30"), ("2026-10-30", "23:30"), ("2026-11-02", "23:55")],
)
def test_commodities_close_with_new_york(markets: Markets, day: str, closes: str) -> None:
    moment = in_india(f"{day} {closes}")
    assert markets.are_open({COMMODITIES}, moment - 10**9)
    assert not markets.are_open({COMMODITIES}, moment)


def test_shares_do_not_trade_on_a_holiday_and_do_on_a_special_sunday(markets: Markets) -> None:
    assert not markets.are_open({SHARES}, in_india("2026-01-26 11:00"))  # a Monday
    assert markets.are_open({SHARES}, in_india("2026-02-01 11:00"))  # a Sunday, the budget
    assert markets.doubt == ""


def test_one_open_market_is_enough(markets: Markets) -> None:
    evening = in_india("2026-11-23 20:00")
    assert not markets.are_open({SHARES}, evening)
    assert markets.are_open({SHARES, COMMODITIES}, evening)
    assert not markets.are_open(set(), evening)


def test_the_calendar_of_shares_closes_no_other_market() -> None:
    markets = Markets(MarketHours(NEVER))
    for hours in (CURRENCIES, COMMODITIES):
        assert markets.are_open({SHARES, hours}, in_india("2026-11-23 12:00"))
        assert markets.doubt == HOLIDAYS
    assert not markets.are_open({SHARES}, in_india("2026-11-23 12:00"))


def test_nothing_is_in_doubt_while_shares_surely_trade(markets: Markets) -> None:
    assert markets.are_open({SHARES, COMMODITIES}, in_india("2026-11-23 12:00"))
    assert markets.doubt == ""


# ── what nobody knows ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_day_that_nobody_knows_is_watched_at_the_usual_hours(nse: TradingCalendar) -> None:
    hours = MarketHours(nse)
    year = nse.known_until.year + 20
    workday = next(day for n in range(1, 8) if (day := date(year, 1, n)).weekday() == 2)
    saturday = workday.replace(day=workday.day + 3)
    assert [hours.may_be_open(moment(workday, text)) for text in ("09:14", "09:15", "15:29", "15:30")] == [
        False,
        True,
        True,
        False,
    ]
    assert f"are known, not of {workday}: update exchange_calendars" in hours.doubt
    assert not hours.may_be_open(moment(saturday, "12:00"))
    assert hours.may_be_open(moment(date(2026, 3, 2), "12:00"))
    assert hours.doubt == ""


def test_a_session_whose_hours_nobody_knows_may_be_at_any_time(nse: TradingCalendar) -> None:
    hours, diwali = MarketHours(nse), date(2026, 11, 8)  # a Sunday
    assert all(hours.may_be_open(moment(diwali, text)) for text in ("00:00", "12:00", "18:30", "23:59"))
    assert hours.doubt.startswith(
        "there is a session on 2026-11-08, and its hours are not known: give TradingCalendar("
    )
    told = MarketHours(TradingCalendar({diwali: ("18:00", "19:00")}))
    assert [told.may_be_open(moment(diwali, text)) for text in ("12:00", "18:30")] == [False, True]
    assert told.doubt == ""


def moment(day: date, text: str) -> datetime:
    return datetime.fromisoformat(f"{day} {text}").replace(tzinfo=ZONE)


def test_a_calendar_is_made_behind_whoever_asks(nse: TradingCalendar) -> None:
    hours, holiday = MarketHours(), moment(date(2026, 1, 26), "12:00")
    assert hours.may_be_open(holiday)
    assert hours.doubt == "the calendar is not read yet"
    hours.prepare()
    soon(lambda: not hours.may_be_open(holiday))
    assert hours.doubt == ""


def test_without_the_extra_the_usual_hours_count_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calendars._known_days.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    hours, holiday = MarketHours(), moment(date(2026, 1, 26), "12:00")
    hours.prepare()
    soon(lambda: hours.may_be_open(holiday) and hours.doubt == NO_EXTRA)
    assert not hours.may_be_open(moment(date(2026, 1, 24), "12:00"))  # a Saturday


def test_a_library_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calendars._known_days.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", object())  # type: ignore[arg-type]
    hours = MarketHours()
    hours.prepare()
    soon(lambda: hours.may_be_open(moment(date(2026, 1, 26), "12:00")) and "has no attribute" in hours.doubt)
