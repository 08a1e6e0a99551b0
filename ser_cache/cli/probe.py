"""``ser probe``: train heads on cached hidden states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import chosen_manifests, given_places, where_things_live
from ser_cache.cli.run_table import show_summaries
from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ser_cache.manifest import Manifest
    from ser_cache.probing import ProbeOptions
    from ser_cache.protocols import Protocol
    from ser_cache.results import RunSummary

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
    metavar="linear|nonlinear|multilayer|all",
    default=("all",),
    show_default=True,
    help="Repeatable.",
)
@click.option("--model", "models", multiple=True, help="A backbone in the cache; repeatable [default: all].")
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all that are cached].")
@click.option(
    "--split",
    default="speaker",
    show_default=True,
    metavar="speaker|loso|folds|random|column",
    help="How to divide: by speaker 80/10/10, leave one speaker out, speaker k-fold, by utterance "
    "(speaker-dependent), as the manifest's fold column says.",
)
@click.option("--split-seed", default=0, show_default=True, help="Seed of the split, apart from the models'.")
@click.option("--folds", default=5, show_default=True, type=click.IntRange(3), help="For --split folds.")
@click.option(
    "--seeds", default=1, show_default=True, type=click.IntRange(1), help="Models per head and fold."
)
@click.option("--protocol", default="dasaro2024", show_default=True, help="Settings of a study.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the protocol's.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Instead of the protocol's.")
@click.option("--batch-size", type=click.IntRange(1), help="Utterances a step, instead of the protocol's.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="Instead of the protocol's.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to train.")
@click.option("--force", is_flag=True, help="Train again what is there already.")
@where_things_live("manifests", "cache", "runs")
def probe(
    heads: tuple[str, ...],
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    split: str,
    split_seed: int,
    folds: int,
    seeds: int,
    protocol: str,
    epochs: int | None,
    learning_rate: float | None,
    batch_size: int | None,
    dropout: float | None,
    device: str,
    force: bool,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
) -> int:
    """Train classifiers on the cached hidden states of frozen backbones, and show how well they do.

    Every number is the mean over seeds, in percent; with more than one fold, the folds' predictions are
    pooled. A run that is there already is shown again, not repeated. Each run's folder holds its split,
    predictions with scores, metrics, log and weights.
    """
    from ser_cache.heads import HEADS
    from ser_cache.probing import ProbeOptions
    from ser_cache.protocols import protocol_named
    from ser_cache.splits import SplitOptions

    where = settings.locate(manifests, cache, runs)
    overrides = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    options = ProbeOptions(
        heads=tuple(HEADS) if "all" in heads else tuple(dict.fromkeys(heads)),
        split=SplitOptions(kind=split, seed=split_seed, folds=folds),
        seeds=tuple(range(seeds)),
        protocol=_overridden(protocol_named(protocol), overrides, dropout),
        device=device,
        force=force,
    )
    places = given_places(manifests, cache)
    jobs = _jobs(where, models, corpora, places)
    summaries: list[RunSummary] = []

    def probe_one(job: Job) -> int:
        summaries.extend(_probe_one(where, *job, options, "all" in heads, places))
        return 0

    try:
        return screen.each(jobs, lambda job: f"{job[0].corpus}, {job[1]}", probe_one)
    finally:
        if summaries:  # also after Ctrl-C: what is trained is worth showing
            show_summaries(summaries, f"Probes: split {split}, protocol {options.protocol.name}")


def _overridden(protocol: Protocol, training: Mapping[str, Any], dropout: float | None) -> Protocol:
    """A protocol with settings of the user's own, which its name then says."""
    changed = {name: value for name, value in training.items() if value is not None}
    head = protocol.head if dropout is None else replace(protocol.head, dropout=dropout)
    result = replace(protocol, training=replace(protocol.training, **changed), head=head)
    if result == protocol:
        return protocol
    named = changed if dropout is None else {**changed, "dropout": dropout}
    settings_changed = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in named.items())
    return replace(result, name=f"{protocol.name} but {settings_changed}")


def _jobs(
    where: settings.Locations, models: Sequence[str], corpora: Sequence[str], places: Sequence[str]
) -> list[Job]:
    """Every chosen corpus with every chosen backbone it is cached for.

    What was asked for by name and is cached for no chosen backbone is an error; what is not cached
    completely, or not for this backbone, is left out with a line.
    """
    from ser_cache.store import remake_of, summaries

    made = {manifest.corpus: manifest for manifest in chosen_manifests(where, corpora)}
    cached = summaries(where.cache)
    backbones = list(dict.fromkeys(summary.backbone for summary in cached))
    wanted = [_backbone(name, backbones) for name in models] or backbones
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
            command = remake_of(where.cache / wanted[0] / name, []).command(places)
            raise SettingsError(f"{name} is not cached for {', '.join(wanted)}; run: {command}")
        skipped += [f"{name} is not cached for {backbone}." for backbone in lacking]
    for line in skipped:
        screen.note(f"skipped: {line}")
    if not jobs:
        what = "nothing is cached completely" if skipped else "nothing is cached"
        raise SettingsError(f"{what} in {where.cache}; begin with: ser extract --model MODEL")
    return jobs


def _backbone(name: str, cached: Sequence[str]) -> str:
    """A backbone's folder in the cache, by that name or by the alias, hub id or folder it was made from."""
    for candidate in (name, name.replace("/", "--"), Path(name).name):
        if candidate in cached:
            return candidate
    remedy = "See: ser cache ls" if "+" in name else f"Cache it with: ser extract --model {name}"
    raise UnknownNameError("backbone", name, cached, remedy)


def _probe_one(
    where: settings.Locations,
    manifest: Manifest,
    backbone: str,
    options: ProbeOptions,
    what_can: bool,
    places: Sequence[str],
) -> list[RunSummary]:
    """Train one corpus's heads; with ``what_can``, those that its features suffice for."""
    from ser_cache.heads import head_kind
    from ser_cache.probing import Progress, probe
    from ser_cache.store import open_features

    with (
        open_features(where.cache / backbone / manifest.corpus, manifest.utterances, places) as features,
        screen.bar(f"{manifest.corpus} {backbone}", 1) as bar,
    ):
        if what_can and features.tier == "pooled":
            options = replace(options, heads=tuple(h for h in options.heads if head_kind(h).pools_first))
            screen.note(
                f"note: {manifest.corpus}: {backbone} keeps time means only; heads that need frames are left "
                f"out, which leaves {', '.join(options.heads)}."
            )

        def show(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, f"{progress.head}, fold {progress.fold}")

        return probe(features, manifest, options, where.runs, show)
