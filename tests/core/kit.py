"""An account on a bench: short words for its inputs, and an independent check of its books after every step."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.fees import NoFees
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import (
    ExitKind,
    ExitStatus,
    InstrumentKind,
    OrderSide,
    OrderStatus,
    OrderType,
    PriceSource,
    Product,
    Source,
    TimeInForce,
)
from livetrade.core.numbers import MONEY_ONE, money_raw
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm, Fill, Order, RiskOrder
from livetrade.core.venue import Venue

SECOND = 1_000_000_000
OPENING_BELL = 1_772_423_100 * SECOND
"""2026-03-02 09:15 in Asia/Kolkata."""

SBIN = Instrument("NSE:SBIN-EQ")
INFY = Instrument("NSE:INFY-EQ")
NIFTY = Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", tick_size="0.05", lot_size=75)
COIN = Instrument("COINUSDT", kind="CRYPTO", scale=8, quantity_scale=8)
GOLD = Instrument("MCX:GOLDM26APRFUT", kind="FUTURE", scale=0, multiplier="0.1")


def dec(raw: int) -> Decimal:
    """Raw money as a `Decimal`."""
    return Decimal(raw) / MONEY_ONE


def tick(item: Instrument, ts: int, **prices: Any) -> Tick:
    """A tick with prices as a person writes them: bid, ask, last, volume, bid_size, ask_size; time_ns, source."""
    raw: dict[str, Any] = {name: prices.pop(name) for name in ("time_ns", "source") if name in prices}
    for name, value in prices.items():
        if name in ("bid", "ask", "last") and value is not None:
            raw[f"{name}_raw"] = item.price_raw(value)
        elif value is not None:
            raw[f"{name}_raw"] = int(Decimal(value).scaleb(item.quantity_scale))
    return Tick(item, ts, **raw)


def stop(price: Any = None, *, pct: Any = None, item: Instrument = SBIN) -> ExitTerm:
    return _term(ExitKind.STOP_LOSS, item, price, pct)


def target(price: Any = None, *, pct: Any = None, item: Instrument = SBIN) -> ExitTerm:
    return _term(ExitKind.TAKE_PROFIT, item, price, pct)


def trail(amount: Any = None, *, pct: Any = None, item: Instrument = SBIN) -> ExitTerm:
    pct = None if pct is None else Decimal(str(pct))
    return ExitTerm(ExitKind.TRAILING_STOP, pct=pct, amount_raw=None if amount is None else item.price_raw(amount))


def _term(kind: ExitKind, item: Instrument, price: Any, pct: Any) -> ExitTerm:
    return ExitTerm(
        kind,
        price_raw=None if price is None else item.price_raw(price),
        pct=None if pct is None else Decimal(str(pct)),
    )


def an_order(**changes: Any) -> Order:
    """A working buy of 100, with whatever is to be different."""
    terms: dict[str, Any] = {
        "client_order_id": "A1",
        "instrument": SBIN,
        "side": OrderSide.BUY,
        "order_type": OrderType.MARKET,
        "quantity_raw": 100,
        "limit_raw": None,
        "trigger_raw": None,
        "time_in_force": TimeInForce.DAY,
        "product": Product.INTRADAY,
        "strategy": "manual",
        "tag": "",
        "source": Source.USER,
        "status": OrderStatus.SUBMITTED,
    }
    return Order(**{**terms, **changes})


def a_fill(side: OrderSide, quantity_raw: int, price_raw: int, **changes: Any) -> Fill:
    terms: dict[str, Any] = {
        "client_order_id": "A1",
        "execution_id": "E1",
        "instrument": SBIN,
        "side": side,
        "product": Product.INTRADAY,
        "strategy": "manual",
        "tag": "",
        "source": Source.USER,
        "time_ns": OPENING_BELL,
        "quantity_raw": quantity_raw,
        "price_raw": price_raw,
        "price_source": PriceSource.VENUE,
    }
    return Fill(**{**terms, **changes})


class Oracle:
    """The ledger once more in `Fraction`s, from nothing but the fills."""

    QUANTUM = Fraction(1, 10**12)

    def __init__(self) -> None:
        self.cash = self.put_in = self.realized = self.fees = Fraction(0)
        self.held: dict[tuple[str, str, Product], Fraction] = {}
        self.cost: dict[tuple[str, str, Product], Fraction] = {}
        self.gains_only: set[tuple[str, str, Product]] = set()

    def move(self, amount: Fraction) -> None:
        self.cash += amount
        self.put_in += amount

    def fill(self, fill: Fill) -> Fraction:
        """Books a fill and gives back the P&L that it realizes."""
        item = fill.instrument
        key = (fill.strategy, item.symbol, fill.product)
        price = Fraction(fill.price_raw, 10**item.scale) * Fraction(item.multiplier)
        quantity = Fraction(fill.quantity_raw, 10**item.quantity_scale) * (1 if fill.side is OrderSide.BUY else -1)
        held, cost = self.held.get(key, Fraction(0)), self.cost.get(key, Fraction(0))
        fees = Fraction(fill.fees_raw, MONEY_ONE)
        closing = Fraction(0)
        if held * quantity < 0:
            closing = min(abs(held), abs(quantity)) * (1 if quantity > 0 else -1)
        released = self._share(cost, -closing, held)
        realized = -closing * price - released
        self.held[key] = held + quantity
        self.cost[key] = cost - released + (quantity - closing) * price
        if item.kind is InstrumentKind.FUTURE:  # its gains and losses alone move cash
            self.gains_only.add(key)
            self.cash += realized - fees
        else:
            self.cash -= quantity * price + fees
        self.realized += realized
        self.fees += fees
        return realized

    def _share(self, cost: Fraction, closing: Fraction, held: Fraction) -> Fraction:
        if not closing:
            return Fraction(0)
        if closing == held:
            return cost
        return round(cost * closing / held / self.QUANTUM) * self.QUANTUM  # `round` of a Fraction: ties to even


class Desk:
    """An account, its clock, and every input and event so far."""

    def __init__(
        self,
        cash: Any = "500000",
        *,
        venue: Venue | None = None,
        live: bool = False,
        account: type[Account] = Account,
        **terms: Any,
    ) -> None:
        self.ts = OPENING_BELL
        terms.setdefault("fees", NoFees())
        self.venue = None if live else venue or Venue()
        self.account = account(venue=self.venue, **terms)
        self.oracle = Oracle()
        self.inputs: list[ev.Input] = []
        self.events: list[ev.Event] = []
        self._ids = 0
        self._keep(self.account.open(self.ts, money_raw(cash, "cash"), "INR", "Asia/Kolkata"))

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, message: ev.Input) -> list[ev.Event]:
        self.inputs.append(message)
        foretold = self._foretold(message) if isinstance(message, ev.SubmitOrder) else None
        events = self.account.handle(message)
        self._keep(events)
        if foretold is not None:
            told = [event.order.reason for event in events if isinstance(event, ev.OrderDenied)]
            assert told[:1] == [foretold] or not foretold, "a preview says what becomes of the order"
            assert foretold or not told
        check(self.account, self.oracle)
        return events

    def _foretold(self, command: ev.SubmitOrder) -> str | None:
        """Why a preview says that the order will be refused, empty where it will be sent; None where it does not come
        to that. Asking changes nothing."""
        account = self.account
        before = account.seq, account.ts, set(account.markets), account.blocked_raw, account.ledger.cash_raw
        if command.ts >= account.next_deadline():
            return None  # others come first
        seen = account.examine(command, command.ts)
        assert before == (account.seq, account.ts, set(account.markets), account.blocked_raw, account.ledger.cash_raw)
        repeated = account.order(command.client_order_id) is not None
        misfit = seen.checks and seen.checks[0].name == "instrument"
        return None if repeated or misfit else seen.reason

    def pass_time(self, seconds: float) -> None:
        """The clock goes on, and nobody tells the account."""
        self.ts += round(seconds * SECOND)

    def quote(
        self,
        bid: Any = None,
        ask: Any = None,
        last: Any = None,
        *,
        item: Instrument = SBIN,
        after: float = 0,
        **more: Any,
    ) -> list[ev.Event]:
        self.pass_time(after)
        return self.handle(tick(item, self.ts, bid=bid, ask=ask, last=last, **more))

    def wake(self, after: float = 0) -> list[ev.Event]:
        self.pass_time(after)
        return self.handle(ev.Wake(self.ts))

    def buy(self, quantity: int = 100, **terms: Any) -> Order:
        return self.submit(OrderSide.BUY, quantity, **terms)

    def sell(self, quantity: int = 100, **terms: Any) -> Order:
        return self.submit(OrderSide.SELL, quantity, **terms)

    def submit(
        self,
        side: OrderSide,
        quantity_raw: int,
        *,
        limit: Any = None,
        trigger: Any = None,
        item: Instrument = SBIN,
        exits: Sequence[ExitTerm] = (),
        order_id: str | None = None,
        **terms: Any,
    ) -> Order:
        self._ids += 1
        order_id = order_id or f"A{self._ids}"
        kind = {
            (False, False): OrderType.MARKET,
            (True, False): OrderType.LIMIT,
            (False, True): OrderType.STOP,
            (True, True): OrderType.STOP_LIMIT,
        }[limit is not None, trigger is not None]
        self.handle(
            ev.SubmitOrder(
                self.ts,
                order_id,
                item,
                side,
                kind,
                quantity_raw,
                None if limit is None else item.price_raw(limit),
                None if trigger is None else item.price_raw(trigger),
                exits=tuple(exits),
                **terms,
            )
        )
        return self.account.orders[order_id]

    def modify(self, order: Order | str, **terms: Any) -> list[ev.Event]:
        for name in ("limit", "trigger"):
            if name in terms:
                terms[f"{name}_raw"] = SBIN.price_raw(terms.pop(name))
        if "quantity" in terms:
            terms["quantity_raw"] = terms.pop("quantity")
        return self.handle(ev.ModifyOrder(self.ts, _id(order), **terms))

    def cancel(self, order: Order | str) -> list[ev.Event]:
        return self.handle(ev.CancelOrder(self.ts, _id(order)))

    def close(self, symbol: str | None = SBIN.symbol, quantity_raw: int | None = None) -> list[ev.Event]:
        return self.handle(ev.ClosePosition(self.ts, symbol, quantity_raw))

    def set_exit(self, term: ExitTerm, strategy: str = "manual", symbol: str = SBIN.symbol) -> list[ev.Event]:
        return self.handle(ev.SetExit(self.ts, symbol, strategy, term))

    def halt(self, reason: str = "") -> list[ev.Event]:
        return self.handle(ev.Halt(self.ts, reason))

    def transfer(self, amount: Any) -> list[ev.Event]:
        return self.handle(ev.Transfer(self.ts, money_raw(amount, "amount")))

    # reports of a venue that is played by the test

    def accept(self, order: Order | str, venue_id: str | None = "V1") -> list[ev.Event]:
        return self.handle(ev.Accepted(self.ts, _id(order), venue_id))

    def execute(self, order: Order | str, quantity_raw: int, price: Any, execution: str = "E1") -> list[ev.Event]:
        raw = SBIN.price_raw(price)
        return self.handle(ev.Executed(self.ts, _id(order), execution, quantity_raw, raw, PriceSource.VENUE))

    def reject(self, order: Order | str, reason: str = "no") -> list[ev.Event]:
        return self.handle(ev.Rejected(self.ts, _id(order), reason))

    def canceled(self, order: Order | str, reason: str = "", filled_raw: int | None = None) -> list[ev.Event]:
        return self.handle(ev.Canceled(self.ts, _id(order), reason, filled_raw))

    def bought(
        self, quantity_raw: int = 100, price: Any = "100", exits: Sequence[ExitTerm] = (), **terms: Any
    ) -> Order:
        """On a live desk: an order to buy, filled at once."""
        order = self.buy(quantity_raw, exits=exits, **terms)
        assert order.status is OrderStatus.SUBMITTED, order
        self.execute(order, quantity_raw, price, f"{order.client_order_id}E")
        return self.order(order)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def order(self, order: Order | str) -> Order:
        return self.account.orders[_id(order)]

    @property
    def position(self) -> int:
        return self.held()

    def held(self, symbol: str = SBIN.symbol) -> int:
        market = self.account.markets.get(symbol)
        return market.position_raw if market else 0

    @property
    def cash(self) -> Decimal:
        return dec(self.account.ledger.cash_raw)

    def risk(self, kind: ExitKind = ExitKind.STOP_LOSS) -> RiskOrder:
        """The newest exit of a kind."""
        return [risk for risk in self.account.risks.values() if risk.kind is kind][-1]

    def exit_orders(self) -> list[Order]:
        return [order for order in self.account.orders.values() if order.risk_id is not None]

    def fills(self) -> list[Fill]:
        return [event.fill for event in self.events if isinstance(event, ev.Filled)]

    def _keep(self, events: Sequence[ev.Event]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, ev.AccountOpened):
                self.oracle.move(Fraction(event.cash_raw, MONEY_ONE))
            elif isinstance(event, ev.CashMoved):
                self.oracle.move(Fraction(event.amount_raw, MONEY_ONE))
            elif isinstance(event, ev.Filled):
                realized = self.oracle.fill(event.fill)
                assert realized == Fraction(event.fill.realized_raw, MONEY_ONE)


def _id(order: Order | str) -> str:
    return order if isinstance(order, str) else order.client_order_id


def kinds(events: Iterable[ev.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def denials(events: Iterable[ev.Event]) -> list[str]:
    """The reasons of everything that was refused."""
    orders = [event.order.reason for event in events if isinstance(event, ev.OrderDenied)]
    return orders + [event.reason for event in events if isinstance(event, ev.CommandDenied)]


def alarms(events: Iterable[ev.Event]) -> list[str]:
    return [event.kind for event in events if isinstance(event, ev.Alarm)]


# ── checks that hold after every step ────────────────────────────────────────────────────────────────────────────────


def check(account: Account, oracle: Oracle) -> None:
    """What must be true of an account at rest, reckoned from scratch."""
    _check_books(account, oracle)
    _check_orders(account)
    _check_exits(account)


def _check_books(account: Account, oracle: Oracle) -> None:
    ledger = account.ledger
    for raw, true in (
        (ledger.cash_raw, oracle.cash),
        (ledger.put_in_raw, oracle.put_in),
        (ledger.realized_raw, oracle.realized),
        (ledger.fees_raw, oracle.fees),
        (ledger.cost_raw, sum(cost for key, cost in oracle.cost.items() if key not in oracle.gains_only)),
    ):
        assert Fraction(raw, MONEY_ONE) == true
    value = 0
    for key, book in ledger.books.items():
        held = Fraction(book.quantity_raw, 10**book.instrument.quantity_scale)
        assert held == oracle.held.get(key, 0)
        assert Fraction(book.cost_raw, MONEY_ONE) == oracle.cost.get(key, 0)
        market = account.markets[book.symbol]
        worth = book.quantity_raw * market.mark_raw * book.instrument.unit // 2 if market.mark_raw else book.cost_raw
        value += worth - book.cost_raw if key in oracle.gains_only else worth
        assert book.quantity_raw or not (book.cost_raw or book.margin_raw)
    assert ledger.margin_raw == sum(book.margin_raw for book in ledger.books.values())
    assert account.market_value_raw == value == sum(market.value_raw for market in account.markets.values())
    identity = ledger.put_in_raw + ledger.realized_raw + account.unrealized_raw - ledger.fees_raw
    assert ledger.cash_raw + account.market_value_raw == identity
    assert account.is_flat() == (not any(oracle.held.values()))


def _check_orders(account: Account) -> None:
    open_orders = {key: order for key, order in account.orders.items() if order.is_open}
    assert account.open_orders == open_orders
    assert account.blocked_raw == sum(order.blocked_raw for order in open_orders.values())
    working = {key: order for market in account.markets.values() for key, order in market.working.items()}
    assert working == open_orders
    for order in account.orders.values():
        assert order.filled_raw <= order.quantity_raw or order.pending or account.venue is None
        assert (order.status is OrderStatus.FILLED) <= (order.filled_raw >= order.quantity_raw)


def _check_exits(account: Account) -> None:
    over = (ExitStatus.FILLED, ExitStatus.FAILED, ExitStatus.CANCELED)
    watched = {risk.risk_id for risk in account.risks.values() if risk.status not in over}
    assert watched == {risk.risk_id for bracket in account.brackets.values() for risk in bracket.values()}
    for key, bracket in account.brackets.items():
        book = account.ledger.books[key]
        assert book.quantity_raw, "an exit outlives its position"
        for kind, risk in bracket.items():
            assert (risk.kind, risk.long, account.risks[risk.risk_id]) == (kind, book.quantity_raw > 0, risk)


def same_state(one: State, other: State, *, marks: bool = True) -> None:
    """Two accounts know the same; without `marks`, apart from what only ticks tell."""
    names = [
        "seq",
        "currency",
        "timezone",
        "instruments",
        "orders",
        "open_orders",
        "blocked_raw",
        "risks",
        "brackets",
        "closing",
        "halted",
        "feed",
        "day",
        "day_base_raw",
        "day_bases",
        "alarms",
        "sent_ns",
        "slices",
        "cash_moves",
    ]
    for name in names + (["market_value_raw", "total_pnl_raw"] if marks else []):
        assert getattr(one, name) == getattr(other, name), name
    _same_slots(
        one.ledger, other.ledger, ("cash_raw", "put_in_raw", "realized_raw", "fees_raw", "cost_raw", "margin_raw")
    )
    assert one.ledger.books.keys() == other.ledger.books.keys()
    for key, book in one.ledger.books.items():
        skip = () if marks else ("low_raw", "high_raw")
        _same_slots(book, other.ledger.books[key], [name for name in book.__slots__ if name not in skip])
    for table in ("order_history", "fill_history", "equity_history"):
        ours, theirs = (getattr(state, table).copy() for state in (one, other))
        assert ours.pop("fill", None) == theirs.pop("fill", None)
        assert repr(ours) == repr(theirs), table  # NaN is not equal to itself


def _same_slots(one: object, other: object, names: Iterable[str]) -> None:
    for name in names:
        assert getattr(one, name) == getattr(other, name), (type(one).__name__, name)
