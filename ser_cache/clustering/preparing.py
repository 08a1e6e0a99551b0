"""Features before they are clustered: checked, standardised, turned to their principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import ClusteringError

Points = NDArray[np.float64]
_NAMED = 3


@dataclass(frozen=True)
class Components:
    """Principal components.

    Attributes:
        points: every utterance in them, (n, components), the largest first.
        explained: share of the variance that each explains, (components,), summing to 1.
    """

    points: Points
    explained: Points


def require_finite(ids: Sequence[str], points: NDArray[np.floating]) -> None:
    """Refuse features that are not numbers.

    Raises:
        ClusteringError: some are NaN or infinite; the message names the first utterances.
    """
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        names = ", ".join(ids[row] for row in wrong[:_NAMED])
        further = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ClusteringError(
            f"features of {len(wrong)} of {len(ids)} utterances are not finite ({names}{further}): "
            "check them with ser cache verify, and extract them again."
        )


def require_enough(points: NDArray[np.floating], k: int) -> None:
    """Refuse as many clusters as utterances, or more.

    Raises:
        ClusteringError: there are too few utterances.
    """
    if len(points) <= k:
        raise ClusteringError(
            f"{len(points)} utterances cannot make {k} clusters; choose a --k below their number."
        )


def require_different(points: NDArray[np.floating], k: int) -> None:
    """Refuse more clusters than there are different points.

    Raises:
        ClusteringError: there are too few.
    """
    different = len(np.unique(points, axis=0))
    if different < k:
        raise ClusteringError(
            f"{len(points)} utterances have {different} different features, too few for {k} clusters; "
            "choose a smaller --k."
        )


def standardised(points: NDArray[np.floating], groups: Sequence[str] | None = None) -> Points:
    """Zero mean and unit deviation of each feature, in float64; features that never change are left out.

    Args:
        points: (n, d).
        groups: of each utterance, to standardise within each; None for over all.

    Returns:
        (n, features that change).

    Raises:
        ClusteringError: no feature changes.
    """
    values = points.astype(np.float64)
    if groups is None:
        members = [np.arange(len(values))]
    else:
        names, of = np.unique(np.array(groups), return_inverse=True)
        members = [np.flatnonzero(of == number) for number in range(len(names))]
    for rows in members:
        one = values[rows]
        # Equal numbers may differ from their mean in the last digit, which would be blown up to one.
        constant = np.ptp(one, axis=0) == 0
        deviation = np.where(constant, 1.0, one.std(axis=0))
        values[rows] = np.where(
            constant, 0.0, (one - one.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
        )
    changing = values.any(axis=0)
    if not changing.any():
        within = "" if groups is None else " within each group"
        raise ClusteringError(
            f"all features are constant{within}: {len(points)} utterances cannot be told apart by them."
        )
    return values[:, changing]


def principal_components(points: Points) -> Components:
    """Principal components of points with zero mean, (n, d), by scikit-learn; signs are settled by it."""
    from sklearn.decomposition import PCA

    # The covariance's eigenvectors take a fraction of the time where there are more utterances than features.
    solver = "covariance_eigh" if points.shape[0] >= points.shape[1] else "full"
    found = PCA(svd_solver=solver)
    turned = found.fit_transform(points)
    return Components(np.ascontiguousarray(turned), np.asarray(found.explained_variance_ratio_))
