"""Pictures of DataFrames, by matplotlib: an equity curve, prices with fills and exits, a sweep.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), told apart by colour-blind readers too; what
they say is said by shape and dashes as well.
"""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from math import nan
from typing import TYPE_CHECKING, Any

from livetrade.columns import needs
from livetrade.core.kinds import ExitKind
from livetrade.core.records import record
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#555555"
POINTS = 5_000
"""More points than a screen has: of a longer line the lowest and the highest of each stretch are drawn."""
MOST_CELLS = 150
"""A heat map of more cells has no figures written into them."""
SIDES = {"BUY": ("^", BLUE, "bought"), "SELL": ("v", ORANGE, "sold")}
EXITS: dict[ExitKind, tuple[str, str, str]] = {
    ExitKind.STOP_LOSS: (ORANGE, "--", "stop-loss"),
    ExitKind.TRAILING_STOP: (PURPLE, "-.", "trailing stop"),
    ExitKind.TAKE_PROFIT: (GREEN, ":", "take-profit"),
}


@record
class Watched:
    """An exit's prices, from when each held, with its end last. fired: it was reached there."""

    kind: ExitKind
    times: tuple[datetime, ...]
    prices: tuple[float, ...]
    fired: bool


# ── an account ───────────────────────────────────────────────────────────────────────────────────────────────────────


def equity(curve: "pd.DataFrame", drawdown: "pd.Series[float]", title: str) -> "Figure":
    """The portfolio's value beside the money put in, and how far it stood below its highest point.

    curve: as `equity()` gives it; drawdown: a fraction for each of its rows (`livetrade.stats.drawdown`).
    """
    figure = _figure()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    places = _thinned(curve["portfolio_value"])
    pnl = (curve["realized_pnl"] + curve["unrealized_pnl"] - curve["fees"]).iloc[places]
    shown = curve["portfolio_value"].iloc[places]
    put_in = shown - pnl
    _head(upper, title, f"P&L {pnl.iloc[-1]:+z,.2f}, deepest drawdown {100 * drawdown.min():.2f} %" if len(pnl) else "")
    upper.plot(shown.index, put_in, color=GREY, linewidth=0.8, linestyle="--", label="money put in", drawstyle=_STEPS)
    upper.plot(shown.index, shown, color=BLUE, linewidth=1.4, label="portfolio value", drawstyle=_STEPS)
    for where, colour in ((shown >= put_in, BLUE), (shown <= put_in, ORANGE)):
        upper.fill_between(shown.index, shown, put_in, where=where, color=colour, alpha=0.15, linewidth=0, step="post")
    _in_thousands(upper)
    upper.set_ylabel("portfolio value")
    _legend(upper)
    fallen = 100 * drawdown.iloc[_thinned(drawdown)]
    lower.fill_between(fallen.index, fallen, 0, color=ORANGE, alpha=0.3, linewidth=0, step="post")
    lower.plot(fallen.index, fallen, color=ORANGE, linewidth=0.8, drawstyle=_STEPS)
    lower.set_ylabel("drawdown %")
    if not (fallen < 0).any():
        lower.set_ylim(-1, 0.05)
    _dated(lower, curve.index)
    return figure


def price(ticks: "pd.DataFrame", fills: "pd.DataFrame", exits: Sequence[Watched], title: str) -> "Figure":
    """The price of one symbol with each fill, the levels that its exits watched, and the position below.

    ticks, fills: as `ticks(symbol)` and `fills(symbol=symbol)` give them.
    """
    figure = _figure()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _head(upper, title, "" if len(ticks) or len(fills) else "no prices and no fills yet")
    known = ticks["last"].fillna((ticks["bid"] + ticks["ask"]) / 2).dropna()
    line = known.iloc[_thinned(known)]
    if len(line):
        upper.plot(line.index, line, color=GREY, linewidth=0.9, label="price", drawstyle=_STEPS)
    _levels(upper, exits)
    _fills(upper, fills)
    _in_thousands(upper)
    upper.set_ylabel("price")
    _legend(upper)
    times = line.index.union(fills.index)
    _position(lower, times, fills)
    _dated(lower, times)
    return figure


def _position(axes: Any, times: "pd.Index[Any]", fills: "pd.DataFrame") -> None:
    """What was held, from the first time to the last."""
    import pandas as pd

    signed = fills["quantity"].where(fills["side"] == "BUY", -fills["quantity"])
    ends = pd.Series(0.0, times[[0, -1]] if len(times) else times)
    held = pd.concat([ends[:1], signed, ends[1:]]).cumsum()
    if len(held):
        axes.fill_between(held.index, held, 0, color=BLUE, alpha=0.3, linewidth=0, step="post")
        axes.plot(held.index, held, color=BLUE, linewidth=0.8, drawstyle=_STEPS)
    axes.set_ylabel("position")
    _in_thousands(axes)


def _levels(axes: Any, exits: Sequence[Watched]) -> None:
    """One line for each kind of exit, with a gap between one exit and the next."""
    for kind, (colour, dashes, name) in EXITS.items():
        mine = [watched for watched in exits if watched.kind is kind]
        times = [time for watched in mine for time in (*watched.times, watched.times[-1])]
        prices = [price for watched in mine for price in (*watched.prices, nan)]
        if mine:
            axes.plot(times, prices, label=name, color=colour, linestyle=dashes, linewidth=1.3, drawstyle=_STEPS)
        fired = [(watched.times[-1], watched.prices[-1]) for watched in mine if watched.fired]
        if fired:
            axes.plot(*zip(*fired, strict=True), color=colour, marker="x", markersize=8, linestyle="none")


def _fills(axes: Any, fills: "pd.DataFrame") -> None:
    for side, (marker, colour, name) in SIDES.items():
        mine = fills["side"] == side
        if mine.any():
            dots = fills.index[mine], fills["price"][mine]
            axes.scatter(
                *dots, marker=marker, color=colour, edgecolor="white", linewidth=0.7, s=70, zorder=3, label=name
            )


# ── a sweep ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def plot_sweep(
    table: "pd.DataFrame",
    x: str | None = None,
    y: str | None = None,
    value: str = "total_pnl",
    *,
    title: str | None = None,
) -> "Figure":
    """The heat map of a sweep: one figure of it over two of its parameters; of one parameter alone, a line.

    table: what `sweep` gave. x, y: the parameters; the last and the first of its index unless named. value: one of its
    columns. Over further parameters the mean is shown. Runs that failed are left empty. Needs matplotlib: raises
    `ImportError` without it, `OrderError` for a parameter or a column that the table does not have.
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise OrderError(f"plot_sweep takes the DataFrame that sweep gave, not {type(table).__name__}")
    if table.empty:
        raise OrderError("plot_sweep: the table has no rows")
    names = [str(name) for name in table.index.names]
    across, down = _chosen(names, x, y)
    if value not in table.columns or table[value].dtype.kind not in "fi":
        columns = [str(name) for name in table.columns if table[name].dtype.kind in "fi"]
        raise OrderError(f"plot_sweep: value must be one of {', '.join(columns)}, not {value!r}")
    rest = [name for name in names if name not in (across, down)]
    heading = title or value + (f", the mean over {', '.join(rest)}" if rest else "")
    if down is None:
        return _line(table[value], across, value, heading)
    return _heat_map(_cells(table, across, down, value), value, heading)


def _cells(table: "pd.DataFrame", across: str, down: str, value: str) -> "pd.DataFrame":
    """The figures by two parameters, in the order in which the grid named their values."""
    import pandas as pd

    labels = {name: _labels(table.index.get_level_values(name)) for name in (down, across)}
    cells = pd.DataFrame({**labels, value: table[value].to_numpy()}).groupby([down, across])[value].mean()
    rows, columns = (list(dict.fromkeys(labels[name])) for name in (down, across))
    return cells.unstack(across).reindex(index=rows, columns=columns)


def _labels(values: Any) -> list[str]:
    told = ("None" if value is None or value != value else str(value) for value in values)  # noqa: PLR0124  a NaN
    return [_words(text) for text in told]


def _chosen(names: Sequence[str], x: str | None, y: str | None) -> tuple[str, str | None]:
    """What goes across and what down."""
    for name in (x, y):
        if name is not None and name not in names:
            raise OrderError(f"plot_sweep: the parameters of this sweep are {', '.join(names)}, not {name}")
    if len(names) == 1:
        return names[0], None
    across = x or next(name for name in reversed(names) if name != y)
    down = y or next(name for name in names if name != across)
    if across == down:
        raise OrderError(f"plot_sweep: x and y are both {across}")
    return across, down


def _line(values: "pd.Series[float]", name: str, value: str, title: str) -> "Figure":
    figure = _figure()
    axes = figure.subplots()
    _head(axes, title)
    if values.index.dtype.kind in "fi" and not values.index.hasnans:
        axes.plot(values.index, values, color=BLUE, marker="o", linewidth=1.2)
    else:
        axes.plot(range(len(values)), values, color=BLUE, marker="o", linestyle="none")
        axes.set_xticks(range(len(values)), _labels(values.index))
    if values.min() < 0:
        axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel(_words(name))
    axes.set_ylabel(value)
    _in_thousands(axes)
    _plain(axes)
    return figure


def _heat_map(cells: "pd.DataFrame", value: str, title: str) -> "Figure":
    from matplotlib.colors import Normalize

    figure = _figure()
    axes = figure.subplots()
    _head(axes, title)
    numbers = cells.to_numpy(dtype=float)
    low, high = _ends(numbers)
    if low < 0 < high or value.startswith(("total_pnl", "sharpe")):
        colours, reach = "RdBu", max(abs(low), abs(high)) or 1.0
        norm = Normalize(-reach, reach)
    else:
        colours, norm = "cividis", Normalize(low, high if high > low else low + 1)
    axes.set_facecolor("#DDDDDD")
    image = axes.imshow(numbers, cmap=colours, norm=norm, aspect="auto", origin="lower")
    axes.set_xticks(range(cells.shape[1]), cells.columns)
    axes.set_yticks(range(cells.shape[0]), cells.index)
    axes.set_xlabel(_words(str(cells.columns.name)))
    axes.set_ylabel(_words(str(cells.index.name)))
    axes.spines[:].set_visible(False)
    axes.set_xticks([place - 0.5 for place in range(1, cells.shape[1])], minor=True)
    axes.set_yticks([place - 0.5 for place in range(1, cells.shape[0])], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, label=value)
    bar.outline.set_visible(False)
    if numbers.size <= MOST_CELLS:
        _write(axes, numbers, image)
    return figure


def _ends(numbers: "np.ndarray[Any, Any]") -> tuple[float, float]:
    import numpy as np

    known = numbers[np.isfinite(numbers)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _write(axes: Any, numbers: "np.ndarray[Any, Any]", image: Any) -> None:
    """Each figure into its cell, in what stands out from its colour."""
    import numpy as np

    digits = 0 if np.nanmax(np.abs(numbers), initial=0) >= 1000 else 2
    for (row, column), number in np.ndenumerate(numbers):
        known = bool(np.isfinite(number))
        red, green, blue, _ = image.cmap(image.norm(number)) if known else (1, 1, 1, 1)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        text = f"{number:,.{digits}f}" if known else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize="small", color="white" if dark else "black")


# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────────

_STEPS: Any = "steps-post"


def _figure() -> "Figure":
    needs("matplotlib", "a plot", "lab")
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook shows by itself, whether pyplot was loaded or not."""

        def _repr_png_(self) -> bytes:
            image = BytesIO()
            self.savefig(image, format="png", dpi=80)
            return image.getvalue()

    return Picture(figsize=(10, 5.5), layout="constrained")


def _head(axes: Any, title: str, told: str = "") -> None:
    axes.set_title(_words(title), loc="left", fontweight="bold")
    axes.set_title(told, loc="right", fontsize="small", color=GREY)


def _words(text: str) -> str:
    """Between two dollars matplotlib sees a formula, and may not understand it."""
    return text.replace("$", r"\$")


def _in_thousands(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.10g}"))


def _dated(axes: Any, times: Any) -> None:
    """Times as the account's zone tells them, and no more of them than needed; the look of both parts."""
    import pandas as pd
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for each in axes.figure.axes:
        _plain(each)
    if len(times):
        if times[0] == times[-1]:
            around = pd.Timedelta(seconds=30)
            axes.set_xlim(times[0] - around, times[0] + around)
        locator = AutoDateLocator(tz=times.tz)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=times.tz))  # type: ignore[no-untyped-call]
    else:
        axes.set_xticks([])


def _plain(axes: Any) -> None:
    axes.margins(x=0.02)
    axes.grid(axis="y", alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Any) -> None:
    """Each name once, however many lines bear it."""
    lines, names = axes.get_legend_handles_labels()
    known = dict(zip(names, lines, strict=True))
    if known:
        axes.legend(known.values(), known.keys(), loc="best", fontsize="small", frameon=False)


def _thinned(values: "pd.Series[float]") -> "np.ndarray[Any, Any]":
    """The places of the points to draw: all of them, or the lowest and the highest of each stretch, with both ends."""
    import numpy as np

    count = len(values)
    if count <= POINTS:
        return np.arange(count)
    size = -(-count // (POINTS // 2))
    numbers = values.to_numpy(dtype=float)
    whole = count // size * size
    stretches = numbers[:whole].reshape(-1, size)
    starts = np.arange(0, whole, size)
    return np.unique(np.concatenate([[0], starts + stretches.argmin(1), starts + stretches.argmax(1), [count - 1]]))
