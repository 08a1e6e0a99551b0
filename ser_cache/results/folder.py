"""Run folders, read: found by their configuration, told apart when stale, checked before believed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_cache.errors import ResultsError
from ser_cache.results.config import RunConfig, check_schema
from ser_cache.results.contents import (
    CONFIG,
    ENVIRONMENT,
    FINGERPRINT,
    METRICS,
    PREDICTIONS,
    SPLITS,
    damaged,
    open_contents,
    read_object,
)
from ser_cache.results.scoring import check_metrics

CLUSTERINGS = "clusterings"
"""Among the runs, the folder of what ``ser cluster`` found, which predicts nothing and is no run."""
USED = "used.json"
"""When a run was used again after one on other data; beside the files that make up the run."""
_RUN_NAME = re.compile(r"-[0-9a-f]{10}$")
_TELLING = (CONFIG, METRICS, PREDICTIONS)
"""Files that only a run's folder holds together; one of them is enough to look for the others."""
PREDICTION_COLUMNS = ("fold", "seed", "id", "speaker", "truth", "predicted")
"""Before one ``score:<emotion>`` column per class."""


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

    @property
    def written(self) -> str:
        """When, in ISO 8601, UTC; empty, which sorts first, where an earlier version did not say."""
        return str(self.environment.get("written", ""))

    @property
    def current_since(self) -> str:
        """When it was written, or last used again after a run on other data; as ``written``."""
        try:
            used = json.loads((self.folder / USED).read_text(encoding="utf-8"))["used"]
        except (OSError, ValueError, TypeError, KeyError):
            return self.written
        return max(self.written, str(used))

    @property
    def recency(self) -> tuple[str, str]:
        """What puts runs in the order of their age, the newest last; of equals, by name."""
        return self.current_since, self.folder.name


@dataclass(frozen=True)
class Found:
    """What is known about a configuration.

    Attributes:
        state: "good" (same configuration, same data), "stale" (same choices, other data) or "absent".
        run: the run, unless absent; of several stale ones the newest.
        difference: for a stale run, which data differ.
    """

    state: str
    run: Run | None = None
    difference: str = ""


def find(runs: Path, config: RunConfig, *, forced: bool = False) -> Found:
    """Look for a run of this configuration.

    Args:
        runs: the folder of all runs.
        config: what is looked for.
        forced: whether it is to be made again whatever is there, and so counts as absent.

    Raises:
        ResultsError: its folder is of a newer version, which is not replaced even where that was asked for;
            or it is damaged.
    """
    if forced:
        _keep_newer(runs / config.run_id)
        return Found("absent")
    if (runs / config.run_id).is_dir():
        return Found("good", read_run(runs / config.run_id))
    earlier = []
    for folder in sorted(runs.glob(f"{_escaped(config.prefix)}*")):
        try:
            run = read_run(folder)
        except ResultsError:
            continue  # a damaged neighbour answers nothing here; `ser runs` names it
        if run.config.choices() == config.choices():
            earlier.append(run)
    if not earlier:
        return Found("absent")
    newest = max(earlier, key=lambda run: run.recency)
    ours, theirs = vars(config.data), vars(newest.config.data)
    return Found("stale", newest, ", ".join(name for name in ours if ours[name] != theirs[name]))


def _keep_newer(folder: Path) -> None:
    try:
        schema = read_object(folder, CONFIG).get("schema")
    except ResultsError:
        return  # absent, or damaged, which making it again mends
    if isinstance(schema, int):
        check_schema(schema, str(folder))


def list_runs(runs: Path) -> list[Path]:
    """The folders of all finished runs, sorted by name; what is being written is not among them.

    Nor is a folder that somebody keeps there for other things: to call it a damaged run would be advice to
    delete it.
    """
    return sorted(
        path
        for path in runs.glob("*")
        if path.is_dir()
        and not path.name.startswith(".")
        and path.name != CLUSTERINGS
        and (_RUN_NAME.search(path.name) or any((path / name).exists() for name in _TELLING))
    )


def read_run(folder: Path) -> Run:
    """Read a run without its predictions and weights; that these are whole, their sizes tell.

    Raises:
        ResultsError: it is missing, damaged, or of a newer version; in one line.
    """
    if not folder.is_dir():
        raise ResultsError(f"there is no run {folder}; list the runs with `ser runs`.")
    # Before anything else: a newer version may list its files in another way.
    check_schema(read_object(folder, CONFIG).get("schema"), str(folder))
    contents = open_contents(folder)
    try:
        config = RunConfig.from_json(contents.json(CONFIG))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder, f"{CONFIG} lacks {' '.join(str(error).split())}") from error
    metrics = contents.json(METRICS)
    try:
        check_metrics(metrics, config.classes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder, f"{METRICS} is not complete") from error
    return Run(folder, config, metrics, contents.json(ENVIRONMENT))


def read_predictions(run: Run) -> Iterator[dict[str, str]]:
    """The rows of ``predictions.csv`` as dictionaries, one at a time.

    Raises:
        ResultsError: the file is not what was written; a column or a row is missing.
    """
    contents = open_contents(run.folder)
    expected = [*PREDICTION_COLUMNS, *(f"score:{name}" for name in run.config.classes)]
    path, rows = contents.path(PREDICTIONS), 0
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            if list(reader.fieldnames or ()) != expected:
                raise damaged(run.folder, f"{PREDICTIONS} has other columns than its configuration")
            for row in reader:
                if None in row or None in row.values():
                    raise damaged(run.folder, f"{PREDICTIONS}, line {reader.line_num} is not complete")
                rows += 1
                yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(run.folder, f"{PREDICTIONS} is not a table in UTF-8") from error
    if contents.hashes is None:
        _check_count(run, rows)


def read_fingerprint(run: Run) -> dict[str, Any] | None:
    """What a run's features were made from, as given to ``write_run``; None where it was not.

    Raises:
        ResultsError: the file is damaged.
    """
    contents = open_contents(run.folder)
    return contents.json(FINGERPRINT) if contents.has(FINGERPRINT) else None


def read_training_sides(run: Run) -> dict[str, frozenset[str]]:
    """Who was trained on: the ids of each fold's training side, by the fold's name.

    Raises:
        ResultsError: the splits cannot be read.
    """
    return {name: frozenset(ids) for name, ids in _sides(run, "train").items()}


def read_sides(run: Run) -> dict[str, frozenset[str]]:
    """Ids by side (train, validation, test, left_out), all folds together, as the run has them.

    Raises:
        ResultsError: the splits cannot be read.
    """
    folds = _folds(run)
    try:
        sides = {
            name: [id_ for fold in folds for id_ in fold[name]] for name in ("train", "validation", "test")
        }
        sides["left_out"] = [id_ for fold in folds for id_ in fold.get("left_out", ())]
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(run.folder, f"{SPLITS} is not complete") from error
    return {name: frozenset(map(str, ids)) for name, ids in sides.items()}


def are_speakers_apart(run: Run) -> bool:
    """Whether every fold of a run claims that no speaker is on two of its sides.

    Raises:
        ResultsError: the splits cannot be read.
    """
    try:
        return all(fold["speaker_disjoint"] for fold in _folds(run))
    except (KeyError, TypeError) as error:
        raise damaged(run.folder, f"{SPLITS} is not complete") from error


def checked_path(run: Run, name: str) -> Path:
    """A file of a run whose content is what was written, for a reader of its own.

    Raises:
        ResultsError: it is missing, or its content is another.
    """
    return open_contents(run.folder).path(name)


def _check_count(run: Run, rows: int) -> None:
    """An earlier version listed no sizes: a table cut between two lines has too few rows."""
    expected = len(run.config.seeds) * sum(map(len, _sides(run, "test").values()))
    if rows != expected:
        raise damaged(run.folder, f"{PREDICTIONS} has {rows:,} rows, and its splits ask for {expected:,}")


def _sides(run: Run, side: str) -> dict[str, list[str]]:
    """The ids on one side of each fold, by the fold's name."""
    try:
        return {str(fold["fold"]): list(map(str, fold[side])) for fold in _folds(run)}
    except (KeyError, TypeError) as error:
        raise damaged(run.folder, f"{SPLITS} is not complete") from error


def _folds(run: Run) -> list[dict[str, Any]]:
    """Every fold as it was written."""
    raw = open_contents(run.folder).json(SPLITS)
    if not isinstance(raw.get("folds"), list):
        raise damaged(run.folder, f"{SPLITS} is not complete")
    return list(raw["folds"])


def _escaped(text: str) -> str:
    """A prefix as a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
