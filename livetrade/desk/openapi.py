"""The desk's routes as OpenAPI 3.1, made of the table of bodies, and the same as a page to read."""

import html
from functools import cache
from typing import Any

from livetrade import frames
from livetrade.desk import bodies
from livetrade.portfolio import PNL_FIELDS
from livetrade.version import __version__

Schema = dict[str, Any]

_TEXT: Schema = {"type": ["string", "null"]}
_MONEY: Schema = {"type": "string", "description": "An exact decimal."}


def _row(index: str, columns: Any) -> Schema:
    return {"type": "object", "properties": dict.fromkeys((index, *columns), _TEXT), "required": [index]}


_SCHEMAS: dict[str, Schema] = {
    "Order": _row("client_order_id", frames.ORDERS),
    "Position": _row("symbol", frames.POSITIONS),
    "RiskOrder": _row("risk_id", frames.RISK_ORDERS),
    "Answer": {
        "type": "object",
        "properties": {
            "success": {"type": "boolean", "description": "It did what was asked."},
            "message": {"type": "string", "description": "One sentence."},
            "order": {"anyOf": [{"$ref": "#/components/schemas/Order"}, {"type": "null"}]},
        },
        "required": ["success", "message"],
    },
    "Portfolio": {
        "type": "object",
        "properties": {
            **dict.fromkeys(PNL_FIELDS, _MONEY),
            **{name: {"type": "string"} for name in ("currency", "name", "mode", "as_of")},
            "seq": {"type": "integer"},
        },
        "required": list(PNL_FIELDS),
    },
    "Quote": {
        "type": "object",
        "properties": {
            **dict.fromkeys(("symbol", "bid", "ask", "last", "volume", "bid_size", "ask_size"), _TEXT),
            **{name: {"type": "integer", "description": "Nanoseconds UTC."} for name in ("time_ns", "received_ns")},
        },
    },
    "Updated": {
        "type": "object",
        "properties": {
            "success": {"type": "boolean"},
            "message": {"type": "string"},
            "quote": {"anyOf": [{"$ref": "#/components/schemas/Quote"}, {"type": "null"}]},
        },
        "required": ["success", "message", "quote"],
    },
    "Health": {"type": "object"},
}

_LIMIT = ("limit", {"type": "integer", "minimum": 1, "maximum": 5000, "default": 1000}, "Rows at the most.")
_AFTER = ("after", {"type": "string"}, "The index of the last row of the page before.")
_SYMBOL = ("symbol", {"type": "string"}, "One symbol only.")
_OPEN = ("open", {"type": "boolean"}, "Only orders that may still fill.")
_CLOSED = ("closed", {"type": "boolean"}, "What was held before too.")
_KEY = ("Idempotency-Key", {"type": "string", "maxLength": 200}, "Sent again with it, a request is done once.")


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _response(about: str, schema: Schema) -> Schema:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


_ERRORS = {
    "400": "not JSON, or a header that cannot be",
    "401": "no token, or a wrong one",
    "403": "another host, origin or site",
    "408": "the body came too slowly",
    "413": "more than 64 KiB",
    "431": "headers of more than 16 KiB",
    "422": "refused: bad input, or the account's own refusal; the message says which",
    "503": "the engine is closed, or too many requests are worked on",
}


def _responses(ok: Schema, *, order: bool = False) -> Schema:
    given = {"200": _response("Done.", ok)}
    if order:
        given["202"] = _response("Not confirmed yet; do not send it again.", _ref("Answer"))
        given["415"] = _response("not application/json", _ref("Answer"))
        given["429"] = _response("too many requests; Retry-After says when", _ref("Answer"))
    return {**given, **{status: _response(about, _ref("Answer")) for status, about in _ERRORS.items()}}


def _get(summary: str, ok: Schema, *parameters: Any) -> Schema:
    return {
        "get": {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "query", "schema": schema, "description": about}
                for name, schema, about in parameters
            ],
            "responses": _responses(ok),
        }
    }


def _post(summary: str, shape: bodies.Shape, *, empty: bool = False) -> Schema:
    name, schema, about = _KEY
    operation = {
        "summary": summary,
        "parameters": [{"name": name, "in": "header", "schema": schema, "description": about}],
        "requestBody": {
            "required": not empty,
            "content": {"application/json": {"schema": bodies.schema_of(shape)}},
        },
        "responses": _responses(_ref("Answer"), order=True),
    }
    return {"post": operation}


def _table(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


@cache
def document(api: str) -> Schema:
    """The OpenAPI document."""
    price = _post("Posts prices; only on a desk without a feed of its own (else 409).", bodies.PRICE)
    price["post"]["parameters"] = []  # posted twice, a price is what it was
    del price["post"]["responses"]["202"]
    price["post"]["responses"]["200"] = _response("Taken.", _ref("Updated"))
    price["post"]["responses"]["409"] = _response("the desk has a feed of its own", _ref("Answer"))
    paths = {
        f"{api}/buy": _post("Buys; at the market unless order_type says otherwise.", bodies.ORDER),
        f"{api}/sell": _post("Sells; at the market unless order_type says otherwise.", bodies.ORDER),
        f"{api}/portfolio": _get("Money, exactly.", _ref("Portfolio")),
        f"{api}/positions": _get("What is held.", _table("Position"), _LIMIT, _AFTER, _SYMBOL, _CLOSED),
        f"{api}/orders": _get("Orders, by when they first came.", _table("Order"), _LIMIT, _AFTER, _SYMBOL, _OPEN),
        f"{api}/risk-orders": _get(
            "Stops and targets, finished ones too.", _table("RiskOrder"), _LIMIT, _AFTER, _SYMBOL
        ),
        f"{api}/update-price": price,
        f"{api}/health": _get("How the engine is.", _ref("Health")),
        f"{api}/cancel": _post("Cancels a working order.", bodies.CANCEL),
        f"{api}/flatten": _post("Cancels and closes everything, or one symbol.", bodies.FLATTEN, empty=True),
        f"{api}/halt": _post("Refuses opening orders from now on; exits stay armed.", bodies.HALT, empty=True),
        f"{api}/resume": _post("Ends a halt.", bodies.RESUME, empty=True),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "livetrade desk",
            "version": __version__,
            "description": (
                "An engine in a process of its own. Money, prices and quantities are texts, so that they stay exact. "
                f"The WebSocket {api}/stream sends a snapshot, then every event with its number (`seq`, without a gap) "
                "and ticks as fast as they are taken."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def reference(described: Schema) -> str:
    """The document as a page, without a script."""
    parts = [
        f"<h1>{html.escape(described['info']['title'])}</h1><p>{html.escape(described['info']['description'])}</p>"
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(operation['summary'])}</p>"
            )
            parts.append(_fields(operation))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>livetrade desk</title>'
        "<style>body{font:15px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td{padding:.1rem .8rem .1rem 0;vertical-align:top}</style>"
    )
    body = f'{"".join(parts)}<p><a href="/openapi.json">openapi.json</a></p>'
    return f'<!doctype html><html lang="en">{head}<body>{body}'


def _fields(operation: Schema) -> str:
    rows = [(given["name"], given["schema"], given["description"]) for given in operation.get("parameters", [])]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        rows += [(name, field, field.get("description", "")) for name, field in schema["properties"].items()]
    lines = [
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(_type(schema))}<td>{html.escape(about)}"
        for name, schema, about in rows
    ]
    return f"<table>{''.join(lines)}</table>" if lines else ""


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(choice for choice in schema["enum"] if choice is not None)
    kind = schema["type"]
    return kind if isinstance(kind, str) else " or ".join(each for each in kind if each != "null")
