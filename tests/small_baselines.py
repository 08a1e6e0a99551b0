"""Baselines that take a second: a made-up corpus, short grids, and a split for each protocol."""

import numpy as np
from made_up_features import Features, utterances
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from ser_cache.baselines import BaselineOptions, protocol_named
from ser_cache.baselines.classifiers import Sides
from ser_cache.manifest import Manifest
from ser_cache.splits import SplitOptions

SMALL = {
    "svm": {"C": (0.1, 10), "gamma": (0.1, 0.01), "kernel": ("rbf", "poly")},
    "rf": {
        "n_estimators": (2, 5),
        "max_depth": (20,),
        "min_samples_split": (2, 5),
        "min_samples_leaf": (1, 4),
    },
    "knn": {"n_neighbors": (1, 3, 8), "weights": ("uniform", "distance")},
    "logreg": {"C": (0.01, 1)},
}
"""Parameters of each classifier; the fixture ``small_grids`` puts them in the place of the study's."""
THEIRS = {
    "svm": SVC(break_ties=True),
    "rf": RandomForestClassifier(random_state=0),
    "knn": KNeighborsClassifier(),
    "logreg": LogisticRegression(max_iter=100_000),
}
"""The same classifiers as scikit-learn has them."""
PROTOCOLS = {
    "classical": SplitOptions("folds", folds=3),
    "wang2023": SplitOptions("random", ratios=(0.6, 0.1, 0.3)),
}
"""The split that goes with each protocol."""


def corpus(speakers=6, each=4, **changes):
    """A manifest and features of three emotions."""
    manifest = Manifest("toy", utterances(speakers, each))
    return Features(manifest.utterances, **{"noise": 2.0, **changes}), manifest


def chosen(*classifiers, protocol="classical", **changes):
    values = {
        "classifiers": classifiers,
        "split": PROTOCOLS[protocol],
        "protocol": protocol_named(protocol),
        **changes,
    }
    return BaselineOptions(**values)


def sides(classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 90)
    points = rng.normal(size=(classes, 5))[labels] + rng.normal(size=(90, 5))
    return Sides(points[:60], labels[:60], points[60:], classes)
