"""What the heads of a probe or the classifiers of a baseline share: utterances, labels, folds, who is tested.

One corpus, divided into folds; or several, some trained on and others tested, as one fold whose test side
holds every tested corpus, each of which gets a run of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.cross_corpus import cross_split, cross_split_config, cross_warnings
from ser_cache.emotions import ChosenManifest
from ser_cache.errors import SplitError, TrainingError
from ser_cache.joined_features import qualified
from ser_cache.length_leaks import leak_warnings
from ser_cache.splits import SIDES, Split, SplitOptions, check_split, make_splits, split_config, warnings

if TYPE_CHECKING:
    from ser_cache.cross_corpus import Crossing
    from ser_cache.feature_sources import Features
    from ser_cache.manifest import Manifest, Utterance
    from ser_cache.training import Sides


@dataclass(frozen=True)
class Target:
    """The runs of a task that test one corpus.

    Attributes:
        corpus: what the runs have as their corpus.
        trained_on: names of other corpora that were trained on; empty where the corpus itself was.
        tested_on: name of the tested corpus where it is not the one trained on; else empty.
        made_of: the emotions of each class, where they are not all that the corpora have, each a class.
    """

    corpus: str
    made_of: Mapping[str, tuple[str, ...]]
    trained_on: tuple[str, ...] = ()
    tested_on: str = ""


@dataclass(frozen=True)
class Task:
    """What every head of a probe shares.

    Attributes:
        utterances: in the order of the features.
        classes: names of the k classes, sorted.
        labels: class number of every utterance, (N,).
        splits: every fold.
        split: the options that made them, as a run's configuration holds them.
        targets: which runs come of a training.
        warnings: what must be known before believing the numbers, one line each.
    """

    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    split: Mapping[str, Any]
    targets: tuple[Target, ...]
    warnings: tuple[str, ...]

    def sides(self, split: Split) -> Sides:
        """The numbers of the utterances on each side of a fold."""
        from ser_cache.training import Sides  # torch, which a task for classical classifiers does without

        place = {utterance.id: number for number, utterance in enumerate(self.utterances)}
        train, validation, test = (
            np.array([place[id_] for id_ in split.side(name)], dtype=np.int64) for name in SIDES
        )
        # Sorted as the qualified ids are, so that corpus follows corpus as on the test side.
        corpora = sorted((t.tested_on for t in self.targets if t.tested_on), key=lambda c: qualified(c, ""))
        return Sides(train, validation, test, tuple(len(self.tested(split, corpus)) for corpus in corpora))

    def tested(self, split: Split, corpus: str = "") -> NDArray[np.int64]:
        """Places on a fold's test side of the utterances of one tested corpus; of all without one."""
        own = [not corpus or id_.startswith(qualified(corpus, "")) for id_ in split.test]
        return np.flatnonzero(own)

    def own_split(self, split: Split, corpus: str = "") -> Split:
        """A fold as a run has it that tests one corpus: that corpus alone, by its own ids."""
        if not corpus:
            return split
        places = self.tested(split, corpus)
        return replace(split, test=tuple(unqualified(corpus, split.test[place]) for place in places))

    def used(self, corpus: str = "") -> list[Utterance]:
        """The utterances that the runs of a target look at, other tested corpora left out."""
        if not corpus:
            return list(self.utterances)
        others = [qualified(t.tested_on, "") for t in self.targets if t.tested_on != corpus]
        return [u for u in self.utterances if not u.id.startswith(tuple(others))]


def unqualified(corpus: str, name: str) -> str:
    """An id or speaker as its own corpus has it; as it is, for no corpus."""
    return name.removeprefix(qualified(corpus, "")) if corpus else name


def prepare(features: Features, manifest: Manifest, options: SplitOptions) -> Task:
    """Divide one corpus.

    Args:
        features: of the manifest's utterances.
        manifest: the labels; restricted to a choice of emotions or whole.
        options: how to divide.

    Raises:
        SplitError: the corpus does not allow the split.
        TrainingError: too little is left to train on.
    """
    by_id = {utterance.id: utterance for utterance in manifest.utterances}
    utterances = _utterances(features, by_id)
    # From the whole manifest: a clip that one backbone failed on must not change who is tested for it.
    whole = make_splits(manifest.utterances, options)
    held = set(features.ids)
    splits = tuple(_held(split, held) for split in whole)
    classes = _classes(features, utterances)
    for split in splits:
        _check_held(split, utterances, features)
    lost = _left_out(features, manifest.corpus, manifest, features.failed, held, classes)
    return Task(
        utterances=utterances,
        classes=classes,
        labels=_labels(utterances, classes),
        splits=splits,
        split=split_config(options),
        targets=(Target(features.corpus, manifest.made_of if isinstance(manifest, ChosenManifest) else {}),),
        warnings=leak_warnings(manifest, _heard(features)) + lost + warnings(splits, utterances, options),
    )


def prepare_across(
    features: Features, crossing: Crossing, options: SplitOptions, standardise: str = "none"
) -> Task:
    """Set corpora that are trained on against corpora that are tested.

    Args:
        features: of all of them, joined.
        crossing: the labels.
        options: who of the training corpora validates.
        standardise: of the protocol, for what is to be said of it.

    Raises:
        SplitError: a training corpus does not allow it.
        TrainingError: too little is left to train on, or nothing of a tested corpus.
    """
    utterances = _utterances(features, {utterance.id: utterance for utterance in crossing.utterances()})
    held = set(features.ids)
    split = _held(cross_split(crossing, options), held)
    lost: list[str] = []
    for manifest in crossing.corpora:
        prefix = qualified(manifest.corpus, "")
        own = {unqualified(manifest.corpus, id_) for id_ in held if id_.startswith(prefix)}
        failed = {
            unqualified(manifest.corpus, id_): why
            for id_, why in features.failed.items()
            if id_.startswith(prefix)
        }
        if not own:
            raise TrainingError(
                f"{features.backbone}/{manifest.corpus} has no usable utterance of "
                f"{', '.join(manifest.emotions)}: extraction failed for all; mend the audio and run "
                "`ser extract` again."
            )
        present = {u.emotion for u in manifest.utterances if u.id in own}
        lost += _left_out(features, manifest.corpus, manifest, failed, own, present)
    classes = _classes(features, utterances)
    _check_held(split, utterances, features)
    return Task(
        utterances=utterances,
        classes=classes,
        labels=_labels(utterances, classes),
        splits=(split,),
        split=cross_split_config(options),
        targets=tuple(
            Target(crossing.name(test), crossing.made_of[test], crossing.trained_on, test)
            for test in (manifest.corpus for manifest in crossing.test)
        ),
        warnings=(
            *_trained_leaks(crossing, features),
            *lost,
            *cross_warnings(split, crossing, options, standardise),
        ),
    )


def _heard(features: Features) -> float | None:
    """How many seconds of each clip the features are of; None for all of it."""
    seconds: float | None = features.origin["features"].get("max_seconds")
    return seconds


def _trained_leaks(crossing: Crossing, features: Features) -> list[str]:
    """What the lengths of clips give away where they are learned; a tested corpus teaches nothing."""
    return [
        f"{manifest.corpus}, which is trained on: {line}"
        for manifest in crossing.train
        for line in leak_warnings(manifest, _heard(features))
    ]


def _utterances(features: Features, by_id: Mapping[str, Utterance]) -> tuple[Utterance, ...]:
    strange = next((id_ for id_ in features.ids if id_ not in by_id), None)
    if strange is not None:
        raise TrainingError(
            f"{features.backbone}/{features.corpus}: {strange!r} has features and no label here; open the "
            "features of those utterances alone that are to be trained on and tested."
        )
    return tuple(by_id[identifier] for identifier in features.ids)


def _classes(features: Features, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    classes = tuple(sorted({utterance.emotion for utterance in utterances}))
    if not classes:
        reason = next(iter(features.failed.values()), "none is cached")
        raise TrainingError(
            f"{features.backbone}/{features.corpus} has no usable utterance: extraction failed for all "
            f"({reason}); mend the audio and run `ser extract` again."
        )
    if len(classes) < 2:
        raise TrainingError(f"{features.corpus} has the one emotion {classes[0]}; a probe needs two or more.")
    return classes


def _labels(utterances: Sequence[Utterance], classes: Sequence[str]) -> NDArray[np.int64]:
    number = {emotion: place for place, emotion in enumerate(classes)}
    return np.array([number[utterance.emotion] for utterance in utterances], dtype=np.int64)


def _held(split: Split, ids: Set[str]) -> Split:
    """A split without the utterances that have no features."""
    train, validation, test = (tuple(id_ for id_ in split.side(name) if id_ in ids) for name in SIDES)
    return replace(split, train=train, validation=validation, test=test)


def _check_held(split: Split, utterances: Sequence[Utterance], features: Features) -> None:
    """Refuse a fold that failed extractions left without a side or an emotion, before others are trained."""
    try:
        check_split(split, utterances)
    except SplitError as error:
        if not features.failed:
            raise
        name, reason = next(iter(features.failed.items()))
        raise TrainingError(
            f"{features.backbone}/{features.corpus}, {error} Extraction failed for {len(features.failed)} "
            f"utterances, for instance {name} ({reason}): mend the audio and run `ser extract` again, or "
            "take them out of the manifest."
        ) from error


def _left_out(
    features: Features,
    corpus: str,
    manifest: Manifest,
    failed: Mapping[str, str],
    held: Set[str],
    classes: Collection[str],
) -> tuple[str, ...]:
    """What failed extractions cost a corpus: utterances, and emotions that none is left of."""
    total = len(manifest.utterances)
    missing = total - len(held)
    if not missing:
        return ()
    example = next((f", for instance {name}: {reason}" for name, reason in failed.items()), "")
    are = "utterance is" if missing == 1 else "utterances are"
    then = ", so it is not among the classes"
    if corpus != features.corpus:
        are, then = f"utterances of {corpus}", f" in {corpus}"
    lost = [
        f"{features.backbone}: no utterance of {emotion} is left{then}"
        for emotion in manifest.emotions
        if emotion not in classes
    ]
    return (
        f"{features.backbone}: {missing} of {total} {are} left out because extraction failed{example}",
        *lost,
    )
