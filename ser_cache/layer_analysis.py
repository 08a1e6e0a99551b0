"""Which layers matter, from finished runs: how heads weight the layers, and how well each layer does alone.

Figure 2 of D'Asaro et al. 2024 shows the weights of their multi-layer classifier. A weight says how much a
layer is multiplied by, not how much of the sum is that layer: where one layer's states are ten times as
large as another's, equal weights mean that the sum is mostly the first. So each weight is shown raw, and
rescaled by the root mean square of its layer over the frames that were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ser_cache.emotions import emotions_text
from ser_cache.errors import CacheError, SerCacheError, StaleCacheError
from ser_cache.files import canonical_json
from ser_cache.joined_features import JoinedFeatures
from ser_cache.results import (
    Run,
    newest_data,
    read_layer_weights,
    read_training_sides,
)
from ser_cache.store import open_features

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest

SHADES = "·░▒▓█"
_EIGHTHS = " ▏▎▍▌▋▊▉"

Norms = Callable[[Run], Mapping[str, NDArray[np.float64]]]
"""Gives the root mean square of each of a run's layers over each fold's training frames, by fold."""


class PooledFeatures(Protocol):
    """What the norms ask of cached features; ``ser_cache.store.CachedFeatures`` describes each."""

    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102 - described where they are made
    @property
    def frames(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def frame_average(self) -> int: ...  # noqa: D102
    def mean(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102
    def std(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102


@dataclass(frozen=True)
class LayerWeights:
    """How one head on one backbone weights the layers: mean over folds and seeds, then over corpora.

    Attributes:
        backbone: its folder in the cache.
        head: name of the head.
        protocol: name of the protocol.
        split: kind of the split.
        layers: the layers weighted.
        corpora: those averaged over.
        raw: share of each layer, (layers,), summing to 1.
        rescaled: share times the layer's root mean square, summing to 1, (layers,); None where it could not
            be had for every corpus.
        notes: why not, and which runs were passed over; one line each.
    """

    backbone: str
    head: str
    protocol: str
    split: str
    layers: tuple[int, ...]
    corpora: tuple[str, ...]
    raw: NDArray[np.float64]
    rescaled: NDArray[np.float64] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerScores:
    """How well a head does on each layer alone.

    Attributes:
        corpus: name of the corpus.
        backbone: its folder in the cache.
        head: name of the head.
        protocol: name of the protocol.
        split: kind of the split.
        layers: the layers tried, ascending.
        mean: score of each, a fraction, mean over seeds, (layers,).
        std: standard deviation over seeds, (layers,); NaN where there is one seed.
        notes: which runs were passed over; one line each.
    """

    corpus: str
    backbone: str
    head: str
    protocol: str
    split: str
    layers: tuple[int, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def layer_weights(runs: Iterable[Run], norms: Norms) -> list[LayerWeights]:
    """Average the layer weights of all runs that mix layers, sorted by backbone, head, protocol and split.

    Runs of one backbone, head, protocol, split and set of layers are averaged over corpora, each counting the
    same. Of several runs of one corpus among them, those on the newest data count (labels, audio, features or
    splits may have changed in between), of these the one with the most models, and of equals the newest.

    Args:
        runs: any runs; those that mix no layers are passed over.
        norms: gives the layers' norms, or raises a SerCacheError that says why not.

    Raises:
        ResultsError: the layer weights of a run are damaged.
    """
    mixing = [run for run in runs if len(run.config.layers) > 1 and read_layer_weights(run)]
    groups = _grouped(mixing, lambda c: (c.backbone, c.head, *_manner(c), _emotions(c), c.layers))
    return [_weights_of_group(members, norms) for members in groups]


def scores_by_layer(runs: Iterable[Run], score: str = "macro_f1") -> list[LayerScores]:
    """The score of each layer, from runs of heads that were fed one layer; two layers at least.

    All layers of a curve are on the same data, the newest that there is: where labels, audio, features or
    splits have changed, the runs before are left out and counted in a note. So a curve has a single layer
    where the others are not tried on the newest data yet.

    Args:
        runs: any runs; those that were fed several layers are passed over.
        score: one of ``results.HEADLINE``.
    """
    single = [run for run in runs if len(run.config.layers) == 1]
    groups = _grouped(single, lambda c: (c.corpus, c.backbone, c.head, *_manner(c), _emotions(c)))
    sweeps = [members for members in groups if len({run.config.layers for run in members}) > 1]
    return [_scores_of_group(members, score) for members in sweeps]


def layer_norms(
    features: PooledFeatures, layers: Sequence[int], sides: Mapping[str, frozenset[str]]
) -> dict[str, NDArray[np.float64]]:
    """Root mean square over frames of each layer's length, for several sets of utterances at once.

    From the time means and deviations alone: over the frames of an utterance, the mean of a squared value is
    its squared mean plus its variance.

    Args:
        features: time means and deviations.
        layers: which.
        sides: ids of utterances by name.

    Returns:
        Square root of the mean over frames of the squared length, (layers,), by the same names.

    Raises:
        CacheError: none of a side's utterances has features.
    """
    # A stored frame may stand for several; that an utterance's last stands for fewer changes next to nothing.
    frames = features.frames * features.frame_average
    masks = {name: np.array([id_ in ids for id_ in features.ids]) for name, ids in sides.items()}
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        raise CacheError(f"none of the utterances that fold {empty[0]} was trained on is cached any more.")
    squared = np.empty((len(layers), len(features.ids)))
    for place, layer in enumerate(layers):
        mean, std = (values.astype(np.float64) for values in (features.mean(layer), features.std(layer)))
        squared[place] = (mean**2 + std**2).sum(axis=1)
    return {
        name: np.sqrt(squared[:, mask] @ frames[mask] / frames[mask].sum()) for name, mask in masks.items()
    }


def norms_from_cache(cache: Path, manifests: Mapping[str, Manifest]) -> Norms:
    """Norms of the features that a run was trained on, read from the cache.

    Args:
        cache: its root.
        manifests: by corpus; needed to know the corpus's utterances.

    Returns:
        A function that raises CacheError or StaleCacheError where the features are gone or others.
    """

    def norms(run: Run) -> Mapping[str, NDArray[np.float64]]:
        config = run.config
        sides = read_training_sides(run)
        with ExitStack() as stack:
            members = []
            for corpus in config.training_corpora:
                if corpus not in manifests:
                    raise CacheError(f"{corpus} has no manifest here.")
                folder = cache / config.backbone / corpus
                features = stack.enter_context(open_features(folder, manifests[corpus].utterances))
                if features.fingerprint.digest != config.data.fingerprint:
                    raise StaleCacheError(
                        f"{folder} holds other features than {run.folder.name} was trained on."
                    )
                members.append(features)
            trained = JoinedFeatures(members) if config.trained_on else members[0]
            return layer_norms(trained, config.layers, sides)

    return norms


def shaded(values: NDArray[np.float64], width: int = 2) -> str:
    """A row of the grey-scale map in characters: a dot for 0, a full block for the largest value."""
    top = float(np.max(values))
    levels = np.rint(np.clip(values / top if top > 0 else values, 0, 1) * (len(SHADES) - 1)).astype(int)
    return "".join(SHADES[level] * width for level in levels)


def bar(share: float, width: int = 20) -> str:
    """A bar of blocks of up to ``width`` characters, to an eighth of one, for a share from 0 to 1."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return SHADES[-1] * full + (_EIGHTHS[rest] if rest else "")


def _manner(config: Any) -> tuple[str, str]:  # noqa: ANN401 - a RunConfig, in a key
    return str(config.protocol.get("name", "")), canonical_json(dict(config.split))


def _emotions(config: Any) -> str:  # noqa: ANN401 - a RunConfig, in a key
    """Which emotions were chosen; models for other classes are others, not older.

    Across corpora each class is named, because there a choice is not told where the tested corpus has no
    other emotions, and the same models may be tested on one that has.
    """
    named = {name: (name,) for name in config.classes} if config.tested_on else {}
    return emotions_text(named | dict(config.emotions))


def _trained_on(config: Any) -> str:  # noqa: ANN401 - a RunConfig
    """The corpora that a run's weights come from; one training may have been tested on several others."""
    return "+".join(config.training_corpora)


def _grouped(runs: Iterable[Run], key: Callable[[Any], tuple[Any, ...]]) -> list[list[Run]]:
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run.config), []).append(run)
    return [groups[name] for name in sorted(groups)]


def _on_newest_data(runs: Sequence[Run]) -> tuple[list[Run], tuple[str, ...]]:
    """Of one corpus's runs those on the data of the one written last; and a line if any is on other data."""
    newest = newest_data(runs)
    kept = [run for run in runs if run.config.data == newest]
    if len(kept) == len(runs):
        return kept, ()
    config, earlier = kept[0].config, len(runs) - len(kept)
    runs_are = "1 run on earlier data is" if earlier == 1 else f"{earlier} runs on earlier data are"
    return kept, (f"{config.corpus}, {config.backbone}: {runs_are} left out",)


def _one_a_training(runs: Sequence[Run]) -> list[Run]:
    """Runs, and of those that tested the same models on several corpora one alone: none gives way to it."""
    found: dict[Any, Run] = {}
    for run in sorted(runs, key=lambda run: run.recency):
        mixed = read_layer_weights(run) if run.config.tested_on else None
        found[run.folder if mixed is None else (_trained_on(run.config), mixed.models.tobytes())] = run
    return list(found.values())


def _largest(runs: Sequence[Run], kind: Callable[[Run], Any]) -> tuple[dict[Any, Run], tuple[str, ...]]:
    """One run of each kind, the one with the most models; and a line for each that had to give way."""
    chosen: dict[Any, Run] = {}
    newest_first = sorted(runs, key=lambda run: run.recency, reverse=True)
    for run in sorted(newest_first, key=lambda run: -len(run.config.seeds) * len(run.metrics["folds"])):
        chosen.setdefault(kind(run), run)
    kept = {run.folder for run in chosen.values()}
    passed = sorted(run.folder.name for run in runs if run.folder not in kept)
    note = f"passed over, as another run has more models or is newer: {', '.join(passed)}"
    return dict(sorted(chosen.items())), (note,) if passed else ()


def _weights_of_group(runs: Sequence[Run], norms: Norms) -> LayerWeights:
    config = runs[0].config
    by_corpus = [_on_newest_data(same) for same in _grouped(runs, lambda c: (c.corpus,))]
    trainings = _one_a_training([run for kept, _ in by_corpus for run in kept])
    chosen, passed = _largest(trainings, lambda run: _trained_on(run.config))
    notes = (*(line for _, lines in by_corpus for line in lines), *passed)
    raw, rescaled, reasons = [], [], []
    for corpus, run in chosen.items():
        mixed = read_layer_weights(run)
        assert mixed is not None  # noqa: S101 - the runs were chosen by it
        raw.append(mixed.mean)
        if reason := _no_rescaling(run):
            reasons.append(f"{corpus}: {reason}")
            continue
        try:
            scale = norms(run)
        except SerCacheError as error:
            reasons.append(f"{corpus}: not rescaled, as {error}")
            continue
        scaled = [shares * scale[fold] for fold, shares in zip(mixed.folds, mixed.models, strict=True)]
        rescaled.append(np.mean([values / values.sum() for values in scaled], axis=0))
    return LayerWeights(
        backbone=config.backbone,
        head=config.head,
        protocol=_manner(config)[0],
        split=str(config.split.get("kind", "")),
        layers=config.layers,
        corpora=tuple(chosen),
        raw=np.mean(raw, axis=0),
        rescaled=np.mean(rescaled, axis=0) if len(rescaled) == len(chosen) else None,
        notes=(*reasons, *notes),
    )


def _no_rescaling(run: Run) -> str:
    """Why raw weights are already comparable: the features were standardised before they were mixed."""
    how = run.config.protocol.get("standardise", "none")
    if how == "none":
        return ""
    return f"not rescaled, as standardise {how} gave all layers one scale before they were mixed"


def _scores_of_group(runs: Sequence[Run], score: str) -> LayerScores:
    config = runs[0].config
    kept, earlier = _on_newest_data(runs)
    chosen, passed = _largest(kept, lambda run: run.config.layers[0])
    pooled = [run.metrics["pooled"] for run in chosen.values()]
    stds = [row["std"][score] for row in pooled]
    return LayerScores(
        corpus=config.corpus,
        backbone=config.backbone,
        head=config.head,
        protocol=_manner(config)[0],
        split=str(config.split.get("kind", "")),
        layers=tuple(chosen),
        mean=np.array([row["mean"][score] for row in pooled]),
        std=np.array([np.nan if std is None else std for std in stds]),
        notes=(*earlier, *passed),
    )
