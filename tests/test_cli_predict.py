"""``ser predict`` as a user sees it."""

from __future__ import annotations

import csv
import io
import json
import shutil

import click
import numpy as np
import pytest
import soundfile
from printed import last_line
from small_corpora import PATTERN
from trained_runs import open_workshop

from ser_cache import prediction
from ser_cache.cli import run
from ser_cache.prediction import PredictionOptions, predict
from ser_cache.results import list_runs, read_predictions, read_run


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    shop = open_workshop(tmp_path_factory.mktemp("workshop"))
    shop.extract("--model", "mfcc")
    shop.probe("--head", "linear")
    return shop


@pytest.fixture
def command(workshop, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = workshop.run_of("mfcc", "linear").folder.name
    places = ["--runs", str(workshop.runs), "--cache", str(workshop.cache)]
    return lambda *arguments: run(["predict", name[:-4], *map(str, arguments), *places])


def test_the_table_says_whose_opinion_it_is(workshop, command, capsys):
    assert command(workshop.clip("s1_anger_1"), workshop.clip("s2_sadness_1")) == 0
    out = capsys.readouterr().out
    trained = workshop.run_of("mfcc", "linear")
    score = trained.metrics["pooled"]["mean"]["macro_f1"]
    for text in (trained.folder.name, "6 models", "tones", "anger, neutral, sadness", f"{100 * score:.1f}"):
        assert text in out
    rows = [line.split() for line in out.splitlines() if ".wav" in line]
    report = predict(trained, [workshop.clip("s1_anger_1")], PredictionOptions(device="cpu"))
    (expected,) = report.predictions
    assert len(rows) == 2
    assert rows[0][1:] == [
        expected.emotion,
        *(f"{100 * value:.1f}" for value in expected.scores),
        f"{100 * expected.agreement:.0f}",
    ]


def test_folders_and_formats(workshop, command, capsys, tmp_path):
    assert command(workshop.audio, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["predictions"]) == 36
    assert told["failed"] == {}
    assert told["models"] == 6
    assert sum(told["predictions"][0]["scores"].values()) == pytest.approx(1)
    assert command(workshop.audio, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [one["file"] for one in told["predictions"]]
    for row, one in zip(rows, told["predictions"], strict=True):
        assert row["emotion"] == one["emotion"] == max(one["scores"], key=one["scores"].get)
        assert float(row["score:anger"]) == pytest.approx(one["scores"]["anger"], rel=1e-4)
    assert command(workshop.audio, "--output", tmp_path / "out.csv") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "36 predictions written" in captured.err
    assert list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))) == rows


def test_files_that_cannot_be_read_are_listed_with_status_3(workshop, command, capsys, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    assert command(tmp_path / "text.wav", workshop.clip("s1_anger_1"), tmp_path / "absent.wav") == 3
    captured = capsys.readouterr()
    assert sum(".wav" in line for line in captured.out.splitlines()) == 1
    failed = [line for line in captured.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert "text.wav" in failed[0]


def test_clips_without_speech_are_predicted_and_marked(workshop, command, capsys, tmp_path):
    soundfile.write(tmp_path / "click.wav", np.zeros(1500), 16_000)
    soundfile.write(tmp_path / "quiet.wav", np.zeros(32_000), 16_000)
    files = [tmp_path / "click.wav", workshop.clip("s1_anger_1"), tmp_path / "quiet.wav"]
    assert command(*files) == 0
    captured = capsys.readouterr()
    rows = [line for line in captured.out.splitlines() if ".wav" in line]
    assert [row.endswith(note) for row, note in zip(rows, ("only 93 ms", "", "silent"), strict=True)]
    assert "click.wav (only 93 ms)" in captured.err
    assert command(*files, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["note"] for row in rows] == ["only 93 ms", "", "silent"]
    assert command(*files, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)["predictions"]
    assert [one["note"] for one in told] == ["only 93 ms", "", "silent"]
    assert command(files[1]) == 0
    captured = capsys.readouterr()
    assert " note" not in captured.out
    assert "note" not in captured.err


def test_where_no_file_could_be_used_there_is_no_empty_table(command, capsys, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    assert command(tmp_path / "text.wav") == 3
    captured = capsys.readouterr()
    assert "Predictions" not in captured.out
    assert "failed: " in captured.err


def test_one_model_alone_needs_no_agreement(workshop, command, capsys):
    fold = workshop.run_of("mfcc", "linear").metrics["folds"][0]
    assert command(workshop.clip("s1_anger_1"), "--fold", fold, "--seed", "1") == 0
    out = capsys.readouterr().out
    assert "1 model of the linear head" in out
    assert "agree" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fold", "nine"], "unknown fold 'nine'"),
        (["--seed", "9"], "unknown seed '9'"),
        (["--model", "nowhere"], "nowhere"),
        (["--output", "out.txt"], "--format"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_gets_one_line(workshop, command, capsys, arguments, says):
    if arguments[0] == "--device":
        arguments = [*arguments, "--model", str(workshop.wav2vec2)]
    assert command(workshop.clip("s1_anger_1"), *arguments) == 1
    line = last_line(capsys)
    assert line.startswith("error: ")
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{absent}"], "absent.wav not found"),
        (["{clip}", "--fold", "nine"], "unknown fold 'nine'"),
        (["{clip}", "--seed", "9"], "unknown seed '9'"),
    ],
)
def test_what_needs_no_backbone_is_refused_before_it_is_loaded(
    workshop, command, capsys, tmp_path, monkeypatch, arguments, says
):
    def never(*_):
        pytest.fail("the backbone was loaded")

    monkeypatch.setattr(prediction, "load_matching_extractor", never)
    places = {"absent": tmp_path / "absent.wav", "clip": workshop.clip("s1_anger_1")}
    assert command(*(word.format(**places) for word in arguments)) == 1
    line = last_line(capsys)
    assert says in line
    assert "manifest" not in line


def test_an_unknown_run_and_an_empty_folder_get_one_line(workshop, command, capsys, tmp_path):
    assert run(["predict", "tonse", "x.wav", "--runs", str(workshop.runs)]) == 1
    assert "there is no run 'tonse'" in last_line(capsys)
    assert command(tmp_path) == 1
    assert "holds no audio" in last_line(capsys)


def test_an_empty_folder_beside_a_good_file_is_named_and_stops_nothing(workshop, command, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no audio")
    folders = [tmp_path / "empty", tmp_path / "text"]
    assert command(folders[0], workshop.clip("s1_anger_1"), folders[1]) == 3
    shown = capsys.readouterr()
    assert "s1_anger_1.wav" in shown.out
    failed = [line for line in shown.err.splitlines() if line.startswith("failed: ")]
    assert [
        f"failed: {folder} holds no audio" == line.partition(" (")[0]
        for folder, line in zip(folders, failed, strict=True)
    ] == [True, True]
    assert command(folders[0], workshop.clip("s1_anger_1"), "--format", "json") == 3
    told = json.loads(capsys.readouterr().out)
    assert list(told["failed"]) == [str(folders[0])]
    assert len(told["predictions"]) == 1
    assert command(*folders, tmp_path / "absent.wav") == 1
    assert "there is nothing to predict" in last_line(capsys)


@pytest.fixture
def terminal(monkeypatch):
    def of(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    return of


def shown_rows(out):
    """The rows of the table, folded cells put together again."""
    lines = click.unstyle(out).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("file "))
    return lines[start + 1 : lines.index("", start)]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_file_names_can_be_read_and_told_apart_in_any_terminal(
    workshop, command, capsys, tmp_path, terminal, width
):
    folder = tmp_path / "recordings of the first week"
    names = ["speaker_one_very_angry_take_1.wav", "speaker_one_very_angry_take_2.wav", "two/clip.wav"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(workshop.clip("s1_anger_1"), folder / name)
    terminal(width)
    assert command(folder) == 0
    out = capsys.readouterr().out
    assert f"files in {folder}:" in out
    rows = shown_rows(out)
    text = "".join(line.split()[0] for line in rows)
    assert text == "".join(names)
    assert max(map(len, rows)) <= width
    if width >= 100:
        assert len(rows) == 3


def test_where_every_class_has_no_room_the_likeliest_and_the_next_are_shown(
    workshop, command, capsys, terminal
):
    clip = workshop.clip("s1_anger_1")
    assert command(clip, "--format", "json") == 0
    (told,) = json.loads(capsys.readouterr().out)["predictions"]
    first, second = sorted(told["scores"].items(), key=lambda pair: -pair[1])[:2]
    terminal(50)
    assert command(clip) == 0
    out = click.unstyle(capsys.readouterr().out)
    assert "the likeliest class and the next" in out
    assert "--format csv" in " ".join(out.split())
    words = " ".join(shown_rows(out)).split()
    expected = [first[0], f"{100 * first[1]:.1f}", second[0], f"{100 * second[1]:.1f}"]
    assert words[-5:-1] == expected


def test_files_without_a_common_folder_keep_their_paths(workshop, command, capsys, tmp_path, terminal):
    shutil.copy(workshop.clip("s1_anger_1"), tmp_path / "here.wav")
    terminal(80)
    assert command("here.wav", workshop.clip("s2_sadness_1")) == 0
    out = capsys.readouterr().out
    assert "files in" not in out
    assert "here.wav" in out


def test_a_name_that_no_file_can_have_is_one_failure_among_others(command, capsys, tmp_path):
    soundfile.write(tmp_path / "fine.wav", np.random.default_rng(0).normal(size=16_000) * 0.1, 16_000)
    assert command(str(tmp_path / "fine.wav"), "x" * 300 + ".wav") == 3
    told = capsys.readouterr()
    assert "fine.wav" in told.out
    assert "x" * 20 in told.err


def test_a_run_across_corpora_predicts_as_it_was_tested(workshop, capsys, tmp_path):
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    for clip in workshop.audio.iterdir():
        samples, rate = soundfile.read(clip)
        soundfile.write(quiet / clip.name, samples[::-1] / 2, rate)
    places = ["--manifests", str(tmp_path / "manifests")]
    for name, root in (("tones", workshop.audio), ("quiet", quiet)):
        assert run(["manifest", name, str(root), "--pattern", PATTERN, *places]) == 0
    places += ["--cache", str(workshop.cache)]
    assert run(["extract", "--model", "mfcc", "--corpus", "quiet", *places]) == 0
    runs = ["--runs", str(tmp_path / "runs")]
    sides = ["--train", "tones", "--test", "quiet"]
    assert run(["probe", *sides, "--head", "linear", "--epochs", "3", *places, *runs]) == 0
    capsys.readouterr()
    words = ["predict", "tones-to-quiet", str(quiet / "s2_sadness_1.wav"), "--format", "json"]
    assert run([*words, "--cache", str(tmp_path / "none"), *runs]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trained_on"], told["tested_on"]) == (["tones"], "quiet")
    (folder,) = list_runs(tmp_path / "runs")
    tested = {row["id"]: row for row in read_predictions(read_run(folder))}["s2_sadness_1"]
    (said,) = told["predictions"]
    for emotion, score in said["scores"].items():
        assert score == pytest.approx(float(tested[f"score:{emotion}"]), rel=1e-3)
    assert run([*words[:3], "--cache", str(tmp_path / "none"), *runs]) == 0
    shown = capsys.readouterr().out
    assert "trained on tones for anger, neutral, sadness\nmacro F1 on quiet: " in shown
