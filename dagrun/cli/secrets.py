"""`dagrun secrets --local`: the secrets of the person who runs dagrun, files of mode 0600 (spec/cli 7)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from dagrun.cli.opened import json_option, print_json
from dagrun.cli.settings import load_settings
from dagrun.errors import NotFound
from dagrun.secrets.scopes import LocalSecrets


@click.command(
    "secrets", short_help="List, set and delete secrets.", context_settings={"ignore_unknown_options": False}
)
@click.option("--local", is_flag=True, help="The secrets on this machine, for all projects.")
@click.option(
    "--set", "to_set", multiple=True, metavar="KEY[=VALUE]",
    help="KEY asks for the value; =@FILE, =- read it; @FILE, @- read a map of them.",
)  # fmt: skip
@click.option("--delete", "to_delete", multiple=True, metavar="KEY", help="Delete it.")
@click.argument("more", nargs=-1)
@json_option
def command(
    local: bool, to_set: tuple[str, ...], to_delete: tuple[str, ...], more: tuple[str, ...], as_json: bool
) -> None:
    """List the names of the secrets, or set and delete some; words behind --set or --delete belong to it."""
    if not local:
        raise click.UsageError("use --local: secrets of a server's project need a server, which isn't there yet")
    if to_set and to_delete:
        raise click.UsageError("--set and --delete can't be used together")
    if more and not (to_set or to_delete):
        raise click.UsageError(f"unexpected words: {' '.join(more)}")
    secrets = LocalSecrets(load_settings(os.environ).values, os.environ)
    names = list(secrets.keys())
    if to_set:
        for key, value in all_values((*to_set, *more)).items():
            secrets.set(key, value)
            click.echo(f"Secret '{key}' set", err=True)
    elif to_delete:
        for key in (*to_delete, *more):
            secrets.delete(key)
            click.echo(f"Secret '{key}' deleted", err=True)
    elif as_json:
        print_json([{"key": key} for key in names])
    else:
        for key in names:
            click.echo(key)


def all_values(words: Sequence[str]) -> dict[str, str]:
    """Raises click.UsageError for a key that is there twice."""
    values: dict[str, str] = {}
    for word in words:
        for key, value in read_values(word):
            if key in values:
                raise click.UsageError(f"--set {key}: there are two values of it")
            values[key] = value
    return values


def read_values(word: str) -> list[tuple[str, str]]:
    """`key`, `key=value`, `key=@file`, `key=-`, `@file` (a map), `@-`."""
    if word.startswith("@"):
        return list(read_map(word[1:]).items())
    key, equals, value = word.partition("=")
    if not equals:
        if not sys.stdin.isatty():
            raise click.UsageError(f"--set {key}: there is no terminal to ask for the value; write {key}=- to read it")
        return [(key, click.prompt(f"{key}", hide_input=True, err=True))]
    if value == "-":
        return [(key, read_text("-"))]
    if value.startswith("@"):
        return [(key, read_text(value[1:]))]
    return [(key, value)]


def read_map(path: str) -> dict[str, str]:
    from dagrun.core.yaml import load

    found = load(read_text(path), path)
    for key, value in found.items():
        if not isinstance(value, str):
            raise click.UsageError(f"@{path}: the value of {key} must be a text")
    return dict(found)


def read_text(path: str) -> str:
    """A file as it is, `-` for standard input."""
    if path != "-" and not os.path.isfile(path):
        raise NotFound("file of a secret", path)
    with open(0 if path == "-" else path, "rb") as file:
        data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} is no text, and secrets are texts") from None
