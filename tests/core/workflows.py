"""Random workflows for property tests, as maps: groups of every sort, and tasks that answer as they say (simulate.py)."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SAYS = st.sampled_from(["ok", "ok", "ok", "fail", "fail", "again", "make", "lost"])


@st.composite
def leaf(draw: st.DrawFn, *, deep: bool = True) -> dict[str, Any]:
    task: dict[str, Any] = {"sh>": "x", "says": draw(SAYS), "times": draw(st.integers(1, 3))}
    if task["says"] == "make":
        task["_do"] = draw(body(deep=False)) if deep else {"+made": {"sh>": "x", "says": "ok"}}
    if draw(st.integers(0, 3)) == 0:
        task["_retry"] = draw(st.integers(0, 2))
    if deep and draw(st.integers(0, 3)) == 0:
        task["_error"] = {"+handler": draw(leaf(deep=False))}
    if deep and draw(st.integers(0, 4)) == 0:
        task["_check"] = {"+look": draw(leaf(deep=False))}
    return task


@st.composite
def body(draw: st.DrawFn, *, deep: bool = True, fail_fast: bool = False) -> dict[str, Any]:
    """The map of a group: its policies, and one to four members."""
    group: dict[str, Any] = {}
    choices = ["one by one", "one by one", "all", "waves", "window"] + ["fail fast"] * fail_fast
    order = draw(st.sampled_from(choices))
    if order != "one by one":
        group["_parallel"] = {
            "all": True, "waves": {"limit": 2}, "window": {"slots": 2}, "fail fast": {"slots": 2, "fail_fast": True},
        }[order]  # fmt: skip
    if draw(st.integers(0, 3)) == 0:
        group["_retry"] = draw(st.sampled_from([1, 2, {"limit": 1, "interval": 5}]))
    if deep and draw(st.integers(0, 3)) == 0:
        group["_error"] = {"+handler": draw(leaf(deep=False))}
    names: list[str] = []
    for number in range(draw(st.integers(1, 4))):
        member = draw(body(deep=False, fail_fast=fail_fast) if deep and draw(st.booleans()) else leaf(deep=deep))
        if names and draw(st.integers(0, 3)) == 0:
            known = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
            member["_after" if order == "all" else "_needs"] = known
        elif order == "one by one" and draw(st.integers(0, 5)) == 0:
            member["_background"] = True
        names.append(f"+t{number}")
        group[names[-1]] = member
    return group


@st.composite
def workflow(draw: st.DrawFn, *, fail_fast: bool = False) -> dict[str, Any]:
    return draw(body(fail_fast=fail_fast))
