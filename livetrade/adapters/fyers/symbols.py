"""Symbols, and the topics of the data socket that stand for them.

A user says `NSE:SBIN-EQ`, the socket `sf|nse_cm|3045`: what is sent, the segment, and the exchange's token, which Fyers
tells for each symbol. An index goes by its name instead: `if|nse_cm|Nifty 50`.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from livetrade.adapters.fyers.credentials import HOW, AccessToken
from livetrade.adapters.fyers.hours import COMMODITIES, CURRENCIES, SHARES, Hours
from livetrade.core.instruments import Instrument, check_symbol, default_instrument
from livetrade.core.kinds import InstrumentKind
from livetrade.errors import FeedError, OrderError
from livetrade.ports import Sink

if TYPE_CHECKING:
    import ssl

    import httpx

MOST_SYMBOLS = 5_000
"""For each connection, and Fyers allows one for each user."""
CHUNK = 500
"""Symbols in one question."""
GAP = 0.1
"""Seconds between two questions: a user may ask ten times a second."""
TIMEOUT = 10.0
LONGEST_WAIT = 300.0
TOKEN_CODES = (-8, -15, -16, -17)
"""Fyers' codes for a token that has expired or is none."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Mode(StrEnum):
    """What the socket sends of each symbol: quotes with everything, last prices alone, or five levels of depth."""

    FULL = "full"
    LITE = "lite"
    DEPTH = "depth"


class Segment(NamedTuple):
    """A market of an exchange: its name on the socket, its hours, the decimals of its prices."""

    name: str
    hours: Hours
    scale: int = 2


SEGMENTS = {
    "1010": Segment("nse_cm", SHARES),
    "1011": Segment("nse_fo", SHARES),
    "1012": Segment("cde_fo", CURRENCIES, 4),
    "1020": Segment("nse_com", COMMODITIES),
    "1120": Segment("mcx_fo", COMMODITIES),
    "1210": Segment("bse_cm", SHARES),
    "1211": Segment("bse_fo", SHARES),
    "1212": Segment("bcs_fo", CURRENCIES, 4),
}
"""By the first four digits of a Fyers token: exchange and segment."""


class Topic(NamedTuple):
    """What a symbol is on the socket."""

    symbol: str
    name: str
    segment: Segment
    expiry: date | None = None


class Found(NamedTuple):
    """Which symbols have a topic, and why the others have none."""

    topics: dict[str, Topic]
    refused: dict[str, str]


class HttpError(FeedError):
    """An answer that is not the one asked for. `wait`: seconds that the server wants to be left alone."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def checked(symbols: Iterable[object], mode: Mode) -> tuple[str, ...]:
    """The symbols themselves. Raises `OrderError` for one that cannot be asked for, saying what one looks like."""
    given = tuple(check_symbol(symbol) for symbol in symbols)
    for symbol in given:
        if not symbol.startswith(("NSE:", "BSE:", "MCX:")):
            raise OrderError(f"{symbol!r} is no symbol of Fyers: write its exchange too, such as 'NSE:SBIN-EQ'")
        if mode is Mode.DEPTH and is_index(symbol):
            raise OrderError(f"{symbol}: an index has no market depth; use mode='full' for it")
    return given


def check_number(number: int) -> None:
    if number > MOST_SYMBOLS:
        raise OrderError(f"Fyers sends at most {MOST_SYMBOLS:,} symbols to a user, and {number:,} were asked for")


def is_index(symbol: str) -> bool:
    return symbol.endswith("-INDEX")


# ── from symbols to topics ───────────────────────────────────────────────────────────────────────────────────────────


class Directory:
    """Asks Fyers for topics: `POST <data_url>/symbol-token`, and the names of indices from `<static_url>`."""

    def __init__(self, mode: Mode, data_url: str, static_url: str) -> None:
        self._mode = mode
        self._data_url = data_url.rstrip("/")
        self._static_url = static_url.rstrip("/")
        self._index_names: dict[str, str] = {}

    async def look_up(
        self, symbols: Sequence[str], token: AccessToken, verify: "ssl.SSLContext | bool" = True
    ) -> Found:
        """The topics of some symbols. `verify`: an `ssl.SSLContext` that was made before, for making one takes time.

        Raises `FeedError` where Fyers cannot be asked or does not answer.
        """
        import httpx

        found = Found({}, {})
        direct = {f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK}  # proxies are for outside
        async with httpx.AsyncClient(verify=verify, timeout=TIMEOUT, mounts=direct) as client:
            for first in range(0, len(symbols), CHUNK):
                if first:
                    await asyncio.sleep(GAP)
                chunk = symbols[first : first + CHUNK]
                known = await self._tokens(client, chunk, token)
                if not self._index_names and any(map(is_index, known)):
                    self._index_names = await self._names(client)
                for symbol in chunk:
                    self._put(found, symbol, known.get(symbol))
        return found

    def _put(self, found: Found, symbol: str, fytoken: str | None) -> None:
        if fytoken is None:
            found.refused[symbol] = "Fyers does not know it"
        elif (topic := topic_of(symbol, fytoken, self._mode, self._index_names)) is None:
            found.refused[symbol] = f"its market has no live prices (Fyers token {fytoken[:24]})"
        else:
            found.topics[symbol] = topic

    async def _tokens(self, client: "httpx.AsyncClient", symbols: Sequence[str], token: AccessToken) -> dict[str, str]:
        reply = await _asked(
            client,
            "POST",
            f"{self._data_url}/symbol-token",
            json={"symbols": list(symbols)},
            headers={"Authorization": token.jwt.reveal()},
        )
        valid = reply.get("validSymbol")
        # by name and never by position: it is an object, in any order
        return {symbol: str(valid[symbol]) for symbol in symbols if symbol in valid} if isinstance(valid, dict) else {}

    async def _names(self, client: "httpx.AsyncClient") -> dict[str, str]:
        try:
            told = await _asked(client, "GET", f"{self._static_url}/index_hsm_mapping.json")
        except FeedError:
            told = {}
        return INDEX_NAMES | {symbol: name for symbol, name in told.items() if isinstance(name, str)}


def topic_of(symbol: str, fytoken: str, mode: Mode, index_names: Mapping[str, str]) -> Topic | None:
    """The topic of a symbol by its Fyers token: exchange and segment (4 digits), expiry (6), the exchange's token.

    None for a market that the socket does not have.
    """
    segment = SEGMENTS.get(fytoken[:4])
    tail = fytoken[10:]
    if segment is None or not (tail.isascii() and tail.isalnum() and len(tail) < 20):
        return None
    if is_index(symbol):
        name = index_names.get(symbol, "")
        if not (0 < len(name) < 100 and name.isascii() and "|" not in name):
            name = symbol.partition(":")[2].partition("-")[0]
        return Topic(symbol, f"if|{segment.name}|{name}", segment)
    kind = "dp" if mode is Mode.DEPTH else "sf"
    return Topic(symbol, f"{kind}|{segment.name}|{tail}", segment, _expiry(fytoken[4:10]))


def _expiry(digits: str) -> date | None:
    try:
        return datetime.strptime(digits, "%y%m%d").replace(tzinfo=UTC).date()
    except ValueError:  # 000000 for what does not expire
        return None


async def _asked(client: "httpx.AsyncClient", method: str, url: str, **terms: Any) -> dict[str, Any]:
    """The JSON object of an answer that is ok."""
    import httpx

    try:
        response = await client.request(method, url, **terms)
    except httpx.HTTPError as error:
        failure = f"cannot reach {url}: {str(error) or type(error).__name__}"
    else:
        return _object(response, url)
    raise FeedError(failure)  # outside of `except`: an httpx error carries its request, and that the token


def _object(response: "httpx.Response", url: str) -> dict[str, Any]:
    try:
        reply = response.json()
    except (ValueError, RecursionError):
        reply = None
    told = reply if isinstance(reply, dict) else {}
    message = str(told.get("message") or "")
    status = response.status_code
    if status != 200:
        raise HttpError(refusal(status, url, message), wait_after(status, response.headers))
    if told.get("s") == "error":
        how = f"; {HOW}" if told.get("code") in TOKEN_CODES else ""
        raise FeedError(f"Fyers answered {message or told.get('code')!s}{how}")
    if not isinstance(reply, dict):
        raise FeedError(f"{url} answered something that is not JSON")
    return reply


def refusal(status: int, url: str, message: str = "") -> str:
    """What an HTTP status means for whoever asked, in a sentence."""
    said = f"HTTP {status}" + (f": {message}" if message else "")
    if status in (401, 403):
        return f"Fyers refused the token ({said}); {HOW}"
    if status == 404:
        return f"there is nothing at {url} ({said}); is the address right?"
    if status == 429:
        return f"Fyers was asked too often ({said})"
    return f"Fyers does not work at the moment ({said})" if status >= 500 else f"Fyers refused ({said})"


def wait_after(status: int, headers: Mapping[str, str]) -> float:
    """Seconds to leave a server alone after its refusal: at least a minute after 429, at most five."""
    if status != 429:
        return 0.0
    try:
        return min(max(60.0, float(headers.get("Retry-After", 0))), LONGEST_WAIT)
    except ValueError:  # a date
        return 60.0


# ── what is traded under them ────────────────────────────────────────────────────────────────────────────────────────


def instrument_for(topic: Topic, sink: Sink) -> Instrument:
    """What ticks of a topic are built with: what somebody registered, or what the topic itself tells."""
    known = sink.instrument(topic.symbol)
    if known != default_instrument(topic.symbol):
        return known
    described = _described(topic)
    if described == known:
        return known
    try:
        return sink.register(described)
    except OrderError:  # it has prices on the default scales already
        return known


def _described(topic: Topic) -> Instrument:
    symbol, segment = topic.symbol, topic.segment
    if is_index(symbol):
        return Instrument(symbol, kind=InstrumentKind.INDEX)
    if topic.expiry is None:
        return Instrument(symbol, scale=segment.scale)
    option = symbol[-2:] if symbol.endswith(("CE", "PE")) else None
    currency = segment.hours is CURRENCIES
    kind = InstrumentKind.CURRENCY if currency else InstrumentKind.OPTION if option else InstrumentKind.FUTURE
    return Instrument(symbol, kind=kind, scale=segment.scale, expiry=topic.expiry, option_type=option)


def in_frames(topics: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(topics), most):
        yield topics[first : first + most]


INDEX_NAMES = {
    "NSE:NIFTY50-INDEX": "Nifty 50",
    "NSE:NIFTYBANK-INDEX": "Nifty Bank",
    "NSE:FINNIFTY-INDEX": "Nifty Fin Service",
    "NSE:MIDCPNIFTY-INDEX": "NIFTY MID SELECT",
    "NSE:INDIAVIX-INDEX": "India VIX",
    "NSE:NIFTYNEXT50-INDEX": "Nifty Next 50",
    "NSE:NIFTYNXT50-INDEX": "Nifty Next 50",
    "NSE:NIFTY100-INDEX": "Nifty 100",
    "NSE:NIFTY200-INDEX": "Nifty 200",
    "NSE:NIFTY500-INDEX": "Nifty 500",
    "NSE:NIFTYMIDCAP50-INDEX": "Nifty Midcap 50",
    "NSE:NIFTYMIDCAP100-INDEX": "NIFTY MIDCAP 100",
    "NSE:NIFTYMIDCAP150-INDEX": "NIFTY MIDCAP 150",
    "NSE:NIFTYSMLCAP50-INDEX": "NIFTY SMLCAP 50",
    "NSE:NIFTYSMLCAP100-INDEX": "NIFTY SMLCAP 100",
    "NSE:NIFTYIT-INDEX": "Nifty IT",
    "NSE:NIFTYAUTO-INDEX": "Nifty Auto",
    "NSE:NIFTYFMCG-INDEX": "Nifty FMCG",
    "NSE:NIFTYPHARMA-INDEX": "Nifty Pharma",
    "NSE:NIFTYMETAL-INDEX": "Nifty Metal",
    "NSE:NIFTYREALTY-INDEX": "Nifty Realty",
    "NSE:NIFTYENERGY-INDEX": "Nifty Energy",
    "NSE:NIFTYPSUBANK-INDEX": "Nifty PSU Bank",
    "NSE:NIFTYPVTBANK-INDEX": "Nifty Pvt Bank",
    "NSE:NIFTYHEALTHCARE-INDEX": "NIFTY HEALTHCARE",
    "NSE:NIFTYOILANDGAS-INDEX": "NIFTY OIL AND GAS",
    "BSE:SENSEX-INDEX": "SENSEX",
    "BSE:BANKEX-INDEX": "BANKEX",
    "BSE:500-INDEX": "BSE500",
    "BSE:100-INDEX": "BSE100",
    "BSE:200-INDEX": "BSE200",
    "BSE:SNSX50-INDEX": "SNSX50",
    "BSE:IT-INDEX": "BSE IT",
    "BSE:HC-INDEX": "BSE HC",
    "BSE:CD-INDEX": "BSE CD",
    "BSE:CG-INDEX": "BSE CG",
    "BSE:FMC-INDEX": "BSEFMC",
}
"""How the socket calls well-known indices, where the mapping cannot be had; case and spaces count."""
