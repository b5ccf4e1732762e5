"""What version 1 wrote is read by every later version, as it was."""

import json
from pathlib import Path

import pytest

import livetrade as lt
from livetrade.journal.verify import verify
from tests.journal.kit import copied
from tests.journal.make_golden import GOLDEN, INSTRUMENT, NIFTY, SBIN, SHORT, make, picture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return copied(GOLDEN, tmp_path / "copy")


SHOWN = json.loads(GOLDEN.with_suffix(".json").read_text())


def check(shown: dict[str, dict[str, list[str]]]) -> None:
    """All that was shown then is shown now; a later version may show more."""
    for table, columns in SHOWN.items():
        for name, values in columns.items():
            assert shown[table][name] == values, (table, name)


def test_it_is_whole_and_small(path: Path) -> None:
    verdict = verify(path)
    assert verdict.whole
    assert verdict.events > 50
    assert GOLDEN.stat().st_size < 60 * 1024


def test_it_reads_as_it_did(path: Path) -> None:
    check(picture(lt.open_journal(path)))


def test_an_engine_goes_on_from_it(path: Path) -> None:
    with lt.LiveTradingEngine(500_000, journal=path) as engine:
        assert engine.account.limits == SHORT
        assert engine.account.instruments[NIFTY] == INSTRUMENT
        assert [str(engine.position(SBIN).quantity)] == SHOWN["positions"]["quantity"] == ["30"]
        engine.stream.update(SBIN, bid="541", ask="541.05")  # through the stop that the second session armed
        assert not engine.position(SBIN)
    assert verify(path).whole


LIKEWISE = [("orders", "status"), ("orders", "reason"), ("fills", "price"), ("risk_orders", "status"), ("pnl", "cash")]


def test_the_script_still_makes_one(tmp_path: Path) -> None:
    """Its orders get other ids and times, and come to the same."""
    path = tmp_path / "new.journal"
    make(path)
    shown = picture(lt.open_journal(path))
    for table, name in LIKEWISE:
        assert shown[table][name] == SHOWN[table][name], (table, name)
