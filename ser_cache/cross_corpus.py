"""Training on some corpora and testing on others: common classes, who validates, and who is tested.

The corpora's utterances are told apart by their corpus's name (``emodb/03a01Fa``), and so are their speakers:
"01" of two corpora is not one person. The tested corpora are tested whole; nothing of them is trained on,
validated with or standardised with. Who validates comes from the training corpora.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from ser_cache.emotions import (
    ChosenManifest,
    EmotionChoice,
    check_known,
    choose_emotions,
    common_emotions,
    made_of,
    restrict,
)
from ser_cache.errors import ManifestError, SettingsError, SplitError
from ser_cache.joined_features import qualified
from ser_cache.splits import Split, SplitOptions, make_splits

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest, Utterance

KIND = "cross-corpus"
"""What the split of such a run is called."""
VALIDATING = ("speaker", "random")
"""The kinds of split that can say who of the training corpora validates."""
_LEAST_SPEAKERS = 3  # of a training corpus: the search has three sides, two of which are trained on


@dataclass(frozen=True)
class Crossing:
    """Corpora to train on and corpora to test, restricted to the classes they share.

    Attributes:
        train: those trained on, sorted by name.
        test: those tested, each by itself, sorted by name.
        made_of: for each tested corpus, the emotions of each class that it and the training corpora have;
            empty where every emotion of theirs is a class by itself. What else is tested does not matter.
    """

    train: tuple[ChosenManifest, ...]
    test: tuple[ChosenManifest, ...]
    made_of: Mapping[str, Mapping[str, tuple[str, ...]]]

    @property
    def corpora(self) -> tuple[ChosenManifest, ...]:
        """All of them, in the order in which their features are to be joined."""
        return (*self.train, *self.test)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the training corpora, sorted."""
        return tuple(manifest.corpus for manifest in self.train)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(sorted({emotion for manifest in self.train for emotion in manifest.emotions}))

    def name(self, test: str) -> str:
        """What a run that tests one of the corpora has as its corpus: ``emodb+emovo-to-ravdess``."""
        return f"{'+'.join(self.trained_on)}-to-{test}"

    def utterances(self) -> tuple[Utterance, ...]:
        """Those of all corpora, in the order of ``corpora``, with qualified ids and speakers."""
        return tuple(_qualified(manifest.corpus, u) for manifest in self.corpora for u in manifest.utterances)


def cross(
    train: Sequence[Manifest], test: Sequence[Manifest], choice: EmotionChoice | None = None
) -> Crossing:
    """Restrict corpora to common classes, for training on some and testing on others.

    Args:
        train: whole manifests.
        test: whole manifests; each is tested by itself.
        choice: the classes; the emotions that all of the corpora have when None.

    Raises:
        SettingsError: a side is empty, a corpus is on both, or no two emotions are common.
        UnknownNameError: the choice names an emotion that is no usual one and that no corpus has.
        ManifestError: a class is in no training corpus, or a tested corpus lacks one.
        SplitError: a recording is in two of the corpora, one of which is trained on.
    """
    named = {manifest.corpus: manifest for manifest in (*train, *test)}
    if not train or not test:
        raise SettingsError("training on one corpus and testing on another needs both: --train and --test.")
    if both := sorted(set(_names(train)) & set(_names(test))):
        raise SettingsError(
            f"{both[0]} is to be trained on and to be tested; name it once. "
            f"Within one corpus: ser probe --corpus {both[0]}"
        )
    everyone = list(named.values())
    if choice is None:
        choice = common_emotions(everyone)
    check_known(choice, everyone)
    training = tuple(restrict(named[name], choice) for name in _names(train))
    _check_trained(training, train, choice)
    tested = tuple(choose_emotions(named[name], choice) for name in _names(test))
    for one, other in combinations(training, 2):
        # Which of the two is meant, nobody but the user knows: labels and selection may differ.
        _check_recordings(
            one,
            other,
            f"trained on twice; name the one that is meant, --train {one.corpus} or --train {other.corpus}, "
            "beside --train all too.",
        )
    for one, other in product(training, tested):
        _check_recordings(one, other, "trained on and tested; name one of the two corpora.")
    made = {name: made_of([*train, named[name]], choice) for name in _names(test)}
    return Crossing(training, tested, made)


def shared_recordings(one: Manifest, other: Manifest) -> list[tuple[str, str]]:
    """Ids of utterances with identical audio in two corpora, as one has it and as the other has it."""
    by_hash = {utterance.sha256: utterance.id for utterance in one.utterances if utterance.sha256}
    return [(by_hash[u.sha256], u.id) for u in other.utterances if u.sha256 in by_hash]


def cross_split(crossing: Crossing, options: SplitOptions) -> Split:
    """Who trains, validates and is tested, by qualified ids; the test side has all tested corpora.

    Of each training corpus a share validates, speakers apart: with ratios 80/10/10 one part to eight of
    training. The search is that of the split by ratios; two of its sides, of equal size, are both trained on.
    A training corpus of one or two speakers cannot spare any: a share of its utterances validates, which
    ``cross_warnings`` says. It is the epoch that is chosen so; who is tested is somebody else in any case.

    Raises:
        SplitError: a kind of split that does not say who validates, or a training corpus does not allow it.
    """
    if options.kind not in VALIDATING:
        raise SplitError(
            f"--split {options.kind} does not say who validates in training across corpora; "
            f"use {' or '.join(VALIDATING)}."
        )
    share = validation_share(options)
    thirds = replace(options, ratios=((1 - share) / 2, share, (1 - share) / 2))
    sides: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for manifest in crossing.train:
        own_options = replace(thirds, kind="random") if _lacks_speakers(manifest, options) else thirds
        try:
            (own,) = make_splits(manifest.utterances, own_options)
        except SplitError as error:
            raise SplitError(f"{manifest.corpus}, to find who validates: {error}") from error
        sides["train"] += [qualified(manifest.corpus, id_) for id_ in (*own.train, *own.test)]
        sides["validation"] += [qualified(manifest.corpus, id_) for id_ in own.validation]
    for manifest in crossing.test:
        sides["test"] += [qualified(manifest.corpus, utterance.id) for utterance in manifest.utterances]
    train, validation, test = (tuple(sorted(ids)) for ids in sides.values())
    apart = options.kind == "speaker" and not any(_lacks_speakers(m, options) for m in crossing.train)
    return Split("0", train, validation, test, speaker_disjoint=apart)


def _lacks_speakers(manifest: Manifest, options: SplitOptions) -> bool:
    """Whether speakers are to be held out for validation, and there are too few to search among."""
    return options.kind == "speaker" and len(manifest.speakers) < _LEAST_SPEAKERS


def validation_share(options: SplitOptions) -> float:
    """The share of the training corpora that validates: ratios without the part for testing."""
    train, validation, _ = options.ratios
    if not (0 < train < float("inf") and 0 < validation < float("inf")):
        raise SplitError(f"the ratios {options.ratios} must be positive numbers: train, validation, test.")
    return round(validation / (train + validation), 6)


def cross_split_config(options: SplitOptions) -> dict[str, Any]:
    """The options that decide who validates, as JSON.

    They fix the order of batches too, so nothing of those tested is in them.
    """
    return {
        "kind": KIND,
        "seed": options.seed,
        "share": validation_share(options),
        "validation": options.kind,
    }


def cross_warnings(
    split: Split, crossing: Crossing, options: SplitOptions, standardise: str
) -> tuple[str, ...]:
    """What must be known of the training before believing its scores on another corpus, one line each."""
    by_id = {utterance.id: utterance for utterance in crossing.utterances()}
    found = []
    for manifest in crossing.train:
        absent = [name for name in crossing.classes if name not in manifest.emotions]
        if absent:
            found.append(f"{manifest.corpus}, which is trained on, has no {' and no '.join(absent)}")
    validating = {by_id[id_].emotion for id_ in split.validation if id_ in by_id}
    if absent := [name for name in crossing.classes if name not in validating]:
        found.append(f"no {' and no '.join(absent)} on the validation side, which chooses the epoch")
    few = [manifest for manifest in crossing.train if _lacks_speakers(manifest, options)]
    if few:
        names = ", ".join(f"{m.corpus} ({' and '.join(m.speakers)})" for m in few)
        found.append(
            f"too few speakers for one of them to validate: {names}; the epoch is chosen on utterances of "
            "speakers that are trained on too, and those tested are others"
        )
    if options.kind == "random":
        found.append(
            "the epoch is chosen on utterances of speakers that are trained on too; those tested are others"
        )
    if standardise == "speaker":
        found.append(
            "each tested speaker's features are standardised with that speaker's own mean and deviation: no "
            "label is used, but all of the speaker's utterances are (transductive)"
        )
    return tuple(found)


def _names(manifests: Sequence[Manifest]) -> list[str]:
    return sorted({manifest.corpus for manifest in manifests})


def _qualified(corpus: str, utterance: Utterance) -> Utterance:
    return replace(
        utterance, id=qualified(corpus, utterance.id), speaker=qualified(corpus, utterance.speaker)
    )


def _check_trained(
    training: Sequence[ChosenManifest], whole: Sequence[Manifest], choice: EmotionChoice
) -> None:
    """Refuse a class that could be tested and never be learned, and a training corpus without any."""
    trained = {emotion for manifest in training for emotion in manifest.emotions}
    if absent := [name for name in choice.classes if name not in trained]:
        has = "; ".join(f"{manifest.corpus}: {', '.join(manifest.emotions)}" for manifest in whole)
        raise ManifestError(
            f"no training corpus has {' or '.join(absent)}, so that no model can learn it ({has}): leave it "
            "out of --emotions, take emotions together, or train on another corpus."
        )
    for manifest in training:
        if not manifest.utterances:
            raise ManifestError(
                f"{manifest.corpus} has no utterance of {', '.join(choice.classes)}; leave it out of --train."
            )


def _check_recordings(one: Manifest, other: Manifest, consequence: str) -> None:
    shared = shared_recordings(one, other)
    if shared:
        ours, theirs = shared[0]
        raise SplitError(
            f"{one.corpus} and {other.corpus} share {len(shared):,} recordings, such as {ours} and {theirs}: "
            f"these would be {consequence}"
        )
