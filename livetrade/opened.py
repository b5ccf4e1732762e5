"""A journal's past as DataFrames, read without touching it, while an engine writes it or long after."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from datetime import date, datetime, tzinfo
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from livetrade import files, frames
from livetrade.columns import Exact, View
from livetrade.core.account import Account
from livetrade.core.events import Event
from livetrade.core.instruments import Instrument, check_symbol, default_instrument
from livetrade.core.numbers import counted
from livetrade.core.state import day_of
from livetrade.errors import JournalError
from livetrade.frames import instant
from livetrade.journal.chain import followed
from livetrade.journal.past import FOREVER, Past, check
from livetrade.journal.rows import TickBatch, events_in, unpacked_ticks
from livetrade.journal.store import EVENTS, TICKS, UNREADABLE, rows_of
from livetrade.journal.verify import found_head, reading
from livetrade.levels import Level, levels_of
from livetrade.reads import Reads, view_of
from livetrade.registry import levels_outside
from livetrade.summary import Summary
from livetrade.why import Why, why_of

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


def open_journal(path: str | os.PathLike[str]) -> "OpenedJournal":
    """Opens a journal for reading: the reads of an engine, `positions(as_of=...)` among them.

    It may be in use; each read shows what has come until then. Of a damaged one the good part is shown, with a warning.
    Raises `JournalError` for what is no journal or was written by a later version.
    """
    return OpenedJournal(path)


class OpenedJournal(Reads):
    """The past of one account; see `open_journal`."""

    def __init__(self, path: str | os.PathLike[str], *, until_ns: int = FOREVER) -> None:
        self.path = Path(path).expanduser().resolve()
        self._until_ns = until_ns
        self._account = Account()
        self._past = Past(self._account)
        self.damage = ""
        """Why what comes after its last event cannot be read; empty while all is well."""
        self._lock = RLock()
        self._catch_up()

    def _catch_up(self) -> None:
        head, damage = found_head(self.path)
        with reading(self.path) as connection:
            checked = check(connection, EVENTS, head.events, self._past.end, self._until_ns)
            self._past.fold(connection, checked, self._until_ns)
        self._account.ts = self._past.last_ns
        if self._account.session is not None:
            self._account.trigger_by = self._account.session.trigger_by
        damage = checked.damage or damage
        if damage and not self.damage:
            self._warn(f"is damaged: {damage}; what is shown ends with event {self._account.seq:,}")
        self.damage = damage

    def positions(
        self,
        *,
        as_of: "datetime | date | str | pd.Timestamp | None" = None,
        closed: bool = False,
        by: Literal["symbol", "strategy", "product"] = "symbol",
        symbol: str | list[str] | None = None,
        exact: Exact = False,
    ) -> "pd.DataFrame":
        """As an engine's `positions`, now or as they were at a time in the past: valued at the prices of that moment.

        as_of: what `since` of the other reads takes, included; a date without a time is the whole day.
        """
        if as_of is None:
            return super().positions(closed=closed, by=by, symbol=symbol, exact=exact)
        view = self._read(view_of)
        until_ns = instant(as_of, view, "as_of")
        if _is_day(as_of):
            until_ns = _end_of_day(until_ns, view.zone)
        then = OpenedJournal(self.path, until_ns=until_ns)
        return then.positions(closed=closed, by=by, symbol=symbol, exact=exact)

    def _read(self, question: Callable[[Account], T]) -> T:
        with self._lock:
            if self._until_ns == FOREVER:
                self._catch_up()
            return question(self._account)

    def _why(self, order_id: str) -> Why | None:
        return self._told(lambda events: why_of(events, order_id))

    def _levels(self, symbol: str) -> Sequence[Level]:
        return self._told(lambda events: levels_of(events, symbol))

    def _told(self, question: Callable[[Iterable[Event]], T]) -> T:
        """Asks the events that were folded: of a damaged journal, the good ones."""
        known = self._read(lambda account: account.seq)
        with reading(self.path) as connection, closing(rows_of(connection, EVENTS, 0, "data")) as rows:
            batches = (bytes(data) for (data,) in rows)  # type: ignore[call-overload]
            return question(islice(events_in(batches), known))

    def _instrument(self, symbol: str) -> Instrument:
        zone = self._account.zone
        return self._account.instruments.get(check_symbol(symbol)) or default_instrument(symbol, zone)

    def _read_ticks(self, symbol: str) -> tuple[dict[str, Any], View]:
        return self._columns().get(symbol) or _joined({}), self._read(view_of)

    def _columns(self) -> dict[str, dict[str, Any]]:
        """The ticks of each symbol, in columns; of damaged ones those before the damage, with a warning."""
        parts: dict[str, dict[str, list[Any]]] = {}
        with reading(self.path) as connection:
            try:
                for row in followed(TICKS, rows_of(connection, TICKS)):
                    _add(parts, unpacked_ticks(row.data))
            except (JournalError, *UNREADABLE) as error:
                self._warn(f"has damaged ticks: {error}; those before it are shown")
        return {symbol: _joined(columns) for symbol, columns in parts.items()}

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.path.name} {message}", RuntimeWarning, stacklevel=levels_outside())

    def export_all(self, folder: str | os.PathLike[str], *, exact: bool = False) -> list[Path]:
        """Writes orders, fills, ticks and equity into a folder, each as Parquet and CSV; gives back the files.

        exact: exact decimals in place of floats. Raises `ImportError` where pyarrow is missing.
        """
        from tqdm.auto import tqdm

        target = Path(folder).expanduser()
        target.mkdir(parents=True, exist_ok=True)
        tables: dict[str, Callable[[Exact], pd.DataFrame]] = {
            "orders": lambda exact: self.orders(exact=exact),
            "fills": lambda exact: self.fills(exact=exact),
            "equity": lambda exact: self.equity(exact=exact),
            "ticks": self._all_ticks,
        }
        written: list[Path] = []
        for name, table in tqdm(tables.items(), desc="export", unit="table", leave=False):
            written += files.export(target / f"{name}.parquet", {name: table("arrow" if exact else False)})
            written += files.export(target / f"{name}.csv", {name: table(exact)})
        return written

    def _all_ticks(self, exact: Exact) -> "pd.DataFrame":
        import pandas as pd

        view = self._read(view_of)
        columns = self._columns() or {"NONE": _joined({})}
        tables = [frames.ticks(ticks, self._instrument(symbol), view, exact=exact) for symbol, ticks in columns.items()]
        return pd.concat(tables).sort_index(kind="stable")

    @property
    def symbols(self) -> list[str]:
        """What it has prices or orders of."""
        return self._read(lambda account: sorted(account.instruments))

    def _glance(self, question: Callable[[Account], T]) -> T:
        """Of what was read last, where nothing can be read now."""
        with suppress(JournalError, OSError):
            return self._read(question)
        with self._lock:
            return question(self._account)

    def _title(self, seen: Summary | None) -> str:
        account = self._account
        mode = "" if account.session is None else f" · {account.session.mode}"
        damaged = f" · damaged: {self.damage}" if self.damage else ""
        return f"{self.path.name}{mode} · {counted(account.seq, 'event')}{damaged}"

    def __repr__(self) -> str:
        return self._glance(lambda account: f"<OpenedJournal {self.path.name}: {counted(account.seq, 'event')}>")


_FIGURES = {"bid": "bid_raw", "ask": "ask_raw", "last": "last_raw", "volume": "volume_raw"}


def _add(parts: dict[str, dict[str, list[Any]]], batch: TickBatch) -> None:
    import numpy as np

    codes = np.frombuffer(batch.codes, np.int32)
    given, received = (np.frombuffer(batch.figures[f"{name}_ns"], np.int64) for name in ("time", "received"))
    columns = {name: np.frombuffer(batch.figures[figure], np.int64) for name, figure in _FIGURES.items()}
    columns["time"] = np.where(given == 0, received, given)
    for code, symbol in enumerate(batch.symbols):
        for name, column in columns.items():
            parts.setdefault(symbol, {}).setdefault(name, []).append(column[codes == code])


def _joined(parts: dict[str, list[Any]]) -> dict[str, Any]:
    import numpy as np

    return {name: np.concatenate([np.empty(0, np.int64), *parts.get(name, [])]) for name in ("time", *_FIGURES)}


def _end_of_day(instant_ns: int, zone: tzinfo) -> int:
    _, _, following = day_of(instant_ns, zone)
    return following - 1


def _is_day(as_of: object) -> bool:
    if isinstance(as_of, str):
        return ":" not in as_of and as_of != "now"
    return isinstance(as_of, date) and not isinstance(as_of, datetime)
