"""Classical classifiers on cached features: which runs there are to make, and which there are already.

Nothing here loads a backbone, decodes audio or needs torch.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache import __version__
from ser_cache.baselines.classifiers import Classifier, classifier_named
from ser_cache.baselines.grid_search import end_processes
from ser_cache.baselines.inner_folds import inner_folds, shortage
from ser_cache.baselines.kept import forget
from ser_cache.baselines.one_run import TRAINED_ON, Meter, Work
from ser_cache.baselines.options import BaselineOptions, Progress
from ser_cache.baselines.preparing import points_of, rows_of, sorted_task
from ser_cache.errors import TrainingError
from ser_cache.files import sha256_of_value
from ser_cache.results import (
    Found,
    Run,
    RunConfig,
    RunData,
    RunSummary,
    find,
    keep_current,
    manifest_digest,
    read_grid_search,
    splits_as_json,
    summarise,
)
from ser_cache.settings import demand_writable

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features
    from ser_cache.manifest import Manifest, Utterance
    from ser_cache.tasks import Task


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
        SettingsError: nothing can be written to the folder of runs, and something is to train.
    """
    options = _checked(options, features)
    task = sorted_task(features, manifest, options.split)
    wanted = {
        config.run_id: (config, kind)
        for layer in options.layers
        for kind in map(classifier_named, options.classifiers)
        for config in [_configure(features, task, kind, layer, options)]
    }
    found = {id_: find(runs, config, forced=options.force) for id_, (config, _) in wanted.items()}
    good = {id_: known.run for id_, known in found.items() if known.state == "good" and known.run}
    keep_current(runs, [*good.values()])
    for run in good.values():
        forget(runs, run.config)
    lacking = [pair for id_, pair in wanted.items() if id_ not in good]
    trained = _train(features, _to_do(task, lacking, options, runs), runs, on_progress)
    notes = task.warnings + _fold_notes(task, options)
    summaries = []
    for id_, known in found.items():
        run = good.get(id_) or trained[id_]
        told = notes + _solver_notes(run) + _stale_warning(known)
        summaries.append(summarise(run, reused=id_ in good, warnings=told))
    return summaries


def _to_do(
    task: Task, lacking: Sequence[tuple[RunConfig, Classifier]], options: BaselineOptions, runs: Path
) -> list[Work]:
    """The runs to be made; where there are none, no inner folds are drawn, which takes seconds."""
    if not lacking:
        return []
    demand_writable(runs, "--runs")
    folds = _inner(task, options)
    return [Work(task, folds, kind, config, options) for config, kind in lacking]


def _checked(options: BaselineOptions, features: Features) -> BaselineOptions:
    """Options with every classifier, layer and seed once, and the layers that are meant.

    Raises:
        UnknownNameError: an unknown classifier.
        TrainingError: no seed, or a layer that is not cached.
    """
    if not options.seeds:
        raise TrainingError("no seed was given; use --seeds 1 or more.")
    absent = [layer for layer in options.layers if layer not in features.layers]
    if absent:
        raise TrainingError(
            f"{features.backbone}/{features.corpus} has no layer {absent[0]}; cached are "
            f"{', '.join(map(str, features.layers))}."
        )
    return replace(
        options,
        classifiers=tuple(classifier_named(name).name for name in dict.fromkeys(options.classifiers)),
        layers=tuple(dict.fromkeys(options.layers)) or features.layers[-1:],
        seeds=tuple(dict.fromkeys(options.seeds)),
    )


def _train(
    features: Features, todo: Sequence[Work], runs: Path, on_progress: Callable[[Progress], None]
) -> dict[str, Run]:
    """Make the runs that are not there, layer by layer: of each, the points are computed once."""
    meter = Meter(on_progress, sum(work.trainings for work in todo))
    trained, versions = {}, _versions()
    try:
        for layer in dict.fromkeys(work.config.layers[0] for work in todo):
            here = [work for work in todo if work.config.layers == (layer,)]
            functionals = here[0].options.protocol.functionals
            points = points_of(features, here[0].task, layer, functionals, meter.read)
            for work in here:
                trained[work.config.run_id] = work.run(points, runs, features.origin, versions, meter)
    finally:
        end_processes()
    return trained


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


def _inner(task: Task, options: BaselineOptions) -> list[NDArray[np.int64]]:
    """The inner folds of each fold."""
    protocol = options.protocol
    return [
        inner_folds(inside, protocol.inner, protocol.folds, options.split.seed) for inside in _inside(task)
    ]


def _fold_notes(task: Task, options: BaselineOptions) -> tuple[str, ...]:
    """Why there are fewer inner folds than wanted, where there are."""
    protocol = options.protocol
    notes = [shortage(inside, protocol.inner, protocol.folds) for inside in _inside(task)]
    return tuple(dict.fromkeys(filter(None, notes)))


def _inside(task: Task) -> Iterator[list[Utterance]]:
    """The utterances of each fold that are trained on."""
    for split in task.splits:
        yield [task.utterances[row] for row in rows_of(task, split, *TRAINED_ON)]


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
        "trained_on": list(TRAINED_ON),
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
        seeds=options.seeds if kind.seeded else (0,),
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
