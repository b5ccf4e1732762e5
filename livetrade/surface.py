"""Every command, written once, over the reads of `livetrade.reads`.

An engine in this process and one that is attached to over a socket differ in two methods: `_send(command)` and
`_read(question)`. What a user wrote becomes raw integers here, in the caller's thread, so that a wrong use raises where
it was made.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self, Unpack

from livetrade import portfolio
from livetrade.columns import View
from livetrade.context import MANUAL, StrategyInfo, current_source, current_strategy
from livetrade.core import events as ev
from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.exits import check_terms
from livetrade.core.instruments import Instrument, check_symbol
from livetrade.core.kinds import (
    ExitKind,
    InstrumentKind,
    OrderSide,
    OrderStatus,
    OrderType,
    Process,
    Product,
    Source,
    TimeInForce,
)
from livetrade.core.numbers import Number, money_raw, number, positive
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm, Fill, Order
from livetrade.errors import EngineClosedError, OrderError, OrderPendingError, OrderRefusedError
from livetrade.handle import Handle
from livetrade.preview import Preview
from livetrade.reads import Reads, view_of
from livetrade.stream import LivePriceStream
from livetrade.summary import Summary
from livetrade.terms import (
    MarketTerms,
    PreviewTerms,
    RestingTerms,
    client_id,
    duration,
    exit_term,
    exit_terms,
    flag,
    is_empty,
    member,
    optional_symbol,
    order_quantity,
    spelled_out,
    text,
)
from livetrade.usercode import TICKS_AT_ONCE, Callbacks, UserThread, guarded

if TYPE_CHECKING:
    from livetrade.panel import Panel, PanelSource
    from livetrade.strategies import Strategy, StrategyHandle

NOT_CONFIRMED = "Not confirmed"
PANEL_SECONDS = 0.5

_KINDS = {
    (False, False): OrderType.MARKET,
    (True, False): OrderType.LIMIT,
    (False, True): OrderType.STOP,
    (True, True): OrderType.STOP_LIMIT,
}
"""By whether a limit and a trigger are given."""


class OrderResult(NamedTuple):
    """The answer to a command: `success, message, order = await engine.market_buy(...)`.

    A refusal is an answer, not an exception: the message says why. What begins with `Not confirmed` may still fill,
    and must not be sent again.
    """

    success: bool
    """The order did what its type asks: a market order filled whole, a limit or a stop was accepted."""
    message: str
    """One sentence."""
    order: Order | None
    """The order as it stands; None for commands that make no order."""

    def raise_if_failed(self) -> Self:
        """Itself on success. Raises `OrderPendingError` while it is not confirmed, `OrderRefusedError` otherwise."""
        if self.success:
            return self
        if self.message.startswith(NOT_CONFIRMED):
            raise OrderPendingError(self.message)
        raise OrderRefusedError(self.message)

    def _repr_html_(self) -> str:
        mark = "✓" if self.success else "…" if self.message.startswith(NOT_CONFIRMED) else "✗"
        told = [] if self.order is None else [self.order._repr_html_()]
        return html.card(f"{mark} {self.message}", *told)


class OrderHandle(Handle[OrderResult]):
    """The answer to an order, modify or cancel; `wait_for` follows the order further."""

    def __init__(
        self, what: str, follow: "Callable[[OrderHandle, OrderStatus, float | None], Handle[OrderResult]]"
    ) -> None:
        super().__init__(what)
        self._follow = follow
        self._order_id: str | None = None
        self.until_taken: Callable[[], object] | None = None
        """Returns once the engine has taken the command, and has given an order its id."""

    @property
    def client_order_id(self) -> str | None:
        """The order's id, from the moment of the call on; None for a command that is about no order of its own."""
        if self._order_id is None and self.until_taken is not None:
            self.until_taken()
        return self._order_id

    @client_order_id.setter
    def client_order_id(self, order_id: str | None) -> None:
        self._order_id = order_id

    def wait_for(self, status: OrderStatus | str, timeout: float | timedelta | None = None) -> Handle[OrderResult]:
        """A handle that resolves when the order reaches `status`, or a final state instead, or after `timeout` seconds
        (or a `timedelta`) of the engine's time."""
        return self._follow(self, member(OrderStatus, status, "status"), duration(timeout, "timeout"))


def taken_at(ts: int, command: ev.Command, handle: OrderHandle, account: Account) -> ev.Command:
    """A command as the account takes it: with its time, and an order with its id, which its handle tells then."""
    if isinstance(command, ev.SubmitOrder):
        handle.client_order_id = command.client_order_id or account.new_id(ts)
        return replaced(command, ts=ts, client_order_id=handle.client_order_id)
    handle.client_order_id = getattr(command, "client_order_id", None)
    return replaced(command, ts=ts)


class Surface(Reads):
    """What a user of any engine sees."""

    name: str
    """What it is called; of two engines of one name in a process the second closes the first."""
    stream: LivePriceStream
    """Its prices: `engine.stream.last(symbol)`, `engine.stream.update(...)`, `engine.stream.ticks(...)`."""
    process = Process.KERNEL
    """Where the strategies that are started here run."""
    _user: UserThread
    """What runs callbacks and strategies; made by each engine, as are these:"""
    _on_fill: Callbacks
    _on_order: Callbacks

    def __init__(self) -> None:
        from livetrade.strategies import Strategies

        self._panels: dict[tuple[tuple[str, ...] | None, float | None], Panel] = {}
        self._strategies = Strategies(self, lambda: self._user, self._own_user_thread, self._strategy_failed)

    @abstractmethod
    def _send(self, command: ev.Command, what: str) -> OrderHandle:
        """Sends a command; its `ts` (and an order's missing id) are set when it is taken."""

    def _instrument(self, symbol: str) -> Instrument:
        return self.stream.instrument(symbol)

    def last_quote(self, symbol: str) -> Tick | None:
        """The quote as it stands (`stream.Owner`)."""

        def look(account: Account) -> Tick | None:
            market = account.markets.get(symbol)
            return market.quote if market is not None else None

        return self._read(look)

    def all_quotes(self) -> tuple[list[Tick], View]:
        """The quote of each symbol that has one, all of one moment (`stream.Owner`)."""
        return self._read(lambda account: (portfolio.quotes(account), view_of(account)))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"the engine {self.name!r} runs in this process and cannot be pickled or copied; "
            "others reach one in a desk: lt.start_desk(...), lt.attach(...)"
        )

    def seen_quotes(self) -> list[Tick]:
        """The quotes for what only shows them (`stream.Owner`)."""
        return self._glance(portfolio.quotes) or []

    @property
    @abstractmethod
    def mode(self) -> str:
        """PAPER or REAL."""

    def _state(self) -> str:
        """Such as open or closed."""
        return "open"

    def _title(self, seen: Summary | None) -> str:
        busy = "" if seen is not None else " · its thread is busy and does not answer"
        return f"{self.name} · {self.mode}{' MONEY' if self.mode == 'REAL' else ''} · {self._state()}{busy}"

    def _below(self) -> str:
        """The strategies that were started here."""
        infos = self._strategies.infos(self.process)
        rows = [(info.name, info.state, f"{info.started_at:%H:%M:%S}", info.error or None) for info in infos]
        return html.table(("Strategy", "State", "Started", "Error"), rows, "strategies()") if rows else ""

    @abstractmethod
    def close(self) -> None:
        """Ends it. Reads answer afterwards too; commands raise `EngineClosedError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @spelled_out
    def market_buy(self, symbol: str, quantity: Number | None = None, **terms: Unpack[MarketTerms]) -> OrderHandle:
        """Buys at the live ask, at once.

        Exits: stop_loss_price, take_profit_price, stop_loss_pct, take_profit_pct (percent of the entry price),
        trailing_stop (amount), trailing_stop_pct. Common: lots (instead of quantity), product ("INTRADAY", "CNC",
        "MARGIN"), tag, client_order_id (1 to 30 letters and digits; sent again, it answers again and sends nothing),
        slice (True: above the exchange's freeze quantity it is sent in up to 10 orders, in place of being refused; they
        share the tag, are named after the client_order_id, and the handle answers for all of them).
        Resolves at a final state. Raises `OrderError` for wrong use, `EngineClosedError` when closed.
        """
        return self._order(OrderSide.BUY, OrderType.MARKET, symbol, quantity, **terms)

    @spelled_out
    def market_sell(self, symbol: str, quantity: Number | None = None, **terms: Unpack[MarketTerms]) -> OrderHandle:
        """Sells at the live bid, at once. Takes what `market_buy` takes."""
        return self._order(OrderSide.SELL, OrderType.MARKET, symbol, quantity, **terms)

    @spelled_out
    def limit_buy(
        self, symbol: str, quantity: Number | None, limit_price: Number, **terms: Unpack[RestingTerms]
    ) -> OrderHandle:
        """Buys at `limit_price` or better. Also takes time_in_force ("DAY", "IOC", "GTC") and what `market_buy` takes.

        Resolves when accepted.
        """
        return self._order(OrderSide.BUY, OrderType.LIMIT, symbol, quantity, limit_price=limit_price, **terms)

    @spelled_out
    def limit_sell(
        self, symbol: str, quantity: Number | None, limit_price: Number, **terms: Unpack[RestingTerms]
    ) -> OrderHandle:
        """Sells at `limit_price` or better. Takes what `limit_buy` takes."""
        return self._order(OrderSide.SELL, OrderType.LIMIT, symbol, quantity, limit_price=limit_price, **terms)

    @spelled_out
    def stop_buy(
        self,
        symbol: str,
        quantity: Number | None,
        trigger_price: Number,
        *,
        limit_price: Number | None = None,
        **terms: Unpack[RestingTerms],
    ) -> OrderHandle:
        """Buys once the ask reaches `trigger_price`: at the market, or at `limit_price` or better where one is given.

        Takes what `limit_buy` takes. Resolves when accepted.
        """
        kind = OrderType.STOP if limit_price is None else OrderType.STOP_LIMIT
        return self._order(
            OrderSide.BUY, kind, symbol, quantity, trigger_price=trigger_price, limit_price=limit_price, **terms
        )

    @spelled_out
    def stop_sell(
        self,
        symbol: str,
        quantity: Number | None,
        trigger_price: Number,
        *,
        limit_price: Number | None = None,
        **terms: Unpack[RestingTerms],
    ) -> OrderHandle:
        """Sells once the bid reaches `trigger_price`. Takes what `stop_buy` takes."""
        kind = OrderType.STOP if limit_price is None else OrderType.STOP_LIMIT
        return self._order(
            OrderSide.SELL, kind, symbol, quantity, trigger_price=trigger_price, limit_price=limit_price, **terms
        )

    def submit(self, order: Mapping[str, Any]) -> OrderHandle:
        """Sends an order from a mapping (a dict, a row of a DataFrame): symbol, side, quantity, order_type
        ("MARKET" unless named) and whatever the method of that type takes. Empty values (None, NaN) are left out.

        Raises `OrderError` for what is no mapping, and what the method of its type raises.
        """
        try:
            given = dict(order)
        except (TypeError, ValueError):
            wanted = {"symbol": "NSE:SBIN-EQ", "side": "BUY", "quantity": 10}
            raise OrderError(f"submit takes a mapping such as {wanted}, not {order!r}") from None
        terms = {str(key): value for key, value in given.items() if not is_empty(value)}
        missing = {"symbol", "side"} - set(terms)
        if missing:
            raise OrderError(f"submit needs {' and '.join(sorted(missing))}; it got {', '.join(terms) or 'nothing'}")
        side = member(OrderSide, terms.pop("side"), "side")
        kind = member(OrderType, terms.pop("order_type", OrderType.MARKET), "order_type")
        return self._order(side, kind, terms.pop("symbol"), terms.pop("quantity", None), **terms)

    def _order(
        self, side: OrderSide, order_type: OrderType, symbol: str, quantity: Number | None, **terms: Any
    ) -> OrderHandle:
        command = self._wanted(side, order_type, symbol, quantity, **terms)
        shown = command.instrument.quantity(command.quantity_raw)
        return self._send(command, f"{side} {shown} {symbol} {order_type}")

    def _wanted(
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
        slice: bool = False,  # noqa: A002  the users' word
        **exits: Any,
    ) -> ev.SubmitOrder:
        item = self._tradable(symbol)
        needs_limit = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        needs_trigger = order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if needs_limit is (limit_price is None) or needs_trigger is (trigger_price is None):
            raise OrderError(
                f"a {order_type} order {'needs' if needs_limit else 'has no'} limit_price and "
                f"{'needs' if needs_trigger else 'has no'} trigger_price"
            )
        terms = exit_terms(item, exits) if exits else ()
        if terms:
            check_terms(item, side, terms)
        strategy = current_strategy.get()
        return ev.SubmitOrder(
            ts=0,
            client_order_id=client_id(client_order_id),
            instrument=item,
            side=side,
            order_type=order_type,
            quantity_raw=order_quantity(item, quantity, lots),
            limit_raw=None if limit_price is None else item.order_price_raw(limit_price, "limit_price"),
            trigger_raw=None if trigger_price is None else item.order_price_raw(trigger_price, "trigger_price"),
            time_in_force=member(TimeInForce, time_in_force, "time_in_force"),
            product=member(Product, product, "product"),
            strategy=strategy,
            tag=text(tag, "tag"),
            source=current_source.get() or (Source.USER if strategy == MANUAL else Source.STRATEGY),
            exits=terms,
            sliced=flag(slice, "slice"),
        )

    @spelled_out
    def preview(
        self, side: OrderSide | str, symbol: str, quantity: Number | None = None, **terms: Unpack[PreviewTerms]
    ) -> Preview:
        """What an order would do now, without sending it: `engine.preview("BUY", "NSE:SBIN-EQ", 100)`.

        Takes what the order methods take; limit_price makes it a limit order, trigger_price a stop, unless order_type
        says so. It is judged on the way that a real order goes: the expected price, every charge of it and of closing
        it again, the break-even price, the margin and cash it needs, each limit with its figures, and whether it would
        be refused. Nothing is sent, and the account is as before. Raises what the order methods raise.
        """
        given: dict[str, Any] = {str(name): value for name, value in terms.items() if value is not None}
        priced = "limit_price" in given, "trigger_price" in given
        kind = given.pop("order_type", None)
        order_type = _KINDS[priced] if kind is None else member(OrderType, kind, "order_type")
        return self._preview(self._wanted(member(OrderSide, side, "side"), order_type, symbol, quantity, **given))

    @abstractmethod
    def _preview(self, command: ev.SubmitOrder) -> Preview:
        """Asks whoever holds the account with its limits, fees and margin: a replica knows them by name only."""

    def _tradable(self, symbol: str) -> Instrument:
        item = self._instrument(symbol)
        if item.kind is InstrumentKind.INDEX:
            raise OrderError(
                f"{symbol} is an index: it has a last price only and cannot be traded; use its future or an ETF"
            )
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
            raise OrderError(
                f"no order has the id {client_order_id!r}; engine.orders(open=True) lists the working ones"
            )
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
        """Cancels a working order, or all slices of one. Resolves when that is confirmed."""
        return self._send(ev.CancelOrder(0, client_id(client_order_id)), f"cancel {client_order_id}")

    def cancel_all(self, symbol: str | None = None) -> OrderHandle:
        """Cancels every working order, or those of one symbol; a strategy's call cancels its own."""
        strategy = current_strategy.get()
        mine = None if strategy == MANUAL else strategy
        return self._send(ev.CancelAll(0, optional_symbol(symbol), mine), f"cancel all {symbol or ''}".rstrip())

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
        """Arms a trailing stop: `amount`, or `pct` percent, behind the best price from now on. Without either it is
        disarmed."""
        return self._set_exit(ExitKind.TRAILING_STOP, symbol, {"amount": amount, "pct": pct})

    def _set_exit(self, kind: ExitKind, symbol: str, how: dict[str, Number | None]) -> OrderHandle:
        item = self._tradable(symbol)
        given = {name: value for name, value in how.items() if value is not None}
        if len(given) > 1:
            raise OrderError(f"{symbol}: give {' or '.join(given)} for the {kind}, not both")
        term = exit_term(item, kind, **given) if given else ExitTerm(kind)
        command = ev.SetExit(0, item.symbol, current_strategy.get(), term)
        return self._send(command, f"{'set' if given else 'disarm'} {kind} {symbol}")

    # ── closing, halting, money ──────────────────────────────────────────────────────────────────────────────────────

    def close_position(self, symbol: str, quantity: Number | None = None) -> OrderHandle:
        """Closes a symbol's position at the market, over all strategies, or `quantity` of it; never more than is held.

        Closing all of it cancels the symbol's working orders first. Refused when nothing is held; such orders are
        canceled all the same.
        """
        item = self._tradable(symbol)
        raw = None if quantity is None else item.quantity_raw(quantity)
        return self._send(ev.ClosePosition(0, item.symbol, raw), f"close {symbol}")

    def flatten(self, symbol: str | None = None) -> OrderHandle:
        """Cancels the working orders and closes the positions of all symbols, or of one.

        Works while halted, and is done at once when nothing is held.
        """
        return self._send(ev.Flatten(0, optional_symbol(symbol)), f"flatten {symbol or 'everything'}")

    def settle(self, symbol: str, price: Number) -> OrderHandle:
        """Closes what no order can close, over all strategies, at the price that it was closed at: an expired future or
        option, and what was closed elsewhere (by the broker's own square-off, in its app), which an alarm tells.

        Nothing is sent, and there need be no market: it is you who says what happened. Of an option at expiry the price
        is its intrinsic value, zero where it expired worthless. The symbol's orders are canceled, exits end with their
        positions, and no fee schedule is asked: what was charged is a `transfer`, and so is what rounding leaves of an
        average price that has more decimals than the instrument. Of what was closed elsewhere so much is closed as the
        broker's own book is without. Refused where nothing is held, and where neither has happened; of a contract
        without a known expiry, and on its last day, you are taken at your word.
        """
        item = self._tradable(symbol)
        raw = 0 if not number(price, f"{symbol}: price") else item.price_raw(price)
        return self._send(ev.Settle(0, item.symbol, raw), f"settle {symbol}")

    def halt(self, reason: str = "") -> OrderHandle:
        """Refuses opening orders and cancels the working ones from now on; exits stay armed and fire."""
        return self._send(ev.Halt(0, text(reason, "reason")), "halt")

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
        handle.resolve(self._read(portfolio.PortfolioPnl.of).as_dict())
        return handle

    # ── callbacks ────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_fill(self, callback: Callable[[Fill], object]) -> Callable[[Fill], object]:
        """Calls `callback(fill)` after each fill is durable, on the thread for user code. Usable as a decorator.

        Raises `OrderError` for what cannot be called.
        """
        self._on_fill.add(callback)
        return callback

    def on_order(self, callback: Callable[[Order], object]) -> Callable[[Order], object]:
        """Calls `callback(order)` after each change of an order is durable. Usable as a decorator.

        Raises `OrderError` for what cannot be called.
        """
        self._on_order.add(callback)
        return callback

    def _dispatch_ticks(self) -> None:
        """On the thread for user code: the ticks that wait for callbacks, some at a time, for strategies wait too."""
        hub = self.stream.hub
        for _ in range(TICKS_AT_ONCE):
            tick = hub.taken()
            if tick is None:
                return
            for callback in hub.callbacks:
                guarded(callback, tick)
        self._user.soon(self._dispatch_ticks)

    # ── strategies ───────────────────────────────────────────────────────────────────────────────────────────────────

    def start(
        self,
        strategy: "Strategy",
        /,
        *args: Any,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        thread: bool = False,
        **parameters: Any,
    ) -> "StrategyHandle":
        """Runs a strategy, `async def f(engine, ...)`, from now on; gives its handle.

        Its arguments are those of the function after `engine`; one that is called `name`, `params` or `thread` goes
        into `params={...}`. name: the function's own unless given; it names the book that the strategy trades in, and
        only one of a name may run. One that is over may be started again and goes on with its book. thread: True gives
        it a thread of its own; else it shares one with the other strategies and the callbacks, and must not block that
        for long. Tasks and callbacks that it makes end with it.

        Raises `OrderError` for what is no async function, arguments that do not fit it, or a name that is in use.
        """
        from livetrade.strategies import START_TAKES, call_of, name_of

        given = {"name": name, "params": params, "thread": thread or None}
        taken = [word for word in START_TAKES if given[word] is not None]
        call = call_of(strategy, self, args, parameters, params, taken)
        return self._strategies.start(name_of(strategy) if name is None else name, call, alone=bool(thread))

    def strategy(self, name: str) -> "StrategyHandle | None":
        """The handle of a strategy that was started here, by its name; None when there is none."""
        return self._strategies.get(name)

    def sleep(self, seconds: float | timedelta) -> Awaitable[None]:
        """`await engine.sleep(60)`: waits for so many seconds (or a `timedelta`) of the engine's time.

        On a recording it ends at the first tick at or after that time; a strategy that sleeps beyond the recording's
        end is over. Raises `OrderError` for a wrong duration.
        """
        wanted = duration(seconds, "seconds")
        if wanted is None:
            raise OrderError("sleep needs a number of seconds, or a timedelta")
        return self._sleep(wanted)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _own_user_thread(self, name: str) -> UserThread:
        """A thread for one strategy alone."""
        return UserThread(f"livetrade-{self.name}-{name}", self._user.on_idle)

    def _strategy_failed(self, name: str, error: BaseException) -> None:
        """A strategy has raised; it was logged."""

    def _strategy_infos(self) -> Sequence[StrategyInfo]:
        return self._strategies.infos(self.process)

    # ── the panel ────────────────────────────────────────────────────────────────────────────────────────────────────

    def panel(self, symbols: str | Sequence[str] | None = None, fps: float | None = 30) -> "Panel":
        """The live P&L widget: computed on every tick, painted at most `fps` times a second (60 at the most, and fewer
        with very many positions). `symbols`, one or several, limits the rows, not the totals."""
        from livetrade.panel import Panel

        given = (symbols,) if isinstance(symbols, str) else symbols
        rows = None if given is None else tuple(map(check_symbol, given))
        pace = None if fps is None else float(positive(fps, "fps"))
        if (rows, pace) not in self._panels:  # a cell that runs again shows the panel that is there
            self._panels[rows, pace] = Panel(self._panel_source(), fps=pace, symbols=rows)
        return self._panels[rows, pace]

    def _end_panels(self) -> None:
        """A moment for them to show the last numbers: what follows may be the end of the cell, or of the process."""
        for panel in self._panels.values():
            panel.wait_for_end(PANEL_SECONDS)

    def panel_command(self, action: str) -> None:
        """Sends what a button of the panel means, without waiting."""
        with suppress(EngineClosedError):
            if action == "halt":
                self.halt("panel")
            elif action == "resume":
                self.resume()
            elif action == "flatten":
                self.flatten()

    @abstractmethod
    def _panel_source(self) -> "PanelSource":
        """Where panels get their numbers and send their buttons."""
