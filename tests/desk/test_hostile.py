"""Those who are slow, loud, or mean harm: each is answered or cut off, and others are served meanwhile."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import repeat
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import livetrade as lt
from livetrade.desk import rows
from livetrade.desk.auth import BOUNDS, LARGEST_BODY, Bounds
from livetrade.desk.desk import Desk
from livetrade.desk.logs import JsonLines
from tests.desk.asking import API, JSON, asking, bearer, connected, exchange, head, one_answer, status_of, to_the_end
from tests.desk.kit import HOST, serving
from tests.support import PATIENCE, SBIN, picture_of, soon, trading

BUY, HEALTH = f"{API}/buy", f"{API}/health"
ORDER = b'{"symbol":"NSE:SBIN-EQ","quantity":1}'
QUICK = Bounds(head_seconds=0.3, body_seconds=0.3, idle_seconds=1)


@pytest.fixture(scope="module")
def no_engine_is_left() -> None:
    """One engine serves the module."""


@pytest.fixture(scope="module")
def engine() -> Iterator[lt.LiveTradingEngine]:
    with trading() as engine:
        yield engine


@pytest.fixture(scope="module")
def desk(engine: lt.LiveTradingEngine) -> Iterator[Desk]:
    with serving(engine, bounds=QUICK) as desk:
        yield desk


@pytest.fixture
def client(desk: Desk) -> Iterator[httpx.Client]:
    with asking(desk) as client:
        yield client


@pytest.fixture(autouse=True)
def no_complaint(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What others do wrongly is no error of the desk, and fills nobody's disk."""
    yield
    if "crash" not in request.node.name:
        records = [*caplog.get_records("call"), *caplog.get_records("teardown")]
        assert not [record for record in records if record.name in ("asyncio", "uvicorn.error", "livetrade.desk")]


def known(desk: Desk) -> str:
    return f"Authorization: Bearer {desk.token}"


def drip(connection: socket.socket, pieces: Iterable[bytes], meanwhile: Callable[[], Any]) -> bytes:
    """Sends a piece after the other, until the desk answers or ends the connection."""
    connection.settimeout(0.02)
    for piece in pieces:
        meanwhile()
        try:
            connection.sendall(piece)
            return connection.recv(1 << 16)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    raise AssertionError("it may go on for ever")


def serves(client: httpx.Client) -> Callable[[], None]:
    def look() -> None:
        assert client.get(HEALTH).status_code == 200

    return look


# ── slow ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("begin", [b"", b"GET ", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"\r\n"])
def test_a_head_that_trickles_is_cut_off(desk: Desk, client: httpx.Client, begin: bytes) -> None:
    with connected(desk) as connection:
        connection.sendall(begin)
        piece = b"\r\n" if begin == b"\r\n" else b"A"
        answer = drip(connection, repeat(piece, 1_500), serves(client))
        assert answer == b"" or status_of(answer) == 400


def test_a_head_that_trickles_behind_another_request_is_cut_off(desk: Desk, client: httpx.Client) -> None:
    with connected(desk) as connection:
        connection.sendall(head("GET", HEALTH, known(desk)))
        assert status_of(one_answer(connection)) == 200
        connection.sendall(b"GET / HT")
        assert drip(connection, repeat(b"T", 1_500), serves(client)) == b""


def test_who_says_nothing_is_cut_off(desk: Desk, client: httpx.Client) -> None:
    with connected(desk) as silent, connected(desk) as idle:
        idle.sendall(head("GET", HEALTH, known(desk)))
        assert status_of(one_answer(idle)) == 200
        assert to_the_end(silent) == b""
        assert to_the_end(idle) == b""
        serves(client)()


@pytest.mark.parametrize("length", ["Content-Length: 2000", "Transfer-Encoding: chunked"])
def test_a_body_that_trickles_is_told_and_cut_off(
    desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine, length: str
) -> None:
    before = picture_of(engine)
    piece = b"1\r\nx\r\n" if "chunked" in length else b"x"
    with connected(desk) as connection:
        connection.sendall(head("POST", BUY, known(desk), "Content-Type: application/json", length))
        answer = drip(connection, repeat(piece, 1_500), serves(client))
        assert status_of(answer) == 408
        assert b'"success": false' in answer + to_the_end(connection)
    assert picture_of(engine) == before


@pytest.mark.parametrize("length", ["Content-Length: 99999999", "Transfer-Encoding: chunked"])
def test_a_stranger_s_body_is_not_waited_for(desk: Desk, client: httpx.Client, length: str) -> None:
    piece = b"1\r\nx\r\n" if "chunked" in length else b"x"
    with connected(desk) as connection:
        connection.sendall(head("POST", BUY, length))
        assert status_of(one_answer(connection)) == 401
        assert drip(connection, repeat(piece, 1_500), serves(client)) == b""


def long_answers(desk: Desk, engine: lt.LiveTradingEngine) -> bytes:
    """Asks for more than the buffers between two ends hold."""
    for number in range(2_000):
        sent = engine.market_sell(SBIN, 1, tag="x" * 200, client_order_id=f"n{number}")
    sent.result(PATIENCE)
    return head("GET", f"{API}/orders?limit=5000", known(desk)) * 12


def test_an_answer_that_is_taken_slowly_is_given_whole(engine: lt.LiveTradingEngine) -> None:
    with serving(engine, bounds=Bounds(idle_seconds=2)) as desk, connected(desk) as connection:
        connection.sendall(long_answers(desk, engine))
        taken = bytearray()
        while part := connection.recv(1 << 18):
            taken += part
            if taken.count(b"HTTP/1.1 200") < 12:
                threading.Event().wait(0.05)  # longer in all than one may take nothing
    assert taken.count(b"HTTP/1.1 200") == 12
    assert taken.endswith(b"]\r\n0\r\n\r\n")


def test_an_answer_that_nobody_takes_is_not_kept(
    desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine
) -> None:
    ask = long_answers(desk, engine)
    with connected(desk) as connection:
        connection.sendall(ask)
        soon(lambda: not _left(desk, client))
        taken = to_the_end(connection)
    assert 0 < taken.count(b"HTTP/1.1 200") < 12


def _left(desk: Desk, client: httpx.Client) -> bytes:
    """Empty once the desk has given up all connections but the client's own."""
    serves(client)()
    return b"x" * (len(desk._uvicorn.server_state.connections) - 1)


def test_who_goes_in_the_middle_is_forgotten(desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine) -> None:
    before = picture_of(engine)
    data = head("POST", BUY, known(desk), "Content-Type: application/json", f"Content-Length: {len(ORDER)}") + ORDER
    for cut in range(1, len(data), 7):
        with connected(desk) as connection:
            connection.sendall(data[:cut])
    soon(lambda: not _left(desk, client))
    assert picture_of(engine) == before


# ── large ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def chunked(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [LARGEST_BODY + 1, 65 * 1024, 1 << 20])
@pytest.mark.parametrize("route", ["buy", "flatten", "halt", "update-price"])
def test_a_body_beyond_64_kib_is_refused(
    client: httpx.Client, engine: lt.LiveTradingEngine, route: str, size: int
) -> None:
    before = picture_of(engine)
    for content in (b" " * size, chunked(b" " * size, 1_000), chunked(b" " * size, 1 << 16)):
        answer = client.post(f"{API}/{route}", content=content, headers=JSON)
        assert answer.status_code == 413
        assert answer.json() == {"success": False, "message": answer.json()["message"], "order": None}
    assert picture_of(engine) == before


def test_a_body_of_64_kib_is_read(client: httpx.Client) -> None:
    for content in (ORDER.ljust(LARGEST_BODY), chunked(ORDER.ljust(LARGEST_BODY), 1_000)):
        assert client.post(BUY, content=content, headers=JSON).status_code == 200


@pytest.mark.parametrize("length", ["65537", "99999999999", "9" * 20, "000000000000000000065537"])
def test_a_length_that_is_only_announced_is_refused(desk: Desk, length: str) -> None:
    data = head("POST", BUY, known(desk), "Content-Type: application/json", f"Content-Length: {length}")
    assert status_of(exchange(desk, data)) in (400, 413)


@pytest.mark.parametrize(
    "headers",
    [["X: " + "y" * 100_000], [f"X{number}: y" for number in range(10_000)], ["Cookie: " + "a=b; " * 20_000]],
)
def test_a_head_beyond_all_measure_is_refused(desk: Desk, client: httpx.Client, headers: list[str]) -> None:
    answer = exchange(desk, head("GET", HEALTH, known(desk), *headers))
    assert answer == b"" or status_of(answer) in (400, 431)
    serves(client)()


def test_an_address_beyond_all_measure_is_refused(desk: Desk) -> None:
    answer = exchange(desk, head("GET", f"/?token={'x' * 100_000}"))
    assert answer == b"" or status_of(answer) in (400, 431)


# ── many ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: ", head("GET", HEALTH)])
def test_three_hundred_connections_keep_nobody_out(engine: lt.LiveTradingEngine, said: bytes) -> None:
    with serving(engine) as desk, asking(desk) as client, ExitStack() as stack:
        serves(client)()
        for number in range(300):
            connection = stack.enter_context(connected(desk))
            connection.sendall(said)
            if number % 50 == 0:
                serves(client)()
        with asking(desk) as another:
            serves(another)()
            assert another.post(f"{API}/flatten").status_code == 200
        soon(lambda: len(desk._uvicorn.server_state.connections) <= BOUNDS.connections)
        assert len(desk._uvicorn.server_state.connections) > BOUNDS.connections - 20  # and no more than need be went


def test_who_is_idle_longest_gives_way(engine: lt.LiveTradingEngine) -> None:
    with serving(engine, bounds=Bounds(connections=3)) as desk, ExitStack() as stack:
        first, second, third = (stack.enter_context(connected(desk)) for _ in range(3))
        for connection in (second, third, first, second):
            connection.sendall(head("GET", HEALTH, known(desk)))
            assert status_of(one_answer(connection)) == 200
        fourth = stack.enter_context(connected(desk))
        assert to_the_end(third) == b""
        for connection in (first, second, fourth):
            connection.sendall(head("GET", HEALTH, known(desk)))
            assert status_of(one_answer(connection)) == 200


def test_work_in_hand_has_a_bound_and_what_makes_safer_has_none(engine: lt.LiveTradingEngine) -> None:
    with serving(engine, bounds=Bounds(requests=2)) as desk, asking(desk) as client, ExitStack() as stack:
        half = head("POST", BUY, known(desk), "Content-Type: application/json", f"Content-Length: {len(ORDER)}")
        waiting = [stack.enter_context(connected(desk)) for _ in range(2)]
        for connection in waiting:
            connection.sendall(half + ORDER[:5])
        soon(lambda: client.get(HEALTH).status_code == 503)
        refused = client.post(BUY, content=ORDER, headers=JSON)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["success"] is False
        assert client.post(f"{API}/flatten").status_code == 200
        assert client.post(f"{API}/halt").status_code == 200
        for connection in waiting:
            connection.sendall(ORDER[5:])
            assert status_of(one_answer(connection)) == 422  # halted
        soon(lambda: client.get(HEALTH).status_code == 200)
        assert client.post(f"{API}/resume").status_code == 200


def test_requests_in_one_go_are_answered_in_order(desk: Desk, engine: lt.LiveTradingEngine) -> None:
    many = b""
    for number in range(200):
        order = ORDER[:-1] + f',"client_order_id":"p{number:03}","tag":"piped"}}'.encode()
        many += (
            head("POST", BUY, known(desk), "Content-Type: application/json", f"Content-Length: {len(order)}") + order
        )
    answer = exchange(desk, many + head("GET", HEALTH, known(desk), "Connection: close"))
    assert answer.count(b"HTTP/1.1 200") == 201
    assert list(engine.orders(tag="piped").index) == [f"p{number:03}" for number in range(200)]


# ── odd ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

SMUGGLED = {
    "both lengths": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "both lengths, the other way": "Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}",
    "two lengths": "Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "two equal lengths": "Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "lengths in a list": "Content-Length: 0, {length}\r\n\r\n{hidden}",
    "a length with a plus": "Content-Length: +{length}\r\n\r\n{hidden}",
    "a negative length": "Content-Length: -1\r\n\r\n{hidden}",
    "a hexadecimal length": "Content-Length: 0x10\r\n\r\n{hidden}",
    "a blank before the colon": "Content-Length : {length}\r\n\r\n{hidden}",
    "an encoding of two": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}",
    "an encoding twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}",
    "an encoding nobody knows": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
    "an encoding with a tab": "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{hidden}",
    "a folded header": "X: y\r\n Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "a header in a header": "X: y\rContent-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "a NUL in a header": "X: \x00\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "the length of a body": "Content-Length: {length}\r\n\r\n{hidden}",
    "a chunk of a wrong size": "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFFFFFFF\r\n{hidden}",
    "a chunk of a negative size": "Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}",
    "a chunk with an extension": "Transfer-Encoding: chunked\r\n\r\n0;{extension}\r\n{hidden}",
    "a chunk that goes on": "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n{hidden}",
    "trailers that never end": "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n{hidden}",
}


@pytest.mark.parametrize("how", SMUGGLED.values(), ids=SMUGGLED)
def test_no_request_hides_in_another(desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine, how: str) -> None:
    """The hidden one would be let in: it holds the token, as one in front of which somebody else stands would."""
    before = picture_of(engine)
    inner = head("POST", BUY, known(desk), "Content-Type: application/json", f"Content-Length: {len(ORDER)}") + ORDER
    hidden = inner.decode("latin-1")
    rest = how.replace("{extension}", "x" * 20_000).replace("{length}", str(len(hidden))).replace("{hidden}", hidden)
    first = head("POST", f"{API}/resume", known(desk), "Content-Type: application/json")[:-2]
    answer = exchange(desk, first + rest.encode("latin-1"))
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert picture_of(engine) == before
    serves(client)()


TARGETS = [
    "*",
    "http://127.0.0.1/",
    "http://evil.example/api/live-trading/buy",
    "//evil.example/api/live-trading/buy",
    f"/{API}/buy",
    "/api/live-trading/./buy",
    "/api/live-trading/../live-trading/buy",
    "/api/live-trading/buy%00",
    "/api/live-trading/buy%20",
    "/api/live-trading/buy;x=y",
    "/api/live-trading\\buy",
    "/API/LIVE-TRADING/BUY",
    "/api/live-trading/buy/",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%c0%af..%c0%afetc/passwd",
    "/panel.js/../../desk/auth.py",
    "/%ff%fe",
    "/%",
    "/%zz",
    "?",
    "#",
    "127.0.0.1:80",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_crooked_path_leads_nowhere(desk: Desk, engine: lt.LiveTradingEngine, target: str) -> None:
    before = picture_of(engine)
    for method in ("POST", "GET", "CONNECT", "OPTIONS"):
        data = head(method, target, known(desk), "Content-Type: application/json", f"Content-Length: {len(ORDER)}")
        answer = exchange(desk, data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + ORDER)
        assert 400 <= status_of(answer) < 500
    assert picture_of(engine) == before


def test_what_means_the_same_is_the_same(desk: Desk) -> None:
    """A path is compared once it is decoded: for the page, for what is never held up, and for what is asked."""
    with asking(desk, headers={}) as stranger:
        assert stranger.get(f"/?token={desk.token}").status_code == 200
    data = head("GET", "/api/live-trading/%68ealth", known(desk), "Connection: close")
    assert status_of(exchange(desk, data)) == 200


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  /  HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"\x00" * 1_000,
    b"EHLO desk\r\n",
    "GÉT / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
]


@pytest.mark.parametrize("data", NOT_HTTP)
def test_what_is_not_http_is_refused(desk: Desk, client: httpx.Client, data: bytes) -> None:
    answer = exchange(desk, data)
    assert answer == b"" or 400 <= status_of(answer) < 500
    serves(client)()


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SHAKE = (*UPGRADE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")


@pytest.mark.parametrize(
    "data",
    [
        head("GET", f"{API}/stream", *SHAKE, "Content-Length: 3") + b"abc",
        head("GET", f"{API}/stream", *SHAKE, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        head("GET", f"{API}/stream", *SHAKE, *(f"X{number}: y" for number in range(300))),
        head("GET", f"{API}/stream", *SHAKE, "X: " + "y" * 10_000),
        head("GET", f"{API}/stream", *UPGRADE),
        head("POST", f"{API}/stream", *SHAKE),
        head("POST", BUY, *SHAKE, f"Content-Length: {len(ORDER)}") + ORDER,
        head("GET", f"{API}/stream", *UPGRADE, "Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: x"),
        head("GET", f"{API}/stream", *SHAKE).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_what_is_no_handshake_is_ended(
    desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine, data: bytes
) -> None:
    before = picture_of(engine)
    answer = exchange(desk, data)
    assert answer == b"" or 400 <= status_of(answer) < 500
    soon(lambda: not _left(desk, client))
    assert picture_of(engine) == before


def test_a_bad_chunk_behind_an_answer_is_cut_off(desk: Desk, client: httpx.Client) -> None:
    with connected(desk) as connection:
        connection.sendall(head("POST", BUY, "Transfer-Encoding: chunked"))
        assert status_of(one_answer(connection)) == 401
        connection.sendall(b"no chunk\r\n")
        to_the_end(connection)
    assert status_of(exchange(desk, head("POST", BUY, "Transfer-Encoding: chunked") + b"no chunk\r\n")) == 400
    serves(client)()


# ── the WebSocket ────────────────────────────────────────────────────────────────────────────────────────────────────


def listening(desk: Desk, query: str = "") -> Any:
    return connect(f"ws://{HOST}:{desk.port}{API}/stream{query}", additional_headers=bearer(desk), proxy=None)


def code_of(line: Any) -> int:
    """With what the desk ends a line."""
    try:
        while True:
            line.recv(PATIENCE)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None  # noqa: PT017
        return closed.rcvd.code


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{}",
        "[]",
        "null",
        "{",
        "[" * 30_000,
        '{"key":"a"}',
        '{"key":"a","command":"nothing"}',
        '{"key":"a","command":["flatten"]}',
        '{"key":"a","command":"__init__"}',
        '{"key":"a","command":"close"}',
        '{"key":"a","command":"flatten","command":"halt"}',
        '{"key":"a","command":"halt","body":{"reason":NaN}}',
        '{"key":"a","command":"transfer","body":{"amount":1e99999999999999999999}}',
        b"\x00\x01",
        b'{"key":"a","command":"halt","body":{}}',
    ],
)
def test_what_is_no_command_ends_the_line(
    desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine, message: str | bytes
) -> None:
    before = picture_of(engine)
    with listening(desk, "?after=0") as line:
        line.send(message)
        assert code_of(line) == 1008
    assert picture_of(engine) == before
    serves(client)()


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("submit", {"symbol": SBIN, "side": "BUY", "quantity": 1.5}),
        ("submit", {"symbol": SBIN, "side": "LEFT", "quantity": 1}),
        ("submit", {"symbol": SBIN, "quantity": 1}),
        ("submit", []),
        ("submit", None),
        ("transfer", {"amount": "NaN"}),
        ("transfer", {"amount": 0}),
        ("modify", {"client_order_id": "nobody", "quantity": 1}),
        ("set_stop_loss", {"symbol": SBIN, "price": -1}),
        ("register", {"instrument": "{}"}),
        ("register", {"instrument": "[" * 5_000}),
        ("register", {"instrument": '{"symbol":"A","scale":1e400}'}),
        ("ticks", {}),
        ("ticks", {"symbol": 5}),
        ("shutdown", {"force": "yes"}),
        ("close_position", {"symbol": SBIN, "quantity": "1e9999999999999999999"}),
    ],
)
def test_a_wrong_command_fails_alone(desk: Desk, engine: lt.LiveTradingEngine, command: str, body: Any) -> None:
    before = picture_of(engine)
    with listening(desk, "?after=0") as line:
        line.send(json.dumps({"key": "wrong", "command": command, "body": body}))
        line.send(json.dumps({"key": "right", "command": "barrier", "body": {}}))
        answers = {}
        while "right" not in answers:
            told = line.recv(PATIENCE)
            if isinstance(told, str) and (message := json.loads(told))["type"] == "answer":
                answers[message["key"]] = message
    assert answers["wrong"]["error"] in ("OrderError", "PriceError")
    assert picture_of(engine) == before


def test_a_message_beyond_64_kib_ends_the_line(desk: Desk, client: httpx.Client) -> None:
    for parts in (["x" * 70_000], ["x" * 40_000, "x" * 40_000]):
        with listening(desk, "?after=0") as line:
            line.send(iter(parts))
            assert code_of(line) == 1009
    serves(client)()


def test_there_are_only_so_many_listeners(desk: Desk, client: httpx.Client) -> None:
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(listening(desk)).recv(PATIENCE)
        with listening(desk) as line:
            assert code_of(line) == 1013
        serves(client)()
        assert client.post(f"{API}/flatten").status_code == 200
    soon(lambda: not _left(desk, client))


@pytest.mark.parametrize("query", ["?x=1", "?after=-1", "?after=x", "?after=", "?after=1e3", "?view=all"])
def test_a_stream_of_another_kind_is_refused(desk: Desk, query: str) -> None:
    with listening(desk, query) as line:
        assert code_of(line) == 1008


# ── logs, floods, crashes ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_line_is_one_line_whatever_is_in_it(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    forged = 'x"}\n{"time": "forged"}\r\n\x1b[2J\u2028\x85'
    with caplog.at_level("INFO", "livetrade.audit"):
        client.post(BUY, json={"symbol": SBIN, "quantity": 1, "tag": forged, "client_order_id": "forged"})
        client.post(f"{API}/halt", json={"reason": forged})
        client.post(f"{API}/cancel", json={"client_order_id": forged})
        client.post(f"{API}/resume")
    lines = [JsonLines(["hushhush"]).format(record) for record in caplog.records if "resume" not in record.message]
    assert len(lines) == 3
    for line in lines:
        assert line.isascii()
        assert len(line.splitlines()) == 1
        assert json.loads(line)["time"] != "forged"


@pytest.mark.parametrize("secret", ["hushhush", 'hu"sh\\hush', "still-é"])
def test_a_secret_is_left_out_of_a_line_wherever_it_stands(secret: str) -> None:
    try:
        raise RuntimeError(f"it broke with {secret}")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord(f"a.{secret}", logging.ERROR, "", 1, "told %s", (secret,), info)
    record.body = {"tag": secret, secret: 1}
    line = JsonLines([secret, ""]).format(record)
    assert secret not in line
    assert secret not in str(json.loads(line))
    assert line.count("[secret]") >= 5


def test_a_flood_of_symbols_holds_up_no_stop(desk: Desk, client: httpx.Client, engine: lt.LiveTradingEngine) -> None:
    engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(PATIENCE)
    for number in range(300):
        assert client.post(f"{API}/update-price", json={"symbol": f"X{number}", "last": 1}).status_code == 200
    for table in ("orders", "positions", "risk-orders", "health", "portfolio"):
        assert client.get(f"{API}/{table}").status_code == 200
    client.post(f"{API}/update-price", json={"symbol": SBIN, "bid": 544.9, "ask": 545, "last": 544.95})
    soon(lambda: not engine.position(SBIN))
    client.post(f"{API}/update-price", json={"symbol": SBIN, "bid": 548.95, "ask": 549, "last": 549})


def test_a_crash_of_one_answer_is_told_and_ends_its_connection(
    desk: Desk, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("with something that nobody should read")

    with monkeypatch.context() as patch:
        patch.setattr(rows, "risks_page", broken)
        answer = client.get(f"{API}/risk-orders")
    assert answer.status_code == 500
    assert answer.json() == {"success": False, "message": answer.json()["message"], "order": None}
    assert "nobody should read" not in answer.text
    assert answer.headers["connection"] == "close"
    assert client.get(f"{API}/risk-orders").status_code == 200
