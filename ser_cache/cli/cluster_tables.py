"""Clusterings as tables for a terminal or a paper, and as flat records for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_cache.cli import screen
from ser_cache.clustering import GLOBAL
from ser_cache.emotions import emotions_text
from ser_cache.results import REPLACED, UNKNOWN, is_stale
from ser_cache.sections import Section
from ser_cache.staleness import REASONS

if TYPE_CHECKING:
    from ser_cache.clustering import Agreement, Clustering, StoredClustering

SCORES = {"ari": "ARI", "ami": "AMI", "nmi": "NMI", "purity": "purity"}
"""Attribute of an agreement -> heading."""
_MOST = 0.9
"""Share of the variance whose number of components is told."""
_CHANCE = 0.005
"""Of a score whose chance is 0: what is below would be shown as 0.00, and best of nothing."""
_AT_CHANCE_0 = {"ari", "ami"}
_CHANCES = ("nmi_chance", "purity_chance", "purity_chance_high")
_TERMINAL = 80
"""Columns that a table has room for, with one space between two of its own."""
_STALE = {
    REPLACED: "there is a newer clustering of the same choices on other labels, audio or features",
    **{reason: f"since the clustering, {what}" for reason, what in REASONS.items()},
    UNKNOWN: REASONS[UNKNOWN],
}
LEGEND = (
    "k: groups of the label; silh.: silhouette of these groups themselves",
    "ARI, AMI: adjusted Rand index, adjusted mutual information; 0 is chance, 1 equal",
    "chance: the mean over permuted labels",
)


def one_layer(stored: StoredClustering) -> list[Section]:
    """All about one clustering: agreement with every label, clusters by emotion, numbers of clusters."""
    sections = [_agreement(stored), *_clusters(stored)]
    return sections if len(stored.clustering.trials) == 1 else [*sections, _numbers(stored)]


def all_layers(found: Sequence[StoredClustering], score: str) -> list[Section]:
    """The layers of one corpus and backbone: how good the clusters are, and what they agree with."""
    labels = list(dict.fromkeys(name for one in found for name in one.clustering.agreements))
    cells = {
        "layer": [str(one.config.layer) for one in found],
        "k": [str(one.clustering.k) for one in found],
        "silhouette": [_spread(one.clustering.trial.silhouette) for one in found],
    }
    for name in labels:
        agreements = [one.clustering.agreements[name] for one in found]
        cells[name] = [_spread([getattr(a, score) for a in several]) for several in agreements]
    notes = (f"{SCORES[score]} with each label{_over_seeds(found[0])}", _best_layers(found, labels, score))
    return _blocks(f"Clusters by layer: {_what(found[0], layer=False)}", cells, 1, notes)


def record(stored: StoredClustering, *, stale: Sequence[str] = ()) -> dict[str, Any]:
    """One flat row: configuration, and scores as means over seeds, those with a label as ``score.label``."""
    config, clustering = stored.config, stored.clustering
    values: dict[str, Any] = {
        "corpus": config.corpus,
        "features": config.backbone,
        "layer": config.layer,
        "emotions": emotions_text(config.emotions),
        "stale": is_stale(stale),
        "stale_because": list(stale),
        "k": clustering.k,
        "utterances": len(clustering.members.ids),
        "dimensions": clustering.features,
        "standardise": config.standardise,
        "reduce": config.reduce,
        "seeds": len(config.seeds),
        "silhouette": float(np.mean(clustering.trial.silhouette)),
        "inertia": float(np.mean(clustering.trial.inertia)),
        "stability": _mean(clustering.trial.stability),
    }
    for name, found in clustering.agreements.items():
        values |= {f"{score}.{name}": _mean([getattr(a, score) for a in found]) for score in SCORES}
        values |= {f"{key}.{name}": _mean([getattr(a, key) for a in found]) for key in _CHANCES}
        values |= {f"groups.{name}": found[0].groups}
        values |= {f"silhouette.{name}": clustering.label_silhouettes[name]}
    return values | {"folder": str(stored.folder)}


def full_record(stored: StoredClustering, *, stale: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that is stored but the assignments, as JSON."""
    return {
        "folder": str(stored.folder),
        "stale": is_stale(stale),
        "stale_because": list(stale),
        "config": stored.config.to_json(),
        "environment": dict(stored.environment),
        **stored.clustering.summary(),
    }


def listing(found: Sequence[StoredClustering], stale: Mapping[Path, Sequence[str]]) -> Section:
    """One row a stored clustering; those that are stale say why."""
    rows = []
    for one in found:
        clustering, config = one.clustering, one.config
        emotion = clustering.agreements.get("emotion")
        rows.append(
            (
                config.corpus,
                config.backbone,
                str(config.layer),
                str(clustering.k),
                ", ".join(
                    filter(
                        None,
                        (
                            _manner(one),
                            f"best k of {config.k[0]}-{config.k[-1]}" if len(config.k) > 1 else "",
                            screen.count(len(config.seeds), "seed"),
                            emotions_text(config.emotions).replace(",", ", "),
                            f"stale: {', '.join(stale[one.folder])}" if one.folder in stale else "",
                        ),
                    )
                ),
                _spread(clustering.trial.silhouette),
                _spread([a.ari for a in emotion]) if emotion else "",
                _closest_label(clustering),
                config.name.rpartition("-")[2],
            )
        )
    columns = {"corpus": "fold", "features": "fold", "layer": "right", "k": "right", "how": "fold"}
    columns |= {"silh.": "right", "ARI": "right", "closest to": "left", "folder": "left"}
    notes = ["ARI: with emotion; closest to: the label of highest AMI"]
    if reasons := sorted({reason for one in found for reason in stale.get(one.folder, ())}):
        notes.append(f"stale: {'; '.join(f'{reason}: {_STALE[reason]}' for reason in reasons)}")
    return Section("Clusterings", columns, rows, tuple(notes))


def closest(clustering: Clustering) -> list[tuple[str, float]]:
    """Labels with the adjusted mutual information they have with the clusters, the highest first."""
    found = [(name, _mean([a.ami for a in one]) or 0.0) for name, one in clustering.agreements.items()]
    return sorted(found, key=lambda pair: -pair[1])


def _closest_label(clustering: Clustering) -> str:
    """The label of highest AMI; "none" where that is chance, "" where there are no labels."""
    found = closest(clustering)
    return "" if not found else found[0][0] if found[0][1] >= _CHANCE else "none"


def _closest(clustering: Clustering) -> str:
    """The labels by AMI, in a line."""
    found = ", ".join(f"{name} {_number(value)}" for name, value in closest(clustering))
    return f"closest by AMI: {found}" if found else "no label has two groups: nothing to compare with"


def _agreement(stored: StoredClustering) -> Section:
    clustering = stored.clustering
    rows = [
        _agreement_row(name, found, clustering.label_silhouettes[name], len(clustering.members.ids))
        for name, found in clustering.agreements.items()
    ]
    columns = {"against": "left"} | dict.fromkeys(
        ("k", "ARI", "AMI", "NMI (chance)", "purity (chance)", "silh."), "right"
    )
    notes = [
        f"silhouette of the clusters {_spread(clustering.trial.silhouette, 3)}{_over_seeds(stored)}",
        *_stability(clustering),
        _closest(clustering),
        _explained(clustering),
        *LEGEND,
    ]
    if clustering.constant:
        notes.append(f"left out: {screen.count(clustering.constant, 'feature')} that never changes")
    return Section(f"Clusters of {_what(stored)}", columns, rows, tuple(notes))


def _stability(clustering: Clustering) -> list[str]:
    found = clustering.trial.stability
    if not found:
        return []
    return [f"ARI between two seeds {np.mean(found):.2f}, from {min(found):.2f} to {max(found):.2f}"]


def _explained(clustering: Clustering) -> str:
    total = np.cumsum(clustering.explained)
    two = min(2, len(total))
    most = int(np.searchsorted(total, _MOST)) + 1
    return f"variance explained by {two} components {total[two - 1]:.0%}, by {most} {total[most - 1]:.0%}"


def _agreement_row(name: str, found: Sequence[Agreement], own: float, utterances: int) -> tuple[str, ...]:
    known = found[0].utterances
    label = name if known == utterances else f"{name} ({known:,})"
    return (
        label,
        str(found[0].groups),
        _spread([a.ari for a in found]),
        _spread([a.ami for a in found]),
        f"{_spread([a.nmi for a in found])} ({np.mean([a.nmi_chance for a in found]):.2f})",
        f"{_spread([a.purity for a in found])} ({np.mean([a.purity_chance for a in found]):.2f})",
        _number(own),
    )


def _blocks(
    title: str, cells: Mapping[str, Sequence[str]], fixed: int, notes: tuple[str, ...]
) -> list[Section]:
    """A table in as many sections as it needs to fit a terminal.

    Args:
        title: of the first; the others say that they go on.
        cells: heading -> one a row.
        fixed: how many of the first columns stand in every section.
        notes: below the last.
    """
    names = list(cells)
    widths = {name: 1 + max(map(len, (name, *column))) for name, column in cells.items()}
    always = names[:fixed]
    blocks: list[list[str]] = [[]]
    for name in names[fixed:]:
        taken = sum(widths[one] for one in (*always, *blocks[-1]))
        if blocks[-1] and taken + widths[name] > _TERMINAL:
            blocks.append([])
        blocks[-1].append(name)
    return [
        Section(
            title if number == 0 else f"{title} (continued)",
            dict.fromkeys([*always, *block], "right"),
            list(zip(*(cells[name] for name in (*always, *block)), strict=True)),
            notes if number == len(blocks) - 1 else (),
        )
        for number, block in enumerate(blocks)
    ]


def _clusters(stored: StoredClustering) -> list[Section]:
    clustering = stored.clustering
    label = "emotion" if "emotion" in clustering.members.labels else next(iter(clustering.members.labels), "")
    names, counts = clustering.table(label) if label else ((), np.zeros((clustering.k, 0), dtype=np.int64))
    cells = {
        "cluster": [str(number) for number in range(clustering.k)],
        "clips": [f"{size:,}" for size in clustering.sizes()],
        "silh.": [_number(value) for value in clustering.cluster_silhouettes()],
    } | {name: [f"{n:,}" for n in column] for name, column in zip(names, counts.T, strict=True)}
    seed = f" of seed {clustering.seed}, which has the least inertia" if len(stored.config.seeds) > 1 else ""
    notes = ("cluster 0 is the largest; silh.: mean silhouette of its clips",)
    return _blocks(f"Clusters by {label or 'size'}{seed}", cells, 1, notes)


def _numbers(stored: StoredClustering) -> Section:
    clustering = stored.clustering
    labels = list(clustering.agreements)[:4]
    several = len(stored.config.seeds) > 1
    columns = {"k": "right", "inertia": "right", "silhouette": "right"}
    columns |= {"stability": "right"} if several else {}
    columns |= dict.fromkeys(labels, "right") | {"": "left"}
    rows = [
        (
            str(trial.k),
            f"{np.mean(trial.inertia):,.0f}",
            _spread(trial.silhouette, 3),
            *([f"{np.mean(trial.stability):.2f}"] if several else []),
            *(_number(float(np.mean(trial.ari[name]))) for name in labels),
            "best silhouette" if trial.k == clustering.k else "",
        )
        for trial in clustering.trials
    ]
    notes = [f"under the labels: ARI{'; all are means over seeds' if several else ''}"]
    if several:
        notes.append("stability: mean ARI between the clusters of two seeds")
    return Section("Numbers of clusters", columns, rows, tuple(notes))


def _best_layers(found: Sequence[StoredClustering], labels: Sequence[str], score: str) -> str:
    best = []
    for name in labels:
        values = [_mean([getattr(a, score) for a in one.clustering.agreements[name]]) or 0.0 for one in found]
        place = int(np.argmax(values))
        layer = found[place].config.layer if score not in _AT_CHANCE_0 or values[place] >= _CHANCE else "none"
        best.append(f"{name} {layer} ({_number(values[place])})")
    return f"best layer: {', '.join(best)}"


def _what(stored: StoredClustering, *, layer: bool = True) -> str:
    """Corpus, features, and how they were clustered, in a line."""
    config, clustering = stored.config, stored.clustering
    parts = [config.corpus, config.backbone]
    if layer:
        parts += [f"layer {config.layer}", f"k {clustering.k}"]
    parts += [screen.count(len(clustering.members.ids), "utterance"), _manner(stored)]
    return ", ".join(filter(None, parts))


def _manner(stored: StoredClustering) -> str:
    """What was done to the features: "13 features, within speakers"."""
    config = stored.config
    size = screen.count(stored.clustering.features, "feature")
    how = [size if config.reduce is None else f"{config.reduce} components of {size}"]
    how += [] if config.standardise == GLOBAL else [f"standardised within {config.standardise}"]
    return ", ".join(how)


def _over_seeds(stored: StoredClustering) -> str:
    seeds = len(stored.config.seeds)
    return f"; mean over {seeds} seeds ± standard deviation" if seeds > 1 else ""


def _spread(values: Sequence[float], digits: int = 2) -> str:
    """The mean, with the standard deviation where there are several: "0.15±0.02"."""
    text = _number(float(np.mean(values)), digits)
    return text if len(values) < 2 else f"{text}±{np.std(values, ddof=1):.{digits}f}"


def _number(value: float, digits: int = 2) -> str:
    """A number without the sign that a rounded 0 may have."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
