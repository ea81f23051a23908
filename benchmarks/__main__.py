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
    before_all = processor_times()
    with tempfile.TemporaryDirectory(dir=directory, prefix="dagrun-bench-") as top:
        place = Place(top)
        for name in names or WORKS:
            found = measured(name, place)
            figures += found
            click.echo(f"{name}: {', '.join(map(shown, found))}", err=True)
    lines = [f"{machine()}, {stolen(before_all, processor_times())}:", "", *table(figures)]
    click.echo("\n".join(lines))
    if write:
        before, _, rest = README.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after)
    sys.exit(0 if all(figure.kept for figure in figures) else 1)


def measured(name: str, place: Place) -> list[Figure]:
    found = WORKS[name](place)
    return found if isinstance(found, list) else [found]


def machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {python}"


def processor_times() -> list[int]:
    """Since the start of the machine: user, nice, system, idle, waiting for disks, interrupts (2), stolen by the host."""
    try:
        return list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    except FileNotFoundError:
        return [0] * 8


def stolen(before: list[int], after: list[int]) -> str:
    """How much of what the processors were to do the host gave to others: figures of processes that wait for each other suffer."""
    user, nice, system, _, _, interrupts, soft, taken = (new - old for old, new in zip(before, after, strict=True))
    share = taken / max(1, user + nice + system + interrupts + soft + taken)
    return f"{share:.0%} of the processors' time taken by the host"


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
