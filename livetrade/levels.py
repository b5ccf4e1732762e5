"""The levels that exits of a symbol watched, and when: what `engine.plot(symbol)` draws beside the price."""

from collections.abc import Iterable

from livetrade.core import events as ev
from livetrade.core.kinds import ExitKind
from livetrade.core.records import record


@record
class Level:
    """The raw trigger prices of one exit, and from when each held (nanoseconds UTC). ended_ns: 0 while it is watched;
    fired: whether it ended because it was reached."""

    kind: ExitKind
    times_ns: tuple[int, ...]
    prices_raw: tuple[int, ...]
    ended_ns: int = 0
    fired: bool = False


class _Watched:
    """One exit, as the events tell it so far."""

    def __init__(self, kind: ExitKind) -> None:
        self.kind = kind
        self.times_ns: list[int] = []
        self.prices_raw: list[int] = []
        self.ended_ns = 0
        self.fired = False

    def moved(self, ts: int, price_raw: int) -> None:
        self.times_ns.append(ts)
        self.prices_raw.append(price_raw)

    def ended(self, ts: int, *, fired: bool) -> None:
        if not self.ended_ns:
            self.ended_ns, self.fired = ts, fired

    def level(self) -> Level:
        return Level(self.kind, tuple(self.times_ns), tuple(self.prices_raw), self.ended_ns, self.fired)


def levels_of(events: Iterable[ev.Event], symbol: str) -> list[Level]:
    """The levels of all exits of a symbol, in the order in which they were armed first."""
    known: dict[str, _Watched] = {}
    for event in events:
        if isinstance(event, ev.ExitArmed):
            if event.risk.symbol == symbol:
                watched = known.setdefault(event.risk.risk_id, _Watched(event.risk.kind))
                watched.moved(event.ts, event.risk.trigger_raw)
        elif isinstance(event, ev.TrailMoved | ev.ExitFired | ev.ExitEnded) and event.risk_id in known:
            watched = known[event.risk_id]
            if isinstance(event, ev.TrailMoved):
                watched.moved(event.ts, event.trigger_raw)
            else:
                watched.ended(event.ts, fired=isinstance(event, ev.ExitFired))
    return [watched.level() for watched in known.values()]
