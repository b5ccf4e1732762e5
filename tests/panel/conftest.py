"""Fakes for the panel's tests: a source driven by hand, and a comm that writes down what a front end would receive."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

PATIENCE = 30.0


def make_snapshot(**changes: Any) -> dict[str, Any]:
    position = {
        "symbol": "NSE:SBIN-EQ",
        "quantity": 100,
        "avg_price": 548.95,
        "last_price": 553.40,
        "market_value": 55_340.0,
        "unrealized_pnl": 445.0,
        "total_pnl": 425.0,
        "stop_loss_price": 545.0,
        "take_profit_price": 560.0,
        "trailing_stop_price": None,
        "age": 0,
        "price_decimals": 2,
        "quantity_decimals": 0,
    }
    order = {
        "id": "A1",
        "symbol": "NSE:SBIN-EQ",
        "side": "BUY",
        "order_type": "STOP_LIMIT",
        "quantity": 50,
        "filled_qty": 20,
        "limit_price": 541.0,
        "trigger_price": 540.0,
        "status": "PARTIALLY_FILLED",
        "source": "USER",
        "price_decimals": 2,
        "quantity_decimals": 0,
    }
    fill = {
        "id": "A0 A0-1",
        "time": 1_763_711_999_000,
        "symbol": "NSE:INFY-EQ",
        "side": "SELL",
        "quantity": 10,
        "price": 1_600.1,
        "realized_pnl": -35.5,
        "source": "STOP_LOSS",
        "price_decimals": 2,
        "quantity_decimals": 0,
    }
    pnl = {
        "portfolio_value": 501_434.5,
        "cash": 446_094.5,
        "realized_pnl": 1_009.5,
        "unrealized_pnl": 445.0,
        "total_pnl": 1_434.5,
        "total_pnl_percent": 0.2869,
        "day_pnl": -212.4,
        "fees": 20.0,
    }
    snapshot = {
        "name": "main",
        "mode": "PAPER",
        "currency": "INR",
        "timezone": "Asia/Kolkata",
        "as_of": 1_763_712_000_000,
        "seq": 7,
        "tick": 1_234,
        "ticks_per_second": 10.2,
        "feed": "LIVE",
        "feed_reason": "",
        "halted": False,
        "halt_reason": "",
        "closed": False,
        "lag_ms": {"p50": 0.3, "p99": 0.9, "max": 12.0},
        "worst_stall_ms": 14.2,
        "alarms": 0,
        "alarm": "",
        "pnl": pnl,
        "open_positions": 1,
        "positions": [position],
        "working_orders": 1,
        "orders": [order],
        "fills": [fill],
        "equity": [500_000.0, 500_900.0, 501_434.5],
    }
    return {**snapshot, **changes}


class FakeSource:
    """An engine's place: the test changes `state` and wakes whoever watches."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = make_snapshot()
        self.error: Exception | None = None
        self.commands: list[str] = []
        self.asked: list[Sequence[str] | None] = []
        self.reads = 0
        self.changed = threading.Condition()
        self._watchers: list[Callable[[], None]] = []

    def panel_snapshot(self, symbols: Sequence[str] | None) -> dict[str, object]:
        with self.changed:
            self.reads += 1
            self.asked.append(symbols)
            self.changed.notify_all()
            if self.error is not None:
                raise self.error
            return copy.deepcopy(self.state)

    def panel_watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        with self.changed:
            self._watchers.append(wake)
            self.changed.notify_all()

        def unwatch() -> None:
            with self.changed:
                self._watchers.remove(wake)
                self.changed.notify_all()

        return unwatch

    def panel_command(self, action: str) -> None:
        self.commands.append(action)

    def post(self, **changes: Any) -> None:
        """Change the state and wake the watchers, as an engine does after a batch."""
        with self.changed:
            self.state = {**self.state, **changes}
            watchers = list(self._watchers)
        for wake in watchers:
            wake()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE)

    def wait_settled(self) -> None:
        """Until the panel watches and has read once more, as it does right after it began to watch."""
        self.wait(lambda: bool(self._watchers) and self.reads >= 2)

    def wait_unwatched(self) -> None:
        self.wait(lambda: not self._watchers)


class Wire:
    """The messages of every comm of a test, in order, with a way to wait for one.

    Its `frames` are the parts of snapshots that came in one message.
    """

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.comms: list[BaseComm] = []
        self.arrived = threading.Condition()

    def record(self, message: str, data: dict[str, Any]) -> None:
        with self.arrived:
            if message == "comm_open":
                self.opened.append(data["state"])
            elif data.get("method") == "update" and "snap" in data["state"]:
                self.frames.append(data["state"])
            self.arrived.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(condition, PATIENCE)

    def wait_tick(self, tick: int) -> None:
        self.wait(lambda: tick in self.ticks)

    @property
    def ticks(self) -> list[int]:
        """Of the frames so far; each once, because a beat tells the last one again."""
        return list(dict.fromkeys(frame["snap"].get("tick") for frame in self.frames))

    def click(self, content: object) -> None:
        message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
        self.comms[-1].handle_msg(message)


@pytest.fixture
def source() -> Iterator[FakeSource]:
    fake = FakeSource()
    yield fake
    fake.error = None
    fake.post(closed=True)  # whatever a test left running ends with its source


@pytest.fixture
def snapshot() -> Callable[..., dict[str, Any]]:
    return make_snapshot


@pytest.fixture
def wire() -> Iterator[Wire]:
    recorded = Wire()

    class RecordingComm(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, **rest: Any) -> None:
            recorded.record(msg_type, data or {})

    def create(*args: Any, **kwargs: Any) -> BaseComm:
        recorded.comms.append(RecordingComm(*args, **kwargs))
        return recorded.comms[-1]

    original = comm.create_comm
    comm.create_comm = create
    yield recorded
    comm.create_comm = original
