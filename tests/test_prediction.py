"""New audio gets the very scores that training gave it, and a backbone that differs is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from small_corpora import tone
from small_models import save_wav2vec2
from small_runs import as_earlier_version
from trained_runs import open_workshop

from ser_cache.backbones.loading import BackboneOptions, load
from ser_cache.errors import (
    AudioError,
    BackboneError,
    ResultsError,
    SerCacheError,
    StaleCacheError,
    UnknownNameError,
)
from ser_cache.given_files import collect_files, require_any
from ser_cache.packing import Segments
from ser_cache.prediction import (
    PredictionOptions,
    fingerprint_of,
    load_matching_extractor,
    predict,
)
from ser_cache.restoring import class_scores, restore_heads
from ser_cache.results import read_fingerprint, read_predictions, read_run
from ser_cache.store import Fingerprint

WAV2VEC2 = ("--model", "WAV2VEC2", "--precision", "fp32")
BACKBONES = {
    "mfcc+max0.5s": (("nonlinear",), ("--model", "mfcc", "--max-seconds", "0.5")),
    # before the frames, which would serve it
    "tiny-wav2vec2+pooled": (("linear",), (*WAV2VEC2, "--tier", "pooled")),
    "tiny-wav2vec2": (("linear", "nonlinear", "multilayer"), WAV2VEC2),
    "tiny-wav2vec2+int8+avg3": (
        ("linear", "multilayer"),
        (*WAV2VEC2, "--codec", "int8", "--frame-average", "3"),
    ),
    "tiny-wav2vec2+raw+max0.5s+fp32": (
        ("multilayer",),
        (*WAV2VEC2, "--max-seconds", "0.5", "--normalise", "no", "--codec", "fp32"),
    ),
    "tiny-whisper": (("multilayer",), ("--model", "WHISPER", "--precision", "fp32")),
    "tiny-whisper+fp32": (
        ("linear", "nonlinear", "multilayer"),
        ("--model", "WHISPER", "--precision", "fp32", "--codec", "fp32"),
    ),
}
"""Folder in the cache -> the heads trained on it, and how it was extracted."""
PROBED = {"tiny-whisper+fp32": ("--standardise", "global", "--layer", "1")}
"""... and what its heads are trained with, beside the usual."""
CPU = PredictionOptions(device="cpu")


def earlier_copy(run, folder):
    """A copy of a run in which nothing tells that a file was changed."""
    return as_earlier_version(read_run(shutil.copytree(run.folder, folder / run.folder.name)))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    shop = open_workshop(tmp_path_factory.mktemp("workshop"))
    models = {"WAV2VEC2": str(shop.wav2vec2), "WHISPER": str(shop.whisper)}
    for name, (heads, arguments) in BACKBONES.items():
        shop.extract(*(models.get(word, word) for word in arguments))
        wanted = (word for head in heads for word in ("--head", head))
        shop.probe("--model", name, *wanted, *PROBED.get(name, ()))
    return shop


@pytest.fixture
def run(workshop):
    return workshop.run_of("tiny-wav2vec2", "multilayer")


def stored(run):
    """(fold, seed) -> utterance -> class scores, as training left them."""
    found = {}
    for row in read_predictions(run):
        scores = np.array([float(row[f"score:{name}"]) for name in run.config.classes])
        found.setdefault((row["fold"], int(row["seed"])), {})[row["id"]] = scores
    return found


@pytest.mark.parametrize(
    ("backbone", "head"), [(name, head) for name, (heads, _) in BACKBONES.items() for head in heads]
)
def test_a_clip_of_the_corpus_gets_the_scores_that_training_stored(workshop, backbone, head):
    run = workshop.run_of(backbone, head)
    for (fold, seed), expected in list(stored(run).items())[:3]:
        files = [workshop.clip(identifier) for identifier in expected]
        report = predict(run, files, replace(CPU, folds=(fold,), seeds=(seed,)))
        assert report.failed == {}
        assert report.models == 1
        assert [one.path for one in report.predictions] == files
        for one, scores in zip(report.predictions, expected.values(), strict=True):
            assert one.scores == pytest.approx(scores, abs=1e-5)
            assert one.emotion == run.config.classes[int(scores.argmax())]
            assert one.agreement == 1.0


def test_without_a_choice_the_probabilities_of_all_models_are_averaged(workshop, run):
    clip = workshop.clip("s1_anger_1")
    (whole,) = predict(run, [clip], CPU).predictions
    single = []
    for fold in run.metrics["folds"]:
        for seed in run.config.seeds:
            single += predict(run, [clip], replace(CPU, folds=(fold,), seeds=(seed,))).predictions
    assert len(single) == 6
    assert whole.scores == pytest.approx(np.mean([one.scores for one in single], axis=0), abs=1e-7)
    assert whole.scores.sum() == pytest.approx(1)
    assert whole.agreement == pytest.approx(np.mean([one.emotion == whole.emotion for one in single]))


def test_a_score_does_not_depend_on_the_other_files(workshop, run):
    clips = sorted(workshop.audio.glob("*.wav"))  # more than are decoded together
    together = predict(run, clips, CPU).predictions
    assert [one.path for one in together] == clips
    for one in together[::9]:
        (alone,) = predict(run, [one.path], CPU).predictions
        assert one.scores == pytest.approx(alone.scores, abs=1e-5)


def test_other_rates_and_several_channels_are_brought_to_what_training_heard(workshop, run, tmp_path):
    clip = tone(1.0, 300, rate=44_100)
    soundfile.write(tmp_path / "stereo.flac", np.stack([clip, clip], axis=1), 44_100)
    soundfile.write(tmp_path / "mono.wav", clip, 44_100, subtype="PCM_16")
    stereo, mono = predict(run, [tmp_path / "stereo.flac", tmp_path / "mono.wav"], CPU).predictions
    assert stereo.scores == pytest.approx(mono.scores, abs=1e-3)
    assert stereo.seconds == pytest.approx(1.0, abs=1e-3)


def test_what_cannot_be_read_is_reported_and_stops_nothing(workshop, run, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "blip.wav", np.zeros(100, dtype="f4"), 16_000)
    good = workshop.clip("s1_anger_1")
    files = [tmp_path / "text.wav", good, tmp_path / "blip.wav", tmp_path / "absent.wav"]
    done = []
    report = predict(run, files, CPU, on_progress=lambda now, total: done.append((now, total)))
    assert [one.path for one in report.predictions] == [good]
    assert list(report.failed) == [files[0], files[2], files[3]]
    for path, reason in report.failed.items():
        assert path.name in reason
        assert "\n" not in reason
    assert "too short for one frame" in report.failed[files[2]]
    assert done[-1] == (4, 4)


def test_nothing_but_failures_is_no_error(run, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    report = predict(run, [tmp_path / "text.wav", tmp_path / "absent.wav"], CPU)
    assert report.predictions == ()
    assert len(report.failed) == 2


def test_files_that_are_all_missing_are_an_error(run, tmp_path):
    with pytest.raises(AudioError, match=r"a\.wav, .*b\.wav, .*c\.wav and 1 more not found"):
        predict(run, [tmp_path / f"{name}.wav" for name in "abcd"], CPU)


# The same backbone, or none


def test_another_backbone_is_refused_with_the_difference(run, tmp_path):
    torch.manual_seed(99)
    other = save_wav2vec2(tmp_path / "tiny-wav2vec2", norm="group")
    with pytest.raises(StaleCacheError) as caught:
        predict(run, [], replace(CPU, model=str(other)))
    assert "weights: run '" in str(caught.value)
    assert "backbone '" in str(caught.value)
    with pytest.raises(StaleCacheError, match="family: run 'wav2vec2', backbone 'mfcc'"):
        predict(run, [], replace(CPU, model="mfcc"))


@pytest.mark.parametrize(
    "options",
    [{"context": "full"}, {"normalise": True}, {"max_seconds": 3.0}, {"precision": "bf16"}],
    ids=str,
)
def test_the_backbone_is_loaded_with_the_settings_of_the_run(workshop, run, options):
    wanted = load(str(workshop.whisper), BackboneOptions(device="cpu", **options)).identity
    fingerprint = Fingerprint(wanted, fingerprint_of(run)[0].storage)
    provenance = {"model": str(workshop.whisper)}
    extractor = load_matching_extractor(run, fingerprint, provenance, CPU)
    assert Fingerprint(extractor.identity, fingerprint.storage) == fingerprint
    assert all(extractor.identity[name] == value for name, value in options.items())


def test_a_backbone_that_was_moved_is_given_with_model(workshop, run, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(workshop.wav2vec2, moved)
    copy = earlier_copy(run, tmp_path)
    origin = read_fingerprint(copy)
    origin["provenance"]["model"] = str(tmp_path / "gone")
    (copy.folder / "fingerprint.json").write_text(json.dumps(origin))
    clip = workshop.clip("s1_anger_1")
    with pytest.raises(BackboneError, match="--model"):
        predict(copy, [clip], CPU)
    (there,) = predict(copy, [clip], replace(CPU, model=str(moved))).predictions
    assert there.scores == pytest.approx(predict(run, [clip], CPU).predictions[0].scores, abs=1e-7)


def test_what_is_not_the_backbones_fault_is_not_blamed_on_it(run):
    with pytest.raises(UnknownNameError, match="abacus") as caught:
        predict(run, [], PredictionOptions(device="abacus"))
    assert "--model" not in str(caught.value)


def test_a_run_of_an_earlier_version_finds_its_fingerprint_in_the_cache(workshop, run, tmp_path):
    copy = earlier_copy(run, tmp_path)
    (copy.folder / "fingerprint.json").unlink()
    fingerprint, provenance = fingerprint_of(copy, workshop.cache)
    assert fingerprint == fingerprint_of(run)[0]
    assert provenance["model"] == str(workshop.wav2vec2)
    with pytest.raises(ResultsError, match="--cache"):
        fingerprint_of(copy, tmp_path / "empty")


@pytest.mark.parametrize("text", ['{"features": {}, "storage": {}, "provenance": {}}', "{}", "["])
def test_a_damaged_fingerprint_gets_one_line(run, tmp_path, text):
    copy = earlier_copy(run, tmp_path)
    (copy.folder / "fingerprint.json").write_text(text)
    with pytest.raises(ResultsError, match=r"fingerprint\.json"):
        fingerprint_of(copy)


# Heads


def test_unknown_folds_and_seeds_list_the_known_ones(run):
    with pytest.raises(UnknownNameError, match="fold 'x'"):
        restore_heads(run, 8, folds=("x",))
    with pytest.raises(UnknownNameError, match=r"seed '9'.*0, 1"):
        restore_heads(run, 8, seeds=(9,))


@pytest.mark.parametrize("width", [1, None])
def test_weights_that_do_not_fit_get_one_line(run, tmp_path, width):
    copy = earlier_copy(run, tmp_path)
    if width is None:
        path = copy.folder / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ResultsError, match="do not fit") as caught:
        restore_heads(copy, width or 8)
    assert "\n" not in str(caught.value)


def test_weights_that_were_changed_are_not_used(run, tmp_path):
    copy = read_run(shutil.copytree(run.folder, tmp_path / run.folder.name))
    path = copy.folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"weights\.safetensors is not what was written"):
        restore_heads(copy, 8)


def test_restored_heads_do_not_drop_out_and_give_probabilities(workshop, run):
    heads = restore_heads(run, _width(run), seeds=(1,))
    assert [(one.fold, one.seed) for one in heads] == [(fold, 1) for fold in run.metrics["folds"]]
    frames = torch.randn(len(run.config.layers), 5, _width(run))
    segments = Segments([2, 3], torch.float32, torch.device("cpu"))
    first, second = class_scores(heads, frames, segments), class_scores(heads, frames, segments)
    assert first.shape == (3, 2, 3)
    assert torch.equal(first, second)
    assert torch.allclose(first.sum(dim=-1), torch.ones(3, 2, dtype=torch.float64))


def _width(run):
    from safetensors.numpy import load_file

    weights = load_file(run.folder / "weights.safetensors")
    return next(value.shape[1] for name, value in weights.items() if name.endswith("first.weight"))


# Files


def test_folders_give_their_audio_at_any_depth_and_nothing_else(tmp_path):
    for name in ("b.wav", "a/deep/c.FLAC", "a/notes.txt", ".hidden/d.wav", "a/._c.wav", "e.mp3"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    named = tmp_path / "odd.bin"
    found = collect_files([tmp_path / "absent.wav", tmp_path / "in", tmp_path / "in" / "b.wav", named])
    relative = [str(path.relative_to(tmp_path)) for path in found]
    assert relative == ["absent.wav", "in/a/deep/c.FLAC", "in/b.wav", "in/e.mp3", "odd.bin"]


def test_a_folder_without_audio_stands_for_itself_and_alone_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    found = collect_files([tmp_path / "empty"])
    assert found == [tmp_path / "empty"]
    with pytest.raises(SerCacheError, match="empty holds no audio"):
        require_any(found)
    (tmp_path / "a.wav").touch()
    require_any([*found, tmp_path / "a.wav"])
