"""Every read, written once: an account as DataFrames and single values.

All of it stands on three methods: `_read(question)`, `_read_ticks(symbol)` and `_instrument(symbol)`. So an account
needs neither a stream nor an engine to be read. What comes out becomes `Decimal`s and DataFrames here, off the engine's
thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from livetrade import frames, portfolio
from livetrade.columns import Columns, Exact, Freq, View
from livetrade.context import MANUAL, StrategyInfo, current_strategy
from livetrade.core import html
from livetrade.core.account import Account
from livetrade.core.events import AccountOpened, EquityPoint
from livetrade.core.instruments import Instrument
from livetrade.core.numbers import at, money
from livetrade.core.records import for_users, record
from livetrade.core.values import Fill, Order, Position
from livetrade.errors import OrderError
from livetrade.summary import Summary, shown, state_of, summary_of
from livetrade.terms import Filters, spelled_out

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    from livetrade.levels import Level
    from livetrade.why import Why

T = TypeVar("T")
When = datetime | str | None

INNER = frozenset(
    {
        "abandon", "after", "again", "all_quotes", "answered", "broker_rows", "compared", "events_to_come", "hello",
        "idle", "join", "last_quote", "listen", "lost", "now_ns", "panel_command", "panel_snapshot", "panel_watch",
        "post_tick", "process", "registered_as", "seen_quotes", "take", "tend",
    }
)  # fmt: skip
"""What engines say to a stream, a panel or a desk; completion leaves it out."""


class Reads(ABC):
    """What can be read of any account."""

    @abstractmethod
    def _read(self, question: Callable[[Account], T]) -> T:
        """Asks the account between two events. What `question` gives back must not be changed by anybody later."""

    @abstractmethod
    def _read_ticks(self, symbol: str) -> tuple[dict[str, Any], View]:
        """The latest ticks of a symbol, in columns."""

    @abstractmethod
    def _instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol. Raises `OrderError` for a malformed symbol."""

    # ── at a glance ──────────────────────────────────────────────────────────────────────────────────────────────────

    def __dir__(self) -> list[str]:
        return for_users(object.__dir__(self), INNER)

    def _glance(self, question: Callable[[Account], T]) -> T | None:
        """As `_read`, for what only shows: it waits for nobody and raises nothing. None where nobody answers."""
        return self._read(question)

    @abstractmethod
    def _title(self, seen: Summary | None) -> str:
        """What stands above the account where it is shown: which one, and how it is."""

    def _above(self, seen: Summary) -> str:
        """HTML between the title and the account."""
        return html.text(state_of(seen))

    def _below(self) -> str:
        """HTML of what there is to tell beside the account."""
        return ""

    def _repr_html_(self) -> str:
        seen = self._glance(summary_of)
        title = self._title(seen)
        return html.card(title) if seen is None else shown(title, self._above(seen), seen, self._below())

    # ── DataFrames ───────────────────────────────────────────────────────────────────────────────────────────────────

    def positions(
        self,
        *,
        closed: bool = False,
        by: Literal["symbol", "strategy", "product"] = "symbol",
        symbol: str | list[str] | None = None,
        exact: Exact = False,
    ) -> "pd.DataFrame":
        """One row a symbol held (`closed=True`: ever held), or one a book with `by="strategy"` or `by="product"`.

        Index: symbol. Columns: quantity, avg_price, last_price, market_value, cost_basis, unrealized_pnl, realized_pnl,
        fees, total_pnl, unrealized_pnl_pct, stop_loss_price, take_profit_price, opened_at; before them strategy or
        product, by which it was asked. A short's quantity, value and cost are negative.

        symbol: one or several. Within a strategy: what it holds itself; `by="strategy"` shows everybody's there too.
        Raises `OrderError` for any other `by`.
        """
        label = portfolio.LABELS.get(by)
        if label is None:
            raise OrderError(f"positions: by must be one of {', '.join(map(repr, portfolio.LABELS))}, not {by!r}")
        whose = None if by == "strategy" else _own_book()
        rows, view = self._read(lambda account: (portfolio.position_rows(account, label, whose), view_of(account)))
        wanted = (symbol,) if isinstance(symbol, str) else symbol
        kept = [row for row in rows if (closed or row[2].quantity) and (wanted is None or row[2].symbol in wanted)]
        return frames.positions(kept, view, by=by, exact=exact)

    @spelled_out
    def orders(
        self,
        *,
        open: bool = False,  # noqa: A002
        exact: Exact = False,
        **where: Unpack[Filters],
    ) -> "pd.DataFrame":
        """One row an order, refused ones included; `open=True` keeps those that may still fill.

        Index: client_order_id. Columns: symbol, side, order_type, product, time_in_force, quantity, filled_qty,
        avg_price, limit_price, trigger_price, status, reason, source, strategy, tag, fees, slippage (per unit, positive
        is worse), venue_order_id, created_at, updated_at.

        Filters: symbol, strategy, tag (one or several each), since (inclusive), until (exclusive): dates, datetimes,
        texts; since="today" works. They look at created_at.
        """
        columns, view = self._read(lambda account: (account.order_history.copy(), view_of(account)))
        return frames.orders(columns, view, _where(where), open=open, exact=exact)

    @spelled_out
    def fills(self, *, charges: bool = False, exact: Exact = False, **where: Unpack[Filters]) -> "pd.DataFrame":
        """One row a fill, in the order they were booked. Filters as `orders`, by time.

        Index: time. Columns: symbol, side, product, quantity, price, price_source, fees, realized_pnl (gross), source,
        strategy, tag, client_order_id, execution_id.

        `charges=True` adds a column for each charge that `IndianEquityFees` itemises (brokerage, stt, transaction,
        sebi, stamp_duty, gst, dp) and `other_charges` for whatever else a schedule took; they sum to `fees`.
        """
        columns, view = self._read(lambda account: (account.fill_history.copy(), view_of(account)))
        return frames.fills(columns, view, _where(where), charges=charges, exact=exact)

    @spelled_out
    def risk_orders(self, *, exact: Exact = False, **where: Unpack[Filters]) -> "pd.DataFrame":
        """One row a stop-loss, take-profit or trailing stop, with its distance to the market; finished ones too.

        Index: risk_id. Columns: symbol, strategy, kind, trigger_price, quantity (all that its book holds; of one that
        has fired, what it held then), status, distance (per unit, positive while not reached), distance_pct (of the
        price that it watches), client_order_id (of the order it sent), armed_at, fired_at. Filters as `orders`, by
        armed_at.
        """
        rows, view = self._read(lambda account: (portfolio.risk_rows(account), view_of(account)))
        return frames.risk_orders(rows, view, _where(where), exact=exact)

    @spelled_out
    def equity(self, freq: Freq | None = None, *, exact: Exact = False, **where: Unpack[Filters]) -> "pd.DataFrame":
        """The equity curve: a row for each fill and at most one a second; `freq` (a pandas frequency such as "1min", or
        seconds) keeps the last of each, and repeats it where nothing was.

        Index: time. Columns: cash, market_value, portfolio_value, realized_pnl (gross), unrealized_pnl, fees. Filters
        as `orders`, by time.
        """
        points, view = self._read(lambda account: (account.equity_history[:], view_of(account)))
        return frames.equity(points, view, _where(where), freq=freq, exact=exact)

    def ticks(self, symbol: str, *, since: When = None, until: When = None, exact: Exact = False) -> "pd.DataFrame":
        """The latest ticks of a symbol, at least the last 50,000.

        Index: time. Columns: symbol, bid, ask, last, volume (of the session so far).
        """
        item = self._instrument(symbol)
        columns, view = self._read_ticks(item.symbol)
        return frames.ticks(columns, item, view, frames.Where(since=since, until=until), exact=exact)

    def bars(
        self, symbol: str, freq: Freq = "1min", *, since: When = None, until: When = None, exact: Exact = False
    ) -> "pd.DataFrame":
        """Bars of the latest ticks of a symbol, each labelled by its left edge; empty ones are left out.

        freq: a pandas frequency ("1min", "15min", "1D"), or seconds.

        Index: time. Columns: open, high, low, close (of the last price, else the mid), volume.
        """
        item = self._instrument(symbol)
        columns, view = self._read_ticks(item.symbol)
        return frames.bars(columns, item, view, frames.Where(since=since, until=until), freq, exact=exact)

    @spelled_out
    def round_trips(self, *, exact: Exact = False, **where: Unpack[Filters]) -> "pd.DataFrame":
        """One row for each time a book went from flat to flat (or through zero): what it made, its excursions.

        Index: 0, 1, 2, ... by exit_time. Columns: symbol, strategy, tag, side (BUY for a long one), quantity (all that
        was entered), entry_time, entry_price, exit_time, exit_price (weighted averages), gross_pnl, fees, net_pnl,
        return_pct (net, of the entry's value), mae and mfe (the worst and the best gross P&L on its way), exit_source.
        Filters as `orders`, by exit_time.
        """
        fills, view = self._read(lambda account: (account.fill_history.fills[:], view_of(account)))
        return frames.round_trips(fills, view, _where(where), exact=exact)

    def strategies(self, *, exact: Exact = False) -> "pd.DataFrame":
        """One row a strategy.

        Index: its name. Columns: where (KERNEL or DESK), state (RUNNING, FINISHED, FAILED or CANCELED), started_at,
        error, orders (how many are in its book, those of its exits included), total_pnl (after fees).

        One that the account knows from before, and that was not started since, has neither where nor state.
        """
        infos = self._strategy_infos()
        strategies, pnl, view = self._read(
            lambda account: (
                account.order_history.strategies(),
                portfolio.by_strategy(account),
                view_of(account),
            )
        )
        return frames.strategies(infos, strategies, pnl, view, exact=exact)

    def _strategy_infos(self) -> Sequence[StrategyInfo]:
        """Those that were started here."""
        return ()

    def explain(self, by: Literal["symbol", "strategy", "tag"] = "symbol", *, exact: Exact = False) -> "pd.DataFrame":
        """Where the P&L came from: a row for each symbol (or strategy, or tag) with price_move, spread, slippage, a
        column for each charge as `fills(charges=True)` has them, and total_pnl. What costs is below zero; the parts sum
        to `total_pnl` to the last digit, and the rows to the portfolio's.

        spread: half of what bid and ask were apart, on each fill. slippage: the fill's price against the ask (of a
        sale, the bid) that its order was sent at; an order that had to wait, such as a limit order, is held against the
        quote of its fill. price_move: all else, which is how far the middle of the market went from fill to fill and to
        the mark. What was not known at a fill is nothing there and stands in price_move: the spread where there was
        only a last price or one side, both at a settlement and for fills from before livetrade kept them.
        """
        from livetrade.explain import EXPLAINED_BY, explained

        if by not in EXPLAINED_BY:
            raise OrderError(f"explain: by must be one of {', '.join(map(repr, EXPLAINED_BY))}, not {by!r}")
        fills, totals, view = self._read(
            lambda account: (account.fill_history.fills[:], portfolio.PARTS[by](account), view_of(account))
        )
        return explained(fills, totals, view, by=by, exact=exact)

    # ── statistics ───────────────────────────────────────────────────────────────────────────────────────────────────

    def stats(self) -> "pd.Series[Any]":
        """Statistics of all that happened, from the account's beginning until now: P&L, drawdown, Sharpe and Sortino
        ratios, round trips, costs. What each is, and how transfers are kept out of it: `livetrade.stats.of`."""
        from livetrade import stats

        past = self._read(_past)
        return stats.of(
            past.curve(),
            frames.fills(past.fills, past.view),
            frames.round_trips(past.all_fills, past.view),
            frames.orders(past.orders, past.view),
            multipliers=past.multipliers,
        )

    @property
    def returns(self) -> "pd.Series[float]":
        """Net returns by day from the account's beginning until now, with a naive index: what quantstats and pyfolio
        take. What counts as a day, and returns by any other frequency: `livetrade.stats.returns`."""
        from livetrade import stats

        return stats.returns(self._read(_past).curve())

    def plot(self, symbol: str | None = None, *, title: str | None = None) -> "Figure":
        """A matplotlib figure: the portfolio's value and its drawdown, or with a symbol its price with each fill, the
        levels that its exits watched, and the position.

        The prices are the latest ticks (see `ticks`); the exits are read from the events, from the first on. Raises
        `ImportError` where matplotlib is missing, `OrderError` for a malformed symbol.
        """
        from livetrade import plots, stats

        heading = title or self._title(self._glance(summary_of))
        if symbol is None:
            curve = self._read(_past).curve()
            return plots.equity(curve, stats.drawdown(curve), heading)
        item, view = self._instrument(symbol), self._read(view_of)
        exits = [
            plots.Watched(
                kind=level.kind,
                times=tuple(at(ns, view.zone) for ns in (*level.times_ns, level.ended_ns or view.as_of)),
                prices=tuple(float(item.price(raw)) for raw in (*level.prices_raw, level.prices_raw[-1])),
                fired=level.fired,
            )
            for level in self._levels(item.symbol)
        ]
        fills = self.fills(symbol=item.symbol)
        return plots.price(self.ticks(item.symbol), fills, exits, title or f"{item.symbol} · {heading}")

    @abstractmethod
    def _levels(self, symbol: str) -> "Sequence[Level]":
        """Asks whoever has the events."""

    def export(self, path: "str | Path", since: When = None) -> "list[Path]":
        """Writes positions, orders, fills, risk orders, equity and round trips; gives back what was written.

        `.xlsx`: one file, a sheet for each, its times without a zone (the header names it). `.parquet` and `.csv`: a
        file for each, its name added to `path`'s. Raises `OrderError` for another suffix.
        """
        from livetrade import files

        tables = {
            "positions": self.positions(closed=True),
            "orders": self.orders(since=since),
            "fills": self.fills(since=since),
            "risk_orders": self.risk_orders(since=since),
            "equity": self.equity(since=since),
            "round_trips": self.round_trips(since=since),
        }
        return files.export(path, tables)

    # ── questions about it ───────────────────────────────────────────────────────────────────────────────────────────

    def why(self, order: Order | str) -> "Why":
        """Why an order (or its client_order_id) came to be, and what became of it: one sentence, and the chain of
        events from the command or the exit that fired through the limits' figures, the request and the replies to the
        fills.

        It reads the events from the first on, which takes seconds for hundreds of thousands. Raises `OrderError` for an
        order that the account does not know.
        """
        order_id = str(getattr(order, "client_order_id", order))
        told = self._why(order_id)
        if told is None:
            raise OrderError(f"no order has the id {order_id!r}; engine.orders() lists them all")
        return told

    @abstractmethod
    def _why(self, order_id: str) -> "Why | None":
        """Asks whoever has the events; None where they know no such order."""

    def audit(self) -> "pd.DataFrame":
        """Reckons cash, positions and P&L once more, from the fills and the cash movements alone and by other means
        than the ledger, and compares: a row for each figure that differs (symbol, strategy, product, figure, kept,
        reckoned, difference, exact), none when all is well. Its text and `attrs["verdict"]` say so."""
        from livetrade.audit import audit_of, frame_of

        found, view = self._read(lambda account: (audit_of(account), view_of(account)))
        return frame_of(found, view.seq, at(view.as_of, view.zone).isoformat())

    # ── single values ────────────────────────────────────────────────────────────────────────────────────────────────

    def position(self, symbol: str) -> Position:
        """What is held of a symbol; never None, falsy when flat. Within a strategy: what it holds itself."""
        item, whose = self._instrument(symbol), _own_book()
        return self._read(lambda account: portfolio.position(account, item, whose))

    def order(self, client_order_id: str) -> Order | None:
        """An order by its id, as it stands; None when there is none. One that was sent in slices is told as one."""
        return self._read(lambda account: account.order(client_order_id))

    @property
    def cash(self) -> Decimal:
        """What is on the account, exact, in its currency. What working orders block is in it."""
        return money(self._read(lambda account: account.ledger.cash_raw))

    def now(self) -> datetime:
        """The engine's time: aware, in its time zone. On a recording it is the recording's."""
        return self._read(lambda account: at(account.ts, account.zone))

    def pnl(self, by: str | None = None, *, exact: bool = False) -> "pd.Series[Any]":
        """The portfolio's figures as a Series, or total P&L by "strategy", "tag", "symbol" or "date".

        The figures are those of `get_portfolio_pnl`; the parts sum to `total_pnl`. Floats, or Decimals with
        `exact=True`. Raises `OrderError` for any other `by`.
        """
        if by is None:
            return frames.series(self._read(portfolio.PortfolioPnl.of).as_dict(), "pnl", exact=exact)
        if by not in portfolio.PARTS:
            raise OrderError(f"pnl: by must be one of {', '.join(map(repr, portfolio.PARTS))}, not {by!r}")
        parts = self._read(portfolio.PARTS[by])
        decimals = {key: money(raw) for key, raw in parts.items()}
        return frames.series(decimals, "total_pnl", index=by, exact=exact)


def _where(given: Filters) -> frames.Where:
    unknown = given.keys() - Filters.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"unknown filter {', '.join(sorted(unknown))}; filters are {', '.join(Filters.__annotations__)}"
        )
    return frames.Where(**given)


def _own_book() -> str | None:
    """Whose positions the caller means: a strategy its own, a person everybody's."""
    strategy = current_strategy.get()
    return None if strategy == MANUAL else strategy


def view_of(account: Account) -> View:
    return View(account.zone, account.seq, account.ts)


@record
class _Past:
    """What statistics are made of, all of one moment."""

    fills: Columns
    all_fills: list[Fill]
    orders: Columns
    equity: list[EquityPoint]
    opened: AccountOpened | None
    now: portfolio.PortfolioPnl
    multipliers: dict[str, float]
    view: View

    def curve(self) -> "pd.DataFrame":
        """The equity curve with its two ends: the account's opening, and now."""
        import pandas as pd

        curve = frames.equity(self.equity, self.view)
        if self.opened is None:
            return curve
        begin, now = money(self.opened.cash_raw), self.now.as_dict()
        first = {"cash": begin, "portfolio_value": begin}
        last = {**now, "market_value": now["portfolio_value"] - now["cash"]}
        ends = [[float(end.get(name, 0)) for name in curve.columns] for end in (first, last)]
        times = pd.DatetimeIndex([self.opened.ts, self.view.as_of]).tz_localize(UTC).tz_convert(self.view.zone)
        edges = pd.DataFrame(ends, times.rename("time"), curve.columns)
        return pd.concat([edges.iloc[:1], curve, edges.iloc[1:]])


def _past(account: Account) -> _Past:
    fills = account.fill_history
    return _Past(
        fills=fills.copy(),
        all_fills=fills.fills[:],
        orders=account.order_history.copy(),
        equity=account.equity_history[:],
        opened=account.opened,
        now=portfolio.PortfolioPnl.of(account),
        multipliers={
            item.symbol: float(item.multiplier) for item in account.instruments.values() if item.multiplier != 1
        },
        view=view_of(account),
    )
