"""Is one run better than another on the same test utterances: paired bootstrap over speakers, and McNemar.

Both look at the same clips, so that what makes a clip or a speaker hard cancels. Scores are means over a run's
seeds; the models are taken as they are, and what is drawn anew is who they are tested on. Nothing here trains,
and nothing imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache import metrics
from ser_cache.errors import ResultsError
from ser_cache.results import HEADLINE, Run, read_predictions
from ser_cache.statistics import MINIMUM_SPEAKERS, Statistic, bootstrap_correction, t_quantile, t_two_sided

_NUMBERS_AT_ONCE = 2_000_000  # of a bootstrap's weights: 16 MB


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
        low: lower end of the confidence interval of the difference.
        high: upper end.
        p: two-sided p value of no difference; below 1 - level where the interval leaves out 0.
    """

    score: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


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


@dataclass(frozen=True)
class Change:
    """A setting in which two runs differ, as JSON holds it; None where a run lacks it."""

    setting: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_runs` found.

    Attributes:
        first: name of the first run.
        second: name of the second run.
        corpus: which both tested.
        utterances: compared, those that both tested.
        left_out: utterances that only the first, and only the second, tested.
        speakers: of the compared utterances.
        drawn: what the bootstrap draws: "speakers", or "utterances" where there are too few speakers.
        seeds: of the first and of the second run.
        changes: what differs between their configurations.
        differences: of the four scores, in their usual order.
        mcnemar: of one prediction per utterance and run.
        notes: what must be known before believing the numbers, one line each.
        options: how they were compared.
    """

    first: str
    second: str
    corpus: str
    utterances: int
    left_out: tuple[int, int]
    speakers: int
    drawn: str
    seeds: tuple[int, int]
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    mcnemar: McNemar
    notes: tuple[str, ...]
    options: ComparisonOptions

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return asdict(self)


def compare_runs(first: Run, second: Run, options: ComparisonOptions | None = None) -> Comparison:
    """Compare two finished runs on the utterances that both tested.

    Runs with several seeds are compared by their mean scores over seeds; for McNemar, which wants one answer
    per utterance, by the class with the highest mean probability over seeds.

    Args:
        first: the run compared with.
        second: the run whose gain is asked for.
        options: draws, level and seed.

    Raises:
        ResultsError: it is one run twice; the corpora differ; a common utterance has two truths or two
            speakers; no utterance is common; a run is damaged or tests an utterance twice.
    """
    options = options or ComparisonOptions()
    _check_comparable(first, second)
    classes = sorted({*first.config.classes, *second.config.classes})
    ours, theirs = _answers(first, classes), _answers(second, classes)
    common = _common_ids(first, second, ours, theirs)
    left_out = (len(ours.truth) - len(common), len(theirs.truth) - len(common))
    truth = np.array([ours.truth[name] for name in common], dtype=np.int64)
    speakers = sorted({ours.speaker[name] for name in common})
    by_speaker = len(speakers) >= MINIMUM_SPEAKERS
    row = {speaker: number for number, speaker in enumerate(speakers)}
    units = np.array([row[ours.speaker[name]] for name in common]) if by_speaker else np.arange(len(common))
    counts = [_counts(answers.of(common), truth, units, len(classes)) for answers in (ours, theirs)]
    return Comparison(
        first=first.folder.name,
        second=second.folder.name,
        corpus=first.config.corpus,
        utterances=len(common),
        left_out=left_out,
        speakers=len(speakers),
        drawn="speakers" if by_speaker else "utterances",
        seeds=(len(ours.seeds), len(theirs.seeds)),
        changes=changes(first, second),
        differences=paired_bootstrap(counts[0], counts[1], options),
        mcnemar=mcnemar(ours.joint(common) == truth, theirs.joint(common) == truth),
        notes=_notes(left_out, len(speakers), (len(ours.seeds), len(theirs.seeds))),
        options=options,
    )


def paired_bootstrap(
    first: NDArray[np.int64], second: NDArray[np.int64], options: ComparisonOptions
) -> tuple[Difference, ...]:
    """The four scores of both runs, and how sure their differences are.

    A draw takes as many units (speakers, or utterances) as there are, with replacement, the same for both
    runs. Percentiles of the draws are too narrow for few speakers, so the draws give the standard error, which
    is corrected for its bias, and Student's t the interval and the p value, as for a single run's interval.

    Args:
        first: counts per seed and unit of the first run, (seeds, units, k, k).
        second: of the second run, on the same units; its number of seeds may differ.
        options: draws, level and seed.
    """
    share = first[0].sum(axis=(-2, -1)) / first[0].sum()
    bias, degrees = bootstrap_correction(share)
    averaged = first[0].sum(axis=(0, 2)) > 0
    statistics = _statistics(averaged)
    drawn = _drawn_differences(first, second, statistics, options)
    quantile = t_quantile(degrees, 0.5 + options.level / 2)
    found = []
    for name, statistic in statistics.items():
        scores = [float(np.mean(statistic(counts.sum(axis=1)))) for counts in (first, second)]
        difference = scores[1] - scores[0]
        error = math.sqrt(bias) * float(np.std(drawn[name]))
        half = quantile * error
        if error > 0:
            p = t_two_sided(difference / error, degrees)
        else:  # every unit differs by the same: what a sign test says of that
            p = min(1.0, 2.0 ** (1 - len(share))) if difference else 1.0
        found.append(Difference(name, *scores, difference, difference - half, difference + half, p))
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


def changes(first: Run, second: Run) -> tuple[Change, ...]:
    """Every setting in which two runs' configurations differ, the plainest name of each.

    The digests of features and splits are left out where a named setting explains them.
    """
    ours, theirs = (_flat(run.config.to_json()) for run in (first, second))
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    explained = {"data.manifest"} if "corpus" in differing else set()
    if "backbone" in differing:
        explained.add("data.fingerprint")
    if any(name.startswith("split.") for name in differing):
        explained.add("data.splits")
    return tuple(
        Change(_plain(name), ours.get(name), theirs.get(name)) for name in differing if name not in explained
    )


_PLAIN = {
    "data.fingerprint": "cached features",
    "data.manifest": "labels or audio",
    "data.splits": "who is on which side",
    "split.kind": "split",
    "protocol.name": "protocol",
}


def _plain(name: str) -> str:
    """A setting's name as people say it: its last part, unless that alone says too little."""
    if name in _PLAIN:
        return _PLAIN[name]
    parts = name.split(".")
    words = " ".join(parts) if parts[0] == "split" else parts[-1]
    return words.replace("_", " ")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


@dataclass(frozen=True)
class _Answers:
    """What a run said, by utterance; classes are numbers of the classes of both runs together.

    Attributes:
        seeds: in the order of the rows of ``predicted``.
        truth: class by id.
        speaker: by id.
        predicted: class per seed, by id.
        scores: sum of the probabilities over seeds, (k,), by id.
    """

    seeds: tuple[str, ...]
    truth: dict[str, int]
    speaker: dict[str, str]
    predicted: dict[str, dict[str, int]]
    scores: dict[str, NDArray[np.float64]]

    def of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Predicted classes, (seeds, ids)."""
        return np.array([[self.predicted[name][seed] for name in ids] for seed in self.seeds], dtype=np.int64)

    def joint(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The class with the highest mean probability over seeds, (ids,)."""
        if len(self.seeds) == 1:  # as stored: six digits of a probability may tie where the model did not
            return self.of(ids)[0]
        return np.array([int(self.scores[name].argmax()) for name in ids], dtype=np.int64)


def _answers(run: Run, classes: Sequence[str]) -> _Answers:
    number = {name: place for place, name in enumerate(classes)}
    found = _Answers(tuple(map(str, run.config.seeds)), {}, {}, {}, {})
    columns = [(number[name], f"score:{name}") for name in run.config.classes]
    for row in read_predictions(run):
        name, seed = row["id"], row["seed"]
        try:
            truth, predicted = number[row["truth"]], number[row["predicted"]]
            scores = [(place, float(row[column])) for place, column in columns]
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(run, f"its prediction for {name!r} cannot be read") from error
        said = found.predicted.setdefault(name, {})
        if seed in said:
            raise ResultsError(
                f"{run.folder} tests {name!r} in more than one fold; only runs that test each utterance once "
                "can be compared."
            )
        said[seed] = predicted
        found.truth[name], found.speaker[name] = truth, row["speaker"]
        total = found.scores.setdefault(name, np.zeros(len(classes)))
        for place, score in scores:
            total[place] += score
    for name, said in found.predicted.items():
        if said.keys() != set(found.seeds):
            raise _damaged(run, f"not every seed has a prediction for {name!r}")
    return found


def _damaged(run: Run, what: str) -> ResultsError:
    return ResultsError(f"the run {run.folder} is damaged ({what}); delete it, or repeat it with --force.")


def _check_comparable(first: Run, second: Run) -> None:
    if first.folder.resolve() == second.folder.resolve():
        raise ResultsError(f"{first.folder.name} was named twice; name two different runs.")
    if first.config.corpus != second.config.corpus:
        raise ResultsError(
            f"the runs tested different corpora, {first.config.corpus} and {second.config.corpus}; compare runs "
            "of one corpus."
        )


def _common_ids(first: Run, second: Run, ours: _Answers, theirs: _Answers) -> list[str]:
    """The ids that both tested, sorted; refused where the two do not mean the same by one."""
    common = sorted(ours.truth.keys() & theirs.truth.keys())
    if len(common) < 2:
        what = "no utterance" if not common else "one utterance only"
        raise ResultsError(
            f"{first.folder.name} and {second.folder.name} tested {what} in common; probe both with the same "
            "--split and --split-seed, or with --split loso, which tests every utterance."
        )
    names = sorted({*first.config.classes, *second.config.classes})
    for name in common:
        if ours.truth[name] != theirs.truth[name]:
            raise ResultsError(
                f"the truth of {name!r} is {names[ours.truth[name]]} in {first.folder.name} and "
                f"{names[theirs.truth[name]]} in {second.folder.name}: the labels changed; probe both again."
            )
        if ours.speaker[name] != theirs.speaker[name]:
            raise ResultsError(
                f"{name!r} is by speaker {ours.speaker[name]!r} in {first.folder.name} and by "
                f"{theirs.speaker[name]!r} in {second.folder.name}: the manifest changed; probe both again."
            )
    return common


def _counts(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], units: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Confusion counts per seed and unit, (seeds, units, k, k)."""
    found = np.zeros((len(predicted), int(units.max()) + 1, classes, classes), dtype=np.int64)
    seed = np.arange(len(predicted))[:, None]
    np.add.at(found, (seed, units, truth, predicted), 1)
    return found


def _statistics(averaged: NDArray[np.bool_]) -> dict[str, Statistic]:
    """The four scores; macro F1 over the classes in the truth of all compared utterances."""
    found: tuple[Statistic, ...] = (
        metrics.unweighted_average_recall,
        metrics.accuracy,
        lambda counts: metrics.macro_f1(counts, averaged),
        metrics.weighted_f1,
    )
    return dict(zip(HEADLINE, found, strict=True))


def _drawn_differences(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    statistics: Mapping[str, Statistic],
    options: ComparisonOptions,
) -> dict[str, NDArray[np.float64]]:
    """Second less first of each score in each bootstrap draw, (draws,)."""
    rng = np.random.default_rng(options.seed)
    units = first.shape[1]
    at_once = max(1, min(options.draws, _NUMBERS_AT_ONCE // units))
    sides = [counts.astype(np.float64) for counts in (first, second)]
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for begin in range(0, options.draws, at_once):
        size = min(at_once, options.draws - begin)
        weights = rng.multinomial(units, np.full(units, 1 / units), size=size).astype(np.float64)
        totals = [np.tensordot(weights, side, axes=(1, 1)) for side in sides]  # (draws, seeds, k, k)
        for name, statistic in statistics.items():
            ours, theirs = (np.mean(statistic(total), axis=1) for total in totals)
            drawn[name].append(theirs - ours)
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def _notes(left_out: tuple[int, int], speakers: int, seeds: tuple[int, int]) -> tuple[str, ...]:
    found = []
    if any(left_out):
        found.append(
            f"only common test utterances are compared; {left_out[0]} of the first run and {left_out[1]} of the "
            "second are left out"
        )
    if speakers < MINIMUM_SPEAKERS:
        found.append(
            f"only {speakers} test speaker{'s' if speakers != 1 else ''}: the bootstrap draws utterances as if "
            "they were independent, and its intervals are too narrow for new speakers"
        )
    if max(seeds) > 1:
        found.append(
            "scores are means over seeds; McNemar takes the class with the highest mean probability over seeds"
        )
    found.append("McNemar takes utterances as independent, which those of one speaker are not")
    return tuple(found)
