"""What is traded: symbols, and each instrument's scales, grids and contract terms."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, date, tzinfo
from decimal import Decimal

from livetrade.core.kinds import InstrumentKind
from livetrade.core.numbers import EXACT, MAX_RAW, MONEY_SCALE, Number, number, positive, scaled, to_decimal
from livetrade.errors import OrderError, PriceError

_FLOAT32_EPSILON = Decimal(2) ** -24
_SYMBOL = re.compile(r"(?:[A-Z0-9_]{2,16}:)?[A-Za-z0-9][A-Za-z0-9&_.\-/^$]{0,47}")
MAX_SCALE = 12
_INDIAN = ("NSE:", "BSE:", "MCX:")


def check_symbol(symbol: object) -> str:
    """The symbol itself, or an `OrderError` that shows what one looks like."""
    if not isinstance(symbol, str):
        raise OrderError(f"a symbol is text such as 'NSE:SBIN-EQ', not {type(symbol).__name__}")
    if symbol.upper().startswith(_INDIAN) and symbol != symbol.upper():
        raise OrderError(f"malformed symbol {symbol!r}: did you mean {symbol.upper()!r}?")
    if not _SYMBOL.fullmatch(symbol):
        raise OrderError(f"malformed symbol {symbol!r}: write EXCHANGE:NAME such as 'NSE:SBIN-EQ', or 'BTCUSDT'")
    return symbol


def doubted(symbol: str, known: Iterable[str]) -> str:
    """What may be wrong with a symbol that is not among the known ones; empty where nothing is."""
    meant = namesake(symbol, known)
    if meant:
        return f"did you mean {meant}?"
    return "" if ":" in symbol else "symbols of an exchange are written EXCHANGE:NAME, such as NSE:SBIN-EQ"


def namesake(symbol: str, known: Iterable[str]) -> str:
    """The known symbol that may have been meant: NSE:SBIN-EQ by SBIN, sbin or NSE:SBIN. Empty where there is none."""
    exchange, names = _names(symbol)
    alike = (other for other in known if exchange in ("", _names(other)[0]) and names & _names(other)[1])
    return min(alike, default="")


def _names(symbol: str) -> tuple[str, set[str]]:
    """A symbol's exchange, and its name with the series and without."""
    exchange, _, name = symbol.upper().rpartition(":")
    return exchange, {name, name.rpartition("-")[0] or name}


def _check_scales(symbol: str, *scales: object) -> None:
    if not all(isinstance(scale, int) and 0 <= scale <= MAX_SCALE for scale in scales):
        told = " and ".join(map(repr, scales))
        raise OrderError(f"{symbol}: scale and quantity_scale must be 0 to {MAX_SCALE}, not {told}")


def _check_option_type(symbol: str, option_type: object) -> None:
    if option_type not in (None, "CE", "PE"):
        raise OrderError(f"{symbol}: option_type must be 'CE' or 'PE', not {option_type!r}")


@dataclass(frozen=True, slots=True, init=False)
class Instrument:
    """What is traded: its decimal scales, tick, lot and contract terms.

    scale, quantity_scale: decimals of a price and of a quantity. tick_size: the price grid; None means every price on
    the scale. lot_size: quantities are multiples of it. multiplier: value = price x quantity x multiplier.
    freeze_quantity: the exchange's largest single order. expiry, strike, option_type ("CE" or "PE"): derivatives; an
    expiry is a date or its ISO text, and of a datetime its date.

    Raises `OrderError` for a malformed symbol and for terms that contradict each other.
    """

    symbol: str
    """Such as `NSE:SBIN-EQ`."""
    kind: InstrumentKind
    """EQUITY, FUTURE, OPTION, INDEX, CURRENCY or CRYPTO."""
    scale: int
    """How many decimals a price has."""
    tick_size: Decimal | None
    """The price grid; None where every price on the scale will do."""
    lot_size: Decimal
    """Quantities are multiples of it."""
    quantity_scale: int
    """How many decimals a quantity has."""
    multiplier: Decimal
    """Value is price x quantity x multiplier."""
    freeze_quantity: Decimal | None
    """The largest single order that the exchange takes; None where it takes any."""
    expiry: date | None
    """The last day that a derivative trades; None for what never expires."""
    strike: Decimal | None
    """The strike of an option; None for all else."""
    option_type: str | None
    """CE or PE of an option; None for all else."""
    currency: str
    """What prices are in."""
    zone: tzinfo = field(repr=False, compare=False)
    unit: int = field(repr=False, compare=False)
    """Raw money of one raw price times one raw quantity; always even, so that a mid is exact too."""
    twice: int = field(repr=False, compare=False)
    """What the sum of a bid and an ask of 1 is in raw prices: a sum divided by it is their mid."""
    tick_raw: int = field(repr=False, compare=False)
    lot_raw: int = field(repr=False, compare=False)
    freeze_raw: int = field(repr=False, compare=False)
    """The largest quantity of one order that the exchange takes, in whole lots; 0 where it takes any."""

    def __init__(
        self,
        symbol: str,
        *,
        kind: InstrumentKind | str = "EQUITY",
        scale: int = 2,
        tick_size: Number | None = None,
        lot_size: Number = 1,
        quantity_scale: int = 0,
        multiplier: Number = 1,
        freeze_quantity: Number | None = None,
        expiry: date | str | None = None,
        strike: Number | None = None,
        option_type: str | None = None,
        currency: str = "INR",
        zone: tzinfo = UTC,
    ) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("symbol", check_symbol(symbol))
        if kind not in InstrumentKind.__members__:
            raise OrderError(f"{symbol}: kind must be one of {', '.join(InstrumentKind)}, not {kind!r}")
        _check_scales(symbol, scale, quantity_scale)
        _check_option_type(symbol, option_type)
        factor = positive(multiplier, f"{symbol}: multiplier")
        unit = scaled(factor, MONEY_SCALE - 1 - scale - quantity_scale)
        if not unit:
            raise OrderError(f"{symbol}: multiplier {factor} has too many decimals for scale {scale}+{quantity_scale}")
        tick = None if tick_size is None else positive(tick_size, f"{symbol}: tick_size")
        lot = positive(lot_size, f"{symbol}: lot_size")
        tick_raw = 1 if tick is None else scaled(tick, scale)
        # a lot of one unit says nothing about fractions of a unit
        lot_raw = 1 if lot == 1 else scaled(lot, quantity_scale)
        if not tick_raw:
            raise OrderError(f"{symbol}: tick_size {tick} is finer than scale={scale}")
        if not lot_raw:
            raise OrderError(f"{symbol}: lot_size {lot} is finer than quantity_scale={quantity_scale}")
        put("kind", InstrumentKind(kind))
        put("scale", scale)
        put("tick_size", tick)
        put("lot_size", lot)
        put("quantity_scale", quantity_scale)
        put("multiplier", factor)
        freeze = None if freeze_quantity is None else positive(freeze_quantity, f"{symbol}: freeze_quantity")
        put("freeze_quantity", freeze)
        put("expiry", _expiry_day(symbol, expiry))
        put("strike", None if strike is None else positive(strike, f"{symbol}: strike"))
        put("option_type", option_type)
        put("currency", currency)
        put("zone", zone)
        put("unit", unit * 10)
        put("twice", 2 * 10**scale)
        put("tick_raw", tick_raw)
        put("lot_raw", lot_raw)
        most = 0 if freeze is None else int(EXACT.scaleb(freeze, quantity_scale))
        put("freeze_raw", 0 if freeze is None else max(most - most % lot_raw, lot_raw))

    def in_zone(self, zone: tzinfo) -> "Instrument":
        """The same instrument, whose times read in `zone`."""
        if zone is self.zone:
            return self
        terms = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        return Instrument(**terms, zone=zone)

    def price(self, raw: int) -> Decimal:
        """What an integer on the scale of prices means."""
        return to_decimal(raw, self.scale)

    def quantity(self, raw: int) -> Decimal:
        """What an integer on the scale of quantities means."""
        return to_decimal(raw, self.quantity_scale)

    def price_raw(self, value: Number, what: str = "price") -> int:
        """A price on this scale. A float, or a text that leaked from one, snaps to the price that explains it.

        Raises `PriceError` with the reason: zero, negative, not a number, infinite, off the scale, out of range.
        """
        given = positive(value, f"{self.symbol}: {what}")
        raw = scaled(given, self.scale)
        if raw is None and not isinstance(value, int | Decimal):
            nearest = int(EXACT.to_integral_value(EXACT.scaleb(given, self.scale)))
            if nearest and abs(to_decimal(nearest, self.scale) - given) <= given * _FLOAT32_EPSILON:
                raw = nearest
        if raw is None:
            raise PriceError(
                "off_scale",
                f"{self.symbol}: {what} {value} is finer than its {self.scale} decimals; "
                f"if that is right, register Instrument({self.symbol!r}, scale={-given.as_tuple().exponent})",  # type: ignore[operator]
            )
        if raw > MAX_RAW:
            raise PriceError("out_of_range", f"{self.symbol}: {what} {value} is out of range")
        return raw

    def order_price_raw(self, value: Number, what: str) -> int:
        """A price that may stand in an order: on the scale and on the tick grid. Raises `OrderError`."""
        raw = self.price_raw(value, what)
        below = raw - raw % self.tick_raw
        if raw != below:
            near = " or ".join(str(self.price(p)) for p in (below, below + self.tick_raw) if p)
            raise OrderError(
                f"{self.symbol}: {what} {value} is off the tick of {self.tick_size}; {near} would be on it"
            )
        return raw

    def quantity_raw(self, value: Number, what: str = "quantity") -> int:
        """A quantity that may stand in an order: above zero, on the scale, in whole lots. Raises `OrderError`."""
        given = positive(value, f"{self.symbol}: {what}")
        raw = scaled(given, self.quantity_scale)
        if raw is None:
            if not self.quantity_scale:
                raise OrderError(f"{self.symbol}: {what} must be a whole number, not {value}")
            raise OrderError(f"{self.symbol}: {what} {value} is finer than its {self.quantity_scale} decimals")
        below = raw - raw % self.lot_raw
        if raw != below:
            near = " or ".join(str(self.quantity(q)) for q in (below, below + self.lot_raw) if q)
            raise OrderError(
                f"{self.symbol}: {what} {value} is not a multiple of the lot of {self.lot_size}; use {near}"
            )
        if raw > MAX_RAW:
            raise OrderError(f"{self.symbol}: {what} {value} is out of range")
        return raw

    def size_raw(self, value: Number, what: str = "size") -> int | None:
        """A size or a volume that a tick shows: zero is one, and one finer than the quantities' scale is taken as not
        given (None), for the prices beside it are still good.

        Raises `PriceError` with the reason: negative, not a number, infinite, out of range.
        """
        size = number(value, f"{self.symbol}: {what}")
        if size < 0:
            raise PriceError("negative", f"{self.symbol}: {what} is negative: {value}")
        raw = scaled(size, self.quantity_scale)
        if raw is not None and raw > MAX_RAW:
            raise PriceError("out_of_range", f"{self.symbol}: {what} {value} is out of range")
        return raw

    def expired(self, day: str) -> bool:
        """Whether it trades no more on an ISO day."""
        return self.expiry is not None and f"{self.expiry:%Y-%m-%d}" < day

    def value_raw(self, price_raw: int, quantity_raw: int) -> int:
        """Raw money: price x quantity x multiplier, exact."""
        return price_raw * quantity_raw * self.unit


def _expiry_day(symbol: str, expiry: date | str | None) -> date | None:
    if expiry is None:
        return None
    try:
        if isinstance(expiry, date):
            return date(expiry.year, expiry.month, expiry.day)  # of a datetime, which is one too, its date alone
        return date.fromisoformat(expiry)
    except (TypeError, ValueError):
        raise OrderError(f"{symbol}: expiry is a date, or a text such as '2026-03-26', not {expiry!r}") from None


def default_instrument(symbol: str, zone: tzinfo = UTC) -> Instrument:
    """What an unknown symbol is taken for: an Indian one in paise and whole shares, anything else with 8 decimals."""
    check_symbol(symbol)
    if symbol.startswith(_INDIAN):
        kind = InstrumentKind.INDEX if symbol.endswith("-INDEX") else InstrumentKind.EQUITY
        return Instrument(symbol, kind=kind, zone=zone)
    return Instrument(symbol, kind=InstrumentKind.CRYPTO, scale=8, quantity_scale=8, zone=zone)
