"""A write that stopped half-way: what was acknowledged is there, the rest is left out, and that is said."""

import random
from pathlib import Path
from struct import pack

import pytest

from livetrade.errors import JournalError
from livetrade.journal.verify import verify
from livetrade.journal.wal import torn_bytes
from tests.journal.kit import RecordedDesk, contents, copied, read_back, session, side, written
from tests.support import SBIN, quoted, trading

PAGE = 4096
HEADER, FRAME = 32, 24 + PAGE
NOTE = "stopped half-way and is left out; it was never acknowledged"


class Killed:
    """A journal of some commits, all of them in the log."""

    def __init__(self, folder: Path) -> None:
        self.desk: RecordedDesk = session(3, 60)
        store = written(folder / "a.journal", self.desk.items)
        self.path = copied(folder / "a.journal", folder / "killed")
        store.close()
        self.log = side(self.path, "-wal")
        self.whole = self.log.read_bytes()
        assert (len(self.whole) - HEADER) % FRAME == 0
        assert torn_bytes(self.log) == 0

    def frame(self, pages: int, rubbish: bytes = b"\x07") -> bytes:
        """One more frame of this log, that nobody has finished: `pages` above zero says that it ends a commit."""
        salt = self.whole[16:24]
        return pack(">2I", 2, pages) + salt + bytes(8) + rubbish * PAGE

    def holds_all(self, torn: int) -> None:
        before = contents(self.path)
        assert verify(self.path).torn == torn_bytes(self.log) == torn
        assert verify(self.path).whole
        assert contents(self.path) == before
        state, notes = read_back(self.path)
        assert state.told == self.desk.events
        assert [NOTE in note for note in notes] == [True] * bool(torn)
        assert torn_bytes(self.log) == 0


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(tmp_path)


@pytest.mark.parametrize("pages", [0, 3])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("missing", [0, 1, PAGE, FRAME - 24, FRAME - 23, FRAME - 1])
def test_frames_without_an_end_are_left_out(killed: Killed, pages: int, frames: int, missing: int) -> None:
    tail = (killed.frame(0) * (frames - 1) + killed.frame(pages))[: frames * FRAME - missing]
    killed.log.write_bytes(killed.whole + tail)
    killed.holds_all(torn=len(tail))


def test_what_an_older_log_left_behind_is_not_torn(killed: Killed) -> None:
    salted = bytearray(killed.frame(0))
    salted[8] ^= 1
    killed.log.write_bytes(killed.whole + bytes(salted))
    killed.holds_all(torn=0)


def test_a_log_of_which_only_half_a_header_was_written(tmp_path: Path, killed: Killed) -> None:
    """All that was committed has been copied into the file, and the log begins anew."""
    path = tmp_path / "a.journal"
    side(path, "-wal").write_bytes(killed.whole[:20])
    assert verify(path).torn == 20
    state, notes = read_back(path)
    assert state.told == killed.desk.events
    assert len(notes) == 1


def test_a_log_cut_inside_a_commit_is_damage_behind_the_head(killed: Killed) -> None:
    dice = random.Random(1)
    for length in [
        HEADER,
        HEADER + FRAME,
        len(killed.whole) - 1,
        *(dice.randrange(len(killed.whole)) for _ in range(20)),
    ]:
        killed.log.write_bytes(killed.whole[:length])
        assert verify(killed.path).damage.endswith("are missing")
        with pytest.raises(JournalError, match=r"damaged: .*are missing"):
            read_back(killed.path)
        assert killed.log.read_bytes() == killed.whole[:length]


@pytest.mark.parametrize("byte", range(HEADER))
def test_a_damaged_header_of_the_log_is_no_surprise(killed: Killed, byte: int) -> None:
    data = bytearray(killed.whole)
    data[byte] ^= 0x10
    killed.log.write_bytes(data)
    assert 0 <= torn_bytes(killed.log) <= len(data)
    assert verify(killed.path).damage


def test_an_engine_says_so(tmp_path: Path) -> None:
    with trading(journal=tmp_path / "a.journal") as engine:
        engine.market_buy(SBIN, 10).result(5)
        path = copied(tmp_path / "a.journal", tmp_path / "killed")
    with side(path, "-wal").open("ab") as log:
        log.write(pack(">2I", 2, 0) + side(path, "-wal").read_bytes()[16:24] + bytes(FRAME - 16))
    with trading(None, quoted(), journal=path) as engine:
        assert engine.position(SBIN).quantity == 10
        assert sum(NOTE in alarm for alarm in engine.health()["alarms"]) == 1
    with trading(None, quoted(), journal=path) as engine:
        assert sum(NOTE in alarm for alarm in engine.health()["alarms"]) == 1  # an event, said once


def test_there_is_no_log(tmp_path: Path) -> None:
    assert torn_bytes(tmp_path / "none") == torn_bytes(tmp_path) == 0
