"""One try to deliver one notice. The loop that tries again, by `next_wait`, is its caller's.

    deliver(notice, target, settings, timeout=10)     it has arrived, or DeliveryFailed says why not

Settings are flat, by dotted key: `notices.slack.url` (the incoming webhook for `slack:#channel`), and those of `mail.py`.
Their values may be secrets: no message holds them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from dagrun.errors import DeliveryFailed
from dagrun.notices.notice import Notice, json_body, mail_of, plain_text, slack_payload
from dagrun.notices.target import HTTP, MAIL, SLACK, Target, split_url

SLACK_URL = "notices.slack.url"


def deliver(
    notice: Notice,
    target: Target,
    settings: Mapping[str, Any],
    *,
    timeout: float,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """The target has taken the notice. Raises DeliveryFailed; `timeout` is in seconds, for the whole try.

    `payload`, from a template, takes the place of what Slack or an address of one's own would get.
    """
    try:
        if target.kind == SLACK:
            to_slack(notice, target, settings, timeout, payload)
        elif target.kind == HTTP:
            from dagrun.notices.post import post_json

            post_json(target.address, json_body(notice) if payload is None else payload, timeout=timeout)
        elif target.kind == MAIL:
            by_mail(notice, target, settings, timeout)
        else:
            to_terminal(notice)
    except DeliveryFailed as problem:
        raise DeliveryFailed(f"{target.shown}: {problem}") from None


def to_slack(
    notice: Notice, target: Target, settings: Mapping[str, Any], timeout: float, payload: Mapping[str, Any] | None
) -> None:
    from dagrun.notices.post import post_json

    url, channel = (target.address, None) if target.is_url else (str(settings.get(SLACK_URL) or ""), target.address)
    if not url:
        raise DeliveryFailed(f"the setting {SLACK_URL} is missing: the address of an incoming webhook of Slack")
    if split_url(url) is None:
        raise DeliveryFailed(f"the setting {SLACK_URL} is neither an http nor an https address")
    body = slack_payload(notice, channel)
    if payload is not None:
        body = {**({"channel": channel} if channel else {}), **payload}
    post_json(url, body, timeout=timeout)


def by_mail(notice: Notice, target: Target, settings: Mapping[str, Any], timeout: float) -> None:
    from dagrun.notices.mail import mailbox_of, send_mail

    box = mailbox_of(settings)
    try:
        mail = mail_of(notice, box.sender, target.address)
    except ValueError:
        raise DeliveryFailed("an address of the mail can't stand in a header") from None
    send_mail(mail, box, timeout=timeout)


def to_terminal(notice: Notice) -> None:
    try:
        sys.stderr.write(f"{plain_text(notice)}\n")
        sys.stderr.flush()
    except OSError as problem:
        raise DeliveryFailed(f"it can't be written to: {problem.strerror}") from None
