"""Exact numbers: what a user may write, raw integers, and the `Decimal` that stands at every public edge."""

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from operator import index
from typing import TYPE_CHECKING

from livetrade.errors import OrderError, PriceError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Number = int | str | Decimal | float
"""What a user may write for money, a price or a quantity; a float is taken by its text."""

MONEY_SCALE = 30
MONEY_ONE: int = 10**MONEY_SCALE
SHARE_QUANTUM: int = 10 ** (MONEY_SCALE - 12)
"""A partial close releases its share of the total cost in whole 10⁻¹² of the currency."""

EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)
_NINE = Context(prec=9, rounding=ROUND_HALF_EVEN)
MAX_RAW = 2**63 - 1  # history keeps prices and quantities in 64-bit columns
_FAR: int = 10**31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(value: Number, what: str) -> Decimal:
    """A finite `Decimal` from what a user may write; a float is taken by its text.

    Raises `PriceError` naming `what`, with the reason it is counted under.
    """
    if type(value) is int and -_FAR < value < _FAR:
        return Decimal(value)
    if isinstance(value, bool | bytes | bytearray) or type(value).__name__ in ("bool", "bool_"):  # NumPy's own too
        raise PriceError("not_a_number", f"{what} must be a number, not {value!r}")
    try:
        result = _decimal(value)
    except (InvalidOperation, OverflowError, TypeError, ValueError):
        raise PriceError("not_a_number", f"{what} is not a number: {value!r}") from None
    if result.is_nan():
        raise PriceError("not_a_number", f"{what} is not a number: {value!r}")
    if result.is_infinite():
        raise PriceError("infinite", f"{what} must be finite, not {value!r}")
    if result.adjusted() > 30 or result.as_tuple().exponent < -60:  # type: ignore[operator]
        raise PriceError("out_of_range", f"{what} is out of range: {value!r}")
    return result


def _decimal(value: Number) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        return Decimal(value)
    if hasattr(value, "__index__"):
        return Decimal(index(value))
    return Decimal(float.__repr__(float(value)))  # NumPy's own repr is not a number


def positive(value: Number, what: str) -> Decimal:
    """A `number` above zero."""
    result = number(value, what)
    if result == 0:
        raise PriceError("zero", f"{what} must be above zero, not {value!r}")
    if result < 0:
        raise PriceError("negative", f"{what} must be above zero, not {value!r}")
    return result


def scaled(value: Decimal, scale: int) -> int | None:
    """`value` in whole units of 10⁻ˢᶜᵃˡᵉ, or None when it is finer than that."""
    shifted = EXACT.scaleb(value, scale)
    whole = int(shifted)
    return whole if whole == shifted else None


def divide(numerator: int, denominator: int) -> int:
    """The integer nearest to numerator / denominator, ties to even."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient & 1):
        quotient += 1
    return quotient


def percent_raw(part_raw: int, whole_raw: int) -> int:
    """part/whole in percent, as raw money is, rounded half-even at 10⁻¹²."""
    return divide(part_raw * 100 * 10**12, whole_raw) * SHARE_QUANTUM


@lru_cache(maxsize=1 << 16)
def to_decimal(raw: int, scale: int) -> Decimal:
    """raw × 10⁻ˢᶜᵃˡᵉ, exactly, with `scale` decimals."""
    return EXACT.scaleb(Decimal(raw), -scale)


@lru_cache(maxsize=1 << 16)
def money(raw: int) -> Decimal:
    """Raw money as a `Decimal`, exactly, with at least two decimals and no needless zeros beyond them."""
    paisa, rest = divmod(raw, 10 ** (MONEY_SCALE - 2))
    if not rest:
        return EXACT.scaleb(Decimal(paisa), -2)
    return EXACT.scaleb(Decimal(raw), -MONEY_SCALE).normalize(EXACT)


def short(average: Decimal | None) -> str:
    """An average price as a person reads it: nine digits of it at the most."""
    return "unknown" if average is None else f"{_NINE.plus(average):f}"


def counted(count: int, one: str, more: str = "") -> str:
    """How many of something there are, in words: 1 exit, 2 exits. more: where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def money_raw(value: Number, what: str) -> int:
    """An amount of money as raw money; finer than 10⁻³⁰ is rounded half-even."""
    if type(value) is Decimal and not value:
        return 0
    return int(EXACT.to_integral_value(EXACT.scaleb(number(value, what), MONEY_SCALE)))


def zone_named(timezone: str) -> "ZoneInfo":
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise OrderError(f"timezone must be a name such as 'Asia/Kolkata', not {timezone!r}") from None


@lru_cache(maxsize=4096)
def at(time_ns: int, zone: tzinfo) -> datetime:
    """An aware `datetime` (whole microseconds) of integer nanoseconds UTC."""
    return (_EPOCH + timedelta(microseconds=time_ns // 1000)).astimezone(zone)
