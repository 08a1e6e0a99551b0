"""Clusterings on disk, ``<runs>/clusterings/<name>/``: found again by their configuration.

``config.json`` says what was clustered and how; ``assignments.csv`` has a row per utterance;
``summary.json``, with everything else and the hashes of both, is written last: a folder without it, or whose
files are not the ones it lists, is one that a kill left behind, and is written anew.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ser_cache.clustering.labels import LABELS
from ser_cache.clustering.outcome import Clustering, Members
from ser_cache.errors import ResultsError
from ser_cache.files import canonical_json, sha256_of_file, sha256_of_value, write_csv, write_json
from ser_cache.results.folder import CLUSTERINGS, USED

SCHEMA = 1
"""Of the folder, and of what is computed: part of the configuration, so a change repeats what is stored."""
CONFIG, ASSIGNMENTS, SUMMARY = "config.json", "assignments.csv", "summary.json"
_OWN_COLUMNS = ("id", "cluster", "silhouette", "pc1", "pc2")


@dataclass(frozen=True)
class ClusteringConfig:
    """Everything that decides the result, but for machine and library versions.

    Attributes:
        corpus: name of the corpus.
        backbone: folder of the features in the cache.
        layer: of them.
        k: numbers of clusters.
        seeds: of k-means.
        standardise: how the features were.
        reduce: principal components clustered; None for the features.
        restarts: of k-means.
        permutations: for the level of chance.
        labels: compared with.
        features: digest of the cached features.
        utterances: digest of ids, audio and labels.
        emotions: of each class, where they are not all that the corpus has, each a class.
    """

    corpus: str
    backbone: str
    layer: int
    k: tuple[int, ...]
    seeds: tuple[int, ...]
    standardise: str
    reduce: int | None
    restarts: int
    permutations: int
    labels: tuple[str, ...]
    features: str
    utterances: str
    emotions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it, with the schema, as JSON."""
        listed = {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(self).items()}
        listed["emotions"] = {name: list(members) for name, members in self.emotions.items()}
        if not self.emotions:
            del listed["emotions"]  # it came later: the names of the others stay as they were
        return {"schema": SCHEMA, **listed}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ClusteringConfig:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError: something is missing or too much.
        """
        listed: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        del listed["schema"]
        made_of = {name: tuple(members) for name, members in listed.pop("emotions", {}).items()}
        return cls(**listed, emotions=made_of)

    def choices(self) -> dict[str, Any]:
        """What was asked for, without what the features and the manifest made of it, as JSON."""
        values = self.to_json()
        further = [name for name in self.labels if name not in LABELS]  # the others are those there are
        return values | {"features": "", "utterances": "", "labels": further}

    @cached_property
    def name(self) -> str:
        """Of the folder: corpus, backbone, layer, and ten digits of the configuration's hash."""
        digits = sha256_of_value(self.to_json())[:10]
        return f"{self.corpus}-{self.backbone}-layer{self.layer}-{digits}"


@dataclass(frozen=True)
class StoredClustering:
    """A clustering with what made it.

    Attributes:
        folder: where it is.
        config: what made it.
        clustering: what was found.
        environment: when it was written (UTC) and with which versions.
        reused: whether it was there already.
    """

    folder: Path
    config: ClusteringConfig
    clustering: Clustering
    environment: Mapping[str, str]
    reused: bool = False

    @property
    def recency(self) -> tuple[str, str]:
        """What puts clusterings in the order of their age, the newest last; of equals, by name."""
        written = str(self.environment.get("written", ""))
        try:
            used = json.loads((self.folder / USED).read_text(encoding="utf-8"))["used"]
        except (OSError, ValueError, TypeError, KeyError):
            return written, self.folder.name
        return max(written, str(used)), self.folder.name


def write_clustering(
    runs: Path, config: ClusteringConfig, found: Clustering, environment: Mapping[str, str]
) -> StoredClustering:
    """Write a clustering's folder; one of the same configuration is replaced."""
    folder = runs / CLUSTERINGS / config.name
    (folder / SUMMARY).unlink(missing_ok=True)  # while the other two are replaced, there is no clustering
    write_json(folder / CONFIG, config.to_json())
    members = found.members
    columns = [
        members.ids,
        members.clusters.tolist(),
        *(one.tolist() for one in (members.silhouettes, *members.components.T)),  # in full: read back alike
        *members.labels.values(),
    ]
    write_csv(folder / ASSIGNMENTS, [*_OWN_COLUMNS, *members.labels], zip(*columns, strict=True))
    hashes = {name: sha256_of_file(folder / name) for name in (CONFIG, ASSIGNMENTS)}
    values = {"schema": SCHEMA, "files": hashes, "environment": dict(environment), **found.summary()}
    write_json(folder / SUMMARY, values)
    return StoredClustering(folder, config, found, environment)


def find_clustering(runs: Path, config: ClusteringConfig) -> StoredClustering | None:
    """The stored clustering of a configuration; None where there is none that is whole."""
    try:
        return read_clustering(runs / CLUSTERINGS / config.name)
    except ResultsError:
        return None


def read_clustering(folder: Path) -> StoredClustering:
    """Read a clustering.

    Raises:
        ResultsError: it is missing, damaged or of another version; in one line.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if summary["schema"] != SCHEMA:
            raise ResultsError(
                f"the clustering {folder} is of another version (schema {summary['schema']}, ours {SCHEMA}); "
                "delete it, or upgrade ser_cache."
            )
        for name, digest in summary["files"].items():
            if sha256_of_file(folder / name) != digest:
                raise _damaged(folder, f"{name} is not what was written")
        config = ClusteringConfig.from_json(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        found = Clustering.from_summary(summary, _read_members(folder / ASSIGNMENTS))
        return StoredClustering(folder, config, found, dict(summary["environment"]), reused=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _damaged(folder, f"{Path(error.filename).name} is missing") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, " ".join(str(error).split())) from error


def keep_current(stored: StoredClustering) -> None:
    """Let a clustering that is used again count as newer than those on other data that came in between."""
    prefix = stored.config.name.rpartition("-")[0]
    beside = [path for path in stored_clusterings(stored.folder.parent.parent) if path != stored.folder]
    if any(path.name.startswith(prefix) for path in beside):
        # What cannot be noted, in a folder that is read-only, changes a mark in a list and no number.
        with suppress(OSError):
            write_json(stored.folder / USED, {"used": datetime.now(UTC).isoformat(timespec="microseconds")})


def stale_clusterings(found: Sequence[StoredClustering]) -> frozenset[Path]:
    """The folders of those that have a newer one of the same choices on other features, audio or labels."""
    generations: dict[str, list[StoredClustering]] = {}
    for one in found:
        generations.setdefault(canonical_json(one.config.choices()), []).append(one)
    newest = {max(same, key=lambda one: one.recency).folder for same in generations.values()}
    return frozenset(one.folder for one in found) - newest


def stored_clusterings(runs: Path) -> Iterator[Path]:
    """The folders of all stored clusterings, sorted by name, without those that a kill left behind."""
    for folder in sorted((runs / CLUSTERINGS).glob("*")):
        if (folder / SUMMARY).is_file():
            yield folder


def _read_members(path: Path) -> Members:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle)
        header = next(rows)
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return Members(
        ids=columns["id"],
        clusters=np.array(columns["cluster"], dtype=np.int64),
        silhouettes=np.array(columns["silhouette"], dtype=np.float64),
        components=np.array([columns["pc1"], columns["pc2"]], dtype=np.float64).T,
        labels={name: values for name, values in columns.items() if name not in _OWN_COLUMNS},
    )


def _damaged(folder: Path, what: str) -> ResultsError:
    return ResultsError(f"the clustering {folder} is damaged ({what}); repeat it with --force.")
