"""The store against what people use instead: writing, reading in random order, bytes on disk.

python benchmarks/store.py                                    # 1 GB of features, 9 GB of disk, minutes
python benchmarks/store.py --layers 5 --frames 2000           # seconds
python benchmarks/store.py --folder /fast/disk --json store.json

The same seeded noise (its low bits compress as badly as those of hidden states) goes, utterance by utterance,
into each format. Reading fills one preallocated fp16 buffer, batch after batch of utterances in random order,
from a warm page cache, so all files (9 times the features) must fit into memory. ``.npy`` holds fp32, as
people save it: NumPy converts it on the way, slowly, so it is also read into an fp32 buffer as it is. All
speeds count bytes of fp16 features, whatever a format stores. Formats take turns within each round, every
round draws another order, and a ratio is the median over the rounds of two times taken in the same round, so
that a busy machine disturbs both sides alike. A slow format takes part in fewer rounds.

lhotse's storage is compared when lhotse can be imported: pip install lhotse lilcom. Its lilcom format loses
more than fp16 does (steps of 2**-5).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from machine import machine
from store_formats import FORMATS, LONGEST, Ceiling, Features, Format, Shape, Store, Written, lhotse_io

SECONDS_A_FORMAT = 20.0
"""After so long at one measurement, a format sits the remaining rounds out."""

Kind = TypeVar("Kind", bound=Format)

Times = dict[str, dict[int, float]]
"""Seconds by format and round."""
LEAST_BYTES = 64_000_000
"""Features below this measure the processor's caches and not its memory."""


def main() -> None:
    """Measure, and print the tables."""
    arguments = _arguments()
    shape = Shape(arguments.layers, arguments.frames, arguments.width, arguments.batch)
    if lhotse_io is None:
        print("lhotse cannot be imported and is left out: pip install lhotse lilcom\n")
    features = Features(shape)
    if features.bytes < LEAST_BYTES:
        print(
            f"{features.bytes / 1e6:.0f} MB of features fit into the processor's caches: what follows shows "
            "that the script works, and not how fast anything is.\n"
        )
    load = os.getloadavg()[0]
    root = Path(tempfile.mkdtemp(prefix="store-benchmark-", dir=arguments.folder))
    try:
        formats = [kind(features, root / (kind.source or kind).__name__) for kind in FORMATS]
        results = measure(formats, features, arguments.repeats)
        writing = profile(features, root / "profile")
    finally:
        shutil.rmtree(root)
    results["machine"] = machine("numpy", "h5py", "lhotse", "lilcom")
    results["load"] = [load, os.getloadavg()[0]]
    results["shape"] = vars(arguments) | {"utterances": len(features.lengths), "fp16 bytes": features.bytes}
    results["writing"] = writing
    report(results, formats, features)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, default=str) + "\n")


def measure(formats: Sequence[Format], features: Features, repeats: int) -> dict[str, Any]:
    """Seconds of writing, of flushing, and of reading all layers and the last, and bytes on disk."""
    writers = [format_ for format_ in formats if isinstance(format_, Written)]
    flushed: Times = {}

    def write(format_: Written, number: int) -> float:
        shutil.rmtree(format_.folder, ignore_errors=True)
        format_.folder.mkdir()
        os.sync()  # what others wrote before is not this one's to flush
        started = perf_counter()
        format_.write()
        written = perf_counter() - started
        format_.sync()
        flushed.setdefault(format_.name, {})[number] = perf_counter() - started
        return written

    written = in_turns("writing", writers, write, repeats)
    sizes = {
        format_.name: sum(path.stat().st_size for path in format_.folder.rglob("*") if path.is_file())
        for format_ in writers
    }
    for format_ in formats:
        format_.open()
    try:
        _check(formats, features)
        read = {
            last: in_turns(
                "reading the last layer" if last else "reading all layers",
                formats,
                lambda format_, number, last=last: _pass(format_, features, number, last),
                repeats,
            )
            for last in (False, True)
        }
    finally:
        for format_ in formats:
            format_.close()
    return {"written": written, "flushed": flushed, "all": read[False], "last": read[True], "bytes": sizes}


def in_turns(what: str, formats: Sequence[Kind], once: Callable[[Kind, int], float], rounds: int) -> Times:
    """Measure each format once per round, until its time is spent."""
    times: Times = {format_.name: {} for format_ in formats}
    for number in range(rounds):
        for format_ in formats:
            if sum(times[format_.name].values()) < SECONDS_A_FORMAT:
                print(f"{what}, round {number + 1} of {rounds}: {format_.name}", file=sys.stderr)
                times[format_.name][number] = once(format_, number)
    return times


def _pass(format_: Format, features: Features, number: int, last: bool) -> float:
    """Seconds to read every utterance once, in the round's own order."""
    if format_.reopen:
        format_.close()
        format_.open()
    batches = features.batches(number)
    outs = [features.out(batch, last, format_.into) for batch in batches]
    started = perf_counter()
    for batch, out in zip(batches, outs, strict=True):
        format_.read(batch, last, out)
    return perf_counter() - started


def _check(formats: Sequence[Format], features: Features) -> None:
    """Read everything once: it warms the page cache, and what is read must be what was written."""
    for format_ in formats:
        if isinstance(format_, Ceiling):
            continue
        for last in (False, True):
            for batch in features.batches(0)[: 1 if last else None]:
                out = features.out(batch, last, format_.into)
                format_.read(batch, last, out)
                pieces = np.split(out, np.cumsum(features.lengths[batch])[:-1], axis=1)
                for index, piece in zip(batch, pieces, strict=True):
                    wanted = features.utterances[index][-1 if last else 0 :]
                    if not np.allclose(piece, wanted, rtol=0, atol=format_.tolerance):
                        raise SystemExit(f"{format_.name} read other features than it wrote")


def profile(features: Features, folder: Path) -> dict[str, float]:
    """Where the seconds of writing one of our parts go."""
    store = Store(features, folder)
    os.sync()
    started = perf_counter()
    part, seconds = store.create(), {}
    seconds["create the file, reserve its space"] = perf_counter() - started
    started = perf_counter()
    for row, hidden in enumerate(features.utterances):
        part.checksum(row, [memoryview(layer.reshape(-1).view(np.uint8)) for layer in hidden])
    seconds["SHA-256 of the features, alone"] = perf_counter() - started
    started = perf_counter()
    store.fill(part)
    seconds["PartWriter.write, SHA-256 included"] = perf_counter() - started
    started = perf_counter()
    store.sync()
    seconds["commit: flush, states, flush"] = perf_counter() - started
    return seconds


def report(results: dict[str, Any], formats: Sequence[Format], features: Features) -> None:
    """Print the machine and the tables."""
    print(f"{results['machine']}; load {results['load'][0]:.1f} to {results['load'][1]:.1f}\n")
    shape, total = features.shape, features.bytes
    print(
        f"{shape.layers} layers x {shape.frames} frames x {shape.width}, {len(features.lengths)} utterances "
        f"of up to {LONGEST}, {total / 1e9:.2f} GB in fp16; random order, batches of {shape.batch}.\n"
    )
    rows = []
    for name in (format_.name for format_ in formats):
        every, last = results["all"], results["last"]
        speeds = _speed(total, every[name]), _speed(total / shape.layers, last[name])
        share = _ratio(every, Ceiling.name, name)
        ratios = _ratio(every, name, Store.name), _ratio(last, name, Store.name)
        rows.append((name, speeds[0], ratios[0], share, speeds[1], ratios[1]))
    ours = "ser_cache is faster"
    _table(("reading", "all layers, GB/s", ours, "share of memory copy", "last layer, GB/s", ours), rows)
    rows = []
    for name in results["written"]:
        written, flushed = results["written"], results["flushed"]
        speeds = 1000 * _speed(total, written[name]), 1000 * _speed(total, flushed[name])
        ratios = _ratio(written, name, Store.name), _ratio(flushed, name, Store.name)
        rows.append((name, speeds[0], ratios[0], speeds[1], ratios[1], results["bytes"][name] / total))
    _table(("writing", "MB/s", ours, "MB/s with fsync", ours, "bytes on disk / fp16"), rows)
    rows = [(name, seconds, total / seconds / 1e9) for name, seconds in results["writing"].items()]
    _table(("where our writing goes", "seconds", "GB/s"), rows)


def _table(header: Sequence[str], rows: Sequence[tuple[str, *tuple[float, ...]]]) -> None:
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for name, *values in rows:
        print(f"| {name} | {' | '.join(f'{value:#.3g}' for value in values)} |")
    print()


def _speed(size: float, times: dict[int, float]) -> float:
    return size / median(times.values()) / 1e9


def _ratio(times: Times, slower: str, faster: str) -> float:
    """The median over the rounds of two times taken in the same round."""
    both = times[slower].keys() & times[faster].keys()
    return median(times[slower][number] / times[faster][number] for number in both)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--frames", type=int, default=20_000, help="of all utterances")
    parser.add_argument("--width", type=int, default=1024, help="features per frame")
    parser.add_argument("--batch", type=int, default=32, help="utterances read at once")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of measurement")
    parser.add_argument(
        "--folder", type=Path, help="where to write; the system's temporary folder by default"
    )
    parser.add_argument("--json", type=Path, help="write every time taken to this file, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
