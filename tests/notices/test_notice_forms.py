"""What notices look like, how long to wait for the next try, and templates."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrun.core.forms import render_template
from dagrun.core.javascript import JavaScript
from dagrun.errors import TaskFailed, WorkflowError
from dagrun.notices.notice import Notice, json_body, mail_of, next_wait, plain_text, slack_payload

NOTICE = Notice(
    "late", "daily <etl>", "2026-01-15T00:00:00+00:00", None, "late &\nlater", "it isn't done", {"by": [1, 2]}
)
FACTS = {"workflow": "report", "error": {"message": 'code 3: "no\n such file"'}, "tries": 3}


def test_the_waits_double_from_one_second_to_thirty_and_end_with_the_tenth_try():
    waits = [next_wait(tries) for tries in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30, None, None]


def test_the_body_has_all_fields_and_is_json():
    assert json.loads(json.dumps(json_body(NOTICE))) == {
        "kind": "late", "workflow": "daily <etl>", "session_time": "2026-01-15T00:00:00+00:00", "attempt": None,
        "title": "late &\nlater", "text": "it isn't done", "facts": {"by": [1, 2]},
    }  # fmt: skip


def test_slack_gets_a_text_in_which_nothing_has_a_meaning_of_its_own():
    notice = NOTICE._replace(text="<!channel> a < b")
    assert slack_payload(notice) == {"text": "*late &amp; later*\n&lt;!channel&gt; a &lt; b"}
    assert slack_payload(NOTICE._replace(text=""), "#ops") == {"text": "*late &amp; later*", "channel": "#ops"}


def test_a_mail_has_subject_text_sender_and_recipient():
    mail = mail_of(NOTICE, "dagrun <me@example.com>", "you@example.com")
    assert (mail["Subject"], mail["From"], mail["To"]) == ("late & later", "dagrun <me@example.com>", "you@example.com")
    assert mail.get_content() == "it isn't done\n"


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_any_title_and_text_can_be_sent_in_each_form(title, text):
    notice = NOTICE._replace(title=title, text=text)
    json.dumps(json_body(notice)).encode()
    json.dumps(slack_payload(notice)).encode()
    mail_of(notice, "me@example.com", "you@example.com").as_bytes()
    assert plain_text(notice).startswith(" ".join(title.split()))


TEMPLATES = {
    "yaml": "text: ${workflow} failed\nattachments:\n  - color: '#ff0000'\n    text: ${error.message}\n    tries: 3\n",
    "json": '{\n\t"text": "${workflow} failed",\n\t"attachments": [{"color": "#ff0000", "text": "${error.message}", "tries": 3}]\n}',
    "short": "{text: '${workflow} failed', attachments: [{color: '#ff0000', text: '${error.message}', tries: 3}]}",
}


@pytest.mark.parametrize("form", list(TEMPLATES))
def test_a_template_is_filled_in_and_no_fact_can_change_its_form(form):
    assert render_template(TEMPLATES[form], FACTS) == {
        "text": "report failed",
        "attachments": [{"color": "#ff0000", "text": 'code 3: "no\n such file"', "tries": 3}],
    }


def test_facts_are_filled_in_once():
    assert render_template("text: ${text}", {"text": "${text}"}) == {"text": "${text}"}


def test_expressions_need_an_engine():
    with pytest.raises(TaskFailed, match="only names can be used here"):
        render_template("text: ${tries + 1}", FACTS)
    assert render_template("text: ${tries + 1}", FACTS, JavaScript().at("UTC", 0.0)) == {"text": "4"}


def test_an_unknown_name_is_told_with_what_was_meant():
    with pytest.raises(TaskFailed, match="Did you mean workflow"):
        render_template("text: ${workflo}", FACTS)


@pytest.mark.parametrize("text", ["", "- a\n", "just a text", "{", "a: 1\na: 2\n"])
def test_what_is_no_map_is_no_template(text):
    with pytest.raises(WorkflowError):
        render_template(text, FACTS)
