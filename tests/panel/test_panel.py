"""The panel's Python half against a recording comm: what is sent, when, and what comes back."""

import gc
import json
import logging
import math
import threading
import time
import weakref
from typing import Any, TypeAlias

import pytest
from ipywidgets.widgets import widget

from livetrade.panel import CSS, JS, Panel, SnapshotPump
from livetrade.panel.frames import BYTES_PER_SECOND, Frames, parts_of
from tests.panel.conftest import PATIENCE, FakeSource, Wire, make_snapshot

PARTS = {"snap", "positions", "orders", "fills", "equity"}
Log: TypeAlias = pytest.LogCaptureFixture


def panel_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("livetrade-panel-")]


def test_it_opens_with_the_first_snapshot_and_both_files(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    state = wire.opened[-1]
    assert {name: state[name] for name in PARTS} == parts_of(source.state)
    assert state["_esm"] == JS.read_text("utf-8")
    assert state["_css"] == CSS.read_text("utf-8")


def test_nothing_but_the_snapshot_is_synced(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    ours = {key for key in wire.opened[-1] if not key.startswith("_")} - {"layout", "tabbable", "tooltip"}
    assert ours == PARTS


def test_symbols_are_passed_on(source: FakeSource, wire: Wire) -> None:
    Panel(source, symbols=["NSE:SBIN-EQ"])
    assert source.asked[0] == ["NSE:SBIN-EQ"]


def test_a_wake_pushes_the_new_snapshot(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    source.wait_settled()
    source.post(tick=1_235)
    wire.wait_tick(1_235)
    assert wire.frames[0] == {"snap": parts_of(source.state)["snap"]}


def test_a_part_is_sent_only_when_it_changed(source: FakeSource, wire: Wire) -> None:
    panel = Panel(source, fps=None)
    source.wait_settled()
    moved = {**source.state["positions"][0], "last_price": 554.0, "age": 1}
    source.post(tick=1_235, positions=[moved])
    wire.wait_tick(1_235)
    source.post(tick=1_236, equity=[1.0, 2.0])
    wire.wait_tick(1_236)
    source.post(tick=1_237, positions=[{**moved, "quantity": 50}], orders=[])
    wire.wait_tick(1_237)
    assert [frame.keys() - {"snap"} for frame in wire.frames if len(frame) > 1] == [{"equity"}, {"positions", "orders"}]
    assert panel.snap["moving"]["last_price"] == [554.0]
    assert panel.positions[0]["quantity"] == 50
    assert panel.equity == [1.0, 2.0]


def test_many_positions_are_shown_less_often() -> None:
    few, many = Frames(1 / 30), Frames(1 / 30)
    position = make_snapshot()["positions"][0]
    few.next(make_snapshot())
    assert few.pause_after(few.next(make_snapshot(tick=1_235))) == 1 / 30
    crowd = [{**position, "symbol": f"NSE:S{number}-EQ"} for number in range(200)]
    many.next(make_snapshot(positions=crowd))
    frame = many.next(make_snapshot(positions=crowd, tick=1_235))
    assert frame.keys() == {"snap"}
    assert len(json.dumps(frame)) < many.pause_after(frame) * BYTES_PER_SECOND


def test_a_quiet_engine_is_heard_of(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    source.wait_settled()
    before = len(wire.frames)
    source.state = {**source.state, "as_of": source.state["as_of"] + 2_000}  # nobody was told
    wire.wait(lambda: len(wire.frames) > before and wire.frames[-1]["snap"]["as_of"] == source.state["as_of"])
    assert wire.frames[-1].keys() == {"snap"}


def test_a_burst_is_folded_and_its_last_snapshot_arrives(source: FakeSource, wire: Wire) -> None:
    fps = 20
    began = time.monotonic()
    Panel(source, fps=fps)
    for tick in range(2_000, 12_000):
        source.post(tick=tick)
    wire.wait_tick(11_999)
    elapsed = time.monotonic() - began
    assert len(wire.frames) <= elapsed * fps + 1
    assert wire.ticks == sorted(wire.ticks)


def test_within_one_slot_nothing_is_pushed_twice(source: FakeSource, wire: Wire) -> None:
    # The slot is longer than any test: what comes after the leading edge waits for it.
    Panel(source, fps=1e-6)
    source.wait_settled()
    for tick in range(2_000, 2_100):
        source.post(tick=tick)
    assert wire.frames == []
    assert source.reads == 2


@pytest.mark.parametrize("fps", [1_000, None])
def test_the_cap_holds_whatever_is_asked(source: FakeSource, wire: Wire, fps: float | None) -> None:
    cap = 200 if fps is None else 60
    began = time.monotonic()
    Panel(source, fps=fps)
    for tick in range(2_000, 12_000):
        source.post(tick=tick)
    wire.wait_tick(11_999)
    assert len(wire.frames) <= (time.monotonic() - began) * cap + 1


@pytest.mark.parametrize("fps", [0, -1, math.nan])
def test_an_impossible_rate_is_refused(source: FakeSource, wire: Wire, fps: float | None) -> None:
    with pytest.raises(ValueError, match="fps"):
        Panel(source, fps=fps)


def test_a_wake_without_news_pushes_nothing(source: FakeSource, wire: Wire) -> None:
    frames = Frames(1 / 30)
    assert frames.next(make_snapshot()).keys() == PARTS
    assert frames.next(make_snapshot(as_of=make_snapshot()["as_of"] + 1_000)) == {}


def test_nan_and_infinity_become_null(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    source.wait_settled()
    pnl = {**source.state["pnl"], "total_pnl": math.nan, "day_pnl": -math.inf}
    source.post(tick=1_235, pnl=pnl, equity=(1.0, math.inf))
    wire.wait_tick(1_235)
    sent = wire.frames[0]
    pnl = sent["snap"]["pnl"]
    assert (pnl["total_pnl"], pnl["day_pnl"], sent["equity"]) == (None, None, [1.0, None])
    json.dumps(sent, allow_nan=False)


def test_the_last_snapshot_of_a_closed_engine_arrives_and_the_thread_ends(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    source.wait_settled()
    source.post(tick=1_235, closed=True)
    wire.wait_tick(1_235)
    source.wait_unwatched()
    assert wire.frames[-1]["snap"]["closed"] is True


def test_the_last_frame_can_be_waited_for(source: FakeSource, wire: Wire) -> None:
    panel = Panel(source)
    panel.wait_for_end(0)
    source.wait_settled()
    source.post(tick=1_235, closed=True)
    panel.wait_for_end(PATIENCE)
    assert panel.snap["closed"] is True


def test_a_panel_of_a_closed_engine_needs_no_thread(source: FakeSource, wire: Wire) -> None:
    source.state["closed"] = True
    before = panel_threads()
    Panel(source)
    assert panel_threads() == before


def test_a_source_that_cannot_be_watched_is_stale(source: FakeSource, wire: Wire, caplog: Log) -> None:
    def refuse(wake: object) -> None:
        raise RuntimeError("closing")

    source.panel_watch = refuse
    Panel(source)
    wire.wait(lambda: bool(wire.frames))
    assert wire.frames == [{"snap": {**parts_of(source.state)["snap"], "stale": True}}]


def test_close_ends_the_thread_and_keeps_the_picture(source: FakeSource, wire: Wire) -> None:
    panel = Panel(source, fps=1e-6)
    source.wait_settled()
    panel.close()
    panel.close()
    source.wait_unwatched()
    data, _ = panel._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert "1,434.50" in data["text/html"]


def test_a_collected_panel_ends_its_thread(source: FakeSource, wire: Wire) -> None:
    panel = Panel(source)
    source.wait_settled()
    # The widget registry holds every open widget; what it lets go of must not live on in our thread.
    widget._instances.pop(panel.model_id)
    wire.comms.pop().close()
    gone = weakref.ref(panel)
    del panel
    gc.collect()
    assert gone() is None
    source.wait_unwatched()


def test_a_failing_source_is_stale_and_logged_once(source: FakeSource, wire: Wire, caplog: Log) -> None:
    caplog.set_level(logging.WARNING, logger="livetrade.panel")
    Panel(source, fps=None)
    source.wait_settled()
    source.error = RuntimeError("no answer")
    source.post()
    wire.wait(lambda: bool(wire.frames) and wire.frames[-1]["snap"].get("stale") is True)
    assert wire.frames[-1]["snap"]["tick"] == 1_234
    reads = source.reads
    source.post()
    source.wait(lambda: source.reads > reads)
    source.error = None
    source.post(tick=1_235)
    wire.wait_tick(1_235)
    assert "stale" not in wire.frames[-1]["snap"]
    assert [record.name for record in caplog.records] == ["livetrade.panel"]


def test_a_source_that_fails_at_first_gives_a_stale_panel(source: FakeSource, wire: Wire, caplog: Log) -> None:
    source.error = RuntimeError("not ready")
    panel = Panel(source)
    assert panel.snap["stale"] is True
    assert repr(panel) == "<Panel: no snapshot yet>"


def test_a_failing_transport_is_logged_once_and_the_pump_goes_on(source: FakeSource, caplog: Log) -> None:
    caplog.set_level(logging.WARNING, logger="livetrade.panel")
    delivered = []
    arrived = threading.Event()

    def deliver(frame: dict[str, Any]) -> bool:
        delivered.append(frame["snap"]["tick"])
        arrived.set()
        raise OSError("gone")

    pump = SnapshotPump(source, deliver, fps=None)
    pump.start()
    for tick in (1, 2):
        source.wait(lambda: bool(source._watchers))
        arrived.clear()
        source.post(tick=tick)
        assert arrived.wait(30)
    pump.stop()
    source.wait_unwatched()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("action", ["halt", "resume", "flatten"])
def test_a_click_is_passed_on(source: FakeSource, wire: Wire, action: str) -> None:
    Panel(source)
    wire.click({"action": action})
    assert source.commands == [action]


@pytest.mark.parametrize("content", [{"action": "buy"}, {"action": None}, {}, "flatten", None])
def test_an_unknown_message_is_ignored(source: FakeSource, wire: Wire, content: object, caplog: Log) -> None:
    Panel(source)
    wire.click(content)
    assert source.commands == []


def test_a_click_from_another_thread_is_passed_on(source: FakeSource, wire: Wire) -> None:
    Panel(source)
    clicker = threading.Thread(target=wire.click, args=({"action": "flatten"},))
    clicker.start()
    clicker.join(30)
    assert source.commands == ["flatten"]


def test_the_thread_is_a_named_daemon(source: FakeSource, wire: Wire) -> None:
    before = set(panel_threads())
    Panel(source)
    source.wait_settled()
    (thread,) = set(panel_threads()) - before
    assert thread.daemon


def test_it_shows_itself_as_text(source: FakeSource, wire: Wire) -> None:
    assert repr(Panel(source)) == "<Panel main PAPER LIVE: P&L 1,434.50 INR, tick 1,234>"


def test_the_bundle_holds_the_widget_and_a_still_picture(source: FakeSource, wire: Wire) -> None:
    source.state["positions"][0]["symbol"] = "<b>X</b>"
    source.state["pnl"]["day_pnl"] = math.nan
    panel = Panel(source)
    data, metadata = panel._repr_mimebundle_()
    assert metadata == {}
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert data["text/plain"] == repr(panel)
    picture = data["text/html"]
    assert all(
        text in picture
        for text in (
            "1,434.50",
            "&lt;b&gt;X&lt;/b&gt;",
            "545.00 (-1.52%)",
            "2025-11-21 13:30:00 Asia/Kolkata",
            "13:29:59",
        )
    )
    assert "<b>X" not in picture


@pytest.mark.parametrize(
    ("changes", "word"), [({"halted": True}, "halted"), ({"closed": True, "halted": True}, "closed")]
)
def test_the_text_says_what_matters_most(source: FakeSource, wire: Wire, changes: dict[str, bool], word: str) -> None:
    source.state.update(changes, mode="REAL")
    assert repr(Panel(source)).startswith(f"<Panel main REAL {word}: ")
