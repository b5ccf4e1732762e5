"""The pure parts of the broker: rows, terms, what is tracked, the queue and its pace."""

import asyncio
import json
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import livetrade as lt
from livetrade.adapters.fyers import rows
from livetrade.adapters.fyers.pacing import Queue, rank, segment_of
from livetrade.adapters.fyers.rest import Pace
from livetrade.adapters.fyers.standing import Standing
from livetrade.adapters.fyers.terms import Protection, UnfitError, check, modify_body, place_body
from livetrade.adapters.fyers.tracking import Tracker, settle_unsent
from livetrade.core import events as ev
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, Product, Source, TimeInForce
from livetrade.core.orders import after, with_fill, with_news
from livetrade.core.values import Change, Fill, Order
from livetrade.testing.exchange import PENDING, TRADED, Exchange, order_push, order_row, trade_book_row, trade_row
from livetrade.testing.listings import STANDARD, Listing

if TYPE_CHECKING:
    from livetrade.adapters.fyers.books import Books

ITEM = lt.Instrument("NSE:SBIN-EQ", tick_size="0.05")


def order(name: str = "A1", **terms: Any) -> Order:
    given: dict[str, Any] = {
        "client_order_id": name,
        "instrument": ITEM,
        "side": OrderSide.BUY,
        "order_type": OrderType.LIMIT,
        "quantity_raw": 10,
        "limit_raw": 54_900,
        "trigger_raw": None,
        "time_in_force": TimeInForce.DAY,
        "product": Product.INTRADAY,
        "strategy": "manual",
        "tag": "",
        "source": Source.USER,
        "opening_raw": 10,
        "status": OrderStatus.SUBMITTED,
        **terms,
    }
    return Order(**given)


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def exchange() -> tuple[Exchange, list[dict[str, Any]]]:
    listings = {symbol: Listing(symbol, token) for symbol, (token, _) in STANDARD.items()}
    for symbol, (_, figures) in STANDARD.items():
        listings[symbol].put(figures)
    pushed: list[dict[str, Any]] = []
    return Exchange(listings, pushed.append), pushed


def body(tag: str = "A1", **terms: Any) -> dict[str, Any]:
    return {
        "symbol": "NSE:SBIN-EQ",
        "qty": 10,
        "side": 1,
        "type": 1,
        "productType": "INTRADAY",
        "limitPrice": 549.0,
        "validity": "DAY",
        "orderTag": tag,
        **terms,
    }


def again(row: dict[str, Any]) -> Any:
    return rows.loads(json.dumps(row))


def test_a_book_and_the_socket_tell_the_same() -> None:
    venue, _ = exchange()
    placed = venue.place(body())
    venue.match("NSE:SBIN-EQ")
    row = rows.order_of_book(again(order_row(placed)))
    assert row == rows.order_of_socket(again(order_push(placed)))
    assert (row.tag, row.limit, row.average, row.status, row.filled) == ("A1", 549, 549, TRADED, 10)
    trade = rows.trade_of_book(again(trade_book_row(venue.trades[0])))
    assert trade == rows.trade_of_socket(again(trade_row(venue.trades[0])))
    assert (trade.tag, trade.price, trade.quantity) == ("A1", 549, 10)


def test_what_has_no_tag_has_none() -> None:
    venue, _ = exchange()
    assert rows.order_of_book(again(order_row(venue.place(body(""))))).tag == ""


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_value_of_a_row_raises_anything_else(value: Any) -> None:
    venue, _ = exchange()
    good = order_row(venue.place(body()))
    for name in good:
        try:
            rows.order_of_book({**good, name: value})
        except rows.OddRowError:
            continue


@pytest.mark.parametrize(("name", "value"), [("tradedQty", 0), ("tradedQty", -1), ("tradePrice", 0)])
def test_a_trade_of_nothing_makes_no_sense(name: str, value: int) -> None:
    venue, _ = exchange()
    venue.place(body())
    venue.match("NSE:SBIN-EQ")
    with pytest.raises(rows.OddRowError, match="a trade of"):
        rows.trade_of_book({**trade_book_row(venue.trades[0]), name: value})


def test_a_price_is_what_was_sent() -> None:
    assert rows.loads('{"p": 0.1}')["p"] == Decimal("0.1")


def test_rows_are_shown_for_people() -> None:
    venue, _ = exchange()
    venue.parts = [4]
    placed = venue.place(body())
    venue.match("NSE:SBIN-EQ")
    shown = rows.shown(rows.order_of_book(order_row(placed)))
    assert (shown.status, shown.filled_qty, shown.product) == ("PARTIALLY_FILLED", 4, "INTRADAY")
    odd = rows.shown(rows.order_of_book({**order_row(placed), "status": 99, "productType": "BO"}))
    assert (odd.status, odd.product) == ("UNKNOWN", None)


# ── terms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.sampled_from(OrderSide),
    st.integers(1, 10_000_000),
    st.sampled_from([1, 5, 10, 25, 100, 500]),
    st.decimals("0.01", "19", places=2),
)
def test_protection_is_on_the_grid_and_never_more_than_stated(
    side: OrderSide, price: int, tick: int, pct: Decimal
) -> None:
    limit = Protection(pct).limit_raw(side, price, tick)
    assert limit % tick == 0
    assert limit > 0
    away = side.sign * (limit - price)
    assert away >= 0 or limit == tick
    nearest = -(-price // tick) * tick if side is OrderSide.BUY else max(price - price % tick, tick)
    assert away <= pct * price / 100 or limit == nearest


@pytest.mark.parametrize(
    ("terms", "sent"),
    [
        ({}, (1, 549.0, 0.0, "DAY")),
        ({"time_in_force": TimeInForce.IOC}, (1, 549.0, 0.0, "IOC")),
        ({"order_type": OrderType.MARKET, "limit_raw": None, "reference_raw": 54_900}, (1, 554.45, 0.0, "DAY")),
        (
            {"order_type": OrderType.MARKET, "limit_raw": None, "reference_raw": 54_900, "source": Source.FLATTEN},
            (1, 554.45, 0.0, "IOC"),
        ),
        ({"order_type": OrderType.MARKET, "limit_raw": None, "source": Source.FLATTEN}, (2, 0.0, 0.0, "IOC")),
        ({"order_type": OrderType.STOP, "limit_raw": None, "trigger_raw": 55_000}, (4, 555.5, 550.0, "DAY")),
        ({"order_type": OrderType.STOP_LIMIT, "limit_raw": 55_100, "trigger_raw": 55_000}, (4, 551.0, 550.0, "DAY")),
    ],
)
def test_what_an_order_becomes(terms: Any, sent: tuple[Any, ...]) -> None:
    told = place_body(order(**terms), Protection(Decimal(1)), 5)
    assert (told["type"], told["limitPrice"], told["stopPrice"], told["validity"]) == sent
    assert (told["orderTag"], told["qty"], told["side"], told["productType"]) == ("A1", 10, 1, "INTRADAY")


def test_what_a_modification_becomes() -> None:
    told = modify_body(order(), Change(12, 54_800, None, 12, 0), "V1", Protection(Decimal(1)), 5)
    assert told == {"id": "V1", "type": 1, "qty": 12, "limitPrice": 548.0}


@pytest.mark.parametrize("terms", [{"time_in_force": TimeInForce.GTC}, {"client_order_id": "x" * 31}])
def test_what_fyers_does_not_take(terms: Any) -> None:
    with pytest.raises(UnfitError):
        check(order(**terms))


# ── tracking: any order of news leads to the same end ────────────────────────────────────────────────────────────────


def news(dice: Random) -> tuple[list[Any], Any]:
    """All that is said of an order that fills in parts, and perhaps ends before it is filled."""
    venue, _ = exchange()
    placed = venue.place(body(limitPrice=540.0))
    said: list[Any] = [rows.order_of_book(order_row(placed))]
    left = 10
    while left and dice.random() < 0.8:
        part = dice.randint(1, left)
        left -= part
        trade = venue.execute(placed, part, Decimal("540.00") - dice.randint(0, 3) * Decimal("0.05"))
        said += [rows.trade_of_book(trade_book_row(trade)), rows.order_of_book(order_row(placed))]
    if placed.status == PENDING:
        venue.end(placed, 1, "")
        said.append(rows.order_of_book(order_row(placed)))
    return said, placed


def folded(tracker: Tracker, said: list[Any], start: Order) -> Order:
    """The order as an account has it after all that the tracker makes of what was said."""
    now = start
    for each in said:
        for report in tracker.row(each) if isinstance(each, rows.OrderRow) else tracker.trade(each):
            if isinstance(report, ev.Executed):
                if report.execution_id not in now.executions:
                    now = with_fill(now, fill_of(now, report))
            elif (status := after(now, report)) is not None and not isinstance(report, ev.Modified):
                now = with_news(now, report, status)
    return now


def fill_of(now: Order, report: ev.Executed) -> Fill:
    return Fill(
        client_order_id=now.client_order_id,
        execution_id=report.execution_id,
        instrument=now.instrument,
        side=now.side,
        product=now.product,
        strategy=now.strategy,
        tag=now.tag,
        source=now.source,
        time_ns=0,
        quantity_raw=report.quantity_raw,
        price_raw=report.price_raw,
        price_source=report.price_source,
    )


@pytest.mark.parametrize("seed", range(200))
def test_any_order_of_news_leads_to_the_same_end(seed: int) -> None:
    dice = Random(seed)
    said, placed = news(dice)
    start = order(limit_raw=54_000)

    def played(these: list[Any], claim_at: int) -> Order:
        tracker = Tracker()
        tracked = tracker.add(start)
        before = folded(tracker, these[:claim_at], start)
        now = before
        for report in tracker.claim(tracked, placed.id):
            if isinstance(report, ev.Executed) and report.execution_id not in now.executions:
                now = with_fill(now, fill_of(now, report))
        return folded(tracker, these[claim_at:], now)

    orderly = played(said, 0)
    shuffled = said + dice.choices(said, k=len(said))
    dice.shuffle(shuffled)
    other = played(shuffled, dice.randint(0, len(shuffled)))
    facts = [(o.status, o.filled_raw, o.filled_value_raw, o.executions, o.ended) for o in (orderly, other)]
    assert facts[0] == facts[1]
    assert orderly.filled_raw == placed.filled
    assert orderly.status == ("FILLED" if placed.status == TRADED else "CANCELED")


def test_a_tag_is_only_a_tag() -> None:
    tracker = Tracker()
    tracker.add(order())
    venue, _ = exchange()
    for terms in ({"symbol": "NSE:INFY-EQ", "limitPrice": 1000}, {"side": -1}):
        assert tracker.row(rows.order_of_book(order_row(venue.place(body(**terms))))) == []
    first, second = venue.place(body()), venue.place(body())
    assert tracker.row(rows.order_of_book(order_row(first)))
    assert tracker.row(rows.order_of_book(order_row(second))) == [], "one of our orders is one order there"


def test_what_others_trade_is_counted_as_theirs() -> None:
    tracker = Tracker()
    tracker.add(order())
    venue, _ = exchange()
    trade = venue.trade_at_touch("NSE:SBIN-EQ", -5, "INTRADAY")
    assert tracker.trade(rows.trade_of_book(trade_book_row(trade))) == []
    assert (tracker.foreign, tracker.net, tracker.executions) == (1, {}, 0)


def test_a_price_off_the_scale_is_not_booked_and_told() -> None:
    tracker = Tracker()
    tracker.add(order())
    venue, _ = exchange()
    trade = venue.execute(venue.place(body()), 1, Decimal("549.00"))
    row = rows.trade_of_book(trade_book_row(trade))._replace(price=Decimal("549.00001"))
    assert not [report for report in tracker.trade(row) if isinstance(report, ev.Executed)]
    assert "is not booked" in tracker.take_odd()[0]


def test_what_was_given_up_and_comes_is_a_stray() -> None:
    tracker = Tracker()
    settle_unsent(tracker.add(order()))
    venue, _ = exchange()
    placed = venue.place(body(limitPrice=540.0))
    tracker.row(rows.order_of_book(order_row(placed)))
    assert list(tracker.strays) == [placed.id]


# ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def submit(name: str, opening: int = 10) -> ev.Submit:
    return ev.Submit(0, order(name, opening_raw=opening))


@given(st.integers(0, 10**6))
def test_the_pace_holds_on_both_clocks_whatever_comes(seed: int) -> None:
    """Calls take their time; the server counts each somewhere while it is under way."""
    dice, clock = Random(seed), Time()
    user = Pace(clock=clock)
    queue = Queue(clock, lambda _: False)
    counted: dict[str, list[float]] = {}
    under_way: list[tuple[float, Any]] = []
    for number in range(dice.randint(1, 60)):
        symbol = dice.choice(("NSE:SBIN-EQ", "NSE:NIFTY26DECFUT"))
        queue.put(submit(f"O{number}"), f"O{number}", symbol)
    while len(queue) or under_way:
        for ends, job in [each for each in under_way if each[0] <= clock.now]:
            under_way.remove((ends, job))
            queue.leave(job, user)
        job, wait = queue.next(user)
        if job is None:
            nexts = [ends for ends, _ in under_way]
            clock.now = min([clock.now + max(wait, 0.001), *nexts])
            continue
        lasts = dice.choice((0.01, 0.1, 0.7))
        counted.setdefault(job.segment, []).append(clock.now + dice.random() * lasts)
        under_way.append((clock.now + lasts, job))
    everything = sorted(at for times in counted.values() for at in times)
    for times in (*map(sorted, counted.values()), everything):
        assert all(later - first >= 1.0 - 1e-6 for first, later in zip(times, times[10:], strict=False))
    assert len(everything) == len({id(at) for at in everything})


def test_what_reduces_goes_first_and_an_orders_requests_in_turn() -> None:
    clock = Time()
    user, queue = Pace(clock=clock), Queue(clock, lambda _: False)
    queue.put(submit("opens"), "opens", ITEM.symbol)
    queue.put(submit("closes", 0), "closes", ITEM.symbol)
    queue.put(ev.Cancel(0, "opens"), "opens", ITEM.symbol)
    queue.put(ev.Modify(0, "other", Change(1, 1, None, 0, 0)), "other", ITEM.symbol)
    jobs = [queue.next(user)[0] for _ in range(4)]
    names = [(job.order_id, type(job.request).__name__) for job in jobs if job is not None]
    assert names == [("closes", "Submit"), ("other", "Modify"), ("opens", "Submit"), ("opens", "Cancel")]


def test_what_was_refused_for_the_rate_is_not_lost() -> None:
    clock = Time()
    user, queue = Pace(clock=clock), Queue(clock, lambda _: False)
    queue.put(submit("A"), "A", ITEM.symbol)
    job, _ = queue.next(user)
    assert job is not None
    queue.leave(job, user)
    queue.put_back(job, 2.0)
    assert queue.next(user) == (None, 2.0)
    clock.now += 2.0
    assert queue.next(user)[0] == job


def test_an_order_that_is_busy_waits() -> None:
    clock = Time()
    busy = {"A"}
    user, queue = Pace(clock=clock), Queue(clock, busy.__contains__)
    queue.put(ev.Cancel(0, "A"), "A", ITEM.symbol)
    assert queue.next(user)[0] is None
    busy.clear()
    assert queue.next(user)[0] is not None


class NoBooks:
    async def positions(self) -> dict[tuple[str, Product], int]:
        return {}

    async def trades(self) -> list[rows.TradeRow]:
        return []


def test_positions_are_looked_at_ever_less_often_while_orders_are_under_way() -> None:
    """Each look takes three calls of the two hundred that a user has in a minute."""
    tracker, told, is_busy = Tracker(), [], True
    tracker.add(order())
    books = cast("Books", NoBooks())
    standing = Standing(tracker, books, set(), told.append, lambda _: None, lambda: is_busy, 0.3, 3.0, 1.0)
    look = lambda: asyncio.run(standing.look())  # noqa: E731
    assert [look() for _ in range(6)] == [0.3, 0.6, 1.2, 2.4, 3.0, 3.0]
    assert not told
    is_busy = False
    assert look() > 60
    assert len(told) == 1
    is_busy = True
    assert look() == 0.3


def test_segments_and_ranks() -> None:
    assert segment_of("NSE:SBIN-EQ") != segment_of("NSE:NIFTY26DECFUT") != segment_of("MCX:CRUDEOIL26DECFUT")
    assert [rank(submit("A")), rank(submit("A", 0)), rank(ev.Cancel(0, "A"))] == [1, 0, 0]
