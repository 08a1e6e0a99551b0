"""What fails fails alone, by name and with a way out: clips, files, values, models, memory."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_extraction import SMALL, content, run, sound
from fake_extractor import HOP, FakeCorpus, FakeExtractor

from ser_cache.errors import AudioError, BackboneError, ExtractionError, SettingsError
from ser_cache.extraction import ExtractionOptions, extract
from ser_cache.store import DONE, FAILED, open_features, open_part, part_paths, read_failures, read_states

NOT_FINITE = "layer 1 holds NaN, infinity, or values too large to square: leave this clip out."


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
    assert len(content(folder, planned.utterances)) == 17
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
        "clip0005": NOT_FINITE,
        "clip0009": NOT_FINITE,
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
    assert report.failed == {"clip0005": NOT_FINITE}
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
    with pytest.raises(
        SettingsError,
        match=r"/nonexistent, where the audio of corpus was, is not there.*ser manifest corpus ROOT",
    ):
        extract(FakeExtractor(), corpus.utterances, Path("/nonexistent"), folder, SMALL, None, corpus.read)
    assert not folder.exists()


def test_a_path_out_of_the_root_fails_and_is_never_read(folder, corpus, tmp_path):
    outside = dataclasses.replace(corpus.utterances[0], path="../../etc/passwd")
    utterances = (outside, *corpus.utterances[1:])
    report = extract(FakeExtractor(), utterances, tmp_path, folder, SMALL, None, corpus.read)
    assert set(report.failed) == {"clip0000"}


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


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_a_file_that_does_not_fit_into_memory_when_decoded_fails_alone(folder, corpus, error):
    largest = sorted(corpus.audio)[1]

    def read(path: Path):
        if path.stem == largest:
            raise error
        return corpus.read(path)

    report = run(corpus, folder, read=read)
    assert list(report.failed) == [largest]
    assert "does not fit into memory when it is decoded" in report.failed[largest]


def test_any_other_error_in_loading_keeps_its_traceback(folder, corpus):
    def read(path: Path):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(corpus, folder, read=read)


def test_any_other_error_of_a_model_keeps_its_traceback(folder, corpus):
    extractor = Confined()
    extractor.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(corpus, folder, extractor, ExtractionOptions(batch_seconds=60))
