"""`sweep(strategy, source, grid=...)`: one replay for each combination of parameters, in many processes."""

import itertools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from math import nan
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livetrade.adapters.paper import PaperBroker
from livetrade.adapters.recorded import RecordedFeed
from livetrade.core.fees import DEFAULT_FEES
from livetrade.core.instruments import Instrument
from livetrade.core.limits import Limits
from livetrade.core.numbers import Number
from livetrade.core.schedules import Fees
from livetrade.errors import LiveTradeError, OrderError, StrategyError
from livetrade.replays.run import check_strategy, feed_of, replay
from livetrade.replays.sharing import share, shared
from livetrade.strategies import Strategy, by_name

if TYPE_CHECKING:
    import pandas as pd

    from livetrade.core.account import Margin

FIGURES = (
    "orders",
    "fills",
    "round_trips",
    "win_rate",
    "total_pnl",
    "total_pnl_percent",
    "max_drawdown",
    "sharpe",
    "fees",
)
"""What a row of a sweep and the command line tell of a replay: statistics by their names (`livetrade.stats.of`)."""
RESERVED = (
    "grid", "executor", "workers", "folder", "progress", "cash", "fees", "limits", "margin", "broker", "instruments",
    "timezone", "currency", "trigger_by", "params",
)  # fmt: skip
Params = dict[str, Any]
Row = dict[str, Any]


def sweep(
    strategy: Strategy,
    source: "str | PathLike[str] | pd.DataFrame | RecordedFeed",
    *args: Any,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    executor: Executor | None = None,
    workers: int | None = None,
    folder: str | PathLike[str] | None = None,
    progress: bool | None = None,
    cash: Number = 500_000,
    fees: Fees = DEFAULT_FEES,
    limits: Limits | None = None,
    margin: "Margin | None" = None,
    broker: PaperBroker | None = None,
    instruments: Sequence[Instrument] = (),
    timezone: str = "Asia/Kolkata",
    currency: str = "INR",
    trigger_by: str = "quote",
    params: Mapping[str, Any] | None = None,
    **more: Any,
) -> "pd.DataFrame":
    """Replays a strategy once for each combination of parameters; gives a DataFrame with a row for each.

    grid: values by parameter (every combination is run), or a list of dicts (each is a run). It is the index, in that
    order, so with two parameters `table["total_pnl"].unstack()` is a heat map; lists and dicts stand there as text.
    Columns: orders, fills, round_trips, win_rate, total_pnl, total_pnl_percent, max_drawdown, sharpe, fees (as
    `result.stats()` has them) and error: empty, or what the strategy raised, and then the figures are NaN.

    args, params and other keywords: the strategy's arguments that stay the same; cash to trigger_by: as `replay` takes
    them. executor: any `concurrent.futures.Executor`, such as Dask's `client.get_executor()`; else a pool of `workers`
    processes (as many as processors; 0 runs everything here, one after the other). The strategy travels by cloudpickle,
    so it may be defined in a notebook's cell; the ticks are written once into `folder` (a temporary one unless given;
    workers on other machines need one that they see) and mapped into each worker. A worker that dies loses no row: its
    run is begun again elsewhere. progress: as in `replay`.

    Raises `OrderError` for wrong arguments, `FeedError` for a source that cannot be read.
    """
    fixed = {**more, **by_name(params)}
    names, runs = _runs(grid)
    for run in runs:
        check_strategy(strategy, args, _all(fixed, run), RESERVED, (), "sweep()")
    terms = {
        "cash": cash,
        "fees": fees,
        "limits": limits,
        "margin": margin,
        "broker": broker,
        "timezone": timezone,
        "currency": currency,
        "trigger_by": trigger_by,
    }
    feed = feed_of(source, strategy, args, fixed, instruments)
    with _bar(progress, len(runs)) as advance:
        if executor is None and workers == 0:
            rows = []
            for run in runs:
                rows.append(_row(strategy, feed, args, _all(fixed, run), terms))
                advance(1)
        else:
            with _folder(folder) as place:
                share(feed, place)
                job = _packed(strategy, args, terms)
                rows = _Pool(executor, workers, len(runs)).rows(job, place, [_all(fixed, run) for run in runs], advance)
    return _table(names, runs, rows)


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────────


def _runs(grid: Any) -> tuple[list[str], list[Params]]:
    """The names of the parameters, and their values in each run."""
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not hasattr(values, "__iter__"):
                raise OrderError(f"grid: {name} needs a list of values, such as [5, 10], not {values!r}")
        columns = {str(name): list(values) for name, values in grid.items()}
        names = list(columns)
        runs = [dict(zip(names, values, strict=True)) for values in itertools.product(*columns.values())]
    else:
        runs = [dict(run) for run in grid if isinstance(run, Mapping)] if isinstance(grid, Sequence) else []
        if not isinstance(grid, Sequence) or len(runs) < len(grid):
            raise OrderError("grid is values by parameter, {'fast': [5, 10], 'slow': [30, 60]}, or a list of dicts")
        names = list(dict.fromkeys(name for run in runs for name in run))
    if not runs or not names:
        raise OrderError("the grid is empty: there is nothing to run")
    return names, runs


def _all(fixed: Params, run: Params) -> Params:
    twice = sorted(fixed.keys() & run.keys())
    if twice:
        raise OrderError(f"{', '.join(twice)} is given in the grid and beside it")
    return {**fixed, **run}


def _packed(strategy: Strategy, args: Sequence[Any], terms: Mapping[str, Any]) -> bytes:
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps((strategy, args, terms))
    except Exception as error:
        raise OrderError(f"the strategy cannot be sent to another process: {error}; workers=0 runs it here") from error
    return packed


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_packed(job: bytes, folder: str, params: bytes) -> Row:
    """One row of a sweep, in a worker."""
    import pickle

    strategy, args, terms = pickle.loads(job)
    return _row(strategy, shared(Path(folder)), args, pickle.loads(params), terms)


def _row(strategy: Strategy, feed: RecordedFeed, args: Sequence[Any], params: Params, terms: Mapping[str, Any]) -> Row:
    try:
        result = replay(strategy, feed, *args, progress=False, params=params, **terms)
    except StrategyError as error:
        return {"error": str(error)}
    except LiveTradeError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    found = result.stats()
    return {**{name: found[name] for name in FIGURES}, "error": ""}


# ── many ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Pool:
    """Runs jobs on an executor: the one that was given, or a pool of processes, made again when one of them dies.

    Whose fault a death is cannot be seen at once. After the first, runs begin so many at a time as there are workers;
    those of a batch in which one died are begun alone, and one that dies alone is to blame.
    """

    def __init__(self, executor: Executor | None, workers: int | None, runs: int) -> None:
        self._given = executor
        self._workers = min(workers or os.cpu_count() or 1, runs)
        self._executor = executor if executor is not None else self._new()
        self._has_died = False
        self._suspects: set[int] = set()

    def _new(self) -> Executor:
        # By spawn: a fork would copy an engine's threads half-way.
        return ProcessPoolExecutor(self._workers, mp_context=multiprocessing.get_context("spawn"))

    def rows(self, job: bytes, folder: Path, runs: Sequence[Params], advance: Callable[[int], object]) -> list[Row]:
        import cloudpickle

        packed = [cloudpickle.dumps(run) for run in runs]
        rows: dict[int, Row] = {}
        try:
            while len(rows) < len(runs):
                batch = self._batch([number for number in range(len(runs)) if number not in rows])
                for number, row in self._round(job, folder, packed, batch):
                    rows[number] = row
                    advance(1)
        finally:
            if self._given is None:
                self._executor.shutdown(wait=len(rows) == len(runs), cancel_futures=True)
        return [rows[number] for number in range(len(runs))]

    def _batch(self, left: Sequence[int]) -> Sequence[int]:
        suspects = [number for number in left if number in self._suspects]
        if suspects:
            return suspects[:1]
        return left[: self._workers] if self._has_died else left

    def _round(
        self, job: bytes, folder: Path, packed: Sequence[bytes], batch: Sequence[int]
    ) -> Iterator[tuple[int, Row]]:
        """What comes of some runs. Where a worker dies, those that it takes with it are left for another round."""
        futures: dict[Future[Row], int] = {}
        died = False
        for number in batch:
            try:
                futures[self._executor.submit(run_packed, job, str(folder), packed[number])] = number
            except BrokenExecutor as broken:
                died = True
                if self._given is None:
                    break
                yield number, {"error": _told(broken)}
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                yield futures[future], future.result()
            elif not isinstance(error, BrokenExecutor) or self._given is not None or len(batch) == 1:
                yield futures[future], {"error": _told(error)}
                died = died or isinstance(error, BrokenExecutor)
            else:
                died = True
                if self._has_died:
                    self._suspects.add(futures[future])
        if died and self._given is None:
            self._has_died = True
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = self._new()


def _told(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "its worker process died: too little memory, or a crash in the strategy"
    return f"{type(error).__name__}: {error}"


@contextmanager
def _folder(given: str | PathLike[str] | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="livetrade-sweep-", dir=given) as place:
        yield Path(place)


def _bar(progress: bool | None, runs: int) -> Any:
    shown = progress if progress is not None else sys.stderr.isatty() or "ipykernel" in sys.modules
    if not shown:
        return nullcontext(lambda _: None)
    from tqdm.auto import tqdm

    return _shown(tqdm(total=runs, desc="sweep", unit="run", file=sys.stderr))


@contextmanager
def _shown(bar: Any) -> Iterator[Any]:
    with bar:
        yield bar.update


def _label(value: Any) -> Any:
    """A parameter as an index can hold it: a list, a dict or an array by its text."""
    try:
        hash(value)
    except TypeError:
        return str(value)
    return value


def _table(names: Sequence[str], runs: Sequence[Params], rows: Sequence[Row]) -> "pd.DataFrame":
    import pandas as pd

    columns = [[_label(run.get(name)) for run in runs] for name in names]
    index = (
        pd.Index(columns[0], name=names[0], tupleize_cols=False)
        if len(names) == 1
        else pd.MultiIndex.from_arrays(columns, names=list(names))
    )
    figures: dict[str, Any] = {name: [float(row.get(name, nan)) for row in rows] for name in FIGURES}
    errors = pd.array([row["error"] for row in rows], dtype="str")
    return pd.DataFrame({**figures, "error": errors}, index=index)
