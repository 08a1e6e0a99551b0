"""Peak anonymous memory of an extraction, over a corpus and over the same corpus four times.

python benchmarks/memory.py manifests/emovo.csv ~/corpora/EMOVO MODEL

It must not grow with the corpus. The larger corpus is the same files under further ids, so nothing else
differs. Each run has a process of its own, whose RssAnon (Linux, /proc/PID/status) this one reads 20 times a
second; pages of mapped or cached files do not count, they are given back when something else needs them. What
the process holds before the first batch (libraries and weights) is shown apart, and so is the mean over each
quarter of the run: a leak shows there first.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

SECONDS_BETWEEN_SAMPLES = 0.05
LOADED = "loaded"
MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """Anonymous memory of one extraction, in bytes.

    Attributes:
        loaded: when the model was loaded and nothing extracted.
        samples: (samples,) from then on.
        seconds: how long that took.
    """

    loaded: int
    samples: np.ndarray
    seconds: float


def main() -> None:
    """Run both sizes and print a Markdown table."""
    arguments = parse()
    if arguments.copies:
        extract_copies(arguments)
        return
    import torch

    print(
        f"{cpu()}, {len(os.sched_getaffinity(0))} processors; torch {torch.__version__}; "
        f"{arguments.model.name}, {arguments.manifest.stem}, batches of {arguments.batch_seconds:g} s\n"
    )
    print("| | MiB after loading | peak MiB | above loading | mean MiB in each quarter | seconds |")
    print("|---|---|---|---|---|---|")
    peaks = []
    for copies in arguments.sizes:
        usage = measure(copies)
        peaks.append(usage.samples.max())
        quarters = ", ".join(f"{quarter.mean() / MIB:.0f}" for quarter in np.array_split(usage.samples, 4))
        print(
            f"| corpus x{copies} | {usage.loaded / MIB:.0f} | {peaks[-1] / MIB:.1f} | "
            f"{(peaks[-1] - usage.loaded) / MIB:.1f} | {quarters} | {usage.seconds:.0f} |",
            flush=True,
        )
    print(
        f"\nratio of the peaks, x{arguments.sizes[-1]} to x{arguments.sizes[0]}: {peaks[-1] / peaks[0]:.3f}"
    )


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("root", type=Path, help="the manifest's folder of audio")
    parser.add_argument("model", type=Path, help="a folder with a checkpoint")
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4], help="how many times the corpus")
    parser.add_argument("--copies", type=int, default=0, help=argparse.SUPPRESS)  # in the measured process
    return parser.parse_args(words)


def measure(copies: int) -> Usage:
    """Extract in a process of its own, and watch its memory."""
    command = [sys.executable, __file__, *sys.argv[1:], "--copies", str(copies)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == LOADED, "the extraction did not start; see above"
        started, loaded, samples = time.monotonic(), anonymous_bytes(process.pid), []
        while process.poll() is None:
            samples.append(anonymous_bytes(process.pid))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        assert process.returncode == 0, "the extraction failed; see above"
    # A process that is ending shows 0.
    values = np.array([sample for sample in samples if sample])
    return Usage(loaded, values, time.monotonic() - started)


def anonymous_bytes(process: int) -> int:
    """RssAnon of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)


def extract_copies(arguments: argparse.Namespace) -> None:
    """What the measured process does."""
    from ser_cache.backbones.loading import BackboneOptions
    from ser_cache.extraction import ExtractionOptions, encoding, extract, opening  # noqa: F401 - loaded now
    from ser_cache.manifest import read_manifest

    utterances = [
        replace(utterance, id=f"{utterance.id}@{copy}")
        for copy in range(arguments.copies)
        for utterance in read_manifest(arguments.manifest).utterances
    ]
    extractor = opening.load_extractor(str(arguments.model), BackboneOptions(local_files_only=True))
    options = ExtractionOptions(batch_seconds=arguments.batch_seconds)
    with tempfile.TemporaryDirectory(prefix="memory-", dir=".") as name:
        print(LOADED, flush=True)
        report = extract(extractor, utterances, arguments.root, Path(name) / "model" / "corpus", options)
    assert report.done == len(utterances), report.failed


def cpu() -> str:
    """The processor's name, where the system says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if "model name" in line), platform.machine())


if __name__ == "__main__":
    main()
