"""How sure a score is: its spread over seeds, and its confidence interval over speakers.

Utterances of one speaker are right or wrong together, so an interval that treats them as independent is far
too narrow: on simulated predictions it holds the truth in half of all trials where it claims 95%. Here the
speakers are the sample. ``docs/statistics.md`` has the simulated coverage of these intervals, and of others.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_SPEAKERS = 3
"""With fewer test speakers an interval has at most one degree of freedom, and says nothing."""

_ROUNDING = 1e-24
"""A variance below this comes from adding equal numbers in different orders."""

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
        low: lower end, at least 0.
        high: upper end, at most 1.
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
    """The interval of the score that these models would have on infinitely many speakers of the kind tested.

    The standard error comes from leaving each speaker out (the jackknife), scaled as CR2 does where speakers
    have unequal shares of the utterances; Student's t has Bell and McCaffrey's degrees of freedom (Survey
    Methodology 28, 2002), which are speakers - 1 for equal shares and fewer for unequal ones; the ends are
    Wilson's for the effective number of utterances that gives this standard error, so that they stay within
    0 and 1 and mean something near them. With several seeds the score is its mean over them; the spread over
    seeds is reported beside the interval, not inside it.

    Args:
        confusions: counts per seed and test speaker, (seeds, speakers, k, k).
        statistic: the score, for instance :func:`ser_cache.metrics.unweighted_average_recall`.
        level: confidence level.

    Returns:
        The interval, or None under three test speakers (:func:`no_interval_reason` says so).
    """
    utterances = confusions[0].sum(axis=(-2, -1))
    present = utterances > 0
    confusions, utterances = confusions[:, present], utterances[present]
    speakers = len(utterances)
    if speakers < MINIMUM_SPEAKERS:
        return None
    whole = confusions.sum(axis=1)
    score = float(np.mean(statistic(whole)))
    without = np.mean(statistic(whole[:, None] - confusions), axis=0)
    share = utterances / utterances.sum()
    # Leaving out a speaker with a large share changes the score by more than that speaker's part in its
    # error; CR2 takes back the half of that which makes the variance right on average.
    influence = (without - without.mean()) * np.sqrt((1 - share) / (1 - 1 / speakers))
    variance = (speakers - 1) / speakers * float(np.sum(influence**2))
    degrees = _satterthwaite(share / np.sqrt(1 - share), share)
    quantile = t_quantile(degrees, 0.5 + level / 2)
    low, high = _wilson(score, variance, quantile, int(utterances.sum()))
    return Interval(low, high, level, speakers)


def _satterthwaite(weight: NDArray[np.float64], share: NDArray[np.float64]) -> float:
    """Degrees of freedom of a sum of squares over speakers, each residual multiplied by a weight.

    Bell and McCaffrey's rule where all that speakers differ by is their own level (Imbens and Kolesar, Review
    of Economics and Statistics 98, 2016): such a sum has the moments of a chi-squared with so many.
    """
    deviation = np.eye(len(share)) - share  # of each speaker from the mean over utterances
    part = weight[:, None] * deviation
    form = part @ part.T
    return float(np.trace(form) ** 2 / np.sum(form * form))


def _wilson(score: float, variance: float, quantile: float, utterances: int) -> tuple[float, float]:
    """Wilson's interval of a proportion, at the number of utterances that would give this variance.

    Where no speaker makes a difference (all are right, or wrong, throughout) the variance says nothing, and
    the number is that of the utterances.
    """
    binomial = max(0.0, score * (1 - score))
    number = binomial / variance if variance > _ROUNDING and binomial > 0 else float(utterances)
    widening = quantile**2 / number
    centre = (score + widening / 2) / (1 + widening)
    half = math.sqrt(widening * binomial + widening**2 / 4) / (1 + widening)
    # Rounding must not push an end past the score, nor past 0 and 1.
    return max(0.0, min(score, centre - half)), min(1.0, max(score, centre + half))


def bootstrap_correction(share: NDArray[np.float64]) -> tuple[float, float]:
    """What a bootstrap over units needs that have these shares of the utterances, (units,).

    Drawing units with replacement gives a variance that is too small, by (n - 1) / n for equal shares.

    Returns:
        By how much to multiply the variance, and its degrees of freedom (Bell and McCaffrey's, as for
        :func:`speaker_interval`).
    """
    if np.ptp(share) == 0:  # also spares utterances, thousands of them, the matrix below
        return len(share) / (len(share) - 1), len(share) - 1.0
    expected = share**2 @ (1 - 2 * share + share @ share)
    return float(share @ share / expected), _satterthwaite(share, share)


def t_quantile(degrees: float, probability: float) -> float:
    """Of Student's t; the degrees of freedom need not be whole."""
    from scipy.special import stdtrit  # half a second, which only a finished run should pay

    return float(stdtrit(degrees, probability))


def t_two_sided(value: float, degrees: float) -> float:
    """The two-sided p value of a t statistic."""
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(value)))
