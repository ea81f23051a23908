"""Run the benchmarks, all or those that are named, and print their table; `--write` puts it into README.md."""

from __future__ import annotations

import compileall
import os
import platform
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import click

from benchmarks import daemon, docker, files, works
from benchmarks.measure import Figure, Place

WORKS = {**works.WORKS, **daemon.WORKS, **docker.WORKS, **files.WORKS}
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: written by python -m benchmarks --write -->", "<!-- /figures -->"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(WORKS)))
@click.option("--directory", type=click.Path(exists=True, file_okay=False), help="Where to work; its disk counts.")
@click.option("--write", is_flag=True, help="Write the table into README.md.")
def main(names: tuple[str, ...], directory: str | None, write: bool) -> None:
    """Measure, beside bare loops in the same run. Ends with 1 when a figure is above its limit."""
    for package in ("dagrun", "dagrun_operators"):  # as an installer leaves them
        compileall.compile_dir(os.path.dirname(import_module(package).__file__ or ""), quiet=2)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=directory, prefix="dagrun-bench-") as top:
        place = Place(top)
        for name in names or WORKS:
            found = measured(name, place)
            figures += found
            click.echo(f"{name}: {', '.join(map(shown, found))}", err=True)
    lines = table(figures)
    click.echo("\n".join(lines))
    if write:
        before, _, rest = README.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text("\n".join([before + BEGIN, "", machine(), "", *lines, "", END]) + after)
    sys.exit(0 if all(figure.kept for figure in figures) else 1)


def measured(name: str, place: Place) -> list[Figure]:
    found = WORKS[name](place)
    return found if isinstance(found, list) else [found]


def machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {python}:"


def shown(figure: Figure) -> str:
    return f"{figure.value:.3g} {figure.unit}" if figure.bare is None else f"{figure.value:.2f} ×"


def table(figures: list[Figure]) -> list[str]:
    lines = ["| work | dagrun | compared with | that takes | figure | at most |", "|---|---|---|---|---|---|"]
    for one in figures:
        bare = "" if one.bare is None else f"{one.bare:.3g} {one.unit}"
        limit = f"{one.limit:g} {one.unit}" if one.bare is None else f"{one.limit:g} ×"
        lines.append(f"| {one.work} | {one.ours:.3g} {one.unit} | {one.compared} | {bare} | {shown(one)} | {limit} |")
    return lines


if __name__ == "__main__":
    main()
