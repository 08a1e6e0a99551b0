"""``ser baseline`` as a user types it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_grid import cache_features, manifest, save_manifest

from ser_cache.baselines import CLASSIFIERS
from ser_cache.cli import run

FAST = ["--knn", "--inner-folds", "2"]


def test_features_that_are_not_cached_are_extracted_first(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", *FAST, "--logreg", "--split", "loso"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("mfcc of tones is not cached completely: extracting it first.\n")
    assert "36 utterances extracted" in err
    lines = out.splitlines()
    assert lines[0] == "Baselines: split loso, protocol classical but folds 2"
    assert [line.split()[:3] for line in lines[3:5]] == [
        ["tones", "mfcc", "knn"],
        ["tones", "mfcc", "logreg"],
    ]
    assert sum(line.split()[:2] == ["tones", "knn"] for line in lines) == 6  # what each fold chose
    assert out.splitlines()[-1].startswith("per class, confusion, every search: ser runs tones-mfcc-logreg-")
    assert max(map(len, lines)) <= 80
    assert run(["baseline", *FAST, "--split", "loso"]) == 0
    assert "1 of 1 run was reused" in capsys.readouterr().err


def test_svm_and_forest_are_trained_where_none_is_named(
    tones: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("svm", "rf"):
        few = {key: values[:1] for key, values in CLASSIFIERS[name].grid.items()}
        monkeypatch.setitem(CLASSIFIERS, name, replace(CLASSIFIERS[name], grid=few | SMALLER[name]))
    assert run(["baseline", "--protocol", "wang2023", "--functionals", "mean,p90"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Baselines: split random 60/10/30, protocol wang2023 but functionals mean p90\n")
    assert "note: tones: speaker-dependent" in err
    assert "note: wang2023 shares speakers between inner folds too, as the study does.\n" in err
    heads = [json.loads((folder / "config.json").read_text())["head"] for folder in Path("runs").iterdir()]
    assert sorted(heads) == ["rf", "svm"]


SMALLER = {"svm": {}, "rf": {"n_estimators": (2,)}}


def test_a_run_is_shown_listed_and_compared_with_a_probe(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", *FAST, "--split", "folds", "--folds", "3"]) == 0
    assert run(["probe", "--head", "linear", "--split", "folds", "--folds", "3", "--epochs", "2"]) == 0
    capsys.readouterr()
    assert run(["runs"]) == 0
    assert "knn" in capsys.readouterr().out
    assert run(["runs", "tones-mfcc-knn"]) == 0
    out = capsys.readouterr().out
    assert "Grid search: 14 candidates, macro F1 by cross-validation, percent" in out
    assert "training    3 models, chosen by 84 trainings in inner folds" in out
    assert "scikit learn" in out
    assert run(["runs", "tones-mfcc-knn", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["training"] is None
    assert len(told["grid_search"]["searches"]) == 3
    assert run(["compare", "tones-mfcc-knn", "tones-mfcc-linear"]) == 0
    assert "head: knn in A, linear in B" in capsys.readouterr().out


def test_every_layer_of_a_backbone_has_a_run(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", "--model", "mfcc+d1"]) == 0
    command = ["baseline", *FAST, "--features", "mfcc+d1", "--layer", "all"]
    assert run(command) == 0
    capsys.readouterr()
    assert run([*command, "--layer", "3"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: mfcc+d1/tones has no layer 3; cached are 1."
    assert run(["baseline", *FAST, "--features", "mfcc+d1", "--layer", "3"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: mfcc+d1/tones has no layer 3; cached are 1."
    assert [folder.name.startswith("tones-mfcc+d1-knn-") for folder in Path("runs").iterdir()] == [True]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--protocol", "wang2023", "--split", "loso"], "divides by utterance, 70/30; leave --split out"),
        (["--protocol", "wang2023", "--ratios", "5/2/3"], "divides by utterance, 70/30; leave --ratios out"),
        (["--protocol", "wang"], "unknown protocol 'wang'. Did you mean 'wang2023'?"),
        (["--functionals", "mean,mode"], "unknown functional 'mode'"),
        (["--max-iterations", "lots"], "--max-iterations lots: give a whole number from 1, or none"),
        (["--seeds", "3"], "--seeds changes nothing of knn; it is for rf."),
        (["--select", "loss"], "unknown selection score 'loss'"),
        (["--layer", "last"], "--layer last is no layer; give a number, or all"),
        (["--features", "xls-r"], "unknown features 'xls-r'"),
        (["--features", "mfcc+q1"], "unknown setting of mfcc 'q1'"),
        (["--corpus", "nowhere"], "unknown corpus 'nowhere'"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: list[str], told: str, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", *FAST, *options]) == 1
    err = capsys.readouterr().err
    assert told in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert not Path("runs").exists()


def test_what_was_chosen_names_features_layers_and_seeds_where_they_differ(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = save_manifest(empty_folder / "manifests", manifest("emovo"))
    for backbone in ("whisper-small", "xls-r"):
        cache_features(empty_folder / "cache", backbone, made, layers=(0, 1, 2))
    command = ["baseline", *FAST, "--features", "whisper-small", "--protocol", "wang2023"]
    assert run(command) == 0
    assert chosen_headings(capsys) == ["corpus", "head", "chosen", "mean", "range"]
    assert run([*command, "--features", "xls-r", "--layer", "all"]) == 0
    assert chosen_headings(capsys) == ["corpus", "features", "layer", "head", "chosen", "mean", "range"]


def chosen_headings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    table = capsys.readouterr().out.partition("Chosen by cross-validation: mean and range of accuracy over")[
        2
    ]
    return table.splitlines()[2].split()


def test_chosen_emotions_are_the_classes_and_all_of_the_corpus_is_cached(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", *FAST, "--emotions", "anger,low=neutral+sadness"]) == 0
    assert "36 utterances extracted" in capsys.readouterr().err
    (folder,) = Path("runs").iterdir()
    config = json.loads((folder / "config.json").read_text())
    assert config["classes"] == ["anger", "low"]
    assert config["emotions"] == {"anger": ["anger"], "low": ["neutral", "sadness"]}


def test_an_unlimited_solver_is_asked_for_by_name(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["baseline", "--logreg", "--inner-folds", "2", "--max-iterations", "none"]) == 0
    out = capsys.readouterr().out
    assert "protocol classical but folds 2, max iterations none" in out


def test_baselines_of_cached_features_need_no_torch_and_no_audio_library(tones: Path) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    code = (
        "import sys; from ser_cache.cli import run; status = run(sys.argv[1:]);"
        "loaded = {'torch', 'transformers', 'librosa', 'soundfile'} & set(sys.modules);"
        "sys.exit(status or bool(loaded) * 9)"
    )
    command = [sys.executable, "-c", code, "baseline", *FAST]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
