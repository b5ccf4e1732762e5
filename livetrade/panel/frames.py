"""Snapshots as frames for a narrow wire, the notebook's or the live page's: of each only what has changed, at a pace
that neither the screen nor the wire is too slow for.

A snapshot is cut into parts by how often they change: `snap` with nearly every tick, `positions` (what a tick does not
move of them), `orders` and `fills` with events, `equity` about once a second. What a tick moves of the positions is in
`snap["moving"]`: a list for each name, in the order of `positions`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

Snapshot: TypeAlias = dict[str, Any]

MOVING = ("last_price", "market_value", "unrealized_pnl", "total_pnl", "age")
APART = ("positions", "orders", "fills", "equity")
BYTES_PER_SECOND = 56 * 1024
ENVELOPE_BYTES = 700
"""What a notebook's protocol puts around a message."""


class Frames:
    """Makes frames of snapshots for one front end, `interval` seconds apart or more."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._shown: Snapshot = {}

    def next(self, snapshot: Snapshot) -> Snapshot:
        """The parts that differ from the last frame's; none where a later `as_of` would be all."""
        parts = parts_of(snapshot)
        changed = {name: part for name, part in parts.items() if part != self._shown.get(name)}
        if changed.keys() <= {"snap"} and _timeless(parts) == _timeless(self._shown):
            return {}
        self._shown = parts
        return changed

    def pause_after(self, frame: Snapshot) -> float:
        """Seconds until the next frame: many positions make large frames, and those are fewer."""
        return max(self._interval, (len(json.dumps(frame)) + ENVELOPE_BYTES) / BYTES_PER_SECOND)


def parts_of(snapshot: Snapshot) -> Snapshot:
    """The snapshot in its parts."""
    positions = snapshot.get("positions", [])
    snap = {name: value for name, value in snapshot.items() if name not in APART}
    moving = {name: [position.get(name) for position in positions] for name in MOVING}
    held = [{name: value for name, value in position.items() if name not in MOVING} for position in positions]
    return {
        "snap": {**snap, "moving": moving},
        "positions": held,
        **{name: snapshot.get(name, []) for name in APART if name != "positions"},
    }


def plain_snapshot(value: Any) -> Any:
    """The same value as JSON can carry it: NaN and the infinities have no spelling there and become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain_snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_snapshot(item) for item in value]
    return value


def _timeless(parts: Snapshot) -> Snapshot:
    # A later `as_of` alone is no news: the front end counts the age on by itself.
    return {**parts.get("snap", {}), "as_of": None}
