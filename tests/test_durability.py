"""SIGKILL an extraction again and again; what the resumed runs leave equals an undisturbed run, bit for bit.

The killer is that of `benchmarks/kills.py`, which does the same with real models. It forks, so it runs in a
process of its own, without the test runner's threads: this file, as a script.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import fake_extraction
import numpy as np
import pytest
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.extraction import ExtractionOptions, extract

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CLIPS = 40
OPTIONS = ExtractionOptions(batch_seconds=0.5, flush_seconds=0.02, part_bytes=6000)
KILLS = 20


def run(folder: Path) -> None:
    corpus, extractor = made_up_corpus(), FakeExtractor(seconds_per_batch=0.01)
    report = extract(extractor, corpus.utterances, folder.parent, folder, OPTIONS, None, corpus.read)
    assert report.done + report.reused == CLIPS
    assert not report.failed


def made_up_corpus() -> FakeCorpus:
    return FakeCorpus.make(np.random.default_rng(3).integers(320, 6000, size=CLIPS).tolist())


def content(folder: Path) -> dict[str, list[bytes]]:
    found = fake_extraction.content(folder, made_up_corpus().utterances)
    assert len(found) == CLIPS
    return found


@pytest.mark.slow
def test_an_extraction_killed_at_random_moments_ends_as_if_undisturbed(tmp_path):
    command = [sys.executable, __file__, str(tmp_path / "fake"), str(KILLS), "11"]
    killer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert killer.returncode == 0, killer.stdout + killer.stderr
    kills, rounds = map(int, killer.stdout.split())
    assert kills >= KILLS
    assert rounds > 1


if __name__ == "__main__":
    sys.path.insert(0, str(BENCHMARKS))
    killing = importlib.import_module("killing")
    tally = killing.kill_and_resume(
        killing.Job(run, content), Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    )
    sys.stdout.write(f"{tally.kills} {tally.rounds}")
