"""Time and memory of the grids of `ser baseline`, and of scikit-learn's own grid search beside them.

python benchmarks/baselines.py [--utterances 7442] [--subset 1500] [--jobs N] [--classifiers svm,rf]

Features are made up, of CREMA-D's size: 7,442 utterances of 91 speakers and six emotions, 13 numbers each,
70% of them trained on, five inner folds. The plain grid search runs on a subset: GridSearchCV over a pipeline
of StandardScaler and the classifier, the same grid and the same limit of iterations, with the same number of
jobs, in turns with ours on that subset. Every measurement has a process of its own.
"""

import argparse
import os
import resource
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter

import numpy as np
from machine import Stolen, machine
from numpy.typing import NDArray

from ser_cache.baselines import CLASSIFIERS, protocol_named
from ser_cache.baselines.classifiers import Effort, Sides
from ser_cache.baselines.grid_search import end_processes, fit_and_apply, search_grid, standardised

EMOTIONS, SPEAKERS, WIDTH, FOLDS = 6, 91, 13, 5
TRAINED = 0.7
PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
"""Whose peak of memory counts: the larger of the searching process's and of the largest it has started."""


@dataclass(frozen=True)
class Measured:
    """Of one grid search: wall seconds, processor seconds, peak MiB, best score and parameters."""

    wall: float
    processor: float
    peak: float
    best: float
    chosen: dict[str, object]
    stopped: int = 0


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=7442)
    parser.add_argument("--subset", type=int, default=1500)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--classifiers", default="svm,rf,knn,logreg")
    options = parser.parse_args(arguments)
    names = options.classifiers.split(",")
    print(f"{machine('numpy', 'scikit-learn')}; {options.jobs} jobs\n")
    stolen = Stolen()
    print(f"### Grid search and test, {options.utterances:,} utterances\n")
    print("| | candidates | seconds | processor s | peak MiB | cross-validation | chosen | stopped |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        found = apart(ours, name, options.utterances, options.jobs)
        chosen = ", ".join(f"{key} {value}" for key, value in found.chosen.items())
        print(
            f"| {name} | {len(CLASSIFIERS[name].candidates)} | {found.wall:.1f} | {found.processor:.1f} | "
            f"{found.peak:.0f} | {100 * found.best:.1f} | {chosen} | {found.stopped} |",
            flush=True,
        )
    print(f"\n### Beside GridSearchCV, {options.subset:,} utterances\n")
    print("| | ser baseline, s | GridSearchCV, s | ratio | processor s | processor s | same parameters |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        pairs = [
            (
                apart(ours, name, options.subset, options.jobs),
                apart(plain, name, options.subset, options.jobs),
            )
            for _ in range(options.rounds)
        ]
        mine, theirs = (
            sorted(found, key=lambda one: one.wall)[len(found) // 2] for found in zip(*pairs, strict=True)
        )
        print(
            f"| {name} | {mine.wall:.1f} | {theirs.wall:.1f} | {theirs.wall / mine.wall:.2f} | "
            f"{mine.processor:.1f} | {theirs.processor:.1f} | "
            f"{'yes' if mine.chosen == theirs.chosen else 'no'} |",
            flush=True,
        )
    print(f"\n{stolen}.")


def apart(measure, name: str, utterances: int, jobs: int) -> Measured:  # noqa: ANN001 - ours or plain
    """Measure in a fresh process, whose peak of memory is then its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, name, utterances, jobs).result()


def made_up(utterances: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Features, emotions and inner folds: speakers differ more than emotions, and noise is above both."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, EMOTIONS, utterances)
    speakers = rng.integers(0, SPEAKERS, utterances)
    points = 0.35 * rng.normal(size=(EMOTIONS, WIDTH))[labels]
    points += 0.6 * rng.normal(size=(SPEAKERS, WIDTH))[speakers] + rng.normal(size=(utterances, WIDTH))
    return points, labels, speakers % FOLDS


def ours(name: str, utterances: int, jobs: int) -> Measured:
    """Search the grid, train the best, and test it."""
    kind, (points, labels, fold_of) = CLASSIFIERS[name], made_up(utterances)
    inside = int(TRAINED * utterances)
    effort = Effort(max_iterations=protocol_named("classical").max_iterations if kind.iterates else None)
    started, spent = perf_counter(), processor_seconds()
    found = search_grid(
        kind, points[:inside], labels[:inside], fold_of[:inside], EMOTIONS, "accuracy", effort, jobs
    )
    train, test = standardised(points[:inside], points[inside:])
    fit_and_apply(kind, Sides(train, labels[:inside], test, EMOTIONS), found.chosen, effort, jobs)
    wall = perf_counter() - started
    end_processes()
    return Measured(
        wall,
        processor_seconds() - spent,
        max(resource.getrusage(who).ru_maxrss for who in PROCESSES) / 1024,
        float(found.scores[found.best].mean()),
        found.chosen,
        int(found.stopped.any(axis=1).sum()),
    )


def plain(name: str, utterances: int, jobs: int) -> Measured:
    """The same by scikit-learn alone."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    # The warnings of solvers that are stopped; what they stop is the same as ours.
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    limit = protocol_named("classical").max_iterations
    model = {
        "svm": SVC(max_iter=limit, break_ties=True),
        "rf": RandomForestClassifier(random_state=0),
        "knn": KNeighborsClassifier(),
        "logreg": LogisticRegression(max_iter=limit),
    }[name]
    points, labels, fold_of = made_up(utterances)
    inside = int(TRAINED * utterances)
    steps = Pipeline([("scale", StandardScaler()), ("model", model)])
    grid = {f"model__{key}": list(values) for key, values in CLASSIFIERS[name].grid.items()}
    search = GridSearchCV(steps, grid, cv=PredefinedSplit(fold_of[:inside]), n_jobs=jobs)
    started, spent = perf_counter(), processor_seconds()
    search.fit(points[:inside], labels[:inside])
    search.predict(points[inside:])
    chosen = {key.removeprefix("model__"): value for key, value in search.best_params_.items()}
    wall = perf_counter() - started
    end_processes()
    return Measured(wall, processor_seconds() - spent, 0.0, float(search.best_score_), chosen)


def processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
