"""`livetrade serve` as a process, and the commands that speak to it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.desk.request import ask
from livetrade.desk.runtime import find
from tests.support import SBIN, soon

SERVE = (sys.executable, "-m", "livetrade.cli", "serve")


def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "livetrade.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


@contextmanager
def served(
    journal: Path, *words: str, name: str = "main", mode: str = "PAPER", **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """A desk as a process, once it answers."""
    command = [*SERVE, "--port", "0", "--journal", str(journal), "--name", name, *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **streams, text=True, env={**os.environ, **environment})
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert re.fullmatch(rf"livetrade desk '{name}' {mode} at http://127\.0\.0\.1:\d+\n", first), (
            process.communicate()
        )
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def price(last: float, bid: float | None = None, name: str | None = None) -> None:
    body = {"symbol": SBIN, "bid": bid or last, "ask": last + 0.05, "last": last}
    assert ask(find(name), "POST", "update-price", body)[0] == 200


def test_a_life_from_its_start_to_its_end(tmp_path: Path, own_runtime_folder: Path) -> None:
    journal = tmp_path / "life.journal"
    with served(journal) as process:
        file = own_runtime_folder / "main.json"
        assert json.loads(file.read_text())["pid"] == process.pid
        price(549)
        status, answer = ask(find(), "POST", "buy", {"symbol": SBIN, "quantity": 10, "stop_loss_price": 540})
        assert (status, answer["success"]) == (200, True)

        told = run("status")
        assert told.returncode == 0
        assert f"pid {process.pid}  PAPER  feed NONE" in told.stdout
        assert f"10 {SBIN}" in told.stdout
        (row,) = json.loads(run("status", "--json").stdout)
        assert (row["name"], row["answers"], row["positions"][0]["quantity"]) == ("main", True, "10")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=\S{43}\n", run("status", "--link").stdout)

        assert run("halt", "--reason", "lunch").stdout.startswith("Trading is halted")
        refused = ask(find(), "POST", "buy", {"symbol": SBIN, "quantity": 1})
        assert (refused[0], refused[1]["message"]) == (422, "Trading halted: lunch")
        assert run("resume").stdout == "Trading goes on\n"
        flat = run("flatten", "--json")
        assert (flat.returncode, json.loads(flat.stdout)["success"]) == (0, True)

        ask(find(), "POST", "buy", {"symbol": SBIN, "quantity": 3, "stop_loss_price": 540})
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "1 exit is not watched until the desk is started again" in err
        assert not file.exists()
        assert "token=" not in out + err
    with served(journal, "--feed", "none"):
        price(530)
        soon(lambda: ask(find(), "GET", "positions")[1] == [])
        risk = ask(find(), "GET", "risk-orders")[1][-1]
        assert (risk["kind"], risk["status"]) == ("STOP_LOSS", "FILLED")


def test_one_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = tmp_path / "killed.journal"
    with served(journal, "--cash", "1000000") as process:
        price(549)
        ask(find(), "POST", "buy", {"symbol": SBIN, "quantity": 10, "stop_loss_price": 540, "client_order_id": "one"})
        process.kill()
        process.wait(30)
    assert run("status").returncode == 1
    with served(journal), lt.attach() as engine:
        assert engine.order("one").status == "FILLED"
        again = ask(
            find(), "POST", "buy", {"symbol": SBIN, "quantity": 10, "stop_loss_price": 540, "client_order_id": "one"}
        )
        assert again[0] == 200
        assert engine.position(SBIN).quantity == 10
        assert list(engine.risk_orders()["status"]) == ["ARMED"]


def test_a_second_desk_on_a_journal_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "one.journal"
    with served(journal) as process:
        second = run("serve", "--journal", str(journal), "--port", "0", "--name", "second")
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert str(process.pid) in second.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with served(tmp_path / "one.journal"):
        port = find().url.rpartition(":")[2]
        second = run("serve", "--journal", str(tmp_path / "two.journal"), "--port", port, "--name", "two")
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
        assert second.stderr.count("\n") == 1


NOBODY = {"FYERS_AUTH_TOKEN": "", "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
AT_FYERS = ["--feed", "fyers", "--symbols", "NSE:SBIN-EQ"]
OTHER_ORDERS = ["--fyers-url", "api_url=http://127.0.0.1:9", "--fyers-url", "order_socket_url=ws://127.0.0.1:9"]
WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "live": (["--live"], {}, "--live sends real orders to Fyers"),
    "live without a token": (["--live", "--feed", "fyers", "--symbols", "NSE:SBIN-EQ", "--no-token"], {}, "--no-token"),
    "live at prices of nobody": (["--live", "--feed", "simulated"], {}, "--feed fyers"),
    "live without a log-in": (
        ["--live", "--feed", "fyers", "--symbols", "NSE:SBIN-EQ"],
        NOBODY,
        "there is no Fyers token",
    ),
    "several workers": ([], {"WEB_CONCURRENCY": "4"}, "a desk is one process: several workers"),
    "no token for everybody": (["--no-token", "--host", "0.0.0.0"], {}, "--no-token is for this machine only"),
    "everybody without TLS": (["--host", "0.0.0.0"], {}, "needs TLS"),
    "half of TLS": (["--certfile", "c.pem"], {}, "both --certfile and --keyfile"),
    "an address of another feed": (["--fyers-url", "api_url=https://x"], {}, "--fyers-url is for --feed fyers"),
    "an address of nothing": (
        ["--feed", "fyers", "--symbols", "NSE:SBIN-EQ", "--fyers-url", "url=https://x"],
        {},
        "with one of socket_url, data_url, static_url, api_url, order_socket_url, not url=https://x",
    ),
    "an address in the clear": (
        [*AT_FYERS, "--live", *OTHER_ORDERS, "--fyers-url", "api_url=http://example.com"],
        {},
        "api_url must be an https:// address",
    ),
    "an address that is none": (
        [*AT_FYERS, "--live", "--fyers-url", "api_url=https://[x", "--fyers-url", "order_socket_url=wss://[x"],
        {},
        "api_url must be an https:// address",
    ),
    "a socket that is none": (
        [*AT_FYERS, "--live", "--fyers-url", "api_url=https://x", "--fyers-url", "order_socket_url=wss://[x"],
        {},
        "order_socket_url must be a wss:// address",
    ),
    "real orders at other prices": (
        [*AT_FYERS, "--live", "--fyers-url", "socket_url=ws://127.0.0.1:9"],
        {},
        "name api_url and order_socket_url too",
    ),
    "an unknown feed": (["--feed", "reuters"], {}, "there is no feed 'reuters'; choose none, simulated, fyers"),
    "symbols without a feed": (["--symbols", "NSE:SBIN-EQ"], {}, "symbols are for a feed"),
    "a bad symbol": (["--feed", "simulated", "--symbols", "nse:sbin"], {}, "NSE:SBIN"),
    "bad cash": (["--cash", "much"], {}, "cash"),
    "a name for no file": (["--name", "../main"], {}, "a desk is found by its name, which is that of a file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_not_be_right_is_one_clear_line(name: str, tmp_path: Path) -> None:
    words, environment, told = WRONG[name]
    done = run("serve", "--port", "0", "--journal", str(tmp_path / "wrong.journal"), *words, **environment)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_orders_at_another_place_are_kept_in_a_journal_of_their_own() -> None:
    done = run("serve", "--port", "0", "--live", *AT_FYERS, *OTHER_ORDERS)
    assert done.returncode == 1
    assert "--journal PATH" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["status", "flatten", "halt", "resume"])
def test_where_no_desk_runs(command: str) -> None:
    done = run(command)
    assert done.returncode == 1
    assert "no desk is running here" in done.stderr


def test_started_from_a_notebook_it_outlives_it(tmp_path: Path) -> None:
    journal = tmp_path / "started.journal"
    first = lt.start_desk(250_000, feed="simulated", symbols=[SBIN], journal=journal, name="started")
    try:
        assert (first.name, first.mode, first.cash) == ("started", "PAPER", 250_000)
        with pytest.raises(lt.DeskError, match=r"running already.*attach\('started'\)"):
            lt.start_desk(1, name="started")
        soon(lambda: first.stream.last(SBIN))
        first.market_buy(SBIN, 5).result(10).raise_if_failed()
        first.close()
        again = lt.attach("started")
        assert again.position(SBIN).quantity == 5
        again.flatten().result(10)
        assert again.shutdown_desk() == "The desk ends"
        at_once = lt.start_desk(journal=journal, name="started")  # the one before has let go of name and journal
        assert at_once.orders()["filled_qty"].tolist() == [5, 5]
        at_once.shutdown_desk()
    finally:
        kill("started")


def kill(name: str) -> None:
    try:
        os.kill(find(name).pid, signal.SIGKILL)
    except lt.DeskError:
        return


def test_what_went_wrong_in_the_new_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(lt.DeskError, match=r"did not start: .*no folder"):
        lt.start_desk(1, journal=tmp_path / "no" / "such.journal", name="nowhere")


STRATEGY = """
async def buyer(engine, symbol, quantity=1, name="x"):
    async for tick in engine.stream.ticks(symbol):
        if not engine.position(symbol):
            await engine.market_buy(symbol, quantity)
        if tick.bid and tick.bid > 600:
            raise ValueError(f"too dear for {name}")
"""


def test_a_strategy_runs_in_the_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(STRATEGY)
    words = ["--strategy", "mine:buyer", "--param", f"symbol={SBIN}", "--param", "quantity=7", "--param", "name=me"]
    with served(tmp_path / "strategy.journal", *words), lt.attach() as engine:
        soon(lambda: list(engine.strategies()["state"]) == ["RUNNING"])
        price(549)
        soon(lambda: engine.position(SBIN).quantity == 7)
        order = engine.orders().iloc[0]
        assert (order["strategy"], order["source"]) == ("buyer", "STRATEGY")

        async def seller(engine: Any) -> None:
            await engine.market_buy(SBIN, 2)

        engine.start(seller).result(10)
        shown = engine.strategies()
        assert dict(zip(shown.index, shown["where"], strict=True)) == {"buyer": "DESK", "seller": "KERNEL"}
        assert dict(zip(shown.index, shown["orders"], strict=True)) == {"buyer": 1, "seller": 1}
        price(601)
        soon(lambda: engine.strategies().loc["buyer", "state"] == "FAILED")
        assert "too dear for me" in engine.strategies().loc["buyer", "error"]
        soon(lambda: any("too dear for me" in alarm for alarm in engine.health()["alarms"]))


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        (["--strategy", "mine"], "MODULE:FUNCTION", 2),
        (["--strategy", "nothing_like_it:f"], "nothing_like_it", 2),
        (["--strategy", "json:nothing"], "has no nothing", 2),
        (["--strategy", "json:dumps"], "a strategy is an async function", 1),
        (["--param", "a=1"], "--param is for a strategy", 1),
    ],
)
def test_a_strategy_that_cannot_run_is_told(words: list[str], told: str, code: int, tmp_path: Path) -> None:
    done = run("serve", "--port", "0", "--journal", str(tmp_path / "strategy.journal"), *words)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("\n") == 1


def test_every_command_has_an_audit_line(tmp_path: Path) -> None:
    journal = tmp_path / "audit.journal"
    with served(journal), lt.attach() as engine:
        price(549)
        ask(find(), "POST", "buy", {"symbol": SBIN, "quantity": 1, "tag": "rest"})
        engine.market_buy(SBIN, 2, tag="attached").result(10)
        ask(find(), "POST", "buy", {"symbol": SBIN, "quantity": -1})
        ask(find(), "POST", "halt", {"reason": "two\nlines"})
        audit = journal.with_name("audit.journal.audit")
        lines: list[dict[str, Any]] = [json.loads(line) for line in audit.read_text().splitlines()]
    assert audit.stat().st_mode & 0o777 == 0o600
    shown = [(line["command"], line["way"], line["success"], line["body"].get("tag")) for line in lines]
    assert shown == [
        ("submit", "REST", True, "rest"),
        ("submit", "ATTACHED", True, "attached"),
        ("submit", "REST", False, None),
        ("halt", "REST", True, None),
    ]
    assert all(line["client"].startswith("127.0.0.1:") for line in lines)
