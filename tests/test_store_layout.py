"""A part before its first feature: its fingerprint, its layout on disk, its number."""

from __future__ import annotations

import itertools
import os

import h5py
import numpy as np
import pytest
from small_parts import WIDTH, features, fingerprint, folder_in, full_part, make_part, row

from ser_cache.errors import CacheError
from ser_cache.store import (
    DONE,
    OVERHEAD,
    PENDING,
    Fingerprint,
    differences,
    frame_bytes,
    next_number,
    read_states,
    row_bytes,
    serves,
    verify_part,
)
from ser_cache.store.part import part_paths
from ser_cache.store.schema import STATE_DTYPE, STATES


def test_a_difference_names_the_setting_and_both_values():
    assert differences(fingerprint(), fingerprint(context="full")) == ["context: cache 'audio', asked 'full'"]
    assert differences(fingerprint(cut={"seconds": 6}), fingerprint()) == [
        "cut.seconds: cache 6, asked nothing"
    ]
    assert differences(fingerprint(), fingerprint()) == []


def test_a_long_hash_is_shown_by_its_first_digits():
    (line,) = differences(fingerprint(), fingerprint(weights="v" * 64))
    assert line == "weights: cache 'wwwwwwwwwwww...', asked 'vvvvvvvvvvvv...'"


def test_a_superset_of_layers_serves_and_nothing_else_does():
    assert serves(fingerprint(layers=(0, 1, 2)), fingerprint(layers=(2,)))
    assert not serves(fingerprint(layers=(2,)), fingerprint(layers=(0, 1, 2)))
    assert not serves(fingerprint("fp32"), fingerprint("fp16"))
    assert not serves(fingerprint(), fingerprint(context="full"))


def test_a_fingerprint_survives_json_and_does_not_depend_on_order_or_tuples():
    one = Fingerprint({"a": (1, 2), "b": 1}, fingerprint().storage)
    other = Fingerprint({"b": 1, "a": [1, 2]}, fingerprint().storage)
    assert one == other
    assert one.digest == other.digest == Fingerprint.from_json(one.to_json()).digest


def test_no_single_byte_turns_one_state_into_another():
    for one, other in itertools.combinations(STATES, 2):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= 2


def test_any_hdf5_reader_opens_a_part(tmp_path):
    part = full_part(folder_in(tmp_path), fingerprint=fingerprint("fp32"))
    with h5py.File(part.path, "r") as file:
        assert file["hidden"].shape == (3, 12, WIDTH)
        assert file["hidden"].chunks is None
        np.testing.assert_array_equal(file["hidden"][:, 4:5], features(part, 1)["hidden"])
        assert file["offsets"][:].tolist() == [0, 4, 5, 12]
        assert set(file["state"][:].tolist()) == {DONE}
        assert file["hidden"].id.get_offset() == part.positions["hidden"]


def test_feature_datasets_start_on_a_page(tmp_path):
    part = make_part(folder_in(tmp_path), [row(f"u{place}", 9) for place in range(200)])
    assert all(part.positions[name] % 4096 == 0 for name in ("hidden", "mean", "std"))


def test_a_part_has_all_its_disk_space_before_the_first_feature(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 50_000)])
    status = part.path.stat()
    assert status.st_blocks * 512 >= status.st_size > 50_000 * 3 * WIDTH * 2


def test_a_file_system_without_fallocate_gets_zeros_and_keeps_its_states(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    part = make_part(folder_in(tmp_path), [row("a", 50_000), row("b", 1)])
    assert part.path.stat().st_blocks * 512 >= part.path.stat().st_size
    assert read_states(part).tolist() == [PENDING, PENDING]
    assert verify_part(part.path) == []


def test_the_planned_size_is_close_to_the_file_s(tmp_path):
    rows = [row(f"u{place}", 200) for place in range(100)]
    part = make_part(folder_in(tmp_path), rows)
    planned = 100 * 200 * frame_bytes(part.fingerprint.storage, WIDTH)
    planned += 100 * (row_bytes(part.fingerprint.storage, WIDTH) + len("u99"))
    assert planned < part.path.stat().st_size < planned + OVERHEAD


def test_whatever_has_frames_serves_the_pooled_tier():
    pooled = fingerprint("fp32", tier="pooled")
    for kind in (fingerprint(), fingerprint("int8"), fingerprint(frame_average=4), pooled):
        assert serves(kind, pooled)
        assert serves(kind, fingerprint("fp32", (1,), tier="pooled"))
    assert not serves(fingerprint(context="full"), pooled)
    assert not serves(pooled, fingerprint("fp32"))
    assert not serves(fingerprint(layers=(1,)), pooled)
    assert not serves(fingerprint(frame_average=2), fingerprint())


def test_a_part_that_exists_is_never_overwritten(tmp_path):
    part = full_part(folder_in(tmp_path))
    before = part.path.read_bytes()
    with pytest.raises(CacheError, match=r"part-0000.h5 exists already and was left as it is"):
        make_part(folder_in(tmp_path), [row("other", 2)])
    assert part.path.read_bytes() == before


def test_the_next_number_is_above_all_that_exist(tmp_path):
    assert next_number([]) == 0
    names = ("part-0001.h5", "part-0012.h5", "part-copy.h5")
    assert next_number([tmp_path / name for name in names]) == 13


@pytest.mark.parametrize("rows", [3, 700, 5000])
def test_states_lie_before_features(tmp_path, rows):
    """A copy made from front to back beside a writer then never calls a row done whose features it lacks."""
    part = make_part(folder_in(tmp_path), [row(f"u{number:05d}", 1) for number in range(rows)])
    last = part.positions["state"] + STATE_DTYPE.itemsize * rows
    assert last <= min(part.positions[name] for name in ("hidden", "mean", "std"))


def test_parts_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10_000, 2, 9_999):
        (tmp_path / f"part-{number:04d}.h5").touch()
    assert [path.stem for path in part_paths(tmp_path)] == ["part-0002", "part-9999", "part-10000"]
