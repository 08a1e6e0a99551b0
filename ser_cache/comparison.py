"""Is one run better than another on the same test utterances: what is common, and how sure the difference is.

Both looked at the same clips, so that what makes a clip or a speaker hard cancels. Scores are means over a
run's seeds; the models are taken as they are, and what is drawn anew is who they are tested on. Nothing here
trains, and nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import ResultsError
from ser_cache.paired import ComparisonOptions, Difference, McNemar, mcnemar, paired_bootstrap
from ser_cache.results import Run, read_predictions
from ser_cache.results.contents import damaged
from ser_cache.run_differences import Change, cautions, changes, check_classes, check_comparable
from ser_cache.statistics import MINIMUM_SPEAKERS

__all__ = ["Change", "Comparison", "ComparisonOptions", "Difference", "McNemar", "changes", "compare_runs"]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_runs` found.

    Attributes:
        first: name of the first run.
        second: name of the second run.
        corpus: which both tested.
        utterances: compared, those that both tested.
        tested: how many utterances the first, and the second, tested.
        left_out: utterances that only the first, and only the second, tested.
        speakers: of the compared utterances.
        drawn: what the bootstrap draws: "speakers", or "utterances" where there are too few speakers.
        seeds: of the first and of the second run.
        changes: what differs between their configurations.
        differences: of the four scores, in their usual order.
        mcnemar: of one prediction per utterance and run.
        cautions: what makes this another comparison than it may seem, one line each: a part of the test
            utterances, other classes, splits or data.
        notes: what must be known before believing the numbers, one line each.
        options: how they were compared.
    """

    first: str
    second: str
    corpus: str
    utterances: int
    tested: tuple[int, int]
    left_out: tuple[int, int]
    speakers: int
    drawn: str
    seeds: tuple[int, int]
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    mcnemar: McNemar
    cautions: tuple[str, ...]
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
        ResultsError: it is one run twice; the corpora differ; one run was trained on the tested speakers,
            the other was not, and backbone, head or layers differ too; a common utterance has two truths or
            two speakers; no utterance is common, or those of one class alone; a run is damaged or tests an
            utterance twice.
    """
    options = options or ComparisonOptions()
    check_comparable(first, second)
    classes = sorted({*first.config.classes, *second.config.classes})
    ours, theirs = _answers(first, classes), _answers(second, classes)
    common = _common_ids(first, second, ours, theirs)
    left_out = (len(ours.truth) - len(common), len(theirs.truth) - len(common))
    truth = np.array([ours.truth[name] for name in common], dtype=np.int64)
    tested = {classes[number] for number in truth}
    check_classes(common, tested)
    speakers = sorted({ours.speaker[name] for name in common})
    by_speaker = len(speakers) >= MINIMUM_SPEAKERS
    row = {speaker: number for number, speaker in enumerate(speakers)}
    units = np.array([row[ours.speaker[name]] for name in common]) if by_speaker else np.arange(len(common))
    drawn = "speakers" if by_speaker else "utterances"
    counts = [_counts(answers.of(common), truth, units, len(classes)) for answers in (ours, theirs)]
    return Comparison(
        first=first.folder.name,
        second=second.folder.name,
        corpus=first.config.test_corpus,
        utterances=len(common),
        tested=(len(ours.truth), len(theirs.truth)),
        left_out=left_out,
        speakers=len(speakers),
        drawn=drawn,
        seeds=(len(ours.seeds), len(theirs.seeds)),
        changes=changes(first, second),
        differences=paired_bootstrap(counts[0], counts[1], options, drawn),
        mcnemar=mcnemar(ours.joint(common) == truth, theirs.joint(common) == truth),
        cautions=cautions(first, second, len(common), (len(ours.truth), len(theirs.truth)), tested),
        notes=_notes(len(speakers), (len(ours.seeds), len(theirs.seeds))),
        options=options,
    )


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
        rows = [[self.predicted[name][seed] for name in ids] for seed in self.seeds]
        return np.array(rows, dtype=np.int64)

    def joint(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The class with the highest mean probability over seeds, (ids,)."""
        if len(self.seeds) == 1:  # as stored: six digits of a probability may tie where the model did not
            return np.asarray(self.of(ids)[0])
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
            raise damaged(run.folder, f"its prediction for {name!r} cannot be read") from error
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
            raise damaged(run.folder, f"not every seed has a prediction for {name!r}")
    return found


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
                f"{names[theirs.truth[name]]} in {second.folder.name}: {_why_labels_differ(first, second)}."
            )
        if ours.speaker[name] != theirs.speaker[name]:
            raise ResultsError(
                f"{name!r} is by speaker {ours.speaker[name]!r} in {first.folder.name} and by "
                f"{theirs.speaker[name]!r} in {second.folder.name}: the manifest changed; make both again."
            )
    return common


def _why_labels_differ(first: Run, second: Run) -> str:
    if first.config.emotions != second.config.emotions:
        return "they take emotions together differently; make both with the same --emotions"
    return "the labels changed; make both again"


def _counts(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], units: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Confusion counts per seed and unit, (seeds, units, k, k)."""
    found = np.zeros((len(predicted), int(units.max()) + 1, classes, classes), dtype=np.int64)
    seed = np.arange(len(predicted))[:, None]
    np.add.at(found, (seed, units, truth, predicted), 1)
    return found


def _notes(speakers: int, seeds: tuple[int, int]) -> tuple[str, ...]:
    found = []
    if speakers < MINIMUM_SPEAKERS:
        found.append(
            f"only {speakers} test speaker{'s' if speakers != 1 else ''}: the bootstrap draws utterances as "
            "if they were independent, and its intervals are too narrow for new speakers"
        )
    if max(seeds) > 1:
        found.append(
            "scores are means over seeds; McNemar takes the class with the highest mean probability over them"
        )
    found.append("McNemar takes utterances as independent, which those of one speaker are not")
    return tuple(found)
