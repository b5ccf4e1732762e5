"""How figures are written."""

from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text


def quantity(value: Any) -> str:
    return f"{value:,.8f}".rstrip("0").rstrip(".")


def price(value: Any) -> str:
    return "-" if value is None or isnan(value) else f"{value:,.2f}"


def money(value: Any) -> str:
    return f"{value:,.2f}"


def percent(value: Any) -> str:
    return f"{value:,.4f} %"


def clock(value: Any) -> str:
    return f"{value:%H:%M:%S}"


def signed(value: Any, unit: str = "") -> "Text":
    """A gain in green, a loss in red; the sign tells it without colors too."""
    from rich.text import Text

    if not value:
        return Text(f"0.00{unit}")
    return Text(f"{value:+,.2f}{unit}", "green" if value > 0 else "red")


def gain(value: Any) -> "Text | str":
    return signed(value) if value else "-"
