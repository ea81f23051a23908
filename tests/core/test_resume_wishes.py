"""What a person can ask of a new attempt: `--from`, `--only`, `--keep-changed`, `--resume-from` (features F38, F39, F41)."""

from __future__ import annotations

import pytest

from dagrun.core.resume import Wish, one_task
from dagrun.core.state import SUCCESS
from dagrun.errors import NotFound, UserError
from tests.core.resuming import CHAIN, DIAMOND, FAILS, actions, compiled, continued, planned, ran_names, shown


def test_keep_changed_reuses_by_name_whatever_succeeded():
    new = {**CHAIN, "+a": {"sh>": "a2"}, "+b": {"sh>": "b2"}}
    found = shown(planned(CHAIN, new, Wish(keep_changed=True)))
    assert [found[name] for name in ("+a", "+b")] == [("reuse", "succeeded before")] * 2
    assert (found["+c"][0], found["+d"][0]) == ("run", "run")


def test_keep_changed_reuses_also_what_stands_behind_a_task_that_runs():
    definition = {"_parallel": True, "+f": FAILS, "+a": {"sh>": "a"}}
    new = {"+f": FAILS, "+a": {"sh>": "a"}}
    assert actions(planned(definition, new))["+a"] == "run"
    assert actions(planned(definition, new, Wish(keep_changed=True)))["+a"] == "reuse"


def test_from_a_task_it_runs_with_all_that_depends_on_it():
    found = shown(planned(DIAMOND, wish=Wish(start="+b")))
    assert found["+b"] == ("run", "asked for") and found["+d"] == ("run", "it comes after +w+b")
    assert (found["+a"][0], found["+c"][0]) == ("reuse", "reuse")


def test_from_a_group_all_its_members_run():
    definition = {"+a": {"sh>": "a"}, "+g": {"+b": {"sh>": "b"}, "+c": {"sh>": "c"}}, "+d": {"sh>": "d"}}
    assert actions(planned(definition, wish=Wish(start="+g"))) == {
        "+a": "reuse", "+g": "run", "+g+b": "run", "+g+c": "run", "+d": "run",
    }  # fmt: skip


def test_from_a_member_of_a_group_what_waits_for_the_group_runs():
    definition = {"+g": {"+b": {"sh>": "b"}, "+c": {"sh>": "c"}}, "+h": {"+d": {"sh>": "d"}}}
    assert actions(planned(definition, wish=Wish(start="+c"))) == {
        "+g": "run", "+g+b": "reuse", "+g+c": "run", "+h": "run", "+h+d": "run",
    }  # fmt: skip


def test_from_a_task_those_that_need_it_across_groups_and_forward_run():
    definition = {
        "_parallel": True,
        "+g": {"+x": {"sh>": "x", "_needs": ["+h+y"]}, "+z": {"sh>": "z"}},
        "+h": {"+y": {"sh>": "y"}},
        "+i": {"+q": {"sh>": "q", "_needs": ["+g+z"]}},
    }
    found = actions(planned(definition, wish=Wish(start="+y")))
    assert found == {
        "+g": "run", "+g+x": "run", "+g+z": "run", "+h": "run", "+h+y": "run", "+i": "run", "+i+q": "run",
    }  # fmt: skip


def test_from_a_task_with_keep_changed_all_that_depends_on_it_runs_all_the_same():
    definition = {"+a": {"sh>": "a"}, "+g": {"+b": {"sh>": "b"}, "+c": {"sh>": "c"}}}
    found = shown(planned(definition, wish=Wish(start="+a", keep_changed=True)))
    assert [found[name] for name in ("+g", "+g+b")] == [("run", "it comes after +w+a"), ("run", "it comes after +w+g")]
    assert found["+g+c"][0] == "run"


def test_only_runs_the_task_and_reuses_what_succeeded():
    found = shown(planned(DIAMOND, wish=Wish(start="+b", only=True)))
    assert found["+b"] == ("run", "asked for")
    assert {name: found[name][0] for name in ("+a", "+c", "+d")} == {"+a": "reuse", "+c": "reuse", "+d": "reuse"}


def test_only_skips_what_had_not_succeeded():
    found = planned(CHAIN, wish=Wish(start="+a", only=True))
    assert shown(found)["+c"] == ("skip", "not asked for")
    assert actions(found) == {"+a": "run", "+b": "reuse", "+c": "skip", "+d": "skip"}


def test_with_only_the_attempt_ends_when_that_task_has_ended():
    run = continued(CHAIN, CHAIN, planned(CHAIN, wish=Wish(start="+a", only=True)))
    assert ran_names(run) == ["+w+a"] and run.tree.root.state == SUCCESS
    assert [run.tree[index].reason for index in (3, 4)] == ["skipped", "skipped"]


def test_resume_from_reuses_everything_ordered_before():
    definition = {"+a": {"sh>": "a"}, "+g": {"+b": {"sh>": "b"}, "+c": {"sh>": "c"}}, "+d": {"sh>": "d"}}
    new = {**definition, "+a": {"sh>": "changed"}}
    assert actions(planned(definition, new, Wish(before="+g+c"))) == {
        "+a": "reuse", "+g": "run", "+g+b": "reuse", "+g+c": "run", "+d": "run",
    }  # fmt: skip


def test_resume_from_the_root_reuses_nothing():
    assert set(actions(planned(CHAIN, wish=Wish(before="+w"))).values()) == {"run"}


def test_resume_from_behind_a_task_that_failed_is_refused():
    with pytest.raises(UserError, match=r"can't resume from \+w\+d: \+w\+c before it did not succeed \(error\)"):
        planned(CHAIN, wish=Wish(before="+d"))


def test_resume_from_behind_a_new_task_is_refused():
    new = {"+n": {"sh>": "n"}, **CHAIN}
    with pytest.raises(UserError, match=r"\+w\+n before it did not succeed$"):
        planned(CHAIN, new, Wish(before="+a"))


# -- patterns


@pytest.mark.parametrize("pattern", ["a", "", "+", "^"])
def test_this_is_no_name_of_a_task(pattern):
    with pytest.raises(UserError, match="is no task name"):
        one_task(compiled(CHAIN), pattern)


def test_an_unknown_task_is_told_what_is_near():
    with pytest.raises(NotFound, match=r"did you mean \+w\+load"):
        one_task(compiled({"+load": {"sh>": "a"}}), "+laod")


def test_a_name_of_several_tasks_is_refused_with_all_of_them():
    both = {"+g": {"+a": {"sh>": "a"}}, "+h": {"+a": {"sh>": "a"}}}
    with pytest.raises(UserError, match=r"\+w\+g\+a, \+w\+h\+a; write more"):
        one_task(compiled(both), "+a")
    assert one_task(compiled(both), "+g+a").full_name == "+w+g+a"
