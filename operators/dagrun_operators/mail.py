"""mail>: send one message by SMTP."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Ended, Operator, Option, Params, Succeeded, TaskContext, TaskFailed
from dagrun.plugins.templates import fill_in

from .network import Vault, result_of, send

RUNNER = "send_mail.py"
SERVER_SECRETS = ("port", "tls", "ssl", "username")
PORTS = {"ssl": 465, "tls": 587, "plain": 25}


class Mail(Operator):
    """Send one message by SMTP. Nothing is stored.

    Example:
        +report:
          mail>: mail/report.txt
          subject: Sales of ${session_date}
          to: [sales@example.com]
    """

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text or map", meaning="the file, relative to the working directory; or `{data: TEXT}`"),
        Option("body", "text", meaning="the text, without a file"),
        Option("subject", "text", "required"),
        Option("from", "text", "required"),
        Option("to", "text or list", "required", "one address a text, with or without a name"),
        Option("cc", "text or list", "none"),
        Option("bcc", "text or list", "none"),
        Option("html", "boolean", "false", "the text is HTML"),
        Option(
            "attach_files", "JSON list", "none", "maps: `path` in the working directory, `filename`, `content_type`"
        ),
        Option("host", "text", "required", "the server"),
        Option("port", "integer", "587; 465 with `ssl`; 25 with `tls: false`"),
        Option("tls", "boolean", "true", "STARTTLS if the server offers it; `required`: or fail", ("required",)),
        Option("ssl", "boolean", "false", "TLS from the start"),
        Option("username", "text", "none", "log in, with the secret `mail.password`"),
        Option("debug", "boolean", "false", "show the dialogue with the server"),
        Option("mail.password", "secret", meaning="goes with `username`"),
        *(Option(f"mail.{name}", "secret", meaning=f"wins over `{name}`") for name in ("host", *SERVER_SECRETS)),
    )
    namespaces: ClassVar[tuple[str, ...]] = ("mail",)

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:
        """The text and the attachments, where their names are written out."""
        attached = config.get("attach_files")
        items = attached if isinstance(attached, list) else []
        paths = [command, *(item.get("path") for item in items if isinstance(item, Mapping))]
        named = [posixpath.normpath(path) for path in paths if isinstance(path, str)]
        return [path for path in named if path in project]

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        vault = Vault(task)
        request = {"message": message(task, params), "server": server(task, params, vault)}
        return send(RUNNER, request, vault)

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:  # noqa: ARG002
        error = (result_of(end) or {}).get("error")
        if error:
            raise TaskFailed(error["message"], error["kind"], error["category"])
        return Succeeded()


# -- the message


def message(task: TaskContext, params: Params) -> dict[str, Any]:
    return {
        "text": text_of(task, params),
        "html": params.boolean("html", False),
        "subject": " ".join(params.text("subject").split("\n")).strip(),
        "from": params.text("from"),
        "to": addresses(params, "to", required=True),
        "cc": addresses(params, "cc"),
        "bcc": addresses(params, "bcc"),
        "attach_files": attachments(params),
        # The runner's working directory is that of the task; attachments must not lie above the project's top.
        "top": os.path.relpath(".", task.workdir or "."),
    }


def text_of(task: TaskContext, params: Params) -> str:
    """From a file, whose templates are filled in here; from `{data: …}`; or from `body` (spec/operators 1.7)."""
    command = params.get("_command")
    if isinstance(command, Mapping):
        return Params(command).text("data")
    if command is not None and command != "":
        return fill_in(task.read(params.text("_command")), task)
    if params.get("body") is None:
        raise TaskFailed("mail> needs a file, {data: TEXT}, or a text in `body`", "missing (_command)", "config")
    return params.text("body")


def addresses(params: Params, option: str, *, required: bool = False) -> list[str]:
    """A list, the JSON of one as `${…}` makes it, or a single text."""
    given = params.get(option)
    if given is None and not required:
        return []
    if given is None or not isinstance(given, str) or given.lstrip().startswith("["):
        items = params.list_or_json(option)
    else:
        items = [given]
    found = [Params({f"{option}[{index}]": item}).text(f"{option}[{index}]") for index, item in enumerate(items)]
    if required and not found:
        raise TaskFailed(f"{option} is empty: the message has nobody to go to", "bad_option", "config")
    return found


def attachments(params: Params) -> list[dict[str, str]]:
    found = []
    for index, item in enumerate(params.list_or_json("attach_files", [])):
        if not isinstance(item, Mapping):
            raise TaskFailed(
                f"attach_files[{index}] must be a map like {{path: report.csv}}", "bad_type (attach_files)", "config"
            )
        options = Params(item)
        path = options.text("path")
        kind = options.text("content_type", "application/octet-stream")
        found.append({"path": path, "name": options.text("filename", posixpath.basename(path)), "type": kind})
    return found


# -- the server


def server(task: TaskContext, params: Params, vault: Vault) -> dict[str, Any]:
    """Where and how to connect. A secret wins over the option of its name; the password is always a secret."""
    host = vault.optional("mail.host") or params.text("host", None)
    if not host:
        raise TaskFailed(
            "mail> knows no server: set the secret mail.host, or `host`, for example by _export: {mail: {host: …}}",
            "no_mail_server",
        )
    if params.get("password") is not None:
        task.warn(f"{task.name}: mail> takes its password from the secret mail.password alone; `password` is ignored")
    secrets = {name: vault.optional(f"mail.{name}") for name in SERVER_SECRETS}
    options = Params({**params, **{name: value.strip() for name, value in secrets.items() if value is not None}})
    ssl, tls = options.boolean("ssl", False), starttls(options)
    username = options.text("username", None)
    mode = "ssl" if ssl else "plain" if tls == "never" else "tls"
    return {
        "host": host.strip(),
        "port": options.integer("port", PORTS[mode]),
        "ssl": ssl,
        "starttls": "never" if ssl else tls,
        "username": username,
        "password": (vault.optional("mail.password") or "") if username is not None else None,
        "debug": options.boolean("debug", False),
    }


def starttls(options: Params) -> str:
    """`never`, `offered` (when the server offers it) or `required`."""
    if options.get("tls") == "required":
        return "required"
    return "offered" if options.boolean("tls", True) else "never"
