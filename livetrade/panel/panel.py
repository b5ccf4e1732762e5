"""The panel's Python half: it carries snapshots to the front end and commands back; `panel.js` draws.

A snapshot is one dict that says everything the panel shows (numbers are None when unknown, times are epoch
milliseconds):

    name, mode ("PAPER" or "REAL"), currency, as_of, seq, tick, ticks_per_second, halted, halt_reason, closed,
    feed ("NONE", "CONNECTING", "LIVE", "STALE", "RECONNECTING", "FAILED" or "CLOSED"),
    lag_ms {p50, p99, max}, worst_stall_ms, alarms, working_orders, equity (floats, oldest first),
    pnl {portfolio_value, cash, realized_pnl, unrealized_pnl, total_pnl, total_pnl_percent, day_pnl, fees},
    positions [{symbol, quantity, avg_price, last_price, market_value, unrealized_pnl, total_pnl, stop_loss_price,
                take_profit_price, trailing_stop_price, age (seconds), price_decimals, quantity_decimals}],
    desk_url (optional: a page whose buttons need no kernel; never with a token in it)

Each snapshot replaces the one before it, so nothing is lost when some are skipped. Over the notebook's wire `equity`
travels beside the rest: it changes about once a second, and would otherwise be most of every message.
"""

import itertools
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import anywidget
import traitlets

from livetrade.core import html
from livetrade.panel import CSS, JS
from livetrade.panel.plain import plain_snapshot

__all__ = ["Panel", "PanelSource", "SnapshotPump"]

Snapshot = dict[str, Any]

ACTIONS = frozenset({"halt", "resume", "flatten"})
MAX_FPS = 60.0
MAX_FPS_UNPACED = 200.0
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

_log = logging.getLogger("livetrade.panel")
_numbers = itertools.count(1)


class PanelSource(Protocol):
    """What a panel needs from an engine. Every method may be called from any thread."""

    def panel_snapshot(self, symbols: Sequence[str] | None) -> dict[str, object]:
        """The current snapshot, with the positions of `symbols` only, or of all when None."""
        ...

    def panel_watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` after each processed batch of ticks or events, until the returned function is called."""
        ...

    def panel_command(self, action: str) -> None:
        """Send "halt", "resume" or "flatten" without waiting for its effect."""
        ...


class SnapshotPump:
    """Reads a source when it has woken, and delivers each changed snapshot, at most `fps` a second.

    The first wake after a quiet time is served at once; those of a burst are folded into the next slot, so the latest
    snapshot always arrives, never later than one slot, and nothing queues. `deliver` runs on the pump's own thread and
    returns False when nobody is left to deliver to. `fps` is capped at 60; None serves every wake, up to 200 a second.
    """

    def __init__(
        self,
        source: PanelSource,
        deliver: Callable[[Snapshot], bool],
        fps: float | None = 30,
        symbols: Sequence[str] | None = None,
    ) -> None:
        self._source = source
        self._deliver = deliver
        self._interval = _interval(fps)
        self._symbols = symbols
        self._last: Snapshot = {}
        self._failures: set[type[Exception]] = set()
        self._woken = threading.Event()
        self._stopped = threading.Event()

    def read(self) -> Snapshot | None:
        """A fresh snapshot, or None when it says nothing new. A source that raises gives the last one marked stale."""
        try:
            snapshot: Snapshot = plain_snapshot(self._source.panel_snapshot(self._symbols))
        except Exception as error:  # noqa: BLE001 - the panel outlives the faults of its source, and shows them
            self._report("the panel could not read its engine", error)
            snapshot = {**self._last, "stale": True}
        if _says_the_same(snapshot, self._last):
            return None
        self._last = snapshot
        return snapshot

    def start(self) -> None:
        """Begin delivering, on a daemon thread: first what `read` has not given yet. A closed source needs none."""
        if self._last.get("closed"):
            return
        name = f"livetrade-panel-{next(_numbers)}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """End the thread soon, without waiting for it; a second call does nothing."""
        self._stopped.set()
        self._woken.set()

    def _wake(self) -> None:
        # Runs on the engine's thread at every batch: reading a flag is all it usually costs.
        if not self._woken.is_set():
            self._woken.set()

    def _run(self) -> None:
        try:
            unwatch = self._source.panel_watch(self._wake)
        except Exception as error:  # noqa: BLE001 - a thread's edge: say it where the numbers are, and end
            self._report("the panel could not watch its engine", error)
            self._send({**self._last, "stale": True})
            return
        try:
            self._loop()
        finally:
            unwatch()

    def _loop(self) -> None:
        self._woken.set()  # what happened between the first read and the watch would otherwise wait for the next tick
        due = -math.inf
        while self._woken.wait():
            self._stopped.wait(max(0.0, due - time.monotonic()))
            due = time.monotonic() + self._interval
            self._woken.clear()  # before reading, and before looking for a stop: neither may be lost in between
            if self._stopped.is_set() or not self._push():
                return

    def _push(self) -> bool:
        snapshot = self.read()
        if snapshot is None:
            return True
        return self._send(snapshot) and not snapshot.get("closed")

    def _send(self, snapshot: Snapshot) -> bool:
        try:
            return self._deliver(snapshot)
        except Exception as error:  # noqa: BLE001 - a page that goes away half-way must not end in a thread's traceback
            if not self._stopped.is_set():
                self._report("the panel could not deliver a snapshot", error)
            return True

    def _report(self, what: str, error: Exception) -> None:
        # Thirty identical tracebacks a second would bury the first: each kind of failure is logged once.
        if type(error) not in self._failures:
            self._failures.add(type(error))
            _log.error("%s: %r", what, error, exc_info=error)


class Panel(anywidget.AnyWidget):
    """A live view of an engine, for a notebook cell: P&L, positions with their exits, feed health, halt and flatten.

    It follows every tick of a stream slower than `fps` and shows the latest state of a faster one. `symbols` limits the
    positions shown, not the totals. `close()` ends it; the last numbers stay readable.
    """

    # The text, not the path: for a path anywidget keeps every instance alive, waiting for the file to change.
    _esm = JS.read_text("utf-8")
    _css = CSS.read_text("utf-8")
    snap = traitlets.Dict().tag(sync=True)
    equity: traitlets.List[float | None] = traitlets.List().tag(sync=True)

    def __init__(self, source: PanelSource, fps: float | None = 30, symbols: Sequence[str] | None = None) -> None:
        pump = SnapshotPump(source, _deliver_to(weakref.ref(self)), fps=fps, symbols=symbols)
        super().__init__(**_as_traits(pump.read() or {}))
        self._source = source
        self._pump = pump
        self.on_msg(_obey)
        weakref.finalize(self, pump.stop)
        pump.start()

    def close(self) -> None:
        """Remove the panel from the page and end its thread."""
        if hasattr(self, "_pump"):
            self._pump.stop()
        super().close()
        # The base class hides a closed widget's picture by shadowing the method with None.
        self.__dict__.pop("_repr_mimebundle_", None)

    def __repr__(self) -> str:
        return _as_text(self.snap)

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {"text/plain": repr(self), "text/html": _as_html(self.snap)}
        if self.comm is not None:
            data[WIDGET_MIME] = {"version_major": 2, "version_minor": 1, "model_id": self.model_id}
        return data, {}


def _deliver_to(panel: "weakref.ref[Panel]") -> Callable[[Snapshot], bool]:
    # Only a weak hold: the thread must not keep alive a panel that nobody can see any more.
    def deliver(snapshot: Snapshot) -> bool:
        target = panel()
        if target is None:
            return False
        with target.hold_sync():  # one message, and in it only what changed
            for name, value in _as_traits(snapshot).items():
                target.set_trait(name, value)
        return True

    return deliver


def _as_traits(snapshot: Snapshot) -> dict[str, Any]:
    rest = {key: value for key, value in snapshot.items() if key != "equity"}
    return {"snap": rest, "equity": snapshot.get("equity", [])}


def _obey(panel: Panel, content: object, buffers: object) -> None:
    # May run on the main thread or on a subshell's: it only sends.
    action = content.get("action") if isinstance(content, Mapping) else None
    if action in ACTIONS:
        panel._source.panel_command(action)
    else:
        _log.warning("the panel ignored an unknown message: %.80r", content)


def _interval(fps: float | None) -> float:
    if fps is None:
        return 1 / MAX_FPS_UNPACED
    if not fps > 0:
        raise ValueError(f"fps is a positive number or None, not {fps!r}")
    return 1 / min(fps, MAX_FPS)


def _says_the_same(new: Snapshot, old: Snapshot) -> bool:
    # A later `as_of` alone is no news: the front end counts the age on by itself.
    return {**new, "as_of": None} == {**old, "as_of": None}


def _money(value: object) -> str:
    return f"{value:z,.2f}" if isinstance(value, int | float) else "–"


def _number(value: object, decimals: object) -> str:
    places = decimals if isinstance(decimals, int) else 2
    return f"{value:z,.{places}f}" if isinstance(value, int | float) else "–"


def _when(milliseconds: object) -> str:
    if not isinstance(milliseconds, int | float):
        return "an unknown time"
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _headline(snap: Snapshot) -> str:
    state = "closed" if snap.get("closed") else "halted" if snap.get("halted") else snap.get("feed", "NONE")
    return f"{snap.get('name', '')} {snap.get('mode', '')} {state}".strip()


def _as_text(snap: Snapshot) -> str:
    if "pnl" not in snap:
        return "<Panel: no snapshot yet>"
    total = f"{_money(snap['pnl'].get('total_pnl'))} {snap.get('currency', '')}".strip()
    return f"<Panel {_headline(snap)}: P&L {total}, tick {snap.get('tick') or 0:,}>"


_TOTALS = {
    "P&L": "total_pnl",
    "Day P&L": "day_pnl",
    "Realized": "realized_pnl",
    "Unrealized": "unrealized_pnl",
    "Fees": "fees",
    "Cash": "cash",
    "Portfolio value": "portfolio_value",
}
_COLUMNS = ("Symbol", "Quantity", "Avg", "Last", "P&L", "Stop", "Target")


def _as_html(snap: Snapshot) -> str:
    """A still picture for places without widgets: saved notebooks, untrusted ones, code hosting sites."""
    if "pnl" not in snap:
        return "<p>livetrade panel: no snapshot yet</p>"
    totals = html.table([*_TOTALS], [[_money(snap["pnl"].get(key)) for key in _TOTALS.values()]])
    positions = html.table(_COLUMNS, [_position_cells(row) for row in snap.get("positions", [])], "positions()")
    title = f"{_headline(snap)}, {snap.get('currency', '')}, as of {_when(snap.get('as_of'))} (not live)"
    return html.card(title, totals, positions)


def _position_cells(row: Mapping[str, Any]) -> list[str]:
    def price(key: str) -> str:
        return _number(row.get(key), row.get("price_decimals"))

    stop = "stop_loss_price" if row.get("stop_loss_price") is not None else "trailing_stop_price"
    quantity = _number(row.get("quantity"), row.get("quantity_decimals"))
    prices = [price("avg_price"), price("last_price")]
    exits = [price(stop), price("take_profit_price")]
    return [str(row.get("symbol", "")), quantity, *prices, _money(row.get("total_pnl")), *exits]
