"""``ser reproduce wang2023`` as a user types it: with and without CREMA-D, formats, reuse, plain refusals."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
from printed import last_line
from small_corpora import tone

from ser_cache.baselines import CLASSIFIERS
from ser_cache.cli import run
from ser_cache.corpora import CORPORA
from ser_cache.manifest import read_manifest, write_manifest
from ser_cache.reproduction.wang2023 import Report, StudyOptions, published

ACTORS = range(1001, 1007)
CODES = CORPORA["cremad"].labels
COMMAND = ["reproduce", "wang2023"]
SMALL = {
    "svm": {"C": (1,), "gamma": (0.1, 0.01), "kernel": ("rbf",)},
    "rf": {"n_estimators": (2, 4), "max_depth": (10,), "min_samples_split": (2,), "min_samples_leaf": (1,)},
}


@pytest.fixture(scope="module")
def known() -> Report:
    """What needs no audio, worked out once: it takes seconds."""
    report = Report(StudyOptions(), (), {}, Path())
    assert report.corpus.corpus == "cremad"
    assert report.agreements
    return report


@pytest.fixture(autouse=True)
def worked_out(known: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Report, "corpus", known.corpus)
    monkeypatch.setattr(Report, "agreements", known.agreements)


@pytest.fixture(autouse=True)
def small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four candidates instead of 102."""
    for name, grid in SMALL.items():
        monkeypatch.setitem(CLASSIFIERS, name, replace(CLASSIFIERS[name], grid=grid))


@pytest.fixture
def cremad(empty_folder: Path) -> Path:
    """Six actors of CREMA-D with made-up tones under its file names; emotions differ in pitch, a little."""
    folder = empty_folder / "CREMA-D" / "AudioWAV"
    folder.mkdir(parents=True)
    for number, actor in enumerate(ACTORS):
        for kind, code in enumerate(CODES):
            for take, sentence in enumerate(("DFA", "IOM")):
                clip = tone(0.3, 200 + 12 * kind + 40 * number, seed=100 * number + 10 * kind + take)
                soundfile.write(folder / f"{actor}_{sentence}_{code}_XX.wav", clip, 16_000)
    assert run(["manifest", "cremad", str(folder.parent)]) == 0
    return folder.parent


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every table: its title, its lines."""
    pieces = text.split("\n\n")
    yield from ((title, body.splitlines()) for title, body in pairwise(pieces))


def table(text: str, title: str) -> list[list[str]]:
    """The cells of a table's rows, its heading first."""
    (body,) = [lines for found, lines in blocks(text) if found.splitlines()[-1:] == [title]]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in body]


def figures(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


# Without audio


def test_a_dry_run_shows_what_needs_no_audio_and_makes_nothing(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*COMMAND, "--dry-run", "--manifests", "m"]) == 0
    out, err = capsys.readouterr()
    assert table(out, "CREMA-D: crowd agreement")[1] == ["anger", "0.6843", "0.684", "+0.0003"]
    shares = table(out, "CREMA-D: clips by emotion, and by who speaks and how")
    assert shares[1] == ["sex: female", "43", "600", "600", "600", "600", "512", "600"]
    contradicting = table(out, "Where the paper contradicts itself, or compares what differs")
    assert ["random forest: accuracy", "0.450 best, in text", "0.413 recall x support"] in contradicting
    assert "  ser manifest cremad ROOT --manifests m\n" in out
    assert "from https://github.com/CheyneyComputerScience/CREMA-D" in out
    assert "MFCC with grid search" not in out
    assert (err, list(empty_folder.iterdir())) == ("", [])


def test_nothing_at_hand_is_an_error_below_the_tables(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(COMMAND) == 1
    out, err = capsys.readouterr()
    assert "Where the paper contradicts itself" in out
    (line,) = err.splitlines()
    assert line.startswith("error: no corpus in manifests has mfcc in cache, or audio to extract it from;")
    assert line.endswith("ser manifest cremad ROOT")


@pytest.mark.parametrize("listed", [False, True])
def test_cremad_asked_for_and_not_here_is_an_error_that_says_how(
    empty_folder: Path, listed: bool, known: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    if listed:
        some = replace(known.corpus, utterances=known.corpus.utterances[:50])
        write_manifest(Path("manifests/cremad.csv"), some)
    assert run([*COMMAND, "--corpus", "cremad"]) == 1
    out, err = capsys.readouterr()
    assert "The study's corpus is not here; how to get it" in out
    assert err.startswith("error: ")
    assert "ser manifest cremad ROOT" in err
    assert len(err.splitlines()) == 1


def test_without_cremad_it_runs_on_what_there_is_and_makes_nothing_up(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run([*COMMAND, "--output", "ours.csv"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("mfcc of tones is not cached completely: extracting it first.\n")
    plan = table(out, "wang2023: what of it runs here")
    assert plan[1][:1] == ["cremad"]
    assert plan[2] == ["tones", "36", "6", "3", "to extract", "ready", "ready"]
    scores = table(out, "MFCC with grid search: test scores")
    assert [row[:3] for row in scores[1:]] == [
        ["tones", "rf", "by utterance"],
        ["tones", "rf", "new speakers"],
        ["tones", "svm", "by utterance"],
        ["tones", "svm", "new speakers"],
    ]
    assert "nothing published stands beside other corpora" in out
    cost = float(scores[2][4]) - float(scores[1][4])
    (line,) = (
        one for one in out.splitlines() if one.startswith("what new speakers change in accuracy, rf: ")
    )
    assert float(line.rpartition(" ")[2]) == pytest.approx(cost, abs=0.0011)
    assert out.count("speaker-dependent: the tested speakers are also trained on") == 1
    assert "the study's table" not in out
    assert table(out, "Clusters of MFCC")[1][:3] == ["tones", "3", "36"]
    rows = figures(Path("ours.csv"))
    assert {row["published"] for row in rows if row["corpus"] == "tones"} == {""}
    assert [line for line in out.splitlines() if "   " in line.strip() and len(line) > 80] == []


def test_what_is_there_is_reused_whichever_command_made_it(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", "--svm", "--protocol", "wang2023"]) == 0
    assert run(["cluster"]) == 0
    capsys.readouterr()
    assert run([*COMMAND, "--svm"]) == 0
    first, err = capsys.readouterr()
    assert table(first, "wang2023: what of it runs here")[2][-2:] == ["done", "ready"]
    assert err == "2 of 3 runs were reused; --force repeats.\n"
    assert run([*COMMAND, "--svm"]) == 0
    again, err = capsys.readouterr()
    assert err == "3 of 3 runs were reused; --force repeats.\n"
    assert again.partition("Clusters of MFCC")[2] == first.partition("Clusters of MFCC")[2]
    assert table(again, "wang2023: what of it runs here")[2][-2:] == ["done", "done"]
    assert run(["runs", "--protocol", "wang2023"]) == 0
    assert "tones" in capsys.readouterr().out
    names = [row[-1] for row in table(again, "Runs")[1:3]]
    assert run(["compare", *names]) == 0
    assert "split: random in A, speaker in B" in capsys.readouterr().out
    assert run([*COMMAND, "--svm", "--force"]) == 0
    assert "reused" not in capsys.readouterr().err


# With CREMA-D


def test_cremad_stands_beside_the_published_figures_cell_by_cell(
    cremad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run([*COMMAND, "--output", "ours.csv"]) == 0
    out = capsys.readouterr().out
    assert "how to get it" not in out
    assert table(out, "wang2023: what of it runs here")[1][:5] == ["cremad", "72", "6", "6", "to extract"]
    assert "cremad here is not the whole: 72 of 7,442 clips" in out
    scores = table(out, "MFCC with grid search: test scores")
    assert [row[2] for row in scores[1:5]] == ["by utterance", "published", "diff", "new speakers"]
    ours, paper, difference = ([float(cell) for cell in row[4:]] for row in scores[1:4])
    assert paper == [0.413, 0.413, 0.392, 0.431, 0.45]
    assert difference == pytest.approx([a - b for a, b in zip(ours, paper, strict=True)], abs=0.0011)
    for name, title in (("rf", "random forest"), ("svm", "SVM")):
        rows = table(out, f"cremad, {title}: the study's table")[1:]
        expected = {row.emotion: row for row in published().classifiers[name].classes}
        assert [row[0] for row in rows] == sorted(CODES.values())
        for row in rows:
            theirs = expected[row[0]]
            for cell, change, figure in zip(
                row[1:7:2], row[2:7:2], (theirs.precision, theirs.recall, theirs.f1), strict=True
            ):
                mine, other = map(float, cell.split("/"))
                assert other == figure
                assert float(change) == pytest.approx(mine - other, abs=0.011)
            assert row[7].endswith(f"/{theirs.support}")
    clusters = table(out, "Clusters of MFCC")
    assert clusters[1][:3] == ["cremad", "6", "72"]
    assert clusters[2] == ["published", "6", "7,332", "< 0.2"]
    assert clusters[3] == ["diff", f"{72 - 7332:+,}"]
    for row in figures(Path("ours.csv")):
        if row["published"]:
            difference = float(row["ours"]) - float(row["published"])
            assert float(row["difference"]) == pytest.approx(difference)
            assert row["tested"] != "new speakers"
    assert [line for line in out.splitlines() if "   " in line.strip() and len(line) > 80] == []


def test_where_cremad_is_here_others_are_run_by_name_alone(
    cremad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_manifest(Path("manifests/cremad.csv"))
    write_manifest(Path("manifests/other.csv"), replace(whole, corpus="other"))
    assert run([*COMMAND, "--dry-run"]) == 0
    assert [row[0] for row in table(capsys.readouterr().out, "wang2023: what of it runs here")] == [
        "corpus",
        "cremad",
    ]
    assert run([*COMMAND, "--corpus", "cremad", "--corpus", "other", "--rf", "--split", "none"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("error: other: mfcc of other is not cached, and its audio is not")
    assert [row[2] for row in table(out, "MFCC with grid search: test scores")[1:]] == [
        "by utterance",
        "published",
        "diff",
    ]


def test_json_and_markdown_hold_all_of_it(cremad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    command = [*COMMAND, "--rf", "--seeds", "2", "--format"]
    assert run([*command, "json", "--output", "ours.md"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert "report written to ours.md" in err
    assert {row["table"] for row in told["figures"]} == {"clips", "agreement", "classifiers", "clusters"}
    assert {one["about"]: one["other"]["value"] for one in told["contradictions"]}["clips"] == 7442
    assert [round(one["accuracy"], 3) for one in told["implied"]] == [0.413, 0.451]
    assert told["not_reproduced"][2]["alias"] == "xls-r"
    text = Path("ours.md").read_text(encoding="utf-8")
    assert text.startswith("# wang2023, redone\n\nWang, Raud, Pal 2023")
    for block in (block.splitlines() for block in text.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in block}) == 1
    assert run([*command, "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(told["figures"])


def test_clusters_and_confusions_are_drawn(cremad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    Path("figures").mkdir()
    assert run([*COMMAND, "--rf", "--split", "none", "--plot", "figures/study.svg"]) == 0
    assert sorted(path.name for path in Path("figures").iterdir()) == [
        "study-cremad-clusters.svg",
        "study-cremad-rf-by-utterance.svg",
    ]
    assert "figure: figures/study-cremad-clusters.svg" in capsys.readouterr().err


# What goes wrong


def test_a_part_that_cannot_be_made_does_not_stop_the_others(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_manifest(Path("manifests/tones.csv"))
    few = [one for one in whole.utterances if one.speaker in ("s1", "s2")]
    write_manifest(Path("manifests/tones.csv"), replace(whole, utterances=tuple(few)))
    assert run([*COMMAND, "--svm"]) == 1
    out, err = capsys.readouterr()
    assert "error: tones, new speakers: " in err
    assert [row[:3] for row in table(out, "MFCC with grid search: test scores")[1:]] == [
        ["tones", "svm", "by utterance"]
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "xls-r"], "ser baseline --protocol wang2023 --features xls-r"),
        (["--features", "mfcc+x3"], "x3"),
        (["--corpus", "nothing"], "unknown corpus 'nothing'"),
        (["--split", "random"], "'random' is not one of"),
        (["--output", "ours.pdf"], "say with --format what ours.pdf shall be"),
        (["--plot", "ours.doc"], "ours.doc does not end in"),
    ],
)
def test_bad_choices_are_one_line(
    empty_folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*COMMAND, *arguments]) == 1
    assert message in last_line(capsys)
    assert list(empty_folder.iterdir()) == []


def test_other_settings_of_mfcc_are_other_features(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*COMMAND, "--rf", "--split", "none", "--features", "mfcc+hop160+n20"]) == 0
    assert sorted(path.name for path in Path("cache").iterdir()) == ["mfcc+n20+hop160"]
    assert "mfcc+n20+hop160" in capsys.readouterr().out


def test_a_dry_run_imports_no_torch(tones: Path) -> None:
    code = (
        "import sys; from ser_cache.cli import run;"
        "status = run(['reproduce', 'wang2023', '--dry-run']);"
        "print({'torch', 'transformers', 'matplotlib', 'sklearn'} & set(sys.modules)); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
