"""What a replay gives back: the account at its end, with every read of an engine."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from textwrap import shorten
from threading import RLock
from typing import Any, NoReturn, TypeVar

from livetrade.columns import View
from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderStatus
from livetrade.core.numbers import at, counted, money
from livetrade.errors import OrderError
from livetrade.journal import MemoryJournal
from livetrade.levels import Level
from livetrade.reads import Reads
from livetrade.replays.engine import ReplayEngine
from livetrade.replays.what_if import WhatIf, compared, parted
from livetrade.summary import Summary
from livetrade.why import Why

T = TypeVar("T")


class ReplayResult(Reads):
    """An account after a replay: `orders()`, `fills()`, `positions()`, `equity()` and all other reads of an engine.

    strategy: the name of what was replayed (several: with commas). params: what it was given. source: what the ticks
    came from. journal: the events, as a live engine would have journaled them. error: what a strategy raised, None
    where all went well. values: what each strategy returned, by name.
    """

    def __init__(
        self, engine: ReplayEngine, journal: MemoryJournal, strategy: str, params: Mapping[str, Any], source: str
    ) -> None:
        self.strategy = strategy
        self.params = dict(params)
        self.source = source
        self.journal = journal
        self.error: BaseException | None = None
        self.values: dict[str, object] = {}
        self.again: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], ReplayResult] | None = None
        self._engine = engine
        self._lock = RLock()

    def _read(self, question: Callable[[Account], T]) -> T:
        with self._lock:
            return question(self._engine.account)

    def _read_ticks(self, symbol: str) -> tuple[dict[str, Any], View]:
        return self._engine._read_ticks(symbol)

    def _why(self, order_id: str) -> Why | None:
        return self._engine._why(order_id)

    def _levels(self, symbol: str) -> Sequence[Level]:
        return self._engine._levels(symbol)

    def _instrument(self, symbol: str) -> Instrument:
        return self._engine._instrument(symbol)

    def health(self) -> dict[str, Any]:
        """feed, feed_reason, ticks, tick_age (seconds by symbol), quarantined (count by reason), alarms."""
        return self._engine.health()

    @property
    def ticks_played(self) -> int:
        """How many ticks came, without the quarantined ones."""
        return self._engine.ticks_taken

    def what_if(self, **changes: Any) -> WhatIf:
        """The same replay with something changed, and what that makes of it.

        changes: fees, limits, margin, cash, broker, trigger_by; latency, slippage or size (of the simulated exchange);
        an exit such as stop_loss_pct, for every order that opens (None takes it away); or a parameter of the strategy.

        Gives `pnl_difference` (exact, after less before), `fills` (a DataFrame of those that differ: column `only`
        tells whether they are "before" or "after"), and the other `result`. Raises `OrderError` for what cannot be
        changed.
        """
        if self.again is None:
            raise OrderError("this replay cannot be run again")
        return compared(self, self.again(*parted(changes, self.params)))

    def _title(self, seen: Summary | None) -> str:
        failed = "" if self.error is None else f", FAILED: {type(self.error).__name__}: {self.error}"
        return f"{self.strategy} on {self.source}{failed}"

    def _above(self, seen: Summary) -> str:
        account, found = self._engine.account, self.stats()
        begin = account.opened.ts if account.opened is not None else account.ts
        rows: list[tuple[str, object]] = [(name, shorten(str(value), 60)) for name, value in self.params.items()]
        rows += [
            ("from", f"{at(begin, account.zone):%Y-%m-%d %H:%M:%S}"),
            ("to", f"{at(account.ts, account.zone):%Y-%m-%d %H:%M:%S}"),
            ("ticks", _part(self.ticks_played, self._quarantined(), "quarantined")),
            ("orders", _part(found["orders"], self._denied(), "denied")),
            *((name, f"{found[name]:,}") for name in ("fills", "round_trips")),
            *(
                (name, f"{found[name]:.4f}")
                for name in ("win_rate", "max_drawdown", "sharpe")
                if not isnan(found[name])
            ),
        ]
        return html.facts(rows)

    def _quarantined(self) -> int:
        return sum(self._engine.account.quarantined.values())

    def _denied(self) -> int:
        return sum(order.status is OrderStatus.DENIED for order in self._engine.account.orders.values())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ReplayResult cannot be pickled: take its DataFrames, or lt.sweep(...) for many processes")

    def __repr__(self) -> str:
        account = self._engine.account
        begin = account.opened.ts if account.opened is not None else account.ts
        put_in, pnl = account.ledger.put_in_raw, account.total_pnl_raw
        percent = f" ({100 * pnl / put_in:+.2f} %)" if put_in else ""
        failed = "" if self.error is None else f", FAILED: {type(self.error).__name__}: {self.error}"
        ticks = _part(counted(self.ticks_played, "tick"), self._quarantined(), "quarantined")
        orders = _part(counted(len(account.orders), "order"), self._denied(), "denied")
        return (
            f"<ReplayResult {self.strategy} on {self.source}: {ticks} "
            f"{at(begin, account.zone):%Y-%m-%d %H:%M} to {at(account.ts, account.zone):%Y-%m-%d %H:%M}, "
            f"{orders}, {counted(len(account.fill_history.fills), 'fill')}, "
            f"P&L {money(pnl):+,.2f} {account.currency}{percent}{failed}>"
        )


def _part(told: int | str, count: int, what: str) -> str:
    """A number, with what is said of some of them, or did not come."""
    shown = f"{told:,}" if isinstance(told, int) else told
    return f"{shown} ({count:,} {what})" if count else shown
