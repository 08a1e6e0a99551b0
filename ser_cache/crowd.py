"""What listeners and viewers chose for a clip: votes over emotions, and what follows from them.

A manifest holds votes in columns called ``<modality>_votes``, such as ``voice_votes``, with cells such as
``anger:6 disgust:2 neutral:1``. Everything else about a crowd (how many rated, which emotion won, how far
they agreed, how many heard what was meant) follows from these counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ser_cache.errors import ManifestError

VOTES_SUFFIX = "_votes"
"""A column of a manifest with this ending holds votes; what stands before it is the modality."""
TIE = ":"
"""Stands between the emotions that share the first place, as in CREMA-D's own tables."""

_VOTE = re.compile(r"(?P<emotion>[^:]+):(?P<count>[0-9]{1,9})")


def format_votes(counts: Mapping[str, int]) -> str:
    """Votes as a cell: ``anger:6 disgust:2``, in the order given, without emotions that nobody chose."""
    return " ".join(f"{emotion.replace(' ', '_')}:{count}" for emotion, count in counts.items() if count)


def read_votes(cell: str) -> dict[str, int]:
    """The votes of a cell, emotion to count; empty for an empty cell.

    Raises:
        ManifestError: the cell is not of that form, or an emotion stands in it twice.
    """
    counts: dict[str, int] = {}
    for word in cell.split():
        match = _VOTE.fullmatch(word)
        emotion = match["emotion"].replace("_", " ") if match else ""
        if match is None or emotion in counts:
            raise ManifestError(
                f"the votes {cell[:80]!r} cannot be read; write them like 'anger:6 disgust:2', each once."
            )
        counts[emotion] = int(match["count"])
    return counts


def winners(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The emotions with the most votes, in the order of the counts; several where they tie."""
    most = max(counts.values(), default=0)
    return tuple(emotion for emotion, count in counts.items() if count == most and most)


def agreement(counts: Mapping[str, int]) -> float:
    """The share of raters who chose the winning emotion, or any one of those that tie; needs a vote."""
    return max(counts.values()) / sum(counts.values())


def share(counts: Mapping[str, int], emotion: str) -> float:
    """The share of raters who chose this emotion; needs a vote."""
    return counts.get(emotion, 0) / sum(counts.values())
