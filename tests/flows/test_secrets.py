"""A planted token in a saved notebook: its widgets, its tables, and tracebacks that show every variable."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from livetrade.testing import FyersServer
from tests.support import SBIN

pytestmark = pytest.mark.kernel

BEFORE = [
    "%xmode Verbose",
    "import json, os, pickle, livetrade as lt",
    "urls = json.loads(os.environ['PLACES'])",
    f"feed = lt.FyersFeed('{SBIN}', **urls['feed'])",
    "broker = lt.FyersBroker(confirm='LIVE', **urls['broker'])",
    "engine = lt.LiveTradingEngine(feed=feed, broker=broker, journal='secret.journal')",
    "while engine.health()['feed'] != 'LIVE' or not broker.connections: await engine.sleep(0.01)",
    "panel = engine.panel(); panel",
    f"engine.market_buy('{SBIN}', 5, stop_loss_price='545.00').result(10)",
    "display(engine, feed, broker, vars(feed), vars(broker), vars(broker._session), vars(broker._api))",
    "display(engine.orders(), engine.fills(), engine.risk_orders(), engine.positions(), engine.health())",
    f"display(engine.broker_orders(), engine.reconcile(), engine.stream.quotes(), engine.preview('BUY', '{SBIN}', 1))",
    "panel.get_state()",
    "engine.export('all.csv'); engine.why(engine.orders().index[0])",
]
AFTER = [
    "engine.broker_orders()",
    "engine.reconcile()",
    f"engine.market_buy('{SBIN}', 1).result(10).raise_if_failed()",
    "broker.opening_cash()",
    f"lt.quotes(['{SBIN}'], data_url=urls['feed']['data_url'])",
    "pickle.dumps(broker)",
    "pickle.dumps(feed)",
]
"""Once the token is not taken any more: each of them fails."""


def test_a_saved_notebook_of_real_orders_holds_no_token(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in BEFORE + AFTER]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with FyersServer() as server:
        environment = {
            **os.environ,
            "IPYTHONDIR": os.fspath(tmp_path / "ipython"),
            "FYERS_AUTH_TOKEN": server.token,
            "PLACES": json.dumps({"feed": server.urls, "broker": server.broker_urls}),
        }
        where = {"metadata": {"path": os.fspath(tmp_path)}}
        client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where, allow_errors=True)
        with client.setup_kernel(env=environment):
            for number, cell in enumerate(cells):
                if number == len(BEFORE):
                    assert not _tracebacks(notebook), _tracebacks(notebook)
                    server.fail("expired")
                client.execute_cell(cell, number)
            client.set_widgets_metadata()
        secrets = [server._keys.hsm_key, *server._keys.jwt.split(".")[1:]]
    assert len(_tracebacks(notebook)) == len(AFTER)
    saved = nbformat.writes(notebook)
    assert "snap" in saved, "the panel was saved too"
    assert "<FyersBroker REAL" in "".join(_tracebacks(notebook)), "and the variables of tracebacks"
    left_behind = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".csv", ".journal"} <= {path.suffix for path in left_behind}
    for text in (saved, *(path.read_bytes().decode("latin-1") for path in left_behind)):
        assert not [part for secret in secrets for part in _parts(secret) if part in text]


def _tracebacks(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    return ["\n".join(output.traceback) for output in outputs if output.output_type == "error"]


def _parts(secret: str, length: int = 16) -> list[str]:
    """A part of it tells too."""
    return [secret[start : start + length] for start in range(len(secret) - length + 1)]
