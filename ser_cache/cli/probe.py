"""``ser probe``: train heads on cached hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.emotion_options import chosen_emotions, emotions_option, with_emotions
from ser_cache.cli.feature_choice import cached_folder, how_to_cache
from ser_cache.cli.options import chosen_manifests, given_places, where_things_live
from ser_cache.cli.probe_across import CrossJob, cross_jobs, probe_across_one, tell
from ser_cache.cli.probe_options import chosen_heads, fitting
from ser_cache.cli.protocols import changed_protocol, training_options
from ser_cache.cli.run_table import show_summaries
from ser_cache.cli.splitting import chosen_split, split_options
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ser_cache.emotions import EmotionChoice
    from ser_cache.manifest import Manifest
    from ser_cache.probing import ProbeOptions
    from ser_cache.results import RunSummary
    from ser_cache.splits import SplitOptions

Job = tuple["Manifest", str]
"""A corpus, and a backbone's folder in the cache."""


@click.command(
    epilog="Example: ser probe --head multilayer --corpus emovo --split loso --seeds 5",
    short_help="Train classifiers from the cache.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="linear|nonlinear|multilayer|superb|pepino|all",
    default=("all",),
    show_default=True,
    help="Repeatable; all are those of the protocol, and any that are named beside it.",
)
@click.option("--model", "models", multiple=True, help="A backbone in the cache; repeatable [default: all].")
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all that are cached].")
@click.option(
    "--train", multiple=True, metavar="CORPUS|all", help="Train on this corpus, test on others; repeatable."
)
@click.option(
    "--test", multiple=True, metavar="CORPUS|all", help="... those to test, each by itself; repeatable."
)
@emotions_option
@split_options
@click.option(
    "--seeds", default=1, show_default=True, type=click.IntRange(1), help="Models per head and fold."
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="N|all",
    help="For heads that read one layer; repeatable [default: the last that is cached].",
)
@click.option(
    "--protocol", default="dasaro2024", show_default=True, help="Settings of a study; see: ser protocols"
)
@training_options
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to train.")
@click.option("--force", is_flag=True, help="Train again what is there already.")
@where_things_live("manifests", "cache", "runs")
def probe(
    heads: tuple[str, ...],
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    train: tuple[str, ...],
    test: tuple[str, ...],
    emotions: str | None,
    seeds: int,
    layers: tuple[str, ...],
    protocol: str,
    device: str,
    force: bool,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
    **changes: Any,  # noqa: ANN401 - what click read for split_options and training_options
) -> int:
    """Train classifiers on the cached hidden states of frozen backbones, and show how well they do.

    With --train and --test, they are trained on some corpora and tested on others; a share of the training
    corpora's speakers validates (--ratios), and the tested corpora are tested whole.

    Every number is the mean over seeds, in percent; with more than one fold, the folds' predictions are
    pooled. A run that is there already is shown again, not repeated. Each run's folder holds its split,
    predictions with scores, metrics, log and weights.
    """
    from ser_cache.probing import ProbeOptions
    from ser_cache.protocols import protocol_named

    where = settings.locate(manifests, cache, runs)
    split, changes = chosen_split(changes)
    followed = changed_protocol(protocol_named(protocol), changes)
    options = ProbeOptions(
        heads=chosen_heads(heads, followed.heads, layers),
        split=split,
        seeds=tuple(range(seeds)),
        protocol=followed,
        device=device,
        force=force,
    )
    places, choice = given_places(manifests, cache), chosen_emotions(emotions)
    jobs: list[Job | CrossJob]
    title = f"Probes: split {split.kind}, protocol {followed.name}"
    if train or test:
        jobs = [*_across(where, models, corpora, train, test, choice, places, split)]
        title = f"Probes across corpora: protocol {followed.name}"
    else:
        jobs = [*_chosen(_jobs(where, models, corpora, places), choice, named=bool(corpora))]
    return _probe_each(where, jobs, options, heads, layers, places, title)


def _probe_each(
    where: settings.Locations,
    jobs: Sequence[Job | CrossJob],
    options: ProbeOptions,
    heads: Sequence[str],
    layers: Sequence[str],
    places: Sequence[str],
    title: str,
) -> int:
    """Train on one job after another, and show what came of them."""
    summaries: list[RunSummary] = []

    def probe_one(job: Job | CrossJob) -> int:
        if isinstance(job, CrossJob):
            summaries.extend(probe_across_one(where, job, options, heads, layers, places))
        else:
            summaries.extend(_probe_one(where, *job, options, heads, layers, places))
        return 0

    try:
        return screen.each(jobs, _name, probe_one)
    finally:
        if summaries:  # also after Ctrl-C: what is trained is worth showing
            show_summaries(summaries, title)
            for line in options.protocol.differs:
                screen.note(f"note: {line}.")


def _across(
    where: settings.Locations,
    models: Sequence[str],
    corpora: Sequence[str],
    train: Sequence[str],
    test: Sequence[str],
    choice: EmotionChoice | None,
    places: Sequence[str],
    split: SplitOptions,
) -> list[CrossJob]:
    """Every chosen backbone, trained on some corpora and tested on others; who validates is told first."""
    if corpora:
        raise SettingsError("--corpus is for training and testing on the same; leave it out with --train.")
    jobs = cross_jobs(where, _backbones(where, models), train, test, choice, places, named=bool(models))
    tell(jobs, split)
    return jobs


def _name(job: Job | CrossJob) -> str:
    """What an error calls a job."""
    return job.name if isinstance(job, CrossJob) else f"{job[0].corpus}, {job[1]}"


def _chosen(jobs: Sequence[Job], choice: EmotionChoice | None, *, named: bool) -> list[Job]:
    """Jobs whose corpora have the chosen emotions, restricted to these."""
    whole = {manifest.corpus: manifest for manifest, _ in jobs}
    chosen = {m.corpus: m for m in with_emotions(list(whole.values()), choice, named=named)}
    return [(chosen[manifest.corpus], backbone) for manifest, backbone in jobs if manifest.corpus in chosen]


def _backbones(where: settings.Locations, models: Sequence[str]) -> list[str]:
    """The named backbones, or all that are cached; folders in the cache."""
    from ser_cache.store import summaries

    cached = list(dict.fromkeys(summary.backbone for summary in summaries(where.cache)))
    return list(dict.fromkeys(cached_folder(name, cached) for name in models)) or cached


def _jobs(
    where: settings.Locations, models: Sequence[str], corpora: Sequence[str], places: Sequence[str]
) -> list[Job]:
    """Every chosen corpus with every chosen backbone it is cached for.

    What was asked for by name and is cached for no chosen backbone is an error; what is not cached
    completely, or not for this backbone, is left out with a line.
    """
    from ser_cache.store import summaries

    made = {manifest.corpus: manifest for manifest in chosen_manifests(where, corpora)}
    cached = summaries(where.cache)
    backbones = list(dict.fromkeys(summary.backbone for summary in cached))
    wanted = [cached_folder(name, backbones) for name in models] or backbones
    jobs, skipped = [], []
    for summary in cached:
        if summary.backbone not in wanted:
            continue
        if summary.corpus not in made:
            if not corpora:
                skipped.append(f"{summary.corpus} is cached for {summary.backbone} but has no manifest here.")
        elif summary.complete or models or corpora:
            jobs.append((made[summary.corpus], summary.backbone))
        else:
            skipped.append(f"{summary.corpus} is not cached completely for {summary.backbone}.")
    there = {(manifest.corpus, backbone) for manifest, backbone in jobs}
    for name in corpora:
        lacking = [backbone for backbone in wanted if (name, backbone) not in there] if models else []
        if wanted and not any((name, backbone) in there for backbone in wanted):
            remedy = how_to_cache(where, name, wanted[0], places)
            raise SettingsError(f"{name} is not cached for {', '.join(wanted)}{remedy}")
        skipped += [f"{name} is not cached for {backbone}." for backbone in lacking]
    for line in skipped:
        screen.note(f"skipped: {line}")
    if not jobs:
        what = "nothing is cached completely" if skipped else "nothing is cached"
        raise SettingsError(f"{what} in {where.cache}; begin with: ser extract --model MODEL")
    return jobs


def _probe_one(
    where: settings.Locations,
    manifest: Manifest,
    backbone: str,
    options: ProbeOptions,
    named: Sequence[str],
    layers: Sequence[str],
    places: Sequence[str],
) -> list[RunSummary]:
    """Train one corpus's heads; those that were not named only where its features suffice for them."""
    from ser_cache.probing import Progress, probe
    from ser_cache.store import open_features

    with (
        open_features(where.cache / backbone / manifest.corpus, manifest.utterances, places) as features,
        screen.bar(f"{manifest.corpus} {backbone}", 1) as bar,
    ):
        options = fitting(options, features, named, layers)

        def show(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, f"fold {progress.fold}, {progress.heads}")

        return probe(features, manifest, options, where.runs, show)
