"""Notices by mail, to a server that takes them, or doesn't."""

from __future__ import annotations

import time

import pytest

from dagrun.notices.mail import mailbox_of
from tests.notices.conftest import send, why_not
from tests.stubs.smtp import SmtpStub, smtp_stub

PASSWORD = "pa55word"


def settings(number: int, **more: object) -> dict[str, object]:
    values = {"host": "127.0.0.1", "port": number, "from": "dagrun <me@example.com>", "tls": False, **more}
    return {f"notices.mail.{key}": value for key, value in values.items()}


def of(server: SmtpStub, **more: object) -> dict[str, object]:
    return settings(server.port, **more)


def test_a_mail_arrives_with_subject_text_and_addresses():
    with smtp_stub({}) as server:
        send("mail:you@example.com", of(server))
    (mail,) = server.mails
    assert (mail.sender, mail.rcpt, mail.auth, mail.tls) == ("me@example.com", ["you@example.com"], None, False)
    message = mail.message
    assert (message["Subject"], message["To"]) == ("report failed", "you@example.com")
    assert message.get_content().strip() == "+load: Command failed with code 3"
    assert message["Date"] and message["Message-ID"].endswith("@example.com>")


def test_the_user_logs_in(tls):
    with smtp_stub({"auth": True}, starttls=tls) as server:
        send("mail:you@example.com", of(server, tls=True, username="me", password=PASSWORD))
    assert [(mail.auth, mail.tls) for mail in server.mails] == [(["me", PASSWORD], True)]


def test_tls_may_begin_at_once(tls):
    with smtp_stub({}, tls=tls) as server:
        send("mail:you@example.com", of(server, tls="ssl"))
    assert [mail.tls for mail in server.mails] == [True]


def test_without_starttls_nothing_is_sent_unless_tls_is_off():
    with smtp_stub({"auth": True}) as server:
        problem = why_not("mail:you@example.com", of(server, tls=True, username="me", password=PASSWORD))
    assert problem == "mail:you@example.com: the server offers no STARTTLS; set notices.mail.tls to ssl or false"
    assert server.mails == []


@pytest.mark.parametrize("tls", ["ssl", True])
def test_a_certificate_has_to_be_trusted(foreign_tls, tls):
    with smtp_stub({}, **{"tls" if tls == "ssl" else "starttls": foreign_tls}) as server:
        problem = why_not("mail:you@example.com", of(server, tls=tls))
    assert "the certificate of 127.0.0.1 can't be trusted" in problem
    assert server.mails == []


def test_a_wrong_password_is_told_but_not_shown(tls):
    with smtp_stub({"auth": True}, starttls=tls) as server:
        problem = why_not("mail:you@example.com", of(server, tls=True, username="me", password="wrong"))
    assert problem == "mail:you@example.com: 127.0.0.1 did not accept the user name and password"


def test_a_server_without_log_in_is_told():
    with smtp_stub({}) as server:
        problem = why_not("mail:you@example.com", of(server, username="me", password=PASSWORD))
    assert problem == "mail:you@example.com: the server lets nobody log in; remove notices.mail.username"


def test_what_can_not_be_said_to_the_server_is_told_and_not_shown(tls):
    with smtp_stub({"auth": True}, starttls=tls) as server:
        problem = why_not("mail:you@example.com", of(server, tls=True, username="me", password="pä55"))
    assert problem.endswith("127.0.0.1 takes plain ASCII only, in addresses, user name and password")


def test_a_refused_recipient_is_told_with_the_words_of_the_server():
    with smtp_stub({"reject_rcpt": True}) as server:
        problem = why_not("mail:you@example.com", of(server))
    assert problem == "mail:you@example.com: 127.0.0.1 refused the recipient: 550 nobody of that name"
    assert server.mails == []


def test_a_refused_connection_is_told(closed_port):
    problem = why_not("mail:you@example.com", settings(closed_port))
    assert problem == f"mail:you@example.com: 127.0.0.1 refused the connection on port {closed_port}"


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_sends_a_letter_now_and_then_is_left_after_the_time_limit(dripping, tls):
    began = time.monotonic()
    problem = why_not("mail:you@example.com", settings(dripping, tls=tls), timeout=0.5)
    assert problem.endswith("did not answer within 0.5 s")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"host": ""}, "host is missing"), ({"from": ""}, "from is missing"), ({"from": "nobody"}, "from is no mail address"),
        ({"tls": "maybe"}, "tls must be"), ({"port": "smtp"}, "port is no number"), ({"port": 99999}, "port is no number"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_by_its_name(changed, name):
    problem = why_not("mail:you@example.com", settings(25, **changed))
    assert problem.startswith(f"mail:you@example.com: the setting notices.mail.{name}")


@pytest.mark.parametrize(("tls", "port"), [("true", 587), ("", 587), ("ssl", 465), (False, 25)])
def test_the_port_follows_from_tls(tls, port):
    given = settings(0, tls=tls)
    del given["notices.mail.port"]
    assert mailbox_of(given).port == port


def test_a_mailbox_shows_no_password():
    assert PASSWORD not in repr(mailbox_of(settings(25, username="me", password=PASSWORD)))
