"""Merging keeps every feature that counts, byte for byte, and survives SIGKILL at any moment.

Run as a script, this file is the killer: it forks one child per attempt, each of which merges and dies in its
n-th write, flush, rename or deletion, and checks in between what a reader and a planned extraction see.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import fake_extraction
import numpy as np
import pytest
from fake_extractor import FakeCorpus, FakeExtractor
from hypothesis import given, settings
from hypothesis import strategies as st
from small_parts import features, fingerprint, folder_in, full_part, make_part, row, utterance

from ser_cache.errors import CacheError, LockedError, StaleCacheError
from ser_cache.extraction import ExtractionOptions, extract, plan
from ser_cache.store import (
    DONE,
    FAILED,
    PENDING,
    SUPERSEDED,
    Part,
    PartWriter,
    folder_lock,
    merge_folder,
    open_part,
    part_paths,
    read_failures,
    read_states,
    summaries,
    verify_part,
    writer,
)

OPTIONS = ExtractionOptions(batch_seconds=0.5, part_bytes=1500, flush_seconds=0.02)
MERGED_BYTES = 4000
KILLS = 12
SHORT = "clip0004"
GONE = ("clip0002", "clip0017")


def made_up_corpus() -> FakeCorpus:
    """Thirty clips, one of them too short for a frame."""
    lengths = np.random.default_rng(5).integers(640, 5000, size=30).tolist()
    lengths[4] = 100
    return FakeCorpus.make(lengths)


def final_corpus() -> FakeCorpus:
    """The corpus after two clips were recorded again, one was added and two were removed."""
    corpus = made_up_corpus()
    for number, name in enumerate(("clip0001", "clip0011")):
        corpus.audio[name] = np.random.default_rng(number).standard_normal(2000).astype(np.float32)
    corpus.audio["clip9999"] = np.ones(3000, dtype=np.float32)
    for name in GONE:
        del corpus.audio[name]
    return corpus


def run(corpus: FakeCorpus, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    return extract(FakeExtractor(), corpus.utterances, folder.parent, folder, OPTIONS, None, corpus.read)


def fragmented(folder: Path) -> Path:
    """A folder of several parts with superseded, failed and absent rows."""
    run(made_up_corpus(), folder)
    run(final_corpus(), folder)
    assert len(part_paths(folder)) > 4
    return folder


def content(folder: Path) -> dict[str, list[bytes]]:
    """Every usable utterance's bytes."""
    corpus = final_corpus()
    found = fake_extraction.content(folder, corpus.utterances)
    assert corpus.audio.keys() - found.keys() == {SHORT}
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return fragmented(tmp_path_factory.mktemp("prepared") / "fake" / "corpus")


@pytest.fixture
def folder(prepared, tmp_path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "fake" / "corpus"))


def test_what_counts_is_kept_byte_for_byte_in_the_manifest_s_order(folder):
    before, parts = content(folder), part_paths(folder)
    utterances = final_corpus().utterances
    report = merge_folder(folder, utterances)
    (path,) = part_paths(folder)
    assert content(folder) == before
    assert open_part(path).ids == tuple(utterance.id for utterance in utterances)
    assert verify_part(path) == []
    assert path not in parts, "a new number, so that nobody mistakes it for a part that was there"
    assert (report.kept, report.failed, report.superseded, report.absent) == (29, 1, 2, 2)
    assert report.parts == (len(parts), 1)
    assert report.bytes[0] > report.bytes[1] == path.stat().st_size
    assert read_failures(folder).keys() == {SHORT}
    assert sorted(entry.name for entry in folder.iterdir()) == ["failures.csv", path.name]


def test_a_failed_row_stays_failed_with_its_reason(folder):
    reasons = read_failures(folder)
    merge_folder(folder, final_corpus().utterances)
    part = open_part(part_paths(folder)[0])
    assert read_states(part)[part.ids.index(SHORT)] == FAILED
    assert read_failures(folder) == reasons


def test_nothing_is_extracted_after_a_merge_but_what_failed(folder):
    merge_folder(folder, final_corpus().utterances)
    planned = plan(FakeExtractor(), final_corpus().utterances, folder, OPTIONS, FakeExtractor().identity)
    assert [utterance.id for utterance in planned.todo] == [SHORT]
    assert not planned.superseded


def test_the_limit_of_a_part_is_kept(folder):
    before = content(folder)
    merge_folder(folder, final_corpus().utterances, part_bytes=MERGED_BYTES)
    parts = [open_part(path) for path in part_paths(folder)]
    assert len(parts) > 1
    assert all(int(part.offsets[-1]) * 3 * 4 * 2 <= MERGED_BYTES for part in parts)
    assert content(folder) == before


def test_a_second_merge_has_nothing_to_gain_and_touches_nothing(folder):
    merge_folder(folder, final_corpus().utterances, part_bytes=MERGED_BYTES)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    report = merge_folder(folder, final_corpus().utterances, part_bytes=MERGED_BYTES)
    assert not report.changed
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_without_a_manifest_all_that_count_are_kept_in_the_order_of_their_ids(folder):
    before = content(folder)
    report = merge_folder(folder, None)
    (path,) = part_paths(folder)
    ids = open_part(path).ids
    assert ids == tuple(sorted(ids))
    assert set(GONE) <= set(ids)
    assert (report.superseded, report.absent) == (2, 0)
    assert content(folder) == before


def test_progress_reaches_its_total(folder):
    seen = []
    merge_folder(folder, None, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, len(seen)) for number in range(1, len(seen) + 1)]


def test_one_part_without_superseded_rows_is_left_alone(tmp_path):
    part = full_part(folder_in(tmp_path))
    assert not merge_folder(part.path.parent, None).changed
    assert part_paths(part.path.parent) == [part.path]


def test_a_part_that_is_hidden_whole_by_later_ones_is_deleted_without_copying(tmp_path):
    folder = folder_in(tmp_path)
    old = full_part(folder, number=0)
    shutil.copy(old.path, folder / "part-0001.h5")
    report = merge_folder(folder, None)
    assert [path.name for path in part_paths(folder)] == ["part-0001.h5"]
    assert (report.kept, report.superseded, report.parts) == (3, 3, (2, 1))


def two_parts(tmp_path: Path) -> Path:
    folder = folder_in(tmp_path)
    full_part(folder, number=0)
    full_part(folder, number=1)
    return folder


def unchanged(folder: Path, error: type[Exception], match: str, utterances=None) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(error, match=match):
        merge_folder(folder, utterances)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_pending_row_is_extracted_first(tmp_path):
    folder = two_parts(tmp_path)
    make_part(folder, [row("late", 3)], number=2)
    unchanged(folder, CacheError, "1 utterance not extracted yet, such as 'late': run `ser extract`")


def test_a_pending_row_that_left_the_manifest_is_no_obstacle(tmp_path):
    folder = two_parts(tmp_path)
    make_part(folder, [row("late", 3)], number=2)
    kept = [utterance_of(row_) for row_ in ("u12", "u00", "u01", "u02", "u10", "u11")]
    report = merge_folder(folder, with_samples(folder, kept))
    assert (report.kept, report.absent) == (6, 1)
    assert open_part(part_paths(folder)[0]).ids == ("u12", "u00", "u01", "u02", "u10", "u11")


def utterance_of(name: str):
    return utterance(name)


def with_samples(folder: Path, utterances):
    """The utterances with the lengths that the parts have."""
    import dataclasses

    known = {
        id_: int(samples)
        for path in part_paths(folder)
        for id_, samples in zip(open_part(path).ids, open_part(path).samples, strict=True)
    }
    return [dataclasses.replace(item, samples=known[item.id]) for item in utterances]


def test_changed_audio_is_extracted_first(tmp_path):
    folder = two_parts(tmp_path)
    utterances = with_samples(folder, [utterance("u00", "f" * 64), utterance("u01")])
    unchanged(folder, CacheError, "1 utterance of changed audio, such as 'u00'", utterances)


def test_a_manifest_of_other_utterances_deletes_nothing(tmp_path):
    folder = two_parts(tmp_path)
    unchanged(
        folder,
        CacheError,
        "as nothing in it is in the manifest: nothing was",
        [utterance("elsewhere")],
    )


@pytest.mark.parametrize("where", ["features", "state"])
def test_damage_is_repaired_first(tmp_path, where):
    folder = two_parts(tmp_path)
    part = open_part(part_paths(folder)[1])
    place = next(part.spans(2))[0] if where == "features" else part.positions["state"]
    content_ = bytearray(part.path.read_bytes())
    content_[place] ^= 1
    part.path.write_bytes(content_)
    unchanged(folder, CacheError, "run `ser cache repair`")


def test_parts_made_differently_are_not_mixed(tmp_path):
    folder = two_parts(tmp_path)
    full_part(folder, number=2, fingerprint=fingerprint("fp32"))
    unchanged(folder, StaleCacheError, "made differently")


def test_an_empty_folder_has_nothing_to_merge(tmp_path):
    with pytest.raises(CacheError, match="holds no features"):
        merge_folder(tmp_path, None)


def test_a_full_disk_shows_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    unchanged(two_parts(tmp_path), CacheError, r"0.00 GB are free: free some first; nothing was changed")


def test_a_merge_waits_for_no_writer(tmp_path):
    folder = two_parts(tmp_path)
    with folder_lock(folder), pytest.raises(LockedError):
        merge_folder(folder, None)
    assert len(part_paths(folder)) == 2


def test_what_was_recorded_of_each_part_is_kept(tmp_path):
    folder = folder_in(tmp_path)
    full_part(folder, number=0)
    part = full_part(folder, number=1)
    merge_folder(folder, None)
    assert open_part(part_paths(folder)[0]).provenance == part.provenance


def test_an_utterance_in_two_parts_counts_once_and_is_never_extracted_twice(folder):
    """What a merge leaves that was killed before it deleted the old parts."""
    saved = folder.with_name("saved")
    shutil.copytree(folder, saved)
    merge_folder(folder, final_corpus().utterances)
    for path in part_paths(saved):
        shutil.copy(path, folder / path.name)
    check_between(folder, content(saved))
    (summary,) = [found for found in summaries(folder.parents[1]) if found.corpus == "corpus"]
    assert (summary.done, summary.failed) == (28 + len(GONE), 1)
    report = run(final_corpus(), folder)
    assert report.done == 0
    assert report.failed.keys() == {SHORT}
    assert content(folder) == content(saved)
    assert merge_folder(folder, final_corpus().utterances).parts[1] == 1
    assert content(folder) == content(saved)


def check_between(folder: Path, expected: dict[str, list[bytes]]) -> None:
    """After a kill: the same features, nothing damaged, and no utterance planned twice or without need."""
    assert content(folder) == expected
    assert [problem for path in part_paths(folder) for problem in verify_part(path)] == []
    planned = plan(FakeExtractor(), final_corpus().utterances, folder, OPTIONS, FakeExtractor().identity)
    assert [utterance_.id for utterance_ in planned.todo] == [SHORT]


@pytest.mark.slow
def test_a_merge_killed_at_random_moments_loses_nothing(tmp_path):
    killer = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "fake"), str(KILLS), "4"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert killer.returncode == 0, killer.stdout + killer.stderr


def kill_merges(root: Path, kills: int, seed: int) -> None:
    """Kill a merge at one moment after another, then go on with a merge or an extraction in turn."""
    prepared_, utterances = fragmented(root / "prepared"), final_corpus().utterances
    expected, dice = content(prepared_), random.Random(seed)
    calls = count_calls(prepared_, utterances)
    # The last calls rename and delete: each of those moments is tried, the rest are drawn.
    ends = range(calls - 11, calls + 1, 2)
    for number, moment in enumerate([*ends, *(dice.randint(1, calls) for _ in range(kills - len(ends)))]):
        folder_ = Path(shutil.copytree(prepared_, root / f"killed-{number}"))
        assert merge_in_a_child(folder_, utterances, moment), f"call {moment} of {calls} was never made"
        check_between(folder_, expected)
        if number % 2:
            run(final_corpus(), folder_)
            check_between(folder_, expected)
        merge_folder(folder_, utterances, part_bytes=MERGED_BYTES)
        check_between(folder_, expected)
        assert len(part_paths(folder_)) == 2
        names = sorted(path.name for path in folder_.iterdir())
        assert names == ["failures.csv", *(path.name for path in part_paths(folder_))]
    print(f"{number + 1} kills within {calls} calls")  # noqa: T201 - read by who runs it as a script


def count_calls(folder: Path, utterances) -> int:
    copy = Path(shutil.copytree(folder, folder.with_name("counted")))
    counted = [0]
    with patched(lambda: counted.__setitem__(0, counted[0] + 1)):
        merge_folder(copy, utterances, part_bytes=MERGED_BYTES)
    return counted[0]


def merge_in_a_child(folder: Path, utterances, moment: int) -> bool:
    """Merge in a child that dies in its n-th change of the disk; False when it came to its end."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def strike() -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with patched(strike):
                merge_folder(folder, utterances, part_bytes=MERGED_BYTES)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


class patched:  # noqa: N801 - reads as a block
    """Call something before each write, flush, rename and deletion."""

    def __init__(self, before) -> None:
        self.before = before
        self.saved = [
            (os, name, getattr(os, name)) for name in ("pwrite", "rename", "replace", "unlink", "fsync")
        ]
        self.saved.append((writer, "_sync", writer._sync))

    def __enter__(self) -> None:
        for module, name, real in self.saved:
            setattr(module, name, self.wrapped(real))

    def __exit__(self, *details: object) -> None:
        for module, name, real in self.saved:
            setattr(module, name, real)

    def wrapped(self, real):
        def call(*arguments, **keywords):
            self.before()
            return real(*arguments, **keywords)

        return call


def stored(part: Part) -> dict[str, tuple]:
    """Columns and bytes of each row that is not superseded; a failed one has none."""
    raw, states = part.path.read_bytes(), read_states(part)
    return {
        part.ids[place]: (
            states[place],
            int(part.samples[place]),
            part.audio_sha256[place],
            int(part.model_frames[place]),
            states[place] == DONE
            and b"".join(raw[start : start + count] for start, count in part.spans(place)),
        )
        for place in range(len(part.ids))
        if states[place] != SUPERSEDED
    }


kinds = st.sampled_from(
    [
        fingerprint("fp16"),
        fingerprint("fp32", (3, 9)),
        fingerprint("int8"),
        fingerprint("fp16", frame_average=4),
        fingerprint("int8", frame_average=3),
        fingerprint("fp32", tier="pooled"),
    ]
)
rows_of_parts = st.lists(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([DONE, DONE, FAILED, SUPERSEDED])),
        min_size=1,
        max_size=5,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(kind=kinds, parts=rows_of_parts, limit=st.sampled_from([1, 300, 1 << 30]))
def test_any_folder_of_any_storage_keeps_what_counts(tmp_path_factory, kind, parts, limit):
    folder = folder_in(tmp_path_factory.mktemp("cache"))
    expected: dict[str, tuple] = {}
    for number, contents in enumerate(parts):
        # The same ids in every part: the later row counts.
        part = make_part(
            folder, [row(f"u{n}", frames) for n, (frames, _) in enumerate(contents)], number, fingerprint=kind
        )
        with PartWriter(part) as writer_:
            for place, (_, state) in enumerate(contents):
                if state == FAILED:
                    writer_.fail(place, f"reason {place}")
                else:
                    writer_.write(place, features(part, place, number))
            writer_.commit()
            writer_.supersede([place for place, (_, state) in enumerate(contents) if state == SUPERSEDED])
        expected |= stored(part)
    if not expected:
        with pytest.raises(CacheError, match="nothing was changed"):
            merge_folder(folder, None)
        return
    report = merge_folder(folder, None, part_bytes=limit)
    after = [open_part(path) for path in part_paths(folder)]
    assert {name: values for part in after for name, values in stored(part).items()} == expected
    assert sum(len(part.ids) for part in after) == len(expected) == report.kept
    assert [problem for part in after for problem in verify_part(part.path)] == []
    assert not merge_folder(folder, None, part_bytes=limit).changed


def test_a_part_being_filled_is_seen_by_nobody(folder, monkeypatch):
    before = content(folder)
    seen = []
    real = PartWriter.write

    def write(self, *arguments):
        if not seen:
            seen.append(content(folder) == before and summaries(folder.parents[1])[0].complete)
        real(self, *arguments)

    monkeypatch.setattr(PartWriter, "write", write)
    merge_folder(folder, final_corpus().utterances)
    assert seen == [True]
    assert PENDING not in read_states(open_part(part_paths(folder)[0]))


if __name__ == "__main__":
    kill_merges(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
