"""Every command and every read, written once.

An engine in this process and one that is attached to over a socket differ in two methods: `_send(command)` and
`_read(question)`. What a user wrote becomes raw integers here, in the caller's thread, so that a wrong use raises where
it was made. What comes out becomes `Decimal`s and DataFrames here, off the engine's thread.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeVar

from livetrade import frames
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.exits import check_terms, watched
from livetrade.core.ledger import Book
from livetrade.core.numbers import MONEY_SCALE, Number, at, divide, money, money_raw, positive, to_decimal
from livetrade.core.state import Market
from livetrade.core.values import (
    ExitKind,
    ExitTerm,
    Fill,
    Instrument,
    InstrumentKind,
    Order,
    OrderSide,
    OrderStatus,
    OrderType,
    Position,
    Product,
    Source,
    TimeInForce,
    average,
)
from livetrade.errors import OrderError, OrderPendingError, OrderRefusedError
from livetrade.handle import Handle
from livetrade.stream import LivePriceStream

if TYPE_CHECKING:
    import pandas as pd

    from livetrade.panel import Panel

T = TypeVar("T")
Exact = bool | Literal["arrow"]
When = datetime | str | None

MANUAL = "manual"
current_strategy: ContextVar[str] = ContextVar("livetrade_strategy", default=MANUAL)
"""Whose orders these are: the strategy that is running, or `manual` for what a person does."""

_CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,30}")
_PNL_FIELDS = (
    "portfolio_value",
    "cash",
    "realized_pnl",
    "unrealized_pnl",
    "total_pnl",
    "total_pnl_percent",
    "day_pnl",
    "fees",
)


class OrderResult(NamedTuple):
    """The answer to a command: `success, message, order = await engine.market_buy(...)`.

    success: the order did what its type asks (market: filled whole; limit and stop: accepted). message: one sentence.
    order: the order as it stands; None for commands that make no order.
    """

    success: bool
    message: str
    order: Order | None

    def raise_if_failed(self) -> Self:
        """Itself on success. Raises `OrderPendingError` while the order is open, `OrderRefusedError` otherwise."""
        if self.success:
            return self
        if self.order is not None and self.order.is_open:
            raise OrderPendingError(self.message)
        raise OrderRefusedError(self.message)


class OrderHandle(Handle[OrderResult]):
    """The answer to an order, modify or cancel; `wait_for` follows the order further."""

    def __init__(self, what: str, follow: "Callable[[OrderHandle, OrderStatus, float | None], Handle[OrderResult]]") -> None:
        super().__init__(what)
        self._follow = follow
        self.client_order_id: str | None = None

    def wait_for(self, status: OrderStatus | str, timeout: float | None = None) -> Handle[OrderResult]:
        """A handle that resolves when the order reaches `status`, or a final state instead, or after `timeout` seconds."""
        return self._follow(self, _member(OrderStatus, status, "status"), timeout)


@dataclass(frozen=True, slots=True)
class PortfolioPnl:
    """The figures behind `pnl()`, in raw money."""

    portfolio_value: int
    cash: int
    realized_pnl: int
    unrealized_pnl: int
    total_pnl: int
    day_pnl: int
    fees: int
    put_in: int

    @classmethod
    def of(cls, account: Account) -> "PortfolioPnl":
        ledger = account.ledger
        return cls(
            account.portfolio_value_raw,
            ledger.cash_raw,
            ledger.realized_raw,
            account.unrealized_raw,
            account.total_pnl_raw,
            account.day_pnl_raw,
            ledger.fees_raw,
            ledger.put_in_raw,
        )

    def as_dict(self) -> dict[str, Decimal]:
        """Decimals by name; total_pnl_percent is of the money put in, half-even at six decimals."""
        percent = divide(self.total_pnl * 10**8, self.put_in) if self.put_in > 0 else 0
        figures = {name: money(getattr(self, name)) for name in _PNL_FIELDS if name != "total_pnl_percent"}
        figures["total_pnl_percent"] = to_decimal(percent, 6)
        return {name: figures[name] for name in _PNL_FIELDS}


class Surface(ABC):
    """What a user of any engine sees."""

    name: str
    stream: LivePriceStream

    @abstractmethod
    def _send(self, command: ev.Command, what: str) -> OrderHandle:
        """Sends a command; its `ts` (and an order's missing id) are set when it is taken."""

    @abstractmethod
    def _read(self, question: Callable[[Account], T]) -> T:
        """Asks the account between two events. What `question` gives back must not be changed by anybody later."""

    @property
    @abstractmethod
    def mode(self) -> str:
        """PAPER or REAL."""

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def market_buy(self, symbol: str, quantity: Number | None = None, **terms: Any) -> OrderHandle:
        """Buys at the live ask, at once.

        Exits: stop_loss_price, take_profit_price, stop_loss_pct, take_profit_pct (percent of the entry price),
        trailing_stop (amount), trailing_stop_pct. Common: lots (instead of quantity), product ("INTRADAY", "CNC",
        "MARGIN"), tag, client_order_id (1 to 30 letters and digits; sent again, it answers again and sends nothing).
        Resolves at a final state. Raises `OrderError` for wrong use, `EngineClosedError` when closed.
        """
        return self._order(OrderSide.BUY, OrderType.MARKET, symbol, quantity, **terms)

    def market_sell(self, symbol: str, quantity: Number | None = None, **terms: Any) -> OrderHandle:
        """Sells at the live bid, at once. Takes what `market_buy` takes."""
        return self._order(OrderSide.SELL, OrderType.MARKET, symbol, quantity, **terms)

    def limit_buy(self, symbol: str, quantity: Number | None, limit_price: Number, **terms: Any) -> OrderHandle:
        """Buys at `limit_price` or better. Also takes time_in_force ("DAY", "IOC", "GTC") and what `market_buy` takes.

        Resolves when accepted.
        """
        return self._order(OrderSide.BUY, OrderType.LIMIT, symbol, quantity, limit_price=limit_price, **terms)

    def limit_sell(self, symbol: str, quantity: Number | None, limit_price: Number, **terms: Any) -> OrderHandle:
        """Sells at `limit_price` or better. Takes what `limit_buy` takes."""
        return self._order(OrderSide.SELL, OrderType.LIMIT, symbol, quantity, limit_price=limit_price, **terms)

    def stop_buy(
        self,
        symbol: str,
        quantity: Number | None,
        trigger_price: Number,
        *,
        limit_price: Number | None = None,
        **terms: Any,
    ) -> OrderHandle:
        """Buys once the ask reaches `trigger_price`: at the market, or at `limit_price` or better where one is given.

        Takes what `limit_buy` takes. Resolves when accepted.
        """
        kind = OrderType.STOP if limit_price is None else OrderType.STOP_LIMIT
        return self._order(
            OrderSide.BUY, kind, symbol, quantity, trigger_price=trigger_price, limit_price=limit_price, **terms
        )

    def stop_sell(
        self,
        symbol: str,
        quantity: Number | None,
        trigger_price: Number,
        *,
        limit_price: Number | None = None,
        **terms: Any,
    ) -> OrderHandle:
        """Sells once the bid reaches `trigger_price`. Takes what `stop_buy` takes."""
        kind = OrderType.STOP if limit_price is None else OrderType.STOP_LIMIT
        return self._order(
            OrderSide.SELL, kind, symbol, quantity, trigger_price=trigger_price, limit_price=limit_price, **terms
        )

    def submit(self, order: Mapping[str, Any]) -> OrderHandle:
        """Sends an order from a mapping (a dict, a row of a DataFrame): symbol, side, quantity, order_type
        ("MARKET" unless named) and whatever the method of that type takes. Empty values (None, NaN) are left out.
        """
        terms = {str(key): value for key, value in dict(order).items() if not _is_empty(value)}
        missing = {"symbol", "side"} - set(terms)
        if missing:
            raise OrderError(f"submit needs {' and '.join(sorted(missing))}; it got {', '.join(terms) or 'nothing'}")
        side = _member(OrderSide, terms.pop("side"), "side")
        kind = _member(OrderType, terms.pop("order_type", OrderType.MARKET), "order_type")
        return self._order(side, kind, terms.pop("symbol"), terms.pop("quantity", None), **terms)

    def _order(
        self,
        side: OrderSide,
        order_type: OrderType,
        symbol: str,
        quantity: Number | None,
        *,
        limit_price: Number | None = None,
        trigger_price: Number | None = None,
        time_in_force: TimeInForce | str = TimeInForce.DAY,
        lots: Number | None = None,
        product: Product | str = Product.INTRADAY,
        tag: str = "",
        client_order_id: str | None = None,
        **exits: Any,
    ) -> OrderHandle:
        item = self._tradable(symbol)
        needs_limit = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        needs_trigger = order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if needs_limit is (limit_price is None) or needs_trigger is (trigger_price is None):
            raise OrderError(
                f"a {order_type} order {'needs' if needs_limit else 'has no'} limit_price and "
                f"{'needs' if needs_trigger else 'has no'} trigger_price"
            )
        terms = _exit_terms(item, exits)
        check_terms(item, side, terms)
        strategy = current_strategy.get()
        command = ev.SubmitOrder(
            ts=0,
            client_order_id=_client_id(client_order_id),
            instrument=item,
            side=side,
            order_type=order_type,
            quantity_raw=_quantity(item, quantity, lots),
            limit_raw=None if limit_price is None else item.order_price_raw(limit_price, "limit_price"),
            trigger_raw=None if trigger_price is None else item.order_price_raw(trigger_price, "trigger_price"),
            time_in_force=_member(TimeInForce, time_in_force, "time_in_force"),
            product=_member(Product, product, "product"),
            strategy=strategy,
            tag=_text(tag, "tag"),
            source=Source.USER if strategy == MANUAL else Source.STRATEGY,
            exits=terms,
        )
        return self._send(command, f"{side} {item.quantity(command.quantity_raw)} {symbol} {order_type}")

    def _tradable(self, symbol: str) -> Instrument:
        item = self.stream.instrument(symbol)
        if item.kind is InstrumentKind.INDEX:
            raise OrderError(f"{symbol} is an index: it has a last price only and cannot be traded; use its future or an ETF")
        return item

    def modify(
        self,
        client_order_id: str,
        *,
        quantity: Number | None = None,
        limit_price: Number | None = None,
        trigger_price: Number | None = None,
    ) -> OrderHandle:
        """Changes a working order; what is left out stays. `quantity` is the whole, what has filled included."""
        if quantity is None and limit_price is None and trigger_price is None:
            raise OrderError("modify needs a quantity, a limit_price or a trigger_price")
        order = self.order(client_order_id)
        if order is None:
            raise OrderError(f"no order has the id {client_order_id!r}; engine.orders(open=True) lists the working ones")
        item = order.instrument
        command = ev.ModifyOrder(
            ts=0,
            client_order_id=client_order_id,
            quantity_raw=None if quantity is None else item.quantity_raw(quantity),
            limit_raw=None if limit_price is None else item.order_price_raw(limit_price, "limit_price"),
            trigger_raw=None if trigger_price is None else item.order_price_raw(trigger_price, "trigger_price"),
        )
        return self._send(command, f"modify {client_order_id}")

    def cancel(self, client_order_id: str) -> OrderHandle:
        """Cancels a working order. Resolves when that is confirmed."""
        return self._send(ev.CancelOrder(0, _client_id(client_order_id)), f"cancel {client_order_id}")

    def cancel_all(self, symbol: str | None = None) -> OrderHandle:
        """Cancels every working order, or those of one symbol; a strategy's call cancels its own."""
        strategy = current_strategy.get()
        mine = None if strategy == MANUAL else strategy
        return self._send(ev.CancelAll(0, _symbol(symbol), mine), f"cancel all {symbol or ''}".rstrip())

    # ── exits ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def set_stop_loss(self, symbol: str, price: Number | None = None, *, pct: Number | None = None) -> OrderHandle:
        """Arms or moves the stop-loss of your position: at `price`, or `pct` percent from its average price.

        Without either it is disarmed. A price the market is already through fires at once.
        """
        return self._set_exit(ExitKind.STOP_LOSS, symbol, {"price": price, "pct": pct})

    def set_take_profit(self, symbol: str, price: Number | None = None, *, pct: Number | None = None) -> OrderHandle:
        """Arms or moves the take-profit of your position, as `set_stop_loss` does the stop."""
        return self._set_exit(ExitKind.TAKE_PROFIT, symbol, {"price": price, "pct": pct})

    def set_trailing_stop(self, symbol: str, *, amount: Number | None = None, pct: Number | None = None) -> OrderHandle:
        """Arms a trailing stop: `amount`, or `pct` percent, behind the best price from now on. Without either: disarmed."""
        return self._set_exit(ExitKind.TRAILING_STOP, symbol, {"amount": amount, "pct": pct})

    def _set_exit(self, kind: ExitKind, symbol: str, how: dict[str, Number | None]) -> OrderHandle:
        item = self._tradable(symbol)
        given = {name: value for name, value in how.items() if value is not None}
        if len(given) > 1:
            raise OrderError(f"{symbol}: give {' or '.join(given)} for the {kind}, not both")
        term = _term(item, kind, **given) if given else ExitTerm(kind)
        command = ev.SetExit(0, item.symbol, current_strategy.get(), term)
        return self._send(command, f"{'set' if given else 'disarm'} {kind} {symbol}")

    # ── closing, halting, money ──────────────────────────────────────────────────────────────────────────────────────

    def close_position(self, symbol: str, quantity: Number | None = None) -> OrderHandle:
        """Closes a symbol's position at the market, over all strategies, or `quantity` of it; never more than is held."""
        item = self._tradable(symbol)
        raw = None if quantity is None else item.quantity_raw(quantity)
        return self._send(ev.ClosePosition(0, item.symbol, raw), f"close {symbol}")

    def flatten(self, symbol: str | None = None) -> OrderHandle:
        """Cancels the working orders and closes the positions of all symbols, or of one. Works while halted."""
        return self._send(ev.ClosePosition(0, _symbol(symbol)), f"flatten {symbol or 'everything'}")

    def halt(self, reason: str = "") -> OrderHandle:
        """Refuses opening orders and cancels the working ones from now on; exits stay armed and fire."""
        return self._send(ev.Halt(0, _text(reason, "reason")), "halt")

    def resume(self) -> OrderHandle:
        """Ends a halt."""
        return self._send(ev.Resume(0), "resume")

    def transfer(self, amount: Number) -> OrderHandle:
        """Puts money in, or takes it out (negative; at most what is free)."""
        raw = money_raw(amount, "amount")
        if not raw:
            raise OrderError("transfer needs an amount that is not zero")
        return self._send(ev.Transfer(0, raw), f"transfer {amount}")

    def get_portfolio_pnl(self) -> Handle[dict[str, Decimal]]:
        """Money as exact Decimals: portfolio_value, cash, realized_pnl, unrealized_pnl, total_pnl, total_pnl_percent,
        day_pnl, fees."""
        handle: Handle[dict[str, Decimal]] = Handle("portfolio P&L")
        handle.resolve(self._read(PortfolioPnl.of).as_dict())
        return handle

    # ── DataFrames ───────────────────────────────────────────────────────────────────────────────────────────────────

    def positions(
        self, *, closed: bool = False, by: str = "symbol", symbol: str | None = None, exact: Exact = False
    ) -> "pd.DataFrame":
        """One row a symbol held (`closed=True`: ever held), or one a book with `by="strategy"` or `by="product"`."""
        if by not in ("symbol", "strategy", "product"):
            raise OrderError(f"positions: by must be 'symbol', 'strategy' or 'product', not {by!r}")
        rows, view = self._read(lambda account: (_position_rows(account, by), _view(account)))
        kept = [row for row in rows if (closed or row[2].quantity) and symbol in (None, row[2].symbol)]
        return frames.positions(kept, view, by=by, exact=exact)

    def orders(self, *, open: bool = False, exact: Exact = False, **where: Any) -> "pd.DataFrame":
        """One row an order, refused ones included; `open=True` keeps those that may still fill.

        Filters: symbol, strategy, tag, since, until (dates, datetimes, texts; since="today" works).
        """
        columns, view = self._read(lambda account: (account.order_history.copy(), _view(account)))
        return frames.orders(columns, view, frames.Where(**where), open=open, exact=exact)

    def fills(self, *, exact: Exact = False, **where: Any) -> "pd.DataFrame":
        """One row a fill, indexed by time. Filters as `orders`."""
        columns, view = self._read(lambda account: (account.fill_history.copy(), _view(account)))
        return frames.fills(columns, view, frames.Where(**where), exact=exact)

    def risk_orders(self, *, exact: Exact = False, **where: Any) -> "pd.DataFrame":
        """One row a stop-loss, take-profit or trailing stop, finished ones included, with its distance to the market."""
        rows, view = self._read(lambda account: (_risk_rows(account), _view(account)))
        return frames.risk_orders(rows, view, frames.Where(**where), exact=exact)

    def equity(self, freq: str | None = None, *, exact: Exact = False, **where: Any) -> "pd.DataFrame":
        """The equity curve: a row for each fill and at most one a second; `freq` resamples it ("1min")."""
        columns, view = self._read(lambda account: (account.equity_history.copy(), _view(account)))
        return frames.equity(columns, view, frames.Where(**where), freq=freq, exact=exact)

    def round_trips(self, *, exact: Exact = False, **where: Any) -> "pd.DataFrame":
        """One row for each time a book went from flat to flat (or through zero), with what it made and its excursions."""
        fills, view = self._read(lambda account: (account.fill_history.copy()["fill"], _view(account)))
        return frames.round_trips(fills, view, frames.Where(**where), exact=exact)  # type: ignore[arg-type]

    def export(self, path: str | Path, since: When = None) -> list[Path]:
        """Writes positions, orders, fills, risk orders, equity and round trips; gives back what was written.

        `.xlsx`: one file, a sheet for each. `.parquet` and `.csv`: a file for each, its name added to `path`'s.
        """
        tables = {
            "positions": self.positions(closed=True),
            "orders": self.orders(since=since),
            "fills": self.fills(since=since),
            "risk_orders": self.risk_orders(since=since),
            "equity": self.equity(since=since),
            "round_trips": self.round_trips(since=since),
        }
        return frames.export(path, tables, self._read(_view))

    # ── single values ────────────────────────────────────────────────────────────────────────────────────────────────

    def position(self, symbol: str) -> Position:
        """What is held of a symbol; never None, falsy when flat."""
        item = self.stream.instrument(symbol)
        return self._read(lambda account: _position(account, item, account.markets.get(item.symbol)))

    def order(self, client_order_id: str) -> Order | None:
        """An order by its id, as it stands; None when there is none."""
        return self._read(lambda account: account.orders.get(client_order_id))

    @property
    def cash(self) -> Decimal:
        return money(self._read(lambda account: account.ledger.cash_raw))

    def now(self) -> datetime:
        """The engine's time, in its time zone."""
        return self._read(lambda account: at(account.ts, account.zone))

    def pnl(self, by: str | None = None, *, exact: bool = False) -> "pd.Series[Any]":
        """The portfolio's figures as a Series, or total P&L by "strategy", "tag", "symbol" or "date".

        The parts sum to `total_pnl`. Floats, or Decimals with `exact=True`.
        """
        if by is None:
            return frames.series(self._read(PortfolioPnl.of).as_dict(), "pnl", exact=exact)
        if by not in _PARTS:
            raise OrderError(f"pnl: by must be one of {', '.join(map(repr, _PARTS))}, not {by!r}")
        parts = self._read(_PARTS[by])
        decimals = {key: money(raw) for key, raw in parts.items()}
        return frames.series(decimals, "total_pnl", index=by, exact=exact)

    # ── the panel ────────────────────────────────────────────────────────────────────────────────────────────────────

    def panel(self, symbols: Sequence[str] | None = None, fps: float | None = 30) -> "Panel":
        """The live P&L widget: computed on every tick, painted at most `fps` times a second (60 at the most)."""
        from livetrade.panel import Panel

        return Panel(self, fps=fps, symbols=symbols)  # type: ignore[arg-type]


# ── from what a user wrote ───────────────────────────────────────────────────────────────────────────────────────────


def _member(kind: type[T], value: object, what: str) -> T:
    try:
        return kind(str(value).upper())  # type: ignore[call-arg]
    except ValueError:
        raise OrderError(f"{what} must be one of {', '.join(kind)}, not {value!r}") from None  # type: ignore[call-overload]


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise OrderError(f"{what} must be a text of at most 200 characters, not {value!r}")
    return value


def _symbol(symbol: str | None) -> str | None:
    from livetrade.core.values import check_symbol

    return None if symbol is None else check_symbol(symbol)


def _client_id(value: str | None) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _CLIENT_ID.fullmatch(value):
        raise OrderError(f"client_order_id must be 1 to 30 letters and digits, not {value!r}")
    return value


def _quantity(item: Instrument, quantity: Number | None, lots: Number | None) -> int:
    if (quantity is None) is (lots is None):
        raise OrderError(f"{item.symbol}: give a quantity or lots{', not both' if lots is not None else ''}")
    if lots is None:
        return item.quantity_raw(quantity)  # type: ignore[arg-type]
    count = positive(lots, f"{item.symbol}: lots")
    if count != int(count):
        raise OrderError(f"{item.symbol}: lots must be a whole number, not {lots}")
    return item.quantity_raw(count * item.lot_size)


_EXITS = {
    "stop_loss_price": (ExitKind.STOP_LOSS, "price"),
    "stop_loss_pct": (ExitKind.STOP_LOSS, "pct"),
    "take_profit_price": (ExitKind.TAKE_PROFIT, "price"),
    "take_profit_pct": (ExitKind.TAKE_PROFIT, "pct"),
    "trailing_stop": (ExitKind.TRAILING_STOP, "amount"),
    "trailing_stop_pct": (ExitKind.TRAILING_STOP, "pct"),
}


def _exit_terms(item: Instrument, given: Mapping[str, Any]) -> tuple[ExitTerm, ...]:
    unknown = [name for name in given if name not in _EXITS]
    if unknown:
        raise TypeError(f"unknown argument {', '.join(unknown)}; exits are {', '.join(_EXITS)}")
    terms: dict[ExitKind, ExitTerm] = {}
    for name, value in given.items():
        if value is None:
            continue
        kind, how = _EXITS[name]
        if kind in terms:
            raise OrderError(f"{item.symbol}: the {kind} is given twice")
        terms[kind] = _term(item, kind, **{how: value})
    return tuple(terms.values())


def _term(
    item: Instrument, kind: ExitKind, price: Number | None = None, pct: Number | None = None, amount: Number | None = None
) -> ExitTerm:
    if price is not None:
        return ExitTerm(kind, price_raw=item.order_price_raw(price, f"{kind} price"))
    if amount is not None:
        return ExitTerm(kind, amount_raw=item.price_raw(amount, f"{kind} amount"))
    return ExitTerm(kind, pct=positive(pct, f"{item.symbol}: {kind} percentage"))  # type: ignore[arg-type]


# ── from the account ─────────────────────────────────────────────────────────────────────────────────────────────────


def _view(account: Account) -> frames.View:
    return frames.View(account.zone, account.seq, account.ts)


def _risk_rows(account: Account) -> list[Any]:
    rows = []
    for risk in account.risks.values():
        market = account.markets[risk.symbol]
        rows.append((risk, watched(market.quote, risk.long, account.trigger_by)))
    return rows


def _position_rows(account: Account, by: str) -> list[tuple[str, str, Position]]:
    rows: list[tuple[str, str, Position]] = []
    for symbol, market in sorted(account.markets.items()):
        groups: dict[str, list[Book]] = {}
        for book in market.books:
            groups.setdefault({"symbol": symbol, "strategy": book.strategy, "product": str(book.product)}[by], []).append(book)
        for key, books in groups.items():
            position = _position_of(account, market.instrument, market, books)
            rows.append((key if by == "strategy" else "", key if by == "product" else "", position))
    return rows


def _position(account: Account, item: Instrument, market: Market | None) -> Position:
    return _position_of(account, item, market, market.books if market else [])


def _position_of(account: Account, item: Instrument, market: Market | None, books: Sequence[Book]) -> Position:
    """The sum of some books of one symbol."""
    quantity = sum(book.quantity_raw for book in books)
    cost = sum(book.cost_raw for book in books)
    realized = sum(book.realized_raw for book in books)
    fees = sum(book.fees_raw for book in books)
    mark = market.mark_raw if market else 0
    if market and market.quote is not None and not market.exposure_raw:
        mark = market.quote.mark_raw  # a flat symbol is not marked tick by tick
    value = sum(book.market_value_raw(mark) for book in books)
    opened = [book.opened_ns for book in books if book.quantity_raw]
    exits = {risk.kind: risk for book in books for risk in account.brackets.get(book.key, {}).values()}
    stop = exits.get(ExitKind.STOP_LOSS) or exits.get(ExitKind.TRAILING_STOP)
    target = exits.get(ExitKind.TAKE_PROFIT)
    percent = to_decimal(divide((value - cost) * 10**8, abs(cost)), 6) if cost else None
    return Position(
        symbol=item.symbol,
        quantity=item.quantity(quantity),
        avg_price=money(average(item, cost, quantity)) if quantity else None,
        last_price=money(mark * 10 ** (MONEY_SCALE - item.scale) // 2) if mark else None,
        market_value=money(value),
        cost_basis=money(cost),
        unrealized_pnl=money(value - cost),
        realized_pnl=money(realized),
        fees=money(fees),
        total_pnl=money(realized + value - cost - fees),
        unrealized_pnl_pct=percent,
        stop_loss_price=stop.trigger_price if stop else None,
        take_profit_price=target.trigger_price if target else None,
        opened_at=at(min(opened), account.zone) if opened else None,
    )


def _book_pnl(account: Account, book: Book) -> int:
    market = account.markets[book.symbol]
    return book.realized_raw - book.fees_raw + book.market_value_raw(market.mark_raw) - book.cost_raw


def _by_book(key: Callable[[Book], str]) -> Callable[[Account], dict[Any, int]]:
    def parts(account: Account) -> dict[Any, int]:
        sums: dict[Any, int] = {}
        for book in account.ledger.books.values():
            sums[key(book)] = sums.get(key(book), 0) + _book_pnl(account, book)
        return sums

    return parts


def _by_tag(account: Account) -> dict[Any, int]:
    """Realized P&L and fees by the tag of each fill, what is open by the tag that opened it."""
    sums: dict[Any, int] = {}
    for fill in account.fill_history.columns["fill"]:
        assert isinstance(fill, Fill)
        sums[fill.tag] = sums.get(fill.tag, 0) + fill.realized_raw - fill.fees_raw
    for book in account.ledger.held():
        open_pnl = book.market_value_raw(account.markets[book.symbol].mark_raw) - book.cost_raw
        sums[book.tag] = sums.get(book.tag, 0) + open_pnl
    return sums


def _by_date(account: Account) -> dict[Any, int]:
    bases = [*account.day_bases, ("", account.total_pnl_raw)]
    return {day: following - base for (day, base), (_, following) in zip(bases, bases[1:], strict=False)}


_PARTS: dict[str, Callable[[Account], dict[Any, int]]] = {
    "strategy": _by_book(lambda book: book.strategy),
    "tag": _by_tag,
    "symbol": _by_book(lambda book: book.symbol),
    "date": _by_date,
}


def seconds(duration: float | timedelta) -> float:
    """A duration in seconds from seconds or a `timedelta`."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
