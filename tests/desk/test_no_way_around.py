"""Every public way in, against every limit, at the loopback Fyers: no order leaves that the limits do not let through.

A command in a notebook, a strategy, a callback, an attached engine, REST, a modification, a restart: each goes the one
way through the account, and what is not approved there is in no book of the broker.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest

import livetrade as lt
from livetrade.testing import FyersServer
from tests.adapters.fyers.broker_kit import INFY, SBIN, live, ours, quote
from tests.desk.asking import asking
from tests.desk.kit import attached_to, serving
from tests.support import soon

Way = Callable[[lt.LiveTradingEngine, dict[str, Any]], lt.OrderResult]


@pytest.fixture
def server() -> Iterator[FyersServer]:
    with FyersServer() as server:
        yield server


# ── the ways in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def by_command(engine: Any, order: dict[str, Any]) -> lt.OrderResult:
    return engine.submit(order).result(15)


def by_method(engine: Any, order: dict[str, Any]) -> lt.OrderResult:
    terms = {**order}
    kind, side = terms.pop("order_type").lower(), terms.pop("side").lower()
    return getattr(engine, f"{kind}_{side}")(terms.pop("symbol"), terms.pop("quantity"), **terms).result(15)


def by_strategy(engine: Any, order: dict[str, Any], *, thread: bool = False) -> lt.OrderResult:
    async def strategy(engine: Any) -> lt.OrderResult:
        return await engine.submit(order)

    return engine.start(strategy, name=f"s{id(order)}", thread=thread).result(15)


def by_strategy_on_its_own_thread(engine: Any, order: dict[str, Any]) -> lt.OrderResult:
    return by_strategy(engine, order, thread=True)


def by_callback(engine: lt.LiveTradingEngine, order: dict[str, Any]) -> lt.OrderResult:
    sent: list[lt.OrderHandle] = []
    done = Event()

    def on_tick(_: lt.Tick) -> None:
        if not done.is_set():
            done.set()
            sent.append(engine.submit(order))

    engine.stream.on_tick(on_tick)
    engine.stream.update(INFY, last="1600.00")
    soon(lambda: sent)
    return sent[0].result(15)


def by_attached(engine: lt.LiveTradingEngine, order: dict[str, Any]) -> lt.OrderResult:
    with serving(engine) as desk, attached_to(desk) as attached:
        return by_command(attached, order)


def by_attached_strategy(engine: lt.LiveTradingEngine, order: dict[str, Any]) -> lt.OrderResult:
    with serving(engine) as desk, attached_to(desk) as attached:
        return by_strategy(attached, order)


def by_rest(engine: lt.LiveTradingEngine, order: dict[str, Any]) -> lt.OrderResult:
    body = {name: value for name, value in order.items() if name != "side"}
    with serving(engine) as desk, asking(desk) as client:
        answer = client.post(f"/api/live-trading/{order['side'].lower()}", json=body).json()
    return lt.OrderResult(answer["success"], answer["message"], None)


WAYS: dict[str, Way] = {name: way for name, way in list(globals().items()) if name.startswith("by_") and callable(way)}


# ── the limits, and what they should stop ────────────────────────────────────────────────────────────────────────────


def orders_over(limit: str, dice: Random) -> dict[str, Any]:
    """Something that opens, and is more than `limit` allows."""
    side = "SELL" if limit == "allow_short" else "BUY"
    kind = dice.choice(("MARKET", "LIMIT", "STOP"))
    if limit == "price_band_pct":
        kind = dice.choice(("LIMIT", "STOP"))
    quantity = dice.randint(11, 100)
    order: dict[str, Any] = {"symbol": SBIN, "side": side, "quantity": quantity, "order_type": kind}
    near, far = ("550.00", "549.50"), ("600.00", "620.00")
    price = dice.choice(far if limit == "price_band_pct" else near)
    if kind == "LIMIT":
        order["limit_price"] = price
    if kind == "STOP":
        order["trigger_price"] = price if side == "BUY" else "548.00"
    return order


LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "max_order_quantity": ({"limits": lt.Limits(max_order_quantity=10)}, "Limit exceeded: max_order_quantity"),
    "max_order_value": ({"limits": lt.Limits(max_order_value=5_600)}, "Limit exceeded: max_order_value"),
    "max_position_value": ({"limits": lt.Limits(max_position_value=5_600)}, "Limit exceeded: max_position_value"),
    "price_band_pct": ({"limits": lt.Limits(price_band_pct=5)}, "Limit exceeded: price_band_pct"),
    "max_tick_age": ({"limits": lt.Limits(max_tick_age=1e-6)}, "Stale price"),
    "allow_short": ({}, "No position to sell"),
    "balance": ({"cash": 5_600}, "Insufficient balance"),
    "halt": ({}, "Trading halted: by hand"),
}


@contextmanager
def limited(limit: str, server: FyersServer, journal: Path) -> Iterator[tuple[lt.LiveTradingEngine, str]]:
    terms, words = LIMITS[limit]
    with live(server, journal, **terms) as engine:
        quote(server, engine, "548.95", "549.00")
        if limit == "halt":
            engine.halt("by hand").result(10).raise_if_failed()
        yield engine, words


@pytest.mark.parametrize("limit", LIMITS)
def test_no_way_leads_around_a_limit(limit: str, server: FyersServer, tmp_path: Path) -> None:
    dice, journal = Random(limit), tmp_path / "real.journal"
    with limited(limit, server, journal) as (engine, words):
        for name, way in WAYS.items():
            result = way(engine, orders_over(limit, dice))
            assert not result.success
            assert result.message.startswith(words), name
        assert len(engine.orders()) == len(WAYS)
    with limited(limit, server, journal) as (engine, words):
        refused = by_command(engine, orders_over(limit, dice))
        assert refused.message.startswith(words)
        assert engine.orders(open=True).empty
    assert server.exchange.orders == [], "nothing has left, in either life"


def test_a_modification_is_no_way_around(server: FyersServer, tmp_path: Path) -> None:
    limits = lt.Limits(max_order_quantity=10, price_band_pct=5)
    with live(server, tmp_path / "real.journal", limits=limits) as engine:
        quote(server, engine, "548.95", "549.00")
        resting = engine.limit_buy(SBIN, 10, "540.00")
        resting.result(10).raise_if_failed()
        name = resting.client_order_id
        for terms in ({"quantity": 11}, {"limit_price": "480.00"}):
            refused = engine.modify(name, **terms).result(10)
            assert refused.message.startswith("Limit exceeded")
        engine.halt().result(10).raise_if_failed()
        (row,) = server.exchange.orders
        assert (row["qty"], row["limitPrice"], row["status"]) == (10, 540.0, 1), "canceled by the halt"
        assert [call for call, _ in server.exchange.calls if call == "modify"] == []


def test_what_reduces_goes_through_every_limit_and_opens_nothing(server: FyersServer, tmp_path: Path) -> None:
    journal, tight = tmp_path / "real.journal", lt.Limits(max_order_quantity=1, max_orders_per_second=1)
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 40, stop_loss_price="545.00").result(10).raise_if_failed()
    with live(server, journal, limits=tight) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.halt("by hand").result(10).raise_if_failed()
        for way in (by_command, by_strategy_on_its_own_thread, by_attached, by_rest):
            order = {"symbol": SBIN, "side": "SELL", "quantity": 5, "order_type": "MARKET"}
            result = way(engine, order)
            if way is by_strategy_on_its_own_thread:
                assert result.message.startswith("No position to sell"), "a strategy sells its own book only"
            else:
                assert result.success, result
        quote(server, engine, "544.90", "544.95")
        soon(lambda: not server.exchange.positions, "the stop was not sent")
        soon(lambda: ours(engine) == {})
        assert sum(row["filledQty"] for row in server.exchange.orders if row["side"] == -1) == 40


# ── a burst, and a halt in the middle of it ──────────────────────────────────────────────────────────────────────────


def test_a_halt_in_a_burst_stops_what_has_not_left(server: FyersServer, tmp_path: Path) -> None:
    """Orders, modifications and cancels count together; what still waits when the halt is answered never leaves."""
    journal = tmp_path / "real.journal"
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        engine.market_buy(SBIN, 5, client_order_id="held", stop_loss_price="545.00").result(10).raise_if_failed()
        first = [engine.limit_buy(INFY, 2, "1500.00", client_order_id=f"A{n}") for n in range(4)]
        for handle in first:
            handle.result(15).raise_if_failed()
        burst = [engine.limit_buy(INFY, 1, "1500.00", client_order_id=f"B{n}") for n in range(20)]
        changes = [engine.modify(f"A{n}", quantity=3) for n in range(4)]
        engine.halt("enough").result(30).raise_if_failed()
        left = {row["orderTag"] for row in server.exchange.orders}
        for handle in (*burst, *changes):
            handle.result(15)
        soon(lambda: engine.orders(open=True).empty)
        assert {row["orderTag"] for row in server.exchange.orders} == left
        assert len(left) < 25
        sent = sorted(at for call, at in server.exchange.calls if call in ("place", "modify", "cancel"))
        assert server.exchange.throttled == 0
        assert all(later - before >= 1.0 for before, later in zip(sent, sent[10:], strict=False))
        seconds = [int(at) for at in sent]
        assert max(seconds.count(second) for second in seconds) <= 10
    with live(server, journal) as engine:
        quote(server, engine, "548.95", "549.00")
        assert engine.market_buy(SBIN, 1).result(10).message == "Trading halted: enough"
        quote(server, engine, "544.90", "544.95")
        soon(lambda: not server.exchange.positions, "its stop was not sent: a halt holds no exit back")
        assert {row["orderTag"] for row in server.exchange.orders if row["side"] == 1} == left
