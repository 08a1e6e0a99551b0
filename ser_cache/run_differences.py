"""What two runs differ in, and what that means for whoever compares their scores.

Settings that differ are listed; data, classes, splits and utterances that differ are put into words; and
where a comparison would mean nothing it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ser_cache.emotions import emotions_text
from ser_cache.errors import ResultsError
from ser_cache.results import Run, are_speakers_apart, read_predictions, read_training_sides
from ser_cache.results.query import split_text


@dataclass(frozen=True)
class Change:
    """A setting in which two runs differ, as JSON holds it; None where a run lacks it."""

    setting: str
    first: Any
    second: Any


def changes(first: Run, second: Run) -> tuple[Change, ...]:
    """Every setting in which two runs' configurations differ, the plainest name of each.

    Left out is what another setting explains: digests of features and splits, and where the heads differ,
    settings that a probe has and a baseline has not, or one classifier and not the other.
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
    if "head" in differing:
        explained.add("protocol.classifier")
    return [name for name in differing if name not in explained and not _of_one_kind(name, ours, theirs)]


def _of_one_kind(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether a setting is one that only probes, only baselines or only one classifier can have."""
    only_one = (name in ours) != (name in theirs)
    return only_one and name.startswith("protocol.") and ours["head"] != theirs["head"]


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


_NAMED_AFTER = (["search"], ["schedule"], ["inner"])
"""Groups whose settings are called as those of the training, or of the split, are."""

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
    else:
        words = " ".join(parts[-2:] if parts[-2:-1] in _NAMED_AFTER else parts[-1:])
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


def cautions(
    first: Run, second: Run, common: int, tested: tuple[int, int], classes: Set[str]
) -> tuple[str, ...]:
    """What to say above the scores: where the runs differ in more than what is to be compared.

    Args:
        first: the run compared with.
        second: the run whose gain is asked for.
        common: utterances that both tested.
        tested: utterances that each tested.
        classes: those of the common utterances.
    """
    return (
        *_overlap_caution(common, tested),
        *_class_cautions(first, second, classes),
        *_split_caution(first, second),
        *_data_caution(first, second),
    )


def check_comparable(first: Run, second: Run) -> None:
    """Refuse two runs whose scores nobody could compare.

    Raises:
        ResultsError: it is one run twice; the corpora differ; one run was trained on the tested speakers, the
            other was not, and backbone, head or layers differ too.
    """
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


def check_classes(common: Sequence[str], tested: Set[str]) -> None:
    """Refuse utterances of a single class, which tell no classes apart.

    Raises:
        ResultsError: the common utterances are all of one class.
    """
    if len(tested) < 2:
        raise ResultsError(
            f"the {len(common):,} utterances that both tested are all {', '.join(tested)}, which says "
            "nothing of telling emotions apart; probe both with the same --emotions and --split."
        )
