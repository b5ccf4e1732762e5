"""`enable_nested_asyncio()`: for scripts that call `asyncio.run` inside a kernel. Nothing in livetrade needs it."""

import asyncio
import sys
import warnings
from importlib import import_module

from livetrade.errors import LiveTradeError

_WARNING = (
    "asyncio is now patched for the whole process, and that cannot be undone: nested calls finish last in, first out, "
    "and other callbacks run inside your synchronous code. `await` and `.result()` work in a notebook without it."
)


def enable_nested_asyncio() -> None:
    """Lets `asyncio.run` and `run_until_complete` be called while a loop runs, as old scripts in a notebook do.

    Applies `nest_asyncio2` where it is installed, else `nest_asyncio`; does nothing when asyncio is patched already.
    Warns, because the patch is process-wide. Raises `LiveTradeError` on Python 3.14 and newer with only the original
    `nest_asyncio` (it makes timeouts never fire), and where the running loop cannot be patched (uvloop).
    """
    refuse_broken_patch()
    if hasattr(asyncio, "_nest_patched"):
        return
    module = None
    for name in ("nest_asyncio2", "nest_asyncio"):
        try:
            module = import_module(name)
            break
        except ImportError:
            continue
    if module is None:
        raise LiveTradeError("neither nest_asyncio2 nor nest_asyncio is installed: pip install nest-asyncio2")
    if module.__name__ == "nest_asyncio" and sys.version_info >= (3, 14):
        raise LiveTradeError(
            "nest_asyncio makes asyncio timeouts never fire on Python 3.14: pip install nest-asyncio2, "
            "or use `await` and `.result()`, which need no patch"
        )
    try:
        module.apply()
    except ValueError as error:
        raise LiveTradeError(
            f"this event loop cannot be patched ({error}); use `await` and `.result()` instead"
        ) from None
    warnings.warn(_WARNING, stacklevel=2)


def refuse_broken_patch() -> None:
    """Raises `LiveTradeError` where somebody applied the original nest_asyncio on Python 3.14 or newer."""
    patched = hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2")
    if patched and sys.version_info >= (3, 14):
        raise LiveTradeError(
            "nest_asyncio is applied in this process; on Python 3.14 it makes timeouts never fire, also on the "
            "engine's own loop. Restart and use nest-asyncio2, or `await` and `.result()` without any patch"
        )
