"""One fold of runs that are fed alike: standardise, search for rates, train all models in one pass.

The models are those of several runs (heads, layers) and their seeds; what each run keeps of a fold comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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


@dataclass
class Meter:
    """Counts epochs over all passes."""

    on_progress: Callable[[Progress], None]
    total: int
    before: int = 0

    def tell(self, heads: str, fold: str, epoch: int = 0) -> None:
        """Say that so many epochs of the present fold are done."""
        self.on_progress(Progress(heads, fold, self.before + epoch, self.total))


@dataclass(frozen=True)
class FoldTraining:
    """What the folds of a pass share."""

    features: Features
    task: Task
    protocol: Protocol
    layers: tuple[int, ...]
    meter: Meter
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
        training = self.protocol.training
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
        how = self.protocol.standardise
        if how == "none":
            return source
        speakers = [utterance.speaker for utterance in self.task.utterances]
        self.found[split.fold] = moments_for(self.features, self.layers, how, sides.train, speakers)
        return StandardisedFeatures(source, self.found[split.fold])

    def standardisation_of(self, config: RunConfig) -> dict[str, NDArray[np.float32]]:
        """What each fold's features were standardised with, where that is not the speaker's own."""
        if self.protocol.standardise != "global":
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


def _places(place: Mapping[str, int], ids: Sequence[str]) -> NDArray[np.int64]:
    return np.array([place[identifier] for identifier in ids], dtype=np.int64)


def _trained(task: Task, split: Split, sides: Sides, seed: int, result: FitResult) -> TrainedModel:
    predictions = FoldPredictions(
        fold=split.fold,
        seed=seed,
        ids=split.test,
        speakers=tuple(task.utterances[number].speaker for number in sides.test),
        truth=task.labels[sides.test],
        scores=result.test_scores,
    )
    return TrainedModel(predictions, result.best_epoch, result.log, result.weights, result.layer_weights)
