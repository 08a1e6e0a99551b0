"""`ser corpora` as a user types it: the list, how to get one, and the counts beside the paper's."""

import csv
import json

import click
import numpy as np
import pytest
import soundfile
from printed import last_line
from small_grid import manifest, save_manifest

from ser_cache.cli import run
from ser_cache.corpora import CORPORA


def at_80_columns(monkeypatch):
    """A terminal of that width, from here on."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)


def lines(capsys):
    return click.unstyle(capsys.readouterr().out).splitlines()


@pytest.mark.usefixtures("empty_folder")
def test_the_list_has_a_line_per_corpus_in_80_columns(monkeypatch, capsys):
    at_80_columns(monkeypatch)
    assert run(["corpora"]) == 0
    shown = lines(capsys)
    assert max(map(len, shown)) <= 80
    assert [line.split()[0] for line in shown[3 : 3 + len(CORPORA)]] == sorted(CORPORA)
    assert "Not verified against a copy: emomatch, eyase, iemocap." in shown
    (sizes,) = (line for line in shown if line.startswith("complete: "))
    assert "oreau" in sizes  # 502 clips are as much the whole corpus as 434
    assert "cafe" not in sizes


def test_what_is_prepared_has_a_table_of_its_own_in_80_columns(empty_folder, monkeypatch, capsys):
    at_80_columns(monkeypatch)
    for name in ("cafe", "shemo", "tones"):
        save_manifest(empty_folder / "manifests", manifest(name))
    assert run(["corpora"]) == 0
    shown = lines(capsys)
    assert max(map(len, shown)) <= 80
    here = shown[shown.index("Prepared here") + 3 :]
    assert [line.split()[0] for line in here[:3]] == ["cafe", "shemo", "tones"]
    known = next(line for line in shown if line.startswith("shemo"))
    assert known.split()[:4] == ["shemo", "fa", "3,000", "87"]
    assert "36" in here[1].split()


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("corpus", sorted(CORPORA))
def test_how_to_get_a_corpus_is_told_within_80_columns(corpus, monkeypatch, capsys):
    at_80_columns(monkeypatch)
    recipe = CORPORA[corpus]
    assert run(["corpora", "--how", corpus]) == 0
    shown = lines(capsys)
    assert max(map(len, shown)) <= 80
    told = " ".join(" ".join(shown).split())
    for text in (
        recipe.citation,
        recipe.licence,
        recipe.source,
        recipe.unverified,
        recipe.differs,
        *recipe.warts,
    ):
        assert text in told
    assert f"ser manifest {corpus} ROOT" in told
    assert any(line.startswith("unverified") for line in shown) == bool(recipe.unverified)
    assert "Nothing is downloaded" in shown[-1]


def test_how_to_get_a_corpus_says_what_is_prepared_of_it(empty_folder, capsys):
    save_manifest(empty_folder / "manifests", manifest("cafe"))
    assert run(["corpora", "--how", "cafe"]) == 0
    assert "36 utterances, audio: not here: ser manifest again" in capsys.readouterr().out


def test_a_manifest_that_cannot_be_read_does_not_hide_how_to_get_the_corpus(empty_folder, capsys):
    (empty_folder / "manifests").mkdir()
    for name in ("cafe", "mine"):
        (empty_folder / "manifests" / f"{name}.csv").write_text("garbage\n", encoding="utf-8")
    assert run(["corpora", "--how", "cafe"]) == 0
    told = capsys.readouterr()
    assert CORPORA["cafe"].source in told.out
    assert told.err.startswith("note: manifests/cafe.csv has no column id")
    assert run(["corpora", "--how", "mine"]) == 1
    assert "mine.csv has no column id" in last_line(capsys)


@pytest.mark.usefixtures("empty_folder")
def test_how_to_get_an_unknown_corpus_lists_the_known_ones(capsys):
    assert run(["corpora", "--how", "shemmo"]) == 1
    line = last_line(capsys)
    assert "unknown corpus 'shemmo'. Did you mean 'shemo'? Known: aesdd, cafe," in line


def test_of_a_corpus_of_ones_own_no_recipe_can_say_whence_it_is(tones, capsys):
    capsys.readouterr()
    assert run(["corpora", "--how", "tones"]) == 1
    assert last_line(capsys).startswith(
        "error: tones is a corpus of your own, prepared here from a table or a pattern (36 utterances, "
    )


@pytest.mark.usefixtures("empty_folder")
def test_how_and_check_are_two_questions(capsys):
    assert run(["corpora", "--how", "cafe", "--check"]) == 1
    assert "give one of them" in last_line(capsys)


@pytest.mark.usefixtures("empty_folder")
def test_the_check_sets_counts_beside_the_papers_and_explains_them(monkeypatch, capsys):
    at_80_columns(monkeypatch)
    assert run(["corpora", "--check"]) == 0
    shown = lines(capsys)
    assert max(map(len, shown)) <= 80
    table = {line.split()[0]: " ".join(line.split()[1:]) for line in shown[3 : 3 + len(CORPORA)]}
    assert table["aesdd"] == "500 / 5 604 / 5 104 more"
    assert table["demos"] == "9,697 / 7 9,697 / 8 8 emotions for 7"
    assert table["oreau"] == "502 / 7 434 / 7 68 fewer"
    assert table["iemocap"] == "5,531 / 4"
    told = " ".join(" ".join(shown).split())
    assert "502 is version 1 (OréauFR_01)" in told
    assert "9,365 clips of 7 emotions and 332 neutral ones" in told
    assert "Not verified against a copy: emomatch, eyase, iemocap." in told


def test_the_check_counts_what_is_prepared_and_says_how_it_differs(empty_folder, monkeypatch, capsys):
    at_80_columns(monkeypatch)
    save_manifest(empty_folder / "manifests", manifest("shemo"))
    assert run(["corpora", "--check"]) == 0
    shown = lines(capsys)
    row = next(line for line in shown if line.startswith("shemo"))
    assert " ".join(row.split()) == "shemo 3,000 / 6 3,000 / 6 36 / 3 2,964 fewer, 3 emotions for 6"
    assert max(map(len, shown)) <= 80
    told = " ".join(" ".join(shown).split())
    assert "3,000 utterances expected, 36 found; 87 speakers expected, 6 found; anger: 1,059 expected" in told


def test_a_manifest_that_lacks_clips_is_told_what_is_expected(empty_folder, capsys):
    root = empty_folder / "OréauFR_01" / "f"
    rng = np.random.default_rng(0)
    for letter in "CDJNPST":
        folder = root / f"sess{letter.lower()}"
        folder.mkdir(parents=True)
        soundfile.write(folder / f"10a01{letter}a.wav", rng.normal(scale=0.1, size=8000), 16_000)
    assert run(["manifest", "oreau", str(root.parent)]) == 0
    err = capsys.readouterr().err
    assert (
        "434 utterances expected, 7 found; 32 speakers expected, 1 found; anger: 67 expected, 1 found" in err
    )
    assert "not verified" not in err


@pytest.mark.usefixtures("empty_folder")
def test_the_check_goes_to_a_file_and_to_other_programs(empty_folder, capsys):
    assert run(["corpora", "--check", "--format", "json"]) == 0
    records = {record["corpus"]: record for record in json.loads(capsys.readouterr().out)}
    assert records.keys() == CORPORA.keys()
    assert (records["oreau"]["paper_utterances"], records["oreau"]["recipe_utterances"]) == (502, 434)
    assert records["iemocap"]["paper_utterances"] is None
    assert records["eyase"]["unverified"] == CORPORA["eyase"].unverified
    assert run(["corpora", "--check", "--output", "check.csv"]) == 0
    assert f"{len(CORPORA)} corpora written to check.csv" in capsys.readouterr().err
    with (empty_folder / "check.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["corpus"] for row in written] == sorted(CORPORA)
    assert written[0]["ours"] == "104 more"
    assert run(["corpora", "--format", "json"]) == 1
    assert "--format and --output are for --check" in last_line(capsys)
