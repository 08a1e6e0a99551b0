"""Peak anonymous memory of an extraction, over a corpus and over the same corpus four times.

python benchmarks/memory.py
python benchmarks/memory.py whisper-tiny.en/ --manifest manifests/emovo.csv --root ~/corpora/EMOVO

It must not grow with the corpus. Without arguments: a small random wav2vec 2.0 over made-up clips. The larger
corpus is the same files under further ids, so nothing else differs. Each run has a process of its own, whose
RssAnon (Linux, /proc/PID/status) this one reads 20 times a second; pages of mapped or cached files do not
count, they are given back when something else needs them. What the process holds before the first batch
(libraries and weights) is shown apart, and so is the mean over each quarter of the run: a leak shows there
first.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from machine import machine
from made_up_corpus import listed, write_tones

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
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        report(with_defaults(arguments, Path(name)))


def with_defaults(arguments: argparse.Namespace, temporary: Path) -> argparse.Namespace:
    """The arguments, with a small random model and made-up clips where none were given."""
    if arguments.model is None:
        from ser_cache.backbones.untrained import save_untrained_wav2vec2

        arguments.model = temporary / "random-wav2vec2"
        save_untrained_wav2vec2(arguments.model)
    if arguments.root is None:
        arguments.root = write_tones(temporary / "tones", arguments.clips, 1.0, 6.0)
    return arguments


def report(arguments: argparse.Namespace) -> None:
    """Measure both sizes."""
    corpus = arguments.manifest.stem if arguments.manifest else f"{arguments.clips} made-up clips"
    print(
        f"{machine('torch', 'transformers')}; {arguments.model.name}, {corpus}, "
        f"batches of {arguments.batch_seconds:g} s\n"
    )
    print("| | MiB after loading | peak MiB | above loading | mean MiB in each quarter | seconds |")
    print("|---|---|---|---|---|---|")
    peaks = []
    for copies in arguments.sizes:
        usage = measure(arguments, copies)
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
    parser.add_argument("model", type=Path, nargs="?", help="a folder with a checkpoint")
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--root", type=Path, help="the manifest's folder of audio")
    parser.add_argument("--clips", type=int, default=400, help="made-up clips where there is no manifest")
    parser.add_argument("--batch-seconds", type=float, default=20.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4], help="how many times the corpus")
    parser.add_argument("--copies", type=int, default=0, help=argparse.SUPPRESS)  # in the measured process
    arguments = parser.parse_args(words)
    if arguments.manifest and not arguments.root:
        parser.error("--manifest needs --root")
    return arguments


def measure(arguments: argparse.Namespace, copies: int) -> Usage:
    """Extract in a process of its own, and watch its memory."""
    command = [sys.executable, __file__, str(arguments.model), "--root", str(arguments.root)]
    if arguments.manifest is not None:
        command += ["--manifest", str(arguments.manifest)]
    command += ["--batch-seconds", str(arguments.batch_seconds), "--copies", str(copies)]
    return watched(command)


def watched(command: Sequence[str]) -> Usage:
    """Run a process that prints ``LOADED`` when it has loaded what it needs, and watch its memory."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == LOADED, "the process did not start; see above"
        started, loaded, samples = time.monotonic(), anonymous_bytes(process.pid), []
        while process.poll() is None:
            samples.append(anonymous_bytes(process.pid))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        assert process.returncode == 0, "the process failed; see above"
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

    once = read_manifest(arguments.manifest).utterances if arguments.manifest else listed(arguments.root)
    utterances = [
        replace(utterance, id=f"{utterance.id}@{copy}")
        for copy in range(arguments.copies)
        for utterance in once
    ]
    extractor = opening.load_extractor(str(arguments.model), BackboneOptions(local_files_only=True))
    options = ExtractionOptions(batch_seconds=arguments.batch_seconds)
    with tempfile.TemporaryDirectory(prefix="memory-", dir=".") as name:
        print(LOADED, flush=True)
        report = extract(extractor, utterances, arguments.root, Path(name) / "model" / "corpus", options)
    assert report.done == len(utterances), report.failed


if __name__ == "__main__":
    main()
