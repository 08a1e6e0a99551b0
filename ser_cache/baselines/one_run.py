"""One run of a baseline: in every fold a grid search within the training side, then a test.

What a split calls validation is trained on too: the inner folds do its work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.baselines.classifiers import Classifier, Effort, Sides
from ser_cache.baselines.grid_search import fit_and_apply, search_grid, standardised
from ser_cache.baselines.kept import KeptSearches, Told
from ser_cache.baselines.options import BaselineOptions, Progress
from ser_cache.baselines.preparing import rows_of
from ser_cache.results import FoldPredictions, Run, RunConfig, TrainedModel, parameters_text, write_run

if TYPE_CHECKING:
    from ser_cache.splits import Split
    from ser_cache.tasks import Task

TRAINED_ON = ("train", "validation")
"""Sides of a split."""


@dataclass(frozen=True)
class GridEntry:
    """One candidate of a grid, as a line of ``log.csv``.

    Attributes:
        candidate: its place in the grid, from 1.
        parameters: as text.
        score: mean over inner folds of the score that candidates are selected by.
        deviation: over inner folds, n - 1.
        stopped: inner folds in which its solver reached the limit of iterations.
    """

    candidate: int
    parameters: str
    score: float
    deviation: float
    stopped: int

    @property
    def epoch(self) -> int:
        """What the log's best line is found by; classical classifiers have no epochs."""
        return self.candidate


class Meter:
    """Counts what is done over all folds, classifiers and layers."""

    def __init__(self, show: Callable[[Progress], None], total: int) -> None:
        """Begin at nothing of a total."""
        self._show, self._total, self._done, self.what = show, total, 0, ""

    def add(self, candidates: int) -> None:
        """Candidates of one inner fold are done."""
        self._done += candidates
        self._show(Progress(self._done, self._total, self.what))

    def read(self, done: int, of: int) -> None:
        """Frames of so many utterances are read; nothing is trained meanwhile."""
        self._show(Progress(self._done, self._total, f"frames of {done:,}/{of:,}"))


@dataclass(frozen=True)
class Work:
    """One run: a classifier on one layer, over all folds and seeds.

    Attributes:
        task: the corpus, divided.
        folds: the inner fold of each utterance that is trained on, for every fold of the split.
        kind: the classifier.
        config: what makes the run.
        options: what was asked for.
    """

    task: Task
    folds: Sequence[NDArray[np.int64]]
    kind: Classifier
    config: RunConfig
    options: BaselineOptions

    @property
    def trainings(self) -> int:
        """In all folds, for all seeds."""
        return len(self.config.seeds) * sum(self._trainings(fold_of) for fold_of in self.folds)

    def run(
        self,
        points: NDArray[np.float64],
        runs: Path,
        origin: Mapping[str, Any],
        versions: Mapping[str, Any],
        meter: Meter,
    ) -> Run:
        """Search, train and test every fold that is not kept of an interrupted run, and write the run.

        Args:
            points: a vector for each of the task's utterances, (n, d).
            runs: the folder of all runs.
            origin: what the features were made from.
            versions: what the result depends on beside configuration and code.
            meter: told as candidates are done.
        """
        kept = KeptSearches(runs, self.config, versions, forced=self.options.force)
        models: list[TrainedModel] = []
        searches, seconds = [], []
        for split, fold_of in zip(self.task.splits, self.folds, strict=True):
            for seed in self.config.seeds:
                meter.what = self._where(split, seed)
                told = kept.load(len(models))
                if told is None:
                    told = self._fold(points, split, fold_of, seed, meter)
                    kept.save(len(models), told)
                else:
                    meter.add(self._trainings(fold_of))
                models.append(self._model(split, seed, told))
                searches.append({"fold": split.fold, "seed": seed, **_without(told, "predicted", "seconds")})
                seconds.append(told["seconds"])
        made = {**versions, "jobs": self.options.jobs, "seconds": round(sum(seconds), 3)}
        grid = {
            "selected_by": self.options.protocol.select,
            "candidates": self.kind.candidates,
            "searches": searches,
        }
        run = write_run(
            runs, self.config, self.task.splits, models, made, fingerprint=origin, grid_search=grid
        )
        kept.discard()
        return run

    def _where(self, split: Split, seed: int) -> str:
        """What progress calls a fold: the classifier; layer, fold and seed where there are several."""
        parts = {
            "layer": (self.config.layers[0], len(self.options.layers)),
            "fold": (split.fold, len(self.task.splits)),
            "seed": (seed, len(self.config.seeds)),
        }
        return ", ".join(
            [self.kind.name, *(f"{name} {value}" for name, (value, many) in parts.items() if many > 1)]
        )

    def _fold(
        self, points: NDArray[np.float64], split: Split, fold_of: NDArray[np.int64], seed: int, meter: Meter
    ) -> Told:
        """Search the grid on one fold's training side, train the best on all of it, and test that."""
        started = monotonic()
        task, options, classes = self.task, self.options, len(self.task.classes)
        inside, tested = rows_of(task, split, *TRAINED_ON), rows_of(task, split, "test")
        effort = Effort(seed, options.protocol.max_iterations if self.kind.iterates else None)
        search = search_grid(
            self.kind,
            points[inside],
            task.labels[inside],
            fold_of,
            classes,
            options.protocol.select,
            effort,
            options.jobs,
            meter.add,
        )
        train, test = standardised(points[inside], points[tested])
        sides = Sides(train, task.labels[inside], test, classes)
        outcome = fit_and_apply(self.kind, sides, search.chosen, effort, options.jobs)
        meter.add(1)
        return {
            "best": search.best,
            "parameters": search.chosen,
            "scores": search.scores.tolist(),
            "stopped": search.stopped.sum(axis=1).tolist(),
            "stopped_on_all": outcome.stopped,
            "predicted": outcome.scores.tolist(),
            "seconds": monotonic() - started,
        }

    def _trainings(self, fold_of: NDArray[np.int64]) -> int:
        """Of one fold: every candidate in every inner fold, and the best once more."""
        return len(self.kind.candidates) * (int(fold_of.max()) + 1) + 1

    def _model(self, split: Split, seed: int, told: Told) -> TrainedModel:
        """What a fold came to, as it goes to disk."""
        task, tested = self.task, rows_of(self.task, split, "test")
        predictions = FoldPredictions(
            split.fold,
            seed,
            tuple(task.utterances[row].id for row in tested),
            tuple(task.utterances[row].speaker for row in tested),
            task.labels[tested],
            np.array(told["predicted"], dtype=np.float64),
        )
        return TrainedModel(predictions, told["best"] + 1, self._log(told), {}, None)

    def _log(self, told: Told) -> tuple[GridEntry, ...]:
        scores = np.array(told["scores"])
        return tuple(
            GridEntry(
                place + 1,
                parameters_text(candidate),
                float(scores[place].mean()),
                float(scores[place].std(ddof=1)),
                told["stopped"][place],
            )
            for place, candidate in enumerate(self.kind.candidates)
        )


def _without(told: Told, *names: str) -> Told:
    return {name: value for name, value in told.items() if name not in names}
