"""Folds that are trained while their run is not: kept beside the runs, an interruption costs one fold.

A run's folder is written when all of its folds are trained, which takes hours for a large corpus. Until then
each finished fold is a file of its own in ``.<run>.folds``; the next probe of the same configuration takes it
from there. A file made with other versions, other code, other threads or another device is not taken, because
a run is bit-identical to itself only where those are the same; nor is one whose content is not what was
written. A forced probe keeps its folds apart, so that it goes on with its own and takes nobody else's.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ser_cache.files import canonical_json, replacing, sha256_of_value, source_digest
from ser_cache.fold_training import TrainedFold, predictions_of
from ser_cache.results import RunConfig, TrainedModel
from ser_cache.splits import Split
from ser_cache.tasks import Task
from ser_cache.training_options import EpochLog

SCHEMA = 2
"""Of a kept fold. A file with another number is trained again, not read."""
WORTH_KEEPING = 5.0
"""Seconds of training that are gathered before folds are written: quick ones by the hundred would otherwise
cost more to flush to disk than to train again."""


class KeptFolds:
    """The finished folds of one run that is not finished itself."""

    def __init__(
        self,
        runs: Path,
        config: RunConfig,
        task: Task,
        environment: Mapping[str, Any],
        *,
        forced: bool = False,
    ) -> None:
        """Name the place; nothing is read or made yet.

        Args:
            runs: the folder of all runs.
            config: what makes the run.
            task: its utterances, labels and folds.
            environment: what the results depend on beside the configuration and the code.
            forced: whether the run is repeated although it is there.
        """
        self.folder = _folder_of(runs, config, forced=forced)
        self._task, self._seeds, self._tested_on = task, config.seeds, config.tested_on
        self._environment = sha256_of_value({"schema": SCHEMA, "code": source_digest(), **environment})
        self._unwritten: list[tuple[Split, TrainedFold]] = []

    def load(self, split: Split) -> TrainedFold | None:
        """A fold as it was saved; None where it was not, or otherwise than it would be made now."""
        try:
            with safe_open(self._path(split), framework="numpy") as file:
                notes = file.metadata() or {}
                if notes.get("environment") != self._environment or notes.get("fold") != split.fold:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if notes.pop("digest", None) != _digest(notes, tensors):
                return None
            return self._restored(split, notes, tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # absent or damaged: training it again replaces it

    def save(self, split: Split, fold: TrainedFold) -> TrainedFold:
        """Keep a fold and return it; it is written when enough is gathered to be worth it."""
        self._unwritten.append((split, fold))
        if sum(each.seconds for _, each in self._unwritten) >= WORTH_KEEPING:
            # Training needs none of these files: where they cannot be written it goes on, and a full disk is
            # told when the run itself is written.
            with suppress(OSError):
                for each in self._unwritten:
                    self._write(*each)
            self._unwritten.clear()
        return fold

    def _write(self, split: Split, fold: TrainedFold) -> None:
        notes = {
            "environment": self._environment,
            "fold": split.fold,
            "seconds": repr(fold.seconds),
            "models": json.dumps([_notes_of(model) for model in fold.models]),
            "search": json.dumps(fold.search),
        }
        tensors = dict(_tensors_of(fold))
        notes["digest"] = _digest(notes, tensors)
        with replacing(self._path(split)) as temporary:
            temporary.write_bytes(save(tensors, notes))

    def discard(self) -> None:
        """Forget all folds: the run is written."""
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
                    predictions_of(self._task, split, seed, own["scores"], self._tested_on),
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


def forget(runs: Path, config: RunConfig) -> None:
    """Remove what a kill left between writing a run and forgetting its folds."""
    shutil.rmtree(_folder_of(runs, config, forced=False), ignore_errors=True)


def _folder_of(runs: Path, config: RunConfig, *, forced: bool) -> Path:
    return runs / f".{config.run_id}{'.forced' if forced else ''}.folds"


def _digest(notes: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Of all that a file holds, which its format does not check."""
    found = hashlib.sha256(canonical_json(dict(notes)).encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(canonical_json([name, str(value.dtype), list(value.shape)]).encode())
        found.update(value.tobytes())
    return found.hexdigest()


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
