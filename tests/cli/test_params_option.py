"""`-p`: how one option becomes pairs (spec/cli 2.3)."""

from __future__ import annotations

import click
import pytest

from dagrun.cli.params import pairs


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a=1,2"], [("a", "1,2")]),
        (["a=1,b=2,3", "a=x=y"], [("a", "1"), ("b", "2,3"), ("a", "x=y")]),
        (["a=1,,b=2"], [("a", "1,"), ("b", "2")]),
        (["a=1,"], [("a", "1")]),
        (["a=,,,", "b="], [("a", ""), ("b", "")]),
    ],
)
def test_values_are_split_at_commas_and_what_is_no_pair_goes_back(given, expected):
    assert pairs(given) == expected


@pytest.mark.parametrize("option", ["a", "", ",", "a,b"])
def test_an_option_without_a_value_is_refused(option):
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        pairs([option])
