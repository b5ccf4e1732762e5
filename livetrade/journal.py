"""Where events are kept. `append` takes a step's events and says when they are durable.

`MemoryJournal` keeps them as long as the process lives, and is durable at once.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from livetrade.core.events import Event


class Journal(Protocol):
    saved: bool
    """True where events outlive the process."""

    def append(self, events: Sequence[Event], durable: Callable[[], None]) -> None:
        """Takes the events of one step, in order, and calls `durable` once they are safe."""


class MemoryJournal:
    """Events of this process, in order, in `.events`. Nothing is saved: what is not exported ends with the process."""

    saved = False

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, events: Sequence[Event], durable: Callable[[], None]) -> None:
        self.events += events
        durable()

    def __repr__(self) -> str:
        return f"MemoryJournal({len(self.events):,} events, not saved)"
