"""What a notebook shows when a cell ends with an engine, an answer, a position: static HTML that says what it is.

It raises nothing, waits for nobody, escapes every text, and holds no script and no colour.
"""

import threading
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade import engine as engine_module
from livetrade.core import html
from livetrade.handle import Handle
from tests.support import SBIN, ScriptedBroker, quietly_close, quoted, recording, soon, trading

TAGS = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
ODD = "<script>alert('x')</script> & <b>"


class Seen(HTMLParser):
    """What a browser makes of it; fails where it is not well formed, or has what a hosting site would strip."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert attrs in ([], *([("style", f"text-align: {side}")] for side in ("left", "right")))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def seen(value: Any) -> str:
    """The words that a notebook shows."""
    return " | ".join(Seen(value._repr_html_()).words)


async def buys(engine: Any, symbol: str = SBIN, data: Any = None) -> None:
    async for _ in engine.stream.ticks(symbol):
        await engine.market_buy(symbol, 1)


async def fails(engine: Any) -> None:
    raise ValueError(ODD)


def test_an_engine_tells_all_that_matters() -> None:
    with trading(fees=lt.FlatFee(20)) as engine:
        assert "main · PAPER · open | no feed" in seen(engine)
        assert "Nothing is held. | No order is working." in seen(engine)
        engine.market_buy(SBIN, 100, stop_loss_price="545.00").result()
        engine.limit_buy(SBIN, 10, "540.00", client_order_id="rests").result()
        engine.start(fails)
        soon(lambda: engine.health()["alarms"])
        shown = seen(engine)
        assert f"{SBIN} | 100 | 549.00 | 549.00 | 54,900.00 | +0.00 | +0.00 | -20.00 | 545.00 | none" in shown
        assert f"rests | BUY | 10 | 0 | {SBIN} | LIMIT | 540.00 | ACCEPTED | manual" in shown
        assert "499,980.00 INR | 445,080.00 | -20.00" in shown
        assert "1 alarm" in shown
        assert "fails | FAILED" in shown
        assert ODD in shown
        assert ", 1 alarm>" in repr(engine)
        engine.halt("lunch").result()
        assert "main · PAPER · halted" in seen(engine)
        assert "HALTED: lunch" in seen(engine)
    assert "main · PAPER · closed" in seen(engine)
    assert SBIN in seen(engine)


def test_answers_positions_prices() -> None:
    stream = quoted()
    with trading(stream=stream, fees=lt.FlatFee(20), limits=lt.Limits(max_order_value=100_000)) as engine:
        handle = engine.market_buy(SBIN, 100, tag=ODD)
        answer = handle.result()
        assert seen(answer).startswith(
            f"✓ Bought 100 {SBIN} at 549.00 | BUY 100 {SBIN} MARKET INTRADAY | status | FILLED"
        )
        assert seen(handle) == seen(answer)
        assert ODD in seen(answer)
        refused = engine.market_buy(SBIN, 1000).result()
        assert seen(refused).startswith("✗ Limit exceeded: max_order_value")
        assert "P&L" not in seen(refused)
        assert "no order is working" not in seen(engine.get_portfolio_pnl())
        assert "portfolio_value | 499980.00" in seen(engine.get_portfolio_pnl())

        position = engine.position(SBIN)
        assert repr(position) == f"Position({SBIN} 100 at 549.00, last 549.00, P&L -20.00)"
        assert f"{SBIN} 100 at 549.00 | last price | 549.00" in seen(position)
        flat = engine.position("NSE:INFY-EQ")
        assert repr(flat) == "Position(NSE:INFY-EQ flat, P&L +0.00)"
        assert seen(flat).startswith("NSE:INFY-EQ flat | realized P&L | +0.00")

        (fill,) = engine.account.fill_history.copy()["fill"]
        assert repr(fill).startswith(f"Fill({fill.execution_id} BUY 100 {SBIN} at 549.00 (ASK) fees=20.00 time=")  # type: ignore[union-attr]
        assert seen(fill).startswith(f"BUY 100 {SBIN} at 549.00 (ASK) | value | 54,900.00 | fees | 20.00")

        assert "548.95 | 549.00 | 549.00" in seen(stream)
        assert seen(stream.last(SBIN)).startswith(f"{SBIN} | bid | 548.95 | ask | 549.00 | last | 549.00 | time")
        assert repr(engine.account.limits) == "Limits(max_order_value=100000)"
        assert "max_order_value | 100000 | max_position_value | no limit" in seen(engine.account.limits)
        task = engine.start(buys)
        assert seen(task).startswith("strategy buys | state | RUNNING")
        for feed in (
            lt.SimulatedFeed(SBIN),
            lt.RecordedFeed(recording([1.0, 2.0])),
            lt.FyersFeed([SBIN], "APP:secret"),
        ):
            assert SBIN in seen(feed)
            assert "secret" not in seen(feed)
    assert "549.00" in seen(stream)
    assert seen(lt.LivePriceStream()).startswith("LivePriceStream(0 symbols, no engine)")


def test_a_handle_without_an_answer_and_with_an_error() -> None:
    with trading(broker=lt.PaperBroker(latency=30)) as engine:
        assert seen(engine.market_buy(SBIN, 1)) == f"BUY 1 {SBIN} MARKET | sent, no answer yet"
    failed: Handle[None] = Handle("playing a file")
    failed.fail(lt.FeedError(ODD))
    assert seen(failed) == f"playing a file | {ODD}"


def test_real_money_is_said(tmp_path: Path) -> None:
    broker = ScriptedBroker()
    broker.real = True
    with trading(stream=quoted(), broker=broker, journal=tmp_path / "real.journal") as engine:
        assert "REAL" in repr(engine)
        assert "main · REAL MONEY · open" in seen(engine)
    assert "REAL" in seen(lt.open_journal(tmp_path / "real.journal"))


def test_an_engine_that_is_busy_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "GLANCE_SECONDS", 0.05)
    go_on = threading.Event()
    with trading() as engine:
        engine._inbox.post(go_on.wait)
        try:
            assert "does not answer" in repr(engine)
            assert "does not answer" in seen(engine)
            assert seen(engine.stream).startswith("LivePriceStream(1 symbol, engine 'main')")
        finally:
            go_on.set()
        assert "Nothing is held." in seen(engine)
        assert repr(engine.stream.ticks(SBIN)) == f"<ticks of {SBIN}: async for tick in ...>"
        assert repr(engine.stream.bars(SBIN)) == f"<bars of {SBIN}: async for bar in ...>"


def test_more_than_a_page_is_left_out() -> None:
    with trading(10**7) as engine:
        for number in range(html.MOST + 5):
            symbol = f"NSE:S{number:02}-EQ"
            engine.stream.update(symbol, bid=100, ask="100.05")
            engine.market_buy(symbol, 1).result()
        assert "NSE:S19-EQ" in seen(engine)
        assert "NSE:S20-EQ" not in seen(engine)
        assert "and 5 more: positions()" in seen(engine)


def test_a_replay_tells_how_it_went() -> None:
    result = lt.replay(buys, recording([100.0, 101.0, 102.0]), cash=1000, progress=False)
    assert "buys on the DataFrame" in seen(result)
    assert "ticks | 3 | orders | 3 | fills | 3" in seen(result)
    many = lt.replay(buys, recording([100.0]), params={"symbol": SBIN, "data": list(range(999))}, progress=False)
    assert "data | [0, 1, 2," in seen(many)
    assert len(seen(many)) < 1000
    failed = lt.replay(fails, recording([100.0]), on_error="keep", progress=False)
    assert f"FAILED: ValueError: {ODD}" in seen(failed)


def test_a_journal_of_which_the_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "gone.journal"
    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 10).result()
    past = lt.open_journal(path)
    before = seen(past)
    assert "gone.journal · PAPER" in before
    for part in tmp_path.iterdir():
        part.unlink()
    assert seen(past) == before
    assert "OpenedJournal gone.journal" in repr(past)


CHECKED: list[Callable[[Any], Any]] = [
    lambda engine: engine.why("A1"),
    lambda engine: engine.preview("BUY", SBIN, 1),
    lambda engine: engine.order("A1"),
]


@pytest.mark.parametrize("ask", CHECKED)
def test_what_explains_is_made_alike(ask: Callable[[Any], Any]) -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 1, client_order_id="A1", tag=ODD).result()
        assert SBIN in seen(ask(engine))


def test_completion_shows_what_is_for_users() -> None:
    with trading() as engine:
        answer = engine.market_buy(SBIN, 1).result()
        shown: list[Any] = [engine, engine.stream, answer.order, engine.position(SBIN), engine.stream.last(SBIN)]
        shown += [engine.start(buys), engine.market_buy(SBIN, 1)]
        for each in shown:
            assert not [name for name in dir(each) if name.startswith("_") or name.endswith(("_raw", "_ns"))]
            assert all(hasattr(each, name) for name in dir(each))
        assert {"market_buy", "positions", "panel", "stream", "name", "explain"} <= set(dir(engine))
        assert not {"post_tick", "panel_watch", "listen", "abandon"} & set(dir(engine))
        assert set(dir(engine.market_buy(SBIN, 1))) == {"client_order_id", "done", "result", "wait_for"}
        quietly_close(engine)
