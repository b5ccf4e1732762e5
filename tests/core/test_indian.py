"""What a trade in Indian shares, futures and options costs, by hand and by properties."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import tariff
from livetrade.core.fees import described, schedule_of
from livetrade.core.indian import CHARGES, IndianEquityFees
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, Product
from livetrade.core.records import replaced
from livetrade.core.schedules import charge
from livetrade.core.tariff import Segment
from livetrade.core.values import Fill
from livetrade.errors import OrderError
from tests.core.kit import COIN, NIFTY, SBIN, Desk, a_fill, alarms, denials

CALL = Instrument("NSE:NIFTY26APR25000CE", kind="OPTION", tick_size="0.05", lot_size=75, strike=25000, option_type="CE")
BUY, SELL = OrderSide.BUY, OrderSide.SELL
OLD, NEW = date(2026, 3, 31), date(2026, 4, 1)


def ns(day: date, hour: int = 5) -> int:
    """An hour UTC of a day, by default in the session."""
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp()) * 10**9


def fill(side: OrderSide, quantity: int, price: str, day: date = NEW, item: Instrument = SBIN, **terms: Any) -> Fill:
    return a_fill(side, quantity, item.price_raw(price), instrument=item, **{"time_ns": ns(day), **terms})


def costs(schedule: IndianEquityFees, side: OrderSide, *args: Any, **terms: Any) -> dict[str, str]:
    """What is charged, zeros left out."""
    return {name: str(amount) for name, amount in schedule(fill(side, *args, **terms)).items() if amount}


def test_the_published_delivery_round_trip() -> None:
    """5,000 shares at 1,000 INR, bought and sold: 11,124.06 INR without brokerage, where NSE takes 0.00307 %."""
    schedule = IndianEquityFees(brokerage="zero")
    bought = costs(schedule, BUY, 5000, "1000", product=Product.CNC)
    sold = costs(schedule, SELL, 5000, "1000", product=Product.CNC)
    common = {"stt": "5000.00", "transaction": "153.50", "sebi": "5.00", "gst": "28.53"}
    assert bought == {**common, "stamp_duty": "750.00"}
    assert sold == common
    assert sum(map(Decimal, (*bought.values(), *sold.values()))) == Decimal("11124.06")


def test_a_delivery_round_trip_on_both_sides_of_a_change() -> None:
    schedule = IndianEquityFees()
    assert costs(schedule, BUY, 100, "549", OLD, product=Product.CNC) == {
        "brokerage": "20.00", "stt": "54.90", "transaction": "1.63", "sebi": "0.05", "stamp_duty": "8.24",
        "gst": "3.90",
    }  # fmt: skip
    assert costs(schedule, SELL, 100, "549", NEW, product=Product.CNC) == {
        "brokerage": "20.00", "stt": "54.90", "transaction": "1.69", "sebi": "0.05", "gst": "3.91",
    }  # fmt: skip


def test_an_intraday_round_trip_on_both_sides_of_a_change() -> None:
    schedule = IndianEquityFees()
    for product in (Product.INTRADAY, Product.MARGIN):
        assert costs(schedule, BUY, 100, "549", OLD, product=product) == {
            "brokerage": "16.47", "transaction": "1.63", "sebi": "0.05", "stamp_duty": "1.65", "gst": "3.27",
        }  # fmt: skip
        assert costs(schedule, SELL, 100, "549", NEW, product=product) == {
            "brokerage": "16.47", "stt": "13.72", "transaction": "1.69", "sebi": "0.05", "gst": "3.28",
        }  # fmt: skip


def test_a_future_on_both_sides_of_a_change() -> None:
    schedule = IndianEquityFees()  # 75 x 25,000 = 1,875,000
    assert costs(schedule, BUY, 75, "25000", OLD, NIFTY) == {
        "brokerage": "20.00", "transaction": "32.44", "sebi": "1.88", "stamp_duty": "37.50", "gst": "9.78",
    }  # fmt: skip
    assert costs(schedule, SELL, 75, "25000", OLD, NIFTY)["stt"] == "375.00"
    assert costs(schedule, BUY, 1, "25000", NEW, NIFTY)["brokerage"] == "7.50"
    assert costs(schedule, SELL, 75, "25000", NEW, NIFTY) == {
        "brokerage": "20.00", "stt": "937.50", "transaction": "34.31", "sebi": "1.88", "gst": "10.11",
    }  # fmt: skip


def test_an_option_on_both_sides_of_a_change() -> None:
    schedule = IndianEquityFees()  # a premium of 75 x 200 = 15,000
    assert costs(schedule, BUY, 75, "200", OLD, CALL) == {
        "brokerage": "20.00", "transaction": "5.25", "sebi": "0.02", "stamp_duty": "0.45", "gst": "4.55",
    }  # fmt: skip
    assert costs(schedule, SELL, 75, "200", OLD, CALL)["stt"] == "15.00"
    assert costs(schedule, SELL, 75, "200", NEW, CALL) == {
        "brokerage": "20.00", "stt": "22.50", "transaction": "5.33", "sebi": "0.02", "gst": "4.56",
    }  # fmt: skip


def test_the_day_is_indias() -> None:
    """18:30 UTC is midnight in India."""
    late, early = ns(OLD, 18), ns(OLD, 19)
    schedule = IndianEquityFees()
    assert costs(schedule, SELL, 75, "25000", item=NIFTY, time_ns=late)["stt"] == "375.00"
    assert costs(schedule, SELL, 75, "25000", item=NIFTY, time_ns=early)["stt"] == "937.50"


def test_every_charge_is_named_always_and_in_order() -> None:
    schedule = IndianEquityFees(brokerage="zero")
    for side in OrderSide:
        for item in (SBIN, NIFTY, CALL):
            assert tuple(schedule(fill(side, 75, "100", item=item))) == CHARGES


def test_a_depository_is_paid_once_an_order_when_it_is_asked_for() -> None:
    schedule = IndianEquityFees(brokerage="zero", dp="12.50")
    assert "dp" not in costs(schedule, BUY, 100, "549", product=Product.CNC)
    assert "dp" not in costs(schedule, SELL, 100, "549", product=Product.INTRADAY)
    sold = costs(schedule, SELL, 100, "549", product=Product.CNC)
    assert (sold["dp"], sold["gst"]) == ("12.50", "2.56")  # 18 % of 12.50 + 1.69 + 0.05
    before = {"filled_before_raw": 100, "value_before_raw": fill(SELL, 100, "549").value_raw}
    rest = fill(SELL, 100, "549", product=Product.CNC, **before)
    assert schedule(rest)["dp"] == 0
    assert "dp" not in costs(IndianEquityFees(), SELL, 100, "549", product=Product.CNC)


def test_brokerage_is_chosen() -> None:
    def brokerage(chosen: Any, value: int, item: Instrument = SBIN) -> str:
        return str(IndianEquityFees(brokerage=chosen)(fill(BUY, value // 100, "100", item=item))["brokerage"])

    assert brokerage((20, "0.03"), 10_000) == "3.00"
    assert brokerage((20, "0.03"), 1_000_000) == "20.00"
    assert brokerage((15, None), 10_000, NIFTY) == "15.00"
    assert brokerage((None, "0.5"), 10_000) == "50.00"
    assert brokerage("zero", 10_000) == "0.00"
    assert brokerage(lambda fill: fill.value / 1000, 10_000) == "10.00"
    own = IndianEquityFees(brokerage=lambda _: Decimal("7.005"))(fill(BUY, 100, "100", filled_before_raw=5))
    assert (own["brokerage"], own["gst"]) == (Decimal("7.00"), Decimal("1.32"))


@pytest.mark.parametrize("wrong", ["discount", (None, None), (-1, None), ("x", 1), None, 20])
def test_a_wrong_brokerage_is_refused(wrong: Any) -> None:
    with pytest.raises(OrderError, match="brokerage"):
        IndianEquityFees(brokerage=wrong)


def test_a_wrong_depository_charge_is_refused() -> None:
    with pytest.raises(OrderError, match="dp must not be negative"):
        IndianEquityFees(dp=-1)


def parts_of(parts: list[tuple[int, int]], side: OrderSide, item: Instrument, product: Product) -> list[Fill]:
    made: list[Fill] = []
    quantity = value = 0
    for part, price in parts:
        terms: dict[str, Any] = {"instrument": item, "product": product, "time_ns": ns(NEW)}
        made.append(a_fill(side, part, price, filled_before_raw=quantity, value_before_raw=value, **terms))
        quantity, value = quantity + part, value + made[-1].value_raw
    return made


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 10**7)), min_size=1, max_size=8),
    st.sampled_from(OrderSide),
    st.sampled_from([SBIN, NIFTY, CALL]),
    st.sampled_from(Product),
    st.sampled_from(["fyers", "zero", (20, "0.03"), (None, "0.01"), (5, None)]),
)
def test_an_order_in_parts_costs_what_it_costs_in_one(
    parts: list[tuple[int, int]], side: OrderSide, item: Instrument, product: Product, brokerage: Any
) -> None:
    schedule = IndianEquityFees(brokerage=brokerage, dp="12.50")
    made = parts_of(parts, side, item, product)
    charged = [schedule(fill) for fill in made]
    whole = Fraction(sum(fill.value_raw for fill in made), 10**30)
    rates = tariff.rates_on(NEW, "NSE", Segment(item.kind) if item is not SBIN else _share(product))
    sums = {name: sum(part[name] for part in charged) for name in CHARGES}
    for name in ("stt", "transaction", "sebi", "stamp_duty"):
        rate = Fraction(getattr(rates, name)[side is SELL], 10**10)
        assert sums[name] == _half_even(whole * rate), name
    taxed = sums["brokerage"] + sums["transaction"] + sums["sebi"] + sums["dp"]
    assert sums["gst"] == _half_even(Fraction(taxed) * 18 / 100)
    assert sums["brokerage"] <= 20 or brokerage == (None, "0.01")
    assert all(amount >= 0 for part in charged for name, amount in part.items() if name != "gst")
    assert charge(schedule, made[-1])[0] == sum(raw for _, raw in charge(schedule, made[-1])[1])


def _share(product: Product) -> Segment:
    return Segment.DELIVERY if product is Product.CNC else Segment.INTRADAY


def _half_even(amount: Fraction) -> Decimal:
    return Decimal(round(amount * 100)).scaleb(-2)


# ── what the table does not know ─────────────────────────────────────────────────────────────────────────────────────


def test_a_day_before_the_table_is_an_error_that_says_so() -> None:
    with pytest.raises(OrderError, match="charges of INTRADAY on NSE are known from 2024-10-01 on, not for 2024-09-30"):
        IndianEquityFees()(fill(BUY, 1, "100", date(2024, 9, 30)))
    assert IndianEquityFees()(fill(BUY, 1, "100", date(2024, 10, 1)))


def test_another_exchange_or_kind_is_an_error_that_says_so() -> None:
    with pytest.raises(OrderError, match="no charges of MCX are known, only of NSE and BSE"):
        IndianEquityFees()(fill(BUY, 1, "100", item=Instrument("MCX:GOLDM26APRFUT", kind="FUTURE")))
    with pytest.raises(OrderError, match="COINUSDT is of kind CRYPTO"):
        IndianEquityFees()(fill(BUY, 1, "100", item=COIN))


def test_an_account_refuses_to_open_what_it_cannot_reckon() -> None:
    """And it never refuses to reduce: a fill without charges is an alarm."""
    desk = Desk(fees=IndianEquityFees())
    before = ns(date(2024, 9, 30))
    desk.quote(bid="99", ask="100")
    desk.buy(100)
    desk.account.fees = lambda fill: IndianEquityFees()(replaced(fill, time_ns=before))
    assert alarms(desk.close()) == ["fees"]
    assert desk.position == 0

    class Early(IndianEquityFees):
        def __call__(self, fill: Fill) -> dict[str, Decimal]:
            return super().__call__(replaced(fill, time_ns=before))

    desk.account.fees = Early()
    desk.buy(100)
    (reason,) = denials(desk.events)
    assert reason.startswith("Charges unknown: charges of INTRADAY on NSE are known from 2024-10-01 on")


def test_every_rate_is_found_and_the_table_is_whole() -> None:
    for exchange in ("NSE", "BSE"):
        for segment in Segment:
            for day in (date(2024, 10, 1), OLD, NEW, date(2040, 1, 1)):
                rates = tariff.rates_on(day, exchange, segment)
                assert rates.gst == tariff.rate_raw("18")
                assert all(tariff.brokerage_on(day, broker, segment) for broker in tariff.BROKERAGES)
    with pytest.raises(OrderError, match="the brokerage of fyers is known from 2024-10-01 on"):
        tariff.brokerage_on(date(2024, 1, 1), "fyers", Segment.FUTURE)


# ── in an account, and in its journal ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "schedule",
    [
        IndianEquityFees(),
        IndianEquityFees("zero"),
        IndianEquityFees("zero", dp="12.50"),
        IndianEquityFees((20, "0.03")),
        IndianEquityFees((None, "0.03"), dp=15),
        IndianEquityFees((20, None)),
    ],
)
def test_it_is_read_back_from_its_description(schedule: IndianEquityFees) -> None:
    again = schedule_of(described(schedule))
    assert isinstance(again, IndianEquityFees)
    assert described(again) == described(schedule)
    sold = fill(SELL, 100, "549", product=Product.CNC)
    assert again(sold) == schedule(sold)
    assert repr(schedule).startswith("IndianEquityFees(brokerage=")


def test_a_brokerage_of_ones_own_is_told_by_name_only() -> None:
    schedule = IndianEquityFees(brokerage=lambda fill: fill.value / 1000)
    assert described(schedule) == ("IndianEquityFees with its user's own brokerage",)
    assert schedule_of(described(schedule)) is None


def test_equal_terms_are_equal() -> None:
    assert IndianEquityFees(dp=1) == IndianEquityFees("fyers", 1)
    assert hash(IndianEquityFees(dp=1)) == hash(IndianEquityFees("fyers", 1))
    assert IndianEquityFees() != IndianEquityFees("zero")
    assert IndianEquityFees() != 1


def test_an_account_itemises_each_fill() -> None:
    desk = Desk(fees=IndianEquityFees("zero"))
    desk.quote(bid="999.95", ask="1000")
    desk.buy(100, product=Product.CNC)
    (bought,) = desk.fills()
    assert tuple(name for name, _ in bought.charges) == CHARGES
    assert sum(raw for _, raw in bought.charges) == bought.fees_raw > 0
