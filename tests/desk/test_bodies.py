"""Bad input gets a clear 4xx: never a 5xx, never a hang, never a changed account."""

import json
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade.desk import bodies
from livetrade.desk.auth import Bounds, Refused
from livetrade.desk.bodies import body_of, read_json
from livetrade.desk.desk import Desk
from tests.desk.asking import API, asking
from tests.desk.kit import serving
from tests.support import FREE, INFY, SBIN, picture_of, quoted, trading

SHAPES = {
    "buy": bodies.ORDER,
    "sell": bodies.ORDER,
    "update-price": bodies.PRICE,
    "cancel": bodies.CANCEL,
    "flatten": bodies.FLATTEN,
    "halt": bodies.HALT,
    "resume": bodies.RESUME,
}
UNBOUND = Bounds(per_second=1e9, burst=1e9)


@pytest.fixture(scope="module")
def no_engine_is_left() -> None:
    """One engine serves the module."""


@pytest.fixture(scope="module")
def engine() -> Iterator[lt.LiveTradingEngine]:
    """Something is held, protected, and working."""
    with trading(10**12, quoted(), fees=FREE, limits=lt.Limits(allow_short=True)) as engine:
        engine.market_buy(SBIN, 100, stop_loss_price="545.00", take_profit_price="560.00").result(30)
        engine.limit_buy(SBIN, 10, "500.00", time_in_force="GTC", client_order_id="resting").result(30)
        yield engine


@pytest.fixture(scope="module")
def desk(engine: lt.LiveTradingEngine) -> Iterator[Desk]:
    with serving(engine, bounds=UNBOUND) as desk:
        yield desk


@pytest.fixture(scope="module")
def client(desk: Desk) -> Iterator[httpx.Client]:
    with asking(desk) as client:
        yield client


def post(client: httpx.Client, route: str, content: bytes, kind: str = "application/json") -> httpx.Response:
    return client.post(f"{API}/{route}", content=content, headers={"Content-Type": kind})


def check_form(route: str, answer: httpx.Response) -> dict[str, Any]:
    """Whatever was sent, the answer has its form."""
    told: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(told["success"], bool)
    assert isinstance(told["message"], str)
    assert told["message"].isprintable()
    assert len(told["message"]) < 4_000
    if route != "update-price" or not told["success"]:
        assert told["order"] is None or told["order"]["client_order_id"]
    assert (answer.status_code == 200) is told["success"]
    assert answer.status_code in (200, 202, 400, 415, 422)
    return told


# ── what a body may not be ───────────────────────────────────────────────────────────────────────────────────────────

BUY = '{"symbol":"NSE:SBIN-EQ","quantity":1'
NOT_JSON = {
    "empty text": b'""',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "a list": b"[]",
    "a list of one": b'[{"symbol":"NSE:SBIN-EQ","quantity":1}]',
    "cut off": b'{"symbol":"NSE:SBIN-EQ"',
    "cut off in a text": b'{"symbol":"NSE:SB',
    "two": b"{}{}",
    "more behind it": b"{} x",
    "a comma too many": b'{"symbol":"NSE:SBIN-EQ",}',
    "single quotes": b"{'symbol':'NSE:SBIN-EQ'}",
    "a comment": b'{"symbol":"NSE:SBIN-EQ" /* x */}',
    "words": b"buy 100",
    "a form": b"symbol=NSE:SBIN-EQ&quantity=1",
    "a control character": b'{"symbol":"NSE:\x01SBIN-EQ","quantity":1}',
    "a NUL": b'{"symbol":"NSE:SBIN-EQ\x00","quantity":1}',
    "only NUL": b"\x00" * 20,
    "a byte-order mark": b"\xef\xbb\xbf" + (BUY + "}").encode(),
    "UTF-16": (BUY + "}").encode("utf-16"),
    "UTF-16 without a mark": (BUY + "}").encode("utf-16-le"),
    "UTF-32": (BUY + "}").encode("utf-32"),
    "Latin-1": (BUY + ',"tag":"é"}').encode("latin-1"),
    "a surrogate in UTF-8": (BUY + ',"tag":"').encode() + b'\xed\xa0\x80"}',
    "overlong UTF-8": (BUY + ',"tag":"').encode() + b'\xc0\xaf"}',
    "lists in lists": b"[" * 30_000,
    "closed lists in lists": b"[" * 30_000 + b"]" * 30_000,
    "objects in objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep in a field": b'{"symbol":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("route", SHAPES)
def test_what_is_no_object_is_refused(
    client: httpx.Client, engine: lt.LiveTradingEngine, route: str, body: bytes
) -> None:
    before = picture_of(engine)
    answer = post(client, route, body)
    check_form(route, answer)
    assert answer.status_code in (400, 422)
    assert picture_of(engine) == before


WRONG_TOKENS = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "a float": "1.5",
    "a whole float": "1.0",
    "an exponent": "1e2",
    "a huge exponent": "1e999999999",
    "an exponent beyond Decimal": "1e9999999999999999999",
    "a tiny exponent beyond Decimal": "1e-9999999999999999999",
    "a zero of a huge exponent": "0e999999999",
    "5,000 digits": "9" * 5_000,
    "5,000 decimals": "0." + "1" * 5_000,
    "60,000 digits": "1" * 60_000,
    "64 digits": "9" * 64,
    "beyond 64 bits": str(2**63),
    "zero": "0",
    "minus zero": "-0",
    "negative": "-1",
    "a plus": "+1",
    "leading zeros": "007",
    "hexadecimal": "0x10",
    "octal": "0o10",
    "an underscore": "1_000",
    "true": "true",
    "false": "false",
    "a list": "[1]",
    "an object": '{"value":1}',
    "an empty text": '""',
    "a blank": '" "',
    "NaN as text": '"NaN"',
    "sNaN as text": '"sNaN"',
    "Infinity as text": '"Infinity"',
    "inf as text": '"-inf"',
    "a huge exponent as text": '"1e999999999"',
    "an exponent beyond Decimal as text": '"1e99999999999999999999"',
    "5,000 digits as text": f'"{"9" * 5_000}"',
    "blanks around": '" 1 "',
    "a line break": '"1\\n"',
    "an underscore as text": '"1_000"',
    "a comma": '"1,000"',
    "other digits": '"१०"',
    "full width": '"\uff11"',
    "hexadecimal as text": '"0x10"',
    "a word": '"ten"',
    "a NUL": '"1\\u0000"',
    "a lone surrogate": '"\\ud800"',
    "zero as text": '"0"',
    "negative as text": '"-1"',
    "a currency": '"₹100"',
}


@pytest.mark.parametrize("token", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
def test_a_quantity_is_a_whole_number_or_its_text(
    client: httpx.Client, engine: lt.LiveTradingEngine, token: str
) -> None:
    before = picture_of(engine)
    for side, name in (("buy", "quantity"), ("sell", "quantity"), ("buy", "lots")):
        answer = post(client, side, f'{{"symbol":"{SBIN}","{name}":{token}}}'.encode())
        check_form(side, answer)
        assert answer.status_code in (400, 422)
    assert picture_of(engine) == before


PRICES = ["limit_price", "trigger_price", "stop_loss_price", "stop_loss_pct", "trailing_stop", "trailing_stop_pct"]
GOOD_PRICES = ("a float", "a whole float", "an exponent")


@pytest.mark.parametrize("token", WRONG_TOKENS, ids=WRONG_TOKENS)
def test_a_price_is_a_number_or_its_text(client: httpx.Client, engine: lt.LiveTradingEngine, token: str) -> None:
    before = picture_of(engine, refusals=False)
    for name in PRICES:
        answer = post(client, "buy", f'{BUY},"{name}":{WRONG_TOKENS[token]}}}'.encode())
        if token not in GOOD_PRICES or name in ("limit_price", "trigger_price"):  # which a market order has not
            check_form("buy", answer)
            assert answer.status_code in (400, 422)
    if token not in GOOD_PRICES:
        assert picture_of(engine, refusals=False) == before


@pytest.mark.parametrize("token", [token for name, token in WRONG_TOKENS.items() if name not in GOOD_PRICES])
def test_a_posted_price_is_a_number_or_its_text(client: httpx.Client, engine: lt.LiveTradingEngine, token: str) -> None:
    before, quote = picture_of(engine), engine.stream.last(SBIN)
    for name in ("bid", "ask", "last"):
        answer = post(client, "update-price", f'{{"symbol":"{SBIN}","{name}":{token}}}'.encode())
        check_form("update-price", answer)
        assert answer.status_code in (400, 422)
    assert picture_of(engine) == before
    assert engine.stream.last(SBIN) == quote


WRONG_FIELDS = {
    "an unknown one": '"qty":1',
    "the side": '"side":"SELL"',
    "the strategy": '"strategy":"somebody"',
    "another case": '"Symbol":"NSE:SBIN-EQ"',
    "__class__": '"__class__":"x"',
    "an empty name": '"":1',
    "given twice": '"quantity":1',
    "given twice, escaped": '"\\u0071uantity":1',
    "given twice as null": '"quantity":null',
    "a symbol twice": '"symbol":"NSE:INFY-EQ"',
    "a list for a text": '"tag":["a"]',
    "a number for a text": '"tag":5',
    "a long tag": f'"tag":"{"x" * 201}"',
    "a longer tag": f'"tag":"{"x" * 60_000}"',
    "a lone surrogate": '"tag":"\\ud800"',
    "a NUL": '"tag":"a\\u0000b"',
    "an unknown product": '"product":"SWING"',
    "an unknown type": '"order_type":"ICEBERG"',
    "an unknown time": '"time_in_force":"FOREVER"',
    "a limit order without a limit": '"order_type":"LIMIT"',
    "a stop order without a trigger": '"order_type":"STOP"',
    "a limit for a market order": '"limit_price":500',
    "an id with a blank": '"client_order_id":"a b"',
    "an id with a path": '"client_order_id":"../../etc/passwd"',
    "an id of 31": f'"client_order_id":"{"x" * 31}"',
    "an empty id": '"client_order_id":""',
    "an id with a line break": '"client_order_id":"a\\nb"',
    "an id of other letters": '"client_order_id":"ідентифікатор"',
    "both lots and a quantity": '"lots":1',
    "two stops": '"stop_loss_price":500,"stop_loss_pct":1',
    "a stop on the wrong side": '"stop_loss_price":600',
    "finer than the scale": '"stop_loss_price":500.001',
}


@pytest.mark.parametrize("more", WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_field_refuses_the_order(client: httpx.Client, engine: lt.LiveTradingEngine, more: str) -> None:
    before = picture_of(engine, refusals=False)
    answer = post(client, "buy", f"{BUY},{more}}}".encode())
    check_form("buy", answer)
    assert answer.status_code in (400, 422)
    assert picture_of(engine, refusals=False) == before


SYMBOLS = ["", " ", "NSE:", ":", "nse:SBIN-EQ", "NSE:SBIN-EQ ", "NSE:SBIN-EQ\n", "NSE:SBIN-EQ\u0000", "../x", "<b>"]
SYMBOLS += ["é", "NSE:SBIN-EQ\r\nX: y", "NSE:NIFTY50-INDEX", "A" * 200, "A" * 60_000, "${jndi:ldap://x}", "' OR 1=1 --"]


@pytest.mark.parametrize("symbol", SYMBOLS, ids=[ascii(symbol[:20]) for symbol in SYMBOLS])
def test_a_wrong_symbol_is_refused_everywhere(client: httpx.Client, engine: lt.LiveTradingEngine, symbol: str) -> None:
    before, known = picture_of(engine), len(engine.stream.instruments())
    index = symbol.endswith("-INDEX")
    for route in ("buy", "sell", *(() if index else ("update-price", "flatten"))):
        fields = {"buy": {"quantity": 1}, "sell": {"quantity": 1}, "update-price": {"last": 1}, "flatten": {}}[route]
        answer = client.post(f"{API}/{route}", json={"symbol": symbol, **fields})
        check_form(route, answer)
        assert answer.status_code == 422
    assert picture_of(engine) == before
    assert len(engine.stream.instruments()) == known + index


KINDS = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"]
KINDS += ["application/xml", "application/jsonp", "application/json, text/plain", "json", "*/*", "application/json+x"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("route", SHAPES)
def test_a_body_is_json_by_its_header_too(
    client: httpx.Client, engine: lt.LiveTradingEngine, route: str, kind: str
) -> None:
    before = picture_of(engine)
    answer = post(client, route, b'{"symbol":"NSE:SBIN-EQ"}', kind)
    check_form(route, answer)
    assert answer.status_code == 415
    assert picture_of(engine) == before


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"])
def test_json_may_be_named_in_other_words(client: httpx.Client, kind: str) -> None:
    assert post(client, "resume", b"{}", kind).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{}", b" \r\n\t", b" {} "])
def test_an_empty_body_asks_for_nothing_in_particular(client: httpx.Client, body: bytes) -> None:
    assert post(client, "resume", body).status_code == 200
    assert (post(client, "buy", body).status_code, post(client, "buy", body).json()["message"]) == (
        422,
        "symbol is missing",
    )


def test_null_is_the_same_as_absent(client: httpx.Client) -> None:
    for shape in SHAPES.values():
        for name, schema in bodies.schema_of(shape)["properties"].items():
            assert ("null" in schema["type"]) is (not shape[name].required)
    assert client.post(f"{API}/flatten", json={"symbol": INFY}).status_code == 200
    told = client.post(f"{API}/buy", json={"symbol": SBIN, "quantity": None, "tag": None}).json()
    assert told["message"] == f"{SBIN}: give a quantity or lots"


@pytest.mark.parametrize(
    ("route", "body", "message"),
    [
        ("buy", BUY + ',"qty":1}', "unknown field 'qty'; known are symbol, quantity, lots"),
        ("buy", BUY + ',"quantity":2}', "'quantity' is given twice"),
        ("buy", '{"symbol":"NSE:SBIN-EQ","quantity":1.5}', "quantity must be a whole number or its text, not 1.5"),
        ("buy", BUY + ',"limit_price":NaN}', "NaN is no number in JSON"),
        ("buy", BUY + ',"limit_price":1e99999999999999999999}', "1e99999999999999999999 is out of range"),
        ("buy", '{"symbol":"NSE:SBIN-EQ","quantity":' + "9" * 5000 + "}", "a number of 5000 characters is too long"),
        ("buy", BUY + ',"product":"SWING"}', "product must be one of CNC, INTRADAY, MARGIN"),
        ("buy", "[" * 30_000, "the body is nested too deeply; it is one flat object"),
        ("cancel", "{}", "client_order_id is missing"),
        ("halt", f'{{"reason":"{"x" * 2001}"}}', "reason is too long: 2,001 characters"),
        ("update-price", '{"symbol":"NSE:SBIN-EQ"}', "a price needs a bid, an ask or a last"),
        ("update-price", '{"symbol":"NSE:SBIN-EQ","last":0}', "last must be above zero"),
        ("update-price", '{"symbol":"NSE:SBIN-EQ","bid":550,"ask":549}', "the price is not taken: crossed"),
    ],
)
def test_a_refusal_says_what_would_be_right(client: httpx.Client, route: str, body: str, message: str) -> None:
    assert message in post(client, route, body.encode()).json()["message"]


def test_what_is_refused_as_a_price_is_counted(client: httpx.Client, engine: lt.LiveTradingEngine) -> None:
    before = engine.health()["quarantined"]
    for prices in ({"last": 0}, {"last": "-1"}, {"bid": 550, "ask": 549}, {"last": "1.001"}, {"last": "1e40"}):
        assert client.post(f"{API}/update-price", json={"symbol": SBIN, **prices}).status_code == 422
    after = engine.health()["quarantined"]
    more = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    counted = {reason: count for reason, count in more.items() if count}
    assert counted == dict.fromkeys(("zero", "negative", "crossed", "off_scale", "out_of_range"), 1)


# ── whatever is sent ─────────────────────────────────────────────────────────────────────────────────────────────────

NAUGHTY = [
    *("", " ", "null", "undefined", "NaN", "true", "-1", "0", "1e9", "0x1", "1/2", "\u202e", "\ufeff", "\u2028"),
    *(
        "\ud800",
        "\x00",
        "\x7f",
        "\r\n",
        "é",
        "e\u0301",
        "\U0001d4b3",
        "👩‍👩‍👧‍👦",
        "ﷺ",
        "\u0661",
        "%s%n",
        "%00",
        "${7*7}",
    ),
    *("<script>alert(1)</script>", "' OR 1=1 --", "../../../etc/passwd", "{{7*7}}", "=1+1", "__proto__"),
    *("A" * 3_000, "\\", '"', "`id`", "$(id)"),
]
TOKENS = [token for token in WRONG_TOKENS.values() if len(token) < 6_000]
GOOD: dict[str, list[str]] = {
    "symbol": [f'"{SBIN}"', f'"{INFY}"', '"BTCUSDT"'],
    "quantity": ["1", '"2"', "100"],
    "lots": ["1"],
    "client_order_id": ['"resting"', '"known"', '"other"'],
    "order_type": [f'"{kind}"' for kind in lt.OrderType],
    "time_in_force": ['"DAY"', '"ioc"', '"GTC"'],
    "product": ['"CNC"', '"intraday"'],
    "tag": ['"a"'],
    "reason": ['"b"'],
    "time": ["1", '"2026-03-02T09:15:00"', '"2026-03-02"'],
    "volume": ["5"],
}
AROUND = ["548.95", "549", '"549.05"', "545", "560.00", "0.5", "1e2"]

values = st.one_of(
    st.sampled_from(TOKENS),
    st.sampled_from(NAUGHTY).map(json.dumps),
    st.text(max_size=30).map(json.dumps),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.recursive(st.none() | st.booleans(), lambda deeper: st.lists(deeper) | st.dictionaries(st.text(), deeper)).map(
        json.dumps
    ),
)


def value_of(name: str) -> st.SearchStrategy[str]:
    """Mostly what fits, so that what does not stands among it."""
    good = st.sampled_from(GOOD.get(name, AROUND))
    return st.one_of(good, good, good, values)


@st.composite
def objects(draw: st.DrawFn, shape: bodies.Shape) -> bytes:
    """The text of an object, with names that fit and others, some of them twice."""
    needed = [name for name, field in shape.items() if field.required or name == "quantity"]
    names = draw(st.lists(st.sampled_from([*shape, *shape, "qty", "side"]) if shape else st.text(), max_size=4))
    names = [*(needed if draw(st.integers(0, 9)) else []), *names]
    if draw(st.integers(0, 9)):
        names = list(dict.fromkeys(names))
    pairs = ",".join(f"{json.dumps(name)}:{draw(value_of(name))}" for name in names)
    return f"{{{pairs}}}".encode("utf-8", "surrogatepass")


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes, str]:
    route = draw(st.sampled_from([*SHAPES, "buy", "buy", "sell", "update-price"]))
    body = draw(objects(SHAPES[route]))
    match draw(st.integers(0, 12)):
        case 0:
            body = draw(st.binary(max_size=60))
        case 1:
            body = body[: draw(st.integers(0, len(body)))]
        case 2:
            body = body.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-32-be", "utf-8-sig"])))
        case 3:
            body = draw(values).encode("utf-8", "surrogatepass")
        case _:
            pass
    kind = draw(st.sampled_from(["application/json"] * 19 + ["text/plain"]))
    return route, body, kind


def hold(client: httpx.Client, engine: lt.LiveTradingEngine, request: tuple[str, bytes, str]) -> None:
    """An answer of the right form; and where it refuses, nothing has changed but that it was refused."""
    route, body, kind = request
    before = picture_of(engine, refusals=False)
    answer = post(client, route, body, kind)
    told = check_form(route, answer)
    order = told.get("order")
    if not told["success"] and (order is None or order["status"] == "DENIED"):
        assert picture_of(engine, refusals=False) == before
    if before["halted"] is None and picture_of(engine)["halted"] is not None:
        assert route == "halt"
        post(client, "resume", b"")


GENERATED = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large], "database": None}


@given(requests())
@settings(max_examples=600, **GENERATED)
def test_whatever_is_sent_is_answered(
    client: httpx.Client, engine: lt.LiveTradingEngine, request_: tuple[str, bytes, str]
) -> None:
    hold(client, engine, request_)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@given(requests())
@settings(max_examples=10_000, **GENERATED)
def test_whatever_is_sent_is_answered_ten_thousand_times(
    client: httpx.Client, engine: lt.LiveTradingEngine, request_: tuple[str, bytes, str]
) -> None:
    hold(client, engine, request_)


def text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


@given(st.text(), st.text())
@settings(max_examples=60, **GENERATED)
def test_whatever_a_query_says_is_answered(client: httpx.Client, name: str, value: str) -> None:
    for table in ("orders", "positions", "risk-orders"):
        for known in ("limit", "after", "symbol", name):
            query = {text(known): text(value)}
            answer = client.get(f"{API}/{table}", params=query)
            assert answer.status_code in (200, 422)
            assert isinstance(answer.json(), list if answer.status_code == 200 else dict)


# ── read strictly ────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=200))
@settings(max_examples=400, **GENERATED)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for shape in SHAPES.values():
        with suppress(Refused):
            assert isinstance(body_of(data, shape), dict)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.text(),
        lambda deeper: st.lists(deeper) | st.dictionaries(st.text(), deeper),
    )
)
@settings(max_examples=40, **GENERATED)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**30), max_value=10**30))
def test_a_number_is_read_to_its_last_digit(value: Decimal) -> None:
    assert str(read_json(f"{value:f}".encode())) == str(Decimal(f"{value:f}"))
