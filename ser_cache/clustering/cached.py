"""Clusterings of cached features: layer by layer, each stored and reused by itself."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_cache import __version__
from ser_cache.clustering.labels import groups_of, label_sets
from ser_cache.clustering.options import ClusterOptions
from ser_cache.clustering.running import Progress, cluster_points, steps
from ser_cache.clustering.storing import (
    ClusteringConfig,
    StoredClustering,
    find_clustering,
    keep_current,
    write_clustering,
)
from ser_cache.emotions import ChosenManifest
from ser_cache.errors import ClusteringError
from ser_cache.files import sha256_of_value
from ser_cache.settings import demand_writable

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features
    from ser_cache.manifest import Manifest, Utterance


def cluster(
    features: Features,
    manifest: Manifest,
    layers: Sequence[int],
    options: ClusterOptions,
    runs: Path,
    *,
    force: bool = False,
    progress: Progress = lambda _done, _total, _what: None,
) -> list[StoredClustering]:
    """Cluster the time means of some layers of cached features.

    Args:
        features: the cached features.
        manifest: the corpus, whose labels are compared with.
        layers: which, each by itself.
        options: how.
        runs: where clusterings are kept; one of the same configuration and data is read, not repeated.
        force: repeat it nevertheless.
        progress: told how many steps are done of how many over all layers, and the layer and step.

    Returns:
        One clustering a layer, in the order given.

    Raises:
        ClusteringError: as ``cluster_points``; or the label that k is taken from has one group.
        SettingsError: nothing can be written to the folder of runs, and something is to be clustered.
    """
    by_id = {utterance.id: utterance for utterance in manifest.utterances}
    usable = [by_id[id_] for id_ in features.ids]
    labels = label_sets(usable, options.against)
    options = replace(options, k=options.k or (_default_k(labels, options.k_of, manifest.corpus),))
    utterances = _digest(usable, labels)
    found = []
    emotions = manifest.made_of if isinstance(manifest, ChosenManifest) else {}
    per_layer = steps(options)
    for number, layer in enumerate(layers):

        def show(
            done: int, _total: int, what: str, layer: int = layer, before: int = number * per_layer
        ) -> None:
            told = ", ".join(filter(None, [f"layer {layer}", what]))
            progress(before + done, len(layers) * per_layer, told)

        config = _config(features, layer, options, labels, utterances, emotions)
        stored = None if force else find_clustering(runs, config)
        if stored is not None:
            keep_current(stored)
        else:
            demand_writable(runs, "--runs")
            clustering = cluster_points(features.ids, features.mean(layer), labels, options, show)
            stored = write_clustering(runs, config, clustering, _environment())
        found.append(stored)
    return found


def _default_k(labels: Mapping[str, Sequence[str]], name: str, corpus: str) -> int:
    if not labels:
        raise ClusteringError(
            f"{corpus} has no label with two groups and more than one utterance in any, so that there is no "
            "number of clusters to take from one, and nothing to compare with; give --k to cluster it anyhow."
        )
    if name not in labels:
        raise ClusteringError(
            f"{corpus} has no {name} with two groups to take the number of clusters from; give --k. "
            f"It has: {', '.join(labels)}."
        )
    return groups_of(labels, name)


def _digest(utterances: Sequence[Utterance], labels: Mapping[str, Sequence[str]]) -> str:
    """Hash of what clustering takes from a manifest, whatever the order of its rows."""
    values = zip(*labels.values(), strict=True) if labels else [()] * len(utterances)
    rows = zip(utterances, values, strict=True)
    return sha256_of_value(sorted([one.id, one.sha256, *own] for one, own in rows))


def _config(
    features: Features,
    layer: int,
    options: ClusterOptions,
    labels: Mapping[str, Sequence[str]],
    utterances: str,
    emotions: Mapping[str, tuple[str, ...]],
) -> ClusteringConfig:
    return ClusteringConfig(
        corpus=features.corpus,
        backbone=features.backbone,
        layer=layer,
        k=options.k,
        seeds=options.seeds,
        standardise=options.standardise,
        reduce=options.reduce,
        restarts=options.restarts,
        permutations=options.permutations,
        labels=tuple(labels),
        features=features.fingerprint.digest,
        utterances=utterances,
        emotions=emotions,
    )


def _environment() -> dict[str, str]:
    """When, and the versions that a result may depend on."""
    return {
        "written": datetime.now(UTC).isoformat(timespec="microseconds"),
        "ser_cache": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": version("scikit-learn"),
    }
