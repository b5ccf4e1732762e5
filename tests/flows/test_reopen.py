"""An account goes on: the same journal, another engine, with everything that was left to it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.kinds import Product
from livetrade.ports import Statement
from tests.support import (
    FREE,
    INFY,
    SBIN,
    ScriptedBroker,
    events_of,
    picture_of,
    quietly_close,
    quoted,
    recording,
    soon,
    trading,
)

FRAMES = ("positions", "orders", "fills", "risk_orders", "equity", "round_trips", "explain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.journal"


@contextmanager
def going_on(path: Path, **terms: Any) -> Iterator[lt.LiveTradingEngine]:
    """The next engine on a journal, without prices of its own."""
    with trading(None, lt.LivePriceStream(), journal=path, **{"fees": lt.DEFAULT_FEES, **terms}) as engine:
        yield engine


def shown(engine: lt.LiveTradingEngine, *names: str) -> dict[str, pd.DataFrame]:
    return {name: getattr(engine, name)(exact=True) for name in names}


def same_frames(before: dict[str, pd.DataFrame], after: dict[str, pd.DataFrame]) -> None:
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[name], obj=name)


def busy(engine: lt.LiveTradingEngine) -> None:
    """Something of everything: filled, resting, refused, canceled and stopped out, with exits armed."""
    stream = engine.stream
    assert engine.market_buy(SBIN, 100, stop_loss_price="545", take_profit_price="560", tag="swing").result(5).success
    assert engine.limit_buy(SBIN, 10, "540", client_order_id="rests", time_in_force="GTC").result(5).success
    assert engine.limit_buy(SBIN, 10, "541", client_order_id="gone").result(5).success
    assert engine.cancel("gone").result(5).success
    assert not engine.market_sell(INFY, 1).result(5).success
    stream.update(INFY, bid="1500", ask="1501", last="1500.5")
    assert engine.market_buy(INFY, 10, stop_loss_price="1490").result(5).success
    stream.update(INFY, bid="1489", ask="1490", last="1489.5")
    assert engine.set_trailing_stop(SBIN, amount=3).result(5).success
    stream.update(SBIN, bid="551", ask="551.05", last="551")
    assert engine.transfer(-1000).result(5).success
    stream.update(SBIN, bid="550.10", ask="550.20", last="550.15")


def test_everything_is_as_it_was(path: Path) -> None:
    with trading(journal=path, fees=lt.DEFAULT_FEES) as engine:
        busy(engine)
        before, figures, whole = shown(engine, *FRAMES), engine.pnl(exact=True), picture_of(engine)
    with going_on(path) as engine:
        after = shown(engine, *FRAMES)
        for frames in (before, after):  # there is no price yet to be away from
            frames["risk_orders"] = frames["risk_orders"].drop(columns=["distance", "distance_pct"])
        same_frames(before, after)
        pd.testing.assert_series_equal(figures, engine.pnl(exact=True))
        again = picture_of(engine)
        for part in ("feed", "alarms"):  # these are of a session
            whole.pop(part), again.pop(part)
        fills = [item.pop("fills")["fill"] for item in (whole, again)]
        assert fills[0] == fills[1]
        assert whole == again
        assert engine.market_buy(SBIN, 1).result(5).message.startswith("Price feed unavailable")


def test_a_halt_stays_until_it_is_lifted(path: Path) -> None:
    with trading(journal=path) as engine:
        engine.halt("lunch").result(5)
    with going_on(path) as engine:
        engine.stream.update(SBIN, bid="549", ask="549.10", last="549")
        assert engine.market_buy(SBIN, 1).result(5).message == "Trading halted: lunch"
        assert engine.resume().result(5).success
    with trading(None, quoted(), journal=path) as engine:
        assert engine.market_buy(SBIN, 1).result(5).success


def test_stops_and_resting_orders_go_on(path: Path) -> None:
    with trading(journal=path) as engine:
        busy(engine)
    with going_on(path, fees=FREE) as engine:
        told: list[lt.Fill] = []
        engine.on_fill(told.append)
        engine.stream.update(SBIN, bid="548", ask="548.05")  # the trailing stop stands at 548
        assert not engine.position(SBIN)
        assert engine.orders(open=True).index.tolist() == ["rests"]
        engine.stream.update(SBIN, bid="539.90", ask="539.95")
        assert engine.position(SBIN).quantity == 10
        assert soon(lambda: [fill.source for fill in told] == ["TRAILING_STOP", "USER"])
        assert engine.order("rests").avg_price == Decimal("539.95")


def test_an_id_stays_known(path: Path) -> None:
    with trading(journal=path) as engine:
        first = engine.market_buy(SBIN, 10, client_order_id="cell7").result(5)
    with going_on(path) as engine:
        engine.stream.update(SBIN, bid="500", ask="501", last="500")
        again = engine.market_buy(SBIN, 10, client_order_id="cell7").result(5)
        assert (again.success, again.message, again.order.avg_price) == (True, first.message, first.order.avg_price)
        assert engine.market_buy(SBIN, 11, client_order_id="cell7").result(5).message.startswith("Duplicate id")
        assert engine.position(SBIN).quantity == 10
        assert len(engine.fills()) == 1


def test_limits_and_fees_go_on_unless_others_are_given(path: Path) -> None:
    limits = lt.Limits(allow_short=True, max_order_value="1e5", max_tick_age=2.5, max_orders_per_second=7)
    with trading(journal=path, limits=limits, fees=lt.PercentFee("0.5", cap=7)) as engine:
        assert engine.market_sell(SBIN, 10).result(5).success
    with going_on(path) as engine:
        engine.stream.update(SBIN, bid="549", ask="549", last="549")
        assert engine.market_buy(SBIN, 10).result(5).order.fees == 7
        assert engine.market_sell(SBIN, 1000).result(5).message.startswith("Limit exceeded: max_order_value")
        assert engine.account.limits.max_orders_per_second == 7
        assert engine.account.limits.max_tick_age_ns == 2_500_000_000
    with going_on(path, limits=lt.Limits(), fees=lt.FlatFee("1.25")) as engine:
        engine.stream.update(SBIN, bid="549", ask="549", last="549")
        assert engine.market_sell(SBIN, 10).result(5).message.startswith("No position to sell")
    with going_on(path) as engine:
        assert engine.account.limits == lt.Limits()
        assert engine.account.fees == lt.FlatFee("1.25")


def test_rules_that_only_the_user_has_are_asked_for(path: Path) -> None:
    def mine(fill: lt.Fill) -> Decimal:
        return Decimal(3)

    def third(account: Any, order: lt.Order) -> Decimal:
        return Decimal(1)

    with trading(journal=path, fees=mine, margin=third, trigger_by="last") as engine:
        assert engine.market_buy(SBIN, 10).result(5).order.fees == 3
    with pytest.raises(lt.JournalError, match=r"kept with the fees .*mine, which only you have"), going_on(path):
        pass
    with going_on(path, fees=mine, margin=third, trigger_by="last") as engine:
        assert engine.health()["alarms"] == []
    with going_on(path, fees=FREE) as engine:
        alarms = " ".join(engine.health()["alarms"])
        assert "third was not given again: positions are paid in full" in alarms
        assert "stops watch the quote from now on; before they watched the last" in alarms


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"cash": 400_000}, r"opened with 500,000\.00, not 400000; leave cash out"),
        ({"currency": "USD"}, "kept in INR"),
        ({"timezone": "UTC"}, "days are in Asia/Kolkata"),
        ({"instruments": [lt.Instrument(SBIN, scale=3)]}, "scale=2"),
    ],
)
def test_another_account_is_refused(path: Path, terms: dict[str, Any], told: str) -> None:
    with trading(journal=path) as engine:
        engine.market_buy(SBIN, 1).result(5)
    with pytest.raises((lt.JournalError, lt.OrderError), match=told):
        lt.LiveTradingEngine(**{"journal": path, **terms})
    with trading(500_000, journal=path) as engine:  # the refusal let go of it, and the right cash may be said
        assert engine.position(SBIN).quantity == 1


def test_an_engine_that_ended_for_one_that_cannot_begin_is_told(path: Path) -> None:
    with trading(journal=path) as engine:
        with pytest.raises(lt.OrderError) as early:
            lt.LiveTradingEngine(-1, journal=path)
        assert engine.is_open
        with pytest.raises(lt.JournalError, match="opened with") as late:
            lt.LiveTradingEngine(5, journal=path)
        assert not engine.is_open
    assert not hasattr(early.value, "__notes__")
    assert late.value.__notes__ == ["The engine 'main' from before is closed, and no other one watches its exits."]


def test_real_money_and_paper_are_two_journals(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Real(ScriptedBroker):
        real = True

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with trading(journal=path):
        pass
    with pytest.raises(lt.JournalError, match="of a PAPER account and the broker's is REAL"):
        lt.LiveTradingEngine(journal=path, broker=Real())
    with pytest.raises(lt.JournalError, match="real money needs a journal that outlives"):
        lt.LiveTradingEngine(1, journal=lt.MemoryJournal(), broker=Real())
    with pytest.raises(lt.JournalError, match="no file name"):
        lt.LiveTradingEngine(1, broker=Real(), name="../up")
    with trading(1, broker=Real(), name="mine") as engine:
        assert engine.mode == "REAL"
        assert (tmp_path / "livetrade" / "mine.journal").exists()


def test_a_cell_that_runs_again_goes_on(path: Path) -> None:
    first = lt.LiveTradingEngine(500_000, quoted(), journal=path, fees=FREE)
    assert first.market_buy(SBIN, 5, stop_loss_price=540).result(5).success
    second = lt.LiveTradingEngine(500_000, quoted(), journal=path, fees=FREE)
    assert not first.is_open
    assert second.position(SBIN).quantity == 5
    assert second.position(SBIN).stop_loss_price == 540
    quietly_close(second)


def test_wrong_use_leaves_the_running_engine_and_its_journal_alone(path: Path) -> None:
    with trading(journal=path) as engine:
        for terms in ({"cash": -1}, {"cash": None, "journal": path.with_name("new")}, {"limits": 3}):
            with pytest.raises(lt.OrderError):
                lt.LiveTradingEngine(**{"journal": path, **terms})
        with pytest.raises(lt.JournalError, match=f"pid {os.getpid()}"):
            lt.LiveTradingEngine(500_000, journal=path, name="other")
        assert engine.market_buy(SBIN, 1).result(5).success


def test_recordings_one_after_the_other_are_one_past(path: Path) -> None:
    for day in range(3):
        ticks = recording([100 + day, 101 + day])
        ticks["time"] += pd.Timedelta(days=day)
        feed = lt.RecordedFeed(ticks, speed=None, autoplay=False)
        with trading(500_000, feed=feed, journal=path) as engine:
            feed.play().result(10)
            assert engine.account.day == f"2026-03-0{2 + day}"
    past = lt.open_journal(path)
    assert past.ticks(SBIN)["bid"].tolist() == [100, 101, 101, 102, 102, 103]
    assert past.ticks(SBIN).index.is_monotonic_increasing


def test_a_session_in_lock_step_gives_the_same_events_in_a_file(path: Path) -> None:
    def session(journal: Any) -> list[ev.Event]:
        feed = lt.RecordedFeed(recording([100, 101, 102, 99, 98, 97, 99, 103]), speed=None, autoplay=False)
        with trading(feed=feed, stream=None, journal=journal) as engine:

            async def run() -> None:
                ticks = engine.stream.ticks(SBIN)
                played = feed.play()
                async for tick in ticks:
                    if tick.bid > 100 and not engine.position(SBIN):
                        await engine.market_buy(SBIN, 3, stop_loss_pct=2, trailing_stop=1)
                await played

            asyncio.run(run())
            seen = engine._read(lambda account: account.fill_history.copy()["fill"])
            return [seen, engine.orders(exact=True), engine.equity(exact=True)]

    memory, file = session(lt.MemoryJournal()), session(path)
    assert memory[0] == file[0]
    assert len(memory[0]) >= 2
    for one, other in zip(memory[1:], file[1:], strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_a_memory_journal_given_to_the_next_engine_is_its_past() -> None:
    journal = lt.MemoryJournal()
    with trading(journal=journal) as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5)
        count = len(events_of(engine))
    with trading(None, quoted(), journal=journal) as engine:
        assert engine.position(SBIN).quantity == 10
        assert len(events_of(engine)) > count
        engine.stream.update(SBIN, bid=539, ask=540)
        assert not engine.position(SBIN)


def test_closing_a_saved_engine_warns_of_nothing_and_lets_go(path: Path) -> None:
    engine = lt.LiveTradingEngine(500_000, quoted(), journal=path)
    engine.market_buy(SBIN, 10, stop_loss_price=540).result(5)
    assert repr(engine.journal) == "FileJournal('account.journal', 9 events, saved)"
    engine.close()  # warnings are errors here
    engine.close()
    assert not path.with_name(path.name + "-wal").exists()
    assert [order.success for order in [lt.LiveTradingEngine(journal=path).halt().result(5)]] == [True]
    lt.LiveTradingEngine(journal=path).close()


# ── a broker, after a restart ────────────────────────────────────────────────────────────────────────────────────────


def left_with_a_broker(path: Path) -> tuple[str, str]:
    """An engine that ended with one order sent and one accepted; gives back their ids."""
    broker = ScriptedBroker()
    with trading(broker=broker, journal=path, limits=lt.Limits()) as engine:
        engine.market_buy(SBIN, 10, client_order_id="sent", stop_loss_price=540)
        engine.limit_buy(SBIN, 10, 545, client_order_id="working", time_in_force="GTC")
        broker.wait_for(ev.Submit, 2)
        broker.say(ev.Accepted(0, "working", "V2"))
        soon(lambda: engine.order("working").status == "ACCEPTED")
        engine.cancel("working")
        broker.wait_for(ev.Cancel)
    return "sent", "working"


def test_what_became_of_orders_is_looked_up(path: Path) -> None:
    sent, working = left_with_a_broker(path)
    filled = ev.Executed(0, sent, "E1", 10, 54900, lt.core.kinds.PriceSource.VENUE)
    known = Statement(
        {sent: [filled, ev.Accepted(0, sent, "V1"), filled], working: [ev.Accepted(0, working, "V2")]},
        {(SBIN, Product.INTRADAY): 10},
    )
    broker = ScriptedBroker(known)
    with trading(None, quoted(), broker=broker, journal=path) as engine:
        assert soon(lambda: engine.order(sent).status == "FILLED")
        assert engine.order(sent).filled_qty == 10
        assert engine.position(SBIN).stop_loss_price == 540
        assert broker.wait_for(ev.Cancel).client_order_id == working  # it may be said again how an order is to be
        assert not [request for request in broker.asked if isinstance(request, ev.Submit)]
        assert engine.account.halted is None


def test_an_order_that_the_broker_never_got_is_over(path: Path) -> None:
    sent, _ = left_with_a_broker(path)
    with trading(None, quoted(), broker=ScriptedBroker(), journal=path) as engine:
        assert soon(lambda: engine.order(sent).status == "REJECTED")
        assert "never got it" in engine.order(sent).reason
        assert soon(lambda: not engine.account.open_orders)


def test_nothing_is_opened_until_the_broker_has_answered(path: Path) -> None:
    class Silent(ScriptedBroker):
        asked_for = 0

        async def statement(self, orders: Any) -> Statement:
            self.asked_for += 1
            if self.known is None:
                raise ConnectionError("not yet")
            return self.known

    sent, working = left_with_a_broker(path)
    broker = Silent()
    with trading(None, quoted(), broker=broker, journal=path) as engine:
        soon(lambda: broker.asked_for)
        refused = engine.market_buy(SBIN, 1).result(5)
        assert refused.message.startswith("Connection lost: the broker is asked what became of earlier orders")
        broker.known = Statement({sent: ()})
        soon(lambda: engine.order(working).status == "UNKNOWN", "what the broker cannot tell stays unknown")
        engine.market_buy(SBIN, 1, client_order_id="next")
        assert broker.wait_for(ev.Submit).order.client_order_id == "next"


def test_a_broker_that_filled_something_else_blocks_that_symbol(path: Path) -> None:
    sent, working = left_with_a_broker(path)
    known = Statement({sent: (), working: ()}, {(SBIN, Product.INTRADAY): 7})
    with trading(None, quoted(), broker=ScriptedBroker(known), journal=path) as engine:
        soon(lambda: engine.health()["alarms"])
        told = engine.market_buy(SBIN, 1).result(5).message
        assert told.startswith("Trading halted: the broker's fills differ")
        assert "NSE:SBIN-EQ INTRADAY: 7 at the broker, 0 here" in told
        assert engine.market_buy(INFY, 1).result(5).message.startswith("Price feed unavailable"), "it alone is blocked"
        row = engine.reconcile(exact=True).iloc[0]
        assert row.tolist() == [SBIN, "INTRADAY", 0, 7, 7]
        assert engine.reconcile(accept=True)["difference"].tolist() == [7]
        engine.market_buy(SBIN, 1, client_order_id="after")
        assert engine.order("after").status == "SUBMITTED"
    with trading(None, quoted(), broker=ScriptedBroker(known), journal=path) as engine:
        soon(lambda: not engine.account.is_asked)
        assert [alarm for alarm in engine.health()["alarms"] if "differ" in alarm] == [told], "accepted for good"
