"""Why the linear head is below logistic regression on the same features: leave one speaker out.

python benchmarks/linear_head.py manifests/emovo.csv cache/whisper-base-encoder/emovo
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_cache.heads import HeadOptions, LinearHead
from ser_cache.manifest import read_manifest
from ser_cache.metrics import score
from ser_cache.packing import PackedFeatures
from ser_cache.splits import SplitOptions, make_splits
from ser_cache.stacks import Model
from ser_cache.store import open_features
from ser_cache.training import Sides, TrainingOptions, fit

SEEDS = 5


def main() -> None:
    """Print macro F1, pooled over the folds, mean and standard deviation over the seeds."""
    manifest = read_manifest(Path(sys.argv[1]))
    with open_features(Path(sys.argv[2]), manifest.utterances) as features:
        means = features.mean(features.layers[-1])
        place = {name: number for number, name in enumerate(features.ids)}
    emotion = {u.id: manifest.emotions.index(u.emotion) for u in manifest.utterances}
    labels = np.array([emotion[name] for name in place], dtype=np.int64)
    splits = make_splits([u for u in manifest.utterances if u.id in place], SplitOptions(kind="loso"))
    folds = [
        Sides(
            *(
                np.array([place[name] for name in side])
                for side in (split.train, split.validation, split.test)
            )
        )
        for split in splits
    ]

    def macro_f1(predicted: NDArray[np.int64]) -> float:
        return 100 * score(labels, predicted, manifest.emotions).macro_f1

    predicted = np.empty_like(labels)
    for fold in folds:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        predicted[fold.test] = model.fit(means[fold.train], labels[fold.train]).predict(means[fold.test])
    print(f"logistic regression, standardised                {macro_f1(predicted):.1f}")
    for standardise in (False, True):
        for both in (False, True):
            scores = [macro_f1(row) for row in linear_head(means, labels, folds, standardise, both)]
            name = "standardised" if standardise else "as it is"
            trained = "validation speaker trained on too" if both else "protocol"
            print(
                f"linear head, {name:12}, {trained:33} {np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f}"
            )


def linear_head(
    means: NDArray[np.float32], labels: NDArray[np.int64], folds: list[Sides], standardise: bool, both: bool
) -> NDArray[np.int64]:
    """Predictions of each seed for every utterance, (seeds, utterances)."""
    predicted = np.empty((SEEDS, len(labels)), dtype=np.int64)
    for number, fold in enumerate(folds):
        train = np.concatenate([fold.train, fold.validation]) if both else fold.train
        centre, scale = (means[train].mean(0), means[train].std(0)) if standardise else (0.0, 1.0)
        inputs = torch.from_numpy(((means - centre) / scale).astype(np.float32))[None]
        source = PackedFeatures(inputs, np.ones(len(labels), dtype=np.int64))
        models = [Model(str(seed), LinearHead, HeadOptions(), seed, (0,)) for seed in range(SEEDS)]
        sides = Sides(train, fold.validation, fold.test)
        results = fit(source, labels, sides, models, TrainingOptions(), f"fold {number}")
        for seed in range(SEEDS):
            predicted[seed, fold.test] = results[str(seed)].test_scores.argmax(axis=1)
    return predicted


if __name__ == "__main__":
    main()
