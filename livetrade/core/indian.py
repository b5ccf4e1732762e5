"""What a trade in Indian shares, futures and options costs: `lt.IndianEquityFees`."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

from livetrade.core import tariff
from livetrade.core.kinds import InstrumentKind, OrderSide, Product
from livetrade.core.numbers import MONEY_SCALE, Number, divide, money_raw, number, to_decimal
from livetrade.core.schedules import FeeSchedule
from livetrade.core.tariff import Segment
from livetrade.core.values import Fill
from livetrade.errors import OrderError

CHARGES = ("brokerage", "stt", "transaction", "sebi", "stamp_duty", "gst", "dp")
"""What a fill of this schedule itemises, in this order, each of them always."""

Brokerage = str | tuple[Number | None, Number | None] | Callable[[Fill], Decimal]

_PAISA: int = 10 ** (MONEY_SCALE - 2)
_PERCENT: int = 100 * 10**tariff.RATE_SCALE
_KOLKATA_NS = 19_800 * 1_000_000_000  # five and a half hours, the whole year
_DAY_NS = 86_400 * 1_000_000_000
_EPOCH = date(1970, 1, 1).toordinal()


class IndianEquityFees(FeeSchedule):
    """Brokerage, STT, exchange transaction charge, SEBI fee, stamp duty and GST of Indian shares and their derivatives.

    One schedule for all of NSE and BSE: a share (and whatever else is of kind EQUITY) is delivery with product CNC and
    intraday with INTRADAY and MARGIN, a FUTURE and an OPTION are told by the instrument's kind, so register derivatives
    (`instruments=`, or the symbol master) before they trade. The rates are the dated table of `livetrade.core.tariff`,
    taken for the fill's day in India; it is made of secondary sources, and marks what is less certain than the rest.

    brokerage: "fyers" (its published plan), "zero", (flat, percent): the lesser of the two for each executed order,
    either may be None; or a callable `(fill) -> Decimal` for each fill.
    dp: the depository's charge for one sale from delivery, such as "12.50" (Fyers; GST comes on top). It is due
    once for each share and day, which one fill cannot know: by default it is left out, and where it is given it is
    charged with the first fill of every CNC sell order, too often for who sells one share in several orders a day.

    Each charge is rounded half-even to the paisa, on what its order has filled so far: an order in parts costs what it
    costs in one. A contract note rounds STT and stamp duty of the whole day to the rupee, and takes shares that were
    bought and sold on one day for intraday whatever their product; one fill cannot know either. Not in it: charges on
    exercise and delivery of derivatives, what a broker takes for clearing them (Fyers names 0.0005 % of futures and
    0.009 % of premiums), and the lower STT of some exchange-traded funds.

    Raises `OrderError` for a wrong brokerage; called, for a fill on a day before the table begins, of another exchange
    or of another kind.
    """

    def __init__(self, brokerage: Brokerage = "fyers", dp: Number | None = None) -> None:
        self.brokerage = brokerage
        self.dp = dp
        self._dp_paisa = 0 if dp is None else _paisa(_not_negative(dp, "dp"))
        self._plan = _plan(brokerage)

    @property
    def terms(self) -> tuple[str, ...] | None:
        """What makes it again, as texts (`of_terms`); None with a brokerage that only its user has."""
        if callable(self.brokerage):
            return None
        given = self.brokerage if isinstance(self.brokerage, tuple) else (self.brokerage,)
        return ("" if self.dp is None else str(self.dp), *("" if term is None else str(term) for term in given))

    @classmethod
    def of_terms(cls, dp: str | None, *brokerage: str | None) -> "IndianEquityFees":
        if len(brokerage) == 1:
            return cls(brokerage[0] or "", dp)
        flat, percent = brokerage
        return cls((flat, percent), dp)

    def __call__(self, fill: Fill) -> dict[str, Decimal]:
        before, value = fill.value_before_raw, fill.value_raw
        first = self._so_far(fill, before) if fill.filled_before_raw else dict.fromkeys(CHARGES, 0)
        whole = self._so_far(fill, before + value, own=self._own_brokerage(fill))
        return {name: to_decimal(whole[name] - first[name], 2) for name in CHARGES}

    def _so_far(self, fill: Fill, value_raw: int, own: int = 0) -> dict[str, int]:
        """Paise that an order is charged once so much of it has filled. own: brokerage that is told fill by fill."""
        segment, day = segment_of(fill), day_of(fill)
        rates = tariff.rates_on(day, fill.symbol.partition(":")[0], segment)
        side = 0 if fill.side is OrderSide.BUY else 1
        paise = {
            "brokerage": own if self._plan is None else self._plan(day, segment, value_raw),
            "stt": _part(value_raw, rates.stt[side]),
            "transaction": _part(value_raw, rates.transaction[side]),
            "sebi": _part(value_raw, rates.sebi[side]),
            "stamp_duty": _part(value_raw, rates.stamp_duty[side]),
            "dp": self._dp_paisa if segment is Segment.DELIVERY and fill.side is OrderSide.SELL else 0,
        }
        taxed = sum(paise[name] for name in ("brokerage", "transaction", "sebi", "dp"))
        return {**paise, "gst": divide(taxed * rates.gst, _PERCENT)}

    def _own_brokerage(self, fill: Fill) -> int:
        return _paisa(number(self.brokerage(fill), "brokerage")) if callable(self.brokerage) else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndianEquityFees) and (self.brokerage, self.dp) == (other.brokerage, other.dp)

    def __hash__(self) -> int:
        return hash((self.brokerage, self.dp))

    def __repr__(self) -> str:
        dp = "" if self.dp is None else f", dp={self.dp!r}"
        return f"IndianEquityFees(brokerage={self.brokerage!r}{dp})"


def segment_of(fill: Fill) -> Segment:
    """By which rates a fill is charged."""
    kind = fill.instrument.kind
    if kind is InstrumentKind.EQUITY:
        return Segment.DELIVERY if fill.product is Product.CNC else Segment.INTRADAY
    if kind not in (InstrumentKind.FUTURE, InstrumentKind.OPTION):
        raise OrderError(f"IndianEquityFees charges shares, futures and options; {fill.symbol} is of kind {kind}")
    return Segment(kind.value)


def day_of(fill: Fill) -> date:
    """The fill's day in India, whatever zone its account is kept in."""
    return date.fromordinal(_EPOCH + (fill.time_ns + _KOLKATA_NS) // _DAY_NS)


def _part(value_raw: int, rate: int) -> int:
    return divide(value_raw * rate, _PERCENT * _PAISA)


def _paisa(amount: Decimal) -> int:
    return divide(money_raw(amount, "amount"), _PAISA)


def _not_negative(value: Number, what: str) -> Decimal:
    given = number(value, f"IndianEquityFees: {what}")
    if given < 0:
        raise OrderError(f"IndianEquityFees: {what} must not be negative, not {value}")
    return given


Plan = Callable[[date, Segment, int], int]
"""(day, segment, an order's value so far) -> paise of brokerage."""


def _plan(brokerage: Brokerage) -> Plan | None:
    """None where each fill is to be asked for."""
    if isinstance(brokerage, str) and brokerage in tariff.BROKERAGES:
        return lambda day, segment, value_raw: _lesser(*tariff.brokerage_on(day, brokerage, segment), value_raw)
    if isinstance(brokerage, tuple) and brokerage != (None, None):
        flat, percent = brokerage
        for term, what in ((flat, "flat brokerage"), (percent, "brokerage percentage")):
            if term is not None:
                _not_negative(term, what)
        return lambda _day, _segment, value_raw: _lesser(flat, percent, value_raw)
    if callable(brokerage):
        return None
    raise OrderError(
        f"brokerage must be one of {', '.join(map(repr, tariff.BROKERAGES))}, (flat, percent) such as (20, '0.03'), "
        f"or a callable (fill) -> Decimal, not {brokerage!r}"
    )


def _lesser(flat: Number | None, percent: Number | None, value_raw: int) -> int:
    parts = [] if flat is None else [_paisa(number(flat, "brokerage"))]
    if percent is not None:
        parts.append(_percent_of(number(percent, "brokerage"), value_raw))
    return min(parts)


def _percent_of(percent: Decimal, value_raw: int) -> int:
    part, whole = percent.as_integer_ratio()
    return divide(value_raw * part, 100 * whole * _PAISA)
