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
from ser_cache.splits import Split
from ser_cache.stacks import Model
from ser_cache.standardising import Moments, StandardisedFeatures
from ser_cache.tasks import Task, unqualified
from ser_cache.training import FitResult, Sides, fit

if TYPE_CHECKING:
    from ser_cache.packing import FeatureSource


@dataclass(frozen=True)
class Progress:
    """Where a probe stands.

    Attributes:
        heads: the heads in training; those that are fed alike train in one pass.
        fold: name of the fold in training, and what is done with it where that is no plain training.
        done: epochs done, over all folds; the models of a pass train at once. Where some heads are fed time
            means and others frames, those of the frames: the others take next to no time, and would make
            every estimate of the time left far too low.
        total: epochs to do at most, counted likewise.
    """

    heads: str
    fold: str
    done: int
    total: int


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
    """Counts epochs over all folds, of the pass that takes the time."""

    on_progress: Callable[[Progress], None]
    total: int
    before: int = 0
    counts: bool = True

    def tell(self, heads: str, fold: str, epoch: int = 0) -> None:
        """Say that so many epochs of the present fold are done."""
        self.on_progress(Progress(heads, fold, self.before + epoch * self.counts, self.total))

    def pass_fold(self, epochs: int, *, trained: bool) -> None:
        """Go on to the next fold; one that was kept from before is no longer part of the work."""
        if not self.counts:
            return
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
        sides = self.task.sides(split)
        moments = self._moments(sides)
        source = source if moments is None else StandardisedFeatures(source, moments)
        key = f"{canonical_json(configs[0].split)}:{split.fold}"
        # Runs that differ in the corpus they test are one training.
        distinct = {_training(config): config for config in configs}
        searches = {
            name: self._search(source, sides, split, key, config) for name, config in distinct.items()
        }
        models = [
            self._model(config, split, seed, None if (found := searches[name]) is None else found.rate)
            for name, config in distinct.items()
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
                    _trained(self.task, split, seed, results[_name(config, split, seed)], config.tested_on)
                    for seed in config.seeds
                ),
                {} if (found := searches[_training(config)]) is None else {split.fold: _as_json(found)},
                self._standardisation(config, split, moments),
                seconds,
            )
            for config in configs
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


def _training(config: RunConfig) -> tuple[str, tuple[int, ...]]:
    """What tells the trainings of a pass apart."""
    return config.head, config.layers


def _name(config: RunConfig, split: Split, seed: int) -> str:
    """What an error calls a model."""
    layer = "" if head_kind(config.head).mixes else f" on layer {config.layers[-1]}"
    return f"{config.head} head{layer}, fold {split.fold}, seed {seed}"


def predictions_of(
    task: Task, split: Split, seed: int, scores: NDArray[np.float64], tested_on: str = ""
) -> FoldPredictions:
    """A model's predictions on a fold's test side, or on that part of it which one tested corpus has.

    Args:
        task: what was trained.
        split: the fold.
        seed: of the model.
        scores: of the tested utterances, (test utterances, k).
        tested_on: the corpus, where several are tested; ids and speakers are then as it has them.
    """
    places = task.tested(split, tested_on)
    numbers = task.sides(split).test[places]
    return FoldPredictions(
        fold=split.fold,
        seed=seed,
        ids=task.own_split(split, tested_on).test,
        speakers=tuple(unqualified(tested_on, task.utterances[number].speaker) for number in numbers),
        truth=task.labels[numbers],
        scores=scores,
    )


def _trained(task: Task, split: Split, seed: int, result: FitResult, tested_on: str) -> TrainedModel:
    scores = result.test_scores[task.tested(split, tested_on)]
    predictions = predictions_of(task, split, seed, scores, tested_on)
    return TrainedModel(predictions, result.best_epoch, result.log, result.weights, result.layer_weights)
