"""Time and memory of clustering a corpus of CREMA-D's size: k-means, silhouettes, components, agreement.

python benchmarks/clustering.py
python benchmarks/clustering.py --utterances 7442 --shapes 1x13 25x1024 --seeds 5

Features are made up: groups that overlap, as emotions do. For each shape, layers x features, the steps of
one layer are timed one by one, then `ser cluster`'s work on all of the layers is done in a process of its own
whose RssAnon is read 20 times a second (see memory.py). Silhouettes need every distance between two
utterances: their time grows with the square of the corpus. Their memory does not, since distances are
computed some rows at a time (``ser_cache.clustering.silhouettes.ROWS_MEBIBYTES``); --utterances shows both.
What must be held is one layer's features, a few times.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from machine import Stolen, machine
from memory import LOADED, MIB, watched

EMOTIONS, SPEAKERS = 6, 91
_SQUARE = 8


def main(words: Sequence[str] | None = None) -> None:
    """Measure every shape and print two Markdown tables."""
    arguments = _arguments(words)
    if arguments.work:
        _work(arguments)
        return
    stolen = Stolen()
    count = arguments.utterances
    print(f"{machine('numpy', 'scikit-learn')}; {count:,} utterances, {arguments.seeds} seeds\n")
    print("### Steps of one layer, seconds\n")
    print("| features | k-means (10 restarts) | silhouettes | principal components | agreement |")
    print("|--:|--:|--:|--:|--:|")
    for _, width in map(_shape, arguments.shapes):
        print(
            f"| {width:,} | {' | '.join(f'{seconds:.2f}' for seconds in _steps(count, width))} |", flush=True
        )
    print("\n### All layers\n")
    print("| layers x features | seconds | seconds a layer | peak MiB | above before | square, MiB |")
    print("|--:|--:|--:|--:|--:|--:|")
    for shape in arguments.shapes:
        layers, _ = _shape(shape)
        command = [sys.executable, __file__, "--work", "--shapes", shape, "--seeds", str(arguments.seeds)]
        usage = watched([*command, "--utterances", str(count)])
        peak = float(usage.samples.max())
        print(
            f"| {shape} | {usage.seconds:.1f} | {usage.seconds / layers:.1f} | {peak / MIB:.0f} "
            f"| {(peak - usage.loaded) / MIB:.0f} | {_SQUARE * count**2 / MIB:.0f} |",
            flush=True,
        )
    print(f"\nsquare: all distances at once, which is never held; {stolen}")


def _steps(count: int, width: int) -> list[float]:
    """Seconds of k-means, silhouettes, components and agreement with one label."""
    from ser_cache.clustering import agreement, silhouettes
    from ser_cache.clustering.partitioning import k_means
    from ser_cache.clustering.preparing import principal_components, standardised

    points = standardised(made_up(count, width, 0))
    labels = _labels(count)
    _timed(lambda: silhouettes(points[:50], [np.arange(50) % 2]))  # the first call imports scikit-learn
    partition, seconds = _timed(lambda: k_means(points, EMOTIONS, 0, 10))
    clusters = partition.clusters
    further = (
        lambda: silhouettes(points, [clusters]),
        lambda: principal_components(points),
        lambda: agreement(clusters, labels["speaker"], 200),
    )
    return [seconds, *(_timed(step)[1] for step in further)]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


def made_up(count: int, width: int, layer: int) -> np.ndarray:
    """Overlapping groups, (count, width) float32."""
    dice = np.random.default_rng(layer)
    centres = dice.normal(size=(EMOTIONS, width)).astype(np.float32)
    return centres[np.arange(count) % EMOTIONS] + 2 * dice.standard_normal((count, width), dtype=np.float32)


def _labels(count: int) -> dict[str, tuple[str, ...]]:
    return {
        "emotion": tuple(f"e{number % EMOTIONS}" for number in range(count)),
        "speaker": tuple(f"s{number // EMOTIONS % SPEAKERS}" for number in range(count)),
    }


def _work(arguments: argparse.Namespace) -> None:
    """What the measured process does: every layer, one after another, as from a cache."""
    from ser_cache.clustering import ClusterOptions, cluster_points, silhouettes

    ((layers, width),) = map(_shape, arguments.shapes)
    ids, labels = [f"{number:06d}" for number in range(arguments.utterances)], _labels(arguments.utterances)
    options = ClusterOptions(k=(EMOTIONS,), seeds=tuple(range(arguments.seeds)))
    silhouettes(np.eye(4), [np.array([0, 0, 1, 1])])  # imports scikit-learn, which is not measured
    print(LOADED, flush=True)
    for layer in range(layers):
        cluster_points(ids, made_up(arguments.utterances, width, layer), labels, options)


def _shape(text: str) -> tuple[int, int]:
    layers, _, width = text.partition("x")
    return int(layers), int(width)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=7442)
    parser.add_argument("--shapes", nargs="+", default=["1x13", "25x1024"], help="layers x features")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)  # in the measured process
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
