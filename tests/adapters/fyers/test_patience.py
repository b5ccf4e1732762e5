"""When a feed connects anew, gives up, and calls prices stale: without a connection, and in no time."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.adapters.fyers.patience import ONE_CONNECTION, Cure, Loss, Retries, Silence, Timing, Verdict

SECOND = 1_000_000_000
NEVER_IN = Loss("refused")


def delays(retries: Retries, loss: Loss, n: int) -> list[float | None]:
    return [retries.after(loss) for _ in range(n)]


def test_delays_double_up_to_half_a_minute() -> None:
    retries = Retries(None, Timing(random=Random(1)))
    found = delays(retries, NEVER_IN, 40)
    for delay, most in zip(found, (1, 2, 4, 8, 16, *[30] * 35), strict=True):
        assert delay is not None
        assert most / 2 <= delay <= most
    assert len(set(found)) == 40


@given(st.integers(0, 30), st.integers())
def test_it_gives_up_after_so_many_failures_in_a_row(most: int, seed: int) -> None:
    retries = Retries(most, Timing(random=Random(seed)))
    assert None not in delays(retries, NEVER_IN, most)
    assert retries.after(NEVER_IN) is None
    assert retries.failures == most + 1


def test_the_same_seed_gives_the_same_delays() -> None:
    one, other = (Retries(None, Timing(random=Random(7))) for _ in range(2))
    assert delays(one, NEVER_IN, 20) == delays(other, NEVER_IN, 20)


def test_being_let_in_forgives_the_failures_and_lasting_the_delays() -> None:
    retries = Retries(3, Timing(random=Random(1)))
    delays(retries, NEVER_IN, 3)
    assert retries.after(Loss("lost", lasted=5)) is not None
    assert retries.failures == 1
    brief = retries.after(Loss("lost", lasted=5))
    assert brief is not None
    assert brief >= 8
    lasting = retries.after(Loss("lost", lasted=3600))
    assert lasting is not None
    assert lasting <= 1


def test_no_retries_means_none() -> None:
    assert Retries(0, Timing()).after(Loss("lost", lasted=3600)) is None


def test_a_server_may_want_to_be_left_alone() -> None:
    assert Retries(5, Timing()).after(Loss("too often", wait=120)) == 120


@pytest.mark.parametrize(("most", "answer"), [(5, None), (None, 60.0)])
def test_without_a_token_only_the_unattended_go_on_looking(most: int | None, answer: float | None) -> None:
    retries = Retries(most, Timing())
    assert delays(retries, Loss("expired", Cure.TOKEN), 3) == [answer] * 3


@pytest.mark.parametrize("most", [5, None])
def test_what_nothing_can_cure_is_final(most: int | None) -> None:
    assert Retries(most, Timing()).after(Loss("no such symbol", Cure.NONE)) is None


def test_sent_away_again_and_again_hints_at_a_second_connection() -> None:
    retries = Retries(5, Timing())
    away = Loss("closed (1008)", lasted=2, sent_away=True)
    told = []
    for loss in (away, away, Loss("broke off", lasted=2), away, Loss("closed", lasted=90, sent_away=True), away, away):
        retries.after(loss)
        told.append(ONE_CONNECTION in retries.told(loss))
    assert told == [False, True, False, False, False, False, True]


# ── silence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def verdicts(silence: Silence, begin: int, *seconds: int, in_session: bool = True) -> list[Verdict]:
    return [silence.look(begin + second * SECOND, in_session) for second in seconds]


def test_silence_is_stale_and_then_dead() -> None:
    silence = Silence(10)
    silence.begin(0)
    assert verdicts(silence, 0, 1, 9, 10, 19, 20) == ["fine", "fine", "stale", "stale", "dead"]


def test_the_next_look_is_when_the_verdict_may_change() -> None:
    silence = Silence(10)
    silence.begin(0)
    assert silence.next_look(4 * SECOND) == 6
    assert [silence.half_over(second * SECOND) for second in (4, 5, 8)] == [1, 0, 0]
    silence.look(10 * SECOND, True)
    assert silence.next_look(10 * SECOND) == 10
    assert silence.next_look(25 * SECOND) == 0


def test_a_price_ends_it() -> None:
    silence = Silence(10)
    silence.begin(0)
    assert not silence.heard(5 * SECOND)
    assert verdicts(silence, 0, 14, 15) == ["fine", "stale"]
    assert silence.heard(16 * SECOND)
    assert verdicts(silence, 0, 25, 26) == ["fine", "stale"]


def test_outside_of_the_hours_silence_is_normal_and_counts_from_their_beginning() -> None:
    silence = Silence(10)
    silence.begin(0)
    assert verdicts(silence, 0, 60, 6000, in_session=False) == ["fine", "fine"]
    assert verdicts(silence, 6000 * SECOND, 1, 9, 10) == ["fine", "fine", "stale"]
    assert verdicts(silence, 6000 * SECOND, 11, in_session=False) == ["fine"]


def test_a_market_that_stays_silent_is_asked_less_and_less_often() -> None:
    """On a holiday every new connection is silent too."""
    silence = Silence(10)
    lives = []
    for start in range(0, 10_000_000, 100_000):
        silence.end()
        silence.heard(start * SECOND)  # the snapshot
        silence.begin(start * SECOND)
        life = next(second for second in range(100_000) if verdicts(silence, start * SECOND, second) == ["dead"])
        lives.append(life)
    assert lives[:7] == [20, 30, 50, 90, 170, 310, 310]
    assert set(lives[5:]) == {310}


def test_one_that_ticks_again_is_trusted_again() -> None:
    silence = Silence(10)
    silence.begin(0)
    assert verdicts(silence, 0, 20) == ["dead"]
    silence.end()
    silence.begin(100 * SECOND)
    silence.heard(120 * SECOND)
    assert verdicts(silence, 120 * SECOND, 20) == ["dead"]
