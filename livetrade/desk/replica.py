"""An account as a desk's is, held elsewhere: the desk's own events, folded by the same `Account.apply`, and its prices.

It decides nothing. Whatever thread reads it holds `lock` meanwhile, so that it reads between two events.
"""

import json
from threading import RLock
from typing import Any

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from livetrade.encoding import Decoder
from livetrade.errors import DeskError
from livetrade.journal.past import uncollected


class Replica:
    """journal: by which the desk's journal is known; empty before it is."""

    def __init__(self) -> None:
        self.account = Account()
        self.lock = RLock()
        self.journal = ""
        self._decoder = Decoder()
        self._early: dict[str, dict[str, Any]] = {}  # prices of symbols whose instrument is still to come

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def fold_page(self, page: bytes) -> list[ev.Event]:
        """Folds what is new in a page of a journal; gives it back."""
        with uncollected():
            return [event for batch in page.split(b"\n") for event in self._fold_batch(batch)]

    def _fold_batch(self, batch: bytes) -> list[ev.Event]:
        version, first, steps = json.loads(batch)
        events = [event for _, step in steps for event in step]
        with self.lock:
            known = self.account.seq - first + 1
            if known < 0:
                raise DeskError(f"event {self.account.seq + 1} did not come, {first} did")
            folded = [self._fold(self._decoder.event(event, version)) for event in events[known:]]
            self._write_history()
            return folded

    def fold(self, seq: int, data: list[Any]) -> ev.Event | None:
        """Folds the event of that number; None where it is known already."""
        with self.lock:
            if seq <= self.account.seq:
                return None
            if seq != self.account.seq + 1:
                raise DeskError(f"event {self.account.seq + 1} did not come, {seq} did")
            event = self._fold(self._decoder.event(data))
            self._write_history()
            return event

    def _write_history(self) -> None:
        """Before anybody reads: a cell that is interrupted while it reads leaves nothing half written."""
        self.account.order_history.write_all()
        self.account.fill_history.write_all()

    def _fold(self, event: ev.Event) -> ev.Event:
        account = self.account
        account.apply(event)
        account.ts = max(account.ts, event.ts)
        if isinstance(event, ev.SessionStarted):
            account.trigger_by = event.trigger_by
        elif isinstance(event, ev.InstrumentAdded) and event.instrument.symbol in self._early:
            self.price(self._early.pop(event.instrument.symbol), 0)
        return event

    # ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def price(self, row: dict[str, Any], missed: int) -> Tick | None:
        """Takes a quote; None where it is no newer than the one that is there, or its instrument is still to come."""
        with self.lock:
            account = self.account
            market = account.markets.get(row["symbol"])
            if market is None:
                self._early[row["symbol"]] = row
                return None
            if market.quote is not None and row["received_ns"] < market.quote.received_ns:
                return None
            quote = tick_of(row, market.instrument)
            if market.quote is not None and _figures(quote) == _figures(market.quote):
                return None
            market.quote = quote
            if quote.mark_raw and quote.mark_raw != market.mark_raw:
                account.mark(market, quote.mark_raw)
            account.ts = max(account.ts, quote.received_ns)
            return quote.conflated(missed) if missed else quote


def tick_of(row: dict[str, Any], item: Instrument) -> Tick:
    """The quote that a row of the stream stands for."""
    prices = [0 if row[name] is None else item.price_raw(row[name], name) for name in ("bid", "ask", "last")]
    volume, bid_size, ask_size = (
        None if row[name] is None else item.size_raw(row[name], name) for name in ("volume", "bid_size", "ask_size")
    )
    bid, ask, last = prices
    return Tick(item, row["received_ns"], bid, ask, last, row["time_ns"], volume, bid_size, ask_size)


def _figures(quote: Tick) -> tuple[object, ...]:
    return (
        quote.received_ns,
        quote.time_ns,
        quote.bid_raw,
        quote.ask_raw,
        quote.last_raw,
        quote.volume_raw,
        quote.bid_size_raw,
        quote.ask_size_raw,
    )
