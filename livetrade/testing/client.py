"""One connection to the loopback data socket, as the server sees it."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from random import Random

from websockets.asyncio.server import ServerConnection

from livetrade.testing import wire
from livetrade.testing.faults import Fault, Faults, garbage
from livetrade.testing.http import reset
from livetrade.testing.listings import Listing

HUGE = 16 << 20


class Client:
    """What it is subscribed to, and how it is broken. `ids`: topic ids by topics; `latest`: the last data frame."""

    def __init__(self, connection: ServerConnection, trimmed: bool) -> None:
        self.socket = connection
        self.full = True
        self.paused = self.mute = self._hung = False
        self.latest = b""
        self.ids: dict[str, int] = {}
        self._trimmed = trimmed
        self._given = 0

    async def send(self, frame: bytes | str) -> None:
        if not self._hung:
            await self.socket.send(frame)

    def introduce(self, topic: str, listing: Listing) -> bytes:
        """A topic's snapshot, under an id that it keeps on this connection."""
        if topic not in self.ids:
            self._given += 1
            self.ids[topic] = self._given
        values = [listing.raw.get(name, wire.NOTHING) for name in wire.FIELDS[topic[:2]]]
        return wire.snapshot(self.ids[topic], topic, values, listing.multiplier, listing.precision, listing.symbol)

    def items(self, listing: Listing, raw: Mapping[str, int]) -> Iterable[bytes]:
        """What this connection hears of new figures of a symbol."""
        for topic in listing.topics:
            if topic not in self.ids:
                continue
            if not self.full:
                if "last" in raw:
                    yield wire.lite(self.ids[topic], raw["last"])
                continue
            values = [raw.get(name, wire.NOTHING) for name in wire.FIELDS[topic[:2]]]
            while self._trimmed and values and values[-1] == wire.NOTHING:
                values.pop()
            if any(value != wire.NOTHING for value in values):
                yield wire.update(self.ids[topic], values)

    # ── how it breaks ────────────────────────────────────────────────────────────────────────────────────────────────

    async def strike(self, fault: Fault, faults: Faults, random: Random) -> None:
        match fault:
            case Fault.CLOSE:
                await self.socket.close(faults.code, faults.message)
            case Fault.RESET | Fault.REFUSE:
                self.reset()
            case Fault.TORN:
                self._tear()
            case Fault.HANG:
                self.hang()
            case Fault.MUTE:
                self.mute = True
            case _:
                for frame in self._bad_frames(fault, faults, random):
                    await self.send(frame)

    def _bad_frames(self, fault: Fault, faults: Faults, random: Random) -> Iterable[bytes | str]:
        match fault:
            case Fault.GARBAGE:
                return garbage(random)
            case Fault.TRUNCATED:
                return [self.latest[:end] for end in range(len(self.latest))]
            case Fault.HUGE:
                return [wire.data(2**32 - 1, []) + bytes(HUGE - 9)]
            case Fault.MESSAGE:
                return [wire.custom(faults.code, faults.message)]
        return []

    @property
    def _transport(self) -> asyncio.Transport:
        transport: asyncio.Transport = self.socket.transport
        return transport

    def reset(self) -> None:
        """A TCP reset."""
        reset(self._transport)

    def _tear(self) -> None:
        """A frame begins, and the connection ends before the frame does."""
        self._transport.write(b"\x82\x7e\xff\xff" + wire.data(1, []))
        self._transport.close()

    def hang(self) -> None:
        """Nothing is read or written any more, and the connection stays."""
        self._hung = True
        with suppress(RuntimeError):  # it does so already
            self._transport.pause_reading()
