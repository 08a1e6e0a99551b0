"""Peak anonymous memory of probing from frames, over a made-up corpus and over larger ones.

python benchmarks/probing_memory.py
python benchmarks/probing_memory.py --layers 25 --width 1024 --sizes 100 400 1600

It must not grow with the corpus: frames come from the memory map, batch by batch. Each run has a process of
its own, whose RssAnon this one reads 20 times a second (see memory.py). Features are noise and no score means
anything. A larger corpus has a somewhat longer longest batch, since more are drawn; so the smallest should
have some hundred utterances. Time means are held in memory, 4 bytes a number, and are shown apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine
from memory import LOADED, MIB, Usage, watched

from ser_cache.manifest import Manifest, Utterance
from ser_cache.store import Fingerprint, PartWriter, Row, create_part, open_features

EMOTIONS = ("anger", "joy", "neutral", "sadness")
SPEAKERS = 10
HEADS = {"frames": ("nonlinear", "multilayer"), "time means": ("linear",)}
SHORTEST, LONGEST = 50, 250


def main(words: Sequence[str] | None = None) -> None:
    """Write the largest corpus, probe its beginnings, and print a Markdown table."""
    arguments = _arguments(words)
    if arguments.probe:
        _probe(arguments)
        return
    shape = f"{arguments.layers} layers x {arguments.width}"
    print(f"{machine('torch', 'h5py')}; {shape}, {arguments.epochs} epochs\n")
    print(
        "| fed | utterances | features, MiB | MiB before | peak MiB | above before | mean of each quarter |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="probing-memory-", dir=arguments.folder) as name:
        written = [_write(Path(name), count, arguments) for count in arguments.sizes]
        for fed in HEADS:
            peaks = [
                _row(Path(name), fed, count, size, arguments)
                for count, size in zip(arguments.sizes, written, strict=True)
            ]
            print(
                f"| | | | | ratio of the largest to the smallest: {peaks[-1] / peaks[0]:.3f} | | |",
                flush=True,
            )


def _row(folder: Path, fed: str, count: int, size: int, arguments: argparse.Namespace) -> float:
    usage = _measure(folder, fed, count, arguments)
    peak = float(usage.samples.max())
    quarters = ", ".join(f"{quarter.mean() / MIB:.0f}" for quarter in np.array_split(usage.samples, 4))
    print(
        f"| {fed} | {count:,} | {size / MIB:,.0f} | {usage.loaded / MIB:.0f} | {peak / MIB:.0f} "
        f"| {(peak - usage.loaded) / MIB:.0f} | {quarters} |",
        flush=True,
    )
    return peak


def _utterances(count: int) -> tuple[Utterance, ...]:
    return tuple(
        Utterance(
            f"{number:06d}",
            f"{number}.wav",
            f"s{number % SPEAKERS}",
            EMOTIONS[number // SPEAKERS % 4],
            "x",
            "it",
            1,
            "0" * 64,
        )
        for number in range(count)
    )


def _write(root: Path, count: int, arguments: argparse.Namespace) -> int:
    """A cache of so many utterances of noise; returns its bytes."""
    dice = np.random.default_rng(0)
    lengths = dice.integers(SHORTEST, LONGEST, count)
    rows = [
        Row(u.id, u.samples, u.sha256, int(length))
        for u, length in zip(_utterances(count), lengths, strict=True)
    ]
    storage = {
        "codec": "fp16",
        "layers": list(range(arguments.layers)),
        "tier": "frames",
        "frame_average": 1,
        "schema": 1,
    }
    path = root / str(count) / "noise" / "corpus" / "part-0000.h5"
    path.parent.mkdir(parents=True)
    noise = dice.standard_normal((arguments.layers, LONGEST, arguments.width)).astype(np.float16)
    pooled = dice.standard_normal((arguments.layers, arguments.width)).astype(np.float32)
    with PartWriter(create_part(path, Fingerprint({}, storage), rows, arguments.width, {})) as writer:
        for row, length in enumerate(lengths):
            writer.write(row, {"hidden": noise[:, :length], "mean": pooled, "std": pooled})
    return path.stat().st_size


def _measure(folder: Path, fed: str, count: int, arguments: argparse.Namespace) -> Usage:
    """Probe in a process of its own, and watch its memory."""
    command = [sys.executable, __file__, "--probe", fed, "--folder", str(folder), "--sizes", str(count)]
    command += ["--epochs", str(arguments.epochs)]
    return watched(command)


def _probe(arguments: argparse.Namespace) -> None:
    """What the measured process does."""
    from ser_cache.probing import ProbeOptions, probe
    from ser_cache.protocols import protocol_named
    from ser_cache.splits import SplitOptions

    (count,) = arguments.sizes
    protocol = protocol_named("dasaro2024")
    protocol = replace(protocol, training=replace(protocol.training, epochs=arguments.epochs))
    options = ProbeOptions(
        HEADS[arguments.probe], split=SplitOptions("speaker"), protocol=protocol, device="cpu"
    )
    manifest = Manifest("corpus", _utterances(count))
    print(LOADED, flush=True)
    with open_features(arguments.folder / str(count) / "noise" / "corpus", manifest.utterances) as features:
        probe(features, manifest, options, arguments.folder / f"runs-{count}")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--sizes", type=int, nargs="+", default=[400, 1600, 6400], help="utterances")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to put temporary files")
    parser.add_argument("--probe", choices=list(HEADS), help=argparse.SUPPRESS)  # in the measured process
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
