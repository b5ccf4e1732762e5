"""What Indian exchanges, the state and brokers charge, as dated data: each rate holds from its first day on, until a
later one of the same charge.

Collected from secondary sources, of which at least two agree on each rate: for the exchanges' own charges news of their
circulars of 2024-09-27 and brokers' pages, for STT news of the budgets and brokers' pages, for the brokerage Fyers' own
pages. `# ?` marks what is not certain: NSE collects for its fund for investors (IPFT) 0.0001 %, of premiums 0.0005 %,
since 2023-04-01; the rows from 2026-04-01 on are as brokers show them with it, those before as the circular has them
without, and nobody says that NSE itself charges more since then. Rates are percents of turnover (for options: of the
premium) and texts, so that nothing is rounded on its way here. The last known rate is taken to hold on: look here when
a budget or a circular changes one.
"""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from livetrade.core.numbers import number, scaled
from livetrade.core.records import record
from livetrade.errors import OrderError


class Segment(StrEnum):
    DELIVERY = "DELIVERY"
    INTRADAY = "INTRADAY"
    FUTURE = "FUTURE"
    OPTION = "OPTION"


D, I, F, O = Segment.DELIVERY, Segment.INTRADAY, Segment.FUTURE, Segment.OPTION  # noqa: E741  a table reads by columns

RATES: tuple[tuple[str, str, str, Segment, str, str], ...] = (
    # from         charge         exchange  segment  buy        sell, in percent
    ("2024-10-01", "stt",         "",       D,       "0.1",     "0.1"),
    ("2024-10-01", "stt",         "",       I,       "0",       "0.025"),
    ("2024-10-01", "stt",         "",       F,       "0",       "0.02"),
    ("2026-04-01", "stt",         "",       F,       "0",       "0.05"),
    ("2024-10-01", "stt",         "",       O,       "0",       "0.1"),
    ("2026-04-01", "stt",         "",       O,       "0",       "0.15"),
    ("2024-10-01", "transaction", "NSE",    D,       "0.00297", "0.00297"),
    ("2026-04-01", "transaction", "NSE",    D,       "0.00307", "0.00307"),  # ? only the day
    ("2024-10-01", "transaction", "NSE",    I,       "0.00297", "0.00297"),
    ("2026-04-01", "transaction", "NSE",    I,       "0.00307", "0.00307"),  # ? only the day
    ("2024-10-01", "transaction", "NSE",    F,       "0.00173", "0.00173"),
    ("2026-04-01", "transaction", "NSE",    F,       "0.00183", "0.00183"),  # ? only the day
    ("2024-10-01", "transaction", "NSE",    O,       "0.03503", "0.03503"),
    ("2026-04-01", "transaction", "NSE",    O,       "0.03553", "0.03553"),  # ? only the day
    ("2024-10-01", "transaction", "BSE",    D,       "0.00375", "0.00375"),  # groups A and B; others pay more
    ("2024-10-01", "transaction", "BSE",    I,       "0.00375", "0.00375"),
    ("2024-10-01", "transaction", "BSE",    F,       "0",       "0"),
    ("2024-10-01", "transaction", "BSE",    O,       "0.0325",  "0.0325"),   # Sensex and Bankex; others 0.005
    ("2024-10-01", "sebi",        "",       D,       "0.0001",  "0.0001"),   # 10 INR per crore
    ("2024-10-01", "sebi",        "",       I,       "0.0001",  "0.0001"),
    ("2024-10-01", "sebi",        "",       F,       "0.0001",  "0.0001"),
    ("2024-10-01", "sebi",        "",       O,       "0.0001",  "0.0001"),
    ("2024-10-01", "stamp_duty",  "",       D,       "0.015",   "0"),
    ("2024-10-01", "stamp_duty",  "",       I,       "0.003",   "0"),
    ("2024-10-01", "stamp_duty",  "",       F,       "0.002",   "0"),
    ("2024-10-01", "stamp_duty",  "",       O,       "0.003",   "0"),
)  # fmt: skip

GST: tuple[tuple[str, str], ...] = (("2024-10-01", "18"),)
"""In percent of brokerage, SEBI fee, transaction charge and DP charge."""

BROKERAGES: dict[str, tuple[tuple[str, Segment, str, str | None], ...]] = {
    # for each executed order: at most so many INR, and so many percent of its value where that is less
    "fyers": (
        ("2024-10-01", D, "20", "0.3"),
        ("2024-10-01", I, "20", "0.03"),
        ("2024-10-01", F, "20", "0.03"),
        ("2024-10-01", O, "20", None),
    ),
    "zero": tuple(("2024-10-01", segment, "0", None) for segment in Segment),
}

RATE_SCALE = 8


@record
class Rates:
    """What holds on one day for one segment of one exchange: whole units of 10⁻⁸ percent, bought and sold."""

    stt: tuple[int, int]
    transaction: tuple[int, int]
    sebi: tuple[int, int]
    stamp_duty: tuple[int, int]
    gst: int


@lru_cache(maxsize=1024)
def rates_on(day: date, exchange: str, segment: Segment) -> Rates:
    """Raises `OrderError` where the table does not reach: another exchange, or a day before its first."""
    rows = [row for row in RATES if row[2] in ("", exchange) and row[3] is segment]
    if exchange not in {row[2] for row in rows}:
        raise OrderError(f"no charges of {exchange} are known, only of NSE and BSE; pass fees= of your own")
    found = {row[1]: (rate_raw(row[4]), rate_raw(row[5])) for row in _until(day, rows)}
    gst = [rate_raw(rate) for _, rate in _until(day, GST)]
    if not gst or len(found) < len(Rates.__match_args__) - 1:
        first = max(min(row[0] for row in rows if row[1] == charge) for charge in {row[1] for row in rows})
        raise OrderError(
            f"charges of {segment} on {exchange} are known from {first} on, not for {day}; pass fees= of your own"
        )
    return Rates(**found, gst=gst[-1])


@lru_cache(maxsize=1024)
def brokerage_on(day: date, broker: str, segment: Segment) -> tuple[str, str | None]:
    """(at most, percent) for each executed order. Raises `OrderError` for a day before the table's first."""
    rows = [row for row in BROKERAGES[broker] if row[1] is segment]
    known = _until(day, rows)
    if not known:
        raise OrderError(f"the brokerage of {broker} is known from {rows[0][0]} on, not for {day}")
    _, _, at_most, percent = known[-1]
    return at_most, percent


def rate_raw(percent: str) -> int:
    raw = scaled(number(percent, "rate"), RATE_SCALE)
    assert raw is not None, percent
    return raw


Row = TypeVar("Row", bound=tuple[Any, ...])


def _until(day: date, rows: Sequence[Row]) -> list[Row]:
    """The rows that hold on a day or before, the latest last."""
    return sorted((row for row in rows if row[0] <= day.isoformat()), key=lambda row: str(row[0]))
