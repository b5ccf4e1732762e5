"""The panel's front end on a plain page, in a real browser that can reach nothing but this test."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from livetrade.panel import CSS, JS
from livetrade.panel.frames import parts_of
from tests.browser import require_browser

pytestmark = pytest.mark.browser

FILES = {
    "/": (Path(__file__).with_name("page.html"), "text/html"),
    "/panel.js": (JS, "text/javascript"),
    "/panel.css": (CSS, "text/css"),
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


class FileHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        file, kind = FILES[urlsplit(self.path).path]
        body = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # Strict on purpose: a desk that serves the panel may forbid inline styles and scripts of unknown origin.
        self.send_header("Content-Security-Policy", "style-src 'self'; img-src 'self' data:; object-src 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FileHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = require_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def desk(browser: Any, address: str, snapshot: Callable[..., dict[str, Any]]) -> Iterator[SimpleNamespace]:
    """A page that shows the panel: `page`, `post(**changes)`, `expect(mark, text)`, `sent()`; it ends uncomplaining."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((address, "data:")) else complaints.append(request.url),
    )
    page.goto(address)
    page.wait_for_function("window.harness")

    def post(**changes: Any) -> None:
        page.evaluate("parts => harness.post(parts)", parts_of(snapshot(**changes)))

    def expect(mark: str, text: str) -> None:
        page.wait_for_function(
            "([mark, text]) => document.querySelector(`[data-lt='${mark}']`).textContent === text", arg=[mark, text]
        )

    def sent() -> list[dict[str, str]]:
        return page.evaluate("harness.sent")

    yield SimpleNamespace(page=page, post=post, expect=expect, sent=sent, address=address)
    context.close()
    assert complaints == []


EXPECTED = {
    "mode": "PAPER",
    "feed": "LIVE",
    "ticks-per-second": "10.2/s",
    "total-pnl": "1,434.50",
    "realized-pnl": "1,009.50",
    "unrealized-pnl": "445.00",
    "day-pnl": "-212.40",
    "cash": "446,094.50",
    "portfolio-value": "501,434.50",
    "fees": "20.00",
    "total-pnl-percent": "+0.29%",
    "working-orders": "1",
    "alarms": "0",
    "lag": "0.9 ms",
    "worst": "14 ms",
    "halt": "Halt",
    "flatten": "Flatten",
}


def test_it_renders_the_snapshot(desk: SimpleNamespace) -> None:
    desk.post()
    desk.expect("tick", "tick 1,234")
    shown = {mark: desk.page.text_content(f"[data-lt='{mark}']") for mark in EXPECTED}
    assert shown == EXPECTED
    assert "P&L" in desk.page.inner_text(".lt-hero")


def test_a_position_shows_its_exits_and_their_distance(desk: SimpleNamespace) -> None:
    desk.post()
    row = desk.page.locator("[data-lt-symbol='NSE:SBIN-EQ']")
    row.wait_for()
    assert row.locator("[data-lt-cell='quantity']").text_content() == "100"
    assert row.locator("[data-lt-cell='avg-price']").text_content() == "548.95"
    assert row.locator("[data-lt-cell='last-price']").text_content() == "553.40"
    assert row.locator("[data-lt-cell='total-pnl']").text_content() == "425.00"
    assert row.locator("[data-area='stop']").text_content() == "545.00-1.52%"
    assert row.locator("[data-area='target']").text_content() == "560.00+1.19%"


def test_updates_change_texts_and_keep_elements(desk: SimpleNamespace, snapshot: Callable[..., dict[str, Any]]) -> None:
    desk.post()
    desk.expect("tick", "tick 1,234")
    desk.page.evaluate(
        """() => {
            window.added = 0;
            const count = (change) => { for (const node of change.addedNodes) added += node.nodeType === 1; };
            new MutationObserver((changes) => changes.forEach(count)).observe(
                document.body, { childList: true, subtree: true }
            );
            window.cell = document.querySelector("[data-lt-symbol] [data-lt-cell='last-price']");
        }"""
    )
    moved = {**snapshot()["positions"][0], "last_price": 554.0}
    desk.post(tick=1_000_000, positions=[moved])
    desk.expect("tick", "tick 1,000,000")
    assert desk.page.evaluate("[cell.isConnected, cell.textContent, added]") == [True, "554.00", 0]


def test_only_the_latest_snapshot_is_painted(desk: SimpleNamespace, snapshot: Callable[..., dict[str, Any]]) -> None:
    desk.page.evaluate(
        """(parts) => {
            window.painted = [];
            const tick = document.querySelector("[data-lt='tick']");
            new MutationObserver(() => painted.push(tick.textContent)).observe(tick, { childList: true });
            for (let i = 1; i <= 1000; i++) harness.post({ ...parts, snap: { ...parts.snap, tick: i } });
        }""",
        parts_of(snapshot()),
    )
    desk.expect("tick", "tick 1,000")
    assert desk.page.evaluate("painted") == ["tick 1,000"]


def test_rows_come_and_go_in_the_order_given(desk: SimpleNamespace, snapshot: Callable[..., dict[str, Any]]) -> None:
    row = snapshot()["positions"][0]
    symbols = "[...document.querySelectorAll('[data-lt-symbol]')].map((row) => row.dataset.ltSymbol).join()"
    for order in ("A,B,C", "C,A", "B,C,A", "A"):
        desk.post(positions=[{**row, "symbol": symbol} for symbol in order.split(",")])
        desk.page.wait_for_function(f"{symbols} === '{order}'")
    desk.post(positions=[])
    desk.page.get_by_text("No open positions").wait_for()


def test_unknown_numbers_are_dashes_and_zero_has_no_sign(desk: SimpleNamespace) -> None:
    pnl = {"total_pnl": None, "day_pnl": -0.001, "cash": 1e9}
    desk.post(pnl=pnl, lag_ms={}, worst_stall_ms=None, equity=[None, 1.0])
    desk.expect("cash", "1,000,000,000.00")
    desk.expect("total-pnl", "–")
    desk.expect("day-pnl", "0.00")
    desk.expect("lag", "–")
    desk.expect("worst", "–")


def test_a_command_asks_once_more(desk: SimpleNamespace) -> None:
    desk.post()
    desk.page.click("[data-lt='flatten']")
    desk.expect("question", "Flatten? It closes 1 position at the market and cancels 1 order.")
    desk.expect("confirm", "Flatten now")
    assert desk.page.is_hidden("[data-lt='flatten']")
    assert desk.sent() == []
    desk.post(open_positions=2, working_orders=0)
    desk.expect("question", "Flatten? It closes 2 positions at the market.")
    desk.page.click("[data-lt='confirm']")
    desk.expect("flatten", "Flatten sent")
    assert desk.sent() == [{"action": "flatten"}]
    desk.post(open_positions=0, positions=[], working_orders=0)
    desk.expect("flatten", "Flatten")


def test_a_question_is_taken_back(desk: SimpleNamespace) -> None:
    desk.page.clock.install()
    desk.page.reload()
    desk.page.wait_for_function("window.harness")
    question = desk.page.locator(".lt-asking")
    take_back: list[Callable[[], object]] = [
        lambda: desk.page.click("[data-lt='cancel']"),
        lambda: desk.page.keyboard.press("Escape"),
        lambda: desk.page.clock.run_for(10_100),
    ]
    for end in take_back:
        desk.page.click("[data-lt='flatten']")
        question.wait_for()
        end()
        question.wait_for(state="hidden")
        assert desk.page.evaluate("document.activeElement.dataset.lt") == "flatten"
    assert desk.sent() == []


def test_keys_alone_command(desk: SimpleNamespace) -> None:
    desk.post()
    desk.page.keyboard.press("Tab")
    assert desk.page.evaluate("document.activeElement.dataset.lt") == "halt"
    desk.page.keyboard.press("Enter")
    desk.expect("question", "Halt? Orders that open are refused; exits stay armed.")
    assert desk.page.evaluate("document.activeElement.dataset.lt") == "confirm"
    desk.page.get_by_role("group", name="Halt? Orders that open are refused; exits stay armed.").wait_for()
    desk.page.keyboard.press("Enter")
    desk.expect("halt", "Halt sent")
    assert desk.sent() == [{"action": "halt"}]
    assert desk.page.evaluate("document.activeElement.dataset.lt") == "halt"


def test_neither_a_double_click_nor_a_held_key_confirms(desk: SimpleNamespace) -> None:
    question = desk.page.locator(".lt-asking")
    for command in ("halt", "flatten"):
        for width in (360, 1000):
            desk.page.set_viewport_size({"width": width, "height": 700})
            desk.page.locator(f"[data-lt='{command}']").dblclick()
            question.wait_for()
            desk.page.keyboard.press("Escape")
            question.wait_for(state="hidden")
        desk.page.locator(f"[data-lt='{command}']").focus()
        for _ in range(5):
            desk.page.keyboard.down("Enter")
        desk.page.keyboard.up("Enter")
        question.wait_for()
        desk.page.keyboard.press("Escape")
    assert desk.sent() == []


def test_halt_becomes_resume_when_the_engine_says_so(desk: SimpleNamespace) -> None:
    desk.post()
    desk.page.click("[data-lt='halt']")
    desk.page.click("[data-lt='confirm']")
    desk.expect("halt", "Halt sent")
    desk.post(halted=True, halt_reason="by hand")
    desk.expect("halt", "Resume")
    desk.expect("notice", "Trading halted: by hand. Exits stay armed.")
    desk.page.click("[data-lt='halt']")
    desk.page.click("[data-lt='confirm']")
    assert desk.sent() == [{"action": "halt"}, {"action": "resume"}]


def test_orders_and_fills_are_listed(desk: SimpleNamespace) -> None:
    desk.post()
    orders, fills = (desk.page.get_by_role("list", name=name) for name in ("Working orders", "Last fills"))
    assert orders.inner_text().split("\n") == [
        "BUY 50 NSE:SBIN-EQ",
        "stop limit",
        "540.00 / 541.00",
        "20 of 50 filled",
    ]
    assert fills.inner_text().split("\n") == ["SELL 10 NSE:INFY-EQ", "13:29:59, stop loss", "1,600.10", "-35.50"]
    desk.post(working_orders=52)
    desk.expect("working-orders", "52")
    desk.page.get_by_text("1 shown").wait_for()
    desk.post(orders=[], fills=[], working_orders=0)
    desk.expect("working-orders", "0")
    desk.page.get_by_text("None yet").wait_for()


PLACES = [
    ({"stop_loss_price": 545.0, "take_profit_price": 565.0, "last_price": 550.0}, "25%"),
    ({"stop_loss_price": 540.0, "take_profit_price": None, "last_price": 545.0, "avg_price": 550.0}, "50%"),
    ({"stop_loss_price": None, "take_profit_price": 560.0, "last_price": 557.5, "avg_price": 550.0}, "75%"),
    ({"quantity": -100, "stop_loss_price": 560.0, "take_profit_price": 540.0, "last_price": 545.0}, "75%"),
    ({"stop_loss_price": 545.0, "take_profit_price": 560.0, "last_price": 1.0}, "0%"),
    ({"stop_loss_price": None, "take_profit_price": None}, None),
]


def test_a_marker_stands_between_stop_and_target(
    desk: SimpleNamespace, snapshot: Callable[..., dict[str, Any]]
) -> None:
    for number, (changes, place) in enumerate(PLACES):
        desk.post(tick=number, positions=[{**snapshot()["positions"][0], **changes}])
        desk.expect("tick", f"tick {number}")
        left = desk.page.evaluate("document.querySelector('.lt-marker').style.left")
        assert (left if desk.page.is_visible(".lt-track") else None) == place


def test_silence_is_no_calm_market(desk: SimpleNamespace) -> None:
    desk.page.clock.install()
    desk.page.reload()
    desk.page.wait_for_function("window.harness")
    assert desk.page.text_content("[data-lt='feed']") == "WAITING"
    unheard = {"tick": "tick –", "working-orders": "", "alarms": "–"}
    assert {mark: desk.page.text_content(f"[data-lt='{mark}']") for mark in unheard} == unheard
    desk.post()
    desk.page.clock.run_for(2_000)
    assert desk.page.text_content("[data-lt='feed']") == "LIVE"
    desk.page.clock.run_for(8_000)
    assert desk.page.text_content("[data-lt='feed']") == "SILENT"
    assert "No word from the engine since 21 Nov 2025, 13:30:00." in desk.page.text_content("[data-lt='notice']")
    assert desk.page.get_attribute(".livetrade-panel", "data-asleep") == "true"
    desk.post()
    desk.page.clock.run_for(100)
    assert desk.page.text_content("[data-lt='feed']") == "LIVE"


def test_nothing_moves_sideways_as_numbers_change(
    desk: SimpleNamespace, snapshot: Callable[..., dict[str, Any]]
) -> None:
    boxes = """[...document.querySelectorAll(".lt-cell, .lt-figure, .lt-button, .lt-positions, .lt-activity")].map(
        (node) => Object.values(node.getBoundingClientRect().toJSON())
    )"""
    desk.post()
    desk.expect("tick", "tick 1,234")
    before = desk.page.evaluate(boxes)
    pnl = {name: -value * 33.3 for name, value in snapshot()["pnl"].items() if "portfolio" not in name}
    moved = {**snapshot()["positions"][0], "last_price": 1_211.11, "total_pnl": -88_111.1, "unrealized_pnl": 9_999.99}
    desk.post(tick=1_000_000, ticks_per_second=999.9, pnl={**snapshot()["pnl"], **pnl, "cash": 1.0}, positions=[moved])
    desk.expect("tick", "tick 1,000,000")
    assert desk.page.evaluate(boxes) == before


def test_two_hundred_positions_scroll_with_keys(desk: SimpleNamespace, snapshot: Callable[..., dict[str, Any]]) -> None:
    row = snapshot()["positions"][0]
    desk.post(positions=[{**row, "symbol": f"NSE:S{number}-EQ"} for number in range(200)], open_positions=200)
    table = desk.page.locator(".lt-positions[tabindex='0']")
    table.focus()
    desk.page.keyboard.press("End")
    desk.page.wait_for_function("document.querySelector('.lt-positions').scrollTop > 5000")
    assert desk.page.locator(".livetrade-panel").bounding_box()["height"] < 1_200
    desk.post()
    desk.page.wait_for_selector(".lt-positions:not([tabindex])")


def test_real_money_looks_like_nothing_else(desk: SimpleNamespace) -> None:
    ground = "getComputedStyle(document.querySelector('.lt-header')).backgroundColor"
    desk.post()
    desk.expect("mode", "PAPER")
    paper = desk.page.evaluate(ground)
    desk.post(mode="REAL")
    desk.expect("mode", "REAL")
    desk.page.get_by_text("real money", exact=True).wait_for()
    assert desk.page.evaluate(ground) != paper


def test_real_money_and_halts_are_spoken_and_numbers_are_not(desk: SimpleNamespace) -> None:
    desk.post(mode="REAL", halted=True, halt_reason="loss")
    desk.expect("mode", "REAL")
    assert desk.page.text_content("[aria-live='polite']") == "Real money. Trading halted. loss"
    assert desk.page.locator("[aria-live]").count() == 1


@pytest.mark.parametrize(("changes", "feed"), [({"stale": True}, "STALE"), ({"closed": True}, "CLOSED")])
def test_a_dead_panel_says_so(desk: SimpleNamespace, changes: dict[str, bool], feed: str) -> None:
    desk.post(**changes)
    desk.expect("feed", feed)
    assert desk.page.is_visible("[data-lt='notice']")
    spoken = {"STALE": "These numbers are not live.", "CLOSED": "Engine closed."}[feed]
    assert desk.page.text_content("[aria-live='polite']") == f"Paper trading. Trading is on. {spoken}"
    assert desk.page.is_disabled("[data-lt='flatten']") is ("closed" in changes)


def test_a_link_to_the_desk_is_a_web_address_or_nothing(desk: SimpleNamespace) -> None:
    desk.post(desk_url="javascript:alert(1)")
    desk.expect("mode", "PAPER")
    assert not desk.page.is_visible("[data-lt='desk-link']")
    desk.post(desk_url="http://127.0.0.1:5000/")
    desk.page.locator("[data-lt='desk-link'][href='http://127.0.0.1:5000/']").wait_for()


def test_the_note_about_the_kernel_is_for_notebooks(desk: SimpleNamespace) -> None:
    desk.post()
    note = desk.page.get_by_text("busy cell")
    note.wait_for()
    desk.page.goto(f"{desk.address}?host=page")
    desk.page.wait_for_function("window.harness")
    assert not note.is_visible()


@pytest.mark.parametrize("width", [360, 640, 1000])
def test_nothing_is_cut_off_sideways(desk: SimpleNamespace, width: int) -> None:
    desk.page.set_viewport_size({"width": width, "height": 700})
    desk.post()
    desk.expect("tick", "tick 1,234")
    edges = "['.livetrade-panel', '#panel'].map((at) => document.querySelector(at).getBoundingClientRect().right)"
    inner, outer = desk.page.evaluate(edges)
    assert inner <= outer < width
    for area in ("symbol", "quantity", "average", "last", "pnl", "stop", "target"):
        assert desk.page.is_visible(f"[data-lt-symbol] [data-area='{area}'] .lt-main")


@pytest.mark.parametrize(("declared", "scheme"), [("true", "light"), ("false", "dark")])
def test_a_notebook_theme_wins_over_the_system(desk: SimpleNamespace, declared: str, scheme: str) -> None:
    desk.page.evaluate("(value) => { document.body.dataset.jpThemeLight = value; }", declared)
    desk.page.wait_for_function(
        "(scheme) => getComputedStyle(document.querySelector('.livetrade-panel')).colorScheme === scheme", arg=scheme
    )


def test_closing_a_view_leaves_nothing_behind(desk: SimpleNamespace) -> None:
    desk.page.evaluate("harness.close()")
    desk.post()
    assert desk.page.locator(".livetrade-panel").count() == 0
