"""The live page of a desk, in a real browser that can reach nothing but this test."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from itertools import combinations
from typing import Any

import pytest

import livetrade as lt
from livetrade.desk import sockets
from livetrade.desk.desk import Desk
from livetrade.desk.request import ask
from livetrade.desk.runtime import Running
from livetrade.panel.frames import parts_of
from tests.browser import headless
from tests.desk.kit import attached_to, serving
from tests.panel.test_panel_page import FileHandler
from tests.support import SBIN, quoted, soon, trading

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
WIDE = {"viewport": {"width": 1280, "height": 800}}
SYMBOLS = ["NSE:SBIN-EQ", "NSE:RELIANCE-EQ", "NSE:HDFCBANK-EQ"]


class Tab:
    """A page that shows a desk. What it complains of in the console, and whom it speaks to, is written down."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.console: list[str] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self.asked.append((request.url, request.headers)))
        page.on("websocket", lambda wire: self.asked.append((wire.url.replace("ws://", "http://"), {})))

    def open(self, address: str) -> "Tab":
        self.page.goto(address)
        self.wait_until_live()
        return self

    def wait_until_live(self) -> None:
        self.page.wait_for_selector(".livetrade-panel[data-asleep='false'] [data-lt='mode']:text-matches('PAPER')")

    def wait_for_text(self, selector: str, text: str) -> None:
        self.page.locator(selector).filter(has_text=text).wait_for()

    def text(self, mark: str) -> str:
        return self.page.text_content(f"[data-lt='{mark}']")

    def tick(self) -> int:
        return int(self.text("tick").removeprefix("tick ").replace(",", ""))

    def soon(self, check: Callable[[], Any], what: str = "") -> None:
        soon(lambda: self.page.wait_for_timeout(10) or check(), what)  # its events arrive while it waits

    def wait_for_ticks(self) -> None:
        before = self.tick()
        self.soon(lambda: self.tick() > before + 1, "the ticks stand still")

    def times_asked(self, part: str) -> int:
        return sum(part in url for url, _ in self.asked)

    def click(self, mark: str) -> None:
        self.page.click(f"[data-lt='{mark}']")

    def command(self, mark: str) -> None:
        self.click(mark)
        self.click("confirm")

    def others_asked(self, desk: Desk) -> list[str]:
        return [url for url, _ in self.asked if not url.startswith((f"{desk.url}/", "data:"))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless() as chromium:
        yield chromium


@pytest.fixture
def new_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Makes tabs of one browser, which starts without cookies."""
    contexts: list[Any] = []

    def make(**terms: Any) -> Tab:
        if terms or not contexts:
            contexts.append(browser.new_context(**terms))
            contexts[-1].set_default_timeout(20_000)
        return Tab(contexts[-1].new_page())

    yield make
    for context in contexts:
        context.close()


@contextmanager
def simulated(*symbols: str) -> Iterator[lt.LiveTradingEngine]:
    with trading(feed=lt.SimulatedFeed(symbols or SBIN, seed=7, ticks_per_second=20)) as engine:
        soon(lambda: engine.account.ticks > 2 * len(symbols))
        yield engine


@pytest.fixture
def engine() -> Iterator[lt.LiveTradingEngine]:
    with simulated() as engine:
        yield engine


@pytest.fixture
def desk(engine: lt.LiveTradingEngine) -> Iterator[Desk]:
    with serving(engine) as desk:
        yield desk


def asked(desk: Desk, route: str) -> Any:
    status, answer = ask(Running(desk.url, desk.token or "", 0, "main"), "GET", route)
    assert status == 200
    return answer


# ── the token ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_link_opens_the_page_and_the_token_stays_nowhere(desk: Desk, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab().open(desk.link)
    assert tab.page.url == f"{desk.url}/"
    [cookie] = tab.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

    tab.page.reload()
    tab.wait_until_live()
    tab.page.go_back()
    tab.page.go_forward()
    tab.wait_until_live()
    assert tab.page.url == f"{desk.url}/"

    first, *later = tab.asked
    assert first[0] == desk.link
    assert len(later) > 10
    assert desk.token not in json.dumps([later, cookie, tab.console])
    assert desk.token not in tab.page.content()
    assert tab.console == []
    assert tab.others_asked(desk) == []


def test_without_the_token_a_form_asks_for_it(desk: Desk, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    assert tab.page.goto(desk.url).status == 401
    for given, status in (("not it", 401), (desk.token, 200)):
        assert tab.page.locator(".livetrade-panel").count() == 0
        tab.page.get_by_label("Token").fill(given)
        with tab.page.expect_navigation() as answer:
            tab.page.get_by_role("button", name="Open").click()
        assert answer.value.status == status
    tab.wait_until_live()
    assert tab.page.url == f"{desk.url}/"


def test_a_desk_without_a_token_is_open(engine: lt.LiveTradingEngine, new_tab: Callable[..., Tab]) -> None:
    with serving(engine, no_token=True) as desk:
        tab = new_tab().open(desk.link)
        assert tab.page.context.cookies() == []
        assert tab.console == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_link_in_a_notebook_opens_the_page(desk: Desk, new_tab: Callable[..., Tab], host: str) -> None:
    """The panel of an attached engine, on a page of another origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FileHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        notebook = new_tab().page
        notebook.goto(desk.link, wait_until="commit")  # from now on the browser has the cookie
        notebook.goto(f"http://{host}:{server.server_port}/")
        notebook.wait_for_function("window.harness")
        with attached_to(desk) as attached:
            snapshot = attached.panel_snapshot(None)
        assert desk.token not in json.dumps(snapshot)
        notebook.evaluate("parts => harness.post(parts)", parts_of(snapshot))
        with notebook.context.expect_page() as opened:
            notebook.click("[data-lt='desk-link']")
        Tab(opened.value).wait_until_live()
        assert opened.value.url == f"{desk.url}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# ── numbers and buttons ──────────────────────────────────────────────────────────────────────────────────────────────


WATCH = """() => {
    window.ticks = [];
    const tick = document.querySelector("[data-lt='tick']");
    new MutationObserver(() => ticks.push(Number(tick.textContent.replace(/\\D/g, "")))).observe(
        tick, { childList: true, characterData: true, subtree: true }
    );
}"""


def test_the_ticks_rise(desk: Desk, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab().open(desk.link)
    tab.page.evaluate(WATCH)
    tab.soon(lambda: tab.page.evaluate("ticks.length") > 10)
    ticks = tab.page.evaluate("ticks")
    assert ticks == sorted(set(ticks))
    assert tab.console == []


def test_the_numbers_are_those_of_the_desk(new_tab: Callable[..., Tab]) -> None:
    stream = quoted()
    with trading(stream=stream, fees=lt.FlatFee(20)) as engine, serving(engine) as desk:
        tab = new_tab().open(desk.link)
        engine.market_buy(SBIN, 100, stop_loss_price=540, take_profit_price=560).result().raise_if_failed()
        engine.market_sell(SBIN, 40).result().raise_if_failed()
        stream.update(SBIN, bid="551.35", ask="551.40", last="551.40")
        soon(lambda: engine.account.ticks == 2)
        tab.wait_for_text("[data-lt='tick']", "tick 2")
        figures = asked(desk, "portfolio")
        names = ("total_pnl", "realized_pnl", "unrealized_pnl", "day_pnl", "fees", "cash", "portfolio_value")
        shown = {name: tab.text(name.replace("_", "-")).replace(",", "") for name in names}
        assert shown == {name: f"{float(figures[name]):.2f}" for name in names}
        [position] = asked(desk, "positions")
        cells = tab.page.locator(f"[data-lt-symbol='{SBIN}'] [data-lt-cell]").all_text_contents()
        assert cells[:2] == [SBIN, str(position["quantity"])] == [SBIN, "60"]
        assert cells[5:] == ["540.00", "560.00"]


def test_the_buttons_reach_the_engine_and_the_answer_is_shown(
    engine: lt.LiveTradingEngine, desk: Desk, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab().open(desk.link)
    engine.market_buy(SBIN, 100).result().raise_if_failed()
    tab.page.wait_for_selector(f"[data-lt-symbol='{SBIN}']")

    tab.command("halt")
    soon(lambda: engine.account.halted == "live page")
    tab.wait_for_text("#answer", "Trading is halted")
    tab.wait_for_text("[data-lt='halt']", "Resume")
    assert tab.page.title() == "HALTED main PAPER livetrade desk"
    assert not engine.market_buy(SBIN, 1).result().success
    tab.command("halt")
    soon(lambda: engine.account.halted is None)
    tab.wait_for_text("#answer", "Trading goes on")
    tab.wait_for_text("[data-lt='halt']", "Halt")

    tab.click("flatten")
    tab.wait_for_text("[data-lt='question']", "closes 1 position at the market")
    assert asked(desk, "positions")
    tab.click("confirm")
    tab.page.get_by_text("No open positions").wait_for()
    assert asked(desk, "positions") == []
    assert "Trading goes on" not in tab.page.text_content("#answer")
    assert tab.console == []
    assert tab.others_asked(desk) == []


# ── a desk that stops, starts again, or is stuck ─────────────────────────────────────────────────────────────────────


def test_a_stopped_desk_is_said_and_comes_back(
    engine: lt.LiveTradingEngine, desk: Desk, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab().open(desk.link)
    desk.stop()
    tab.wait_for_text("#connection", "Not connected to the desk. Trying again")
    tab.wait_for_text("[data-lt='feed']", "STALE")
    assert "Numbers are from" in tab.text("notice")
    assert tab.page.title() == "STALE main PAPER livetrade desk"
    tab.command("halt")
    tab.wait_for_text("#answer", "No answer from the desk: halt may not have been done")
    assert tab.page.get_attribute("#answer", "data-done") == "false"
    tab.soon(lambda: tab.text("halt") == "Halt")  # no longer "Halt sent"

    with serving(engine, port=desk.port, token=desk.token):
        tab.wait_until_live()
        tab.wait_for_ticks()
        assert tab.page.text_content("#connection") == ""
        assert "may not have been done" in tab.page.text_content("#answer")
        assert tab.page.is_hidden("#unlock")


def test_a_new_token_is_asked_for(engine: lt.LiveTradingEngine, desk: Desk, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    tab.page.clock.install()
    tab.open(desk.link)
    desk.stop()
    with serving(engine, port=desk.port) as other:
        tab.wait_for_text("#connection", "The desk asks for its token")
        assert tab.text("feed") == "STALE"
        count = len(tab.asked)
        tab.page.clock.run_for(60_000)
        assert len(tab.asked) == count  # it waits for a person

        tab.page.get_by_label("Token").fill("not it")
        tab.page.keyboard.press("Enter")
        tab.wait_for_text("#connection", "That is not the desk's token")
        tab.page.get_by_label("Token").fill(other.token)
        tab.page.get_by_role("button", name="Open").click()
        tab.page.wait_for_selector("#unlock", state="hidden")
        tab.wait_until_live()
        assert tab.page.url == f"{desk.url}/"
        assert tab.page.text_content("#connection") == ""


def test_a_new_token_given_in_another_tab_is_enough(
    engine: lt.LiveTradingEngine, desk: Desk, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab().open(desk.link)
    desk.stop()
    with serving(engine, port=desk.port) as other:
        tab.page.wait_for_selector("#unlock:visible")
        new_tab().open(other.link)
        tab.page.evaluate("window.dispatchEvent(new Event('focus'))")
        tab.page.wait_for_selector("#unlock", state="hidden")
        tab.wait_until_live()


def test_a_stuck_desk_is_said(desk: Desk, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    tab.page.clock.install()
    tab.open(desk.link)
    go_on, stuck = threading.Event(), threading.Event()
    [server] = desk._uvicorn.servers
    server.get_loop().call_soon_threadsafe(lambda: (stuck.set(), go_on.wait(60)))
    try:
        assert stuck.wait(20)
        tab.soon(lambda: tab.page.clock.fast_forward(2_000) or tab.page.text_content("#connection"))
        assert tab.page.text_content("#connection") == "The desk does not answer. Trying again …"
        tab.wait_for_text("[data-lt='feed']", "STALE")
    finally:
        go_on.set()
    tab.page.clock.fast_forward(6_000)
    tab.wait_until_live()
    assert tab.page.text_content("#connection") == ""


def test_a_quiet_desk_is_not_taken_for_a_stuck_one(new_tab: Callable[..., Tab]) -> None:
    with trading() as engine, serving(engine) as desk:
        tab = new_tab()
        tab.page.clock.install()
        tab.open(desk.link)
        answered: list[str] = []
        tab.page.on("requestfinished", lambda request: answered.append(request.url))
        for _ in range(16):
            tab.page.clock.run_for(1_000)
            tab.soon(lambda: sum(url.endswith("/health") for url in answered) == tab.times_asked("/health"))
        assert tab.times_asked("/health") > 1
        assert tab.times_asked("stream") == 1
        assert tab.page.text_content("#connection") == ""
        tab.wait_until_live()


def test_a_desk_that_has_no_room_is_said(
    desk: Desk, new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sockets, "MOST_LISTENERS", 0)
        tab = new_tab()
        tab.page.goto(desk.link)
        tab.wait_for_text("#connection", "0 listeners are the most")
        tab.wait_for_text("[data-lt='feed']", "STALE")
        assert not tab.page.get_by_text("No open positions").is_visible()  # it does not know
    tab.wait_until_live()
    tab.page.get_by_text("No open positions").wait_for()


# ── how it looks ─────────────────────────────────────────────────────────────────────────────────────────────────────

# The texts that one sees, with where each stands and how far its colours are apart (WCAG 2).
LOOK = """() => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colours) => {
        for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
        const linear = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3)
            .map((value) => value / 255)
            .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const contrast = (node) => {
        const grounds = [];
        for (let at = node; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
        const [under, over] = [paint(["white", ...grounds]), paint([getComputedStyle(node).color])];
        return (Math.max(under, over) + 0.05) / (Math.min(under, over) + 0.05);
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = [];
    while (walker.nextNode()) {
        const text = walker.currentNode, node = text.parentElement;
        if (!text.data.trim() || !node.checkVisibility() || node.closest("h1, .lt-spoken, noscript, script")) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        const { left, right, top, bottom } = range.getBoundingClientRect();
        seen.push({ text: text.data, left, right, top, bottom, contrast: contrast(node) });
    }
    return seen;
}"""


CUT_OFF = """() => [...document.querySelectorAll(".livetrade-panel *")]
    .filter((node) => node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX === "hidden")
    .map((node) => node.className)"""


def overlaps(seen: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["text"], other["text"]) for one, other in combinations(seen, 2) if overlap(one, other)]


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """By more than a rounding."""
    across = min(one["right"], other["right"]) - max(one["left"], other["left"])
    down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    return across > 1 and down > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_touched(new_tab: Callable[..., Tab], scheme: str) -> None:
    with simulated(*SYMBOLS) as engine, serving(engine) as desk:
        for symbol in SYMBOLS:
            engine.market_buy(symbol, 40, stop_loss_pct=9, take_profit_pct=9).result().raise_if_failed()
        for terms in (PHONE, WIDE):
            tab = new_tab(**terms, color_scheme=scheme).open(desk.link)
            tab.page.locator("[data-lt-symbol]").nth(len(SYMBOLS) - 1).wait_for()
            tab.command("halt")
            tab.wait_for_text("#answer", "Trading is halted")
            tab.wait_for_text("[data-lt='halt']", "Resume")
            width = terms["viewport"]["width"]
            tab.page.set_viewport_size({"width": width, "height": 1400})  # all of it, without scrolling
            seen = tab.page.evaluate(LOOK)
            assert len(seen) > 60
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            assert [part for part in seen if not 0 <= part["left"] <= part["right"] <= width] == []
            assert [part for part in seen if part["contrast"] < 4.5] == []
            assert overlaps(seen) == []
            least = 44 if terms is PHONE else 24
            boxes = [button.bounding_box() for button in tab.page.get_by_role("button").all()]
            assert len(boxes) == 2
            assert all(box["height"] >= least and box["width"] >= least for box in boxes)
            engine.resume().result()


def test_the_buttons_stay_in_reach_in_a_long_table(new_tab: Callable[..., Tab]) -> None:
    symbols = [f"NSE:S{number}-EQ" for number in range(12)]
    with simulated(*symbols) as engine, serving(engine) as desk:
        for symbol in symbols:
            engine.market_buy(symbol, 1).result().raise_if_failed()
        tab = new_tab(**PHONE).open(desk.link)
        tab.page.locator("[data-lt-symbol]").nth(len(symbols) - 1).wait_for()
        for place in (0, 500):
            tab.page.evaluate("place => scrollTo(0, place)", place)
            box = tab.page.locator("[data-lt='flatten']").bounding_box()
            assert 0 < box["y"] < box["y"] + box["height"] < PHONE["viewport"]["height"]
        desk.stop()
        tab.page.wait_for_selector(".livetrade-panel[data-asleep='true']")
        assert tab.page.locator("#connection").bounding_box()["y"] >= 0


def test_no_digit_of_a_large_amount_is_cut_off(new_tab: Callable[..., Tab]) -> None:
    stream = quoted()
    with trading(9_000_000_000, stream) as engine, serving(engine) as desk:
        engine.market_buy(SBIN, 10_000_000).result().raise_if_failed()
        stream.update(SBIN, bid="300.10", ask="300.20", last="300.15")
        tab = new_tab().open(desk.link)
        tab.wait_for_text("[data-lt='total-pnl']", "-2,488,500,000.00")
        for width in (320, 360, 640, 700, 820, 1280):
            tab.page.set_viewport_size({"width": width, "height": 1000})
            seen = tab.page.evaluate(LOOK)
            assert [part for part in seen if part["right"] > width - 16] == []
            assert overlaps(seen) == []
            assert tab.page.evaluate(CUT_OFF) == ["lt-spoken"]


def test_keys_and_names_lead_everywhere(engine: lt.LiveTradingEngine, desk: Desk, new_tab: Callable[..., Tab]) -> None:
    engine.market_buy(SBIN, 1).result().raise_if_failed()
    page = new_tab().open(desk.link).page
    page.get_by_role("heading", name="livetrade desk").wait_for()
    panel = page.get_by_role("main").get_by_role("region", name="Live P&L")
    panel.get_by_role("table", name="Positions").get_by_role("row").nth(1).wait_for()
    panel.get_by_role("group", name="Portfolio").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.lt") == "halt"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Halt now").wait_for()
    page.keyboard.press("Enter")
    soon(lambda: engine.account.halted)
    page.get_by_role("status").filter(has_text="Trading is halted").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.lt") == "flatten"
    page.keyboard.press("Space")
    page.get_by_role("button", name="Flatten now").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Flatten", exact=True).wait_for()


# ── many at once, and slow ones ──────────────────────────────────────────────────────────────────────────────────────


def test_ten_pages_and_a_frozen_one_hurt_nobody(desk: Desk, new_tab: Callable[..., Tab]) -> None:
    tabs = [new_tab() for _ in range(10)]
    for tab in tabs:
        tab.page.goto(desk.link, wait_until="commit")
    for tab in tabs:
        tab.wait_until_live()
    frozen = tabs[0].page.context.new_cdp_session(tabs[0].page)
    frozen.send("Page.setWebLifecycleState", {"state": "frozen"})
    for tab in tabs[1:]:
        tab.wait_for_ticks()
    assert asked(desk, "health")["feed"] == "LIVE"
    before = tabs[1].tick()
    frozen.send("Page.setWebLifecycleState", {"state": "active"})
    tabs[0].soon(lambda: tabs[0].tick() > before, "it does not catch up")
    assert [tab.console for tab in tabs] == [[]] * 10
    assert [tab.others_asked(desk) for tab in tabs] == [[]] * 10
