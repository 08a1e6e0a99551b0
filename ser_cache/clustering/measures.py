"""How well clusters agree with labels, and how well they would by chance.

Purity and normalised mutual information grow with the number of clusters and of groups even where the two
have nothing to do with each other, so each comes with the level that permuted labels reach. The adjusted
Rand index and the adjusted mutual information have their expectation under permutation taken out: 0 is
chance, 1 is the same partition. scikit-learn is imported when something is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Clusters against one label.

    Attributes:
        utterances: those whose label is known; the others are left out.
        groups: of the label among them.
        ari: adjusted Rand index (Hubert and Arabie 1985).
        ami: adjusted mutual information, normalised by the mean of the entropies (Vinh et al. 2010).
        nmi: mutual information over the mean of the entropies.
        nmi_chance: the mean of that over permuted labels.
        purity: share of utterances in the commonest group of their cluster.
        purity_chance: the mean of that over permuted labels.
        purity_chance_high: what 95% of the permutations do not exceed.
    """

    utterances: int
    groups: int
    ari: float
    ami: float
    nmi: float
    nmi_chance: float
    purity: float
    purity_chance: float
    purity_chance_high: float


def agreement(clusters: Integers, labels: Sequence[str], permutations: int, seed: int = 0) -> Agreement:
    """Compare clusters with a label.

    Args:
        clusters: of each utterance, (n,).
        labels: of each utterance; "" where not known.
        permutations: for the level of chance.
        seed: of the permutations.
    """
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    known = np.array([bool(label) for label in labels])
    names, groups = np.unique(np.array(labels)[known], return_inverse=True)
    kept = clusters[known]
    table = contingency(kept, groups)
    by_chance = np.array(
        [
            (normalised_mutual_information(permuted), purity(permuted))
            for permuted in permuted_tables(kept, groups, permutations, seed)
        ]
    )
    return Agreement(
        utterances=int(known.sum()),
        groups=len(names),
        ari=float(adjusted_rand_score(groups, kept)),
        ami=float(adjusted_mutual_info_score(groups, kept)),
        nmi=float(normalised_mutual_information(table)),
        nmi_chance=float(by_chance[:, 0].mean()),
        purity=float(purity(table)),
        purity_chance=float(by_chance[:, 1].mean()),
        purity_chance_high=float(np.quantile(by_chance[:, 1], 0.95)),
    )


def contingency(clusters: Integers, groups: Integers) -> Integers:
    """How many utterances each cluster shares with each group: (clusters, groups)."""
    rows, columns = int(clusters.max()) + 1, int(groups.max()) + 1
    return np.bincount(clusters * columns + groups, minlength=rows * columns).reshape(rows, columns)


def permuted_tables(clusters: Integers, groups: Integers, permutations: int, seed: int) -> Iterator[Integers]:
    """Contingency with the labels permuted: (clusters, groups), one after another.

    Not all at once: of a label with thousands of groups they would take gigabytes.
    """
    dice = np.random.default_rng(seed)
    for _ in range(permutations):
        # Every table has the shape of the true one, since its margins are the same.
        yield contingency(clusters, dice.permutation(groups))


def purity(tables: Integers) -> Values:
    """Share of utterances in the commonest group of their cluster, over the last two axes."""
    right: Values = tables.max(axis=-1).sum(axis=-1) / tables.sum(axis=(-2, -1))
    return right


def normalised_mutual_information(tables: Integers) -> Values:
    """Mutual information over the mean of both entropies, over the last two axes; 0 where both are 0."""
    joint = tables / tables.sum(axis=(-2, -1), keepdims=True)
    rows, columns = joint.sum(axis=-1), joint.sum(axis=-2)
    ours, theirs = _entropy(rows), _entropy(columns)
    both = _entropy(joint.reshape(*joint.shape[:-2], -1))
    mean = (ours + theirs) / 2
    found = np.divide(ours + theirs - both, mean, out=np.zeros_like(mean), where=mean > 0)
    return np.clip(found, 0.0, 1.0)  # a difference of entropies, whose last digits are not certain


def _entropy(shares: Values) -> Values:
    """In nats, over the last axis."""
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Values = -(shares * logarithms).sum(axis=-1)
    return np.asarray(entropy)
