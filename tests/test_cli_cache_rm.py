"""``ser cache rm`` as a user types it: asked for, refused, and nothing of anybody else's deleted."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from small_parts import make_two_backbones

from ser_cache.cli import run
from ser_cache.store import (
    cached_folders,
    folder_lock,
)


@pytest.fixture
def cache(empty_folder: Path) -> Path:
    """The folder is the working directory's own."""
    return make_two_backbones(empty_folder)


def test_rm_needs_yes_where_nobody_can_be_asked(cache, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run(["cache", "rm", "xls-r"]) == 1
    assert "nobody is there to be asked, so nothing was deleted; add --yes" in capsys.readouterr().err
    assert len(cached_folders(cache)) == 3


@pytest.mark.parametrize(("answer", "left"), [("y\n", 1), ("n\n", 3), ("\n", 3)])
def test_rm_shows_what_would_go_and_asks(cache, capsys, monkeypatch, answer, left):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    assert run(["cache", "rm", "xls-r"]) == 0
    output = capsys.readouterr()
    assert "cache/xls-r/cafe: " in output.out
    assert "Delete 2 folders, " in output.out + output.err
    assert ("Nothing was deleted." in output.err) == (left == 3)
    assert len(cached_folders(cache)) == left


def test_rm_deletes_one_corpus_and_then_the_backbone_s_folder(cache):
    (cache / "xls-r" / "cafe" / ".lock").touch()
    (cache / "xls-r" / "cafe" / "failures.csv").write_text("id,reason\n")
    (cache / "xls-r" / "cafe" / "part-0003.h5.damaged").touch()
    (cache / "xls-r" / "cafe" / ".part-0004.h5.merge.tmp").touch()
    assert run(["cache", "rm", "xls-r", "--corpus", "cafe", "--yes"]) == 0
    assert sorted(path.name for path in (cache / "xls-r").iterdir()) == ["emovo"]
    assert run(["cache", "rm", "xls-r", "--yes"]) == 0
    assert sorted(path.name for path in cache.iterdir()) == ["hubert+int8"]


def test_rm_leaves_and_names_what_the_cache_did_not_make(cache, capsys):
    own = cache / "xls-r" / "cafe" / "notes.txt"
    own.write_text("mine")
    assert run(["cache", "rm", "xls-r", "--yes"]) == 0
    assert "left, not made by the cache: cache/xls-r/cafe/notes.txt" in capsys.readouterr().err
    assert [path for path in cache.joinpath("xls-r").rglob("*") if path.is_file()] == [own]


def test_rm_refuses_while_a_writer_holds_the_folder(cache, capsys):
    with folder_lock(cache / "xls-r" / "emovo"):
        assert run(["cache", "rm", "xls-r", "--corpus", "emovo", "--yes"]) == 1
        assert "is being written by process" in capsys.readouterr().err
        assert run(["cache", "rm", "xls-r", "--corpus", "emovo", "--yes", "--no-lock"]) == 0
    assert not (cache / "xls-r" / "emovo").exists()


def test_rm_of_an_unknown_backbone_lists_the_known_ones(cache, capsys):
    assert run(["cache", "rm", "xlsr", "--yes"]) == 1
    assert "Known: hubert+int8, xls-r." in capsys.readouterr().err
