"""An engine that runs in a desk, as a notebook holds it: the same methods, DataFrames, callbacks and panel.

It keeps a replica of the desk's account. A command goes to the desk, and its handle resolves when the replica has come
as far as the answer; so what a handle tells is in the next DataFrame. What is not known freshly is not shown: while the
desk cannot be reached reads raise `DeskError`, and orders are refused with `Connection lost`.
"""

import contextlib
import json
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from threading import get_ident, local
from time import time_ns
from typing import Any, ClassVar, Self, TypeVar

from livetrade import errors, registry
from livetrade.answers import Answers
from livetrade.brokerbooks import BrokerBooks
from livetrade.columns import View
from livetrade.context import StrategyInfo
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderStatus, Process, StrategyState
from livetrade.core.numbers import at
from livetrade.core.ordering import base36
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.core.values import FINAL, Order
from livetrade.desk.link import TEND, Link, new_key
from livetrade.desk.replica import Replica
from livetrade.desk.runtime import Running, find, until_gone
from livetrade.desk.wire import price_words, words_of
from livetrade.encoding import instrument_of, instrument_terms, record_from
from livetrade.errors import DeskError, EngineClosedError, LiveTradeError, OrderError
from livetrade.handle import Handle
from livetrade.levels import Level
from livetrade.outbox import changed_orders
from livetrade.ports import BrokerOrder
from livetrade.preview import Preview
from livetrade.readers import Reader
from livetrade.reads import view_of
from livetrade.reconciling import Compared
from livetrade.snapshot import panel_snapshot
from livetrade.stream import LivePriceStream
from livetrade.summary import headline
from livetrade.surface import NOT_CONFIRMED, OrderHandle, OrderResult, Surface
from livetrade.usercode import Callbacks, UserThread, guarded
from livetrade.why import Why

T = TypeVar("T")

ATTACH_SECONDS = 15.0
FRESH_WAIT = 2.0
CLOSE_SECONDS = 1.0
END_SECONDS = 10.0
MANY_EVENTS = 20_000
ASK_SECONDS = 10.0
OVERDUE_SECONDS = 8.0
"""After which a command without an answer is told as not confirmed."""
SLOW = {"why": 120.0, "levels": 120.0, "broker_orders": 60.0, "reconcile": 60.0}
"""Seconds that the answer to a question may take which reads all events, or asks the broker."""
LOST = "Connection lost"


def attach(name: str | None = None, *, url: str | None = None, token: str | None = None) -> "AttachedEngine":
    """The engine of a desk on this machine (`livetrade serve`, `lt.start_desk`), by its name, or the only one.

    url, token: of a desk elsewhere, such as "https://host:5000"; its certificate must be one that Python trusts
    (`SSL_CERT_FILE` names others). Closing what this gives back only detaches. Raises `DeskError`.
    """
    if url is None:
        if token is not None:
            raise DeskError("a token needs the url of its desk too")
        known = find(name).name  # the only one now need not be so when the connection is made anew
        return AttachedEngine(lambda: find(known))
    desk = Running(url.rstrip("/"), token or "", 0, name or "")
    if not desk.url.startswith(("http://", "https://")):
        raise DeskError(f"the url of a desk is such as 'http://127.0.0.1:5000', not {url!r}")
    return AttachedEngine(lambda: desk)


class Pending:
    """Something that was asked of the desk. looks: how often it was looked at since."""

    def __init__(self, handle: Handle[Any], command: str, body: dict[str, Any]) -> None:
        self.handle = handle
        self.command = command
        self.body = body
        self.looks = 0
        self.parts: dict[str, list[int]] = {}


class _Progress:
    """A progress bar, where a long past takes its time."""

    def __init__(self, engine: "AttachedEngine") -> None:
        self._engine = engine
        self._bar: Any = None

    def show(self) -> None:
        total, known = self._engine.events_to_come, self._engine.after()
        if self._bar is None and total - known > MANY_EVENTS:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc="attach", unit="event", leave=False)
        if self._bar is not None:
            self._bar.update(known - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class DeskStream(LivePriceStream):
    """The prices of a desk. What is registered or posted here goes to the desk."""

    def __init__(self, register: Callable[[Instrument], None]) -> None:
        super().__init__()
        self._tell = register

    def register(self, *instruments: Instrument) -> None:
        for instrument in instruments:
            self._tell(instrument)

    def learn(self, instrument: Instrument) -> None:
        """What the desk says of an instrument holds."""
        self._instruments[instrument.symbol] = instrument.in_zone(self.zone)


class AttachedEngine(BrokerBooks, Surface):
    """The engine of a desk; made by `lt.attach()` and `lt.start_desk(...)`.

    It has every command and every read of a `LiveTradingEngine`, but no `record`: a desk's journal keeps its ticks.
    `close()` only detaches: the desk trades on, and its stops fire. `shutdown_desk()` ends the desk. It connects again
    by itself; `health()["connection"]` tells how that is.
    """

    def __init__(self, where: Callable[[], Running]) -> None:
        super().__init__()
        self._where = where
        self.name = where().name or "desk"
        self._mode = "PAPER"
        self._fed = False
        self.events_to_come = 0
        self._run_id = ""
        self._health: dict[str, Any] = {}
        self._closing = False
        self._own = local()
        self._pending: dict[str, Pending] = {}
        self._followers: list[tuple[OrderHandle, OrderHandle, OrderStatus, int]] = []
        self._watchers: tuple[Callable[[], None], ...] = ()
        self._replica = Replica()
        self._answers = Answers(self._replica.account)
        self._user = UserThread(f"livetrade-desk-{self.name}-user", lambda: None)
        self._on_fill = Callbacks(self._user)
        self._on_order = Callbacks(self._user)
        self.stream: DeskStream = DeskStream(self._register)
        self._link = Link(f"livetrade-desk-{self.name}", where, self)
        self.stream.hub.open()
        self.stream.hub.dispatch = lambda: self._user.soon(self._dispatch_ticks)
        with _Progress(self) as progress:
            self._link.start(ATTACH_SECONDS, progress.show)
        self.stream.attach(self, self._replica.account.zone)
        registry.close_namesake(self.registered_as)
        registry.close_namesake(self.registered_as, successor=self)

    @property
    def registered_as(self) -> str:
        """An engine of this process may have the same name."""
        return f"desk {self.name}"

    @property
    def account(self) -> Account:
        return self._replica.account

    # ── on the link's thread ─────────────────────────────────────────────────────────────────────────────────────────

    def after(self) -> int:
        return self.account.seq

    def hello(self, message: dict[str, Any]) -> bool:
        self.name = message["name"]
        self._mode, self._fed, self._health = message["mode"], message["fed"], message["health"]
        self.events_to_come = message["seq"]
        same_run, self._run_id = self._run_id == message["run"], message["run"]
        if self._replica.journal not in ("", message["journal"]):
            self._forget()
            return False
        self._replica.journal = message["journal"]
        if not same_run:
            for pending in self._pending.values():
                pending.looks = max(pending.looks, 1)
        with self._replica.lock:
            self.account.ticks = self._health["ticks"]
        for terms in message["instruments"]:
            self.stream.learn(instrument_of(terms, self.stream.zone))
        return True

    def _forget(self) -> None:
        """Another account is kept there now."""
        self._replica = Replica()
        self._answers.end("the desk keeps another account now")
        self._answers = Answers(self._replica.account)

    def take(self, message: dict[str, Any] | bytes) -> None:
        if isinstance(message, bytes):
            self._happened(self._replica.fold_page(message))
        else:
            self._TAKE[message["type"]](self, message)
        self._woke()

    def _take_event(self, message: dict[str, Any]) -> None:
        event = self._replica.fold(message["seq"], message["event"])
        if event is not None:
            self._happened([event])

    def _happened(self, events: Sequence[ev.Event]) -> None:
        """After the fold: who follows an order hears of it, and so do callbacks, once this engine is up to date."""
        for event in events:
            if isinstance(event, ev.InstrumentAdded):
                self.stream.learn(event.instrument)
        changed = changed_orders(self.account, events)
        self._follow_known()
        self._answers.orders_changed(changed)
        if not self._link.ready:
            return
        for event in events:
            if isinstance(event, ev.Filled):
                self._on_fill(event.fill)
        for order in changed:
            self._on_order(order)

    def _take_ticks(self, message: dict[str, Any]) -> None:
        missed = message["missed"]
        for row in message["ticks"]:
            self._price(row, missed.pop(row["symbol"], 0))
        self.account.ticks = max(self.account.ticks, message["tick"])

    def _price(self, row: dict[str, Any], missed: int) -> None:
        quote = self._replica.price(row, missed)
        if quote is not None and self.stream.hub.active:
            self.stream.hub.publish(quote)

    def _take_ready(self, message: dict[str, Any]) -> None:
        for row in message["quotes"]:
            self._price(row, 0)
        for key, pending in list(self._pending.items()):  # sent before the connection was lost
            self._link.soon(lambda key=key, pending=pending: self._look_up(key, pending))  # type: ignore[misc]

    def _look_up(self, key: str, pending: Pending) -> None:
        """Asks what became of a command; what only asks is asked again."""
        if pending.command in ("ticks", "barrier", "register", "preview", "why", "levels"):
            self._link.say(key, pending.command, pending.body)
        else:
            self._link.say(key, "lookup", {})

    def _take_beat(self, message: dict[str, Any]) -> None:
        self._health = message["health"]

    _TAKE: ClassVar[Mapping[str, Callable[[Any, dict[str, Any]], None]]] = {
        "event": _take_event,
        "ticks": _take_ticks,
        "ready": _take_ready,
        "beat": _take_beat,
    }

    def lost(self, reason: str) -> None:
        self._woke()

    def tend(self) -> None:
        self._answers.overdue(self._now_ns())
        for key, pending in list(self._pending.items()):
            pending.looks += 1
            if pending.looks * TEND > SLOW.get(pending.command, OVERDUE_SECONDS):
                self._pending.pop(key, None)
                self._give_up(pending, f"{NOT_CONFIRMED}: the desk has not answered yet; do not send it again")

    def _woke(self) -> None:
        for wake in self._watchers:
            guarded(wake)

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def answered(self, key: str, answer: dict[str, Any]) -> None:
        pending = self._pending.get(key)
        if pending is None:
            return
        if "ticks" in answer:
            for name, part in answer["ticks"].items():
                pending.parts.setdefault(name, []).extend(part)
            if answer["more"]:
                pending.looks = 0
                return
        del self._pending[key]
        if answer.get("unknown"):
            self._never_came(pending)
        elif "error" in answer:
            kind = getattr(errors, answer["error"], LiveTradeError)
            pending.handle.fail((kind if kind is not errors.PriceError else OrderError)(answer["message"]))
        elif isinstance(pending.handle, OrderHandle):
            pending.handle.resolve(OrderResult(answer["success"], answer["message"], self._order_in(answer)))
        else:
            pending.handle.resolve({**answer, "ticks": pending.parts})
        self._follow_known()

    def _order_in(self, answer: dict[str, Any]) -> Order | None:
        """The order that an answer tells of, as the desk said it is."""
        if answer["order"] is None:
            return None
        item = instrument_of(answer["instrument"], self.account.zone)
        return record_from(Order, answer["order"], {**self.account.instruments, item.symbol: item})

    def _never_came(self, pending: Pending) -> None:
        """The desk does not know of it. It has not arrived, or the desk was another process then."""
        order = self.account.order(pending.body.get("client_order_id"))
        if order is not None:
            self._give_up(pending, f"{NOT_CONFIRMED}: {order.client_order_id} is {order.status}", order)
        elif pending.command == "submit" or not pending.looks:
            self._give_up(pending, f"{LOST}: it did not arrive at the desk, and nothing was done")
        else:
            self._give_up(pending, f"{NOT_CONFIRMED}: the desk was restarted before it answered")

    def _give_up(self, pending: Pending, message: str, order: Order | None = None) -> None:
        if not isinstance(pending.handle, OrderHandle):
            pending.handle.fail(DeskError(message))
            return
        if order is not None and order.status in FINAL:
            done = order.status is OrderStatus.FILLED
            message = f"{order.status}: {order.reason or order.filled_qty}"
            pending.handle.resolve(OrderResult(done, message, order))
            return
        pending.handle.resolve(OrderResult(False, message, order))

    # ── asking the desk ──────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, command: str, body: dict[str, Any]) -> Handle[dict[str, Any]]:
        handle: Handle[dict[str, Any]] = Handle(command)
        handle.bind(self._link.ident, lambda: None)
        self._go(handle, command, body)
        return handle

    def _told(self, question: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question."""
        return self._ask(question, body).result(SLOW.get(question, ASK_SECONDS))

    def _go(self, handle: Handle[Any], command: str, body: dict[str, Any]) -> None:
        if self._closing:
            raise EngineClosedError(f"this is detached from the desk {self.name!r}; lt.attach() again")
        pending = Pending(handle, command, body)
        key = new_key()
        self._pending[key] = pending
        if not self._link.say(key, command, body):
            del self._pending[key]
            self._give_up(pending, f"{LOST}: {self._link.reason or 'the desk is not there'}; nothing was sent")

    def _send(self, command: ev.Command, what: str) -> OrderHandle:
        if isinstance(command, ev.SubmitOrder) and not command.client_order_id:
            command = replaced(command, client_order_id=self._new_id())
        handle = OrderHandle(what, self._follow)
        handle.bind(self._link.ident, lambda: None)
        handle.client_order_id = getattr(command, "client_order_id", None)
        symbol = getattr(command, "symbol", None)
        if isinstance(command, ev.ModifyOrder):
            order = self.account.orders.get(command.client_order_id)
            symbol = order.symbol if order is not None else None
        name, body = words_of(command, self._instrument(symbol) if symbol is not None else None)
        self._go(handle, name, body)
        return handle

    def _preview(self, command: ev.SubmitOrder) -> Preview:
        """The desk has the account with its rules; here they are known by name only."""
        _, body = words_of(command, command.instrument)
        given = {name: value for name, value in body.items() if value not in (None, "")}
        answer = self._told("preview", given)
        return record_from(Preview, answer["preview"], {})

    def _why(self, order_id: str) -> Why | None:
        """The desk has the events."""
        answer = self._told("why", {"client_order_id": order_id})
        return None if answer["why"] is None else record_from(Why, answer["why"], {})

    def _levels(self, symbol: str) -> Sequence[Level]:
        """The desk has the events."""
        answer = self._told("levels", {"symbol": symbol})
        return [record_from(Level, level, {}) for level in answer["levels"]]

    def _new_id(self) -> str:
        """Ordered by time, as the engine's own are; known here before the desk hears of the order."""
        return base36(self._now_ns(), 12) + base36(random.SystemRandom().randrange(36**6), 6)

    def _follow(self, handle: OrderHandle, status: OrderStatus, timeout: float | None) -> Handle[OrderResult]:
        following = OrderHandle(f"{handle.client_order_id or 'order'} until {status}", self._follow)
        following.bind(self._link.ident, lambda: None)
        deadline = 1 << 63 if timeout is None else self._now_ns() + round(timeout * 1e9)
        self._followers.append((handle, following, status, deadline))
        self._link.soon(self._follow_known)
        return following

    def _follow_known(self) -> None:
        """Follows the orders that have been heard of; of others, sent a moment ago, that is still to come."""
        for follower in list(self._followers):
            handle, following, status, deadline = follower
            if self.account.ids_of(handle.client_order_id) or handle.done():
                self._followers.remove(follower)
                self._answers.follow(following, handle.client_order_id, status, deadline)

    def _register(self, instrument: Instrument) -> None:
        terms = json.dumps(instrument_terms(instrument))
        answer = self._told("register", {"instrument": terms})
        self.stream.learn(instrument_of(answer["instrument"], self.account.zone))

    # ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def post_tick(self, tick: Tick) -> None:
        """Posts a price to the desk, where it has no feed of its own. Raises `OrderError`."""
        if self._fed:
            raise OrderError("this desk has a feed of its own; prices are not posted by hand")
        if self._closing:
            raise EngineClosedError(f"this is detached from the desk {self.name!r}")
        self._own.posted = True
        self._link.say(new_key(), "update", price_words(tick))

    def join(self, reader: Reader[Any]) -> dict[str, Any]:
        """Offers a reader of bars the ticks from now on; gives those of its symbol that the desk has from before."""
        symbol, since = reader.symbol or "", list[Tick]()
        untap = self.stream.hub.tap(since.append)
        try:
            answer = self._told("ticks", {"symbol": symbol})
        except BaseException:
            untap()
            raise
        joined: Future[None] = Future()

        def switch() -> None:
            """Between two messages of the desk, so that no tick is lost or comes twice."""
            untap()
            for tick in since:
                if tick.symbol == symbol and tick.received_ns > answer["as_of_ns"]:
                    reader.offer(tick)
            self.stream.hub.join(reader)
            joined.set_result(None)

        self._link.soon(switch)
        joined.result(ASK_SECONDS)
        return _columns(answer)

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, question: Callable[[Account], T]) -> T:
        if not self._closing:
            if getattr(self._own, "posted", False) and get_ident() != self._link.ident:
                self._own.posted = False
                self._told("barrier", {})
            if not self._link.wait_fresh(FRESH_WAIT):
                raise DeskError(
                    f"the desk {self.name!r} is not connected ({self._link.reason or 'it is mute'}), and is being "
                    f"connected to again; what is known is from {at(self.account.ts, self.account.zone):%H:%M:%S}"
                )
        with self._replica.lock:
            return question(self.account)

    def _read_ticks(self, symbol: str) -> "tuple[dict[str, Any], View]":
        answer = self._told("ticks", {"symbol": symbol})
        return _columns(answer), self._read(view_of)

    def _strategy_infos(self) -> Sequence[StrategyInfo]:
        """Those that run here, and those that run in the desk."""
        answer = self._told("strategies", {})
        zone = self.account.zone
        there = [
            StrategyInfo(name, Process.DESK, StrategyState(state), at(started_ns, zone), error)
            for name, state, started_ns, error in answer["strategies"]
        ]
        return [*super()._strategy_infos(), *there]

    def broker_rows(self) -> Sequence[tuple[BrokerOrder, bool]]:
        answer = self._told("broker_orders", {})
        return [(record_from(BrokerOrder, row, {}), foreign) for row, foreign in answer["rows"]]

    def compared(self, accept: bool) -> Sequence[Compared]:
        answer = self._told("reconcile", {"accept": accept})
        items = [instrument_of(terms, self.account.zone) for terms in answer["instruments"]]
        known = {item.symbol: item for item in items}
        return [record_from(Compared, row, known) for row in answer["rows"]]

    def _now_ns(self) -> int:
        return max(time_ns(), self.account.ts)

    def now(self) -> datetime:
        """The engine's time, in its time zone."""
        return self._read(lambda account: at(self._now_ns(), account.zone))

    # ── looking in ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def mode(self) -> str:
        """PAPER, or REAL where the desk's orders go to a broker with real money."""
        return self._mode

    @property
    def is_open(self) -> bool:
        """False once `close()` was called."""
        return not self._closing

    @property
    def url(self) -> str:
        """Where the desk's page is."""
        return self._where().url

    def health(self) -> dict[str, Any]:
        """As an engine's `health()`, by the desk's last word, and `connection` (CONNECTED, RECONNECTING or CLOSED),
        `connection_reason`, `connection_losses`."""
        fresh = self._link.is_fresh()
        known = {key: value for key, value in self._health.items() if key not in ("name", "mode", "open")}
        if not fresh:
            known = {**known, "feed": "RECONNECTING", "feed_reason": "the desk is not connected"}
        return {
            **known,
            "subscribers": max(known.get("subscribers", 0), self.stream.hub.behind()),
            "connection": "CLOSED" if self._closing else "CONNECTED" if fresh else "RECONNECTING",
            "connection_reason": "" if fresh else self._link.reason,
            "connection_losses": max(self._link.reconnects, 0),
        }

    def _panel_source(self) -> Self:
        return self

    def panel_snapshot(self, symbols: Sequence[str] | None) -> dict[str, object]:
        """What the panel shows; from any thread."""
        with self._replica.lock:
            facts = panel_snapshot(self.account, symbols, self._now_ns())
        fresh = self._closing or self._link.is_fresh()
        health = self._health
        return {
            **facts,
            "name": self.name,
            "mode": self.mode,
            "ticks_per_second": health.get("ticks_per_second", 0.0),
            "closed": self._closing,
            "stale": not fresh,
            "lag_ms": health.get("lag_ms", {}),
            "worst_stall_ms": health.get("worst_stall_ms", 0.0),
            "desk_url": self._desk_url(),
        }

    def _desk_url(self) -> str:
        with contextlib.suppress(DeskError):
            return self.url
        return ""

    def panel_watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake()` after each message of the desk; gives back what ends it."""
        self._watchers = (*self._watchers, wake)

        def unwatch() -> None:
            self._watchers = tuple(other for other in self._watchers if other is not wake)

        return unwatch

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def shutdown_desk(self, force: bool = False) -> str:
        """Ends the desk, and detaches. Refused with `DeskError` while positions, exits or orders are open, which nobody
        would watch any more, unless `force`. Gives back what the desk said, once it has ended."""
        desk = self._where()
        answer = self._told("shutdown", {"force": force})
        if not answer["success"]:
            raise DeskError(answer["message"])
        self.close()
        until_gone(desk, END_SECONDS)
        return str(answer["message"])

    def close(self) -> None:
        """Detaches: the desk trades on, its stops fire. Strategies that were started here are canceled. Reads still
        answer what was last known. May be called again."""
        if self._closing:
            return
        self._strategies.close(CLOSE_SECONDS)
        if self._pending and get_ident() != self._link.ident:  # what was sent arrives before the connection ends
            with contextlib.suppress(TimeoutError, LiveTradeError):
                self._ask("barrier", {}).result(CLOSE_SECONDS)
        self._closing = True
        self._link.close()
        for pending in list(self._pending.values()):
            self._give_up(pending, f"{NOT_CONFIRMED}: detached before the desk answered; do not send it again")
        self._pending.clear()
        self._follow_known()
        self._answers.end("detached from the desk")
        self.stream.detach(self, [m.quote for m in self.account.markets.values() if m.quote is not None])
        registry.forget(self)
        self._user.stop(0.5)
        self._woke()
        self._end_panels()

    def abandon(self) -> None:
        """In a forked child: the connection stayed behind in the parent."""
        self._closing = True
        self._link.abandon()

    def _glance(self, question: Callable[[Account], T]) -> T:
        """Of what is known here, however old."""
        with self._replica.lock:
            return question(self.account)

    def _state(self) -> str:
        if self._closing:
            return "detached, last known"
        return "attached" if self._link.is_fresh() else "not connected, last known"

    def __repr__(self) -> str:
        return f"<AttachedEngine {self.name} {self.mode} {self._state()}: {self._glance(headline)}>"


def _columns(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: array("q", answer["ticks"].get(name, [])) for name in ("time", "bid", "ask", "last", "volume")}
