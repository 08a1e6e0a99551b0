"""The labels that clusters are compared with: emotion, and what else the features may be about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ser_cache.errors import ClusteringError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

LABELS = ("emotion", "speaker", "gender", "sentence", "intensity", "age", "race", "ethnicity", "language")
"""Columns of the manifest that are compared with where they tell at least two groups apart, in this order."""
_YEARS = re.compile(r"[0-9]{1,3}")


def label_sets(utterances: Sequence[Utterance], further: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Every label worth comparing with, by name: the value of each utterance, "" where it is not known.

    A label whose groups are fewer than two, or of one utterance each, can agree with no clusters and is left
    out. Ages are grouped by decades.

    Args:
        utterances: of the corpus.
        further: columns of the manifest beside ``LABELS``, which stay in whatever their groups are.

    Raises:
        ClusteringError: a further column that no utterance has a value in.
    """
    extras = [dict(utterance.extra) for utterance in utterances]
    found: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys([*LABELS, *further]):
        if name in LABELS:
            values = tuple(str(getattr(utterance, name)) for utterance in utterances)
        else:
            values = tuple(extra.get(name, "") for extra in extras)
        values = tuple(map(decade, values)) if name == "age" else values
        sizes = Counter(filter(None, values))
        if name in further and not sizes:
            columns = sorted({column for extra in extras for column in extra})
            raise ClusteringError(
                f"no utterance has a {name!r} to compare with; further columns of this manifest are: "
                f"{', '.join(columns) or 'none'}."
            )
        if name in further or (len(sizes) > 1 and max(sizes.values()) > 1):
            found[name] = values
    return found


def decade(age: str) -> str:
    """The ten years an age belongs to, "20-29"; an age that is no number of years stays as it is written."""
    if not _YEARS.fullmatch(age):
        return age
    first = int(age) // 10 * 10
    return f"{first}-{first + 9}"


def groups_of(labels: Mapping[str, Sequence[str]], name: str) -> int:
    """How many groups a label tells apart.

    Raises:
        UnknownNameError: the corpus has no such label.
    """
    if name not in labels:
        raise UnknownNameError("label", name, labels, "Those are the labels of this corpus with two groups.")
    return len(set(filter(None, labels[name])))
