"""Is one run better than another on the same test utterances: what is common, and how sure the difference is.

Both looked at the same clips, so that what makes a clip or a speaker hard cancels. Scores are means over a
run's seeds; the models are taken as they are, and what is drawn anew is who they are tested on. Nothing here
trains, and nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.emotions import emotions_text
from ser_cache.errors import ResultsError
from ser_cache.paired import ComparisonOptions, Difference, McNemar, mcnemar, paired_bootstrap
from ser_cache.results import Run, are_speakers_apart, read_predictions, read_training_sides
from ser_cache.results.contents import damaged
from ser_cache.results.query import split_text
from ser_cache.statistics import MINIMUM_SPEAKERS

__all__ = ["Change", "Comparison", "ComparisonOptions", "Difference", "McNemar", "changes", "compare_runs"]


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
    _check_comparable(first, second)
    classes = sorted({*first.config.classes, *second.config.classes})
    ours, theirs = _answers(first, classes), _answers(second, classes)
    common = _common_ids(first, second, ours, theirs)
    left_out = (len(ours.truth) - len(common), len(theirs.truth) - len(common))
    truth = np.array([ours.truth[name] for name in common], dtype=np.int64)
    tested = {classes[number] for number in truth}
    _check_classes(common, tested)
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
        cautions=(
            *_overlap_caution(len(common), (len(ours.truth), len(theirs.truth))),
            *_class_cautions(first, second, tested),
            *_split_caution(first, second),
            *_data_caution(first, second),
        ),
        notes=_notes(len(speakers), (len(ours.seeds), len(theirs.seeds))),
        options=options,
    )


def changes(first: Run, second: Run) -> tuple[Change, ...]:
    """Every setting in which two runs' configurations differ, the plainest name of each.

    The digests of features and splits are left out where a named setting explains them.
    """
    ours, theirs = (_settings(run) for run in (first, second))
    return tuple(Change(_plain(name), ours.get(name), theirs.get(name)) for name in _differing(ours, theirs))


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The settings, flat, that have two values and are not explained by another that has."""
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    explained = {"data.manifest"} if "corpus" in differing else set()
    if explained:  # across corpora, where the corpora tell the sides
        explained.add("data.splits")
    if {"emotions", "classes"} & set(differing):
        explained |= {"data.manifest", "data.splits"}
    if "backbone" in differing:
        explained.add("data.fingerprint")
    if any(name.startswith("split.") for name in differing):
        explained.add("data.splits")
    return [name for name in differing if name not in explained]


def _overlap_caution(common: int, tested: tuple[int, int]) -> Iterator[str]:
    """That only a part of what a run tested is compared."""
    if common < max(tested):
        shares = [
            f"all {total:,}" if common == total else f"{common / total:.0%} of the {total:,}"
            for total in tested
        ]
        yield (
            f"only {common:,} utterances are compared, those that both runs tested: {shares[0]} of the first "
            f"run, {shares[1]} of the second; the scores of the whole runs are others"
        )


def _class_cautions(first: Run, second: Run, tested: Set[str]) -> Iterator[str]:
    """That a run had classes to choose from that the other had not, which makes its task the harder."""
    ours, theirs = set(first.config.classes), set(second.config.classes)
    if ours != theirs:
        yield (
            f"the runs have different classes: {', '.join(sorted(ours))} in the first, "
            f"{', '.join(sorted(theirs))} in the second; only utterances of {', '.join(sorted(tested))} are "
            "compared"
        )
    for name, more in (("first", ours - theirs - tested), ("second", theirs - ours - tested)):
        if more:
            yield (
                f"the {name} run could also answer {', '.join(sorted(more))}, which no common utterance is; "
                "the other run could not be wrong in that way"
            )
    made = [
        {name: set(run.config.emotions.get(name, (name,))) for name in ours & theirs}
        for run in (first, second)
    ]
    if other := sorted(name for name in ours & theirs if made[0][name] != made[1][name]):
        yield f"{', '.join(other)} is made of other emotions in one run than in the other (--emotions)"


def _split_caution(first: Run, second: Run) -> Iterator[str]:
    """That other speakers, or more of them, were trained on in one run than in the other."""
    if first.config.split == second.config.split:
        return
    told = f"{_how_divided(first)} in the first run, {_how_divided(second)} in the second"
    if _knows_speakers(first) != _knows_speakers(second):
        knowing = "first" if _knows_speakers(first) else "second"
        yield (
            f"the runs divide the corpus differently ({told}): the {knowing} was trained on speakers that it "
            "tests, which makes its score too high for new speakers"
        )
    else:
        yield (
            f"the runs divide the corpus differently ({told}): what differs is also who, and how many, they "
            "were trained on"
        )


def _how_divided(run: Run) -> str:
    text = split_text(run.config.split)
    return f"{text} from {', '.join(run.config.trained_on)}" if run.config.tested_on else text


def _knows_speakers(run: Run) -> bool:
    """Whether the tested speakers were trained on, or may have been; across corpora they never are."""
    if run.config.tested_on or are_speakers_apart(run):
        return False
    speaker: dict[str, str] = {}
    tested: dict[str, set[str]] = {}
    for row in read_predictions(run):
        speaker[row["id"]] = row["speaker"]
        tested.setdefault(row["fold"], set()).add(row["speaker"])
    trained = read_training_sides(run)
    # Who is never tested may be anybody.
    return any(
        speaker.get(id_) in {None, *who} for fold, who in tested.items() for id_ in trained.get(fold, ())
    )


def _data_caution(first: Run, second: Run) -> Iterator[str]:
    """That the runs were made from other data, which their settings do not show."""
    ours, theirs = (_settings(run) for run in (first, second))
    differing = [_plain(name) for name in _differing(ours, theirs) if name.startswith("data.")]
    if differing:
        older = "first" if first.written < second.written else "second"
        which = "" if first.written == second.written else f"; the {older} is the older"
        yield (
            f"the runs were made from different data ({', '.join(differing)}), and not their settings alone "
            f"differ{which}"
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
    if parts[0] == "split":
        words = " ".join(parts)
    else:  # a schedule and a search have settings that are called as those of the training are
        words = " ".join(parts[-2:] if parts[-2:-1] in (["search"], ["schedule"]) else parts[-1:])
    return words.replace("_", " ")


def _settings(run: Run) -> dict[str, Any]:
    """A configuration under dotted names.

    Which emotions were taken together is one setting, as it is typed; which were chosen, the classes say.
    """
    together = {name: members for name, members in run.config.emotions.items() if members != (name,)}
    return _flat(run.config.to_json() | {"emotions": emotions_text(together) or "each a class"})


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


def _check_comparable(first: Run, second: Run) -> None:
    if first.folder.resolve() == second.folder.resolve():
        raise ResultsError(f"{first.folder.name} was named twice; name two different runs.")
    if first.config.test_corpus != second.config.test_corpus:
        raise ResultsError(
            f"the runs tested different corpora, {first.config.test_corpus} and "
            f"{second.config.test_corpus}; compare runs that tested one corpus."
        )
    _check_speakers(first, second)


def _check_speakers(first: Run, second: Run) -> None:
    """Refuse a difference of which nobody could say whether it is the models' or their speakers'."""
    if _knows_speakers(first) == _knows_speakers(second):
        return
    ours, theirs = (_settings(run) for run in (first, second))
    also = [name for name in ("corpus", "backbone", "head", "layers") if ours[name] != theirs[name]]
    if also:
        knowing, apart = (first, second) if _knows_speakers(first) else (second, first)
        raise ResultsError(
            f"{knowing.folder.name} was trained on speakers that it tests ({_how_divided(knowing)}) and "
            f"{apart.folder.name} was not ({_how_divided(apart)}), and {', '.join(also)} "
            f"differ{'s' if len(also) == 1 else ''} too: nobody "
            "could say what makes the difference. Compare runs of one --split."
        )


def _check_classes(common: Sequence[str], tested: Set[str]) -> None:
    """Refuse utterances of a single class, which tell no classes apart."""
    if len(tested) < 2:
        raise ResultsError(
            f"the {len(common):,} utterances that both tested are all {', '.join(tested)}, which says "
            "nothing of telling emotions apart; probe both with the same --emotions and --split."
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
                f"{names[theirs.truth[name]]} in {second.folder.name}: {_why_labels_differ(first, second)}."
            )
        if ours.speaker[name] != theirs.speaker[name]:
            raise ResultsError(
                f"{name!r} is by speaker {ours.speaker[name]!r} in {first.folder.name} and by "
                f"{theirs.speaker[name]!r} in {second.folder.name}: the manifest changed; probe both again."
            )
    return common


def _why_labels_differ(first: Run, second: Run) -> str:
    if first.config.emotions != second.config.emotions:
        return "they take emotions together differently; probe both with the same --emotions"
    return "the labels changed; probe both again"


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
