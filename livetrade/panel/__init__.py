"""The live profit-and-loss panel: one front end, in a notebook and on a web page.

`JS` and `CSS` are the front end's two files; a server can hand them out without loading the widget libraries,
which is why the names of `panel.py` are imported only when they are first asked for.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livetrade.panel.panel import Panel, PanelSource, SnapshotPump

JS = Path(__file__).with_name("panel.js")
CSS = Path(__file__).with_name("panel.css")

__all__ = ["CSS", "JS", "Panel", "PanelSource", "SnapshotPump"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("livetrade.panel.panel"), name)
