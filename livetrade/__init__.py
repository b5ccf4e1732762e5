"""livetrade: trade from a notebook. Paper by default; real money takes a deliberate act.

import livetrade as lt

stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
engine = lt.LiveTradingEngine(500_000, stream)
success, message, order = await engine.market_buy("NSE:SBIN-EQ", 100, stop_loss_price="545.00")
"""

from typing import TYPE_CHECKING

from livetrade.adapters.paper import PaperBroker
from livetrade.core.bars import Bar
from livetrade.core.fees import DEFAULT_FEES, FlatFee, NoFees, PercentFee
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, Product, TimeInForce
from livetrade.core.limits import Limits
from livetrade.core.ticks import Tick
from livetrade.core.values import Fill, Order, Position
from livetrade.engine import LiveTradingEngine
from livetrade.errors import (
    BrokerError,
    CalendarError,
    DeskError,
    EngineClosedError,
    FeedError,
    JournalError,
    LedgerError,
    LiveTradeError,
    OrderError,
    OrderPendingError,
    OrderRefusedError,
    PriceError,
    StrategyError,
)
from livetrade.journal import MemoryJournal
from livetrade.nested import enable_nested_asyncio
from livetrade.stream import LivePriceStream
from livetrade.surface import OrderResult
from livetrade.version import __version__ as __version__

if TYPE_CHECKING:
    from livetrade.adapters.fyers.broker import FyersBroker
    from livetrade.adapters.fyers.candles import history, quotes
    from livetrade.adapters.fyers.feed import FyersFeed
    from livetrade.adapters.fyers.instruments import instruments, load_instruments
    from livetrade.adapters.recorded import RecordedFeed, read_ticks
    from livetrade.adapters.simulated import SimulatedFeed
    from livetrade.calendars import TradingCalendar
    from livetrade.core.indian import IndianEquityFees
    from livetrade.core.margin import RateMargin
    from livetrade.desk.client import AttachedEngine, attach
    from livetrade.desk.starting import start_desk
    from livetrade.journal.file import FileJournal
    from livetrade.opened import open_journal
    from livetrade.plots import plot_sweep
    from livetrade.replays.result import ReplayResult
    from livetrade.replays.run import replay
    from livetrade.replays.sweep import sweep

__all__ = [
    "AttachedEngine",
    "Bar",
    "BrokerError",
    "CalendarError",
    "DEFAULT_FEES",
    "DeskError",
    "EngineClosedError",
    "FeedError",
    "FileJournal",
    "Fill",
    "FlatFee",
    "FyersBroker",
    "FyersFeed",
    "IndianEquityFees",
    "Instrument",
    "JournalError",
    "LedgerError",
    "Limits",
    "LivePriceStream",
    "LiveTradeError",
    "LiveTradingEngine",
    "MemoryJournal",
    "NoFees",
    "Order",
    "OrderError",
    "OrderPendingError",
    "OrderRefusedError",
    "OrderResult",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "PaperBroker",
    "PercentFee",
    "Position",
    "PriceError",
    "Product",
    "RateMargin",
    "RecordedFeed",
    "ReplayResult",
    "SimulatedFeed",
    "StrategyError",
    "Tick",
    "TimeInForce",
    "TradingCalendar",
    "attach",
    "enable_nested_asyncio",
    "history",
    "instruments",
    "load_instruments",
    "open_journal",
    "plot_sweep",
    "quotes",
    "read_ticks",
    "replay",
    "start_desk",
    "sweep",
]

_LATER = {
    "AttachedEngine": "livetrade.desk.client",
    "FileJournal": "livetrade.journal.file",
    "FyersBroker": "livetrade.adapters.fyers.broker",
    "FyersFeed": "livetrade.adapters.fyers.feed",
    "IndianEquityFees": "livetrade.core.indian",
    "RateMargin": "livetrade.core.margin",
    "RecordedFeed": "livetrade.adapters.recorded",
    "SimulatedFeed": "livetrade.adapters.simulated",
    "TradingCalendar": "livetrade.calendars",
    "attach": "livetrade.desk.client",
    "history": "livetrade.adapters.fyers.candles",
    "instruments": "livetrade.adapters.fyers.instruments",
    "load_instruments": "livetrade.adapters.fyers.instruments",
    "open_journal": "livetrade.opened",
    "plot_sweep": "livetrade.plots",
    "quotes": "livetrade.adapters.fyers.candles",
    "read_ticks": "livetrade.adapters.recorded",
    "start_desk": "livetrade.desk.starting",
    "ReplayResult": "livetrade.replays.result",
    "replay": "livetrade.replays.run",
    "sweep": "livetrade.replays.sweep",
}
"""What not every program needs, and where it is: loaded when it is first asked for."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names, and none of the modules that they come from."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
