"""Checks of who speaks and what is said: on which sides, and whether a speaker has one emotion only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding, counted, folds_in_words

_CHANCE = 1e-3
"""That any speaker has one emotion only where clips' emotions are drawn from the corpus's."""


def check_speakers(facts: Facts) -> list[Finding]:
    """Speakers who are tested and also learned from are a risk: scores are too high for new speakers.

    On EMOVO a linear head gains 30 points of macro F1 that way. A speaker who is in training and validation
    only is a note: the epoch is chosen on a known voice, and the test is still honest.
    """
    shared = facts.shared({utterance.id: utterance.speaker for utterance in facts.utterances})
    tested = _tested(shared)
    if tested:
        dependent = all(not split.speaker_disjoint for split in facts.splits)
        share = _share_of_tested_clips(facts, set(tested))
        whom = f"{len(tested)} of {counted(len(facts.manifest.speakers), 'speaker')}"
        where = folds_in_words(_folds(tested), len(facts.splits))
        return [
            Finding(
                "speakers",
                "risk",
                f"{whom} on both the training and the test side{where} ({100 * share:.0f}% of tested clips)",
                "scores are too high for new speakers: use --split speaker, loso or folds"
                if dependent
                else "the split is not what it claims",
                tuple(tested),
                {"speakers": len(tested), "share_of_tested_clips": share},
            )
        ]
    if chosen := shared["train", "validation"]:
        return [
            Finding(
                "speakers",
                "note",
                f"{counted(len(chosen), 'speaker')} on both the training and the validation side, not tested",
                "the best epoch is chosen on known voices",
                tuple(chosen),
                {"speakers": len(chosen), "share_of_tested_clips": 0.0},
            )
        ]
    return [
        Finding(
            "speakers", "ok", "no speaker on two sides", numbers={"speakers": 0, "share_of_tested_clips": 0.0}
        )
    ]


def check_sentences(facts: Facts) -> list[Finding]:
    """Sentences that are tested and learned from, a note: acted corpora with fixed sentences all share them.

    Whether a sentence tells its emotion, which makes sharing it a risk, is measured by the cue "sentence".
    """
    named = {utterance.id: utterance.sentence for utterance in facts.utterances if utterance.sentence}
    tested = _tested(facts.shared(named))
    if not named:
        return [Finding("sentences", "ok", "the manifest names no sentences", numbers={"sentences": 0})]
    if not tested:
        return [Finding("sentences", "ok", "no sentence on two sides", numbers={"sentences": 0})]
    return [
        Finding(
            "sentences",
            "note",
            f"{len(tested)} of {counted(len(set(named.values())), 'sentence')} on both the training and the "
            f"test side{folds_in_words(_folds(tested), len(facts.splits))}, as usual where all "
            "speakers say the same",
            "scores say little of other sentences",
            tuple(tested),
            {"sentences": len(tested)},
        )
    ]


def check_emotions_of_speakers(facts: Facts) -> list[Finding]:
    """Speakers with one emotion only are a risk, unless they have so few clips that chance explains it.

    A head can then learn the voice for the emotion. Chance: a speaker of n clips has emotion e alone with the
    probability (share of e in the corpus)^n, summed over emotions; times the number of speakers it must be
    under 0.001.
    """
    emotions: dict[str, Counter[str]] = defaultdict(Counter)
    for utterance in facts.utterances:
        emotions[utterance.speaker][utterance.emotion] += 1
    shares = [
        count / len(facts.utterances) for count in Counter(u.emotion for u in facts.utterances).values()
    ]
    single = {speaker: next(iter(own)) for speaker, own in sorted(emotions.items()) if len(own) == 1}
    certain = {
        speaker: emotion
        for speaker, emotion in single.items()
        if len(emotions) * sum(share ** emotions[speaker].total() for share in shares) < _CHANCE
    }
    lacking = [speaker for speaker, own in sorted(emotions.items()) if len(own) < len(shares)]
    numbers = {"one_emotion": len(single), "beyond_chance": len(certain), "lacking_some": len(lacking)}
    if len(shares) > 1 and certain:
        clips = sum(emotions[speaker].total() for speaker in certain)
        return [
            Finding(
                "emotions of speakers",
                "risk",
                f"{len(certain)} of {counted(len(emotions), 'speaker')} with one emotion only ({clips:,} of "
                f"{counted(len(facts.utterances), 'clip')})",
                "their voices give the label away: check the labels, or leave these speakers out",
                tuple(f"{speaker} ({emotion})" for speaker, emotion in certain.items()),
                numbers,
            )
        ]
    if lacking:
        return [
            Finding(
                "emotions of speakers",
                "note",
                f"{len(lacking)} of {counted(len(emotions), 'speaker')} without some of the emotions",
                examples=tuple(f"{s} ({len(emotions[s])} of {len(shares)})" for s in lacking),
                numbers=numbers,
            )
        ]
    return [Finding("emotions of speakers", "ok", "every speaker shows every emotion", numbers=numbers)]


def _tested(shared: Mapping[tuple[str, str], Mapping[str, int]]) -> dict[str, int]:
    """Names that are tested and also trained or validated on, sorted, with the folds where that is so."""
    trained, validated = shared["train", "test"], shared["validation", "test"]
    return {
        name: max(trained.get(name, 0), validated.get(name, 0)) for name in sorted({*trained, *validated})
    }


def _folds(names: Mapping[str, int]) -> int:
    """In how many folds at most one of the names is on both sides."""
    return max(names.values())


def _share_of_tested_clips(facts: Facts, speakers: set[str]) -> float:
    """Share of the tested clips, over all folds, whose speaker is also learned from in that fold."""
    of_known = tested = 0
    for split in facts.splits:
        known = {facts.by_id[i].speaker for i in split.train + split.validation} & speakers
        of_known += sum(facts.by_id[i].speaker in known for i in split.test)
        tested += len(split.test)
    return of_known / tested
