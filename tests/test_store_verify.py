"""Damage is found wherever it is: in features, columns, HDF5's structures, seal or padding."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from small_parts import features, fingerprint, flip, folder_in, full_part, make_part, mixed_part, row

from ser_cache.errors import CacheError, DamagedPartError
from ser_cache.store import DONE, PENDING, PartWriter, inspect_part, open_part, read_states, seal, verify_part


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A part whose rows are all done, one of them without frames."""
    part = make_part(folder_in(tmp_path_factory.mktemp("cache")), [row(f"u{n}", n * 5) for n in range(12)])
    with PartWriter(part) as writer_:
        for place in range(12):
            writer_.write(place, features(part, place))
    return part.path


def test_a_sound_part_has_no_problems(finished):
    assert verify_part(finished) == []


def test_every_one_of_500_random_flips_is_found(finished):
    generator = np.random.default_rng(7)
    size = finished.stat().st_size
    for _ in range(500):
        position, mask = int(generator.integers(size)), int(generator.integers(1, 256))
        flip(finished, position, mask)
        assert verify_part(finished), f"byte {position} of {size}, mask {mask}"
        flip(finished, position, mask)
    assert verify_part(finished) == []


def test_a_flip_in_each_region_is_found(finished):
    part = open_part(finished)
    starts = [0, 2000, 4095, 4096, *part.positions.values(), finished.stat().st_size - 1]
    for position in starts:
        flip(finished, position, 1)
        assert verify_part(finished), position
        flip(finished, position, 1)


def test_bytes_that_nothing_reads_are_not_judged_and_their_states_are(tmp_path):
    part = mixed_part(folder_in(tmp_path))
    for place in (1, 2, 3):
        flip(part.path, next(part.spans(place))[0], 0xFF)
    assert verify_part(part.path) == []
    for place in range(4):
        flip(part.path, part.positions["state"] + 4 * place, 1)
    assert len(verify_part(part.path)) == 4


def test_flips_in_every_region_are_found_by_the_benchmark_too(finished, script):
    flips = script("flips")
    regions = flips.regions_of(finished)
    assert regions[0][1] == 0
    assert regions[-1][2] == finished.stat().st_size
    assert all(one[2] == other[1] for one, other in itertools.pairwise(regions))
    assert {name for name, _, _ in regions} == {
        *("seal", "header", "padding", "hidden", "pooled", "checksum", "state")
    }
    generator = np.random.default_rng(0)
    for _, start, stop in regions:
        for place in generator.integers(start, stop, size=8).tolist():
            assert flips.is_found(finished, place, int(generator.integers(1, 256))), place
    assert verify_part(finished) == []


def test_progress_of_a_verification_adds_up_to_the_features_bytes(finished):
    part, read = open_part(finished), []
    assert inspect_part(finished, read.append).sound
    assert len(read) == len(part.ids)
    assert sum(read) == sum(count for place in range(len(part.ids)) for _, count in part.spans(place))


def test_a_sound_part_can_be_verified_while_it_is_written(tmp_path):
    part = make_part(folder_in(tmp_path), [row(f"u{place}", 50) for place in range(40)])
    with PartWriter(part) as writer_:
        for place in range(40):
            writer_.write(place, features(part, place))
            if place % 3 == 0:
                writer_.commit()
            assert verify_part(part.path) == []


def test_damage_names_the_utterance_and_spares_the_others(finished):
    part = open_part(finished)
    start, _ = next(part.spans(7))
    flip(finished, start, 0x80)
    problems = verify_part(finished)
    flip(finished, start, 0x80)
    assert problems == [f"{finished}: utterance 'u7' does not match its checksum"]


def test_rows_in_each_other_s_place_are_found(tmp_path):
    part = full_part(folder_in(tmp_path), frames=(4, 4))
    spans = [list(part.spans(place)) for place in (0, 1)]
    content = bytearray(part.path.read_bytes())
    for (one, count), (other, _) in zip(*spans, strict=True):
        content[one : one + count], content[other : other + count] = (
            content[other : other + count],
            content[one : one + count],
        )
    checksums = part.positions["checksum"]
    swapped = content[checksums + 8 : checksums + 16] + content[checksums : checksums + 8]
    content[checksums : checksums + 16] = swapped
    part.path.write_bytes(content)
    assert len(verify_part(part.path)) == 2


@pytest.mark.parametrize("change", [b"", b"x", b"x" * 5000])
def test_a_file_that_is_no_part_is_named(tmp_path, change):
    path = tmp_path / "part-0000.h5"
    path.write_bytes(change)
    (problem,) = verify_part(path)
    assert str(path) in problem
    assert "is no part of a cache" in problem


def test_a_cut_or_extended_file_is_found(tmp_path):
    part = full_part(folder_in(tmp_path))
    whole = part.path.read_bytes()
    for content in (whole[:-1], whole[:4096], whole + b"\0"):
        part.path.write_bytes(content)
        (problem,) = verify_part(part.path)
        assert f"has {len(content)} bytes where {len(whole)} were written" in problem


def test_a_missing_file_is_one_clear_line(tmp_path):
    (problem,) = verify_part(tmp_path / "part-0000.h5")
    assert problem.endswith("is not there any more, as after `ser cache merge`: run the same command again.")


def test_a_part_of_another_schema_is_refused_by_name(tmp_path):
    part = full_part(folder_in(tmp_path))
    with part.path.open("r+b") as file:
        content = json.loads(file.read(seal.USER_BLOCK)) | {"schema": 99}
        content["sha256"] = seal._digest(file, content, content["bytes"])
        file.seek(0)
        file.write(seal._block(content))
    with pytest.raises(CacheError, match="has layout 99, and this version reads 1") as caught:
        open_part(part.path)
    assert not isinstance(caught.value, DamagedPartError)  # so that repair leaves it alone


def test_a_damaged_layout_number_is_damage(tmp_path):
    part = full_part(folder_in(tmp_path))
    block = part.path.read_bytes()[: seal.USER_BLOCK].replace(b'"schema":1', b'"schema":3')
    with part.path.open("r+b") as file:
        file.write(block)
    with pytest.raises(DamagedPartError):
        open_part(part.path)


def test_a_part_whose_writer_was_killed_is_sound_as_far_as_it_goes(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3), row("b", 3)], fingerprint=fingerprint("fp32"))
    writer_ = PartWriter(part)
    writer_.write(0, features(part, 0))
    writer_.commit()
    writer_.write(1, features(part, 1))  # never committed
    assert verify_part(part.path) == []
    assert read_states(part).tolist() == [DONE, PENDING]
    writer_.close()
