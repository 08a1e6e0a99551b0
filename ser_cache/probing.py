"""Probe one backbone on one corpus from the cache: split, train every head, fold and seed, keep the runs.

Nothing here loads a backbone or decodes audio; the features come from the cache and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.devices import choose_device
from ser_cache.errors import TrainingError
from ser_cache.files import canonical_json, sha256_of_value
from ser_cache.heads import Head, head_kind
from ser_cache.packing import FeatureSource, PackedFeatures, ViewedFeatures
from ser_cache.protocols import Protocol as TrainingProtocol
from ser_cache.protocols import protocol_named
from ser_cache.results import (
    FoldPredictions,
    Found,
    Run,
    RunConfig,
    RunData,
    RunSummary,
    TrainedModel,
    find,
    manifest_digest,
    splits_as_json,
    summarise,
    write_run,
)
from ser_cache.splits import SIDES, Split, SplitOptions, make_splits, split_config, warnings
from ser_cache.training import FitResult, Sides, environment, fit

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest, Utterance

__all__ = ["Features", "ProbeOptions", "Progress", "RunSummary", "probe"]

_SHARE_OF_GPU = 0.5  # of its free memory may hold features; the rest is for batches and models


class Digest(Protocol):
    """A fingerprint, of which probing needs the digest alone."""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal."""


class Features(Protocol):
    """What probing asks of cached features; ``ser_cache.store.CachedFeatures`` describes each."""

    @property
    def backbone(self) -> str: ...  # noqa: D102 - described where they are made
    @property
    def corpus(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> Digest: ...  # noqa: D102
    @property
    def origin(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def layers(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def failed(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def frames(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def tier(self) -> str: ...  # noqa: D102
    @property
    def frame_average(self) -> int: ...  # noqa: D102
    def group_sizes(self, index: int) -> NDArray[np.int64]: ...  # noqa: D102
    def hidden(self, index: int, layers: Sequence[int] | None = None) -> NDArray[Any]: ...  # noqa: D102
    def mean(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102


@dataclass(frozen=True)
class ProbeOptions:
    """What to train.

    Attributes:
        heads: names in ``heads.HEADS``.
        split: how the corpus is divided; its seed is apart from the models' seeds.
        seeds: of the models; one model per seed and fold.
        protocol: shape of the heads and their training; one of ``protocols.PROTOCOLS``, or a changed one.
        device: auto, cpu or cuda.
        force: repeat runs that are there already.
    """

    heads: tuple[str, ...] = ("linear", "nonlinear", "multilayer")
    split: SplitOptions = field(default_factory=SplitOptions)
    seeds: tuple[int, ...] = (0,)
    protocol: TrainingProtocol = field(default_factory=lambda: protocol_named("dasaro2024"))
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class Progress:
    """Where a probe stands.

    Attributes:
        head: the head in training.
        fold: name of the fold in training.
        done: epochs done, over all heads and folds; the seeds of a fold train at once.
        total: epochs to do, counted likewise.
    """

    head: str
    fold: str
    done: int
    total: int


def probe(
    features: Features,
    manifest: Manifest,
    options: ProbeOptions,
    runs: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[RunSummary]:
    """Train every head, fold and seed on one corpus and backbone, and keep one run per head.

    A run with the same configuration on the same data is reused unless ``force`` is set. Each head's run is
    written as soon as it is complete, so that an interruption loses one head at most.

    Args:
        features: the cached features of the manifest's utterances; those not usable are left out.
        manifest: the labels.
        options: what to train.
        runs: the folder of all runs.
        on_progress: called after every epoch.

    Returns:
        One summary per head, in the order asked for.

    Raises:
        UnknownNameError: an unknown head or split.
        SplitError: the corpus does not allow the split.
        TrainingError: nothing to train on, or a loss that is not finite.
        ResultsError: a run to be reused is damaged or of a newer version.
    """
    _check_tier(features, options)
    task = _prepare(features, manifest, options)
    configs = [_configure(features, task, head, options) for head in dict.fromkeys(options.heads)]
    found = [Found("absent") if options.force else find(runs, config) for config in configs]
    epochs = options.protocol.training.epochs * len(task.splits)
    total = epochs * sum(known.state != "good" for known in found)
    summaries, done = [], 0
    for config, known in zip(configs, found, strict=True):
        if known.state == "good" and known.run is not None:
            summaries.append(summarise(known.run, reused=True, warnings=task.warnings))
            continue
        run = _train_head(
            features, task, config, options, runs, _meter(config.head, done, total, on_progress)
        )
        done += epochs
        summaries.append(summarise(run, warnings=task.warnings + _stale_warning(known)))
    return summaries


@dataclass(frozen=True)
class _Task:
    """What every head of a probe shares: utterances in the order of the features, labels, folds."""

    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]


def _check_tier(features: Features, options: ProbeOptions) -> None:
    """Refuse heads that need frames where there are none, before the others are trained in vain."""
    needy = [name for name in options.heads if not head_kind(name).pools_first]
    if features.tier == "pooled" and needy:
        raise TrainingError(
            f"{features.backbone}/{features.corpus} keeps time means only, and the {needy[0]} head needs "
            "frames: choose --head linear, or extract with --tier frames."
        )


def _prepare(features: Features, manifest: Manifest, options: ProbeOptions) -> _Task:
    by_id = {utterance.id: utterance for utterance in manifest.utterances}
    utterances = tuple(by_id[identifier] for identifier in features.ids)
    # From the whole manifest: a clip that one backbone failed on must not change who is tested for it.
    whole = make_splits(manifest.utterances, options.split)
    held = set(features.ids)
    splits = tuple(_held(split, held) for split in whole)
    classes = tuple(sorted({utterance.emotion for utterance in utterances}))
    if len(classes) < 2:
        raise TrainingError(f"{features.corpus} has the one emotion {classes[0]}; a probe needs two or more.")
    if not options.seeds:
        raise TrainingError("no seed was given; use --seeds 1 or more.")
    number = {emotion: place for place, emotion in enumerate(classes)}
    labels = np.array([number[utterance.emotion] for utterance in utterances], dtype=np.int64)
    notes = _left_out(features, len(by_id)) + warnings(whole, manifest.utterances, options.split)
    return _Task(utterances, classes, labels, splits, notes)


def _held(split: Split, ids: Set[str]) -> Split:
    """A split without the utterances that have no features."""
    train, validation, test = (tuple(id_ for id_ in split.side(name) if id_ in ids) for name in SIDES)
    return replace(split, train=train, validation=validation, test=test)


def _left_out(features: Features, utterances: int) -> tuple[str, ...]:
    missing = utterances - len(features.ids)
    if not missing:
        return ()
    example = next((f", for instance {name}: {reason}" for name, reason in features.failed.items()), "")
    are = "utterance is" if missing == 1 else "utterances are"
    return (
        f"{features.backbone}: {missing} of {utterances} {are} left out because extraction failed{example}",
    )


def _stale_warning(known: Found) -> tuple[str, ...]:
    if known.state != "stale" or known.run is None:
        return ()
    return (f"the earlier run {known.run.folder.name} used another {known.difference}; this is a new run",)


def _configure(features: Features, task: _Task, head: str, options: ProbeOptions) -> RunConfig:
    return RunConfig(
        corpus=features.corpus,
        backbone=features.backbone,
        head=head,
        layers=head_kind(head).reads(features.layers),
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


def _meter(
    head: str, before: int, total: int, on_progress: Callable[[Progress], None]
) -> Callable[[str], None]:
    """Counts epochs from ``before`` on; called with the fold's name after each."""
    done = before

    def count(fold: str) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(head, fold, done, total))

    return count


def _train_head(
    features: Features,
    task: _Task,
    config: RunConfig,
    options: ProbeOptions,
    runs: Path,
    on_epoch: Callable[[str], None],
) -> Run:
    """All folds and seeds of one head; the seeds of a fold train together over one pass of the data."""
    started = perf_counter()
    device = choose_device(options.device)
    source = _open_source(features, config, device)
    place = {utterance.id: number for number, utterance in enumerate(task.utterances)}
    models: list[TrainedModel] = []
    for split in task.splits:
        sides = Sides(*(_places(place, ids) for ids in (split.train, split.validation, split.test)))
        results = _fit_fold(source, task, config, options, split, sides, on_epoch)
        models += [_trained(task, split, sides, seed, result) for seed, result in results.items()]
    seconds = round(perf_counter() - started, 3)
    known = environment(device) | {"seconds": seconds}
    return write_run(runs, config, task.splits, models, known, features.origin)


def _places(place: Mapping[str, int], ids: Sequence[str]) -> NDArray[np.int64]:
    return np.array([place[identifier] for identifier in ids], dtype=np.int64)


def _open_source(features: Features, config: RunConfig, device: torch.device) -> FeatureSource:
    """Time means where they suffice; otherwise frames, on the GPU if they fit, else from the memory map."""
    if head_kind(config.head).pools_first:
        means = np.stack([features.mean(layer) for layer in config.layers])
        return PackedFeatures(torch.from_numpy(means).to(device), np.ones(len(features.ids), dtype=np.int64))
    lengths = features.frames
    averaged = features.frame_average > 1
    if device.type == "cuda":
        sample = features.hidden(0, config.layers)
        size = int(lengths.sum()) * sample.shape[0] * sample.shape[2] * sample.itemsize
        if size < _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
            sizes = [features.group_sizes(index) for index in range(len(lengths))] if averaged else None
            return PackedFeatures(
                _on_device(features, config.layers, device), lengths, np.concatenate(sizes) if sizes else None
            )
    return ViewedFeatures(
        lambda index: features.hidden(index, config.layers),
        lengths,
        len(config.layers),
        features.width,
        device,
        features.group_sizes if averaged else None,
    )


def _on_device(features: Features, layers: Sequence[int], device: torch.device) -> torch.Tensor:
    """All frames of the corpus, (layers, frames, width), moved utterance by utterance."""
    stored = torch.from_numpy(features.hidden(0, layers).copy()).dtype
    shape = (len(layers), int(features.frames.sum()), features.width)
    packed = torch.empty(shape, dtype=stored, device=device)
    parts = torch.split(packed, features.frames.tolist(), dim=1)
    for index, part in enumerate(parts):
        part.copy_(torch.from_numpy(features.hidden(index, layers).copy()))
    return packed


def _fit_fold(
    source: FeatureSource,
    task: _Task,
    config: RunConfig,
    options: ProbeOptions,
    split: Split,
    sides: Sides,
    on_epoch: Callable[[str], None],
) -> dict[int, FitResult]:
    """Every seed of one head on one fold."""
    protocol = options.protocol
    kind = head_kind(config.head)
    names = {seed: f"{config.head} head, fold {split.fold}, seed {seed}" for seed in config.seeds}
    heads: dict[str, Head] = {
        names[seed]: kind(source.layers, source.width, len(task.classes), protocol.head, seed).to(
            source.device
        )
        for seed in config.seeds
    }
    results = fit(
        source,
        task.labels,
        sides,
        heads,
        protocol.training,
        f"{canonical_json(config.split)}:{split.fold}",
        lambda _: on_epoch(split.fold),
    )
    return {seed: results[name] for seed, name in names.items()}


def _trained(task: _Task, split: Split, sides: Sides, seed: int, result: FitResult) -> TrainedModel:
    predictions = FoldPredictions(
        fold=split.fold,
        seed=seed,
        ids=split.test,
        speakers=tuple(task.utterances[number].speaker for number in sides.test),
        truth=task.labels[sides.test],
        scores=result.test_scores,
    )
    return TrainedModel(predictions, result.best_epoch, result.log, result.weights, result.layer_weights)
