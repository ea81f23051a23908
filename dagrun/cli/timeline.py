"""`dagrun timeline`: when the tasks of an attempt queued, waited and ran, drawn over the width of the terminal (F86).

What a bar is, and which tasks are critical, is decided in `core/timeline.py`; here it is read and drawn.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from dagrun.cli.attempts import session_name
from dagrun.cli.objects import timeline_object
from dagrun.cli.opened import Opened, find_attempt, json_option, open_here, print_json, project_options, retry_command
from dagrun.cli.tasks import own_name
from dagrun.cli.times import duration
from dagrun.cli.words import attempt_word, task_word
from dagrun.core.timeline import BELOW, QUEUED, RUNS, WAITS, Bar, Span, Timeline, timeline
from dagrun.engine.owners import is_alive
from dagrun.engine.rows import load_tree
from dagrun.engine.usual import usual_length
from dagrun.store.base import AttemptSummary, TaskRow

SIGNS = {BELOW: "─", QUEUED: "░", WAITS: "·", RUNS: "█"}  # those behind hide those before them
PLAIN_SIGNS = {BELOW: "-", QUEUED: ":", WAITS: ".", RUNS: "#"}  # where the output's encoding has no others
LEGEND = {QUEUED: "queued", WAITS: "waiting", RUNS: "running", BELOW: "its tasks at work"}
NARROWEST_BAR = 20  # columns; what is left of the terminal holds the names
NARROWEST_NAME = 16

Row = tuple[tuple[str, ...], Sequence[Bar]]  # the cells of a line, and its bars


@click.command("timeline", short_help="Show when the tasks of an attempt ran.")
@click.argument("attempt")
@click.option("--critical-path", "path_only", is_flag=True, help="Only the tasks that determined the end, in order.")
@project_options
@json_option
def command(attempt: str, path_only: bool, project: str | None, database: str | None, as_json: bool) -> None:
    """Show when the tasks of ATTEMPT queued, waited and ran: its number, last, or workflow@SESSION-TIME.

    Of an attempt that is running, up to now.
    """
    opened = open_here(project, database)
    found = read_history(opened, attempt)
    if as_json:
        print_json(timeline_object(found.summary, found.rows, found.timeline, found.usual, path_only=path_only))
        return
    if not found.alive:
        row = found.summary.attempt
        click.echo(f"the process that ran it is dead; to go on: {retry_command(opened, row.id)}", err=True)
    drawing = Drawing(found, path_only=path_only)
    for line in drawing.lines():
        click.echo(drawing.printable(line.rstrip()))


@dataclass(frozen=True, slots=True)
class History:
    summary: AttemptSummary
    rows: Sequence[TaskRow]  # by index
    timeline: Timeline
    usual: int | None  # microseconds
    alive: bool  # or done


def read_history(opened: Opened, attempt: str) -> History:
    """The attempt's timeline: to its end, up to now, or to the last sign of life if the process that ran it is dead."""
    from dagrun.cli.running import revision_of

    with opened.existing_store.reading() as tx:
        row = find_attempt(tx, attempt)
        (summary,) = tx.list_attempts(before_id=row.id + 1, limit=1)
        revision = revision_of(opened, tx.get_revision(row.revision_id), row)
        rows, moves, tries = tx.load_tasks(row.id), tx.load_moves(row.id), tx.load_tries(row.id)
        known = usual_length(tx, summary)
        now = tx.now
    start = summary.started_at if summary.started_at is not None else row.created_at
    alive = row.finished_at is not None or is_alive(opened.state_dir, row)
    if not alive:
        now = moves[-1].at if moves else start
    tree = load_tree(revision.workflow(summary.session.workflow), rows, row.version)
    end = row.finished_at if row.finished_at is not None else now
    return History(summary, rows, timeline(tree, moves, tries, start, end), known, alive)


class Drawing:
    """The timeline as lines of text: some columns, and a picture that takes the rest of the width."""

    def __init__(self, history: History, *, path_only: bool) -> None:
        self.history = history
        self.timeline = history.timeline
        self.path_only = path_only
        self.encoding = sys.stdout.encoding or "ascii"
        fancy = can_encode("".join(SIGNS.values()) + "▌…", self.encoding)
        self.signs = SIGNS if fancy else PLAIN_SIGNS
        self.next_try, self.left_out = "▌…" if fancy else "|~"
        self.critical = {self.history.rows[span.task].name for span in self.timeline.path}
        self.width = NARROWEST_BAR

    def lines(self) -> Iterator[str]:
        yield self.headline()
        columns, rows = self.path_rows() if self.path_only else self.tree_rows()
        yield from self.table(columns, rows)
        yield self.legend([bar for _, bars in rows for bar in bars])

    def headline(self) -> str:
        row = self.history.summary.attempt
        word = attempt_word(row, alive=self.history.alive)
        took = duration(self.timeline.end - self.timeline.start)
        usually = f", usually {duration(self.history.usual)}" if self.history.usual is not None else ""
        return f"{session_name(self.history.summary)}: attempt {row.id}, {word}, {took}{usually}"

    # -- rows

    def tree_rows(self) -> tuple[Sequence[str], list[Row]]:
        rows: list[Row] = []
        for line in self.timeline.lines:
            row = self.history.rows[line.task.index]
            mark = "* " if line.task.full_name in self.critical else "  "
            start, took = "", ""
            if line.bars:
                start = self.offset(line.bars[0].start)
                took = duration(line.bars[-1].end - line.bars[0].start)
            rows.append(((f"{mark}{'  ' * line.depth}{own_name(row)}", task_word(row), start, took), line.bars))
        return ("  task", "state", "start", "took"), rows

    def path_rows(self) -> tuple[Sequence[str], list[Row]]:
        rows: list[Row] = []
        of_task = {line.task.full_name: line.bars for line in self.timeline.lines}
        for span in self.timeline.path:
            name = self.history.rows[span.task].name
            bars = [bar for bar in of_task[name] if inside(bar, span)]
            lengths = [sum(bar.end - bar.start for bar in bars if bar.kind == kind) for kind in (QUEUED, WAITS, RUNS)]
            rows.append(((name, self.offset(span.start), *(duration(one) for one in lengths)), bars))
        return ("task", "start", "queued", "waited", "ran"), rows

    def offset(self, at: int) -> str:
        return f"+{duration(at - self.timeline.start)}"

    # -- the picture

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
        from rich.cells import cell_len

        cells = [columns, *(row for row, _ in rows)]
        widths = [max(cell_len(line[place]) for line in cells) for place in range(len(columns))]
        room = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths) - 1
        if room < NARROWEST_BAR and os.isatty(1):  # in a file, no line is too long
            widths[0] = max(NARROWEST_NAME, widths[0] + room - NARROWEST_BAR)
        self.width = max(NARROWEST_BAR, room)
        yield self.line(columns, widths, "")
        for row, bars in rows:
            yield self.line(row, widths, self.picture(bars))

    def line(self, cells: Sequence[str], widths: Sequence[int], picture: str) -> str:
        from rich.cells import set_cell_size

        shown = [self.cut(cells[0], widths[0]), *cells[1:]]
        return "  ".join((*map(set_cell_size, shown, widths), picture))

    def cut(self, name: str, width: int) -> str:
        """The name, with a mark where something is left out: of a full name the end tells more."""
        from rich.cells import cell_len

        cut = cell_len(name) > width
        while cell_len(name) > width - cut:
            name = name[1:] if self.path_only else name[:-1]
        if not cut:
            return name
        return f"{self.left_out}{name}" if self.path_only else f"{name}{self.left_out}"

    def picture(self, bars: Sequence[Bar]) -> str:
        """The bars to scale; a try that follows another at once is set off from it."""
        shown = [" "] * self.width
        for kind, sign in self.signs.items():
            reached = -1
            for bar in bars:
                if bar.kind == kind:
                    first, last = self.columns_of(bar)
                    for column in range(first, last):
                        shown[column] = sign
                    if kind == RUNS and first == reached:
                        shown[first] = self.next_try
                    reached = last
        return "".join(shown)

    def columns_of(self, bar: Bar) -> tuple[int, int]:
        """The first column and that behind the last; what ran has one at least."""
        first, last = self.column(bar.start), self.column(bar.end)
        if bar.kind != RUNS:
            return first, last
        first = min(first, self.width - 1)
        return first, max(last, first + 1)

    def column(self, at: int) -> int:
        return (at - self.timeline.start) * self.width // max(1, self.timeline.end - self.timeline.start)

    def legend(self, bars: Sequence[Bar]) -> str:
        kinds = {bar.kind for bar in bars if len(range(*self.columns_of(bar)))}
        parts = [f"{self.signs[kind]} {text}" for kind, text in LEGEND.items() if kind in kinds]
        if self.critical and not self.path_only:
            parts.append("* critical path")
        return "  ".join(parts)

    def printable(self, text: str) -> str:
        return text.encode(self.encoding, "replace").decode(self.encoding)


def can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True


def inside(bar: Bar, span: Span) -> bool:
    return bar.kind != BELOW and bar.task == span.task and span.start <= bar.start and bar.end <= span.end
