"""The panel in JupyterLab, in a real browser that can reach nothing but this test."""

import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser import require_browser

pytestmark = pytest.mark.browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PLACES = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
LAB_PLACES = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
OPTIONS = [
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--expose-app-in-browser",
    "--ServerApp.port_retries=0",
    "--ServerApp.terminals_enabled=False",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
]

CELLS = [
    "import time\n"
    "import livetrade as lt\n"
    "engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed('NSE:SBIN-EQ', seed=7, ticks_per_second=300))\n"
    "await anext(engine.stream.ticks())\n"
    "answer = (await engine.market_buy('NSE:SBIN-EQ', 100, stop_loss_pct=20)).raise_if_failed()\n"
    "engine.panel()",
    "time.sleep(4)",
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until_open(lab: "subprocess.Popen[bytes]", address: str) -> None:
    for _ in range(300):
        try:
            urlopen(address).close()
            return
        except URLError:
            pass
        try:
            lab.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail("JupyterLab did not start")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A JupyterLab of its own, with a notebook of the cells: its address and its token."""
    notebook = new_notebook(cells=[new_code_cell(source, id=f"lab-{n}") for n, source in enumerate(CELLS, 1)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    work = tmp_path / "work"
    work.mkdir()
    nbformat.write(notebook, work / "live.ipynb")

    token = secrets.token_hex()
    address = f"http://127.0.0.1:{(port := free_port())}"
    places = {name: os.fspath(tmp_path / name.lower()) for name in (*PLACES, *LAB_PLACES)}
    own = [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={work}"]
    with (tmp_path / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *OPTIONS, *own]
        server = subprocess.Popen(command, env={**os.environ, **places}, stdout=log, stderr=log)
        try:
            wait_until_open(server, f"{address}/api?token={token}")
            yield address, token
        finally:
            server.terminate()  # it stops its kernels
            server.wait(timeout=30)


def test_the_panel_in_jupyterlab(lab: tuple[str, str], tmp_path: Path) -> None:
    path = require_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        page = chromium.new_page()
        try:
            watch_the_panel(page, *lab)
        finally:
            page.screenshot(path=tmp_path / "page.png")
            chromium.close()


def watch_the_panel(page: Any, address: str, token: str) -> None:
    complaints: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.on("websocket", lambda wire: requested.append(wire.url.replace("ws://", "http://")))

    page.goto(f"{address}/lab/tree/live.ipynb?reset&token={token}")
    page.wait_for_function("window.jupyterapp")
    page.evaluate("() => window.jupyterapp.restored")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    page.wait_for_function("window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'")
    page.evaluate(WATCH)
    # In braces: its promise, which resolves when all cells have ended, must not be waited for here.
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

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

    assert [url for url in requested if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert complaints == []
