"""What happened, in columns: orders and fills.

Each column is a typed array (or a list), appended to as events fold, so that a hundred thousand orders become a
DataFrame by copying memory. Prices and quantities are raw integers with their scales beside them; enums stand as the
number of their member. Texts and amounts of money stand as the number of their distinct value, each of which is kept
once: a text also as UTF-8, an amount exactly and as the nearest float.
"""

from array import array
from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import nan
from typing import ClassVar, TypeAlias

from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, PriceSource, Product, Source, TimeInForce
from livetrade.core.numbers import MONEY_ONE
from livetrade.core.records import record
from livetrade.core.values import Fill, Order


def _codes(kind: type[StrEnum]) -> dict[str, int]:
    return {member.value: number for number, member in enumerate(kind)}


_SIDE, _TYPE, _PRODUCT, _TIF = _codes(OrderSide), _codes(OrderType), _codes(Product), _codes(TimeInForce)
_STATUS, _SOURCE, _PRICE_SOURCE = _codes(OrderStatus), _codes(Source), _codes(PriceSource)


class Texts(dict[str, int]):
    """The distinct texts of a column, numbered as they first come; nothing is ever taken away."""

    __slots__ = ("data", "distinct", "ends")

    def __init__(self) -> None:
        self.distinct: list[str] = []
        self.data = bytearray()
        self.ends = array("q", [0])

    def __missing__(self, text: str) -> int:
        number = len(self)
        if len(self.distinct) > number:  # of a text that was interrupted, as in `Table.extend`
            del self.distinct[number:], self.ends[number + 1 :], self.data[self.ends[number] :]
        self.distinct.append(text)
        self.data += text.encode(errors="replace")
        self.ends.append(len(self.data))
        self[text] = number
        return number


class Amounts(dict[int | None, int]):
    """The distinct amounts of raw money of a column, numbered as they first come; nothing is ever taken away."""

    __slots__ = ("distinct", "floats")

    def __init__(self) -> None:
        self.distinct: list[int | None] = []
        self.floats = array("d")

    def __missing__(self, raw: int | None) -> int:
        number = len(self)
        if len(self.distinct) > number:
            del self.distinct[number:], self.floats[number:]
        self.distinct.append(raw)
        self.floats.append(nan if raw is None else raw / MONEY_ONE)
        self[raw] = number
        return number


@record
class Text:
    """A column of text: which of the first `count` texts stands in each row. Those only ever get more behind them, so
    that any thread may slice them while others are added."""

    codes: "array[int]"
    known: Texts
    count: int

    @property
    def distinct(self) -> list[str]:
        return self.known.distinct[: self.count]

    @property
    def utf8(self) -> "tuple[bytearray, array[int]]":
        """The texts end to end, and where each begins, with the end of the last."""
        ends = self.known.ends[: self.count + 1]
        return self.known.data[: ends[-1]], ends


@record
class Money:
    """A column of money: which of the first `count` amounts stands in each row (see `Text`)."""

    codes: "array[int]"
    known: Amounts
    count: int

    @property
    def distinct(self) -> list[int | None]:
        """Raw money, exactly; None while unknown."""
        return self.known.distinct[: self.count]

    @property
    def floats(self) -> "array[float]":
        return self.known.floats[: self.count]


Column: TypeAlias = "array[int] | Text | Money | list[Fill]"


class Table:
    """Columns of equal length. `kinds` maps a name to "q" (int64), "b" (int8), "t" (`Text`) or "m" (`Money`); the last
    two stand in a row as the number that `self.texts` or `self.amounts` gives them."""

    kinds: ClassVar[dict[str, str]]

    def __init__(self) -> None:
        self.texts = {name: Texts() for name, kind in self.kinds.items() if kind == "t"}
        self.amounts = {name: Amounts() for name, kind in self.kinds.items() if kind == "m"}
        self.columns = {name: array("i" if kind in "tm" else kind) for name, kind in self.kinds.items()}
        self.length = 0

    def extend(self, columns: Mapping[str, Sequence[int]]) -> None:
        """More rows, given by column."""
        for name, column in self.columns.items():
            del column[self.length :]  # of one that was interrupted, by Ctrl-C where the user's own thread reads
            column.extend(columns[name])
        self.length = len(column)

    def change(self, rows: Sequence[int], columns: Mapping[str, Sequence[int]]) -> None:
        """Other values for some rows, given by column."""
        for name, values in columns.items():
            column = self.columns[name]
            for row, value in zip(rows, values, strict=True):
                column[row] = value

    def _shared(self, items: Sequence[Order] | Sequence[Fill]) -> dict[str, list[int]]:
        """The columns that orders and fills both have, and that stay as they are."""
        ids, symbols, strategies, tags = (self.texts[name] for name in ("client_order_id", "symbol", "strategy", "tag"))
        return {
            "client_order_id": [ids[item.client_order_id] for item in items],
            "symbol": [symbols[item.instrument.symbol] for item in items],
            "price_scale": [item.instrument.scale for item in items],
            "quantity_scale": [item.instrument.quantity_scale for item in items],
            "side": [_SIDE[item.side] for item in items],
            "product": [_PRODUCT[item.product] for item in items],
            "source": [_SOURCE[item.source] for item in items],
            "strategy": [strategies[item.strategy] for item in items],
            "tag": [tags[item.tag] for item in items],
        }

    def copy(self) -> dict[str, Column]:
        """The columns as they stand; nobody changes these."""
        return {name: self._copied(name, column) for name, column in self.columns.items()}

    def _copied(self, name: str, column: "array[int]") -> Column:
        if name in self.texts:
            return Text(column[:], self.texts[name], len(self.texts[name]))
        if name in self.amounts:
            return Money(column[:], self.amounts[name], len(self.amounts[name]))
        return column[:]


class OrderTable(Table):
    """One row an order, by its first appearance, kept up to date.

    An order has several states within a moment; so what `put` is given is written some orders later, or when somebody
    looks, and only the newest state of each.
    """

    kinds: ClassVar[dict[str, str]] = {
        "client_order_id": "t",
        "symbol": "t",
        "price_scale": "b",
        "quantity_scale": "b",
        "side": "b",
        "order_type": "b",
        "product": "b",
        "time_in_force": "b",
        "quantity": "q",
        "filled_qty": "q",
        "avg_price": "m",
        "limit_price": "q",
        "trigger_price": "q",
        "status": "b",
        "reason": "t",
        "source": "b",
        "strategy": "t",
        "tag": "t",
        "fees": "m",
        "slippage": "m",
        "venue_order_id": "t",
        "created_at": "q",
        "updated_at": "q",
    }

    def __init__(self) -> None:
        super().__init__()
        self._unwritten: dict[str, Order] = {}

    def copy(self) -> dict[str, Column]:
        self.write_all()
        return super().copy()

    def strategies(self) -> Text:
        """Whose each order is, as it stands."""
        self.write_all()
        codes = self._copied("strategy", self.columns["strategy"])
        assert isinstance(codes, Text)
        return codes

    def row(self, client_order_id: str) -> int:
        """Which row is an order's."""
        self.write_all()
        return self.texts["client_order_id"][client_order_id]

    def put(self, order: Order) -> None:
        self._unwritten[order.client_order_id] = order
        if len(self._unwritten) >= _MOST_UNWRITTEN:
            self.write_all()

    def write_all(self) -> None:
        """What a read would have written first."""
        ids = self.texts["client_order_id"]  # numbered as they come: an order's number is its row
        known: list[Order] = []
        new: list[Order] = []
        for key, order in self._unwritten.items():
            (known if ids.get(key, self.length) < self.length else new).append(order)
        if known:
            self.change([ids[order.client_order_id] for order in known], self._changing(known))
        if new:
            self.extend({**self._lasting(new), **self._changing(new)})
        self._unwritten.clear()

    def _lasting(self, orders: Sequence[Order]) -> dict[str, list[int]]:
        """What stays as it is in all states of an order."""
        return {
            **self._shared(orders),
            "order_type": [_TYPE[order.order_type] for order in orders],
            "time_in_force": [_TIF[order.time_in_force] for order in orders],
            "created_at": [order.created_ns for order in orders],
        }

    def _changing(self, orders: Sequence[Order]) -> dict[str, list[int]]:
        reasons, venue_ids = self.texts["reason"], self.texts["venue_order_id"]
        averages, fees, slippages = self.amounts.values()
        return {
            "quantity": [order.quantity_raw for order in orders],
            "filled_qty": [order.filled_raw for order in orders],
            "avg_price": [averages[order.avg_raw] for order in orders],
            "limit_price": [order.limit_raw or 0 for order in orders],
            "trigger_price": [order.trigger_raw or 0 for order in orders],
            "status": [_STATUS[order.status] for order in orders],
            "reason": [reasons[order.reason] for order in orders],
            "fees": [fees[order.fees_raw] for order in orders],
            "slippage": [slippages[order.slippage_raw] for order in orders],
            "venue_order_id": [venue_ids[order.venue_order_id or ""] for order in orders],
            "updated_at": [order.updated_ns for order in orders],
        }


_MOST_UNWRITTEN = 128
"""Writing so many takes less than a millisecond of the engine's thread."""


class FillTable(Table):
    """One row a fill, in the order they were booked; a copy has the `fill` itself too. Written as orders are."""

    kinds: ClassVar[dict[str, str]] = {
        "time": "q",
        "symbol": "t",
        "price_scale": "b",
        "quantity_scale": "b",
        "side": "b",
        "product": "b",
        "quantity": "q",
        "price": "q",
        "price_source": "b",
        "fees": "m",
        "realized_pnl": "m",
        "source": "b",
        "strategy": "t",
        "tag": "t",
        "client_order_id": "t",
        "execution_id": "t",
    }

    def __init__(self) -> None:
        super().__init__()
        self.fills: list[Fill] = []

    def copy(self) -> dict[str, Column]:
        self.write_all()
        return {**super().copy(), "fill": self.fills[:]}

    def add(self, fill: Fill) -> None:
        self.fills.append(fill)
        if len(self.fills) - self.length >= _MOST_UNWRITTEN:
            self.write_all()

    def write_all(self) -> None:
        """What a read would have written first."""
        fills = self.fills[self.length :]
        if not fills:
            return
        execution_ids = self.texts["execution_id"]
        fees, realized = self.amounts.values()
        self.extend(
            {
                **self._shared(fills),
                "time": [fill.time_ns for fill in fills],
                "quantity": [fill.quantity_raw for fill in fills],
                "price": [fill.price_raw for fill in fills],
                "price_source": [_PRICE_SOURCE[fill.price_source] for fill in fills],
                "fees": [fees[fill.fees_raw] for fill in fills],
                "realized_pnl": [realized[fill.realized_raw] for fill in fills],
                "execution_id": [execution_ids[fill.execution_id] for fill in fills],
            }
        )
