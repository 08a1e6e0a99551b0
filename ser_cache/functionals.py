"""From frames to one vector an utterance: time mean, deviation, extremes and percentiles of cached features.

Classical classifiers take vectors of one length. Time means and deviations lie in the cache already, of the
features before they were rounded to be stored; the other functionals are computed from the stored frames,
once for all classifiers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import SettingsError, UnknownNameError

FUNCTIONALS = {
    "mean": "mean over time",
    "std": "population standard deviation over time",
    "min": "least value",
    "max": "largest value",
    "pN": "percentile N, from p0 to p100, such as p25; between two frames it is interpolated",
}
"""What can be chosen, and what it means."""
_STORED = ("mean", "std")


class Summarisable(Protocol):
    """What functionals ask of cached features; ``ser_cache.store.CachedFeatures`` describes each."""

    @property
    def backbone(self) -> str: ...  # noqa: D102 - described where they are made
    @property
    def corpus(self) -> str: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def tier(self) -> str: ...  # noqa: D102
    @property
    def frame_average(self) -> int: ...  # noqa: D102
    def group_sizes(self, index: int) -> NDArray[np.int64]: ...  # noqa: D102
    def hidden(self, index: int, layers: Sequence[int] | None = None) -> NDArray[Any]: ...  # noqa: D102
    def mean(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102
    def std(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102


def check_functionals(names: Sequence[str]) -> tuple[str, ...]:
    """Make sure that all are known, and return them.

    Raises:
        UnknownNameError: no such functional.
        SettingsError: none at all, or one twice.
    """
    for name in names:
        if name not in (*_STORED, "min", "max") and _percentile(name) is None:
            raise UnknownNameError("functional", name, FUNCTIONALS)
    if not names:
        raise SettingsError("no functional was given; the usual one is mean.")
    if len(set(names)) < len(names):
        raise SettingsError(f"the functionals {', '.join(names)} name one twice; give each once.")
    return tuple(names)


def summarise_frames(
    features: Summarisable,
    layer: int,
    names: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> NDArray[np.float64]:
    """One vector an utterance.

    Where the cache holds means of several of the model's frames, each counts as often as it has frames, the
    shorter last one included; extremes and percentiles are then those of the means.

    Args:
        features: the cached features of N utterances.
        layer: which.
        names: of functionals.
        on_progress: told how many utterances' frames are read, of how many: of large caches, that takes a
            while.

    Returns:
        (N, functionals * width), in the order of ``features.ids``: all channels of the first functional,
        then of the next.

    Raises:
        UnknownNameError: no such functional.
        SettingsError: none, one twice, or one that needs frames where the cache keeps time means only.
    """
    check_functionals(names)
    needy = [name for name in names if name not in _STORED]
    if needy and features.tier == "pooled":
        raise SettingsError(
            f"{features.backbone}/{features.corpus} keeps time means and deviations only, and {needy[0]} "
            "needs frames: choose mean and std, or extract with --tier frames."
        )
    columns = {"mean": features.mean, "std": features.std}
    blocks = {name: columns[name](layer).astype(np.float64) for name in names if name in _STORED}
    if needy:
        blocks |= dict(zip(needy, _from_frames(features, layer, needy, on_progress), strict=True))
    return np.concatenate([blocks[name] for name in names], axis=1)


def _from_frames(
    features: Summarisable, layer: int, names: Sequence[str], on_progress: Callable[[int, int], None]
) -> NDArray[np.float64]:
    """Functionals that the cache does not keep: (functionals, N, width)."""
    # The extremes are percentiles too, and one sort of the frames serves all.
    shares = np.array([{"min": 0.0, "max": 100.0}.get(name, _percentile(name)) for name in names], float)
    found = []
    for index in range(len(features.ids)):
        frames = features.hidden(index, [layer])[0].astype(np.float64)
        if features.frame_average > 1:
            frames = np.repeat(frames, features.group_sizes(index), axis=0)
        found.append(np.percentile(frames, shares, axis=0))
        on_progress(index + 1, len(features.ids))
    return np.stack(found, axis=1)


def _percentile(name: str) -> float | None:
    """The number of a percentile's name; None where it is no such name."""
    if not re.fullmatch(r"p\d{1,3}(\.\d+)?", name):
        return None
    value = float(name[1:])
    return value if value <= 100 else None
