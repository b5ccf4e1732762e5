"""Snapshots as JSON can carry them, for the notebook's wire and for a web page."""

import math
from collections.abc import Mapping
from typing import Any


def plain_snapshot(value: Any) -> Any:
    """The same value as JSON can carry it: NaN and the infinities have no spelling there and become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain_snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_snapshot(item) for item in value]
    return value
