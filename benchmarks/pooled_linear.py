"""The linear head from the pooled tier against the same head from frames, for each way of storing frames.

python benchmarks/pooled_linear.py manifests/emovo.csv cache/whisper-base/emovo cache/whisper-base+int8/emovo

The pooled tier holds time means of the float32 states, before the codec, so `ser probe --head linear` does
not depend on how frames are stored. What it would be from the stored frames is measured here, over 5 folds of
speakers and 5 seeds: first the same trained parameters on both means, in float64, then heads trained on
either.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from machine import machine
from numpy.typing import NDArray

from ser_cache.heads import LinearHead
from ser_cache.manifest import Manifest, read_manifest
from ser_cache.metrics import score
from ser_cache.packing import PackedFeatures, Segments
from ser_cache.protocols import protocol_named
from ser_cache.splits import SplitOptions, make_splits
from ser_cache.stacks import Model
from ser_cache.store import CachedFeatures, open_features
from ser_cache.training import FitResult, Sides, fit

SEEDS = range(5)
PROTOCOL = protocol_named("dasaro2024")


def main(words: Sequence[str] | None = None) -> None:
    """Print a row for each folder of features."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folders", type=Path, nargs="+", metavar="cache/BACKBONE/CORPUS")
    arguments = parser.parse_args(words)
    manifest = read_manifest(arguments.manifest)
    print(f"{machine('ser-cache', 'torch', 'numpy')}; {manifest.corpus}, last layer\n")
    print(
        "| features | logits, median size | largest difference | median difference | changed predictions "
        "| macro F1, pooled tier | macro F1, frames | difference over folds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for folder in arguments.folders:
        with open_features(folder, manifest.utterances) as features:
            print(_row(features, manifest), flush=True)


def _row(features: CachedFeatures, manifest: Manifest) -> str:
    pooled = features.mean(features.layers[-1]).astype(np.float64)
    framed = _means_of_frames(features)
    emotion = {utterance.id: utterance.emotion for utterance in manifest.utterances}
    labels = np.array([manifest.emotions.index(emotion[name]) for name in features.ids], dtype=np.int64)
    place = {name: number for number, name in enumerate(features.ids)}
    splits = make_splits([u for u in manifest.utterances if u.id in place], SplitOptions(kind="folds"))
    ours: list[NDArray[np.float64]] = []
    theirs: list[NDArray[np.float64]] = []
    scores = []
    for split in splits:
        names = (split.train, split.validation, split.test)
        sides = Sides(*(np.array([place[name] for name in side], dtype=np.int64) for side in names))
        trained = [_train(means, labels, sides, split.fold) for means in (pooled, framed)]
        for result in trained[0]:
            ours.append(_logits(result, pooled[sides.test]))
            theirs.append(_logits(result, framed[sides.test]))
        scores.append([_macro_f1(results, labels[sides.test], manifest) for results in trained])
    one, other = np.concatenate(ours), np.concatenate(theirs)
    apart = np.abs(one - other)
    changed = np.mean(one.argmax(axis=1) != other.argmax(axis=1))
    from_pooled, from_frames = np.array(scores).T
    difference = from_frames - from_pooled
    return (
        f"| {features.backbone} | {np.median(np.abs(one)):.2f} | {apart.max():.1e} | {np.median(apart):.1e} "
        f"| {100 * changed:.2f} % | {from_pooled.mean():.2f} | {from_frames.mean():.2f} "
        f"| {difference.mean():+.2f} ± {difference.std(ddof=1):.2f} |"
    )


def _means_of_frames(features: CachedFeatures) -> NDArray[np.float64]:
    """Time means of the last layer's stored frames in float64, (utterances, width)."""
    means = np.empty((len(features.ids), features.width))
    for index in range(len(means)):
        (states,) = features.hidden(index, features.layers[-1:])
        means[index] = np.average(states.astype(np.float64), axis=0, weights=features.group_sizes(index))
    return means


def _train(means: NDArray[np.float64], labels: NDArray[np.int64], sides: Sides, fold: str) -> list[FitResult]:
    source = PackedFeatures(torch.from_numpy(means[None].astype(np.float32)), np.ones(len(means), np.int64))
    models = [Model(str(seed), LinearHead, PROTOCOL.head, seed, (0,)) for seed in SEEDS]
    results = fit(source, labels, sides, models, PROTOCOL.training, fold)
    return [results[model.name] for model in models]


def _logits(result: FitResult, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of one trained head in float64, (utterances, k)."""
    classes = result.test_scores.shape[1]
    head = LinearHead(1, means.shape[1], classes, PROTOCOL.head, [0]).double()
    head.restore([{name: torch.from_numpy(value).double() for name, value in result.weights.items()}])
    segments = Segments([1] * len(means), torch.float64, torch.device("cpu"))
    with torch.no_grad():
        logits: NDArray[np.float64] = head(torch.from_numpy(means)[None], segments)[0].numpy()
    return logits


def _macro_f1(results: Sequence[FitResult], truth: NDArray[np.int64], manifest: Manifest) -> float:
    """In percent, mean over the seeds."""
    predicted = [result.test_scores.argmax(axis=1) for result in results]
    return float(
        np.mean([100 * score(truth, one, manifest.emotions, present_only=True).macro_f1 for one in predicted])
    )


if __name__ == "__main__":
    main()
