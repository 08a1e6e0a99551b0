from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_extractor import HOP, FakeCorpus, FakeExtractor

from ser_cache.errors import (
    AudioError,
    BackboneError,
    CacheError,
    ExtractionError,
    LockedError,
    SettingsError,
    StaleCacheError,
)
from ser_cache.extraction import ExtractionOptions, extract, pipeline
from ser_cache.extraction.loading import load_ahead
from ser_cache.extraction.running import ModelThreads
from ser_cache.extraction.writing import BackgroundWriter
from ser_cache.store import (
    DONE,
    FAILED,
    PENDING,
    SUPERSEDED,
    PartWriter,
    folder_lock,
    open_features,
    open_part,
    part_paths,
    read_failures,
    read_states,
    summaries,
    verify_part,
)

SMALL = ExtractionOptions(batch_seconds=0.5)
"""Half a second of padded audio: a few clips a batch, so that a corpus of twenty makes many batches."""


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "fake" / "corpus"


@pytest.fixture
def corpus() -> FakeCorpus:
    return FakeCorpus.make(np.random.default_rng(1).integers(320, 6000, size=20).tolist())


def run(corpus, folder, extractor=None, options=SMALL, on_progress=None, read=None):
    return extract(
        extractor or FakeExtractor(),
        corpus.utterances,
        folder.parent.parent,
        folder,
        options,
        on_progress,
        read or corpus.read,
    )


def forget(part, row) -> None:
    """Make a row pending again, as if it had never been extracted."""
    with part.path.open("r+b") as file:
        file.seek(part.positions["state"] + row * len(PENDING))
        file.write(PENDING)


def content(folder, corpus) -> dict[str, tuple]:
    with open_features(folder, corpus.utterances) as cached:
        return {
            id_: (
                cached.hidden(index).tobytes(),
                cached.mean(1)[index].tobytes(),
                cached.std(2)[index].tobytes(),
            )
            for index, id_ in enumerate(cached.ids)
        }


def sound(folder) -> bool:
    return all(verify_part(path) == [] for path in part_paths(folder))


def test_states_means_and_deviations_are_those_of_the_model(folder, corpus):
    extractor = FakeExtractor()
    options = ExtractionOptions(batch_seconds=1e-3, codec="fp32")  # one clip a batch
    report = run(corpus, folder, extractor, options)
    assert (report.done, report.reused, report.failed) == (20, 0, {})
    with open_features(folder, corpus.utterances) as cached:
        assert cached.frames.tolist() == [u.samples // HOP for u in corpus.utterances]
        for index, id_ in enumerate(cached.ids):
            clip = corpus.audio[id_]
            for place, layer in enumerate(cached.layers):
                expected = extractor.states(clip, layer, 1 + len(clip) / HOP)
                np.testing.assert_array_equal(cached.hidden(index)[place], expected)
                exact = expected.astype(np.float64)
                np.testing.assert_allclose(cached.mean(layer)[index], exact.mean(0), rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(cached.std(layer)[index], exact.std(0), rtol=1e-5, atol=1e-5)


def test_fp16_rounds_to_the_nearest_value(folder, corpus):
    run(corpus, folder)
    run(corpus, folder.with_name("exact"), options=dataclasses.replace(SMALL, codec="fp32"))
    with (
        open_features(folder, corpus.utterances) as half,
        open_features(folder.with_name("exact"), corpus.utterances) as exact,
    ):
        for index in range(len(half)):
            np.testing.assert_array_equal(half.hidden(index), exact.hidden(index).astype(np.float16))
        np.testing.assert_array_equal(half.mean(2), exact.mean(2))
        np.testing.assert_array_equal(half.std(2), exact.std(2))


def test_a_second_run_reuses_everything(folder, corpus):
    run(corpus, folder)
    extractor = FakeExtractor()
    report = run(corpus, folder, extractor)
    assert (report.done, report.reused, extractor.batches) == (0, 20, [])


def test_a_finished_cache_needs_neither_its_audio_nor_the_right_to_write(folder, corpus):
    run(corpus, folder)
    missing = Path("/nonexistent")
    with folder_lock(folder):
        report = extract(FakeExtractor(), corpus.utterances, missing, folder, SMALL, None, corpus.read)
    assert report.reused == 20


def test_progress_reaches_the_total(folder, corpus):
    seen = []
    report = run(corpus, folder, on_progress=seen.append)
    assert (seen[-1].utterances, seen[-1].total) == (20, 20)
    assert seen[-1].seconds == pytest.approx(seen[-1].total_seconds)
    assert report.seconds == pytest.approx(seen[-1].seconds)
    assert [p.utterances for p in seen] == sorted(p.utterances for p in seen)
    assert set(report.stages) == {"waiting for audio", "forward", "encoding", "waiting for the disk"}


# Failures


def test_a_clip_too_short_for_one_frame_fails_by_name(folder):
    corpus = FakeCorpus.make([319, 320, 640])
    report = run(corpus, folder)
    assert report.failed == {"clip0000": "0.020 s is too short for one frame of fake."}
    assert report.done == 2
    assert read_failures(folder) == report.failed
    assert sound(folder)


def test_a_corpus_of_nothing_but_short_clips_is_stored_too(folder):
    corpus = FakeCorpus.make([100, 100])
    assert len(run(corpus, folder).failed) == 2
    with open_features(folder, corpus.utterances) as cached:
        assert cached.ids == ()
        assert cached.mean(0).shape == (0, 4)
    assert sound(folder)


def test_files_that_vanish_or_change_fail_alone(folder, corpus):
    planned = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0003"]
    corpus.audio["clip0007"] = corpus.audio["clip0007"] + 1
    corpus.audio["clip0011"] = corpus.audio["clip0011"][:-1]
    report = run(planned, folder, read=corpus.read)
    assert report.done == 17
    assert set(report.failed) == {"clip0003", "clip0007", "clip0011"}
    assert "does not exist" in report.failed["clip0003"]
    assert (
        report.failed["clip0007"]
        == "clip0007.wav has changed since the manifest: make the manifest again, as it was made."
    )
    assert "changed since the manifest" in report.failed["clip0011"]
    assert len(content(folder, planned)) == 17
    assert sound(folder)


@pytest.mark.parametrize("way", ["gone", "unmounted"])
def test_audio_that_vanishes_as_a_whole_stops_the_run_and_blames_no_utterance(folder, corpus, tmp_path, way):
    root = tmp_path / "audio"
    root.mkdir()
    (root / "clip").touch()
    seen: list[Path] = []

    def read(path):
        seen.append(path)
        if len(seen) > 12:
            shutil.rmtree(root, ignore_errors=True)
            if way == "unmounted":
                root.mkdir(exist_ok=True)
            raise AudioError(f"{path} does not exist.")
        return corpus.read(path)

    options = dataclasses.replace(SMALL, decode_threads=1)
    with pytest.raises(SettingsError, match="has vanished: bring it back, and run the same command"):
        extract(FakeExtractor(), corpus.utterances, root, folder, options, None, read)
    assert not (folder / "failures.csv").exists()
    root.mkdir(exist_ok=True)
    report = extract(FakeExtractor(), corpus.utterances, root, folder, options, None, corpus.read)
    assert report.done + report.reused == len(corpus.utterances)
    assert report.reused > 0
    assert not report.failed


def test_the_same_file_decoded_to_another_length_has_changed_too(folder, corpus, tmp_path):
    first = dataclasses.replace(corpus.utterances[0], samples=corpus.utterances[0].samples + 1)
    utterances = (first, *corpus.utterances[1:])
    report = extract(FakeExtractor(), utterances, tmp_path, folder, SMALL, None, corpus.read)
    assert "changed since the manifest" in report.failed["clip0000"]


def test_values_beyond_the_codec_fail_that_utterance_only(folder, corpus):
    clips = [corpus.audio[f"clip{place:04d}"] for place in (2, 5, 9, 12)]
    poison = dict(
        zip((float(clip[0]) for clip in clips), (70_000.0, np.nan, -np.inf, -65_504.0), strict=True)
    )
    report = run(corpus, folder, FakeExtractor(poison=poison))
    assert report.failed == {
        "clip0002": "layer 1 reaches 70000, beyond the 65504 that fp16 holds: extract with --codec fp32.",
        "clip0005": "layer 1 holds NaN, infinity, or values too large to square.",
        "clip0009": "layer 1 holds NaN, infinity, or values too large to square.",
    }
    with open_features(folder, corpus.utterances) as cached:
        assert len(cached) == 17
        assert all(np.isfinite(cached.hidden(index)).all() for index in range(17))
        assert cached.hidden(cached.ids.index("clip0012")).min() == -65_504
    exact = run(
        corpus, folder.with_name("exact"), FakeExtractor(poison=poison), ExtractionOptions(codec="fp32")
    )
    assert set(exact.failed) == {"clip0005", "clip0009"}
    assert sound(folder)


def test_huge_values_that_fp32_holds_are_stored_when_their_deviation_is_finite(folder, corpus):
    clips = [corpus.audio["clip0002"], corpus.audio["clip0005"]]
    poison = {float(clips[0][0]): 1e15, float(clips[1][0]): 3e38}
    report = run(corpus, folder, FakeExtractor(poison=poison), ExtractionOptions(codec="fp32"))
    assert report.failed == {"clip0005": "layer 1 holds NaN, infinity, or values too large to square."}
    with open_features(folder, corpus.utterances) as cached:
        assert cached.hidden(cached.ids.index("clip0002")).max() == np.float32(1e15)


def test_a_failure_takes_no_batch_mate_down(folder):
    corpus = FakeCorpus.make([1600] * 6)
    planned = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0001"]
    extractor = FakeExtractor()
    report = run(planned, folder, extractor, ExtractionOptions(batch_seconds=60), read=corpus.read)
    assert report.done == 5
    assert extractor.batches == [5], "one batch, without the one that failed"


def test_failed_utterances_are_tried_again(folder, corpus):
    planned = FakeCorpus(dict(corpus.audio))
    lost = corpus.audio.pop("clip0003")
    run(planned, folder, read=corpus.read)
    corpus.audio["clip0003"] = lost
    report = run(planned, folder)
    assert (report.done, report.reused, report.failed) == (1, 19, {})
    assert read_failures(folder) == {}
    assert sound(folder)


def test_a_row_with_a_damaged_state_is_extracted_again(folder, corpus):
    run(corpus, folder)
    before = content(folder, corpus)
    part = open_part(part_paths(folder)[0])
    with part.path.open("r+b") as file:
        file.seek(part.positions["state"] + 8)
        file.write(b"x")
    assert "1 rows have a damaged state" in summaries(folder.parent.parent)[0].damaged
    with pytest.raises(CacheError, match="1 of 20 missing"):
        open_features(folder, corpus.utterances)
    assert run(corpus, folder).done == 1
    assert content(folder, corpus) == before


def test_strict_stops_at_the_first_failure_and_keeps_what_is_done(folder, corpus):
    planned = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0003"]
    strict = dataclasses.replace(SMALL, strict=True)
    with pytest.raises(ExtractionError, match=r"clip0003: .*does not exist.*--strict"):
        run(planned, folder, options=strict, read=corpus.read)
    states = read_states(open_part(part_paths(folder)[0])).tolist()
    assert states.count(FAILED) == 1
    assert sound(folder)
    report = run(planned, folder)
    assert report.done == 20 - states.count(DONE)
    assert report.reused == states.count(DONE)


def test_a_missing_folder_of_audio_is_named(folder, corpus):
    with pytest.raises(SettingsError, match=r"/nonexistent is not a folder.*ser manifest corpus ROOT"):
        extract(FakeExtractor(), corpus.utterances, Path("/nonexistent"), folder, SMALL, None, corpus.read)
    assert not folder.exists()


def test_a_path_out_of_the_root_fails_and_is_never_read(folder, corpus, tmp_path):
    outside = dataclasses.replace(corpus.utterances[0], path="../../etc/passwd")
    utterances = (outside, *corpus.utterances[1:])
    report = extract(FakeExtractor(), utterances, tmp_path, folder, SMALL, None, corpus.read)
    assert set(report.failed) == {"clip0000"}


# A model that breaks its word


class Misshapen(FakeExtractor):
    def states(self, clip, layer, trace):
        return super().states(clip, layer, trace)[1:]


class Forgetful(FakeExtractor):
    def forward(self, batch, layers, emit):
        super().forward(batch, layers[:-1], emit)


@pytest.mark.parametrize(
    ("extractor", "message"),
    [(Misshapen(), "were planned from the clips' lengths"), (Forgetful(), "never gave layer 2")],
)
def test_a_model_that_gives_other_frames_or_layers_is_an_error(folder, corpus, extractor, message):
    with pytest.raises(BackboneError, match=message):
        run(corpus, folder, extractor)


# Memory


class Confined(FakeExtractor):
    """Has memory for two clips of at most ``longest`` samples at a time."""

    longest = 10_000
    error: Exception = torch.OutOfMemoryError("CUDA out of memory.")

    def forward(self, batch, layers, emit):
        if len(batch) > 2 or max(map(len, batch)) > self.longest:
            emit(layers[0], torch.zeros(sum(len(clip) // HOP for clip in batch), 4))  # half-way through
            raise self.error
        super().forward(batch, layers, emit)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("not enough memory: you tried to allocate 99 bytes."),
    ],
)
def test_a_batch_that_does_not_fit_into_memory_is_run_in_halves(folder, corpus, error):
    extractor = Confined()
    extractor.error = error
    report = run(corpus, folder, extractor, ExtractionOptions(batch_seconds=60))
    assert (report.done, report.failed) == (20, {})
    assert extractor.batches == [2, 1, 2] * 4
    with open_features(folder, corpus.utterances) as cached:
        for index, id_ in enumerate(cached.ids):
            clip, states = corpus.audio[id_], cached.hidden(index)[0].astype(np.float32)
            assert states.shape == (len(clip) // HOP, 4)
            # What the fake adds for the size of its batch is one number; the rest is the clip's own.
            own = states - FakeExtractor().states(clip, 0, 0.0)
            assert own.max() - own.min() < 0.05


def test_a_clip_that_does_not_fit_alone_fails_by_name_and_says_what_to_do(folder):
    corpus = FakeCorpus.make([1600, 3200, 9600, 1600])
    extractor = Confined()
    extractor.longest = 5000
    report = run(corpus, folder, extractor, ExtractionOptions(batch_seconds=60))
    assert report.done == 3
    assert list(report.failed) == ["clip0002"]
    assert "does not fit into memory, even alone: cut clips with --max-seconds" in report.failed["clip0002"]
    extractor.device = torch.device("cuda", 0)
    report = run(corpus, folder, extractor)
    assert "--max-seconds, or extract with --device cpu." in report.failed["clip0002"]


def test_any_other_error_of_a_model_keeps_its_traceback(folder, corpus):
    extractor = Confined()
    extractor.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(corpus, folder, extractor, ExtractionOptions(batch_seconds=60))


# Changes of the corpus


def test_new_utterances_alone_are_extracted_into_a_new_part(folder, corpus):
    run(corpus, folder)
    before = content(folder, corpus)
    corpus.audio |= {f"new{place}": clip for place, clip in FakeCorpus.make([900, 2000], 5).audio.items()}
    extractor = FakeExtractor()
    report = run(corpus, folder, extractor)
    assert (report.done, report.reused) == (2, 20)
    assert len(part_paths(folder)) == 2
    after = content(folder, corpus)
    assert {id_: after[id_] for id_ in before} == before
    assert sound(folder)


def test_changed_audio_is_superseded_and_the_rest_is_left_alone(folder, corpus):
    run(corpus, folder)
    before = content(folder, corpus)
    corpus.audio["clip0004"] = np.tile(corpus.audio["clip0004"], 2)
    with pytest.raises(StaleCacheError, match="'clip0004'"):
        open_features(folder, corpus.utterances)
    report = run(corpus, folder)
    assert (report.done, report.reused) == (1, 19)
    old, new = (open_part(path) for path in part_paths(folder))
    assert read_states(old)[4] == SUPERSEDED
    assert new.ids == ("clip0004",)
    after = content(folder, corpus)
    assert after.pop("clip0004") != before.pop("clip0004")
    assert after == before
    assert sound(folder)


def test_audio_that_changes_in_mid_extraction_is_superseded_while_pending(folder, corpus):
    run(corpus, folder)
    part = open_part(part_paths(folder)[0])
    forget(part, 4)
    corpus.audio["clip0004"] = corpus.audio["clip0004"] * 2
    assert run(corpus, folder).done == 1
    assert len(content(folder, corpus)) == 20
    assert sound(folder)


def test_rows_gone_from_the_manifest_are_left_and_ignored(folder, corpus):
    run(corpus, folder)
    del corpus.audio["clip0000"]
    report = run(corpus, folder)
    assert (report.done, report.reused) == (0, 19)
    assert len(content(folder, corpus)) == 19


def test_rows_gone_from_the_manifest_do_not_leave_a_cache_incomplete_for_ever(folder, corpus):
    whole = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0003"]
    run(whole, folder, read=corpus.read)
    part = open_part(part_paths(folder)[0])
    forget(part, 7)
    for gone in ("clip0000", "clip0007"):  # clip0000 is done, clip0003 failed, clip0007 is pending
        del corpus.audio[gone]
    assert not summaries(folder.parent.parent)[0].complete
    missing_audio = Path("/nonexistent")
    report = extract(FakeExtractor(), corpus.utterances, missing_audio, folder, SMALL, None, corpus.read)
    assert (report.done, report.reused) == (0, 17)
    assert read_states(part).tolist().count(SUPERSEDED) == 2
    (summary,) = summaries(folder.parent.parent)
    assert (summary.complete, summary.done, summary.failed) == (True, 18, 0)
    assert read_failures(folder) == {}
    report = run(whole, folder)
    assert (report.done, report.reused) == (2, 18)
    assert len(content(folder, whole)) == 20
    assert sound(folder)


def test_a_deleted_part_is_made_again_and_the_others_are_not_touched(folder, corpus):
    options = dataclasses.replace(SMALL, part_bytes=2000)
    run(corpus, folder, options=options)
    before = content(folder, corpus)
    paths = part_paths(folder)
    assert len(paths) > 2
    lost = set(open_part(paths[0]).ids)
    paths[0].unlink()
    others = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths[1:]}
    report = run(corpus, folder, options=options)
    assert set(open_part(part_paths(folder)[-1]).ids) == lost
    assert report.done == len(lost)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths[1:]} == others
    assert content(folder, corpus) == before
    assert sound(folder)


def test_a_part_records_where_its_features_came_from(folder, corpus):
    run(corpus, folder)
    recorded = open_part(part_paths(folder)[0]).provenance
    assert {key: recorded[key] for key in ("name", "model", "hub_id", "revision")} == {
        "name": "fake",
        "model": "org/fake",
        "hub_id": "org/fake",
        "revision": "0" * 40,
    }
    assert "numpy" in recorded["libraries"]


def test_other_provenance_makes_no_other_features(folder, corpus):
    run(corpus, folder)
    assert run(corpus, folder, FakeExtractor(provenance={"model": "/copy"})).reused == 20


def test_several_parts_are_created_before_the_first_is_filled(folder, corpus):
    options = dataclasses.replace(SMALL, part_bytes=2000)
    pending = []

    def note(progress):
        pending.append((len(part_paths(folder)), sum(s.total for s in summaries(folder.parent.parent))))

    run(corpus, folder, options=options, on_progress=note)
    assert len(set(pending)) == 1
    assert pending[0][0] > 2
    assert pending[0][1] == 20
    assert len(content(folder, corpus)) == 20


# Interruption


class Interrupted(FakeExtractor):
    """Ctrl-C during the n-th batch."""

    stop_at = 3

    def forward(self, batch, layers, emit):
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt
        super().forward(batch, layers, emit)


def test_an_interrupted_run_keeps_what_is_done_and_the_next_gives_the_same_bits(folder, corpus):
    run(corpus, folder.with_name("whole"))
    with pytest.raises(KeyboardInterrupt):
        run(corpus, folder, Interrupted())
    states = read_states(open_part(part_paths(folder)[0])).tolist()
    assert 0 < states.count(DONE) < 20
    assert states.count(DONE) + states.count(PENDING) == 20
    assert not (folder / ".lock").exists()
    assert sound(folder)
    assert threading.active_count() == 1
    report = run(corpus, folder)
    assert report.reused == states.count(DONE)
    assert content(folder, corpus) == content(folder.with_name("whole"), corpus)


def test_an_interrupted_retry_leaves_failed_rows_failed_and_the_cache_usable(folder, corpus):
    planned = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0003"]
    run(planned, folder, read=corpus.read)
    interrupted = Interrupted()
    interrupted.stop_at = 0
    with pytest.raises(KeyboardInterrupt):
        run(planned, folder, interrupted)
    assert read_states(open_part(part_paths(folder)[0]))[3] == FAILED
    with open_features(folder, planned.utterances) as cached:
        assert (len(cached), list(cached.failed)) == (19, ["clip0003"])
    assert summaries(folder.parent.parent)[0].complete


def test_a_batch_with_a_missing_member_is_repeated_whole(folder, corpus):
    whole = FakeExtractor()
    run(corpus, folder, whole)
    before = content(folder, corpus)
    part = open_part(part_paths(folder)[0])
    size = max(whole.batches)
    assert size > 1
    forget(part, int(np.argmin(part.samples)))  # the shortest clips share the largest batch
    again = FakeExtractor()
    assert run(corpus, folder, again).done == 1
    assert again.batches == [whole.batches[-1]]
    assert content(folder, corpus) == before


def test_a_second_extraction_of_the_same_folder_says_who_is_at_it(folder, corpus):
    refused = []

    def try_again(progress):
        if not refused:
            with pytest.raises(LockedError) as caught:
                run(corpus, folder)
            refused.append(str(caught.value))

    run(corpus, folder, on_progress=try_again)
    assert "is being written by process" in refused[0]
    assert len(content(folder, corpus)) == 20


def test_half_created_parts_of_a_killed_process_are_removed(folder, corpus):
    folder.mkdir(parents=True)
    (folder / ".part-0000.h5.999.tmp").write_bytes(b"half")
    run(corpus, folder)
    assert list(folder.glob("*.tmp")) == []
    assert list(folder.glob(".*.tmp")) == []


def test_an_error_of_the_disk_stops_the_run_and_the_next_one_finishes(folder, corpus, monkeypatch):
    real, calls = PartWriter.write, []

    def write(self, row, features):
        calls.append(row)
        if len(calls) == 8:
            raise CacheError("no space left for part-0000.h5")
        real(self, row, features)

    run(corpus, folder.with_name("whole"))
    with monkeypatch.context() as patched:
        patched.setattr(PartWriter, "write", write)
        with pytest.raises(CacheError, match="no space left"):
            run(corpus, folder)
    assert sound(folder)
    assert run(corpus, folder).reused == 7
    assert content(folder, corpus) == content(folder.with_name("whole"), corpus)


# Threads and memory


def test_a_writer_that_fails_behind_a_full_queue_blocks_nobody():
    begun, errors = threading.Event(), []

    class Broken:
        def write(self, row, features):
            begun.wait(10)
            raise CacheError("no space left")

        def commit(self):
            raise AssertionError("nothing was stored")

    def produce():
        try:
            with BackgroundWriter(Broken(), flush_seconds=60) as sink:
                threading.Timer(0.2, begun.set).start()
                for row in range(10):
                    sink.store([(row, {})])
        except CacheError as error:
            errors.append(str(error))

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    producer.join(10)
    assert not producer.is_alive()
    assert errors == ["no space left"]


def test_loading_runs_ahead_by_a_bounded_number_of_batches():
    started: list[int] = []
    groups = [(place,) for place in range(50)]

    def load_one(place: int) -> int:
        started.append(place)
        return place

    loading = load_ahead(groups, load_one, threads=2)
    for expected, (group, loaded) in enumerate(loading):
        assert group == (expected,)
        assert loaded == [expected]
        assert len(started) <= expected + 3
    assert threading.active_count() == 1


def test_abandoned_loading_leaves_no_thread():
    loading = load_ahead([(place,) for place in range(50)], lambda place: place, threads=2)
    next(loading)
    loading.close()
    assert threading.active_count() == 1


def test_nothing_records_gradients(folder, corpus):
    class Watched(FakeExtractor):
        def forward(self, batch, layers, emit):
            assert torch.is_inference_mode_enabled()
            super().forward(batch, layers, emit)

    assert run(corpus, folder, Watched()).done == 20


def test_a_dry_run_does_not_import_torch():
    code = "import sys, ser_cache.extraction; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


class Crowded(FakeExtractor):
    """Has memory for one batch at a time."""

    def forward(self, batch, layers, emit):
        with self.counting:
            self.inside.append(len(batch))
            crowded = len(self.inside) > 1
        try:
            time.sleep(0.005)
            if crowded:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            super().forward(batch, layers, emit)
        finally:
            with self.counting:
                self.inside.pop()


def test_a_batch_that_meets_its_end_beside_others_is_run_again_alone_and_whole(folder, corpus, monkeypatch):
    monkeypatch.setattr(pipeline, "model_threads", lambda _: ModelThreads(batches=4, inner=1))
    extractor = Crowded()
    extractor.counting, extractor.inside = threading.Lock(), []
    report = run(corpus, folder, extractor)
    assert not report.failed
    other = folder.with_name("roomy")
    run(corpus, other)
    assert content(folder, corpus) == content(other, corpus)


def test_a_resume_forms_the_batches_that_the_part_was_begun_with(folder, corpus):
    whole = folder.with_name("whole")
    run(corpus, whole, options=ExtractionOptions(batch_seconds=0.5))
    run(corpus, folder, options=ExtractionOptions(batch_seconds=0.5))
    (path,) = part_paths(folder)
    for row in (3, 8, 15):
        forget(open_part(path), row)
    assert run(corpus, folder, options=ExtractionOptions()).done == 3
    assert content(folder, corpus) == content(whole, corpus)
