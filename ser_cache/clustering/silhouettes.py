"""Silhouettes (Rousseeuw 1987) of many partitions of the same points, in memory that is bounded.

All distances are needed, which is quadratic in time: they are computed once for all partitions, however many
numbers of clusters, seeds and labels there are. They are computed some rows at a time, so that the memory is
that of the rows and not of the square: 7,442 utterances would need 443 MB. Nor is there a table of utterances
by groups: of a label with nearly as many groups as utterances, such as transcripts, it would be a square too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROWS_MEBIBYTES = 64
"""Of distances in memory at once."""


def silhouettes(
    points: NDArray[np.floating],
    partitions: Sequence[NDArray[np.int64]],
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[NDArray[np.float64]]:
    """The silhouette of each point in each of some partitions, by Euclidean distance.

    Args:
        points: (n, d).
        partitions: the cluster of each point, (n,) each, numbered from 0; a point whose number is negative
            belongs to none and counts for nobody.
        on_progress: told of how many points the silhouettes are known, of how many.

    Returns:
        For each partition (n,), from -1 to 1: (b - a) / max(a, b), where a is the mean distance to the other
        points of the point's own cluster and b that to the nearest other cluster. 0 for a point alone in its
        cluster, and for all points where there is one cluster; NaN for points of none.
    """
    from sklearn.metrics import pairwise_distances_chunked

    if not partitions:
        return []
    members = [_members(partition) for partition in partitions]
    counts = [one.sum(axis=0) for one in members]
    found = [np.empty(len(points)) for _ in partitions]

    def reduce(distances: NDArray[np.floating], start: int) -> None:
        rows = slice(start, start + len(distances))
        for number, partition in enumerate(partitions):
            found[number][rows] = _of_rows(distances @ members[number], partition[rows], counts[number])
        on_progress(rows.stop, len(points))

    for _ in pairwise_distances_chunked(points, reduce_func=reduce, working_memory=ROWS_MEBIBYTES):
        pass
    return found


def _members(partition: NDArray[np.int64]) -> csr_array:
    """Who belongs where: (n, clusters), with a one in the row of each point that belongs anywhere."""
    from scipy.sparse import csr_array

    known = np.flatnonzero(partition >= 0)
    shape = (len(partition), int(partition.max()) + 1)
    return csr_array((np.ones(len(known)), (known, partition[known])), shape=shape)


def _of_rows(
    sums: NDArray[np.floating], own: NDArray[np.int64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Silhouettes of some points from the sums of their distances to each cluster's points."""
    rows = np.arange(len(own))
    sizes = counts[own]
    inside = sums[rows, own] / np.maximum(sizes - 1, 1)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.inf), where=counts > 0)
    means[rows, own] = np.inf
    nearest = means.min(axis=1, initial=np.inf)
    larger = np.maximum(inside, nearest)
    alone = (sizes < 2) | ~np.isfinite(nearest) | (larger == 0)
    scores = np.divide(nearest - inside, larger, out=np.zeros(len(own)), where=~alone)
    return np.where(own < 0, np.nan, scores)
