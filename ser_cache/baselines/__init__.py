"""Classical classifiers as baselines: SVM, random forest and others on functionals of cached features.

Grids and evaluation follow Wang, Raud, Pal 2023; by default speakers are held out, which the study does not.
"""

from ser_cache.baselines.classifiers import CLASSIFIERS, Classifier, classifier_named
from ser_cache.baselines.options import DEFAULT, BaselineOptions, Progress
from ser_cache.baselines.protocols import (
    INNER,
    PROTOCOLS,
    SELECTIONS,
    BaselineProtocol,
    protocol_named,
)
from ser_cache.baselines.running import baseline

__all__ = [
    "CLASSIFIERS",
    "DEFAULT",
    "INNER",
    "PROTOCOLS",
    "SELECTIONS",
    "BaselineOptions",
    "BaselineProtocol",
    "Classifier",
    "Progress",
    "baseline",
    "classifier_named",
    "protocol_named",
]
