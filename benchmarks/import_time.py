"""What `import livetrade` costs beside `import ib_async`: time and memory, each in fresh processes, by turns.

    uv run --group bench python benchmarks/import_time.py [rounds]

A process that imports nothing is measured in the same rounds and taken off. Medians; the first round only warms up, and
compiles all modules into a folder of its own, so that nobody pays for a missing `__pycache__`.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

NOTHING = "pass"
RIVAL, OURS = "import ib_async", "import livetrade"
ROUNDS = 21
STATUS = Path("/proc/self/statm")
RESIDENT_PAGES = "print(open('/proc/self/statm').read().split()[1])"
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
MIB = 1 << 20


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    codes = (NOTHING, RIVAL, OURS)
    runs: dict[str, list[tuple[float, float]]] = {code: [] for code in codes}
    with TemporaryDirectory() as folder:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        for number in range(rounds + 1):
            for code in codes if number % 2 else reversed(codes):
                figures = seconds(code, environment), memory(code, environment)
                if number:
                    runs[code].append(figures)
    times = {code: 1000 * median(time for time, _ in runs[code]) for code in codes}
    sizes = {code: median(size for _, size in runs[code]) / MIB for code in codes}
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, median of {rounds} rounds\n")
    print(f"{'':18}{'process':>12}{'import':>12}{'memory':>13}")
    for code in codes:
        added_time, added_size = times[code] - times[NOTHING], sizes[code] - sizes[NOTHING]
        print(f"{code:18}{times[code]:>9.1f} ms{added_time:>9.1f} ms{added_size:>+9.1f} MiB")
    faster = (times[RIVAL] - times[NOTHING]) / (times[OURS] - times[NOTHING])
    smaller = (sizes[RIVAL] - sizes[NOTHING]) / (sizes[OURS] - sizes[NOTHING])
    print(f"\nlivetrade takes 1/{faster:.1f} of the time of ib_async and 1/{smaller:.1f} of the memory")


def seconds(code: str, environment: Mapping[str, str]) -> float:
    """How long a process with this code takes, its start and end included."""
    start = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return perf_counter() - start


def memory(code: str, environment: Mapping[str, str]) -> float:
    """Bytes resident after this code; the peak where the operating system tells no more."""
    read, unit = (RESIDENT_PAGES, os.sysconf("SC_PAGE_SIZE")) if STATUS.exists() else (PEAK, _peak_unit())
    command = [sys.executable, "-c", f"{code}\n{read}"]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return int(done.stdout) * unit


def _peak_unit() -> int:
    return 1 if sys.platform == "darwin" else 1024


if __name__ == "__main__":
    main()
