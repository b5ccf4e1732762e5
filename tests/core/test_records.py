"""Records: frozen, equal by value, and as good as the dataclasses they stand for."""

import copy
import pickle

import pytest

from livetrade.core.records import Record, record, replaced


@record
class Point:
    """Somewhere."""

    x: int
    y: int = 2
    name: str = ""

    @property
    def sum(self) -> int:
        return self.x + self.y


@record
class Place:
    x: int
    y: int = 2
    name: str = ""


def test_fields_are_given_by_place_or_name_and_the_last_may_be_left_out() -> None:
    assert (Point(1).x, Point(1).y, Point(1).name) == (1, 2, "")
    assert Point(1, 5, name="a") == Point(name="a", y=5, x=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1, z=3)  # type: ignore[call-arg]


def test_a_record_keeps_the_rest_of_its_class() -> None:
    assert (Point(1).sum, Point.__doc__, Point.__name__, Point.__module__) == (3, "Somewhere.", "Point", __name__)
    assert isinstance(Point(1), Record)


def test_equal_by_kind_and_value() -> None:
    assert Point(1) == Point(1, 2)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert Point(1) != Point(2)
    assert Point(1) != Place(1)
    assert Point(1) != (1, 2, "")
    assert len({Point(1), Point(1), Point(2), Place(1)}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point([]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x", "name", "other"])
def test_a_record_never_changes(name: str) -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match=f"Point never changes; {name} cannot be set"):
        setattr(point, name, 9)
    with pytest.raises(AttributeError, match=f"Point never changes; {name} cannot be deleted"):
        delattr(point, name)
    assert point == Point(1)


def test_a_record_has_slots_and_nothing_else() -> None:
    assert Point.__slots__ == ("x", "y", "name")  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__")


def test_its_repr_is_how_it_is_written() -> None:
    assert repr(Point(1, name="a")) == "Point(x=1, y=2, name='a')"
    assert eval(repr(Point(1))) == Point(1)


def test_it_matches_by_place_and_by_name() -> None:
    assert Point.__match_args__ == ("x", "y", "name")
    match Point(1, 5, "a"):
        case Point(x, 5, name=name):
            assert (x, name) == (1, "a")
        case _:
            pytest.fail("no match")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_a_pickle(protocol: int) -> None:
    point = Point(1, name="a")
    again = pickle.loads(pickle.dumps(point, protocol))
    assert (type(again), again) == (Point, point)


def test_it_survives_a_copy() -> None:
    point = Point(1, name="a")
    assert copy.copy(point) == copy.deepcopy(point) == point


def test_replacing_gives_another_one() -> None:
    point = Point(1, name="a")
    moved = replaced(point, x=7, y=0)
    assert (type(moved), moved, point) == (Point, Point(7, 0, "a"), Point(1, 2, "a"))
    assert replaced(point) == point
    assert replaced(point) is not point
