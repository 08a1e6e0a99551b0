"""Runs found by word, chosen by condition, sorted by column, and told whole."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import CLASSES, as_earlier_version, small_run

from ser_cache.emotions import EmotionChoice
from ser_cache.errors import ResultsError, UnknownNameError
from ser_cache.results import HEADLINE, find_run, read_predictions, score_run
from ser_cache.results.detail import fold_scores, read_layer_weights, read_training_log
from ser_cache.results.finding import short_digits
from ser_cache.results.query import (
    Wanted,
    layers_text,
    read_all,
    record,
    select,
    sort_runs,
    split_text,
)
from ser_cache.results.scoring import FoldPredictions


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    small_run(folder, quality=0.3)
    small_run(folder, quality=0.9, head="multilayer")
    small_run(folder, quality=0.6, corpus="ravdess", backbone="org--model", layers=(1,))
    small_run(folder, quality=0.0, corpus="ravdess", protocol={"name": "dasaro2024 but epochs 2"}, speakers=2)
    return folder


# What a word means


def test_a_run_is_found_by_name_folder_prefix_and_digits(runs, monkeypatch):
    for run in read_all(runs).runs:
        name = run.folder.name
        digits = name.rpartition("-")[2]
        for text in (name, str(run.folder), f"{run.folder}/", name[:-3], digits, digits[:6]):
            assert find_run(runs, text) == run or find_run(runs, text).config == run.config
    monkeypatch.chdir(runs)
    assert find_run(runs / "elsewhere", "./" + name).config == run.config


def test_a_copied_run_is_found_where_it_is(runs, tmp_path):
    run = read_all(runs).runs[0]
    shutil.copytree(run.folder, tmp_path / "best")
    assert find_run(runs, str(tmp_path / "best")).folder == tmp_path / "best"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("emovo", "the beginning of 2 runs"),
        ("emovo", "emovo-whisper-base-linear-"),
        ("", "there is no run ''"),
        ("emovo-whisper-bse-linear", "Close to it: emovo-whisper-base-linear-"),
        ("whisper-base-multilayer", "Close to it: emovo-whisper-base-multilayer-"),
        ("zzzz", "List them with: ser runs"),
        ("runs/emovo-whisper-base-linear", "Close to it: emovo-whisper-base-linear-"),
    ],
)
def test_a_word_that_means_no_run_or_several_lists_what_is_close(runs, text, says):
    with pytest.raises(ResultsError) as caught:
        find_run(runs, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_that_differ_in_digits_alone_are_told_apart_by_their_settings(runs):
    other = small_run(runs, split={"kind": "random", "seed": 3, "ratios": [0.7, 0.1, 0.2]})
    (one,) = [
        run
        for run in read_all(runs).runs
        if run.config.split == {"kind": "loso"}
        and run.config.head == "linear"
        and run.config.corpus == "emovo"
    ]
    with pytest.raises(ResultsError) as caught:
        find_run(runs, "emovo-whisper-base-linear")
    for run, text in ((one, "loso"), (other, "random seed 3 70/10/20")):
        assert f"{run.folder.name.rpartition('-')[2][:6]} ({text})" in str(caught.value)
    assert "Give more letters, or the digits of one." in str(caught.value)


def test_many_candidates_are_counted_by_how_they_go_on(runs):
    for corpus in ("emovo", "emodb"):
        for seeds in (1, 2, 3):
            small_run(runs, corpus=corpus, seeds=tuple(range(seeds)))
    with pytest.raises(ResultsError) as caught:
        find_run(runs, "emo")
    assert "the beginning of 7 runs" in str(caught.value)
    assert "emodb-... (3), emovo-... (4)" in str(caught.value)


def test_a_path_may_be_the_beginning_of_one_as_a_shell_completes_it(runs, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = find_run(runs, "runs/emovo-whisper-base-multi")
    assert found.config.head == "multilayer"
    assert find_run(tmp_path / "elsewhere", "runs/emovo-whisper-base-multi") == found
    with pytest.raises(ResultsError, match="the beginning of 2 runs in runs"):
        find_run(tmp_path / "elsewhere", "runs/emovo-")
    with pytest.raises(
        ResultsError, match=r"runs is not the folder of a run .* it holds runs: ser runs --runs runs"
    ):
        find_run(runs, "runs/")
    (tmp_path / "audio" / "emovo").mkdir(parents=True)
    with pytest.raises(
        ResultsError, match=r"audio is not the folder of a run \(it has no config.json\); list runs"
    ):
        find_run(runs, "audio/")
    with pytest.raises(ResultsError, match="there is no run 'audio/emo'"):
        find_run(runs, "audio/emo")


def test_without_runs_the_next_step_is_said(tmp_path):
    with pytest.raises(ResultsError, match="ser probe"):
        find_run(tmp_path / "none", "emovo")


def test_a_damaged_run_that_is_meant_is_said_to_be_damaged(runs):
    name = read_all(runs).runs[0].folder.name
    (runs / name / "metrics.json").unlink()
    with pytest.raises(ResultsError, match=r"metrics\.json is missing"):
        find_run(runs, name[:-2])


@given(st.lists(st.text("0123456789abcdef", min_size=10, max_size=10), min_size=1, unique=True))
def test_short_digits_tell_all_names_apart_and_begin_each_hash(hashes):
    names = [f"a-b-{digits}" for digits in hashes]
    short = short_digits(names)
    assert len(set(short.values())) == len(names)
    assert all(name.rpartition("-")[2].startswith(digits) for name, digits in short.items())
    assert min(map(len, short.values())) >= 6


# Which runs, in which order


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(), 4),
        (Wanted(corpora=("emovo",)), 2),
        (Wanted(corpora=("emovo", "ravdess")), 4),
        (Wanted(backbones=("org/model",)), 1),
        (Wanted(backbones=("models/whisper-base",)), 3),
        (Wanted(heads=("multilayer",)), 1),
        (Wanted(protocols=("dasaro2024",)), 3),
        (Wanted(layers=(1,)), 2),
        (Wanted(layers=(1, 2)), 4),
        (Wanted(layers=(9,)), 0),
        (Wanted(corpora=("emovo",), heads=("multilayer",), layers=(2,)), 1),
        (Wanted(corpora=("ravdess",), heads=("multilayer",)), 0),
    ],
)
def test_every_condition_must_be_met_by_one_of_its_values(runs, wanted, count):
    assert len(select(read_all(runs).runs, wanted)) == count


@pytest.fixture
def divided(tmp_path):
    """Runs that differ in how they divide, and in their classes."""
    folder = tmp_path / "runs"
    four = {"neutral": ("calm", "neutral"), "anger": ("anger",), "fear": ("fear",)}
    for split in (
        {"kind": "loso"},
        {"kind": "folds", "seed": 0, "folds": 5},
        {"kind": "folds", "seed": 0, "folds": 10},
        {"kind": "speaker", "seed": 0, "ratios": [0.8, 0.1, 0.1]},
        {"kind": "speaker", "seed": 2, "ratios": [0.7, 0.1, 0.2]},
        {"kind": "random", "seed": 0, "ratios": [0.8, 0.1, 0.1]},
    ):
        small_run(folder, split=split)
    small_run(folder, corpus="ravdess", emotions=four)
    small_run(folder, corpus="ravdess", emotions={name: (name,) for name in CLASSES})
    return folder


@pytest.mark.parametrize(
    ("splits", "count"),
    [
        (("folds",), 2),
        (("5 folds",), 1),
        (("loso",), 3),
        (("speaker",), 2),
        (("80/10/10",), 2),
        (("speaker seed 2 70/10/20",), 1),
        (("70/10/20", "random"), 2),
    ],
)
def test_runs_are_chosen_by_their_split(divided, splits, count):
    assert len(select(read_all(divided).runs, Wanted(splits=splits))) == count


@pytest.mark.parametrize(
    ("emotions", "corpora"),
    [
        ("anger,fear,neutral", ["emovo"] * 6 + ["ravdess"]),
        ("anger,fear,neutral=neutral+calm", ["emovo"] * 6 + ["ravdess"]),
        ("neutral,fear,anger=anger+boredom", ["emovo"] * 6 + ["ravdess"]),
    ],
)
def test_runs_are_chosen_by_their_classes_and_what_a_corpus_has_of_them(divided, emotions, corpora):
    found = select(read_all(divided).runs, Wanted(emotions=EmotionChoice.parse(emotions)))
    assert [run.config.corpus for run in found] == corpora
    expected = ("calm", "neutral") if "calm" in emotions else ("neutral",)
    assert found[-1].config.emotions["neutral"] == expected


def test_classes_that_no_run_has_are_an_error_that_lists_those_there_are(divided):
    with pytest.raises(UnknownNameError, match=r"anger,fear,neutral=calm\+neutral"):
        select(read_all(divided).runs, Wanted(emotions=EmotionChoice.parse("anger,fear")))


@pytest.mark.parametrize("kind", ["corpora", "backbones", "heads", "protocols", "splits"])
def test_a_name_that_no_run_has_is_an_error(runs, kind):
    with pytest.raises(UnknownNameError, match="atlantis"):
        select(read_all(runs).runs, Wanted(**{kind: ("atlantis",)}))


@pytest.mark.parametrize("score", HEADLINE)
def test_scores_come_best_first_and_other_columns_ascending(runs, score):
    found = read_all(runs).runs
    values = [record(run)[score] for run in sort_runs(found, score)]
    assert values == sorted(values, reverse=True)
    assert values == [record(run)[score] for run in sort_runs(found, score, reverse=True)][::-1]
    names = [run.folder.name for run in sort_runs(found, "run")]
    assert names == sorted(names)


@pytest.mark.parametrize("key", ["macro F1", "Macro-F1", "MACRO_F1"])
def test_columns_are_found_in_any_spelling(runs, key):
    found = read_all(runs).runs
    assert sort_runs(found, key) == sort_runs(found, "macro_f1")


def test_every_column_of_the_records_can_be_sorted_by(runs):
    found = read_all(runs).runs
    for column in {name for run in found for name in record(run)}:
        assert {run.folder for run in sort_runs(found, column)} == {run.folder for run in found}


def test_what_lacks_a_column_comes_last_either_way(runs):
    found = read_all(runs).runs
    for reverse in (False, True):
        assert record(sort_runs(found, "ua_low", reverse=reverse)[-1])["speakers"] == 2


def test_an_unknown_column_lists_the_known_ones(runs):
    with pytest.raises(UnknownNameError, match="macro_f1"):
        sort_runs(read_all(runs).runs, "beauty")


# What is known of each


def test_a_record_holds_all_that_the_folder_knows(runs):
    run = find_run(runs, "emovo-whisper-base-multilayer")
    known = record(run)
    assert (known["run"], known["layers"], known["seeds"], known["seed_numbers"]) == (
        run.folder.name,
        [1, 2],
        2,
        [0, 1],
    )
    assert known["protocol.head.hidden"] == 8
    assert known["protocol.training.betas"] == [0.9, 0.98]
    assert known["data.fingerprint"] == "f" * 64
    assert known["environment.torch"] == "2.4"
    assert known["date"].endswith("+00:00")
    for name in HEADLINE:
        assert known[name] == run.metrics["pooled"]["mean"][name]
        assert [known[f"{name}_low"], known[f"{name}_high"]] == run.metrics["interval"][name]
        assert known[f"mean_of_folds.{name}"] == run.metrics["mean_of_folds"]["mean"][name]
    assert known["f1.fear"] == run.metrics["per_class"][1]["f1"]
    assert known["no_interval"] is None
    assert json.loads(json.dumps(known, allow_nan=False)) == known


def test_a_run_without_an_interval_says_why(runs):
    (run,) = select(read_all(runs).runs, Wanted(protocols=("dasaro2024 but epochs 2",)))
    known = record(run)
    assert known["macro_f1_low"] is None
    assert "only 2 test speakers" in known["no_interval"]


def test_damaged_and_newer_runs_are_named_and_stop_nothing(runs):
    paths = sorted(runs.iterdir())
    (paths[0] / "metrics.json").unlink()
    newer = json.loads((paths[1] / "config.json").read_text()) | {"schema": 99}
    (paths[1] / "config.json").write_text(json.dumps(newer))
    (paths[2] / "weights.safetensors").write_bytes(b"")
    (runs / "stray").mkdir()
    (runs / "odd" / "config.json").mkdir(parents=True)
    (runs / ".being-written.tmp").mkdir()
    found = read_all(runs)
    assert [run.folder for run in found.runs] == [paths[3]]
    assert len(found.unreadable) == 4  # an empty folder that is not called as a run is, is somebody's own
    for name in (paths[0].name, paths[1].name, paths[2].name, "odd"):
        assert sum(name in line for line in found.unreadable) == 1
    assert not any("\n" in line for line in found.unreadable)
    assert any("newer version" in line for line in found.unreadable)


def test_a_folder_of_runs_that_is_not_there_holds_none(tmp_path):
    assert read_all(tmp_path / "none").runs == ()


@given(st.sets(st.integers(0, 30), min_size=1))
def test_layers_in_few_characters_name_the_same_layers(layers):
    named = set()
    for span in layers_text(tuple(sorted(layers))).split(","):
        low, _, high = span.partition("-")
        named |= set(range(int(low), int(high or low) + 1))
    assert named == layers


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ({"kind": "loso"}, "loso"),
        ({"kind": "speaker", "seed": 0, "ratios": [0.8, 0.1, 0.1]}, "speaker"),
        ({"kind": "speaker", "seed": 3, "ratios": [0.6, 0.2, 0.2]}, "speaker seed 3 60/20/20"),
        ({"kind": "folds", "seed": 0, "folds": 6}, "6 folds"),
    ],
)
def test_a_split_is_named_by_what_is_unusual_about_it(split, text):
    assert split_text(split) == text


# In detail


def test_the_log_gives_the_best_epoch_of_every_model(runs):
    log = read_training_log(find_run(runs, "emovo-whisper-base-linear"))
    assert (log.epochs, log.best_epochs, log.models) == (4, (2, 3) * 3, 6)


def test_layer_weights_are_read_where_the_head_mixes_layers(runs):
    assert read_layer_weights(find_run(runs, "emovo-whisper-base-linear")) is None
    weights = read_layer_weights(find_run(runs, "emovo-whisper-base-multilayer"))
    assert weights.layers == (1, 2)
    assert weights.models.shape == (6, 2)
    assert weights.mean.tolist() == [0.25, 0.75]


def test_the_scores_of_a_fold_are_those_of_its_predictions_alone(runs):
    run = find_run(runs, "emovo-whisper-base-linear")
    rows = [row for row in read_predictions(run) if row["fold"] == "s1"]
    parts = []
    for seed in (0, 1):
        mine = [row for row in rows if row["seed"] == str(seed)]
        scores = np.array([[float(row[f"score:{name}"]) for name in CLASSES] for row in mine])
        truth = np.array([CLASSES.index(row["truth"]) for row in mine])
        parts.append(FoldPredictions("s1", seed, ("x",) * 6, ("s1",) * 6, truth, scores))
    alone = score_run(parts, CLASSES)["pooled"]
    found = fold_scores(run)["s1"]
    for name in HEADLINE:
        assert found[name].mean == pytest.approx(alone["mean"][name])
        assert found[name].std == pytest.approx(alone["std"][name])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.csv", "fold,seed\ns0,0\n"),
        ("log.csv", "epoch,best\n1,0\n"),
        ("log.csv", "\0" * 200_000),
        ("layer_weights.json", "[]"),
        ("layer_weights.json", "{"),
        ("layer_weights.json", '{"layers": [1], "models": [{"weights": [0.5, 0.5]}]}'),
    ],
)
def test_a_damaged_log_or_layer_weights_get_one_line(runs, name, text):
    run = as_earlier_version(find_run(runs, "emovo-whisper-base-multilayer"))
    (run.folder / name).write_text(text)
    read = read_training_log if name == "log.csv" else read_layer_weights
    with pytest.raises(ResultsError, match=name):
        read(run)


def test_runs_of_earlier_versions_have_no_date(runs):
    run = read_all(runs).runs[0]
    assert record(replace(run, environment={}))["date"] is None


def test_the_columns_of_a_record_are_plain_enough_for_csv(runs, tmp_path):
    for run in read_all(runs).runs:
        for name in record(run):
            assert next(csv.reader([name])) == [name]
