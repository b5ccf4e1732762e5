"""Everything that can go wrong with an order, one after the other: none is sent twice, each ends as the server's books
say, and nothing that a person should know stays unsaid."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

import livetrade as lt
from livetrade.testing import FyersServer, OrderFault
from tests.adapters.fyers.broker_kit import INFY, SBIN, broker_of, live, ours, quote
from tests.support import soon

F = OrderFault
SEEDS = 20
TOKEN = "FYERS_AUTH_TOKEN"


class Scenario(NamedTuple):
    """action: what is done while the faults (with the terms of `fail`) are due. alarms: whether somebody is to hear."""

    name: str
    action: str
    faults: tuple[tuple[OrderFault, dict[str, Any]], ...]
    alarms: bool = False


def one(name: str, action: str, fault: OrderFault, *, alarms: bool = False, **terms: Any) -> Scenario:
    call = {"modify": "modify", "cancel": "cancel"}.get(action, "place")
    return Scenario(name, action, ((fault, {"call": call, **terms}),), alarms)


SCENARIOS = [
    Scenario("nothing", "market", ()),
    Scenario("nothing, resting", "limit", ()),
    Scenario("nothing, an exit", "exit", ()),
    Scenario("in parts", "parts", ()),
    *(
        one(f"{action}: {name}", action, fault, **terms)
        for action in ("market", "limit", "exit")
        for name, fault, terms in (
            ("answered late", F.LATE, {"seconds": 0.4}),
            ("answered too late", F.LATE, {"seconds": 1.3}),
            ("lost, and taken", F.LOST, {}),
            ("lost, and not taken", F.LOST, {"taken": False, "alarms": True}),
            ("502, and taken", F.GATEWAY, {}),
            ("502, and not taken", F.GATEWAY, {"taken": False, "alarms": True}),
            ("201, and taken", F.UNACKNOWLEDGED, {}),
            ("201, and not taken", F.UNACKNOWLEDGED, {"taken": False, "alarms": True}),
            ("garbage, and taken", F.GARBAGE, {}),
            ("reset after it was taken", F.RESET, {}),
            ("reset before it was taken", F.RESET, {"taken": False, "alarms": True}),
            ("throttled", F.THROTTLE, {"seconds": 0.3}),
            ("filled before the answer", F.FILL_FIRST, {"seconds": 0.4}),
            ("without its tag", F.UNTAGGED, {}),
            ("in no book for a while", F.HIDDEN, {"seconds": 0.6}),
            ("a status that nobody knows", F.ODD_STATUS, {"seconds": 0.5, "alarms": True}),
            ("taken, then rejected", F.REJECT, {"message": "RED:Margin Shortfall:INR 1,00,000.00"}),
            ("refused", F.REFUSE, {"message": "Freeze quantity exceeded"}),
            ("from another address", F.ADDRESS, {}),
        )
    ),
    Scenario("without its tag, and nobody tells", "market", ((F.UNTAGGED, {}), (F.SILENT, {"times": 3}))),
    Scenario("all reports lost", "market", ((F.SILENT, {"times": 3}),)),
    Scenario("answer and reports lost", "market", ((F.LOST, {}), (F.SILENT, {"times": 3}))),
    Scenario("answer and first reports lost", "exit", ((F.LOST, {}), (F.SILENT, {"times": 2}))),
    Scenario("every report twice", "parts", ((F.DUPLICATE, {"times": 12}),)),
    Scenario("reports in any order", "parts", ((F.REORDER, {"times": 12, "seconds": 0.3}),)),
    Scenario("filled first, in any order", "market", ((F.FILL_FIRST, {}), (F.REORDER, {"times": 4, "seconds": 0.2}))),
    Scenario("the socket breaks in a fill", "drop", ()),
    Scenario("the socket stays away", "away", ()),
    Scenario(
        "the book is down, and the answer lost", "market", ((F.LOST, {}), (F.GATEWAY, {"call": "book", "times": 4}))
    ),
    Scenario(
        "the book is garbage, and the answer lost",
        "market",
        ((F.GATEWAY, {}), (F.GARBAGE, {"call": "book", "times": 3})),
    ),
    one("modified: answered late", "modify", F.LATE, seconds=0.4),
    one("modified: lost, and taken", "modify", F.LOST),
    one("modified: lost, and not taken", "modify", F.LOST, taken=False, alarms=True),
    one("modified: 502, and taken", "modify", F.GATEWAY),
    one("modified: refused", "modify", F.REFUSE, message="not now"),
    one("modified: throttled", "modify", F.THROTTLE, seconds=0.3),
    one("canceled: answered late", "cancel", F.LATE, seconds=0.4),
    one("canceled: lost, and taken", "cancel", F.LOST),
    one("canceled: lost, and not taken", "cancel", F.LOST, taken=False, alarms=True),
    one("canceled: 502, and not taken", "cancel", F.GATEWAY, taken=False, alarms=True),
    one("canceled: it fills first", "cancel", F.RACE),
    one("canceled: refused", "cancel", F.REFUSE, message="not now"),
    Scenario("canceled: nobody tells", "cancel", ((F.SILENT, {"times": 1}),)),
    Scenario("sold elsewhere", "elsewhere", (), alarms=True),
    Scenario("the token expires", "expired", (), alarms=True),
    Scenario("the token expires, and the answer is lost", "expired", ((F.LOST, {}),), alarms=True),
]
NAMES = [scenario.name for scenario in SCENARIOS]


# ── what is done ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Stage:
    """One engine, one server, and the dice of one seed. renew: makes a new token known, as a log-in does."""

    def __init__(
        self, server: FyersServer, engine: lt.LiveTradingEngine, dice: Random, renew: Callable[[], None]
    ) -> None:
        self.server, self.engine, self.dice, self.renew = server, engine, dice, renew
        self.quantity = dice.choice((1, 7, 40))
        self.symbol = dice.choice((SBIN, INFY))
        self.bid = "548.95" if self.symbol == SBIN else "1599.90"
        self.ask = "549.00" if self.symbol == SBIN else "1600.00"
        self.low = "540.00" if self.symbol == SBIN else "1580.00"
        self.stop = "545.00" if self.symbol == SBIN else "1590.00"
        quote(server, engine, self.bid, self.ask, self.symbol)

    def held(self, **exits: Any) -> None:
        self.engine.market_buy(self.symbol, self.quantity, **exits).result(10).raise_if_failed()

    def resting(self) -> str:
        handle = self.engine.limit_buy(self.symbol, self.quantity, self.low)
        handle.result(10).raise_if_failed()
        assert handle.client_order_id is not None
        return handle.client_order_id

    def fail(self, scenario: Scenario) -> None:
        for fault, terms in scenario.faults:
            self.server.exchange.fail(fault, **terms)


def market(stage: Stage, scenario: Scenario) -> None:
    stage.fail(scenario)
    stage.engine.market_buy(stage.symbol, stage.quantity, stop_loss_price=stage.stop)


def limit(stage: Stage, scenario: Scenario) -> None:
    stage.fail(scenario)
    stage.engine.limit_buy(stage.symbol, stage.quantity, stage.low)


def an_exit(stage: Stage, scenario: Scenario) -> None:
    stage.held(stop_loss_price=stage.stop)
    stage.fail(scenario)
    quote(stage.server, stage.engine, stage.low, stage.bid, stage.symbol)
    soon(lambda: not stage.server.exchange.positions, "the stop never closed the position")


def parts(stage: Stage, scenario: Scenario) -> None:
    stage.server.exchange.parts(1, max(stage.quantity - 2, 0))
    stage.fail(scenario)
    stage.engine.market_buy(stage.symbol, stage.quantity)
    soon(lambda: stage.server.exchange.trades)
    for _ in range(2):
        stage.server.exchange.match(stage.symbol)


def drop(stage: Stage, scenario: Scenario) -> None:
    stage.server.exchange.parts(stage.quantity // 2)
    stage.engine.market_buy(stage.symbol, stage.quantity)
    soon(lambda: stage.server.exchange.orders)
    stage.server.exchange.drop()
    stage.server.exchange.match(stage.symbol)


def away(stage: Stage, scenario: Scenario) -> None:
    name = stage.resting()
    stage.server.exchange.refuses_socket = True
    stage.server.exchange.drop()
    soon(lambda: stage.engine.health()["alarms"])
    refused = stage.engine.market_buy(stage.symbol, 1).result(5)
    assert refused.message.startswith("Connection lost: the order socket"), refused
    stage.server.exchange.execute(name, stage.quantity, stage.low)
    soon(lambda: stage.engine.order(name).status == "FILLED", "the books were not looked at")
    stage.server.exchange.heal()


def modify(stage: Stage, scenario: Scenario) -> None:
    name = stage.resting()
    stage.fail(scenario)
    stage.engine.modify(name, quantity=stage.quantity + 5)


def cancel(stage: Stage, scenario: Scenario) -> None:
    name = stage.resting()
    stage.fail(scenario)
    stage.engine.cancel(name)


def elsewhere(stage: Stage, scenario: Scenario) -> None:
    stage.held(stop_loss_price=stage.stop)
    stage.server.exchange.trade_elsewhere(stage.symbol, -stage.quantity)
    soon(lambda: list(stage.engine.risk_orders()["status"]) == ["CANCELED"])
    quote(stage.server, stage.engine, stage.low, stage.bid, stage.symbol)


def expired(stage: Stage, scenario: Scenario) -> None:
    stage.held(stop_loss_price=stage.stop)
    stage.server.fail("expired")
    refused = stage.engine.market_buy(stage.symbol, 1).result(10)
    assert refused.message.startswith("the Fyers token has expired"), refused
    quote(stage.server, stage.engine, stage.low, stage.bid, stage.symbol)
    soon(lambda: stage.engine.health()["alarms"])
    stage.fail(scenario)
    stage.renew()
    soon(lambda: not stage.server.exchange.positions, "the stop was not sent with the new token")


ACTIONS: dict[str, Callable[[Stage, Scenario], None]] = {
    "market": market,
    "limit": limit,
    "exit": an_exit,
    "parts": parts,
    "drop": drop,
    "away": away,
    "modify": modify,
    "cancel": cancel,
    "elsewhere": elsewhere,
    "expired": expired,
}
STATES = {1: {"CANCELED"}, 2: {"FILLED"}, 5: {"REJECTED"}, 6: {"ACCEPTED", "PARTIALLY_FILLED"}}


# ── what must be true ────────────────────────────────────────────────────────────────────────────────────────────────


def disagreements(stage: Stage) -> list[str]:
    """Where the engine's orders are not what the server's books say."""
    engine, found = stage.engine, []
    rows = [row for row in stage.server.exchange.orders if row["source"] == "ITS"]
    known = engine._read(lambda account: dict(account.orders))
    by_venue = {order.venue_order_id: order for order in known.values() if order.venue_order_id}
    seen = set()
    for row in rows:
        order = by_venue.get(row["id"]) or known.get(row["orderTag"][2:])
        if order is None:
            found.append(f"{row} is not known here")
            continue
        seen.add(order.client_order_id)
        same = order.filled_raw == row["filledQty"] and order.status in STATES.get(row["status"], ())
        same &= not order.is_open or order.quantity_raw == row["qty"]
        if not same:
            found.append(f"{order} is {row['filledQty']} of {row['qty']}, status {row['status']} there")
    for name, order in known.items():
        if name not in seen and order.status not in ("REJECTED", "DENIED", "CANCELED"):
            found.append(f"{order} is not there")
    return found


def play(scenario: Scenario, seed: int, journal: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, FyersServer() as server:
        patch.setenv(TOKEN, server.token)
        with live(server, journal, broker_of(server, access_token=None)) as engine:
            dice = Random(f"{scenario.name} {seed}")
            check(scenario, Stage(server, engine, dice, lambda: patch.setenv(TOKEN, server.new_token())))


def check(scenario: Scenario, stage: Stage) -> None:
    server, engine = stage.server, stage.engine
    ACTIONS[scenario.action](stage, scenario)
    soon(lambda: not disagreements(stage), str(disagreements(stage)))
    server.exchange.say_all_again()
    soon(lambda: not disagreements(stage))
    assert all(count <= 1 for count in server.exchange.submissions.values()), server.exchange.submissions
    if scenario.action == "elsewhere":
        assert not server.exchange.positions
    else:
        assert ours(engine) == server.exchange.positions
        assert engine.pnl(exact=True)["total_pnl"] == server.exchange.pnl
    alarms = engine.health()["alarms"]
    assert alarms or not scenario.alarms, "nobody was told"
    refused = [o for o in engine._read(lambda a: list(a.orders.values())) if o.status in ("REJECTED", "UNKNOWN")]
    assert all(order.reason for order in refused)
    words = [terms["message"] for _, terms in scenario.faults if "message" in terms]
    told = [order.reason for order in engine._read(lambda a: list(a.orders.values()))]
    assert all(word in told or any(word in alarm for alarm in alarms) for word in words), (words, told)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_whatever_goes_wrong(scenario: Scenario, tmp_path: Path) -> None:
    play(scenario, 0, tmp_path / "real.journal")


@pytest.mark.campaign
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_whatever_goes_wrong_often(seed: int, tmp_path: Path) -> None:
    for number, scenario in enumerate(SCENARIOS):
        play(scenario, seed, tmp_path / f"{number}.journal")
