"""Pictures of an account, a symbol and a sweep: what they show, and that nothing at all is a picture too."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import livetrade as lt
from livetrade import plots, stats
from tests.support import SBIN, recording, trading


def drawn(figure: Any, path: Path) -> Any:
    """The figure, once it could be drawn."""
    figure.savefig(path / "picture.png")
    assert (path / "picture.png").stat().st_size > 1000
    assert figure._repr_png_().startswith(b"\x89PNG")
    return figure


def lines(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines}


def a_day(engine: Any) -> None:
    """A stop that is moved, a trailing stop that follows and is reached, and a target that ends with it."""
    engine.market_buy(SBIN, 100, stop_loss_price="540.00", take_profit_price="600.00").result()
    engine.set_stop_loss(SBIN, "545.00").result()
    engine.set_stop_loss(SBIN).result()
    engine.set_trailing_stop(SBIN, amount="5.00").result()
    for bid in (552, 555, 553, 549):
        engine.stream.update(SBIN, bid=bid, ask=bid + 1, last=bid)
    assert not engine.position(SBIN)


def test_equity_with_its_drawdown(tmp_path: Path) -> None:
    with trading(fees=lt.FlatFee(20)) as engine:
        a_day(engine)
        engine.transfer(100_000).result()
        figure = drawn(engine.plot(), tmp_path)
        upper, lower = figure.axes
        assert upper.get_title(loc="left") == "main · PAPER · open"
        assert upper.get_title(loc="right").startswith("P&L -40.00, deepest drawdown -")
        shown = lines(upper)
        assert shown["portfolio value"].get_ydata()[[0, -1]].tolist() == [500_000, 599_960]
        assert shown["money put in"].get_ydata()[[0, -1]].tolist() == [500_000, 600_000]
        deepest = min(lower.lines[0].get_ydata())
        assert deepest == pytest.approx(100 * engine.stats()["max_drawdown"])
    assert engine.plot(title="afterwards").axes[0].get_title(loc="left") == "afterwards"


def test_drawdown_knows_no_transfers() -> None:
    with trading() as engine:
        engine.transfer(-400_000).result()
        engine.market_buy(SBIN, 100).result()
        engine.stream.update(SBIN, bid=500, ask=501, last=500)
        engine.market_sell(SBIN, 100).result()
        fallen = stats.drawdown(engine.equity())
        assert fallen.index.equals(engine.equity().index)
        assert float(fallen.min()) == pytest.approx(-4900 / 100_000)


def test_a_price_with_its_fills_and_exits(tmp_path: Path) -> None:
    with trading() as engine:
        a_day(engine)
        figure = drawn(engine.plot(SBIN), tmp_path)
        upper, lower = figure.axes
        assert upper.get_title(loc="left") == f"{SBIN} · main · PAPER · open"
        shown = lines(upper)
        assert list(shown["price"].get_ydata()) == [549, 552, 555, 553, 549]
        nan = pytest.approx(float("nan"), nan_ok=True)
        assert list(shown["stop-loss"].get_ydata()) == [540, 540, nan, 545, 545, nan]
        assert list(shown["take-profit"].get_ydata()) == [600, 600, nan]
        assert list(shown["trailing stop"].get_ydata())[1:] == [547, 550, 550, nan]
        assert [[*dots.get_offsets()[:, 1]] for dots in upper.collections] == [[549], [549]]
        assert [text.get_text() for text in upper.get_legend().get_texts()][-2:] == ["bought", "sold"]
        assert list(lower.lines[0].get_ydata()) == [0, 100, 0, 0]


def test_nothing_is_a_picture_too(tmp_path: Path) -> None:
    with trading(stream=lt.LivePriceStream()) as engine:
        drawn(engine.plot(), tmp_path)
        figure = drawn(engine.plot(SBIN), tmp_path)
        assert figure.axes[0].get_title(loc="right") == "no prices and no fills yet"
        with pytest.raises(lt.OrderError):
            engine.plot("")


def test_dollars_are_no_formula(tmp_path: Path) -> None:
    words = "sold at $5 \\x $6"
    with trading() as engine:
        drawn(engine.plot(title=words), tmp_path)
    runs = pd.MultiIndex.from_product([[words, "b"], ["c", "d"]], names=["x $\\y$", "z"])
    drawn(lt.plot_sweep(pd.DataFrame({"total_pnl": [1.0, 2, 3, 4]}, runs)), tmp_path)
    drawn(lt.plot_sweep(pd.DataFrame({"total_pnl": [1.0, 2]}, pd.Index([words, "b"], name="x $\\y$"))), tmp_path)


def test_a_long_line_keeps_its_extremes() -> None:
    values = pd.Series(np.sin(np.arange(123_457)))
    values.iloc[[50_000, 60_001]] = 9.0, -9.0
    places = plots._thinned(values)
    assert len(places) <= plots.POINTS + 2
    assert {0, 50_000, 60_001, len(values) - 1} <= set(places.tolist())


# ── sweeps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def holds(engine: Any, symbol: str, quantity: int = 1, wait: int = 0, tag: Any = None) -> None:
    if quantity == 3 and wait == 2:
        raise ValueError("no")
    await engine.sleep(wait)
    await engine.market_buy(symbol, quantity)


def swept(**grid: Any) -> pd.DataFrame:
    ticks = recording([100.0, 98.0, 103.0, 104.0, 99.5, 99.0])
    return lt.sweep(holds, ticks, SBIN, grid=grid, workers=0, progress=False)


def test_a_heat_map_of_two_parameters(tmp_path: Path) -> None:
    table = swept(quantity=[1, 2, 3], wait=[0, 1, 2, 3])
    figure = drawn(lt.plot_sweep(table), tmp_path)
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown.filled(np.nan), table["total_pnl"].unstack().to_numpy())
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("wait", "quantity", "total_pnl")
    assert [text.get_text() for text in axes.texts].count("–") == 1  # the run that failed
    turned = lt.plot_sweep(table, x="quantity", value="fees", title="what it cost").axes[0]
    assert (turned.get_xlabel(), turned.get_ylabel()) == ("quantity", "wait")
    assert turned.get_title(loc="left") == "what it cost"


def test_more_or_fewer_parameters(tmp_path: Path) -> None:
    table = swept(quantity=[1, 2], wait=[0, 1], tag=["a", "b"])
    figure = drawn(lt.plot_sweep(table, x="wait", y="quantity"), tmp_path)
    assert figure.axes[0].get_title(loc="left") == "total_pnl, the mean over tag"
    drawn(lt.plot_sweep(swept(quantity=[1, 2, 5])), tmp_path)
    drawn(lt.plot_sweep(swept(tag=["a", "b"])), tmp_path)
    drawn(lt.plot_sweep(swept(quantity=[3], wait=[2])), tmp_path)


@pytest.mark.parametrize("values", [[None, 2, 1], [None, "b"], [True, False]])
def test_whatever_stands_in_a_grid_is_shown_as_it_was_named(values: list[Any], tmp_path: Path) -> None:
    """None is a value like others: without a stop."""
    wanted = [str(float(value)) if values == [None, 2, 1] and value else str(value) for value in values]
    axes = drawn(lt.plot_sweep(swept(quantity=[1, 2], tag=values)), tmp_path).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == wanted
    alone = drawn(lt.plot_sweep(swept(tag=values)), tmp_path).axes[0]
    assert len(alone.lines[0].get_xdata()) == len(values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": "slow"}, "the parameters of this sweep are quantity, wait, not slow"),
        ({"x": "wait", "y": "wait"}, "x and y are both wait"),
        ({"value": "error"}, "value must be one of orders, fills"),
        ({"value": "profit"}, "not 'profit'"),
    ],
)
def test_what_is_not_there_is_named(wrong: dict[str, str], message: str) -> None:
    table = swept(quantity=[1, 2], wait=[0, 1])
    with pytest.raises(lt.OrderError, match=message):
        lt.plot_sweep(table, **wrong)  # type: ignore[arg-type]
    with pytest.raises(lt.OrderError, match="the table has no rows"):
        lt.plot_sweep(table.head(0))
    with pytest.raises(lt.OrderError, match="plot_sweep takes the DataFrame that sweep gave, not int"):
        lt.plot_sweep(42)  # type: ignore[arg-type]


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    table = swept(quantity=[1, 2])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with trading() as engine:
        for plot in (engine.plot, lambda: engine.plot(SBIN), lambda: lt.plot_sweep(table)):
            with pytest.raises(ImportError, match=r'a plot needs matplotlib: pip install "livetrade\[lab\]"'):
                plot()
