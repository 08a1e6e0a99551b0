"""The cached features of several corpora under one backbone as one: to train on some and test on others.

Nothing is copied or written: an utterance's frames are the view that its own corpus gives. Ids are qualified
by their corpus (``emodb/03a01Fa``), because two corpora may call an utterance the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import StaleCacheError

if TYPE_CHECKING:
    from ser_cache.feature_sources import Digest, Features

Indices = NDArray[np.int64]


def qualified(corpus: str, name: str) -> str:
    """An utterance's id, or a speaker, told apart from another corpus's of the same name.

    The name of a corpus has no ``/``, so that sorted by qualified ids every corpus's are together.
    """
    return f"{corpus}/{name}"


class JoinedFeatures:
    """Features of several corpora, one after another, as :class:`~ser_cache.feature_sources.Features` asks.

    Attributes:
        backbone: that of all of them.
        corpus: their names, joined by ``+``.
        fingerprint: that of all of them.
        origin: likewise.
        layers: likewise.
        width: likewise.
        tier: likewise.
        frame_average: likewise.
        scaled: likewise.
        ids: qualified by corpus, corpus by corpus, in the order of each.
        failed: the reason of each utterance that could not be extracted, by qualified id.
        frames: (utterances,) int64.
    """

    def __init__(self, members: Sequence[Features]) -> None:
        """Join features, of one corpus each.

        Raises:
            StaleCacheError: two of them were made or stored differently; the message shows how.
        """
        check_joinable(members)
        first = members[0]
        self.backbone, self.corpus = first.backbone, "+".join(member.corpus for member in members)
        self.fingerprint: Digest = first.fingerprint
        self.origin: dict[str, Any] = first.origin
        self.layers, self.width = first.layers, first.width
        self.tier, self.frame_average, self.scaled = first.tier, first.frame_average, first.scaled
        self.ids = tuple(qualified(member.corpus, id_) for member in members for id_ in member.ids)
        self.failed: Mapping[str, str] = {
            qualified(member.corpus, id_): reason
            for member in members
            for id_, reason in member.failed.items()
        }
        self.frames: Indices = np.concatenate([member.frames for member in members])
        self._members = tuple(members)
        counts = [len(member.ids) for member in members]
        self._owner = np.repeat(np.arange(len(members)), counts)
        self._starts = np.cumsum(counts) - counts

    def hidden(self, index: int, layers: Sequence[int] | None = None) -> NDArray[Any]:
        """Hidden states of one utterance, as its corpus's features give them: (layers, frames, width)."""
        member, own = self._own(index)
        return member.hidden(own, layers)

    def group_sizes(self, index: int) -> Indices:
        """How many of the model's frames each stored frame of an utterance is the mean of: (frames,)."""
        member, own = self._own(index)
        return member.group_sizes(own)

    def packed(
        self, indices: Indices, layers: Sequence[int] | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Hidden states of some utterances one after another: (layers, frames of those utterances, width)."""
        shares = list(self._shares(indices))
        if len(shares) == 1:
            member, _, own = shares[0]
            return member.packed(own, layers, out)
        lengths = self.frames[indices]
        stops = np.cumsum(lengths)
        for member, places, own in shares:
            values = member.packed(own, layers, None)
            if out is None:
                out = np.empty((len(values), int(lengths.sum()), self.width), dtype=values.dtype)
            ends = np.cumsum(lengths[places])
            for place, end in zip(places, ends, strict=True):
                length = lengths[place]
                out[:, stops[place] - length : stops[place]] = values[:, end - length : end]
        if out is None:
            return self._members[0].packed(indices, layers, None)
        return out

    def announce(self, indices: Indices, layers: Sequence[int] | None = None) -> None:
        """Ask the system to fetch the hidden states of some utterances from disk."""
        for member, _, own in self._shares(indices):
            member.announce(own, layers)

    def mean(self, layer: int) -> NDArray[np.float32]:
        """Time means of one layer: (utterances, width)."""
        return np.concatenate([member.mean(layer) for member in self._members])

    def std(self, layer: int) -> NDArray[np.float32]:
        """Standard deviations over time of one layer: (utterances, width)."""
        return np.concatenate([member.std(layer) for member in self._members])

    def means(self, indices: Indices, layers: Sequence[int]) -> NDArray[np.float32]:
        """Time means of some utterances and layers: (layers, utterances, width)."""
        values = np.empty((len(layers), len(indices), self.width), dtype=np.float32)
        for member, places, own in self._shares(indices):
            values[:, places] = member.means(own, layers)
        return values

    def _own(self, index: int) -> tuple[Features, int]:
        number = int(self._owner[index])
        return self._members[number], int(index - self._starts[number])

    def _shares(self, indices: Indices) -> Iterator[tuple[Features, Indices, Indices]]:
        """Each corpus that some utterances belong to, their places among these, and their numbers in it."""
        chosen = np.asarray(indices, dtype=np.int64)
        owners = self._owner[chosen]
        for number in np.unique(owners).tolist():
            places = np.flatnonzero(owners == number)
            yield self._members[number], places, chosen[places] - self._starts[number]


def check_joinable(members: Sequence[Features]) -> None:
    """Make sure that features of several corpora are the same kind of features.

    Raises:
        StaleCacheError: they are of two backbones, or were made or stored differently; the message shows how.
    """
    from ser_cache.store import Fingerprint, differences  # its library for HDF5 is not needed otherwise

    first = members[0]
    for other in members[1:]:
        ours, theirs = first.fingerprint, other.fingerprint
        if first.backbone == other.backbone and ours.digest == theirs.digest:
            continue
        shown = f"backbone {first.backbone} and {other.backbone}"
        if first.backbone == other.backbone:
            shown = "their fingerprints differ"
        if isinstance(ours, Fingerprint) and isinstance(theirs, Fingerprint):
            found = differences(ours, theirs, (first.corpus, other.corpus))
            shown = "; ".join(found) or shown
        raise StaleCacheError(
            f"the features of {first.corpus} and {other.corpus} under {first.backbone} were made differently "
            f"({shown}): nothing trained on the one can be tested on the other; extract one of them again."
        )
