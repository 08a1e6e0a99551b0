"""Grid search by cross-validation on all cores: the same result for any number of them.

Threads where scikit-learn's solvers leave Python's lock while they work: nothing is copied, and an
interruption ends at the next fit. Processes for forests: more than half of the time that a small tree takes
is spent under that lock, so that two threads are 1.1 to 1.5 times as fast as one, and two processes 1.8
times. Linear algebra is kept to one thread in each, or cores would be asked for twice, and last digits
would depend on how many there are.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.baselines.classifiers import (
    LARGEST_KERNEL,
    Classifier,
    Effort,
    Evaluate,
    Matrix,
    Outcome,
    Params,
    Sides,
)
from ser_cache.metrics import accuracy, confusion_matrix, macro_f1

_SCORES = {"accuracy": accuracy, "macro_f1": macro_f1}  # the keys of protocols.SELECTIONS
_SHARE_OF_MEMORY = 0.5  # of all there is, that kernels of fits at the same time may take
_BYTES = 8  # of a number in a kernel
_SECONDS_BETWEEN_LOOKS = 0.5  # at the keyboard, while fits run


@dataclass(frozen=True)
class Search:
    """How each candidate did.

    Attributes:
        candidates: parameters, in the grid's order.
        scores: (candidates, inner folds).
        stopped: whether a solver reached its limit of iterations, (candidates, inner folds).
        best: which candidate has the highest mean; the first of equals.
    """

    candidates: tuple[Params, ...]
    scores: Matrix
    stopped: NDArray[np.bool_]
    best: int

    @property
    def chosen(self) -> Params:
        """Parameters of the best candidate."""
        return self.candidates[self.best]


@dataclass(frozen=True)
class _Unit:
    """Candidates of one fold that are evaluated together: places in the grid that the values serve."""

    fold: int
    fixed: Params
    values: tuple[Any, ...]
    places: tuple[int, ...]


def standardised(train: Matrix, test: Matrix) -> tuple[Matrix, Matrix]:
    """Both sides with the training side's mean and deviation; a feature that is constant there is centred."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def search_grid(
    classifier: Classifier,
    points: Matrix,
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    classes: int,
    select: str,
    effort: Effort,
    jobs: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Search:
    """Compare all candidates of a classifier's grid by cross-validation.

    Args:
        classifier: which.
        points: features of the training side, (n, d); standardised anew for each inner fold.
        labels: class numbers, (n,).
        fold_of: the inner fold that holds each utterance out, (n,).
        classes: k.
        select: "accuracy" or "macro_f1".
        effort: seed and limit of iterations.
        jobs: threads.
        on_progress: told how many more candidates are evaluated in one fold, in the caller's thread.
    """
    folds = int(fold_of.max()) + 1
    units = _units(classifier, folds)
    sides = [_sides(points, labels, fold_of, fold, classes) for fold in range(folds)]
    candidates = classifier.candidates
    scores = np.zeros((len(candidates), folds))
    stopped = np.zeros((len(candidates), folds), dtype=np.bool_)

    def run(unit: _Unit, one: Effort) -> tuple[_Unit, list[Outcome]]:
        return _evaluated(classifier.evaluate, unit, sides[unit.fold], one)

    workers = _affordable(classifier, max(len(side.train) for side in sides), jobs)
    if classifier.in_processes and workers > 1:
        results = _each_in_processes(
            workers, [(classifier.evaluate, unit, sides[unit.fold], effort) for unit in units]
        )
    else:
        results = _each_on(workers, run, units, effort)
    for unit, outcomes in results:
        truth = labels[fold_of == unit.fold]
        for place in unit.places:
            outcome = outcomes[unit.values.index(candidates[place][classifier.shared])]
            counts = confusion_matrix(truth, outcome.scores.argmax(axis=1), classes)
            scores[place, unit.fold] = float(_SCORES[select](counts))
            stopped[place, unit.fold] = outcome.stopped
        on_progress(len(unit.places))
    return Search(tuple(candidates), scores, stopped, int(np.argmax(scores.mean(axis=1))))


def fit_and_apply(classifier: Classifier, sides: Sides, chosen: Params, effort: Effort, jobs: int) -> Outcome:
    """Train one candidate on the whole training side, and let it classify the test side."""
    fixed = {name: value for name, value in chosen.items() if name != classifier.shared}

    def run(_: None, one: Effort) -> list[Outcome]:
        return classifier.evaluate(sides, fixed, [chosen[classifier.shared]], one)

    outcomes: list[Outcome]
    (outcomes,) = _each_on(1, run, [None], replace(effort, threads=jobs))
    return outcomes[0]


def _evaluated(evaluate: Evaluate, unit: _Unit, sides: Sides, effort: Effort) -> tuple[_Unit, list[Outcome]]:
    return unit, evaluate(sides, unit.fixed, unit.values, effort)


def _sides(
    points: Matrix, labels: NDArray[np.int64], fold_of: NDArray[np.int64], fold: int, classes: int
) -> Sides:
    inside = fold_of != fold
    train, test = standardised(points[inside], points[~inside])
    return Sides(train, labels[inside], test, classes)


def _units(classifier: Classifier, folds: int) -> list[_Unit]:
    """The work in pieces, those that tend to take long first, so that no core waits for them at the end."""
    together: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for place, candidate in enumerate(classifier.candidates):
        settled = classifier.settled(candidate)
        fixed = tuple((name, value) for name, value in settled.items() if name != classifier.shared)
        together.setdefault(fixed, []).append(place)
    values = classifier.grid[classifier.shared]
    units = [
        _Unit(fold, dict(fixed), values, tuple(places))
        for fixed, places in together.items()
        for fold in range(folds)
    ]
    # Steep polynomials are far from separable in the last digits, and deep trees have more to grow.
    return sorted(
        units,
        key=lambda unit: (
            unit.fixed.get("kernel") == "poly",
            unit.fixed.get("gamma", 0),
            unit.fixed.get("max_depth", 0),
        ),
        reverse=True,
    )


def _affordable(classifier: Classifier, utterances: int, jobs: int) -> int:
    """As many threads as there is memory for the kernels of."""
    if "kernel" not in classifier.grid or utterances > LARGEST_KERNEL:
        return jobs
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Training and held-out rows, and what making them takes for a moment.
    return max(1, min(jobs, int(_SHARE_OF_MEMORY * memory / (2.5 * _BYTES * utterances**2))))


def _each_on(
    threads: int, run: Callable[[Any, Effort], Any], items: Sequence[Any], effort: Effort
) -> Iterator[Any]:
    """What ``run`` makes of each item, as they are done; an interruption ends what runs at its next fit."""
    leave = Event()
    effort = replace(effort, cancelled=leave.is_set)
    with (
        _one_thread_each(),
        ThreadPoolExecutor(threads, "baseline", initializer=partial(_limit_threads, 1)) as pool,
    ):
        waiting: set[Future[Any]] = {pool.submit(run, item, effort) for item in items}
        try:
            while waiting:
                done, waiting = wait(waiting, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            leave.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _each_in_processes(
    workers: int, calls: Sequence[tuple[Evaluate, _Unit, Sides, Effort]]
) -> Iterator[tuple[_Unit, list[Outcome]]]:
    """The same in processes, kept for the next search until `end_processes`; an interruption ends them."""
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", inner_max_num_threads=1):
        pool = Parallel(workers, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)
        results: Generator[tuple[_Unit, list[Outcome]]] = pool(delayed(_evaluated)(*call) for call in calls)
    try:
        yield from results
    finally:
        results.close()


def end_processes() -> None:
    """End the processes that searches left: they would wait for minutes, and so would who waits for them."""
    if "joblib.externals.loky" not in sys.modules:
        return
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Linear algebra on one thread, and no warnings of what a search records: solvers that were stopped."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _limit_threads(number: int) -> None:
    """For the thread that calls it: OpenMP keeps a limit of its own for each."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(number)
