"""``ser baseline``: classical classifiers on MFCC or any other cached features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.emotion_options import emotions_option
from ser_cache.cli.feature_choice import chosen_layers
from ser_cache.cli.on_demand import FeatureJob, extract_if_missing, feature_jobs
from ser_cache.cli.options import given_places, typed, where_things_live
from ser_cache.cli.run_table import SCORES, show_summaries
from ser_cache.cli.splitting import chosen_split, split_options
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ser_cache.baselines import BaselineOptions, BaselineProtocol
    from ser_cache.results import RunSummary
    from ser_cache.results.grids import GridOfFold, GridSearch
    from ser_cache.splits import SplitOptions

_LISTED_SEARCHES = 20
_CHOICE = {
    "corpus": "fold",
    "features": "fold",
    "layer": "right",
    "head": "left",
    "fold": "left",
    "seed": "right",
    "chosen": "fold",
    "mean": "right",
    "range": "left",
}
"""What is told of each search: heading -> how its column gives way in a narrow terminal."""
_ALWAYS = {"corpus", "head", "chosen", "mean", "range"}


@click.command(
    epilog="Example: ser baseline --svm --rf --corpus emovo",
    short_help="Train classical classifiers from the cache.",
)
@click.option("--svm", is_flag=True, help="Support vector machine: C, gamma and kernel, 48 candidates.")
@click.option("--rf", is_flag=True, help="Random forest: trees, depth and leaves, 54 candidates.")
@click.option("--knn", is_flag=True, help="K nearest neighbours: k and weights, 14 candidates.")
@click.option("--logreg", is_flag=True, help="Logistic regression: C, 6 candidates.")
@click.option(
    "--features",
    multiple=True,
    default=("mfcc",),
    show_default=True,
    help="mfcc, or a backbone in the cache; repeatable.",
)
@click.option("--layer", "layers", multiple=True, metavar="N|all", help="Repeatable [default: the last].")
@click.option(
    "--functionals",
    help="Of the frames of an utterance: mean, std, min, max, pN for percentile N; as mean,std,p90 "
    "[default: mean].",
)
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all].")
@click.option(
    "--protocol",
    default="classical",
    show_default=True,
    metavar="classical|wang2023",
    help="Hold speakers out, in the split and in inner folds; or divide 70/30 by utterance, as the study.",
)
@emotions_option
@split_options
@click.option(
    "--inner-folds", type=click.IntRange(2), help="Folds of the grid's cross-validation [default: 5]."
)
@click.option(
    "--select", metavar="macro_f1|accuracy", help="What a grid's best is best in [default: the protocol's]."
)
@click.option(
    "--max-iterations",
    metavar="N|none",
    help="Where a solver of svm or logreg is stopped, which is told [default: 100000].",
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Forests per fold.")
@click.option("--jobs", type=click.IntRange(1), help="Cores to use; no result depends on it [default: all].")
@click.option("--force", is_flag=True, help="Train again what is there already.")
@where_things_live("manifests", "cache", "runs")
def baseline(
    features: tuple[str, ...],
    layers: tuple[str, ...],
    corpora: tuple[str, ...],
    emotions: str | None,
    protocol: str,
    seeds: int,
    jobs: int | None,
    force: bool,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
    **given: Any,  # noqa: ANN401 - what click read for classifiers, changes of the protocol, split_options
) -> int:
    """Train classical classifiers on cached features, and show how well they do; svm and rf by default.

    Features are standardised over the training side, and the grid's best parameters are found there by
    cross-validation; train and validation sides are both trained on. MFCC are extracted first where they are
    not cached. Runs are kept beside those of `ser probe`: `ser runs RUN` shows a run's classes, confusion
    and grid, `ser compare RUN RUN` compares two.
    """
    from ser_cache.baselines import CLASSIFIERS, DEFAULT, BaselineOptions, protocol_named

    where = settings.locate(manifests, cache, runs)
    followed = _changed(protocol_named(protocol), given)
    classifiers = tuple(name for name in CLASSIFIERS if given[name]) or DEFAULT
    _refuse_without_effect(classifiers)
    options = BaselineOptions(
        classifiers=classifiers,
        split=_split(given, followed),
        protocol=followed,
        seeds=tuple(range(seeds)),
        jobs=jobs or _processors(),
        force=force,
    )
    places = given_places(manifests, cache)
    work = feature_jobs(where, features, corpora, emotions, places)
    summaries: list[RunSummary] = []

    def train_one(job: FeatureJob) -> int:
        status = extract_if_missing(where, job)
        summaries.extend(_train_one(where, job, options, layers, places))
        return status

    try:
        return screen.each(work, lambda job: job.name, train_one)
    finally:
        if summaries:  # also after Ctrl-C: what is trained is worth showing
            _show(summaries, options)


def _train_one(
    where: settings.Locations,
    job: FeatureJob,
    options: BaselineOptions,
    layers: Sequence[str],
    places: Sequence[str],
) -> list[RunSummary]:
    """Train on one corpus and kind of features."""
    from ser_cache.baselines import Progress, baseline
    from ser_cache.store import open_features

    folder = where.cache / job.backbone / job.corpus
    with (
        open_features(folder, job.manifest.utterances, places) as cached,
        screen.bar(f"{job.corpus} {job.backbone}", 1) as bar,
    ):

        def show(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, progress.what)

        chosen = replace(options, layers=chosen_layers(layers, cached))
        return baseline(cached, job.manifest, chosen, where.runs, show)


def _refuse_without_effect(classifiers: Sequence[str]) -> None:
    """Refuse an option that was typed and none of the classifiers has a use for."""
    from ser_cache.baselines import CLASSIFIERS

    users = {
        "seeds": [name for name, kind in CLASSIFIERS.items() if kind.seeded],
        "max_iterations": [name for name, kind in CLASSIFIERS.items() if kind.iterates],
    }
    for parameter, names in users.items():
        if typed(parameter) and not {*names} & {*classifiers}:
            raise SettingsError(
                f"--{parameter.replace('_', '-')} changes nothing of {', '.join(classifiers)}; it is for "
                f"{', '.join(names)}."
            )


def _changed(protocol: BaselineProtocol, given: Mapping[str, Any]) -> BaselineProtocol:
    """The protocol with what was asked for instead; what was not stays.

    Raises:
        SettingsError: a limit of iterations that is neither a number nor "none".
    """
    values: dict[str, Any] = {}
    if given["functionals"] is not None:
        values["functionals"] = tuple(name.strip() for name in given["functionals"].split(","))
    if given["inner_folds"] is not None:
        values["folds"] = given["inner_folds"]
    if given["select"] is not None:
        values["select"] = given["select"].replace("-", "_")
    limit = given["max_iterations"]
    if limit is not None:
        if limit != "none" and not limit.isdecimal():
            raise SettingsError(f"--max-iterations {limit}: give a whole number from 1, or none.")
        values["max_iterations"] = None if limit == "none" else int(limit)
    return protocol.changed(**values)


def _split(given: Mapping[str, Any], protocol: BaselineProtocol) -> SplitOptions:
    """The split that was asked for, or the protocol's own.

    Raises:
        SettingsError: another than the protocol's own was asked for.
    """
    if not protocol.split:
        return chosen_split(given)[0]
    from ser_cache.splits import SplitOptions

    for name in ("split", "ratios", "folds", "fold_files"):
        if typed(name):
            percent = round(100 * protocol.ratios[2])
            followed = protocol.name.partition(" ")[0]
            raise SettingsError(
                f"--protocol {followed} divides by utterance, {100 - percent}/{percent}; "
                f"leave --{name.replace('_', '-')} out, or choose --protocol classical."
            )
    return SplitOptions(protocol.split, given["split_seed"], protocol.ratios)


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show(summaries: Sequence[RunSummary], options: BaselineOptions) -> None:
    """Scores of the runs, what must be known of them, and what the searches chose."""
    from ser_cache.results.query import split_text
    from ser_cache.splits import split_config

    shown = split_text(split_config(options.split))
    show_summaries(summaries, f"Baselines: split {shown}, protocol {options.protocol.name}")
    for line in options.protocol.notes:
        screen.note(f"note: {line}.")
    _show_choices(summaries)


def _show_choices(summaries: Sequence[RunSummary]) -> None:
    """Which parameters each search chose, and how they did in its inner folds, where that is short."""
    from ser_cache.results import read_grid_search, read_run

    grids = [(summary, read_grid_search(read_run(summary.folder))) for summary in summaries]
    found = [(summary, grid, search) for summary, grid in grids if grid for search in grid.searches]
    what = "what was chosen, per class"
    if len(found) <= _LISTED_SEARCHES:
        cells = [_choice(*one) for one in found]
        # What all searches share would only take room.
        kept = [name for name in _CHOICE if name in _ALWAYS or len({row[name] for row in cells}) > 1]
        selected = " or ".join(dict.fromkeys(SCORES.get(g.selected_by, g.selected_by) for _, g, _ in found))
        screen.say("")
        screen.table(
            f"Chosen by cross-validation: mean and range of {selected} over inner folds, percent",
            {name: _CHOICE[name] for name in kept},
            [tuple(row[name] for name in kept) for row in cells],
        )
        what = "per class, confusion, every search"
    screen.say(f"{what}: ser runs {summaries[-1].folder.name}")


def _choice(summary: RunSummary, grid: GridSearch, search: GridOfFold) -> dict[str, str]:
    """The cells of one search, by the headings of ``_CHOICE``."""
    from ser_cache.results import parameters_text
    from ser_cache.results.query import layers_text

    inner = 100 * search.scores[search.best]
    return {
        "corpus": summary.corpus,
        "features": summary.backbone,
        "layer": layers_text(summary.layers),
        "head": summary.head,
        "fold": search.fold,
        "seed": str(search.seed),
        "chosen": parameters_text(grid.candidates[search.best]),
        "mean": f"{inner.mean():.1f}",
        "range": f"{inner.min():.0f}-{inner.max():.0f}",
    }
