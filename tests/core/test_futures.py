"""Derivatives: what backs them, how a future's gains move cash, and their expiry."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade import encoding
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitStatus, OrderSide, OrderType, Product
from livetrade.core.limits import Limits
from livetrade.core.margin import RateMargin, margin_of
from livetrade.core.values import Order
from livetrade.errors import OrderError
from tests.core.kit import GOLD, SBIN, Desk, alarms, an_order, dec, denials, kinds, same_state, stop

DAY = date(2026, 3, 2)  # the desk's
FUT = Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", tick_size="0.05", lot_size=75, expiry=DAY)
OLD = Instrument("NSE:NIFTY26FEBFUT", kind="FUTURE", lot_size=75, expiry=date(2026, 3, 1))
CALL = Instrument("NSE:NIFTY26MAR25000CE", kind="OPTION", lot_size=75, strike=25000, option_type="CE", expiry=DAY)
FIFTEEN = RateMargin({"FUTURE": "0.15", "OPTION": "0.2"})
SHORTS = Limits(allow_short=True)


def desk(cash: Any = 1_000_000, **terms: Any) -> Desk:
    made = Desk(cash=cash, **{"margin": FIFTEEN, "limits": SHORTS, **terms})
    made.quote(bid="24999.95", ask="25000", item=FUT)
    made.quote(bid="199.95", ask="200", item=CALL)
    return made


def settle(at: Desk, item: Instrument, price: Any) -> list[str]:
    """Settles, and gives back what was refused."""
    raw = 0 if price == 0 else item.price_raw(price)
    return denials(at.handle(ev.Settle(at.ts, item.symbol, raw)))


# ── margin ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_backs_a_future() -> None:
    at = desk()
    order = at.buy(150, item=FUT)
    assert dec(order.margin_raw) == Decimal("0.15") * 150 * 25000
    assert dec(at.account.ledger.free_raw) == 1_000_000 - Decimal(562500)
    denied = at.buy(150, item=FUT)  # half the spread is lost on paper
    assert denied.reason == "Insufficient balance: 562,500.00 needed, 437,496.25 free"


def test_without_a_rule_it_is_paid_in_full_and_never_sold_short() -> None:
    at = desk(margin=None)
    assert at.buy(75, item=FUT).reason.startswith("Insufficient balance: 1,875,000.00 needed")
    for item in (FUT, CALL):
        refused = at.sell(75, item=item).reason
        assert refused == (
            f"No position to sell: nothing says what backs a short {item.kind}; give the engine a margin rule, "
            f"such as margin=lt.RateMargin({{'{item.kind}': '0.15'}})"
        )
    assert at.buy(75, item=CALL).status == "FILLED"
    assert at.sell(75, item=CALL).status == "FILLED"
    at.quote(bid="99", ask="100")
    assert at.sell(10).status == "FILLED"  # a share's own value backs it


def test_an_option_that_is_bought_is_paid_for_and_one_that_is_sold_is_backed_by_its_strike() -> None:
    at = desk()
    assert dec(at.buy(75, item=CALL).margin_raw) == 75 * 200
    at.sell(75, item=CALL)
    assert dec(at.sell(75, item=CALL).margin_raw) == Decimal("0.2") * 75 * 25000


def test_a_symbol_comes_before_its_kind_and_the_rest_is_paid_in_full() -> None:
    rule = RateMargin({"FUTURE": "0.15", FUT.symbol: "0.5"})

    def margin(item: Instrument, quantity: int) -> Decimal:
        order: Order = an_order(instrument=item, quantity_raw=quantity, opening_raw=quantity, reference_raw=10_000)
        return rule(None, order)

    assert margin(FUT, 75) == Decimal(3750)
    assert margin(OLD, 75) == Decimal(1125)
    assert margin(SBIN, 75) == 7500


@pytest.mark.parametrize("rates", [{"FUTURE": 15}, {"FUTURE": 0}, {"FUTURE": "x"}, {"future contract": "0.1"}])
def test_a_rate_is_a_part_of_the_value(rates: dict[str, Any]) -> None:
    with pytest.raises(OrderError):
        RateMargin(rates)


def test_a_rule_is_read_back_from_its_description() -> None:
    rule = RateMargin({"FUTURE": "0.15", FUT.symbol: Decimal("0.5")})
    assert margin_of(rule.described) == rule
    assert hash(rule) == hash(margin_of(rule.described))
    assert repr(rule) == "RateMargin({'FUTURE': '0.15', 'NSE:NIFTY26MARFUT': '0.5'})"
    assert eval(repr(rule), {"RateMargin": RateMargin}) == rule
    assert margin_of("mine") is margin_of("RateMargin") is None
    assert rule != "RateMargin"


# ── cash ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("side", OrderSide)
def test_only_what_a_future_gains_or_loses_moves_cash(side: OrderSide) -> None:
    at = desk(fees=lambda _: Decimal(20))
    at.submit(side, 75, item=FUT)
    assert at.cash == 1_000_000 - 20
    at.quote(bid="25099.95", ask="25100", item=FUT)
    gained = side.sign * (Decimal(25100) - (25000 if side is OrderSide.BUY else Decimal("24999.95"))) * 75
    marked = side.sign * (Decimal("25099.975") - (25000 if side is OrderSide.BUY else Decimal("24999.95"))) * 75
    assert at.cash == 1_000_000 - 20
    assert dec(at.account.market_value_raw) == dec(at.account.unrealized_raw) == marked
    assert dec(at.account.portfolio_value_raw) == 1_000_000 - 20 + marked
    at.close(FUT.symbol)
    worse = Decimal("0.05") * 75 if side is OrderSide.BUY else 0
    assert at.cash == 1_000_000 - 40 + gained - worse
    assert at.account.market_value_raw == at.account.ledger.cost_raw == 0


def test_what_a_future_has_lost_on_paper_is_not_free() -> None:
    at = desk()
    at.buy(75, item=FUT)
    at.quote(bid="25999.95", ask="26000", last="26000", item=FUT)
    assert dec(at.account.free_raw) == 718_750, "a gain is there to be spent once it is realized"
    at.quote(bid="23999.95", ask="24000", last="24000", item=FUT)
    assert dec(at.account.free_raw) == 718_750 - 75_000
    assert at.cash == 1_000_000
    assert at.buy(150, item=FUT).status == "FILLED"
    assert at.buy(150, item=FUT).reason == "Insufficient balance: 540,000.00 needed, 103,750.00 free"
    assert denials(at.transfer("-103750.01")) == ["Insufficient balance: 103,750.01 needed, 103,750.00 free"]
    seen = at.account.examine(ev.SubmitOrder(at.ts, "", FUT, OrderSide.BUY, OrderType.MARKET, 75), at.ts)
    assert dec(seen.free_raw) == 103_750


def test_what_a_short_has_lost_on_paper_is_not_free() -> None:
    """Else an account that has lost more than everything would buy on."""
    at = Desk(cash=100_000, margin=lambda _, order: 20 * order.quantity if order.symbol == CALL.symbol else 3000)
    at.account.limits = SHORTS
    at.quote(last="100", item=CALL)
    at.sell(750, item=CALL)
    assert dec(at.account.free_raw) == 100_000 - 15_000
    at.quote(last="20", item=CALL)
    assert dec(at.account.free_raw) == 100_000 - 15_000, "a gain is there to be spent once it is realized"
    at.quote(last="210", item=CALL)
    at.quote(last="100")
    assert dec(at.account.free_raw) == 100_000 - 15_000 - 82_500
    assert at.buy(30).reason == "Insufficient balance: 3,000.00 needed, 2,500.00 free"
    at.handle(ev.Flatten(at.ts))
    assert dec(at.account.free_raw) == at.cash == 100_000 - 82_500


TRADED = (FUT, GOLD, SBIN, CALL)
PRICES = st.integers(1, 60)
STEPS = st.tuples(st.sampled_from(TRADED), st.sampled_from(OrderSide), st.integers(1, 40), PRICES)


@given(st.lists(STEPS, max_size=12))
def test_what_is_free_can_be_spent_and_all_the_same_everything_closed(steps: list[tuple[Any, ...]]) -> None:
    """At the marks, whatever was gained and lost on the way there."""
    at = Desk(cash=30_000, margin=FIFTEEN, limits=SHORTS)
    for item, side, lots, price in steps:
        at.quote(last=price * 10, item=item)
        before = at.account.free_raw
        order = at.submit(side, lots * int(item.lot_size), item=item)
        assert at.account.free_raw >= (0 if order.filled_raw and order.opening_raw else before)
    if at.account.free_raw >= 0:
        at.transfer(-dec(at.account.free_raw))
        at.handle(ev.Flatten(at.ts))
        assert at.account.is_flat()
        assert at.cash >= 0


def test_an_account_from_before_pays_for_futures_as_it_did() -> None:
    """A journal that was written before cash moved by gains alone folds to what it showed then."""
    at = desk(cash=10**7, margin=None)
    at.buy(75, item=FUT)
    at.quote(bid="25099.95", ask="25100", item=FUT)
    opened = next(event for event in at.events if isinstance(event, ev.AccountOpened))
    old = encoding.plain(opened)[:-1]  # as it was written then
    account = Account()
    account.apply(encoding.Decoder().event(old))
    for event in at.events[1:]:
        account.apply(event)
    ledger = account.ledger
    assert dec(ledger.cash_raw) == 10**7 - 75 * 25000
    assert dec(ledger.cost_raw) == 75 * 25000
    account.mark(account.markets[FUT.symbol], at.account.markets[FUT.symbol].mark_raw)
    assert account.portfolio_value_raw == at.account.portfolio_value_raw
    assert account.unrealized_raw == at.account.unrealized_raw


def test_a_new_one_says_how_it_books_them() -> None:
    opened = next(event for event in Desk().events if isinstance(event, ev.AccountOpened))
    assert opened.futures == "VARIATION"
    assert encoding.plain(opened)[-1] == "VARIATION"


# ── expiry ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_future_is_settled_without_a_market() -> None:
    at = desk(fees=lambda fill: Decimal(20))
    at.buy(75, item=FUT, exits=(stop("24000", item=FUT),))
    at.sell(75, item=FUT, limit="26000")
    assert settle(at, FUT, "25123.45") == []
    fill = at.fills()[-1]
    assert (str(fill.price), fill.fees, fill.source, fill.price_source) == ("25123.45", 0, "EXTERNAL", "VENUE")
    assert at.held(FUT.symbol) == 0
    assert at.cash == 1_000_000 - 20 + (Decimal("25123.45") - 25000) * 75
    assert at.risk().status is ExitStatus.CANCELED
    assert not at.account.open_orders
    assert kinds(at.events).count("Submit") == 2, "a settlement is never sent"


def test_an_option_may_expire_worthless() -> None:
    at = desk()
    at.buy(75, item=CALL)
    assert settle(at, CALL, 0) == []
    assert at.cash == 1_000_000 - 75 * 200
    assert at.account.ledger.realized_raw == -75 * 200 * 10**30
    at.sell(75, item=CALL)
    assert settle(at, CALL, 300) == []
    assert at.cash == 1_000_000 - 75 * 200 + (Decimal("199.95") - 300) * 75


def test_every_book_is_settled() -> None:
    at = desk(cash=10**7)
    for strategy, product in (("manual", Product.INTRADAY), ("ema", Product.INTRADAY), ("ema", Product.MARGIN)):
        at.buy(75, item=FUT, strategy=strategy, product=product)
    settle(at, FUT, 25100)
    assert at.account.is_flat()
    assert at.cash == 10**7 + 3 * 75 * 100


def test_what_is_not_to_be_settled_is_refused() -> None:
    at = desk()
    late = Instrument("NSE:NIFTY26APRFUT", kind="FUTURE", lot_size=75, expiry=date(2026, 4, 30))
    at.quote(bid="99", ask="100")
    at.quote(bid="24999.95", ask="25000", item=late)
    at.buy(75, item=late)
    assert settle(at, late, 100) == [
        "Nothing to settle: NSE:NIFTY26APRFUT expires on 2026-04-30, and today is 2026-03-02"
    ]
    assert settle(at, SBIN, 100) == [
        "Nothing to settle: NSE:SBIN-EQ is of kind EQUITY; only futures and options expire"
    ]
    assert settle(at, FUT, 100) == ["Nothing to settle: NSE:NIFTY26MARFUT is flat"]
    assert settle(at, OLD, 100) == ["Nothing to settle: nothing was ever held of NSE:NIFTY26FEBFUT"]


def test_what_may_still_fill_is_waited_for() -> None:
    at = desk(live=True)
    order = at.buy(75, item=FUT)
    at.accept(order)
    at.handle(ev.Executed(at.ts, order.client_order_id, "E1", 75, FUT.price_raw(25000), "VENUE"))  # type: ignore[arg-type]
    leaving = at.sell(75, item=FUT, limit="26000")
    at.accept(leaving, "V2")
    (reason,) = settle(at, FUT, 25100)
    assert (
        reason == f"Not settled: {leaving.client_order_id} may fill until it is canceled; settle again once it is gone"
    )
    at.canceled(leaving)
    assert settle(at, FUT, 25100) == []
    assert at.account.is_flat()


def test_what_is_held_past_its_expiry_is_an_alarm_each_day_until_it_is_settled() -> None:
    at = desk()
    at.buy(75, item=FUT)
    assert "expired" not in alarms(at.events)
    at.wake(after=24 * 3600)
    at.wake(after=24 * 3600)
    told = [event for event in at.events if isinstance(event, ev.Alarm) and event.kind == "expired"]
    assert len(told) == 2
    assert told[0].message == (
        "NSE:NIFTY26MARFUT expired on 2026-03-02 and 75 is still held: engine.settle('NSE:NIFTY26MARFUT', price) "
        "closes it at the exchange's price"
    )
    settle(at, FUT, 25100)
    at.wake(after=24 * 3600)
    assert alarms(at.events).count("expired") == 2


def test_nothing_opens_past_an_expiry_and_what_is_held_may_still_be_closed() -> None:
    at = desk()
    at.buy(75, item=FUT)
    at.wake(after=24 * 3600)
    at.quote(bid="24999.95", ask="25000", item=FUT)
    assert at.buy(75, item=FUT).reason == "Trading halted: NSE:NIFTY26MARFUT expired on 2026-03-02"
    assert at.sell(75, item=FUT).status == "FILLED"


def test_settlements_are_folded_again() -> None:
    at = desk()
    at.buy(75, item=FUT)
    at.sell(75, item=CALL)
    settle(at, FUT, 25100)
    again = Account()
    decoder = encoding.Decoder()
    for event in at.events:
        again.apply(decoder.event(encoding.plain(event)))
    same_state(at.account, again, marks=False)


def test_a_preview_of_a_future_tells_its_margin() -> None:
    at = desk()
    command = ev.SubmitOrder(at.ts, "", FUT, OrderSide.SELL, OrderType.MARKET, 75)
    seen = at.account.examine(command, at.ts)
    assert (seen.reason, dec(seen.margin_raw)) == ("", Decimal("0.15") * 75 * Decimal("24999.95"))
