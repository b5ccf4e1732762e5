"""Logging in: the browser's way out and back, what can go wrong on it, and the command as a user meets it."""

import itertools
import logging
import os
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from livetrade.adapters.fyers.credentials import AccessToken, Secret
from livetrade.adapters.fyers.login import Doorway, log_in, read_answer
from livetrade.errors import FeedError, OrderError
from tests.adapters.fyers.rest_server import APP_ID, AUTH_CODE, SECRET, TOKEN, Reply, RestServer, serving

ANY_PORT = "http://127.0.0.1:0/"
LIVETRADE = [sys.executable, "-m", "livetrade.cli"]


@pytest.fixture
def server() -> Iterator[RestServer]:
    with serving() as server:
        yield server


class Person:
    """Who logs in: sees what is told, and follows the browser's redirects. `visits`: what the browser does instead."""

    def __init__(self, visits: Callable[[str], Any] | None = None) -> None:
        self.told: list[str] = []
        self.opened: list[str] = []
        self.pages: list[httpx.Response] = []
        self._visits = visits or (lambda url: self.get(url, follow_redirects=True))

    def get(self, url: str, **options: Any) -> httpx.Response:
        self.pages.append(httpx.get(url, trust_env=False, timeout=30, **options))
        return self.pages[-1]

    def browse(self, url: str) -> bool:
        self.opened.append(url)
        self._visits(url)
        return True

    def log_in(self, server: RestServer, secret: str = SECRET, uri: str = ANY_PORT, timeout: float = 30) -> AccessToken:
        return log_in(
            f" {APP_ID}\n",
            Secret(secret),
            uri,
            api_url=server.api_url,
            timeout=timeout,
            tell=self.told.append,
            open_browser=self.browse,
        )


def came_back(url: str) -> tuple[str, str]:
    """The redirect URI and the state of a log-in address."""
    query = parse_qs(urlsplit(url).query)
    return query["redirect_uri"][0], query["state"][0]


# ── the way out and back ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_browser_brings_the_token(server: RestServer) -> None:
    person = Person()
    token = person.log_in(server)
    assert token == AccessToken(TOKEN)
    [url] = person.opened
    query = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{server.api_url}/generate-authcode?")
    assert (query["client_id"], query["response_type"]) == ([APP_ID], ["code"])
    assert any(url in text for text in person.told)
    assert len(query["state"][0]) > 30
    [page] = person.pages
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "You can close this window" in page.text
    assert "Authorization" not in server.asked[-1].headers
    assert server.asked[-1].body["grant_type"] == "authorization_code"


def test_each_log_in_has_a_state_of_its_own(server: RestServer) -> None:
    person = Person()
    person.log_in(server)
    person.log_in(server)
    first, second = (came_back(url)[1] for url in person.opened)
    assert first != second


def test_only_the_way_back_is_answered(server: RestServer) -> None:
    def visits(url: str) -> None:
        uri, state = came_back(url)
        for path in ("favicon.ico", "", "other?s=ok&auth_code=x"):
            assert person.get(f"{uri}{path}").status_code == 404
        assert httpx.post(f"{uri}?s=ok&auth_code=x&state={state}", trust_env=False).status_code == 501
        assert person.get(f"{uri}?s=ok&code=200&auth_code={AUTH_CODE}&state={state}").status_code == 200

    person = Person(visits)
    assert person.log_in(server).app_id == APP_ID


def test_a_connection_that_says_nothing_holds_nobody_up(server: RestServer) -> None:
    def visits(url: str) -> None:
        at = urlsplit(came_back(url)[0])
        with socket.create_connection((at.hostname or "", at.port or 0)):
            person.get(url, follow_redirects=True)

    person = Person(visits)
    assert person.log_in(server).app_id == APP_ID


def test_a_redirect_uri_may_have_a_path(server: RestServer) -> None:
    person = Person()
    person.log_in(server, uri="http://localhost:0/fyers/callback")
    uri, _ = came_back(person.opened[0])
    assert re.fullmatch(r"http://localhost:\d+/fyers/callback", uri)
    assert urlsplit(str(person.pages[0].url)).path == "/fyers/callback"


def test_no_browser_is_said_and_the_address_still_works(server: RestServer) -> None:
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if "Waiting" in text:
            httpx.get(re.findall(r"http\S+authcode\S+", told[0])[0], follow_redirects=True, trust_env=False)

    token = log_in(APP_ID, Secret(SECRET), ANY_PORT, api_url=server.api_url, tell=tell, open_browser=lambda _: False)
    assert token.app_id == APP_ID
    assert told[1] == "No browser was opened here: open that address yourself."
    assert "ssh -L" in told[2]


# ── what can go wrong ────────────────────────────────────────────────────────────────────────────────────────────────


def test_denied(server: RestServer) -> None:
    server.denies = {"s": "error", "code": "-1600", "message": "user denied <b>\x1b[1m"}
    person = Person()
    with pytest.raises(FeedError, match=r"Fyers did not log you in: user denied <b>\[1m, code -1600"):
        person.log_in(server)
    assert person.pages[0].status_code == 400
    assert "denied" not in person.pages[0].text
    assert "livetrade says why where it was started" in person.pages[0].text


def test_a_wrong_state_is_refused_and_its_code_not_used(server: RestServer) -> None:
    server.denies = {"s": "ok", "code": "200", "auth_code": AUTH_CODE, "state": "of-somebody-else"}
    with pytest.raises(FeedError, match="not the log-in that was started here"):
        Person().log_in(server)
    assert server.paths() == ["/api/v3/generate-authcode"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({}, "it was denied"),
        ({"s": "ok", "state": "right"}, "it was denied"),
        ({"auth_code": "x"}, "not the log-in that was started"),
        ({"auth_code": "x", "state": "rightly"}, "not the log-in that was started"),
        ({"auth_code": "x", "state": "ü"}, "not the log-in that was started"),
        ({"s": "error", "auth_code": "x", "state": "right", "code": "<b>"}, "it was denied$"),
    ],
)
def test_what_brings_no_code(query: dict[str, str], told: str) -> None:
    answer = read_answer(query, "right")
    assert isinstance(answer, FeedError)
    assert re.search(told, str(answer))


def test_nobody_comes_back(server: RestServer) -> None:
    with pytest.raises(
        FeedError, match=r"nobody came back from Fyers within 0\.05 s: .*redirect URI .* must be http://127"
    ):
        Person(lambda _: None).log_in(server, timeout=0.05)


def test_a_port_in_use_is_named(server: RestServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        person = Person()
        with pytest.raises(
            FeedError, match=f"port {port} of the redirect URI http://127.0.0.1:{port}/ cannot be listened"
        ):
            person.log_in(server, uri=f"http://127.0.0.1:{port}/")
    assert (person.opened, server.asked) == ([], [])


@pytest.mark.parametrize(
    "uri",
    [
        "https://127.0.0.1:5173/",
        "http://example.com:80/",
        "http://127.0.0.1/",
        "http://127.0.0.1:x/",
        "127.0.0.1",
        "http://[::",
    ],
)
def test_a_redirect_uri_that_cannot_be_listened_to(uri: str) -> None:
    with pytest.raises(OrderError, match="the redirect URI must be"):
        Doorway(uri, "state")


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (None, r"the app id or its secret is wrong: .*\(.*Invalid app id hash.*code -371"),
        (Reply({"s": "error", "code": -374, "message": "bad"}, 400), "good once and for a short time: log in again"),
        (Reply({"s": "error", "code": -437, "message": "bad"}, 400), "good once and for a short time: log in again"),
        (Reply({"s": "error", "code": -352, "message": "bad"}, 400), "there is no such app id"),
        (Reply({"s": "error", "code": -1, "message": "odd"}, 400), "refused the call: “odd”"),
        (Reply({"s": "ok", "code": 200}), "gave no token"),
        (Reply({"s": "ok", "code": 200, "access_token": "nonsense"}), "malformed"),
        (Reply(b"<html>", 503), "has a fault"),
    ],
    ids=itertools.count(),
)
def test_a_refused_exchange(server: RestServer, reply: Reply | None, told: str) -> None:
    def visits(url: str) -> None:
        person.get(url, follow_redirects=True)
        if reply is not None:
            server.faults.append(reply)

    person = Person(visits)
    with pytest.raises(FeedError, match=told):
        person.log_in(server, secret="wrong" if reply is None else SECRET)


@pytest.mark.parametrize("said", [None, f"{AUTH_CODE} is not good"])
def test_no_secret_is_shown(
    server: RestServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], said: str | None
) -> None:
    def visits(url: str) -> None:
        person.get(url, follow_redirects=True)
        if said:
            server.faults.append(Reply({"s": "error", "code": -374, "message": said}, 400))

    person = Person(visits)
    with caplog.at_level(logging.DEBUG):
        try:
            person.told.append(repr(person.log_in(server)))
        except FeedError as failure:
            person.told += [traceback.format_exc(), repr(failure), repr(failure.__context__)]
    logged = [
        record.getMessage() for record in caplog.records if "auth_code=" not in record.getMessage()
    ]  # the person's
    for text in (*person.told, *logged, *capfd.readouterr()):
        assert SECRET not in text
        assert AUTH_CODE not in text
        assert TOKEN.partition(":")[2] not in text


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────

BACKEND = """
import json, os
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 1

    def _read(self):
        try:
            with open(os.environ["KEPT"]) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def get_password(self, service, username):
        return self._read().get(f"{service} {username}")

    def set_password(self, service, username, password):
        kept = {**self._read(), f"{service} {username}": password}
        with open(os.environ["KEPT"], "w") as file:
            json.dump(kept, file)
"""
BROWSER = """
import sys, urllib.error, urllib.request
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1]).read()
except urllib.error.HTTPError:
    pass
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a machine that has a browser, a keyring and the app's id and secret."""
    (tmp_path / "kept_keyring.py").write_text(BACKEND)
    (tmp_path / "browser.py").write_text(BROWSER)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FYERS_")}
    return {
        **clean,
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "kept_keyring.Keyring",
        "KEPT": str(tmp_path / "kept.json"),
        "BROWSER": f"{sys.executable} {tmp_path / 'browser.py'} %s",
        "FYERS_APP_ID": APP_ID,
        "FYERS_SECRET": SECRET,
        "TZ": "Asia/Kolkata",
    }


def run(server: RestServer, environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    command = [*LIVETRADE, "login", "fyers", "--api-url", server.api_url, "--redirect-uri", ANY_PORT, *more]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )


def test_the_command_keeps_the_token_in_the_keyring(server: RestServer, environment: dict[str, str]) -> None:
    done = run(server, environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Logged in as {APP_ID}. The token is in the keyring, good until Tue 02 Oct 2096 12:36 IST." in done.stdout
    assert f"{server.api_url}/generate-authcode?client_id={APP_ID}" in done.stdout
    assert TOKEN.partition(":")[2] not in done.stdout
    found = "from livetrade.adapters.fyers.credentials import find_token; print(find_token().app_id)"
    del environment["FYERS_APP_ID"]
    again = subprocess.run([sys.executable, "-c", found], env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == f"{APP_ID}\n"


def test_an_old_token_in_the_environment_is_pointed_at(server: RestServer, environment: dict[str, str]) -> None:
    done = run(server, {**environment, "FYERS_AUTH_TOKEN": "OLD-100:a.b.c"})
    assert done.returncode == 0
    assert "FYERS_AUTH_TOKEN is set here, and goes first: unset it." in done.stdout


def test_without_a_keyring_it_prints_a_line_for_an_environment_file(
    server: RestServer, environment: dict[str, str]
) -> None:
    done = run(server, {**environment, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"export FYERS_AUTH_TOKEN={TOKEN}"
    assert "whoever has it can trade for you" in done.stdout


def test_a_failure_is_one_line(server: RestServer, environment: dict[str, str]) -> None:
    server.denies = {"s": "error", "code": "-1", "message": "no"}
    done = run(server, environment)
    assert (done.returncode, done.stderr) == (1, "livetrade: Fyers did not log you in: no, code -1\n")
    assert not Path(environment["KEPT"]).exists()


def test_without_a_browser_it_waits_for_the_address_to_be_opened(
    server: RestServer, environment: dict[str, str]
) -> None:
    done = run(server, {**environment, "BROWSER": "/nowhere/browser %s"}, "--timeout", "0.1")
    assert done.returncode == 1
    assert "No browser was opened here" in done.stdout
    assert "nobody came back" in done.stderr


def test_no_browser_need_be_opened(server: RestServer, environment: dict[str, str]) -> None:
    done = run(server, environment, "--no-browser", "--timeout", "0.1")
    assert done.returncode == 1
    assert "No browser was opened here" in done.stdout
    assert server.asked == []


def test_wrong_use_is_one_line(server: RestServer, environment: dict[str, str]) -> None:
    del environment["FYERS_SECRET"]
    done = run(server, environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give it as FYERS_SECRET or --secret" in done.stderr
    done = run(server, environment, "--secret", SECRET, "--redirect-uri", "https://example.com/")
    assert done.returncode == 2
    assert "the redirect URI must be http://127.0.0.1:PORT/" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run(server, environment, "--timeout", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_without_httpx_it_says_what_to_install(server: RestServer, environment: dict[str, str]) -> None:
    code = """
import sys
sys.modules["httpx"] = None
from livetrade import cli
sys.argv[1:] = ["login", "fyers"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        'livetrade: the Fyers API needs httpx: pip install "livetrade[fyers]"\n',
    )


def test_help_says_what_to_register() -> None:
    done = subprocess.run([*LIVETRADE, "login", "fyers", "--help"], capture_output=True, text=True, check=True)
    for text in ("--app-id", "--secret", "--redirect-uri", "FYERS_SECRET", "http://127.0.0.1:5173/", "registered with"):
        assert text in done.stdout
    assert "--api-url" not in done.stdout
    done = subprocess.run([*LIVETRADE, "login"], capture_output=True, text=True, check=True)
    assert "fyers" in done.stdout


def test_the_secret_is_asked_for_and_not_shown(server: RestServer, environment: dict[str, str]) -> None:
    pty = pytest.importorskip("pty")
    del environment["FYERS_SECRET"]
    terminal, inner = pty.openpty()
    command = [*LIVETRADE, "login", "fyers", "--api-url", server.api_url, "--redirect-uri", ANY_PORT]
    files = {"stdin": inner, "stdout": inner, "stderr": inner}
    with subprocess.Popen(command, env=environment, start_new_session=True, **files) as process:
        os.close(inner)
        written = b""
        with suppress(OSError), os.fdopen(terminal, "r+b", buffering=0) as screen:
            while part := screen.read(65_536):
                ready = b"(not shown): " in written  # its last space is written once the terminal shows nothing typed
                written += part
                if b"(not shown): " in written and not ready:
                    screen.write(f"{SECRET}\n".encode())
        assert process.wait(timeout=120) == 0
    assert b"Logged in as" in written
    assert SECRET.encode() not in written
