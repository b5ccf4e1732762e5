"""The open engines of this process, by name: one of each name, all closed at exit, none alive in a forked child."""

import atexit
import contextlib
import os
import sys
from threading import Lock
from typing import Protocol


class Registered(Protocol):
    @property
    def registered_as(self) -> str:
        """Its name here."""

    def close(self) -> None:
        """Ends the engine; it calls `forget` itself."""

    def abandon(self) -> None:
        """In a forked child: its thread stayed behind in the parent."""


_engines: dict[str, Registered] = {}
_lock = Lock()


def engines() -> dict[str, Registered]:
    """The open engines by name."""
    with _lock:
        return dict(_engines)


def close_namesake(name: str, successor: Registered | None = None) -> bool:
    """A second engine of a name closes the first, and takes its place once it runs. Whether there was one."""
    with _lock:
        before = _engines.get(name)
        if successor is not None:
            _engines[name] = successor
    if before is not None:
        before.close()
    return before is not None


def forget(engine: Registered) -> None:
    with _lock:
        if _engines.get(engine.registered_as) is engine:
            del _engines[engine.registered_as]


@atexit.register
def _close_all() -> None:
    for engine in list(_engines.values()):
        with contextlib.suppress(Warning):  # one that is an error must not keep the next engine open
            engine.close()


def _forked() -> None:
    for engine in _engines.values():
        engine.abandon()
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def levels_outside() -> int:
    """How far up from the caller the first frame outside livetrade stands: a warning belongs to the line behind it."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "livetrade":
        frame, level = frame.f_back, level + 1
    return level
