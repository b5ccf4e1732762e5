"""`FyersBroker` by itself: who may make one, what it sends, what it makes of odd news, and what it never shows."""

import io
import logging
import pickle
import time
import traceback
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.adapters.fyers.broker import FyersBroker
from livetrade.adapters.fyers.rest import shared_pace
from livetrade.testing import FyersServer, OrderFault
from tests.adapters.fyers.broker_kit import BRISK, INFY, SBIN, broker_of, live, ours, quote
from tests.support import quietly_close, soon


@pytest.fixture
def server() -> Any:
    with FyersServer() as server:
        yield server


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "real.journal"


def alarms(engine: lt.LiveTradingEngine, *words: str) -> list[str]:
    return [alarm for alarm in engine.health()["alarms"] if all(word in alarm for word in words)]


# ── a deliberate act ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("confirm", [None, "", "live", True, "PAPER"])
def test_real_money_needs_the_word(confirm: Any) -> None:
    with pytest.raises(lt.OrderError, match='confirm="LIVE"'):
        lt.FyersBroker(confirm=confirm)


@pytest.mark.parametrize(
    "terms",
    [
        {"protection_pct": 0},
        {"protection_pct": 20},
        {"protection_pct": "NaN"},
        {"api_url": "http://api.example.com"},
        {"order_socket_url": "ws://socket.example.com"},
        {"static_url": "ftp://public.example.com"},
    ],
)
def test_wrong_terms_are_refused(terms: Any) -> None:
    with pytest.raises(lt.OrderError):
        lt.FyersBroker(confirm="LIVE", **terms)


def test_everything_says_that_it_is_real(server: FyersServer, journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = broker_of(server)
    assert "REAL" in repr(broker)
    with live(server, journal, broker) as engine:
        assert engine.mode == "REAL"
        assert "REAL" in repr(engine)
        assert engine.panel_snapshot(None)["mode"] == "REAL"
    assert [record for record in caplog.records if record.getMessage().startswith("REAL money")]


def test_real_money_needs_a_journal_that_lasts(server: FyersServer) -> None:
    with pytest.raises(lt.JournalError, match="outlives the process"):
        lt.LiveTradingEngine(1000, broker=broker_of(server), journal=lt.MemoryJournal())


def test_a_new_account_opens_with_what_may_be_spent(server: FyersServer, journal: Path) -> None:
    server.exchange.cash = 123_456
    with live(server, journal, cash=None) as engine:
        assert engine.cash == Decimal(123_456)


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_market_order_is_a_protected_limit_on_the_tick_grid(server: FyersServer, journal: Path) -> None:
    with live(server, journal, broker_of(server, protection_pct="0.5")) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 10, client_order_id="MINE").result(10).raise_if_failed()
        row = server.exchange.orders[0]
        assert (row["type"], row["limitPrice"], row["orderValidity"], row["orderTag"]) == (1, 551.7, "DAY", "1:MINE")
        engine.flatten().result(10).raise_if_failed()
        row = server.exchange.orders[1]
        assert (row["side"], row["limitPrice"], row["orderValidity"]) == (-1, 546.25, "IOC")


def test_a_stop_order_rests_there_with_its_protection(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        handle = engine.stop_buy(SBIN, 10, "552.00")
        handle.result(10).raise_if_failed()
        row = server.exchange.orders[0]
        assert (row["type"], row["stopPrice"], row["limitPrice"]) == (4, 552.0, 557.5)
        engine.modify(handle.client_order_id, trigger_price="553.00").result(10).raise_if_failed()
        assert server.exchange.orders[0]["stopPrice"] == 553.0
        quote(server, engine, "553.00", "553.05")
        soon(lambda: engine.position(SBIN).quantity == 10)


def test_the_tick_comes_from_the_symbol_master(
    server: FyersServer, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVETRADE_CACHE_DIR", str(tmp_path / "cache"))
    with live(server, journal, instruments=()) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 10).result(10).raise_if_failed()
        assert server.exchange.orders[0]["limitPrice"] == 554.45


def test_what_fyers_does_not_take_is_refused_unsent(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        refused = engine.limit_buy(SBIN, 1, "548.00", time_in_force="GTC").result(10)
        assert refused.message == "Fyers takes DAY and IOC orders, no GTC"
        assert server.exchange.calls == [] or all(call != "place" for call, _ in server.exchange.calls)


def test_an_order_that_waits_to_be_sent_is_canceled_here(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        server.exchange.fail("throttle", seconds=0.5)
        handle = engine.limit_buy(SBIN, 1, "540.00")
        soon(lambda: server.exchange.throttled)
        time.sleep(0.05)
        engine.cancel(handle.client_order_id).result(10).raise_if_failed()
        assert handle.result(10).order.reason == "canceled before it was sent"
        assert server.exchange.orders == []


# ── nobody knows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_without_tag_and_answer_stays_unknown_and_is_not_sent_again(
    server: FyersServer, journal: Path
) -> None:
    """A tag is a tag: an order that only looks like it is not taken for it."""
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        server.exchange.fail("silent", times=3)
        server.exchange.fail("lost")
        handle = engine.limit_buy(SBIN, 7, "540.00")
        soon(lambda: server.exchange.orders)
        server.exchange.forget_tags()
        found = soon(lambda: alarms(engine, "may be it"))
        assert server.exchange.orders[0]["id"] in found[0]
        assert engine.order(handle.client_order_id).status == "UNKNOWN"
        assert handle.result(10).message.startswith("Not confirmed")
        assert len(server.exchange.orders) == 1
        assert engine.broker_orders()["foreign"].tolist() == [True]


def test_a_cancel_waits_until_it_is_known_whether_there_is_an_order(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        server.exchange.fail("silent", times=1)
        server.exchange.fail("gateway")
        engine.limit_buy(SBIN, 7, "540.00", client_order_id="UNSURE")
        soon(lambda: engine.order("UNSURE").status == "UNKNOWN")
        engine.cancel("UNSURE").result(10).raise_if_failed()
        assert server.exchange.orders[0]["status"] == 1


def test_a_broker_serves_one_engine_after_the_other(server: FyersServer, tmp_path: Path) -> None:
    broker = broker_of(server)
    for name in ("one", "two"):
        with live(server, tmp_path / f"{name}.journal", broker) as engine:
            quote(server, engine, "548.95", "549.00")
            engine.market_buy(SBIN, 1).result(10).raise_if_failed()
            assert not engine.health()["alarms"]


def test_what_the_book_never_shows_never_arrived_and_a_stray_is_canceled(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        server.exchange.fail("gateway", taken=False)
        handle = engine.limit_buy(SBIN, 7, "540.00", client_order_id="STRAY")
        soon(lambda: engine.order("STRAY").status == "REJECTED")
        assert alarms(engine, "it never arrived")
        assert handle.result(10).message.startswith("it never arrived")
        server.exchange.place_elsewhere(SBIN, 7, "540.00", tag="STRAY")
        soon(lambda: server.exchange.orders[0]["status"] == 1, "it works on, though it was given up")
        assert alarms(engine, "STRAY arrived after all")


def test_nothing_on_the_socket_kills_the_session(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        odd: list[Any] = ["", "[]", "nonsense", '{"s":"ok","orders":{}}', '{"s":"ok","trades":{"id":1}}', "[" * 5000]
        odd += ['{"s":"ok","orders":{"id":"1","symbol":"X","qty":"many"}}', {"s": "ok", "orders": []}, {"s": "error"}]
        for text in odd:
            server.exchange.say(text)
        soon(lambda: alarms(engine, "makes no sense"))
        engine.market_buy(SBIN, 5).result(10).raise_if_failed()
        assert ours(engine) == server.exchange.positions


# ── the broker's own book ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sale_made_elsewhere_shrinks_an_exit(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 100, stop_loss_price="545.00").result(10).raise_if_failed()
        server.exchange.trade_elsewhere(SBIN, -60)
        soon(lambda: alarms(engine, "exits close no more than 40"))
        quote(server, engine, "544.00", "544.05")
        soon(lambda: not server.exchange.positions, "the exit did not close what was left")
        assert [row["qty"] for row in server.exchange.orders] == [100, 60, 40]
        soon(lambda: engine.position(SBIN).quantity == 60)
        assert engine.broker_orders()["foreign"].tolist() == [False, True, False]
        assert engine.reconcile()["difference"].tolist() == [0], "what others do is no difference of ours"


def test_a_purchase_made_elsewhere_is_not_sold(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(10).raise_if_failed()
        server.exchange.trade_elsewhere(SBIN, 25)
        quote(server, engine, "544.00", "544.05")
        soon(lambda: not engine.position(SBIN))
        assert server.exchange.positions == {(SBIN, "INTRADAY"): 25}


def test_an_order_changed_elsewhere_is_as_it_was_changed(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        handle = engine.limit_buy(SBIN, 10, "540.00")
        handle.result(10).raise_if_failed()
        server.exchange.cancel(handle.client_order_id or "", "canceled by RMS")
        soon(lambda: engine.order(handle.client_order_id).status == "CANCELED")
        assert engine.order(handle.client_order_id).reason == "canceled by RMS"


# ── the token ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_token_is_found_in_the_middle_of_the_day(
    server: FyersServer, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FYERS_AUTH_TOKEN", server.token)
    with live(server, journal, broker_of(server, access_token=None)) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 5, stop_loss_price="545.00").result(10).raise_if_failed()
        server.fail("expired")
        refused = engine.market_buy(SBIN, 1).result(10)
        assert refused.message.startswith("the Fyers token has expired or is not valid")
        monkeypatch.setenv("FYERS_AUTH_TOKEN", server.new_token())
        quote(server, engine, "544.00", "544.05")
        soon(lambda: not server.exchange.positions, "the stop was not sent with the new token")


def test_without_a_valid_token_an_exit_is_tried_until_there_is_one(
    server: FyersServer, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FYERS_AUTH_TOKEN", server.token)
    with live(server, journal, broker_of(server, access_token=None)) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 5, stop_loss_price="545.00").result(10).raise_if_failed()
        server.fail("expired")
        quote(server, engine, "544.00", "544.05")
        soon(lambda: len(alarms(engine, "STOP_LOSS", "the rest is sent again")) >= 2)
        monkeypatch.setenv("FYERS_AUTH_TOKEN", server.new_token(timedelta(hours=1)))
        soon(lambda: not server.exchange.positions)


def test_the_token_appears_nowhere(
    server: FyersServer, journal: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted, and looked for in everything that anybody could read afterwards."""
    caplog.set_level(logging.DEBUG)
    secret = server.token.partition(":")[2]
    broker = broker_of(server)
    shown = [repr(broker)]
    with live(server, journal, broker) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 5, stop_loss_price="545.00").result(10).raise_if_failed()
        for fault, terms in (
            (OrderFault.GATEWAY, {"taken": False}),
            (OrderFault.RESET, {}),
            (OrderFault.LOST, {}),
            (OrderFault.REFUSE, {"message": f"bad token {server.token} for {secret[:40]}"}),
            (OrderFault.ADDRESS, {}),
            (OrderFault.REJECT, {"message": "no"}),
        ):
            server.exchange.fail(fault, **terms)
            engine.limit_buy(INFY, 1, "1500.00").result(10)
        server.exchange.drop()
        server.fail("expired")
        engine.limit_buy(INFY, 1, "1500.00").result(10)
        for call in (engine.broker_orders, engine.reconcile):
            try:
                call()
            except lt.BrokerError:
                shown.append(traceback.format_exc())
        shown += [str(engine.health()), engine.orders().to_string(), repr(engine), str(engine.panel_snapshot(None))]
        shown += [str(vars(broker)), str(vars(broker._session))]
    try:
        shown.append(pickle.dumps(broker).decode("latin-1"))
    except TypeError as error:
        shown.append(str(error))
    out, err = capsys.readouterr()
    formatted = io.StringIO()
    for record in caplog.records:
        formatted.write(logging.Formatter().format(record) + "\n")
    shown += [out, err, formatted.getvalue()]
    for path in journal.parent.glob("real.journal*"):
        shown.append(path.read_bytes().decode("latin-1"))
    for text in shown:
        assert secret not in text
        assert secret.split(".")[2] not in text
        assert secret[:40] not in text


# ── the pace ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_burst_is_queued_and_never_refused(server: FyersServer, journal: Path) -> None:
    """40 orders at once; the server refuses more than ten in a second of the clock and in any second."""
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 5, client_order_id="held").result(10).raise_if_failed()
        handles = [engine.limit_buy(INFY, 1, "1500.00", client_order_id=f"B{n}") for n in range(24)]
        closing = engine.flatten(SBIN)
        assert closing.result(10).success
        tags = [row["orderTag"] for row in server.exchange.orders]
        assert len(tags) < 24, "what reduces waited behind what opens"
        soon(lambda: all(engine.order(handle.client_order_id).status == "ACCEPTED" for handle in handles))
        sent = sorted(at for call, at in server.exchange.calls if call in ("place", "modify", "cancel"))
        assert server.exchange.throttled == 0
        assert all(later - first >= 1.0 for first, later in zip(sent, sent[10:], strict=False))
        seconds = [int(at) for at in sent]
        assert max(seconds.count(second) for second in seconds) <= 10


def test_other_calls_of_the_user_leave_room_for_orders(server: FyersServer, journal: Path) -> None:
    """As where a history is downloaded meanwhile, which alone may use up what a user has in a minute."""
    pace = shared_pace(server.broker_urls["api_url"].split("/")[2], server.app_id)
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        soon(lambda: pace._senders)
        taken = 0
        while not pace.enter():
            taken += 1
        assert taken <= 2
        assert engine.market_buy(SBIN, 5).result(10).success
        for _ in range(taken):
            pace.leave()
    assert not pace._senders


def test_retry_after_is_kept(server: FyersServer, journal: Path) -> None:
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        server.exchange.fail("throttle", seconds=0.8)
        engine.limit_buy(SBIN, 1, "540.00").result(10).raise_if_failed()
        first, second = [at for call, at in server.exchange.calls if call == "place"]
        assert second - first >= 0.8
        assert len(server.exchange.orders) == 1


def test_close_leaves_nothing_behind(server: FyersServer, journal: Path) -> None:
    broker = broker_of(server, pauses=BRISK)
    engine = lt.LiveTradingEngine(1000, journal=journal, broker=broker)
    soon(lambda: broker.connections)
    quietly_close(engine)
    soon(lambda: not server.exchange.sockets)
    assert isinstance(broker, FyersBroker)
