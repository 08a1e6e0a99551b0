"""Small runs on disk with made-up predictions, for the tests of what reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_cache.results import FoldPredictions, Run, RunConfig, RunData, TrainedModel, write_run
from ser_cache.splits import Split

CLASSES = ("anger", "fear", "neutral")


@dataclass(frozen=True)
class Entry:
    """A line of a log."""

    epoch: int
    train_loss: float


def small_config(**changes: object) -> RunConfig:
    """A configuration; whatever is named is changed."""
    head = changes.get("head", "linear")
    values: dict[str, object] = {
        "corpus": "emovo",
        "backbone": "whisper-base",
        "head": head,
        "layers": (1, 2) if head == "multilayer" else (2,),
        "classes": CLASSES,
        "split": {"kind": "loso"},
        "protocol": {"name": "dasaro2024", "head": {"hidden": 8}, "training": {"betas": [0.9, 0.98]}},
        "seeds": (0, 1),
        "data": RunData("f" * 64, "e" * 64, "d" * 64),
    }
    return RunConfig(**{**values, **changes})


def as_earlier_version(run: Run) -> Run:
    """A run without the list of its files, as earlier versions wrote it: content is taken as it is."""
    (run.folder / "files.json").unlink()
    return run


def small_run(
    runs: Path,
    *,
    quality: float = 0.5,
    speakers: int = 3,
    environment: dict[str, object] | None = None,
    **changes: object,
) -> Run:
    """Write a run of one fold a speaker and six utterances a fold.

    Args:
        runs: the folder of all runs.
        quality: 0 for chance, 1 for never wrong.
        speakers: how many.
        environment: instead of the usual one.
        **changes: to the configuration.
    """
    config = small_config(**changes)
    folds = [f"s{number}" for number in range(speakers)]
    tested = {fold: tuple(f"{fold}-{number}" for number in range(6)) for fold in folds}
    splits = [Split(fold, ("x-0",), ("y-0",), tested[fold], speaker_disjoint=True) for fold in folds]
    rng = np.random.default_rng(0)
    models = []
    for fold in folds:
        truth = np.arange(6) % 3
        for seed in config.seeds:
            scores = (1 - quality) * rng.dirichlet(np.ones(3), 6) + quality * np.eye(3)[truth]
            part = FoldPredictions(fold, seed, tested[fold], (fold,) * 6, truth, scores)
            models.append(
                TrainedModel(
                    predictions=part,
                    best_epoch=2 + seed,
                    log=[Entry(epoch, 1 / epoch) for epoch in range(1, 5)],
                    weights={"project.weight": np.ones((2, 3), dtype=np.float32)},
                    layer_weights=np.array([0.25, 0.75]) if config.head == "multilayer" else None,
                )
            )
    known = {"torch": "2.4", "device": "cpu", "device_name": "x86_64", "seconds": 12.5}
    return write_run(runs, config, splits, models, known if environment is None else environment)
