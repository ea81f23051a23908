"""The command line: a table of commands, each imported only when it is chosen.

`main` is the entry point. It turns errors into messages and exit codes (features, spelling rule 9): 0 success, 1 an attempt
or task failed, 2 wrong use or invalid file, 3 not there, 4 conflict, 5 time over, 6 killed, 70 a bug.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from dagrun.errors import DagrunError, LimitExceeded, UserError

COLLECT_AFTER = 50_000  # new objects: what is loaded at the start, and what a task leaves, is no garbage

# command → one line of help. The module is `dagrun.cli.<command>` and holds a click command of the name `command`.
COMMANDS = {
    "run": "Run a workflow, or go on with its last attempt that failed.",
    "retry": "Run an attempt again from the task that failed.",
    "kill": "End a running attempt and everything that it started.",
    "schedule": "Run the schedules of a directory or a git repository.",
    "sync": "Fetch the git repositories of the daemon at once.",
    "schedules": "List the schedules, or the next runs.",
    "enable": "Let a disabled schedule start sessions again.",
    "disable": "Stop a schedule from starting sessions.",
    "reschedule": "Leave out the next sessions of a schedule.",
    "backfill": "Make sessions of the past.",
    "pause": "Start no more tasks of an attempt, or none at all.",
    "unpause": "Let a paused attempt, or everything, go on.",
    "pools": "List pools and who holds them; set their sizes.",
    "why": "Say why something doesn't run.",
    "notify": "List notices, or send one as a test.",
    "sessions": "List the sessions, also those that were skipped.",
    "attempts": "List the attempts, newest first.",
    "show": "Show one attempt whole: session, state, commit, what changed.",
    "tasks": "Show the tasks of an attempt.",
    "timeline": "Show when the tasks of an attempt ran.",
    "log": "Show what the tasks of an attempt printed.",
    "prune": "Remove attempts and logs that are old.",
    "check": "Check workflows without running them.",
    "plan": "Show what a run would do.",
    "operators": "List the operators, or explain one.",
    "doctor": "Say what this machine has, and what workflows miss.",
    "graph": "Draw a workflow as text, Mermaid or DOT.",
    "init": "Make a new project.",
    "secrets": "List, set and delete secrets.",
    "completion": "Print the shell completion script.",
    "version": "Print the version.",
}
ALIASES = {"r": "run", "c": "check", "new": "init", "task": "tasks", "logs": "log", "secret": "secrets"}


class Commands(click.Group):
    """Knows the names and one line of each command; imports the one that is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Digdag has it: `--version` anywhere is all that counts, and `-c FILE` may stand before the command."""
        if "--version" in args:
            args = ["--version"]
        elif args[:1] in (["-c"], ["--config"]):
            settings, args = args[:2], args[2:]
            if args and not args[0].startswith("-"):
                args = [args[0], *settings, *args[1:]]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = import_module(f"dagrun.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and args[0] not in ALIASES and not args[0].startswith("-"):
            from dagrun.core.config import suggest

            near = suggest(args[0], list(COMMANDS))
            hint = f"Did you mean {near}?" if near else "See dagrun --help."
            raise click.UsageError(f"No such command: {args[0]}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dagrun", message="%(version)s")
def cli() -> None:
    """Runs YAML workflows: readable files, durable state, retry from the task that failed."""


def main() -> None:
    gc.set_threshold(COLLECT_AFTER)
    sys.setrecursionlimit(10_000)  # deep trees are walked by recursion; Python code doesn't use the C stack for it
    leave(invoke(sys.argv[1:]))


def invoke(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        code = cli.main(list(arguments), prog_name="dagrun", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as problem:
        problem.show()
        code = problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 6
    except DagrunError as problem:
        click.echo(f"error: {problem}", err=True)
        code = problem.exit_code
    except BrokenPipeError:
        code = 1
    except OSError as problem:
        code = report_system(problem)
    except Exception as problem:
        code = report_bug(problem)
    return code if isinstance(code, int) else 0


def report_system(problem: OSError) -> int:
    """What the machine refuses, and its user can mend; anything else is our mistake."""
    import errno

    remedy = {
        errno.ENOSPC: "free some space; nothing is half written",
        errno.EDQUOT: "free some space; nothing is half written",
        errno.EACCES: "give this user the right to it",
        errno.EPERM: "give this user the right to it",
        errno.EROFS: "use a directory that can be written to",
    }.get(problem.errno or 0)
    if remedy is None:
        return report_bug(problem)
    where = f"{problem.filename}: " if problem.filename else ""
    click.echo(f"error: {where}{problem.strerror}\n  {remedy}", err=True)
    return LimitExceeded.exit_code if problem.errno in (errno.ENOSPC, errno.EDQUOT) else UserError.exit_code


def report_bug(problem: Exception) -> int:
    import traceback

    traceback.print_exc()
    click.echo(f"error: this is a bug in dagrun: {type(problem).__name__}: {problem}", err=True)
    return 70


def leave(code: int) -> None:
    """Flush and go; whoever closed our output early must not get a stack trace."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    import os

    os._exit(code)
