"""``ser baseline``: classical classifiers on MFCC or any other cached features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.emotion_options import chosen_emotions, emotions_option, with_emotions
from ser_cache.cli.on_demand import FeatureJob, extract_if_missing, feature_jobs
from ser_cache.cli.options import given_places, where_things_live
from ser_cache.cli.run_table import show_summaries
from ser_cache.cli.splitting import chosen_split, split_options
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ser_cache.baselines import BaselineOptions, BaselineProtocol
    from ser_cache.manifest import Manifest
    from ser_cache.results import RunSummary
    from ser_cache.splits import SplitOptions
    from ser_cache.store import CachedFeatures

Job = tuple[FeatureJob, "Manifest"]
"""What may have to be extracted, and the chosen part of its manifest."""
_LISTED_SEARCHES = 20


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
@click.option("--jobs", type=click.IntRange(1), help="Threads; no result depends on it [default: all cores].")
@click.option("--force", is_flag=True, help="Train again what is there already.")
@where_things_live("manifests", "cache", "runs")
def baseline(
    svm: bool,
    rf: bool,
    knn: bool,
    logreg: bool,
    features: tuple[str, ...],
    layers: tuple[str, ...],
    functionals: str | None,
    corpora: tuple[str, ...],
    emotions: str | None,
    protocol: str,
    inner_folds: int | None,
    select: str | None,
    max_iterations: str | None,
    seeds: int,
    jobs: int | None,
    force: bool,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
    **split: Any,  # noqa: ANN401 - what click read for split_options
) -> int:
    """Train classical classifiers on cached features, and show how well they do; svm and rf by default.

    Features are standardised over the training side, and the grid's best parameters are found there by
    cross-validation; train and validation sides are both trained on. MFCC are extracted first where they are
    not cached. Runs are kept beside those of `ser probe`: `ser runs RUN` shows a run's classes, confusion
    and grid, `ser compare RUN RUN` compares two.
    """
    from ser_cache.baselines import DEFAULT, BaselineOptions, protocol_named

    where = settings.locate(manifests, cache, runs)
    followed = _changed(protocol_named(protocol), functionals, inner_folds, select, max_iterations)
    asked = {"svm": svm, "rf": rf, "knn": knn, "logreg": logreg}
    options = BaselineOptions(
        classifiers=tuple(name for name, wanted in asked.items() if wanted) or DEFAULT,
        split=_split(split, followed),
        protocol=followed,
        seeds=tuple(range(seeds)),
        jobs=jobs or _processors(),
        force=force,
    )
    places = given_places(manifests, cache)
    work = _chosen(feature_jobs(where, features, corpora, places), emotions, named=bool(corpora))
    summaries: list[RunSummary] = []

    def train_one(job: Job) -> int:
        whole, manifest = job
        status = extract_if_missing(where, whole)
        summaries.extend(_train_one(where, manifest, whole.backbone, options, layers, places))
        return status

    try:
        return screen.each(work, lambda job: job[0].name, train_one)
    finally:
        if summaries:  # also after Ctrl-C: what is trained is worth showing
            from ser_cache.results.query import split_text
            from ser_cache.splits import split_config

            shown = split_text(split_config(options.split))
            show_summaries(summaries, f"Baselines: split {shown}, protocol {options.protocol.name}")
            for line in options.protocol.notes:
                screen.note(f"note: {line}.")
            _show_choices(summaries)


def _chosen(jobs: Sequence[FeatureJob], emotions: str | None, *, named: bool) -> list[Job]:
    """Jobs whose corpora have the chosen emotions, and these alone of their manifests."""
    whole = {job.manifest.corpus: job.manifest for job in jobs}
    chosen = {
        m.corpus: m for m in with_emotions(list(whole.values()), chosen_emotions(emotions), named=named)
    }
    return [(job, chosen[job.manifest.corpus]) for job in jobs if job.manifest.corpus in chosen]


def _train_one(
    where: settings.Locations,
    manifest: Manifest,
    backbone: str,
    options: BaselineOptions,
    layers: Sequence[str],
    places: Sequence[str],
) -> list[RunSummary]:
    """Train on one corpus and kind of features."""
    from ser_cache.baselines import Progress, baseline
    from ser_cache.store import open_features

    with (
        open_features(where.cache / backbone / manifest.corpus, manifest.utterances, places) as cached,
        screen.bar(f"{manifest.corpus} {backbone}", 1) as bar,
    ):

        def show(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, progress.what)

        chosen = replace(options, layers=_layers(layers, cached))
        return baseline(cached, manifest, chosen, where.runs, show)


def _changed(
    protocol: BaselineProtocol,
    functionals: str | None,
    inner_folds: int | None,
    select: str | None,
    max_iterations: str | None,
) -> BaselineProtocol:
    """The protocol with what was asked for instead; what was not stays."""
    values: dict[str, Any] = {}
    if functionals is not None:
        values["functionals"] = tuple(name.strip() for name in functionals.split(","))
    if inner_folds is not None:
        values["folds"] = inner_folds
    if select is not None:
        values["select"] = select.replace("-", "_")
    if max_iterations is not None:
        if max_iterations != "none" and not max_iterations.isdecimal():
            raise SettingsError(f"--max-iterations {max_iterations}: give a whole number from 1, or none.")
        values["max_iterations"] = None if max_iterations == "none" else int(max_iterations)
    return protocol.changed(**values)


def _split(given: Mapping[str, Any], protocol: BaselineProtocol) -> SplitOptions:
    """The split that was asked for, or the protocol's own.

    Raises:
        SettingsError: another than the protocol's own was asked for.
    """
    if not protocol.split:
        return chosen_split(given)[0]
    from ser_cache.splits import SplitOptions

    context = click.get_current_context()
    for name in ("split", "ratios", "folds", "fold_files"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            percent = round(100 * protocol.ratios[2])
            followed = protocol.name.partition(" ")[0]
            raise SettingsError(
                f"--protocol {followed} divides by utterance, {100 - percent}/{percent}; "
                f"leave --{name.replace('_', '-')} out, or choose --protocol classical."
            )
    return SplitOptions(protocol.split, given["split_seed"], protocol.ratios)


def _layers(wanted: Sequence[str], features: CachedFeatures) -> tuple[int, ...]:
    """Layer numbers from the command line; whether they are cached, the library checks."""
    if "all" in wanted:
        return tuple(features.layers)
    for text in wanted:
        if not text.isdecimal():
            raise SettingsError(f"--layer {text} is no layer; give a number, or all.")
    return tuple(map(int, wanted))


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show_choices(summaries: Sequence[RunSummary]) -> None:
    """Which parameters were chosen in each fold, and how they did in the inner folds, where that is short."""
    from ser_cache.results import parameters_text, read_grid_search, read_run

    grids = [(summary, read_grid_search(read_run(summary.folder))) for summary in summaries]
    found = [(summary, grid, search) for summary, grid in grids if grid for search in grid.searches]
    several = any(summary.folds > 1 for summary in summaries)
    rows = []
    for summary, grid, search in found:
        inner = 100 * search.scores[search.best]
        rows.append(
            (
                summary.corpus,
                summary.head,
                *([search.fold] if several else []),
                parameters_text(grid.candidates[search.best]),
                f"{inner.mean():.1f}",
                f"{inner.min():.0f}-{inner.max():.0f}",
            )
        )
    columns = {"corpus": "fold", "head": "left"} | ({"fold": "left"} if several else {})
    if len(rows) <= _LISTED_SEARCHES:
        screen.say("")
        screen.table(
            "Chosen by cross-validation: mean score and range of inner folds, percent",
            columns | {"chosen": "fold", "mean": "right", "range": "left"},
            rows,
        )
    what = (
        "per class, confusion, every search"
        if len(rows) <= _LISTED_SEARCHES
        else "what was chosen, per class"
    )
    screen.say(f"{what}: ser runs {summaries[-1].folder.name}")
