"""Threads that are the first to use vector mathematics: how often some of them get rough roots.

python benchmarks/first_use.py
python benchmarks/first_use.py --processes 5000

Forks processes in which two threads at once encode made-up states, which takes a root of every variance, and
compares what they got. "settled" calls `settle_vector_mathematics` before the threads start, as extraction
does. A process that differs has deviations with an error of about one in ten thousand in its first batches.
"""

import argparse
import os
import pickle
import threading
from collections import Counter

import numpy as np
import torch
from machine import machine

from ser_cache.extraction.layers import ClipEncoder
from ser_cache.extraction.running import settle_vector_mathematics
from ser_cache.store import CODECS

BATCHES, WIDTH = 24, 4


def main() -> None:
    """Print how many processes differ from the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2000)
    processes = parser.parse_args().processes
    batches = _batches()
    print(f"{machine('torch', 'numpy')}\n")
    print("| first use | processes | that differ |\n|---|--:|--:|")
    for name in ("in two threads at once", "settled"):
        found = Counter(_in_a_child(batches, name == "settled") for _ in range(processes))
        print(f"| {name} | {processes:,} | {processes - found.most_common(1)[0][1]:,} |")


def _batches() -> list[tuple[list[int], torch.Tensor]]:
    """Frames of each clip of a batch, and their states."""
    rng = np.random.default_rng(3)
    frames = [rng.integers(1, 19, size=int(rng.integers(1, 5))).tolist() for _ in range(BATCHES)]
    return [
        (one, torch.from_numpy(rng.normal(40, 3, (sum(one), WIDTH)).astype(np.float32))) for one in frames
    ]


def _in_a_child(batches: list[tuple[list[int], torch.Tensor]], settled: bool) -> bytes:
    """The deviations of all batches as a new process computes them."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        if settled:
            settle_vector_mathematics()
        found: list[bytes] = [b""] * BATCHES

        def work(first: int) -> None:
            for number in range(first, BATCHES, 2):
                frames, states = batches[number]
                found[number] = ClipEncoder(frames, CODECS["fp16"], 1)(states).std.numpy().tobytes()

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.write(writing, pickle.dumps(found))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.wait()
    return content


if __name__ == "__main__":
    main()
