"""mail>: the message that it sends, and to whom. The servers are real, on this machine."""

from __future__ import annotations

import json

import pytest

from dagrun.plugins.operator import Succeeded, TaskFailed
from dagrun.plugins.testing import context
from dagrun_operators.mail import Mail
from tests.operators.network import call, certified
from tests.stubs.smtp import smtp_stub

MAIL = {"_command": {"data": "text"}, "subject": "S", "from": "a@x.org", "to": ["b@x.org"]}


def request(params, **more):
    """What the runner is told."""
    return json.loads(Mail().run(context({**MAIL, "host": "h", **params}, **more)).files["request.json"])


def sent(run, params, *, options=None, secrets=None, workdir="", **servers):
    """The one mail that the server got."""
    with smtp_stub(options or {}, **servers) as stub:
        server = {"host": "127.0.0.1", "port": stub.port}
        assert call(run, Mail(), {**MAIL, **server, **params}, secrets=secrets, workdir=workdir)[0] == Succeeded()
    [mail] = stub.mails
    return mail


def refused(run, params, *, options=None, secrets=None, workdir="", **servers):
    """The failure, after which the server has nothing."""
    with smtp_stub(options or {}, **servers) as stub:
        server = {"host": "127.0.0.1", "port": stub.port}
        with pytest.raises(TaskFailed) as caught:
            call(run, Mail(), {**MAIL, **server, **params}, secrets=secrets, workdir=workdir)
    assert stub.mails == []
    return caught.value


# -- options


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"_command": None}, "missing (_command)"),
        ({"_command": "none.txt"}, "file_not_found"),
        ({"_command": "../x"}, "outside_project"),
        ({"_command": {"text": "x"}}, "missing (data)"),
        ({"subject": None}, "missing (subject)"),
        ({"from": None}, "missing (from)"),
        ({"to": None}, "missing (to)"),
        ({"to": []}, "bad_option"),
        ({"to": {"a": 1}}, "bad_type (to)"),
        ({"cc": [["x"]]}, "bad_type (cc[0])"),
        ({"attach_files": "x"}, "bad_type (attach_files)"),
        ({"attach_files": ["x"]}, "bad_type (attach_files)"),
        ({"attach_files": [{"filename": "x"}]}, "missing (path)"),
        ({"html": "yes"}, "bad_type (html)"),
        ({"tls": "always"}, "bad_type (tls)"),
        ({"port": "smtp"}, "bad_type (port)"),
    ],
)
def test_what_makes_no_message_is_refused(params, kind, fails):
    with fails(kind):
        request(params)


def test_without_a_server_it_fails_and_says_where_to_name_one():
    with pytest.raises(TaskFailed, match=r"set the secret mail.host, or `host`") as caught:
        Mail().run(context(MAIL))
    assert caught.value.category is None


@pytest.mark.parametrize(
    ("params", "port", "starttls"),
    [
        ({}, 587, "offered"),
        ({"tls": False}, 25, "never"),
        ({"tls": "required"}, 587, "required"),
        ({"ssl": True}, 465, "never"),
        ({"port": "2525"}, 2525, "offered"),
        ({"mail": {"port": 26, "tls": "false"}}, 26, "never"),
    ],
)
def test_the_port_follows_from_how_to_connect(params, port, starttls):
    server = request(params)["server"]
    assert (server["port"], server["starttls"]) == (port, starttls)


def test_a_secret_wins_over_the_option_of_its_name():
    secrets = {
        "mail.host": "other",
        "mail.port": "99\n",
        "mail.ssl": "true",
        "mail.username": "u",
        "mail.password": "p",
    }
    server = request({"port": 1, "username": "me"}, secrets=secrets)["server"]
    assert {name: server[name] for name in ("host", "port", "ssl", "username", "password")} == {
        "host": "other", "port": 99, "ssl": True, "username": "u", "password": "p",
    }  # fmt: skip


def test_the_password_is_never_an_option():
    task = context({**MAIL, "host": "h", "username": "u", "password": "mine"})
    command = Mail().run(task)
    assert json.loads(command.files["request.json"])["server"]["password"] == ""
    assert "`password` is ignored" in task.warnings[0]


def test_secrets_are_masked_and_are_in_no_argument():
    secrets = {"mail.password": "pppp", "mail.username": "uuuu"}
    command = Mail().run(context({**MAIL, "host": "h"}, secrets=secrets))
    assert set(command.secrets) == {"pppp", "uuuu"}
    assert "pppp" not in str((command.argv, command.environment))


def test_files_that_decide_what_it_does():
    config = {"attach_files": [{"path": "a.csv"}, {"path": "./b.csv"}, {}]}
    assert Mail().files("body.txt", config, {"body.txt", "b.csv"}) == ["body.txt", "b.csv"]
    assert Mail().files({"data": "x"}, {}, {"x"}) == []


# -- the message


def test_a_file_is_a_template():
    files = {"d/body.txt": "${a} ${b + 1} ${moment('2026-01-02').year()} ${secret:x}"}
    params = {"_command": "body.txt", "a": "A", "b": 1, "timezone": "UTC"}
    assert request(params, files=files, workdir="d")["message"]["text"] == "A 2 2026 ${secret:x}"


def test_a_template_that_fails(fails):
    with fails("template_error") as caught:
        request({"_command": "body.txt", "timezone": "UTC"}, files={"body.txt": "${none}"})
    assert "none is not defined" in caught.value.message


def test_everybody_gets_it_and_nobody_sees_who_got_it_in_secret(run):
    lists = {"to": "b@x.org", "cc": '["C Ü <c@x.org>", "b@x.org"]', "bcc": ["d@x.org"]}
    mail = sent(run, {**lists, "from": "A, B <a@x.org>".replace("A, B", '"A, B"')})
    assert (mail.sender, mail.rcpt) == ("a@x.org", ["b@x.org", "c@x.org", "d@x.org"])
    headers = {name: str(value) for name, value in mail.message.items()}
    assert headers.pop("Message-ID").endswith("@x.org>")
    assert headers == {
        "From": '"A, B" <a@x.org>',
        "Sender": '"A, B" <a@x.org>',
        "To": "b@x.org",
        "Cc": "C Ü <c@x.org>, b@x.org",
        "Subject": "S",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
    }


@pytest.mark.parametrize("subject", ["件名 ü " * 30 + "x", "two\nlines\n", "a" * 300])
def test_any_subject_comes_through(run, subject):
    assert sent(run, {"subject": subject}).message["Subject"] == " ".join(subject.split("\n")).strip()


@pytest.mark.parametrize("text", ["あ ü\n.\n..x\n", "x" * 5000, "a\r\nb", ""])
def test_any_text_comes_through(run, text):
    mail = sent(run, {"_command": {"data": text}})
    assert mail.message.get_content().splitlines() == (text or "\n").splitlines()
    assert mail.data.isascii()


@pytest.mark.parametrize(
    "to", ["", "b@x.org, c@x.org", "@x.org", "b@", "g: b@x.org;", "b c@x.org", "b@x.org\r\nBcc: c@x.org", "ü@x.org"]
)
def test_one_text_is_one_address(run, to):
    failure = refused(run, {"to": ["ok@x.org", to]})
    assert (failure.kind, failure.category) == ("bad_option", "config")
    assert failure.message.startswith("to: ")


def test_attachments_are_read_where_the_task_runs(run):
    run.write({"sub/d/x.csv": "1,ü\n"})
    run.project /= "sub"
    files = [
        {"path": "d/x.csv"},
        {"path": "../sub/d/x.csv", "filename": "ü.txt", "content_type": "text/plain; charset=utf-8"},
    ]
    message = sent(run, {"attach_files": files}, workdir="sub").message
    assert message.get_content_type() == "multipart/mixed"
    found = [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
        for part in message.iter_attachments()
    ]
    data = "1,ü\n".encode()
    assert found == [("x.csv", "application/octet-stream", data), ("ü.txt", "text/plain", data)]


@pytest.mark.parametrize(
    ("attached", "kind", "message"),
    [
        ({"path": "none.csv"}, "mail_failed", "attach_files: none.csv can't be read: No such file or directory"),
        ({"path": "../out.csv"}, "outside_project", "attach_files: ../out.csv is outside of the project"),
        ({"path": "link.csv"}, "outside_project", "attach_files: link.csv is outside of the project"),
        ({"path": "x", "content_type": "csv"}, "bad_option", "attach_files: 'csv' is no type of a file, like text/csv"),
    ],
)
def test_an_attachment_that_cannot_be_sent(run, attached, kind, message):
    (run.project.parent / "out.csv").write_text("x")
    (run.project / "link.csv").symlink_to("../out.csv")
    failure = refused(run, {"attach_files": [attached]})
    assert (failure.kind, failure.message) == (kind, message)


# -- the server


def test_a_login(run):
    params, secrets = {"username": "u"}, {"mail.password": "pw"}
    assert sent(run, params, options={"auth": True}, secrets=secrets).auth == ["u", "pw"]
    assert sent(run, params, options={"auth": True}).auth == ["u", ""]


def test_a_login_that_is_refused(run):
    failure = refused(run, {"username": "u"}, options={"auth": True}, secrets={"mail.password": "wrong"})
    assert failure.message.endswith("answered 535 no")
    assert (failure.kind, failure.category) == ("mail_failed", None)


def test_a_server_without_login(run):
    assert "take `username` away" in refused(run, {"username": "u"}).message


def test_one_refused_recipient_and_nobody_gets_it(run):
    failure = refused(run, {"to": ["b@x.org", "c@x.org"]}, options={"reject_rcpt": ["c@x.org"]})
    assert failure.message == "refused: c@x.org (550 nobody of that name); nothing was sent"
    assert failure.category is None


def test_nobody_listens(run):
    with smtp_stub({}) as stub:
        port = stub.port
    with pytest.raises(TaskFailed, match=f"^no mail by 127.0.0.1:{port}: Connection refused$"):
        call(run, Mail(), {**MAIL, "host": "127.0.0.1", "port": port})


def test_tls_is_used_when_it_is_offered_and_certificates_are_verified(run, tmp_path, monkeypatch):
    assert sent(run, {}, starttls=certified(monkeypatch, tmp_path)).tls
    assert not sent(run, {"tls": False}, starttls=certified(monkeypatch, tmp_path)).tls
    assert not sent(run, {}).tls
    failure = refused(run, {}, starttls=certified(monkeypatch, tmp_path, "example.com"))
    assert "is not accepted: IP address mismatch" in failure.message


def test_tls_that_is_required_is_not_done_without(run):
    assert "STARTTLS extension not supported by server" in refused(run, {"tls": "required"}).message


def test_tls_from_the_start(run, tmp_path, monkeypatch):
    assert sent(run, {"ssl": True}, tls=certified(monkeypatch, tmp_path)).tls


def test_debug_shows_the_dialogue(run):
    sent(run, {"debug": True})
    assert "mail FROM:<a@x.org>" in run.output
    sent(run, {})
    assert run.output == ""
