"""What is written is read: every row, layer and tier, by any number of readers and processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_parts import (
    SAMPLES,
    WIDTH,
    features,
    fingerprint,
    folder_in,
    full_part,
    make_part,
    row,
    utterance,
)

from ser_cache.errors import CacheError, LockedError, VanishedPartError
from ser_cache.store import (
    CODECS,
    OVERHEAD,
    PartWriter,
    Row,
    create_part,
    folder_lock,
    open_features,
    open_part,
    part_paths,
    read_states,
    seal,
    verify_part,
)

shapes = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    frames=shapes,
    width=st.integers(1, 9),
    layers=st.sets(st.integers(0, 30), min_size=1, max_size=5),
    codec=st.sampled_from(sorted(CODECS)),
    average=st.integers(1, 5),
    name=st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=5),
    data=st.data(),
)
def test_what_is_written_is_read(frames, width, layers, codec, average, name, data):
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder_in(Path(temporary))
        rows = [row(f"{place}{name}", count) for place, count in enumerate(frames)]
        kind = fingerprint(codec, sorted(layers), frame_average=average)
        part = create_part(folder / "part-0000.h5", kind, rows, width, {})
        order = data.draw(st.permutations(range(len(rows))))
        with PartWriter(part, flush_seconds=0) as writer_:
            for place in order:
                writer_.write(place, features(part, place))
        assert verify_part(part.path) == []
        wanted = data.draw(st.permutations(range(len(rows))))
        with open_features(folder, [utterance(rows[place].id) for place in wanted]) as cached:
            assert (cached.layers, cached.width) == (tuple(sorted(layers)), width)
            assert cached.frames.tolist() == [-(-frames[place] // average) for place in wanted]
            assert cached.fingerprint == kind
            for index, place in enumerate(wanted):
                expected = features(part, place)
                hidden = expected["hidden"]
                if codec == "int8":
                    hidden = hidden.astype(np.float32) * expected["scale"][:, None]
                assert cached.hidden(index).dtype == hidden.dtype
                np.testing.assert_array_equal(cached.hidden(index), hidden)
                sizes = cached.group_sizes(index)
                assert sizes.sum() == frames[place]
                assert all(size == average for size in sizes[:-1])
                for at, layer in enumerate(cached.layers):
                    np.testing.assert_array_equal(cached.mean(layer)[index], expected["mean"][at])
                    np.testing.assert_array_equal(cached.std(layer)[index], expected["std"][at])


def test_the_pooled_tier_keeps_time_means_and_no_frames(tmp_path):
    part = full_part(folder_in(tmp_path), fingerprint=fingerprint("fp32", tier="pooled"))
    assert part.path.stat().st_size < OVERHEAD
    assert verify_part(part.path) == []
    with open_features(folder_in(tmp_path), [utterance("u02"), utterance("u00")]) as cached:
        assert cached.tier == "pooled"
        np.testing.assert_array_equal(cached.mean(2)[0], features(part, 2)["mean"][2])
        np.testing.assert_array_equal(cached.std(0)[1], features(part, 0)["std"][0])
        with pytest.raises(CacheError, match=r"keeps time means only, no frames: extract with --tier frames"):
            cached.hidden(0)


def test_a_choice_of_layers_comes_in_the_order_asked_for(tmp_path):
    part = full_part(folder_in(tmp_path), fingerprint=fingerprint(layers=(3, 5, 6, 7)))
    whole = features(part, 2)["hidden"]
    with open_features(folder_in(tmp_path), [utterance("u02")]) as cached:
        np.testing.assert_array_equal(cached.hidden(0, [5]), whole[1:2])
        np.testing.assert_array_equal(cached.hidden(0, [3, 6]), whole[[0, 2]])
        np.testing.assert_array_equal(cached.hidden(0, [7, 3]), whole[[3, 0]])
        np.testing.assert_array_equal(cached.hidden(0, [5, 5]), whole[[1, 1]])
        assert cached.hidden(0, []).shape == (0, 7, WIDTH)
        with pytest.raises(CacheError, match=r"layer 4 .* is not cached; cached: 3, 5, 6, 7\."):
            cached.hidden(0, [4])
        with pytest.raises(CacheError, match="layer 0"):
            cached.mean(0)


def test_hidden_states_are_read_only_views_of_the_map(tmp_path):
    full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u00")]) as cached:
        view = cached.hidden(0)
        assert not view.flags.owndata
        assert not view.flags.writeable
        assert np.shares_memory(view, cached.hidden(0, [1]))
        assert np.shares_memory(view, cached.hidden(0, [0, 2]))
    assert view.sum() == cached.hidden(0).sum(), "views outlive close, and close is not the end"


def test_rows_of_other_utterances_are_ignored(tmp_path):
    full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u02"), utterance("u00")]) as cached:
        assert cached.ids == ("u02", "u00")
        assert cached.mean(1).shape == (2, WIDTH)


def test_several_parts_are_one_corpus_and_few_maps_are_open(tmp_path, monkeypatch):
    monkeypatch.setattr("ser_cache.store.reader._MAPS", 1)
    folder = folder_in(tmp_path)
    parts = [full_part(folder, number=number) for number in range(3)]
    wanted = [f"u{number}{place}" for place in range(3) for number in (2, 0, 1)]
    with open_features(folder, [utterance(name) for name in wanted]) as cached:
        for index, name in enumerate(wanted):
            number, place = int(name[1]), int(name[2])
            expected = features(parts[number], place)
            np.testing.assert_array_equal(cached.hidden(index), expected["hidden"])
            np.testing.assert_array_equal(cached.mean(2)[index], expected["mean"][2])
            assert len(cached._maps) == 1


def test_failed_utterances_are_left_out_with_their_reason(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3), row("b", 0), row("c", 3)])
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
        writer_.fail(1, 'too short, "really"\nsee above')
        writer_.fail(2, "not audio")
    with open_features(folder_in(tmp_path), [utterance(name) for name in "abc"]) as cached:
        assert cached.ids == ("a",)
        assert cached.failed == {"b": 'too short, "really"\nsee above', "c": "not audio"}
    assert verify_part(part.path) == []
    (part.path.parent / "failures.csv").unlink()
    assert open_features(folder_in(tmp_path), [utterance("c")]).failed == {"c": "no reason is recorded"}


def test_a_superseded_row_gives_way_to_the_one_in_a_later_part(tmp_path):
    folder = folder_in(tmp_path)
    old = full_part(folder, frames=(4, 2))
    with PartWriter(old) as writer_:
        writer_.supersede([0])
    new = make_part(folder, [Row("u00", SAMPLES, "e" * 64, 2)], 1)
    with PartWriter(new) as writer_:
        writer_.write(0, features(new, 0, seed=9))
    wanted = [utterance("u00", "e" * 64), utterance("u01")]
    with open_features(folder, wanted) as cached:
        np.testing.assert_array_equal(cached.hidden(0), features(new, 0, seed=9)["hidden"])
        np.testing.assert_array_equal(cached.hidden(1), features(old, 1)["hidden"])
    assert verify_part(old.path) == []


def test_a_superseded_row_without_a_successor_is_missing(tmp_path):
    part = full_part(folder_in(tmp_path))
    with PartWriter(part) as writer_:
        writer_.supersede([0])
    with pytest.raises(CacheError, match="1 of 2 missing"):
        open_features(folder_in(tmp_path), [utterance("u00", "e" * 64), utterance("u01")])


def cut_short(path: Path) -> None:
    os.truncate(path, 4096)


@pytest.mark.parametrize(
    ("change", "words"), [(Path.unlink, "is not there any more"), (cut_short, "was replaced while")]
)
def test_a_part_that_vanishes_while_it_is_opened_is_one_clear_line(tmp_path, change, words):
    part = full_part(folder_in(tmp_path))
    change(part.path)
    with pytest.raises(CacheError, match=words):
        read_states(part)


def test_a_part_that_vanishes_between_its_seal_and_its_header_is_one_clear_line(tmp_path, monkeypatch):
    part = full_part(folder_in(tmp_path))
    checked = seal.check_seal(part.path)
    monkeypatch.setattr("ser_cache.store.part.check_seal", lambda path: path.unlink() or checked)
    with pytest.raises(VanishedPartError, match="is not there any more"):
        open_part(part.path)


def test_a_vanished_part_is_one_clear_line(tmp_path):
    part = full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u00")]) as cached:
        part.path.unlink()
        with pytest.raises(CacheError, match="is not there any more"):
            cached.hidden(0)


def test_a_part_that_vanishes_under_a_reader_is_told_with_who_is_at_it(tmp_path, monkeypatch):
    full_part(folder_in(tmp_path))
    listed = [*part_paths(folder_in(tmp_path)), folder_in(tmp_path) / "part-0001.h5"]
    monkeypatch.setattr("ser_cache.store.opening.part_paths", lambda folder: listed)
    with folder_lock(folder_in(tmp_path)), pytest.raises(LockedError, match="is being written by process"):
        open_features(folder_in(tmp_path), [utterance("u00")])
    with pytest.raises(VanishedPartError, match="is not there any more"):
        open_features(folder_in(tmp_path), [utterance("u00")])


def test_features_can_be_pickled_to_another_process(tmp_path):
    full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u00")]) as cached:
        expected = cached.hidden(0)
        copy = pickle.loads(pickle.dumps(cached))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(copy.hidden(0), expected)


FORKED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_parts import utterance
from ser_cache.store import open_features
with open_features(Path(sys.argv[1]), [utterance("u00"), utterance("u02")]) as cached:
    expected = [cached.hidden(i).tobytes() for i in (0, 1)]
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            same = [cached.hidden(i).tobytes() for i in (0, 1)] == expected
            os._exit(0 if same else 1)
        children.append(child)
    sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""


def test_forked_workers_read_the_same_features(tmp_path):
    full_part(folder_in(tmp_path))
    command = [sys.executable, "-c", FORKED, str(folder_in(tmp_path)), str(Path(__file__).parent)]
    subprocess.run(command, check=True, timeout=60)


def test_a_reader_works_while_a_writer_fills_the_same_part(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3), row("b", 2)])
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
        writer_.commit()
        with open_features(folder_in(tmp_path), [utterance("a")]) as cached:
            writer_.write(1, features(part, 1))
            np.testing.assert_array_equal(cached.hidden(0), features(part, 0)["hidden"])


@pytest.mark.parametrize("number", [0, 5])
def test_a_part_that_another_has_replaced_is_not_read_as_the_first(tmp_path, number):
    folder = folder_in(tmp_path)
    full_part(folder, (4, 4, 4), number)
    utterances = [utterance(f"u{number}{place}") for place in range(3)]
    cached = open_features(folder, utterances)
    (path,) = part_paths(folder)
    path.unlink()
    rows = [row(f"u{number}{place}", 4) for place in (2, 0, 1)]
    part = make_part(folder, rows, number)
    with PartWriter(part) as writer_:
        for place in range(3):
            writer_.write(place, features(part, place, seed=9))
    with pytest.raises(CacheError, match="was replaced while it was in use: run the same command again"):
        cached.hidden(0)
