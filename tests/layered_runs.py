"""Small made-up runs on disk, for whatever reads runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from small_runs import CLASSES, Entry

from ser_cache.results import FoldPredictions, Run, RunConfig, RunData, TrainedModel, write_run
from ser_cache.splits import Split


def save_run(
    runs: Path,
    corpus: str = "emovo",
    backbone: str = "whisper-small",
    head: str = "multilayer",
    layers: Sequence[int] = (1, 2, 3),
    seeds: Sequence[int] = (0,),
    weights: Mapping[tuple[str, int], Sequence[float]] | None = None,
    train: Mapping[str, Sequence[str]] | None = None,
    right: Mapping[int, int] | None = None,
    fingerprint: str = "f" * 64,
    protocol: Mapping[str, Any] | None = None,
    split: str | Mapping[str, Any] = "speaker",
    written: str = "",
) -> Run:
    """Write a run.

    Args:
        runs: the folder of all runs.
        corpus: and the next four: of its configuration.
        backbone: see above.
        head: see above.
        layers: see above.
        seeds: see above.
        weights: layer weights of each (fold, seed); None for a head that mixes none.
        train: ids on the training side of each fold.
        right: of nine utterances, how many each seed gets right.
        fingerprint: of the features.
        protocol: as the configuration stores it.
        split: kind of the split, or all of its configuration.
        written: when; "" for now.
    """
    sides = train or {"0": ("x",)}
    splits = [
        Split(fold, tuple(ids), ("y",), (f"t{fold}",), speaker_disjoint=True) for fold, ids in sides.items()
    ]
    models = []
    for fold in sides:
        for seed in seeds:
            shares = None if weights is None else np.array(weights[fold, seed])
            predictions = _predictions(fold, seed, (right or {}).get(seed, 5))
            models.append(
                TrainedModel(predictions, 1, (Entry(1, 0.5),), {"w": np.ones(2, dtype=np.float32)}, shares)
            )
    config = RunConfig(
        corpus=corpus,
        backbone=backbone,
        head=head,
        layers=tuple(layers),
        classes=CLASSES,
        split={"kind": split} if isinstance(split, str) else split,
        protocol=protocol or {"name": "dasaro2024"},
        seeds=tuple(seeds),
        data=RunData(fingerprint, "m" * 64, "s" * 64),
    )
    return write_run(runs, config, splits, models, {"torch": "2"} | ({"written": written} if written else {}))


def _predictions(fold: str, seed: int, right: int) -> FoldPredictions:
    truth = np.arange(9) % 3
    predicted = np.where(np.arange(9) < right, truth, (truth + 1) % 3)
    ids = tuple(f"t{fold}-{number}" for number in range(9))
    return FoldPredictions(fold, seed, ids, ("s",) * 9, truth, np.eye(3)[predicted])
