"""Fee schedules: what they charge, how they round, and their cap for one order."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.fees import DEFAULT_FEES, FlatFee, NoFees, PercentFee, described, schedule_of
from livetrade.core.kinds import OrderSide
from livetrade.core.numbers import money_raw
from livetrade.core.records import replaced
from livetrade.core.schedules import FeeSchedule, charge
from livetrade.core.values import Fill
from livetrade.errors import OrderError
from tests.core.kit import COIN, a_fill


def fills(*parts: tuple[int, int], **terms: Any) -> list[Fill]:
    """The fills of one order, each with what was filled before it."""
    made: list[Fill] = []
    quantity = value = 0
    for part, price in parts:
        fill = a_fill(OrderSide.BUY, part, price, filled_before_raw=quantity, value_before_raw=value, **terms)
        made.append(fill)
        quantity, value = quantity + part, value + fill.value_raw
    return made


def test_no_fees() -> None:
    assert charge(NoFees(), a_fill(OrderSide.BUY, 1, 100)) == (0, ())


def test_a_flat_fee_is_charged_with_the_first_fill() -> None:
    schedule = FlatFee("20.005")
    assert [schedule(fill) for fill in fills((10, 100), (10, 100))] == [Decimal("20.00"), Decimal(0)]


def test_a_percentage_rounds_half_even_to_the_paisa() -> None:
    assert PercentFee("0.03")(a_fill(OrderSide.BUY, 100, 54910)) == Decimal("16.47")
    assert PercentFee(5)(a_fill(OrderSide.BUY, 1, 50)) == Decimal("0.02")
    assert PercentFee(5)(a_fill(OrderSide.BUY, 1, 150)) == Decimal("0.08")


def test_a_cap_holds_for_the_order() -> None:
    schedule = PercentFee("0.03", cap=20)
    charged = [schedule(fill) for fill in fills((60, 100_000), (20, 100_000), (500, 100_000))]
    assert charged == [Decimal("18.00"), Decimal("2.00"), Decimal(0)]


def test_a_negative_rate_is_a_rebate() -> None:
    assert PercentFee("-0.01")(a_fill(OrderSide.BUY, 100, 10_000)) == Decimal("-1.00")


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 10**6)), min_size=1, max_size=12))
def test_an_order_in_parts_costs_what_it_costs_in_one(parts: list[tuple[int, int]]) -> None:
    schedule = PercentFee("0.03", cap=20)
    made = fills(*parts)
    whole = replaced(made[-1], value_before_raw=0)
    total = sum(schedule(fill) for fill in made)
    value = sum(fill.value for fill in made)
    assert total == min(Decimal(20), (value * Decimal("0.0003")).quantize(Decimal("0.01")))
    assert schedule(whole) >= 0


def test_the_default_is_a_discount_brokers() -> None:
    assert DEFAULT_FEES(a_fill(OrderSide.BUY, 100, 54910)) == Decimal("16.47")
    assert DEFAULT_FEES(a_fill(OrderSide.BUY, 10_000, 54910)) == Decimal("20.00")
    assert DEFAULT_FEES(a_fill(OrderSide.BUY, 10**8, 10**12, instrument=COIN)) == 0


def test_a_schedule_may_itemise() -> None:
    def itemised(_: Fill) -> dict[str, Decimal]:
        return {"brokerage": Decimal(20), "stt": Decimal("0.125"), "rebate": Decimal(-1)}

    total, charges = charge(itemised, a_fill(OrderSide.BUY, 1, 100))
    assert total == money_raw("19.125", "")
    assert charges == (
        ("brokerage", money_raw(20, "")),
        ("stt", money_raw("0.125", "")),
        ("rebate", money_raw(-1, "")),
    )


@pytest.mark.parametrize("answer", [None, "x", Decimal("NaN"), {"stt": Decimal("Infinity")}])
def test_an_answer_that_is_no_money_raises(answer: Any) -> None:
    with pytest.raises(OrderError, match="fee"):
        charge(lambda _: answer, a_fill(OrderSide.BUY, 1, 100))


@pytest.mark.parametrize("make", [lambda: FlatFee("x"), lambda: PercentFee(None), lambda: PercentFee(1, cap=0)])  # type: ignore[arg-type]
def test_schedules_refuse_terms_that_are_no_numbers(make: Any) -> None:
    with pytest.raises(OrderError):
        make()


def test_a_schedule_has_to_say_something() -> None:
    with pytest.raises(NotImplementedError):
        FeeSchedule()(a_fill(OrderSide.BUY, 1, 100))
    assert PercentFee(1, cap=2) == PercentFee(1, cap=2)
    assert repr(PercentFee("0.03", cap=20)) == "PercentFee(rate='0.03', cap=20)"


@pytest.mark.parametrize(
    "schedule", [NoFees(), FlatFee("12.50"), FlatFee(3), PercentFee("0.03"), PercentFee(1, cap=20), DEFAULT_FEES]
)
def test_a_built_in_schedule_is_read_back_from_its_description(schedule: FeeSchedule) -> None:
    again = schedule_of(described(schedule))
    assert type(again) is type(schedule)
    assert described(again) == described(schedule)  # type: ignore[arg-type]
    fill = a_fill(OrderSide.BUY, 100, 54900)
    assert again(fill) == schedule(fill)  # type: ignore[misc]


def test_of_another_schedule_only_the_name_is_known() -> None:
    class Mine(FeeSchedule):
        """A user's own."""

    def flat(_: Fill) -> Decimal:
        return Decimal(1)

    for schedule, name in ((Mine(), "Mine"), (flat, "flat"), (FlatFee(1).__call__, "__call__")):
        assert described(schedule)[0].endswith(name)
        assert schedule_of(described(schedule)) is None
