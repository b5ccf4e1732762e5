"""One connection after another, until somebody cancels it or it must give up."""

import asyncio
import logging
import ssl

from livetrade.adapters.fyers.codec import Decoder
from livetrade.adapters.fyers.credentials import HOW, AccessToken, Secret, find_token
from livetrade.adapters.fyers.hours import Markets
from livetrade.adapters.fyers.link import Link
from livetrade.adapters.fyers.losses import discreet, loss_of, moment
from livetrade.adapters.fyers.patience import Cure, Loss, Retries, Silence, Timing
from livetrade.adapters.fyers.sockets import prepared
from livetrade.adapters.fyers.symbols import Mode
from livetrade.adapters.fyers.wanted import Wanted
from livetrade.core.kinds import FeedState
from livetrade.core.records import replaced
from livetrade.errors import FeedError
from livetrade.ports import Sink

LONGEST_KEY = 10_000

_log = logging.getLogger("livetrade")


class Connections:
    """Keeps a feed connected. made: how many connections the server let in."""

    def __init__(
        self,
        sink: Sink,
        wanted: Wanted,
        decoder: Decoder,
        *,
        url: str,
        access_token: Secret | None,
        mode: Mode,
        max_retries: int | None,
        stale_after: float,
        markets: Markets,
        timing: Timing,
    ) -> None:
        self._sink = sink
        self._wanted = wanted
        self._decoder = decoder
        self._url = url
        self._access_token = access_token
        self._mode = mode
        self._markets = markets
        self._timing = timing
        self._retries = Retries(max_retries, timing)
        self._silence = Silence(stale_after)
        self.made = 0

    async def keep(self) -> None:
        """Connects, and again whenever the connection is lost; ends when it gives up, and the state says why."""
        sink, retries = self._sink, self._retries
        context = await asyncio.to_thread(prepared)
        self._wanted.start(sink, context)
        sink.state(FeedState.CONNECTING, "connecting to Fyers")
        told = ""
        while True:
            loss = await self._connect(context)
            wait = retries.after(loss)
            reason = retries.told(loss)
            if wait is None:
                self._give_up(loss, reason)
                return
            if reason != told or loss.lasted is not None:  # once, and not every minute of a night
                _log.warning("Fyers: %s; connecting again in %.1f s", reason, wait)
                sink.state(FeedState.RECONNECTING, reason)
                told = reason
            await self._timing.sleep(wait)

    async def _connect(self, context: ssl.SSLContext) -> Loss:
        """One connection, until it is lost. The token is looked for anew."""
        sink = self._sink
        try:
            token = await asyncio.to_thread(find_token, self._access_token)
            token.check(moment(sink.now()))
            check_key(token)
        except FeedError as error:
            return Loss(str(error), Cure.TOKEN)
        link = Link(
            sink, self._wanted, self._decoder, self._silence, self._markets, self._timing, self._mode, self._accepted
        )
        try:
            await self._wanted.begin(token)
            await link.run(self._url, context, token)
        except Exception as error:
            lasted = (sink.now() - link.accepted_ns) / 1e9 if link.accepted_ns else None
            loss = loss_of(error, self._url, lasted, link.notice)
            if loss is None:
                raise
            return replaced(loss, reason=discreet(loss.reason, token))
        raise AssertionError("a connection ends by its loss only")

    def _accepted(self) -> None:
        self.made += 1

    def _give_up(self, loss: Loss, reason: str) -> None:
        failures = self._retries.failures
        if loss.cure is Cure.TIME:
            times = f"{failures} times" if failures > 1 else "once"
            reason += f"; given up after failing {times} in a row: make the engine anew, or use max_retries=None"
        _log.error("Fyers: %s", reason)
        self._sink.state(FeedState.FAILED, reason)


def check_key(token: AccessToken) -> None:
    """Raises `FeedError` for a token that is good for orders at most."""
    key = token.hsm_key.reveal()
    if not (key and key.isascii() and len(key) < LONGEST_KEY):
        raise FeedError(f"the Fyers token holds no key of the data socket (hsm_key); {HOW}")
