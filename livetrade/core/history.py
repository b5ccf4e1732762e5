"""What happened, in columns: orders, fills and the equity curve.

Each column is a typed array (or a list), appended to as events fold, so that a hundred thousand orders become a
DataFrame by copying memory. Prices and quantities are raw integers with their scales beside them; an amount of money
stands twice, as a float (`name`) and exactly (`name_raw`). Enums stand as the number of their member.
"""

from array import array
from collections.abc import Sequence
from enum import StrEnum
from math import nan
from typing import TypeAlias

from livetrade.core.events import EquityPoint
from livetrade.core.numbers import MONEY_ONE
from livetrade.core.values import Fill, Order, OrderSide, OrderStatus, OrderType, PriceSource, Product, Source, TimeInForce

Column: TypeAlias = "array[int] | array[float] | list[object]"


def _codes(kind: type[StrEnum]) -> dict[str, int]:
    return {member.value: number for number, member in enumerate(kind)}


_SIDE, _TYPE, _PRODUCT, _TIF = _codes(OrderSide), _codes(OrderType), _codes(Product), _codes(TimeInForce)
_STATUS, _SOURCE, _PRICE_SOURCE = _codes(OrderStatus), _codes(Source), _codes(PriceSource)


def as_float(raw: int | None) -> float:
    """Raw money as the nearest float; NaN for None."""
    return nan if raw is None else raw / MONEY_ONE


class Table:
    """Columns of equal length. `kinds` maps a name to "q" (int64), "b" (int8), "d" (float64) or "O" (objects)."""

    kinds: dict[str, str]

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {
            name: [] if kind == "O" else array(kind) for name, kind in self.kinds.items()
        }
        self._columns = tuple(self.columns.values())
        self.length = 0

    def append(self, row: Sequence[object]) -> None:
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)  # type: ignore[arg-type]
        self.length += 1

    def change(self, number: int, row: Sequence[object]) -> None:
        for column, value in zip(self._columns, row, strict=True):
            column[number] = value  # type: ignore[call-overload]

    def copy(self) -> dict[str, Column]:
        """The columns as they stand; nobody changes these."""
        return {name: column[:] for name, column in self.columns.items()}


class OrderTable(Table):
    """One row an order, by its first appearance, kept up to date."""

    kinds = {
        "client_order_id": "O",
        "symbol": "O",
        "price_scale": "b",
        "quantity_scale": "b",
        "side": "b",
        "order_type": "b",
        "product": "b",
        "time_in_force": "b",
        "quantity": "q",
        "filled_qty": "q",
        "avg_price": "d",
        "avg_price_raw": "O",
        "limit_price": "q",
        "trigger_price": "q",
        "status": "b",
        "reason": "O",
        "source": "b",
        "strategy": "O",
        "tag": "O",
        "fees": "d",
        "fees_raw": "O",
        "slippage": "d",
        "slippage_raw": "O",
        "venue_order_id": "O",
        "created_at": "q",
        "updated_at": "q",
    }

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, int] = {}

    def put(self, order: Order) -> None:
        avg, slippage = order.avg_raw, order.slippage_raw
        row = (
            order.client_order_id,
            order.symbol,
            order.instrument.scale,
            order.instrument.quantity_scale,
            _SIDE[order.side],
            _TYPE[order.order_type],
            _PRODUCT[order.product],
            _TIF[order.time_in_force],
            order.quantity_raw,
            order.filled_raw,
            as_float(avg),
            avg,
            order.limit_raw or 0,
            order.trigger_raw or 0,
            _STATUS[order.status],
            order.reason,
            _SOURCE[order.source],
            order.strategy,
            order.tag,
            order.fees_raw / MONEY_ONE,
            order.fees_raw,
            as_float(slippage),
            slippage,
            order.venue_order_id or "",
            order.created_ns,
            order.updated_ns,
        )
        number = self._rows.get(order.client_order_id)
        if number is None:
            self._rows[order.client_order_id] = self.length
            self.append(row)
        else:
            self.change(number, row)


class FillTable(Table):
    """One row a fill, in the order they were booked; `fill` holds the fill itself."""

    kinds = {
        "time": "q",
        "symbol": "O",
        "price_scale": "b",
        "quantity_scale": "b",
        "side": "b",
        "product": "b",
        "quantity": "q",
        "price": "q",
        "price_source": "b",
        "fees": "d",
        "fees_raw": "O",
        "realized_pnl": "d",
        "realized_pnl_raw": "O",
        "source": "b",
        "strategy": "O",
        "tag": "O",
        "client_order_id": "O",
        "execution_id": "O",
        "fill": "O",
    }

    def add(self, fill: Fill) -> None:
        self.append(
            (
                fill.time_ns,
                fill.symbol,
                fill.instrument.scale,
                fill.instrument.quantity_scale,
                _SIDE[fill.side],
                _PRODUCT[fill.product],
                fill.quantity_raw,
                fill.price_raw,
                _PRICE_SOURCE[fill.price_source],
                fill.fees_raw / MONEY_ONE,
                fill.fees_raw,
                fill.realized_raw / MONEY_ONE,
                fill.realized_raw,
                _SOURCE[fill.source],
                fill.strategy,
                fill.tag,
                fill.client_order_id,
                fill.execution_id,
                fill,
            )
        )


class EquityTable(Table):
    """One row for each fill and at most one a second."""

    kinds = {
        "time": "q",
        "cash": "d",
        "cash_raw": "O",
        "market_value": "d",
        "market_value_raw": "O",
        "portfolio_value": "d",
        "portfolio_value_raw": "O",
        "realized_pnl": "d",
        "realized_pnl_raw": "O",
        "unrealized_pnl": "d",
        "unrealized_pnl_raw": "O",
        "fees": "d",
        "fees_raw": "O",
    }

    def add(self, point: EquityPoint) -> None:
        row: list[object] = [point.ts]
        for raw in (
            point.cash_raw,
            point.market_value_raw,
            point.cash_raw + point.market_value_raw,
            point.realized_raw,
            point.unrealized_raw,
            point.fees_raw,
        ):
            row += (raw / MONEY_ONE, raw)
        self.append(row)
