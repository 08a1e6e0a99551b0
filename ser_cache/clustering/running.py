"""From features and labels to a clustering: standardise, k-means, silhouettes, agreement with every label.

Wang et al. 2023 cluster the standardised time means of 13 MFCC by k-means with as many clusters as emotions
and look at two principal components. Nothing here depends on the order of the utterances: they are sorted by
id first, and everything that is drawn at random has its own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ser_cache.clustering.measures import Agreement, agreement
from ser_cache.clustering.options import GLOBAL, ClusterOptions
from ser_cache.clustering.outcome import Clustering, Members, Trial
from ser_cache.clustering.partitioning import Partition, k_means
from ser_cache.clustering.preparing import (
    principal_components,
    require_different,
    require_enough,
    require_finite,
    standardised,
)
from ser_cache.clustering.silhouettes import silhouettes
from ser_cache.errors import ClusteringError

Progress = Callable[[int, int, str], None]
"""Told how many steps are done, of how many, and what is done now."""


def cluster_points(
    ids: Sequence[str],
    points: NDArray[np.floating],
    labels: Mapping[str, Sequence[str]],
    options: ClusterOptions,
    progress: Progress = lambda _done, _total, _what: None,
) -> Clustering:
    """Cluster utterances by their features, and compare the clusters with labels.

    Args:
        ids: of the utterances, each once.
        points: their features, (n, d).
        labels: by name, the value of each utterance, "" where not known; the one that features are
            standardised within must be among them.
        options: how; ``k`` must be set.
        progress: told of every k-means, then as silhouettes and agreement go; see :func:`steps`.

    Raises:
        ClusteringError: too few utterances or too few different ones for k, features that are not finite,
            that do not vary, or fewer of them than components asked for.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    ids, points = [ids[row] for row in order], points[order]
    known = {name: tuple(values[row] for row in order) for name, values in labels.items()}
    require_enough(points, max(options.k))
    require_finite(ids, points)
    ready = standardised(points, _groups(known, options.standardise))
    components = principal_components(ready)
    kept = ready if options.reduce is None else _first(components.points, options.reduce)
    require_different(kept, max(options.k))

    partitions, all_steps = _partitions(kept, options, progress), steps(options)
    groups = {name: _numbered(values) for name, values in known.items()}
    found = silhouettes(
        kept,
        [*(p.clusters for _, p in partitions), *groups.values()],
        lambda done, total: progress(all_steps - 2, all_steps, f"silhouettes {done / total:.0%}"),
    )
    scores = found[: len(partitions)]
    trials = tuple(_trial(k, partitions, scores, known) for k in options.k)
    progress(all_steps - 1, all_steps, "agreement with labels")
    best = max(trials, key=lambda trial: np.mean(trial.silhouette))
    at_best = [number for number, (k, _) in enumerate(partitions) if k == best.k]
    of_labels = zip(groups, found[len(partitions) :], strict=True)
    chosen = min(at_best, key=lambda number: partitions[number][1].inertia)
    clustering = Clustering(
        features=ready.shape[1],
        constant=points.shape[1] - ready.shape[1],
        k=best.k,
        seed=options.seeds[at_best.index(chosen)],
        trials=trials,
        agreements=_agreements([partitions[number][1] for number in at_best], known, options),
        label_silhouettes={name: float(np.nanmean(one)) for name, one in of_labels},
        explained=tuple(components.explained.tolist()),
        members=Members(
            tuple(ids), partitions[chosen][1].clusters, scores[chosen], _two(components.points), known
        ),
    )
    progress(all_steps, all_steps, "")
    return clustering


def steps(options: ClusterOptions) -> int:
    """How many steps progress counts: every k-means, silhouettes, and agreement with labels."""
    return len(options.k) * len(options.seeds) + 2


def _agreements(
    partitions: Sequence[Partition], labels: Mapping[str, tuple[str, ...]], options: ClusterOptions
) -> dict[str, tuple[Agreement, ...]]:
    """Of each partition with every label."""
    return {
        name: tuple(agreement(one.clusters, values, options.permutations) for one in partitions)
        for name, values in labels.items()
    }


def _two(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first two components, (n, 2); zeros where there is one only."""
    two = np.zeros((len(components), 2))
    two[:, : components.shape[1]] = components[:, :2]
    return two


def _groups(labels: Mapping[str, tuple[str, ...]], standardise: str) -> tuple[str, ...] | None:
    """The groups to standardise within; utterances whose label is not known are a group too."""
    if standardise == GLOBAL:
        return None
    if standardise not in labels:
        raise ClusteringError(
            f"there is no {standardise} with two groups to standardise within; choose {GLOBAL}, or one of "
            f"{', '.join(labels) or 'no label'}."
        )
    return labels[standardise]


def _first(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if count > points.shape[1]:
        raise ClusteringError(
            f"there are {points.shape[1]} principal components, fewer than the {count} asked for."
        )
    return np.ascontiguousarray(points[:, :count])


def _partitions(
    points: NDArray[np.float64], options: ClusterOptions, progress: Progress
) -> list[tuple[int, Partition]]:
    """Every k with every seed, in that order."""
    wanted = [(k, seed) for k in options.k for seed in options.seeds]
    partitions = []
    for done, (k, seed) in enumerate(wanted):
        progress(done, steps(options), f"k {k}")
        partitions.append((k, k_means(points, k, seed, options.restarts)))
    return partitions


def _trial(
    k: int,
    partitions: Sequence[tuple[int, Partition]],
    scores: Sequence[NDArray[np.float64]],
    labels: Mapping[str, tuple[str, ...]],
) -> Trial:
    from sklearn.metrics import adjusted_rand_score

    numbers = [number for number, (own, _) in enumerate(partitions) if own == k]
    found = [partitions[number][1] for number in numbers]
    ari = {}
    for name, values in labels.items():
        known = np.array([bool(value) for value in values])
        truth = np.array(values)[known]
        ari[name] = tuple(float(adjusted_rand_score(truth, one.clusters[known])) for one in found)
    return Trial(
        k=k,
        inertia=tuple(one.inertia for one in found),
        silhouette=tuple(float(scores[number].mean()) for number in numbers),
        stability=tuple(
            float(adjusted_rand_score(one.clusters, other.clusters)) for one, other in combinations(found, 2)
        ),
        ari=ari,
    )


def _numbered(values: Sequence[str]) -> NDArray[np.int64]:
    """The group of each utterance, from 0; -1 where it is not known."""
    names = {name: number for number, name in enumerate(sorted(set(filter(None, values))))}
    return np.array([names.get(value, -1) for value in values], dtype=np.int64)
