"""``ser layers`` as a user types it: weights and scores from runs, no torch, and plain refusals."""

import subprocess
import sys

import pytest
from layered_runs import save_run
from printed import last_line
from small_grid import cache_features, manifest, save_manifest

from ser_cache.cli import run
from ser_cache.store import open_features

WEIGHTS = {("0", 0): [0.6, 0.3, 0.1]}


@pytest.fixture
def runs(empty_folder):
    """A run that mixes layers and whose cache is there, one whose cache is gone, and a sweep."""
    emovo = save_manifest(empty_folder / "manifests", manifest("emovo"))
    cache_features(empty_folder / "cache", "whisper-small", emovo)
    with open_features(empty_folder / "cache" / "whisper-small" / "emovo", emovo.utterances) as features:
        digest = features.fingerprint.digest
    ids = {"0": tuple(clip.id for clip in emovo.utterances)}
    folder = empty_folder / "runs"
    save_run(folder, weights=WEIGHTS, train=ids, fingerprint=digest)
    save_run(folder, backbone="xls-r", weights=WEIGHTS)
    for layer in (0, 1, 2):
        save_run(folder, head="linear", layers=(layer,), seeds=(0, 1), right={0: 3 + layer, 1: 5 + layer})
    return folder


def test_weights_and_scores_are_shown_with_blocks(runs, capsys):
    assert run(["layers"]) == 0
    captured = capsys.readouterr()
    assert (
        "Layer weights of whisper-small, multilayer, dasaro2024, split speaker: mean of emovo" in captured.out
    )
    assert "Score by layer of whisper-small on emovo, linear" in captured.out
    assert "best layer: 2" in captured.out
    rows = [line.split() for line in captured.out.splitlines() if line.startswith("whisper-small ")]
    assert [row[1] for row in rows] == ["raw", "rescaled"]
    assert "1 (60.0%)" in " ".join(rows[0])
    assert captured.out.count("█") > 10
    raw_only = [line.split() for line in captured.out.splitlines() if line.startswith("xls-r ")]
    assert [row[1] for row in raw_only] == ["raw"]
    assert "not rescaled, as" in captured.err


def test_filters_choose_runs(runs, capsys):
    assert run(["layers", "--model", "xls-r"]) == 0
    assert "whisper-small" not in capsys.readouterr().out
    assert run(["layers", "--head", "linear", "--score", "wa"]) == 0
    out = capsys.readouterr().out
    assert "Layer weights" not in out
    assert "44.4±15.7" in out  # layer 0: three and five of nine
    for filters in (["--protocol", "superb"], ["--split", "loso"], ["--corpus", "emodb"]):
        assert run(["layers", *filters]) == 1
        assert "0 fit, and none of them" in last_line(capsys)


def test_a_damaged_run_is_skipped_with_a_line(runs, capsys):
    next(runs.glob("emovo-xls-r-*")).joinpath("metrics.json").write_text("{}")
    assert run(["layers"]) == 0
    captured = capsys.readouterr()
    assert "skipped: the run" in captured.err
    assert "xls-r" not in captured.out


def test_a_manifest_that_cannot_be_read_is_named_with_status_3_and_weights_stay_as_they_are(runs, capsys):
    (runs.parent / "manifests" / "emovo.csv").write_bytes(b"\xff\n")
    (runs.parent / "manifests" / "unasked.csv").touch()
    assert run(["layers"]) == 3
    captured = capsys.readouterr()
    assert captured.err.count("skipped: ") == 1
    assert "skipped: manifests/emovo.csv, row 1: not UTF-8; save it as UTF-8.\n" in captured.err
    assert "Layer weights of whisper-small" in captured.out


def test_runs_on_earlier_data_are_left_out_with_a_line(runs, capsys):
    written = "2100-01-01T00:00:00+00:00"
    for layer in (1, 2):
        save_run(runs, head="linear", layers=(layer,), right={0: 9}, fingerprint="0" * 64, written=written)
    assert run(["layers", "--head", "linear", "--score", "wa"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("100.0") == 2
    assert "note: emovo, whisper-small: 3 runs on earlier data are left out" in captured.err


def test_without_runs_it_says_how_to_train_some(empty_folder, capsys):
    assert run(["layers"]) == 1
    assert "ser probe --head linear --layer all" in last_line(capsys)


def test_an_unknown_score_is_named(empty_folder, capsys):
    assert run(["layers", "--score", "f1"]) == 1
    assert "unknown score 'f1'" in last_line(capsys)


def test_a_figure_is_drawn_beside(runs, capsys):
    pytest.importorskip("matplotlib")
    (runs.parent / "figures").mkdir()
    assert run(["layers", "--plot", "figures/layers.svg"]) == 0
    assert "figure: figures/layers.svg" in capsys.readouterr().out
    assert (runs.parent / "figures" / "layers.svg").stat().st_size > 1000


def test_a_figure_without_matplotlib_is_refused_before_anything_else(runs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(["layers", "--plot", "layers.png"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: drawing needs matplotlib; install it with: pip install matplotlib\n"


def test_it_imports_neither_torch_nor_matplotlib(runs):
    code = (
        "import sys; from ser_cache.cli import run; status = run(['layers']);"
        "print({'torch', 'transformers', 'matplotlib'} & set(sys.modules)); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
