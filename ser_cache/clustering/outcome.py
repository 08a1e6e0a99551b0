"""What a clustering found: partitions for each number of clusters, and how they agree with labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.clustering.measures import Agreement


@dataclass(frozen=True)
class Trial:
    """One number of clusters, with every seed.

    Attributes:
        k: the number.
        inertia: of each seed.
        silhouette: mean over utterances, of each seed.
        stability: adjusted Rand index of each pair of seeds; empty with one seed.
        ari: adjusted Rand index with each label, of each seed.
    """

    k: int
    inertia: tuple[float, ...]
    silhouette: tuple[float, ...]
    stability: tuple[float, ...]
    ari: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Members:
    """Where each utterance went, sorted by id.

    Attributes:
        ids: of the utterances, (n,).
        clusters: from 0, the largest cluster first, (n,).
        silhouettes: (n,).
        components: the first two principal components, (n, 2); zeros where there is one only.
        labels: by name, the value of each utterance, "" where not known.
    """

    ids: tuple[str, ...]
    clusters: NDArray[np.int64]
    silhouettes: NDArray[np.float64]
    components: NDArray[np.float64]
    labels: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Clustering:
    """One layer's features, clustered.

    Attributes:
        features: that vary, and were standardised.
        constant: that do not vary, and were left out.
        k: of the trials, the number with the best silhouette (mean over seeds; of equals the smallest).
        seed: at that k the one with the least inertia, whose clusters the members have.
        trials: every number of clusters, ascending.
        agreements: with each label at that k, of each seed in order.
        label_silhouettes: of the labels' own groups: how distinct these are in the same features.
        explained: share of the variance that each principal component explains, the largest first.
        members: where each utterance went.
    """

    features: int
    constant: int
    k: int
    seed: int
    trials: tuple[Trial, ...]
    agreements: Mapping[str, tuple[Agreement, ...]]
    label_silhouettes: Mapping[str, float]
    explained: tuple[float, ...]
    members: Members

    @property
    def trial(self) -> Trial:
        """That of the chosen k."""
        return next(trial for trial in self.trials if trial.k == self.k)

    @property
    def silhouette(self) -> float:
        """Mean over the utterances, of the partition that the members have."""
        return float(self.members.silhouettes.mean())

    def cluster_silhouettes(self) -> NDArray[np.float64]:
        """Mean over the utterances of each cluster, (k,)."""
        members = self.members
        sums = np.bincount(members.clusters, members.silhouettes, self.k)
        found: NDArray[np.float64] = sums / self.sizes()
        return found

    def sizes(self) -> NDArray[np.int64]:
        """Utterances of each cluster, (k,)."""
        return np.bincount(self.members.clusters, minlength=self.k)

    def table(self, label: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The groups of a label, sorted, and how many of each are in each cluster, (k, groups)."""
        values = np.array(self.members.labels[label])
        names = tuple(sorted(set(values[values != ""].tolist())))
        counts = [
            [int(((values == n) & (self.members.clusters == c)).sum()) for n in names] for c in range(self.k)
        ]
        return names, np.array(counts, dtype=np.int64)

    def summary(self) -> dict[str, Any]:
        """All but the members, as JSON."""
        values = {name: value for name, value in vars(self).items() if name not in ("members", "trials")}
        values["trials"] = [asdict(trial) for trial in self.trials]
        values["agreements"] = {
            name: [asdict(one) for one in found] for name, found in self.agreements.items()
        }
        values["silhouette"] = self.silhouette
        values["cluster_silhouettes"] = self.cluster_silhouettes().tolist()
        values["cluster_sizes"] = self.sizes().tolist()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_summary(cls, values: Mapping[str, Any], members: Members) -> Clustering:
        """The inverse of :meth:`summary`.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or is not what it should be.
        """
        return cls(
            features=int(values["features"]),
            constant=int(values["constant"]),
            k=int(values["k"]),
            seed=int(values["seed"]),
            trials=tuple(_trial(one) for one in values["trials"]),
            agreements={
                name: tuple(Agreement(**one) for one in found) for name, found in values["agreements"].items()
            },
            label_silhouettes={name: float(one) for name, one in values["label_silhouettes"].items()},
            explained=tuple(map(float, values["explained"])),
            members=members,
        )


def _trial(values: Mapping[str, Any]) -> Trial:
    return Trial(
        k=int(values["k"]),
        inertia=tuple(values["inertia"]),
        silhouette=tuple(values["silhouette"]),
        stability=tuple(values["stability"]),
        ari={name: tuple(found) for name, found in values["ari"].items()},
    )
