"""A full or read-only disk, vanished audio, two runs at once, Ctrl-C: a clear line, no loss, resume works."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_extraction import content, forget, sound
from fake_extractor import FakeCorpus, FakeExtractor
from small_corpora import PATTERN, write_tone_corpus

from ser_cache import audio, cli
from ser_cache.errors import CacheError
from ser_cache.extraction import ExtractionOptions, extract, opening, planning
from ser_cache.extractor import Geometry
from ser_cache.manifest import Utterance, read_manifest
from ser_cache.store import (
    DONE,
    FAILED,
    PENDING,
    Fingerprint,
    Row,
    create_part,
    folder_lock,
    open_part,
    part_paths,
    read_failures,
    read_states,
)

DISK = 4 << 20
CLIPS = 24
SMALL = ExtractionOptions(batch_seconds=1.0, flush_seconds=0.0, part_bytes=200_000)


def mounted(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, f"size={DISK}"):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - where it is differs


def fill(disk: Path, leave: int = 0) -> Path:
    """Take all but so many bytes of a disk; returns the file that does."""
    status = os.statvfs(disk)
    filler = disk / "filler"
    with contextlib.suppress(OSError):  # a writer at work took some of it meanwhile
        filler.write_bytes(bytes(status.f_bavail * status.f_bsize - leave))
    return filler


def set_read_only(disk: Path, flag: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{flag}", str(disk)], check=True)  # noqa: S607 - likewise


@pytest.fixture
def corpus() -> FakeCorpus:
    return FakeCorpus.make(np.random.default_rng(1).integers(3200, 32_000, size=CLIPS).tolist())


def run(corpus: FakeCorpus, folder: Path, on_progress=None):
    return extract(wide(), corpus.utterances, Path("/"), folder, SMALL, on_progress, corpus.read)


def wide() -> FakeExtractor:
    """Wide enough that the features of the corpus take half a megabyte."""
    return FakeExtractor(geometry=Geometry((0, 1, 2), 64, 50.0))


def states(folder: Path) -> list[bytes]:
    return [state for path in part_paths(folder) for state in read_states(open_part(path)).tolist()]


def assert_completes(folder: Path, corpus: FakeCorpus, tmp_path: Path) -> None:
    """A resume deals with the rest, and leaves what an undisturbed run leaves, and nothing beside it."""
    report = run(corpus, folder)
    assert report.done + report.reused == len(corpus.utterances)
    undisturbed = tmp_path / "undisturbed" / "fake" / "tones"
    run(corpus, undisturbed)
    assert content(folder, corpus.utterances) == content(undisturbed, corpus.utterances)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in undisturbed.iterdir()
    )


# A full disk


def new_part(folder: Path, frames: int) -> None:
    storage = {"codec": "fp16", "layers": [0, 1], "tier": "frames", "frame_average": 1, "schema": 1}
    rows = [Row(f"clip{number}", 16_000, "0" * 64, frames) for number in range(100)]
    create_part(folder / "part-0000.h5", Fingerprint({"weights": "abc"}, storage), rows, 8, {})


def without_fallocate(*arguments) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.mark.parametrize("fallocate", [os.posix_fallocate, without_fallocate])
@pytest.mark.parametrize("leave", [0, 8192, 65_536, 100_000, 200_000])
def test_a_part_that_does_not_fit_is_one_line_and_leaves_nothing(disk, monkeypatch, capfd, fallocate, leave):
    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    folder = disk / "fake" / "tones"
    folder.mkdir(parents=True)
    fill(disk, leave)
    with pytest.raises(
        CacheError, match=r"no space left for \S*part-0000.h5 .No space left on device."
    ) as caught:
        new_part(folder, frames=200)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    assert "".join(capfd.readouterr()) == ""


def test_an_extraction_that_will_not_fit_says_so_before_it_starts(disk, corpus):
    fill(disk, leave=20_000)
    with pytest.raises(CacheError, match=r"needs .* and .* are free"):
        run(corpus, disk / "fake" / "tones")
    assert [path for path in disk.rglob("*") if path.is_file()] == [disk / "filler"]


def test_a_disk_filled_by_others_after_the_start_stops_nothing(disk, corpus, tmp_path):
    def fill_once(progress):
        if not (disk / "filler").exists():
            fill(disk)

    folder = disk / "fake" / "tones"
    report = run(corpus, folder, fill_once)
    assert report.done == CLIPS
    assert_completes(folder, corpus, tmp_path)


def test_a_full_disk_that_could_not_be_reserved_keeps_what_is_done(disk, corpus, tmp_path, monkeypatch):
    """Some file systems promise space and do not have it when the bytes come."""
    monkeypatch.setattr(os, "posix_fallocate", lambda *arguments: None)

    def fill_once(progress):
        if progress.utterances > CLIPS // 4 and not (disk / "filler").exists():
            fill(disk, leave=8192)

    folder = disk / "fake" / "tones"
    with pytest.raises(CacheError, match=r"no space left for \S*part-000\d.h5.*the same command") as caught:
        run(corpus, folder, fill_once)
    assert "\n" not in str(caught.value)
    assert sound(folder)
    assert DONE in states(folder)
    assert PENDING in states(folder)
    (disk / "filler").unlink()
    assert_completes(folder, corpus, tmp_path)


def test_a_failure_that_cannot_be_listed_stops_the_run_and_keeps_what_is_done(disk, corpus, tmp_path):
    folder = disk / "fake" / "tones"
    some = FakeCorpus(dict(corpus.audio))
    shortest = min(some.audio, key=lambda id_: len(some.audio[id_]))  # among the last to be decoded

    def fill_once(progress):
        if not (disk / "filler").exists():
            fill(disk)
            some.audio.pop(shortest)

    utterances = corpus.utterances
    with pytest.raises(CacheError, match=r"no space left for \S*failures.csv"):
        extract(wide(), utterances, disk, folder, SMALL, fill_once, some.read)
    assert sound(folder)
    assert DONE in states(folder)
    assert FAILED not in states(folder)
    (disk / "filler").unlink()
    report = extract(wide(), utterances, disk, folder, SMALL, None, some.read)
    assert list(report.failed) == list(read_failures(folder)) == [shortest]
    assert run(corpus, folder).done == 1
    assert set(states(folder)) == {DONE}


def test_a_retry_that_cannot_clear_its_reason_stays_failed_and_keeps_the_rest(disk, corpus):
    folder = disk / "fake" / "tones"
    lost = ["clip0003", "clip0004"]
    some = FakeCorpus({id_: clip for id_, clip in corpus.audio.items() if id_ not in lost})
    extract(wide(), corpus.utterances, disk, folder, SMALL, None, some.read)
    fill(disk)
    some.audio[lost[0]] = corpus.audio[lost[0]]  # so one line of two has to go
    with pytest.raises(CacheError, match=r"no space left for \S*failures.csv"):
        extract(wide(), corpus.utterances, disk, folder, SMALL, None, some.read)
    assert sound(folder)
    assert list(read_failures(folder)) == lost
    assert states(folder).count(FAILED) == 2
    (disk / "filler").unlink()
    assert run(corpus, folder).done == 2
    assert set(states(folder)) == {DONE}


def test_a_full_disk_keeps_nobody_from_finishing_what_has_its_space(disk, corpus, tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    folder = disk / "fake" / "tones"
    with pytest.raises(KeyboardInterrupt):
        run(corpus, folder, stop)
    fill(disk)
    assert_completes(folder, corpus, tmp_path)


# A read-only disk


def test_a_read_only_cache_is_read_and_says_what_it_cannot_write(disk, corpus):
    folder = disk / "fake" / "tones"
    run(corpus, folder)
    before = content(folder, corpus.utterances)
    more = FakeCorpus.make([3200] * (CLIPS + 1))
    more.audio.update(corpus.audio)
    set_read_only(disk, "ro")
    try:
        assert run(corpus, folder).reused == CLIPS
        with pytest.raises(CacheError, match=r"cannot be written .Read-only file system.: .* --cache"):
            run(more, folder)
        with pytest.raises(CacheError, match=r"cannot be written .Read-only file system.: .* --cache"):
            run(corpus, disk / "other" / "tones")
        assert content(folder, corpus.utterances) == before
    finally:
        set_read_only(disk, "rw")
    assert run(more, folder).done == 1


# Audio that vanishes


@pytest.fixture
def real(tmp_path: Path) -> tuple[Path, tuple[Utterance, ...]]:
    """A folder of real files, and its utterances."""
    root = write_tone_corpus(tmp_path / "tones")
    found = []
    for path in sorted(root.iterdir()):
        recording = audio.read(path)
        found.append(
            Utterance(
                path.stem, path.name, "s1", "anger", "A", "it", len(recording.samples), recording.sha256
            )
        )
    return root, tuple(found)


def extract_real(root: Path, utterances, folder: Path, on_progress: Callable | None = None):
    # Each alone: the stand-in's states show with whom they were batched, and one will be missing.
    options = ExtractionOptions(batch_seconds=0.1, decode_threads=1)
    return extract(FakeExtractor(), utterances, root, folder, options, on_progress)


def test_a_file_that_vanishes_in_mid_run_fails_alone_and_comes_back(real, tmp_path):
    root, utterances = real
    shortest = min(utterances, key=lambda utterance: utterance.samples)  # the last one to be decoded
    folder = tmp_path / "cache" / "fake" / "tones"

    def delete(progress):
        (root / shortest.path).unlink(missing_ok=True)

    kept = (root / shortest.path).read_bytes()
    report = extract_real(root, utterances, folder, delete)
    assert list(report.failed) == [shortest.id]
    assert f"{shortest.path} does not exist" in report.failed[shortest.id]
    assert sound(folder)
    (root / shortest.path).write_bytes(kept)
    assert extract_real(root, utterances, folder).done == 1
    extract_real(root, utterances, tmp_path / "undisturbed" / "fake" / "tones")
    assert content(folder, utterances) == content(tmp_path / "undisturbed" / "fake" / "tones", utterances)


# Through the command line


SLOWLY = """
import signal, sys, time
from ser_cache.cli import main
from ser_cache.mfcc import MfccExtractor

real = MfccExtractor.forward

def forward(*arguments):
    time.sleep(0.4)  # so long that a busy machine strikes before the end
    real(*arguments)

MfccExtractor.forward = forward
# Whatever a shell starts with & ignores this signal, and so do its children, these tests' too.
signal.signal(signal.SIGINT, signal.default_int_handler)
main(sys.argv[1:])
"""
EXTRACT = ["extract", "--model", "mfcc", "--batch-seconds", "1"]


@pytest.fixture
def tones(empty_folder: Path) -> Path:
    """The tone corpus in the working directory, its manifest made; returns the folder of its MFCC."""
    write_tone_corpus(empty_folder / "tones")
    assert cli.run(["manifest", "tones", "tones", "--pattern", PATTERN]) == 0
    return empty_folder / "cache" / "mfcc" / "tones"


def start_slow_extraction(folder: Path) -> subprocess.Popen:
    """Start ``ser extract`` in a process of its own; returns when it is filling its part."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *EXTRACT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not part_paths(folder):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def check_resumes(folder: Path, tmp_path: Path) -> None:
    utterances = read_manifest(tmp_path / "manifests" / "tones.csv").utterances
    assert sound(folder)
    assert PENDING in states(folder)
    assert cli.run(EXTRACT) == 0
    assert cli.run([*EXTRACT, "--cache", "undisturbed"]) == 0
    undisturbed = tmp_path / "undisturbed" / "mfcc" / "tones"
    assert content(folder, utterances) == content(undisturbed, utterances)
    assert [path.name for path in folder.iterdir()] == [path.name for path in undisturbed.iterdir()]


def test_ctrl_c_says_that_finished_work_is_kept_and_the_same_command_goes_on(tones, tmp_path):
    process = start_slow_extraction(tones)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    # Whether a line of progress came before depends on how busy the machine is.
    last = err.splitlines()[-1]
    kept = states(tones).count(DONE)
    assert last == (
        f"interrupted; {kept} of 36 utterances of tones mfcc are kept: run the same command to go on."
        if kept
        else "interrupted; no utterance of tones mfcc was finished."
    )
    assert "Traceback" not in err
    assert out == ""
    assert [path.name for path in tones.iterdir()] == ["part-0000.h5"]
    check_resumes(tones, tmp_path)


@pytest.mark.slow
def test_a_terminated_extraction_goes_on_like_a_killed_one(tones, tmp_path):
    process = start_slow_extraction(tones)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in err
    check_resumes(tones, tmp_path)


@pytest.mark.slow
def test_a_second_extraction_says_who_is_at_it_and_the_first_one_ends_well(tones, tmp_path, capsys):
    first = start_slow_extraction(tones)
    first.send_signal(signal.SIGSTOP)
    before = (tones / "part-0000.h5").read_bytes()
    try:
        assert cli.run(EXTRACT) == 1
        assert (tones / "part-0000.h5").read_bytes() == before
    finally:
        first.send_signal(signal.SIGCONT)
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("error: ")
    assert f"is being written by process {first.pid} on" in complaint
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert sound(tones)
    assert set(states(tones)) == {DONE}


def test_a_held_lock_is_told_before_the_model_is_loaded(tones, monkeypatch, capsys):
    def load(*arguments):
        raise AssertionError("loaded")

    monkeypatch.setattr(opening, "load_extractor", load)
    with folder_lock(tones):
        assert cli.run(EXTRACT) == 1
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
    with folder_lock(tones), pytest.raises(AssertionError, match="loaded"):
        cli.run([*EXTRACT, "--no-lock"])


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_part_that_a_merge_takes_away_meanwhile_is_told_with_who_is_at_it(
    tones, monkeypatch, capsys, options
):
    assert cli.run(EXTRACT) == 0
    listed = [*part_paths(tones), tones / "part-0001.h5"]  # the last is deleted before it is opened
    monkeypatch.setattr(planning, "part_paths", lambda folder: listed)
    with folder_lock(tones):
        assert cli.run([*EXTRACT, *options]) == 1
        assert f"is being written by process {os.getpid()} on" in capsys.readouterr().err
    assert cli.run([*EXTRACT, *options]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "part-0001.h5 is not there any more, as after `ser cache merge`: run the same" in last


def test_a_held_lock_is_told_early_too_where_rows_are_only_to_be_retired(
    tones, tmp_path, monkeypatch, capsys
):
    """As beside a merge that has put its parts in place and not yet deleted the old ones."""
    assert cli.run(EXTRACT) == 0
    forget(open_part(tones / "part-0000.h5"), 35)
    manifest = tmp_path / "manifests" / "tones.csv"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    monkeypatch.setattr(opening, "load_extractor", lambda *_: pytest.fail("loaded"))
    with folder_lock(tones):
        assert cli.run(EXTRACT) == 1
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err


def test_a_corpus_that_nobody_writes_is_not_held_up_by_one_that_somebody_does(tones, tmp_path, capsys):
    write_tone_corpus(tmp_path / "more")
    assert cli.run(["manifest", "more", "more", "--pattern", PATTERN]) == 0
    with folder_lock(tones):
        assert cli.run(EXTRACT) == 1
    assert "tones, mfcc: " in capsys.readouterr().err
    assert set(states(tones.with_name("more"))) == {DONE}


def leave_free(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=count)
    monkeypatch.setattr("ser_cache.extraction.planning.shutil.disk_usage", lambda path: usage)


def test_too_little_space_is_told_before_the_model_is_loaded(tones, monkeypatch, capsys):
    leave_free(1000, monkeypatch)
    monkeypatch.setattr(opening, "load_extractor", lambda *_: pytest.fail("loaded"))
    assert cli.run(EXTRACT) == 1
    assert "and 1 kB are free: free some" in capsys.readouterr().err.splitlines()[-1]


def test_too_little_space_for_all_corpora_together_is_told_at_the_start(tones, tmp_path, monkeypatch, capsys):
    write_tone_corpus(tmp_path / "more")
    assert cli.run(["manifest", "more", "more", "--pattern", PATTERN]) == 0
    leave_free(200_000, monkeypatch)  # either would fit
    capsys.readouterr()
    assert cli.run(EXTRACT) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("note: these corpora need ")
    assert "together, and 200.0 kB are free" in first


def test_a_dry_run_after_an_interruption_says_that_the_space_is_there(tones, capsys):
    process = start_slow_extraction(tones)
    process.kill()
    process.communicate()
    capsys.readouterr()
    assert cli.run([*EXTRACT, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[3].endswith(" reserved")
    assert "0 B needed" in shown
    assert "parts that were begun have their space already" in shown


def test_a_read_only_cache_is_one_line_and_status_1_before_the_model_is_loaded(
    tones, disk, monkeypatch, capsys
):
    set_read_only(disk, "ro")
    monkeypatch.setattr(opening, "load_extractor", lambda *_: pytest.fail("loaded"))
    assert cli.run([*EXTRACT, "--cache", str(disk)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {disk}")
    assert "cannot be written (Read-only file system)" in last
