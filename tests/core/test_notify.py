"""`notify:`: what it may say, and that what it may not is refused with its place and a suggestion."""

from __future__ import annotations

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.yaml import load
from dagrun.errors import WorkflowError


def rules(text: str):
    return compile_workflow("wf", load(f"{text}\n+a:\n  echo>: x\n", "wf.dig")).notify


def test_a_file_without_it_has_no_rules():
    assert rules("timezone: UTC") == ()


def test_all_that_it_may_say():
    (rule,) = rules('notify: {on: [failed, late], to: "slack:#ops", template: t.yml, once_per: session}')
    assert rule[:4] == (("failed", "late"), ("slack:#ops",), "t.yml", "session")


def test_what_it_need_not_say():
    (rule,) = rules("notify: {}")
    assert rule[:4] == (("failed", "late", "recovered"), (), None, "run")


def test_a_list_of_them():
    assert [rule.to for rule in rules("notify:\n  - {to: stderr}\n  - {to: [stderr, 'mail:a@b.c']}")] == [
        ("stderr",), ("stderr", "mail:a@b.c"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["failed", "failed, late", "[killed, canceled]"])
def test_events_may_be_one_text_and_killed_is_canceled(text):
    (rule,) = rules(f"notify: {{on: {text if text[0] == '[' else repr(text)}}}")
    assert rule.on == {"failed": ("failed",), "failed, late": ("failed", "late")}.get(text, ("canceled",))


def test_a_target_may_name_a_secret():
    (rule,) = rules("notify: {to: 'slack:${secret:hook}'}")
    assert rule.to == ("slack:${secret:hook}",)


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("notify:\n  onn: [failed]", (2, 3), "no option 'onn'", "did you mean on?"),
        ("notify:\n  on: [faild]", (2, 3), "on can't be 'faild'", "did you mean failed?"),
        ("notify:\n  to: stderr\n  on: 7", (3, 3), "on must be a text, or a list", "write  on: [failed, late]"),
        ("notify:\n  to: [1]", (2, 3), "to must be a text, or a list", "slack:#ops"),
        ("notify:\n  to: 'slack:#${team}'", (2, 3), "of all variables only", ""),
        ("notify:\n  template: '${x}'", (2, 3), "template must be the name of a file", ""),
        ("notify:\n  once_per: rum", (2, 3), "once_per can't be 'rum'", "did you mean run?"),
        ("notify: slack:#ops", (1, 1), "notify must be a map", "on: [failed]"),
        ("notify: []", (1, 1), "notify is empty", "on: [failed]"),
        ("notify:", (1, 1), "notify has no value", "delete the line"),
        ("notify:\n  - {to: stderr}\n  - {two: 1}", (3, 6), "no option 'two'", "did you mean to?"),
    ],
)
def test_what_it_may_not_say(text, place, message, hint):
    with pytest.raises(WorkflowError) as caught:
        rules(text)
    assert (caught.value.line, caught.value.column) == place
    assert message in caught.value.message and hint in (caught.value.hint or "")
