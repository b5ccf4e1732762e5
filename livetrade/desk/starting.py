"""Starting a desk from a notebook: a process of its own, which outlives the kernel."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from livetrade.core.numbers import Number
from livetrade.desk.client import AttachedEngine, attach
from livetrade.desk.runtime import all_running
from livetrade.errors import DeskError

SECONDS = 30.0


def start_desk(
    cash: Number | None = None,
    *,
    feed: str = "none",
    symbols: str | Sequence[str] = (),
    journal: str | os.PathLike[str] | None = None,
    name: str = "main",
    live: bool = False,
) -> AttachedEngine:
    """Starts `livetrade serve` in the background, and attaches to it. It goes on when this process ends.

    cash: of a new account. feed: "none" (prices are posted), "simulated", "fyers", or the name of an installed one.
    symbols: what the feed should bring, one or several. journal: where the account is kept; by its name in the
    user's data directory unless given. A desk of that name that runs already is refused: `lt.attach(name)` goes
    there. Raises `DeskError`, with what the desk said.
    """
    if any(desk.name == name for desk in all_running()):
        raise DeskError(f"a desk {name!r} is running already: lt.attach({name!r}) attaches to it")
    given = {
        "--name": name,
        "--feed": feed,
        "--symbols": symbols if isinstance(symbols, str) else ",".join(symbols) or None,
        "--cash": None if cash is None else str(cash),
        "--journal": None if journal is None else os.fspath(journal),
        "--port": "0",
    }
    words = [word for option, value in given.items() if value is not None for word in (option, value)]
    command = [sys.executable, "-m", "livetrade.cli", "serve", *words, *(["--live"] if live else [])]
    with tempfile.NamedTemporaryFile("w+b", prefix="livetrade-desk-", suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )
    # One that ends while this process lives must not stay behind as if it ran.
    Thread(target=process.wait, name=f"livetrade-desk-{name}-process", daemon=True).start()
    _wait_for(name, process, Path(log.name))
    return attach(name)


def _wait_for(name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = monotonic() + SECONDS
    while not any(desk.name == name and desk.pid == process.pid for desk in all_running()):
        if process.poll() is not None:
            lines = log.read_text("utf-8", "replace").strip().splitlines()
            raise DeskError(f"the desk {name!r} did not start: {lines[-1] if lines else 'it said nothing'}")
        if monotonic() > until:
            process.terminate()
            raise DeskError(f"the desk {name!r} did not start within {SECONDS:g} s; {log} says more")
        sleep(0.02)
