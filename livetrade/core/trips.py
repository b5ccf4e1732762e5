"""Round trips: each book's way from flat to flat (or through zero), folded from its fills."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from livetrade.core.ledger import BookKey, share
from livetrade.core.values import Fill, average


@dataclass(slots=True)
class Trip:
    """One book from flat to flat, so far."""

    first: Fill
    sign: int
    last: Fill
    held_raw: int = 0
    quantity_raw: int = 0
    entry_raw: int = 0
    exit_raw: int = 0
    cost_raw: int = 0
    fees_raw: int = 0
    gross_raw: int = 0
    worst_raw: int = 0
    best_raw: int = 0

    def enter(self, fill: Fill, quantity_raw: int, fees_raw: int) -> None:
        value = fill.instrument.value_raw(fill.price_raw, quantity_raw)
        self.held_raw += quantity_raw
        self.quantity_raw += quantity_raw
        self.entry_raw += value
        self.cost_raw += self.sign * value
        self.fees_raw += fees_raw

    def leave(self, fill: Fill, quantity_raw: int, fees_raw: int) -> None:
        value = fill.instrument.value_raw(fill.price_raw, quantity_raw)
        self.held_raw -= quantity_raw
        self.exit_raw += value
        self.cost_raw += fill.realized_raw - self.sign * value
        self.fees_raw += fees_raw
        self.gross_raw += fill.realized_raw
        self.last = fill
        if not self.held_raw:
            self.showed(self.gross_raw)

    def saw(self, mark_raw: int) -> None:
        """The book was marked at this (twice the price; 0: at nothing) while it held what it holds."""
        if mark_raw:
            value = self.sign * self.held_raw * mark_raw * (self.first.instrument.unit // 2)
            self.showed(self.gross_raw + value - self.cost_raw)

    def showed(self, gross_raw: int) -> None:
        self.worst_raw = min(self.worst_raw, gross_raw)
        self.best_raw = max(self.best_raw, gross_raw)

    def average_raw(self, value_raw: int) -> int:
        return average(self.first.instrument, value_raw, self.quantity_raw)


def closed_trips(fills: Iterable[Fill]) -> Iterator[Trip]:
    """The trips that ended, in the order in which they did; the fees of a fill through zero are split by quantity."""
    trips: dict[BookKey, Trip] = {}
    for fill in fills:
        key = (fill.strategy, fill.symbol, fill.product)
        trip = trips.get(key)
        closing, closing_fees = 0, 0
        if trip is not None:
            trip.saw(fill.low_raw)
            trip.saw(fill.high_raw)
            if trip.sign != fill.side.sign:
                closing = min(fill.quantity_raw, trip.held_raw)
                whole = closing == fill.quantity_raw
                closing_fees = fill.fees_raw if whole else share(fill.fees_raw, closing, fill.quantity_raw)
                trip.leave(fill, closing, closing_fees)
                if not trip.held_raw:
                    yield trips.pop(key)
        if closing < fill.quantity_raw:
            trip = trips.setdefault(key, Trip(fill, fill.side.sign, fill))
            trip.enter(fill, fill.quantity_raw - closing, fill.fees_raw - closing_fees)
