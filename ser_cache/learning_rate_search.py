"""The learning-rate beam search of Wang et al. 2023, Algorithm 1, with its slips mended.

It starts around one rate and walks towards better ones, in rounds of longer and longer trainings. What trains
is the caller's affair: heads on cached features, or a whole backbone.

The printed algorithm has slips. Line 15 assigns L_max where the best rate is meant, L is undefined in lines 2
and 3, and the lower rate can fall to zero or below. Here the best rate is assigned, no rate falls below a
tenth of the best, no rate is trained twice for the same number of epochs, and the step is halved after every
round that takes one. Halving is ours, and the paper's own table asks for it: with the constant step that is
printed no sequence of scores leads to its 1.25e-4 (XLS-R), as a test shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ser_cache.errors import TrainingError

__all__ = ["RateRound", "RateSearchOptions", "RateSearchResult", "search_learning_rate"]

Evaluate = Callable[[Sequence[float], int], Sequence[float]]
"""Trains each rate from scratch for so many epochs; gives a score each: higher is better, nan is diverged."""

UNLIKE = (
    "note: scores of different rounds come from trainings of different length and are not like for like: "
    "a higher score may be the longer training's, not the rate's."
)
_SMALLEST_SHARE = 10
"""No rate falls below the best one divided by this."""


@dataclass(frozen=True)
class RateSearchOptions:
    """How to search.

    Attributes:
        start: the rate in the middle of the first round; a tenth and ten times of it are tried beside it.
        epochs: of the first round, and how many more each later round trains.
        factor: F; the first step to either side of the best rate is F x start.
        as_printed: keep F constant instead of halving it in each round.
        max_rounds: where the search ends at the latest. Six rounds of five epochs are the longest training of
            the paper's table.
    """

    start: float = 1e-4
    epochs: int = 5
    factor: float = 0.5
    as_printed: bool = False
    max_rounds: int = 6


@dataclass(frozen=True)
class RateRound:
    """What one round tried.

    Attributes:
        rates: ascending, without repetition.
        epochs: how long each was trained, from scratch.
        scores: of each rate; nan where training diverged.
    """

    rates: tuple[float, ...]
    epochs: int
    scores: tuple[float, ...]

    @property
    def line(self) -> str:
        """The round in one line, in the order of its rates."""
        tried = (
            f"{rate:g} diverged" if math.isnan(score) else f"{rate:g} scored {score:.4f}"
            for rate, score in zip(self.rates, self.scores, strict=True)
        )
        return f"{self.epochs} epochs: {', '.join(tried)}"


@dataclass(frozen=True)
class RateSearchResult:
    """Where a search ended.

    Attributes:
        rate: the rate with the best score of all rounds.
        epochs: after how many epochs it had that score.
        score: that score.
        rounds: every round, the last one included, which need not have brought an improvement.
        notes: the search as lines for the log, with what must be known before its scores are compared.
    """

    rate: float
    epochs: int
    score: float
    rounds: tuple[RateRound, ...]
    notes: tuple[str, ...]


def search_learning_rate(
    evaluate: Evaluate,
    options: RateSearchOptions | None = None,
    on_round: Callable[[str], None] | None = None,
) -> RateSearchResult:
    """Find a learning rate by trying neighbours of the best one for longer, while the best score improves.

    Args:
        evaluate: called once a round with all its rates, so that they can train in one pass.
        options: the defaults are those of the paper.
        on_round: called with each line of the log as soon as it is known.

    Raises:
        TrainingError: an impossible option, or every rate of the first round diverged.
    """
    options = options or RateSearchOptions()
    _check(options)
    notes: list[str] = []

    def say(line: str) -> None:
        notes.append(line)
        if on_round is not None:
            on_round(line)

    tried = _try_round(evaluate, _first_rates(options), options.epochs)
    say(f"round 1, {tried.line}")
    best, score = _best(tried, options.start)
    if math.isnan(score):
        raise TrainingError(
            f"training diverged at every learning rate of the first round ({tried.line}); "
            "check the features, or start the search from a lower rate."
        )
    epochs, rounds = tried.epochs, [tried]
    while len(rounds) < options.max_rounds:
        rates = _neighbours(best, _step(options, len(rounds)))
        tried = _try_round(evaluate, rates, options.epochs * (len(rounds) + 1))
        rounds.append(tried)
        say(f"round {len(rounds)}, {tried.line}")
        rate, reached = _best(tried, best)
        if not reached > score:  # also where all of the round diverged, and it is nan
            say(f"stopped: {score:.4f}, of {best:g} after {epochs} epochs, was not improved upon.")
            break
        best, epochs, score = rate, tried.epochs, reached
    else:
        say(f"stopped at round {len(rounds)}, the last allowed.")
    if len(rounds) > 1:
        say(UNLIKE)
    return RateSearchResult(best, epochs, score, tuple(rounds), tuple(notes))


def _check(options: RateSearchOptions) -> None:
    if not (math.isfinite(options.start) and options.start > 0):
        raise TrainingError(f"a search cannot start from the learning rate {options.start:g}; use 1e-4, say.")
    if not (math.isfinite(options.factor) and options.factor > 0):
        raise TrainingError(f"a search cannot step by {options.factor:g} times its start; use 0.5, say.")
    if options.epochs < 1 or options.max_rounds < 1:
        raise TrainingError(
            f"a search of {options.max_rounds} rounds of {options.epochs} epochs tries nothing; use 1 each."
        )


def _first_rates(options: RateSearchOptions) -> list[float]:
    return sorted({_clean(options.start / 10), _clean(options.start), _clean(options.start * 10)})


def _step(options: RateSearchOptions, done: int) -> float:
    """How far the neighbours lie from the best rate in the round after ``done`` rounds."""
    halvings = 0 if options.as_printed else done - 1
    return options.factor * options.start * 0.5**halvings


def _neighbours(best: float, step: float) -> list[float]:
    """The best rate and those a step below and above, none under a tenth of it, none twice."""
    lower = max(best - step, best / _SMALLEST_SHARE)
    return sorted({_clean(lower), best, _clean(best + step)})


def _clean(rate: float) -> float:
    """Twelve digits: sums of decimal fractions would otherwise give equal rates unequal names."""
    return float(f"{rate:.12g}")


def _try_round(evaluate: Evaluate, rates: Sequence[float], epochs: int) -> RateRound:
    scores = [float(score) for score in evaluate(tuple(rates), epochs)]
    if len(scores) != len(rates):
        raise ValueError(f"{len(scores)} scores for {len(rates)} learning rates")
    finite = (score if math.isfinite(score) else math.nan for score in scores)
    return RateRound(tuple(rates), epochs, tuple(finite))


def _best(tried: RateRound, incumbent: float) -> tuple[float, float]:
    """The rate with the highest score; of equals the incumbent, then the lowest; nan if all diverged."""

    def rank(pair: tuple[float, float]) -> tuple[float, bool, float]:
        rate, score = pair
        return (-math.inf if math.isnan(score) else score, rate == incumbent, -rate)

    return max(zip(tried.rates, tried.scores, strict=True), key=rank)
