"""Probe one backbone from the cache: split, train every head, fold and seed, keep the runs.

On one corpus, or trained on some corpora and tested on others. Nothing here loads a backbone or decodes
audio; the features come from the cache and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_cache.devices import choose_device
from ser_cache.environment import environment
from ser_cache.errors import TrainingError
from ser_cache.feature_sources import Features, open_source
from ser_cache.files import sha256_of_value
from ser_cache.fold_training import FoldTraining, Meter, Progress, TrainedFold
from ser_cache.heads import head_kind
from ser_cache.kept_folds import KeptFolds, forget
from ser_cache.protocols import Protocol as TrainingProtocol
from ser_cache.protocols import protocol_named
from ser_cache.results import (
    Found,
    Run,
    RunConfig,
    RunData,
    RunSummary,
    find,
    keep_current,
    manifest_digest,
    splits_as_json,
    summarise,
    write_run,
)
from ser_cache.settings import demand_writable
from ser_cache.splits import Split, SplitOptions
from ser_cache.standardising import check_standardisation
from ser_cache.tasks import Target, Task, prepare, prepare_across

if TYPE_CHECKING:
    from ser_cache.cross_corpus import Crossing
    from ser_cache.manifest import Manifest

__all__ = ["Features", "ProbeOptions", "Progress", "RunSummary", "probe", "probe_across"]


@dataclass(frozen=True)
class ProbeOptions:
    """What to train.

    Attributes:
        heads: names in ``heads.HEADS``; empty for those of the protocol.
        layers: for heads that read one layer, the cached layers to train them on, a run for each; empty for
            the last one. Heads that mix layers read all of theirs whatever this says.
        split: how the corpus is divided, across corpora who validates; its seed is apart from the models'.
        seeds: of the models; one model per seed and fold.
        protocol: shape of the heads and their training; one of ``protocols.PROTOCOLS``, or a changed one.
        device: auto, cpu or cuda.
        force: repeat runs that are there already.
    """

    heads: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    split: SplitOptions = field(default_factory=SplitOptions)
    seeds: tuple[int, ...] = (0,)
    protocol: TrainingProtocol = field(default_factory=lambda: protocol_named("dasaro2024"))
    device: str = "auto"
    force: bool = False

    @property
    def chosen_heads(self) -> tuple[str, ...]:
        """The heads to train, each once."""
        return tuple(dict.fromkeys(self.heads or self.protocol.heads))


def probe(
    features: Features,
    manifest: Manifest,
    options: ProbeOptions,
    runs: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[RunSummary]:
    """Train every head, layer, fold and seed on one corpus and backbone, and keep one run per head and layer.

    Everything that is fed frames trains in one pass over them, everything that time means suffice for in one
    over those. A run with the same configuration on the same data is reused unless ``force`` is set, and so
    are the finished folds of one that was interrupted. The runs of a pass are written when it is complete.

    Args:
        features: the cached features of the manifest's utterances; those not usable are left out.
        manifest: the labels; may be restricted to a choice of emotions.
        options: what to train.
        runs: the folder of all runs.
        on_progress: called after every epoch.

    Returns:
        One summary per head and layer, in the order asked for.

    Raises:
        UnknownNameError: an unknown head, split or standardisation.
        SplitError: the corpus does not allow the split.
        TrainingError: nothing to train on, a layer that is not cached, or a loss that is not finite.
        ResultsError: a run to be reused is damaged or of a newer version.
        SettingsError: nothing can be written to the folder of runs, and something is to train.
    """
    _check(features, options)
    return _train(features, prepare(features, manifest, options.split), options, runs, on_progress)


def probe_across(
    features: Features,
    crossing: Crossing,
    options: ProbeOptions,
    runs: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[RunSummary]:
    """Train every head, layer and seed on some corpora, and keep one run per head, layer and tested corpus.

    As :func:`probe`, with one fold: what is trained once is tested on each corpus by itself, and gives the
    same run as if that corpus alone were tested.

    Args:
        features: the cached features of all corpora's utterances, joined.
        crossing: the labels.
        options: what to train; its split says who of the training corpora validates.
        runs: the folder of all runs.
        on_progress: called after every epoch.

    Returns:
        One summary per tested corpus, head and layer, in that order.

    Raises:
        As :func:`probe`.
    """
    _check(features, options)
    task = prepare_across(features, crossing, options.split, options.protocol.standardise)
    return _train(features, task, options, runs, on_progress)


def _train(
    features: Features,
    task: Task,
    options: ProbeOptions,
    runs: Path,
    on_progress: Callable[[Progress], None],
) -> list[RunSummary]:
    """Train what is not there yet, and summarise all that was asked for."""
    configs = [
        _configure(features, task, target, head, layers, options)
        for target in task.targets
        for head in options.chosen_heads
        for layers in _layers_of(features, head, options)
    ]
    found = [find(runs, config, forced=options.force) for config in configs]
    wanted = [config for config, known in zip(configs, found, strict=True) if known.state != "good"]
    if wanted:
        demand_writable(runs, "--runs")
    passes = [[c for c in wanted if head_kind(c.head).pools_first is pooled] for pooled in (True, False)]
    meter = Meter(on_progress, sum(_epochs(task, options)))
    reused = [known.run for known in found if known.state == "good" and known.run is not None]
    keep_current(runs, reused)
    for run in reused:
        forget(runs, run.config)
    trained: dict[str, Run] = {}
    for together in filter(None, passes):
        meter.counts = together is passes[-1] or not passes[-1]
        new = _train_pass(features, task, together, options, runs, meter)
        trained |= {run.config.run_id: run for run in new}
    return [
        summarise(trained[config.run_id], warnings=task.warnings + _stale_warning(known))
        if known.run is None or known.state == "stale"
        else summarise(known.run, reused=True, warnings=task.warnings)
        for config, known in zip(configs, found, strict=True)
    ]


def _check(features: Features, options: ProbeOptions) -> None:
    """Refuse what cannot be trained whatever the labels are, before anything is trained in vain."""
    check_standardisation(options.protocol.standardise)
    if not options.seeds:
        raise TrainingError("no seed was given; use --seeds 1 or more.")
    needy = [name for name in options.chosen_heads if not head_kind(name).pools_first]
    if features.tier == "pooled" and needy:
        raise TrainingError(
            f"{features.backbone}/{features.corpus} keeps time means only, and the {needy[0]} head needs "
            "frames: choose --head linear, or extract with --tier frames."
        )


def _stale_warning(known: Found) -> tuple[str, ...]:
    if known.state != "stale" or known.run is None:
        return ()
    return (f"the earlier run {known.run.folder.name} used another {known.difference}; this is a new run",)


def _layers_of(features: Features, head: str, options: ProbeOptions) -> list[tuple[int, ...]]:
    """The layers that each run of a head is fed."""
    kind = head_kind(head)
    if kind.mixes or not options.layers:
        return [kind.reads(features.layers)]
    absent = [layer for layer in options.layers if layer not in features.layers]
    if absent:
        raise TrainingError(
            f"{features.backbone}/{features.corpus} has no layer {absent[0]}; cached are "
            f"{', '.join(map(str, features.layers))}."
        )
    return [(layer,) for layer in dict.fromkeys(options.layers)]


def _configure(
    features: Features,
    task: Task,
    target: Target,
    head: str,
    layers: tuple[int, ...],
    options: ProbeOptions,
) -> RunConfig:
    return RunConfig(
        corpus=target.corpus,
        backbone=features.backbone,
        head=head,
        layers=layers,
        classes=task.classes,
        split=task.split,
        protocol=options.protocol.config(),
        seeds=tuple(dict.fromkeys(options.seeds)),
        data=RunData(
            fingerprint=features.fingerprint.digest,
            manifest=manifest_digest(task.used(target.tested_on)),
            splits=sha256_of_value(splits_as_json(_own_splits(task, target.tested_on))),
        ),
        emotions=target.made_of,
        trained_on=target.trained_on,
        tested_on=target.tested_on,
    )


def _own_splits(task: Task, tested_on: str) -> list[Split]:
    return [task.own_split(split, tested_on) for split in task.splits]


def _epochs(task: Task, options: ProbeOptions) -> list[int]:
    """Epochs of each fold, at most."""
    return [options.protocol.training.passes(len(split.train)) for split in task.splits]


def _train_pass(
    features: Features,
    task: Task,
    configs: Sequence[RunConfig],
    options: ProbeOptions,
    runs: Path,
    meter: Meter,
) -> list[Run]:
    """All folds of runs that are fed alike; their models train together over one pass of the data."""
    device = choose_device(options.device)
    made = environment(device)
    layers = tuple(sorted({layer for config in configs for layer in config.layers}))
    pooled = head_kind(configs[0].head).pools_first
    training = FoldTraining(features, task, options.protocol, layers, meter)
    source = open_source(features, layers, device, pooled=pooled)
    kept = [KeptFolds(runs, config, task, made, forced=options.force) for config in configs]
    trained: list[list[TrainedFold]] = [[] for _ in configs]
    for split, epochs in zip(task.splits, _epochs(task, options), strict=True):
        known = [folds.load(split) for folds in kept]
        lacking = [config for config, fold in zip(configs, known, strict=True) if fold is None]
        new = iter(training.train(source, split, lacking) if lacking else ())
        for own, folds, fold in zip(trained, kept, known, strict=True):
            own.append(fold or folds.save(split, next(new)))
        meter.pass_fold(epochs, trained=bool(lacking))
    written = []
    for config, own, folds in zip(configs, trained, kept, strict=True):
        told = made | {"runs_of_the_pass": len(configs)}
        written.append(_write(runs, config, task, own, told, features.origin))
        folds.discard()
    return written


def _write(
    runs: Path,
    config: RunConfig,
    task: Task,
    folds: Sequence[TrainedFold],
    made: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> Run:
    """Put the folds of a run together."""
    return write_run(
        runs,
        config,
        _own_splits(task, config.tested_on),
        [model for fold in folds for model in fold.models],
        {**made, "seconds": round(sum(fold.seconds for fold in folds), 3)},
        search={name: log for fold in folds for name, log in fold.search.items()} or None,
        fingerprint=origin,
        standardisation={name: values for fold in folds for name, values in fold.standardisation.items()},
    )
