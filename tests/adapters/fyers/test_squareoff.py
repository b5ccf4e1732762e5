"""A person hears of INTRADAY positions before the broker squares them off."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livetrade import calendars
from livetrade.adapters.fyers.squareoff import LOOK, SquareOff
from livetrade.calendars import MarketHours, TradingCalendar
from livetrade.core.kinds import Product
from livetrade.core.numbers import at
from livetrade.core.records import replaced
from livetrade.errors import BrokerError
from livetrade.testing import FyersServer
from tests.adapters.fyers.broker_kit import INFY, QUICK, SBIN, broker_of, live, quote
from tests.adapters.fyers.market import ALWAYS, CRUDE, FUTURE, MovedTime, in_india, until
from tests.support import soon

DAY = "2026-03-02"
HELD = {
    (SBIN, Product.INTRADAY): 100,
    (FUTURE, Product.INTRADAY): -75,
    (INFY, Product.CNC): 7,
    ("NSE:TCS-EQ", Product.MARGIN): 3,
    ("NSE:HDFCBANK-EQ", Product.INTRADAY): 0,
    (CRUDE, Product.INTRADAY): 1,
}
TOLD = (
    "INTRADAY positions are open: -75 NSE:NIFTY26DECFUT, 100 NSE:SBIN-EQ. Fyers squares them off from about 15:15 on, "
    "and what it closes is not booked here: close them before, by engine.close_position(symbol) or engine.flatten()"
)


class Book:
    """The broker's own; `failures` times it does not answer."""

    def __init__(self, held: dict[tuple[str, Product], int] = HELD, failures: int = 0) -> None:
        self.held = held
        self.asked = 0
        self._failures = failures

    async def positions(self) -> dict[tuple[str, Product], int]:
        self.asked += 1
        if self.asked <= self._failures:
            raise BrokerError("no answer")
        return self.held


class Person:
    """Looks at moments in India, and keeps what was said."""

    def __init__(self, calendar: TradingCalendar | None, book: Book | None = None) -> None:
        self.book = book or Book()
        self.heard: list[str] = []
        books: Any = self.book
        self._square_off = SquareOff(books, MarketHours(calendar), QUICK, self.heard.append)

    def look(self, *moments: str) -> list[str]:
        for moment in moments:
            asyncio.run(self._square_off.look(at(in_india(moment), calendars.ZONE)))
        return self.heard


@pytest.fixture(scope="module")
def nse() -> TradingCalendar:
    return TradingCalendar()


def test_twenty_minutes_before_the_close_it_names_what_is_squared_off(nse: TradingCalendar) -> None:
    person = Person(nse)
    assert person.look(f"{DAY} 09:15", f"{DAY} 15:09:59") == []
    assert person.book.asked == 0
    assert person.look(f"{DAY} 15:10") == [TOLD]


def test_it_is_said_once_a_day(nse: TradingCalendar) -> None:
    person = Person(nse)
    person.look(f"{DAY} 15:10", f"{DAY} 15:11", f"{DAY} 15:29", f"{DAY} 15:30", "2026-03-03 15:15")  # then Holi
    assert len(person.heard) == 1
    assert len(person.look("2026-03-04 15:12")) == 2


def test_what_is_opened_late_is_named_too(nse: TradingCalendar) -> None:
    person = Person(nse, Book({}))
    assert person.look(f"{DAY} 15:10", f"{DAY} 15:12") == []
    person.book.held = {(SBIN, Product.INTRADAY): 1}
    assert len(person.look(f"{DAY} 15:13")) == 1


def test_after_the_close_nothing_is_asked(nse: TradingCalendar) -> None:
    person = Person(nse)
    assert person.look(f"{DAY} 15:30", f"{DAY} 23:59", "2026-02-28 15:15", "2026-01-26 15:15") == []
    assert person.book.asked == 0


def test_a_short_session_is_warned_of_before_its_own_close() -> None:
    person = Person(TradingCalendar({"2026-11-08": ("18:00", "19:00")}))
    assert person.look("2026-11-08 15:10", "2026-11-08 18:39") == []
    (told,) = person.look("2026-11-08 18:40")
    assert "from about 18:45 on" in told


@pytest.mark.parametrize(
    ("day", "doubt"),
    [
        ("2040-01-02", "the sessions of "),
        ("2026-11-08", "there is a session on 2026-11-08, and its hours"),
    ],
)
def test_on_a_day_that_nobody_knows_the_usual_hours_count(nse: TradingCalendar, day: str, doubt: str) -> None:
    person = Person(nse)
    assert person.look(f"{day} 15:00") == []
    (told,) = person.look(f"{day} 15:10")
    assert f"from about 15:15 on (by the usual hours: {doubt}" in told


def test_without_the_extra_the_usual_hours_count(monkeypatch: pytest.MonkeyPatch) -> None:
    calendars._known_days.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    person = Person(None)
    person._square_off._hours.prepare()
    soon(lambda: "holidays are not known: " in person._square_off._hours._lacking)
    (told,) = person.look(f"{DAY} 15:10")
    assert "(by the usual hours: holidays are not known: TradingCalendar needs exchange_calendars" in told


def test_a_book_that_does_not_answer_is_asked_again() -> None:
    async def story() -> None:
        clock, heard, book = MovedTime(f"{DAY} 23:45"), [], Book(failures=2)  # its market closes at midnight
        books: Any = book
        timing = replaced(QUICK, wall=clock, sleep=clock.sleep)
        task = asyncio.create_task(SquareOff(books, MarketHours(ALWAYS), timing, heard.append).keep())
        for asked in (1, 2, 3):
            await until(lambda asked=asked: book.asked == asked and clock.sleeping())
            assert len(heard) == (asked > 2)
            clock.move(LOOK)
        task.cancel()

    asyncio.run(story())


# ── a real engine at the loopback Fyers ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server() -> Iterator[FyersServer]:
    with FyersServer() as server:
        yield server


def test_an_engine_raises_the_alarm_and_keeps_it(server: FyersServer, nse: TradingCalendar, tmp_path: Path) -> None:
    now = [f"{DAY} 15:05"]

    async def briefly(_: float) -> None:
        await asyncio.sleep(0.01)

    def alarms() -> list[str]:
        return [told for told in engine.health()["alarms"] if told.startswith("INTRADAY positions are open")]

    timing = replaced(QUICK, wall=lambda: in_india(now[0]), sleep=briefly)
    broker = broker_of(server, calendar=nse, _timing=timing)
    with live(server, tmp_path / "real.journal", broker) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 100).result(10).raise_if_failed()
        server.exchange.trade_elsewhere(INFY, -3)
        server.exchange.trade_elsewhere(INFY, 9, "CNC")
        assert alarms() == []
        now[0] = f"{DAY} 15:10"
        (told,) = soon(alarms)
        assert told.startswith("INTRADAY positions are open: -3 NSE:INFY-EQ, 100 NSE:SBIN-EQ. Fyers squares them off")
