"""Runs and clusterings whose manifest or cached features have changed since are stale, and no others."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from printed import last_line
from small_grid import cache_features, manifest, save_manifest
from small_parts import audio_hash

from ser_cache.cli import run
from ser_cache.manifest import Manifest, Utterance, read_manifest
from ser_cache.results import list_runs, read_run
from ser_cache.staleness import Present, changes_since, stale_now

COMMANDS = {
    "probe": ["probe", "--head", "linear", "--epochs", "1", "--split", "loso"],
    "probe of some emotions": [
        "probe",
        "--head",
        "linear",
        "--epochs",
        "1",
        "--emotions",
        "anger,rest=fear+neutral",
    ],
    "baseline": ["baseline", "--features", "tiny", "--knn", "--split", "folds", "--folds", "3"],
    "probe across": ["probe", "--head", "linear", "--epochs", "1", "--train", "two", "--test", "one"],
}


def edit(folder: Path, change: Callable[[list[Utterance]], list[Utterance]], corpus: str = "one") -> None:
    """Change the rows of a manifest."""
    path = folder / "manifests" / f"{corpus}.csv"
    rows = change(list(read_manifest(path).utterances))
    save_manifest(path.parent, Manifest(corpus, tuple(sorted(rows, key=lambda row: row.id))))


def relabel(rows: list[Utterance]) -> list[Utterance]:
    return [replace(rows[0], emotion="neutral"), *rows[1:]]


def other_audio(rows: list[Utterance]) -> list[Utterance]:
    return [replace(rows[0], sha256=audio_hash("another")), *rows[1:]]


def other_speaker(rows: list[Utterance]) -> list[Utterance]:
    return [replace(rows[0], speaker="s5"), *rows[1:]]


def one_less(rows: list[Utterance]) -> list[Utterance]:
    return rows[1:]


def one_more(rows: list[Utterance]) -> list[Utterance]:
    return [*rows, replace(rows[0], id="zz-new", path="zz-new.wav", sha256=audio_hash("zz-new"))]


CHANGES = {
    relabel: "manifest",
    other_audio: "manifest",
    other_speaker: "manifest",
    one_less: "clips",
    one_more: "clips",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora, cached, with a run of each command and a clustering."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("one", "two"):
        made = save_manifest(folder / "manifests", manifest(name))
        cache_features(folder / "cache", "tiny", made, layers=(0, 1, 2))
    places = [word for name in ("manifests", "cache", "runs") for word in (f"--{name}", str(folder / name))]
    for words in COMMANDS.values():
        sides = [] if "--train" in words else ["--corpus", "one"]
        assert run([*words, *sides, *places]) == 0
    assert run(["cluster", "--features", "tiny", "--corpus", "one", *places]) == 0
    return folder


@pytest.fixture
def here(trained: Path, empty_folder: Path) -> Path:
    """A copy of it all in which to change things; the current folder."""
    for name in ("manifests", "cache", "runs"):
        shutil.copytree(trained / name, empty_folder / name)
    return empty_folder


def reasons(folder: Path) -> dict[str, tuple[str, ...]]:
    """Of each run the reasons for which it is stale, by its command."""
    runs = [read_run(path) for path in list_runs(folder / "runs")]
    stale = stale_now(runs, Present(folder / "manifests", folder / "cache"))
    return {name_of(one.config): stale.get(one.folder, ()) for one in runs}


def name_of(config) -> str:
    if config.tested_on:
        return "probe across"
    if config.head == "knn":
        return "baseline"
    return "probe of some emotions" if config.emotions else "probe"


def test_what_has_not_changed_is_not_stale(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reasons(here) == dict.fromkeys(COMMANDS, ())
    assert run(["runs"]) == 0
    shown = capsys.readouterr()
    assert "stale" not in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    ("change", "reason"), CHANGES.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_a_changed_manifest_makes_every_kind_of_run_stale(here: Path, change, reason: str) -> None:
    edit(here, change)
    assert reasons(here) == dict.fromkeys(COMMANDS, (reason,))


def test_a_changed_training_corpus_makes_a_run_across_corpora_stale_and_no_other(here: Path) -> None:
    edit(here, relabel, "two")
    assert reasons(here) == dict.fromkeys(COMMANDS, ()) | {"probe across": ("manifest",)}


def test_what_training_does_not_take_makes_nothing_stale(here: Path) -> None:
    edit(here, lambda rows: [replace(row, gender="female", sentence="a") for row in rows][::-1])
    assert reasons(here) == dict.fromkeys(COMMANDS, ())


def test_features_made_otherwise_make_runs_stale(here: Path) -> None:
    shutil.rmtree(here / "cache" / "tiny" / "one")
    cache_features(here / "cache", "tiny", manifest("one"), layers=(0, 1, 2), codec="fp32")
    assert reasons(here) == dict.fromkeys(COMMANDS, ("features",))


@pytest.mark.parametrize("gone", ["manifests", "cache", "both"])
def test_what_is_not_here_makes_nothing_stale(here: Path, gone: str) -> None:
    for name in ("manifests", "cache") if gone == "both" else (gone,):
        shutil.rmtree(here / name)
    assert reasons(here) == dict.fromkeys(COMMANDS, ())
    if gone == "cache":  # labels are compared without it
        edit(here, relabel)
        assert set(reasons(here).values()) == {("manifest",)}


def test_a_damaged_manifest_or_cache_stops_no_listing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "manifests" / "one.csv").write_text("id\n")
    (here / "cache" / "tiny" / "one" / "part-0000.h5").write_bytes(b"nothing")
    assert reasons(here) == dict.fromkeys(COMMANDS, ("unknown",))
    assert run(["runs"]) == 3
    cache_line, manifest_line = sorted(capsys.readouterr().err.splitlines(), reverse=True)
    unknown = "unknown whether results on one"
    assert manifest_line.startswith(f"{unknown} are stale: manifests/one.csv has no column")
    assert cache_line.startswith(f"{unknown}, tiny are stale: cache/tiny/one/part-0000.h5 is damaged")


@pytest.mark.parametrize("content", [b"id,path\n", b"\xff\xfe\n", b""], ids=["header", "bytes", "empty"])
def test_runs_that_rest_on_an_unreadable_manifest_are_marked_unknown_and_the_others_as_ever(
    here: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (here / "manifests" / "two.csv").write_bytes(content)
    edit(here, relabel)
    expected = dict.fromkeys(COMMANDS, ("manifest",)) | {"probe across": ("unknown",)}
    assert reasons(here) == expected
    assert run(["runs"]) == 3
    shown = capsys.readouterr()
    (row,) = [line for line in shown.out.splitlines() if "two-to-one" in line]
    assert " unknown " in row
    assert "unknown: its manifest or its cached features are here and cannot be read" in shown.out
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("note: 1 clustering")]
    assert line.startswith("unknown whether results on two are stale: manifests/two.csv")
    assert run(["runs", "--format", "json", "--no-stale"]) == 3
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["stale"], record["stale_because"]) == (None, ["unknown"])
    assert run(["runs", "--format", "csv", "--stale"]) == 3
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["corpus"] for row in rows] == ["one"] * (len(COMMANDS) - 1)
    assert run(["runs", "--matrix"]) == 3
    assert "unknown whether results on two are stale" in last_line(capsys)
    assert run(["runs", record["run"]]) == 3
    shown = capsys.readouterr()
    assert "STALE" not in shown.out
    assert "unknown whether results on two are stale" in shown.err
    assert run(["runs", rows[0]["run"]]) == 0


def test_what_a_run_does_not_rest_on_may_be_unreadable(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "manifests" / "three.csv").touch()
    (here / "manifests" / "one (1).csv").touch()
    edit(here, relabel, "two")
    assert reasons(here) == dict.fromkeys(COMMANDS, ()) | {"probe across": ("manifest",)}
    assert run(["runs"]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_known_to_be_stale_is_so_whatever_cannot_be_read(here: Path) -> None:
    (here / "manifests" / "one.csv").write_bytes(b"")
    shutil.rmtree(here / "cache" / "tiny" / "one")
    cache_features(here / "cache", "tiny", manifest("one"), layers=(0, 1, 2), codec="fp32")
    assert reasons(here) == dict.fromkeys(COMMANDS, ("features",))


def test_a_clip_that_extraction_failed_on_is_missed_by_no_run(empty_folder: Path) -> None:
    made = save_manifest(empty_folder / "manifests", manifest("one"))
    cache_features(empty_folder / "cache", "tiny", made, layers=(0, 1, 2), failing=1)
    assert run(COMMANDS["probe"]) == 0
    assert reasons(empty_folder) == {"probe": ()}
    shutil.rmtree(empty_folder / "cache")
    assert reasons(empty_folder) == {"probe": ()}
    cache_features(empty_folder / "cache", "tiny", made, layers=(0, 1, 2))
    assert reasons(empty_folder) == {"probe": ("clips",)}, "it would be trained on now"


def test_an_incomplete_cache_is_no_change(here: Path) -> None:
    shutil.rmtree(here / "cache" / "tiny" / "one")
    cache_features(here / "cache", "tiny", manifest("one"), layers=(0, 1, 2), finished=20)
    assert reasons(here) == dict.fromkeys(COMMANDS, ())


def test_a_changed_fold_column_makes_a_run_that_follows_it_stale(empty_folder: Path) -> None:
    save_manifest(empty_folder / "manifests", manifest("one"))
    cache_features(empty_folder / "cache", "tiny", manifest("one"), layers=(0, 1, 2))
    edit(empty_folder, lambda rows: [replace(row, fold=str(int(row.speaker[1:]) // 2)) for row in rows])
    assert run(["probe", "--head", "linear", "--epochs", "1", "--split", "column"]) == 0
    assert reasons(empty_folder) == {"probe": ()}
    edit(empty_folder, lambda rows: [replace(row, fold=str(int(row.speaker[1:]) % 3)) for row in rows])
    assert reasons(empty_folder) == {"probe": ("split",)}
    edit(empty_folder, lambda rows: [replace(row, fold="") for row in rows])
    assert reasons(empty_folder) == {"probe": ("split",)}


# What the commands say


def test_ser_runs_marks_filters_and_explains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(here, relabel, "two")
    assert run(["runs"]) == 0
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if "two-to-one" in line]
    assert " manifest " in f"{row} "
    assert "stale: manifest: since the run, labels, speakers or audio" in out
    assert run(["runs", "--stale", "--format", "json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["stale"], record["stale_because"]) == (True, ["manifest"])
    assert run(["runs", "--no-stale", "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == len(COMMANDS) - 1
    assert run(["runs", record["run"]]) == 0
    assert "STALE: labels, speakers or audio" in capsys.readouterr().out
    assert run(["runs", record["run"], "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["stale_because"] == ["manifest"]


def test_a_repeated_run_is_not_stale_and_the_one_before_is_replaced_and_changed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(here, relabel)
    assert run([*COMMANDS["probe"], "--corpus", "one"]) == 0
    capsys.readouterr()
    assert run(["runs", "--head", "linear", "--split", "loso", "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert sorted(values["stale_because"] for values in records) == [[], ["replaced", "manifest"]]


def test_stale_clusterings_are_named_by_ser_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stored,) = (here / "runs" / "clusterings").iterdir()
    for change, reason in CHANGES.items():
        before = (here / "manifests" / "one.csv").read_bytes()
        edit(here, change)
        assert run(["runs"]) == 0
        assert f"1 clustering has other labels or features now: {stored.name} ({reason})" in last_line(capsys)
        (here / "manifests" / "one.csv").write_bytes(before)
    assert run(["runs"]) == 0
    assert capsys.readouterr().err == ""
    shutil.rmtree(here / "cache" / "tiny" / "one")
    cache_features(here / "cache", "tiny", manifest("one"), layers=(0, 1, 2), codec="fp32")
    assert run(["runs"]) == 0
    assert f"{stored.name} (features)" in last_line(capsys)


def test_a_clustering_that_rests_on_what_cannot_be_read_is_marked_unknown(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = here / "cache" / "tiny" / "one" / "part-0000.h5"
    for path, of in ((here / "manifests" / "one.csv", "one"), (part, "one, tiny")):
        before = path.read_bytes()
        path.write_bytes(b"\xff\n" * 3000)
        assert run(["cluster", "--list", "--format", "json"]) == 3
        shown = capsys.readouterr()
        (row,) = json.loads(shown.out)
        assert (row["stale"], row["stale_because"]) == (None, ["unknown"])
        assert shown.err.startswith(f"unknown whether results on {of} are stale: {path.relative_to(here)}")
        assert run(["cluster", "--list"]) == 3
        assert "stale: unknown: its manifest or its cached features" in capsys.readouterr().out
        assert run(["runs"]) == 3
        assert "clustering has" not in capsys.readouterr().err
        path.write_bytes(before)
    assert run(["cluster", "--list"]) == 0


def test_a_clustering_of_emotions_taken_together_is_not_stale_for_that(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(here / "runs")
    assert (
        run(["cluster", "--features", "tiny", "--corpus", "one", "--emotions", "anger,rest=fear+neutral"])
        == 0
    )
    assert run(["cluster", "--features", "tiny", "--corpus", "one", "--emotions", "anger,fear"]) == 0
    capsys.readouterr()
    assert run(["runs"]) == 0
    assert "clustering" not in capsys.readouterr().err
    edit(
        here,
        lambda rows: (
            [replace(row, emotion="fear") if row.emotion == "anger" else row for row in rows[:3]] + rows[3:]
        ),
    )
    assert run(["runs"]) == 0
    assert "2 clusterings have other labels" in capsys.readouterr().err


def test_one_run_alone_can_be_asked(here: Path) -> None:
    edit(here, one_less)
    for path in list_runs(here / "runs"):
        assert changes_since(read_run(path), Present(here / "manifests", here / "cache")) == ("clips",)
