"""``ser runs`` as a user sees it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from printed import last_line
from small_runs import CLASSES, as_earlier_version, small_run

from ser_cache.cli import run
from ser_cache.results import HEADLINE, RunData, read_run
from ser_cache.results.query import record


@pytest.fixture
def runs(empty_folder):
    folder = empty_folder / "runs"
    small_run(folder, quality=0.2)
    small_run(folder, quality=0.9, head="multilayer")
    small_run(folder, quality=0.35, corpus="rav_dess|&", backbone="whisper-base+full")
    return folder


def rows_of(out):
    """The rows of a table on the screen, without title and heading."""
    lines = out.splitlines()
    return lines[3 : lines.index("", 3)]


def test_the_table_has_one_row_a_run_and_says_once_what_all_share(runs, capsys):
    assert run(["runs"]) == 0
    out = capsys.readouterr().out
    assert "split loso, protocol dasaro2024, 2 seeds, 3 folds" in out.splitlines()[0]
    assert len(rows_of(out)) == 3
    for path in runs.iterdir():
        assert path.name.rpartition("-")[2][:6] in out
    assert out.count("dasaro2024") == 1
    for heading in ("UA", "WA", "macro F1", "w. F1", "95% CI"):
        assert heading in out.splitlines()[2]


def test_what_differs_has_a_column(runs, capsys):
    small_run(runs, seeds=(0,), speakers=2, split={"kind": "folds", "folds": 2, "seed": 0}, layers=(1,))
    assert run(["runs"]) == 0
    out = capsys.readouterr().out
    heading = out.splitlines()[2].split()
    assert {"layers", "split", "seeds", "folds"} <= set(heading)
    (row,) = [line for line in rows_of(out) if "2 folds" in line]
    assert "2 speakers" in row  # where the interval would be
    assert "±" not in row


def test_filters_and_sorting(runs, capsys):
    assert run(["runs", "--corpus", "emovo", "--sort", "macro F1"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert ["multilayer" in row for row in rows] == [True, False]
    assert run(["runs", "--sort", "ua", "--reverse"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"UA +95% CI +WA", out), "the interval is that of the score sorted by"
    assert "multilayer" in rows_of(out)[-1]
    assert run(["runs", "--head", "linear", "--model", "whisper-base+full", "--layer", "2"]) == 0
    out = capsys.readouterr().out
    assert len(rows_of(out)) == 1
    assert "layers" in out, "or it would read as a run on the usual layer"
    assert run(["runs", "--head", "linear", "--model", "whisper-base+full"]) == 0
    assert "layers" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--corpus", "emov"], "emovo"),
        (["--sort", "beauty"], "unknown column 'beauty'"),
        (["--model", "gpt"], "whisper-base"),
        (["emovo"], "the beginning of 2 runs"),
        (["emovo-whisper-base-linear", "--sort", "ua"], "RUN names one run"),
        (["emovo-whisper-base-linear", "--format", "latex"], "table or json"),
        (["--output", "runs.doc"], "--format"),
        (["--output", "runs.txt", "--format", "table"], "screen"),
    ],
)
def test_bad_input_gets_one_line(runs, arguments, says, capsys):
    assert run(["runs", *arguments]) == 1
    line = last_line(capsys)
    assert line.startswith("error: ")
    assert says in line


@pytest.mark.parametrize("with_folder", [False, True])
def test_without_runs_the_next_step_is_said(empty_folder, with_folder, capsys):
    if with_folder:
        (empty_folder / "runs").mkdir()
    assert run(["runs"]) == 0
    assert "ser probe" in capsys.readouterr().err
    for arguments in ([], ["--corpus", "emovo", "--sort", "ua"]):
        assert run(["runs", "--format", "json", *arguments]) == 0
        assert json.loads(capsys.readouterr().out) == []


def test_where_no_run_can_be_read_programs_get_an_empty_list(runs, capsys):
    for path in runs.iterdir():
        (path / "config.json").unlink()
    assert run(["runs", "--format", "json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert len(captured.err.splitlines()) == 3


@pytest.fixture
def relabelled(runs):
    """The first of the runs once more, on other labels, a day later than all."""
    environment = {"written": "2100-01-01T00:00:00+00:00"}
    return small_run(runs, quality=0.2, data=RunData("f" * 64, "0" * 64, "d" * 64), environment=environment)


def test_a_run_whose_choices_have_a_newer_one_on_other_data_is_marked_as_stale(runs, relabelled, capsys):
    assert run(["runs"]) == 0
    out = capsys.readouterr().out
    (row,) = [row for row in rows_of(out) if " replaced " in row]
    assert relabelled.folder.name.rpartition("-")[2][:6] not in row
    assert "stale: replaced: a newer run of the same choices is on other data" in out
    for shape in ("markdown", "latex"):
        assert run(["runs", "--format", shape]) == 0
        assert "Stale: replaced: a newer run" in capsys.readouterr().out
    assert run(["runs", "--format", "json", "--sort", "stale"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [values["stale"] for values in records] == [False, False, False, True]
    assert [values["stale_because"] for values in records] == [[], [], [], ["replaced"]]
    assert run(["runs", "--format", "csv", "--stale"]) == 0
    (only,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (only["stale"], only["run"]) == ("True", records[-1]["run"])


def test_stale_runs_are_listed_alone_or_left_out(runs, relabelled, capsys):
    assert run(["runs", "--no-stale"]) == 0
    out = capsys.readouterr().out
    assert len(rows_of(out)) == 3
    assert "stale" not in out
    assert run(["runs", "--stale"]) == 0
    out = capsys.readouterr().out
    assert len(rows_of(out)) == 1
    assert "stale: replaced: a newer run" in out
    (older,) = [path.name for path in runs.glob("emovo-whisper-base-linear*") if path != relabelled.folder]
    assert run(["runs", older]) == 0
    assert "STALE: a newer run of the same choices" in capsys.readouterr().out
    assert run(["runs", relabelled.folder.name]) == 0
    assert "STALE" not in capsys.readouterr().out
    assert run(["runs", relabelled.folder.name, "--stale"]) == 1
    assert "RUN names one run" in last_line(capsys)


def test_without_stale_runs_nothing_speaks_of_them(runs, capsys):
    assert run(["runs"]) == 0
    assert "stale" not in capsys.readouterr().out


def test_filters_that_together_leave_nothing_say_so(runs, capsys):
    assert run(["runs", "--head", "multilayer", "--model", "whisper-base+full"]) == 0
    assert capsys.readouterr().err == (
        "None of the 3 runs in runs passes all of --model whisper-base+full (1 alone), --head multilayer "
        "(1 alone).\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--layer", "9", "--layer", "10"], "--layer 9 --layer 10"),
        (["--stale"], "--stale"),
        (["--stale", "--split", "loso"], "all of --split loso (3 alone), --stale (0 alone)"),
    ],
)
@pytest.mark.parametrize("shape", [[], ["--matrix"], ["--format", "markdown"]])
def test_a_filter_that_leaves_nothing_is_named(runs, arguments, says, shape, capsys):
    assert run(["runs", *arguments, *shape]) == 0
    assert capsys.readouterr() == ("", f"None of the 3 runs in runs passes {says}.\n")


def test_where_every_run_is_damaged_that_is_said_and_not_that_there_is_none(runs, capsys):
    for path in runs.iterdir():
        (path / "config.json").unlink()
    assert run(["runs"]) == 3
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "No run in runs can be read; see below."
    assert len(others) == 3


def test_damaged_and_newer_runs_are_named_at_the_end_with_status_3(runs, capsys):
    first, second, _ = sorted(runs.iterdir())
    (first / "metrics.json").write_text("{")
    config = json.loads((second / "config.json").read_text())
    (second / "config.json").write_text(json.dumps(config | {"schema": 7}))
    assert run(["runs"]) == 3
    captured = capsys.readouterr()
    assert len(rows_of(captured.out)) == 1
    assert len(captured.err.splitlines()) == 2
    assert "newer version (schema 7" in captured.err
    assert "Traceback" not in captured.err
    assert run(["runs", "--format", "csv"]) == 3
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 1


def test_metrics_that_lack_a_score_are_named_for_one_run_and_for_all(runs, capsys):
    (path,) = runs.glob("emovo-whisper-base-multi*")
    as_earlier_version(read_run(path))
    metrics = json.loads((path / "metrics.json").read_text())
    del metrics["pooled"]["mean"]["ua"]
    (path / "metrics.json").write_text(json.dumps(metrics))
    for arguments, status in ((["runs", path.name], 1), (["runs"], 3)):
        assert run(arguments) == status
        assert f"{path.name} is damaged (metrics.json is not complete)" in last_line(capsys)


def test_runs_are_filtered_by_split_and_by_emotions(runs, capsys, empty_folder):
    five = small_run(runs, split={"kind": "folds", "folds": 5, "seed": 0})
    merged = {"anger": ("anger",), "fear": ("fear", "surprise"), "neutral": ("neutral",)}
    together = small_run(runs, emotions=merged)
    for words in (["--split", "folds"], ["--split", "5 folds"], ["--split", "folds", "--head", "linear"]):
        assert run(["runs", *words, "--format", "json"]) == 0
        assert [values["run"] for values in json.loads(capsys.readouterr().out)] == [five.folder.name]
    (empty_folder / "classes.toml").write_text(
        '[emotions]\nanger = "anger"\nfear = "fear"\nsurprise = "fear"\nneutral = "neutral"\n'
    )
    for words in ("anger,fear=fear+surprise,neutral", "classes.toml"):
        assert run(["runs", "--corpus", "emovo", "--emotions", words, "--format", "json"]) == 0
        assert [values["run"] for values in json.loads(capsys.readouterr().out)] == [together.folder.name]
    for words, says in (
        (["--split", "lose"], "unknown split 'lose'. Did you mean 'loso'?"),
        (["--emotions", "anger,fear"], "unknown choice of emotions 'anger,fear'"),
        (["--emotions", "anger"], "a classifier needs two or more"),
    ):
        assert run(["runs", *words]) == 1
        assert says in last_line(capsys)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_in_a_terminal_names_fold_between_words_and_the_digits_lead_to_the_whole(
    runs, width, monkeypatch, capsys
):
    long = small_run(
        runs, backbone="whisper-tiny.en-encoder+full+avg4", protocol={"name": "ser but epochs 2"}
    )
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["runs"]) == 0
    out = click.unstyle(capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= width
    for word in ("tiny.en-", "encoder", "multilayer", "macro"):
        assert word in out
    digits = long.folder.name.rpartition("-")[2][:6]
    assert digits in out
    assert run(["runs", digits]) == 0
    assert long.folder.name in capsys.readouterr().out


def test_one_run_fits_80_columns_but_for_paths(runs, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["runs", "emovo-whisper-base-multi"]) == 0
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(len(line) for line in lines if not line.startswith("predictions ")) <= 80


def test_a_confusion_too_wide_for_the_terminal_shows_percent_alone(runs, monkeypatch, capsys):
    assert run(["runs", "emovo-whisper-base-multi"]) == 0
    piped = capsys.readouterr().out
    assert "taken for (count)" in piped
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["runs", "emovo-whisper-base-multi"]) == 0
    out = click.unstyle(capsys.readouterr().out)
    assert "counts: --format json" in " ".join(out.split())
    (row,) = [line for line in out.splitlines() if line.startswith("anger") and len(line.split()) == 4]
    assert "(" not in row


# For programs and for papers


def test_csv_and_json_hold_the_same_and_everything(runs, capsys):
    assert run(["runs", "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records == [record(read_run(Path("runs", values["run"]))) for values in records]
    assert run(["runs", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["run"] for row in rows] == [values["run"] for values in records]
    for row, values in zip(rows, records, strict=True):
        assert float(row["macro_f1_high"]) == values["macro_f1_high"]
        assert row["layers"] == " ".join(map(str, values["layers"]))
        assert row["environment.torch"] == "2.4"
        assert set(row) == {name for each in records for name in each}


def test_markdown_has_equal_cells_in_every_row_and_escapes_names(runs, capsys):
    assert run(["runs", "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line) for line in table]
    assert len(table) == 2 + 3
    assert len({len(row) for row in cells}) == 1
    assert any(r"rav\_dess\|&" in line for line in table)
    assert "95% confidence interval of macro F1" in lines[-1]


def test_latex_is_balanced_escaped_and_in_booktabs(runs, capsys):
    assert run(["runs", "--format", "latex", "--sort", "wa"]) == 0
    text = capsys.readouterr().out
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.count("{") == text.count("}")
    assert r"rav\_dess|\&" in text
    assert "confidence interval of WA" in text
    assert "±" not in text
    columns = re.search(r"begin{tabular}{([lr]+)}", text).group(1)
    body = [line.split(r" \\")[0] for line in text.splitlines() if r"\\ %" in line]
    assert len(body) == 3
    for row in body:
        assert len(re.split(r"(?<!\\)&", row)) == len(columns)
    for path in runs.iterdir():
        assert f"% {path.name}" in text


@pytest.mark.parametrize(
    ("name", "begins"), [("r.csv", "run,"), ("r.json", "["), ("r.md", "| run"), ("r.tex", "% needs")]
)
def test_the_name_of_the_file_chooses_the_format(runs, empty_folder, name, begins, capsys):
    assert run(["runs", "--output", name]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"3 runs written to {name}" in captured.err
    assert (empty_folder / name).read_text().startswith(begins)


# One run


def test_one_run_is_shown_with_everything_that_a_reader_asks(runs, capsys):
    assert run(["runs", "emovo-whisper-base-multi"]) == 0
    out = capsys.readouterr().out
    for text in (
        "whisper-base, layers 1-2",
        "betas 0.9 0.98",
        "Scores over 3 folds and 2 seeds",
        "mean of folds",
        "jackknife over test speakers",
        "Per emotion",
        "Confusion",
        "Per fold",
        "Layer weights",
        "best epochs 2 to 3",
        "12.5 s on cpu x86_64",
        "predictions.csv",
    ):
        assert text in out
    assert "75.0" in out  # the share of layer 2
    (path,) = runs.glob("emovo-whisper-base-multi*")
    metrics = read_run(path).metrics
    for name in HEADLINE:
        assert f"{100 * metrics['pooled']['mean'][name]:.1f}±" in out
    over = [f"{100 * metrics['mean_of_folds']['std_over_folds'][name]:.1f}" for name in HEADLINE]
    assert ["±", *over] in [line.split() for line in out.splitlines()]
    anger = metrics["confusion"][0]
    assert f"{100 * anger[0] / sum(anger):.0f} ({anger[0]})" in out
    assert all(name in out for name in CLASSES)


def test_a_run_of_one_fold_and_two_speakers_says_why_there_is_no_interval(empty_folder, capsys):
    small_run(empty_folder / "runs", speakers=1, seeds=(0,))
    assert run(["runs", "emovo"]) == 0
    out = capsys.readouterr().out
    assert "no confidence interval: only 1 test speaker" in out
    assert "Per fold" not in out
    assert "Layer weights" not in out
    assert "±" not in out.split("percent;")[0]


def test_one_run_as_json_is_its_configuration_and_all_of_its_metrics(runs, capsys):
    (path,) = runs.glob("emovo-whisper-base-multi*")
    assert run(["runs", str(path), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = read_run(path)
    assert told["config"] == found.config.to_json()
    assert told["metrics"] == found.metrics
    assert told["training"]["best_epochs"] == [2, 3] * 3
    assert told["layer_weights"]["mean"] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("select", "score", "shown"), [("macro_f1", 0.625, "62.5"), ("loss", -1.5, "1.5000")]
)
def test_a_run_whose_rates_were_searched_for_shows_those_and_not_the_one_it_did_not_use(
    empty_folder, select, score, shown, capsys
):
    training = {"learning_rate": 5e-4, "select": select}
    protocol = {"name": "ser", "head": {"hidden": 8}, "training": training, "search": {"factor": 0.5}}
    folder = small_run(empty_folder / "runs", protocol=protocol).folder
    rounds = [{"rates": [1e-5, 1e-4, 1e-3], "epochs": 5, "scores": [None, 0.5, 0.25]}] * 2
    found = {"rate": 1.25e-4, "epochs": 15, "score": score, "rounds": rounds, "notes": []}
    (folder / "learning_rate_search.json").write_text(json.dumps({"s0": found}))
    (folder / "files.json").unlink()
    assert run(["runs", "emovo"]) == 0
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.startswith("s0") and "0.000125" in line]
    assert row.split() == ["s0", "0.000125", shown, "15", "2"]
    assert "not like for like" in out
    assert "learning rate 0.0005" not in out
    assert run(["runs", "emovo", "--format", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["learning_rates"]
    assert (told["fold"], told["rate"], told["rounds"]) == ("s0", 1.25e-4, 2)
    (folder / "learning_rate_search.json").write_text('{"s0": {"rate": "fast"}}')
    assert run(["runs", "emovo"]) == 1
    assert "learning_rate_search.json cannot be read" in last_line(capsys)


def test_the_table_keeps_within_100_columns_where_corpus_backbone_and_head_differ(runs, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["runs"]) == 0
    assert max(map(len, rows_of(click.unstyle(capsys.readouterr().out)))) <= 100


@pytest.mark.parametrize("arguments", [["runs"], ["runs", "emovo-whisper-base-multi"]], ids=" ".join)
def test_runs_are_shown_without_torch(runs, arguments):
    code = (
        "import sys; from ser_cache.cli import run; status = run(sys.argv[1:]);"
        "print({'torch', 'transformers', 'h5py'} & set(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert finished.stderr.splitlines()[-1] == "set()"
