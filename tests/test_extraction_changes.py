"""A corpus or a cache that changed between runs: what changed is extracted, the rest keeps its bytes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_extraction import SMALL, content, forget, run, sound
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.errors import CacheError, StaleCacheError
from ser_cache.extraction import extract
from ser_cache.store import (
    SUPERSEDED,
    open_features,
    open_part,
    part_paths,
    read_failures,
    read_states,
    summaries,
)


def test_a_row_with_a_damaged_state_is_extracted_again(folder, corpus):
    run(corpus, folder)
    before = content(folder, corpus.utterances)
    part = open_part(part_paths(folder)[0])
    with part.path.open("r+b") as file:
        file.seek(part.positions["state"] + 8)
        file.write(b"x")
    assert "rows of a damaged state: 1;" in summaries(folder.parent.parent)[0].damaged
    with pytest.raises(CacheError, match="1 of 20 missing"):
        open_features(folder, corpus.utterances)
    assert run(corpus, folder).done == 1
    assert content(folder, corpus.utterances) == before


def test_new_utterances_alone_are_extracted_into_a_new_part(folder, corpus):
    run(corpus, folder)
    before = content(folder, corpus.utterances)
    corpus.audio |= {f"new{place}": clip for place, clip in FakeCorpus.make([900, 2000], 5).audio.items()}
    extractor = FakeExtractor()
    report = run(corpus, folder, extractor)
    assert (report.done, report.reused) == (2, 20)
    assert len(part_paths(folder)) == 2
    after = content(folder, corpus.utterances)
    assert {id_: after[id_] for id_ in before} == before
    assert sound(folder)


def test_changed_audio_is_superseded_and_the_rest_is_left_alone(folder, corpus):
    run(corpus, folder)
    before = content(folder, corpus.utterances)
    corpus.audio["clip0004"] = np.tile(corpus.audio["clip0004"], 2)
    with pytest.raises(StaleCacheError, match="'clip0004'"):
        open_features(folder, corpus.utterances)
    report = run(corpus, folder)
    assert (report.done, report.reused) == (1, 19)
    old, new = (open_part(path) for path in part_paths(folder))
    assert read_states(old)[4] == SUPERSEDED
    assert new.ids == ("clip0004",)
    after = content(folder, corpus.utterances)
    assert after.pop("clip0004") != before.pop("clip0004")
    assert after == before
    assert sound(folder)


def test_audio_that_changes_in_mid_extraction_is_superseded_while_pending(folder, corpus):
    run(corpus, folder)
    part = open_part(part_paths(folder)[0])
    forget(part, 4)
    corpus.audio["clip0004"] = corpus.audio["clip0004"] * 2
    assert run(corpus, folder).done == 1
    assert len(content(folder, corpus.utterances)) == 20
    assert sound(folder)


def test_rows_gone_from_the_manifest_are_left_and_ignored(folder, corpus):
    run(corpus, folder)
    del corpus.audio["clip0000"]
    report = run(corpus, folder)
    assert (report.done, report.reused) == (0, 19)
    assert len(content(folder, corpus.utterances)) == 19


def test_rows_gone_from_the_manifest_do_not_leave_a_cache_incomplete_for_ever(folder, corpus):
    whole = FakeCorpus(dict(corpus.audio))
    del corpus.audio["clip0003"]
    run(whole, folder, read=corpus.read)
    part = open_part(part_paths(folder)[0])
    forget(part, 7)
    for gone in ("clip0000", "clip0007"):  # clip0000 is done, clip0003 failed, clip0007 is pending
        del corpus.audio[gone]
    assert not summaries(folder.parent.parent)[0].complete
    missing_audio = Path("/nonexistent")
    report = extract(FakeExtractor(), corpus.utterances, missing_audio, folder, SMALL, None, corpus.read)
    assert (report.done, report.reused) == (0, 17)
    assert read_states(part).tolist().count(SUPERSEDED) == 2
    (summary,) = summaries(folder.parent.parent)
    assert (summary.complete, summary.done, summary.failed) == (True, 18, 0)
    assert read_failures(folder) == {}
    report = run(whole, folder)
    assert (report.done, report.reused) == (2, 18)
    assert len(content(folder, whole.utterances)) == 20
    assert sound(folder)


def test_a_deleted_part_is_made_again_and_the_others_are_not_touched(folder, corpus):
    options = dataclasses.replace(SMALL, part_bytes=2000)
    run(corpus, folder, options=options)
    before = content(folder, corpus.utterances)
    paths = part_paths(folder)
    assert len(paths) > 2
    lost = set(open_part(paths[0]).ids)
    paths[0].unlink()
    others = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths[1:]}
    report = run(corpus, folder, options=options)
    assert set(open_part(part_paths(folder)[-1]).ids) == lost
    assert report.done == len(lost)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths[1:]} == others
    assert content(folder, corpus.utterances) == before
    assert sound(folder)
