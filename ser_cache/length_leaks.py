"""Whether the length of a clip gives its emotion away.

A corpus that somebody cut or padded to one length, but not all of it, is a trap that no listening uncovers:
a model that finds the end of the audio, or the padding, has found the label. Scores are then too good, and
every check of speakers and sentences passes. Making a manifest says so, an audit, a description, and every
score: whoever trains on a corpus is not always who imported it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ser_cache.manifest import SAMPLE_RATE, Manifest

_LEAST_SHARE = 0.05  # of all clips: fewer cannot move a score by more than that
_LEAST_CLIPS = 10
_LEAST_ASSOCIATION = 0.5  # Cramér's V; Cohen's "large" effect for a table with two rows
_MOST_CHANCE = 1e-6  # so rarely would chance alone do it in one corpus, with 20 lengths tried at most


@dataclass(frozen=True)
class LengthLeak:
    """Clips of exactly one length that are unusually many and of few emotions.

    Attributes:
        samples: the length at 16 kHz.
        clips: how many have it.
        emotions: where it is more common than in the whole corpus: (emotion, clips of this length, its
            clips), the largest share first.
        association: Cramér's V between having this length and the emotion, 0 to 1.
    """

    samples: int
    clips: int
    emotions: tuple[tuple[str, int, int], ...]
    association: float


def length_leaks(manifest: Manifest, max_seconds: float | None = None) -> tuple[LengthLeak, ...]:
    """The lengths that give emotions away, the most common first; empty for a corpus as it was recorded.

    A length counts when all of these hold:

    - At least 5% of the clips, and at least 10, have exactly so many samples. Lengths of recorded speech
      differ by chance and hardly ever agree to the sample; those of cut or padded clips do. Corpora that are
      edited on a grid, such as RAVDESS on video frames, have common lengths too, in all emotions alike.
    - Having this length and the emotion are associated: Cramér's V, the root of chi-square over the number of
      clips, is at least 0.5 (the copy of EmoDB in circulation with clips cut to 2 s: 0.76). It is 0 where all
      clips have the length, or every emotion has its share of it, and small where durations merely differ
      between emotions and are rounded coarsely.
    - Chance does not explain that: chi-square with (emotions - 1) degrees of freedom has p < 1e-6. In a
      corpus of few clips V is large by accident.

    It says nothing about durations that differ without being cut, as sad speech is slower: that is speech.

    Args:
        manifest: with true lengths.
        max_seconds: how much of each clip is worked through; None for all of it. Clips that were cut to 2 s
            give nothing away where every clip is cut to its first 2 s or less.
    """
    emotions = Counter(utterance.emotion for utterance in manifest.utterances)
    if len(emotions) < 2:
        return ()
    least = max(_LEAST_CLIPS, _LEAST_SHARE * len(manifest))
    lengths = Counter(utterance.samples for utterance in manifest.utterances)
    found = []
    for samples, clips in lengths.most_common():
        if clips < least:
            break
        if max_seconds is not None and samples >= round(max_seconds * SAMPLE_RATE):
            continue  # all longer clips end there too
        having = Counter(u.emotion for u in manifest.utterances if u.samples == samples)
        leak = _leak(samples, having, emotions)
        if leak is not None:
            found.append(leak)
    return tuple(found)


def _leak(samples: int, having: Counter[str], emotions: Counter[str]) -> LengthLeak | None:
    clips, total = having.total(), emotions.total()
    if clips == total:
        return None
    # Of the table with the rows "has this length" and "has another"; each emotion's two terms are joined.
    expected = {emotion: clips * count / total for emotion, count in emotions.items()}
    chi_square = sum(
        (having[emotion] - expected[emotion]) ** 2 / (expected[emotion] * (1 - clips / total))
        for emotion in emotions
    )
    association = (chi_square / total) ** 0.5
    if association < _LEAST_ASSOCIATION or _chance(chi_square, len(emotions) - 1) > _MOST_CHANCE:
        return None
    above = [
        (emotion, having[emotion], count)
        for emotion, count in emotions.items()
        if having[emotion] > expected[emotion]
    ]
    above.sort(key=lambda one: (-one[1] / one[2], one[0]))
    return LengthLeak(samples, clips, tuple(above), association)


def _chance(chi_square: float, freedom: int) -> float:
    from scipy.special import chdtrc  # takes a moment to import, and hardly any corpus needs it

    return float(chdtrc(freedom, chi_square))


def leak_warnings(manifest: Manifest, max_seconds: float | None = None) -> tuple[str, ...]:
    """What must be known of clip lengths before believing a score, a line for each that gives emotions away.

    Args:
        manifest: what is trained on; where emotions were chosen, restricted to these.
        max_seconds: as for :func:`length_leaks`.
    """
    return tuple(
        f"{_counted(leak, manifest)} {', '.join(emotion for emotion, _, _ in leak.emotions)}: length alone "
        f"tells these, so scores may be too good; see: ser audit --corpus {manifest.corpus}"
        for leak in length_leaks(manifest, max_seconds)
    )


def describe_leak(leak: LengthLeak, manifest: Manifest) -> str:
    """A leak in one sentence, and what to do about it."""
    names = ", ".join(f"{emotion} {count:,} of {all_:,}" for emotion, count, all_ in leak.emotions)
    return (
        f"{_counted(leak, manifest)} "
        f"{len(leak.emotions)} of {len(manifest.emotions)} emotions ({names}): a classifier can tell these "
        "by length alone, and its scores would be too good. These clips look cut or padded; use the original "
        "recordings, and read scores on this copy with that in mind."
    )


def _counted(leak: LengthLeak, manifest: Manifest) -> str:
    """How many clips have the length, up to the emotions that most of them are of."""
    inside = sum(count for _, count, _ in leak.emotions)
    whose = "all of them" if inside == leak.clips else f"{inside:,} of them"
    seconds = leak.samples / SAMPLE_RATE
    return f"{leak.clips:,} of {len(manifest):,} clips are exactly {seconds:.3f} s, {whose} in"
