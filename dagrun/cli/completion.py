"""`dagrun completion`: the script that teaches a shell to complete dagrun's words."""

from __future__ import annotations

import click


@click.command("completion", short_help="Print the shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL. For bash: source <(dagrun completion bash)."""
    from click.shell_completion import get_completion_class

    from dagrun.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "dagrun", "_DAGRUN_COMPLETE").source())
