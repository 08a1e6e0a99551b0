"""Runs on disk: whole or absent, found again, told apart when stale, and refused when damaged or newer."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import f1_score, precision_recall_fscore_support
from small_runs import CLASSES, Entry, as_earlier_version, small_config

from ser_cache.errors import ResultsError
from ser_cache.manifest import Utterance
from ser_cache.results import (
    FoldPredictions,
    RunData,
    TrainedModel,
    find,
    list_runs,
    manifest_digest,
    read_predictions,
    read_run,
    score_run,
    summarise,
    write_run,
)
from ser_cache.splits import Split

SPLITS = [
    Split(fold, train=("x-0",), validation=("y-0",), test=tuple(f"{fold}-{n}" for n in range(6)), speaker_disjoint=True)
    for fold in ("s0", "s1", "s2")
]


config = partial(small_config, backbone="whisper-base+full", head="multilayer")


def predictions(folds=("s0", "s1", "s2"), seeds=(0, 1), each=6):
    rng = np.random.default_rng(0)
    parts = []
    for fold in folds:
        truth = rng.integers(0, 3, each)
        for seed in seeds:
            scores = rng.dirichlet(np.ones(3), each) + np.eye(3)[truth] * 0.3
            ids = tuple(f"{fold}-{number}" for number in range(each))
            parts.append(FoldPredictions(fold, seed, ids, (fold,) * each, truth, scores / 1.3))
    return parts


def models(parts=None):
    return [
        TrainedModel(
            predictions=part,
            best_epoch=2,
            log=(Entry(1, 1.25), Entry(2, 0.125)),
            weights={
                "mix": np.arange(2, dtype=np.float32),
                "first.weight": np.ones((2, 3), dtype=np.float32),
            },
            layer_weights=np.array([0.25, 0.75]),
        )
        for part in (predictions() if parts is None else parts)
    ]


def write(runs, **changes):
    return write_run(runs, config(**changes), SPLITS, models(), {"torch": "2"})


def test_a_run_reads_back_as_it_was_written(tmp_path):
    run = write(tmp_path / "runs")
    assert read_run(run.folder) == run
    assert run.folder.name == config().run_id
    assert run.folder.name.startswith("emovo-whisper-base+full-multilayer-")
    assert list_runs(tmp_path / "runs") == [run.folder]
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.json",
        "environment.json",
        "files.json",
        "layer_weights.json",
        "log.csv",
        "metrics.json",
        "predictions.csv",
        "splits.json",
        "weights.safetensors",
    ]


def test_tables_hold_every_epoch_and_every_prediction(tmp_path):
    folder = write(tmp_path).folder
    with (folder / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 12
    assert rows[1] == {"fold": "s0", "seed": "0", "epoch": "2", "train_loss": "0.125", "best": "1"}
    found = list(read_predictions(read_run(folder)))
    assert len(found) == 36
    expected = predictions()[1]
    row = found[6 + 2]
    assert (row["fold"], row["seed"], row["id"], row["speaker"]) == ("s0", "1", "s0-2", "s0")
    assert row["truth"] == CLASSES[expected.truth[2]]
    assert row["predicted"] == CLASSES[expected.predicted[2]]
    assert [float(row[f"score:{name}"]) for name in CLASSES] == pytest.approx(expected.scores[2], rel=1e-5)


def test_weights_and_layer_weights_are_kept_per_fold_and_seed(tmp_path):
    folder = write(tmp_path).folder
    tensors = load_file(folder / "weights.safetensors")
    assert len(tensors) == 12
    assert tensors["s2/1/first.weight"].shape == (2, 3)
    layers = json.loads((folder / "layer_weights.json").read_text())
    assert layers["layers"] == [1, 2]
    assert layers["mean"] == [0.25, 0.75]
    assert layers["models"][5] == {"fold": "s2", "seed": 1, "weights": [0.25, 0.75]}
    assert [fold["fold"] for fold in json.loads((folder / "splits.json").read_text())["folds"]] == [
        "s0",
        "s1",
        "s2",
    ]


def fold_score(part):
    """Macro F1 over the classes in the fold's truth."""
    present = np.unique(part.truth)
    return f1_score(part.truth, part.predicted, labels=present, average="macro", zero_division=0)


def test_scores_are_pooled_over_folds_per_seed_and_then_averaged():
    parts = predictions()
    found = score_run(parts, CLASSES)
    pooled, of_folds = [], []
    for seed in (0, 1):
        mine = [part for part in parts if part.seed == seed]
        truth, predicted = (
            np.concatenate([getattr(p, name) for p in mine]) for name in ("truth", "predicted")
        )
        pooled.append(f1_score(truth, predicted, labels=[0, 1, 2], average="macro", zero_division=0))
        of_folds.append(np.mean([fold_score(p) for p in mine]))
    assert found["pooled"]["mean"]["macro_f1"] == pytest.approx(np.mean(pooled))
    assert found["pooled"]["std"]["macro_f1"] == pytest.approx(np.std(pooled, ddof=1))
    assert found["mean_of_folds"]["mean"]["macro_f1"] == pytest.approx(np.mean(of_folds))
    per_fold = [np.mean([fold_score(p) for p in parts if p.fold == fold]) for fold in ("s0", "s1", "s2")]
    assert found["mean_of_folds"]["std_over_folds"]["macro_f1"] == pytest.approx(np.std(per_fold, ddof=1))
    assert [row["seed"] for row in found["pooled"]["per_seed"]] == [0, 1]
    assert sum(row["support"] for row in found["per_class"]) == 18
    assert np.sum(found["confusion"]) == 36
    low, high = found["interval"]["ua"]
    assert low <= found["pooled"]["mean"]["ua"] <= high


def test_classes_have_their_means_and_spreads_over_seeds():
    parts = predictions()
    found = score_run(parts, CLASSES)
    for number, row in enumerate(found["per_class"]):
        per_seed = {"precision": [], "recall": [], "f1": []}
        for seed in (0, 1):
            truth, predicted = (
                np.concatenate([getattr(p, name) for p in parts if p.seed == seed])
                for name in ("truth", "predicted")
            )
            of_class = precision_recall_fscore_support(truth, predicted, labels=[number], zero_division=0)
            for kind, values in zip(per_seed, of_class, strict=False):
                per_seed[kind].append(values[0])
        assert row["class"] == CLASSES[number]
        for kind, values in per_seed.items():
            assert row[kind] == pytest.approx(np.mean(values))
            assert row["std"][kind] == pytest.approx(np.std(values, ddof=1))
    assert score_run(predictions(seeds=(0,)), CLASSES)["per_class"][0]["std"]["f1"] is None


def test_a_class_of_a_single_test_speaker_is_named():
    parts = predictions()
    assert score_run(parts, CLASSES)["interval"]["caution"] == ""
    alone = [replace(part, truth=part.truth % 2 if part.fold != "s1" else part.truth) for part in parts]
    said = score_run(alone, CLASSES)["interval"]["caution"]
    assert said.startswith("only one test speaker expresses neutral: ")


def test_one_fold_alone_is_averaged_over_the_classes_in_its_truth():
    part = predictions(folds=("0",), seeds=(0,), each=8)[0]
    part = replace(part, truth=part.truth % 2, speakers=("a",) * 4 + ("b",) * 4)
    found = score_run([part], CLASSES)
    expected = f1_score(part.truth, part.predicted, labels=[0, 1], average="macro", zero_division=0)
    assert found["pooled"]["mean"]["macro_f1"] == pytest.approx(expected)
    assert found["pooled"]["std"]["macro_f1"] is None
    assert found["interval"] == {
        "reason": "no confidence interval: only 2 test speakers, at least 3 are needed",
        "speakers": 2,
    }


def test_a_summary_is_the_row_of_a_run(tmp_path):
    run = write(tmp_path)
    row = summarise(run, reused=True, warnings=("careful",))
    assert (row.corpus, row.backbone, row.head) == ("emovo", "whisper-base+full", "multilayer")
    assert (row.seeds, row.folds, row.utterances, row.reused) == (2, 3, 18, True)
    assert row.macro_f1.mean == run.metrics["pooled"]["mean"]["macro_f1"]
    assert row.intervals["wa"].speakers == 3
    assert (row.no_interval, row.warnings, row.folder) == ("", ("careful",), run.folder)


def test_good_stale_and_absent_runs_are_told_apart(tmp_path):
    assert find(tmp_path / "none", config()).state == "absent"
    run = write(tmp_path)
    assert find(tmp_path, config()).state == "good"
    assert find(tmp_path, config()).run == run
    other = find(tmp_path, config(data=RunData("0" * 64, "e" * 64, "0" * 64)))
    assert (other.state, other.run, other.difference) == ("stale", run, "fingerprint, splits")
    assert find(tmp_path, config(seeds=(0, 1, 2))).state == "absent"
    assert find(tmp_path, config(head="linear")).state == "absent"


def test_a_repeated_run_replaces_the_first(tmp_path):
    first = write(tmp_path)
    (first.folder / "note.txt").write_text("old")
    second = write_run(tmp_path, config(), SPLITS, models(), {"torch": "3"})
    assert second.folder == first.folder
    assert not (second.folder / "note.txt").exists()
    assert read_run(second.folder).environment["torch"] == "3"
    assert [path.name for path in tmp_path.iterdir()] == [config().run_id]


def test_nothing_is_left_of_a_run_that_could_not_be_written(tmp_path):
    first = write(tmp_path)
    with pytest.raises(ValueError, match="Out of range float"):
        write_run(tmp_path, config(), SPLITS, models(), {"seconds": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == [config().run_id]
    assert read_run(first.folder) == first


def test_a_run_cut_short_before_its_rename_is_not_a_run(tmp_path):
    run = write(tmp_path)
    run.folder.rename(tmp_path / f".{run.folder.name}.1.tmp")
    assert find(tmp_path, config()).state == "absent"
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "metrics.json").unlink(), "metrics.json is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda f: (f / "metrics.json").write_text('{"pooled": {'), "metrics.json is not valid JSON"),
        (lambda f: (f / "metrics.json").write_bytes(b"\xff\xfe"), "metrics.json is not valid JSON"),
        (lambda f: (f / "metrics.json").write_text('{"pooled": {}}'), "metrics.json is not complete"),
        (lambda f: (f / "environment.json").write_text("[]"), "environment.json is not a JSON object"),
        (lambda f: (f / "config.json").write_text('{"schema": 1}'), "config.json lacks 'corpus'"),
        (lambda f: (f / "config.json").write_text("{}"), "no schema number"),
        (lambda f: (f / "config.json").write_text('{"schema": 2}'), "newer version (schema 2, ours 1)"),
    ],
)
def test_a_damaged_or_newer_run_gets_one_line(tmp_path, damage, says):
    folder = write(tmp_path).folder
    damage(folder)
    for look in (lambda: read_run(folder), lambda: find(tmp_path, config())):
        with pytest.raises(ResultsError) as caught:
            look()
        assert says in str(caught.value)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_neighbour_is_no_obstacle(tmp_path):
    folder = write(tmp_path).folder
    (folder / "metrics.json").unlink()
    assert find(tmp_path, config(seeds=(3,))).state == "absent"


def test_changed_columns_and_missing_runs_are_errors(tmp_path):
    run = write(tmp_path)
    (run.folder / "predictions.csv").write_text("fold,seed\n")
    with pytest.raises(ResultsError, match="other columns"):
        list(read_predictions(run))
    with pytest.raises(ResultsError, match="there is no run"):
        read_run(tmp_path / "absent")


def test_the_manifest_digest_follows_labels_and_audio_and_not_the_order():
    rows = [Utterance(f"u{n}", f"u{n}.wav", "s", "fear", "x", "it", 5, f"{n}") for n in range(3)]
    digest = manifest_digest(rows)
    assert manifest_digest(rows[::-1]) == digest
    for change in ({"emotion": "anger"}, {"speaker": "t"}, {"sha256": "9"}, {"id": "v"}):
        assert manifest_digest([replace(rows[0], **change), *rows[1:]]) != digest
    assert manifest_digest([replace(rows[0], gender="female"), *rows[1:]]) == digest


def test_reading_runs_imports_no_torch():
    code = "import sys, ser_cache.results; print(sorted({'torch', 'h5py', 'safetensors'} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
