"""Runs as a training writes them: three folds, two seeds, a head that mixes two layers."""

from functools import partial

import numpy as np
from small_runs import Entry, small_config

from ser_cache.results import FoldPredictions, TrainedModel, write_run
from ser_cache.splits import Split

SPLITS = [
    Split(fold, ("x-0",), ("y-0",), tuple(f"{fold}-{n}" for n in range(6)), speaker_disjoint=True)
    for fold in ("s0", "s1", "s2")
]
config = partial(small_config, backbone="whisper-base+full", head="multilayer")


def predictions(folds=("s0", "s1", "s2"), seeds=(0, 1), each=6):
    rng = np.random.default_rng(0)
    parts = []
    for fold in folds:
        truth = rng.integers(0, 3, each)
        for seed in seeds:
            scores = rng.dirichlet(np.ones(3), each) + np.eye(3)[truth] * 0.3
            ids = tuple(f"{fold}-{number}" for number in range(each))
            parts.append(FoldPredictions(fold, seed, ids, (fold,) * each, truth, scores / 1.3))
    return parts


def models(parts=None):
    return [
        TrainedModel(
            predictions=part,
            best_epoch=2,
            log=(Entry(1, 1.25), Entry(2, 0.125)),
            weights={
                "mix": np.arange(2, dtype=np.float32),
                "first.weight": np.ones((2, 3), dtype=np.float32),
            },
            layer_weights=np.array([0.25, 0.75]),
        )
        for part in (predictions() if parts is None else parts)
    ]


def write(runs, **changes):
    return write_run(runs, config(**changes), SPLITS, models(), {"torch": "2"})
