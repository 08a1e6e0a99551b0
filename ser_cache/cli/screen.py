"""What commands show: tables that fit a terminal, progress with an estimate of the time left, failures."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ser_cache.cli import interruption
from ser_cache.cli.table_layout import lay_out, least_width, printable
from ser_cache.errors import SerCacheError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.sections import Section

Job = TypeVar("Job")
NAME_WIDTH = 24
BAR_WIDTH = 10
_LEFT_WIDTH = 14
"""Of "12:34:56 left", what an estimate of the time left may take, with a space."""
FIELD_WIDTH = 11
LISTED_FAILURES = 10
NAMED = 3
SECONDS_BETWEEN_LINES = 30.0


def table(
    title: str, columns: Mapping[str, str], rows: Sequence[Sequence[str]], spare: Sequence[str] = ()
) -> None:
    """Print rows under a title on stdout.

    Args:
        title: one line above the table.
        columns: heading -> "left", "right" or "fold": which columns give way in a narrow terminal.
        rows: one string per column; empty cells are empty strings.
        spare: headings of columns that may be left out where there is no room, the first first; the table
            says so.

    In a terminal, "fold" columns fold to its width between words; into a file or a pipe nothing is folded,
    cut or left out, and every row is one line.
    """
    laid = lay_out(columns, rows, terminal_width(), spare)
    console = Console(file=sys.stdout, highlight=False)
    grid = Table(box=None, pad_edge=False, padding=(0, laid.gap, 0, 0), header_style="bold")
    for heading, kind in laid.columns.items():
        grid.add_column(heading, justify="right" if kind == "right" else "left", no_wrap=True)
    for row in laid.rows:
        grid.add_row(*map(Text, row))
    # Where even that is too wide, the terminal wraps the lines: rich would drop columns without a word.
    console.width = least_width(laid.columns, laid.rows, laid.gap) + laid.gap
    with console.capture() as captured:
        console.print(grid)
    say_folded(title)
    click.echo("")
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")
    if laid.left_out:
        say_folded(f"no room for {', '.join(laid.left_out)}: a wider terminal, a file or a pipe shows all")


def fits(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a table has room with every cell on one line; in a file or a pipe everything has."""
    width = terminal_width()
    return width is None or least_width(columns, [tuple(map(printable, row)) for row in rows]) <= width


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def section(one: Section) -> None:
    """Print a section on stdout: its table, then its notes."""
    if one.rows:
        table(one.title, one.columns, one.rows)
    else:
        say(f"{one.title}\n")
    for line in one.notes:
        (say_folded if one.rows else say)(line)  # without rows they are commands, to be copied
    if one.notes or not one.rows:  # a table alone has an empty line below it
        say("")


def say(line: str) -> None:
    """Print one line of result on stdout."""
    click.echo(line)


def say_field(name: str, value: str) -> None:
    """Print a name and its value; in a terminal the value folds to its width, beside the name."""
    pieces, width = [value], terminal_width()
    if width is not None:
        pieces = textwrap.wrap(value, max(width - FIELD_WIDTH - 1, FIELD_WIDTH), break_long_words=False) or [
            ""
        ]
    for number, piece in enumerate(pieces):
        say(f"{'' if number else name:<{FIELD_WIDTH}} {piece}".rstrip())


def say_folded(line: str) -> None:
    """Print one line of result on stdout; in a terminal it folds to its width, the rest indented."""
    width = terminal_width()
    if width is not None:
        # Not at hyphens: what is broken there cannot be copied, and the names of runs are full of them.
        line = textwrap.fill(
            line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    say(line)


def say_loudly(line: str) -> None:
    """Print one line of result that must not be missed: folded, and bold in a terminal."""
    width = terminal_width()
    if width is None:
        say(line)
        return
    text = textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    for piece in text.splitlines():
        say(click.style(piece, bold=True))


def note(line: str) -> None:
    """Print one line about what is going on, on stderr."""
    click.echo(line, err=True)


def busy(with_what: str) -> None:
    """Say on stderr what takes a while before there is progress to count, also into a file or a pipe.

    A line that stays, and no spinner: the hub's download bars may come below it.
    """
    note(f"{with_what} ...")


def each(jobs: Sequence[Job], name: Callable[[Job], str], run: Callable[[Job], int]) -> int:
    """Run jobs one after another; an error in one does not stop the next.

    Args:
        jobs: what to work on.
        name: what a job is called in the line about its error; not used for a single job.
        run: does one job and returns its exit status.

    Returns:
        1 if a job raised an error, else the highest status.

    Raises:
        SerCacheError, OSError: the error of a single job.
        UnknownNameError: of any job, since all would share it.
    """
    statuses, complaints = [], []
    for job in jobs:
        try:
            statuses.append(run(job))
        except (SerCacheError, OSError) as error:
            if len(jobs) == 1 or isinstance(error, (UnknownNameError, BrokenPipeError)):
                raise
            complaints.append(f"error: {name(job)}: {in_a_line(error)}")
    for complaint in complaints:
        note(complaint)
    return 1 if complaints else max(statuses, default=0)


def in_a_line(error: SerCacheError | OSError) -> str:
    """What an error says; one of the system (a full disk, a missing permission) names its file."""
    if isinstance(error, SerCacheError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}; nothing half-written is left behind."


def list_first(lines: Sequence[str], prefix: str = "") -> None:
    """Print the first of many lines on stderr, each after a prefix, and how many more there are."""
    for line in lines[:LISTED_FAILURES]:
        note(f"{prefix}{line}")
    if len(lines) > LISTED_FAILURES:
        note(f"{prefix}and {len(lines) - LISTED_FAILURES:,} more")


def named(names: Sequence[str]) -> str:
    """The first few of some names in a row, and how many more there are."""
    further = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {further:,} more" if further > 0 else "")


def list_failures(failures: Mapping[str, str], where: Path | None) -> None:
    """Name the first failed utterances with their reasons on stderr, and the file that has them all."""
    for name, reason in list(failures.items())[:LISTED_FAILURES]:
        note(f"failed: {name}: {reason}")
    further = len(failures) - LISTED_FAILURES
    listed = f"; all are in {where}" if where else ""
    note(f"{len(failures)} failed{f' ({further} not shown)' if further > 0 else ''}{listed}.")


def note_reused(reused: int, made: int, repeats: str) -> None:
    """Say how many runs were there already, and that ``--force`` makes them again; nothing for none."""
    if reused:
        runs, were = ("run", "was") if made == 1 else ("runs", "was" if reused == 1 else "were")
        note(f"{reused} of {made} {runs} {were} reused; --force {repeats}.")


def count(number: int, noun: str) -> str:
    """A number with its noun, "1 speaker" or "6 speakers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """A size in bytes as people read it, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


@dataclass
class Bar:
    """A running progress display; ``update`` may be called as often as there is news."""

    progress: Progress | None
    task: TaskID
    description: str
    total: int
    started: float
    said: float

    def update(self, done: int, detail: str = "") -> None:
        """Show that ``done`` of the total are finished, with a detail such as "41.7 s audio/s".

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed and got lost.
        """
        interruption.raise_again()
        if done == 0:  # what goes before the work that is counted says nothing of how long that takes
            self.started = monotonic()
        if self.progress is not None:
            shown = _shortened(detail, self._room())
            self.progress.update(self.task, completed=done, total=self.total, detail=shown)
        elif monotonic() - self.said > SECONDS_BETWEEN_LINES:
            self.said = monotonic()
            left = (self.said - self.started) * (self.total - done) / max(done, 1)
            estimate = f", about {left:.0f} s left" if done else ""
            note(f"{self.description}: {done}/{self.total} {detail}{estimate}")

    def _room(self) -> int:
        """Characters that are left for the detail on one line of the terminal, after all that comes first."""
        if self.progress is None:
            return 0
        name, counts = len(self.progress.tasks[self.task].description), 2 * len(str(self.total)) + 1
        return self.progress.console.width - (name + 1 + BAR_WIDTH + 1 + counts + 1 + _LEFT_WIDTH) - 1

    def restate(self, done: int, total: int, detail: str = "") -> None:
        """Like ``update``, where the total is known only now."""
        self.total = total
        self.update(done, detail)


@contextmanager
def bar(description: str, total: int) -> Iterator[Bar]:
    """Show progress on stderr: a bar with the time left in a terminal, else a line every 30 s."""
    now = monotonic()
    if not sys.stderr.isatty():
        yield Bar(None, TaskID(0), description, total, now, now)
        return
    # The time left comes before the detail, which is cut where the line ends: it must never be the estimate.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=BAR_WIDTH),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    # The end tells the variants of a backbone apart, the beginning is the corpus: the middle gives way.
    half = NAME_WIDTH // 2
    shown = (
        description if len(description) <= NAME_WIDTH else f"{description[:half]}…{description[1 - half :]}"
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        yield Bar(progress, progress.add_task(shown, total=total, detail=""), description, total, now, now)


def _shortened(text: str, room: int) -> str:
    """The beginning of a text that is longer than there is room for."""
    if len(text) <= room:
        return text
    return f"{text[: room - 1]}…" if room > 1 else ""
