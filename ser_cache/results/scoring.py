"""From predictions to what a run reports: pooled over folds, per fold, per class, over seeds and speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache import metrics
from ser_cache.metrics import Scores, score
from ser_cache.statistics import (
    Statistic,
    no_interval_reason,
    speaker_interval,
    spread,
)

HEADLINE = ("ua", "wa", "macro_f1", "weighted_f1")
"""The four scores of every table, in its order."""


@dataclass(frozen=True)
class FoldPredictions:
    """What one model said about the test side of one fold.

    Attributes:
        fold: name of the fold.
        seed: of the model.
        ids: tested utterances, (n).
        speakers: who speaks them, (n).
        truth: class numbers, (n,).
        scores: softmax probabilities, or what a classical classifier gives instead, (n, k).
    """

    fold: str
    seed: int
    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    truth: NDArray[np.int64]
    scores: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class with the highest score, the first of equals, (n,)."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)


def score_run(predictions: Sequence[FoldPredictions], classes: Sequence[str]) -> dict[str, Any]:
    """Everything a run reports, as JSON.

    The headline pools the predictions of all folds, seed by seed, and averages macro F1 over all classes;
    with one fold alone, over the classes in its truth. The mean of folds stands beside it. Every mean and
    standard deviation (n - 1) is over seeds, but for ``std_over_folds``, which is over folds, each the mean
    of its seeds; null where there is one seed, or one fold. The confusion matrix (rows are the truth) counts
    every seed's predictions, so that its sum is seeds times utterances.

    Args:
        predictions: one entry per fold and seed.
        classes: names of the k classes.
    """
    folds = sorted({part.fold for part in predictions})
    seeds = sorted({part.seed for part in predictions})
    single = len(folds) == 1
    pooled = {seed: _pooled(predictions, seed, classes, present_only=single) for seed in seeds}
    per_fold = [(part.fold, part.seed, _scores(part, classes)) for part in predictions]
    fold_means = [_mean([_headline(scores) for _, s, scores in per_fold if s == seed]) for seed in seeds]
    return {
        "classes": list(classes),
        "seeds": seeds,
        "folds": folds,
        "macro_f1_over": "the classes in the test truth" if single else "all classes",
        "pooled": {
            "per_seed": [{"seed": seed, **_headline(pooled[seed])} for seed in seeds],
            **_over_seeds([_headline(pooled[seed]) for seed in seeds]),
        },
        "mean_of_folds": {
            "per_fold": [
                {"fold": fold, "seed": seed, **_headline(scores)} for fold, seed, scores in per_fold
            ],
            **_over_seeds(fold_means),
            "std_over_folds": _std_over_folds(per_fold),
        },
        "per_class": _per_class(list(pooled.values()), classes),
        "confusion": np.sum([scores.confusion for scores in pooled.values()], axis=0).tolist(),
        "interval": _intervals(predictions, seeds, classes, single=single),
    }


def check_metrics(found: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Make sure that metrics read from a file have what their readers ask for.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: something is missing, or is not what it should be.
    """
    for kind in ("pooled", "mean_of_folds"):
        for name in HEADLINE:
            _check_number(found[kind]["mean"][name])
            _check_number(found[kind]["std"][name], or_none=True)
    for row in found["mean_of_folds"]["per_fold"]:
        _check_text(row["fold"])
        for name in HEADLINE:
            _check_number(row[name])
    for fold in found["folds"]:
        _check_text(fold)
    _check_classes(found, classes)
    _check_interval(found["interval"])


def _check_classes(found: Mapping[str, Any], classes: Sequence[str]) -> None:
    for name, row, counts in zip(classes, found["per_class"], found["confusion"], strict=True):
        if row["class"] != name or len(counts) != len(classes):
            raise ValueError(name)
        for number in (*(row[kind] for kind in ("precision", "recall", "f1", "support")), *counts):
            _check_number(number)


def _check_interval(found: Mapping[str, Any]) -> None:
    _check_number(found["speakers"])
    if "reason" in found:
        _check_text(found["reason"])
        return
    _check_number(found["level"])
    for name in HEADLINE:
        low, high = found[name]
        _check_number(low)
        _check_number(high)


def _check_number(value: object, *, or_none: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        if value is None and or_none:
            return
        raise TypeError("not a number")


def _check_text(value: object) -> None:
    if not isinstance(value, str):
        raise TypeError("not a text")


def _scores(part: FoldPredictions, classes: Sequence[str]) -> Scores:
    return score(part.truth, part.predicted, classes, present_only=True)


def _pooled(
    predictions: Sequence[FoldPredictions], seed: int, classes: Sequence[str], *, present_only: bool
) -> Scores:
    parts = [part for part in predictions if part.seed == seed]
    truth = np.concatenate([part.truth for part in parts])
    predicted = np.concatenate([part.predicted for part in parts])
    return score(truth, predicted, classes, present_only=present_only)


def _headline(scores: Scores) -> dict[str, float]:
    return {name: float(getattr(scores, name)) for name in HEADLINE}


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in HEADLINE}


def _over_seeds(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation of each score over seeds; the latter null for a single seed."""
    spreads = {name: spread([row[name] for row in rows]) for name in HEADLINE}
    return {
        "mean": {name: value.mean for name, value in spreads.items()},
        "std": {name: value.std for name, value in spreads.items()},
    }


def _std_over_folds(per_fold: Sequence[tuple[str, int, Scores]]) -> dict[str, float | None]:
    """Of each score, how far folds lie apart; each fold is the mean of its seeds."""
    by_fold: dict[str, list[dict[str, float]]] = {}
    for fold, _, scores in per_fold:
        by_fold.setdefault(fold, []).append(_headline(scores))
    means = [_mean(rows) for rows in by_fold.values()]
    return {name: spread([row[name] for row in means]).std for name in HEADLINE}


def _per_class(pooled: Sequence[Scores], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Means over seeds, with their standard deviations; the support is the same for every seed."""
    rows = []
    for number, name in enumerate(classes):
        spreads = {
            kind: spread([float(getattr(scores, kind)[number]) for scores in pooled])
            for kind in ("precision", "recall", "f1")
        }
        rows.append(
            {
                "class": name,
                **{kind: value.mean for kind, value in spreads.items()},
                "support": int(pooled[0].support[number]),
                "std": {kind: value.std for kind, value in spreads.items()},
            }
        )
    return rows


def _intervals(
    predictions: Sequence[FoldPredictions], seeds: Sequence[int], names: Sequence[str], *, single: bool
) -> dict[str, Any]:
    """Confidence intervals clustered by speaker, or the reason for none."""
    classes = len(names)
    speakers = sorted({speaker for part in predictions for speaker in part.speakers})
    if reason := no_interval_reason(len(speakers)):
        return {"reason": reason, "speakers": len(speakers)}
    confusions = _confusions_by_speaker(predictions, seeds, speakers, classes)
    averaged = np.ones(classes, dtype=np.bool_)
    if single:
        averaged = confusions[0].sum(axis=(0, 2)) > 0
    statistics: dict[str, Statistic] = {
        "ua": metrics.unweighted_average_recall,
        "wa": metrics.accuracy,
        "macro_f1": lambda counts: metrics.macro_f1(counts, averaged),
        "weighted_f1": metrics.weighted_f1,
    }
    found = {name: speaker_interval(confusions, statistic) for name, statistic in statistics.items()}
    return {
        "method": "jackknife over test speakers, Student's t, Wilson's ends",
        "level": 0.95,
        "speakers": len(speakers),
        "caution": _caution(confusions[0], names),
        **{name: [value.low, value.high] for name, value in found.items() if value is not None},
    }


def _caution(confusions: NDArray[np.int64], names: Sequence[str]) -> str:
    """Which classes a single test speaker expresses: what other speakers would give cannot be known."""
    expressing = (confusions.sum(axis=-1) > 0).sum(axis=0)
    alone = [name for name, speakers in zip(names, expressing, strict=True) if speakers == 1]
    if not alone:
        return ""
    return (
        f"only one test speaker expresses {', '.join(alone)}: the interval cannot know how others fare there"
    )


def _confusions_by_speaker(
    predictions: Sequence[FoldPredictions], seeds: Sequence[int], speakers: Sequence[str], classes: int
) -> NDArray[np.int64]:
    """Counts per seed and speaker, (seeds, speakers, k, k)."""
    counts = np.zeros((len(seeds), len(speakers), classes, classes), dtype=np.int64)
    row = {speaker: number for number, speaker in enumerate(speakers)}
    for part in predictions:
        who = np.array([row[speaker] for speaker in part.speakers])
        np.add.at(counts[list(seeds).index(part.seed)], (who, part.truth, part.predicted), 1)
    return counts
