"""A finished extraction is known without the model, and never where the model may have changed."""

import os
import shutil
from pathlib import Path

import pytest
from small_models import save_wav2vec2

from ser_cache.backbones import unchanged, weights
from ser_cache.cli import run


@pytest.fixture
def settled(monkeypatch):
    """The files of a test are seconds old; count them as older."""
    monkeypatch.setattr(unchanged, "_SETTLED", -1e9)


@pytest.fixture
def model(tones, settled):
    """A model whose features of the tones are cached, in ./cache."""
    folder = save_wav2vec2(tones.parent / "models" / "tiny")
    assert run(["extract", "--model", str(folder), "--precision", "fp32"]) == 0
    return folder


@pytest.fixture
def loads(monkeypatch):
    """Every loading of weights, counted."""
    count = []
    load_encoder = weights.load_encoder
    monkeypatch.setattr(weights, "load_encoder", lambda *given: count.append(1) or load_encoder(*given))
    return count


def rewrite(path: Path, change) -> None:
    """Change a file's bytes in place and set its date back, as nobody does by accident."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("options", [[], ["--precision", "fp32"], ["--layers", "last"], ["--tier", "pooled"]])
def test_where_all_is_cached_no_model_is_loaded(model, loads, capsys, options):
    capsys.readouterr()
    assert run(["extract", "--model", str(model), *options]) == 0
    told = capsys.readouterr()
    assert "tones tiny: nothing new; 36 utterances were cached already in cache/tiny/tones" in told.out
    assert told.err == ""
    assert loads == []


@pytest.mark.usefixtures("tones")
def test_finished_mfcc_are_told_by_their_settings_alone(capsys, monkeypatch):
    assert run(["extract", "--model", "mfcc"]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.delattr("ser_cache.extraction.extract")  # nothing is to be extracted
        assert run(["extract", "--model", "mfcc"]) == 0
    told = capsys.readouterr()
    assert "tones mfcc: nothing new; 36 utterances were cached already in cache/mfcc/tones" in told.out
    assert told.err == ""
    for other in ("mfcc+n20", "mfcc+max0.3s"):
        assert run(["extract", "--model", other]) == 0
        assert "36 utterances extracted" in capsys.readouterr().out


def test_the_answer_is_that_of_the_model_itself(model, loads, capsys, monkeypatch):
    capsys.readouterr()
    assert run(["extract", "--model", str(model)]) == 0
    known = capsys.readouterr().out
    monkeypatch.setattr(unchanged, "stamp", lambda _: "")
    assert run(["extract", "--model", str(model)]) == 0
    assert capsys.readouterr().out == known
    assert loads == [1]


@pytest.mark.parametrize("options", [["--normalise", "no"], ["--max-seconds", "0.3"], ["--codec", "int8"]])
def test_other_options_are_extracted(model, loads, options):
    assert run(["extract", "--model", str(model), "--precision", "fp32", *options]) == 0
    assert loads == [1]
    assert len(list(Path("cache").iterdir())) == 2


def test_what_a_part_lacks_is_extracted(model, loads, tones):
    shutil.copy(tones / "s1_anger_1.wav", tones / "s1_anger_7.wav")
    assert run(["manifest", "tones", str(tones), "--pattern", "{speaker}_{emotion}_{take}.wav"]) == 0
    assert run(["extract", "--model", str(model)]) == 0
    assert loads == [1]


def test_weights_changed_in_place_under_their_old_date_are_never_called_the_same(model, loads, capsys):
    def flip_last_bits(content):
        for place in range(4, len(content) // 2, 4):  # of the numbers in the file's second half
            content[-place] ^= 1

    rewrite(model / "model.safetensors", flip_last_bits)
    assert run(["extract", "--model", str(model)]) == 1
    assert loads == [1]
    assert "features made otherwise (weights: " in capsys.readouterr().err


def test_another_configuration_is_never_called_the_same(model, loads):
    rewrite(model / "config.json", lambda content: content.extend(b" "))
    assert run(["extract", "--model", str(model)]) == 0
    assert loads == [1]  # and found to be the same after all


def test_a_copy_in_the_same_place_is_loaded_again(model, loads):
    model.rename(model.with_name("aside"))
    shutil.copytree(model.with_name("aside"), model)
    assert run(["extract", "--model", str(model)]) == 0
    assert loads == [1]


def test_another_version_of_the_reading_library_loads_again(model, loads, monkeypatch):
    monkeypatch.setattr(unchanged, "version", lambda _: "99")
    assert run(["extract", "--model", str(model)]) == 0
    assert loads == [1]


def test_files_changed_a_moment_ago_have_no_stamp(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert unchanged.stamp(tmp_path) == ""
    later = (tmp_path / "model.safetensors").stat().st_ctime + 2.5
    monkeypatch.setattr(unchanged.time, "time", lambda: later)
    assert unchanged.stamp(tmp_path) == unchanged.stamp(tmp_path) != ""
    assert unchanged.stamp(tmp_path / "absent") == ""


def test_a_checkpoint_with_folders_has_no_stamp(tmp_path, settled):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "shards/a.safetensors"}}')
    assert unchanged.stamp(tmp_path)
    (tmp_path / "shards").mkdir()
    assert unchanged.stamp(tmp_path) == ""
