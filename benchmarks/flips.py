"""Flip single bytes anywhere in a part of the cache, and count how many flips ``ser cache verify`` finds.

python benchmarks/flips.py                                        a small part, made here from a seed
python benchmarks/flips.py cache/xls-r/emovo/part-0000.h5         a copy of a part of yours
python benchmarks/flips.py --flips 200 --per-region 20

Each flip changes one byte at a random place by XOR with a random value that is not zero, runs the library's
verification over the whole part, and changes the byte back. Places are drawn evenly from the file, so most
lie in the hidden states; ``--per-region`` adds so many in each region, however small. Every row of the part
must be done: the features of others are never used, so their bytes are not judged.

Regions: "header" is what HDF5 writes and the constant columns, "padding" runs of 64 zeros or more in it.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import machine
from numpy.typing import NDArray

from ser_cache.store import (
    DONE,
    Fingerprint,
    PartWriter,
    Row,
    create_part,
    open_part,
    read_states,
    verify_part,
)
from ser_cache.store.seal import USER_BLOCK

PADDING = bytes(64)
ROWS, LAYERS, WIDTH = 200, 4, 16


def main() -> None:
    """Print a table of flips found, by region; the exit status is 1 when one was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "part", nargs="?", type=Path, help="a part of a cache [default: a small one, made here]"
    )
    parser.add_argument("--flips", type=int, default=1000, help="places drawn from the whole file")
    parser.add_argument("--per-region", type=int, default=0, help="places drawn from each region besides")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model" / "corpus" / "part-0000.h5"
        if options.part is None:
            make_part(path, generator)
        else:
            path.parent.mkdir(parents=True)
            shutil.copy(options.part, path)
        report(path, options.flips, options.per_region, generator)


def report(path: Path, flips: int, per_region: int, generator: np.random.Generator) -> None:
    """Flip and count, in one part whose rows are all done."""
    if not np.all(read_states(open_part(path)) == DONE) or verify_part(path):
        sys.exit(f"{path} is not sound and complete: give a part whose utterances are all done.")
    regions = regions_of(path)
    names = list(dict.fromkeys(name for name, _, _ in regions))
    size = path.stat().st_size
    places = generator.integers(size, size=flips).tolist()
    for name in names:
        inside = np.concatenate([np.arange(start, stop) for region, start, stop in regions if region == name])
        places += generator.choice(inside, size=per_region).tolist()
    started = time.perf_counter()
    total, found = Counter[str](), Counter[str]()
    for place in places:
        name = next(region for region, start, stop in regions if start <= place < stop)
        total[name] += 1
        found[name] += is_found(path, place, int(generator.integers(1, 256)))
    seconds = time.perf_counter() - started
    lengths = Counter[str]()
    for name, start, stop in regions:
        lengths[name] += stop - start
    print("| region | bytes | flips | found |\n|---|--:|--:|--:|")
    for name in names:
        print(f"| {name} | {lengths[name]:,} | {total[name]:,} | {found[name]:,} |")
    print(f"| all | {size:,} | {total.total():,} | {found.total():,} |")
    print(f"\n{seconds:.1f} s; {machine('numpy', 'h5py')}")
    if verify_part(path) or found != total:
        sys.exit("not every flip was found")


def is_found(path: Path, place: int, mask: int) -> bool:
    """Whether verification notices one changed byte; the byte is changed back."""
    change(path, place, mask)
    try:
        return bool(verify_part(path))
    finally:
        change(path, place, mask)


def change(path: Path, place: int, mask: int) -> None:
    """XOR one byte of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        (before,) = file.read(1)
        file.seek(place)
        file.write(bytes([before ^ mask]))


def regions_of(path: Path) -> list[tuple[str, int, int]]:
    """The whole file as ``(region, first byte, byte after the last)``, in order."""
    part = open_part(path)
    rows = len(part.ids)
    known = [("seal", 0, USER_BLOCK), *named(part.positions, "checksum", 8 * rows)]
    known += named(part.positions, "state", 4 * rows)
    for field in part.fields:
        count = int(np.prod(part.shape(field))) * np.dtype(field.dtype).itemsize
        name = "pooled" if field.name in ("mean", "std") else field.name
        known += [(name, start, stop) for _, start, stop in named(part.positions, field.name, count)]
    known.sort(key=lambda region: region[1])
    regions: list[tuple[str, int, int]] = []
    position = 0
    for name, start, stop in [*known, ("end", path.stat().st_size, path.stat().st_size)]:
        regions += constant(path, position, start)
        regions.append((name, start, stop))
        position = max(position, stop)
    return [region for region in regions if region[1] < region[2]]


def named(positions: dict[str, int], name: str, count: int) -> list[tuple[str, int, int]]:
    """One dataset's region; none where it is empty."""
    return [(name, positions[name], positions[name] + count)] if count else []


def constant(path: Path, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
    """Divide bytes that never change into header and padding."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(max(stop - start, 0))
    used = np.frombuffer(content, np.uint8) != 0
    position = 0
    for first, last in zero_runs(used):
        if last - first >= len(PADDING):
            yield "header", start + position, start + first
            yield "padding", start + first, start + last
            position = last
    yield "header", start + position, start + len(content)


def zero_runs(used: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where runs of zeros begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate(([True], used, [True])).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def make_part(path: Path, generator: np.random.Generator) -> None:
    """A complete part of random features: fp16, a few layers, clips of up to 20 frames."""
    storage = {
        "codec": "fp16",
        "layers": list(range(LAYERS)),
        "tier": "frames",
        "frame_average": 1,
        "schema": 1,
    }
    frames = generator.integers(1, 20, size=ROWS).tolist()
    rows = [
        Row(f"clip{place:04d}", count * 320, f"{place:064x}", count) for place, count in enumerate(frames)
    ]
    part = create_part(path, Fingerprint({"weights": "random"}, storage), rows, WIDTH, {})
    with PartWriter(part) as writer:
        for place, count in enumerate(frames):
            hidden = generator.standard_normal((LAYERS, count, WIDTH))
            pooled = {"mean": hidden.mean(axis=1), "std": hidden.std(axis=1)}
            features = {name: values.astype(np.float32) for name, values in pooled.items()}
            writer.write(place, {"hidden": hidden.astype(np.float16), **features})


if __name__ == "__main__":
    main()
