"""`livetrade serve --live` as a process of its own, its real orders at the loopback Fyers."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

import livetrade as lt
from livetrade.desk.request import ask
from livetrade.desk.runtime import find
from livetrade.testing import FyersServer
from tests.browser import headless
from tests.desk.test_serve import run, served
from tests.support import SBIN, soon


@pytest.fixture
def server() -> Iterator[FyersServer]:
    with FyersServer() as server:
        yield server


@contextmanager
def real_desk(server: FyersServer, journal: Path) -> Iterator["Popen[str]"]:
    """Once its prices are live and its order socket is up."""
    urls = {**server.urls, **server.broker_urls}
    words = [word for name, url in urls.items() for word in ("--fyers-url", f"{name}={url}")]
    words += ["--live", "--feed", "fyers", "--symbols", SBIN]
    with served(journal, *words, mode="REAL", FYERS_AUTH_TOKEN=server.token) as process:
        soon(lambda: ask(find(), "GET", "health")[1]["feed"] == "LIVE" and server.exchange.sockets)
        server.quote(SBIN, bid="548.95", ask="549.00", last="549.00")
        yield process


def ended(server: FyersServer, process: "Popen[str]") -> str:
    """What it said on stderr, after SIGTERM."""
    secrets = [server.token, server.token.partition(":")[2], find().token]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert not [secret for secret in secrets if secret and secret in out + err]
    return err


def test_real_orders_over_rest_and_a_restart(server: FyersServer, tmp_path: Path) -> None:
    journal, exchange = tmp_path / "real.journal", server.exchange
    exchange.cash = 700_000
    with real_desk(server, journal) as process:
        assert ask(find(), "GET", "health")[1]["mode"] == "REAL"
        assert ask(find(), "GET", "portfolio")[1]["cash"] == "700000.00"
        assert f"pid {process.pid}  REAL  feed LIVE" in run("status").stdout
        with lt.attach() as attached:
            assert "REAL" in repr(attached)
        body = {"symbol": SBIN, "quantity": 10, "stop_loss_price": "545.00", "client_order_id": "first"}
        status, answer = ask(find(), "POST", "buy", body)
        assert (status, answer["message"]) == (200, f"Bought 10 {SBIN} at 549.00")
        assert ask(find(), "POST", "buy", body)[0] == 200, "the same once more"
        assert (exchange.submissions, exchange.positions) == ({"first": 1}, {(SBIN, "INTRADAY"): 10})
        told = ended(server, process)
        assert "REAL money: orders go to Fyers" in told
        assert "1 exit is not watched until the desk is started again" in told
    with real_desk(server, journal) as process:
        server.quote(SBIN, bid="544.90", ask="544.95", last="544.90")
        soon(lambda: not exchange.positions, "the stop of before was not sent")
        soon(lambda: ask(find(), "GET", "positions")[1] == [])
        assert ask(find(), "GET", "risk-orders")[1][-1]["status"] == "FILLED"
        assert (ask(find(), "GET", "portfolio")[1]["realized_pnl"], exchange.pnl) == ("-41.00", -41)
        ended(server, process)
    assert all(count == 1 for count in exchange.submissions.values())


@pytest.mark.browser
def test_its_page_says_real(server: FyersServer, tmp_path: Path) -> None:
    with real_desk(server, tmp_path / "real.journal"), headless() as browser:
        page = browser.new_page()
        page.goto(run("status", "--link").stdout.strip())
        mode = page.locator('[data-lt="mode"]')
        mode.wait_for()
        soon(lambda: mode.inner_text() == "REAL")
