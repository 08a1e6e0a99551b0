"""What a corpus of a million clips costs before any audio is read: loading, validating, splitting.

python benchmarks/manifests.py
python benchmarks/manifests.py --rows 100000 --speakers 50

A made-up manifest is written, and each step has a process of its own, on one core, whose RssAnon (Linux,
/proc/PID/status) is read 20 times a second. Seconds are processor time of that step alone; a split's are
without the loading before it, but with its warnings, and its peak is of both. ``csv.reader`` goes through the
same file and keeps nothing. Leaving one speaker out is not measured: nobody trains a thousand folds.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import Stolen, machine
from memory import LOADED, MIB, watched

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
SPLITS = ("speaker", "folds", "random", "column")
LIMIT_SECONDS, LIMIT_GIB = 60, 2


def main(words: Sequence[str] | None = None) -> None:
    """Write the manifest, run every step, and print a Markdown table."""
    arguments = parse(words)
    if arguments.step:
        run_step(arguments.step, arguments.manifest)
        return
    print(
        f"{machine('numpy')}; {arguments.rows:,} rows, {arguments.speakers} speakers, "
        f"{len(EMOTIONS)} emotions, one core\n"
    )
    stolen = Stolen()
    with tempfile.TemporaryDirectory(prefix="manifests-") as name:
        path = Path(name) / "big.csv"
        write(path, arguments.rows, arguments.speakers)
        report(path, arguments.rows)
    print(f"\n{stolen}")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--speakers", type=int, default=1000)
    parser.add_argument("--step", help=argparse.SUPPRESS)  # in the measured process
    parser.add_argument("--manifest", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def write(path: Path, rows: int, speakers: int) -> None:
    """A manifest as recipes write them, with every optional column; speakers and emotions are uneven."""
    from ser_cache.manifest import COLUMNS

    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*COLUMNS, "take"))
        for n in range(rows):
            speaker = n * n % 7919 % speakers
            emotion = EMOTIONS[(n // speakers + n % 3 * speaker) % len(EMOTIONS)]
            name = f"Actor_{speaker:04d}/{n:07d}-{emotion}"
            text = f"sentence {n % 50}"
            demographics = (
                "female" if speaker % 2 else "male",
                f"{20 + speaker % 50}",
                text,
                "normal",
                "",
                "",
            )
            clip = (f"{name}.wav", f"{speaker:04d}", emotion, emotion[:3].upper(), "en", 30_000 + n % 50_000)
            table.writerow((name, *clip, f"{n:064x}", *demographics, f"{speaker % 5}", f"{n % 2}"))


def report(path: Path, rows: int) -> None:
    """Measure every step and print a row for each, and whether all of it keeps within the limits."""
    print(f"{path.stat().st_size / MIB:.0f} MiB of CSV\n")
    print("| step | seconds | times csv.reader | peak RssAnon, MiB |")
    print("|---|---|---|---|")
    measured: dict[str, tuple[float, int]] = {}
    for step in ("csv.reader", "load", "validate", *SPLITS):
        seconds, peak = measured[step] = measure(step, path)
        plain = measured["csv.reader"][0]
        name = f"split {step}" if step in SPLITS else step
        print(f"| {name} | {seconds:.2f} | {seconds / plain:.1f} | {peak / MIB:.0f} |", flush=True)
    slowest = max(measured[split][0] for split in SPLITS)
    together = measured["load"][0] + slowest
    peak = max(peak for _, peak in measured.values())
    print(
        f"\nloading (which validates) and the slowest split: {together:.1f} s for {rows:,} rows, "
        f"{together / plain:.1f} times csv.reader, at most {peak / (1 << 30):.2f} GiB "
        f"(wanted for a million: {LIMIT_SECONDS} s, {LIMIT_GIB} GiB)"
    )


def measure(step: str, path: Path) -> tuple[float, int]:
    """Seconds and peak of a step, which runs in a process of its own."""
    with tempfile.NamedTemporaryFile("r", suffix=".seconds") as seconds:
        command = [sys.executable, __file__, "--step", f"{step},{seconds.name}", "--manifest", str(path)]
        usage = watched(command)
        return float(seconds.read()), int(usage.samples.max(initial=usage.loaded))


def run_step(step: str, path: Path) -> None:
    """What the measured process does: import, say so, do the step, write its seconds."""
    from ser_cache.manifest import read_manifest, validate
    from ser_cache.splits import SplitOptions, make_splits, warnings

    name, _, result = step.partition(",")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(LOADED, flush=True)
    made = read_manifest(path) if name not in {"csv.reader", "load"} else None
    started = time.process_time()
    if name == "csv.reader":
        with path.open(encoding="utf-8", newline="") as file:
            assert sum(1 for _ in csv.reader(file)) > 1
    elif name == "load":
        read_manifest(path)
    elif made is not None and name == "validate":
        validate(made)
    elif made is not None:
        options = SplitOptions(name)
        splits = make_splits(made.utterances, options)
        warnings(splits, made.utterances, options)
    Path(result).write_text(str(time.process_time() - started))


if __name__ == "__main__":
    main()
