"""What a writer leaves on disk: features before the states that vouch for them, whatever goes wrong."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from small_parts import features, folder_in, full_part, make_part, row, utterance

from ser_cache.errors import CacheError
from ser_cache.store import (
    DONE,
    FAILED,
    PENDING,
    SUPERSEDED,
    PartWriter,
    open_features,
    read_failures,
    read_states,
    summaries,
    verify_part,
    writer,
)
from ser_cache.store.failures import update_failures


def test_data_reaches_the_disk_before_the_state_that_vouches_for_it(tmp_path, monkeypatch):
    part = make_part(folder_in(tmp_path), [row("a", 2), row("b", 2)])
    calls: list[str] = []
    places = sorted((position, name) for name, position in part.positions.items())
    real = os.pwrite

    def note(descriptor, data, start):
        calls.append([name for position, name in places if position <= start][-1])
        return real(descriptor, data, start)

    monkeypatch.setattr(os, "pwrite", note)
    monkeypatch.setattr(writer, "_sync", lambda descriptor: calls.append("flush"))
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
        writer_.fail(1, "too loud")
    once = ["hidden"] * 3 + ["mean", "std", "checksum"]
    assert calls == [*once, "flush", "state", "state", "flush"]


def test_features_of_another_shape_or_type_are_refused(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 2)])
    good = features(part, 0)
    with PartWriter(part) as writer_:
        with pytest.raises(ValueError, match="hidden is float32"):
            writer_.write(0, {**good, "hidden": good["hidden"].astype(np.float32)})
        with pytest.raises(ValueError, match="mean is"):
            writer_.write(0, {**good, "mean": good["mean"][:2]})
    assert read_states(part).tolist() == [PENDING]


def test_a_failed_row_that_succeeds_leaves_the_failures_file(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3), row("b", 2)])
    with PartWriter(part) as writer_:
        writer_.fail(0, "not audio")
        writer_.fail(1, "not audio either")
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
    assert read_states(part).tolist() == [DONE, FAILED]
    assert read_failures(part.path.parent) == {"b": "not audio either"}
    with PartWriter(part) as writer_:
        writer_.write(1, features(part, 1))
    assert not (part.path.parent / "failures.csv").exists()
    assert verify_part(part.path) == []


def test_a_retired_row_whose_reason_cannot_be_removed_is_a_named_error(tmp_path):
    part = full_part(folder_in(tmp_path))
    (part.path.parent / "failures.csv").mkdir()
    with PartWriter(part) as retiring, pytest.raises(CacheError, match=r"failures.csv cannot be written"):
        retiring.supersede([1])
    assert read_states(part).tolist() == [DONE, SUPERSEDED, DONE]


def test_a_failed_row_stays_failed_until_its_features_are_on_disk(tmp_path, monkeypatch):
    part = make_part(folder_in(tmp_path), [row("a", 3), row("b", 2)])
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
        writer_.fail(1, "not audio")
    real = os.pwrite

    def tear(descriptor, data, start):
        real(descriptor, data[: len(data) // 2], start)
        raise OSError(5, "Input/output error")  # stands for a kill in mid-write

    with monkeypatch.context() as patched, PartWriter(part) as writer_:
        patched.setattr(os, "pwrite", tear)
        with pytest.raises(CacheError, match="Input/output error"):
            writer_.write(1, features(part, 1))
    assert read_states(part).tolist() == [DONE, FAILED]
    assert open_features(folder_in(tmp_path), [utterance("a"), utterance("b")]).failed == {"b": "not audio"}
    assert verify_part(part.path) == []


def test_failures_alone_reach_the_disk_in_time(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 2), row("b", 2)])
    with PartWriter(part, flush_seconds=0) as writer_:
        writer_.fail(0, "too loud")
        assert read_failures(part.path.parent) == {"a": "too loud"}
        assert read_states(part).tolist() == [FAILED, PENDING]


def test_reasons_are_removed_whatever_kind_of_iterable_names_them(tmp_path):
    update_failures(tmp_path, {"a": "x", "b": "y", "c": "z"}, ())
    update_failures(tmp_path, {}, iter(["a", "b", "c"]))
    assert read_failures(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_thousands_of_reasons_are_updated_at_once(tmp_path):
    evaluations = []

    class Ids(list):
        def __iter__(self):
            evaluations.append(1)
            return super().__iter__()

    update_failures(tmp_path, {f"u{n}": "x" for n in range(2000)}, ())
    update_failures(tmp_path, {}, Ids(f"u{n}" for n in range(1, 2000)))
    assert len(evaluations) == 1
    assert read_failures(tmp_path) == {"u0": "x"}


def test_a_reason_whose_quote_is_never_closed_hides_what_follows_and_stops_nothing(tmp_path):
    (tmp_path / "failures.csv").write_text('id,reason\na,x\nb,"oops\n' + "c,y\n" * 50_000, encoding="utf-8")
    assert read_failures(tmp_path) == {"a": "x"}
    update_failures(tmp_path, {"d": "z"}, ())
    assert read_failures(tmp_path) == {"a": "x", "d": "z"}


def test_a_pending_row_can_be_superseded_and_the_part_stays_sound(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3)])
    with part.path.open("r+b") as file:
        file.seek(part.positions["hidden"])
        file.write(b"torn")  # what a killed writer may leave in a pending row
    with PartWriter(part) as writer_:
        writer_.supersede([0])
    assert verify_part(part.path) == []
    assert summaries(tmp_path)[0].pending == 0


@contextmanager
def file_size_limit(size):
    """The system says EFBIG where a full disk says ENOSPC; both are treated alike.

    Lifted before the test ends: the test runner's own log may be a file, and longer than the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [100, 20_000, 100_000])
def test_a_full_disk_at_creation_leaves_nothing_behind(tmp_path, limit):
    message = r"no space left for \S*part-0000.h5 .File too large.: .* the same command"
    with file_size_limit(limit), pytest.raises(CacheError, match=message):
        make_part(folder_in(tmp_path), [row("a", 50_000)])
    assert list(folder_in(tmp_path).iterdir()) == []


def test_a_full_disk_in_mid_run_keeps_what_is_there_and_the_rest_follows(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 5000), row("b", 5000)])
    writer_ = PartWriter(part)
    writer_.write(0, features(part, 0))
    writer_.commit()
    limit = part.positions["hidden"] + 40_000
    with file_size_limit(limit), pytest.raises(CacheError, match="no space left for"):
        writer_.write(1, features(part, 1))
    writer_.close()
    assert read_states(part).tolist() == [DONE, PENDING]
    assert verify_part(part.path) == []
    with PartWriter(part) as again:
        again.write(1, features(part, 1))
    assert verify_part(part.path) == []


def test_after_a_failed_flush_nothing_claims_to_be_done(tmp_path, monkeypatch):
    part = make_part(folder_in(tmp_path), [row("a", 3)])
    writer_ = PartWriter(part)
    writer_.write(0, features(part, 0))

    def refuse(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(writer, "_sync", refuse)
        with pytest.raises(CacheError, match="Input/output error"):
            writer_.commit()
    writer_.close()
    assert read_states(part).tolist() == [PENDING]
