"""Random sessions: whatever comes, in whatever state, the books add up, and no rule of the account is broken.

A session is a list of small numbers that become inputs; `Desk` checks the books against an independent reckoning after
each. Beside it run the same inputs a second time, an account that looks at everything on every tick, and a fold of the
events alone.
"""

import random
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livetrade.audit import audit_of
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.fees import PercentFee
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, FeedState, OrderSide, OrderType, PriceSource, Product, TimeInForce
from livetrade.core.limits import Limits
from livetrade.core.records import replaced
from livetrade.core.state import Market, State
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm, Fill, Order
from livetrade.core.venue import Venue
from livetrade.explain import EXPLAINED_BY, parts_of
from livetrade.portfolio import PARTS
from tests.core.kit import GOLD, SBIN, Desk, kinds, same_state

ITEMS = (SBIN, GOLD)
OTHER_SCALE = Instrument(SBIN.symbol, scale=4)
STRATEGIES = ("manual", "ema")
PRODUCTS = (Product.INTRADAY, Product.CNC)
MIDDLE = 10_000


class LooksAtEverything(Account):
    """Every tick makes it look at every order and exit: what its alerts may save, it does not."""

    def _set_alerts(self, market: Market) -> None:
        market.alerts.clear()
        market.alerts.every_tick()


def rebates(fill: Fill) -> dict[str, Decimal]:
    return {"brokerage": fill.value / 3000, "rebate": Decimal("-0.07")}


def third(_: Account, order: Order) -> Decimal:
    return order.instrument.price(order.limit_raw or order.reference_raw or 1) * order.quantity / 3


TERMS = st.fixed_dictionaries(
    {
        "latency": st.sampled_from([0, 0, 0.5]),
        "slippage": st.sampled_from([0, "0.03"]),
        "size": st.sampled_from(["unlimited", "quoted"]),
        "trigger_by": st.sampled_from(["quote", "last"]),
        "fees": st.sampled_from([PercentFee("0.03", cap=20), rebates]),
        "margin": st.sampled_from([None, third]),
        "limits": st.sampled_from(
            [
                Limits(),
                Limits(allow_short=True),
                Limits(allow_short=True, max_position_value=20_000, max_orders_per_second=3, price_band_pct=20),
            ]
        ),
        "live": st.booleans(),
    }
)
STEP = st.tuples(st.integers(0, 19), st.integers(0, 7), st.integers(-12, 12), st.integers(0, 30))


class Exchange:
    """A truthful venue whose reports travel: it knows what it filled and canceled, the account hears of it later."""

    def __init__(self) -> None:
        self.leaves: dict[str, int] = {}
        self.reports: deque[ev.Report] = deque()  # on their way
        self.said: list[ev.Report] = []
        self.executed = 0

    def hear(self, events: list[ev.Event]) -> None:
        for event in events:
            if isinstance(event, ev.Submit):
                self.leaves[event.order.client_order_id] = event.order.quantity_raw
            elif isinstance(event, ev.Modify):
                self._modify(event)
            elif isinstance(event, ev.Cancel):
                self._close(event.client_order_id, ev.Canceled)

    def _modify(self, request: ev.Modify) -> None:
        key, change = request.client_order_id, request.change
        if key not in self.leaves:
            self.reports.append(ev.RequestRejected(0, key, "it is over"))
            return
        filled = sum(r.quantity_raw for r in self.said if isinstance(r, ev.Executed) and r.client_order_id == key)
        if change.quantity_raw <= filled:
            self.reports.append(ev.RequestRejected(0, key, "it has filled"))
            return
        self.leaves[key] = change.quantity_raw - filled
        self._say(ev.Modified(0, key, change.quantity_raw, change.limit_raw, change.trigger_raw))

    def _say(self, report: ev.Report) -> None:
        self.said.append(report)
        self.reports.append(report)

    def _close(self, key: str, how: Any) -> None:
        if self.leaves.pop(key, None) is None:
            self._say(ev.RequestRejected(0, key, "it is over"))
        else:
            self._say(how(0, key, "closed"))

    def act(self, number: int, size: int) -> None:
        """Something happens to one of the open orders."""
        if not self.leaves:
            return
        key = list(self.leaves)[number % len(self.leaves)]
        if number % 4 == 0:
            self._close(key, (ev.Rejected, ev.Canceled, ev.Expired)[size % 3])
        elif number % 4 == 1:
            self._say(ev.Accepted(0, key, f"V{key}"))
        else:
            quantity = min(self.leaves[key], max(1, size * 4))
            self.leaves[key] -= quantity
            if not self.leaves[key]:
                del self.leaves[key]
            self.executed += 1
            price = MIDDLE + 10 * (size - 15)
            self._say(ev.Executed(0, key, f"E{self.executed}", quantity, price, PriceSource.VENUE))


class Session:
    """Turns small numbers into inputs."""

    def __init__(self, terms: dict[str, Any]) -> None:
        self.terms = dict(terms)
        self.live = self.terms.pop("live")
        self.venue_terms = {name: self.terms.pop(name) for name in ("latency", "slippage", "size")}
        self.short = self.terms["limits"].allow_short
        self.exchange = Exchange()
        self.overtaken: set[str] = set()
        self.desk = self._desk(Account)
        self.bids = dict.fromkeys((item.symbol for item in ITEMS), MIDDLE)

    def _desk(self, account: type[Account]) -> Desk:
        venue = None if self.live else Venue(**self.venue_terms, trigger_by=self.terms["trigger_by"])
        return Desk(venue=venue, live=self.live, account=account, **self.terms)

    def again(self, account: type[Account]) -> list[ev.Event]:
        """The events of another account, given the same inputs."""
        desk = self._desk(account)
        for message in self.desk.inputs:
            desk.handle(message)
        return desk.events

    def step(self, kind: int, which: int, move: int, size: int) -> None:
        account = self.desk.account
        quarantined, due = account.quarantined.total(), account.next_deadline()
        held = {key: book.quantity_raw for key, book in account.ledger.books.items()}
        halted = account.halted is not None
        self.desk.pass_time((0, 0.1, 0.7)[which % 3])
        message = self._message(kind, which, move, size)
        if message is None:
            return
        retries = {risk.risk_id: risk.retry_ns for risk in account.risks.values()}
        events = self.desk.handle(message)
        if isinstance(message, ev.ClockJumped) and not self.venue_terms["latency"]:
            self._check_jump(message, events, retries)
        if self.live:
            self.exchange.hear(events)
        if account.quarantined.total() > quarantined and self.desk.ts < due:
            assert events == []
        self._check_orders(events, halted)
        self._check_fills(events, held)

    def _check_jump(self, jump: ev.ClockJumped, events: list[ev.Event], retries: dict[str, int]) -> None:
        for event in events:
            if isinstance(event, ev.Submit):
                due = retries[event.order.risk_id or ""]
                assert due <= jump.ts - jump.by_ns, "a jump of the clock sent an order"

    def _check_orders(self, events: list[ev.Event], halted: bool) -> None:
        for event in events:
            if isinstance(event, ev.Submit):
                assert not (halted and event.order.opening_raw), "an opening order went out while halted"
                assert not (event.order.is_protective and event.order.opening_raw), "an exit opens"
                self._overtakes(event.order, event.order.opening_raw)
            elif isinstance(event, ev.Modify):
                self._overtakes(self.desk.order(event.client_order_id), event.change.opening_raw)

    def _overtakes(self, order: Order, opening_raw: int) -> None:
        """An order that opens while an exit is on its way may fill before it: then they change places."""
        for other in self.desk.account.orders.values() if opening_raw else ():
            if other.is_protective and (other.book_key, other.side) == (order.book_key, order.side):
                self.overtaken.add(other.client_order_id)

    def _check_fills(self, events: list[ev.Event], held: dict[Any, int]) -> None:
        for event in events:
            if not isinstance(event, ev.Filled):
                continue
            fill = event.fill
            key = (fill.strategy, fill.symbol, fill.product)
            before = held.get(key, 0)
            held[key] = before + fill.side.sign * fill.quantity_raw
            order = self.desk.order(fill.client_order_id)
            if order.is_protective and order.client_order_id not in self.overtaken:
                assert abs(held[key]) < abs(before), "an exit made a position larger"
                assert held[key] * before >= 0, "an exit turned a position around"
            if not self.short:
                assert held[key] >= 0, "short without leave"

    def _message(self, kind: int, which: int, move: int, size: int) -> ev.Input | None:
        item = ITEMS[which % 2]
        ts = self.desk.ts
        makers: dict[int, Callable[[Instrument, int, int, int], ev.Input | None]] = {
            **dict.fromkeys(range(6), self._tick),
            6: self._odd_tick,
            **dict.fromkeys((7, 8, 9, 10), self._order),
            11: self._modify,
            12: self._cancel,
            13: self._exit,
            14: self._closing,
            18: self._report,
            19: self._report,
        }
        if kind in makers:
            return makers[kind](item, which, move, size)
        if kind == 15:
            accepted = ev.DifferenceAccepted(ts, item.symbol, PRODUCTS[0], move)
            return accepted if which > 5 else ev.Halt(ts, "now") if which < 3 else ev.Resume(ts)
        if kind == 16 and which > 5:
            self.desk.pass_time(size * size * 100)
            return ev.ClockJumped(self.desk.ts, self.desk.ts - ts, "slept")
        if kind == 16:
            return (
                ev.Wake(ts),
                ev.CancelAll(ts, item.symbol, None),
                ev.ClockJumped(ts, 0, "set back"),
                ev.Transfer(ts, (size - 15) * SBIN.unit * 10**6),
                ev.FeedChanged(ts, FeedState.RECONNECTING),
                ev.FeedChanged(ts, FeedState.LIVE),
            )[which]
        self.desk.pass_time(size * 5000)
        return ev.Wake(self.desk.ts)

    def _tick(self, item: Instrument, which: int, move: int, size: int) -> Tick:
        bid = self.bids[item.symbol] = max(50, self.bids[item.symbol] + 5 * move)
        bids, asks = which & 2, which & 4
        return Tick(
            item,
            self.desk.ts,
            bid_raw=bid if bids or not asks else 0,
            ask_raw=bid + size if asks or not bids else 0,
            last_raw=bid if size % 3 == 0 else 0,
            bid_size_raw=size if size % 2 else None,
            ask_size_raw=3 * size if size % 2 else None,
            time_ns=self.desk.ts if size % 4 == 0 else 0,
            source="ab"[size % 2],
        )

    def _odd_tick(self, item: Instrument, which: int, move: int, size: int) -> Tick:
        prices = (
            {"bid_raw": 10 * MIDDLE, "ask_raw": 1},
            {"bid_raw": -1, "ask_raw": 1},
            {},
            {"last_raw": 1, "time_ns": 7},
            {"last_raw": MIDDLE},
        )[move % 5]
        return Tick(OTHER_SCALE if size % 5 == 0 else item, self.desk.ts, source="a", **prices)

    def _order(self, item: Instrument, which: int, move: int, size: int) -> ev.SubmitOrder:
        side = OrderSide.SELL if which & 1 else OrderSide.BUY
        item = ITEMS[size & 1]
        kind = list(OrderType)[(which + size) % 4]
        price = max(1, self.bids[item.symbol] + 3 * move)
        exits = tuple(self._term(item, number, move, size) for number in range(size % 4))
        repeated = list(self.desk.account.orders)[-1:] if move == 12 else []
        return ev.SubmitOrder(
            self.desk.ts,
            repeated[0] if repeated else self.desk.account.new_id(self.desk.ts),
            item,
            side,
            kind,
            1 + size,
            price if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
            price + move if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
            list(TimeInForce)[size % 3],
            PRODUCTS[size // 3 % 2],
            STRATEGIES[which // 2 % 2],
            "tag",
            exits=exits if len({term.kind for term in exits}) == len(exits) else (),
        )

    def _term(self, item: Instrument, number: int, move: int, size: int) -> ExitTerm:
        kind = list(ExitKind)[number % 3]
        if kind is ExitKind.TRAILING_STOP:
            return ExitTerm(kind, amount_raw=1 + size) if size % 2 else ExitTerm(kind, pct=Decimal(size + 1) / 10)
        if size % 5 == 0:
            return ExitTerm(kind, pct=Decimal(abs(move) + 1) / 10)
        return ExitTerm(kind, price_raw=max(1, self.bids[item.symbol] + 6 * (move - 14 if number == 0 else move + 14)))

    def _pick(self, size: int) -> str:
        open_orders = list(self.desk.account.open_orders) or list(self.desk.account.orders) or ["NONE"]
        return open_orders[size % len(open_orders)]

    def _modify(self, item: Instrument, which: int, move: int, size: int) -> ev.ModifyOrder:
        price = MIDDLE + move
        return ev.ModifyOrder(
            self.desk.ts,
            self._pick(size),
            1 + size if which & 1 else None,
            price if which & 2 else None,
            price if which & 4 else None,
        )

    def _cancel(self, item: Instrument, which: int, move: int, size: int) -> ev.CancelOrder:
        return ev.CancelOrder(self.desk.ts, self._pick(size))

    def _closing(self, item: Instrument, which: int, move: int, size: int) -> ev.Input:
        ts, symbol = self.desk.ts, (None, item.symbol)[size % 2]
        if which == 3:
            return ev.Settle(ts, GOLD.symbol, max(0, self.bids[GOLD.symbol] * (size - 3) // 10))
        return ev.Flatten(ts, symbol) if which < 2 else ev.ClosePosition(ts, symbol, size if which > 4 else None)

    def _exit(self, item: Instrument, which: int, move: int, size: int) -> ev.SetExit:
        term = self._term(item, size, move, size) if move > -6 else ExitTerm(list(ExitKind)[size % 3])
        return ev.SetExit(self.desk.ts, item.symbol, STRATEGIES[which // 2 % 2], term)

    def _report(self, item: Instrument, which: int, move: int, size: int) -> ev.Report | None:
        if not self.live:
            return None
        self.exchange.act(which + size, size)
        if move < -8 and self.exchange.said:
            report = self.exchange.said[size % len(self.exchange.said)]  # once more
            if isinstance(report, ev.Modified | ev.RequestRejected | ev.Rejected | ev.Canceled | ev.Expired):
                return None
        elif move < 0 or not self.exchange.reports:
            return None
        else:
            report = self.exchange.reports.popleft()
        return replaced(report, ts=self.desk.ts)


def play(terms: dict[str, Any], steps: list[tuple[int, int, int, int]]) -> Session:
    session = Session(terms)
    for step in steps:
        session.step(*step)
    return session


def check_replicas(session: Session) -> None:
    desk = session.desk
    assert session.again(Account) == desk.events
    assert session.again(LooksAtEverything) == desk.events
    folded = State()
    for event in desk.events:
        folded.apply(event)
    same_state(desk.account, folded, marks=False)
    other = Account(venue=desk.venue, fees=session.terms["fees"])
    for event in desk.events:
        other.apply(event)
    same_state(other, folded)
    assert audit_of(desk.account).rows == (), audit_of(desk.account).verdict
    check_explained(desk.account)


def check_explained(account: Account) -> None:
    """Every part of the P&L is found again, and nothing is counted twice."""
    fills: Any = account.fill_history.copy()["fill"]
    for by in EXPLAINED_BY:
        parts = parts_of(fills, PARTS[by](account), by)
        totals = [part.pop("total_pnl") for part in parts.values()]
        assert totals == [sum(part.values()) for part in parts.values()]
        assert sum(totals) == account.total_pnl_raw


@given(terms=TERMS, steps=st.lists(STEP, min_size=10, max_size=80))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_sessions(terms: dict[str, Any], steps: list[tuple[int, int, int, int]]) -> None:
    check_replicas(play(terms, steps))


@pytest.mark.campaign
@pytest.mark.timeout(0)
@given(terms=TERMS, steps=st.lists(STEP, min_size=50, max_size=400))
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_random_sessions(terms: dict[str, Any], steps: list[tuple[int, int, int, int]]) -> None:
    check_replicas(play(terms, steps))


def test_the_sessions_are_worth_their_name() -> None:
    """The numbers reach every kind of event."""
    seen: set[str] = set()
    dice = random.Random(7)
    for live in (False, True):
        for _ in range(40):
            terms = {
                "latency": 0.5 if dice.random() < 0.3 else 0,
                "slippage": 0,
                "size": "quoted",
                "trigger_by": "quote",
                "fees": rebates,
                "margin": None,
                "limits": Limits(allow_short=True),
                "live": live,
            }
            steps = [
                (dice.randrange(20), dice.randrange(8), dice.randint(-12, 12), dice.randrange(31)) for _ in range(150)
            ]
            seen |= set(kinds(play(terms, steps).desk.events))
    assert seen >= {kind.__name__ for kind in get_args(ev.Event)} - {"SessionStarted", "SessionEnded", "Unknown"}
