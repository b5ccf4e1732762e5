"""Exact numbers: what is read, what is refused, and that nothing is lost on the way."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.numbers import (
    MONEY_ONE,
    SHARE_QUANTUM,
    at,
    counted,
    divide,
    money,
    money_raw,
    number,
    percent_raw,
    positive,
    scaled,
    short,
    to_decimal,
)
from livetrade.errors import PriceError

amounts = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**15), max_value=10**15)


class Int64:
    """An integer of another library."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Float32:
    """A number of another library that is no `float`."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Float64(float):
    """A float whose own text is not a number."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5"),
        ("549.05", "549.05"),
        (Decimal("1.10"), "1.10"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (Int64(7), "7"),
        (Float64(0.3), "0.3"),
        (Float32(0.5), "0.5"),
    ],
)
def test_what_a_user_may_write(value: Any, expected: str) -> None:
    assert str(number(value, "price")) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("abc", "not_a_number"),
        ("", "not_a_number"),
        (None, "not_a_number"),
        (True, "not_a_number"),
        ([1], "not_a_number"),
        (Fraction(10**400), "not_a_number"),
        (float("nan"), "not_a_number"),
        (Decimal("sNaN"), "not_a_number"),
        (float("inf"), "infinite"),
        ("-Infinity", "infinite"),
        ("1e31", "out_of_range"),
        (10**400, "out_of_range"),
        ("1e-61", "out_of_range"),
    ],
)
def test_what_is_no_number(value: Any, reason: str) -> None:
    with pytest.raises(PriceError, match=r"^limit_price") as caught:
        number(value, "limit_price")
    assert caught.value.reason == reason


@pytest.mark.parametrize(("value", "reason"), [(0, "zero"), ("-0.0", "zero"), (-1, "negative")])
def test_what_is_not_positive(value: Any, reason: str) -> None:
    with pytest.raises(PriceError, match="above zero") as caught:
        positive(value, "quantity")
    assert caught.value.reason == reason


@given(st.integers(-(10**40), 10**40), st.integers(-(10**20), 10**20).filter(bool))
def test_division_is_to_the_nearest_and_ties_to_even(numerator: int, denominator: int) -> None:
    assert divide(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**18), 10**18), st.integers(0, 12))
def test_raw_numbers_and_decimals_are_the_same_thing(raw: int, scale: int) -> None:
    value = to_decimal(raw, scale)
    assert scaled(value, scale) == raw
    assert Fraction(value) == Fraction(raw, 10**scale)


def test_what_is_finer_than_the_scale_is_none() -> None:
    assert scaled(Decimal("1.005"), 2) is None
    assert scaled(Decimal("1.00500"), 3) == 1005


@given(amounts)
def test_money_keeps_every_digit(amount: Decimal) -> None:
    raw = money_raw(amount, "cash")
    assert Fraction(raw, MONEY_ONE) == Fraction(amount)
    assert Fraction(money(raw)) == Fraction(amount)


@pytest.mark.parametrize(
    ("raw", "text"),
    [(0, "0.00"), (MONEY_ONE, "1.00"), (MONEY_ONE // 8, "0.125"), (1, "1E-30"), (-MONEY_ONE // 2, "-0.50")],
)
def test_money_shows_two_decimals_and_what_more_there_is(raw: int, text: str) -> None:
    assert str(money(raw)) == text


def test_how_many_there_are() -> None:
    assert [counted(n, "exit") for n in (0, 1, 2_000)] == ["0 exits", "1 exit", "2,000 exits"]
    assert [counted(n, "exit is", "exits are") for n in (1, 2)] == ["1 exit is", "2 exits are"]


def test_money_finer_than_its_unit_is_rounded_to_even() -> None:
    assert [money_raw(text, "fee") for text in ("5e-31", "15e-31", "1.6e-30")] == [0, 2, 2]


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [("1", "4", "25.00"), ("-1", "8", "-12.50"), ("1", "-3", "-33.333333333333"), ("2", "3", "66.666666666667")],
)
def test_percent(part: str, whole: str, percent: str) -> None:
    assert str(money(percent_raw(money_raw(part, "part"), money_raw(whole, "whole")))) == percent


@given(st.integers(-(10**45), 10**45), st.integers(1, 10**45))
def test_percent_is_rounded_half_even_beyond_twelve_decimals(part: int, whole: int) -> None:
    exact = Fraction(part, whole) * 100 * MONEY_ONE
    assert percent_raw(part, whole) == round(exact / SHARE_QUANTUM) * SHARE_QUANTUM


def test_times_are_aware_and_whole_microseconds() -> None:
    moment = at(1_772_423_100_123_456_789, ZoneInfo("Asia/Kolkata"))
    assert moment.isoformat() == "2026-03-02T09:15:00.123456+05:30"
    assert at(0, UTC) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("average", "shown"),
    [
        ("549.00", "549.00"),
        ("548.333333333333", "548.333333"),
        ("0.000012345678912", "0.0000123456789"),
        ("1234567.05", "1234567.05"),
    ],
)
def test_an_average_is_shown_with_nine_digits(average: str, shown: str) -> None:
    assert short(Decimal(average)) == shown


def test_an_average_that_there_is_not() -> None:
    assert short(None) == "unknown"
