"""The account's stories: an input goes in, events come out, and the books add up after each."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.fees import DEFAULT_FEES, NoFees, PercentFee
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.kinds import (
    ExitKind,
    ExitStatus,
    FeedState,
    OrderSide,
    OrderStatus,
    OrderType,
    PriceSource,
    Product,
    Source,
    TimeInForce,
)
from livetrade.core.limits import Limits
from livetrade.core.ordering import base36
from livetrade.core.protecting import MAX_RETRIES
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.core.values import Fill, Order
from livetrade.core.venue import Venue
from tests.core.kit import (
    COIN,
    GOLD,
    INFY,
    SBIN,
    SECOND,
    Desk,
    alarms,
    dec,
    denials,
    kinds,
    same_state,
    stop,
    target,
    tick,
    trail,
)

S = OrderStatus
DAY_SECONDS = 86_400


def trading(cash: Any = "500000", **terms: Any) -> Desk:
    """A desk that knows a price of SBIN: 549.00 bid, 549.10 ask."""
    desk = Desk(cash, **terms)
    desk.quote("549.00", "549.10", "549.05")
    return desk


def short_limits(**more: Any) -> Limits:
    return Limits(allow_short=True, **more)


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_market_order_meets_the_other_side_at_once() -> None:
    desk = trading()
    bought = desk.buy(100)
    assert (bought.status, bought.avg_price) == (S.FILLED, Decimal("549.10"))
    assert desk.cash == Decimal(500000) - Decimal(54910)
    sold = desk.sell(100)
    assert sold.avg_price == Decimal("549.00")
    assert dec(desk.account.ledger.realized_raw) == Decimal("-10.00")
    assert [fill.price_source for fill in desk.fills()] == [PriceSource.ASK, PriceSource.BID]
    assert desk.account.is_flat()


def test_an_order_tells_its_whole_life_as_events() -> None:
    desk = trading()
    desk.buy(100)
    assert kinds(desk.events[-4:]) == ["Submit", "Accepted", "Filled", "EquityPoint"]


def test_with_only_a_last_price_that_is_used_and_said() -> None:
    desk = Desk()
    desk.quote(last="549")
    assert desk.buy(10).avg_price == Decimal(549)
    assert desk.fills()[0].price_source is PriceSource.LAST


@pytest.mark.parametrize("quote", [{}, {"bid": "549"}])
def test_without_a_price_a_market_buy_is_refused(quote: Any) -> None:
    desk = Desk()
    if quote:
        desk.quote(**quote)
    order = desk.buy(10)
    assert order.status is S.DENIED
    assert order.reason.startswith("Price feed unavailable: no ask known")
    assert len(desk.account.orders) == 1


def test_a_symbol_without_prices_that_looks_like_one_with_them_is_told() -> None:
    desk = Desk()
    desk.quote(bid="548.95", ask="549")
    asked = desk.buy(10, item=default_instrument("SBIN"))
    assert asked.reason == "Price feed unavailable: no ask known for SBIN; did you mean NSE:SBIN-EQ?"


def test_a_limit_order_waits_and_fills_at_the_better_price() -> None:
    desk = trading()
    order = desk.buy(100, limit="548")
    assert order.status is S.ACCEPTED
    assert desk.account.blocked_raw == SBIN.value_raw(54800, 100)
    assert desk.quote("547.95", "548.01") == []
    desk.quote("547.80", "547.90")
    order = desk.order(order)
    assert (order.status, order.avg_price) == (S.FILLED, Decimal("547.90"))
    assert desk.account.blocked_raw == 0


def test_a_limit_order_fills_at_its_limit_when_touched() -> None:
    desk = trading()
    order = desk.buy(100, limit="548")
    desk.quote("547.95", "548.00")
    assert desk.order(order).avg_price == Decimal("548.00")
    assert desk.fills()[0].price_source is PriceSource.LIMIT


def test_with_last_only_a_limit_order_fills_when_it_trades_through() -> None:
    desk = Desk()
    desk.quote(last="549")
    order = desk.buy(100, limit="548")
    desk.quote(last="548")
    assert desk.order(order).status is S.ACCEPTED
    desk.quote(last="547.95")
    assert desk.order(order).avg_price == Decimal("547.95")


def test_a_stop_order_triggers_like_an_exit() -> None:
    desk = trading()
    order = desk.buy(100, trigger="550")
    assert order.status is S.ACCEPTED
    assert desk.quote("549.50", "549.95") == []
    events = desk.quote("550.10", "550.20")
    assert kinds(events) == ["Triggered", "Filled", "EquityPoint"]
    assert desk.order(order).avg_price == Decimal("550.20")


def test_a_stop_limit_order_waits_again_after_its_trigger() -> None:
    desk = trading()
    order = desk.buy(100, trigger="550", limit="550.05")
    desk.quote("550.10", "550.20")
    assert (desk.order(order).status, desk.order(order).triggered) == (S.ACCEPTED, True)
    desk.quote("549.80", "549.90")
    assert desk.order(order).avg_price == Decimal("549.90")


def test_a_sell_stop_of_a_held_position() -> None:
    desk = trading()
    desk.buy(100)
    order = desk.sell(100, trigger="545")
    assert order.opening_raw == 0
    desk.quote("544.90", "545.10")
    assert desk.order(order).avg_price == Decimal("544.90")
    assert desk.position == 0


def test_immediate_or_cancel() -> None:
    desk = trading(venue=Venue(size="quoted"))
    desk.quote("549.00", "549.10", bid_size=50, ask_size=30)
    order = desk.buy(100, limit="549.10", time_in_force=TimeInForce.IOC)
    assert (order.status, order.filled_raw) == (S.CANCELED, 30)
    assert desk.buy(100, limit="540", time_in_force=TimeInForce.IOC).status is S.CANCELED
    assert desk.buy(100, trigger="560", time_in_force=TimeInForce.IOC).status is S.CANCELED


def test_quoted_size_fills_what_is_shown_and_goes_on_with_the_next_quote() -> None:
    desk = trading(venue=Venue(size="quoted"))
    desk.quote("549.00", "549.10", bid_size=50, ask_size=30)
    order = desk.buy(100)
    assert (order.status, order.filled_raw) == (S.PARTIALLY_FILLED, 30)
    other = desk.buy(10)
    assert other.filled_raw == 0  # what was shown is taken
    desk.quote("549.10", "549.20", ask_size=75)
    assert (desk.order(order).filled_raw, desk.order(other).filled_raw) == (100, 5)
    desk.quote("549.10", "549.20", ask_size=75)
    assert desk.order(other).status is S.FILLED


def test_slippage_makes_fills_worse_and_respects_limits() -> None:
    desk = trading(venue=Venue(slippage="0.05"))
    assert desk.buy(10).avg_price == Decimal("549.15")
    assert desk.buy(10, limit="549.12").avg_price == Decimal("549.12")
    assert desk.sell(10).avg_price == Decimal("548.95")
    assert desk.order("A1").slippage == Decimal("0.05")


def test_latency_delays_each_request() -> None:
    desk = trading(venue=Venue(latency=0.5))
    order = desk.buy(100)
    assert order.status is S.SUBMITTED
    assert desk.account.next_deadline() == desk.ts + SECOND // 2
    desk.quote("551.00", "551.10", after=0.25)
    assert desk.order(order).status is S.SUBMITTED
    desk.wake(after=0.25)
    assert desk.order(order).avg_price == Decimal("551.10")


def test_with_latency_a_cancel_may_come_too_late() -> None:
    desk = trading(venue=Venue(latency=0.5))
    order = desk.buy(100, limit="548")
    desk.wake(after=0.5)
    assert desk.order(order).status is S.ACCEPTED
    desk.cancel(order)
    assert desk.order(order).status is S.PENDING_CANCEL
    desk.quote("547", "547.50", after=0.25)
    assert desk.order(order).status is S.FILLED
    assert desk.wake(after=1) == []


def test_with_latency_requests_arrive_in_turn() -> None:
    desk = trading(venue=Venue(latency=0.5))
    order = desk.buy(100, limit="548")
    desk.pass_time(0.25)
    desk.modify(order, limit="547", quantity=50)
    assert desk.order(order).status is S.PENDING_UPDATE
    desk.wake(after=0.25)
    assert desk.order(order).venue_order_id
    assert desk.order(order).limit_price == Decimal(548)
    desk.wake(after=0.25)
    assert (desk.order(order).status, desk.order(order).limit_price) == (S.ACCEPTED, Decimal(547))
    desk.quote("546", "546.50")
    assert desk.order(order).filled_raw == 50


def test_with_latency_an_order_canceled_on_its_way_rests_until_the_cancel_arrives() -> None:
    desk = trading(venue=Venue(latency=0.5))
    order = desk.buy(100, limit="548")
    desk.pass_time(0.25)
    desk.cancel(order)
    desk.wake(after=0.25)
    assert (desk.order(order).status, bool(desk.order(order).venue_order_id)) == (S.PENDING_CANCEL, True)
    desk.wake(after=0.25)
    assert desk.order(order).status is S.CANCELED


def test_a_modified_order_works_under_its_new_terms() -> None:
    desk = trading()
    order = desk.buy(100, limit="548")
    events = desk.modify(order, limit="549.20", quantity=40)
    assert kinds(events)[:2] == ["Modify", "Modified"]
    order = desk.order(order)
    assert (order.status, order.filled_raw, order.avg_price) == (S.FILLED, 40, Decimal("549.10"))


def test_a_repeat_of_the_first_command_stays_the_same_after_a_modification() -> None:
    desk = trading()
    order = desk.buy(100, limit="548", order_id="MINE")
    desk.modify(order, limit="547")
    before = len(desk.events)
    desk.buy(100, limit="548", order_id="MINE")
    assert len(desk.events) == before


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"trigger": "550"}, "Nothing to modify: A1 has no trigger price"),
        ({"quantity": 10_000}, "Insufficient balance"),
        ({"quantity": 600}, None),
    ],
)
def test_what_a_limit_order_can_be_modified_to(terms: dict[str, Any], reason: str | None) -> None:
    desk = trading()
    order = desk.buy(100, limit="548")
    refused = denials(desk.modify(order, **terms))
    assert refused == [] if reason is None else refused[0].startswith(reason)


def test_orders_that_cannot_be_modified_or_canceled() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    market = desk.buy(100)
    assert "has no limit price" in denials(desk.modify(market, limit="1"))[0]
    desk.accept(market)
    desk.execute(market, 40, "549.10")
    assert "has already filled 40" in denials(desk.modify(market, quantity=40))[0]
    desk.modify(market, quantity=60)
    assert "a change of A1 is on its way (PENDING_UPDATE)" in denials(desk.modify(market, quantity=70))[0]
    desk.cancel(market)
    assert desk.cancel(market) == []
    assert "(PENDING_CANCEL)" in denials(desk.modify(market, quantity=70))[0]
    desk.canceled(market)
    assert denials(desk.modify(market, quantity=70)) == ["Nothing to modify: A1 is CANCELED"]
    assert denials(desk.cancel(market)) == ["Nothing to cancel: A1 is CANCELED"]
    assert denials(desk.cancel("NONE")) == ["Unknown order: no order has the id NONE"]
    assert denials(desk.modify("NONE")) == ["Unknown order: no order has the id NONE"]


def test_a_triggered_stop_limit_keeps_its_trigger() -> None:
    desk = trading()
    order = desk.buy(100, trigger="550", limit="550.05")
    desk.quote("550.10", "550.20")
    assert "has no trigger price that is still waiting" in denials(desk.modify(order, trigger="551"))[0]


def test_an_order_with_an_unknown_outcome_is_not_modified() -> None:
    desk = Desk(live=True)
    order = desk.buy(100, limit="548")
    desk.handle(ev.Unknown(desk.ts, order.client_order_id, "timeout"))
    assert "(UNKNOWN)" in denials(desk.modify(order, limit="547"))[0]


def test_a_pending_modification_already_counts() -> None:
    """What a modification may fill is blocked and counted before the venue confirms it."""
    desk = Desk("100000", live=True, limits=Limits(max_position_value=90_000))
    desk.quote("99", "100")
    order = desk.buy(100, limit="100")
    desk.accept(order)
    desk.modify(order, quantity=850)
    assert desk.account.blocked_raw == SBIN.value_raw(10000, 850)
    assert desk.buy(100).reason.startswith("Limit exceeded: max_position_value is 90000, asked 95000.00")
    assert desk.buy(160, item=INFY, limit="100").reason.startswith("Insufficient balance")
    desk.handle(ev.RequestRejected(desk.ts, order.client_order_id, "no"))
    assert desk.account.blocked_raw == SBIN.value_raw(10000, 100)
    assert desk.buy(100).status is S.SUBMITTED


def test_cancel_all_of_a_symbol_or_strategy() -> None:
    desk = trading()
    orders = [
        desk.buy(1, limit="500"),
        desk.buy(1, limit="500", item=INFY),
        desk.buy(1, limit="500", strategy="ema"),
    ]

    def open_ids() -> list[int]:
        return [number for number, order in enumerate(orders) if desk.order(order).is_open]

    desk.handle(ev.CancelAll(desk.ts, SBIN.symbol, "ema"))
    assert open_ids() == [0, 1]
    desk.handle(ev.CancelAll(desk.ts, INFY.symbol))
    assert open_ids() == [0]
    desk.handle(ev.CancelAll(desk.ts))
    assert open_ids() == []


def test_a_repeated_command_gives_the_first_answer_and_sends_nothing() -> None:
    desk = trading()
    desk.buy(100, order_id="MINE")
    before = len(desk.events)
    desk.buy(100, order_id="MINE")
    assert len(desk.events) == before
    desk.buy(101, order_id="MINE")
    assert denials(desk.events)[-1].startswith("Duplicate id: MINE was used for Order(MINE BUY 100")
    assert desk.position == 100


def test_a_symbol_keeps_its_first_scales() -> None:
    desk = trading()
    other = Instrument("NSE:SBIN-EQ", scale=3)
    desk.handle(
        ev.SubmitOrder(desk.ts, "X", other, OrderSide.BUY, OrderType.MARKET, 1),
    )
    assert denials(desk.events)[-1].startswith("NSE:SBIN-EQ already trades with scale=2")
    assert "X" not in desk.account.orders
    desk.handle(tick(other, desk.ts, last="549.001"))
    assert desk.account.quarantined == {"scale": 1}
    twin = Instrument("NSE:SBIN-EQ")
    desk.handle(tick(twin, desk.ts, last="600"))
    assert desk.account.ticks == 2


def test_ids_are_ordered_and_never_repeat() -> None:
    desk = trading()
    ids = []
    for number in range(100):
        desk.pass_time(number // 50)
        ids.append(desk.account.new_id(desk.ts))
        desk.buy(1, limit="500" if number % 2 else "900000000", order_id=ids[-1])
    assert ids == sorted(set(ids))
    assert all(len(one) == 16 and one.isalnum() for one in ids)
    assert base36(35, 2) == "0Z"


# ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"bid_raw": 60000, "ask_raw": 100}, "crossed"),
        ({"bid_raw": -1}, "negative"),
        ({"last_raw": 1, "time_ns": 5}, "backward"),
        ({"last_raw": 54905, "bid_raw": 54900, "time_ns": 10}, "duplicate"),
    ],
)
def test_a_quarantined_tick_changes_nothing_and_fires_nothing(bad: Any, reason: str) -> None:
    desk = Desk()
    desk.quote("549.00", "549.10", "549.05", time_ns=10)
    desk.buy(100, exits=[stop("545"), target("560")])
    desk.buy(10, limit="540")
    before = desk.account.markets[SBIN.symbol]
    value, quote = before.value_raw, before.quote
    assert desk.handle(Tick(SBIN, desk.ts, **bad)) == []
    assert desk.account.quarantined == {reason: 1}
    assert (before.value_raw, before.quote) == (value, quote)


def test_a_bad_first_tick_makes_no_symbol_known() -> None:
    desk = Desk()
    for bid, ask in ((0, 0), (2, 1), (-1, 0)):
        assert desk.handle(Tick(INFY, desk.ts, bid, ask)) == []
    assert desk.account.quarantined == {"empty": 1, "crossed": 1, "negative": 1}
    assert desk.account.markets == {}


def test_a_missing_side_fills_and_fires_nothing() -> None:
    desk = Desk()
    desk.quote("549.00", "549.10")
    desk.buy(100, exits=[stop("545")])
    desk.quote(ask="540.00")  # passes the old bid, which is unknown from now on
    assert desk.account.markets[SBIN.symbol].quote.bid is None  # type: ignore[union-attr]
    assert desk.position == 100
    assert desk.sell(100).reason.startswith("Price feed unavailable: no bid known")
    desk.quote(bid="544")
    assert desk.position == 0
    assert desk.exit_orders()[0].avg_price == Decimal(544)


def test_positions_are_marked_at_last_or_else_mid() -> None:
    desk = Desk()
    desk.quote("549.00", "549.15")
    desk.buy(100)
    assert dec(desk.account.unrealized_raw) == Decimal("-7.5")
    desk.quote(last="560")
    assert dec(desk.account.unrealized_raw) == Decimal(1085)


def test_a_hedge_between_strategies_is_marked_too() -> None:
    desk = trading(limits=short_limits())
    desk.buy(100, strategy="a")
    desk.sell(100, strategy="b")
    desk.quote("559.00", "559.10", "559.05")
    market = desk.account.markets[SBIN.symbol]
    parts = [book.market_value_raw(market.mark_raw) - book.cost_raw for book in market.books]
    assert [dec(part) for part in parts] == [Decimal(995), Decimal(-1005)]


def test_a_fill_knows_the_extremes_of_its_book_since_the_one_before() -> None:
    desk = Desk(limits=short_limits())
    desk.quote(last="100")
    desk.buy(10, strategy="a")
    desk.quote(last="90")
    desk.buy(10, strategy="b")
    desk.quote(last="130")
    desk.quote(last="120")
    desk.sell(10, strategy="b")
    desk.quote(last="125")
    desk.sell(10, strategy="a")
    extremes = [(fill.low_raw // 2, fill.high_raw // 2) for fill in desk.fills()]
    assert extremes == [(0, 0), (0, 0), (9000, 13000), (9000, 13000)]


def test_extremes_without_any_mark() -> None:
    desk = Desk(live=True)
    desk.quote(bid="99")
    order = desk.buy(100, limit="100")
    desk.execute(order, 50, "100", "E1")
    desk.execute(order, 50, "100", "E2")
    assert [(fill.low_raw, fill.high_raw) for fill in desk.fills()] == [(0, 0), (0, 0)]
    assert desk.account.unrealized_raw == 0


# ── exits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_fires_when_the_bid_touches_it() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545"), target("560")])
    assert desk.quote("545.05", "545.15", "544") == []
    events = desk.quote("545.00", "545.10")
    assert kinds(events) == [
        "ExitFired",
        "ExitEnded",
        "Submit",
        "Accepted",
        "Filled",
        "EquityPoint",
        "ExitEnded",
    ]
    assert desk.position == 0
    assert desk.fills()[-1].source is Source.STOP_LOSS
    assert (desk.risk().status, desk.risk(ExitKind.TAKE_PROFIT).status) == (ExitStatus.FILLED, ExitStatus.CANCELED)
    assert desk.quote("540", "541") == []


def test_a_take_profit_fires_when_the_bid_touches_it() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545"), target("560")])
    desk.quote("560.00", "560.10")
    assert desk.exit_orders()[0].avg_price == Decimal(560)
    assert (desk.risk().status, desk.risk(ExitKind.TAKE_PROFIT).status) == (ExitStatus.CANCELED, ExitStatus.FILLED)


def test_a_shorts_exits_watch_the_ask() -> None:
    desk = trading(limits=short_limits())
    desk.sell(100, exits=[stop("555"), target("540")])
    assert desk.quote("554.90", "554.95") == []
    desk.quote("554.90", "555.00")
    assert (desk.position, desk.exit_orders()[0].side) == (0, OrderSide.BUY)


def test_trigger_by_last() -> None:
    desk = trading(trigger_by="last")
    desk.buy(100, exits=[stop("545")])
    assert desk.quote("544.00", "544.10") == []
    desk.quote(last="545")
    assert desk.position == 0


def test_trigger_by_last_falls_back_on_the_quote() -> None:
    desk = Desk(trigger_by="last")
    desk.quote("549.00", "549.10")
    desk.buy(100, exits=[stop("545")])
    desk.quote("545", "546")
    assert desk.position == 0


def test_last_only_serves_exits_when_it_is_all_there_is() -> None:
    desk = Desk()
    desk.quote(last="549")
    desk.buy(100, exits=[stop("545")])
    desk.quote(last="544.50")
    assert desk.exit_orders()[0].avg_price == Decimal("544.50")


def test_a_percentage_counts_from_the_entry_and_lands_on_the_grid() -> None:
    desk = trading()
    desk.buy(100, exits=[stop(pct=1), target(pct="2.5")])
    assert desk.risk().trigger_price == Decimal("543.61")  # 549.10 × 0.99 = 543.609, toward the entry
    assert desk.risk(ExitKind.TAKE_PROFIT).trigger_price == Decimal("562.83")  # 562.8275, away from it


def test_a_trailing_stop_follows_and_never_goes_back() -> None:
    desk = trading()
    desk.buy(100, exits=[trail("4")])
    kind = ExitKind.TRAILING_STOP
    assert desk.risk(kind).trigger_price == Decimal("545.00")
    assert kinds(desk.quote("551.00", "551.10")) == ["TrailMoved"]
    assert desk.risk(kind).trigger_price == Decimal("547.00")
    assert desk.quote("548.00", "548.10") == []
    desk.quote("547.00", "547.10")
    assert (desk.position, desk.risk(kind).status) == (0, ExitStatus.FILLED)
    assert desk.fills()[-1].source is Source.TRAILING_STOP


def test_a_shorts_trailing_stop_in_percent() -> None:
    desk = trading(limits=short_limits())
    desk.sell(100, exits=[trail(pct=1)])
    desk.quote("539.90", "540.00")
    assert desk.risk(ExitKind.TRAILING_STOP).trigger_price == Decimal("545.40")
    desk.quote("545.30", "545.40")
    assert desk.position == 0


def test_an_exit_already_through_the_market_is_refused_with_its_entry() -> None:
    desk = trading()
    order = desk.buy(100, exits=[stop("549.00")])
    assert (order.status, order.reason) == (S.DENIED, "STOP_LOSS 549.00 is already through the market at 549.00")
    assert desk.buy(100, exits=[target("548")]).status is S.DENIED
    assert desk.buy(100, exits=[stop("548.99")]).status is S.FILLED


@pytest.mark.parametrize(
    ("terms", "exits", "passes"),
    [
        ({"limit": "545"}, [stop("544"), target("546")], True),
        ({"limit": "545"}, [stop("545")], False),
        ({"limit": "560"}, [stop("555")], False),  # it would fill at 549.10
        ({"limit": "560"}, [target("555")], True),
        ({"trigger": "555"}, [stop("552"), target("556")], True),
        ({"trigger": "555"}, [stop("556")], False),
        ({"trigger": "555", "limit": "560"}, [stop("557")], False),
        ({"trigger": "500"}, [stop("548")], True),
    ],
)
def test_exits_are_held_against_the_price_an_entry_would_get(terms: Any, exits: Any, passes: bool) -> None:
    assert (trading().buy(100, exits=exits, **terms).status is not S.DENIED) is passes


def test_exits_arm_at_the_first_fill_and_follow_the_filled_quantity() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    order = desk.buy(100, exits=[stop("545")])
    assert desk.account.risks == {}
    desk.execute(order, 30, "549.10", "E1")
    risk = desk.risk()
    desk.execute(order, 30, "549.10", "E2")
    assert (desk.risk(), len(desk.account.risks)) == (risk, 1)
    desk.quote("545.00", "545.10")
    exit_order = desk.exit_orders()[0]
    assert exit_order.quantity_raw == 60
    desk.execute(order, 40, "545.10", "E3")  # the entry goes on filling, and the fired exit stays responsible
    assert [o.quantity_raw for o in desk.exit_orders()] == [60, 40]
    desk.execute(exit_order, 60, "545.00", "E4")
    desk.execute(desk.exit_orders()[1], 40, "545.00", "E5")
    assert (desk.position, desk.risk().status, len(desk.account.risks)) == (0, ExitStatus.FILLED, 1)


def test_exits_are_checked_at_arming() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    order = desk.buy(100, exits=[stop("545")])
    desk.quote("544.00", "544.10")
    events = desk.execute(order, 100, "549.10")
    assert kinds(events)[-3:] == ["ExitArmed", "ExitFired", "Submit"]


def test_a_new_orders_stop_replaces_the_old_one() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545"), target("560")])
    desk.buy(50, exits=[stop("547")])
    stops = [risk for risk in desk.account.risks.values() if risk.kind is ExitKind.STOP_LOSS]
    assert [risk.status for risk in stops] == [ExitStatus.CANCELED, ExitStatus.ARMED]
    desk.quote("547.00", "547.10")
    assert desk.position == 0
    assert desk.exit_orders()[0].quantity_raw == 150


def test_a_new_entry_does_not_take_a_fired_exits_place() -> None:
    desk = Desk(live=True)
    desk.quote("100", "100.10")
    desk.bought(100, "100.10", exits=[stop("95")])
    entry = desk.buy(100, limit="94", exits=[stop("90")])
    desk.quote("93.90", "94.00")
    first = desk.exit_orders()[0]
    desk.execute(entry, 100, "94")
    assert desk.risk().trigger_price == Decimal(95)
    desk.reject(first)
    desk.execute(desk.exit_orders()[1], 100, "93.90", "E7")
    desk.wake(after=1)
    desk.execute(desk.exit_orders()[2], 100, "93.90", "E8")
    assert (desk.position, desk.account.brackets) == (0, {})


def test_a_fired_exit_first_cancels_what_rests_in_its_way() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545")])
    resting = desk.sell(60, limit="560")
    other = desk.buy(10, limit="530")
    desk.quote("545.00", "545.10")
    assert (desk.order(resting).status, desk.order(other).status) == (S.CANCELED, S.ACCEPTED)
    assert (desk.position, desk.exit_orders()[0].quantity_raw) == (0, 100)


def test_a_fired_exit_waits_for_the_cancel_to_be_confirmed() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    resting = desk.sell(60, limit="560")
    desk.accept(resting)
    desk.quote("545.00", "545.10")
    assert [order.quantity_raw for order in desk.exit_orders()] == [40]
    desk.execute(resting, 10, "560", "R1")
    desk.canceled(resting)
    assert [order.quantity_raw for order in desk.exit_orders()] == [40, 50]


def test_an_exit_counts_a_market_order_in_flight() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    selling = desk.sell(70)
    desk.quote("545.00", "545.10")
    assert desk.order(selling).status is S.SUBMITTED
    assert [order.quantity_raw for order in desk.exit_orders()] == [30]


def test_an_exit_whose_outcome_is_unknown_is_not_sent_again() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    order = desk.exit_orders()[0]
    desk.handle(ev.Unknown(desk.ts, order.client_order_id, "timeout"))
    for _ in range(10):
        desk.quote("544.00", "544.10", after=1)
    assert len(desk.exit_orders()) == 1
    desk.reject(order, "never arrived")
    desk.wake(after=1)
    assert [o.quantity_raw for o in desk.exit_orders()] == [100, 100]


def test_a_rejected_exit_is_sent_again_five_times_a_second_apart() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    told: list[str] = []
    for attempt in range(1, MAX_RETRIES + 2):
        orders = desk.exit_orders()
        assert len(orders) == attempt
        told += alarms(desk.reject(orders[-1], "RMS"))
        assert desk.wake(after=0.5) == []
        desk.wake(after=0.5)
    assert told == ["exit order ended"] * MAX_RETRIES + ["exit failed"]
    assert desk.risk().status is ExitStatus.FAILED
    assert (desk.position, desk.account.brackets) == (100, {})
    assert "gave up" in desk.account.alarms[-1].message
    assert len([event for event in desk.events if isinstance(event, ev.ExitFired)]) == 1


def test_only_the_remainder_of_a_fired_exit_is_sent_again() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    first = desk.exit_orders()[0]
    desk.execute(first, 60, "545")
    desk.canceled(first)
    desk.wake(after=1)
    assert desk.exit_orders()[-1].quantity_raw == 40
    desk.execute(first, 15, "545", "LATE")  # after its end: it counts
    assert desk.risk().attempts == 0


def test_an_exit_that_fills_a_little_each_time_is_pursued_until_flat() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    for left in range(100, 0, -10):
        order = desk.exit_orders()[-1]
        assert order.quantity_raw == left
        desk.execute(order, 10, "545")
        if left > 10:
            desk.canceled(order)
            desk.wake(after=1)
    assert desk.position == 0
    assert desk.risk().status is ExitStatus.FILLED


def test_a_fired_exit_without_a_price_waits_at_the_venue() -> None:
    """Locked at the lower circuit there is no bid; the exit's order takes its place in the queue."""
    desk = Desk(venue=Venue(size="quoted"))
    desk.quote("549.00", "549.10", bid_size=1000, ask_size=1000)
    desk.buy(100, exits=[stop("545")])
    desk.quote("545.00", "545.10", bid_size=40)
    desk.cancel(desk.exit_orders()[0])
    desk.quote(ask="544.00")
    desk.wake(after=1)
    again = desk.exit_orders()[1]
    assert (again.status, again.quantity_raw) == (S.ACCEPTED, 60)
    desk.quote(bid="543", bid_size=100)
    assert desk.position == 0


def test_exits_end_with_the_position() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545"), target("560"), trail("9")])
    desk.sell(100)
    assert {risk.status for risk in desk.account.risks.values()} == {ExitStatus.CANCELED}
    assert not desk.account.markets[SBIN.symbol].alerts.active


def test_a_partial_sale_leaves_the_exits_armed() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545")])
    desk.sell(40)
    desk.quote("545.00", "545.10")
    assert desk.exit_orders()[0].quantity_raw == 60


def test_a_flip_closes_then_opens_with_exits_of_its_own() -> None:
    desk = trading(limits=short_limits())
    desk.buy(100, exits=[stop("545")])
    order = desk.sell(150, exits=[stop("555")])
    assert order.opening_raw == 50
    assert desk.position == -50
    assert [risk.status for risk in desk.account.risks.values()] == [ExitStatus.CANCELED, ExitStatus.ARMED]
    assert not desk.risk().long
    desk.quote("554.90", "555.00")
    assert desk.position == 0


def test_a_reducing_order_arms_no_exits() -> None:
    desk = trading()
    desk.buy(100)
    desk.sell(40, exits=[stop("555")])
    assert desk.account.risks == {}


def test_setting_moving_and_disarming_an_exit() -> None:
    desk = trading()
    desk.buy(100)
    desk.buy(10, strategy="ema")
    assert kinds(desk.set_exit(stop("545"))) == ["ExitArmed"]
    assert kinds(desk.set_exit(stop("546"))) == ["ExitEnded", "ExitArmed"]
    desk.set_exit(target(pct=1))
    assert desk.risk(ExitKind.TAKE_PROFIT).trigger_price == Decimal("554.60")
    desk.set_exit(trail("3"))
    assert kinds(desk.set_exit(stop())) == ["ExitEnded"]
    assert desk.set_exit(stop()) == []
    desk.quote("546.00", "546.10")  # the trail fires
    assert desk.position == 10


def test_an_exit_needs_a_position() -> None:
    desk = trading()
    assert denials(desk.set_exit(stop("545"))) == ["No position to protect: manual holds no NSE:SBIN-EQ"]
    assert denials(desk.set_exit(stop("545"), symbol="NSE:NONE-EQ"))


def test_a_fired_exit_cannot_be_moved_or_disarmed() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    assert "has fired" in denials(desk.set_exit(stop("530")))[0]
    assert "has fired" in denials(desk.set_exit(stop()))[0]


def test_an_exit_of_one_strategy_sells_its_own_book() -> None:
    desk = trading()
    desk.buy(100, strategy="a", exits=[stop("545")])
    desk.buy(50, strategy="b")
    desk.buy(25, product=Product.CNC, strategy="a")
    desk.quote("545.00", "545.10")
    assert desk.position == 75


def test_exits_of_crypto_and_of_multiplied_contracts() -> None:
    desk = Desk()
    desk.quote("0.00001234", "0.00001236", item=COIN)
    desk.buy(5_00000000, item=COIN, exits=[stop(pct=10, item=COIN)])
    assert desk.risk().trigger_price == Decimal("0.00001113")
    desk.quote("71000", "71010", item=GOLD)
    desk.buy(1, item=GOLD, exits=[stop(70000, item=GOLD)])
    assert desk.fills()[-1].value == Decimal("7101.00")
    desk.quote("70000", "70010", item=GOLD)
    assert desk.held(GOLD.symbol) == 0


# ── closing, halting, money ──────────────────────────────────────────────────────────────────────────────────────────


def test_flatten_closes_every_book_and_cancels_every_order() -> None:
    desk = trading(limits=short_limits())
    desk.quote("1500", "1500.50", item=INFY)
    desk.buy(100, strategy="a", exits=[stop("545")])
    desk.buy(50, strategy="b")
    desk.sell(10, item=INFY)
    desk.buy(10, limit="500")
    desk.sell(30, strategy="b", limit="600")
    desk.close(None)
    assert desk.account.is_flat()
    assert desk.account.open_orders == {}
    assert {fill.source for fill in desk.fills()[-3:]} == {Source.FLATTEN}
    assert desk.close(None) == []


def test_close_a_part_of_a_position() -> None:
    desk = trading()
    desk.buy(100, strategy="a")
    desk.buy(50, strategy="b")
    desk.close(quantity_raw=120)
    assert [book.quantity_raw for book in desk.account.markets[SBIN.symbol].books] == [0, 30]
    desk.close(quantity_raw=500)
    assert desk.position == 0


def test_close_a_part_leaves_the_other_direction_alone() -> None:
    desk = trading(limits=short_limits())
    desk.buy(100, strategy="a")
    desk.sell(30, strategy="b")
    desk.close(quantity_raw=500)
    assert [book.quantity_raw for book in desk.account.markets[SBIN.symbol].books] == [0, -30]


def test_there_may_be_nothing_to_close() -> None:
    desk = trading()
    assert denials(desk.close()) == ["No position to sell: NSE:SBIN-EQ is flat"]
    assert denials(desk.close("NSE:NONE-EQ")) == ["No position to sell: NSE:NONE-EQ is flat"]
    assert denials(desk.close(quantity_raw=10)) == ["No position to sell: NSE:SBIN-EQ is flat"]
    assert desk.handle(ev.Flatten(desk.ts, SBIN.symbol)) == []
    order = desk.buy(10, limit="500")
    assert denials(desk.close()) == []
    assert desk.order(order).status is S.CANCELED


def test_without_a_price_closing_waits_at_the_venue() -> None:
    desk = trading()
    desk.buy(100)
    desk.quote(ask="540")
    desk.close()
    closing = list(desk.account.open_orders.values())
    assert [(order.source, order.quantity_raw) for order in closing] == [(Source.FLATTEN, 100)]
    assert "closes a position" in denials(desk.modify(closing[0], quantity=200))[0]
    desk.close()
    assert len(desk.account.open_orders) == 1
    desk.quote(bid="539")
    assert desk.position == 0


def test_closing_waits_for_the_orders_in_its_way() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10")
    resting = desk.sell(60, limit="560")
    entry = desk.buy(30, limit="540")
    desk.close()
    assert [o.quantity_raw for o in desk.account.open_orders.values() if o.source is Source.FLATTEN] == [40]
    desk.execute(entry, 30, "540", "B1")  # filled before its cancel arrived
    desk.canceled(resting)
    closing = [o for o in desk.account.open_orders.values() if o.source is Source.FLATTEN]
    assert sum(o.quantity_raw for o in closing) == 130
    for number, order in enumerate(closing):
        desk.execute(order, order.quantity_raw, "549", f"C{number}")
    assert (desk.position, desk.account.closing) == (0, {})


def test_closing_gives_up_what_cannot_be_canceled() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10")
    resting = desk.sell(100, limit="560")
    desk.close()
    assert desk.account.closing
    desk.handle(ev.RequestRejected(desk.ts, resting.client_order_id, "too late"))
    assert (desk.account.closing, desk.order(resting).status) == ({}, S.ACCEPTED)


def test_closing_does_not_recall_what_already_sells() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10")
    selling = desk.sell(70)
    desk.close()
    assert desk.order(selling).status is S.SUBMITTED
    assert list(desk.account.open_orders.values())[-1].quantity_raw == 30


def test_an_order_in_flight_is_closed_when_it_fills_before_its_cancel() -> None:
    desk = Desk(venue=Venue(latency=0.5))
    desk.quote("549.00", "549.10")
    desk.buy(100)
    desk.pass_time(0.1)
    desk.close()
    desk.wake(after=0.4)
    assert desk.position == 100
    desk.wake(after=0.1)
    desk.wake(after=0.4)
    assert (desk.position, desk.account.closing) == (0, {})


def test_halt_refuses_opening_orders_and_cancels_working_ones() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545")])
    opening, reducing = desk.buy(10, limit="500"), desk.sell(10, limit="600")
    assert kinds(desk.halt("lunch"))[0] == "Halted"
    assert (desk.order(opening).status, desk.order(reducing).status) == (S.CANCELED, S.ACCEPTED)
    assert desk.buy(1).reason == "Trading halted: lunch"
    assert desk.sell(10).status is S.FILLED
    assert desk.halt() == []
    desk.quote("545.00", "545.10")
    assert desk.position == 0
    assert kinds(desk.handle(ev.Resume(desk.ts))) == ["Resumed"]
    assert desk.handle(ev.Resume(desk.ts)) == []
    assert desk.buy(1).status is S.FILLED


def test_halt_without_a_reason() -> None:
    desk = trading()
    desk.halt()
    assert desk.buy(1).reason == "Trading halted"


def test_money_moves_in_and_out() -> None:
    desk = trading("1000")
    desk.transfer("500.50")
    assert desk.account.ledger.put_in_raw == desk.account.ledger.cash_raw
    desk.buy(1, limit="548")
    assert denials(desk.transfer("-1000")) == ["Insufficient balance: 1,000.00 needed, 952.50 free"]
    desk.transfer("-952.50")
    assert desk.cash == Decimal(548)
    assert desk.account.total_pnl_raw == 0


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limits", "order", "reason"),
    [
        ({"max_order_quantity": 50}, {}, "Limit exceeded: max_order_quantity is 50, asked 100"),
        ({"max_order_value": 50_000}, {}, "Limit exceeded: max_order_value is 50000, asked 54910.00"),
        ({"max_position_value": 50_000}, {}, "Limit exceeded: max_position_value is 50000, asked 54910.00"),
        ({"price_band_pct": 1}, {"limit": "500"}, "Limit exceeded: price_band_pct is 1, asked 8.9419 % away at 500.00"),
        ({"price_band_pct": 1}, {"trigger": "600"}, "Limit exceeded: price_band_pct is 1, asked 9.2697 % away"),
        ({}, {"quantity": 1000}, "Insufficient balance: 549,100.00 needed, 500,000.00 free"),
    ],
)
def test_an_opening_order_passes_every_limit(limits: Any, order: Any, reason: str) -> None:
    desk = trading(limits=Limits(**limits))
    denied = desk.buy(**order)
    assert (denied.status, denied.reason[: len(reason)]) == (S.DENIED, reason)
    assert desk.position == 0


def test_working_orders_count_as_filled() -> None:
    desk = trading(limits=Limits(max_position_value=100_000))
    desk.buy(100, limit="548")
    assert desk.buy(100).reason.startswith("Limit exceeded: max_position_value")
    assert desk.buy(80).status is S.FILLED


def test_blocked_money_cannot_be_spent_twice() -> None:
    desk = trading("60000")
    order = desk.buy(100, limit="548")
    assert desk.buy(10).reason == "Insufficient balance: 5,491.00 needed, 5,200.00 free"
    desk.cancel(order)
    assert desk.buy(100).status is S.FILLED


def test_orders_per_second() -> None:
    desk = trading(limits=Limits(max_orders_per_second=2))
    desk.buy(1)
    desk.buy(1)
    assert desk.buy(1).reason == "Limit exceeded: max_orders_per_second is 2, asked 3"
    assert desk.sell(1).status is S.FILLED
    desk.pass_time(1)
    assert desk.buy(1).status is S.FILLED


def test_the_daily_loss_stops_opening_until_the_next_day() -> None:
    desk = trading(limits=Limits(max_daily_loss=1000))
    desk.buy(100)
    desk.quote("539.00", "539.10", "539.05")
    assert desk.buy(1).reason == "Limit exceeded: max_daily_loss is 1000, asked -1005.00 today"
    desk.quote("539.00", "539.10", "539.06", after=DAY_SECONDS)
    assert desk.buy(1).status is S.FILLED


def test_shorting_is_off_unless_allowed() -> None:
    desk = trading()
    assert desk.sell(1).reason == "No position to sell: 1 NSE:SBIN-EQ asked, nothing is held by manual in INTRADAY"
    desk.buy(100)
    assert desk.sell(101).reason.startswith("No position to sell: 101 NSE:SBIN-EQ asked, 100 NSE:SBIN-EQ can be sold")
    desk.sell(60, limit="600")
    assert "40 NSE:SBIN-EQ can be sold" in desk.sell(41).reason
    assert desk.sell(10, strategy="other").reason.startswith("No position to sell")
    shorting = trading(limits=short_limits())
    assert shorting.sell(1).status is S.FILLED
    assert shorting.sell(1, product=Product.CNC).reason.startswith("No position to sell: CNC")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (FeedState.RECONNECTING, "Connection lost: the feed is RECONNECTING (reset)"),
        (FeedState.CONNECTING, "Connection lost"),
        (FeedState.FAILED, "Connection lost"),
        (FeedState.CLOSED, "Connection lost"),
        (FeedState.STALE, "Stale price: reset"),
    ],
)
def test_without_a_living_feed_nothing_opens_and_everything_reduces(state: FeedState, reason: str) -> None:
    desk = trading()
    desk.buy(100)
    change = ev.FeedChanged(desk.ts, state, "reset")
    assert desk.handle(change) == [change]
    assert desk.handle(change) == []
    assert desk.buy(1).reason.startswith(reason)
    assert desk.sell(10).status is S.FILLED
    desk.handle(ev.FeedChanged(desk.ts, FeedState.LIVE))
    assert desk.buy(1).status is S.FILLED


def test_an_old_quote_opens_nothing() -> None:
    desk = trading(limits=Limits(max_tick_age=5))
    desk.buy(100)
    desk.pass_time(6)
    assert desk.buy(1).reason == "Stale price: NSE:SBIN-EQ is 6.0 s old, max_tick_age is 5 s"
    assert desk.sell(10).status is S.FILLED
    desk.close()
    assert desk.position == 0
    assert desk.buy(1, item=INFY, limit="100").status is S.ACCEPTED  # no quote, so none that is old


def test_after_a_sleep_every_quote_is_stale_until_its_next_tick() -> None:
    desk = trading()
    desk.pass_time(1)
    desk.handle(ev.ClockJumped(desk.ts, 0, "the clocks drifted apart"))
    assert desk.buy(1).reason == "Stale price: the clocks drifted apart"
    desk.quote(last="549")
    assert desk.buy(1).status is S.FILLED


def test_a_reducing_order_is_denied_by_no_limit() -> None:
    desk = trading(
        limits=short_limits(
            max_order_quantity=100,
            max_order_value=60_000,
            max_position_value=60_000,
            max_daily_loss=1,
            max_orders_per_second=1,
            price_band_pct=1,
            max_tick_age=1,
        )
    )
    desk.buy(100)
    desk.quote("400", "900", "450", after=1)
    desk.halt("loss")
    desk.handle(ev.FeedChanged(desk.ts, FeedState.FAILED))
    desk.pass_time(100)
    assert desk.sell(10, limit="899").status is S.ACCEPTED
    assert desk.sell(10).status is S.FILLED
    desk.close()
    assert desk.position == 0


# ── margin and fees ──────────────────────────────────────────────────────────────────────────────────────────────────


def fifth(_: Account, order: Order) -> Decimal:
    return order.instrument.price(order.limit_raw or order.reference_raw) * order.quantity / 5


def test_margin_blocks_what_the_rule_says() -> None:
    desk = trading("60000", margin=fifth, limits=short_limits())
    desk.buy(500)
    assert desk.position == 500
    assert dec(desk.account.ledger.margin_raw) == Decimal(54910)
    assert desk.buy(100).reason == "Insufficient balance: 10,982.00 needed, 5,090.00 free"
    desk.sell(250)
    assert dec(desk.account.ledger.margin_raw) == Decimal(27455)
    desk.close()
    assert desk.account.ledger.free_raw == desk.account.ledger.cash_raw


def test_a_short_is_backed_by_its_own_value() -> None:
    desk = trading("60000", limits=short_limits())
    desk.sell(100)
    assert desk.account.ledger.free_raw == SBIN.value_raw(6000000 - 5490000, 1)
    assert desk.sell(100).reason.startswith("Insufficient balance")


@pytest.mark.parametrize("rule", [lambda *_: 1 / 0, lambda *_: Decimal(-1), lambda *_: "nonsense"])
def test_a_margin_rule_that_fails_denies(rule: Any) -> None:
    desk = trading(margin=rule)
    assert desk.buy(1).reason.startswith("Insufficient balance: the margin rule")
    assert desk.position == 0


def test_fees_are_charged_estimated_and_kept() -> None:
    desk = trading("54910", fees=PercentFee("0.03", cap=20))
    assert desk.buy(100).reason == "Insufficient balance: 54,926.47 needed, 54,910.00 free"
    order = desk.buy(50)
    assert order.fees == Decimal("8.24")
    assert desk.account.ledger.fees_raw == order.fees_raw
    assert desk.account.total_pnl_raw < 0


def test_a_fee_schedule_itemises_and_may_pay_back() -> None:
    def rebate(fill: Fill) -> dict[str, Decimal]:
        return {"brokerage": Decimal("1.50"), "rebate": Decimal("-2.25")}

    desk = trading(fees=rebate)
    desk.buy(1)
    fill = desk.fills()[0]
    assert [name for name, _ in fill.charges] == ["brokerage", "rebate"]
    assert fill.fees == Decimal("-0.75")


def test_a_fee_schedule_that_fails_charges_nothing_and_alarms() -> None:
    calls: list[Fill] = []

    def broken(fill: Fill) -> Decimal:
        calls.append(fill)
        raise ZeroDivisionError("oh")

    desk = trading(fees=broken)
    assert desk.buy(1).status is S.FILLED
    assert alarms(desk.events) == ["fees"]
    assert len(calls) == 1


def test_the_default_fees() -> None:
    desk = trading(fees=DEFAULT_FEES)
    assert desk.buy(900).fees == Decimal(20)
    desk.quote("1", "1.1", item=COIN)
    assert desk.buy(100, item=COIN).fees == 0


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_execution_counts_once() -> None:
    desk = Desk(live=True)
    order = desk.buy(100, limit="549")
    desk.accept(order)
    for _ in range(3):
        desk.execute(order, 40, "549", "E1")
    assert desk.position == 40
    assert desk.accept(order) == []
    desk.canceled(order)
    desk.execute(order, 60, "549", "E2")
    assert (desk.order(order).status, desk.position) == (S.FILLED, 100)


def test_a_foreign_report_raises_an_alarm() -> None:
    desk = Desk(live=True)
    assert alarms(desk.accept("FOREIGN")) == ["foreign report"]


def test_an_odd_execution_is_not_booked() -> None:
    desk = Desk(live=True)
    order = desk.buy(100, limit="549")
    for quantity, price in ((0, 54900), (-5, 54900), (5, 0)):
        report = ev.Executed(desk.ts, order.client_order_id, "E1", quantity, price, PriceSource.VENUE)
        assert alarms(desk.handle(report)) == ["odd execution"]
    assert desk.position == 0


def test_a_venue_that_fills_too_much_is_booked_and_told() -> None:
    desk = Desk(live=True)
    order = desk.buy(100, limit="549")
    events = desk.execute(order, 130, "549")
    assert alarms(events) == ["overfilled"]
    assert (desk.order(order).status, desk.position) == (S.FILLED, 130)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def midnight_after(desk: Desk) -> int:
    return desk.account.next_deadline()


def test_the_day_rolls_at_midnight_in_the_accounts_zone() -> None:
    desk = trading()
    assert desk.account.day == "2026-03-02"
    assert midnight_after(desk) == int(datetime(2026, 3, 3, tzinfo=ZoneInfo("Asia/Kolkata")).timestamp()) * SECOND
    desk.buy(100)
    desk.quote("559.00", "559.10", "559.05")
    assert dec(desk.account.day_pnl_raw) == Decimal(995)
    desk.ts = midnight_after(desk)
    events = desk.wake()
    assert kinds(events) == ["Marked", "DayStarted"]
    assert desk.account.day_pnl_raw == 0
    events = desk.quote("569.00", "569.10", "569.05", after=3600 * 9)
    assert kinds(events) == ["EquityPoint"]  # the day's first mark, where its P&L counts from
    assert desk.account.day_pnl_raw == 0
    desk.quote("570.00", "570.10", "570.05", after=1)
    assert dec(desk.account.day_pnl_raw) == Decimal(100)
    assert [(day, dec(raw)) for day, raw in desk.account.day_bases] == [
        ("2026-03-02", Decimal(0)),
        ("2026-03-03", Decimal(1995)),
    ]


def test_day_orders_expire_at_the_day_roll_and_others_stay() -> None:
    desk = trading()
    day, gtc = desk.buy(1, limit="500"), desk.buy(1, limit="500", time_in_force=TimeInForce.GTC)
    desk.quote("549.00", "549.10", after=DAY_SECONDS)
    assert (desk.order(day).status, desk.order(gtc).status) == (S.EXPIRED, S.ACCEPTED)
    assert desk.order(day).reason == "the day is over"
    assert desk.account.day_bases[-1] == ("2026-03-03", 0)


def test_with_a_broker_the_broker_expires_orders() -> None:
    desk = Desk(live=True)
    order = desk.buy(1, limit="500")
    desk.wake(after=DAY_SECONDS)
    assert desk.order(order).is_open
    desk.handle(ev.Expired(desk.ts, order.client_order_id, "end of day"))
    assert desk.order(order).status is S.EXPIRED


def test_events_never_go_back_in_time() -> None:
    desk = Desk(venue=Venue(size="quoted"))
    desk.quote("549.00", "549.10", bid_size=100, ask_size=100)
    desk.buy(100, exits=[stop("545")])
    desk.quote("545", "545.10", bid_size=10)
    desk.quote("545", "545.10", bid_size=0, after=2.5 * DAY_SECONDS)
    times = [event.ts for event in desk.events]
    assert times == sorted(times)


def test_an_equity_point_comes_at_most_once_a_second_and_with_each_fill() -> None:
    desk = trading()
    desk.buy(100)
    for _ in range(30):
        desk.quote("549.00", "549.10", after=0.1)
    assert len(desk.account.equity_history) == 1 + 3


def test_nothing_grows_under_ticks_alone() -> None:
    desk = trading(venue=Venue(latency=0.001, size="quoted"))
    desk.buy(100, exits=[stop("500"), target("600")])
    desk.pass_time(1)
    for number in range(2000):
        desk.quote("549.00", f"549.{10 + number % 80}", source=f"s{number % 3}", time_ns=desk.ts, after=0.0001)
    account = desk.account
    assert len(account.sent_ns) <= 1
    assert len(account._timers) <= 1
    assert len(desk.account.markets[SBIN.symbol].quote.seen or {}) <= 3  # type: ignore[union-attr]
    for number in range(2000):
        desk.account.handle(ev.Accepted(desk.ts, f"F{number}"))
    assert len(account.alarms) == 1000


# ── restarting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def restarted(desk: Desk, **terms: Any) -> Account:
    account = Account(venue=desk.venue, fees=NoFees(), **terms)
    for event in desk.events:
        account.apply(event)
    account._resume_timers()
    return account


def test_a_session_starts_with_its_rules_and_its_notes_and_forgets_the_feed() -> None:
    desk = trading()
    desk.handle(ev.FeedChanged(desk.ts, FeedState.LIVE))
    desk.handle(ev.FeedChanged(desk.ts, FeedState.CLOSED))
    account = Account(
        venue=desk.venue, fees=PercentFee("0.03", cap=20), limits=Limits(allow_short=True, max_tick_age=2)
    )
    for event in desk.events:
        account.apply(event)
    events = account.start_session(desk.ts, "1.0", "PAPER", ["the disk was full"])
    terms = (("allow_short", "True"), ("max_tick_age", "2"))
    assert events[0] == ev.SessionStarted(desk.ts, "1.0", "PAPER", "quote", terms, ("PercentFee", "0.03", "20"))
    assert events[1] == ev.Alarm(desk.ts, "session", "the disk was full")
    assert account.feed.state is FeedState.NONE
    assert not account.ended_well
    assert kinds(account.handle(ev.EndSession(desk.ts))) == ["SessionEnded"]
    assert account.ended_well


def test_a_session_ends_with_the_marks_of_what_was_held() -> None:
    desk = trading()
    desk.buy(100)
    for bid in ("551", "547", "549.50"):
        desk.quote(bid, "552", "552" if bid == "551" else bid)
    events = desk.handle(ev.EndSession(desk.ts))
    seen = (ev.Seen("manual", Product.INTRADAY, 0, 0),)
    assert events[0] == ev.Marked(desk.ts, SBIN.symbol, 2 * 54950, 2 * 54700, 2 * 55200, seen)
    folded = State()
    for event in desk.events:
        folded.apply(event)
    same_state(desk.account, folded)


def test_an_order_of_the_day_is_over_when_the_next_session_is_of_another_day() -> None:
    desk = trading()
    desk.buy(10, limit="540")
    stays = desk.buy(10, limit="540", time_in_force=TimeInForce.GTC)
    account = restarted(desk)
    next_day = desk.ts + 86_400 * SECOND
    account.start_session(next_day, "1.0", "PAPER")
    assert kinds(account.handle(ev.Wake(next_day))) == ["Expired", "DayStarted"]
    assert list(account.open_orders) == [stays.client_order_id]


def test_a_symbol_whose_prices_are_lost_is_stale_until_its_next_tick() -> None:
    desk = trading()
    desk.quote("100.00", "100.10", item=INFY)
    desk.buy(10)
    for symbol in (SBIN.symbol, "NSE:NOBODY-EQ"):
        assert desk.handle(ev.QuoteLost(desk.ts + 1, symbol, "no prices of it")) == []
    assert desk.buy(1).reason == "Stale price: no prices of it"
    assert desk.buy(1, item=INFY).status == "FILLED"
    assert desk.sell(1).status == "FILLED"
    desk.quote("549.00", "549.10", after=1)
    assert desk.buy(1).status == "FILLED"


def test_while_opening_is_blocked_what_reduces_goes_through() -> None:
    desk = trading()
    desk.buy(100)
    events = desk.handle(ev.BlockOpening(desk.ts, "journal", "Journal unavailable: no", "the journal: no"))
    assert events == [ev.Alarm(desk.ts, "journal", "the journal: no")]
    assert desk.buy(1).reason == "Journal unavailable: no"
    assert desk.sell(40).status == "FILLED"
    assert desk.handle(ev.BlockOpening(desk.ts, "broker", "Connection lost: asked")) == []
    desk.handle(ev.BlockOpening(desk.ts, "journal"))
    assert desk.buy(1).reason == "Connection lost: asked"
    desk.handle(ev.BlockOpening(desk.ts, "broker"))
    assert desk.buy(1).status == "FILLED"


def test_after_a_restart_stops_still_fire() -> None:
    desk = trading()
    desk.buy(100, exits=[stop("545")])
    desk.buy(10, limit="540")
    account = restarted(desk)
    assert kinds(account.handle(tick(SBIN, desk.ts + SECOND, bid="546", ask="546.10"))) == ["EquityPoint"]
    events = account.handle(tick(SBIN, desk.ts + SECOND, bid="545", ask="545.10"))
    assert kinds(events)[0] == "ExitFired"
    assert kinds(account.handle(tick(SBIN, desk.ts + SECOND, bid="539", ask="539.10")))[0] == "Filled"
    assert account.day == "2026-03-02"


def test_after_a_restart_what_was_on_its_way_arrives() -> None:
    desk = trading(venue=Venue(latency=0.5))
    desk.buy(100, limit="540")
    account = restarted(desk)
    assert account.handle(ev.Wake(desk.ts)) == []
    assert account.next_deadline() == desk.ts + SECOND // 2
    assert kinds(account.handle(ev.Wake(account.next_deadline()))) == ["Accepted"]


def test_after_a_restart_a_retry_is_due() -> None:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    desk.reject(desk.exit_orders()[0])
    account = restarted(desk)
    assert account.handle(ev.Wake(desk.ts)) == []
    assert kinds(account.handle(ev.Wake(desk.ts + SECOND))) == ["Submit"]


def test_a_restart_days_later_starts_the_day() -> None:
    desk = trading()
    desk.buy(100)
    account = restarted(desk)
    events = account.handle(ev.Wake(desk.ts + 3 * DAY_SECONDS * SECOND))
    assert kinds(events) == ["DayStarted"]
    assert account.day == "2026-03-05"


def test_an_account_without_terms_has_the_defaults() -> None:
    account = Account()
    assert (account.limits, account.venue) == (Limits(), None)
