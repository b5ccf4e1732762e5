"""What happens, noted as it happens."""

import logging
from collections import deque
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple, Self

import livetrade as lt
from livetrade.demo import figures

TAPE_LENGTH = 1_000
EXITS = {
    "STOP_LOSS": ("stop-loss", "red"),
    "TAKE_PROFIT": ("take-profit", "green"),
    "TRAILING_STOP": ("trailing stop", "yellow"),
    "FLATTEN": ("flatten", "cyan"),
}


class Event(NamedTuple):
    """One line of what happened."""

    time: datetime
    what: str
    text: str
    style: str = ""

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S}.{self.time.microsecond // 10_000:02}  {self.what:<13}  {self.text}"


class Tape(logging.Handler):
    """What happened, as the engine calls back and warns, and which orders work.

    Callbacks share one thread, so these only note what they are told; a screen shows it in its own time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: deque[Event] = deque(maxlen=TAPE_LENGTH)
        self.working: dict[str, lt.Order] = {}
        self._zone: tzinfo = UTC

    def follow(self, engine: lt.LiveTradingEngine) -> None:
        self._zone = engine.stream.zone
        engine.on_fill(self.on_fill)
        engine.on_order(self.on_order)

    def on_fill(self, fill: lt.Fill) -> None:
        what, style = EXITS.get(fill.source, ("bought", ""))
        gain = f" {fill.realized_pnl:>+11,.2f}" if fill.side == "SELL" else ""
        self._note(fill.time, what, f"{_terms(fill)} {fill.price:>10,.2f}{gain}", style)

    def on_order(self, order: lt.Order) -> None:
        known = self.working.pop(order.client_order_id, None)
        if order.status in ("DENIED", "REJECTED"):
            self._note(order.updated_at, "refused", f"{_terms(order)} {order.reason}", "red")
        elif order.status == "CANCELED":
            self._note(order.updated_at, "canceled", _terms(order))
        elif order.is_open and order.limit_price is not None:
            self.working[order.client_order_id] = order
            if known is None:
                self._note(order.updated_at, "limit order", f"{_terms(order)} {order.limit_price:>10,.2f}")

    def emit(self, record: logging.LogRecord) -> None:
        """Takes what the engine logs."""
        self._note(datetime.fromtimestamp(record.created, self._zone), "warning", record.getMessage(), "red")

    def _note(self, time: datetime, what: str, text: str, style: str = "") -> None:
        self.events.append(Event(time, what, text, style))

    def __enter__(self) -> Self:
        logging.getLogger("livetrade").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("livetrade").removeHandler(self)


def _terms(what: lt.Order | lt.Fill) -> str:
    return f"{what.side:<4} {figures.quantity(what.quantity):>6} {what.symbol:<15}"
