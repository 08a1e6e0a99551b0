"""How often an audit of an innocent corpus shows a risk: ``python benchmarks/audit_false_alarms.py``.

Each corpus is drawn anew: 4 to 16 speakers, 3 to 7 emotions, 4 to 10 clips of each by each speaker; lengths,
levels, silence, padding, clipping, format and sentence depend on the speaker and on chance, not on emotions.
No audio is made: measurements are drawn. Half of the corpora are audited under loso, half under folds.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ser_cache.audit import AuditOptions, Report, audit
from ser_cache.audit.acoustics import Measurement
from ser_cache.manifest import Manifest, Utterance
from ser_cache.splits import SplitOptions

EMOTIONS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")


@dataclass(frozen=True)
class MadeUp:
    """A corpus without audio: its manifest, and measurements by id."""

    manifest: Manifest
    measured: dict[str, Measurement]


def innocent(seed: int) -> MadeUp:
    """A corpus in which nothing but chance ties an emotion to anything."""
    generator = np.random.default_rng(seed)
    emotions = EMOTIONS[: int(generator.integers(3, 8))]
    least = int(generator.integers(4, 9))
    clips, measured = [], {}
    for speaker in range(int(generator.integers(4, 17))):
        habit = generator.normal(size=4)
        rate = int(generator.choice([16_000, 44_100, 48_000]))
        for emotion in emotions:
            for take in range(int(generator.integers(least, least + 3))):
                name = f"s{speaker:02d}_{emotion}_{take}"
                length = max(8000, int(16_000 * np.exp(0.9 + 0.1 * habit[0] + 0.25 * generator.normal())))
                one = _measurement(name, length, rate, habit, generator)
                sentence = f"t{generator.integers(8)}"
                clips.append(_utterance(name, speaker, emotion, length, one.sha256, sentence))
                measured[name] = one
    clips.sort(key=lambda clip: clip.id)
    return MadeUp(Manifest("made", tuple(clips)), measured)


def _utterance(name: str, speaker: int, emotion: str, length: int, sha256: str, sentence: str) -> Utterance:
    return Utterance(
        id=name,
        path=f"{name}.wav",
        speaker=f"s{speaker:02d}",
        emotion=emotion,
        code=emotion,
        language="",
        samples=length,
        sha256=sha256,
        sentence=sentence,
    )


def _measurement(
    name: str, length: int, rate: int, habit: np.ndarray, generator: np.random.Generator
) -> Measurement:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Measurement(
        sha256=digest,
        content=digest,
        rate=rate,
        channels=int(generator.integers(1, 3)),
        container="WAV",
        coding="PCM_16",
        seconds=length / 16_000,
        leading=abs(0.3 + 0.1 * habit[1] + 0.1 * generator.normal()),
        trailing=abs(0.3 + 0.1 * habit[2] + 0.1 * generator.normal()),
        padding=float(max(0, generator.normal())),
        level=-30 + 3 * habit[3] + 4 * generator.normal(),
        peak=-6.0,
        clipped=float(max(0, 0.002 * generator.normal())),
        doubt="",
        words=np.zeros(0, np.uint32),
    )


def audited(seed: int) -> Report:
    """The report on one corpus."""
    made = innocent(seed)
    options = AuditOptions(SplitOptions("loso" if seed % 2 else "folds", folds=4))
    return audit(made.manifest, made.measured, options)


def main() -> None:
    """Audit many corpora, and count risks by check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    alarms: Counter[str] = Counter()
    flagged = 0
    started = perf_counter()
    for seed in range(given.first, given.first + given.audits):
        risks = audited(seed).risks
        flagged += bool(risks)
        alarms.update(risk.check for risk in risks)
    # Clopper and Pearson's upper end; for none of n it is about 3 / n.
    from scipy.stats import beta

    upper = beta.ppf(0.95, flagged + 1, given.audits - flagged) if flagged < given.audits else 1.0
    print(f"{flagged} of {given.audits} innocent corpora show a risk ({100 * flagged / given.audits:.2f}%,")
    print(f"with 95% confidence at most {100 * upper:.2f}%), {perf_counter() - started:.0f} s")
    for check, count in alarms.most_common():
        print(f"  {check}: {count}")


if __name__ == "__main__":
    main()
