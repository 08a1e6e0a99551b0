"""Storage and precision, as a user asks for them: what is written where, and what probes make of it."""

import shutil
from pathlib import Path

import pytest
import small_models
from small_corpora import PATTERN, write_tone_corpus

from ser_cache.cli import run
from ser_cache.extraction import opening, precision
from ser_cache.manifest import read_manifest
from ser_cache.store import open_features

CORPUS = "tones"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.save_wav2vec2(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def tones(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    root = write_tone_corpus(empty_folder / CORPUS)
    assert run(["manifest", CORPUS, str(root), "--pattern", PATTERN]) == 0
    capsys.readouterr()
    return root


def extract(model: Path, *options: str) -> int:
    return run(["extract", "--model", str(model), "--corpus", CORPUS, *options])


def cached(folder: str):
    return open_features(
        Path("cache") / folder / CORPUS, read_manifest(Path("manifests/tones.csv")).utterances
    )


@pytest.mark.parametrize(
    ("options", "folder", "heads"),
    [
        ([], "tiny", ["all"]),
        (["--codec", "int8"], "tiny+int8", ["all"]),
        (["--frame-average", "4"], "tiny+avg4", ["all"]),
        (["--codec", "int8", "--frame-average", "2"], "tiny+int8+avg2", ["nonlinear"]),
        (["--tier", "pooled"], "tiny+pooled", ["linear"]),
        (["--tier", "pooled", "--layers", "last"], "tiny+pooled+layers3", ["linear"]),
        (["--precision", "bf16", "--codec", "int8"], "tiny+compute-bf16+int8", ["linear"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_each_way_to_store_has_a_folder_of_its_own_and_can_be_probed(tones, model, options, folder, heads):
    assert extract(model, *options) == 0
    assert [path.name for path in Path("cache").iterdir()] == [folder]
    chosen = [word for head in heads for word in ("--head", head)]
    assert run(["probe", *chosen, "--model", folder, "--epochs", "1"]) == 0
    assert run(["cache", "verify"]) == 0


def test_smaller_storage_keeps_nearly_the_same_features(tones, model):
    for options in ([], ["--codec", "fp32"], ["--codec", "int8"], ["--frame-average", "3"]):
        assert extract(model, *options) == 0
    exact = cached("tiny+fp32")
    for folder, error in (("tiny", 5e-4), ("tiny+int8", 2e-2)):
        for index in range(len(exact)):
            states, rough = exact.hidden(index), cached(folder).hidden(index)
            assert abs(rough - states).max() <= error * abs(states).max()
    averaged = cached("tiny+avg3")
    for index in range(len(exact)):
        states, sizes = exact.hidden(index), averaged.group_sizes(index)
        assert sizes.sum() == exact.frames[index]
        first = states[:, : sizes[0]].mean(axis=1)
        assert abs(averaged.hidden(index)[:, 0] - first).max() <= 1e-3 * abs(states).max()
    assert (averaged.mean(3) == exact.mean(3)).all()


def test_time_means_are_served_by_whatever_has_frames(tones, model, capsys):
    assert extract(model) == 0
    capsys.readouterr()
    assert extract(model, "--tier", "pooled") == 0
    assert "nothing new" in capsys.readouterr().out
    assert extract(model, "--tier", "pooled", "--layers", "1-2") == 0
    assert [path.name for path in Path("cache").iterdir()] == ["tiny"]


def test_heads_that_need_frames_refuse_time_means_before_anything_is_trained(tones, model, capsys):
    assert extract(model, "--tier", "pooled") == 0
    capsys.readouterr()
    assert run(["probe", "--head", "linear", "--head", "nonlinear"]) == 1
    assert "the nonlinear head needs frames: choose --head linear" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_all_heads_are_those_that_the_features_suffice_for(tones, model, capsys):
    assert extract(model, "--tier", "pooled") == 0
    capsys.readouterr()
    assert run(["probe", "--epochs", "1"]) == 0
    said = capsys.readouterr()
    assert "keeps time means only" in said.err
    assert "which leaves linear" in said.err
    assert [path.name.split("-")[2] for path in Path("runs").iterdir()] == ["linear"]


def test_the_precision_is_measured_once_said_and_kept(tones, model, capsys):
    assert extract(model) == 0
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("computing in fp32; measured on 4 clips: bf16 about ")
    assert "from storing fp16 (worst layer: " in said
    (tones / "new.txt").touch()
    assert extract(model) == 0
    assert "computing" not in capsys.readouterr().err


def test_a_faster_precision_that_is_less_accurate_is_offered_by_its_option(tones, model, monkeypatch, capsys):
    def measured(speed: float, error: float) -> precision.PrecisionChoice:
        return precision.PrecisionChoice(
            "fp32", (precision.MeasuredPrecision("bf16", 2, error, storage_error=2e-4, speed=speed),)
        )

    monkeypatch.setattr(precision, "choose_precision", lambda *_: measured(speed=2.4, error=0.02))
    assert extract(model, "--layers", "1") == 0
    assert capsys.readouterr().err.rstrip().endswith("To compute in it nevertheless: --precision bf16")
    monkeypatch.setattr(precision, "choose_precision", lambda *_: measured(speed=1.1, error=0.02))
    assert extract(model, "--layers", "2") == 0
    assert "nevertheless" not in capsys.readouterr().err


def test_a_damaged_part_is_told_before_the_model_is_loaded(tones, model, monkeypatch, capsys):
    assert extract(model) == 0
    part = Path("cache/tiny/tones/part-0000.h5")
    part.write_bytes(b"x" * part.stat().st_size)
    monkeypatch.setattr(opening, "load_extractor", lambda *_: pytest.fail("loaded"))
    capsys.readouterr()
    assert extract(model) == 1
    assert "ser cache repair" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("corpus", "remedy"),
    [
        ("nope", "Prepare one of your own with: ser manifest nope ROOT --table FILE (or --pattern)"),
        ("emovo", "Prepare it with: ser manifest emovo ROOT"),
    ],
)
def test_an_unprepared_corpus_is_refused_with_the_command_that_prepares_it(tones, corpus, remedy, capsys):
    assert run(["extract", "--model", "mfcc", "--corpus", corpus]) == 1
    said = capsys.readouterr().err
    assert f"unknown corpus '{corpus}'. Known: tones." in said
    assert said.rstrip().endswith(remedy)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--codec", "int4"], ["unknown codec 'int4'", "fp16, fp32, int8"]),
        (["--tier", "mean"], ["unknown tier 'mean'", "frames, pooled"]),
        (["--precision", "half"], ["unknown precision 'half'", "auto, bf16, fp16, fp32"]),
        (["--frame-average", "0"], ["--frame-average is 0", "must be 1 to"]),
        (
            ["--tier", "pooled", "--codec", "int8"],
            ["--codec and --frame-average mean nothing", "leave them out"],
        ),
    ],
    ids=" ".join,
)
def test_a_mistake_gets_one_line_and_writes_nothing(tones, model, options, words, capsys):
    assert extract(model, *options) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for word in words:
        assert word in said
    assert not Path("cache").exists()


def test_precision_means_nothing_to_mfcc(tones, capsys):
    assert run(["extract", "--model", "mfcc", "--precision", "bf16"]) == 1
    assert "'precision' means nothing to it" in capsys.readouterr().err
    assert run(["extract", "--model", "mfcc"]) == 0
    assert "computing" not in capsys.readouterr().err


def test_auto_keeps_to_what_each_corpus_is_cached_in(tones, model, monkeypatch, capsys):
    root = write_tone_corpus(tones.parent / "a-new-one")
    assert run(["manifest", "a-new-one", str(root), "--pattern", PATTERN]) == 0
    assert extract(model) == 0
    monkeypatch.setattr(precision, "choose_precision", lambda *_: precision.PrecisionChoice("bf16"))
    assert run(["extract", "--model", str(model)]) == 0
    said = capsys.readouterr()
    assert "computing in bf16" in said.err
    assert "tones tiny: nothing new" in said.out
    assert precision.cached_precision(Path("cache/tiny/a-new-one")) == "bf16"
    assert precision.cached_precision(Path("cache/tiny/tones")) == "fp32"
    assert run(["extract", "--model", str(model), "--layers", "1"]) == 0
    assert [path.name for path in Path("cache").iterdir()] == ["tiny"]


def test_a_probe_of_half_a_cache_prints_a_command_for_the_same_folders(tones, model, capsys):
    elsewhere = ["--manifests", "manifests", "--cache", "an other cache"]
    assert extract(model, *elsewhere) == 0
    shutil.copy(tones / "s1_anger_1.wav", tones / "s7_anger_1.wav")
    assert run(["manifest", CORPUS, str(tones), "--pattern", PATTERN]) == 0
    capsys.readouterr()
    assert run(["probe", "--corpus", CORPUS, *elsewhere]) == 1
    command = f"ser extract --model {model} --corpus {CORPUS} --manifests manifests --cache 'an other cache'"
    assert command in capsys.readouterr().err
