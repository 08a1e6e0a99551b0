"""One fold of runs that are fed alike: standardise, search for rates, train all models in one pass.

The models are those of several runs (heads, layers) and their seeds; what each run keeps of a fold comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.feature_sources import Features, moments_for
from ser_cache.files import canonical_json
from ser_cache.heads import head_kind
from ser_cache.learning_rate_search import RateSearchResult, search_learning_rate
from ser_cache.protocols import Protocol
from ser_cache.results import FoldPredictions, RunConfig, TrainedModel
from ser_cache.splits import SIDES, Split
from ser_cache.stacks import Model
from ser_cache.standardising import Moments, StandardisedFeatures
from ser_cache.training import FitResult, Sides, fit

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance
    from ser_cache.packing import FeatureSource


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


@dataclass(frozen=True)
class Task:
    """What every head of a probe shares: utterances in the order of the features, labels, folds."""

    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class TrainedFold:
    """What a run keeps of one fold.

    Attributes:
        models: one a seed, in the order of the run's seeds.
        search: how the learning rate was found, by the fold's name; empty where it was given.
        standardisation: ``<fold>/mean`` and ``<fold>/deviation``, (layers, width) each; empty where features
            were not standardised over the training side.
        seconds: wall time of the fold, together with whatever trained in the same pass.
    """

    models: tuple[TrainedModel, ...]
    search: Mapping[str, Any]
    standardisation: Mapping[str, NDArray[Any]]
    seconds: float


@dataclass
class Meter:
    """Counts epochs over all passes."""

    on_progress: Callable[[Progress], None]
    total: int
    before: int = 0

    def tell(self, heads: str, fold: str, epoch: int = 0) -> None:
        """Say that so many epochs of the present fold are done."""
        self.on_progress(Progress(heads, fold, self.before + epoch, self.total))

    def pass_fold(self, epochs: int, *, trained: bool) -> None:
        """Go on to the next fold; one that was kept from before is no longer part of the work."""
        if trained:
            self.before += epochs
        else:
            self.total -= epochs


@dataclass(frozen=True)
class FoldTraining:
    """What the folds of a pass share."""

    features: Features
    task: Task
    protocol: Protocol
    layers: tuple[int, ...]
    meter: Meter

    def train(self, source: FeatureSource, split: Split, configs: Sequence[RunConfig]) -> list[TrainedFold]:
        """One fold of some runs, in their order."""
        started = perf_counter()
        sides = sides_of(self.task, split)
        moments = self._moments(sides)
        source = source if moments is None else StandardisedFeatures(source, moments)
        key = f"{canonical_json(configs[0].split)}:{split.fold}"
        searches = [self._search(source, sides, split, key, config) for config in configs]
        models = [
            self._model(config, split, seed, None if found is None else found.rate)
            for config, found in zip(configs, searches, strict=True)
            for seed in config.seeds
        ]
        training = self.protocol.training
        heads = ", ".join(dict.fromkeys(config.head for config in configs))
        results = fit(
            source,
            self.task.labels,
            sides,
            models,
            training,
            key,
            lambda epoch: self.meter.tell(heads, split.fold, epoch),
        )
        seconds = perf_counter() - started
        return [
            TrainedFold(
                tuple(
                    _trained(self.task, split, seed, results[_name(config, split, seed)])
                    for seed in config.seeds
                ),
                {} if found is None else {split.fold: _as_json(found)},
                self._standardisation(config, split, moments),
                seconds,
            )
            for config, found in zip(configs, searches, strict=True)
        ]

    def _moments(self, sides: Sides) -> Moments | None:
        how = self.protocol.standardise
        if how == "none":
            return None
        speakers = [utterance.speaker for utterance in self.task.utterances]
        return moments_for(self.features, self.layers, how, sides.train, speakers)

    def _standardisation(
        self, config: RunConfig, split: Split, moments: Moments | None
    ) -> dict[str, NDArray[np.float32]]:
        """What a fold's features were standardised with, where that is not the speaker's own."""
        if moments is None or self.protocol.standardise != "global":
            return {}
        places = [self.layers.index(layer) for layer in config.layers]
        named = (("mean", moments.mean), ("deviation", moments.deviation))
        return {f"{split.fold}/{name}": values[0, places] for name, values in named}

    def _model(self, config: RunConfig, split: Split, seed: int, rate: float | None) -> Model:
        places = tuple(self.layers.index(layer) for layer in config.layers)
        name = _name(config, split, seed)
        return Model(name, head_kind(config.head), self.protocol.head, seed, places, rate)

    def _search(
        self, source: FeatureSource, sides: Sides, split: Split, key: str, config: RunConfig
    ) -> RateSearchResult | None:
        """Find a run's learning rate for this fold with its first seed; the test side is not looked at."""
        protocol = self.protocol
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


def sides_of(task: Task, split: Split) -> Sides:
    """The numbers of the utterances on each side."""
    place = {utterance.id: number for number, utterance in enumerate(task.utterances)}
    return Sides(*(np.array([place[id_] for id_ in split.side(name)], dtype=np.int64) for name in SIDES))


def predictions_of(task: Task, split: Split, seed: int, scores: NDArray[np.float64]) -> FoldPredictions:
    """A model's predictions on its fold's test side from its scores, (test utterances, k)."""
    tested = sides_of(task, split).test
    return FoldPredictions(
        fold=split.fold,
        seed=seed,
        ids=split.test,
        speakers=tuple(task.utterances[number].speaker for number in tested),
        truth=task.labels[tested],
        scores=scores,
    )


def _trained(task: Task, split: Split, seed: int, result: FitResult) -> TrainedModel:
    predictions = predictions_of(task, split, seed, result.test_scores)
    return TrainedModel(predictions, result.best_epoch, result.log, result.weights, result.layer_weights)
