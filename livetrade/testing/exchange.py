"""A small exchange behind the loopback Fyers: an order book that matches on its quotes, trades, positions and money."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from livetrade.testing.listings import Listing

KOLKATA = ZoneInfo("Asia/Kolkata")
CANCELED, TRADED, TRANSIT, REJECTED, PENDING = 1, 2, 4, 5, 6
LIMIT, MARKET, STOP, STOP_LIMIT = 1, 2, 3, 4
CLIENT = "XL00001"
UNTAGGED = "2:Untagged"


class Refusal(Exception):  # noqa: N818  an answer, no failure
    """What the exchange answers in place of doing what it was asked."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Trade(NamedTuple):
    number: str
    order: "Placed"
    quantity: int
    price: Decimal
    time: float


class Placed:
    """An order in its book. shown_status: what the books say, where that is not `status`."""

    def __init__(self, order_id: str, listing: Listing, body: Mapping[str, Any], source: str) -> None:
        self.id, self.listing, self.source = order_id, listing, source
        self.side = int(body["side"])
        self.product = str(body["productType"])
        self.quantity = int(body["qty"])
        self.type = int(body["type"])
        self.limit = Decimal(str(body.get("limitPrice") or 0))
        self.stop = Decimal(str(body.get("stopPrice") or 0))
        self.validity = str(body.get("validity") or "DAY")
        tag = str(body.get("orderTag") or "")
        self.tag = f"1:{tag}" if tag else UNTAGGED
        self.status, self.message = PENDING, ""
        self.shown_status: int | None = None
        self.filled, self.value = 0, Decimal(0)
        self.triggered = self.type in (LIMIT, MARKET)
        self.time = time.time()
        self.hidden_until = 0.0

    @property
    def symbol(self) -> str:
        return self.listing.symbol

    @property
    def left(self) -> int:
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        return self.status in (PENDING, TRANSIT)

    @property
    def average(self) -> float:
        return round(float(self.value / self.filled), 4) if self.filled else 0.0


class Exchange:
    """push: hears of what happens, as the order socket tells it. parts: how much each of the next matches fills at
    most, once it is not empty; 0 fills nothing. cash: what there was in the morning."""

    def __init__(self, listings: Mapping[str, Listing], push: Callable[[dict[str, Any]], None]) -> None:
        self._listings = listings
        self._push = push
        self.cash = Decimal(1_000_000)
        self.orders: dict[str, Placed] = {}
        self.trades: list[Trade] = []
        self.holdings: dict[str, int] = {}
        self.parts: list[int] = []
        self.submissions: Counter[str] = Counter()
        self._numbers = 0

    # ── what it is asked ─────────────────────────────────────────────────────────────────────────────────────────────

    def place(self, body: Mapping[str, Any], source: str = "ITS") -> Placed:
        """Takes an order into the book; `match` then tries it. Raises `Refusal`."""
        listing = self._listings.get(str(body.get("symbol")))
        self._check(body, listing)
        assert listing is not None
        self._numbers += 1
        order = Placed(f"{datetime.now(KOLKATA):%y%m%d}{self._numbers:08}", listing, body, source)
        self.orders[order.id] = order
        if order.tag != UNTAGGED:
            self.submissions[order.tag[2:]] += 1
        return order

    def _check(self, body: Mapping[str, Any], listing: Listing | None) -> None:
        if listing is None:
            raise Refusal(-300, "Please provide a valid symbol")
        tag = str(body.get("orderTag") or "")
        checks = (
            (isinstance(body.get("qty"), int) and body["qty"] > 0, -310, "Invalid qty"),
            (body.get("side") in (1, -1), -313, "Invalid side"),
            (body.get("type") in (LIMIT, MARKET, STOP, STOP_LIMIT), -50, "Invalid order type"),
            (body.get("productType") in ("CNC", "INTRADAY", "MARGIN"), -314, "Invalid productType"),
            (body.get("validity") in ("DAY", "IOC"), -326, "Invalid validity"),
            (not tag or (tag.isalnum() and len(tag) <= 30), -50, "Invalid orderTag"),
            (body.get("type") != MARKET, -50, "Market orders through the API need market protection"),
        )
        for fine, code, message in checks:
            if not fine:
                raise Refusal(code, message)
        for name in ("limitPrice", "stopPrice"):
            if Decimal(str(body.get(name) or 0)) % listing.tick:
                raise Refusal(-392, f"Price should be in multiples of tick size {listing.tick}")

    def modify(self, body: Mapping[str, Any]) -> Placed:
        order = self._open(body)
        quantity = int(body.get("qty") or order.quantity)
        if quantity <= order.filled:
            raise Refusal(-50, f"{order.filled} of it has traded")
        order.quantity = quantity
        order.limit = Decimal(str(body.get("limitPrice") or order.limit))
        order.stop = Decimal(str(body.get("stopPrice") or order.stop))
        self.tell(order)
        self.match(order.symbol)
        return order

    def cancel(self, body: Mapping[str, Any]) -> Placed:
        order = self._open(body)
        self.end(order, CANCELED, "")
        return order

    def _open(self, body: Mapping[str, Any]) -> Placed:
        order = self.orders.get(str(body.get("id")))
        if order is None:
            raise Refusal(-51, "Invalid order id")
        if not order.is_open:
            code = {CANCELED: -161, TRADED: -162, REJECTED: -164}.get(order.status, -51)
            raise Refusal(code, f"The order is already {['cancelled', 'traded', 'rejected'][-161 - code]}")
        return order

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def match(self, symbol: str) -> None:
        for order in list(self.orders.values()):
            if order.symbol == symbol and order.is_open:
                self._match(order)

    def _match(self, order: Placed) -> None:
        price = order.listing.touch(order.side)
        if not order.triggered and price and order.side * (price - order.stop) >= 0:
            order.triggered = True
        met = order.triggered and price and order.side * (order.limit - price) >= 0
        if met and order.left:
            quantity = min(order.left, self.parts.pop(0)) if self.parts else order.left
            if quantity:
                self.execute(order, quantity, price)
        if order.is_open and order.validity == "IOC":
            self.end(order, CANCELED, "")

    def execute(self, order: Placed, quantity: int, price: Decimal) -> Trade:
        trade = Trade(f"{len(self.trades) + 1:08}", order, quantity, price, time.time())
        self.trades.append(trade)
        order.filled += quantity
        order.value += price * quantity
        if not order.left and order.is_open:
            order.status = TRADED
        self.tell(order)
        self._push({"s": "ok", "trades": trade_row(trade)})
        self._push({"s": "ok", "positions": self.position_row(order.symbol, order.product)})
        return trade

    def end(self, order: Placed, status: int, message: str) -> None:
        order.status, order.message = status, message
        self.tell(order)

    def tell(self, order: Placed) -> None:
        self._push({"s": "ok", "orders": order_push(order)})

    def trade_at_touch(self, symbol: str, quantity: int, product: str, source: str = "M") -> Trade:
        """Somebody trades so much (negative: sells) elsewhere, at once."""
        side = 1 if quantity > 0 else -1
        price = self._listings[symbol].touch(side) or self._listings[symbol].last
        body = {"symbol": symbol, "qty": abs(quantity), "side": side, "type": LIMIT, "productType": product}
        order = self.place({**body, "limitPrice": price, "validity": "DAY"}, source)
        return self.execute(order, order.left, price)

    # ── its books ────────────────────────────────────────────────────────────────────────────────────────────────────

    def visible(self) -> list[Placed]:
        return [order for order in self.orders.values() if order.hidden_until <= time.time()]

    def net(self) -> dict[tuple[str, str], int]:
        """By symbol and product, all trades of anybody."""
        found: dict[tuple[str, str], int] = {}
        for trade in self.trades:
            key = (trade.order.symbol, trade.order.product)
            found[key] = found.get(key, 0) + trade.order.side * trade.quantity
        return found

    def last(self, symbol: str) -> Decimal:
        return self._listings[symbol].last

    def realized(self) -> Decimal:
        """What the trades have made, with what is open valued at its last price."""
        total = Decimal(0)
        for trade in self.trades:
            total -= trade.order.side * trade.quantity * trade.price
        for (symbol, _), quantity in self.net().items():
            total += quantity * self._listings[symbol].last
        return total

    def position_row(self, symbol: str, product: str) -> dict[str, Any]:
        return {
            "symbol": symbol,
            "id": f"{symbol}-{product}",
            "net_qty": self.net().get((symbol, product), 0),
            "product_type": product,
        }

    def positions(self) -> list[dict[str, Any]]:
        rows = []
        for (symbol, product), net in self.net().items():
            own = [t for t in self.trades if (t.order.symbol, t.order.product) == (symbol, product)]
            sides = {side: sum(t.quantity for t in own if t.order.side == side) for side in (1, -1)}
            rows.append(
                {
                    "symbol": symbol,
                    "id": f"{symbol}-{product}",
                    "netQty": net,
                    "qty": abs(net),
                    "side": (net > 0) - (net < 0),
                    "productType": product,
                    "buyQty": sides[1],
                    "sellQty": sides[-1],
                    "dayBuyQty": sides[1],
                    "daySellQty": sides[-1],
                    "cfBuyQty": 0,
                    "cfSellQty": 0,
                    "crossCurrency": "N",
                    "ltp": float(self._listings[symbol].last),
                }
            )
        return rows

    def holding_rows(self) -> list[dict[str, Any]]:
        return [
            {"holdingType": "HLD", "symbol": symbol, "quantity": quantity, "remainingQuantity": quantity}
            for symbol, quantity in self.holdings.items()
        ]

    def funds(self) -> list[dict[str, Any]]:
        used = sum((abs(q) * self._listings[symbol].last for (symbol, _), q in self.net().items()), Decimal(0))
        titles = {
            1: ("Total Balance", self.cash),
            2: ("Utilized Amount", used),
            10: ("Available Balance", self.cash - used),
        }
        return [
            {"id": number, "title": title, "equityAmount": float(amount), "commodityAmount": 0}
            for number, (title, amount) in titles.items()
        ]


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone(KOLKATA):%d-%b-%Y %H:%M:%S}"


def order_row(order: Placed) -> dict[str, Any]:
    """As `/orders` has it."""
    return {
        "clientId": CLIENT,
        "id": order.id,
        "exchOrdId": f"11{order.id}",
        "qty": order.quantity,
        "remainingQuantity": order.left if order.is_open else 0,
        "filledQty": order.filled,
        "limitPrice": float(order.limit),
        "stopPrice": float(order.stop),
        "tradedPrice": order.average,
        "type": order.type,
        "fyToken": order.listing.fytoken,
        "exchange": int(order.listing.fytoken[:2]),
        "segment": int(order.listing.fytoken[2:4]),
        "symbol": order.symbol,
        "message": order.message,
        "offlineOrder": False,
        "orderDateTime": _when(order.time),
        "orderValidity": order.validity,
        "productType": order.product,
        "side": order.side,
        "status": order.status if order.shown_status is None else order.shown_status,
        "source": order.source,
        "orderTag": order.tag,
    }


def order_push(order: Placed) -> dict[str, Any]:
    """As the order socket tells it; `ord_status` is the back office's own number."""
    row = order_row(order)
    return {
        "client_id": CLIENT,
        "id": row["id"],
        "id_exchange": row["exchOrdId"],
        "qty": row["qty"],
        "qty_remaining": row["remainingQuantity"],
        "qty_filled": row["filledQty"],
        "price_limit": row["limitPrice"],
        "price_stop": row["stopPrice"],
        "price_traded": row["tradedPrice"],
        "ord_type": row["type"],
        "fy_token": row["fyToken"],
        "exchange": row["exchange"],
        "segment": row["segment"],
        "symbol": row["symbol"],
        "oms_msg": row["message"],
        "time_oms": row["orderDateTime"],
        "validity": row["orderValidity"],
        "product_type": row["productType"],
        "tran_side": row["side"],
        "ord_status": 90 if row["status"] == TRADED else 20,
        "org_ord_status": row["status"],
        "ord_source": row["source"],
        "ordertag": row["orderTag"],
    }


def trade_book_row(trade: Trade) -> dict[str, Any]:
    """As `/tradebook` has it."""
    order = trade.order
    return {
        "clientId": CLIENT,
        "orderDateTime": _when(trade.time),
        "orderNumber": order.id,
        "exchangeOrderNo": f"11{order.id}",
        "side": order.side,
        "orderType": order.type,
        "productType": order.product,
        "tradedQty": trade.quantity,
        "tradePrice": float(trade.price),
        "tradeValue": float(trade.price * trade.quantity),
        "tradeNumber": trade.number,
        "symbol": order.symbol,
        "orderTag": order.tag,
    }


def trade_row(trade: Trade) -> dict[str, Any]:
    """As the order socket tells it."""
    row = trade_book_row(trade)
    return {
        "id_fill": row["tradeNumber"],
        "id": row["orderNumber"],
        "qty_traded": row["tradedQty"],
        "price_traded": row["tradePrice"],
        "traded_val": row["tradeValue"],
        "product_type": row["productType"],
        "client_id": CLIENT,
        "id_exchange": row["exchangeOrderNo"],
        "ord_type": row["orderType"],
        "tran_side": row["side"],
        "symbol": row["symbol"],
        "fill_time": row["orderDateTime"],
        "ordertag": row["orderTag"],
    }
