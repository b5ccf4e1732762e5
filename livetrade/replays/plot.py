"""The picture of a replay: equity above, fills below, by matplotlib."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from livetrade.reads import Reads

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

POINTS = 5_000
"""More points of the equity curve than a screen has: of a longer one every n-th is drawn, and the last."""
SIDES = {"BUY": ("^", "tab:green"), "SELL": ("v", "tab:red")}


def plotted(account: Reads, title: str) -> "Figure":
    equity, fills = account.equity(), account.fills()
    figure = _figure()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    upper.set_title(title)
    upper.set_ylabel("portfolio value")
    upper.grid(alpha=0.3)
    value = _thinned(equity["portfolio_value"])
    upper.plot(value.index, value, drawstyle="steps-post", linewidth=1)
    _fills(lower, fills)
    return figure


def _figure() -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot() needs matplotlib: pip install 'livetrade[lab]'") from None

    class Picture(Figure):
        """A figure that a notebook shows by itself, whether pyplot was loaded or not."""

        def _repr_png_(self) -> bytes:
            image = BytesIO()
            self.savefig(image, format="png", dpi=80)
            return image.getvalue()

    return Picture(figsize=(10, 6), layout="constrained")


def _thinned(values: "pd.Series[float]") -> "pd.Series[float]":
    import pandas as pd

    step = max(1, len(values) // POINTS)
    return values if step == 1 else pd.concat([values.iloc[::step], values.iloc[-1:]])


def _fills(axes: Any, fills: "pd.DataFrame") -> None:
    """Prices of one symbol; with several, of which level differs, each fill's realized P&L added up."""
    axes.grid(alpha=0.3)
    if fills["symbol"].nunique() > 1:
        axes.set_ylabel("realized P&L, added up")
        height = fills["realized_pnl"].cumsum()
    else:
        axes.set_ylabel(" ".join(["fills", *fills["symbol"].unique()]))
        height = fills["price"]
    for side, (marker, colour) in SIDES.items():
        mine = fills["side"] == side
        axes.scatter(fills.index[mine], height[mine], marker=marker, color=colour, label=side.lower(), s=24)
    if len(fills):
        axes.legend(loc="best", fontsize="small")
