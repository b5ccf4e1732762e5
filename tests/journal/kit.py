"""Journals for tests: random sessions as an engine would hand them over, written row by row, and read back whole."""

import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.fees import PercentFee
from livetrade.core.limits import Limits
from livetrade.core.state import State
from livetrade.core.ticks import Tick
from livetrade.journal.chain import START, Head
from livetrade.journal.file import FileJournal
from livetrade.journal.store import Store
from livetrade.journal.writer import Writer
from tests.core.kit import Desk
from tests.core.test_account_random import Session

Item = list[Tick] | list[ev.Event]
"""What an engine hands over: ticks, or the events of one step."""
SIDE_FILES = ("", "-wal", ".head")


class RecordedDesk(Desk):
    """Hands over ticks and steps in the order in which an engine does."""

    def __init__(self, *args: Any, **terms: Any) -> None:
        self.items: list[Item] = []
        self.pictures: list[tuple[int, Any]] = []
        self.look: Callable[[Account], Any] | None = None
        super().__init__(*args, **terms)

    def handle(self, message: ev.Input) -> list[ev.Event]:
        if isinstance(message, Tick):
            while self.account.next_deadline() <= message.received_ns:
                super().handle(ev.Wake(self.account.next_deadline()))
                self._seen()
        counted = self.account.ticks
        events = super().handle(message)
        if isinstance(message, Tick) and self.account.ticks != counted:
            quote = self.account.markets[message.symbol].quote
            assert quote is not None
            at = len(self.items) - 1 if events else len(self.items)
            if at and isinstance(self.items[at - 1][0], Tick):
                self.items[at - 1].append(quote)  # type: ignore[arg-type]
            else:
                self.items.insert(at, [quote])
        self._seen()
        return events

    def _keep(self, events: Sequence[ev.Event]) -> None:
        super()._keep(events)
        if events:
            self.items.append(list(events))

    def _seen(self) -> None:
        if self.look is not None:
            self.pictures.append((self.account.ts, self.look(self.account)))


class RecordedSession(Session):
    def _desk(self, account: type[Account]) -> Desk:
        venue = super()._desk(account).venue
        return RecordedDesk(venue=venue, live=self.live, account=account, **self.terms)


TERMS: dict[str, Any] = {
    "latency": 0,
    "slippage": 0,
    "size": "unlimited",
    "trigger_by": "quote",
    "fees": PercentFee("0.03", cap=20),
    "margin": None,
    "limits": Limits(allow_short=True),
    "live": False,
}


ANYTHING = range(20)
WITHIN_A_DAY = tuple(kind for kind in ANYTHING if kind not in (16, 17))
"""Kinds of steps by which hardly any time passes."""


def session(
    seed: int,
    steps: int,
    look: Callable[[Account], Any] | None = None,
    kinds: Sequence[int] = ANYTHING,
    **terms: Any,
) -> RecordedDesk:
    """A random session; the same seed gives the same one."""
    dice = random.Random(seed)
    made = RecordedSession({**TERMS, **terms})
    desk = made.desk
    assert isinstance(desk, RecordedDesk)
    desk.look = look
    for _ in range(steps):
        made.step(dice.choice(kinds), dice.randrange(8), dice.randint(-12, 12), dice.randrange(31))
    return desk


def nothing() -> None:
    """What a test has nobody told."""


def put(writer: Writer, item: Item) -> None:
    if isinstance(item[0], Tick):
        writer.record(item)
    else:
        writer.append(item, nothing)


def written(path: Path, items: Iterable[Item]) -> Store:
    """A new journal with a commit for each step, its store still open."""
    store = Store(path)
    store.open()
    store.continue_from(Head(START, START))
    writer = Writer(store, lambda job: job(), nothing)
    for item in items:
        put(writer, item)
        if not isinstance(item[0], Tick):
            assert writer.work(), writer.fault
    assert writer.is_done() or writer.work()
    return store


def copied(path: Path, to: Path) -> Path:
    """A copy of a journal as it stands on disk, a log and a head with it; what is left of an older copy is removed."""
    to.mkdir(exist_ok=True)
    for old in to.iterdir():
        old.unlink()
    for suffix in SIDE_FILES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, to / source.name)
    return to / path.name


def side(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def contents(path: Path, suffixes: Sequence[str] = SIDE_FILES) -> dict[str, bytes]:
    return {s: side(path, s).read_bytes() for s in suffixes if side(path, s).exists()}


class Told(State):
    """A state that also remembers every event."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[ev.Event] = []

    def apply(self, event: ev.Event) -> None:
        super().apply(event)
        self.told.append(event)

    @property
    def marks(self) -> dict[str, tuple[int, int, int]]:
        return {symbol: (m.low_raw, m.high_raw, m.mark_raw) for symbol, m in self.markets.items()}


def read_back(path: Path) -> tuple[Told, list[str]]:
    """What an engine would go on from, and what it would be told of it."""
    journal = FileJournal(path)
    state = Told()
    try:
        journal.open()
        journal.restore(state)
    finally:
        journal.close(0)
    return state, list(journal.notes)
