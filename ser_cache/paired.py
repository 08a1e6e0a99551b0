"""Two sets of predictions for the same utterances: how sure their difference is.

Pure functions of counts; :mod:`ser_cache.comparison` takes the counts from two runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_cache import metrics
from ser_cache.statistics import Statistic, bootstrap_correction, t_quantile, t_two_sided

_ROUNDING = 1e-12
"""A standard error below this comes from dividing equal counts, or multiples of them, by their sums."""

_NUMBERS_AT_ONCE = 2_000_000  # of a bootstrap's weights, or of its totals: 16 MB


@dataclass(frozen=True)
class ComparisonOptions:
    """How runs are compared.

    Attributes:
        draws: bootstrap samples.
        level: of the intervals, 0.95 for 95%.
        seed: of the bootstrap; the same seed gives the same figures.
    """

    draws: int = 10_000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Difference:
    """One score of both runs, fractions from 0 to 1.

    Attributes:
        score: "ua", "wa", "macro_f1" or "weighted_f1".
        first: of the first run, mean over its seeds.
        second: of the second run, likewise.
        difference: second less first.
        low: lower end of the confidence interval of the difference, at least -1; None for no interval.
        high: upper end, at most 1; None for no interval.
        p: two-sided p value of no difference; below 1 - level exactly where an interval leaves out 0. Without
            an interval it is that of the sign test over the units.
        no_interval: why there is none; empty where there is one.
    """

    score: str
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float
    no_interval: str = ""


@dataclass(frozen=True)
class McNemar:
    """Utterances that one run alone gets right (McNemar, Psychometrika 12, 1947).

    Attributes:
        only_first: right in the first run alone.
        only_second: right in the second run alone.
        both: right in both.
        neither: wrong in both.
        p: exact two-sided binomial p value of ``only_first`` against ``only_second``.
    """

    only_first: int
    only_second: int
    both: int
    neither: int
    p: float


def paired_bootstrap(
    first: NDArray[np.int64], second: NDArray[np.int64], options: ComparisonOptions, drawn: str = "units"
) -> tuple[Difference, ...]:
    """The four scores of both runs, and how sure their differences are.

    A draw takes as many units (speakers, or utterances) as there are, with replacement, the same for both
    runs. Percentiles of the draws are too narrow for few speakers. So the draws give the standard error,
    which is corrected for its bias, and Student's t gives the interval and the p value, as for a single run.
    Where all units differ alike no draw differs from another, and the error is not nothing but unknown: there
    is no interval then, and the sign test gives the p value, which takes nothing but the number of units.

    Args:
        first: counts per seed and unit of the first run, (seeds, units, k, k).
        second: of the second run, on the same units; its number of seeds may differ.
        options: draws, level and seed.
        drawn: what the units are, in the plural, for the reason where there is no interval.
    """
    share = first[0].sum(axis=(-2, -1)) / first[0].sum()
    bias, degrees = bootstrap_correction(share)
    averaged = first[0].sum(axis=(0, 2)) > 0
    statistics = _statistics(averaged)
    samples = _drawn_differences(first, second, statistics, options)
    quantile = t_quantile(degrees, 0.5 + options.level / 2)
    found = []
    for name, statistic in statistics.items():
        before, after = (float(np.mean(statistic(counts.sum(axis=1)))) for counts in (first, second))
        difference = after - before
        error = math.sqrt(bias) * float(np.std(samples[name]))
        scores = (name, before, after, difference)
        if error <= _ROUNDING:
            found.append(_without_spread(*scores, f"{len(share)} {drawn}", 2.0 ** (1 - len(share))))
            continue
        low, high = difference - quantile * error, difference + quantile * error
        p = t_two_sided(difference / error, degrees)
        found.append(Difference(*scores, max(-1.0, low), min(1.0, high), p))
    return tuple(found)


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """The exact test, for any number of utterances: few discordant pairs need no approximation.

    It takes utterances as independent, which those of one speaker are not: its p value is too small where
    speakers differ in which run suits them.

    Args:
        first_right: which utterances the first run gets right, (n,).
        second_right: which the second does, (n,).
    """
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    from scipy.special import bdtr  # half a second, which only a comparison should pay

    discordant = only_first + only_second
    p = min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5))) if discordant else 1.0
    both = int(np.sum(first_right & second_right))
    return McNemar(only_first, only_second, both, len(first_right) - discordant - both, p)


def _without_spread(
    name: str, before: float, after: float, difference: float, units: str, sign_test: float
) -> Difference:
    """A difference that no draw varies: its error is not nothing, but cannot be had from these units."""
    if abs(difference) <= _ROUNDING:
        alike, sign_test = f"none of the {units} differs", 1.0
    else:
        alike = f"all {units} differ alike"
    reason = f"{alike}, which does not say how far others would"
    return Difference(name, before, after, difference, None, None, sign_test, reason)


def _statistics(averaged: NDArray[np.bool_]) -> dict[str, Statistic]:
    """The four scores; macro F1 over the classes in the truth of all compared utterances."""
    return {
        "ua": metrics.unweighted_average_recall,
        "wa": metrics.accuracy,
        "macro_f1": lambda counts: metrics.macro_f1(counts, averaged),
        "weighted_f1": metrics.weighted_f1,
    }


def _drawn_differences(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    statistics: Mapping[str, Statistic],
    options: ComparisonOptions,
) -> dict[str, NDArray[np.float64]]:
    """Second less first of each score in each bootstrap draw, (draws,)."""
    rng = np.random.default_rng(options.seed)
    units = first.shape[1]
    at_once = max(1, _NUMBERS_AT_ONCE // max(units, first[:, 0].size, second[:, 0].size))
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for begin in range(0, options.draws, at_once):
        size = min(at_once, options.draws - begin)
        weights = rng.multinomial(units, np.full(units, 1 / units), size=size)
        totals = [_weighted(weights, side) for side in (first, second)]
        for name, statistic in statistics.items():
            ours, theirs = (np.mean(statistic(total), axis=1) for total in totals)
            drawn[name].append(theirs - ours)
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def _weighted(weights: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts of each draw, (draws, seeds, k, k); in floating point, which multiplies faster and is exact."""
    flat = np.moveaxis(counts, 1, 0).reshape(counts.shape[1], -1).astype(np.float64)
    totals = (weights.astype(np.float64) @ flat).astype(np.int64)
    return np.asarray(totals.reshape(len(weights), len(counts), *counts.shape[2:]))
