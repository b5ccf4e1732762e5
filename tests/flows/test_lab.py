"""The panel in JupyterLab and in Notebook 7, in a real browser that can reach nothing but this test."""

import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser import headless

pytestmark = pytest.mark.browser

PLACES = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
LAB_PLACES = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
OPTIONS = [
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--expose-app-in-browser",
    "--JupyterNotebookApp.expose_app_in_browser=True",
    "--ServerApp.port_retries=0",
    "--ServerApp.terminals_enabled=False",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
]

CELLS = [
    "import asyncio, time\n"
    "import livetrade as lt\n"
    "engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed('NSE:SBIN-EQ', seed=7, ticks_per_second=300))\n"
    "await anext(engine.stream.ticks())\n"
    "answer = (await engine.market_buy('NSE:SBIN-EQ', 100, stop_loss_pct=20)).raise_if_failed()\n"
    "resting = (await engine.limit_buy('NSE:SBIN-EQ', 100, 1)).raise_if_failed()\n"
    "engine.panel()",
    "time.sleep(4)",
    "while engine.account.halted is None:\n    await asyncio.sleep(0.02)  # until somebody presses the button",
    "engine.close()\nprint(f\"P&L {engine.get_portfolio_pnl().result()['total_pnl']:,.2f} in the end\")",
]

# Notes the panel's counter while the second cell runs: its prompt is [*], and the first one has its number.
WATCH = """() => {
  window.seen = [];
  const prompt = (n) => document.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")[n].textContent;
  const note = () => {
    const tick = document.querySelector("[data-lt='tick']");
    if (tick && prompt(0).startsWith("[1]") && prompt(1).startsWith("[*]")) window.seen.push(tick.textContent);
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
FOCUSED = "document.activeElement.dataset.lt"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until_open(server: "subprocess.Popen[bytes]", address: str) -> None:
    for _ in range(300):
        try:
            urlopen(address).close()
            return
        except URLError:
            pass
        try:
            server.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail("the notebook server did not start")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server of its own for both front ends, with a notebook of the cells for each: its address and its token."""
    place = tmp_path_factory.mktemp("server")
    work = place / "work"
    work.mkdir()
    notebook = new_notebook(cells=[new_code_cell(source, id=f"lab-{n}") for n, source in enumerate(CELLS, 1)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    for name in ("lab", "notebook"):
        nbformat.write(notebook, work / f"{name}.ipynb")

    token = secrets.token_hex()
    address = f"http://127.0.0.1:{(port := free_port())}"
    places = {name: os.fspath(place / name.lower()) for name in (*PLACES, *LAB_PLACES)}
    own = [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={work}"]
    with (place / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *OPTIONS, *own]
        process = subprocess.Popen(command, env={**os.environ, **places}, stdout=log, stderr=log)
        try:
            wait_until_open(process, f"{address}/api?token={token}")
            yield address, token
        finally:
            process.terminate()  # it stops its kernels
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless() as chromium:
        yield chromium


@dataclass
class Tab:
    """A page, what it complains of, and whom it speaks to."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = self.page
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("websocket", lambda wire: self.requested.append(wire.url.replace("ws://", "http://")))

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_function("window.jupyterapp")
        self.page.evaluate("() => window.jupyterapp.restored")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
        self.page.wait_for_function(f"{kernel}?.status === 'idle'")
        self.complaints.clear()  # Notebook 7.6 stumbles over itself as it starts

    def start(self, command: str, terms: str = "{}") -> None:
        # In braces: its promise, which resolves when all cells have ended, must not be waited for here.
        self.page.evaluate(f"() => {{ window.jupyterapp.commands.execute('{command}', {terms}); }}")

    def wait_for_scheme(self, scheme: str) -> None:
        look = "getComputedStyle(document.querySelector('.livetrade-panel')).colorScheme"
        self.page.wait_for_function(f"{look} === '{scheme}'")


FRONT_ENDS = {"lab": "lab/tree/lab.ipynb?reset&", "notebook": "notebooks/notebook.ipynb?"}


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_panel_in_a_notebook(front_end: str, server: tuple[str, str], browser: Any, tmp_path: Path) -> None:
    """Its pictures are for a person to look at: they stay in pytest's folder for temporary files."""
    address, token = server
    tab = Tab(browser.new_page(viewport={"width": 1280, "height": 900}))
    try:
        tab.open(f"{address}/{FRONT_ENDS[front_end]}token={token}")
        watch_the_panel(tab)
        look_at_the_panel(tab, tmp_path)
        take_the_panel_away(tab)
    finally:
        tab.page.screenshot(path=tmp_path / "page.png")
        tab.page.close()
    assert [url for url in tab.requested if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert tab.complaints == []


def watch_the_panel(tab: Tab) -> None:
    page = tab.page
    page.evaluate(WATCH)
    tab.start("notebook:run-all-cells")
    page.wait_for_function("window.seen.length > 20", timeout=60_000)
    assert page.is_hidden(".livetrade-picture")
    assert page.text_content("[data-lt='working-orders']") == "1"
    halt_with_keys_alone(page)

    end = page.wait_for_selector(".jp-OutputArea-output:has-text('in the end')", timeout=60_000)
    page.wait_for_selector(".livetrade-panel[data-asleep='true']")
    total = page.text_content("[data-lt='total-pnl']")
    assert f"P&L {total} in the end" in end.text_content()
    assert page.text_content("[data-lt='mode']") == "PAPER"

    texts = page.evaluate("window.seen")
    assert all(re.fullmatch(r"tick \d{1,3}(,\d{3})*", text) for text in texts)
    ticks = [int(text.removeprefix("tick ").replace(",", "")) for text in texts]
    assert ticks == sorted(ticks)
    assert len(set(ticks)) > 10  # the panel moved while the second cell slept


def halt_with_keys_alone(page: Any) -> None:
    """The notebook's own keys stay out of it."""
    page.locator("[data-lt='halt']").focus()
    page.keyboard.press("b")  # anywhere else it adds a cell
    page.keyboard.press("Enter")
    page.wait_for_function(f"{FOCUSED} === 'confirm'")
    page.keyboard.press("Escape")
    page.wait_for_function(f"{FOCUSED} === 'halt'")
    page.keyboard.press("Enter")
    page.wait_for_function(f"{FOCUSED} === 'confirm'")
    page.keyboard.press("Enter")
    page.locator("[data-lt='halt']").get_by_text("Halt sent").wait_for()
    assert page.locator(".jp-CodeCell").count() == len(CELLS)


def take_the_panel_away(tab: Tab) -> None:
    """A still picture of the last numbers is left where the panel was."""
    total = tab.page.text_content("[data-lt='total-pnl']")
    tab.page.evaluate("document.querySelector('.livetrade-panel').remove()")
    picture = tab.page.wait_for_selector(".livetrade-picture")
    assert f"P&L {total}" in picture.inner_text().replace("+", "")
    assert "closed" in picture.inner_text()


def look_at_the_panel(tab: Tab, pictures: Path) -> None:
    """In the notebook's own themes, which count for more than the system's, and at two widths."""
    panel = tab.page.locator(".livetrade-panel")
    for theme in ("Dark", "Light"):
        tab.start("apputils:change-theme", f"{{theme: 'JupyterLab {theme}'}}")
        tab.wait_for_scheme(theme.lower())
        for width in (1280, 640):
            tab.page.set_viewport_size({"width": width, "height": 900})
            panel.screenshot(path=pictures / f"panel-{width}-{theme.lower()}.png")
