"""Which clusterings are not what their command would give today, as ``staleness`` says it of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.clustering import read_clustering, stored_clusterings
from ser_cache.clustering.labels import LABELS, label_sets
from ser_cache.clustering.storing import CONFIG, ClusteringConfig
from ser_cache.errors import ClusteringError, ResultsError
from ser_cache.files import sha256_of_value
from ser_cache.results import UNKNOWN

if TYPE_CHECKING:
    from ser_cache.clustering import StoredClustering
    from ser_cache.manifest import Utterance
    from ser_cache.staleness import Present


def stale_clusterings(runs: Path, present: Present) -> dict[Path, tuple[str, ...]]:
    """As :func:`ser_cache.staleness.stale_now`, of clusterings beside runs; damage is passed over."""
    found, digests = {}, dict[tuple[str, ...], str]()
    for folder in stored_clusterings(runs):
        with suppress(ResultsError):
            config = read_config(folder)
            here = present.cached(config.backbone, config.corpus)
            alike = here is None or here.digest == config.features
            key = (config.corpus, config.backbone, *config.labels)
            if key not in digests:
                digests[key] = _digest_now(config, present)
            # Assignments are read only where that does not settle it: there may be hundreds of layers.
            doubtful = present.doubts([config.corpus], config.backbone)
            if alike and digests[key] == config.utterances and not doubtful:
                continue
            if reasons := clustering_changes(read_clustering(folder), present):
                found[folder] = reasons
    return found


def read_config(folder: Path) -> ClusteringConfig:
    """What made a clustering.

    Raises:
        ResultsError: it is damaged.
    """
    try:
        return ClusteringConfig.from_json(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"the clustering {folder} is damaged; repeat it with --force.") from error


def clustering_changes(stored: StoredClustering, present: Present) -> tuple[str, ...]:
    """As :func:`ser_cache.staleness.changes_since`, of a clustering.

    A clustering does not say how emotions were taken together. So its emotions have changed where clips of
    one emotion are in several of its classes now, or an emotion that is a class is in another.
    """
    found = _known_changes(stored, present)
    doubtful = present.doubts([stored.config.corpus], stored.config.backbone)
    return found or ((UNKNOWN,) if doubtful else ())


def _known_changes(stored: StoredClustering, present: Present) -> tuple[str, ...]:
    config, members = stored.config, stored.clustering.members
    manifest, here = present.manifest(config.corpus), present.cached(config.backbone, config.corpus)
    found = ["features"] if here is not None and here.digest != config.features else []
    if manifest is None:
        return tuple(found)
    by_id = {one.id: one for one in manifest.utterances}
    if any(id_ not in by_id for id_ in members.ids):
        return (*found, "clips")
    own = [by_id[id_] for id_ in members.ids]
    if not _same_labels(own, members.labels) or _digest(own, members.labels) != config.utterances:
        found.append("manifest")
    emotions = {one.emotion for one in own}
    others = {id_ for id_, one in by_id.items() if one.emotion in emotions} - set(members.ids)
    if here is not None and others - here.failed:
        found.append("clips")
    return tuple(found)


def _digest_now(config: ClusteringConfig, present: Present) -> str:
    """What a clustering of all emotions would have as digest of its utterances; empty if not known."""
    manifest, here = present.manifest(config.corpus), present.cached(config.backbone, config.corpus)
    if manifest is None:
        return ""
    used = [one for one in manifest.utterances if here is None or one.id in here.done]
    if here is not None and len(used) < sum(one.id not in here.failed for one in manifest.utterances):
        return ""  # some have no features yet
    labels = _labels(used, config.labels)
    return _digest(used, labels) if labels is not None else ""


def _same_labels(own: Sequence[Utterance], stored: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the manifest has the labels of a clustering, but for emotions that were taken together."""
    now = _labels(own, [name for name in stored if name != "emotion"])
    if now is None or any(now[name] != values for name, values in stored.items() if name != "emotion"):
        return False
    classes = stored.get("emotion", ())
    pairs = {(one.emotion, name) for one, name in zip(own, classes, strict=False)}
    own_class = all(emotion == name for emotion, name in pairs if emotion in set(classes))
    return own_class and len(pairs) == len({emotion for emotion, _ in pairs})


def _labels(own: Sequence[Utterance], names: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """Some labels of utterances, as a clustering compares with them; None where one is none now."""
    try:
        found = label_sets(own, [name for name in names if name not in LABELS])
    except ClusteringError:
        return None
    return {name: found[name] for name in names} if set(names) <= found.keys() else None


def _digest(own: Sequence[Utterance], labels: Mapping[str, tuple[str, ...]]) -> str:
    """Of ids, audio and labels, as a clustering's configuration has it."""
    rows = zip(own, zip(*labels.values(), strict=True), strict=True) if labels else ()
    return sha256_of_value(sorted([one.id, one.sha256, *values] for one, values in rows))
