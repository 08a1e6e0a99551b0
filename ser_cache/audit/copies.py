"""Clips that hold one recording: equal bytes, equal samples in another format, or nearly equal sound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ser_cache.audit.acoustics import Measurement
from ser_cache.audit.matching import matches
from ser_cache.manifest import Utterance

KINDS = ("equal bytes", "equal samples", "nearly equal sound")
"""How alike copies are, the most alike first."""


@dataclass(frozen=True)
class CopyGroup:
    """Clips that are copies of each other, directly or through others.

    Attributes:
        ids: two or more, sorted.
        kind: the least alike of the links that hold the group together, one of ``KINDS``.
        errors: the largest share of fingerprint bits that differ between linked clips; 0 for equal ones.
    """

    ids: tuple[str, ...]
    kind: str
    errors: float


def find_copies(
    utterances: Sequence[Utterance], measured: Mapping[str, Measurement]
) -> tuple[CopyGroup, ...]:
    """Groups of copies, sorted by their first id; without measurements only those of equal bytes.

    Silent clips all sound alike, so they are no copies of each other; another check names them.

    Args:
        utterances: the clips.
        measured: what was measured of each, by id; it may lack some.
    """
    ids = [u.id for u in utterances if not (u.id in measured and measured[u.id].doubt == "silent")]
    sha256_of = {utterance.id: utterance.sha256 for utterance in utterances}
    heard = [identifier for identifier in ids if identifier in measured]
    links = [(one, other, 0, 0.0) for one, other in _neighbours(ids, sha256_of)]
    contents = {identifier: measured[identifier].content for identifier in heard}
    links += [(one, other, 1, 0.0) for one, other in _neighbours(heard, contents)]
    # One clip of each content: equal clips need no fingerprints, and would fill the search with each other.
    distinct = list({contents[identifier]: identifier for identifier in reversed(heard)}.values())
    distinct.sort()
    found = matches([measured[identifier].words for identifier in distinct])
    links += [(distinct[m.first], distinct[m.second], 2, m.errors) for m in found]
    return _groups(links)


def _neighbours(ids: Iterable[str], key_of: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each id and the next with the same key: enough to hold a group together."""
    groups = defaultdict(list)
    for identifier in ids:
        groups[key_of[identifier]].append(identifier)
    return [pair for group in groups.values() for pair in pairwise(group)]


def _groups(links: Sequence[tuple[str, str, int, float]]) -> tuple[CopyGroup, ...]:
    """What links join, each link (one id, another, place in ``KINDS``, errors)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not links:
        return ()
    names = sorted({identifier for link in links for identifier in link[:2]})
    place = {identifier: number for number, identifier in enumerate(names)}
    ends = np.array([(place[one], place[other]) for one, other, _, _ in links])
    edges = coo_array((np.ones(len(links)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    component = connected_components(edges, directed=False)[1].tolist()
    members: dict[int, list[str]] = defaultdict(list)
    for identifier, group in zip(names, component, strict=True):
        members[group].append(identifier)
    strongest: dict[tuple[str, str], int] = {}
    for one, other, level, _ in links:
        strongest[one, other] = min(level, strongest.get((one, other), level))
    kind, errors = dict.fromkeys(members, 0), dict.fromkeys(members, 0.0)
    for one, other, level, differing in links:
        if level == strongest[one, other]:  # equal bytes are equal samples too; the former says it all
            group = component[place[one]]
            kind[group], errors[group] = max(kind[group], level), max(errors[group], differing)
    return tuple(CopyGroup(tuple(ids), KINDS[kind[group]], errors[group]) for group, ids in members.items())
