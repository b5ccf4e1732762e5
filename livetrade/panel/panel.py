"""The panel's Python half: it carries snapshots to the front end and commands back; `panel.js` draws.

A snapshot is one dict that says everything the panel shows (numbers are None when unknown, times are epoch
milliseconds):

    name, mode ("PAPER" or "REAL"), currency, timezone, as_of, seq, tick, ticks_per_second, halted, halt_reason, closed,
    feed ("NONE", "CONNECTING", "LIVE", "STALE", "RECONNECTING", "FAILED" or "CLOSED"), feed_reason,
    lag_ms {p50, p99, max}, worst_stall_ms, alarms, alarm (the last one), equity (floats, oldest first),
    pnl {portfolio_value, cash, realized_pnl, unrealized_pnl, total_pnl, total_pnl_percent, day_pnl, fees},
    open_positions, positions [{symbol, quantity, avg_price, last_price, market_value, unrealized_pnl, total_pnl,
        stop_loss_price, take_profit_price, trailing_stop_price, age (seconds), price_decimals, quantity_decimals}],
    working_orders, orders (the last of them, oldest first) [{id, symbol, side, order_type, quantity, filled_qty,
        limit_price, trigger_price, status, source, price_decimals, quantity_decimals}],
    fills (the last few, newest first) [{id, time, symbol, side, quantity, price, realized_pnl, source, price_decimals,
        quantity_decimals}],
    stale (optional: these numbers are not of now),
    desk_url (optional: a page whose buttons need no kernel; never with a token in it)

Each snapshot replaces the one before it, so nothing is lost when some are skipped. The wire gets only what has changed,
in parts (see `frames`).
"""

import itertools
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import anywidget
import traitlets

from livetrade.panel import CSS, JS
from livetrade.panel.frames import Frames, Snapshot, parts_of, plain_snapshot
from livetrade.panel.picture import as_html, as_text

__all__ = ["Panel", "PanelSource", "SnapshotPump"]

ACTIONS = frozenset({"halt", "resume", "flatten"})
MAX_FPS = 60.0
MAX_FPS_UNPACED = 200.0
BEAT_SECONDS = 2.0
"""So often a quiet engine is shown to be there: a front end that hears nothing must take it for gone."""
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
    """Reads a source when it has woken, and delivers the changed parts of each snapshot, at most `fps` a second.

    The first wake after a quiet time is served at once; those of a burst are folded into the next slot, so the latest
    snapshot always arrives, never later than one slot, and nothing queues. Slots are longer where that many bytes would
    be too many (see `Frames`). Without a wake, it delivers a beat now and then. `deliver` runs on the pump's own thread
    and returns False when nobody is left to deliver to. `fps` is capped at 60; None serves every wake, up to 200 a
    second.
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
        self._frames = Frames(_interval(fps))
        self._symbols = symbols
        self.latest: Snapshot = {}
        self._failures: set[type[Exception]] = set()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopped = threading.Event()

    def read(self) -> Snapshot:
        """What is new in a fresh snapshot, in parts. A source that raises gives the last one marked stale."""
        try:
            self.latest = plain_snapshot(self._source.panel_snapshot(self._symbols))
        except Exception as error:  # noqa: BLE001 - the panel outlives the faults of its source, and shows them
            self._report("the panel could not read its engine", error)
            self.latest = {**self.latest, "stale": True}
        return self._frames.next(self.latest)

    def start(self) -> None:
        """Begin delivering, on a daemon thread: first what `read` has not given yet. A closed source needs none."""
        if self.latest.get("closed"):
            return
        name = f"livetrade-panel-{next(_numbers)}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait_for_end(self, seconds: float) -> None:
        """Waits until the last frame of a closed source has been delivered."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

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
            self.latest = {**self.latest, "stale": True}
            self._send(self._frames.next(self.latest))
            return
        try:
            self._loop()
        finally:
            unwatch()

    def _loop(self) -> None:
        self._woken.set()  # what happened between the first read and the watch would otherwise wait for the next tick
        due = -math.inf
        while True:
            woken = self._woken.wait(BEAT_SECONDS)
            self._stopped.wait(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            self._woken.clear()  # before reading, and before looking for a stop: neither may be lost in between
            if self._stopped.is_set():
                return
            frame = self.read()
            if not woken and not frame:
                frame = self._beat()
            if (frame and not self._send(frame)) or self.latest.get("closed"):
                return
            due = began + self._frames.pause_after(frame)

    def _beat(self) -> Snapshot:
        return {"snap": parts_of(self.latest)["snap"]}

    def _send(self, frame: Snapshot) -> bool:
        try:
            return self._deliver(frame)
        except Exception as error:  # noqa: BLE001 - a page that goes away half-way must not end in a thread's traceback
            if not self._stopped.is_set():
                self._report("the panel could not deliver a frame", error)
            return True

    def _report(self, what: str, error: Exception) -> None:
        # Thirty identical tracebacks a second would bury the first: each kind of failure is logged once.
        if type(error) not in self._failures:
            self._failures.add(type(error))
            _log.error("%s: %r", what, error, exc_info=error)


class Panel(anywidget.AnyWidget):
    """A live view of an engine, for a notebook cell: P&L, positions with their exits, feed health, halt and flatten.

    It follows every tick of a stream slower than `fps` and shows the latest state of a faster one. `symbols` limits the
    rows shown, not the totals. `close()` ends it; the last numbers stay readable.
    """

    # The text, not the path: for a path anywidget keeps every instance alive, waiting for the file to change.
    _esm = JS.read_text("utf-8")
    _css = CSS.read_text("utf-8")
    snap = traitlets.Dict().tag(sync=True)
    positions: traitlets.List[Snapshot] = traitlets.List().tag(sync=True)
    orders: traitlets.List[Snapshot] = traitlets.List().tag(sync=True)
    fills: traitlets.List[Snapshot] = traitlets.List().tag(sync=True)
    equity: traitlets.List[float | None] = traitlets.List().tag(sync=True)

    def __init__(self, source: PanelSource, fps: float | None = 30, symbols: Sequence[str] | None = None) -> None:
        pump = SnapshotPump(source, _deliver_to(weakref.ref(self)), fps=fps, symbols=symbols)
        super().__init__(**pump.read())
        self._source = source
        self._pump = pump
        self._pictures: list[Any] = []
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

    def wait_for_end(self, seconds: float) -> None:
        """Waits until it shows the last numbers of a closed engine."""
        self._pump.wait_for_end(seconds)

    def update_pictures(self) -> None:
        """Puts the numbers of now into the still pictures that were shown of it."""
        for picture in self._pictures:
            picture.update({"text/html": as_html(self._pump.latest)}, raw=True)

    def _ipython_display_(self) -> None:
        # A saved notebook keeps no widgets: the still picture after it is then all that is left. While the widget is
        # there, panel.css hides the picture.
        from IPython.display import display

        data, _ = self._repr_mimebundle_()
        picture = {"text/html": data.pop("text/html")}
        display(data, raw=True)  # type: ignore[no-untyped-call]
        self._pictures.append(display(picture, raw=True, display_id=True))  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return as_text(self._pump.latest)

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {"text/plain": repr(self), "text/html": as_html(self._pump.latest)}
        if self.comm is not None:
            data[WIDGET_MIME] = {"version_major": 2, "version_minor": 1, "model_id": self.model_id}
        return data, {}


def _deliver_to(panel: "weakref.ref[Panel]") -> Callable[[Snapshot], bool]:
    # Only a weak hold: the thread must not keep alive a panel that nobody can see any more.
    def deliver(frame: Snapshot) -> bool:
        target = panel()
        if target is None:
            return False
        with target.hold_sync():  # one message
            for name, part in frame.items():
                target.set_trait(name, part)
        if target.snap.get("closed"):
            target.update_pictures()
        return True

    return deliver


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
