"""Which of a corpus's emotions are classes, and which are taken together: what makes corpora comparable.

Corpora differ in their emotions: one has boredom, another keeps calm apart from neutral. A choice of
emotions names the classes and what goes into each; a manifest restricted to it is a manifest again, with the
classes as its emotions, and knows what was left out. Splits, training and scores take it as any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from ser_cache.errors import ManifestError, SettingsError, UnknownNameError
from ser_cache.manifest import CANONICAL_EMOTIONS, Manifest
from ser_cache.tables import emotion_complaint

_FORM = "write anger,happiness=happiness+surprise,neutral, for example"


@dataclass(frozen=True)
class EmotionChoice:
    """Classes, and the emotions that each is made of.

    Attributes:
        classes: class to its emotions; both sorted, so that equal choices are equal however they were typed.
    """

    classes: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, classes: Mapping[str, Iterable[str]]) -> EmotionChoice:
        """Make a choice.

        Args:
            classes: class to its emotions.

        Raises:
            SettingsError: fewer than two classes, an empty class, an emotion in two classes, or a name that
                is not in lower-case words.
        """
        made = {name: tuple(sorted(dict.fromkeys(members))) for name, members in sorted(classes.items())}
        placed: dict[str, str] = {}
        for name, members in made.items():
            for emotion in (name, *members):
                if complaint := emotion_complaint(emotion):
                    raise SettingsError(f"--emotions: {complaint} {_FORM[0].upper()}{_FORM[1:]}.")
            for emotion in members:
                other = placed.setdefault(emotion, name)
                if other != name:
                    raise SettingsError(f"--emotions: {emotion} is in {other} and in {name}; choose one.")
        if len(made) < 2:
            raise SettingsError(
                f"--emotions names {', '.join(made) or 'nothing'}; a classifier needs two or more."
            )
        return cls(made)

    @classmethod
    def parse(cls, text: str) -> EmotionChoice:
        """Read a choice: classes with commas, each ``emotion`` or ``class=emotion+emotion``.

        Raises:
            SettingsError: it is not of that form; and as :meth:`of`.
        """
        classes: dict[str, list[str]] = {}
        for part in text.split(","):
            name, equals, members = (piece.strip() for piece in part.partition("="))
            emotions = [piece.strip() for piece in members.split("+")] if equals else [name]
            if not name or not all(emotions) or "+" in name:
                raise SettingsError(f"--emotions {text}: {part.strip()!r} is no class; {_FORM}.")
            if name in classes:
                raise SettingsError(f"--emotions {text}: the class {name} stands there twice; {_FORM}.")
            classes[name] = emotions
        return cls.of(classes)

    @classmethod
    def from_map(cls, class_of: Mapping[str, str]) -> EmotionChoice:
        """Make a choice from the class of each emotion; emotions that are not in it are left out.

        Raises:
            SettingsError: as :meth:`of`.
        """
        classes: dict[str, list[str]] = {}
        for emotion, name in class_of.items():
            classes.setdefault(name, []).append(emotion)
        return cls.of(classes)

    @property
    def emotions(self) -> tuple[str, ...]:
        """All emotions of all classes, sorted."""
        return tuple(sorted(emotion for members in self.classes.values() for emotion in members))

    def __str__(self) -> str:
        """As it is typed, in the order of the classes."""
        return emotions_text(self.classes)


@dataclass(frozen=True)
class ChosenManifest(Manifest):
    """A manifest restricted to a choice of emotions; its utterances have their class as their emotion.

    Attributes:
        made_of: the emotions of each class that the corpus has; empty where every emotion of the corpus is a
            class by itself, since nothing was changed then.
        left_out: how many utterances of each other emotion the whole manifest has.
    """

    made_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What was kept and what was not: ``588 utterances: 336 of the 4 emotions, 252 left out (...)``."""
        gone = sum(self.left_out.values())
        kept = f"{len(self) + gone:,} utterances: {len(self):,} of the {len(self.emotions)} emotions"
        if not gone:
            return f"{kept}, none left out"
        return (
            f"{kept}, {gone:,} left out ({', '.join(f'{name} {n:,}' for name, n in self.left_out.items())})"
        )


def choose_emotions(manifest: Manifest, choice: EmotionChoice) -> ChosenManifest:
    """Restrict a manifest to the emotions of some classes, and label its utterances with these.

    A class needs one of its emotions: with ``neutral=neutral+calm`` a corpus without calm has neutral alone.

    Args:
        manifest: whole.
        choice: the classes.

    Raises:
        ManifestError: the corpus has no utterance of a class; the message lists what it has.
    """
    counts = Counter(utterance.emotion for utterance in manifest.utterances)
    absent = absent_classes(manifest, choice)
    if absent:
        has = ", ".join(f"{emotion} {counts[emotion]:,}" for emotion in manifest.emotions)
        raise ManifestError(
            f"{manifest.corpus} has no {' and no '.join(absent)}; it has {has}: "
            "choose among these with --emotions."
        )
    return restrict(manifest, choice)


def absent_classes(manifest: Manifest, choice: EmotionChoice) -> tuple[str, ...]:
    """The classes that a corpus has no utterance of, sorted."""
    has = set(manifest.emotions)
    return tuple(name for name, members in choice.classes.items() if not has & set(members))


def restrict(manifest: Manifest, choice: EmotionChoice) -> ChosenManifest:
    """As :func:`choose_emotions`, of a corpus that need not have every class."""
    class_of = {emotion: name for name, members in choice.classes.items() for emotion in members}
    counts = Counter(utterance.emotion for utterance in manifest.utterances)
    kept = tuple(
        utterance
        if class_of[utterance.emotion] == utterance.emotion
        else replace(utterance, emotion=class_of[utterance.emotion])
        for utterance in manifest.utterances
        if utterance.emotion in class_of
    )
    left_out = {emotion: n for emotion, n in sorted(counts.items()) if emotion not in class_of}
    return ChosenManifest(manifest.corpus, kept, made_of([manifest], choice), left_out)


def made_of(manifests: Sequence[Manifest], choice: EmotionChoice) -> dict[str, tuple[str, ...]]:
    """Which emotions some corpora have of each class of a choice, and so what a choice comes to.

    What was typed beyond that changes nothing and must not make a run look different.

    Returns:
        Class to emotions; empty where every emotion of the corpora is a class by itself.
    """
    has = {emotion for manifest in manifests for emotion in manifest.emotions}
    found = {name: tuple(e for e in members if e in has) for name, members in choice.classes.items()}
    found = {name: members for name, members in found.items() if members}
    unchanged = set(found) == has and all(members == (name,) for name, members in found.items())
    return {} if unchanged else found


def common_emotions(manifests: Sequence[Manifest]) -> EmotionChoice:
    """The emotions that all of some corpora have, each a class.

    Raises:
        SettingsError: there are fewer than two; the message lists what each corpus has.
    """
    shared = set.intersection(*(set(manifest.emotions) for manifest in manifests))
    if len(shared) < 2:
        has = "; ".join(f"{manifest.corpus}: {', '.join(manifest.emotions)}" for manifest in manifests)
        what = f"only the emotion {min(shared)}" if shared else "no emotion"
        raise SettingsError(
            f"these corpora have {what} in common ({has}); take emotions together with --emotions, such as "
            "neutral=neutral+calm, or name other corpora."
        )
    return EmotionChoice.of({emotion: (emotion,) for emotion in shared})


def check_known(choice: EmotionChoice, manifests: Iterable[Manifest]) -> None:
    """Refuse an emotion that is no usual one and that no corpus has, which is a slip.

    Raises:
        UnknownNameError: there is one; the message lists what the corpora have.
    """
    has = {emotion for manifest in manifests for emotion in manifest.emotions}
    for emotion in choice.emotions:
        if emotion not in has and emotion not in CANONICAL_EMOTIONS:
            raise UnknownNameError("emotion", emotion, has)


def emotions_text(classes: Mapping[str, Sequence[str]]) -> str:
    """Classes as they are typed after ``--emotions``; empty for none."""
    return ",".join(
        name if list(members) == [name] else f"{name}={'+'.join(members)}"
        for name, members in sorted(classes.items())
    )


_LIKENESS = 0.8  # of difflib's ratio, one letter in eight; "calm" and "clam", both words, stand at 0.75


def likely_slips(manifest: Manifest) -> dict[str, tuple[int, str]]:
    """Emotions that are none of the usual ones and written nearly like one, or like a commoner one here.

    Returns:
        Emotion to how many clips have it and what was probably meant.
    """
    counts = Counter(utterance.emotion for utterance in manifest.utterances)
    found = {}
    for emotion in sorted(counts.keys() - set(CANONICAL_EMOTIONS)):
        others = [other for other in counts if counts[other] > counts[emotion]]
        nearest = get_close_matches(emotion, [*CANONICAL_EMOTIONS, *others], n=1, cutoff=_LIKENESS)
        if nearest:
            found[emotion] = (counts[emotion], nearest[0])
    return found
