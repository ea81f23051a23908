"""`dagrun secrets --local`: the secrets of the person who runs dagrun, files of mode 0600 (spec/cli 7)."""

from __future__ import annotations

import os
import sys

import click

from dagrun.cli.opened import json_option, print_json
from dagrun.cli.settings import load_settings
from dagrun.secrets.scopes import LocalSecrets


@click.command(
    "secrets", short_help="List, set and delete secrets.", context_settings={"ignore_unknown_options": False}
)
@click.option("--local", is_flag=True, help="The secrets on this machine, for all projects.")
@click.option(
    "--set", "to_set", multiple=True, metavar="KEY[=VALUE]", help="KEY asks for the value; =@FILE, =- read it."
)
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
        for word in (*to_set, *more):
            for key, value in read_values(word):
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
        return [(key, sys.stdin.read())]
    if value.startswith("@"):
        with open(value[1:], encoding="utf-8") as file:
            return [(key, file.read())]
    return [(key, value)]


def read_map(path: str) -> dict[str, str]:
    from dagrun.core.yaml import load

    if path == "-":
        text = sys.stdin.read()
    else:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    found = load(text, path)
    for key, value in found.items():
        if not isinstance(value, str):
            raise click.UsageError(f"@{path}: the value of {key} must be a text")
    return dict(found)
