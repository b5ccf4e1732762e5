"""What an order would do: told before it is sent, and true once it is."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade.core.indian import IndianEquityFees
from livetrade.core.kinds import OrderSide, Product
from livetrade.core.limits import Limits
from livetrade.preview import Preview, preview_of
from tests.core.kit import SBIN as SHARE
from tests.core.kit import Desk
from tests.support import SBIN, events_of, picture_of, trading

CAREFUL = lt.Limits(max_order_quantity=200, max_order_value=50_000, price_band_pct=5, max_orders_per_second=10)


def test_what_a_market_order_would_do_is_what_it_does() -> None:
    with trading(fees=lt.IndianEquityFees()) as engine:
        seen = engine.preview("BUY", SBIN, 100, stop_loss_price="545")
        assert (seen.refused, seen.reason, seen.price, seen.price_source) == (False, "", Decimal("549.00"), "ASK")
        assert (seen.value, seen.margin, seen.cash_free) == (54_900, 54_900, 500_000)
        assert engine.cash == 500_000
        assert engine.orders().empty
        order = engine.market_buy(SBIN, 100, stop_loss_price="545").result().order
        assert order is not None
        assert (order.avg_price, order.fees) == (seen.price, seen.fees)
        assert {name: str(amount) for name, amount in seen.as_dict()["charges"].items() if amount} == {
            "brokerage": "16.47", "transaction": "1.69", "sebi": "0.05", "stamp_duty": "1.65", "gst": "3.28",
        }  # fmt: skip
        assert 500_000 - engine.cash == seen.cash_needed
        leaving = engine.preview("SELL", SBIN, 100)
        assert (leaving.opening_quantity, leaving.margin, leaving.cash_needed) == (0, 0, 0)
        assert leaving.realized_pnl == (Decimal("548.95") - 549) * 100
        assert leaving.break_even_price is None
        assert leaving.exit_fees == 0


def test_it_changes_nothing() -> None:
    with trading(fees=lt.IndianEquityFees(), limits=CAREFUL) as engine:
        engine.market_buy(SBIN, 10, stop_loss_price="545").result()
        before, events = picture_of(engine), len(events_of(engine))
        for side in ("BUY", "SELL"):
            for terms in ({}, {"limit_price": "560"}, {"trigger_price": "550"}, {"product": "CNC"}):
                engine.preview(side, SBIN, 20, **terms)
        engine.preview("BUY", "NSE:NEVERSEEN-EQ", 1)
        assert picture_of(engine) == before
        assert len(events_of(engine)) == events
        assert "NSE:NEVERSEEN-EQ" not in engine.account.markets


def test_each_limit_is_shown_with_its_figures() -> None:
    with trading(fees=lt.IndianEquityFees(), limits=CAREFUL) as engine:
        seen = engine.preview("BUY", SBIN, 100, limit_price="580")
        tested = {check.name: (check.asked, check.allowed, bool(check.reason)) for check in seen.checks}
        assert tested == {
            "halt": ("not halted", "", False),
            "feed": ("NONE", "", False),
            "max_order_quantity": ("100", "200", False),
            "max_order_value": ("58,000.00", "50000", True),
            "price_band_pct": ("5.6466 % away at 580.00", "5", True),
            "max_orders_per_second": ("1", "10", False),
            "balance": ("58,024.44", "500,000.00", False),
        }
        assert seen.reason == "Limit exceeded: max_order_value is 50000, asked 58000.00"
        answer = engine.limit_buy(SBIN, 100, "580").result()
        assert answer.message == seen.reason


def test_refusals_are_foretold() -> None:
    with trading(100, fees=lt.IndianEquityFees()) as engine:
        assert engine.preview("BUY", SBIN, 1).reason.startswith("Insufficient balance: 549.23 needed")
        assert engine.preview("SELL", SBIN, 1).reason.startswith("No position to sell")
        assert engine.preview("BUY", "NSE:INFY-EQ", 1).reason.startswith("Price feed unavailable: no ask known")
        unpriced = engine.preview("BUY", "NSE:INFY-EQ", 1)
        assert (unpriced.price, unpriced.value, unpriced.fees, unpriced.break_even_price) == (None, None, None, None)
        engine.halt("lunch").result()
        assert engine.preview("BUY", SBIN, 1).reason == "Trading halted: lunch"
        assert "not known" in repr(unpriced)
    with trading() as engine:
        engine.market_buy(SBIN, 1, client_order_id="A1").result()
        assert engine.preview("BUY", SBIN, 1, client_order_id="A1").reason == "A1 was sent already"
        assert engine.preview("BUY", SBIN, 2, client_order_id="A1").reason.startswith("Duplicate id: A1 was used")


def test_the_kind_of_order_follows_from_its_prices_unless_it_is_said() -> None:
    with trading() as engine:

        def seen(**terms: Any) -> tuple[str, Decimal | None, str]:
            told = engine.preview("BUY", SBIN, 1, **terms)
            return told.order_type.value, told.price, told.price_source.value

        assert seen() == ("MARKET", Decimal("549.00"), "ASK")
        assert seen(limit_price="548") == ("LIMIT", Decimal("548.00"), "LIMIT")
        assert seen(limit_price="550") == ("LIMIT", Decimal("549.00"), "ASK")
        assert seen(trigger_price="560") == ("STOP", Decimal("560.00"), "VENUE")
        assert seen(trigger_price="540") == ("STOP", Decimal("549.00"), "ASK")
        assert seen(trigger_price="560", limit_price="561")[0] == "STOP_LIMIT"
        assert seen(order_type="limit", limit_price="548")[0] == "LIMIT"
        with pytest.raises(lt.OrderError, match="a LIMIT order needs limit_price"):
            engine.preview("BUY", SBIN, 1, order_type="LIMIT")
        with pytest.raises(lt.OrderError, match="side must be one of"):
            engine.preview("HOLD", SBIN, 1)


def test_a_users_own_schedule_is_not_asked() -> None:
    asked = []

    def mine(fill: lt.Fill) -> Decimal:
        asked.append(fill)
        return Decimal(1)

    with trading(fees=mine) as engine:
        seen = engine.preview("BUY", SBIN, 100)
        assert (asked, seen.fees, seen.break_even_price, seen.charges) == ([], None, None, ())
        assert "not known before the fill" in repr(seen)


def test_it_is_shown_in_text_and_in_a_notebook() -> None:
    with trading(fees=lt.IndianEquityFees(), limits=CAREFUL) as engine:
        seen = engine.preview("BUY", SBIN, 90)
        assert repr(seen).splitlines()[0] == "Preview: BUY 90 NSE:SBIN-EQ MARKET INTRADAY at 549.00 (ASK) would be sent"
        assert "  break-even    549.59" in repr(seen)
        assert "✓ max_order_value: 49,410.00, allowed 50000" in repr(seen)
        html = seen._repr_html_()
        assert html.count("<tr>") == len(repr(seen).splitlines()) - 1
        assert "<b>BUY 90 NSE:SBIN-EQ" in html
        assert "P&amp;L" not in html
        refused = engine.preview("SELL", SBIN, 90)
        assert "✗ allow_short: No position to sell" in repr(refused)


PRICES = st.integers(2, 400_000)


@settings(deadline=None)
@given(
    st.sampled_from(OrderSide),
    st.integers(1, 5000),
    PRICES,
    st.sampled_from([Product.INTRADAY, Product.MARGIN]),
    st.sampled_from(["fyers", "zero", (None, "0.05"), (20, "0.03")]),
)
def test_break_even_is_the_first_price_that_loses_nothing(
    side: OrderSide, quantity: int, price: int, product: Product, brokerage: Any
) -> None:
    fees = IndianEquityFees(brokerage)

    def ended(at: int) -> int:
        """The P&L of a round trip that is really traded."""
        desk = Desk(fees=fees, limits=Limits(allow_short=True), cash=10**10)
        desk.quote(last=SHARE.price(price))
        desk.submit(side, quantity, product=product)
        desk.quote(last=SHARE.price(at))
        desk.close()
        return desk.account.total_pnl_raw

    desk = Desk(fees=fees, limits=Limits(allow_short=True), cash=10**10)
    desk.quote(last=SHARE.price(price))
    seen = told(desk, side, quantity, product=product)
    if seen.break_even_price is None:
        assert side is OrderSide.SELL
        assert ended(1) < 0
        return
    found = SHARE.price_raw(seen.break_even_price)
    assert ended(found) >= 0
    nearer = found - side.sign
    assert found == price or ended(nearer) < 0


def told(desk: Desk, side: OrderSide, quantity: int, **terms: Any) -> Preview:
    from livetrade.core import events as ev
    from livetrade.core.kinds import OrderType

    command = ev.SubmitOrder(desk.ts, "", SHARE, side, OrderType.MARKET, quantity, **terms)
    return preview_of(desk.account, command, desk.ts)
