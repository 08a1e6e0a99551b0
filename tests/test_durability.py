"""SIGKILL an extraction again and again; what the resumed runs leave equals an undisturbed run, bit for bit.

Run as a script, this file is the killer: it imports once and forks a child per attempt. Half of the children
are killed by the clock, half by themselves in the middle of their n-th write, with half its bytes written.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.extraction import ExtractionOptions, extract
from ser_cache.store import open_features, part_paths, verify_part, writer

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


def content(folder: Path) -> list[bytes]:
    with open_features(folder, made_up_corpus().utterances) as cached:
        assert len(cached) == CLIPS
        states = [cached.hidden(index).tobytes() for index in range(CLIPS)]
        return states + [
            pooled(layer).tobytes() for layer in cached.layers for pooled in (cached.mean, cached.std)
        ]


@pytest.mark.slow
def test_an_extraction_killed_at_random_moments_ends_as_if_undisturbed(tmp_path):
    undisturbed = tmp_path / "fake" / "undisturbed"
    undisturbed.mkdir(parents=True)
    run(undisturbed)
    command = [sys.executable, __file__, str(tmp_path / "fake"), str(KILLS), "11"]
    killer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert killer.returncode == 0, killer.stdout + killer.stderr
    killed = sorted((tmp_path / "fake").glob("killed-*"))
    assert len(killed) > 1
    for folder in killed:
        assert content(folder) == content(undisturbed)
        assert [problem for path in part_paths(folder) for problem in verify_part(path)] == []
        assert sorted(path.name for path in folder.iterdir()) == [path.name for path in part_paths(folder)]


def kill_until_done(root: Path, kills: int, seed: int) -> None:
    """Extract into one folder after another, killing and resuming, until so many kills have struck."""
    dice = random.Random(seed)
    number = 0
    while kills > 0:
        folder = root / f"killed-{number}"
        while not attempt(folder, dice):
            kills -= 1
            problems = [problem for path in part_paths(folder) for problem in verify_part(path)]
            assert not problems, problems
        number += 1


def attempt(folder: Path, dice: random.Random) -> bool:
    """One run that may be killed; True when it came to its end."""
    by_clock, calls, seconds = dice.random() < 0.5, dice.randint(1, 120), dice.uniform(0, 0.2)
    child = os.fork()
    if child == 0:
        if not by_clock:
            die_in_write(calls)
        try:
            run(folder)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if by_clock:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def die_in_write(calls: int) -> None:
    """Let the n-th write or flush from now be the last thing this process does, half done."""
    left = [calls]
    real_write, real_sync = os.pwrite, writer._sync

    def last() -> bool:
        left[0] -= 1
        return left[0] == 0

    def pwrite(descriptor, data, start):
        if last():
            if len(data) > 8:  # states and checksums are aligned words, which a kill cannot tear
                real_write(descriptor, data[: len(data) // 2], start)
            os.kill(os.getpid(), signal.SIGKILL)
        return real_write(descriptor, data, start)

    def sync(descriptor):
        if last():
            os.kill(os.getpid(), signal.SIGKILL)
        real_sync(descriptor)

    os.pwrite, writer._sync = pwrite, sync


if __name__ == "__main__":
    kill_until_done(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
