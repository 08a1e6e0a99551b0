from __future__ import annotations

import itertools
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_cache.errors import CacheError, StaleCacheError
from ser_cache.manifest import Utterance
from ser_cache.store import (
    CODECS,
    DONE,
    FAILED,
    OVERHEAD,
    PENDING,
    Fingerprint,
    Part,
    PartWriter,
    Row,
    create_part,
    differences,
    frame_bytes,
    next_number,
    open_features,
    open_part,
    part_paths,
    read_failures,
    read_states,
    row_bytes,
    serves,
    summaries,
    verify_part,
    writer,
)
from ser_cache.store.commands import extract_command
from ser_cache.store.failures import update_failures
from ser_cache.store.schema import STATES

WIDTH = 3


def fingerprint(
    codec: str = "fp16",
    layers: Sequence[int] = (0, 1, 2),
    tier: str = "frames",
    frame_average: int = 1,
    **features: Any,
) -> Fingerprint:
    storage = {"codec": codec, "layers": layers, "tier": tier, "frame_average": frame_average, "schema": 1}
    return Fingerprint({"weights": "w" * 64, "context": "audio", **features}, storage)


def audio_hash(name: str) -> str:
    return (name.encode().hex() * 64)[:64]


def row(name: str, frames: int) -> Row:
    return Row(name, frames * 320, audio_hash(name), frames)


def utterance(name: str, sha256: str = "") -> Utterance:
    return Utterance(name, f"{name}.wav", "s", "anger", "A", "it", 320, sha256 or audio_hash(name))


def features(part: Part, place: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng([seed, place])
    layers, width = len(part.layers), part.width
    return {
        field.name: (
            10
            * generator.standard_normal(
                (layers, part.frames(place), width) if field.per_frame else (layers, width)
            )
        ).astype(field.dtype)
        for field in part.fields
    }


def make_part(folder: Path, rows: Sequence[Row], number: int = 0, **kwargs: Any) -> Part:
    kwargs.setdefault("fingerprint", fingerprint())
    return create_part(
        folder / f"part-{number:04d}.h5", rows=rows, width=WIDTH, provenance={"host": "x"}, **kwargs
    )


def full_part(folder: Path, frames: Sequence[int] = (4, 1, 7), number: int = 0, **kwargs: Any) -> Part:
    part = make_part(folder, [row(f"u{number}{n}", f) for n, f in enumerate(frames)], number, **kwargs)
    with PartWriter(part) as writer_:
        for place in range(len(frames)):
            writer_.write(place, features(part, place))
    return part


def cut_short(path: Path) -> None:
    os.truncate(path, 4096)


def folder_in(path: Path) -> Path:
    return path / "model" / "corpus"


# Fingerprints


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


# Layout


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


# Writing and reading

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


def test_whatever_has_frames_serves_the_pooled_tier():
    pooled = fingerprint("fp32", tier="pooled")
    for kind in (fingerprint(), fingerprint("int8"), fingerprint(frame_average=4), pooled):
        assert serves(kind, pooled)
        assert serves(kind, fingerprint("fp32", (1,), tier="pooled"))
    assert not serves(fingerprint(context="full"), pooled)
    assert not serves(pooled, fingerprint("fp32"))
    assert not serves(fingerprint(layers=(1,)), pooled)
    assert not serves(fingerprint(frame_average=2), fingerprint())


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


def test_parts_that_disagree_are_refused(tmp_path):
    folder = folder_in(tmp_path)
    full_part(folder, number=0)
    full_part(folder, number=1, fingerprint=fingerprint(context="full"))
    with pytest.raises(StaleCacheError, match="context: cache 'audio', asked 'full'"):
        open_features(folder, [utterance("u00")])
    assert "disagree" in summaries(tmp_path)[0].damaged


def test_missing_utterances_are_counted_and_the_command_is_named(tmp_path):
    folder = tmp_path / "org--model+full" / "corpus"
    message = "run `ser extract --model org/model --corpus corpus --whisper-context full`"
    with pytest.raises(CacheError, match=f"holds no features: {message}"):
        open_features(folder, [utterance("a")])
    part = make_part(folder, [row("a", 1), row("b", 1)])
    with PartWriter(part) as writer_:
        writer_.write(0, features(part, 0))
    wanted = [utterance(name) for name in "abc"]
    with pytest.raises(CacheError, match=f"is incomplete: 2 of 3 missing, {message}"):
        open_features(folder, wanted)
    assert len(open_features(folder, wanted[:1])) == 1


@pytest.mark.parametrize(
    ("backbone", "provenance", "command"),
    [
        ("tiny", {"model": "/models/tiny", "name": "tiny"}, "--model /models/tiny --corpus corpus`"),
        ("tiny", {"model": "my models/tiny", "name": "tiny"}, "--model 'my models/tiny' --corpus corpus`"),
        ("mine", {"model": "./tiny", "name": "mine"}, "--model ./tiny --name mine --corpus corpus`"),
        ("org--tiny", {"model": "org/tiny", "name": "org--tiny"}, "--model org/tiny --corpus corpus`"),
        (
            "xls-r+max6s",
            {"model": "xls-r", "name": "xls-r"},
            "--model xls-r --corpus corpus --max-seconds 6`",
        ),
        ("org--tiny", {}, "--model org/tiny --corpus corpus`"),
    ],
)
def test_an_incomplete_cache_names_the_model_as_the_user_gave_it(tmp_path, backbone, provenance, command):
    path = tmp_path / backbone / "corpus" / "part-0000.h5"
    create_part(path, fingerprint(), [row("a", 1)], WIDTH, provenance)
    with pytest.raises(CacheError) as caught:
        open_features(path.parent, [utterance("a")])
    assert str(caught.value).endswith(f"is incomplete: 1 of 1 missing, run `ser extract {command}.")


def test_other_audio_than_the_manifest_s_is_refused_and_both_hashes_are_shown(tmp_path):
    full_part(folder_in(tmp_path))
    with pytest.raises(
        StaleCacheError, match=r"'u00'.*cache 753030753030, manifest ffffffffffff.*ser extract"
    ):
        open_features(folder_in(tmp_path), [utterance("u00", "f" * 64)])


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


def test_a_superseded_row_gives_way_to_the_one_in_a_later_part(tmp_path):
    folder = folder_in(tmp_path)
    old = full_part(folder, frames=(4, 2))
    with PartWriter(old) as writer_:
        writer_.supersede([0])
    new = make_part(folder, [Row("u00", 640, "e" * 64, 2)], 1)
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


def test_a_pending_row_can_be_superseded_and_the_part_stays_sound(tmp_path):
    part = make_part(folder_in(tmp_path), [row("a", 3)])
    with part.path.open("r+b") as file:
        file.seek(part.positions["hidden"])
        file.write(b"torn")  # what a killed writer may leave in a pending row
    with PartWriter(part) as writer_:
        writer_.supersede([0])
    assert verify_part(part.path) == []
    assert summaries(tmp_path)[0].pending == 0


def test_a_run_on_other_features_is_refused(tmp_path):
    full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u00")]) as cached:
        cached.require(fingerprint())
        with pytest.raises(StaleCacheError, match="context: cache 'audio', asked 'full'"):
            cached.require(fingerprint(context="full"))


@pytest.mark.parametrize(
    ("change", "words"), [(Path.unlink, "cannot be read any more"), (cut_short, "was replaced while")]
)
def test_a_part_that_vanishes_while_it_is_opened_is_one_clear_line(tmp_path, change, words):
    part = full_part(folder_in(tmp_path))
    change(part.path)
    with pytest.raises(CacheError, match=words):
        read_states(part)


def test_a_vanished_part_is_one_clear_line(tmp_path):
    part = full_part(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance("u00")]) as cached:
        part.path.unlink()
        with pytest.raises(CacheError, match="cannot be read any more"):
            cached.hidden(0)


# Other processes


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
from test_store import open_features, utterance
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


# Refusals of the system


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


# Listing


def test_a_summary_counts_every_state(tmp_path):
    folder = folder_in(tmp_path)
    part = make_part(folder, [row(name, 100) for name in "abcde"])
    with PartWriter(part) as writer_:
        for place in (0, 1):
            writer_.write(place, features(part, place))
        writer_.fail(2, "not audio")
        writer_.commit()
        writer_.supersede([1])
    (summary,) = summaries(tmp_path)
    assert (summary.backbone, summary.corpus, summary.layers, summary.width) == (
        "model",
        "corpus",
        (0, 1, 2),
        3,
    )
    assert (summary.done, summary.failed, summary.pending, summary.total) == (1, 1, 2, 4)
    assert summary.bytes == part.path.stat().st_size
    assert (summary.codec, summary.short) == ("fp16", part.fingerprint.short)
    assert summary.hours == pytest.approx(100 * 320 / 16_000 / 3600)
    assert not summary.complete
    assert summary.damaged == ""


def test_an_empty_or_absent_cache_has_no_summaries(tmp_path):
    assert summaries(tmp_path / "nowhere") == []
    (tmp_path / "model" / "corpus").mkdir(parents=True)
    assert summaries(tmp_path) == []


def test_a_damaged_part_shows_in_its_summary(tmp_path):
    part = full_part(folder_in(tmp_path))
    part.path.write_bytes(part.path.read_bytes()[:5000])
    (summary,) = summaries(tmp_path)
    assert "part-0000.h5 has 5000 bytes where" in summary.damaged
    assert not summary.complete
    with pytest.raises(CacheError, match="restore it from a copy, or run `ser cache repair`"):
        open_part(part_paths(part.path.parent)[0])


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


@pytest.mark.parametrize(
    ("folder", "options"),
    [
        ("xls-r", ""),
        ("xls-r+full+raw+max2.5s", " --whisper-context full --normalise no --max-seconds 2.5"),
        (
            "xls-r+norm+compute-bf16+int8+avg4",
            " --normalise yes --precision bf16 --codec int8 --frame-average 4",
        ),
        ("xls-r+pooled+layers0.3-5", " --tier pooled --layers 0,3-5"),
        ("xls-r+fp32+unheard-of", None),
    ],
)
def test_the_command_that_makes_a_folder_has_its_options(tmp_path, folder, options):
    said = extract_command(tmp_path / folder / "emovo", [])
    if options is None:
        assert said.endswith("--corpus emovo` with the options it was made with (+fp32+unheard-of)")
    else:
        assert said == f"`ser extract --model xls-r --corpus emovo{options}`"
