"""The REST side of a desk: each route answers what it promises, and the same as the engine itself."""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pandas as pd
import pytest
from starlette.routing import Route

import livetrade as lt
from livetrade import frames
from livetrade.desk.auth import Bounds
from livetrade.portfolio import PNL_FIELDS
from livetrade.surface import NOT_CONFIRMED
from tests.desk.asking import API, asking
from tests.desk.kit import serving
from tests.desk.test_auth import all_routes
from tests.needs import missing
from tests.support import INFY, SBIN, ScriptedBroker, ScriptedFeed, quietly_close, quoted, soon, trading

README = b'{"symbol":"NSE:SBIN-EQ","quantity":100,"stop_loss_price":545.00,"take_profit_price":560.00}'
PRICE = {"symbol": SBIN, "bid": 548.95, "ask": 549.00, "last": 549.00}


@contextmanager
def asked(engine: lt.LiveTradingEngine, **terms: Any) -> Iterator[httpx.Client]:
    with serving(engine, **terms) as desk, asking(desk) as client:
        yield client


@pytest.fixture
def engine() -> Iterator[lt.LiveTradingEngine]:
    with trading() as engine:
        yield engine


@pytest.fixture
def client(engine: lt.LiveTradingEngine) -> Iterator[httpx.Client]:
    with asked(engine) as client:
        yield client


def post(client: httpx.Client, route: str, **terms: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"{API}/{route}", **terms)
    return answer.status_code, answer.json()


def get(client: httpx.Client, table: str, **query: Any) -> Any:
    answer = client.get(f"{API}/{table}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


# ── the two commands of a first look ─────────────────────────────────────────────────────────────────────────────────


def curl(url: str, body: bytes) -> dict[str, Any]:
    words = ["curl", "--silent", "--noproxy", "*", "-X", "POST", url, "-H", "Content-Type: application/json", "-d"]
    told: dict[str, Any] = json.loads(
        subprocess.run([*words, body], capture_output=True, check=True, timeout=60).stdout
    )
    return told


def test_a_price_is_posted_and_bought_at_with_curl() -> None:
    with trading(stream=lt.LivePriceStream()) as engine, serving(engine, no_token=True) as desk:
        try:
            refused = curl(f"{desk.url}{API}/buy", README)
        except FileNotFoundError:
            missing("curl")
        assert refused["message"].startswith("Price feed unavailable")
        posted = curl(f"{desk.url}{API}/update-price", json.dumps(PRICE).encode())
        assert (posted["success"], posted["message"]) == (True, f"Updated {SBIN}")
        bought = curl(f"{desk.url}{API}/buy", README)
        assert (bought["success"], bought["message"]) == (True, f"Bought 100 {SBIN} at 549.00")
        stop, target = engine.risk_orders(exact=True)["trigger_price"]
        assert (stop, target) == (Decimal("545.00"), Decimal("560.00"))


def test_the_same_without_curl() -> None:
    with trading(stream=lt.LivePriceStream()) as engine, asked(engine, no_token=True) as client:
        assert post(client, "update-price", json=PRICE)[0] == 200
        status, told = post(client, "buy", content=README, headers={"Content-Type": "application/json"})
        assert (status, told["success"]) == (200, True)
        assert set(told) == {"success", "message", "order"}
        order = told["order"]
        assert set(order) == {"client_order_id", *frames.ORDERS}
        assert {name: order[name] for name in ("quantity", "filled_qty", "avg_price", "status", "source")} == {
            "quantity": "100",
            "filled_qty": "100",
            "avg_price": "549.00",
            "status": "FILLED",
            "source": "REST",
        }
        post(client, "update-price", json={"symbol": SBIN, "bid": 544.95, "ask": 545.05, "last": 545})
        soon(lambda: not engine.position(SBIN))
        assert [order["source"] for order in get(client, "orders")] == ["REST", "STOP_LOSS"]


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def busy() -> Iterator[lt.LiveTradingEngine]:
    """Orders of every type, filled, refused, canceled and working; held and sold; exits armed, fired and disarmed."""
    stream = quoted()
    stream.update(INFY, bid="1499.95", ask="1500.05", last="1500.00")
    stream.update("BTCUSDT", bid="60000.12345678", ask="60000.5", last="60000.3")
    limits = lt.Limits(allow_short=True)
    with trading(10_000_000, stream, fees=lt.DEFAULT_FEES, limits=limits, name="busy") as engine:
        engine.market_buy(SBIN, 100, stop_loss_price="545.00", take_profit_price="560.00", tag='a, "b"\n').result(30)
        engine.market_buy(INFY, 33, trailing_stop_pct="1.5", product="CNC").result(30)
        engine.market_buy("BTCUSDT", "0.12345678").result(30)
        engine.market_sell(INFY, 7, product="CNC").result(30)
        engine.limit_buy(SBIN, 10, "540.00", time_in_force="GTC", client_order_id="resting").result(30)
        engine.limit_buy(SBIN, 5, "530.00", client_order_id="canceled").result(30)
        engine.stop_buy(SBIN, 5, "600.00", limit_price="601.00").result(30)
        engine.cancel("canceled").result(30)
        engine.market_buy(SBIN, 100_000_000).result(30)
        engine.market_buy("NSE:UNKNOWN-EQ", 1).result(30)
        engine.set_take_profit(SBIN).result(30)
        stream.update(SBIN, bid="544.95", ask="545.00", last="544.95")
        soon(lambda: not engine.position(SBIN))
        engine.market_sell(SBIN, 3, stop_loss_pct=2).result(30)
        yield engine


def same(shown: Any, exact: Any) -> bool:
    """Whether JSON says what a cell of an exact DataFrame says, to the last digit, and times to the microsecond."""
    if isinstance(exact, Decimal):
        return isinstance(shown, str) and Decimal(shown) == exact and "E" not in shown
    if isinstance(exact, pd.Timestamp) and exact is not pd.NaT:
        return bool(pd.Timestamp(shown) == exact.floor("us"))
    if pd.isna(exact):
        return shown is None
    return isinstance(shown, str) and shown == str(exact)


def assert_same(shown: list[dict[str, Any]], frame: pd.DataFrame) -> None:
    assert [list(row) for row in shown] == [[frame.index.name, *frame.columns]] * len(frame)
    for row, (index, cells) in zip(shown, frame.astype(object).iterrows(), strict=True):
        assert row[frame.index.name] == index
        assert not {name: (row[name], cell) for name, cell in cells.items() if not same(row[name], cell)}


def test_tables_are_the_dataframes_row_by_row(busy: lt.LiveTradingEngine) -> None:
    with asked(busy) as client:
        orders = busy.orders(exact=True)
        assert {"FILLED", "DENIED", "CANCELED", "ACCEPTED"} <= set(orders["status"])
        assert_same(get(client, "orders"), orders)
        assert_same(get(client, "orders", open="true"), busy.orders(open=True, exact=True))
        assert_same(get(client, "orders", symbol=INFY), busy.orders(symbol=INFY, exact=True))
        assert_same(get(client, "positions"), busy.positions(exact=True))
        assert_same(get(client, "positions", closed="true"), busy.positions(closed=True, exact=True))
        assert_same(get(client, "positions", symbol=INFY), busy.positions(symbol=INFY, exact=True))
        risks = busy.risk_orders(exact=True)
        assert {"ARMED", "FILLED", "CANCELED"} <= set(risks["status"])
        assert_same(get(client, "risk-orders"), risks)
        assert_same(get(client, "risk-orders", symbol=INFY), busy.risk_orders(symbol=INFY, exact=True))


def test_tables_of_a_new_account_are_empty(client: httpx.Client) -> None:
    for table in ("orders", "positions", "risk-orders"):
        assert get(client, table) == []


def test_the_portfolio_is_money_in_texts(busy: lt.LiveTradingEngine) -> None:
    with asked(busy) as client:
        shown = get(client, "portfolio")
    exact = busy.get_portfolio_pnl().result(30)
    assert {name: Decimal(shown[name]) for name in PNL_FIELDS} == exact
    assert all(type(shown[name]) is str and "E" not in shown[name] for name in PNL_FIELDS)
    assert (shown["name"], shown["mode"], shown["currency"]) == ("busy", "PAPER", "INR")
    assert shown["seq"] == busy.positions().attrs["seq"]
    assert pd.Timestamp(shown["as_of"]).tz is not None


def test_health_is_the_engine_s(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    shown = get(client, "health")
    own = engine.health()
    assert set(shown) == {"name", "mode", "open", *own}
    assert (shown["name"], shown["mode"], shown["open"], shown["feed"]) == ("main", "PAPER", True, own["feed"])


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def pages(client: httpx.Client, table: str, index: str, limit: int, **query: Any) -> list[Any]:
    """All rows, a page at a time, as a program asks for them."""
    rows: list[Any] = []
    while page := get(client, table, limit=limit, **query, **({"after": rows[-1][index]} if rows else {})):
        assert len(page) <= limit
        rows += page
    return rows


def test_pages_give_every_order_once_and_in_order() -> None:
    stream = quoted()
    stream.update(INFY, bid="1499.95", ask="1500.05", last="1500.00")
    with trading(10**9, stream) as engine, asked(engine) as client:
        for number in range(2_500):
            symbol, key = SBIN if number % 3 else INFY, f"n{number}"
            if number % 50:
                sent = engine.market_buy(symbol, 1, client_order_id=key)
            else:
                sent = engine.limit_buy(symbol, 1, "500.00", client_order_id=key)
        sent.result(30)
        whole = [f"n{number}" for number in range(2_500)]
        assert [row["client_order_id"] for row in get(client, "orders")] == whole[:1_000]
        assert [row["client_order_id"] for row in get(client, "orders", limit=5_000)] == whole
        for limit in (7, 999, 2_499, 2_500, 2_501, 5_000):
            assert [row["client_order_id"] for row in pages(client, "orders", "client_order_id", limit)] == whole
        resting = [f"n{number}" for number in range(0, 2_500, 50)]
        found = pages(client, "orders", "client_order_id", 7, open="true")
        assert [row["client_order_id"] for row in found] == resting
        infy = [f"n{number}" for number in range(0, 2_500, 3)]
        assert [row["client_order_id"] for row in pages(client, "orders", "client_order_id", 100, symbol=INFY)] == infy


def test_pages_of_positions_and_risk_orders(busy: lt.LiveTradingEngine) -> None:
    with asked(busy) as client:
        for limit in (1, 2, 100):
            assert pages(client, "positions", "symbol", limit, closed="true") == get(client, "positions", closed="true")
            risks = [row["risk_id"] for row in pages(client, "risk-orders", "risk_id", limit)]
            assert risks == list(busy.risk_orders().index)
            mine = [row["risk_id"] for row in pages(client, "risk-orders", "risk_id", limit, symbol=SBIN)]
            assert mine == list(busy.risk_orders(symbol=SBIN).index)
        other = busy.risk_orders(symbol=INFY).index[0]
        later = busy.risk_orders().loc[other:].iloc[1:]
        found = get(client, "risk-orders", symbol=SBIN, after=other)
        assert [row["risk_id"] for row in found] == list(later.index[later["symbol"] == SBIN])


@pytest.mark.parametrize(
    ("table", "query"),
    [
        *((table, f"limit={limit}") for table in ("orders", "positions", "risk-orders") for limit in (0, -1, 5_001)),
        *(("orders", f"limit={limit}") for limit in ("", "ten", "1.0", "1e2", "%D9%A1", "+5", "999999", "0x5")),
        *(("orders", query) for query in ("after=nobody", "after=%00", "open=yes", "open=", "open=1", "page=2")),
        *(("orders", query) for query in ("limit=1&limit=2", "Limit=5", "%00=1", "limit=1;open=true")),
        ("risk-orders", "after=nobody"),
        ("positions", "closed=TRUE"),
        ("portfolio", "x=1"),
        ("health", "token=x"),
    ],
)
def test_a_wrong_query_says_what_is_known(client: httpx.Client, table: str, query: str) -> None:
    answer = client.get(f"{API}/{table}?{query}")
    assert answer.status_code == 422
    assert answer.json()["message"]
    assert answer.json()["success"] is False


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_is_filled_refused_or_rests(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    status, told = post(client, "buy", json={"symbol": SBIN, "quantity": 10})
    assert (status, told["success"], told["order"]["status"]) == (200, True, "FILLED")
    status, told = post(client, "sell", json={"symbol": SBIN, "quantity": "10"})
    assert (status, told["success"], told["order"]["side"]) == (200, True, "SELL")
    status, told = post(client, "sell", json={"symbol": SBIN, "quantity": 10})
    assert (status, told["success"], told["order"]["status"]) == (422, False, "DENIED")
    assert told["message"].startswith("No position to sell")
    status, told = post(client, "buy", json={"symbol": SBIN, "quantity": 100_000})
    assert (status, told["message"][:20]) == (422, "Insufficient balance")
    limit = {"symbol": SBIN, "quantity": 1, "order_type": "LIMIT", "limit_price": "500.00", "client_order_id": "rests"}
    status, told = post(client, "buy", json=limit)
    assert (status, told["success"], told["order"]["status"]) == (200, True, "ACCEPTED")
    assert set(engine.orders()["source"]) == {"REST"}


def test_every_kind_of_order_can_be_sent(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    common = {"symbol": SBIN, "quantity": 1, "product": "cnc", "tag": "t", "time_in_force": "gtc"}
    for terms in (
        {"order_type": "LIMIT", "limit_price": 500},
        {"order_type": "STOP", "trigger_price": 600.05},
        {"order_type": "STOP_LIMIT", "trigger_price": "600.00", "limit_price": 601},
    ):
        status, told = post(client, "buy", json={**common, **terms})
        assert (status, told["order"]["order_type"]) == (200, terms["order_type"])
    exits = {"stop_loss_pct": 1, "take_profit_pct": "2.5", "trailing_stop": None}
    assert post(client, "buy", json={"symbol": SBIN, "lots": 2, **exits})[0] == 200
    assert list(engine.risk_orders()["kind"]) == ["STOP_LOSS", "TAKE_PROFIT"]
    assert set(engine.orders(open=True)["product"]) == {"CNC"}


def test_what_is_not_confirmed_is_202() -> None:
    broker = ScriptedBroker()
    with trading(broker=broker, journal=lt.MemoryJournal()) as engine, asked(engine) as client:
        status, told = post(client, "buy", json={"symbol": SBIN, "quantity": 1, "client_order_id": "slow"})
        assert (status, told["success"], told["order"]["client_order_id"]) == (202, False, "slow")
        assert told["message"].startswith(NOT_CONFIRMED)


def test_cancel_flatten_halt_and_resume(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    limit = {"symbol": SBIN, "quantity": 1, "order_type": "LIMIT", "limit_price": 500, "client_order_id": "rests"}
    post(client, "buy", json=limit)
    status, told = post(client, "cancel", json={"client_order_id": "rests"})
    assert (status, told["success"], told["order"]["status"]) == (200, True, "CANCELED")
    assert post(client, "cancel", json={"client_order_id": "rests"})[0] == 422
    assert post(client, "cancel", json={"client_order_id": "nobody"})[0] == 422

    post(client, "buy", content=README, headers={"Content-Type": "application/json"})
    assert post(client, "flatten", json={"symbol": INFY})[1]["success"] is True
    assert engine.position(SBIN).quantity == 100
    assert post(client, "flatten")[1]["success"] is True
    assert not engine.position(SBIN)
    assert post(client, "flatten")[1]["success"] is True  # nothing is held, and that is done at once

    assert post(client, "halt", json={"reason": "lunch"})[0] == 200
    status, told = post(client, "buy", json={"symbol": SBIN, "quantity": 1})
    assert (status, told["message"][:14]) == (422, "Trading halted")
    assert "lunch" in told["message"]
    assert post(client, "resume")[0] == 200
    assert post(client, "buy", json={"symbol": SBIN, "quantity": 1})[0] == 200


def test_prices_are_posted_where_nothing_else_brings_them(client: httpx.Client, engine: lt.LiveTradingEngine) -> None:
    status, told = post(client, "update-price", json={"symbol": INFY, "bid": "1499.95", "ask": 1500.05, "volume": 7})
    assert (status, told["success"], told["message"]) == (200, True, f"Updated {INFY}")
    quote = told["quote"]
    assert {name: quote[name] for name in ("symbol", "bid", "ask", "last", "volume", "bid_size")} == {
        "symbol": INFY,
        "bid": "1499.95",
        "ask": "1500.05",
        "last": None,
        "volume": "7",
        "bid_size": None,
    }
    last = engine.stream.last(INFY)
    assert last is not None
    assert (last.bid, last.ask) == (Decimal("1499.95"), Decimal("1500.05"))


def test_no_price_is_posted_into_a_feed() -> None:
    async def quiet(sink: Any) -> None:
        sink.state(lt.FeedState.LIVE)

    with trading(feed=ScriptedFeed(quiet)) as engine, asked(engine) as client:
        status, told = post(client, "update-price", json=PRICE)
        assert (status, told["success"]) == (409, False)
        assert engine.stream.last(SBIN) is None


def test_a_closed_engine_is_told(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    post(client, "buy", json={"symbol": SBIN, "quantity": 1})
    quietly_close(engine)
    for route, body in {
        "buy": {"symbol": SBIN, "quantity": 1},
        "sell": {"symbol": SBIN, "quantity": 1},
        "cancel": {"client_order_id": "x"},
        "update-price": PRICE,
        "flatten": {},
        "halt": {},
        "resume": {},
    }.items():
        answer = client.post(f"{API}/{route}", json=body)
        assert (answer.status_code, answer.json()["success"]) == (503, False), route
        assert "closed" in answer.json()["message"]
        assert answer.headers["content-type"] == "application/json"
    assert get(client, "health")["open"] is False
    assert get(client, "positions")[0]["quantity"] == "1"


# ── done once ────────────────────────────────────────────────────────────────────────────────────────────────────────

ORDER = {"symbol": SBIN, "quantity": 1}


@pytest.mark.parametrize("how", ["client_order_id", "Idempotency-Key"])
def test_what_comes_twice_is_done_once(engine: lt.LiveTradingEngine, client: httpx.Client, how: str) -> None:
    body = {**ORDER, **({"client_order_id": "once"} if how == "client_order_id" else {})}
    headers = {"Idempotency-Key": "once, please"} if how == "Idempotency-Key" else {}
    first = post(client, "buy", json=body, headers=headers)
    assert first[0] == 200
    assert post(client, "buy", json=body, headers=headers) == first
    assert len(engine.orders()) == 1
    status, told = post(client, "buy", json={**body, "quantity": 2}, headers=headers)
    assert (status, told["success"]) == (422, False)
    status, told = post(client, "sell", json=body, headers=headers)
    assert (status, told["success"]) == (422, False)
    assert engine.position(SBIN).quantity == 1


@pytest.mark.parametrize("how", ["client_order_id", "Idempotency-Key"])
def test_what_comes_at_once_is_done_once(engine: lt.LiveTradingEngine, client: httpx.Client, how: str) -> None:
    def buy(number: int) -> tuple[int, dict[str, Any]]:
        key = f"at{number % 5}"
        if how == "client_order_id":
            return post(client, "buy", json={**ORDER, "client_order_id": key})
        return post(client, "buy", json=ORDER, headers={"Idempotency-Key": key})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(buy, range(80)))
    assert {status for status, _ in answers} == {200}
    assert len({told["order"]["client_order_id"] for _, told in answers}) == 5
    assert engine.position(SBIN).quantity == 5
    assert len(engine.orders()) == 5


@pytest.mark.parametrize("how", ["client_order_id", "Idempotency-Key"])
def test_what_comes_again_after_a_restart_is_still_one_order(tmp_path: Path, how: str) -> None:
    body = {**ORDER, **({"client_order_id": "once"} if how == "client_order_id" else {})}
    headers = {"Idempotency-Key": "over a restart"} if how == "Idempotency-Key" else {}
    ids = set()
    for _ in range(3):
        journal = lt.FileJournal(tmp_path / "desk.journal")
        with trading(None if ids else 500_000, journal=journal) as engine, asked(engine) as client:
            status, told = post(client, "buy", json=body, headers=headers)
            assert (status, told["success"]) == (200, True)
            ids.add(told["order"]["client_order_id"])
            assert (len(engine.orders()), engine.position(SBIN).quantity) == (1, 1)
            status, told = post(client, "buy", json={**body, "quantity": 2}, headers=headers)
            assert (status, told["success"]) == (422, False)
    assert len(ids) == 1


def test_a_key_may_stand_beside_an_id(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    for _ in range(2):
        body = {**ORDER, "client_order_id": "mine"}
        told = post(client, "buy", json=body, headers={"Idempotency-Key": "key"})[1]
        assert told["order"]["client_order_id"] == "mine"
    assert len(engine.orders()) == 1


def test_a_key_does_other_commands_once_too(engine: lt.LiveTradingEngine, client: httpx.Client) -> None:
    halted = {"json": {"reason": "first"}, "headers": {"Idempotency-Key": "halt"}}
    assert post(client, "halt", **halted)[0] == 200
    assert post(client, "resume")[0] == 200
    assert post(client, "halt", **halted)[0] == 200  # the answer of then
    assert post(client, "buy", json=ORDER)[0] == 200


@pytest.mark.parametrize("key", ["", "x" * 201, "é", "a\tb"])
def test_a_key_is_printable_ascii(engine: lt.LiveTradingEngine, client: httpx.Client, key: str) -> None:
    for route in ("buy", "cancel", "flatten", "halt", "resume"):
        status, _ = post(client, route, json={}, headers={"Idempotency-Key": key.encode("latin-1")})
        assert status in (400, 422)
    assert engine.orders().empty


# ── how much ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_too_many_requests_are_told_when_to_come_again() -> None:
    with trading() as engine, asked(engine, bounds=Bounds(per_second=0, burst=3)) as client:
        told = [client.post(f"{API}/{route}", json={}) for route in ("buy", "sell", "resume", "buy", "update-price")]
        assert [answer.status_code for answer in told] == [422, 422, 200, 429, 429]
        assert told[-1].headers["retry-after"] == "1"
        assert told[-1].json()["success"] is False
        for _ in range(20):
            assert client.post(f"{API}/flatten").status_code == 200
            assert client.post(f"{API}/halt").status_code == 200
            assert client.post(f"{API}/cancel", json={"client_order_id": "nobody"}).status_code == 422
            assert client.get(f"{API}/portfolio").status_code == 200
        assert client.post(f"{API}/resume").status_code == 429


def test_there_is_room_for_more_after_a_while() -> None:
    with trading() as engine, asked(engine, bounds=Bounds(per_second=50, burst=1)) as client:
        first: Callable[[], int] = lambda: client.post(f"{API}/resume").status_code  # noqa: E731
        soon(lambda: first() == 429)
        soon(lambda: first() == 200)


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_document_has_every_route_and_no_other(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    shown = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    routes = {(m, r.path) for r in all_routes() if isinstance(r, Route) for m in (r.methods or ()) if m != "HEAD"}
    assert shown == {(method, path) for method, path in routes if path.startswith(API)}
    assert described["openapi"].startswith("3.1")
    assert described["security"] == [{"token": []}]
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_docs_list_every_route_and_field(client: httpx.Client) -> None:
    page = client.get("/docs").text
    described = client.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in page
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert all(f"<code>{name}</code>" in page for name in content["schema"]["properties"])
    assert "<script" not in page


def test_answers_are_as_the_document_says(busy: lt.LiveTradingEngine) -> None:
    bodies: dict[str, Any] = {
        "buy": ORDER,
        "sell": ORDER,
        "update-price": PRICE,
        "cancel": {"client_order_id": "resting"},
        "flatten": {},
        "halt": {},
        "resume": {},
    }
    with asked(busy) as client:
        described = client.get("/openapi.json").json()
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                for body in (bodies.get(path.rpartition("/")[2]), {"unknown": 1}):
                    terms = {"json": body} if method == "post" else {}
                    answer = client.request(method, path, **terms)
                    kind = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
                    schema = {**kind, "components": described["components"]}
                    jsonschema.Draft202012Validator(schema).validate(answer.json())


def test_every_route_takes_its_own_method_only(client: httpx.Client) -> None:
    for route in all_routes():
        if not isinstance(route, Route):
            continue
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = client.request(method, route.path)
            assert (answer.status_code == 405) is (method not in (route.methods or ()))
            if answer.status_code == 405:
                assert set(answer.headers["allow"].split(", ")) == route.methods
                assert method == "HEAD" or answer.json()["success"] is False


@pytest.mark.parametrize("path", ["/nothing", f"{API}/", f"{API}/buy/", "/%2e%2e/etc/passwd", "/docs/"])
def test_there_is_nothing_elsewhere(client: httpx.Client, path: str) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["success"]) == (404, False)
