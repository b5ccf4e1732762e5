"""What an engine asks of a journal, and the one that keeps events as long as the process lives."""

from collections.abc import Callable, Generator, Iterator, Sequence

from livetrade.core.events import Event
from livetrade.core.numbers import counted
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.journal.rows import Step, events_in, packed_steps

Job = Callable[[], None]

BATCH = 500
"""How many events a batch of a journal in memory holds."""


class Journal:
    """Keeps the events of one account. An engine opens it, folds its past, starts it, and closes it."""

    saved = False
    """True where events outlive the process."""
    keeps_ticks = False
    """True where it wants `record` to be called."""

    @property
    def exists(self) -> bool:
        """True where something was kept before."""
        return False

    notes: Sequence[str] = ()
    """What a person should know of how it was found."""

    def open(self) -> None:
        """Takes the journal for one engine alone, and checks it. Raises `JournalError` where it is in use or
        damaged."""

    def restore(self, state: State) -> int:
        """Folds all that happened into a new state; gives back the time of the last of it, 0 for a new journal."""
        raise NotImplementedError

    def start(self, post: Callable[[Job], None], failed: Job) -> None:
        """Writing begins. `post` runs a job on the engine's thread; `failed` is posted when writing fails."""

    def append(self, events: Sequence[Event], durable: Job) -> None:
        """Takes the events of one step, in order, and has `durable` called on the engine's thread once they are
        safe."""
        raise NotImplementedError

    def batches(self, after: int) -> Generator[bytes, None, None]:
        """What is safe and follows the event of that number, as batches of `journal.rows`; the first of them may begin
        earlier. From any thread."""
        raise NotImplementedError

    def past(self) -> Iterator[Event]:
        """All that is safe, from the first on. From any thread."""
        return events_in(self.batches(0))

    def record(self, quotes: list[Tick]) -> None:
        """Takes the ticks since the last call. They are written before the events that are appended after them."""

    def fault(self) -> str:
        """Why nothing can be written now; empty while all is well. Cheap, and without any waiting."""
        return ""

    def close(self, seconds: float) -> bool:
        """Writes what waits, for `seconds` at the most, and lets go; True when nothing was left."""
        return True

    def abandon(self) -> None:
        """In a forked child: the journal stays with the parent."""


class MemoryJournal(Journal):
    """Events of this process, in order, in `.events`. Nothing is saved: what is not exported ends with the process.

    Given to another engine later, it is that engine's past.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def exists(self) -> bool:
        return bool(self.events)

    def restore(self, state: State) -> int:
        for event in self.events:
            state.apply(event)
        return max([event.ts for event in self.events], default=0)

    def append(self, events: Sequence[Event], durable: Job) -> None:
        self.events += events
        durable()

    def past(self) -> Iterator[Event]:
        return iter(self.events[:])

    def batches(self, after: int) -> Generator[bytes, None, None]:
        for start in range(after, len(self.events), BATCH):
            yield packed_steps([Step(0, self.events[start : start + BATCH])], start + 1)

    def __repr__(self) -> str:
        return f"MemoryJournal({counted(len(self.events), 'event')}, not saved)"
