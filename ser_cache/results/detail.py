"""One run in detail: its log, its layer weights, the learning rates found, and its scores fold by fold."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import ResultsError
from ser_cache.results.contents import LAYER_WEIGHTS, LOG, SEARCH, damaged, open_contents
from ser_cache.results.folder import Run, checked_path
from ser_cache.results.scoring import HEADLINE
from ser_cache.statistics import Spread, spread


@dataclass(frozen=True)
class TrainingLog:
    """What the log of a run comes to.

    Attributes:
        epochs: the highest epoch of any model.
        best_epochs: of each model, in the order of the log.
    """

    epochs: int
    best_epochs: tuple[int, ...]

    @property
    def models(self) -> int:
        """How many models the run holds: folds times seeds."""
        return len(self.best_epochs)


@dataclass(frozen=True)
class LayerWeights:
    """How a head that mixes layers weighted them.

    Attributes:
        layers: numbers, (layers).
        mean: share of each, over models, (layers,).
        models: share of each in each model, (models, layers).
        folds: of each model, (models).
    """

    layers: tuple[int, ...]
    mean: NDArray[np.float64]
    models: NDArray[np.float64]
    folds: tuple[str, ...]


def read_training_log(run: Run) -> TrainingLog:
    """Summarise ``log.csv``.

    Raises:
        ResultsError: it lacks a column, or a model has no best epoch.
    """
    epochs, best = 0, []
    try:
        with checked_path(run, LOG).open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                epochs = max(epochs, int(row["epoch"]))
                if row["best"] == "1":
                    best.append(int(row["epoch"]))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise _damaged(run, LOG) from error
    if not best:
        raise _damaged(run, LOG)
    return TrainingLog(epochs, tuple(best))


def read_layer_weights(run: Run) -> LayerWeights | None:
    """The shares of the layers; None for a head that mixes none.

    Raises:
        ResultsError: the file is damaged.
    """
    contents = open_contents(run.folder)
    if not contents.has(LAYER_WEIGHTS):
        return None
    raw = contents.json(LAYER_WEIGHTS)
    try:
        models = np.array([row["weights"] for row in raw["models"]], dtype=np.float64)
        layers = tuple(int(layer) for layer in raw["layers"])
        if not len(models) or models.shape[1:] != (len(layers),) or layers != run.config.layers:
            raise _damaged(run, LAYER_WEIGHTS)
        folds = tuple(str(row["fold"]) for row in raw["models"])
        return LayerWeights(layers, models.mean(axis=0), models, folds)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(run, LAYER_WEIGHTS) from error


@dataclass(frozen=True)
class FoundRate:
    """Where the search for a fold's learning rate ended.

    Attributes:
        fold: its name.
        rate: what all seeds were trained with.
        epochs: after how many it had its score in the search.
        score: that, on the validation side, in what epochs are selected by: larger is better.
        rounds: how many were tried.
    """

    fold: str
    rate: float
    epochs: int
    score: float
    rounds: int


def read_found_rates(run: Run) -> tuple[FoundRate, ...]:
    """The learning rate of each fold, where it was searched for; none where it was given.

    Raises:
        ResultsError: the file is damaged.
    """
    contents = open_contents(run.folder)
    if not contents.has(SEARCH):
        return ()
    try:
        return tuple(
            FoundRate(
                fold, float(one["rate"]), int(one["epochs"]), float(one["score"]), len(list(one["rounds"]))
            )
            for fold, one in contents.json(SEARCH).items()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(run, SEARCH) from error


def fold_scores(run: Run) -> dict[str, dict[str, Spread]]:
    """Fold -> score -> its mean and standard deviation over seeds."""
    rows = run.metrics["mean_of_folds"]["per_fold"]
    return {
        fold: {name: spread([row[name] for row in rows if row["fold"] == fold]) for name in HEADLINE}
        for fold in dict.fromkeys(row["fold"] for row in rows)
    }


def _damaged(run: Run, name: str) -> ResultsError:
    return damaged(run.folder, f"{name} cannot be read")
