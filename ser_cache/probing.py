"""Probe one backbone on one corpus from the cache: split, train every head, fold and seed, keep the runs.

Nothing here loads a backbone or decodes audio; the features come from the cache and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_cache.devices import choose_device
from ser_cache.environment import environment
from ser_cache.errors import SplitError, TrainingError
from ser_cache.feature_sources import Features, open_source
from ser_cache.files import sha256_of_value
from ser_cache.fold_training import FoldTraining, Meter, Progress, Task, TrainedFold
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
from ser_cache.splits import (
    SIDES,
    Split,
    SplitOptions,
    check_split,
    make_splits,
    split_config,
    warnings,
)
from ser_cache.standardising import check_standardisation

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest, Utterance

__all__ = ["Features", "ProbeOptions", "Progress", "RunSummary", "probe"]


@dataclass(frozen=True)
class ProbeOptions:
    """What to train.

    Attributes:
        heads: names in ``heads.HEADS``; empty for those of the protocol.
        layers: for heads that read one layer, the cached layers to train them on, a run for each; empty for
            the last one. Heads that mix layers read all of theirs whatever this says.
        split: how the corpus is divided; its seed is apart from the models' seeds.
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
        manifest: the labels.
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
    """
    _check_tier(features, options)
    task = _prepare(features, manifest, options)
    configs = [
        _configure(features, task, head, layers, options)
        for head in options.chosen_heads
        for layers in _layers_of(features, head, options)
    ]
    found = [Found("absent") if options.force else find(runs, config) for config in configs]
    wanted = [config for config, known in zip(configs, found, strict=True) if known.state != "good"]
    passes = [[c for c in wanted if head_kind(c.head).pools_first is pooled] for pooled in (True, False)]
    meter = Meter(on_progress, sum(map(bool, passes)) * sum(_epochs(task, options)))
    reused = [known.run for known in found if known.state == "good" and known.run is not None]
    keep_current(runs, reused)
    for run in reused:
        forget(runs, run.config)
    trained: dict[str, Run] = {}
    for together in filter(None, passes):
        new = _train_pass(features, task, together, options, runs, meter)
        trained |= {run.config.run_id: run for run in new}
    return [
        summarise(trained[config.run_id], warnings=task.warnings + _stale_warning(known))
        if known.run is None or known.state == "stale"
        else summarise(known.run, reused=True, warnings=task.warnings)
        for config, known in zip(configs, found, strict=True)
    ]


def _check_tier(features: Features, options: ProbeOptions) -> None:
    """Refuse heads that need frames where there are none, before the others are trained in vain."""
    needy = [name for name in options.chosen_heads if not head_kind(name).pools_first]
    if features.tier == "pooled" and needy:
        raise TrainingError(
            f"{features.backbone}/{features.corpus} keeps time means only, and the {needy[0]} head needs "
            "frames: choose --head linear, or extract with --tier frames."
        )


def _prepare(features: Features, manifest: Manifest, options: ProbeOptions) -> Task:
    by_id = {utterance.id: utterance for utterance in manifest.utterances}
    utterances = tuple(by_id[identifier] for identifier in features.ids)
    # From the whole manifest: a clip that one backbone failed on must not change who is tested for it.
    whole = make_splits(manifest.utterances, options.split)
    held = set(features.ids)
    splits = tuple(_held(split, held) for split in whole)
    classes = tuple(sorted({utterance.emotion for utterance in utterances}))
    if not classes:
        reason = next(iter(features.failed.values()), "none is cached")
        raise TrainingError(
            f"{features.backbone}/{features.corpus} has no usable utterance: extraction failed for all "
            f"({reason}); mend the audio and run `ser extract` again."
        )
    if len(classes) < 2:
        raise TrainingError(f"{features.corpus} has the one emotion {classes[0]}; a probe needs two or more.")
    check_standardisation(options.protocol.standardise)
    if not options.seeds:
        raise TrainingError("no seed was given; use --seeds 1 or more.")
    number = {emotion: place for place, emotion in enumerate(classes)}
    labels = np.array([number[utterance.emotion] for utterance in utterances], dtype=np.int64)
    for split in splits:
        _check_held(split, utterances, features)
    notes = _left_out(features, manifest, classes) + warnings(splits, utterances, options.split)
    return Task(utterances, classes, labels, splits, notes)


def _held(split: Split, ids: Set[str]) -> Split:
    """A split without the utterances that have no features."""
    train, validation, test = (tuple(id_ for id_ in split.side(name) if id_ in ids) for name in SIDES)
    return replace(split, train=train, validation=validation, test=test)


def _check_held(split: Split, utterances: Sequence[Utterance], features: Features) -> None:
    """Refuse a fold that failed extractions left without a side or an emotion, before others are trained."""
    try:
        check_split(split, utterances)
    except SplitError as error:
        name, reason = next(iter(features.failed.items()), ("none", "unknown"))
        raise TrainingError(
            f"{features.backbone}/{features.corpus}, {error} Extraction failed for {len(features.failed)} "
            f"utterances, for instance {name} ({reason}): mend the audio and run `ser extract` again, or "
            "take them out of the manifest."
        ) from error


def _left_out(features: Features, manifest: Manifest, classes: Sequence[str]) -> tuple[str, ...]:
    """What failed extractions cost: utterances, and emotions that none is left of."""
    total = len(manifest.utterances)
    missing = total - len(features.ids)
    if not missing:
        return ()
    example = next((f", for instance {name}: {reason}" for name, reason in features.failed.items()), "")
    are = "utterance is" if missing == 1 else "utterances are"
    lost = [
        f"{features.backbone}: no utterance of {emotion} is left, so it is not among the classes"
        for emotion in manifest.emotions
        if emotion not in classes
    ]
    return (
        f"{features.backbone}: {missing} of {total} {are} left out because extraction failed{example}",
        *lost,
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
    features: Features, task: Task, head: str, layers: tuple[int, ...], options: ProbeOptions
) -> RunConfig:
    return RunConfig(
        corpus=features.corpus,
        backbone=features.backbone,
        head=head,
        layers=layers,
        classes=task.classes,
        split=split_config(options.split),
        protocol=options.protocol.config(),
        seeds=tuple(dict.fromkeys(options.seeds)),
        data=RunData(
            fingerprint=features.fingerprint.digest,
            manifest=manifest_digest(task.utterances),
            splits=sha256_of_value(splits_as_json(task.splits)),
        ),
    )


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
        task.splits,
        [model for fold in folds for model in fold.models],
        {**made, "seconds": round(sum(fold.seconds for fold in folds), 3)},
        search={name: log for fold in folds for name, log in fold.search.items()} or None,
        fingerprint=origin,
        standardisation={name: values for fold in folds for name, values in fold.standardisation.items()},
    )
