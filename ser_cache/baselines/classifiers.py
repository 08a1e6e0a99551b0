"""The classical classifiers and their grids, and how each evaluates several candidates at once.

Candidates that differ in one parameter alone share work, exactly: the first hundred trees of a forest of
three hundred are the forest of one hundred, and support vector machines of one kernel read one kernel matrix
whatever C is. What comes out is what scikit-learn's own classes give one by one, which tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import UnknownNameError

Params = dict[str, Any]
Matrix = NDArray[np.float64]

LARGEST_KERNEL = 12_000
"""Utterances up to which the kernel is computed as a whole (1.2 GB); for more, libsvm computes rows."""


@dataclass(frozen=True)
class Sides:
    """One training and one test side, standardised over the former.

    Attributes:
        train: (n, d).
        labels: class numbers of the training side, (n,).
        test: (m, d).
        classes: k, of the whole task; not all need to be in ``labels``.
    """

    train: Matrix
    labels: NDArray[np.int64]
    test: Matrix
    classes: int

    def spread(self, scores: Matrix) -> Matrix:
        """Scores of the classes that were trained on, put in their places; the others are never chosen."""
        whole = np.full((len(scores), self.classes), -np.inf)
        whole[:, np.unique(self.labels)] = scores
        return whole


@dataclass(frozen=True)
class Outcome:
    """What one candidate said about a test side.

    Attributes:
        scores: (m, k); the highest is the prediction.
        stopped: whether its solver reached the limit of iterations before it converged.
    """

    scores: Matrix
    stopped: bool = False


def _never() -> bool:
    """Not a lambda, so that it can be sent to a process."""
    return False


@dataclass(frozen=True)
class Effort:
    """What an evaluation may spend, and who may end it.

    Attributes:
        seed: of classifiers with chance in them.
        max_iterations: of a solver; None for no limit.
        threads: that one forest may grow on.
        cancelled: asked between two fits; True ends the evaluation.
    """

    seed: int = 0
    max_iterations: int | None = None
    threads: int = 1
    cancelled: Callable[[], bool] = _never


Evaluate = Callable[[Sides, Params, Sequence[Any], Effort], list[Outcome]]


@dataclass(frozen=True)
class Classifier:
    """One kind of classifier.

    Attributes:
        name: of its option and of the run's head.
        title: in words.
        grid: parameter -> values; the candidates are all combinations.
        shared: the parameter whose values are evaluated together.
        evaluate: trains candidates that differ in ``shared`` alone; takes the sides, the other parameters,
            the values of the shared one, and the effort.
        scores: what its scores are, for whoever reads predictions.
        seeded: whether chance plays a part.
        iterates: whether a limit of iterations applies.
        in_processes: whether it keeps Python's lock for most of its time, so that threads hardly help.
        settled: parameters as they come to apply; candidates that are equal so are trained once.
    """

    name: str
    title: str
    grid: Mapping[str, tuple[Any, ...]]
    shared: str
    evaluate: Evaluate
    scores: str
    seeded: bool = False
    iterates: bool = False
    in_processes: bool = False
    settled: Callable[[Params], Params] = field(default=lambda params: params)

    @property
    def candidates(self) -> list[Params]:
        """All combinations, in the order of scikit-learn's ``ParameterGrid``: of equals the first counts."""
        names = sorted(self.grid)
        return [
            dict(zip(names, values, strict=True)) for values in product(*(self.grid[name] for name in names))
        ]


def _support_vector_machines(
    sides: Sides, fixed: Params, values: Sequence[Any], effort: Effort
) -> list[Outcome]:
    """SVMs of one kernel with several C."""
    from sklearn.svm import SVC

    kernel, gamma = fixed["kernel"], fixed["gamma"]
    whole = len(sides.train) <= LARGEST_KERNEL
    train, test = sides.train, sides.test
    if whole:
        train, test = (kernel_matrix(rows, sides.train, kernel, gamma) for rows in (train, test))
    outcomes = []
    for value in values:
        if effort.cancelled():
            break
        limit = effort.max_iterations or -1
        machine = SVC(C=value, kernel="precomputed" if whole else kernel, gamma=gamma, max_iter=limit)
        machine.fit(train, sides.labels)
        decided = machine.decision_function(test)
        if decided.ndim == 1:  # two classes: one number, positive for the second
            decided = np.stack([-decided, decided], axis=1)
        stopped = effort.max_iterations is not None and int(machine.n_iter_.max()) >= effort.max_iterations
        outcomes.append(Outcome(sides.spread(decided), stopped))
    return outcomes


def kernel_matrix(rows: Matrix, columns: Matrix, kernel: str, gamma: float) -> Matrix:
    """Values of a kernel, as libsvm defines it (degree 3, no constant): (n, d), (m, d) -> (n, m)."""
    values: Matrix = rows @ columns.T
    if kernel == "rbf":
        values *= 2
        values -= (rows**2).sum(axis=1)[:, None]
        values -= (columns**2).sum(axis=1)
        np.minimum(values, 0, out=values)  # minus a squared distance, which rounding may put above 0
        values *= gamma
        return np.exp(values, out=values)
    values *= gamma
    if kernel == "sigmoid":
        return np.tanh(values, out=values)
    if kernel == "poly":
        square = values * values
        values *= square
        return values
    raise UnknownNameError("kernel", kernel, ("rbf", "poly", "sigmoid"))


def _forests(sides: Sides, fixed: Params, values: Sequence[Any], effort: Effort) -> list[Outcome]:
    """Random forests of several sizes: the smaller ones are the beginnings of the largest."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        **fixed, n_estimators=1, random_state=effort.seed, n_jobs=effort.threads, warm_start=True
    )
    test = sides.test.astype(np.float32)  # as the trees would, each for itself
    total = np.zeros((len(test), len(np.unique(sides.labels))))
    grown, by_size = 0, {}
    for size in sorted(values):
        if effort.cancelled():
            return []
        forest.set_params(n_estimators=size).fit(sides.train, sides.labels)
        for tree in forest.estimators_[grown:]:
            total += tree.predict_proba(test, check_input=False)
        grown = size
        by_size[size] = Outcome(sides.spread(total / size))
    return [by_size[size] for size in values]


def _settled_forest(params: Params) -> Params:
    """No node is split that cannot make two leaves: scikit-learn raises the lower bound."""
    least = max(params["min_samples_split"], 2 * params["min_samples_leaf"])
    return params | {"min_samples_split": least}


def _neighbours(sides: Sides, fixed: Params, values: Sequence[Any], effort: Effort) -> list[Outcome]:
    """Nearest neighbours of several numbers of them; more than there are utterances are all of them."""
    from sklearn.neighbors import KNeighborsClassifier

    outcomes = []
    for value in values:
        if effort.cancelled():
            break
        model = KNeighborsClassifier(n_neighbors=min(value, len(sides.train)), **fixed)
        model.fit(sides.train, sides.labels)
        outcomes.append(Outcome(sides.spread(model.predict_proba(sides.test))))
    return outcomes


def _logistic_regressions(
    sides: Sides, fixed: Params, values: Sequence[Any], effort: Effort
) -> list[Outcome]:
    """Multinomial logistic regressions with several C."""
    from sklearn.linear_model import LogisticRegression

    limit = effort.max_iterations or np.iinfo(np.int32).max
    outcomes = []
    for value in values:
        if effort.cancelled():
            break
        model = LogisticRegression(C=value, max_iter=limit, **fixed).fit(sides.train, sides.labels)
        scores = sides.spread(model.predict_proba(sides.test))
        outcomes.append(Outcome(scores, int(np.max(model.n_iter_)) >= limit))
    return outcomes


CLASSIFIERS: dict[str, Classifier] = {
    classifier.name: classifier
    for classifier in (
        Classifier(
            "svm",
            "support vector machine",
            {"C": (0.1, 1, 10, 100), "gamma": (1, 0.1, 0.01, 0.001), "kernel": ("rbf", "poly", "sigmoid")},
            "C",
            _support_vector_machines,
            "one-against-one votes, with confidences between equals",
            iterates=True,
        ),
        Classifier(
            "rf",
            "random forest",
            {
                "n_estimators": (100, 200, 300),
                "max_depth": (10, 20),
                "min_samples_split": (2, 5, 10),
                "min_samples_leaf": (1, 2, 4),
            },
            "n_estimators",
            _forests,
            "mean class shares of the leaves",
            seeded=True,
            in_processes=True,
            settled=_settled_forest,
        ),
        Classifier(
            "knn",
            "k nearest neighbours",
            {"n_neighbors": (1, 3, 5, 9, 15, 25, 51), "weights": ("uniform", "distance")},
            "n_neighbors",
            _neighbours,
            "shares of the neighbours",
        ),
        Classifier(
            "logreg",
            "multinomial logistic regression",
            {"C": (0.001, 0.01, 0.1, 1, 10, 100)},
            "C",
            _logistic_regressions,
            "probabilities",
            iterates=True,
        ),
    )
}
"""The grids of svm and rf are those of Wang et al. 2023; those of the others are ours."""


def classifier_named(name: str) -> Classifier:
    """Look a classifier up.

    Raises:
        UnknownNameError: no such classifier.
    """
    if name not in CLASSIFIERS:
        raise UnknownNameError("classifier", name, CLASSIFIERS)
    return CLASSIFIERS[name]
