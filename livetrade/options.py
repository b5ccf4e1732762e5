"""What an engine is made with, checked where it was written; an `OrderError` says what would be right."""

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from livetrade.core.account import Account, Margin
from livetrade.core.fees import DEFAULT_FEES, described, schedule_of
from livetrade.core.instruments import Instrument
from livetrade.core.limits import Limits, limits_of
from livetrade.core.margin import margin_of
from livetrade.core.numbers import Number, money, money_raw
from livetrade.core.schedules import Fees
from livetrade.errors import JournalError, OrderError
from livetrade.journal import Journal, MemoryJournal
from livetrade.ports import Broker, Feed, Funded
from livetrade.stream import LivePriceStream

if TYPE_CHECKING:
    from pathlib import Path

_FILE_NAME = re.compile(r"[\w.-]{1,64}")


def check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise OrderError(f"name must be a text, not {name!r}")


def opening_cash(cash: Number | None, broker: Broker, journal: Journal) -> Number | None:
    """What a new account opens with: as given, or what its broker says may be spent."""
    if cash is None and not journal.exists and isinstance(broker, Funded):
        return broker.opening_cash()
    return cash


def check_money(cash: Number | None, journal: Journal) -> None:
    if cash is not None and money_raw(cash, "cash") < 0:
        raise OrderError(f"cash must not be negative, not {cash}")
    if cash is None and not journal.exists:
        raise OrderError("a new account needs opening cash: LiveTradingEngine(500_000)")


def check_same_cash(account: Account, cash: Number | None) -> None:
    """An account that goes on was opened with as much, where `cash` is given."""
    opened = account.opened
    if opened is None and cash is None:
        raise JournalError("the journal is empty, and a new account needs opening cash: LiveTradingEngine(500_000)")
    if opened is not None and cash is not None and money_raw(cash, "cash") != opened.cash_raw:
        raise JournalError(
            f"the journal was opened with {money(opened.cash_raw):,}, not {cash}; leave cash out, and use "
            f"engine.transfer(...) to put money in"
        )


def check_currency(currency: object) -> None:
    if not isinstance(currency, str) or not currency:
        raise OrderError(f"currency must be a text such as 'INR', not {currency!r}")


def check_stream(stream: object) -> None:
    if stream is not None and not isinstance(stream, LivePriceStream):
        raise OrderError(f"stream must be a LivePriceStream, not {type(stream).__name__}; a feed goes to feed=...")


def check_parts(feed: object, broker: object, instruments: Sequence[object]) -> None:
    if feed is not None and not isinstance(feed, Feed):
        raise OrderError(f"feed must be a feed such as SimulatedFeed(...), not {type(feed).__name__}")
    if broker is not None and not isinstance(broker, Broker):
        raise OrderError(f"broker must be a broker such as PaperBroker(), not {type(broker).__name__}")
    if isinstance(instruments, str | Instrument) or not all(isinstance(item, Instrument) for item in instruments):
        raise OrderError(f"instruments must be a list of Instrument(...) objects, not {instruments!r}")


def check_rules(fees: object, limits: object, margin: object, trigger_by: str) -> None:
    if not callable(fees):
        raise OrderError("fees must be a callable (fill) -> Decimal, such as NoFees() or PercentFee('0.03', cap=20)")
    if limits is not None and not isinstance(limits, Limits):
        raise OrderError(f"limits must be Limits(...), not {limits!r}")
    if margin is not None and not callable(margin):
        raise OrderError(f"margin must be a callable (account, order) -> Decimal, not {margin!r}")
    if trigger_by not in ("quote", "last"):
        raise OrderError(f"trigger_by must be 'quote' or 'last', not {trigger_by!r}")


def check_same_account(account: Account, currency: str, timezone: str, mode: str) -> None:
    """An account that goes on is kept in the currency, the time zone and the kind of money that it was opened in."""
    opened, session = account.opened, account.session
    if opened is None:
        return
    if currency != opened.currency:
        raise JournalError(f"the journal is kept in {opened.currency}: currency={opened.currency!r}, not {currency!r}")
    if timezone != opened.timezone:
        raise JournalError(
            f"the journal's days are in {opened.timezone}: timezone={opened.timezone!r}, not {timezone!r}"
        )
    if session is not None and session.mode != mode:
        raise JournalError(
            f"the journal is of a {session.mode} account and the broker's is {mode}; use another journal"
        )


def limits_for(account: Account, given: Limits | None) -> Limits:
    """The limits that were given, or those of the session before."""
    if given is not None or account.session is None:
        return given or Limits()
    return limits_of(account.session.limits)


def fees_for(account: Account, given: Fees) -> Fees:
    """The schedule that was given, or (where none was) that of the session before."""
    before = account.session
    if given is not DEFAULT_FEES or before is None or before.fees == described(given):
        return given
    schedule = schedule_of(before.fees)
    if schedule is None:
        raise JournalError(
            f"the journal was kept with the fees {before.fees[0]}, which only you have: pass fees= again, or others"
        )
    return schedule


def margin_for(account: Account, given: Margin | None) -> Margin | None:
    """The margin rule that was given, or that of the session before where it is a built-in one."""
    if given is not None or account.session is None:
        return given
    return margin_of(account.session.margin)


def changed_rules(account: Account, margin: object, trigger_by: str) -> list[str]:
    """What a person should know of rules that are others than in the session before."""
    before = account.session
    if before is None:
        return []
    told = []
    if before.margin and margin is None:
        told.append(f"the margin rule {before.margin} was not given again: positions are paid in full")
    if before.trigger_by != trigger_by:
        told.append(f"stops watch the {trigger_by} from now on; before they watched the {before.trigger_by}")
    if not account.ended_well:
        told.append("the session before did not end in good order: its process was killed, or lost its power")
    return told


def journal_for(broker: Broker, journal: object, name: str) -> Journal:
    """The journal that was given, or one in memory; real money has one in a file, by the engine's name."""
    if journal is None and broker.real:
        journal = default_journal(name)
    if isinstance(journal, str | os.PathLike):
        from livetrade.journal.file import FileJournal

        return FileJournal(journal)
    if journal is None:
        return MemoryJournal()
    if not isinstance(journal, Journal):
        raise JournalError(f"journal must be a path or a journal such as FileJournal('my.journal'), not {journal!r}")
    if broker.real and not journal.saved:
        raise JournalError("a broker that moves real money needs a journal that outlives the process: a path")
    return journal


def default_journal(name: str) -> "Path":
    """Where the journal of an engine of this name is kept, unless somebody says otherwise."""
    from platformdirs import user_data_path

    if not _FILE_NAME.fullmatch(name):
        raise JournalError(f"the name {name!r} is no file name to keep a journal by: give journal=...")
    return user_data_path("livetrade", appauthor=False, ensure_exists=True) / f"{name}.journal"
