"""How late an engine runs, as its meter tells it."""

from livetrade.snapshot import LAG_EVERY, Meter

MS = 1_000_000


def test_lag_is_what_the_clock_has_gone_on_since_a_tick_was_posted() -> None:
    now = 10 * MS
    meter = Meter(lambda: now)
    assert meter.lags_ms() == {"p50": 0.0, "p99": 0.0, "max": 0.0}
    for lag in range(100):
        for _ in range(LAG_EVERY + 1):
            meter.count_lag(now - lag * MS)
    assert meter.lags_ms() == {"p50": 49.0, "p99": 98.0, "max": 99.0}
    meter.count_lag(now + MS)
    assert meter.lags_ms()["max"] == 99.0


def test_of_a_few_ticks_one_is_timed() -> None:
    asked = []

    def clock() -> int:
        asked.append(1)
        return 0

    meter = Meter(clock)
    for _ in range(10 * (LAG_EVERY + 1)):
        meter.count_lag(0)
    assert len(asked) == 10
