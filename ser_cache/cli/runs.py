"""``ser runs``: find trained runs again, as a table for people, papers or programs, or one in detail."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.delivery import as_json, deliver, delivery_options, shape_of
from ser_cache.cli.emotion_options import chosen_emotions
from ser_cache.cli.options import OUTPUT_FILE, where_things_live
from ser_cache.cli.run_detail import detail_record, show_run
from ser_cache.cli.run_filters import why_empty
from ser_cache.cli.run_formats import as_csv, as_latex, as_markdown
from ser_cache.cli.run_table import SCORES, percent, show_runs, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ser_cache.results import Run, Stale
    from ser_cache.results.query import Listing, Record, Wanted
    from ser_cache.staleness import Present

FORMATS = ("table", "csv", "json", "markdown", "latex")
SOME_FAILED = 3


@click.command(
    epilog="""\b
    Example: ser runs --corpus emovo --split loso --sort macro-f1
             ser runs dee348 --plot confusion.pdf
             ser runs --matrix --head linear""",
    short_help="Find trained runs, and compare them.",
)
@click.argument("run", required=False)
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all].")
@click.option("--train", multiple=True, help="Trained on this corpus; repeatable [default: all].")
@click.option("--test", multiple=True, help="Tested on this corpus; repeatable [default: all].")
@click.option("--model", "models", multiple=True, help="Backbone; repeatable [default: all].")
@click.option("--head", "heads", multiple=True, help="Repeatable [default: all].")
@click.option("--protocol", "protocols", multiple=True, help="Repeatable [default: all].")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="KIND|RATIOS|TEXT",
    help="loso, folds, speaker ...; 70/10/20; or as the table has it, '5 folds'; repeatable [default: all].",
)
@click.option(
    "--emotions",
    metavar="LIST|FILE.toml",
    help="Only runs with these classes, written as for `ser probe` [default: all].",
)
@click.option(
    "--layer", "layers", multiple=True, type=int, help="Fed to the head; repeatable [default: all]."
)
@click.option(
    "--stale/--no-stale",
    default=None,
    help="Only runs that are replaced by a newer one, or whose manifest or features have changed since; or "
    "all but those [default: all].",
)
@click.option("--sort", "key", default="", help="A column of any format; scores best first [default: names].")
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option(
    "--plot",
    type=OUTPUT_FILE,
    help="Of one RUN: draw its confusion matrix, FILE.png, .pdf or .svg (needs matplotlib).",
)
@click.option(
    "--matrix",
    is_flag=True,
    help="Trained on (rows) by tested on (columns): a table of scores for each head, protocol, split ...",
)
@delivery_options(FORMATS)
@where_things_live("manifests", "cache", "runs")
def runs(
    run: str | None,
    corpora: tuple[str, ...],
    train: tuple[str, ...],
    test: tuple[str, ...],
    models: tuple[str, ...],
    heads: tuple[str, ...],
    protocols: tuple[str, ...],
    splits: tuple[str, ...],
    emotions: str | None,
    layers: tuple[int, ...],
    stale: bool | None,
    key: str,
    reverse: bool,
    plot: Path | None,
    matrix: bool,
    shape: str | None,
    output: Path | None,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
) -> int:
    """List trained runs, one row each, or show one RUN in detail.

    RUN is a run's name, its beginning, the digits that the table shows, or a folder. CSV and JSON hold
    everything that is known of each run, in fractions from 0 to 1; the other formats show the scores in
    percent. The confidence interval is that of the score sorted by, else of macro F1. A run is marked as
    stale where a newer one of the same choices is on other data, and where its manifest or its cached
    features have changed since; where one of these is here and cannot be read, that is said, the mark is
    "unknown" (--no-stale keeps such a run) and the exit status is 3. With --format json, one RUN gives all
    of its metrics. --matrix shows macro F1, or the score sorted by; runs that differ in anything but their
    corpora are in tables of their own.
    """
    from ser_cache.results.query import Wanted

    where = settings.locate(manifests, cache, runs)
    wanted = Wanted(
        corpora, models, heads, protocols, layers, stale, train, test, splits, chosen_emotions(emotions)
    )
    shape = shape_of(shape, output, FORMATS)
    if plot is not None:
        if run is None:
            raise click.UsageError("--plot draws the confusion matrix of one run: name the RUN too.")
        from ser_cache.plots import check_plot

        check_plot(plot)
    if matrix and (run is not None or shape != "table"):
        raise click.UsageError(
            "--matrix is a table of many runs; for other programs, --format csv says of each "
            "run what it was trained and tested on."
        )
    if matrix and reverse:
        raise click.UsageError("--matrix has no order to reverse: leave out --reverse.")
    if matrix:
        return _matrix(where, wanted, key)
    if run is None:
        return _list(where, wanted, key, shape, output, reverse=reverse)
    if wanted != Wanted() or key or reverse:
        raise click.UsageError("RUN names one run; filters and --sort are for the list of all.")
    return _show(where, run, shape, output, plot)


def _show(where: settings.Locations, text: str, shape: str, output: Path | None, plot: Path | None) -> int:
    """One run in detail."""
    from ser_cache.results import find_run, is_stale

    if shape not in ("table", "json"):
        raise click.UsageError(f"one run is shown as table or json, not as {shape}.")
    found, present = find_run(where.runs, text), _present(where)
    reasons = _why_stale(found, present)
    if shape == "json":
        deliver(as_json(detail_record(found) | {"stale_because": [*reasons]}), output, "1 run")
    else:
        show_run(found)
        if is_stale([*reasons]):
            screen.say_folded(f"STALE: {'; '.join(reasons.values())}")
    if plot is not None:
        _draw(found, plot)
    return _name_unreadable((), present)


def _why_stale(run: Run, present: Present) -> dict[str, str]:
    """Why one run is stale, each reason with what it means; empty where it is not."""
    from ser_cache.errors import ResultsError
    from ser_cache.results import REPLACED, list_runs, read_run, stale_runs
    from ser_cache.staleness import REASONS, stale_now

    beside = [run]
    for path in list_runs(run.folder.parent):
        if path.name.startswith(run.config.prefix) and path.name != run.folder.name:
            with suppress(ResultsError):  # a damaged neighbour is named in the list
                beside.append(read_run(path))
    replaced = {REPLACED: "a newer run of the same choices is on other data"}
    found = stale_now([run], present).get(run.folder, ())
    return (replaced if run.folder in stale_runs(beside) else {}) | {name: REASONS[name] for name in found}


def _draw(run: Run, plot: Path) -> None:
    """A run's confusion matrix, folds pooled."""
    from ser_cache.plots import draw_confusion
    from ser_cache.results import summarise
    from ser_cache.results.query import split_text

    config, summary = run.config, summarise(run)
    across = f"{', '.join(config.trained_on)} to {config.tested_on}"
    corpora = across if config.tested_on else config.corpus
    over = f", counts over {summary.seeds} seeds" if summary.seeds > 1 else ""
    title = (
        f"{corpora}, {config.backbone}, {config.head}\n"
        f"split {split_text(config.split)}, UA {percent(summary.ua)}{over}"
    )
    draw_confusion(plot, run.metrics["confusion"], config.classes, title)
    screen.note(f"figure: {plot}")


def _list(
    where: settings.Locations, wanted: Wanted, key: str, shape: str, output: Path | None, *, reverse: bool
) -> int:
    """All runs that are wanted, then the ones that could not be read."""
    from ser_cache.results.query import select, sort_runs

    present = _present(where)
    found = _read(where, present)
    try:
        # Without runs every name is unknown.
        chosen = select(found.runs, wanted, found.stale) if found.runs else []
        ordered = sort_runs(chosen, key, found.stale, reverse=reverse)
        if ordered or shape in ("csv", "json"):
            _print(ordered, found.stale, where.runs, key, shape, output, bool(wanted.layers))
        else:
            screen.note(why_empty(found, wanted, where.runs))
        if shape == "table" and wanted == type(wanted)():
            _note_clusterings(where.runs, present)
    finally:  # also where a filter was mistyped: the run that is missed may be among these
        status = _name_unreadable(found.unreadable, present)
    return status


def _present(where: settings.Locations) -> Present:
    """Manifests and features as they are now, to be read once a command."""
    from ser_cache.staleness import Present

    return Present(where.manifests, where.cache)


def _name_unreadable(runs: Sequence[str], present: Present) -> int:
    """Name the runs that could not be read, and what else could not be and they rest on; the exit status."""
    lines = [*runs, *present.complaints]
    for line in lines:
        screen.note(line)
    return SOME_FAILED if lines else 0


def _read(where: settings.Locations, present: Present) -> Listing:
    """All runs, and why which of them are stale."""
    from ser_cache.results.query import read_all
    from ser_cache.staleness import stale_now

    found = read_all(where.runs)
    since = stale_now(found.runs, present)
    folders = (run.folder for run in found.runs)
    reasons = {folder: (*found.stale.get(folder, ()), *since.get(folder, ())) for folder in folders}
    return replace(found, stale={folder: why for folder, why in reasons.items() if why})


def _note_clusterings(runs: Path, present: Present) -> None:
    """Name the clusterings that are stale: they are no runs, and `ser cluster --list` has them all."""
    from ser_cache.clustering_staleness import stale_clusterings
    from ser_cache.results import is_stale

    changed = stale_clusterings(runs, present)
    stale = {folder: why for folder, why in changed.items() if is_stale(why)}
    if stale:
        have = "clustering has" if len(stale) == 1 else "clusterings have"
        named = screen.named([f"{folder.name} ({', '.join(why)})" for folder, why in stale.items()])
        screen.note(
            f"note: {len(stale)} {have} other labels or features now: {named}; ser cluster makes new ones."
        )


def _matrix(where: settings.Locations, wanted: Wanted, key: str) -> int:
    """Runs by what they were trained and tested on."""
    from ser_cache.cli.run_matrix import show_matrices
    from ser_cache.results import is_stale
    from ser_cache.results.query import record, select

    present = _present(where)
    found = _read(where, present)
    chosen = select(found.runs, wanted, found.stale) if found.runs else []
    if any(run.config.tested_on for run in chosen):
        stale = {folder for folder, why in found.stale.items() if is_stale(why)}
        show_matrices(chosen, _score_sorted_by(key, [record(run) for run in chosen]), stale)
    elif chosen:
        screen.note(
            f"No such run in {where.runs} is across corpora; train some with: ser probe --train A --test B"
        )
    else:
        screen.note(why_empty(found, wanted, where.runs))
    return _name_unreadable(found.unreadable, present)


def _print(
    found: Sequence[Run],
    stale: Stale,
    folder: Path,
    key: str,
    shape: str,
    output: Path | None,
    show_layers: bool,
) -> None:
    from ser_cache.results.query import record

    records = [record(run, stale=stale.get(run.folder, ())) for run in found]
    what = screen.count(len(found), "run")
    if shape in ("csv", "json"):
        deliver(as_csv(records) if shape == "csv" else as_json(records), output, what)
        return
    score = _score_sorted_by(key, records)
    table = table_of(found, score, stale, show_layers)
    if shape == "table":
        show_runs(table, f"Runs in {folder}", score)
        screen.say(f"one in detail: ser runs {table.rows[0][0]}")
    else:
        write = as_markdown if shape == "markdown" else as_latex
        deliver(write(table, SCORES[score]), output, what)


def _score_sorted_by(key: str, records: Sequence[Record]) -> str:
    """The score whose interval is worth a column."""
    from ser_cache.results.query import column_named

    column = column_named(key, records).removesuffix("_low").removesuffix("_high") if key else ""
    return column if column in SCORES else "macro_f1"
