"""The loopback Fyers as the exchange of a trial: its market wanders, its calls and its sockets fail now and then."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, TypeVar

from livetrade.testing import FyersServer, OrderFault
from tests.crash.trader import MIDDLE, SYMBOLS
from tests.crash.venue import Execution, Placed

T = TypeVar("T")
F = OrderFault
TOKENS = ("10100000003045", "10100000001594", "101000000011536")
PAUSE = 0.02
"""Seconds between two quotes."""
REFUSED = "the exchange does not like it"
WORKING = (4, 6)

FAULTS: tuple[tuple[OrderFault, dict[str, Any]], ...] = (
    (F.LATE, {"seconds": 0.2}),
    (F.LOST, {}),
    (F.LOST, {"taken": False}),
    (F.GATEWAY, {}),
    (F.GATEWAY, {"taken": False}),
    (F.UNACKNOWLEDGED, {}),
    (F.GARBAGE, {}),
    (F.RESET, {}),
    (F.RESET, {"taken": False}),
    (F.THROTTLE, {"seconds": 0.2}),
    (F.FILL_FIRST, {"seconds": 0.2}),
    (F.HIDDEN, {"seconds": 0.4}),
    (F.REJECT, {"message": REFUSED}),
    (F.REFUSE, {"message": REFUSED}),
    (F.LOST, {"call": "cancel", "taken": False}),
    (F.RACE, {"call": "cancel"}),
    (F.REFUSE, {"call": "modify", "message": REFUSED}),
    (F.GATEWAY, {"call": "modify"}),
    (F.GATEWAY, {"call": "book"}),
    (F.DUPLICATE, {"times": 3}),
    (F.REORDER, {"times": 4, "seconds": 0.1}),
    (F.SILENT, {"times": 2}),
)


@dataclass
class Books:
    """As `tests.crash.venue.Exchange` shows itself."""

    submissions: Counter[str]
    orders: dict[str, Placed]
    executions: list[Execution]
    faults: list[BaseException] = field(default_factory=list)

    def positions(self) -> dict[str, int]:
        net: Counter[str] = Counter()
        for done in self.executions:
            net[done.order.symbol] += done.order.sign * done.quantity
        return dict(net)


class FyersExchange:
    """Runs on threads of its own, and outlives the traders that are killed."""

    lost = 0

    def __init__(self, seed: int, folder: Path) -> None:
        self._dice = Random(seed)
        self._server = FyersServer(dict(zip(SYMBOLS, TOKENS, strict=True)))
        self.place = folder / "fyers.json"
        there = {"feed": self._server.urls, "broker": self._server.broker_urls, "token": self._server.token}
        self.place.write_text(json.dumps(there))
        self._bids = dict.fromkeys(SYMBOLS, MIDDLE)
        self._is_calm, self._ended = Event(), Event()
        for symbol in SYMBOLS:
            self._quote(symbol)
        self._thread = Thread(target=self._trade, name="market", daemon=True)
        self._thread.start()

    def _trade(self) -> None:
        while not self._ended.wait(PAUSE):
            symbol = self._dice.choice(SYMBOLS)
            if not self._is_calm.is_set():
                self._bids[symbol] += 5 * (self._dice.randint(-2, 2) + (MIDDLE - self._bids[symbol]) // 100)
                self._spoil()
            self._quote(symbol)

    def _quote(self, symbol: str) -> None:
        bid = Decimal(self._bids[symbol]) / 100
        self._server.quote(symbol, bid=bid, ask=bid + Decimal("0.05"), last=bid)

    def _spoil(self) -> None:
        chance, exchange = self._dice.random(), self._server.exchange
        if chance < 0.02:
            fault, terms = self._dice.choice(FAULTS)
            exchange.fail(fault, **terms)
        elif chance < 0.025:
            exchange.drop()
        elif chance < 0.028:
            exchange.parts(self._dice.choice((0, 1, 1, 2, 3)))

    def calm(self) -> None:
        """Nothing goes wrong any more, and prices stand still: what can fill fills."""
        self._is_calm.set()
        self._server.exchange.heal()

    def look(self, question: Callable[[Books], T]) -> T:
        return question(self._books())

    def _books(self) -> Books:
        exchange = self._server.exchange
        placed = {row["id"]: _placed(row) for row in exchange.orders}
        done = [
            Execution(row["tradeNumber"], placed[row["orderNumber"]], row["tradedQty"], _raw(row["tradePrice"]))
            for row in exchange.trades
            if row["orderNumber"] in placed  # the order was read before
        ]
        return Books(Counter(exchange.submissions), {order.name: order for order in placed.values()}, done)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(30)
        self._server.close()


def _placed(row: dict[str, Any]) -> Placed:
    terms = row["symbol"], row["side"], row["qty"], _raw(row["limitPrice"])
    return Placed(row["orderTag"][2:], *terms, row["filledQty"], row["status"] in WORKING)


def _raw(price: float) -> int:
    return int(Decimal(str(price)) * 100)
