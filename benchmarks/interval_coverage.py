"""How often a 95% confidence interval holds the truth, on simulated predictions with speaker effects.

Trained models are held fixed and speakers are drawn anew, trial after trial. The truth is the score of these
models, averaged over their seeds, on infinitely many speakers of the same kind: what a reader who will never
meet the speakers tested here takes the number for. Nothing is trained and no data are needed.

    python benchmarks/interval_coverage.py                                     # of one run
    python benchmarks/interval_coverage.py --methods all --speakers 3,6,12,24  # beside the alternatives
    python benchmarks/interval_coverage.py --folds                             # a model per speaker left out
    python benchmarks/interval_coverage.py --pairs                             # differences of two runs
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import machine
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from ser_cache import metrics, statistics
from ser_cache.files import write_text
from ser_cache.paired import ComparisonOptions, paired_bootstrap
from ser_cache.statistics import Statistic, speaker_interval

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

SPEAKERS = (3, 4, 5, 6, 8, 10, 12, 16, 24, 48, 91)
LEVEL = 0.95
DRAWS = 400
POPULATION = 100_000
SCORES: dict[str, Statistic] = {
    "UA": metrics.unweighted_average_recall,
    "WA": metrics.accuracy,
    "macro F1": lambda counts: metrics.macro_f1(counts, np.ones(counts.shape[-1], dtype=np.bool_)),
    "weighted F1": metrics.weighted_f1,
}


@dataclass(frozen=True)
class World:
    """A kind of corpus and of models, from which trials are drawn.

    Logits of what is predicted for an utterance: ``skill`` for the right class, plus, all normal, a speaker's
    ease (``ease``, for the right class), a speaker's confusions (``confusions``, per truth and prediction), a
    model's own confusions (``models``; held fixed) and a speaker's with this model (half of ``models``).

    Attributes:
        classes: k.
        skill: how much likelier the right class is, in logits.
        utterances: per speaker, the median.
        unequal: standard deviation of the logarithm of the number of utterances per speaker.
        imbalance: the most frequent class is so many times the rarest.
        absent: chance that a speaker has no utterance of the last class.
        ease: spread of speakers in being recognised at all.
        confusions: spread of speakers in what is taken for what.
        models: spread of seeds in what is taken for what.
        seeds: models that share the speakers.
        shared: share of utterances that all seeds answer alike.
    """

    classes: int
    skill: float
    utterances: int
    unequal: float = 0.0
    imbalance: float = 1.0
    absent: float = 0.0
    ease: float = 0.7
    confusions: float = 0.5
    models: float = 0.3
    seeds: int = 3
    shared: float = 0.5


WORLDS = {
    "acted": World(classes=7, skill=2.2, utterances=84),
    "crowd": World(classes=6, skill=2.2, utterances=80, unequal=0.3, imbalance=1.3, seeds=5),
    "talk": World(classes=4, skill=1.2, utterances=60, unequal=0.7, imbalance=4, seeds=1),
    "near 1": World(classes=4, skill=5.0, utterances=40, unequal=0.3),
    "perfect": World(classes=4, skill=7.5, utterances=40, unequal=0.3),
    "rare": World(classes=5, skill=2.0, utterances=50, unequal=0.5, imbalance=4, absent=0.6),
    "lopsided": World(classes=6, skill=2.0, utterances=60, unequal=1.0, imbalance=2),
}
"""Acted corpora with a script (EMOVO), many speakers with unequal shares (CREMA-D), spontaneous speech with
few emotions and very unequal speakers, scores near their ceiling, all but at it, an emotion that most
speakers never express, so that a single one may be all there is of it, and speakers of whom one in six has
more than 2.7 times the median number of utterances and one in six less than the 2.7th part."""

USUAL = tuple(name for name in WORLDS if name not in {"perfect", "lopsided"})
"""Without those in which all speakers together make a handful of errors, or a few say nearly everything: no
method's theory holds there."""


def draw(
    world: World, models: Values, speakers: int, rng: np.random.Generator
) -> tuple[Values, Values, Values]:
    """Speakers of a world.

    Returns:
        Expected utterances per class (speakers, k); probabilities of what all seeds predict where they agree,
        (speakers, k, k), and of what each predicts alone, (seeds, speakers, k, k).
    """
    k = world.classes
    share = np.geomspace(world.imbalance, 1, k)
    size = world.utterances * np.exp(world.unequal * rng.standard_normal((speakers, 1)))
    expected = size * share / share.sum()
    expected[:, -1] *= rng.random(speakers) >= world.absent
    logits = world.skill * np.eye(k) + world.confusions * rng.standard_normal((speakers, k, k))
    logits += world.ease * rng.standard_normal((speakers, 1, 1)) * np.eye(k)
    own = logits + models[:, None]
    own += world.models / 2 * rng.standard_normal(own.shape)
    return expected, softmax(logits + models.mean(axis=0)), softmax(own)


def softmax(logits: Values) -> Values:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def trial(world: World, models: Values, speakers: int, rng: np.random.Generator) -> Counts:
    """Confusion counts of one draw of speakers, (seeds, speakers, k, k), with at least one utterance each."""
    expected, together, alone = draw(world, models, speakers, rng)
    count = np.round(expected).astype(np.int64)
    count[:, 0] = np.maximum(count[:, 0], 1)
    agreed = rng.binomial(count, world.shared)
    same = rng.multinomial(agreed, together)
    return np.asarray(same + rng.multinomial(np.broadcast_to(count - agreed, alone.shape[:-1]), alone))


def truth(world: World, models: Values, rng: np.random.Generator) -> dict[str, Values]:
    """Every score on very many speakers, (seeds,)."""
    total = np.zeros((len(models), world.classes, world.classes))
    for _ in range(POPULATION // 2000):
        expected, together, alone = draw(world, models, 2000, rng)
        count = np.round(expected)
        count[:, 0] = np.maximum(count[:, 0], 1)
        mixed = world.shared * together + (1 - world.shared) * alone
        total += np.einsum("sc,mscp->mcp", count, mixed)
    return {name: statistic(total) for name, statistic in SCORES.items()}


# Intervals. Each takes counts (seeds, speakers, k, k), a statistic and a generator, and returns both ends.

Method = Callable[[Counts, Statistic, np.random.Generator], tuple[float, float]]


def ours(counts: Counts, statistic: Statistic, _: np.random.Generator) -> tuple[float, float]:
    """What ``ser probe`` reports."""
    found = speaker_interval(counts, statistic, LEVEL)
    assert found is not None
    return found.low, found.high


def utterances(counts: Counts, statistic: Statistic, _: np.random.Generator) -> tuple[float, float]:
    """As if utterances were independent: the jackknife over them, with the normal distribution.

    Seeds are taken as answering alike, which is generous: independent seeds would make it narrower still.
    """
    whole = counts.sum(axis=1)
    k, total = whole.shape[-1], int(whole[0].sum())
    one = np.eye(k * k, dtype=np.int64).reshape(k * k, k, k)
    weight = whole.reshape(len(whole), -1)
    without = np.where(weight > 0, statistic(np.maximum(whole[:, None] - one, 0)), 0.0)
    centre = (without * weight).sum(axis=1, keepdims=True) / total
    variance = (total - 1) / total * np.mean(np.sum(weight * (without - centre) ** 2, axis=1))
    return around(float(np.mean(statistic(whole))), float(np.sqrt(variance)) * ndtri(0.5 + LEVEL / 2))


def around(centre: float, half: float) -> tuple[float, float]:
    """An interval cut at 0 and 1."""
    return max(0.0, centre - half), min(1.0, centre + half)


def left_out(counts: Counts, statistic: Statistic) -> tuple[float, Values]:
    """The score, and the scores without each speaker, (speakers,); means over seeds."""
    whole = counts.sum(axis=1)
    return float(np.mean(statistic(whole))), np.mean(statistic(whole[:, None] - counts), axis=0)


def jackknife_error(without: Values) -> float:
    """Standard error from the scores without each speaker."""
    n = len(without)
    return float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))


def plain_t(counts: Counts, statistic: Statistic, _: np.random.Generator) -> tuple[float, float]:
    """Jackknife over speakers, t with speakers - 1."""
    centre, without = left_out(counts, statistic)
    return around(centre, jackknife_error(without) * stdtrit(len(without) - 1, 0.5 + LEVEL / 2))


def wilson_t(counts: Counts, statistic: Statistic, _: np.random.Generator) -> tuple[float, float]:
    """Wilson's interval from the plain jackknife, t with speakers - 1: ours, were all shares equal."""
    centre, without = left_out(counts, statistic)
    quantile = float(stdtrit(len(without) - 1, 0.5 + LEVEL / 2))
    return statistics._wilson(centre, jackknife_error(without) ** 2, quantile, int(counts[0].sum()))


def logit_t(counts: Counts, statistic: Statistic, _: np.random.Generator) -> tuple[float, float]:
    """Jackknife over speakers on the logit scale, t with speakers - 1; never leaves 0..1."""
    centre, without = left_out(counts, statistic)
    edge = 0.5 / counts[0].sum()
    low, high = (
        np.log(v / (1 - v)) for v in (np.clip(centre, edge, 1 - edge), np.clip(without, edge, 1 - edge))
    )
    half = jackknife_error(np.asarray(high)) * stdtrit(len(without) - 1, 0.5 + LEVEL / 2)
    return tuple(float(1 / (1 + np.exp(-v))) for v in (low - half, low + half))  # type: ignore[return-value]


def resampled(counts: Counts, statistic: Statistic, rng: np.random.Generator) -> Values:
    """Scores of bootstrap draws of speakers, sorted, (draws,)."""
    n = counts.shape[1]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    totals = np.tensordot(weights, counts.astype(np.float64), axes=(1, 1))
    return np.sort(np.mean(statistic(totals), axis=1))


def percentile(counts: Counts, statistic: Statistic, rng: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap over speakers."""
    low, high = np.quantile(resampled(counts, statistic, rng), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def bca(counts: Counts, statistic: Statistic, rng: np.random.Generator) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap over speakers (Efron 1987)."""
    centre, without = left_out(counts, statistic)
    scores = resampled(counts, statistic, rng)
    below = np.clip(np.mean(scores < centre), 1 / DRAWS, 1 - 1 / DRAWS)
    bias = ndtri(below)
    away = without.mean() - without
    spread = np.sum(away**2) ** 1.5
    speed = np.sum(away**3) / (6 * spread) if spread > 0 else 0.0
    ends = bias + ndtri(np.array([0.5 - LEVEL / 2, 0.5 + LEVEL / 2]))
    low, high = np.quantile(scores, ndtr(bias + ends / (1 - speed * ends)))
    return float(low), float(high)


METHODS: dict[str, Method] = {
    "ser_cache": ours,
    "utterances": utterances,
    "jackknife t": plain_t,
    "jackknife t logit": logit_t,
    "jackknife t Wilson": wilson_t,
    "bootstrap percentile": percentile,
    "bootstrap BCa": bca,
}


# Trials


@dataclass
class Tally:
    """How often the intervals of one method held the truth, and how wide they were, per score."""

    trials: int
    held: dict[str, int]
    width: dict[str, float]

    def share(self, score: str) -> float:
        """Percent of the trials."""
        return 100 * self.held[score] / self.trials

    def mean_width(self, score: str) -> float:
        """In percentage points."""
        return 100 * self.width[score] / self.trials


@cache
def models_and_truth(world: str) -> tuple[Values, dict[str, float]]:
    """What the seeds of a world confuse, (seeds, k, k), and their true scores."""
    settings = WORLDS[world]
    rng = np.random.default_rng([0, list(WORLDS).index(world)])
    models = settings.models * rng.standard_normal((settings.seeds, settings.classes, settings.classes))
    return models, {name: float(scores.mean()) for name, scores in truth(settings, models, rng).items()}


def simulate(world: str, speakers: int, methods: Sequence[str], trials: int) -> dict[str, Tally]:
    """Draw speakers again and again for the same models; returns a tally per method."""
    number = list(WORLDS).index(world)
    settings = WORLDS[world]
    models, true = models_and_truth(world)
    rng = np.random.default_rng([1, number, speakers])
    draws = (trial(settings, models, speakers, rng) for _ in range(trials))
    return tally(draws, true, methods, trials)


def tally(
    draws: Iterable[Counts], true: Mapping[str, float], methods: Sequence[str], trials: int
) -> dict[str, Tally]:
    """Every method on every draw."""
    found = {name: Tally(trials, dict.fromkeys(SCORES, 0), dict.fromkeys(SCORES, 0.0)) for name in methods}
    rng = np.random.default_rng(2)
    for counts in draws:
        for method, of_method in found.items():
            for name, statistic in SCORES.items():
                low, high = METHODS[method](counts, statistic, rng)
                of_method.held[name] += low <= true[name] <= high
                of_method.width[name] += high - low
    return found


# Models trained anew for every fold


def leave_one_out(speakers: int, rng: np.random.Generator) -> Counts:
    """Nearest class mean, each speaker tested by the model of all others, (1, speakers, k, k).

    Four classes in eight dimensions, ten utterances per speaker and class; speakers shift all their
    utterances, and each class again.
    """
    k, width, each = 4, 8, 10
    centres = np.eye(k, width) * 1.6
    shift = 0.5 * rng.standard_normal((speakers, 1, 1, width))
    own = 0.5 * rng.standard_normal((speakers, k, 1, width))
    points = centres[:, None] + shift + own + rng.standard_normal((speakers, k, each, width))
    sums = points.sum(axis=2)
    means = (sums.sum(axis=0) - sums) / (each * (speakers - 1))  # of the other speakers
    distance = np.sum((points[:, :, :, None] - means[:, None, None]) ** 2, axis=-1)
    predicted = distance.argmin(axis=-1)
    return np.stack([(predicted == name).sum(axis=2) for name in range(k)], axis=-1)[None]


def simulate_folds(speakers: int, methods: Sequence[str], trials: int) -> dict[str, Tally]:
    """The truth is the expected score of such a study: other speakers to train on, and others to test."""
    rng = np.random.default_rng([3, speakers])
    scores = np.array(
        [
            [float(of(leave_one_out(speakers, rng).sum(axis=1))[0]) for of in SCORES.values()]
            for _ in range(4000)
        ]
    )
    true = dict(zip(SCORES, scores.mean(axis=0).tolist(), strict=True))
    rng = np.random.default_rng([4, speakers])
    return tally((leave_one_out(speakers, rng) for _ in range(trials)), true, methods, trials)


# Two runs on the same speakers


PAIRED = ("ser_cache", "bootstrap percentile")


def simulate_pairs(world: str, speakers: int, trials: int) -> dict[str, Tally]:
    """Intervals of the difference of two models that differ in what they confuse and in whom they suit."""
    number = list(WORLDS).index(world)
    settings = replace(WORLDS[world], seeds=2, models=0.6, shared=0.3)
    rng = np.random.default_rng([5, number])
    models = settings.models * rng.standard_normal((2, settings.classes, settings.classes))
    true = {name: float(scores[1] - scores[0]) for name, scores in truth(settings, models, rng).items()}
    rng = np.random.default_rng([6, number, speakers])
    found = {name: Tally(trials, dict.fromkeys(SCORES, 0), dict.fromkeys(SCORES, 0.0)) for name in PAIRED}
    for place in range(trials):
        counts = trial(settings, models, speakers, rng)
        sides = counts[:1], counts[1:]
        options = ComparisonOptions(draws=DRAWS, level=LEVEL, seed=place)
        differences = paired_bootstrap(*sides, options)
        # No interval leaves every difference possible.
        ends = {"ser_cache": [(-1.0, 1.0) if r.low is None else (r.low, r.high) for r in differences]}
        drawn = np.random.default_rng(place).multinomial(speakers, np.full(speakers, 1 / speakers), DRAWS)
        totals = [np.tensordot(drawn, side[0], axes=(1, 0)) for side in sides]
        ends["bootstrap percentile"] = [
            tuple(np.quantile(of(totals[1]) - of(totals[0]), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]))
            for of in SCORES.values()
        ]
        for method, intervals in ends.items():
            for (name, value), (low, high) in zip(true.items(), intervals, strict=True):
                found[method].held[name] += int(low <= value <= high)
                found[method].width[name] += high - low
    return found


# Tables

Results = dict[str, dict[int, dict[str, Tally]]]
"""World, speakers, method."""


def coverage_table(results: Results, method: str) -> str:
    """Rows are numbers of speakers; the lowest and the highest coverage of any world, in percent."""
    rows = []
    for speakers in next(iter(results.values())):
        tallies = [by_speakers[speakers] for by_speakers in results.values()]
        cells = [between([found[method].share(score) for found in tallies]) for score in SCORES]
        rows.append([str(speakers), *cells])
    return markdown(["speakers", *SCORES], rows)


def world_table(results: Results, method: str, score: str) -> str:
    """Rows are numbers of speakers, columns worlds: coverage and, in brackets, mean width in points."""
    rows = [
        [str(speakers), *(cell(by_speakers[speakers][method], score) for by_speakers in results.values())]
        for speakers in next(iter(results.values()))
    ]
    return markdown(["speakers", *results], rows)


def method_table(results: Results, score: str) -> str:
    """Rows are methods, columns numbers of speakers: lowest to highest coverage, mean width over worlds."""
    first = next(iter(results.values()))
    rows = []
    for method in next(iter(first.values())):
        cells = []
        for speakers in first:
            tallies = [by_speakers[speakers][method] for by_speakers in results.values()]
            width = float(np.mean([found.mean_width(score) for found in tallies]))
            cells.append(f"{between([found.share(score) for found in tallies])} ({width:.1f})")
        rows.append([method, *cells])
    return markdown(["interval", *map(str, first)], rows)


def cell(found: Tally, score: str) -> str:
    """Coverage and mean width."""
    return f"{found.share(score):.1f} ({found.mean_width(score):.1f})"


def between(values: Sequence[float]) -> str:
    """The range of several percentages."""
    low, high = min(values), max(values)
    return f"{low:.1f}" if len(values) == 1 else f"{low:.1f} to {high:.1f}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, names to the left and figures to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000, help="[default: 1000]")
    parser.add_argument("--speakers", default=",".join(map(str, SPEAKERS)), help="[default: %(default)s]")
    parser.add_argument("--methods", default="ser_cache,utterances", help="or all [default: %(default)s]")
    parser.add_argument("--worlds", default=",".join(USUAL), help="or perfect [default: %(default)s]")
    parser.add_argument("--folds", action="store_true", help="train a model per speaker left out")
    parser.add_argument("--pairs", action="store_true", help="intervals of the difference of two runs")
    parser.add_argument("--json", type=Path, help="write every figure to this file too")
    chosen = parser.parse_args(arguments)
    methods = list(METHODS) if chosen.methods == "all" else chosen.methods.split(",")
    if chosen.pairs:
        methods = list(PAIRED)
    worlds = ["leave one speaker out"] if chosen.folds else chosen.worlds.split(",")
    results: Results = {world: {} for world in worlds}
    for world in worlds:
        for speakers in map(int, chosen.speakers.split(",")):
            started = perf_counter()
            if chosen.folds:
                results[world][speakers] = simulate_folds(speakers, methods, chosen.trials)
            elif chosen.pairs:
                results[world][speakers] = simulate_pairs(world, speakers, chosen.trials)
            else:
                results[world][speakers] = simulate(world, speakers, methods, chosen.trials)
            print(f"{world}, {speakers} speakers: {perf_counter() - started:.0f} s", file=sys.stderr)
    print(f"{machine('numpy', 'scipy')}; {chosen.trials:,} trials each\n")
    for method in methods:
        print(f"### Coverage of {method}, percent\n\n{coverage_table(results, method)}\n")
        if len(worlds) > 1:
            shown = world_table(results, method, "macro F1")
            print(f"### {method}: macro F1 by kind of corpus, coverage (mean width)\n\n{shown}\n")
    if len(methods) > 2:
        print(f"### UA: lowest to highest coverage (mean width)\n\n{method_table(results, 'UA')}")
    if chosen.json:
        write_text(chosen.json, json.dumps(results, indent=1, default=asdict) + "\n")


if __name__ == "__main__":
    main()
