"""`--emotions` and `ser probe --train A --test B`: what is said, and what later commands make of it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from printed import last_line
from small_grid import cache_features, manifest, save_manifest
from small_runs import small_run

from ser_cache.cli import run
from ser_cache.manifest import Manifest
from ser_cache.results import Run, list_runs, read_run

QUICK = ["--head", "linear", "--epochs", "2"]
CALM = ("anger", "calm", "fear", "neutral")


@pytest.fixture
def grid(empty_folder: Path) -> Path:
    """Three corpora, cached for one backbone; the third has calm as well and no noise of the others."""
    for name in ("one", "two", "three"):
        made = save_manifest(
            empty_folder / "manifests",
            manifest(name, CALM if name == "three" else ("anger", "fear", "neutral")),
        )
        cache_features(empty_folder / "cache", "tiny", made, layers=(0, 1, 2))
    return empty_folder


def runs_of(folder: Path) -> dict[str, Run]:
    return {run.config.corpus: run for run in map(read_run, list_runs(folder / "runs"))}


def test_trained_on_one_and_tested_on_others(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--train", "one", "--test", "three", "--test", "two", *QUICK]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines()[:4] == [
        "classes: anger, fear, neutral",
        "train one: 36 utterances: 36 of the 3 emotions, none left out; 6 of 1 speaker validate",
        "test three: 48 utterances: 36 of the 3 emotions, 12 left out (calm 12)",
        "test two: 36 utterances: 36 of the 3 emotions, none left out",
    ]
    assert "one-to-three  tiny" in shown.out
    assert set(runs_of(grid)) == {"one-to-two", "one-to-three"}
    assert max(map(len, shown.out.splitlines())) <= 80


def test_every_other_corpus_is_all(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--train", "all", "--test", "two", *QUICK]) == 0
    assert run(["probe", "--train", "three", "--test", "all", *QUICK]) == 0
    assert set(runs_of(grid)) == {"one+three-to-two", "three-to-one", "three-to-two"}
    capsys.readouterr()
    twin = save_manifest(grid / "manifests", replace(manifest("two"), corpus="twin"))
    cache_features(grid / "cache", "tiny", twin, layers=(0, 1, 2))
    assert run(["probe", "--train", "all", "--test", "two", "--emotions", "anger,neutral=calm", *QUICK]) == 1
    assert "skipped: twin has recordings of two." in capsys.readouterr().err
    assert run(["probe", "--train", "two", "--test", "twin", *QUICK]) == 1
    assert "two and twin share 36 recordings" in (told := last_line(capsys))
    assert told.endswith("trained on and tested; name one of the two corpora.")


def test_of_two_corpora_that_share_recordings_all_takes_neither_until_one_is_named(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = manifest("two")
    part = save_manifest(grid / "manifests", Manifest("part", whole.utterances[::2]))
    cache_features(grid / "cache", "tiny", part, layers=(0, 1, 2))
    assert run(["probe", "--train", "all", "--test", "one", *QUICK]) == 1
    assert "part and two share 18 recordings" in (told := last_line(capsys))
    assert told.endswith(
        "would be trained on twice; name the one that is meant, --train part or --train two, beside --train "
        "all too."
    )
    assert not runs_of(grid)
    for chosen, other in (("two", "part"), ("part", "two")):
        assert run(["probe", "--train", "all", "--train", chosen, "--test", "one", *QUICK]) == 0
        assert f"skipped: {other} has recordings of {chosen}." in capsys.readouterr().err
    assert set(runs_of(grid)) == {"three+two-to-one", "part+three-to-one"}
    assert run(["probe", "--train", "three", "--test", "all", *QUICK]) == 0, "each is tested by itself"
    assert {"three-to-part", "three-to-two"} <= set(runs_of(grid))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--train", "one"], "--train one needs --test as well"),
        (["--test", "one"], "--test one needs --train as well"),
        (["--train", "one", "--test", "one"], "one is to be trained on and to be tested"),
        (["--train", "all", "--test", "all"], "name one of them"),
        (
            ["--train", "one", "--test", "two", "--corpus", "two"],
            "--corpus is for training and testing on the same",
        ),
        (["--train", "one", "--test", "emovo"], "unknown corpus 'emovo'"),
        (["--train", "one", "--test", "two", "--split", "loso"], "--split loso does not say who validates"),
        (["--train", "one", "--test", "two", "--emotions", "anger,calm"], "no training corpus has calm"),
        (
            ["--train", "three", "--test", "two", "--emotions", "anger,calm"],
            "two has no calm; it has anger 12",
        ),
        (["--train", "one", "--test", "two", "--model", "other"], "unknown backbone 'other'"),
        (
            ["--corpus", "one", "--emotions", "anger,calm"],
            "one has no calm; it has anger 12, fear 12, neutral 12",
        ),
        (["--emotions", "anger,clam"], "unknown emotion 'clam'. Did you mean 'calm'?"),
        (["--emotions", "anger"], "--emotions names anger"),
        (["--emotions", "missing.toml"], "missing.toml does not exist"),
    ],
)
def test_what_cannot_be_set_against_each_other_is_said_in_a_line(
    grid: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run(["probe", *words, *QUICK]) == 1
    assert says in last_line(capsys)
    assert list_runs(grid / "runs") == []


def test_a_corpus_that_is_not_cached_is_named_with_the_command(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(grid / "cache" / "tiny" / "two", grid / "cache" / "tiny+int8" / "two")
    assert run(["probe", "--train", "one", "--test", "two", "--model", "tiny", *QUICK]) == 1
    assert last_line(capsys) == (
        "error: two is not cached for tiny (tiny+int8 has it, whose features are others); run: `ser extract "
        "--model tiny --corpus two`"
    )
    assert run(["probe", "--train", "one", "--test", "three", *QUICK]) == 0
    assert "skipped: one is not cached for tiny+int8 (tiny has it" in capsys.readouterr().err


def test_features_made_otherwise_are_refused_with_the_difference(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(grid / "cache" / "tiny" / "two")
    cache_features(grid / "cache", "tiny", manifest("two"), layers=(0, 1, 2), context="full")
    assert run(["probe", "--train", "one", "--test", "two", *QUICK]) == 1
    assert "made differently (context: one 'audio', two 'full')" in last_line(capsys)


def test_the_emotions_of_a_corpus_are_chosen_and_counted(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--emotions", "anger,fear,neutral=neutral+calm"]
    assert run(["probe", "--split", "loso", *chosen, *QUICK]) == 0
    shown = capsys.readouterr()
    assert "three: 48 utterances: 48 of the 3 emotions, none left out" in shown.err
    made = runs_of(grid)
    assert made["one"].config.emotions == {}, "one has these three and no calm: the run is as without"
    assert made["three"].config.emotions["neutral"] == ("calm", "neutral")
    assert run(["probe", "--split", "loso", "--corpus", "one", *QUICK]) == 0
    assert "1 of 1 run was reused" in capsys.readouterr().err
    assert run(["probe", "--split", "loso", "--emotions", "calm,fear", *QUICK]) == 0
    assert "skipped: one has no calm; it has anger, fear, neutral." in capsys.readouterr().err


def test_emotions_are_read_from_a_file(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[emotions]\nanger = "negative"\nfear = "negative"\nneutral = "rest"\n'
    (grid / "two.toml").write_text(text)
    assert run(["probe", "--split", "loso", "--corpus", "three", "--emotions", "two.toml", *QUICK]) == 0
    assert "three: 48 utterances: 36 of the 2 emotions, 12 left out (calm 12)" in capsys.readouterr().err
    (config,) = (found.config for found in runs_of(grid).values())
    assert config.emotions == {"negative": ("anger", "fear"), "rest": ("neutral",)}
    (grid / "two.toml").write_text(f'language = "it"\n{text}')
    assert run(["probe", "--corpus", "three", "--emotions", "two.toml", *QUICK]) == 1
    assert "names a language" in last_line(capsys)


def test_later_commands_know_both_sides(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = ["--head", "linear", "--head", "multilayer", "--epochs", "2"]
    assert run(["probe", "--train", "one", "--train", "three", "--test", "two", *heads]) == 0
    assert run(["probe", "--corpus", "two", "--corpus", "one", "--split", "loso", *heads]) == 0
    capsys.readouterr()

    assert run(["runs", "--test", "two", "--train", "three", "--head", "linear", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["corpus"], row["trained_on"], row["tested_on"]) == ("one+three-to-two", "one three", "two")
    assert row["emotions"] == "anger,fear,neutral"
    assert run(["runs", "--train", "tow"]) == 1
    assert "unknown training corpus 'tow'. Did you mean 'two'?" in last_line(capsys)

    assert run(["runs", "--matrix", "--head", "linear"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["trained", "one", "two", "one+three"]
    assert run(["runs", "--matrix", "--format", "csv"]) == 1
    assert "--format csv says of each run what it was trained and tested on" in last_line(capsys)

    linear = [
        found.folder.name
        for found in map(read_run, list_runs(grid / "runs"))
        if found.config.head == "linear"
    ]
    cross = next(name for name in linear if name.startswith("one+three-to-two"))
    within = next(name for name in linear if name.startswith("two-"))
    assert run(["runs", cross]) == 0
    shown = capsys.readouterr().out
    assert "trained on  one, three\ntested on   two\n" in shown
    assert run(["compare", cross, within]) == 0
    assert "two: 36 utterances of 6 speakers" in capsys.readouterr().out
    other = next(name for name in linear if name.startswith("one-tiny"))
    assert run(["compare", cross, other]) == 1
    assert "tested different corpora, two and one" in last_line(capsys)

    assert run(["layers"]) == 0
    shown = capsys.readouterr()
    assert "mean of one+three" in shown.out
    assert "not rescaled" not in shown.err
    assert json.loads((grid / "runs" / cross / "config.json").read_text())["tested_on"] == "two"


def test_all_passes_over_what_cannot_be_set_against_those_named(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cached(name: str, emotions: tuple[str, ...] = ("anger", "fear", "neutral"), **how: Any) -> None:
        made = save_manifest(grid / "manifests", manifest(name, emotions))
        cache_features(grid / "cache", "tiny", made, **{"layers": (0, 1, 2)} | how)

    cached("half", finished=20)
    cached("lay", layers=(1, 2))
    cached("odd", ("anger", "boredom"))
    cached("unlisted")
    (grid / "manifests" / "unlisted.csv").unlink()
    skipped = [
        "skipped: unlisted is cached for tiny but has no manifest here.",
        "skipped: half is not cached completely for tiny.",
        "skipped: lay has features that were made otherwise than those of two (see ser cache ls).",
        "skipped: odd has not two emotions in common with two.",
    ]
    for sides in (["--train", "all", "--test", "two"], ["--train", "two", "--test", "all"]):
        assert run(["probe", *sides, *QUICK]) == 0
        assert capsys.readouterr().err.splitlines()[:4] == skipped
    assert set(runs_of(grid)) == {"one+three-to-two", "two-to-one", "two-to-three"}


def test_a_filter_that_other_runs_meet_is_no_slip(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--train", "three", "--test", "two", *QUICK]) == 0
    assert run(["probe", "--corpus", "one", *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs", "--test", "one", "--train", "three"]) == 0
    assert "passes all of --train three (1 alone), --test one (1 alone)" in capsys.readouterr().err


def test_the_matrix_says_how_its_corpora_were_divided(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "--train", "one", "--test", "two", *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs", "--matrix"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "columns: tested on"
    assert run(["probe", "--corpus", "one", "--split", "random", *QUICK]) == 0
    assert run(["probe", "--corpus", "two", "--split", "loso", *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs", "--matrix"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.startswith("macro F1 of")]
    assert [title.partition("dasaro2024 but epochs 2, ")[2] for title in titles] == [
        "within a corpus split loso: anger, fear, neutral",
        "within a corpus split random (speaker-dependent): anger, fear, neutral",
    ]
    assert lines[-1] == "columns: tested on; where both are one corpus: within it"
    assert run(["runs", "--matrix", "--split", "loso", "--split", "cross-corpus"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("macro F1 of") for line in lines) == 1
    assert lines[-1] == "columns: tested on; where both are one corpus: within it, split loso"
    assert run(["runs", "--matrix", "--reverse"]) == 1
    assert "has no order to reverse" in last_line(capsys)


def across(folder: Path, trained: str, test: str, **changes: Any) -> Run:
    """A made-up run trained on one corpus and tested on another."""
    split = {"kind": "cross-corpus", "seed": 0, "share": 0.111111, "validation": "speaker"}
    values = {"corpus": f"{trained}-to-{test}", "trained_on": (trained,), "tested_on": test, "split": split}
    return small_run(folder / "runs", **(values | changes))


@pytest.mark.parametrize(
    "other",
    [
        {"seeds": (0, 1, 2)},
        {"protocol": {"name": "ser"}},
        {"head": "nonlinear"},
        {"layers": (1,)},
        {"backbone": "xls-r"},
        {"split": {"kind": "cross-corpus", "seed": 0, "share": 0.111111, "validation": "random"}},
        {"split": {"kind": "cross-corpus", "seed": 7, "share": 0.111111, "validation": "speaker"}},
        {"split": {"kind": "cross-corpus", "seed": 0, "share": 0.25, "validation": "speaker"}},
    ],
    ids=str,
)
def test_runs_of_two_settings_are_never_in_one_matrix(
    empty_folder: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any]
) -> None:
    across(empty_folder, "one", "two", quality=0.2)
    across(empty_folder, "two", "one", quality=0.9, **other)
    assert run(["runs", "--matrix"]) == 0
    shown = capsys.readouterr()
    tables = shown.out.split("macro F1 of ")[1:]
    assert len(tables) == 2
    titles = [table.splitlines()[0] for table in tables]
    assert titles[0] != titles[1], "the title says what differs"
    for table in tables:
        rows = [line for line in table.splitlines()[2:] if line.startswith(("one", "two"))]
        assert len(rows) == 1
    assert "newest of several" not in shown.err


def test_classes_of_one_name_made_of_other_emotions_must_be_chosen_between(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = {name: (name,) for name in ("anger", "fear", "neutral")}
    calm = plain | {"neutral": ("calm", "neutral")}
    across(empty_folder, "one", "two", emotions=plain, quality=0.2)
    across(empty_folder, "one", "two", emotions=calm, quality=0.9)
    assert run(["runs", "--matrix"]) == 1
    line = last_line(capsys)
    assert "--emotions anger,fear,neutral or --emotions anger,fear,neutral=calm+neutral" in line
    for choice in ("anger,fear,neutral", "anger,fear,neutral=calm+neutral"):
        assert run(["runs", "--matrix", "--emotions", choice]) == 0
        assert capsys.readouterr().out.count("macro F1 of") == 1


def test_a_class_that_corpora_make_of_other_emotions_is_said_to_be(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = {name: (name,) for name in ("anger", "fear", "neutral")}
    across(empty_folder, "one", "two", emotions=plain)
    across(empty_folder, "one", "three", emotions=plain | {"neutral": ("calm", "neutral")})
    assert run(["runs", "--matrix"]) == 0
    told = last_line(capsys)
    assert "neutral is not made of the same emotions everywhere" in told
    assert "calm+neutral: one to three; neutral: one to two" in told


def test_runs_within_a_corpus_of_other_settings_are_named_and_in_no_matrix(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    across(empty_folder, "one", "two")
    inside = small_run(empty_folder / "runs", corpus="two", seeds=(0,))
    assert run(["runs", "--matrix"]) == 0
    shown = capsys.readouterr()
    assert f"so in no table: {inside.folder.name}" in shown.err
    assert "where both are one corpus" not in shown.out


def test_one_training_counts_once_among_layer_weights(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = ["--head", "multilayer", "--epochs", "2"]
    assert run(["probe", "--train", "one", "--test", "two", "--test", "three", *heads]) == 0
    capsys.readouterr()
    assert run(["layers"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("mean of one") == 1
    assert "passed over" not in shown.out + shown.err


def test_beside_runs_across_corpora_the_table_says_once_how_others_were_divided(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["probe", "--train", "one", "--test", "two", *QUICK]) == 0
    assert run(["probe", "--corpus", "two", "--split", "loso", *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs"]) == 0
    title, _, headings, *_ = capsys.readouterr().out.splitlines()
    assert "split within a corpus loso" in title
    assert headings.split()[:3] == ["run", "corpus", "UA"]
    assert run(["probe", "--train", "one", "--test", "two", "--split", "random", *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs"]) == 0
    assert "cross-corpus, random validation" in capsys.readouterr().out
