"""What fingerprints make of copies and of other takes, and how long the search takes.

``python benchmarks/audit_copies.py manifests/emovo.csv EMOVO`` changes clips in many ways and prints which
share of bits then differs from the original, and how many copies are found among all clips; then the smallest
shares between clips of the corpus, which are no copies. ``--search 10000 100000`` times the search among so
many random fingerprints of 2.5 s instead.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile
import soxr

from ser_cache.audio import read
from ser_cache.audit.fingerprints import fingerprint
from ser_cache.audit.matching import MatchOptions, compare, matches, proposals
from ser_cache.manifest import path_of, read_manifest

Change = Callable[[np.ndarray], np.ndarray]
ANYTHING = MatchOptions(most_errors=1)


def coded(clip: np.ndarray, rate: int = 16_000, **how: str | float) -> np.ndarray:
    """A clip written in a format and read again."""
    file = io.BytesIO()
    there = soxr.resample(clip, 16_000, rate) if rate != 16_000 else clip
    soundfile.write(file, np.clip(there, -1, 1), rate, **how)
    file.seek(0)
    back, _ = soundfile.read(file, dtype="float32")
    return soxr.resample(back, rate, 16_000) if rate != 16_000 else back


def noisy(clip: np.ndarray, decibels: float) -> np.ndarray:
    """A clip with white noise so far below it."""
    noise = np.random.default_rng(0).normal(size=len(clip))
    return clip + noise * np.sqrt(np.mean(clip**2)) * 10 ** (-decibels / 20)


CHANGES: dict[str, Change] = {
    "FLAC, 16 bits": lambda clip: coded(clip, format="FLAC", subtype="PCM_16"),
    "20 dB quieter, 16 bits": lambda clip: coded(clip * 0.1, format="WAV", subtype="PCM_16"),
    "12 dB louder, clipped": lambda clip: np.clip(4 * clip, -1, 1),
    "MP3, usual quality": lambda clip: coded(clip, format="MP3"),
    "MP3, lowest quality": lambda clip: coded(clip, format="MP3", compression_level=0.99),
    "Vorbis, lowest quality": lambda clip: coded(
        clip, format="OGG", subtype="VORBIS", compression_level=0.99
    ),
    "8 kHz mu-law": lambda clip: coded(clip, 8000, format="WAV", subtype="ULAW"),
    "44.1 kHz and back": lambda clip: coded(clip, 44_100, format="WAV", subtype="PCM_16"),
    "50 ms cut at both ends": lambda clip: clip[800:-800],
    "45.3 ms cut": lambda clip: clip[725:],
    "1 s of zeros before it": lambda clip: np.concatenate([np.zeros(16_013), clip]),
    "its first 60%": lambda clip: clip[: len(clip) * 6 // 10],
    "cut, 10 dB quieter, lowest MP3": lambda clip: coded(
        0.3 * clip[725:], format="MP3", compression_level=0.99
    ),
    "noise 30 dB below": lambda clip: noisy(clip, 30),
    "noise 20 dB below": lambda clip: noisy(clip, 20),
    "1% faster": lambda clip: soxr.resample(clip, 16_160, 16_000),
}


def of_corpus(manifest_file: Path, root: Path, picked: int) -> None:
    """Print what copies of some clips of a corpus differ in, and what its clips differ in."""
    clips = read_manifest(manifest_file).utterances
    with ThreadPoolExecutor(2) as pool:
        prints = list(pool.map(lambda clip: fingerprint(read(path_of(root, clip)).samples), clips))
    some = np.random.default_rng(0).choice(len(clips), min(picked, len(clips)), replace=False)
    heard = [read(path_of(root, clips[place])).samples for place in some]
    print(f"{manifest_file.stem}: {len(some)} of {len(clips)} clips changed; percent of bits that differ\n")
    print(f"{'change':32s} median     95%    most   found")
    for name, change in CHANGES.items():
        copies = [fingerprint(np.ascontiguousarray(change(clip), dtype="f4")) for clip in heard]
        pairs = {(int(place), len(prints) + number) for number, place in enumerate(some)}
        found = sum((m.first, m.second) in pairs for m in matches([*prints, *copies]))
        errors = 100 * np.array([best_errors(prints[p], c) for p, c in zip(some, copies, strict=True)])
        high = np.percentile(errors, 95)
        middle, most = np.median(errors), errors.max()
        print(f"{name:32s} {middle:6.1f}  {high:6.1f}  {most:6.1f}  {found:3d} of {len(some)}")
    shown = sorted(
        (best_errors(prints[a], prints[b], s), a, b) for a, b, s in proposals(prints, MatchOptions())
    )
    print(f"\n{len(shown)} pairs share a word; those that differ least, percent:")
    for errors_, first, second in shown[:6]:
        print(f"  {100 * errors_:5.1f}  {clips[first].id} {clips[second].id}")


def best_errors(one: np.ndarray, other: np.ndarray, shift: int | None = None) -> float:
    """The smallest share of bits that differ, at any shift or near one; 1 where too little is comparable."""
    shifts = range(-len(other), len(one), 3) if shift is None else (shift,)
    known = [compare(one, other, at, ANYTHING) for at in shifts]
    return min((result[0] for result in known if result), default=1.0)


def search(sizes: list[int]) -> None:
    """Time the search among random fingerprints with the entropy of real ones, every hundredth a copy."""
    print("clips     words        proposals  found of copies  seconds")
    for size in sizes:
        prints, copies = random_prints(size)
        started = perf_counter()
        found = matches(prints)
        seconds = perf_counter() - started
        pairs = proposals(prints, MatchOptions())
        words = sum(map(len, prints))
        print(f"{size:<9,d} {words:<12,d} {len(pairs):<10,d} {len(found):,d} of {copies:,d}  {seconds:16.1f}")


def random_prints(size: int) -> tuple[list[np.ndarray], int]:
    """Fingerprints of 250 words of 25 random bits, which collide as often as those of speech.

    Every hundredth has a copy with 5% of its bits flipped, and how many copies there are is returned too.
    """
    generator = np.random.default_rng(0)
    prints = list(generator.integers(1, 2**25, (size, 250)).astype(np.uint32))
    flips = 1 << np.arange(32, dtype=np.uint64)
    copies = range(0, size - 1, 100)
    for place in copies:
        flipped = ((generator.random((250, 32)) < 0.05) * flips).sum(axis=1).astype(np.uint32)
        prints[place + 1] = prints[place] ^ flipped
    return prints, len(copies)


def main() -> None:
    """Parse, and measure one or the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, default=40, help="how many are changed")
    parser.add_argument("--search", type=int, nargs="+", default=[], metavar="CLIPS")
    given = parser.parse_args()
    if given.manifest and given.root:
        of_corpus(given.manifest, given.root, given.clips)
    elif not given.search:
        parser.error("give a manifest and its root, or --search")
    if given.search:
        search(given.search)


if __name__ == "__main__":
    main()
