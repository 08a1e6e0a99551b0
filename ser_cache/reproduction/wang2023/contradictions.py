"""Where Wang, Raud, Pal 2023 contradict themselves or compare what cannot be compared; from their figures.

Nothing is asserted that is not computed here from the published files: figures that come to agree are no
contradiction any more and are not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ser_cache.manifest import Manifest
from ser_cache.reproduction.wang2023.study import TITLES, PublishedClassifier, PublishedStudy
from ser_cache.sections import Section
from ser_cache.splits import SplitOptions, make_splits

_ROUNDING = 0.0051
"""By which rounded recalls can move an accuracy that is made of them; a little more, for binary fractions."""
_STRATIFIED = 1.0
"""Clips that the support of an emotion may be from its share in a stratified draw."""


@dataclass(frozen=True)
class Figure:
    """A number with what it is a number of.

    Attributes:
        value: the number.
        digits: of its decimals that are shown.
        meaning: in few words.
    """

    value: float
    digits: int
    meaning: str

    @property
    def text(self) -> str:
        """The number and its meaning."""
        return f"{self.value:,.{self.digits}f} {self.meaning}"


@dataclass(frozen=True)
class Contradiction:
    """Two figures that do not go together.

    Attributes:
        about: what both are about.
        one: what is said first.
        other: what stands against it.
    """

    about: str
    one: Figure
    other: Figure


def contradictions(study: PublishedStudy, corpus: Manifest, split: SplitOptions) -> list[Contradiction]:
    """All that there are, in the order of the study.

    Args:
        study: its figures.
        corpus: all clips of the study's corpus; their audio is not needed.
        split: how the study divided them: by utterance.
    """
    found = []
    if study.clustered != study.classified:
        one = Figure(study.clustered, 0, "clustered")
        found.append(Contradiction("clips", one, Figure(study.classified, 0, "classified")))
    for classifier in study.classifiers.values():
        found += _of_classifier(classifier)
    for first, second in pairwise(study.classifiers.values()):
        found += _test_sides(first, second, study)
    return [*found, *_shared_speakers(corpus, split)]


def _of_classifier(one: PublishedClassifier) -> list[Contradiction]:
    title, found = TITLES[one.name], []
    claimed = Figure(one.best_accuracy, 3, "best, in text")
    if abs(one.best_accuracy - one.accuracy) > _ROUNDING:
        implied = Figure(one.accuracy, 3, "recall x support")
        found.append(Contradiction(f"{title}: accuracy", claimed, implied))
    if one.best_accuracy == one.best_fold and one.best_fold != one.fold_mean:
        best = Figure(one.best_fold, 3, "best CV fold, text")
        found.append(Contradiction(f"{title}: CV", best, Figure(one.fold_mean, 3, "mean of CV folds")))
    return found


def _test_sides(
    first: PublishedClassifier, second: PublishedClassifier, study: PublishedStudy
) -> list[Contradiction]:
    """Classifiers whose supports differ were tested on different clips."""
    both = list(zip(first.classes, second.classes, strict=True))
    differing = [(a, b) for a, b in both if a.support != b.support]
    if not differing:
        return []
    a, b = max(differing, key=lambda pair: abs(pair[0].support - pair[1].support))
    names = [TITLES[one.name] for one in (first, second)]
    found = [
        Contradiction(
            f"tested: {a.emotion}",
            Figure(a.support, 0, names[0]),
            Figure(b.support, 0, names[1]),
        )
    ]
    distances = [one.distance_from_shares(study.clips) for one in (first, second)]
    if (distances[0] < _STRATIFIED) != (distances[1] < _STRATIFIED):
        manner = ["stratified" if distance < _STRATIFIED else "unstratified" for distance in distances]
        figures = [
            Figure(distance, 1, f"{name}, {how}")
            for distance, name, how in zip(distances, names, manner, strict=True)
        ]
        found.append(Contradiction("clips off their share", *figures))
    return found


def _shared_speakers(corpus: Manifest, split: SplitOptions) -> list[Contradiction]:
    """How many of the tested speakers are trained on, where clips are divided as the study did."""
    (sides,) = make_splits(corpus.utterances, split)
    speaker = {one.id: one.speaker for one in corpus.utterances}
    trained = {speaker[id_] for side in ("train", "validation") for id_ in sides.side(side)}
    tested = {speaker[id_] for id_ in sides.test}
    if not tested & trained:
        return []
    return [
        Contradiction(
            "speakers",
            Figure(len(tested), 0, "tested"),
            Figure(len(tested & trained), 0, "of them trained on"),
        )
    ]


def implied_table(study: PublishedStudy) -> Section:
    """What the published table of each classifier implies, beside what the text says."""
    rows = [
        (
            TITLES[name],
            *(f"{value:.3f}" for value in (one.best_accuracy, one.best_fold, one.fold_mean)),
            *(f"{value:.3f}" for value in (one.accuracy, one.macro_f1)),
            f"{one.tested:,}",
            f"{one.distance_from_shares(study.clips):.1f}",
        )
        for name, one in study.classifiers.items()
    ]
    columns = {"published": "left", "text": "right", "best fold": "right", "CV mean": "right"}
    columns |= {"accuracy": "right", "macro F1": "right", "tested": "right", "off share": "right"}
    notes = [
        f"text: its best accuracy; best fold, CV mean: of its {study.folds} folds",
        "accuracy: recall x support of its table, which rounding moves by 0.005 at most",
        "off share: clips that a support is at most from its share; below 1 if stratified",
    ]
    share = study.test_share
    if all(one.tested == round(share * study.classified) for one in study.classifiers.values()):
        notes.append(f"tested are {share:.0%} of {study.classified:,} clips")
    return Section("What the published figures imply", columns, rows, tuple(notes))


def contradiction_table(found: list[Contradiction], study: PublishedStudy) -> Section:
    """Every contradiction in a line, with both figures."""
    rows = [(one.about, one.one.text, one.other.text) for one in found]
    silhouette = f"its silhouettes are below {study.silhouette_below}: 1 is apart, 0 no clusters at all"
    notes = (silhouette, "speakers: as divided by utterance here; who was on which side there is unknown")
    columns = {"contradictions": "left", "one figure": "left", "the other": "left"}
    return Section("Where the paper contradicts itself, or compares what differs", columns, rows, notes)
