"""What Wang, Raud, Pal 2023 published on CREMA-D, and what follows from their tables by arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from ser_cache.corpora import CORPORA
from ser_cache.packaged import packaged_rows
from ser_cache.published import CROWDS

CORPUS = "cremad"
"""The study's one corpus."""
CITATION = "Wang, Raud, Pal 2023: speech emotion recognition with CREMA-D."
CLASSIFIERS = {"rf": "random_forest", "svm": "svm"}
"""Our names of the study's classifiers -> theirs, in the order of its tables."""
TITLES = {"rf": "random forest", "svm": "SVM"}
MEASURES = ("precision", "recall", "f1", "support")
"""Of each class, in the order of the study's tables; all but the last are fractions of two decimals."""


@dataclass(frozen=True)
class ClassScores:
    """How a classifier did on one emotion of its test side: as printed, or ours.

    Attributes:
        emotion: as manifests call it.
        precision: fraction.
        recall: fraction.
        f1: fraction.
        support: clips that were tested.
    """

    emotion: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class PublishedClassifier:
    """A classifier of the study.

    Attributes:
        name: ours.
        classes: its table, sorted by emotion.
        best_accuracy: what the text calls its best accuracy.
        best_fold: the best of its folds of cross-validation.
        fold_mean: the mean of these folds.
    """

    name: str
    classes: tuple[ClassScores, ...]
    best_accuracy: float
    best_fold: float
    fold_mean: float

    @property
    def tested(self) -> int:
        """Clips on its test side."""
        return sum(row.support for row in self.classes)

    @property
    def accuracy(self) -> float:
        """Of the test side, as recall and support imply; to 0.005, since recall is rounded."""
        return sum(row.recall * row.support for row in self.classes) / self.tested

    @property
    def ua(self) -> float:
        """Mean recall of the table."""
        return fmean(row.recall for row in self.classes)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the table."""
        return fmean(row.f1 for row in self.classes)

    @property
    def weighted_f1(self) -> float:
        """Mean F1 of the table, weighted by support."""
        return sum(row.f1 * row.support for row in self.classes) / self.tested

    def distance_from_shares(self, clips: Mapping[str, int]) -> float:
        """How many clips the support of an emotion is at most from its share of the corpus.

        A stratified draw stays below 1.

        Args:
            clips: of each emotion in the whole corpus.
        """
        share = self.tested / sum(clips.values())
        return max(abs(row.support - share * clips[row.emotion]) for row in self.classes)


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint that the study fine-tuned.

    Attributes:
        hub_id: the checkpoint.
        learning_rate: of the fine-tuning.
        epochs: of the fine-tuning.
        f1: as printed; the study does not say which average.
    """

    hub_id: str
    learning_rate: float
    epochs: int
    f1: float


@dataclass(frozen=True)
class PublishedStudy:
    """All figures of the study that are here.

    Attributes:
        classifiers: by our name.
        models: fine-tuned checkpoints, in the order of the study's table.
        agreement: of the crowd, by intended emotion.
        clips: of each emotion in the whole corpus, by its own count.
        clustered: clips that were clustered.
        classified: clips that were classified.
        silhouette_below: what the silhouettes of its clusters are said to be below.
        test_share: of the clips that was tested.
        folds: of the cross-validation.
    """

    classifiers: Mapping[str, PublishedClassifier]
    models: tuple[PublishedModel, ...]
    agreement: Mapping[str, float]
    clips: Mapping[str, int]
    clustered: int
    classified: int
    silhouette_below: float
    test_share: float
    folds: int


@cache
def published() -> PublishedStudy:
    """Read the study's figures from ``ser_cache/reference``."""
    stated = {
        (row["quantity"], row["classifier"]): float(row["value"])
        for row in packaged_rows("wang2023_statements_cremad.csv")
    }
    return PublishedStudy(
        classifiers={name: _classifier(name, stated) for name in CLASSIFIERS},
        models=tuple(
            PublishedModel(row["model"], float(row["learning_rate"]), int(row["epochs"]), float(row["f1"]))
            for row in packaged_rows("wang2023_finetune_cremad.csv")
        ),
        agreement=CROWDS[CORPUS]().agreement,
        clips=CORPORA[CORPUS].expected,
        clustered=int(stated["clips_clustered", ""]),
        classified=int(stated["clips_classified", ""]),
        silhouette_below=stated["silhouette_below", ""],
        test_share=stated["test_share", ""],
        folds=int(stated["folds", ""]),
    )


def _classifier(name: str, stated: Mapping[tuple[str, str], float]) -> PublishedClassifier:
    labels, theirs = CORPORA[CORPUS].labels, CLASSIFIERS[name]
    classes = [
        ClassScores(
            labels[row["emotion"]],
            float(row["precision"]),
            float(row["recall"]),
            float(row["f1"]),
            int(row["support"]),
        )
        for row in packaged_rows("wang2023_baselines_cremad.csv")
        if row["model"] == theirs
    ]
    return PublishedClassifier(
        name,
        tuple(sorted(classes, key=lambda row: row.emotion)),
        stated["best_accuracy", theirs],
        stated["best_fold", theirs],
        stated["fold_mean", theirs],
    )
