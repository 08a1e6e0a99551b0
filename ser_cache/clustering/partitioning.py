"""k-means: one partition a seed, numbered so that equal partitions have equal numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Partition:
    """What k-means found with one seed.

    Attributes:
        clusters: of each point, (n,); 0 is the largest cluster, equals in the order of their first points.
        inertia: sum of the squared distances to the clusters' means.
    """

    clusters: NDArray[np.int64]
    inertia: float


def k_means(points: NDArray[np.float64], k: int, seed: int, restarts: int) -> Partition:
    """Partition points by k-means (k-means++, Lloyd), the best of some restarts.

    One thread only: with several, scikit-learn adds up the clusters' means in the order in which threads
    happen to finish, and the same seed may give another partition.

    Args:
        points: (n, d), in an order that does not depend on how they were read.
        k: number of clusters.
        seed: of all restarts.
        restarts: how many, of which the one with the least inertia is kept.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):
        found = KMeans(k, init="k-means++", n_init=restarts, random_state=seed, algorithm="lloyd").fit(points)
    return Partition(renumbered(found.labels_), float(found.inertia_))


def renumbered(clusters: NDArray[np.integer]) -> NDArray[np.int64]:
    """Clusters numbered by size, the largest first, equals in the order of their first points; (n,)."""
    _, first, of, sizes = np.unique(clusters, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.arange(len(order))
    return numbers[of]
