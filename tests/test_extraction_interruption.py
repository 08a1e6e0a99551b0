"""Ctrl-C, a full disk, a second run: what is done stays, and a resume gives the same bits."""

from __future__ import annotations

import dataclasses
import shutil
import threading

import numpy as np
import pytest
from fake_extraction import SMALL, content, forget, run, sound
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.errors import CacheError, LockedError
from ser_cache.extraction import ExtractionOptions
from ser_cache.store import (
    DONE,
    FAILED,
    PENDING,
    PartWriter,
    open_features,
    open_part,
    part_paths,
    read_states,
    summaries,
)


class Interrupted(FakeExtractor):
    """Ctrl-C during the n-th batch."""

    stop_at = 3

    def forward(self, batch, layers, emit):
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt
        super().forward(batch, layers, emit)


def test_an_interrupted_run_keeps_what_is_done_and_the_next_gives_the_same_bits(folder, corpus):
    run(corpus, folder.with_name("whole"))
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(corpus, folder, Interrupted())
    states = read_states(open_part(part_paths(folder)[0])).tolist()
    assert 0 < states.count(DONE) < 20
    assert states.count(DONE) + states.count(PENDING) == 20
    assert not (folder / ".lock").exists()
    assert sound(folder)
    assert threading.active_count() == threads
    report = run(corpus, folder)
    assert report.reused == states.count(DONE)
    assert content(folder, corpus.utterances) == content(folder.with_name("whole"), corpus.utterances)


def test_an_interrupted_retry_leaves_failed_rows_failed_and_the_cache_usable(folder, corpus):
    planned = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0003"]
    run(planned, folder, read=corpus.read)
    interrupted = Interrupted()
    interrupted.stop_at = 0
    with pytest.raises(KeyboardInterrupt):
        run(planned, folder, interrupted)
    assert read_states(open_part(part_paths(folder)[0]))[3] == FAILED
    with open_features(folder, planned.utterances) as cached:
        assert (len(cached), list(cached.failed)) == (19, ["clip0003"])
    assert summaries(folder.parent.parent)[0].complete


def test_a_batch_with_a_missing_member_is_repeated_whole(folder, corpus):
    whole = FakeExtractor()
    run(corpus, folder, whole)
    before = content(folder, corpus.utterances)
    part = open_part(part_paths(folder)[0])
    size = max(whole.batches)
    assert size > 1
    forget(part, int(np.argmin(part.samples)))  # the shortest clips share the largest batch
    again = FakeExtractor()
    assert run(corpus, folder, again).done == 1
    assert again.batches == [whole.batches[-1]]
    assert content(folder, corpus.utterances) == before


def test_a_second_extraction_of_the_same_folder_says_who_is_at_it(folder, corpus):
    refused = []

    def try_again(progress):
        if not refused:
            with pytest.raises(LockedError) as caught:
                run(corpus, folder)
            refused.append(str(caught.value))

    run(corpus, folder, on_progress=try_again)
    assert "is being written by process" in refused[0]
    assert len(content(folder, corpus.utterances)) == 20


def test_half_created_parts_of_a_killed_process_are_removed(folder, corpus):
    folder.mkdir(parents=True)
    (folder / ".part-0000.h5.999.tmp").write_bytes(b"half")
    run(corpus, folder)
    assert list(folder.glob("*.tmp")) == []
    assert list(folder.glob(".*.tmp")) == []


def test_an_error_of_the_disk_stops_the_run_and_the_next_one_finishes(folder, corpus, monkeypatch):
    real, calls = PartWriter.write, []

    def write(self, row, features):
        calls.append(row)
        if len(calls) == 8:
            raise CacheError("no space left for part-0000.h5")
        real(self, row, features)

    run(corpus, folder.with_name("whole"))
    with monkeypatch.context() as patched:
        patched.setattr(PartWriter, "write", write)
        with pytest.raises(CacheError, match="no space left"):
            run(corpus, folder)
    assert sound(folder)
    assert run(corpus, folder).reused == 7
    assert content(folder, corpus.utterances) == content(folder.with_name("whole"), corpus.utterances)


def test_a_resume_forms_the_batches_that_the_part_was_begun_with(folder, corpus):
    whole = folder.with_name("whole")
    run(corpus, whole, options=ExtractionOptions(batch_seconds=0.5))
    run(corpus, folder, options=ExtractionOptions(batch_seconds=0.5))
    (path,) = part_paths(folder)
    for row in (3, 8, 15):
        forget(open_part(path), row)
    assert run(corpus, folder, options=ExtractionOptions()).done == 3
    assert content(folder, corpus.utterances) == content(whole, corpus.utterances)


def test_rows_of_a_folder_that_was_deleted_meanwhile_are_not_counted(folder, corpus):
    def delete_early(progress):
        if progress.utterances:
            shutil.rmtree(folder, ignore_errors=True)

    options = dataclasses.replace(SMALL, flush_seconds=0.0)
    with pytest.raises(CacheError, match="was deleted or replaced while it was being filled"):
        run(corpus, folder, options=options, on_progress=delete_early)
    assert run(corpus, folder).done == len(corpus.utterances)
