"""Round trips by themselves: from flat to flat, through zero, and what was seen on the way."""

from typing import Any

from livetrade.core.kinds import OrderSide
from livetrade.core.trips import Trip, closed_trips
from livetrade.core.values import Fill
from tests.core.kit import INFY, SBIN, a_fill

BUY, SELL = OrderSide.BUY, OrderSide.SELL
UNIT = SBIN.unit
"""Raw money of one share for one paisa."""


def closing(side: OrderSide, quantity_raw: int, price_raw: int, gained: int, **changes: Any) -> Fill:
    """A fill that realizes so many paise times shares."""
    return a_fill(side, quantity_raw, price_raw, realized_raw=gained * UNIT, **changes)


def figures(trip: Trip) -> tuple[int, int, int, int, int]:
    """Sign, quantity, entry and exit price, gross P&L in paise."""
    prices = (trip.average_raw(value) // UNIT for value in (trip.entry_raw, trip.exit_raw))
    return trip.sign, trip.quantity_raw, *prices, trip.gross_raw // UNIT


def test_in_parts_and_out_in_parts_is_one_trip() -> None:
    fills = [
        a_fill(BUY, 10, 10000, fees_raw=1),
        a_fill(BUY, 30, 10400, fees_raw=2),
        closing(SELL, 15, 10500, 3000, fees_raw=4),
        closing(SELL, 25, 10100, -5000, fees_raw=8),
    ]
    (trip,) = closed_trips(fills)
    assert figures(trip) == (1, 40, 10300, 10250, -2000)
    assert (trip.first, trip.last, trip.held_raw, trip.cost_raw) == (fills[0], fills[3], 0, 0)
    assert trip.fees_raw == 15


def test_a_short_trip() -> None:
    (trip,) = closed_trips([a_fill(SELL, 10, 10000), closing(BUY, 10, 9900, 1000)])
    assert figures(trip) == (-1, 10, 10000, 9900, 1000)


def test_what_is_still_held_is_no_trip() -> None:
    assert not list(closed_trips([]))
    assert not list(closed_trips([a_fill(BUY, 10, 10000), closing(SELL, 9, 10000, 0)]))


def test_a_fill_through_zero_ends_one_trip_and_begins_another() -> None:
    through = closing(SELL, 30, 10100, 1000, fees_raw=30)
    first, second = closed_trips([a_fill(BUY, 10, 10000), through, closing(BUY, 20, 10000, 2000)])
    assert (figures(first), figures(second)) == ((1, 10, 10000, 10100, 1000), (-1, 20, 10100, 10000, 2000))
    assert (first.last, second.first) == (through, through)


def test_the_fees_of_a_fill_through_zero_are_split_by_quantity() -> None:
    fee = 30 * UNIT * 10**9
    through = closing(SELL, 30, 10100, 1000, fees_raw=fee)
    first, second = closed_trips([a_fill(BUY, 10, 10000), through, closing(BUY, 20, 10000, 2000)])
    assert (first.fees_raw, second.fees_raw) == (fee // 3, fee - fee // 3)


def test_each_book_has_its_own_trips_in_the_order_of_their_ends() -> None:
    fills = [
        a_fill(BUY, 10, 10000),
        a_fill(BUY, 10, 10000, strategy="ema"),
        a_fill(BUY, 10, 150000, instrument=INFY),
        closing(SELL, 10, 151000, 10000, instrument=INFY),
        closing(SELL, 10, 10100, 1000, strategy="ema"),
    ]
    assert [(trip.first.symbol, trip.first.strategy) for trip in closed_trips(fills)] == [
        (INFY.symbol, "manual"),
        (SBIN.symbol, "ema"),
    ]


def test_the_worst_and_the_best_are_what_it_was_marked_at() -> None:
    seen = {"low_raw": 2 * 9800, "high_raw": 2 * 10300}
    (trip,) = closed_trips([a_fill(BUY, 10, 10000), closing(SELL, 10, 10100, 1000, **seen)])
    assert (trip.worst_raw, trip.best_raw) == (-2000 * UNIT, 3000 * UNIT)


def test_a_short_is_worst_where_the_price_is_highest() -> None:
    seen = {"low_raw": 2 * 9800, "high_raw": 2 * 10300}
    (trip,) = closed_trips([a_fill(SELL, 10, 10000), closing(BUY, 10, 9900, 1000, **seen)])
    assert (trip.worst_raw, trip.best_raw) == (-3000 * UNIT, 2000 * UNIT)


def test_marks_are_reckoned_with_what_was_held_and_realized_by_then() -> None:
    fills = [
        a_fill(BUY, 10, 10000),
        closing(SELL, 5, 10200, 1000, low_raw=2 * 10000, high_raw=2 * 10200),
        closing(SELL, 5, 10000, 0, low_raw=2 * 9900, high_raw=2 * 10400),
    ]
    (trip,) = closed_trips(fills)
    assert (trip.worst_raw, trip.best_raw) == (0, 3000 * UNIT)  # 1000 realized, 5 shares 400 paise above their cost


def test_without_a_mark_the_end_itself_was_seen() -> None:
    (gain,) = closed_trips([a_fill(BUY, 10, 10000), closing(SELL, 10, 10100, 1000)])
    (loss,) = closed_trips([a_fill(BUY, 10, 10000), closing(SELL, 10, 9900, -1000)])
    assert (gain.worst_raw, gain.best_raw) == (0, 1000 * UNIT)
    assert (loss.worst_raw, loss.best_raw) == (-1000 * UNIT, 0)
