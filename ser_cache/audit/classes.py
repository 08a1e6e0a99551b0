"""Checks of which emotions stand on which side, and whether enough of each."""

from __future__ import annotations

from collections import Counter

from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding, Severity, counted, folds_in_words
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
        found += [
            _sometimes_absent(side, emotion, lacking[side, emotion], len(facts.splits))
            for side in SIDES
            if lacking[side, emotion] and (pooled[side][emotion] or side == "validation")
        ]
    found += _rare(pooled["test"])
    least = min(pooled["test"][emotion] for emotion in facts.manifest.emotions)
    ok = f"every emotion on every side, at least {counted(least, 'clip')} of each tested"
    return found or [Finding("classes", "ok", ok, numbers={"tested": least})]


def _absent(side: str, emotion: str) -> Finding:
    return Finding(
        "classes",
        "risk",
        f"no {emotion} on the {side} side" + (" of any fold" if side == "training" else ""),
        "scores leave it out without a word: choose another split, or take it out of the manifest",
        numbers={"emotion": emotion, "side": side},
    )


def _rare(tested: Counter[str]) -> list[Finding]:
    """One finding for emotions of which too few clips are tested, one for those of which few are."""
    severities: tuple[tuple[Severity, range, str], ...] = (
        ("risk", range(1, _TOO_FEW), "pool more folds (--split loso or folds), or leave such emotions out"),
        ("note", range(_TOO_FEW, _FEW), "pooling more folds (--split loso or folds) would help"),
    )
    found = []
    for severity, counts, advice in severities:
        few = {emotion: tested[emotion] for emotion in sorted(tested) if tested[emotion] in counts}
        if few:
            worst = 50 / min(few.values()) ** 0.5
            what = (
                f"few clips tested of {counted(len(few), 'emotion')}, "
                f"whose recall is uncertain by up to {worst:.0f} points"
            )
            such = tuple(f"{emotion} ({clips})" for emotion, clips in few.items())
            found.append(Finding("classes", severity, what, advice, such, {"side": "test", "clips": few}))
    return found


def _sometimes_absent(side: str, emotion: str, folds: int, of: int) -> Finding:
    called = "training" if side == "train" else side
    return Finding(
        "classes",
        "note",
        f"no {emotion} on the {called} side{folds_in_words(folds, of)}",
        numbers={"emotion": emotion, "side": side, "folds": folds},
    )
