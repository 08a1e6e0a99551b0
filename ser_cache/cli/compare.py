"""``ser compare``: two runs on the same test utterances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import where_things_live

if TYPE_CHECKING:
    from ser_cache.comparison import Comparison, Difference

SCORES = {"ua": "UA", "wa": "WA", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
_SHOWN = 28


@click.command(
    epilog="""\b
    Example: ser compare emovo-xls-r-linear emovo-xls-r-multilayer
             ser compare dee348 f949cb --format json""",
    short_help="Is one run better than another?",
)
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option(
    "--draws", default=10_000, show_default=True, type=click.IntRange(100), help="Samples of the bootstrap."
)
@click.option(
    "--format",
    "shape",
    default="table",
    show_default=True,
    type=click.Choice(["table", "json"]),
    help="JSON holds every figure in full.",
)
@where_things_live("runs")
def compare(first: str, second: str, draws: int, shape: str, runs: Path | None) -> int:
    """Compare two runs on the test utterances they share: B less A, and how sure that is.

    RUN is a run's folder, its name, its beginning, or the digits that `ser runs` shows. The interval and p
    come from a paired bootstrap over test speakers, with Student's t for so few; McNemar's test counts the
    utterances that one run alone gets right. Where the runs differ in their classes, their split, their data
    or the utterances they tested, that stands above the scores; where a difference would mean nothing, they
    are not compared.
    """
    from ser_cache.comparison import ComparisonOptions, compare_runs
    from ser_cache.results import find_run

    where = settings.locate(runs=runs)
    one, other = (find_run(where.runs, name) for name in (first, second))
    found = compare_runs(one, other, ComparisonOptions(draws=draws))
    if shape == "json":
        screen.say(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        for line in found.cautions:
            screen.note(f"CAUTION: {line}.")
    else:
        show(found)
    return 0


def show(found: Comparison) -> None:
    """Print the scores of both runs, McNemar's line, what differs, and what must be known."""
    screen.say(f"A: {found.first}")
    screen.say(f"B: {found.second}")
    for change in found.changes:
        screen.say(f"   {change.setting}: {_setting(change.first)} in A, {_setting(change.second)} in B")
    if not found.changes:
        screen.say("   no setting differs")
    screen.say("")
    for line in found.cautions:
        screen.say_loudly(f"CAUTION: {line}.")
    if found.cautions:
        screen.say("")
    interval = f"{100 * found.options.level:g}% interval"
    columns = dict.fromkeys(("A", "B", "B - A", interval, "p"), "right")
    rows = [
        (
            SCORES[row.score],
            f"{100 * row.first:.1f}",
            f"{100 * row.second:.1f}",
            f"{100 * row.difference:+.1f}",
            _interval(row),
            probability(row.p),
        )
        for row in found.differences
    ]
    clips = screen.count(found.utterances, "utterance")
    of_both = " that both tested" if any(found.left_out) else ""
    title = f"{found.corpus}: {clips} of {screen.count(found.speakers, 'speaker')}{of_both}, percent"
    screen.table(title, {"": "left", **columns}, rows)
    pairs = found.mcnemar
    screen.say(
        f"McNemar: {pairs.only_first} right in A alone, {pairs.only_second} in B alone, "
        f"exact p {_equal(probability(pairs.p))}"
    )
    screen.say(f"interval and p: bootstrap over {found.drawn}, {found.options.draws:,} draws, Student's t")
    without: dict[str, list[str]] = {}
    for row in found.differences:
        if row.no_interval:
            without.setdefault(row.no_interval, []).append(SCORES[row.score])
    for reason, names in without.items():
        screen.note(f"note: no interval of {', '.join(names)}: {reason}; p is that of the sign test")
    for line in found.notes:
        screen.note(f"note: {line}")


def _interval(row: Difference) -> str:
    if row.low is None or row.high is None:
        return "none"
    return f"{100 * row.low:+.1f} to {100 * row.high:+.1f}"


def probability(p: float) -> str:
    """A p value: three decimals, and never 0."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _equal(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _setting(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """A setting in a few characters."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        text = ranges(value)
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def ranges(values: list[Any] | tuple[Any, ...]) -> str:
    """A list; runs of whole numbers as "1-12"."""
    if len(values) > 2 and all(isinstance(value, int) for value in values):
        first, last = values[0], values[-1]
        if list(values) == list(range(first, last + 1)):
            return f"{first}-{last}"
    return ", ".join(map(str, values)) or "none"
