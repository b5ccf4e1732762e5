"""`enable_nested_asyncio()`: only on demand, and said loudly. Each case in an interpreter of its own."""

import subprocess
import sys

import pytest

ORIGINAL = "nest_asyncio2" if sys.version_info >= (3, 14) else "nest_asyncio"


def run(code: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done


TRADE = """
import asyncio, livetrade as lt
stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid=549, ask=550, last=550)
async def trade():
    with lt.LiveTradingEngine(500_000, stream) as engine:
        bought = await engine.market_buy("NSE:SBIN-EQ", 1)
        async with asyncio.timeout(10):
            sold = await engine.flatten()
        print(bought.success, sold.success)
"""


def test_patched_on_demand_with_a_warning_and_only_once() -> None:
    done = run(
        TRADE + "async def cell():\n"
        "    lt.enable_nested_asyncio(); lt.enable_nested_asyncio()\n"
        "    asyncio.run(trade())\n"
        "asyncio.run(cell())"
    )
    assert done.stdout.split() == ["True", "True"]
    assert done.stderr.count("asyncio is now patched for the whole process") == 1


def test_an_engine_works_under_a_patch_that_somebody_else_applied() -> None:
    done = run(f"import {ORIGINAL}\n{ORIGINAL}.apply()\n" + TRADE + "asyncio.run(trade())")
    assert done.stdout.split() == ["True", "True"]


def test_without_a_patch_nothing_is_patched() -> None:
    code = (
        TRADE + "before = asyncio.run, asyncio.Task\nasyncio.run(trade())\nprint(before == (asyncio.run, asyncio.Task))"
    )
    done = run(code)
    assert done.stdout.split() == ["True", "True", "True"]
    assert "patched" not in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the original patch breaks timeouts on 3.14 and newer")
def test_the_original_is_refused_where_it_breaks_timeouts() -> None:
    done = run(
        "import asyncio, livetrade as lt\nasyncio._nest_patched = True\n"
        "try:\n    lt.LiveTradingEngine(1)\nexcept lt.LiveTradeError as error:\n    print(error)"
    )
    assert "nest-asyncio2" in done.stdout
