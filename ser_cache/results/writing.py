"""Writing a run's folder: whole or not at all.

``config.json``, ``splits.json``, ``environment.json``, ``log.csv`` (epochs), ``predictions.csv``,
``metrics.json``, ``weights.safetensors``; for a head that mixes layers ``layer_weights.json``; where the
learning rate was searched for ``learning_rate_search.json``; where features were standardised over the
training side ``standardisation.safetensors``; of a classical classifier ``grid_search.json`` (its log has
candidates for epochs, and its weights are empty); ``fingerprint.json``, which says how to make the features
of new audio; and last ``files.json``, the size and hash of each.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.files import naming_the_file, sync_folder, write_json
from ser_cache.results.config import RunConfig, splits_as_json
from ser_cache.results.contents import (
    CONFIG,
    ENVIRONMENT,
    FINGERPRINT,
    GRID_SEARCH,
    LAYER_WEIGHTS,
    LOG,
    METRICS,
    PREDICTIONS,
    SEARCH,
    SPLITS,
    STANDARDISATION,
    WEIGHTS,
    write_file_list,
)
from ser_cache.results.folder import PREDICTION_COLUMNS, Run
from ser_cache.results.scoring import FoldPredictions, score_run

if TYPE_CHECKING:
    from ser_cache.splits import Split


@dataclass(frozen=True)
class TrainedModel:
    """One model of a run, as it goes to disk.

    Attributes:
        predictions: what it said about its fold's test side.
        best_epoch: the epoch it was tested at.
        log: one dataclass instance an epoch, with ``epoch`` among its attributes; of a grid search, one a
            candidate.
        weights: its parameters by name; empty for a classical classifier, which is not kept.
        layer_weights: its share of each layer, (layers,); None for a head that mixes none.
    """

    predictions: FoldPredictions
    best_epoch: int
    log: Sequence[Any]
    weights: Mapping[str, NDArray[Any]]
    layer_weights: NDArray[Any] | None


def write_run(
    runs: Path,
    config: RunConfig,
    splits: Sequence[Split],
    models: Sequence[TrainedModel],
    environment: Mapping[str, Any],
    search: Mapping[str, Any] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    standardisation: Mapping[str, NDArray[Any]] | None = None,
    grid_search: Mapping[str, Any] | None = None,
) -> Run:
    """Write a run's folder under a temporary name and rename it; an older one of the same id is replaced.

    Args:
        runs: the folder of all runs; made where it is missing.
        config: what made the run.
        splits: every fold.
        models: every fold's models, in the order they shall be listed.
        environment: versions, threads, device, as JSON.
        search: how each fold's learning rate was found, as JSON; None where it was given.
        fingerprint: what the features were made from, as ``store.CachedFeatures.origin`` gives it; without
            it, predicting new audio needs the cache.
        standardisation: ``<fold>/mean`` and ``<fold>/deviation``, (layers, width) each, of features that were
            standardised over the training side; None for any others.
        grid_search: every candidate of a grid with its scores, as JSON; None where none was searched.

    Returns:
        The run as written.
    """
    folder = runs / config.run_id
    temporary = runs / f".{config.run_id}.{os.getpid()}.tmp"
    runs.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    environment = {"written": datetime.now(UTC).isoformat(timespec="seconds"), **environment}
    try:
        with naming_the_file(folder):
            metrics = score_run([model.predictions for model in models], config.classes)
            write_json(temporary / CONFIG, config.to_json())
            write_json(temporary / SPLITS, splits_as_json(splits))
            write_json(temporary / ENVIRONMENT, environment)
            write_json(temporary / METRICS, metrics)
            if fingerprint is not None:
                write_json(temporary / FINGERPRINT, fingerprint)
            _write_log(temporary / LOG, models)
            _write_predictions(temporary / PREDICTIONS, config.classes, models)
            _write_weights(temporary, config.layers, models)
            if standardisation:
                _write_tensors(temporary / STANDARDISATION, standardisation)
            if search is not None:
                write_json(temporary / SEARCH, search)
            if grid_search is not None:
                write_json(temporary / GRID_SEARCH, grid_search)
            write_file_list(temporary)
            _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Run(folder, config, metrics, environment)


def _write_log(path: Path, models: Sequence[TrainedModel]) -> None:
    names = [field.name for field in fields(models[0].log[0])]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["fold", "seed", *names, "best"])
        for model in models:
            for entry in model.log:
                values = [_short(getattr(entry, name)) for name in names]
                best = int(entry.epoch == model.best_epoch)
                writer.writerow([model.predictions.fold, model.predictions.seed, *values, best])


def _write_predictions(path: Path, classes: Sequence[str], models: Sequence[TrainedModel]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*PREDICTION_COLUMNS, *(f"score:{name}" for name in classes)])
        for model in models:
            part = model.predictions
            columns = zip(
                part.ids,
                part.speakers,
                part.truth.tolist(),
                part.predicted.tolist(),
                part.scores.tolist(),
                strict=True,
            )
            for identifier, speaker, truth, predicted, scores in columns:
                named = (classes[truth], classes[predicted])
                writer.writerow([part.fold, part.seed, identifier, speaker, *named, *map(_short, scores)])


def _short(value: object) -> object:
    """Six digits of a number: more would say nothing, and double the size of the file."""
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_weights(folder: Path, layers: Sequence[int], models: Sequence[TrainedModel]) -> None:
    """All parameters as ``<fold>/<seed>/<parameter>``; the layer weights, where the head mixes layers."""
    tensors = {
        f"{model.predictions.fold}/{model.predictions.seed}/{name}": np.ascontiguousarray(value)
        for model in models
        for name, value in model.weights.items()
    }
    _write_tensors(folder / WEIGHTS, tensors)
    mixing = [(m.predictions, m.layer_weights.tolist()) for m in models if m.layer_weights is not None]
    if mixing:
        mean = np.mean([weights for _, weights in mixing], axis=0).tolist()
        rows = [{"fold": part.fold, "seed": part.seed, "weights": weights} for part, weights in mixing]
        write_json(folder / LAYER_WEIGHTS, {"layers": list(layers), "mean": mean, "models": rows})


def _write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save

    # Not save_file: on a full disk it raises an error of its own, which names neither file nor cause.
    path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Flush every file, then rename the folder; an older run makes way first."""
    for path in temporary.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    sync_folder(temporary)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
