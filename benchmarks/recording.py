"""What a recorded tick takes: bytes on disk beside pandas' own Parquet of the same frame, and time of the two threads.

    uv run python benchmarks/recording.py [--ticks N] [--millions N] [FILE ...]

Simulated markets of 1, 20 and 200 symbols, and whatever files `lt.read_ticks` takes. "engine" is what a recording adds
to the engine's part of a tick, "thread" what its own thread needs for one until it is in Parquet; both are CPU time.
With `--millions N`: the memory of the process at each million ticks of N that a folder takes.
"""

import argparse
import gc
import io
import itertools
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from time import process_time_ns
from zoneinfo import ZoneInfo

import livetrade as lt
from livetrade.core.instruments import default_instrument
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.recorder.folder import Folder
from livetrade.ticklog import TickLog

ZONE = ZoneInfo("Asia/Kolkata")
OPENING_NS = 1_767_584_700_000_000_000
HANDED_OVER = 500


def simulated(symbols: int, ticks: int) -> Iterator[Tick]:
    """A market with a tick every tenth of a second for each symbol, at times to the nanosecond."""
    dice = random.Random(1)
    feed = lt.SimulatedFeed([f"NSE:S{number:03d}-EQ" for number in range(symbols)], seed=1)
    gaps = (int(dice.expovariate(10 * symbols) * 1e9) for _ in itertools.count())
    times = itertools.accumulate(gaps, initial=OPENING_NS)
    return feed.path(lambda item: item, ticks, lambda: next(times))


def quotes_of(updates: Iterable[Tick | str]) -> list[Tick]:
    known: dict[str, Tick] = {}
    quotes = []
    for update in updates:
        quote = update if isinstance(update, str) else merge(known.get(update.symbol), update)
        if isinstance(quote, Tick):
            known[quote.symbol] = quote
            quotes.append(quote)
    return quotes


def recorded(quotes: list[Tick], path: Path) -> None:
    folder = Folder(path, ZONE)
    for first in range(0, len(quotes), HANDED_OVER):
        folder.write(quotes[first : first + HANDED_OVER])
    folder.close_file()
    folder.let_go()


def cpu_ns(job, count: int) -> float:  # type: ignore[no-untyped-def]
    gc.collect()
    begin = process_time_ns()
    job()
    return (process_time_ns() - begin) / count


def on_the_engine(quotes: list[Tick]) -> float:
    """What a recording adds to the engine's part of a tick, in nanoseconds."""
    figures = []
    for _ in range(5):
        taken = []
        for joins in (False, True):
            log = TickLog()
            if joins:
                log.join(lambda ticks: None)

            def add(log: TickLog = log) -> None:
                for number, quote in enumerate(quotes):
                    log.add(quote)
                    if not number % HANDED_OVER:
                        log.hand_over()

            taken.append(cpu_ns(add, len(quotes)))
        figures.append(taken[1] - taken[0])
    return median(figures)


def shown(name: str, quotes: list[Tick]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        thread = cpu_ns(lambda: recorded(quotes, Path(scratch)), len(quotes))
        size = sum(path.stat().st_size for path in Path(scratch).glob("*.parquet"))
        frame = lt.read_ticks(scratch)
        assert len(frame) == len(quotes)
    plain = io.BytesIO()
    frame.to_parquet(plain)
    beside = len(plain.getvalue())
    print(
        f"{name:32s} {len(quotes):9,} ticks {size / len(quotes):6.2f} bytes each, pandas {beside / len(quotes):6.2f} "
        f"({beside / size:.1f} times as much)   engine {on_the_engine(quotes):4.0f} ns  thread {thread / 1000:5.1f} µs"
    )


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def grown(symbols: int, millions: int) -> list[float]:
    """Resident MiB at each million of ticks that a folder takes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(Path(scratch), ZONE)
        found = []
        quotes = simulated(symbols, millions * 1_000_000)
        for _ in range(millions):
            for _ in range(1_000_000 // HANDED_OVER):
                folder.write(list(itertools.islice(quotes, HANDED_OVER)))
            found.append(resident_mib())
        folder.close_file()
        folder.let_go()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--ticks", type=int, default=300_000)
    parser.add_argument("--millions", type=int, default=0, help="also show memory over so many million ticks")
    chosen = parser.parse_args()
    for symbols in (1, 20, 200):
        shown(f"simulated, {symbols} symbols", quotes_of(simulated(symbols, chosen.ticks)))
    for file in chosen.files:
        shown(file.name, quotes_of(lt.RecordedFeed(file).rows(lambda symbol: default_instrument(symbol, ZONE), ZONE)))
    if chosen.millions:
        print("memory, MiB:", *(f"{each:.0f}" for each in grown(200, chosen.millions)))


if __name__ == "__main__":
    main()
