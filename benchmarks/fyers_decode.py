"""Fyers data frames to a callback called with a tick: `Decoder.decode` beside the handler of the official SDK.

    uv run python benchmarks/fyers_decode.py [--rounds N] [--keep FOLDER]

Both get the same bytes in the same run, by turns, each in a process of its own. Prints the CPU time per tick (medians
of the rounds) and the ratio. Every frame changes something, so that every item makes a tick; this is checked.

fyers-apiv3 3.2.0 pins its dependencies hard, so it is installed with pip into a virtual environment of its own: this
needs the package index, and a Python that aiohttp 3.9.3 has a wheel for (3.11 or 3.12). The environment is thrown away,
unless `--keep` names a folder for it to be found in the next time.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from statistics import median
from struct import pack
from tempfile import TemporaryDirectory
from time import process_time_ns
from typing import NamedTuple

OFFICIAL = "fyers-apiv3==3.2.0"
TOPICS = 20
TURNS = 60
UNCHANGED = -(1 << 31)
Run = Callable[[int], float]


class Scenario(NamedTuple):
    """Updates of `kind` topics, `items` in a frame, that change the fields at `changed` out of `fields`."""

    name: str
    kind: str
    fields: int
    changed: tuple[int, ...]
    items: int
    lite: bool = False


SCENARIOS = (
    Scenario("scrip, 3 of 21 fields, 1 tick a frame", "sf", 21, (0, 1, 3), 1),
    Scenario("scrip, 3 of 21 fields, 20 ticks a frame", "sf", 21, (0, 1, 3), 20),
    Scenario("scrip, all 21 fields, 1 tick a frame", "sf", 21, tuple(range(21)), 1),
    Scenario("scrip, all 21 fields, 20 ticks a frame", "sf", 21, tuple(range(21)), 20),
    Scenario("scrip, bid, ask and sizes, 20 ticks a frame", "sf", 21, (3, 4, 5, 6, 7), 20),
    Scenario("index, 20 ticks a frame", "if", 6, (0, 2), 20),
    Scenario("depth, 3 of 30 fields, 20 ticks a frame", "dp", 30, (0, 10, 20), 20),
    Scenario("last prices only, 20 ticks a frame", "sf", 21, (0,), 20, lite=True),
)


def topic(kind: str, number: int) -> str:
    return f"{kind}|nse_cm|{3000 + number}"


def snapshots(scenario: Scenario) -> bytes:
    """One frame that begins every topic, at 1000.00 and more."""
    items = []
    for number in range(TOPICS):
        name = topic(scenario.kind, number).encode()
        head = pack(">BHB", 83, number, len(name)) + name
        figures = pack(f">B{scenario.fields}i", scenario.fields, *(100_000 + at for at in range(scenario.fields)))
        items.append(head + figures + pack(">HHB", 0, 1, 2) + b"\x03NSE\x043045\x04SBIN")
    return frame(items, 0)


def frame(items: Sequence[bytes], number: int) -> bytes:
    body = pack(">BIH", 6, number, len(items)) + b"".join(items)
    return pack(">H", len(body)) + body


def updates(scenario: Scenario) -> list[bytes]:
    """Frames of which each, and the first after the last, tells every topic in it something new."""
    items = [item(scenario, number, 100_100 + turn) for turn in range(TURNS) for number in range(TOPICS)]
    return [frame(items[at : at + scenario.items], at) for at in range(0, len(items), scenario.items)]


def item(scenario: Scenario, number: int, value: int) -> bytes:
    if scenario.lite:
        return pack(">BHi", 76, number, value)
    told = (value + at if at in scenario.changed else UNCHANGED for at in range(scenario.fields))
    return pack(f">BHB{scenario.fields}i", 85, number, scenario.fields, *told)


def ours(scenario: Scenario) -> Run:
    from livetrade.adapters.fyers.codec import Decoder
    from livetrade.core.instruments import Instrument
    from livetrade.core.ticks import Tick

    wanted = {topic(scenario.kind, number): Instrument(f"NSE:S{number}-EQ") for number in range(TOPICS)}
    decoder = Decoder(wanted, lite=scenario.lite)
    called = 0

    def on_tick(_: Tick) -> None:
        nonlocal called
        called += 1

    def play(frames: Sequence[bytes]) -> int:
        before = called
        for one in frames:
            for tick in decoder.decode(one):
                on_tick(tick)
        return called - before

    return timed(play, scenario)


def official(scenario: Scenario) -> Run:
    """The SDK's own handler of a message, its state as a subscription leaves it."""
    from fyers_apiv3.FyersWebsocket.data_ws import FyersDataSocket

    called = 0

    def on_message(_: object) -> None:
        nonlocal called
        called += 1

    socket = FyersDataSocket("no token", log_path=str(Path.cwd()), litemode=scenario.lite, on_message=on_message)
    socket.symbol_token = {topic(scenario.kind, number): f"NSE:S{number}-EQ" for number in range(TOPICS)}
    handle = socket._FyersDataSocket__response_msg

    def play(frames: Sequence[bytes]) -> int:
        before = called
        for one in frames:
            handle(one)
        return called - before

    return timed(play, scenario)


def timed(play: Callable[[Sequence[bytes]], int], scenario: Scenario) -> Run:
    """Plays all the updates and gives the CPU nanoseconds of a tick."""
    frames = updates(scenario)
    assert play([snapshots(scenario)]) == TOPICS
    assert play(frames) == TURNS * TOPICS, scenario.name

    def run(times: int) -> float:
        gc.collect()
        before = process_time_ns()
        called = sum(play(frames) for _ in range(times))
        return (process_time_ns() - before) / called

    return run


def answer(make: Callable[[Scenario], Run]) -> None:
    """A process that measures when asked to: a line with a scenario's number and repetitions in, nanoseconds out."""
    ready = lru_cache(maxsize=1)(make)
    for line in sys.stdin:
        number, times = json.loads(line)
        print(json.dumps(ready(SCENARIOS[number])(times)), flush=True)


class Child:
    """Such a process."""

    def __init__(self, python: str | Path, role: str, folder: str | Path) -> None:
        command = [python, Path(__file__).resolve(), "--measure", role]
        paths = os.pathsep.join(str(path) for path in (Path(__file__).resolve().parents[1],) if role == "ours")
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, number: int, times: int) -> float:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([number, times]), file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def by_turns(mine: Child, theirs: Child, number: int, swapped: bool) -> tuple[float, float]:
    """Nanoseconds a tick of either, for about as long; who is first changes."""
    if swapped:
        slow = theirs.measure(number, 1)
        return mine.measure(number, 15), slow
    return mine.measure(number, 15), theirs.measure(number, 1)


@contextmanager
def sdk(keep: Path | None) -> Iterator[Path]:
    """A folder with a virtual environment that has the official SDK."""
    with TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not (folder / "installed").exists():
            print(f"installing {OFFICIAL} into {folder} ...", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", OFFICIAL], check=True)
            (folder / "installed").touch()
        yield python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--keep", type=Path, help="a folder for the SDK's environment, to be used again")
    parser.add_argument("--measure", choices=("ours", "official"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        answer(ours if options.measure == "ours" else official)
        return
    with (
        sdk(options.keep) as python,
        TemporaryDirectory() as folder,
        Child(python, "official", folder) as theirs,
        Child(sys.executable, "ours", folder) as mine,
    ):
        print(f"{'CPU time per tick':44}{'livetrade':>12}{'SDK':>12}")
        for number, scenario in enumerate(SCENARIOS):
            pairs = [by_turns(mine, theirs, number, swapped=turn % 2 == 1) for turn in range(options.rounds)]
            fast, slow = (median(figures) for figures in zip(*pairs, strict=True))
            print(f"{scenario.name:44}{fast:9.0f} ns{slow:9.0f} ns{slow / fast:8.1f} ×")


if __name__ == "__main__":
    main()
