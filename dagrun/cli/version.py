"""`dagrun version`."""

from __future__ import annotations

import click

from dagrun import __version__
from dagrun.cli.opened import json_option, print_json


@click.command("version", short_help="Print the version.")
@json_option
def command(as_json: bool) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": __version__})
    else:
        click.echo(__version__)
