"""Classical classifiers on cached features: a grid search within each training side, then a test.

Nothing here loads a backbone, decodes audio or needs torch. What a split calls validation is trained on too:
the inner folds do its work.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache import __version__
from ser_cache.baselines.classifiers import Classifier, Effort, Sides, classifier_named
from ser_cache.baselines.grid_search import fit_and_apply, search_grid, standardised
from ser_cache.baselines.inner_folds import inner_folds
from ser_cache.baselines.kept import KeptSearches, Told
from ser_cache.baselines.preparing import points_of, rows_of, sorted_task
from ser_cache.baselines.protocols import BaselineProtocol, protocol_named
from ser_cache.errors import TrainingError
from ser_cache.files import sha256_of_value
from ser_cache.results import (
    FoldPredictions,
    Found,
    Run,
    RunConfig,
    RunData,
    RunSummary,
    TrainedModel,
    find,
    keep_current,
    manifest_digest,
    parameters_text,
    read_grid_search,
    splits_as_json,
    summarise,
    write_run,
)
from ser_cache.splits import Split, SplitOptions

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features
    from ser_cache.manifest import Manifest
    from ser_cache.tasks import Task

DEFAULT = ("svm", "rf")
_TRAINED_ON = ("train", "validation")


@dataclass(frozen=True)
class BaselineOptions:
    """What to train.

    Attributes:
        classifiers: names in ``classifiers.CLASSIFIERS``.
        layers: the cached layers to take features from, a run for each; empty for the last one.
        split: how the corpus is divided; train and validation are both trained on.
        protocol: how candidates are compared, on which functionals of the frames.
        seeds: of classifiers with chance in them; the others are trained once.
        jobs: threads; no result depends on them.
        force: repeat runs that are there already.
    """

    classifiers: tuple[str, ...] = DEFAULT
    layers: tuple[int, ...] = ()
    split: SplitOptions = field(default_factory=SplitOptions)
    protocol: BaselineProtocol = field(default_factory=lambda: protocol_named("classical"))
    seeds: tuple[int, ...] = (0,)
    jobs: int = 1
    force: bool = False


@dataclass(frozen=True)
class Progress:
    """How far all runs of a corpus are, in candidates trained for one inner fold.

    Attributes:
        done: of them.
        total: of them.
        what: classifier, layer and fold that are worked on.
    """

    done: int
    total: int
    what: str


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


class _Meter:
    """Counts what is done over all folds and classifiers."""

    def __init__(self, show: Callable[[Progress], None], total: int) -> None:
        self._show, self._total, self._done, self.what = show, total, 0, ""

    def add(self, candidates: int) -> None:
        """Candidates of one inner fold are done."""
        self._done += candidates
        self._show(Progress(self._done, self._total, self.what))


def baseline(
    features: Features,
    manifest: Manifest,
    options: BaselineOptions,
    runs: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[RunSummary]:
    """Train classical classifiers on one corpus and kind of features, and keep a run for each and layer.

    A run with the same configuration on the same data is reused unless ``force`` is set. A run is written
    whole, when all of its folds are tested; until then, finished folds are kept for the next attempt.

    Args:
        features: the cached features of the manifest's utterances.
        manifest: the labels.
        options: what to train.
        runs: the folder of all runs.
        on_progress: called as candidates are done.

    Returns:
        One summary per layer and classifier, in the order asked for.

    Raises:
        UnknownNameError: an unknown classifier, split or functional.
        SplitError: the corpus does not allow the split.
        TrainingError: a layer is not cached; features that are not finite or all the same; too few
            speakers, or utterances of an emotion, for inner folds.
        ResultsError: a run to be reused is damaged or of a newer version.
    """
    if not options.seeds:
        raise TrainingError("no seed was given; use --seeds 1 or more.")
    kinds = [classifier_named(name) for name in dict.fromkeys(options.classifiers)]
    task = sorted_task(features, manifest, options.split)
    folds, fold_notes = _inner(task, options)
    wanted = [
        (layer, kind, _configure(features, task, kind, layer, options))
        for layer in _layers(features, options)
        for kind in kinds
    ]
    found = [Found("absent") if options.force else find(runs, config) for _, _, config in wanted]
    reused = [known.run for known in found if known.state == "good" and known.run is not None]
    keep_current(runs, reused)
    todo = [one for one, known in zip(wanted, found, strict=True) if known.state != "good"]
    works = {
        config.run_id: (layer, _Work(task, folds, kind, config, options)) for layer, kind, config in todo
    }
    meter = _Meter(on_progress, sum(work.trainings for _, work in works.values()))
    trained: dict[str, Run] = {}
    for layer in dict.fromkeys(layer for layer, _ in works.values()):
        points = points_of(features, task, layer, options.protocol.functionals)
        for run_id, (own, work) in works.items():
            if own == layer:
                trained[run_id] = work.run(points, runs, features.origin, meter)
    notes = task.warnings + fold_notes
    summaries = []
    for (_, _, config), known in zip(wanted, found, strict=True):
        if known.state == "good" and known.run is not None:
            summaries.append(summarise(known.run, reused=True, warnings=notes + _solver_notes(known.run)))
            continue
        run = trained[config.run_id]
        summaries.append(summarise(run, warnings=notes + _solver_notes(run) + _stale_warning(known)))
    return summaries


@dataclass(frozen=True)
class _Work:
    """One run: a classifier on one layer, over all folds and seeds."""

    task: Task
    folds: Sequence[NDArray[np.int64]]
    kind: Classifier
    config: RunConfig
    options: BaselineOptions

    @property
    def trainings(self) -> int:
        """In all folds, for all seeds."""
        return len(self.config.seeds) * sum(self._trainings(fold_of) for fold_of in self.folds)

    def run(self, points: NDArray[np.float64], runs: Path, origin: dict[str, Any], meter: _Meter) -> Run:
        """Search, train and test every fold that is not kept of an interrupted run, and write the run."""
        versions = _versions()
        kept = KeptSearches(runs, self.config, versions, forced=self.options.force)
        models: list[TrainedModel] = []
        searches, seconds = [], []
        for split, fold_of in zip(self.task.splits, self.folds, strict=True):
            for seed in self.config.seeds:
                meter.what = self.kind.name + (f", fold {split.fold}" if len(self.task.splits) > 1 else "")
                told = kept.load(len(models))
                if told is None:
                    told = self._fold(points, split, fold_of, seed, meter)
                    kept.save(len(models), told)
                else:
                    meter.add(self._trainings(fold_of))
                models.append(self._model(split, seed, told))
                searches.append({"fold": split.fold, "seed": seed, **_without(told, "predicted", "seconds")})
                seconds.append(told["seconds"])
        made = versions | {"jobs": self.options.jobs, "seconds": round(sum(seconds), 3)}
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

    def _fold(
        self, points: NDArray[np.float64], split: Split, fold_of: NDArray[np.int64], seed: int, meter: _Meter
    ) -> Told:
        """Search the grid on one fold's training side, train the best on all of it, and test that."""
        started = monotonic()
        task, options, classes = self.task, self.options, len(self.task.classes)
        inside, tested = rows_of(task, split, *_TRAINED_ON), rows_of(task, split, "test")
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


def _solver_notes(run: Run) -> tuple[str, ...]:
    """Solvers that were stopped: never silently, and whether that may matter."""
    grid = read_grid_search(run)
    if grid is None or not (grid.stopped or any(search.stopped_on_all for search in grid.searches)):
        return ()
    doubtful, searches = sum(search.is_doubtful for search in grid.searches), len(grid.searches)
    matters = (
        f"one of them was chosen in {doubtful} of {searches} searches" if doubtful else "none was chosen"
    )
    limit = f"{run.config.protocol['max_iterations']:,} iterations (--max-iterations)"
    many = f"{grid.stopped} of {len(grid.candidates)} candidates"
    return (f"{run.config.head}: {many} were stopped at {limit}; {matters}",)


def _inner(task: Task, options: BaselineOptions) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """The inner folds of each fold, and why there are fewer than wanted, where there are."""
    protocol, made, notes = options.protocol, [], []
    for split in task.splits:
        inside = [task.utterances[row] for row in rows_of(task, split, *_TRAINED_ON)]
        fold_of, note = inner_folds(inside, protocol.inner, protocol.folds, options.split.seed)
        made.append(fold_of)
        notes.append(note)
    return made, tuple(dict.fromkeys(filter(None, notes)))


def _layers(features: Features, options: BaselineOptions) -> tuple[int, ...]:
    absent = [layer for layer in options.layers if layer not in features.layers]
    if absent:
        raise TrainingError(
            f"{features.backbone}/{features.corpus} has no layer {absent[0]}; cached are "
            f"{', '.join(map(str, features.layers))}."
        )
    return tuple(dict.fromkeys(options.layers)) or features.layers[-1:]


def _configure(
    features: Features, task: Task, kind: Classifier, layer: int, options: BaselineOptions
) -> RunConfig:
    protocol = options.protocol
    inner = {"kind": protocol.inner, "folds": protocol.folds, "seed": options.split.seed}
    settings: dict[str, Any] = {
        "name": protocol.name,
        "classifier": kind.title,
        "functionals": list(protocol.functionals),
        "standardise": "training side",
        "trained_on": list(_TRAINED_ON),
        "inner": inner,
        "select": protocol.select,
        "grid": {name: list(values) for name, values in kind.grid.items()},
    }
    if kind.iterates:
        settings["max_iterations"] = protocol.max_iterations
    return RunConfig(
        corpus=features.corpus,
        backbone=features.backbone,
        head=kind.name,
        layers=(layer,),
        classes=task.classes,
        split=task.split,
        protocol=settings,
        seeds=tuple(dict.fromkeys(options.seeds)) if kind.seeded else (0,),
        data=RunData(
            fingerprint=features.fingerprint.digest,
            manifest=manifest_digest(task.utterances),
            splits=sha256_of_value(splits_as_json(task.splits)),
        ),
        emotions=task.targets[0].made_of,
    )


def _stale_warning(known: Found) -> tuple[str, ...]:
    if known.state != "stale" or known.run is None:
        return ()
    return (f"the earlier run {known.run.folder.name} used another {known.difference}; this is a new run",)


def _without(told: Told, *names: str) -> Told:
    return {name: value for name, value in told.items() if name not in names}


def _versions() -> dict[str, Any]:
    """What a result may depend on beside its configuration."""
    return {
        "ser_cache": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit_learn": version("scikit-learn"),
        "cores": os.cpu_count(),
        "device": "cpu",
        "device_name": platform.machine(),
        "platform": platform.platform(),
    }
