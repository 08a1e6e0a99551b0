"""Checks of the audio itself that need no split: silent clips, lengths that leak, clipping, mixed formats."""

from __future__ import annotations

from collections import Counter

from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding, counted
from ser_cache.length_leaks import describe_leak, length_leaks

_MANY_SILENT = 0.01
"""Share of a corpus, or ten times that of an emotion: so many clips without speech move a score."""
CLIPPED = 1e-3
"""Share of samples in flat tops from which a clip counts as clipped: about 1 ms of every second."""
_MANY_CLIPPED = 0.01


def check_lengths(facts: Facts) -> list[Finding]:
    """Clips of exactly one length in few emotions are a risk; see ``length_leaks``."""
    leaks = length_leaks(facts.manifest)
    if not leaks:
        return [Finding("lengths", "ok", "no length to the sample that belongs to few emotions")]
    return [
        Finding(
            "lengths",
            "risk",
            describe_leak(leak, facts.manifest).rstrip("."),
            numbers={"samples": leak.samples, "clips": leak.clips, "association": leak.association},
        )
        for leak in leaks
    ]


def check_silent_clips(facts: Facts) -> list[Finding]:
    """Clips without speech: a risk from 1% of the corpus or 10% of an emotion on (two clips), else a note."""
    doubts = {i: measured.doubt for i, measured in facts.measured.items() if measured.doubt}
    if not doubts:
        return [Finding("silent clips", "ok", "no clip is silent or too short", numbers={"clips": 0})]
    of_emotion = Counter(facts.by_id[i].emotion for i in doubts)
    heard = Counter(facts.by_id[i].emotion for i in facts.measured)
    many = [e for e, n in of_emotion.items() if n > 1 and n >= 10 * _MANY_SILENT * heard[e]]
    severe = many or (len(doubts) > 1 and len(doubts) >= _MANY_SILENT * len(facts.measured))
    emotions = ", ".join(f"{emotion} {n:,}" for emotion, n in of_emotion.most_common())
    return [
        Finding(
            "silent clips",
            "risk" if severe else "note",
            f"{len(doubts):,} of {counted(len(facts.measured), 'clip')} can hardly hold speech ({emotions})",
            "nothing but their label can be learned from them: replace them or leave them out",
            tuple(f"{identifier} ({doubt})" for identifier, doubt in sorted(doubts.items())),
            {"clips": len(doubts), "of_emotion": dict(of_emotion)},
        )
    ]


def check_clipping(facts: Facts) -> list[Finding]:
    """Clipped clips, a note from 1% on; whether clipping tells the emotion, the cue "clipping" measures."""
    clipped = sorted(i for i, measured in facts.measured.items() if measured.clipped >= CLIPPED)
    share = len(clipped) / len(facts.measured)
    numbers = {"clips": len(clipped), "share": share}
    if share < _MANY_CLIPPED:
        return [Finding("clipped clips", "ok", "hardly a clip is clipped", numbers=numbers)]
    what = f"{len(clipped):,} of {counted(len(facts.measured), 'clip')} clipped (over 0.1% in flat tops)"
    return [Finding("clipped clips", "note", what, "", tuple(clipped), numbers)]


def check_formats(facts: Facts) -> list[Finding]:
    """Several formats, a note; whether they tell the emotion is measured by the cue "format"."""
    formats = Counter(measured.format for measured in facts.measured.values())
    numbers = {"formats": dict(formats.most_common())}
    if len(formats) == 1:
        return [Finding("mixed formats", "ok", f"all clips are {next(iter(formats))}", numbers=numbers)]
    examples = tuple(f"{format_} ({n:,})" for format_, n in formats.most_common())
    what = f"clips in {len(formats)} formats"
    return [Finding("mixed formats", "note", what, "", examples, numbers)]
