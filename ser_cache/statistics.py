"""How sure a score is: its spread over seeds, and its confidence interval over speakers.

Utterances of one speaker are right or wrong together, so an interval that treats them as independent is far
too narrow. Here the speakers are the sample: each is left out in turn (the jackknife), and the spread of the
score without them, with Student's t for that few speakers, gives the interval.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_SPEAKERS = 3
"""With fewer test speakers an interval has at most one degree of freedom, and says nothing."""

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Turns confusion counts (..., k, k) into scores (...); see :mod:`ser_cache.metrics`."""


@dataclass(frozen=True)
class Spread:
    """A score over repetitions.

    Attributes:
        mean: over the repetitions.
        std: standard deviation with n - 1; None for a single repetition, of which nothing is known.
        count: n.
    """

    mean: float
    std: float | None
    count: int


@dataclass(frozen=True)
class Interval:
    """A confidence interval over speakers.

    Attributes:
        low: lower end, cut off at 0.
        high: upper end, cut off at 1.
        level: the share of such intervals that hold the true value, 0.95 for 95%.
        speakers: how many test speakers it rests on.
    """

    low: float
    high: float
    level: float
    speakers: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation (n - 1) over seeds or folds.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("the spread of no values is undefined")
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), std, len(values))


def no_interval_reason(speakers: int) -> str:
    """Why so few test speakers allow no interval; empty where they allow one."""
    if speakers >= MINIMUM_SPEAKERS:
        return ""
    return (
        f"no confidence interval: only {speakers} test speaker{'s' if speakers != 1 else ''}, "
        f"at least {MINIMUM_SPEAKERS} are needed"
    )


def speaker_interval(
    confusions: NDArray[np.int64], statistic: Statistic, level: float = 0.95
) -> Interval | None:
    """The interval of a score that a new draw of speakers would give, at the seeds that were run.

    A delete-one-speaker jackknife with Student's t (speakers - 1 degrees of freedom). With several seeds the
    score is its mean over them; the spread over seeds is reported beside it, not inside it.

    Args:
        confusions: counts per seed and test speaker, (seeds, speakers, k, k).
        statistic: the score, for instance :func:`ser_cache.metrics.unweighted_average_recall`.
        level: confidence level.

    Returns:
        The interval, or None under three test speakers (:func:`no_interval_reason` says so).
    """
    speakers = confusions.shape[1]
    if speakers < MINIMUM_SPEAKERS:
        return None
    whole = confusions.sum(axis=1)
    estimate = float(np.mean(statistic(whole)))
    left_out = np.mean(statistic(whole[:, None] - confusions), axis=0)
    variance = (speakers - 1) / speakers * float(np.sum((left_out - left_out.mean()) ** 2))
    from scipy.special import stdtrit  # half a second, which only a finished run should pay

    half = float(stdtrit(speakers - 1, 0.5 + level / 2)) * math.sqrt(variance)
    return Interval(max(0.0, estimate - half), min(1.0, estimate + half), level, speakers)
