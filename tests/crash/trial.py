"""One journal, lived through by one trading process after another, and what must be true of it each time one dies."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Self

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import ExitStatus, OrderStatus
from livetrade.core.numbers import money
from livetrade.core.protecting import MAX_RETRIES
from livetrade.core.state import State
from livetrade.core.values import FINAL, Fill, Order
from livetrade.encoding import Decoder
from livetrade.journal.rows import unpacked_steps
from livetrade.journal.store import EVENTS, rows_of
from livetrade.journal.verify import reading, verify
from livetrade.opened import OpenedJournal
from tests.crash.trader import CASH, picture
from tests.support import picture as account_picture
from tests.support import soon

EXPECTED = {"session", "exit order ended", "exit held up"}
"""Alarms of an exchange that refuses orders and cancels now and then, and of lives that were killed."""

PATIENCE = 60.0
_SAME = {**os.environ, "PYTHONPATH": os.fspath(Path(lt.__file__).parent.parent)}
"""The traders run the livetrade that the tests do."""


@dataclass(frozen=True)
class Ack:
    life: int
    what: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """What trials came to. acknowledged: orders with an answer; unheard: reports that the exchange made to nobody;
    opened_s: the longest that it took from the start of a process until its engine answered, in seconds."""

    kills: int = 0
    events: int = 0
    orders: int = 0
    fills: int = 0
    answers: int = 0
    acknowledged: int = 0
    unheard: int = 0
    opened_s: float = 0.0

    def __add__(self, other: Self) -> Self:
        sums = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        return replace(self, **{**sums, "opened_s": max(self.opened_s, other.opened_s)})

    def __str__(self) -> str:
        opened = f", open {self.opened_s:.2f} s after its start at the latest" if self.opened_s else ""
        return (
            f"{self.kills:,} kills, {self.orders:,} orders ({self.acknowledged:,} acknowledged), {self.fills:,} fills, "
            f"{self.answers:,} answers, {self.events:,} events, {self.unheard:,} reports that nobody heard{opened}"
        )


Record = Callable[[str, Figures], None]
"""Takes a line about a trial, and its figures."""


@dataclass
class Trial:
    """The traders of one seed, on one journal. exchange: None trades on paper. expected: kinds of alarms that there may
    be. never_came: what is said of orders that the exchange has not."""

    trader: ClassVar[Path] = Path(__file__).with_name("trader.py")
    expected: ClassVar[set[str]] = EXPECTED
    never_came: ClassVar[tuple[str, ...]] = ("never got it",)

    folder: Path
    seed: int
    exchange: Any = None
    acks: list[Ack] = field(default_factory=list)
    fills: set[str] = field(default_factory=set)
    """Executions that a callback was told."""
    kills: int = 0
    lives: int = 0
    opened_after: list[float] = field(default_factory=list)
    """Seconds from the start of a process until its engine answered."""
    opened: OpenedJournal | None = None
    watched: set[str] = field(default_factory=set)
    """The exits that the journal had armed when the last process died."""

    def __post_init__(self) -> None:
        self.path = self.folder / "crash.journal"
        self.errors = self.folder / "stderr"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            tail = self.errors.read_text().splitlines()[-15:] if self.errors.exists() else []
            error.add_note(f"seed {self.seed}, life {self.lives}, everything is in {self.folder}")
            error.add_note("\n".join(("the last that the traders said on stderr:", *tail)))
        if self.exchange is not None:
            self.exchange.close()

    # ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def life(self, *, orders: int = 0, slow_ms: int = 0, wrap: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """A trading process. However it ends, it has ended then, and what it left behind is looked at."""
        self.lives += 1
        numbers = map(str, (self.seed, orders, slow_ms))
        command = [*wrap, sys.executable, "-W", "error", self.trader, self.where, self.path, *numbers]
        began = time.monotonic()
        with self.told.open("xb") as told, self.errors.open("ab") as errors:
            streams = {"stdin": subprocess.DEVNULL, "stdout": told, "stderr": errors}
            process = subprocess.Popen(command, **streams, env=_SAME, start_new_session=True)
        self._began = began
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # strace, and what it traces
                process.wait()
        self._listen()
        self.look()

    @property
    def where(self) -> str:
        """Of the exchange, for the trader."""
        return str(self.exchange.port if self.exchange is not None else 0)

    @property
    def told(self) -> Path:
        """What the newest trader prints."""
        return self.folder / f"told.{self.lives}"

    def until_open(self, process: subprocess.Popen[bytes]) -> None:
        soon(lambda: process.poll() is not None or b"\n" in self.told.read_bytes(), "the engine never answered")
        assert process.poll() is None, f"it ended by itself, with {process.returncode}"
        self.opened_after.append(time.monotonic() - self._began)

    def kill(self, dice: Random, longest: float = 0.6) -> None:
        """A life that ends at a random moment: as it starts or recovers, right after, or as it trades. Every other one
        has a slow disk."""
        with self.life(slow_ms=dice.choice((0, 20))) as process:
            if dice.random() < 0.25:
                _pass(process, dice.uniform(0, 1.2 * (self.opened_after or [0.5])[-1]))
            else:
                self.until_open(process)
                _pass(process, dice.uniform(0, 0.03 if dice.random() < 0.3 else longest))
            process.kill()
            assert process.wait(PATIENCE) == -signal.SIGKILL, f"it ended by itself, with {process.returncode}"
        self.kills += 1

    def kill_at(self, calls: str, number: int) -> str:
        """A life that ends as one of its threads makes its n-th system call of a kind; gives back which that was."""
        log = self.folder / f"calls.{self.lives + 1}"
        inject = f"inject={calls}:signal=SIGKILL:when={number}"
        wrap = ["strace", "-f", "-y", "-o", os.fspath(log), "-e", f"trace={calls}", "-e", inject]
        with self.life(wrap=wrap) as process:
            assert process.wait(PATIENCE) == -signal.SIGKILL, f"call {number} did not end it: {process.returncode}"
        self.kills += 1
        made = [line for line in log.read_text().splitlines() if "(" in line]
        return made[-1].split(maxsplit=1)[1].replace(f"{self.folder}/", "").partition(" =")[0]

    def end_well(self, orders: int = 25) -> None:
        """A life that comes to rest, is closed, and leaves the books as they must be."""
        with self.life(orders=orders) as process:
            self.until_it_rests(process)
            assert process.wait(PATIENCE) == 0, f"it failed with {process.returncode}"
        assert self.told.read_text().endswith("\nEND\n")
        assert "Traceback" not in self.errors.read_text(), "an engine or a trader had an error"
        self.check_books()

    def until_it_rests(self, process: "subprocess.Popen[bytes]") -> None:
        """Tells the exchange that a trader cannot tell to come to rest."""

    # ── what it told ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        whole = self.told.read_text().rpartition("\n")[0]  # a line that was cut off has told nothing
        for line in whole.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "OPEN":
                self._recovered(json.loads(rest))
            elif kind == "ACK":
                what, _, figures = rest.partition(" ")
                self.acks.append(Ack(self.lives, what, json.loads(figures)))
            elif kind == "FILL":
                self.fills.add(rest)

    def _recovered(self, known: dict[str, Any]) -> None:
        """What an engine said it knew when it opened, against all that had been acknowledged before."""
        if self.opened is None:
            self.opened = lt.open_journal(self.path)
        for ack in self.acks:
            _hold(ack, known["orders"].get(ack.figures["name"]), "the engine that went on")
        for risk_id in self.watched:
            status = known["exits"].get(risk_id)
            fired_meanwhile = status in ("TRIGGERED", "FILLED", "CANCELED")  # `check_exits` asks for the reason
            assert status == "ARMED" or fired_meanwhile, f"{risk_id} was armed; the engine that went on has {status}"

    # ── what it left behind ──────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, question: Any) -> Any:
        assert self.opened is not None
        return self.opened._read(question)

    def look(self) -> None:
        """Holds the journal against every acknowledgement so far, as it stands: before anybody is asked anything."""
        if self.opened is None:
            assert not self.acks
            return
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = self.opened.orders()
        verdict = verify(self.path)
        assert verdict.whole, verdict
        account = self._read(lambda account: account)
        assert list(table.index) == list(account.orders)
        if self.exchange is not None:
            self.exchange.look(lambda exchange: _check_sent(exchange, account.orders))
        for ack in self.acks:
            _hold(ack, picture(account.orders.get(ack.figures["name"])), "the journal")
            if ack.what == "modify" and ack.figures["success"]:
                _hold_terms(ack, account.orders[ack.figures["name"]])
        self._hold_the_rest(account)
        self.watched = {risk.risk_id for risk in account.risks.values() if risk.status is ExitStatus.ARMED}

    def _hold_the_rest(self, account: Account) -> None:
        """What was acknowledged and is no order: stops, money put in, fills that a callback was told."""
        armed = {(risk.symbol, str(risk.pct)) for risk in account.risks.values()}
        put_in = CASH if account.opened is not None else 0
        for ack in self.acks:
            if ack.what == "stop" and ack.figures["success"]:
                assert (ack.figures["symbol"], ack.figures["pct"]) in armed, f"lost: {ack}"
            if ack.what == "transfer" and ack.figures["success"]:
                put_in += ack.figures["amount"]
        assert money(account.ledger.put_in_raw) >= put_in, "lost: money that was put in"
        lost = self.fills - {fill.execution_id for fill in fills_of(account)}
        assert not lost, f"told of, and lost: {lost}"

    def check_books(self) -> None:
        """Nothing is on its way any more: the journal must say what the exchange does, and add up."""
        account = self._read(lambda account: account)
        fills = fills_of(account)
        assert len({fill.execution_id for fill in fills}) == len(fills), "an execution was counted twice"
        if self.exchange is not None:
            self.exchange.look(lambda exchange: _check_exchange(exchange, account, fills, self.never_came))
        _check_sums(account, fills)
        check_exits(self.path)
        assert account.halted is None, account.halted
        assert {alarm.kind for alarm in account.alarms} <= self.expected, list(account.alarms)
        assert account_picture(account) == account_picture(lt.open_journal(self.path)._account)
        assert account.ended_well

    def figures(self) -> "Figures":
        account = self._read(lambda account: account)
        orders = {ack.figures["name"] for ack in self.acks if ack.what == "order"}
        return Figures(
            kills=self.kills,
            events=account.seq,
            orders=len(account.orders),
            fills=len(account.fill_history.fills),
            answers=sum(ack.what != "told" for ack in self.acks),
            acknowledged=len(orders),
            unheard=0 if self.exchange is None else self.exchange.lost,
            opened_s=max(self.opened_after, default=0.0),
        )


def fills_of(account: Account) -> list[Fill]:
    return [fill for fill in account.fill_history.fills if isinstance(fill, Fill)]


def _pass(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Lets a life go on for so long; it must not end by itself."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _hold(ack: Ack, order: dict[str, Any] | None, whose: str) -> None:
    """An order as it stands against what was acknowledged of it: it may have come further; nothing is taken back."""
    told = ack.figures
    if told["name"] is None:
        return
    wrong = f"life {ack.life} acknowledged {ack.what} {told}; {whose} has {order}"
    if order is None or order["name"] is None:
        raise AssertionError(f"lost: {wrong}")
    assert "Duplicate id" not in told["message"], wrong
    assert order["filled"] >= told["filled"], f"lost fills: {wrong}"
    if told["status"] == "CANCELED":
        assert order["status"] == "CANCELED", f"changed: {wrong}"  # an execution may still be told
    elif told["status"] in FINAL:
        kept = ("status", "filled", "value")
        assert [order[name] for name in kept] == [told[name] for name in kept], f"changed: {wrong}"
    if ack.what == "order" and told["success"]:
        assert order["status"] not in ("SUBMITTED", "DENIED", "REJECTED"), f"not confirmed: {wrong}"
        assert told["limit"] is not None or told["filled"] == told["quantity"], f"not done: {wrong}"
    if ack.what == "cancel" and told["success"]:
        assert order["status"] == "CANCELED", f"not canceled: {wrong}"


def _hold_terms(ack: Ack, order: Order) -> None:
    """The terms of a modification that was acknowledged were confirmed, or were the order's from the first."""
    first = order.asked_raw or (order.quantity_raw, order.limit_raw, order.trigger_raw)
    terms = ack.figures["quantity"], ack.figures["limit"], None
    assert terms in (first, *order.confirmed), f"lost: {ack}, the journal has {order!r}"


def _check_sums(account: Account, fills: Sequence[Fill]) -> None:
    """Cash and positions, reckoned anew from the fills alone."""
    spent, held = Decimal(0), Counter[str]()
    for fill in fills:
        spent += fill.side.sign * fill.value + fill.fees
        held[fill.symbol] += fill.side.sign * fill.quantity_raw
    ledger = account.ledger
    assert money(ledger.cash_raw) == money(ledger.put_in_raw) - spent
    for symbol, market in account.markets.items():
        assert market.position_raw == held[symbol], symbol
    assert (
        ledger.cash_raw + account.market_value_raw
        == ledger.put_in_raw + ledger.realized_raw + account.unrealized_raw - ledger.fees_raw
    )


def _check_sent(exchange: Any, orders: Mapping[str, Order]) -> None:
    """What has left was journaled before, and has left once."""
    assert not exchange.faults
    doubled = {name: count for name, count in exchange.submissions.items() if count > 1}
    assert not doubled, f"submitted more than once: {doubled}"
    unknown = exchange.orders.keys() - orders.keys()
    assert not unknown, f"sent and not in the journal: {[exchange.orders[name] for name in unknown]}"


def _check_exchange(exchange: Any, account: Account, fills: Sequence[Fill], never_came: Sequence[str]) -> None:
    _check_sent(exchange, account.orders)
    ours = [(fill.execution_id, fill.client_order_id, fill.quantity_raw, fill.price_raw) for fill in fills]
    theirs = [(done.name, done.order.name, done.quantity, done.price) for done in exchange.executions]
    assert sorted(ours) == sorted(theirs), set(ours) ^ set(theirs)
    net = exchange.positions()
    for symbol, market in account.markets.items():
        assert market.position_raw == net.get(symbol, 0), symbol
    for name, placed in exchange.orders.items():
        order = account.orders[name]
        assert order.quantity_raw == placed.quantity, f"{placed}: {order!r}"
        assert order.limit_raw in (None, placed.limit), f"{placed}: {order!r}"
        assert order.is_open is placed.working, f"{placed}: {order!r}"
    for name, order in account.orders.items():
        if name not in exchange.orders:
            known = order.status is OrderStatus.DENIED or any(words in order.reason for words in never_came)
            assert known, f"it never came: {order!r}"


# ── exits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def steps_of(path: Path) -> Iterator[Sequence[ev.Event]]:
    """All events of a journal, step by step."""
    decoder, seq = Decoder(), 0
    with reading(path) as connection:
        for _, last, _, _, data in rows_of(connection, EVENTS):
            for step in unpacked_steps(data, seq + 1, decoder):  # type: ignore[arg-type]
                yield step.events
                seq += len(step.events)
            assert seq == last


def check_exits(path: Path) -> None:
    """An exit ends for a reason: its position has ended, another exit of it fired, it was replaced, or all that it sent
    was turned down."""
    state = State()
    for events in steps_of(path):
        before = {key: book.quantity_raw for key, book in state.ledger.books.items()}
        for event in events:
            state.apply(event)
        for event in events:
            if isinstance(event, ev.ExitEnded):
                risk = state.risks[event.risk_id]
                key = (risk.strategy, risk.symbol, risk.product)
                now = state.ledger.books[key].quantity_raw
                ended = not now or now * before.get(key, 0) < 0 or _went_through_zero(events, risk.symbol)
                gave_up = event.status is ExitStatus.FAILED and risk.attempts == MAX_RETRIES
                replaced = event.status is ExitStatus.CANCELED and _replaced(events, state, risk.risk_id)
                assert ended or gave_up or replaced, risk
        for key, bracket in state.brackets.items():
            assert state.ledger.books[key].quantity_raw, f"{bracket} protects nothing"


def _went_through_zero(events: Sequence[ev.Event], symbol: str) -> bool:
    sides = {event.fill.side for event in events if isinstance(event, ev.Filled) and event.fill.symbol == symbol}
    return len(sides) == 2


def _replaced(events: Sequence[ev.Event], state: State, risk_id: str) -> bool:
    old = state.risks[risk_id]
    book = (old.strategy, old.symbol, old.product)
    for event in events:
        if isinstance(event, ev.ExitFired):
            risk, fits = state.risks[event.risk_id], event.risk_id != risk_id
        elif isinstance(event, ev.ExitArmed):
            risk, fits = event.risk, event.risk.kind is old.kind and event.risk.risk_id != risk_id
        else:
            continue
        if fits and (risk.strategy, risk.symbol, risk.product) == book:
            return True
    return False
