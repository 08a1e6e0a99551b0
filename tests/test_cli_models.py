"""``ser models`` as a user sees it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from small_parts import full_part, make_part, row

from ser_cache.cli import run

CORPORA = ("cafe", "cremad", "emodb", "emovo", "iemocap", "ravdess")
FOLDERS = (
    "xls-r",
    "xls-r+int8",
    "xls-r+pooled+layers0.3-5",
    "mfcc",
    "some-org--checkpoint-with-a-long-name",
)


@pytest.fixture(autouse=True)
def cache(empty_folder: Path) -> Path:
    """The cache of the working directory, empty."""
    return empty_folder / "cache"


def test_many_cached_corpora_leave_the_table_within_80_columns_and_are_all_named(cache, monkeypatch, capsys):
    for folder in FOLDERS:
        for corpus in CORPORA:
            full_part(cache / folder / corpus, frames=[1])
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["models"]) == 0
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    listed = lines.index("Cached (more: ser cache ls)")
    table = lines[: lines.index("", 2)]
    assert max(map(len, table)) <= 80
    assert next(line for line in table if line.startswith("xls-r ")).endswith("6 corpora")
    assert lines[listed + 2 :] == [f"{folder}: {', '.join(CORPORA)}" for folder in sorted(FOLDERS)]


def test_a_model_says_for_how_many_corpora_it_is_cached_in_any_variant(cache, capsys):
    full_part(cache / "xls-r" / "emovo")
    full_part(cache / "xls-r+int8" / "emovo")
    make_part(cache / "xls-r+int8" / "cafe", [row("late", 2)])
    full_part(cache / "mfcc" / "emovo")
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("xls-r ")).endswith("  2 corpora")
    assert next(line for line in lines if line.startswith("mfcc ")).endswith("  1 corpus")
    assert "xls-r+int8: cafe (incomplete), emovo" in lines


def test_whether_a_corpus_is_complete_is_unknown_where_its_manifest_cannot_be_read(cache, capsys):
    full_part(cache / "xls-r" / "cafe")
    full_part(cache / "xls-r" / "emovo")
    (cache.parent / "manifests").mkdir()
    (cache.parent / "manifests" / "cafe.csv").write_bytes(b"\xff\n")
    assert run(["models"]) == 3
    told = capsys.readouterr()
    assert "xls-r: cafe (unknown whether complete), emovo" in told.out.splitlines()
    assert told.err == "skipped: manifests/cafe.csv, row 1: not UTF-8; save it as UTF-8.\n"


def test_where_nothing_is_cached_nothing_is_said_of_it(capsys):
    assert run(["models"]) == 0
    assert "Cached" not in capsys.readouterr().out
