"""`dagrun init`: a new project with a first workflow (spec/cli 3.6)."""

from __future__ import annotations

import os

import click

from dagrun.cli.opened import json_option, print_json
from dagrun.core.keys import TASK_NAME
from dagrun.errors import UserError

HEAD = """timezone: UTC

"""
WORKFLOWS = {
    "echo": HEAD
    + """+hello:
  echo>: Hello, this is the session of ${session_date}

+repeat:
  for_each>:
    fruit: [apple, orange]
  _do:
    echo>: ${fruit}

+teardown:
  echo>: done at ${moment(session_time).utc().format('YYYY-MM-DD HH:mm:ss Z')}
""",
    "sh": HEAD
    + """+first:
  sh>: scripts/first.sh

+second:
  sh>: echo "rows=${rows}"
""",
    "python": HEAD
    + """+first:
  py>: tasks.first
  day: ${session_date}

+second:
  echo>: rows=${rows}
""",
    "ruby": HEAD
    + """_export:
  rb:
    require: tasks

+first:
  rb>: first
  day: ${session_date}

+second:
  echo>: rows=${rows}
""",
}
FILES = {
    "echo": {},
    "sh": {
        "scripts/first.sh": '#!/bin/sh\necho "the session is $session_date"\necho \'{"rows": 3}\' > "$DAGRUN_OUT"\n'
    },
    "python": {
        "tasks.py": 'import digdag\n\n\ndef first(day):\n    print(f"the session is {day}")\n    digdag.env.store(rows=3)\n'
    },
    "ruby": {"tasks.rb": 'def first(day)\n  puts "the session is #{day}"\n  Digdag.env.store(rows: 3)\nend\n'},
}
IGNORED = ".dagrun\n__pycache__\n*.pyc\n"


@click.command("init", short_help="Make a new project.")
@click.argument("directory")
@click.option(
    "-t", "--type", "kind", type=click.Choice(list(WORKFLOWS)), default="echo", show_default=True, help="What it shows."
)
@json_option
def command(directory: str, kind: str, as_json: bool) -> None:
    """Make DIRECTORY with a first workflow of its name."""
    path = os.path.abspath(directory)
    name = os.path.basename(path)
    if not TASK_NAME.match(f"+{name}") or name[:1].isdigit():
        raise UserError(f"{name!r} can't be the name of a workflow; use letters, digits, - and _, a letter first")
    workflow = os.path.join(path, f"{name}.dig")
    created: list[str] = []
    if not os.path.exists(workflow):
        texts = {workflow: WORKFLOWS[kind]}
        texts |= {os.path.join(path, file): text for file, text in FILES[kind].items()}
        ignore = os.path.join(path, ".gitignore")
        if not os.path.exists(ignore):
            texts[ignore] = IGNORED
        for file, text in texts.items():
            create(file, text)
            created.append(os.path.relpath(file))
    if as_json:
        print_json({"workflow": os.path.relpath(workflow), "created": created})
        return
    if not created:
        click.echo(f"File {os.path.relpath(workflow)} already exists.")
        return
    for file in created:
        click.echo(f"  Creating {file}")
    there = os.path.relpath(path)
    go = "" if there == "." else f"`cd {there}` and then "
    click.echo(f"Done. Type {go}`dagrun run {name}.dig` to run the workflow.")


def create(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    if path.endswith(".sh"):
        os.chmod(path, 0o755)
