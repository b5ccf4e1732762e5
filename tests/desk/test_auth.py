"""Nobody gets in: the token, where requests may come from, and what is written down of it."""

import json
import os
import pickle
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from http.cookies import SimpleCookie
from itertools import product
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import livetrade as lt
from livetrade.desk.auth import Bounds, Doors
from livetrade.desk.desk import Desk, check_place
from livetrade.desk.request import ask
from livetrade.desk.runtime import find
from livetrade.desk.server import Server
from tests.desk.asking import API, JSON, asking, bearer, exchange, head, status_of
from tests.desk.kit import HOST, attached_to, serving
from tests.support import SBIN, picture_of, soon, trading

DATA = Path(__file__).parent / "data"
CERTIFICATE, KEY = DATA / "loopback.crt", DATA / "loopback.key"
BUY = f"{API}/buy"
STREAM = f"{API}/stream"
ORDER = {"symbol": SBIN, "quantity": 1}


def all_routes() -> list[Any]:
    """The server's own table, so that no new route is forgotten."""
    server = Server(cast(Any, None), Doors(frozenset(), None, ""), lambda: None, secure=False)
    return list(cast(Any, server.application()._app).routes)


ROUTES = [(method, r.path) for r in all_routes() if isinstance(r, Route) for method in sorted(r.methods or ())]
NOWHERE = [
    ("GET", "/nothing"),
    ("GET", "/favicon.ico"),
    ("GET", f"{API}/nothing"),
    ("POST", f"{API}/nothing"),
    ("POST", f"{BUY}/"),
    ("OPTIONS", BUY),
    ("DELETE", BUY),
    ("TRACE", "/"),
    ("POST", "/"),
    ("GET", STREAM),
]
EVERYWHERE = [*ROUTES, *NOWHERE]


@pytest.fixture(scope="module")
def no_engine_is_left() -> None:
    """One engine serves the module."""


@pytest.fixture(scope="module")
def engine() -> Iterator[lt.LiveTradingEngine]:
    with trading() as engine:
        yield engine


@pytest.fixture(scope="module")
def desk(engine: lt.LiveTradingEngine) -> Iterator[Desk]:
    with serving(engine) as desk:
        yield desk


@pytest.fixture
def stranger(desk: Desk, engine: lt.LiveTradingEngine) -> Iterator[httpx.Client]:
    """Who has no token, takes no cookie, and at the end has changed nothing."""
    before = picture_of(engine)
    with asking(desk, headers={}) as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client
    assert picture_of(engine) == before


def everywhere(client: httpx.Client, query: str = "", **headers: str) -> dict[tuple[str, str], int]:
    """The status of each route; what may change something would, if it were let in."""
    found = {}
    for method, path in EVERYWHERE:
        body = {"json": ORDER} if method == "POST" else {}
        found[method, path] = client.request(method, path + query, headers=headers, **body).status_code
    return found


def test_the_table_of_routes_is_the_server_s() -> None:
    assert len(ROUTES) > 20
    assert {("POST", BUY), *(("GET", path) for path in ("/", "/docs", "/openapi.json", "/panel.js"))} <= set(ROUTES)
    assert [r.path for r in all_routes() if not isinstance(r, Route)] == [STREAM]
    assert [r.path for r in all_routes() if isinstance(r, WebSocketRoute)] == [STREAM]


# ── the token ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_shown_or_done_without_a_token(stranger: httpx.Client) -> None:
    assert everywhere(stranger) == dict.fromkeys(EVERYWHERE, 401)


WRONG = {
    "another": lambda token: "Bearer " + "x" * 43,
    "only the word": lambda token: "Bearer",
    "without the word": lambda token: token,
    "basic": lambda token: f"Basic {token}",
    "one character short": lambda token: f"Bearer {token[:-1]}",
    "one character more": lambda token: f"Bearer {token}x",
    "the other case": lambda token: f"Bearer {token.swapcase()}",
    "twice in one": lambda token: f"Bearer {token} {token}",
    "not ASCII": lambda token: f"Bearer {token}é",
    "a list": lambda token: f"Bearer x, Bearer {token}",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_token_opens_nothing(desk: Desk, stranger: httpx.Client, wrong: Any) -> None:
    value = wrong(desk.token).encode("latin-1")
    assert everywhere(stranger, Authorization=value) == dict.fromkeys(EVERYWHERE, 401)


def test_a_refusal_says_what_is_missing_and_no_more(desk: Desk, stranger: httpx.Client) -> None:
    answer = stranger.post(BUY, json=ORDER)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {"success": False, "message": answer.json()["message"], "order": None}
    page = stranger.get("/")
    assert "needs its token" in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not {desk.token, desk.engine.name} & set(re.findall(r"[\w-]+", answer.text + page.text))


def test_the_right_token_opens_every_route(desk: Desk) -> None:
    with asking(desk) as client:
        found = {(method, path): client.request(method, path).status_code for method, path in ROUTES}
    assert {status for (method, _), status in found.items() if method != "POST"} == {200}
    assert {status for (method, _), status in found.items() if method == "POST"} <= {200, 422}


@pytest.mark.parametrize("name", ["token", "Token", "access_token", "authorization"])
def test_a_token_in_an_address_opens_the_page_only(desk: Desk, stranger: httpx.Client, name: str) -> None:
    opened = {route for route, status in everywhere(stranger, f"?{name}={desk.token}").items() if status != 401}
    assert opened == ({("GET", "/")} if name == "token" else set())


@pytest.mark.parametrize("query", ["token=x&token={}", "token={}&token={}", "token=", "token={}x", "x=token={}"])
def test_an_address_with_anything_but_the_token_opens_nothing(desk: Desk, stranger: httpx.Client, query: str) -> None:
    assert stranger.get(f"/?{query.replace('{}', desk.token or '')}").status_code == 401


def test_every_answer_is_shut_to_other_pages(desk: Desk, stranger: httpx.Client) -> None:
    with asking(desk) as client:
        answers = [client.request(*route) for route in EVERYWHERE] + [stranger.request(*route) for route in EVERYWHERE]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "server" not in answer.headers


# ── from where ───────────────────────────────────────────────────────────────────────────────────────────────────────

FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example",
    "evil.example:{port}",
    "127.0.0.2:{port}",
    "0.0.0.0:{port}",
    "2130706433:{port}",
    "127.1:{port}",
    "0x7f.0.0.1:{port}",
    "[::]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "::1",
    "[::1",
    "[127.0.0.1]",
    "localhost.:{port}",
    "localhost:{port}:80",
    "localhost:port",
    "localhost@evil.example",
    "evil.example@localhost:{port}",
    "localhost:{port}@evil.example",
    "localhost/evil",
    "localhost?evil",
    "localhost#evil",
    "localhost, evil.example",
    "localhost evil.example",
    "",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_name_that_points_here_opens_nothing(desk: Desk, engine: lt.LiveTradingEngine, host: str) -> None:
    before = picture_of(engine)
    named = host.replace("{port}", str(desk.port))
    with asking(desk) as client:
        assert everywhere(client, Host=named) == dict.fromkeys(EVERYWHERE, 403)
    assert picture_of(engine) == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_its_own_names_open(desk: Desk, host: str) -> None:
    with asking(desk) as client:
        assert client.get(f"{API}/health", headers={"Host": f"{host}:{desk.port}"}).status_code == 200


FOREIGN_ORIGINS = [
    "https://evil.example",
    "http://evil.example:{port}",
    "http://localhost:{port}",  # the Host says 127.0.0.1
    "http://127.0.0.1",
    "http://127.0.0.1:8888",
    "http://127.0.0.1:{port}0",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example",
    "http://evil.example@127.0.0.1:{port}",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#",
    "ftp://127.0.0.1:{port}",
    "vscode-webview://127.0.0.1:{port}",
    "file://",
    "//127.0.0.1:{port}",
    "127.0.0.1:{port}",
    "http://[",
    "null",
    "",
    "http://127.0.0.1:{port} http://evil.example",
]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_page_of_another_origin_opens_nothing(desk: Desk, engine: lt.LiveTradingEngine, origin: str) -> None:
    before = picture_of(engine)
    with asking(desk) as client:
        found = everywhere(client, Origin=origin.replace("{port}", str(desk.port)))
    assert found == dict.fromkeys(EVERYWHERE, 403)
    assert picture_of(engine) == before


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "nonsense"])
def test_what_a_browser_fetches_for_another_site_is_refused(
    desk: Desk, engine: lt.LiveTradingEngine, site: str
) -> None:
    before = picture_of(engine)
    with asking(desk) as client:
        assert everywhere(client, **{"Sec-Fetch-Site": site}) == dict.fromkeys(EVERYWHERE, 403)
    assert picture_of(engine) == before


FOLLOWED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_a_link_that_is_followed_from_another_site_opens_the_page_only(desk: Desk) -> None:
    with asking(desk) as client:
        found = everywhere(client, **FOLLOWED)
    assert {route for route, status in found.items() if status != 403} == {("GET", "/")}


@pytest.mark.parametrize(
    ("mode", "destination"),
    [("no-cors", "document"), ("navigate", "iframe"), ("navigate", "embed"), ("cors", "empty"), ("websocket", "empty")],
)
def test_what_is_not_a_link_does_not_even_open_the_page(desk: Desk, mode: str, destination: str) -> None:
    headers = {**FOLLOWED, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    with asking(desk) as client:
        assert client.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "line",
    [
        "Host: evil.example",
        "Origin: {url}",
        "Authorization: Bearer {token}",
        "Sec-Fetch-Site: same-origin",
        "Content-Type: application/json",
        "Idempotency-Key: one",
    ],
)
def test_a_header_that_decides_stands_there_once(desk: Desk, engine: lt.LiveTradingEngine, line: str) -> None:
    before = picture_of(engine)
    line = line.format(url=desk.url, token=desk.token)
    host = f"{HOST}:{desk.port}"
    rest = [f"{name}: {value}" for name, value in {**bearer(desk), **JSON}.items() if not line.startswith(name)]
    others = [] if line.startswith("Host") else [line]
    data = head("POST", BUY, line, *others, *rest, "Content-Length: 2", "Connection: close", host=host)
    assert status_of(exchange(desk, data + b"{}")) == 400
    assert picture_of(engine) == before


def test_a_proxy_is_not_believed(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "Forwarded": "for=6.6.6.6"}
    with asking(desk) as client, caplog.at_level("INFO", "livetrade.audit"):
        client.post(f"{API}/cancel", json={"client_order_id": "nobody"}, headers=forged)
    assert [cast(Any, record).client.split(":")[0] for record in caplog.records] == [HOST]


# ── the cookie ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """Who opened the page by its address, and has the cookie and nothing else."""
    with asking(desk, headers={}) as client:
        assert client.get(f"/?token={desk.token}").status_code == 200
        yield client


def test_the_cookie_is_strict_and_no_copy_of_the_token(desk: Desk, stranger: httpx.Client) -> None:
    given = stranger.get(f"/?token={desk.token}").headers.get_list("set-cookie")
    assert len(given) == 1
    cookie = SimpleCookie(given[0])[f"livetrade_{desk.port}"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
    assert len(cookie.value) == 64
    assert desk.token is not None
    assert desk.token not in given[0]
    assert stranger.get("/", headers={"Authorization": f"Bearer {cookie.value}"}).status_code == 401
    assert stranger.get(f"/?token={cookie.value}").status_code == 401


def test_the_cookie_comes_with_the_token_in_the_address_only(desk: Desk, browser: httpx.Client) -> None:
    assert "set-cookie" not in browser.get("/").headers
    assert "set-cookie" not in browser.get("/?token=wrong").headers
    with asking(desk) as client:
        assert not [route for route in ROUTES if "set-cookie" in client.request(*route).headers]


def test_the_cookie_reads_and_with_an_origin_it_orders(
    desk: Desk, browser: httpx.Client, engine: lt.LiveTradingEngine
) -> None:
    before = picture_of(engine)
    found = everywhere(browser)
    assert {status for (method, _), status in found.items() if method not in ("GET", "HEAD")} == {401}
    assert {found[route] for route in ROUTES if route[0] in ("GET", "HEAD")} == {200}
    assert picture_of(engine) == before
    own = {"Origin": desk.url, "Sec-Fetch-Site": "same-origin"}
    answer = browser.post(f"{API}/halt", json={"reason": "from the page"}, headers=own)
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert browser.post(f"{API}/resume", headers=own).status_code == 200


@pytest.mark.parametrize("change", [str.upper, lambda value: value[:-1], lambda value: "", lambda value: value + "0"])
def test_a_changed_cookie_opens_nothing(desk: Desk, browser: httpx.Client, change: Any) -> None:
    name = f"livetrade_{desk.port}"
    value = browser.cookies[name]
    with asking(desk, headers={}, cookies={name: change(value)}) as client:
        assert client.get("/").status_code == 401
    with asking(desk, headers={}, cookies={"livetrade_1": value}) as client:
        assert client.get("/").status_code == 401


def test_another_desk_s_cookie_opens_nothing(browser: httpx.Client, desk: Desk) -> None:
    with trading(name="another") as other, serving(other) as another:
        cookies = {f"livetrade_{another.port}": browser.cookies[f"livetrade_{desk.port}"]}
        with asking(another, headers={}, cookies=cookies) as client:
            assert client.get("/").status_code == 401


# ── the WebSocket ────────────────────────────────────────────────────────────────────────────────────────────────────


def listening(desk: Desk, query: str = "", **headers: str) -> ClientConnection:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return connect(f"ws://{HOST}:{desk.port}{STREAM}{query}", additional_headers=given, proxy=None)


def refusal(desk: Desk, query: str = "", **headers: str) -> int:
    with pytest.raises(InvalidStatus) as refused, listening(desk, query, **headers):
        pass
    return refused.value.response.status_code


@pytest.mark.parametrize("view", ["", "?after=0", "?view=panel"])
def test_the_stream_is_shut_to_strangers(desk: Desk, browser: httpx.Client, view: str) -> None:
    cookie = f"livetrade_{desk.port}={browser.cookies[f'livetrade_{desk.port}']}"
    also = "&" if view else "?"
    assert refusal(desk, view) == 401
    assert refusal(desk, view, Authorization="Bearer wrong") == 401
    assert refusal(desk, f"{view}{also}token={desk.token}") == 401
    assert refusal(desk, view, Cookie=cookie) == 401
    assert refusal(desk, view, Cookie=cookie, Origin="http://localhost:8888") == 403
    assert refusal(desk, view, Cookie=cookie, Origin="null") == 403
    assert refusal(desk, view, **bearer(desk), Origin="https://evil.example") == 403
    assert refusal(desk, view, **bearer(desk), Sec_Fetch_Site="cross-site") == 403
    assert refusal(desk, view, Cookie=cookie, Origin=desk.url, Sec_Fetch_Site="same-site") == 403


def test_a_stranger_at_the_stream_fills_no_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        refusal(desk)
    assert not [record for record in caplog.records if record.name == "uvicorn.error"]


def test_the_stream_opens_with_the_token_or_with_the_cookie_and_its_own_origin(
    desk: Desk, browser: httpx.Client
) -> None:
    cookie = f"livetrade_{desk.port}={browser.cookies[f'livetrade_{desk.port}']}"
    for headers in (bearer(desk), {"Cookie": cookie, "Origin": desk.url}):
        with listening(desk, **headers) as socket:
            assert '"snapshot"' in str(socket.recv())


def test_a_token_in_the_address_of_the_stream_is_not_even_taken_beside_a_good_one(desk: Desk) -> None:
    with listening(desk, f"?token={desk.token}", **bearer(desk)) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


# ── without a token, and from elsewhere ──────────────────────────────────────────────────────────────────────────────

INSIDE = ("127.0.0.1", "127.0.0.2", "localhost", "::1")
OUTSIDE = (
    "0.0.0.0",
    "::",
    "",
    "192.168.1.10",
    "desk.example",
    "127.evil.example",
    "127.0.0.1.evil.example",
    "::ffff:0.0.0.0",
    "localhost.evil.example",
)
FLAGS = list(product((False, True), repeat=4))


@pytest.mark.parametrize("host", [*INSIDE, *OUTSIDE])
def test_where_a_desk_may_listen(host: str) -> None:
    for tls, remote, no_token, real in FLAGS:
        safe = (host in INSIDE or (tls and remote)) and not (no_token and (real or host in OUTSIDE))
        files = {"certfile": CERTIFICATE if tls else None, "keyfile": KEY if tls else None}

        def check(terms: Any = {**files, "remote": remote, "no_token": no_token, "real": real}) -> None:  # noqa: B006
            check_place(host, **terms)

        if safe:
            check()
        else:
            with pytest.raises(lt.DeskError, match=r"--remote|--no-token"):
                check()


@pytest.mark.parametrize("files", [(CERTIFICATE, None), (None, KEY)])
def test_half_of_tls_is_none(files: tuple[Path | None, Path | None]) -> None:
    with pytest.raises(lt.DeskError, match="both"):
        check_place(HOST, certfile=files[0], keyfile=files[1], remote=False, no_token=False, real=False)


def test_a_desk_without_a_token_is_shut_to_browsers_of_other_sites_all_the_same(tmp_path: Path) -> None:
    with trading(name="open") as engine, serving(engine, no_token=True) as desk, asking(desk) as client:
        assert desk.token is None
        assert (desk.link, client.get("/").status_code) == (desk.url, 200)
        assert client.post(BUY, json=ORDER).status_code == 200
        assert client.post(BUY, json=ORDER, headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.post(BUY, json=ORDER, headers={"Host": "evil.example"}).status_code == 403
        assert client.post(BUY, json=ORDER, headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
        form = {"content": json.dumps(ORDER), "headers": {"Content-Type": "text/plain"}}
        assert client.post(BUY, **form).status_code == 415  # what a page could send without asking first
        with listening(desk) as socket:
            assert '"snapshot"' in str(socket.recv())
        assert refusal(desk, Origin="https://evil.example") == 403
        assert engine.position(SBIN).quantity == 1


def test_each_desk_has_a_token_of_its_own() -> None:
    with trading(name="one") as one, trading(name="two") as two, serving(one) as first, serving(two) as second:
        assert first.token is not None
        assert first.token != second.token
        assert len(first.token) >= 43  # 256 bits


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def test_a_desk_behind_tls_is_attached_to_and_asked(trusted: ssl.SSLContext) -> None:
    with trading(name="shut") as engine, serving(engine, certfile=CERTIFICATE, keyfile=KEY) as desk:
        assert desk.url == f"https://{HOST}:{desk.port}"
        with attached_to(desk) as attached:
            assert attached.market_buy(SBIN, 2).result(30).success
        assert ask(find("shut"), "GET", "health")[0] == 200
        with asking(desk, verify=trusted) as client:
            assert client.get(f"{API}/positions").json()[0]["quantity"] == "2"
            opened = client.get(f"/?token={desk.token}").headers["set-cookie"]
            assert SimpleCookie(opened)[f"livetrade_{desk.port}"]["secure"] is True
            assert client.post(f"{API}/halt", headers={"Origin": desk.url}).status_code == 200


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with trading(name="unknown") as engine, serving(engine, certfile=CERTIFICATE, keyfile=KEY) as desk:
        with pytest.raises(lt.DeskError, match=r"(?i)certificate"):
            lt.attach(url=desk.url, token=desk.token)
        with pytest.raises(lt.DeskError, match=r"(?i)certificate"):
            ask(find("unknown"), "GET", "health")


def test_plain_words_to_a_desk_behind_tls_are_not_answered(trusted: ssl.SSLContext) -> None:
    with trading(name="plain") as engine, serving(engine, certfile=CERTIFICATE, keyfile=KEY) as desk:
        assert b"200" not in exchange(desk, head("GET", "/", *[f"{k}: {v}" for k, v in bearer(desk).items()]))
        with asking(desk, verify=trusted) as client:
            assert client.get(f"{API}/health").status_code == 200


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with trading(name="broken") as engine, pytest.raises(lt.DeskError, match="certificate"):
        Desk(engine, port=0, certfile=broken, keyfile=KEY)


# ── secrets stay secret ──────────────────────────────────────────────────────────────────────────────────────────────

CRASHING = """
import sys
from livetrade.desk import rows
from livetrade.desk.runtime import find

def broken(*_, **__):
    raise RuntimeError(f"broke while it held {find().token}")

rows.risks_page = broken
from livetrade.cli import main
sys.exit(main())
"""


def test_a_token_is_written_down_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The life of a desk as a process, with everything that might tell; then all that is left is searched."""
    runtime = tmp_path / "runtime"
    monkeypatch.setenv("LIVETRADE_RUNTIME_DIR", str(runtime))
    words = ["serve", "--port", "0", "--journal", str(tmp_path / "account.journal")]
    process = subprocess.Popen(
        [sys.executable, "-c", CRASHING, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    try:
        soon(lambda: (runtime / "main.json").exists() or process.poll() is not None)
        desk = find("main")
        secrets = [desk.token, Doors(frozenset(), desk.token, "").cookie_value]
        live_through(cast(Any, Running(desk.url, desk.token)))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert b"broke while it held [secret]" in said[1]
    assert not [secret for secret in secrets for text in said if secret.encode() in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"account.journal", "account.journal.audit"} <= {path.name for path in files}
    assert not [path for path in files for secret in secrets if secret.encode() in path.read_bytes()]


class Running:
    """What `asking` and its like need to know of a desk."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token, self.port = url, token, int(url.rpartition(":")[2])


def live_through(desk: Desk) -> None:
    """Good requests and bad ones, by every way that a token could take."""
    with asking(desk) as client:
        client.post(f"{API}/update-price", json={"symbol": SBIN, "bid": 548, "ask": 549})
        assert client.post(BUY, json={**ORDER, "stop_loss_price": 540}).json()["success"]
        assert client.get(f"{API}/risk-orders").status_code == 500
        client.get(f"/?token={desk.token}")
        client.get(f"/nothing?token={desk.token}")
        client.post(f"{BUY}?token={desk.token}", json={**ORDER, "client_order_id": desk.token})
        client.get(f"{API}/orders?after={desk.token}")
        client.post(BUY, json=ORDER, headers={"Host": "evil.example"})
        client.post(BUY, json=ORDER, headers={"Origin": f"http://{desk.token}"})
    with asking(desk, headers={}) as client:
        client.get(f"/?token={desk.token}")
        client.post(f"{API}/flatten", headers={"Origin": desk.url})
        client.get(f"{API}/health?token={desk.token}")
    exchange(desk, f"GET /?token={desk.token} HTTP\r\nAuthorization: Bearer {desk.token}\r\n\r\n".encode())
    knows = f"Authorization: Bearer {desk.token}"
    exchange(desk, head("GET", "/", knows, "Upgrade: h2c", "Connection: upgrade, close"))
    assert refusal(desk, f"?token={desk.token}") == 401
    with listening(desk, f"?token={desk.token}", **bearer(desk)) as socket, pytest.raises(ConnectionClosed):
        socket.recv()
    with listening(desk, "?after=0", **bearer(desk)) as socket:
        socket.send(f"no command: {desk.token}")
    with attached_to(desk) as attached:
        assert attached.flatten().result(30).success


def test_nothing_shows_a_token_or_keeps_it_when_it_is_pickled(desk: Desk) -> None:
    assert desk.token is not None
    with attached_to(desk) as attached:
        things = [desk, attached, find(), Doors(frozenset({"a"}), desk.token, "cookie")]
        for thing in things:
            assert desk.token not in f"{thing!r} {thing} {vars(type(thing)).get('__doc__')}"
        for thing in (desk, attached):
            with pytest.raises((TypeError, AttributeError), match="pickle"):
                pickle.dumps(thing)


@pytest.mark.usefixtures("desk")
def test_where_a_desk_is_cannot_be_pickled_with_its_token() -> None:
    with pytest.raises(TypeError, match="token"):
        pickle.dumps(find())


def test_a_token_is_compared_in_whole(desk: Desk) -> None:
    """Each of its characters counts."""
    assert desk.token is not None
    with asking(desk, headers={}) as client:
        for place, character in enumerate(desk.token):
            other = "a" if character != "a" else "b"
            changed = desk.token[:place] + other + desk.token[place + 1 :]
            assert client.get("/", headers={"Authorization": f"Bearer {changed}"}).status_code == 401


def test_strangers_who_come_in_numbers_use_up_nobody_s_share() -> None:
    bounds = Bounds(per_second=0, burst=2)
    with trading(name="crowded") as engine, serving(engine, bounds=bounds) as desk, asking(desk) as client:
        with asking(desk, headers={}) as stranger:
            assert {stranger.post(BUY, json=ORDER).status_code for _ in range(50)} == {401}
        assert [client.post(BUY, json=ORDER).status_code for _ in range(3)] == [200, 200, 429]
