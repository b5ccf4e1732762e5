"""The books of the account at Fyers, read over REST: orders, trades, positions, holdings, funds."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from livetrade.adapters.fyers import rows
from livetrade.adapters.fyers.calls import OrderApi
from livetrade.adapters.fyers.rest import Use
from livetrade.adapters.fyers.rows import OddRowError, OrderRow, TradeRow
from livetrade.core.kinds import Product
from livetrade.errors import BrokerError

T = TypeVar("T")
AVAILABLE = 10
"""The row of `/funds` that holds what may be spent."""


class Books:
    """odd: hears of rows that make no sense; they are left out. left_out: how many there were of the orders that were
    read last. use: what its calls count as. Every call raises `BrokerError`."""

    def __init__(self, api: OrderApi, odd: Callable[[str], None], use: Use) -> None:
        self._api = api
        self._odd = odd
        self._use = use
        self.left_out = 0

    async def orders(self) -> list[OrderRow]:
        told = await self._read("orders")
        found = self._each(told, "orderBook", rows.order_of_book)
        self.left_out = len(told.get("orderBook") or ()) - len(found)
        return found

    async def trades(self) -> list[TradeRow]:
        return self._each(await self._read("tradebook"), "tradeBook", rows.trade_of_book)

    async def positions(self) -> dict[tuple[str, Product], int]:
        """Net quantities, whoever traded. Delivered shares (CNC) are what is held from earlier days and today's."""
        told = await self._read("positions")
        net: dict[tuple[str, Product], int] = {}
        for symbol, product, quantity in self._each(told, "netPositions", rows.net_position):
            if product in Product.__members__:
                net[symbol, Product(product)] = net.get((symbol, Product(product)), 0) + quantity
        for symbol, quantity in self._each(await self._read("holdings"), "holdings", rows.holding):
            net[symbol, Product.CNC] = net.get((symbol, Product.CNC), 0) + quantity
        return net

    async def _read(self, path: str) -> dict[str, Any]:
        pace = await self._api.pace()
        while wait := pace.enter(self._use):  # noqa: ASYNC110  a clock sets no event
            await asyncio.sleep(wait)
        try:
            return await self._api.read(path)
        finally:
            pace.leave(self._use)

    def _each(self, told: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
        found: list[T] = []
        for row in told.get(name) or ():
            try:
                found.append(read(row))
            except (OddRowError, AttributeError) as error:
                self._odd(f"a row of {name} makes no sense: {error}")
        return found


def available(told: Mapping[str, Any]) -> Decimal:
    """What may be spent in equity, by an answer of `/funds`."""
    for row in told.get("fund_limit") or ():
        if isinstance(row, dict) and row.get("id") == AVAILABLE:
            return Decimal(str(row.get("equityAmount")))
    raise BrokerError("Fyers does not tell the available balance")
