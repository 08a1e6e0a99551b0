"""`ser describe`, and a checkout that holds a manifest without audio, as a user sees them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from printed import last_line
from small_grid import manifest, save_manifest

from ser_cache.cli import run
from ser_cache.corpora import CORPORA
from ser_cache.manifest import Manifest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "manifests" / "cremad.csv"


@pytest.fixture
def checkout(empty_folder: Path) -> Path:
    """A working directory with the first rows of the shipped manifest, and no audio."""
    lines = SHIPPED.read_text(encoding="utf-8").splitlines(keepends=True)
    (empty_folder / "manifests").mkdir()
    (empty_folder / "manifests" / "cremad.csv").write_text("".join(lines[:101]), encoding="utf-8")
    return empty_folder


def test_cremad_is_described_without_manifest_and_audio_as_the_page_says(empty_folder, capsys):
    assert run(["describe", "cremad"]) == 0
    told = capsys.readouterr()
    assert max(map(len, told.out.splitlines())) <= 80
    assert "cremad: 7,442 utterances, 91 speakers, 6 emotions, 5.26 h" in told.out
    assert "neutral    0.7685  0.7301  0.7926  0.7638      0.763" in told.out
    assert "cremad has no manifest in manifests; this is the complete corpus" in told.err
    assert list(empty_folder.iterdir()) == []
    page = (ROOT / "docs" / "cremad.md").read_text(encoding="utf-8")
    assert f"```\n{told.out.strip()}\n```" in page, (
        "put what `ser describe cremad` prints into docs/cremad.md"
    )


def test_in_a_narrow_terminal_it_fits_too(checkout, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["describe"]) == 0
    assert max(map(len, click.unstyle(capsys.readouterr().out).splitlines())) <= 80


def test_the_legend_of_many_emotions_folds_in_a_terminal(empty_folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    made = manifest("many", emotions=CORPORA["ravdess"].emotions)
    genders = [replace(clip, gender="female") for clip in made.utterances]
    save_manifest(empty_folder / "manifests", Manifest("many", tuple(genders)))
    assert run(["describe", "many"]) == 0
    shown = click.unstyle(capsys.readouterr().out)
    assert "sad sadness, sur surprise" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_what_is_described_is_the_manifest_that_is_here(checkout, capsys):
    assert run(["describe", "cremad"]) == 0
    told = capsys.readouterr()
    assert "cremad: 100 utterances, 2 speakers" in told.out
    assert "these are other clips or votes" in told.out
    assert told.err == ""


def test_a_corpus_of_ones_own_is_described_with_what_it_has(tones, capsys):
    assert run(["describe", "tones"]) == 0
    out = capsys.readouterr().out
    assert "tones: 36 utterances, 6 speakers, 3 emotions" in out
    assert "Crowd" not in out
    assert "Emotions by gender" not in out


def test_a_corpus_may_be_named_as_in_other_commands(checkout, tones, capsys):
    capsys.readouterr()
    assert run(["describe", "tones"]) == 0
    told = capsys.readouterr().out
    assert run(["describe", "--corpus", "tones"]) == 0
    assert capsys.readouterr().out == told
    assert run(["describe", "tones", "--corpus", "cremad", "--corpus", "tones"]) == 0
    both = capsys.readouterr().out
    assert both.startswith(told)
    assert both.count("utterances, ") == 2


def test_lengths_that_give_emotions_away_are_told_in_every_format(empty_folder, capsys):
    made = manifest("cut")
    clips = [
        replace(clip, samples=32_000 if clip.emotion == "fear" else 30_000 + 7 * number)
        for number, clip in enumerate(made.utterances)
    ]
    save_manifest(empty_folder / "manifests", Manifest("cut", tuple(clips)))
    line = (
        "warning: 12 of 36 clips are exactly 2.000 s, all of them in fear: length alone tells these, so "
        "scores may be too good; see: ser audit --corpus cut"
    )
    assert run(["describe"]) == 0
    assert capsys.readouterr().out.count(line) == 1
    assert run(["describe", "--format", "markdown"]) == 0
    assert f"- {line}\n" in capsys.readouterr().out
    assert run(["describe", "--format", "json"]) == 0
    (leak,) = json.loads(capsys.readouterr().out)[0]["length_leaks"]
    assert (leak["seconds"], leak["utterances"], leak["emotions"]) == (2.0, 12, {"fear": 12})
    assert run(["describe", "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert {"cut,length leaks,2 s,fear,utterances,12", "cut,length leaks,2 s,all,utterances,12"} <= set(rows)


@pytest.mark.parametrize("content", ["", "id,path,speaker,emotion,code,language,samples,sha256\n", "a;b\n"])
@pytest.mark.parametrize("command", [["describe"], ["corpora"], ["corpora", "--check"]])
def test_one_manifest_that_cannot_be_read_is_named_and_the_others_are_shown(
    content, command, checkout, capsys
):
    (checkout / "manifests" / "mine.csv").write_text(content)
    assert run(command) == 3
    told = capsys.readouterr()
    assert told.err.startswith("skipped: manifests/mine.csv ")
    assert told.err.count("\n") == 1
    assert "cremad" in told.out
    if command == ["describe"]:
        assert "cremad: 100 utterances" in told.out
        assert run(["describe", "mine"]) == 1
        assert last_line(capsys).startswith("error: manifests/mine.csv ")


def test_where_no_manifest_can_be_read_describing_fails(empty_folder, capsys):
    Path("manifests").mkdir()
    Path("manifests/one.csv").touch()
    assert run(["describe"]) == 1
    assert last_line(capsys) == (
        "error: manifests/one.csv is empty; make it anew with: ser manifest one ROOT"
    )
    Path("manifests/two.csv").touch()
    assert run(["describe"]) == 1
    assert last_line(capsys) == "error: no manifest in manifests can be read; see above."
    assert run(["corpora"]) == 3
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" is empty")[0] for line in told] == [
        "skipped: manifests/one.csv",
        "skipped: manifests/two.csv",
    ]


def test_a_misnamed_file_stops_no_listing_of_corpora(checkout, capsys):
    (checkout / "manifests" / "mine (1).csv").touch()
    assert run(["corpora"]) == 3
    told = capsys.readouterr()
    assert "Prepared here" in told.out
    assert told.err.startswith("skipped: manifests/mine (1).csv: 'mine (1)' cannot be the name of a corpus")
    assert told.err.endswith("Rename the file, or move it away.\n")


def test_work_on_all_corpora_goes_on_without_one_that_cannot_be_read_and_says_so_by_its_status(tones, capsys):
    Path("manifests/mine.csv").touch()
    capsys.readouterr()
    assert run(["extract", "--model", "mfcc", "--dry-run"]) == 3
    told = capsys.readouterr()
    assert told.err.startswith("skipped: manifests/mine.csv is empty")
    assert "tones" in told.out
    assert run(["extract", "--model", "mfcc", "--dry-run", "--corpus", "tones"]) == 0


def test_csv_json_and_markdown_hold_the_same_count(checkout, capsys):
    assert run(["describe", "--format", "json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)
    female = next(group for group in data["distributions"]["gender"] if group["name"] == "female")
    assert run(["describe", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    keys = {"table": "gender", "group": "female", "emotion": "anger", "measure": "utterances"}
    (row,) = (row for row in rows if keys.items() <= row.items())
    assert run(["describe", "--output", "cremad.md"]) == 0
    assert "1 description written to cremad.md" in capsys.readouterr().err
    text = Path("cremad.md").read_text(encoding="utf-8")
    anger = female["counts"]["anger"]
    assert f"| female | 1 | {female['utterances']} | {anger} |" in text
    assert int(row["value"]) == anger > 0


def test_ages_are_counted_in_bands_of_any_width(checkout, capsys):
    assert run(["describe", "cremad", "--years", "50"]) == 0
    out = capsys.readouterr().out
    assert "\n0-49 " in out
    assert "\n50-99 " in out
    assert "\n50-59 " not in out


def test_a_corpus_that_is_neither_here_nor_known_is_an_error(empty_folder, capsys):
    assert run(["describe", "mine"]) == 1
    assert "unknown corpus 'mine'" in last_line(capsys)
    assert run(["describe"]) == 1
    assert "there are no manifests" in last_line(capsys)


def test_describing_loads_neither_torch_nor_a_decoder(checkout):
    code = (
        "import sys\nfrom ser_cache.cli import run\nassert run(['describe']) == 0\n"
        "print({'torch', 'transformers', 'soundfile', 'numpy'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "set()"


# A manifest without audio


def test_a_manifest_without_audio_is_skipped_with_a_line_and_named_is_an_error(checkout, tones, capsys):
    capsys.readouterr()
    assert run(["extract", "--model", "mfcc", "--dry-run"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "cremad" in line]
    assert told == ["skipped: the audio of cremad is not here; say where: ser manifest cremad ROOT"]
    assert run(["extract", "--model", "mfcc", "--dry-run", "--corpus", "cremad"]) == 1
    assert "ser manifest cremad ROOT" in last_line(capsys)


def test_a_manifest_without_audio_alone_is_an_error_that_says_what_to_do(checkout, capsys):
    assert run(["extract", "--model", "mfcc"]) == 1
    told = capsys.readouterr().err
    assert "skipped: the audio of cremad is not here" in told
    assert "error: no manifest in manifests has its audio here" in told


@pytest.mark.parametrize("command", [["corpora"], ["models"], ["cache", "ls"], ["runs"]])
def test_listings_are_not_disturbed_by_it(command, checkout, capsys):
    assert run(command) == 0
    told = capsys.readouterr()
    assert "cremad" not in told.err
    if command == ["corpora"]:
        known, prepared = (line for line in told.out.splitlines() if line.startswith("cremad"))
        assert "7,442" in known
        assert prepared.endswith("not here: ser manifest again")
