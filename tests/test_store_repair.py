"""A repair makes exactly what is damaged anew, keeps everything else, and deletes nothing readable."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from fake_extraction import content
from fake_extractor import FakeCorpus, FakeExtractor
from hypothesis import given, settings
from hypothesis import strategies as st
from small_parts import features, fingerprint, flip, folder_in, full_part, make_part, mixed_part, row

from ser_cache.errors import CacheError, LockedError
from ser_cache.extraction import ExtractionOptions, extract
from ser_cache.store import (
    DONE,
    FAILED,
    PENDING,
    SUPERSEDED,
    PartWriter,
    create_part,
    folder_lock,
    inspect_part,
    open_part,
    part_paths,
    read_states,
    repair_folder,
    verify_part,
)

OPTIONS = ExtractionOptions(batch_seconds=0.5, part_bytes=2000)


def extracted(folder: Path) -> FakeCorpus:
    corpus = FakeCorpus.make(np.random.default_rng(8).integers(640, 4000, size=20).tolist())
    folder.mkdir(parents=True)
    assert run(corpus, folder).done == len(corpus.utterances)
    assert len(part_paths(folder)) > 1
    return corpus


def run(corpus: FakeCorpus, folder: Path):
    return extract(FakeExtractor(), corpus.utterances, folder.parent, folder, OPTIONS, None, corpus.read)


def test_a_sound_folder_is_only_read(tmp_path):
    part = full_part(folder_in(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in part.path.parent.iterdir()}
    with folder_lock(part.path.parent, enabled=False):
        report = repair_folder(part.path.parent)
    assert (report.marked, report.set_aside, report.leftovers, report.remake) == ({}, {}, [], None)
    assert {path: path.stat().st_mtime_ns for path in part.path.parent.iterdir()} == before


@pytest.mark.parametrize("where", ["hidden", "mean", "checksum", "state"])
def test_the_damaged_utterance_alone_is_extracted_again_with_the_same_features(tmp_path, where):
    folder = tmp_path / "fake" / "corpus"
    corpus = extracted(folder)
    before = content(folder, corpus.utterances)
    part = open_part(part_paths(folder)[1])
    spans = list(part.spans(2))
    place = {
        "hidden": spans[0][0],
        "mean": spans[-2][0],
        "checksum": part.positions["checksum"] + 2 * 8,
        "state": part.positions["state"] + 2 * 4,
    }[where]
    flip(part.path, place)
    report = repair_folder(folder)
    assert list(report.marked) == [part.ids[2]]
    assert report.remake.command() == "`ser extract --model org/fake --corpus corpus`"
    assert read_states(part)[2] == PENDING
    assert run(corpus, folder).done == 1
    assert content(folder, corpus.utterances) == before
    assert repair_folder(folder).marked == {}


def test_a_broken_part_is_set_aside_and_its_utterances_are_extracted_again(tmp_path):
    folder = tmp_path / "fake" / "corpus"
    corpus = extracted(folder)
    before = content(folder, corpus.utterances)
    path = part_paths(folder)[0]
    rows = len(open_part(path).ids)
    flip(path, 100)
    damaged = path.read_bytes()
    report = repair_folder(folder)
    aside = path.with_name("part-0000.h5.damaged")
    assert report.set_aside == {path: aside}
    assert aside.read_bytes() == damaged
    assert path not in part_paths(folder)
    assert run(corpus, folder).done == rows
    assert content(folder, corpus.utterances) == before


def test_a_part_cut_short_is_set_aside_and_a_second_one_gets_a_number(tmp_path):
    folder = folder_in(tmp_path)
    for expected in ("part-0000.h5.damaged", "part-0000.h5.damaged2", "part-0000.h5.damaged3"):
        part = full_part(folder)
        os.truncate(part.path, 5000)
        assert list(repair_folder(folder).set_aside.values()) == [folder / expected]


def test_rows_that_are_not_used_stay_as_they_are_whatever_their_bytes(tmp_path):
    part = mixed_part(folder_in(tmp_path))
    for place in (1, 2, 3):
        flip(part.path, next(part.spans(place))[0])
    assert repair_folder(part.path.parent).marked == {}
    assert read_states(part).tolist() == [DONE, SUPERSEDED, FAILED, PENDING]


def test_a_damaged_state_becomes_pending_whatever_it_was(tmp_path):
    part = mixed_part(folder_in(tmp_path))
    for place in range(4):
        flip(part.path, part.positions["state"] + 4 * place)
    assert list(repair_folder(part.path.parent).marked) == ["a", "b", "c", "d"]
    assert set(read_states(part)) == {PENDING}


def test_leftovers_of_killed_processes_are_deleted(tmp_path):
    part = full_part(folder_in(tmp_path))
    folder = part.path.parent
    names = [
        ".part-0001.h5.99.tmp",
        ".part-0001.h5.merge.tmp",
        "..part-0001.h5.merge.tmp.99.tmp",
        ".failures.csv.99.tmp",
    ]
    for name in (*names, "notes.tmp", ".hidden"):
        (folder / name).touch()
    assert sorted(path.name for path in repair_folder(folder).leftovers) == sorted(names)
    assert sorted(path.name for path in folder.iterdir()) == [".hidden", "notes.tmp", "part-0000.h5"]


def test_a_part_killed_in_mid_write_needs_no_repair(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3), row("b", 3)])
    writer = PartWriter(part)
    writer.write(0, features(part, 0))
    writer.commit()
    writer._write_at(next(part.spans(1))[0], memoryview(b"half"))
    assert repair_folder(part.path.parent).marked == {}
    writer.close()


def test_a_repair_waits_for_no_writer(tmp_path):
    part = full_part(folder_in(tmp_path))
    flip(part.path, next(part.spans(0))[0])
    with folder_lock(part.path.parent), pytest.raises(LockedError, match="is being written by"):
        repair_folder(part.path.parent)
    assert read_states(part)[0] == DONE
    with folder_lock(part.path.parent):
        assert len(repair_folder(part.path.parent, lock=False).marked) == 1


def test_a_read_only_cache_is_one_clear_line(tmp_path, monkeypatch):
    part = full_part(folder_in(tmp_path))
    flip(part.path, next(part.spans(0))[0])
    real = os.open

    def refuse(path, flags, *arguments, **keywords):
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(30, "Read-only file system")
        return real(path, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CacheError, match=r"cannot be written .Read-only file system.*--cache"):
        repair_folder(part.path.parent)
    assert len(verify_part(part.path)) == 1


def test_a_part_that_cannot_be_read_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    part = full_part(folder_in(tmp_path))
    real = Path.open

    def refuse(self, *arguments, **keywords):
        if self == part.path:
            raise OSError(13, "Permission denied")
        return real(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CacheError, match=r"cannot be read .Permission denied"):
        repair_folder(part.path.parent)
    assert part.path.exists()


def test_a_bad_sector_is_damage_of_the_rows_that_lie_in_it(tmp_path, monkeypatch):
    part = full_part(folder_in(tmp_path))
    bad = {start for start, _ in part.spans(1)}
    real = os.pread

    def pread(descriptor, count, start):
        if start in bad:
            raise OSError(5, "Input/output error")
        return real(descriptor, count, start)

    monkeypatch.setattr(os, "pread", pread)
    assert inspect_part(part.path).rows == {1: "cannot be read (Input/output error)"}


def lost(folder: Path, **provenance: str):
    """What a repair says of a folder whose only part is broken."""
    folder.mkdir(parents=True)
    create_part(folder / "part-0000.h5", fingerprint(), [row("a", 3)], 3, provenance)
    flip(folder / "part-0000.h5", 100)
    return repair_folder(folder).remake


def test_a_model_that_no_part_tells_is_not_known_and_the_folder_s_name_suggests_one(tmp_path):
    remake = lost(tmp_path / "org--model+int8" / "corpus", model="org/model")
    assert not remake.known
    assert remake.command() == "`ser extract --model org/model --corpus corpus --codec int8`"


@pytest.mark.parametrize("other", ["fake/cafe", "fake+int8/corpus"])
def test_another_corpus_or_variant_of_the_backbone_tells_the_model_of_a_lost_part(tmp_path, other):
    (tmp_path / other).mkdir(parents=True)
    told = {"model": "/my models/fake 2", "name": "fake"}
    create_part(tmp_path / other / "part-0000.h5", fingerprint(), [row("a", 3)], 3, told)
    remake = lost(tmp_path / "fake" / "corpus")
    assert remake.known
    assert remake.command() == "`ser extract --model '/my models/fake 2' --name fake --corpus corpus`"


def test_a_command_says_where_things_live_and_can_be_pasted_into_a_shell(tmp_path):
    remake = lost(tmp_path / "fake+pooled" / "corpus")
    places = ["--manifests", "my lists", "--cache", "/a $disk"]
    said = remake.command(places)
    assert said == (
        "`ser extract --model fake --corpus corpus --tier pooled --manifests 'my lists' --cache '/a $disk'`"
    )
    assert shlex.split(said.strip("`"))[-4:] == places


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damaged_byte_is_mended_or_set_aside_and_found_no_more(tmp_path_factory, data):
    folder = folder_in(tmp_path_factory.mktemp("cache"))
    part = full_part(folder, frames=(4, 0, 7))
    position = data.draw(st.integers(0, part.path.stat().st_size - 1))
    flip(part.path, position, data.draw(st.integers(1, 255)))
    found = inspect_part(part.path)
    assert not found.sound
    report = repair_folder(folder)
    assert report.marked or report.set_aside
    assert [problem for path in part_paths(folder) for problem in verify_part(path)] == []
