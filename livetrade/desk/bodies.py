"""What a request may say: JSON read strictly, and one table of bodies that is also what OpenAPI shows.

A body is one flat object. Unknown and repeated names, NaN, infinities, floats for a quantity, nesting and wrong
encodings are refused with a sentence, before anything sees them. What the numbers mean is judged where it is for
everybody, by the engine's own methods.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from livetrade.core.kinds import OrderType, Product, TimeInForce
from livetrade.core.records import record
from livetrade.desk.auth import Refused

LONGEST_NUMBER = 64
LONGEST_TEXT = 2_000
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""`Decimal` reads more: underscores, blanks, the digits of every script."""


@record
class Field:
    """One name in a body. kind: "text", "quantity" (an integer or its text), "price" (a number or its text) or "bool".
    choices: the texts that are taken, if not every one."""

    kind: str
    about: str
    required: bool = False
    choices: tuple[str, ...] = ()


Shape = Mapping[str, Field]

_SYMBOL = Field("text", "Such as NSE:SBIN-EQ.", required=True)
_EXITS: Shape = {
    "stop_loss_price": Field("price", "Sells (a long position) once the bid touches this price."),
    "take_profit_price": Field("price", "Sells (a long position) once the bid reaches this price."),
    "stop_loss_pct": Field("price", "A stop-loss so many percent from the entry price."),
    "take_profit_pct": Field("price", "A take-profit so many percent from the entry price."),
    "trailing_stop": Field("price", "A stop that follows the best price at this distance."),
    "trailing_stop_pct": Field("price", "The same, in percent."),
}
ORDER: Shape = {
    "symbol": _SYMBOL,
    "quantity": Field("quantity", "How many; or give lots."),
    "lots": Field("quantity", "How many lots, instead of a quantity."),
    "order_type": Field("text", "MARKET unless named.", choices=tuple(OrderType)),
    "limit_price": Field("price", "Of LIMIT and STOP_LIMIT orders."),
    "trigger_price": Field("price", "Of STOP and STOP_LIMIT orders."),
    "time_in_force": Field("text", "DAY unless named.", choices=tuple(TimeInForce)),
    **_EXITS,
    "product": Field("text", "INTRADAY unless named.", choices=tuple(Product)),
    "tag": Field("text", "Your own word for it, of at most 200 characters."),
    "client_order_id": Field("text", "1 to 30 letters and digits; sent again, it answers again and sends nothing."),
    "slice": Field("bool", "Above the freeze quantity: sent in up to 10 orders, in place of being refused."),
}
PRICE: Shape = {
    "symbol": _SYMBOL,
    "bid": Field("price", "What is left out stays as it was."),
    "ask": Field("price", "What is left out stays as it was."),
    "last": Field("price", "What is left out stays as it was."),
    "volume": Field("quantity", "Of the session so far."),
    "bid_size": Field("quantity", "Shown at the bid."),
    "ask_size": Field("quantity", "Shown at the ask."),
    "time": Field("time", "The source's own time: ISO 8601, or nanoseconds UTC."),
}
CANCEL: Shape = {"client_order_id": Field("text", "Which order.", required=True)}
FLATTEN: Shape = {"symbol": Field("text", "One symbol; all unless named.")}
HALT: Shape = {"reason": Field("text", "Why, for the record; at most 200 characters.")}
RESUME: Shape = {}

# What an attached engine sends beside these.
_STRATEGY: Shape = {"strategy": Field("text", "Whose it is.")}
ATTACHED: Mapping[str, Shape] = {
    "submit": {**ORDER, **_STRATEGY, "side": Field("text", "Which side.", required=True, choices=("BUY", "SELL"))},
    "preview": {**ORDER, **_STRATEGY, "side": Field("text", "Which side.", required=True, choices=("BUY", "SELL"))},
    "modify": {
        **CANCEL,
        "quantity": Field("quantity", "The whole."),
        "limit_price": Field("price", "A new limit."),
        "trigger_price": Field("price", "A new trigger."),
    },
    "cancel": CANCEL,
    "cancel_all": {**FLATTEN, **_STRATEGY},
    "set_stop_loss": {"symbol": _SYMBOL, "price": Field("price", ""), "pct": Field("price", ""), **_STRATEGY},
    "set_take_profit": {"symbol": _SYMBOL, "price": Field("price", ""), "pct": Field("price", ""), **_STRATEGY},
    "set_trailing_stop": {"symbol": _SYMBOL, "amount": Field("price", ""), "pct": Field("price", ""), **_STRATEGY},
    "close_position": {"symbol": _SYMBOL, "quantity": Field("quantity", "")},
    "flatten": FLATTEN,
    "settle": {"symbol": _SYMBOL, "price": Field("price", "", required=True)},
    "halt": HALT,
    "resume": RESUME,
    "transfer": {"amount": Field("price", "", required=True)},
    "why": CANCEL,
    "levels": {"symbol": _SYMBOL},
    "update": PRICE,
    "register": {"instrument": Field("text", "", required=True)},
    "shutdown": {"force": Field("bool", "")},
}
"""What an attached engine may send over its WebSocket: the engine's methods, and what else a desk does."""


def read_json(data: bytes) -> Any:
    """JSON as strictly as it is meant; numbers with a point are `Decimal`. Raises `Refused` with status 400."""
    try:
        text = data.decode("utf-8")
        return json.loads(
            text, parse_constant=_no_number, parse_float=_decimal, parse_int=_integer, object_pairs_hook=_object
        )
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None
    except RecursionError:
        raise Refused(400, "the body is nested too deeply; it is one flat object") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {_short(error)}") from None


def _no_number(name: str) -> Any:
    raise Refused(400, f"{name} is no number in JSON")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(_bounded(text))
    except InvalidOperation:
        raise Refused(400, f"{text} is out of range") from None


def _integer(text: str) -> int:
    return int(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > LONGEST_NUMBER:
        raise Refused(400, f"a number of {len(text)} characters is too long")
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise Refused(400, f"{_short(twice)} is given twice")
    return found


def body_of(data: bytes, shape: Shape) -> dict[str, Any]:
    """The body of a request, by its shape; an empty one is an empty object. Raises `Refused`."""
    return checked(read_json(data) if data.strip() else {}, shape)


def checked(found: object, shape: Shape) -> dict[str, Any]:
    """The values that are there; null is the same as absent. Raises `Refused` with status 422."""
    if not isinstance(found, dict):
        raise Refused(422, "the body must be a JSON object")
    known = ", ".join(shape) or "nothing"
    for name in found:
        if name not in shape:
            raise Refused(422, f"unknown field {_short(name)}; known are {known}")
    body = {name: _value(name, value, shape[name]) for name, value in found.items() if value is not None}
    for name, field in shape.items():
        if field.required and name not in body:
            raise Refused(422, f"{name} is missing")
    return body


def _value(name: str, value: Any, field: Field) -> Any:
    takes, told = _KINDS[field.kind]
    if type(value) not in takes:
        raise Refused(422, f"{name} must be {told}, not {_short(value)}")
    if isinstance(value, str):
        _check_text(name, value, field)
    return value


def _check_text(name: str, value: str, field: Field) -> None:
    if len(value) > LONGEST_TEXT:
        raise Refused(422, f"{name} is too long: {len(value):,} characters")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Refused(422, f"{name} holds characters that no text has")
    if field.choices and value.upper() not in field.choices:
        raise Refused(422, f"{name} must be one of {', '.join(field.choices)}, not {_short(value)}")
    if field.kind in ("quantity", "price") and (len(value) > LONGEST_NUMBER or not _NUMBER.fullmatch(value)):
        raise Refused(422, f"{name} must be {_KINDS[field.kind][1]}, not {_short(value)}")


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "a text"),
    "quantity": ((int, str), "a whole number or its text"),
    "price": ((int, Decimal, str), "a number or its text"),
    "time": ((int, str), "ISO 8601 or nanoseconds UTC"),
    "bool": ((bool,), "true or false"),
}


def _short(value: object) -> str:
    return f"{str(value)[:80]!r}" if isinstance(value, str) else str(value)[:80]


# ── as OpenAPI shows it ──────────────────────────────────────────────────────────────────────────────────────────────

_TYPES = {
    "text": ["string"],
    "quantity": ["integer", "string"],
    "price": ["number", "string"],
    "time": ["string", "integer"],
    "bool": ["boolean"],
}


def schema_of(shape: Shape) -> dict[str, Any]:
    """A shape as a JSON schema."""
    properties = {name: _property(field) for name, field in shape.items()}
    required = [name for name, field in shape.items() if field.required]
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _property(field: Field) -> dict[str, Any]:
    """What may be left out may be null."""
    null: list[Any] = [] if field.required else [None]
    choices = {"enum": [*field.choices, *null]} if field.choices else {}
    return {"type": [*_TYPES[field.kind], *("null" for _ in null)], **choices, "description": field.about}
