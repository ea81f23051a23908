"""`-p`, `-P` and the configuration's `params.*`, merged (spec/language P12, P13)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from dagrun.cli.settings import set_nested
from dagrun.core.config import merge
from dagrun.errors import NotFound

Command = TypeVar("Command", bound=Callable[..., Any])


def param_options(command: Command) -> Command:
    """`-p`, `-P` and `-c`."""
    for option in (
        click.option("-c", "--config", metavar="FILE", help="Settings, in the form of Digdag's properties file."),
        click.option("-P", "--params-file", metavar="FILE", help="Parameters from a YAML or JSON file."),
        click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter; always a text."),
    ):
        command = option(command)
    return command


def slots_option(command: Command) -> Command:
    return click.option(
        "--max-task-threads", type=click.IntRange(0), metavar="N",
        help="So many tasks at once, 0 for any number; 8 a core by default.",
    )(command)  # fmt: skip


def read_params(settings: dict[str, Any], file: str | None, given: Sequence[str]) -> dict[str, Any]:
    """Configuration < file < `-p`. Raises click.UsageError, NotFound, WorkflowError."""
    params = settings
    if file is not None:
        params = merge(params, read_file(file))
    params = merge({}, params)
    for key, value in pairs(given):
        try:
            set_nested(params, key, value)
        except ValueError as problem:
            raise click.UsageError(f"-p {key}={value}: {problem}") from None
    return params


def read_file(path: str) -> dict[str, Any]:
    from dagrun.project.archive import Directory
    from dagrun.project.loader import load_config

    if not os.path.isfile(path):
        raise NotFound("parameter file", path)
    directory, name = os.path.split(os.path.abspath(path))
    found: dict[str, Any] = plain(load_config(Directory(directory), name))
    return found


def plain(value: Any) -> Any:
    """Parameters are data: a `${` in them is never evaluated."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def pairs(given: Sequence[str]) -> list[tuple[str, str]]:
    """Split at commas; a piece without `=` goes back to the value before it, with its comma. Those at the end are lost."""
    found: list[list[str]] = []
    for option in given:
        if "=" not in option:
            raise click.UsageError(f"-p {option}: write KEY=VALUE")
        first = True
        for piece in option.rstrip(",").split(","):
            key, equals, value = piece.partition("=")
            if equals:
                found.append([key, value])
            elif found and not first:
                found[-1][1] += f",{piece}"
            first = False
    return [(key, value) for key, value in found]
