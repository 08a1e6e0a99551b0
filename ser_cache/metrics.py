"""Scores of a classifier, computed from confusion matrices, in plain NumPy.

Everything but :func:`confusion_matrix` and :func:`score` takes confusion counts with any leading axes, such
as (seeds, speakers left out, k, k), so that resampling needs no loop in Python. Rows are the truth, columns
what was predicted. Both studies say only "F1"; macro and weighted are told apart here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What one set of predictions is worth; all scores are fractions from 0 to 1.

    Attributes:
        classes: the k class names, in the order of every per-class attribute.
        ua: unweighted accuracy, which is unweighted average recall (UAR) and balanced accuracy: the mean
            recall over the classes present in the truth.
        wa: weighted accuracy, which is plain accuracy.
        macro_f1: the mean F1 over the classes that :func:`score` was told to average over.
        weighted_f1: the mean F1 weighted by each class's share of the truth.
        precision: per class, (k,); 0 for a class never predicted.
        recall: per class, (k,); 0 for a class absent from the truth.
        f1: per class, (k,); 0 for a class in neither truth nor predictions.
        support: utterances of each class in the truth, (k,).
        confusion: counts, (k, k); rows are the truth.
    """

    classes: tuple[str, ...]
    ua: float
    wa: float
    macro_f1: float
    weighted_f1: float
    precision: Values
    recall: Values
    f1: Values
    support: Counts
    confusion: Counts


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, classes: int) -> Counts:
    """Count how often each class was taken for each class.

    Args:
        truth: class numbers, (n,).
        predicted: class numbers, (n,).
        classes: k, the number of classes.

    Returns:
        (k, k) counts; rows are the truth, columns the predictions.

    Raises:
        ValueError: the shapes differ, or a number is not one of 0..k-1.
    """
    rows = np.asarray(truth, dtype=np.int64)
    columns = np.asarray(predicted, dtype=np.int64)
    if rows.ndim != 1 or rows.shape != columns.shape:
        raise ValueError(f"truth {rows.shape} and predictions {columns.shape} must both be (n,)")
    for values in (rows, columns):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"a class number is outside 0..{classes - 1}")
    counts = np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64, copy=False)


def accuracy(confusion: Counts) -> Values:
    """Share of utterances that were right (WA), over the last two axes; 0 without utterances."""
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return _divide(right, confusion.sum(axis=(-2, -1)))


def recall_per_class(confusion: Counts) -> Values:
    """Share of each class's utterances that were found, (..., k); 0 for a class absent from the truth."""
    return _divide(_right(confusion), confusion.sum(axis=-1))


def precision_per_class(confusion: Counts) -> Values:
    """Share of each class's predictions that were right, (..., k); 0 for a class never predicted."""
    return _divide(_right(confusion), confusion.sum(axis=-2))


def f1_per_class(confusion: Counts) -> Values:
    """Harmonic mean of precision and recall, (..., k); 0 for a class in neither truth nor predictions."""
    return _divide(2 * _right(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def unweighted_average_recall(confusion: Counts) -> Values:
    """Mean recall over the classes present in the truth (UA), (...); 0 without utterances."""
    present = confusion.sum(axis=-1) > 0
    return _divide(recall_per_class(confusion).sum(axis=-1), present.sum(axis=-1))


def macro_f1(confusion: Counts, averaged: NDArray[np.bool_] | None = None) -> Values:
    """Mean F1 over a set of classes, (...).

    Args:
        confusion: counts, (..., k, k).
        averaged: which classes count, as booleans that broadcast to (..., k). None means those present in
            the truth, as for one fold alone; pooled folds are averaged over all of the corpus's classes.
    """
    chosen = confusion.sum(axis=-1) > 0 if averaged is None else averaged
    chosen = np.broadcast_to(chosen, confusion.shape[:-1])
    return _divide((f1_per_class(confusion) * chosen).sum(axis=-1), chosen.sum(axis=-1))


def weighted_f1(confusion: Counts) -> Values:
    """Mean F1 weighted by each class's share of the truth, (...); 0 without utterances."""
    support = confusion.sum(axis=-1)
    return _divide((f1_per_class(confusion) * support).sum(axis=-1), support.sum(axis=-1))


def score(
    truth: ArrayLike, predicted: ArrayLike, classes: Sequence[str], *, present_only: bool = False
) -> Scores:
    """Score one set of predictions.

    Args:
        truth: class numbers, (n,), indices into ``classes``.
        predicted: class numbers, (n,).
        classes: the names of the k classes.
        present_only: average macro F1 over the classes present in ``truth`` (one fold alone), not over all
            of ``classes`` (pooled folds).

    Raises:
        ValueError: the shapes differ, or a number is not an index into ``classes``.
    """
    confusion = confusion_matrix(truth, predicted, len(classes))
    averaged = None if present_only else np.ones(len(classes), dtype=np.bool_)
    return Scores(
        classes=tuple(classes),
        ua=float(unweighted_average_recall(confusion)),
        wa=float(accuracy(confusion)),
        macro_f1=float(macro_f1(confusion, averaged)),
        weighted_f1=float(weighted_f1(confusion)),
        precision=precision_per_class(confusion),
        recall=recall_per_class(confusion),
        f1=f1_per_class(confusion),
        support=confusion.sum(axis=-1),
        confusion=confusion,
    )


def _right(confusion: Counts) -> Counts:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> Values:
    """Divide, with 0 where the denominator is 0: an empty class scores nothing."""
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    return np.divide(
        top, bottom, out=np.zeros(np.broadcast_shapes(top.shape, bottom.shape)), where=bottom > 0
    )
