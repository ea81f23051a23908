"""Declarations that cost less behave as those of the standard library do."""

from __future__ import annotations

import pickle
import re

import pytest

from dagrun.light import NamedTuple, pattern


class Point(NamedTuple):
    """Where something is."""

    across: int
    down: int = 0

    @property
    def sum(self) -> int:
        return self.across + self.down

    def moved(self, by: int) -> Point:
        return self._replace(across=self.across + by)


class Nothing(NamedTuple):
    """Without fields."""


def test_a_named_tuple_has_its_fields_defaults_and_methods():
    point = Point(3)
    assert point == (3, 0) == Point(across=3, down=0)
    assert (point.sum, point.moved(2)) == (3, Point(5))
    assert Point._fields == ("across", "down")
    assert Point._field_defaults == {"down": 0}
    assert repr(point) == "Point(across=3, down=0)"
    with pytest.raises(TypeError):
        Point()
    with pytest.raises(AttributeError):
        point.across = 4  # type: ignore[misc]


def test_it_is_the_class_that_its_module_has():
    assert (Point.__name__, Point.__qualname__, Point.__module__) == ("Point", "Point", __name__)
    assert Point.__doc__ == "Where something is."
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)


def test_one_without_fields_is_an_empty_tuple():
    assert Nothing() == ()
    assert isinstance(Nothing(), Nothing)


def test_it_can_be_matched():
    match Point(1, 2):
        case Point(across, down=2):
            assert across == 1
        case _:
            pytest.fail("it has the form of a point")


def test_a_pattern_does_what_the_compiled_one_does():
    ours, compiled = pattern("(?P<word>[a-z]+)", re.IGNORECASE), re.compile("(?P<word>[a-z]+)", re.IGNORECASE)
    for text in ("", "Word", "1 two", "12"):
        assert bool(ours.match(text)) == bool(compiled.match(text))
        assert ours.sub("-", text) == compiled.sub("-", text)
        assert ours.findall(text) == compiled.findall(text)
    assert ours.groupindex == compiled.groupindex


def test_a_pattern_is_compiled_when_it_is_used_first():
    broken = pattern("(")
    with pytest.raises(re.error):
        broken.match("x")
