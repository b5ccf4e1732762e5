"""The columns of what happened: one row an order, one a fill, exact money beside the nearest float."""

from array import array
from enum import StrEnum
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.history import FillTable, Money, OrderTable, Text
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, PriceSource, Product
from livetrade.core.numbers import MONEY_ONE
from livetrade.core.records import replaced
from livetrade.core.values import Order
from tests.core.kit import COIN, SBIN, a_fill, an_order


def texts(column: Any) -> list[str]:
    assert isinstance(column, Text)
    return [column.distinct[code] for code in column.codes]


def members(kind: type[StrEnum], column: Any) -> list[StrEnum]:
    return [list(kind)[code] for code in column]


def amounts(column: Any) -> list[int | None]:
    assert isinstance(column, Money)
    return [column.distinct[code] for code in column.codes]


def floats(column: Any) -> list[float]:
    assert isinstance(column, Money)
    return [column.floats[code] for code in column.codes]


def test_an_order_keeps_its_row() -> None:
    table = OrderTable()
    first, second = an_order(limit_raw=54900), an_order(client_order_id="A2", instrument=COIN, tag="x")
    table.put(first)
    table.put(second)
    filled = replaced(
        first,
        status=OrderStatus.FILLED,
        filled_raw=100,
        filled_value_raw=SBIN.value_raw(54900, 100),
        reference_raw=54890,
        fees_raw=MONEY_ONE // 4,
        reason="because",
        venue_order_id="V1",
    )
    table.put(filled)
    columns = table.copy()
    assert table.length == 2
    assert texts(columns["client_order_id"]) == ["A1", "A2"]
    assert texts(columns["symbol"]) == [SBIN.symbol, COIN.symbol]
    assert texts(columns["reason"]) == ["because", ""]
    assert texts(columns["venue_order_id"]) == ["V1", ""]
    assert amounts(columns["avg_price"]) == [549 * MONEY_ONE, None]
    assert amounts(columns["slippage"]) == [MONEY_ONE // 10, None]
    assert floats(columns["fees"]) == [0.25, 0.0]
    assert isnan(floats(columns["avg_price"])[1])
    assert list(columns["filled_qty"]) == [100, 0]  # type: ignore[arg-type]
    assert list(columns["limit_price"]) == [54900, 0]  # type: ignore[arg-type]
    assert list(columns["price_scale"]) == [2, 8]  # type: ignore[arg-type]
    assert members(OrderStatus, columns["status"]) == [OrderStatus.FILLED, OrderStatus.SUBMITTED]
    assert members(OrderType, columns["order_type"]) == [OrderType.MARKET] * 2


def test_a_copy_stays_as_it_was() -> None:
    table = OrderTable()
    table.put(an_order())
    before = table.copy()
    table.put(an_order(client_order_id="A2", tag="later"))
    table.put(an_order(status=OrderStatus.CANCELED))
    assert texts(before["client_order_id"]) == ["A1"]
    assert before["tag"].distinct == [""]  # type: ignore[union-attr]
    assert list(before["status"]) == [list(OrderStatus).index(OrderStatus.SUBMITTED)]  # type: ignore[arg-type]


def test_texts_are_kept_once_and_as_utf8() -> None:
    table = OrderTable()
    for number, tag in enumerate(["über", "", "über", "\ud800"]):
        table.put(an_order(client_order_id=f"A{number}", tag=tag))
    column = table.copy()["tag"]
    assert isinstance(column, Text)
    assert list(column.codes) == [0, 1, 0, 2]
    data, ends = column.utf8
    assert data[ends[0] : ends[1]].decode() == "über"
    assert data[ends[2] : ends[3]].decode() == "?"


def test_fills_stand_in_the_order_they_were_booked() -> None:
    table = FillTable()
    fills = [
        a_fill(OrderSide.BUY, 10, 54900, fees_raw=MONEY_ONE),
        a_fill(OrderSide.SELL, 5, 55000, realized_raw=-MONEY_ONE, execution_id="E2"),
    ]
    for fill in fills:
        table.add(fill)
    columns = table.copy()
    assert columns["fill"] == fills
    assert texts(columns["execution_id"]) == ["E1", "E2"]
    assert floats(columns["fees"]) == [1.0, 0.0]
    assert amounts(columns["realized_pnl"]) == [0, -MONEY_ONE]
    assert list(columns["price"]) == [54900, 55000]  # type: ignore[arg-type]
    assert members(OrderSide, columns["side"]) == [OrderSide.BUY, OrderSide.SELL]
    assert members(Product, columns["product"]) == [Product.INTRADAY] * 2
    assert members(PriceSource, columns["price_source"]) == [PriceSource.VENUE] * 2


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=600))
def test_the_newest_state_of_each_order_stands_in_its_row_whenever_somebody_looks(
    puts: list[tuple[int, bool]],
) -> None:
    table, newest = OrderTable(), dict[str, Order]()
    for filled, (number, looks) in enumerate(puts, 1):
        order = an_order(client_order_id=f"A{number}", filled_raw=filled)
        table.put(order)
        newest[order.client_order_id] = order
        if looks:
            table.copy()
    columns = table.copy()
    assert texts(columns["client_order_id"]) == list(newest)
    assert list(columns["filled_qty"]) == [order.filled_raw for order in newest.values()]
    assert [table.row(key) for key in newest] == list(range(len(newest)))


class Interrupted(array):  # type: ignore[type-arg]
    """A column during whose first growth somebody presses Ctrl-C."""

    presses = 1

    def extend(self, values: Any) -> None:
        super().extend(values)
        if self.presses:
            self.presses = 0
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", OrderTable.kinds)
def test_a_read_that_is_interrupted_leaves_nothing_half_written(name: str) -> None:
    table = OrderTable()
    for number in range(3):
        table.put(an_order(client_order_id=f"A{number}"))
    table.copy()
    column = table.columns[name]
    table.columns[name] = Interrupted(column.typecode, column)
    for number in range(2, 5):
        table.put(an_order(client_order_id=f"A{number}", filled_raw=number))
    with pytest.raises(KeyboardInterrupt):
        table.copy()
    table.put(an_order(client_order_id="A5", filled_raw=5))
    table.put(an_order(client_order_id="A3", filled_raw=6))
    columns = table.copy()
    assert texts(columns["client_order_id"]) == [f"A{number}" for number in range(6)]
    assert list(columns["filled_qty"]) == [0, 0, 2, 6, 4, 5]
    assert {len(copied.codes if isinstance(copied, Text | Money) else copied) for copied in columns.values()} == {6}


@pytest.mark.parametrize("name", FillTable.kinds)
def test_nor_does_one_of_fills(name: str) -> None:
    table = FillTable()
    table.columns[name] = Interrupted(table.columns[name].typecode)
    fills = [a_fill(OrderSide.BUY, 1, 100, execution_id=f"E{number}", time_ns=number) for number in range(1, 4)]
    for fill in fills[:2]:
        table.add(fill)
    with pytest.raises(KeyboardInterrupt):
        table.copy()
    table.add(fills[2])
    columns = table.copy()
    assert list(columns["time"]) == [1, 2, 3]
    assert texts(columns["execution_id"]) == ["E1", "E2", "E3"]


def test_every_fill_has_a_row_however_many_they_are() -> None:
    table = FillTable()
    fills = [a_fill(OrderSide.BUY, 1, 100, execution_id=f"E{number}", time_ns=number) for number in range(1, 301)]
    for fill in fills:
        table.add(fill)
    columns = table.copy()
    assert columns["fill"] == fills
    assert list(columns["time"]) == list(range(1, 301))
    assert texts(columns["execution_id"]) == [fill.execution_id for fill in fills]
