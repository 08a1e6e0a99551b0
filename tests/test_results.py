"""Runs on disk: whole or absent, found again, told apart when stale, and refused when damaged or newer."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import f1_score, precision_recall_fscore_support
from small_runs import CLASSES, as_earlier_version, small_config, small_run
from written_runs import SPLITS, config, models, predictions, write

from ser_cache import metrics
from ser_cache.errors import ResultsError
from ser_cache.manifest import Utterance
from ser_cache.results import (
    FoldPredictions,
    RunConfig,
    RunData,
    find,
    list_runs,
    manifest_digest,
    read_layer_weights,
    read_predictions,
    read_run,
    score_run,
    stale_runs,
    summarise,
    write_run,
)
from ser_cache.statistics import speaker_interval


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


def test_layer_weights_have_their_mean_over_all_folds_and_seeds(tmp_path):
    shares = np.linspace(0, 0.5, 6)
    different = [
        replace(model, layer_weights=np.array([share, 1 - share]))
        for model, share in zip(models(), shares, strict=True)
    ]
    run = write_run(tmp_path, config(), SPLITS, different, {"torch": "2"})
    told = json.loads((run.folder / "layer_weights.json").read_text())
    assert told["mean"] == pytest.approx([0.25, 0.75])
    assert read_layer_weights(run).mean.tolist() == pytest.approx([0.25, 0.75])


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
    assert found["mean_of_folds"]["std"]["macro_f1"] == pytest.approx(np.std(of_folds, ddof=1))
    per_fold = [np.mean([fold_score(p) for p in parts if p.fold == fold]) for fold in ("s0", "s1", "s2")]
    assert found["mean_of_folds"]["std_over_folds"]["macro_f1"] == pytest.approx(np.std(per_fold, ddof=1))
    assert [row["seed"] for row in found["pooled"]["per_seed"]] == [0, 1]
    assert sum(row["support"] for row in found["per_class"]) == 18
    assert np.sum(found["confusion"]) == 36
    low, high = found["interval"]["ua"]
    assert low <= found["pooled"]["mean"]["ua"] <= high


@pytest.mark.parametrize("folds", [1, 3])
def test_a_class_that_nobody_expresses_counts_over_folds_and_not_in_one_alone(folds):
    """In the score and in its interval, which rests on the speakers of every seed."""
    parts = [replace(part, truth=part.truth % 2) for part in predictions()]
    if folds == 1:
        parts = [_joined([part for part in parts if part.seed == seed]) for seed in (0, 1)]
    found = score_run(parts, CLASSES)
    labels = np.array([True, True, folds > 1])
    by_speaker = np.zeros((2, 3, 3, 3), dtype=np.int64)
    for part in parts:
        for who, truth, predicted in zip(part.speakers, part.truth, part.predicted, strict=True):
            by_speaker[part.seed, int(who[1:]), truth, predicted] += 1
    assert by_speaker[..., 2].sum() > 0
    expected = metrics.macro_f1(by_speaker.sum(axis=1), labels)
    assert [row["macro_f1"] for row in found["pooled"]["per_seed"]] == pytest.approx(list(expected))
    interval = speaker_interval(by_speaker, lambda counts: metrics.macro_f1(counts, labels))
    assert found["interval"]["macro_f1"] == pytest.approx([interval.low, interval.high])


def _joined(parts):
    """One fold of several."""
    return FoldPredictions(
        "all",
        parts[0].seed,
        tuple(id_ for part in parts for id_ in part.ids),
        tuple(speaker for part in parts for speaker in part.speakers),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


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


def on_labels(label, written):
    return {"data": RunData("f" * 64, label * 64, "d" * 64), "environment": {"written": written}}


def test_the_newest_of_several_stale_runs_is_the_one_named(tmp_path):
    for label, day in (("1", 3), ("2", 9), ("3", 6)):
        small_run(tmp_path, **on_labels(label, f"2026-01-0{day}T00:00:00+00:00"))
    found = find(tmp_path, small_config(data=RunData("f" * 64, "4" * 64, "d" * 64)))
    assert (found.state, found.run.config.data.manifest, found.difference) == ("stale", "2" * 64, "manifest")


def test_a_run_is_stale_where_the_same_choices_have_a_newer_one_on_other_data(tmp_path):
    old, new = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    runs = {
        "without date": small_run(tmp_path, **on_labels("1", "")),
        "old": small_run(tmp_path, **on_labels("2", old)),
        "new": small_run(tmp_path, **on_labels("3", new)),
        "another layer": small_run(tmp_path, layers=(1,), **on_labels("2", old)),
        "another seed": small_run(tmp_path, seeds=(5,), **on_labels("2", old)),
    }
    stale = stale_runs(list(runs.values()))
    assert {name for name, run in runs.items() if run.folder in stale} == {"without date", "old"}
    assert stale_runs([runs["old"]]) == frozenset()


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


def test_a_folder_of_something_else_among_the_runs_is_no_damaged_run(tmp_path):
    run = write(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "plan.txt").write_text("mine")
    (
        tmp_path / run.folder.name.replace(run.folder.name[-10:], "0" * 10)
    ).mkdir()  # called as a run, and empty
    (tmp_path / "renamed").mkdir()
    (tmp_path / "renamed" / "metrics.json").write_text("{}")
    names = {path.name for path in list_runs(tmp_path)}
    assert names == {path.name for path in tmp_path.iterdir()} - {"notes"}


def test_force_replaces_what_is_damaged_and_nothing_that_a_newer_version_wrote(tmp_path):
    run = write(tmp_path)
    assert find(tmp_path, config(), forced=True).state == "absent"
    path = run.folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(ResultsError, match="newer version"):
        find(tmp_path, config(), forced=True)
    path.write_text("{")
    assert find(tmp_path, config(), forced=True).state == "absent"


def test_changed_columns_and_missing_runs_are_errors(tmp_path):
    run = as_earlier_version(write(tmp_path))
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


def test_runs_made_before_there_were_emotions_and_crossings_keep_their_names():
    assert small_config().run_id == "emovo-whisper-base-linear-a763088eb6"
    assert small_config(head="multilayer", corpus="a").run_id == "a-whisper-base-multilayer-07566fd3cc"
    assert not {"emotions", "trained_on", "tested_on"} & small_config().to_json().keys()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"emotions": {"anger": ("anger",), "fear": ("fear",), "neutral": ("calm", "neutral")}},
        {"corpus": "a+b-to-c", "trained_on": ("a", "b"), "tested_on": "c"},
    ],
)
def test_what_only_some_runs_have_is_read_back_and_tells_them_apart(changes):
    made = small_config(**changes)
    assert RunConfig.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert (made.run_id == small_config(corpus=made.corpus).run_id) == (not changes)
    assert made.training_corpora == changes.get("trained_on", ("emovo",))
    assert made.test_corpus == changes.get("tested_on", "emovo")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trained_on", "emovo"),
        ("trained_on", None),
        ("trained_on", [1]),
        ("tested_on", ["emovo"]),
        ("emotions", "anger"),
        ("emotions", None),
        ("emotions", ["anger"]),
        ("emotions", {"anger": "anger"}),
        ("emotions", {"anger": ["anger", 3]}),
    ],
)
def test_what_only_some_runs_have_is_refused_where_it_is_no_such_thing(tmp_path, name, value):
    run = as_earlier_version(write(tmp_path))
    path = run.folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ResultsError, match=r"config\.json") as caught:
        read_run(run.folder)
    assert "\n" not in str(caught.value)
