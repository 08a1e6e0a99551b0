"""Checks of which emotions stand on which side, and whether enough of each."""

from __future__ import annotations

from collections import Counter

from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding, counted, folds_in_words
from ser_cache.splits import SIDES

_FEW = 25
"""Clips tested of one emotion: its recall then has a standard error of up to 10 points (50 / sqrt(n))."""
_TOO_FEW = 5
"""Here it is up to 22 points, and one clip moves macro F1 over four classes by five."""


def check_classes(facts: Facts) -> list[Finding]:
    """Emotions that are missing from a side, or of which so few are tested that their score means little.

    Folds are pooled, as scores are: an emotion that no fold tests, or under 5 clips of it, is a risk, and so
    is one that no fold learns. One that some folds lack, or under 25 tested clips of it, is a note.
    """
    pooled: dict[str, Counter[str]] = {side: Counter() for side in SIDES}
    lacking: Counter[tuple[str, str]] = Counter()
    for split in facts.splits:
        for side in SIDES:
            here = Counter(facts.by_id[identifier].emotion for identifier in split.side(side))
            pooled[side].update(here)
            lacking.update((side, emotion) for emotion in facts.manifest.emotions if not here[emotion])
    found = []
    for emotion in facts.manifest.emotions:
        if not pooled["train"][emotion]:
            found.append(_absent("training", emotion))
        if not pooled["test"][emotion]:
            found.append(_absent("test", emotion))
        elif pooled["test"][emotion] < _FEW:
            found.append(_rare(emotion, pooled["test"][emotion]))
        found += [
            _sometimes_absent(side, emotion, lacking[side, emotion], len(facts.splits))
            for side in SIDES
            if lacking[side, emotion] and (pooled[side][emotion] or side == "validation")
        ]
    least = min(pooled["test"][emotion] for emotion in facts.manifest.emotions)
    ok = f"every emotion on every side, at least {counted(least, 'clip')} of each tested"
    return found or [Finding("classes", "ok", ok, numbers={"tested": least})]


def _absent(side: str, emotion: str) -> Finding:
    return Finding(
        "classes",
        "risk",
        f"no {emotion} on the {side} side" + (" of any fold" if side == "training" else ""),
        "scores leave it out without a word: choose another split, or take it out of the manifest",
        numbers={"emotion": emotion, "side": side, "clips": 0},
    )


def _rare(emotion: str, clips: int) -> Finding:
    severe = clips < _TOO_FEW
    return Finding(
        "classes",
        "risk" if severe else "note",
        f"{counted(clips, 'clip')} of {emotion} tested: its recall is uncertain by {50 / clips**0.5:.0f} points",
        "pool more folds (--split loso or folds), or leave it out" if severe else "",
        numbers={"emotion": emotion, "side": "test", "clips": clips},
    )


def _sometimes_absent(side: str, emotion: str, folds: int, of: int) -> Finding:
    called = "training" if side == "train" else side
    return Finding(
        "classes",
        "note",
        f"no {emotion} on the {called} side{folds_in_words(folds, of)}",
        numbers={"emotion": emotion, "side": side, "folds": folds},
    )
