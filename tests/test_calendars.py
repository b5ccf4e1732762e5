"""When Indian exchanges trade, and what nobody knows yet."""

from datetime import UTC, date, datetime, timedelta

import pytest

import livetrade as lt
from livetrade.calendars import ZONE, TradingCalendar


@pytest.fixture(scope="module")
def nse() -> TradingCalendar:
    return lt.TradingCalendar()


def test_a_weekday_is_a_session_from_quarter_past_nine_to_half_past_three(nse: TradingCalendar) -> None:
    session = nse.session("2026-03-02")
    assert session is not None
    assert session.opens == datetime(2026, 3, 2, 3, 45, tzinfo=UTC)
    assert session.closes == datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
    assert session.opens.tzinfo is ZONE


@pytest.mark.parametrize("day", ["2026-02-28", "2026-01-26", "2026-11-10", "2025-12-25", date(2026, 3, 1)])
def test_weekends_and_holidays_have_none(nse: TradingCalendar, day: str) -> None:
    assert nse.session(day) is None
    assert not nse.is_session(day)


def test_sunday_sessions_that_the_library_misses(nse: TradingCalendar) -> None:
    budget = nse.session("2026-02-01")
    assert budget is not None
    assert (budget.opens.hour, budget.closes.hour) == (9, 15)
    assert nse.is_session("2026-11-08")
    with pytest.raises(lt.CalendarError, match="there is a session on 2026-11-08, and its hours are not known"):
        nse.session("2026-11-08")
    with pytest.raises(lt.CalendarError, match="hours are not known"):
        nse.is_open(datetime(2026, 11, 8, 18, 30, tzinfo=ZONE))
    mine = TradingCalendar({"2026-11-08": ("18:00", "19:00")})
    assert mine.is_open(datetime(2026, 11, 8, 18, 30, tzinfo=ZONE))
    assert not mine.is_open(datetime(2026, 11, 8, 12, 0, tzinfo=ZONE))


def test_open_at_its_opening_and_closed_at_its_close(nse: TradingCalendar) -> None:
    session = nse.session("2026-03-02")
    assert session is not None
    assert nse.is_open(session.opens)
    assert not nse.is_open(session.opens - timedelta(microseconds=1))
    assert nse.is_open(session.closes - timedelta(microseconds=1))
    assert not nse.is_open(session.closes)
    assert nse.is_open(datetime(2026, 3, 2, 12, 0))  # noqa: DTZ001  India's, where no zone is given
    assert nse.is_open(datetime(2026, 3, 2, 6, 30, tzinfo=UTC))


def test_past_the_last_known_year_is_an_error_and_never_an_open_day(nse: TradingCalendar) -> None:
    beyond = nse.known_until + timedelta(days=1)
    asked = [
        lambda: nse.session(beyond),
        lambda: nse.is_session(beyond),
        lambda: nse.is_open(datetime(beyond.year, beyond.month, beyond.day, 12, tzinfo=ZONE)),
        lambda: nse.sessions("2026-12-01", beyond),
        lambda: nse.next_session(beyond),
        lambda: nse.session(nse.known_from - timedelta(days=1)),
    ]
    for question in asked:
        with pytest.raises(lt.CalendarError, match="are known, not of"):
            question()
    end = datetime(nse.known_until.year, 12, 31, 23, tzinfo=ZONE)
    with pytest.raises(lt.CalendarError, match=f"no session after {nse.known_until} is known"):
        nse.next_session(end)


def test_every_day_of_a_known_year_has_an_answer(nse: TradingCalendar) -> None:
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(365)]
    open_days = [day for day in days if nse.session(day)]
    assert open_days == [session.day for session in nse.sessions("2025-01-01", "2025-12-31")]
    assert 240 <= len(open_days) <= 252
    assert date(2025, 2, 1) in open_days  # a Saturday, the budget


def test_the_next_session(nse: TradingCalendar) -> None:
    friday = datetime(2026, 2, 27, 9, 15, tzinfo=ZONE)
    assert nse.next_session(friday).day == date(2026, 2, 27)
    assert nse.next_session(friday + timedelta(seconds=1)).day == date(2026, 3, 2)
    assert nse.next_session(date(2026, 1, 24)).day == date(2026, 1, 27)
    assert nse.next_session(date(2026, 1, 31)).day == date(2026, 2, 1)


def test_what_you_know_better_holds() -> None:
    mine = TradingCalendar({"2026-03-02": None, date(2030, 1, 1): ("10:00", "11:00")})
    assert mine.session("2026-03-02") is None
    assert mine.next_session(date(2026, 3, 1)).day == date(2026, 3, 4)  # 3 March is Holi
    assert mine.session("2030-01-01") is not None
    with pytest.raises(lt.CalendarError):
        mine.session("2030-01-02")


@pytest.mark.parametrize(
    "wrong", [{"2026-13-01": None}, {"2026-03-02": ("x", "y")}, {"2026-03-02": ("16:00", "15:00")}]
)
def test_wrong_overrides_are_refused(wrong: dict[str, tuple[str, str] | None]) -> None:
    with pytest.raises(lt.CalendarError):
        TradingCalendar(wrong)  # type: ignore[arg-type]


def test_it_tells_how_far_it_knows(nse: TradingCalendar) -> None:
    assert repr(nse) == f"TradingCalendar(known from {nse.known_from} to {nse.known_until})"
