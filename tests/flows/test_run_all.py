"""A notebook whose cells are all run, again and again, in one kernel and in the next: it trades once."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

CELLS = (
    "import livetrade as lt\nengine = lt.LiveTradingEngine(500_000, journal={path!r})",
    "engine.stream.update('NSE:SBIN-EQ', bid='548.95', ask='549.00', last='549.00')",
    "entry = await engine.market_buy('NSE:SBIN-EQ', 10, stop_loss_price='540.00', client_order_id='entry')",
    "heard = []\n@engine.on_fill\ndef hear(fill): heard.append(fill)",
    "async def holds(engine, symbol):\n"
    "    if not engine.position(symbol):\n"
    "        await engine.market_buy(symbol, 5)\n"
    "    ready.set()\n"
    "    await engine.sleep(3600)\n"
    "import threading\n"
    "ready = threading.Event()\n"
    "task = engine.start(holds, 'NSE:SBIN-EQ')\n"
    "ready.wait(30)",
    "import json\n"
    "books = engine.positions(by='strategy')[['strategy', 'quantity', 'stop_loss_price']].fillna(0)\n"
    "print(json.dumps([entry.message, str(task.state), len(engine.orders()), books.to_numpy().tolist()]))",
)


def run_all(kernel: Any, path: Path) -> Any:
    *_, last = [kernel.run(cell.format(path=str(path))) for cell in CELLS]
    return json.loads(last.stdout)


def test_it_trades_once_however_often_it_is_run(fresh_kernel: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    first = run_all(fresh_kernel, path)
    assert first == ["Bought 10 NSE:SBIN-EQ at 549.00", "RUNNING", 2, [["manual", 10.0, 540.0], ["holds", 5.0, 0.0]]]
    assert run_all(fresh_kernel, path) == first
    fresh_kernel.restart()
    assert run_all(fresh_kernel, path) == first
    fresh_kernel.kill()
    assert run_all(fresh_kernel, path) == first
