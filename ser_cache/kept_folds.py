"""Folds that are trained while their run is not: kept beside the runs, an interruption costs one fold.

A run's folder is written when all of its folds are trained, which takes hours for a large corpus. Until then
each finished fold is a file of its own in ``.<run>.folds``; the next probe of the same configuration takes it
from there. A file made with other versions, threads or another device is not taken, because a run is
bit-identical to itself only where those are the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ser_cache.files import replacing, sha256_of_value
from ser_cache.fold_training import Task, TrainedFold, predictions_of
from ser_cache.results import RunConfig, TrainedModel
from ser_cache.splits import Split
from ser_cache.training_options import EpochLog

SCHEMA = 1
"""Of a kept fold. A file with another number is trained again, not read."""
WORTH_KEEPING = 5.0
"""Seconds; a fold that took less is trained again sooner than hundreds of such files are flushed to disk."""


class KeptFolds:
    """The finished folds of one run that is not finished itself."""

    def __init__(self, runs: Path, config: RunConfig, task: Task, environment: Mapping[str, Any]) -> None:
        """Name the place; nothing is read or made yet.

        Args:
            runs: the folder of all runs.
            config: what makes the run.
            task: its utterances, labels and folds.
            environment: what the results depend on beside the configuration.
        """
        self.folder = runs / f".{config.run_id}.folds"
        self._task, self._seeds = task, config.seeds
        self._environment = sha256_of_value({"schema": SCHEMA, **environment})

    def load(self, split: Split) -> TrainedFold | None:
        """A fold as it was saved; None where it was not, or otherwise than it would be made now."""
        try:
            with safe_open(self._path(split), framework="numpy") as file:
                notes = file.metadata() or {}
                if notes.get("environment") != self._environment or notes.get("fold") != split.fold:
                    return None
                return self._restored(split, notes, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # absent or damaged: training it again replaces it

    def save(self, split: Split, fold: TrainedFold) -> TrainedFold:
        """Keep a fold, whole or not at all, if it took long enough to be worth it, and return it."""
        if fold.seconds < WORTH_KEEPING:
            return fold
        notes = {
            "environment": self._environment,
            "fold": split.fold,
            "seconds": repr(fold.seconds),
            "models": json.dumps([_notes_of(model) for model in fold.models]),
            "search": json.dumps(fold.search),
        }
        with replacing(self._path(split)) as temporary:
            temporary.write_bytes(save(dict(_tensors_of(fold)), notes))
        return fold

    def discard(self) -> None:
        """Forget all folds: the run is written, or shall be trained anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, split: Split) -> Path:
        # By its place and not its name, which is a speaker's and may hold a slash.
        return self.folder / f"{self._task.splits.index(split):04d}.safetensors"

    def _restored(
        self, split: Split, notes: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]
    ) -> TrainedFold:
        models = []
        for number, (seed, told) in enumerate(zip(self._seeds, json.loads(notes["models"]), strict=True)):
            own = _below(tensors, f"{number}/")
            models.append(
                TrainedModel(
                    predictions_of(self._task, split, seed, own["scores"]),
                    told["best_epoch"],
                    tuple(EpochLog(**entry) for entry in told["log"]),
                    _below(own, "weights/"),
                    own.get("layer_weights"),
                )
            )
        standardisation = _below(tensors, "standardisation/")
        return TrainedFold(
            tuple(models), json.loads(notes["search"]), standardisation, float(notes["seconds"])
        )


def _notes_of(model: TrainedModel) -> dict[str, Any]:
    return {"best_epoch": model.best_epoch, "log": [asdict(entry) for entry in model.log]}


def _tensors_of(fold: TrainedFold) -> Iterator[tuple[str, NDArray[Any]]]:
    """Everything of a fold that is an array, by name."""
    for number, model in enumerate(fold.models):
        yield f"{number}/scores", np.ascontiguousarray(model.predictions.scores)
        if model.layer_weights is not None:
            yield f"{number}/layer_weights", np.ascontiguousarray(model.layer_weights)
        for name, value in model.weights.items():
            yield f"{number}/weights/{name}", np.ascontiguousarray(value)
    for name, value in fold.standardisation.items():
        yield f"standardisation/{name}", np.ascontiguousarray(value)


def _below(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Those whose names begin so, by the rest of the name."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
