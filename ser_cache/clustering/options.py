"""How to cluster: number of clusters, seeds, what is done to the features first."""

from __future__ import annotations

from dataclasses import dataclass

from ser_cache.errors import ClusteringError

GLOBAL = "global"
"""Features standardised over all utterances."""


@dataclass(frozen=True)
class ClusterOptions:
    """How to cluster.

    Attributes:
        k: numbers of clusters to try, ascending; empty for the number of groups of ``k_of``.
        k_of: the label whose number of groups is k, where ``k`` is empty.
        seeds: of k-means; with several, scores have a spread and the partitions are compared.
        standardise: ``GLOBAL``, or the label within whose groups features have zero mean and unit deviation,
            which takes out what they differ in: with "speaker" who speaks, with "sentence" what is said.
        reduce: cluster this many principal components of the standardised features; None for the features
            themselves.
        restarts: k-means runs of each seed, of which the one with the least inertia counts.
        permutations: of the labels, for the level of chance.
        against: labels to compare with beside the usual ones: further columns of the manifest.
    """

    k: tuple[int, ...] = ()
    k_of: str = "emotion"
    seeds: tuple[int, ...] = (0,)
    standardise: str = GLOBAL
    reduce: int | None = None
    restarts: int = 10
    permutations: int = 200
    against: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be done with any corpus."""
        if any(k < 2 for k in self.k):
            raise ClusteringError(f"k is {min(self.k)}; there are two clusters at least.")
        if list(self.k) != sorted(set(self.k)):
            raise ClusteringError(f"the numbers of clusters {self.k} must ascend.")
        if self.reduce is not None and self.reduce < 1:
            raise ClusteringError(
                f"{self.reduce} principal components cannot be clustered; keep one at least."
            )
        if not self.seeds or self.restarts < 1 or self.permutations < 1:
            raise ClusteringError("clustering takes one seed, one restart and one permutation at least.")
