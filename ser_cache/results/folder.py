"""The run folder: written whole or not at all, found again by its configuration, checked when read.

``config.json``, ``splits.json``, ``environment.json``, ``log.csv`` (epochs), ``predictions.csv``,
``metrics.json``, ``weights.safetensors``; for a head that mixes layers ``layer_weights.json``; where the
learning rate was searched for ``learning_rate_search.json``; where features were standardised over the
training side ``standardisation.safetensors``; and ``fingerprint.json``, which says how to make the features
of new audio.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import ResultsError
from ser_cache.files import naming_the_file, sync_folder, write_json
from ser_cache.results.config import RunConfig, check_schema, splits_as_json
from ser_cache.results.scoring import FoldPredictions, score_run

if TYPE_CHECKING:
    from ser_cache.splits import Split

FILES = (
    "config.json",
    "splits.json",
    "environment.json",
    "log.csv",
    "predictions.csv",
    "metrics.json",
    "weights.safetensors",
)
LAYER_WEIGHTS = "layer_weights.json"
SEARCH = "learning_rate_search.json"
STANDARDISATION = "standardisation.safetensors"
FINGERPRINT = "fingerprint.json"
PREDICTION_COLUMNS = ("fold", "seed", "id", "speaker", "truth", "predicted")
"""Before one ``score:<emotion>`` column per class."""


@dataclass(frozen=True)
class TrainedModel:
    """One model of a run, as it goes to disk.

    Attributes:
        predictions: what it said about its fold's test side.
        best_epoch: the epoch it was tested at.
        log: one dataclass instance an epoch, with ``epoch`` among its fields.
        weights: its parameters by name.
        layer_weights: its share of each layer, (layers,); None for a head that mixes none.
    """

    predictions: FoldPredictions
    best_epoch: int
    log: Sequence[Any]
    weights: Mapping[str, NDArray[Any]]
    layer_weights: NDArray[Any] | None


@dataclass(frozen=True)
class Run:
    """A finished run, as its folder tells it.

    Attributes:
        folder: where it is; its name is the run's id.
        config: what made it.
        metrics: what :func:`ser_cache.results.scoring.score_run` returned.
        environment: when it was written (UTC), versions, threads, device, seconds.
    """

    folder: Path
    config: RunConfig
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What is known about a configuration.

    Attributes:
        state: "good" (same configuration, same data), "stale" (same choices, other data) or "absent".
        run: the run, unless absent.
        difference: for a stale run, which data differ.
    """

    state: str
    run: Run | None = None
    difference: str = ""


def write_run(
    runs: Path,
    config: RunConfig,
    splits: Sequence[Split],
    models: Sequence[TrainedModel],
    environment: Mapping[str, Any],
    search: Mapping[str, Any] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    standardisation: Mapping[str, NDArray[Any]] | None = None,
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
            write_json(temporary / "config.json", config.to_json())
            write_json(temporary / "splits.json", splits_as_json(splits))
            write_json(temporary / "environment.json", environment)
            write_json(temporary / "metrics.json", metrics)
            if fingerprint is not None:
                write_json(temporary / FINGERPRINT, fingerprint)
            _write_log(temporary / "log.csv", models)
            _write_predictions(temporary / "predictions.csv", config.classes, models)
            _write_weights(temporary, config.layers, models)
            if standardisation:
                _write_tensors(temporary / STANDARDISATION, standardisation)
            if search is not None:
                write_json(temporary / SEARCH, search)
            _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Run(folder, config, metrics, environment)


def find(runs: Path, config: RunConfig) -> Found:
    """Look for a run of this configuration.

    Raises:
        ResultsError: its folder is damaged or of a newer version.
    """
    if (runs / config.run_id).is_dir():
        return Found("good", read_run(runs / config.run_id))
    for folder in sorted(runs.glob(f"{_escaped(config.prefix)}*")):
        try:
            run = read_run(folder)
        except ResultsError:
            continue  # a damaged neighbour answers nothing here; `ser runs` names it
        if run.config.choices() == config.choices():
            ours, theirs = vars(config.data), vars(run.config.data)
            return Found("stale", run, ", ".join(name for name in ours if ours[name] != theirs[name]))
    return Found("absent")


def list_runs(runs: Path) -> list[Path]:
    """The folders of all finished runs, sorted by name; what is being written is not among them."""
    return sorted(path for path in runs.glob("*") if path.is_dir() and not path.name.startswith("."))


def read_run(folder: Path) -> Run:
    """Read a run without its predictions and weights.

    Raises:
        ResultsError: it is missing, damaged, or of a newer version; in one line.
    """
    if not folder.is_dir():
        raise ResultsError(f"there is no run {folder}; list the runs with `ser runs`.")
    raw = _read_json(folder, "config.json")
    check_schema(raw.get("schema"), str(folder))
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise _damaged(folder, f"{missing[0]} is missing")
    try:
        config = RunConfig.from_json(raw)
    except (KeyError, TypeError) as error:
        raise _damaged(folder, f"config.json lacks {error}") from error
    metrics = _read_json(folder, "metrics.json")
    if not {"pooled", "mean_of_folds", "per_class", "interval"} <= metrics.keys():
        raise _damaged(folder, "metrics.json is not complete")
    return Run(folder, config, metrics, _read_json(folder, "environment.json"))


def read_predictions(run: Run) -> Iterator[dict[str, str]]:
    """The rows of ``predictions.csv`` as dictionaries, one at a time.

    Raises:
        ResultsError: a column is missing.
    """
    expected = [*PREDICTION_COLUMNS, *(f"score:{name}" for name in run.config.classes)]
    with (run.folder / "predictions.csv").open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        if list(reader.fieldnames or ()) != expected:
            raise _damaged(run.folder, "predictions.csv has other columns than its configuration")
        yield from reader


def read_fingerprint(run: Run) -> dict[str, Any] | None:
    """What a run's features were made from, as given to :func:`write_run`; None where it was not.

    Raises:
        ResultsError: the file is damaged.
    """
    return _read_json(run.folder, FINGERPRINT) if (run.folder / FINGERPRINT).exists() else None


def read_training_sides(run: Run) -> dict[str, frozenset[str]]:
    """Who was trained on: the ids of each fold's training side, by the fold's name.

    Raises:
        ResultsError: the splits cannot be read.
    """
    raw = _read_json(run.folder, "splits.json")
    try:
        return {str(fold["fold"]): frozenset(fold["train"]) for fold in raw["folds"]}
    except (KeyError, TypeError) as error:
        raise _damaged(run.folder, "splits.json is not complete") from error


def _damaged(folder: Path, what: str) -> ResultsError:
    return ResultsError(f"the run {folder} is damaged ({what}); delete it, or repeat it with --force.")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _damaged(folder, f"{name} is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(folder, f"{name} is not valid JSON") from error
    if not isinstance(value, dict):
        raise _damaged(folder, f"{name} is not a JSON object")
    return value


def _escaped(text: str) -> str:
    """A prefix as a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


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
    _write_tensors(folder / "weights.safetensors", tensors)
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
