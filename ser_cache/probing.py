"""Probe one backbone on one corpus from the cache: split, train every head, fold and seed, keep the runs.

Nothing here loads a backbone or decodes audio; the features come from the cache and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.devices import choose_device
from ser_cache.environment import environment
from ser_cache.errors import TrainingError
from ser_cache.feature_sources import Features, moments_for, open_source
from ser_cache.files import canonical_json, sha256_of_value
from ser_cache.heads import head_kind
from ser_cache.learning_rate_search import RateSearchResult, search_learning_rate
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
from ser_cache.stacks import Model
from ser_cache.standardising import Moments, StandardisedFeatures, check_standardisation
from ser_cache.training import FitResult, Sides, fit

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest, Utterance
    from ser_cache.packing import FeatureSource

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


@dataclass(frozen=True)
class Progress:
    """Where a probe stands.

    Attributes:
        heads: the heads in training; those that are fed alike train in one pass.
        fold: name of the fold in training, and what is done with it where that is no plain training.
        done: epochs done, over all passes and folds; the models of a pass train at once.
        total: epochs to do at most, counted likewise.
    """

    heads: str
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
    """Train every head, layer, fold and seed on one corpus and backbone, and keep one run per head and layer.

    Everything that is fed frames trains in one pass over them, everything that time means suffice for in one
    over those. A run with the same configuration on the same data is reused unless ``force`` is set. The runs
    of a pass are written when it is complete.

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
    meter = _Meter(on_progress, sum(map(bool, passes)) * sum(_epochs(task, options)))
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
    needy = [name for name in options.chosen_heads if not head_kind(name).pools_first]
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
    features: Features, task: _Task, head: str, layers: tuple[int, ...], options: ProbeOptions
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


def _epochs(task: _Task, options: ProbeOptions) -> list[int]:
    """Epochs of each fold, at most."""
    return [options.protocol.training.passes(len(split.train)) for split in task.splits]


@dataclass
class _Meter:
    """Counts epochs over all passes."""

    on_progress: Callable[[Progress], None]
    total: int
    before: int = 0

    def tell(self, heads: str, fold: str, epoch: int = 0) -> None:
        """Say that so many epochs of the present fold are done."""
        self.on_progress(Progress(heads, fold, self.before + epoch, self.total))


def _train_pass(
    features: Features,
    task: _Task,
    configs: Sequence[RunConfig],
    options: ProbeOptions,
    runs: Path,
    meter: _Meter,
) -> list[Run]:
    """All folds of runs that are fed alike; their models train together over one pass of the data."""
    started = perf_counter()
    device = choose_device(options.device)
    layers = tuple(sorted({layer for config in configs for layer in config.layers}))
    pooled = head_kind(configs[0].head).pools_first
    fold = _FoldTraining(features, task, options, layers, meter, configs)
    source = open_source(features, layers, device, pooled=pooled)
    models: list[list[TrainedModel]] = [[] for _ in configs]
    searches: list[dict[str, Any]] = [{} for _ in configs]
    for split, epochs in zip(task.splits, _epochs(task, options), strict=True):
        for place, (trained, search) in enumerate(fold.train(source, split)):
            models[place] += trained
            searches[place] |= search
        meter.before += epochs
    seconds = {"seconds": round(perf_counter() - started, 3), "runs_of_the_pass": len(configs)}
    made = environment(device) | seconds
    return [
        write_run(
            runs,
            config,
            task.splits,
            own,
            made,
            search=search or None,
            fingerprint=features.origin,
            standardisation=fold.standardisation_of(config),
        )
        for config, own, search in zip(configs, models, searches, strict=True)
    ]


@dataclass(frozen=True)
class _FoldTraining:
    """What the folds of a pass share."""

    features: Features
    task: _Task
    options: ProbeOptions
    layers: tuple[int, ...]
    meter: _Meter
    configs: Sequence[RunConfig]
    found: dict[str, Moments] = field(default_factory=dict)

    def train(self, source: FeatureSource, split: Split) -> list[tuple[list[TrainedModel], dict[str, Any]]]:
        """Each run's models of one fold, and how their learning rate was found where it was searched for."""
        sides = self._sides(split)
        source = self._standardised(source, sides, split)
        key = f"{canonical_json(self.configs[0].split)}:{split.fold}"
        searches = [self._search(source, sides, split, key, config) for config in self.configs]
        models = [
            self._model(config, split, seed, None if found is None else found.rate)
            for config, found in zip(self.configs, searches, strict=True)
            for seed in config.seeds
        ]
        training = self.options.protocol.training
        results = fit(
            source,
            self.task.labels,
            sides,
            models,
            training,
            key,
            lambda epoch: self.meter.tell(self._heads, split.fold, epoch),
        )
        trained = [
            [
                _trained(self.task, split, sides, seed, results[_name(config, split, seed)])
                for seed in config.seeds
            ]
            for config in self.configs
        ]
        logs = [{} if found is None else {split.fold: _as_json(found)} for found in searches]
        return list(zip(trained, logs, strict=True))

    @property
    def _heads(self) -> str:
        return ", ".join(dict.fromkeys(config.head for config in self.configs))

    def _sides(self, split: Split) -> Sides:
        place = {utterance.id: number for number, utterance in enumerate(self.task.utterances)}
        return Sides(*(_places(place, split.side(name)) for name in SIDES))

    def _standardised(self, source: FeatureSource, sides: Sides, split: Split) -> FeatureSource:
        how = self.options.protocol.standardise
        if how == "none":
            return source
        speakers = [utterance.speaker for utterance in self.task.utterances]
        self.found[split.fold] = moments_for(self.features, self.layers, how, sides.train, speakers)
        return StandardisedFeatures(source, self.found[split.fold])

    def standardisation_of(self, config: RunConfig) -> dict[str, NDArray[np.float32]]:
        """What each fold's features were standardised with, where that is not the speaker's own."""
        if self.options.protocol.standardise != "global":
            return {}
        places = [self.layers.index(layer) for layer in config.layers]
        return {
            f"{fold}/{name}": values[0, places]
            for fold, moments in self.found.items()
            for name, values in (("mean", moments.mean), ("deviation", moments.deviation))
        }

    def _model(self, config: RunConfig, split: Split, seed: int, rate: float | None) -> Model:
        places = tuple(self.layers.index(layer) for layer in config.layers)
        name = _name(config, split, seed)
        return Model(name, head_kind(config.head), self.options.protocol.head, seed, places, rate)

    def _search(
        self, source: FeatureSource, sides: Sides, split: Split, key: str, config: RunConfig
    ) -> RateSearchResult | None:
        """Find a run's learning rate for this fold with its first seed; the test side is not looked at."""
        protocol = self.options.protocol
        if protocol.search is None:
            return None

        def evaluate(rates: Sequence[float], epochs: int) -> list[float]:
            self.meter.tell(config.head, f"{split.fold}, trying {len(rates)} rates for {epochs} epochs")
            models = [
                replace(self._model(config, split, config.seeds[0], rate), name=repr(rate)) for rate in rates
            ]
            shorter = replace(protocol.training, epochs=epochs, steps=None, patience=None)
            results = fit(source, self.task.labels, sides, models, shorter, key, trial=True)
            return [results[repr(rate)].best_score for rate in rates]

        return search_learning_rate(evaluate, protocol.search)


def _as_json(found: RateSearchResult) -> dict[str, Any]:
    """A search as JSON, which has no nan: the score of a rate that diverged is null."""
    values = asdict(found)
    for tried in values["rounds"]:
        tried["scores"] = [None if math.isnan(score) else score for score in tried["scores"]]
    return values


def _name(config: RunConfig, split: Split, seed: int) -> str:
    """What an error calls a model."""
    layer = "" if head_kind(config.head).mixes else f" on layer {config.layers[-1]}"
    return f"{config.head} head{layer}, fold {split.fold}, seed {seed}"


def _places(place: Mapping[str, int], ids: Sequence[str]) -> NDArray[np.int64]:
    return np.array([place[identifier] for identifier in ids], dtype=np.int64)


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
