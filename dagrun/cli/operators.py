"""`dagrun operators`: all operators that a project here may use, and what one of them does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from dagrun.cli.checking import operators as known_here
from dagrun.cli.opened import json_option, print_json
from dagrun.cli.table import print_table
from dagrun.core.config import suggest
from dagrun.core.kinds import Option
from dagrun.errors import NotFound, UserError
from dagrun.plugins.describe import Description, describe, kind_of
from dagrun.project.archive import Directory


@click.command("operators", short_help="List the operators, or explain one.")
@click.argument("name", required=False)
@click.option("--project", metavar="DIR", help="The project whose own operators count, too; by default this directory.")
@json_option
def command(name: str | None, project: str | None, as_json: bool) -> int:
    """List the operators: those of dagrun, of packages, of the project. With NAME: its options, its secrets, an example."""
    directory = os.path.abspath(project or ".")
    if not os.path.isdir(directory):
        raise NotFound("directory", directory)
    paths = frozenset(Directory(directory).paths())
    names = sorted(set(known_here(paths).names()))
    if name is not None:
        found = describe(existing(name.removesuffix(">"), names), directory, paths)
        print_json(description_object(found)) if as_json else explain(found)
        return 2 if found.problem else 0
    all_ = [describe(one, directory, paths) for one in names]
    if as_json:
        print_json([description_object(one) for one in all_])
    else:
        rows = [(f"{one.name}>", str(one.origin), one.summary or one.problem.partition("\n")[0]) for one in all_]
        print_table(("operator", "from", "what it does"), rows)
    return 0


def existing(name: str, names: Sequence[str]) -> str:
    if name in names:
        return name
    near = suggest(name, names)
    hint = f"did you mean {near}>?" if near else "dagrun operators lists those that there are"
    raise UserError(f"unknown operator {name}>\n  {hint}")


def explain(one: Description) -> None:
    click.echo(f"{one.name}>  from {one.origin}")
    if one.problem:
        click.echo(f"\n{one.problem}")
        return
    if one.text:
        click.echo(f"\n{one.text}")
    options = [option for option in one.options if option.kind != "secret"]
    if options:
        click.echo()
        print_table(
            ("option", "type", "default", ""),
            [
                (written(one.name, option), kind_of(option), plain(option.default), plain(option.meaning))
                for option in options
            ],
        )
    secrets = [option for option in one.options if option.kind == "secret"]
    if secrets:
        click.echo()
        print_table(("secret", ""), [(option.name, plain(option.meaning)) for option in secrets])
    if one.example:
        click.echo(f"\n{one.example}")


def written(operator: str, option: Option) -> str:
    """The option as it stands in a workflow."""
    return f"{operator}>" if option.name == "_command" else option.name


def plain(text: str) -> str:
    """Without the signs that only documents need."""
    return text.replace("`", "")


def description_object(one: Description) -> dict[str, Any]:
    where = {
        "package": one.origin.package or None,
        "version": one.origin.version or None,
        "file": one.origin.file or None,
    }
    return {
        "name": one.name,
        "from": str(one.origin),
        **where,
        "summary": one.summary,
        "text": one.text,
        "example": one.example or None,
        "options": [option_object(one.name, option) for option in one.options if option.kind != "secret"],
        "secrets": [
            {"key": option.name, "meaning": option.meaning} for option in one.options if option.kind == "secret"
        ],
        "retries": one.retries,
        "problem": one.problem or None,
    }


def option_object(operator: str, option: Option) -> dict[str, Any]:
    return {
        "name": written(operator, option),
        "type": option.kind,
        "choices": list(option.choices),
        "default": option.default,
        "meaning": option.meaning,
    }
