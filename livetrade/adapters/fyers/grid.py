"""The price grid of what is traded: from its instrument, else from the symbol master."""

import asyncio
import logging
from contextlib import suppress
from decimal import Decimal

from livetrade.adapters.fyers.pacing import segment_of
from livetrade.core.instruments import Instrument
from livetrade.core.numbers import scaled
from livetrade.errors import LiveTradeError

MASTERS = {
    "NSE:cash": ("NSE_CM",),
    "NSE:derivatives": ("NSE_FO", "NSE_CD"),
    "BSE:cash": ("BSE_CM",),
    "BSE:derivatives": ("BSE_FO",),
    "MCX:derivatives": ("MCX_COM",),
}
COARSE = Decimal("0.05")
PATIENCE = 3.0

_log = logging.getLogger("livetrade")


class Grid:
    """static_url: where the master is. It is read on a thread, once for each segment."""

    def __init__(self, static_url: str) -> None:
        self._static_url = static_url
        self._ticks: dict[str, Decimal] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def tick_raw(self, item: Instrument, *, wait: bool) -> int:
        """Raw steps between two prices. Where the master has not come in time, or at all, that of most shares: it is on
        the grid of the finer ones too. wait: what protects does not wait for it."""
        if item.tick_size is not None:
            return item.tick_raw
        if item.symbol not in self._ticks:
            reading = self._read(item.symbol)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(reading), PATIENCE if wait else 0)
        tick = self._ticks.get(item.symbol, Decimal("0.0025") if item.scale >= 4 else COARSE)
        return scaled(tick, item.scale) or 1

    def _read(self, symbol: str) -> asyncio.Task[None]:
        segment = segment_of(symbol)
        if segment not in self._reading:
            self._reading[segment] = asyncio.create_task(self._load(segment))
        return self._reading[segment]

    async def _load(self, segment: str) -> None:
        from livetrade.adapters.fyers.instruments import load_master

        for name in MASTERS.get(segment, ()):
            try:
                master = await asyncio.to_thread(load_master, name, static_url=self._static_url)
            except LiveTradeError as error:
                _log.warning("Fyers orders: the ticks of %s are not known: %s", name, error)
                continue
            self._ticks.update({row.symbol: Decimal(row.tick_size) for row in master.listings if row.tick_size})

    def close(self) -> None:
        for task in self._reading.values():
            task.cancel()
        self._reading.clear()
