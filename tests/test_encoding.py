"""Events as bytes and back: nothing is lost, nothing is guessed, and what was once written stays readable."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState, InstrumentKind
from livetrade.core.records import Record
from livetrade.core.state import State
from livetrade.encoding import KINDS, VERSION, Decoder, LaterVersionError, encoded, plain
from livetrade.errors import JournalError
from livetrade.journal.chain import START, Head, linked
from livetrade.journal.past import Past, check
from livetrade.journal.rows import packed_steps
from livetrade.journal.store import EVENTS, Store
from livetrade.journal.verify import reading
from tests.core.kit import SBIN, same_state
from tests.core.test_account_random import STEP, TERMS, play
from tests.journal import records_table

ZONE = ZoneInfo("Asia/Kolkata")
OPENED = ev.AccountOpened(1, 10**30, "INR", "Asia/Kolkata")
ADDED = ev.InstrumentAdded(1, SBIN)


def a_decoder(*before: ev.Event) -> Decoder:
    decoder = Decoder()
    for event in before or (OPENED, ADDED):
        decoder.event(plain(event))
    return decoder


def round_trip(events: Sequence[ev.Event], decoder: Decoder) -> list[ev.Event]:
    """The events as they are read back, each checked against the one that was written."""
    read = []
    for event in events:
        data = encoded(plain(event))
        back = decoder.event(json.loads(data))
        assert type(back) is type(event)
        assert back == event
        assert encoded(plain(back)) == data
        read.append(back)
    return read


def folded(events: Sequence[ev.Event]) -> State:
    state = State()
    for event in events:
        state.apply(event)
    return state


@given(terms=TERMS, steps=st.lists(STEP, min_size=10, max_size=80))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_happened_in_random_sessions(terms: dict[str, Any], steps: list[tuple[int, int, int, int]]) -> None:
    events = play(terms, steps).desk.events
    read = round_trip(events, Decoder())
    same_state(folded(events), folded(read))


# ── every kind of event, with every kind of value ────────────────────────────────────────────────────────────────────

TEXTS = st.text(st.characters(categories=None)) | st.sampled_from(
    ["", '"', "\\", "a\nb", "₹ 🚀", "\ud83d", "\ud83d\ude80"]
)
INSTRUMENTS = st.builds(
    Instrument,
    st.sampled_from(["NSE:A-EQ", "BTCUSDT", "MCX:GOLD&X_1"]),
    kind=st.sampled_from(InstrumentKind),
    scale=st.integers(3, 6),
    tick_size=st.none() | st.sampled_from([Decimal("0.050"), Decimal("0.001"), 1]),
    lot_size=st.sampled_from([1, Decimal(75), "0.10"]),
    quantity_scale=st.integers(1, 6),
    multiplier=st.sampled_from([1, Decimal("0.1"), Decimal("1E+2")]),
    freeze_quantity=st.none() | st.just(1800),
    expiry=st.none() | st.dates(date(1970, 1, 1), date(2100, 1, 1)),
    strike=st.none() | st.just(Decimal("25000.50")),
    option_type=st.sampled_from([None, "CE", "PE"]),
    currency=st.sampled_from(["INR", "USD"]),
    zone=st.just(ZONE),
)


def values_of(hint: Any, instruments: Sequence[Instrument]) -> st.SearchStrategy[Any]:
    """Anything that may stand in a field, by its annotation."""
    if hint is Instrument:
        return st.sampled_from(instruments)
    if hint in (int, bool, str, Decimal):
        numbers = st.integers(-(10**40), 10**40)
        decimals = st.decimals(allow_nan=False, allow_infinity=False)
        return {int: numbers, bool: st.booleans(), str: TEXTS, Decimal: decimals}[hint]
    inner = get_args(hint)
    if not inner:
        return st.none() if hint is type(None) else _of_class(hint, instruments)
    parts = [values_of(each, instruments) for each in inner if each is not ...]
    if getattr(hint, "__origin__", None) is frozenset:
        return st.frozensets(parts[0], max_size=3)
    if getattr(hint, "__origin__", None) is tuple:
        return st.lists(parts[0], max_size=3).map(tuple) if ... in inner else st.tuples(*parts)
    return st.one_of(parts)


def _of_class(kind: Any, instruments: Sequence[Instrument]) -> st.SearchStrategy[Any]:
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    assert issubclass(kind, Record)
    hints = get_type_hints(kind)
    return st.builds(kind, *(values_of(hints[name], instruments) for name in kind.__match_args__))


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"InstrumentAdded", "AccountOpened"}))
@given(data=st.data())
@settings(max_examples=20)
def test_every_kind(name: str, data: st.DataObject) -> None:
    instruments = data.draw(st.lists(INSTRUMENTS, min_size=1, max_size=3, unique_by=lambda item: item.symbol))
    event = data.draw(_of_class(KINDS[name], instruments))
    round_trip([event], a_decoder(OPENED, *(ev.InstrumentAdded(1, item) for item in instruments)))


def test_every_event_is_a_kind() -> None:
    assert set(KINDS.values()) == set(get_args(ev.Event))


@given(item=INSTRUMENTS)
def test_an_instrument_with_all_its_terms(item: Instrument) -> None:
    (added,) = round_trip([ev.InstrumentAdded(5, item)], a_decoder(OPENED))
    assert isinstance(added, ev.InstrumentAdded)
    assert added.instrument.zone == ZONE  # its times read as the account's do
    for name in ("unit", "tick_raw", "lot_raw"):
        assert getattr(added.instrument, name) == getattr(item, name)


def test_of_an_expiry_the_date_is_kept() -> None:
    item = Instrument("NSE:X26MARFUT", expiry=datetime(2026, 3, 26, 15, 30, tzinfo=UTC))
    read = a_decoder().event(plain(ev.InstrumentAdded(5, item)))
    assert isinstance(read, ev.InstrumentAdded)
    assert read.instrument == item
    assert read.instrument.expiry == date(2026, 3, 26)


def test_an_instrument_that_could_not_be_read_again_is_not_written() -> None:
    item = Instrument("NSE:X26MARFUT")
    object.__setattr__(item, "expiry", "26MAR")
    with pytest.raises(ValueError, match="26MAR"):
        plain(ev.InstrumentAdded(5, item))


# ── what no version up to this one wrote ─────────────────────────────────────────────────────────────────────────────


def test_a_later_version_is_told_from_damage() -> None:
    with pytest.raises(LaterVersionError, match=rf"format {VERSION + 1}, this one knows {VERSION}.*; update livetrade"):
        a_decoder().event(["Halted", 1, ""], VERSION + 1)


HALTED = plain(ev.Halted(1, "x"))
FED = plain(ev.FeedChanged(1, FeedState.LIVE))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (["Halted", 1, "x", 2], "Halted.*takes"),
        (["Halted"], "missing"),
        (["Nonsense", 1], "Nonsense"),
        ([], "is no event"),
        ([["Halted"], 1], "is no event"),
        ([None, 1], "is no event"),
        (["FeedChanged", 1, "ASLEEP"], "ASLEEP"),
        (["Submit", 1, [1, "NSE:NOBODY-EQ"]], "NSE:NOBODY-EQ"),
        (["InstrumentAdded", 1, ["NSE:A-EQ", "EQUITY", 99]], "0 to 12"),
        (["InstrumentAdded", 1, [*plain(ADDED)[2], "more"]], "is no event"),
        (["InstrumentAdded", 1], "is no event"),
        (["AccountOpened", 1, 5, "INR", "Mars/Olympus"], "Mars/Olympus"),
    ],
)
def test_what_is_no_event(data: list[Any], told: str) -> None:
    with pytest.raises(JournalError, match=told):
        a_decoder().event(data)


@pytest.mark.parametrize("version", [-1, 0, None, "1", 0.5])
def test_what_is_no_version(version: Any) -> None:
    with pytest.raises(JournalError):
        a_decoder().event(plain(ev.Halted(1, "x")), version)


# ── what was written stays readable ──────────────────────────────────────────────────────────────────────────────────

ILLEGAL = (
    "What journals hold reads differently now: {}. Put a new field last and give it a default; anything else needs a "
    "higher livetrade.encoding.VERSION and an entry in UPCASTS that turns an array of the version before into one of "
    f"the next. Then write the table anew: {records_table.HOW}"
)
UNWRITTEN = (
    f"What was added is as it should be; write it into the table, which guards it from then on: {records_table.HOW}"
)


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of the records that were once written is another now."""
    told = [f"{name} is gone" for name in before["events"] if name not in now["events"]]
    if now["instrument"][: len(before["instrument"])] != before["instrument"]:
        told.append("the terms of an instrument")
    for name, members in before["enums"].items():
        told += [f"{name}.{member} is gone" for member in members if member not in now["enums"].get(name, [])]
    for name, fields in before["records"].items():
        present = list(now["records"].get(name, {}).items())
        added = present[len(fields) :]
        if present[: len(fields)] != list(fields.items()) or not all(" = " in shown for _, shown in added):
            told.append(f"the fields of {name}")
    return told


def _reversed(fields: dict[str, str]) -> dict[str, str]:
    return dict(reversed(fields.items()))


def test_the_fields_of_all_that_is_written_are_as_they_were() -> None:
    before, now = records_table.written(), records_table.present()
    if before["version"] == now["version"]:
        told = changes(before, now)
        assert not told, ILLEGAL.format(", ".join(told))
    assert before == now, UNWRITTEN


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table["events"].remove("Halted"), ["Halted is gone"]),
        (lambda table: table["enums"]["Product"].remove("CNC"), ["Product.CNC is gone"]),
        (lambda table: table["instrument"].insert(2, "isin"), ["the terms of an instrument"]),
        (lambda table: table["instrument"].append("isin"), []),
        (lambda table: table["records"]["Fill"].pop("tag"), ["the fields of Fill"]),
        (lambda table: table["records"]["Fill"].update(tag="int"), ["the fields of Fill"]),
        (lambda table: table["records"]["Fill"].update(more="int"), ["the fields of Fill"]),
        (lambda table: table["records"]["Fill"].update(more="int = 0"), []),
        (lambda table: table["records"].update(Fill=_reversed(table["records"]["Fill"])), ["the fields of Fill"]),
        (lambda table: table["records"]["Order"].update(status='OrderStatus = "DENIED"'), ["the fields of Order"]),
    ],
)
def test_a_change_of_the_fields_is_noticed(change: Any, told: list[str]) -> None:
    now = records_table.present()
    change(now)
    assert changes(records_table.present(), now) == told


def test_a_journal_of_an_earlier_version_is_read_through_its_upcasts(tmp_path: Path) -> None:
    """Version 0 called a halt a stop, and gave it a number that nobody needs."""

    def upcast(data: list[Any]) -> list[Any]:
        return ["Halted", data[1], data[3]] if data[0] == "Stopped" else data

    path = tmp_path / "old.journal"
    old = encoded([0, 1, [[0, [plain(OPENED), plain(ADDED)]], [0, [["Stopped", 2, 77, "lunch"]]]]])
    first = linked(EVENTS, START, 3, old)
    second = linked(EVENTS, first.link, 1, packed_steps([], 4).replace(b"[]", b'[[0,[["Halted",3,"tea"]]]]'))
    store = Store(path)
    store.open()
    store.continue_from(Head(START, START))
    store.write(None, first)
    store.write(None, second)
    store.close()
    state = State()
    with reading(path) as connection:
        checked = check(connection, EVENTS)
        Past(state, {0: upcast}).fold(connection, checked)
        assert (state.seq, state.halted, list(state.instruments)) == (4, "tea", [SBIN.symbol])
        with pytest.raises(JournalError, match="Stopped"):
            Past(State(), {0: lambda data: data}).fold(connection, checked)
