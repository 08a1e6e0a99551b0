"""``ser compare`` as a user types it, on runs that ``ser probe`` made."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from printed import last_line
from small_runs import small_run

from ser_cache.cli import run
from ser_cache.cli.compare import probability, ranges
from ser_cache.results import list_runs, read_run


@pytest.fixture
def probed(tones: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Names of two runs: linear and nonlinear head, two seeds, leave one speaker out."""
    assert run(["extract", "--model", "mfcc"]) == 0
    for head, seeds in (("linear", "2"), ("nonlinear", "1")):
        assert run(["probe", "--head", head, "--split", "loso", "--seeds", seeds, "--epochs", "2"]) == 0
    capsys.readouterr()
    return sorted(folder.name for folder in Path("runs").iterdir())


def test_two_runs_are_compared_in_a_table(probed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "tones-mfcc-linear", "tones-mfcc-nonlinear"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == [f"A: {probed[0]}", f"B: {probed[1]}"]
    assert "   head: linear in A, nonlinear in B" in lines
    assert "   seeds: 0, 1 in A, 0 in B" in lines
    assert [line.split("  ")[0] for line in lines if line[:2] in {"UA", "WA", "ma", "we"}] == [
        "UA",
        "WA",
        "macro F1",
        "weighted F1",
    ]
    assert any(line.startswith("McNemar: ") and "exact p " in line for line in lines)
    assert "note: McNemar takes utterances as independent" in err
    assert max(map(len, lines)) <= 80


def test_json_holds_what_the_table_shows(probed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", str(Path("runs") / probed[0]), probed[1], "--draws", "200"]
    assert run([*command, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["second"]) == tuple(probed)
    assert found["options"]["draws"] == 200
    assert run(command) == 0
    table = capsys.readouterr().out
    for row in found["differences"]:
        assert f"{100 * row['difference']:+.1f}" in table
        assert f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}" in table
    assert f"McNemar: {found['mcnemar']['only_first']} right in A alone" in table


def test_under_three_test_speakers_probe_and_compare_say_what_that_means(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    capsys.readouterr()
    assert run(["probe", "--head", "linear", "--head", "nonlinear", "--epochs", "1"]) == 0
    assert "no confidence interval: only 1 test speaker, at least 3 are needed" in capsys.readouterr().err
    assert run(["compare", "tones-mfcc-linear", "tones-mfcc-nonlinear"]) == 0
    out, err = capsys.readouterr()
    assert "bootstrap over utterances" in out
    assert "only 1 test speaker: the bootstrap draws utterances as if they were independent" in err


def test_where_no_speaker_differs_there_is_no_interval_and_the_reason_stands_below(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for head in ("linear", "nonlinear"):
        small_run(Path("runs"), head=head)
    assert run(["compare", "emovo-whisper-base-linear", "emovo-whisper-base-nonlinear"]) == 0
    out, err = capsys.readouterr()
    (row,) = [line.split() for line in out.splitlines() if line.startswith("UA")]
    assert row[3:] == ["+0.0", "none", "1.000"]
    assert "note: no interval of UA, WA, macro F1, weighted F1: none of the 3 speakers differs" in err


def test_what_is_compared_is_said_above_the_scores_and_on_stderr_beside_json(
    tones: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["extract", "--model", "mfcc"]) == 0
    probe = ["probe", "--head", "linear", "--epochs", "2", "--seeds", "2"]
    for words in (
        ["--split", "loso"],
        ["--split", "random", "--ratios", "50/20/30"],
        ["--split", "loso", "--emotions", "anger,sadness"],
    ):
        assert run([*probe, *words]) == 0
    runs = {
        (found.config.split["kind"], len(found.config.classes)): found.folder.name
        for found in map(read_run, list_runs(Path("runs")))
    }
    whole, random, fewer = runs["loso", 3], runs["random", 3], runs["loso", 2]
    capsys.readouterr()
    assert run(["compare", whole, random]) == 0
    lines = capsys.readouterr().out.splitlines()
    cautions = [line for line in lines if line.startswith("CAUTION: ")]
    assert "only 12 utterances are compared" in cautions[0]
    assert "33% of the 36 of the first run, all 12 of the second" in cautions[0]
    assert "the second was trained on speakers that it tests" in cautions[1]
    title = next(place for place, line in enumerate(lines) if line.startswith("tones: 12 utterances"))
    assert max(map(lines.index, cautions)) < title
    assert "that both tested" in lines[title]

    assert run(["compare", whole, fewer, "--format", "json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert [line for line in told.err.splitlines() if line.startswith("CAUTION")] == [
        f"CAUTION: {line}." for line in found["cautions"]
    ]
    assert "only 24 utterances" in found["cautions"][0]
    assert "different classes: anger, neutral, sadness in the first, anger, sadness" in found["cautions"][1]

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["compare", whole, fewer]) == 0
    out = capsys.readouterr().out
    assert max(map(len, click.unstyle(out).splitlines())) <= 80
    assert "\x1b[1mCAUTION: only 24 utterances" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tones", "tones-mfcc-linear"], "'tones' is the beginning of 2 runs"),
        (["tones-mfcc-linear", "tones-mfcc-linear"], "named twice"),
        (["tones-mfcc-linear", "nothing"], "there is no run 'nothing'"),
        (["tones-mfcc-linear"], "Missing argument 'RUN'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    probed: list[str], capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run(["compare", *words]) == 1
    assert says in last_line(capsys)


def test_without_any_run_it_says_so(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "a", "b"]) == 1
    assert "there is no run 'a' in runs" in capsys.readouterr().err


def test_comparing_imports_no_torch(probed: list[str]) -> None:
    code = (
        "import sys; from ser_cache.cli import run; status = run(sys.argv[1:]);"
        "print({'torch', 'transformers', 'h5py'} & set(sys.modules)); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "compare", *probed]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[-1] == "set()"


def test_small_p_values_and_ranges_are_short() -> None:
    assert (probability(0.0004), probability(0.0123), probability(1.0)) == ("<0.001", "0.012", "1.000")
    assert (ranges([1, 2, 3]), ranges([1, 3]), ranges([1, 2]), ranges([])) == ("1-3", "1, 3", "1, 2", "none")
