"""Which targets there are, and that what people see of them holds no secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrun.errors import UserError
from dagrun.notices.target import Target, parse_target, without_secrets

SECRET = "T0SECRET"


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("stderr", Target("stderr", ""), "stderr"),
        (" slack:#ops ", Target("slack", "#ops"), "slack:#ops"),
        ("slack:@me", Target("slack", "@me"), "slack:@me"),
        ("mail:a.b+c@example.com", Target("mail", "a.b+c@example.com"), "mail:a.b+c@example.com"),
        (f"slack:https://h.slack.com/{SECRET}", Target("slack", f"https://h.slack.com/{SECRET}"), "slack:https://h.slack.com/…"),
        (f"https://a.b:8443/{SECRET}?x", Target("http", f"https://a.b:8443/{SECRET}?x"), "https://a.b:8443/…"),
        (f"http://me:{SECRET}@a.b", Target("http", f"http://me:{SECRET}@a.b"), "http://a.b/…"),
        (f"http://[::1]:80?{SECRET}", Target("http", f"http://[::1]:80?{SECRET}"), "http://[::1]:80/…"),
    ],
)  # fmt: skip
def test_targets_are_read_and_shown(text, target, shown):
    found = parse_target(text)
    assert found == target and found.shown == shown
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "", "slack:", "slack:ops", "slack:#a b", "mail:", "mail:nobody", "mail:a@b@c", "mail:a@b\nBcc: x@y", "mail:a@b,c@d",
        "ftp://a.b/c", "https://", "https:///path", "https://a b/c", "https://a.b:port/", "https://a.b:99999/", "http://[::1/",
        "https://ä.example/", "stdout", "teams:#ops",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_forms_that_there_are(text):
    with pytest.raises(UserError, match=r"slack:#channel, .* or stderr"):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [f"slak:https://a.b/{SECRET}", f"https://a.b:x/{SECRET}", f"ftp://me:{SECRET}@a.b", f"https://a:{SECRET}@b:x"],
)
def test_a_target_that_is_refused_is_shown_without_its_secrets(text):
    with pytest.raises(UserError) as caught:
        parse_target(text)
    assert SECRET not in str(caught.value)


@given(
    st.text("ab%+-._~:", max_size=9), st.text("ab/?#@:%&=;", max_size=20), st.sampled_from(["", ":443"]), st.booleans()
)
def test_nothing_but_the_host_of_a_url_is_shown(user, rest, port, password):
    before = f"{user}:{SECRET}@" if password else ""
    shown = without_secrets(f"https://{before}host.example{port}/{SECRET}{rest} and more")
    assert shown == f"https://host.example{port}/… and more"
