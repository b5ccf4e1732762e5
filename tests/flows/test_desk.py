"""A notebook and its desk: stops fire while a cell holds the interpreter, and a killed kernel leaves all there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import livetrade as lt
from tests.flows.conftest import Kernel
from tests.support import SBIN, soon

pytestmark = pytest.mark.kernel

HOGS = {
    "sorted()": "floats.copy().sort()",
    "sum(range())": "sum(range(4 * 10**7))",
    "json.dumps()": "json.dumps(floats)",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lt.AttachedEngine]:
    """The desk of this module, attached to from here: from here prices come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIVETRADE_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        journal = tmp_path_factory.mktemp("desk") / "notebook.journal"
        engine = lt.start_desk(10_000_000, journal=journal, name="notebook")
        yield engine
        engine.flatten().result(30)
        engine.shutdown_desk(force=True)


@pytest.fixture
def no_engine_is_left() -> None:
    """Here one desk serves all tests."""


@pytest.fixture(scope="module")
def notebook(desk: lt.AttachedEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    kernel.run("import json, random, time\nimport livetrade as lt\nengine = lt.attach()\npanel = engine.panel()")
    kernel.run("floats = [random.random() for _ in range(2_000_000)]")
    yield kernel
    kernel.stop()


def test_a_cell_trades_on_the_desk(desk: lt.AttachedEngine, notebook: Kernel) -> None:
    desk.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
    cell = notebook.run(
        f'answer = await engine.market_buy("{SBIN}", 100, stop_loss_price="545.00", take_profit_price="560.00")\n'
        "print(answer.message)\n"
        "print(engine.position('NSE:SBIN-EQ').quantity, len(engine.orders()), len(engine.risk_orders()))\n"
        "print(engine)"
    )
    first, figures, shown = cell.stdout.splitlines()
    assert first == f"Bought 100 {SBIN} at 549.00"
    assert figures == "100 1 2"
    assert shown.startswith("<AttachedEngine notebook PAPER attached: ")
    assert desk.position(SBIN).quantity == 100
    desk.flatten().result(30)


@pytest.mark.parametrize("name", HOGS)
def test_a_stop_fires_while_the_cell_holds_the_interpreter(
    name: str, desk: lt.AttachedEngine, notebook: Kernel
) -> None:
    """One C call after the other, none of which lets another thread of the kernel run."""
    desk.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
    desk.now()  # a read waits for what its caller has posted; the kernel's order takes another way
    notebook.run(f'(await engine.market_buy("{SBIN}", 10, stop_loss_price="545.00")).raise_if_failed()')
    busy = f"end = time.monotonic() + 3\nprint('busy', flush=True)\nwhile time.monotonic() < end:\n    {HOGS[name]}"
    cell = notebook.send(f"{busy}\nended = time.time()")
    notebook.follow(cell, lambda cell: "busy" in cell.stdout)
    desk.stream.update(SBIN, bid="544.90", ask="545.00", last="544.90")
    soon(lambda: not desk.position(SBIN))
    fired = desk.fills().index[-1].timestamp()
    notebook.finish(cell)
    ended = float(notebook.run("print(ended)").stdout)
    assert fired < ended
    told = notebook.run("print(engine.position('NSE:SBIN-EQ').quantity, engine.risk_orders()['status'].iloc[-1])")
    assert told.stdout.split() == ["0", "FILLED"]


def test_a_killed_kernel_leaves_everything_there(desk: lt.AttachedEngine, fresh_kernel: Kernel) -> None:
    desk.stream.update(SBIN, bid="548.95", ask="549.00", last="549.00")
    fresh_kernel.run("import livetrade as lt\nengine = lt.attach()")
    fresh_kernel.run(f'(await engine.market_buy("{SBIN}", 7, stop_loss_price="540", client_order_id="kept"))')
    fresh_kernel.kill()
    desk.stream.update(SBIN, bid="539.90", ask="540.00", last="539.90")
    soon(lambda: not desk.position(SBIN))
    cell = fresh_kernel.run(
        "import livetrade as lt\nengine = lt.attach()\n"
        "print(engine.order('kept').status, engine.risk_orders()['status'].iloc[-1], len(engine.fills()))"
    )
    assert cell.stdout.split() == ["FILLED", "FILLED", str(len(desk.fills()))]
    again = fresh_kernel.run(
        f'print((await engine.market_buy("{SBIN}", 7, stop_loss_price="540", client_order_id="kept")).success)'
    )
    assert again.stdout == "True\n"
    assert not desk.position(SBIN)


def test_a_notebook_starts_a_desk_and_leaves_it(fresh_kernel: Kernel, tmp_path: Path) -> None:
    fresh_kernel.run("import livetrade as lt")
    journal = os.fspath(tmp_path / "left.journal")
    fresh_kernel.run(f'engine = lt.start_desk(100_000, feed="simulated", journal={journal!r}, name="left")')
    fresh_kernel.restart()
    left = lt.attach("left")
    assert left.cash == 100_000
    assert left.shutdown_desk() == "The desk ends"
