"""From what a user wrote to raw integers: the arguments of the commands, checked where they were written."""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from math import isnan
from typing import Any, TypedDict, TypeVar, get_args, get_type_hints

from livetrade.core.instruments import Instrument, check_symbol
from livetrade.core.kinds import ExitKind, OrderType, Product, TimeInForce
from livetrade.core.numbers import Number, number, positive
from livetrade.core.values import ExitTerm
from livetrade.errors import OrderError

E = TypeVar("E", bound=StrEnum)
F = TypeVar("F", bound=Callable[..., Any])

_CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,30}")


class MarketTerms(TypedDict, total=False):
    """What every order method takes by keyword, beside its own arguments."""

    stop_loss_price: Number | None
    """Where the stop-loss stands, per unit."""
    take_profit_price: Number | None
    """Where the take-profit stands, per unit."""
    stop_loss_pct: Number | None
    """The stop-loss in percent from the entry price."""
    take_profit_pct: Number | None
    """The take-profit in percent from the entry price."""
    trailing_stop: Number | None
    """How far a trailing stop follows the best price, per unit."""
    trailing_stop_pct: Number | None
    """How far a trailing stop follows the best price, in percent."""
    lots: Number | None
    """How many lots, in place of `quantity`."""
    product: Product | str
    """INTRADAY, CNC or MARGIN. INTRADAY unless given."""
    tag: str
    """Your own word for it, to filter by; at most 200 characters."""
    client_order_id: str | None
    """1 to 30 letters and digits; sent again with the same terms, it answers again and sends nothing."""
    slice: bool
    """True: above the exchange's freeze quantity it is sent in up to 10 orders, in place of being refused."""


class RestingTerms(MarketTerms, total=False):
    time_in_force: TimeInForce | str
    """DAY, IOC or GTC. DAY unless given."""


class PreviewTerms(RestingTerms, total=False):
    order_type: OrderType | str | None
    """MARKET, LIMIT, STOP or STOP_LIMIT; by the prices that are given, unless named."""
    limit_price: Number | None
    """Makes it a limit order."""
    trigger_price: Number | None
    """Makes it a stop order."""


def spelled_out(method: F) -> F:
    """Writes the keywords of `**terms` into the signature that `help()` and completion show."""
    shown = inspect.signature(method)
    *named, terms = shown.parameters.values()
    defaults = {"product": "INTRADAY", "tag": "", "time_in_force": "DAY", "slice": False}
    kind = get_args(terms.annotation)[0]
    spelled = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=hint)
        for name, hint in get_type_hints(kind).items()
    ]
    method.__signature__ = shown.replace(parameters=[*named, *spelled])  # type: ignore[attr-defined]
    return method


class Filters(TypedDict, total=False):
    """What a DataFrame may be narrowed to. since is inclusive, until exclusive; both may be "today"."""

    symbol: str | list[str] | None
    """One symbol or several."""
    strategy: str | list[str] | None
    """One strategy's name or several; `manual` for what a person ordered by hand."""
    tag: str | list[str] | None
    """One tag or several."""
    since: date | datetime | str | None
    """From then on: a date, a `datetime`, a text; `today` works."""
    until: date | datetime | str | None
    """Before then, as `since`."""


def member(kind: type[E], value: object, what: str) -> E:
    if isinstance(value, kind):
        return value
    try:
        return kind(str(value).upper())
    except ValueError:
        raise OrderError(f"{what} must be one of {', '.join(kind)}, not {value!r}") from None


def is_empty(value: object) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise OrderError(f"{what} must be a text of at most 200 characters, not {value!r}")
    return value


def flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise OrderError(f"{what} must be True or False, not {value!r}")
    return value


def optional_symbol(symbol: str | None) -> str | None:
    return None if symbol is None else check_symbol(symbol)


def duration(value: float | timedelta | None, what: str) -> float | None:
    """Seconds, or None for ever."""
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(number(value, what))
    if seconds < 0:
        raise OrderError(f"{what} must not be negative, not {value}")
    return seconds


def client_id(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _CLIENT_ID.fullmatch(value):
        hint = "; give its client_order_id" if hasattr(value, "client_order_id") else ""
        raise OrderError(f"client_order_id must be 1 to 30 letters and digits, not {value!r}{hint}")
    return value


def order_quantity(item: Instrument, quantity: Number | None, lots: Number | None) -> int:
    if (quantity is None) is (lots is None):
        raise OrderError(f"{item.symbol}: give a quantity or lots{', not both' if lots is not None else ''}")
    if lots is None:
        return item.quantity_raw(quantity)  # type: ignore[arg-type]
    count = positive(lots, f"{item.symbol}: lots")
    if count != int(count):
        raise OrderError(f"{item.symbol}: lots must be a whole number, not {lots}")
    return item.quantity_raw(count * item.lot_size)


EXITS = {
    "stop_loss_price": (ExitKind.STOP_LOSS, "price"),
    "stop_loss_pct": (ExitKind.STOP_LOSS, "pct"),
    "take_profit_price": (ExitKind.TAKE_PROFIT, "price"),
    "take_profit_pct": (ExitKind.TAKE_PROFIT, "pct"),
    "trailing_stop": (ExitKind.TRAILING_STOP, "amount"),
    "trailing_stop_pct": (ExitKind.TRAILING_STOP, "pct"),
}


def exit_kind(name: str) -> ExitKind | None:
    """Which exit an argument of that name is about; None where it is about none."""
    return EXITS[name][0] if name in EXITS else None


def exit_terms(item: Instrument, given: Mapping[str, Any]) -> tuple[ExitTerm, ...]:
    unknown = [name for name in given if name not in EXITS]
    if unknown:
        from difflib import get_close_matches

        close = get_close_matches(unknown[0], get_type_hints(PreviewTerms), n=2)
        meant = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise TypeError(f"unknown argument {', '.join(unknown)}{meant}; exits are {', '.join(EXITS)}")
    terms: dict[ExitKind, ExitTerm] = {}
    for name, value in given.items():
        if value is None:
            continue
        kind, how = EXITS[name]
        if kind in terms:
            raise OrderError(f"{item.symbol}: the {kind} is given twice")
        terms[kind] = exit_term(item, kind, **{how: value})
    return tuple(terms.values())


def exit_term(
    item: Instrument,
    kind: ExitKind,
    price: Number | None = None,
    pct: Number | None = None,
    amount: Number | None = None,
) -> ExitTerm:
    if price is not None:
        return ExitTerm(kind, price_raw=item.order_price_raw(price, f"{kind} price"))
    if amount is not None:
        return ExitTerm(kind, amount_raw=item.price_raw(amount, f"{kind} amount"))
    return ExitTerm(kind, pct=positive(pct, f"{item.symbol}: {kind} percentage"))  # type: ignore[arg-type]
