"""The engine that a strategy trades on in a replay: every command and read of a live one, in virtual time."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from livetrade import portfolio
from livetrade.columns import View
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType
from livetrade.core.numbers import Number
from livetrade.core.ticks import Tick
from livetrade.core.values import Fill, Order
from livetrade.errors import EngineClosedError, OrderError
from livetrade.handle import Handle
from livetrade.levels import Level, levels_of
from livetrade.preview import Preview, preview_of
from livetrade.reads import view_of
from livetrade.replays.driver import Driver, Nap
from livetrade.replays.source import Log, Recording
from livetrade.replays.stream import ReplayStream
from livetrade.replays.tasks import ReplayHandle, ReplayOrderHandle
from livetrade.surface import OrderHandle, OrderResult, Surface
from livetrade.terms import EXITS, duration, exit_kind
from livetrade.why import Why, why_of

T = TypeVar("T")


def checked_exits(exits: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises `OrderError` for what is no exit."""
    for name in exits:
        if exit_kind(name) is None:
            raise OrderError(f"exits are {', '.join(EXITS)}, not {name}")
    return exits


class ReplayEngine(Surface):
    """What a strategy gets as `engine` in a replay. Its time is the recording's and stands still between ticks."""

    name = "replay"

    def __init__(
        self,
        account: Account,
        recording: Recording,
        stream: ReplayStream,
        driver: Driver,
        exits: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self._exits = exits
        self.account = account
        self.stream: ReplayStream = stream
        self._driver = driver
        self._log = Log(recording)
        self._is_open = True
        stream.known = lambda symbol: self._log.copy(symbol, driver.played)
        stream.attach(self, stream.zone)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _order(
        self, side: OrderSide, order_type: OrderType, symbol: str, quantity: Number | None, **terms: Any
    ) -> OrderHandle:
        if self._exits and self.position(symbol).quantity * side.sign >= 0:
            kinds = {exit_kind(name) for name in self._exits}
            kept = {name: value for name, value in terms.items() if exit_kind(name) not in kinds}
            terms = {**kept, **self._exits}
        return super()._order(side, order_type, symbol, quantity, **terms)

    def _send(self, command: ev.Command, what: str) -> OrderHandle:
        if not self._is_open:
            raise EngineClosedError("the replay is over; its account takes no commands any more")
        handle = ReplayOrderHandle(what, self._driver.turns, self._follow)
        self._driver.send(command, handle)
        return handle

    def _follow(self, handle: OrderHandle, status: OrderStatus, timeout: float | None) -> Handle[OrderResult]:
        """`OrderHandle.wait_for`."""
        what = f"{handle.client_order_id or 'order'} until {status}"
        following = ReplayOrderHandle(what, self._driver.turns, self._follow)
        self._driver.follow(following, handle.client_order_id, status, timeout)
        return following

    def start(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: a replay runs what it was given. Raises `OrderError`."""
        raise OrderError("a replay runs the strategies that it was given: lt.replay([one, another], source)")

    def sleep(self, seconds: float | timedelta) -> Nap:
        """`await engine.sleep(seconds)`: until the first tick that is so many seconds of the recording later."""
        return self._driver.sleep(duration(seconds, "seconds") or 0)

    def get_portfolio_pnl(self) -> Handle[dict[str, Decimal]]:
        handle: ReplayHandle[dict[str, Decimal]] = ReplayHandle("portfolio P&L", self._driver.turns)
        handle.resolve(self._read(portfolio.PortfolioPnl.of).as_dict())
        handle.settled()
        return handle

    def on_fill(self, callback: Callable[[Fill], object]) -> Callable[[Fill], object]:
        """Calls `callback(fill)` after each fill. Usable as a decorator."""
        self._driver.on_fill.add(callback)
        return callback

    def on_order(self, callback: Callable[[Order], object]) -> Callable[[Order], object]:
        """Calls `callback(order)` after each change of an order. Usable as a decorator."""
        self._driver.on_order.add(callback)
        return callback

    def _preview(self, command: ev.SubmitOrder) -> Preview:
        return preview_of(self.account, command, self.account.ts)

    def _why(self, order_id: str) -> Why | None:
        return why_of(self._driver.journal.past(), order_id)

    def _levels(self, symbol: str) -> Sequence[Level]:
        return levels_of(self._driver.journal.past(), symbol)

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, question: Callable[[Account], T]) -> T:
        return question(self.account)

    def _read_ticks(self, symbol: str) -> tuple[dict[str, Any], View]:
        return self._log.copy(symbol, self._driver.played), view_of(self.account)

    def post_tick(self, tick: Tick) -> None:
        """Nobody posts to a replay (`ReplayStream.post`)."""

    def join(self, reader: object) -> NoReturn:
        """A replay's stream has readers of its own (`ReplayStream.bars`)."""
        raise NotImplementedError

    def close(self) -> None:
        """The replay is over: commands raise from here on, reads still answer."""
        self._is_open = False

    @property
    def ticks_taken(self) -> int:
        """How many ticks have come so far, without the quarantined ones."""
        return self._driver.played - sum(self.account.quarantined.values())

    @property
    def mode(self) -> str:
        return "PAPER"

    @property
    def is_open(self) -> bool:
        """False once the replay is over."""
        return self._is_open

    def health(self) -> dict[str, Any]:
        """feed, feed_reason, ticks, tick_age (seconds by symbol), quarantined (count by reason), alarms."""
        account = self.account
        quotes = {symbol: market.quote for symbol, market in account.markets.items() if market.quote is not None}
        return {
            "feed": account.feed.state.value,
            "feed_reason": account.feed.reason,
            "ticks": self.ticks_taken,
            "tick_age": {symbol: (account.ts - quote.received_ns) / 1e9 for symbol, quote in quotes.items()},
            "quarantined": dict(account.quarantined),
            "alarms": [alarm.message for alarm in account.alarms],
        }

    def _panel_source(self) -> NoReturn:
        raise OrderError("a replay has no live panel: result.plot() shows its equity and fills")
