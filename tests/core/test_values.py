"""The nouns: instruments and their grids, and what ticks, orders, fills and positions tell of themselves."""

import copy
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.instruments import Instrument, check_symbol, default_instrument, doubted
from livetrade.core.kinds import ExitKind, InstrumentKind, OrderSide, OrderStatus
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.core.values import FINAL, Change, ExitTerm, Position, RiskOrder, average
from livetrade.errors import OrderError, PriceError
from tests.core.kit import COIN, GOLD, NIFTY, OPENING_BELL, SBIN, a_fill, an_order, tick

INDIA = timezone(timedelta(hours=5, minutes=30))


# ── instruments ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("symbol", ["NSE:SBIN-EQ", "BSE:500112", "NSE:M&M-EQ", "BTCUSDT", "BTC/USD", "^NSEI", "aapl"])
def test_symbols(symbol: str) -> None:
    if symbol.startswith("^"):
        symbol = "NSE:" + symbol[1:]
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("nse:sbin-eq", "did you mean 'NSE:SBIN-EQ'"),
        ("NSE:", "malformed symbol"),
        ("", "malformed symbol"),
        ("A B", "malformed symbol"),
        ("A" * 60, "malformed symbol"),
        ("NSE:SBIN\n", "malformed symbol"),
        (5, "not int"),
        (None, "not NoneType"),
    ],
)
def test_malformed_symbols_say_what_would_be_right(symbol: Any, hint: str) -> None:
    with pytest.raises(OrderError, match=hint):
        check_symbol(symbol)


@pytest.mark.parametrize(
    ("terms", "hint"),
    [
        ({"kind": "SHARE"}, "kind must be one of EQUITY"),
        ({"scale": 13}, "must be 0 to 12"),
        ({"quantity_scale": -1}, "must be 0 to 12"),
        ({"multiplier": "1e-29"}, "too many decimals"),
        ({"multiplier": 0}, "above zero"),
        ({"tick_size": "0.001"}, "finer than scale=2"),
        ({"lot_size": "0.5"}, "finer than quantity_scale=0"),
        ({"freeze_quantity": -1}, "above zero"),
        ({"strike": "x"}, "not a number"),
        ({"expiry": "26MAR"}, "NSE:X-EQ: expiry is a date, or a text such as '2026-03-26', not '26MAR'"),
        ({"expiry": "2026-02-30"}, "not '2026-02-30'"),
        ({"expiry": ""}, "not ''"),
        ({"expiry": 20260326}, "not 20260326"),
    ],
)
def test_an_instrument_that_contradicts_itself(terms: dict[str, Any], hint: str) -> None:
    with pytest.raises(OrderError, match=hint):
        Instrument("NSE:X-EQ", **terms)


def test_an_instrument_keeps_its_terms() -> None:
    item = Instrument(
        "NSE:NIFTY26MAR25000CE",
        kind="OPTION",
        tick_size="0.05",
        lot_size=75,
        freeze_quantity=1800,
        expiry=date(2026, 3, 26),
        strike=25000,
        option_type="CE",
    )
    assert (item.kind, item.tick_raw, item.lot_raw) == (InstrumentKind.OPTION, 5, 75)
    assert (item.freeze_quantity, item.strike) == (Decimal(1800), Decimal(25000))
    assert pickle.loads(pickle.dumps(item)) == item == copy.deepcopy(item)
    moved = item.in_zone(INDIA)
    assert (moved, moved.zone, moved.in_zone(INDIA)) == (item, INDIA, moved)


@pytest.mark.parametrize(
    "expiry",
    [
        "2026-03-26",
        date(2026, 3, 26),
        datetime(2026, 3, 26, 15, 30, tzinfo=UTC),
        pandas.Timestamp("2026-03-26", tz=INDIA),
    ],
)
def test_an_expiry_is_a_date_whatever_it_is_told_as(expiry: Any) -> None:
    item = Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", expiry=expiry)
    assert type(item.expiry) is date
    assert item == Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", expiry=date(2026, 3, 26))
    assert [item.expired(day) for day in ("2026-03-26", "2026-03-27")] == [False, True]


def test_a_moment_that_is_none_is_no_expiry() -> None:
    with pytest.raises(OrderError, match=r"expiry is a date, .* not NaT"):
        Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", expiry=pandas.NaT)  # type: ignore[arg-type]


def test_unknown_symbols_get_a_scale_by_where_they_trade() -> None:
    assert default_instrument("NSE:SBIN-EQ") == Instrument("NSE:SBIN-EQ")
    assert default_instrument("NSE:NIFTY50-INDEX").kind is InstrumentKind.INDEX
    coin = default_instrument("BTCUSDT", INDIA)
    assert (coin.scale, coin.quantity_scale, coin.zone) == (8, 8, INDIA)


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [
        ("SBIN", "NSE:SBIN-EQ"),
        ("sbin", "NSE:SBIN-EQ"),
        ("SBIN-EQ", "NSE:SBIN-EQ"),
        ("NSE:SBIN", "NSE:SBIN-EQ"),
        ("NSE:SBIN-BE", "NSE:SBIN-EQ"),
        ("BAJAJ-AUTO", "NSE:BAJAJ-AUTO-EQ"),
        ("btcusdt", "BTCUSDT"),
        ("TCS", "EXCHANGE:NAME"),
        ("BSE:SBIN", ""),
        ("NSE:TCS-EQ", ""),
    ],
)
def test_a_symbol_that_nobody_knows_is_doubted(symbol: str, meant: str) -> None:
    told = doubted(symbol, ["NSE:SBIN-EQ", "NSE:BAJAJ-AUTO-EQ", "BTCUSDT"])
    assert told == "" if not meant else meant in told


@pytest.mark.parametrize(
    ("item", "value", "raw"),
    [
        (SBIN, "549.05", 54905),
        (SBIN, 549.05, 54905),
        (SBIN, 549, 54900),
        (SBIN, Decimal("549.0500"), 54905),
        (SBIN, "25974.900390625", 2597490),
        (SBIN, 25974.900390625, 2597490),
        (COIN, "0.00001234", 1234),
        (GOLD, 71000, 71000),
    ],
)
def test_prices_on_the_scale(item: Instrument, value: Any, raw: int) -> None:
    assert item.price_raw(value) == raw


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("549.055", "off_scale"),
        (549.055, "off_scale"),
        (Decimal("25974.900390625"), "off_scale"),  # a Decimal means what it says
        ("0.001", "off_scale"),
        (0, "zero"),
        ("-1", "negative"),
        ("1e20", "out_of_range"),
    ],
)
def test_prices_off_the_scale(value: Any, reason: str) -> None:
    with pytest.raises(PriceError) as caught:
        SBIN.price_raw(value)
    assert caught.value.reason == reason
    if reason == "off_scale":
        assert "register Instrument('NSE:SBIN-EQ', scale=" in str(caught.value)


@given(st.integers(1, 10**9))
def test_a_price_that_went_through_a_32_bit_float_is_found_again(raw: int) -> None:
    import struct

    (leaked,) = struct.unpack("f", struct.pack("f", raw / 100))
    if raw < 2**22:
        assert SBIN.price_raw(leaked) == SBIN.price_raw(str(leaked)) == raw


@given(st.integers(1, 10**12), st.sampled_from([SBIN, COIN, NIFTY, GOLD]))
def test_prices_and_quantities_round_trip(raw: int, item: Instrument) -> None:
    assert item.price_raw(item.price(raw)) == raw
    whole = raw * item.lot_raw
    assert item.quantity_raw(item.quantity(whole)) == whole


def test_an_order_price_stands_on_the_tick_grid() -> None:
    assert NIFTY.order_price_raw("25000.05", "limit_price") == 2500005
    with pytest.raises(OrderError, match=r"off the tick of 0.05; 25000.00 or 25000.05 would be on it"):
        NIFTY.order_price_raw("25000.02", "limit_price")
    with pytest.raises(OrderError, match=r"0.05; 0.05 would be on it"):
        NIFTY.order_price_raw("0.02", "limit_price")


@pytest.mark.parametrize(
    ("item", "value", "hint"),
    [
        (SBIN, "1.5", "must be a whole number"),
        (COIN, "0.000000001", "finer than its 8 decimals"),
        (NIFTY, 100, "not a multiple of the lot of 75; use 75 or 150"),
        (NIFTY, 10, "use 75"),
        (SBIN, 0, "above zero"),
        (SBIN, 10**19, "out of range"),
        (SBIN, "ten", "not a number"),
    ],
)
def test_quantities_that_cannot_stand_in_an_order(item: Instrument, value: Any, hint: str) -> None:
    with pytest.raises(OrderError, match=hint):
        item.quantity_raw(value)


@pytest.mark.parametrize(
    ("value", "raw"), [(0, 0), ("12", 12), ("12.0", 12), (Decimal("0.5"), None), ("0.00000001", None)]
)
def test_a_shown_size_may_be_zero_and_one_that_is_too_fine_is_not_given(value: Any, raw: int | None) -> None:
    assert SBIN.size_raw(value) == raw
    assert COIN.size_raw(value) == int(Decimal(value).scaleb(8))


@pytest.mark.parametrize(("value", "reason"), [(-1, "negative"), ("nan", "not_a_number"), (10**19, "out_of_range")])
def test_a_size_that_is_none_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(PriceError) as refused:
        SBIN.size_raw(value)
    assert refused.value.reason == reason


def test_value_is_price_times_quantity_times_multiplier() -> None:
    assert a_fill(OrderSide.BUY, 3, 71000, instrument=GOLD).value == Decimal("21300.00")


# ── ticks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_tick_tells_what_it_knows() -> None:
    item = SBIN.in_zone(INDIA)
    full = tick(item, OPENING_BELL, bid="549.00", ask="549.10", last="549.05", volume=1000, bid_size=5, ask_size=7)
    assert (full.symbol, full.bid, full.ask, full.last) == (
        "NSE:SBIN-EQ",
        *map(Decimal, ("549.00", "549.10", "549.05")),
    )
    assert (full.volume, full.bid_size, full.ask_size) == tuple(map(Decimal, (1000, 5, 7)))
    assert (full.mid, full.price, full.missed, full.mark_raw) == (549.05, 549.05, 0, 109810)
    assert full.time == full.received
    assert full.time.isoformat() == "2026-03-02T09:15:00+05:30"
    assert repr(full).startswith("Tick(NSE:SBIN-EQ bid=549.00 ask=549.10 last=549.05")


def test_a_tick_tells_what_it_does_not_know() -> None:
    empty = Tick(SBIN, OPENING_BELL, bid_raw=54900)
    assert (empty.ask, empty.last, empty.volume, empty.bid_size, empty.mark_raw) == (None, None, None, None, 0)
    assert str(empty.mid) == str(empty.price) == "nan"
    sided = Tick(SBIN, OPENING_BELL, 54900, 54910, time_ns=OPENING_BELL - 1_000_000)
    assert (sided.price, sided.mark_raw, sided.bid) == (549.05, 109810, Decimal("549.00"))
    assert sided.time < sided.received


def test_a_conflated_tick_says_how_many_it_stands_for() -> None:
    original = tick(SBIN, OPENING_BELL, bid="549", ask="550", source="a")
    seen = original.conflated(3)
    assert (seen.missed, original.missed) == (3, 0)
    assert (seen.bid, seen.ask, seen.source) == (Decimal(549), Decimal(550), "a")
    assert isinstance(seen, Tick)


# ── orders, fills, positions ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_tells_of_itself() -> None:
    order = an_order(limit_raw=54900, trigger_raw=54800, filled_raw=30, filled_value_raw=SBIN.value_raw(54905, 30))
    order = replaced(order, reference_raw=54900, fees_raw=SBIN.unit, status=OrderStatus.PARTIALLY_FILLED, reason="late")
    assert (order.quantity, order.filled_qty, order.leaves_raw) == (Decimal(100), Decimal(30), 70)
    assert (order.limit_price, order.trigger_price) == (Decimal("549.00"), Decimal("548.00"))
    assert (order.avg_price, order.slippage, order.fees) == (Decimal("549.05"), Decimal("0.05"), Decimal("0.01"))
    assert (order.is_open, order.is_final) == (True, False)
    assert order.created_at.tzinfo is UTC
    assert order.updated_at == order.created_at
    assert repr(order) == (
        "Order(A1 BUY 100 NSE:SBIN-EQ MARKET limit=549.00 trigger=548.00 "
        "PARTIALLY_FILLED filled=30@549.05 reason='late')"
    )


def test_an_order_before_its_first_fill() -> None:
    order = an_order()
    assert (order.limit_price, order.trigger_price, order.avg_price, order.slippage) == (None, None, None, None)
    assert repr(order) == "Order(A1 BUY 100 NSE:SBIN-EQ MARKET SUBMITTED)"
    assert replaced(order, filled_raw=1, filled_value_raw=SBIN.value_raw(5, 1)).slippage is None


def test_a_sales_slippage_is_positive_when_it_is_worse() -> None:
    sold = an_order(side=OrderSide.SELL, reference_raw=100, filled_raw=1, filled_value_raw=SBIN.value_raw(98, 1))
    assert sold.slippage == Decimal("0.02")


def test_money_blocked_follows_what_has_not_filled() -> None:
    order = an_order(opening_raw=60, margin_raw=6000)
    assert order.blocked_raw == 6000
    assert replaced(order, filled_raw=70).blocked_raw == 3000
    assert replaced(order, filled_raw=130).blocked_raw == 0
    assert an_order().blocked_raw == 0
    assert {replaced(order, status=status).blocked_raw for status in FINAL} == {0}


def test_a_pending_modification_blocks_the_larger_of_both() -> None:
    order = an_order(opening_raw=100, margin_raw=1000, filled_raw=50)
    larger, smaller = Change(300, None, None, 250, 5000), Change(60, None, None, 10, 100)
    assert replaced(order, pending=larger).blocked_raw == 5000
    assert replaced(order, pending=smaller).blocked_raw == order.blocked_raw == 500
    assert (replaced(order, pending=larger).working_raw, replaced(order, pending=smaller).working_raw) == (250, 50)


def test_the_terms_of_an_order_are_what_was_first_asked() -> None:
    order = an_order()
    assert order.terms == replaced(order, status=OrderStatus.FILLED, quantity_raw=50, asked_raw=(100, None, None)).terms
    assert order.terms != replaced(order, tag="other").terms


def test_a_fill_tells_of_itself() -> None:
    fill = a_fill(
        OrderSide.SELL,
        50,
        54900,
        filled_before_raw=10,
        value_before_raw=SBIN.value_raw(54900, 10),
        fees_raw=SBIN.unit,
        realized_raw=-SBIN.unit,
    )
    assert (fill.quantity, fill.price, fill.value) == (Decimal(50), Decimal("549.00"), Decimal("27450.00"))
    assert (fill.order_filled_before, fill.order_value_before) == (Decimal(10), Decimal("5490.00"))
    assert (fill.fees, fill.realized_pnl) == (Decimal("0.01"), Decimal("-0.01"))
    assert fill.time.isoformat() == "2026-03-02T03:45:00+00:00"
    assert pickle.loads(pickle.dumps(fill)) == fill


def test_a_risk_order_shows_its_trigger() -> None:
    risk = RiskOrder("R1", ExitKind.STOP_LOSS, SBIN, "manual", an_order().product, "", True, 54500, 0)
    assert (risk.symbol, risk.trigger_price) == ("NSE:SBIN-EQ", Decimal("545.00"))


def test_a_flat_position_is_falsy() -> None:
    flat = Position(SBIN)
    assert not flat
    assert (flat.quantity, flat.avg_price, flat.last_price, flat.opened_at) == (0, None, None, None)
    assert replaced(flat, quantity_raw=-1)


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.sampled_from([SBIN, COIN, GOLD]))
def test_an_average_is_rounded_only_beyond_twelve_decimals(price: int, quantity: int, item: Instrument) -> None:
    assert average(item, item.value_raw(price, quantity), quantity) == price * 10 ** (30 - item.scale)


def test_replacing_keeps_everything_else() -> None:
    term = ExitTerm(ExitKind.STOP_LOSS, price_raw=5)
    assert replaced(term, price_raw=6) == ExitTerm(ExitKind.STOP_LOSS, price_raw=6)


def test_sides_have_a_sign() -> None:
    assert (OrderSide.BUY.sign, OrderSide.SELL.sign) == (1, -1)
