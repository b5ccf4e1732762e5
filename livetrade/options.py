"""What an engine is made with, checked where it was written; an `OrderError` says what would be right."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livetrade.core.instruments import Instrument
from livetrade.core.limits import Limits
from livetrade.core.numbers import Number, money_raw
from livetrade.errors import JournalError, OrderError
from livetrade.journal import Journal, MemoryJournal
from livetrade.ports import Broker, Feed


def check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise OrderError(f"name must be a text, not {name!r}")


def check_money(cash: Number | None, broker: Broker | None) -> None:
    if cash is None and (broker is None or not broker.real):
        raise OrderError("a paper engine needs opening cash: LiveTradingEngine(500_000)")
    if cash is not None and money_raw(cash, "cash") < 0:
        raise OrderError(f"cash must not be negative, not {cash}")


def check_parts(feed: object, broker: object, instruments: Sequence[object]) -> None:
    if feed is not None and not isinstance(feed, Feed):
        raise OrderError(f"feed must be a feed such as SimulatedFeed(...), not {type(feed).__name__}")
    if broker is not None and not isinstance(broker, Broker):
        raise OrderError(f"broker must be a broker such as PaperBroker(), not {type(broker).__name__}")
    for item in instruments:
        if not isinstance(item, Instrument):
            raise OrderError(f"instruments must be Instrument(...) objects, not {item!r}")


def check_rules(fees: object, limits: object, margin: object, trigger_by: str) -> None:
    if not callable(fees):
        raise OrderError("fees must be a callable (fill) -> Decimal, such as NoFees() or PercentFee('0.03', cap=20)")
    if limits is not None and not isinstance(limits, Limits):
        raise OrderError(f"limits must be Limits(...), not {limits!r}")
    if margin is not None and not callable(margin):
        raise OrderError(f"margin must be a callable (account, order) -> Decimal, not {margin!r}")
    if trigger_by not in ("quote", "last"):
        raise OrderError(f"trigger_by must be 'quote' or 'last', not {trigger_by!r}")


def zone_named(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise OrderError(f"timezone must be a name such as 'Asia/Kolkata', not {timezone!r}") from None


def journal_for(broker: Broker, journal: Journal | None) -> Journal:
    """The journal that was given, or one in memory; real money needs one that outlives the process."""
    if broker.real and (journal is None or not journal.saved):
        raise JournalError("a broker that moves real money needs a journal that outlives the process")
    if journal is None:
        return MemoryJournal()
    if isinstance(journal, MemoryJournal):
        return journal
    raise JournalError(f"journal must be a journal object such as MemoryJournal(), not {journal!r}")
