"""Live prices of Indian markets by Fyers: one connection after another, until the engine closes or it must give up."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING

from livetrade.adapters.fyers.credentials import Secret
from livetrade.columns import needs
from livetrade.core import html
from livetrade.core.kinds import FeedState
from livetrade.core.numbers import positive
from livetrade.errors import FeedError, OrderError
from livetrade.handle import Handle
from livetrade.ports import Sink

if TYPE_CHECKING:
    from livetrade.adapters.fyers.connections import Connections
    from livetrade.adapters.fyers.patience import Timing
    from livetrade.adapters.fyers.topics import Depth
    from livetrade.calendars import TradingCalendar


class FyersFeed:
    """Live prices of NSE, BSE and MCX, for whoever has an account with Fyers. Needs `pip install "livetrade[fyers]"`.

    symbols: one or several of Fyers' own, such as "NSE:SBIN-EQ", "NSE:NIFTY50-INDEX" or "NSE:NIFTY26DECFUT"; at most
    5,000. access_token: `APPID:JWT`; left out, it is looked for in FYERS_AUTH_TOKEN and then where
    `livetrade login fyers` keeps it, again at every connect, for it changes every day.
    mode: "full" (bid, ask, last, sizes, volume), "lite" (last prices alone) or "depth" (five levels a side: ticks carry
    the best, `depth(symbol)` gives all). max_retries: after so many failures in a row it gives up; None is for
    unattended engines and never does. stale_after: seconds (or a `timedelta`) without any price, while a market of
    these symbols is open, after which prices are stale; after as long again it connects anew. For symbols that hardly
    trade choose it longer. calendar: a `TradingCalendar` that tells when shares and their derivatives trade, needed
    for overrides of your own; left out, the feed makes one where `livetrade[calendar]` is installed.

    While its markets are closed, silence is as it should be. A day that the calendar does not know, and every one
    without a calendar, counts as open from Monday to Friday at the usual hours, and the state's reason says so; so do
    currencies (to 17:00) and commodities (to 23:30, in New York's winter 23:55), whose holidays are not known. What is
    silent on such a day is connected anew less and less often.

    It connects anew whenever the connection is lost, subscribes to everything again, and is live once every symbol has
    sent its price. Fyers allows one data connection for each user. The addresses can point at a server of your own
    (`livetrade.testing.FyersServer`); without encryption they must be on this machine.

    Raises `OrderError` for malformed, repeated or too many symbols and other wrong arguments, `ImportError` where the
    extra `fyers` is missing. What goes wrong later is told by `engine.health()["feed"]` and by refused orders.
    """

    def __init__(
        self,
        symbols: str | Iterable[str],
        access_token: str | None = None,
        *,
        mode: str = "full",
        max_retries: int | None = 5,
        stale_after: float | timedelta = 10,
        socket_url: str = "wss://socket.fyers.in/hsm/v1-5/prod",
        data_url: str = "https://api-t1.fyers.in/data",
        static_url: str = "https://public.fyers.in/sym_details",
        calendar: "TradingCalendar | None" = None,
        _timing: "Timing | None" = None,
    ) -> None:
        needs("httpx", "the feed of Fyers", "fyers")
        from livetrade.adapters.fyers.codec import Decoder
        from livetrade.adapters.fyers.hours import Markets
        from livetrade.adapters.fyers.patience import Timing
        from livetrade.adapters.fyers.rest import base_url, socket_address
        from livetrade.adapters.fyers.symbols import Directory, Mode
        from livetrade.adapters.fyers.wanted import Wanted
        from livetrade.calendars import MarketHours

        if mode not in list(Mode):
            raise OrderError(f"mode must be one of {', '.join(Mode)}, not {mode!r}")
        if max_retries is not None and (isinstance(max_retries, bool) or max_retries < 0):
            raise OrderError(f"max_retries must be 0 or more, or None for no limit, not {max_retries!r}")
        self.mode = mode
        self.max_retries = max_retries
        self.stale_after = _seconds(stale_after)
        self._access_token = None if access_token is None else Secret(access_token)
        self._socket_url = socket_address(socket_url, "socket_url")
        directory = Directory(Mode(mode), base_url(data_url, "data_url"), base_url(static_url, "static_url"))
        self._wanted = Wanted(Mode(mode), directory)
        self._wanted.start_with((symbols,) if isinstance(symbols, str) else tuple(symbols))
        self._decoder = Decoder({}, lite=mode == Mode.LITE)
        self._markets = Markets(MarketHours(calendar))
        self._timing = _timing if _timing is not None else Timing()
        self._connections: Connections | None = None
        self._running = False

    # ── what it is asked for ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def symbols(self) -> tuple[str, ...]:
        """What it is subscribed to, or will be; without those that Fyers does not know."""
        return self._wanted.symbols

    @property
    def reconnects(self) -> int:
        """How many times the connection was made anew."""
        return max(0, self._connections.made - 1) if self._connections is not None else 0

    @property
    def refused(self) -> dict[str, str]:
        """Symbols that have no prices at Fyers, and why."""
        return dict(self._wanted.refused)

    def subscribe(self, *symbols: str) -> Handle[tuple[str, ...]]:
        """Adds symbols, from any thread, while it runs or before.

        The handle resolves with them once they have sent their first prices (those without one are named in a warning),
        and fails with `FeedError` for those that Fyers does not know, or when the feed ends before. Raises `OrderError`
        as the constructor does.
        """
        return self._wanted.change(symbols, wanted=True)

    def unsubscribe(self, *symbols: str) -> Handle[tuple[str, ...]]:
        """Gives symbols up, from any thread. Their last quotes stay as they are; do not trade them any more.

        The handle resolves with those that it had. Raises `OrderError` for a malformed symbol.
        """
        return self._wanted.change(symbols, wanted=False)

    def depth(self, symbol: str) -> "Depth | None":
        """Five levels a side as they are now, with mode="depth"; None while nothing is known of the symbol."""
        return self._decoder.depths.get(symbol)

    # ── ports.Feed ───────────────────────────────────────────────────────────────────────────────────────────────────

    def start_ns(self, zone: tzinfo) -> None:
        """Live: it has no time of its own."""

    async def run(self, sink: Sink) -> None:
        """Delivers ticks until it is cancelled, or has to give up; the state says why, and what to do."""
        from livetrade.adapters.fyers.connections import Connections
        from livetrade.adapters.fyers.symbols import Mode

        if self._running:
            raise FeedError("this feed already serves another engine; make a feed for each")
        self._running = True
        self._connections = Connections(
            sink,
            self._wanted,
            self._decoder,
            url=self._socket_url,
            access_token=self._access_token,
            mode=Mode(self.mode),
            max_retries=self.max_retries,
            stale_after=self.stale_after,
            markets=self._markets,
            timing=self._timing,
        )
        try:
            await self._connections.keep()
        except asyncio.CancelledError:
            sink.state(FeedState.CLOSED, "the feed was closed")
            raise
        finally:
            self._running = False
            self._wanted.stop()

    def __repr__(self) -> str:
        symbols = self.symbols
        names = ", ".join(symbols[:3]) + (", …" if len(symbols) > 3 else "")
        return f"<FyersFeed {names or 'no symbols'} mode={self.mode}>"

    def _repr_html_(self) -> str:
        rows = [("symbols", ", ".join(self.symbols) or "none"), ("mode", self.mode), ("reconnects", self.reconnects)]
        return html.card("FyersFeed", html.facts([*rows, *self.refused.items()]))


def _seconds(value: float | timedelta) -> float:
    return float(positive(value.total_seconds() if isinstance(value, timedelta) else value, "stale_after"))
