from __future__ import annotations

import mmap
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_parts import fingerprint, folder_in, full_part, utterance
from torch.utils.data import DataLoader, Dataset

from ser_cache.errors import CacheError
from ser_cache.store import CachedFeatures, open_features, open_part
from ser_cache.store.gathering import ReadAhead, even_runs

LAYERS = (0, 2, 4, 5, 6, 9)
FRAMES = ((4, 1, 7), (0, 3), (5,))
NAMES = tuple(f"u{number}{place}" for number, frames in enumerate(FRAMES) for place in range(len(frames)))


def make_parts(folder: Path, frames: Sequence[Sequence[int]] = FRAMES) -> None:
    for number, counts in enumerate(frames):
        full_part(folder, counts, number, fingerprint=fingerprint(layers=LAYERS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = folder_in(tmp_path_factory.mktemp("packed"))
    make_parts(path)
    return path


@pytest.fixture
def cached(folder) -> CachedFeatures:
    return open_features(folder, [utterance(name) for name in NAMES])


def stacked(cached: CachedFeatures, indices: Sequence[int], layers: Sequence[int] | None = None):
    count = len(LAYERS if layers is None else layers)
    empty = np.empty((count, 0, cached.width), dtype=np.float16)
    return np.concatenate([empty, *(cached.hidden(index, layers) for index in indices)], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    indices=st.lists(st.integers(-len(NAMES), len(NAMES) - 1), max_size=12),
    layers=st.none() | st.lists(st.sampled_from(LAYERS), max_size=8),
)
def test_a_packed_batch_is_its_utterances_one_after_another(folder, indices, layers):
    with open_features(folder, [utterance(name) for name in reversed(NAMES)]) as cached:
        batch = cached.packed(indices, layers)
        assert batch.dtype == np.float16
        np.testing.assert_array_equal(batch, stacked(cached, indices, layers))


@pytest.mark.parametrize(("codec", "frame_average"), [("fp32", 1), ("int8", 1), ("fp16", 3), ("int8", 2)])
def test_every_way_to_keep_frames_is_packed_as_it_is_read_one_by_one(tmp_path, codec, frame_average):
    kind = fingerprint(codec, LAYERS, frame_average=frame_average)
    full_part(folder_in(tmp_path), (4, 1, 7), fingerprint=kind)
    with open_features(folder_in(tmp_path), [utterance(name) for name in ("u00", "u01", "u02")]) as cached:
        for layers in (None, [9], [2, 5, 0, 2]):
            batch = cached.packed([2, 0, 2], layers)
            assert batch.dtype == (np.float16 if codec == "fp16" else np.float32)
            np.testing.assert_array_equal(batch, stacked(cached, [2, 0, 2], layers))


def test_the_pooled_tier_has_no_frames_to_pack(tmp_path):
    full_part(folder_in(tmp_path), fingerprint=fingerprint("fp32", tier="pooled"))
    with (
        open_features(folder_in(tmp_path), [utterance("u00")]) as cached,
        pytest.raises(CacheError, match="time means only"),
    ):
        cached.packed([0])


@given(st.lists(st.integers(0, 9), max_size=12))
def test_runs_of_layers_name_each_layer_once_and_in_order(places):
    runs = even_runs(places)
    dataset = np.arange(10)
    assert [layer for _, take in runs for layer in dataset[take].tolist()] == places
    assert [place for put, _ in runs for place in range(put.start, put.stop)] == list(range(len(places)))


def test_evenly_spaced_layers_are_copied_at_once():
    assert len(even_runs(range(25))) == len(even_runs([3, 6, 9])) == len(even_runs([4])) == 1


def test_a_batch_owns_its_memory(cached):
    batch = cached.packed([0])
    batch[:] = 7
    assert not np.array_equal(batch, cached.packed([0]))


def test_one_buffer_serves_batches_of_any_length(cached):
    buffer = np.empty(10_000, dtype=np.float16)
    for indices in ([0, 2], [5], [3], [2, 2, 0, 5]):
        shape = (len(LAYERS), int(cached.frames[indices].sum()), cached.width)
        out = buffer[: np.prod(shape)].reshape(shape)
        assert cached.packed(indices, out=out) is out
        np.testing.assert_array_equal(out, stacked(cached, indices))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((6, 10, 3), np.float16), r"out is float16 \(6, 10, 3\), not float16 \(6, 11, 3\)"),
        (np.empty((6, 11, 3), np.float32), r"out is float32 \(6, 11, 3\), not float16"),
        (np.empty((6, 3, 11), np.float16).transpose(0, 2, 1), "in C order"),
        (np.broadcast_to(np.zeros(1, np.float16), (6, 11, 3)), "writeable"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(cached, out, message):
    with pytest.raises(ValueError, match=message):
        cached.packed([0, 2], out=out)


@pytest.mark.parametrize("indices", [[True, False], [0.5], [[0, 1]], 0, ["u00"]])
def test_what_is_no_row_of_whole_numbers_is_refused(cached, indices):
    with pytest.raises(ValueError, match="whole numbers"):
        cached.packed(indices)


def test_an_utterance_or_a_layer_that_is_not_there_is_refused(cached):
    with pytest.raises(IndexError):
        cached.packed([len(NAMES)])
    with pytest.raises(CacheError, match=r"layer 3 .* is not cached"):
        cached.packed([0], [3])


def test_a_part_that_vanished_is_one_clear_line(tmp_path):
    make_parts(folder_in(tmp_path))
    with open_features(folder_in(tmp_path), [utterance(name) for name in NAMES]) as cached:
        (folder_in(tmp_path) / "part-0002.h5").unlink()
        with pytest.raises(CacheError, match="is not there any more"):
            cached.packed([5])


def test_what_fits_into_memory_is_announced_once_for_each_layer():
    ahead = ReadAhead(4, 3, size=1000)
    assert ahead.due(np.array([0, 2]), [0, 1]).tolist() == [True, True]
    assert ahead.due(np.array([2, 3, 0]), [0, 1]).tolist() == [False, True, False]
    assert ahead.due(np.array([0]), [2]).tolist() == [True]
    assert ahead.due(np.array([], dtype=np.int64), [0]).tolist() == []


def test_what_exceeds_memory_is_announced_every_time():
    ahead = ReadAhead(4, 3, size=1 << 60)
    for _ in range(2):
        assert ahead.due(np.array([1]), [0]).tolist() == [True]


@pytest.mark.parametrize("refused", [True, False])
def test_a_batch_is_announced_as_the_pages_it_lies_on(folder, cached, monkeypatch, refused):
    asked: list[tuple[int, int]] = []

    class Map(mmap.mmap):
        def madvise(self, advice, start, length):
            asked.append((start, length))
            if refused:
                raise OSError(22, "Invalid argument")
            super().madvise(advice, start, length)

    monkeypatch.setattr(mmap, "mmap", Map)
    np.testing.assert_array_equal(cached.packed([2, 0], [5]), stacked(cached, [2, 0], [5]))
    if not refused:
        part = open_part(folder / "part-0000.h5")
        spans = [list(part.spans(place))[LAYERS.index(5)] for place in (0, 2)]
        assert all(start % mmap.PAGESIZE == 0 for start, _ in asked)
        ends = [start + length for start, length in spans]
        assert [start + length for start, length in asked] == ends
        assert all(page <= start for (page, _), (start, _) in zip(asked, spans, strict=True))


# Many parts, threads and processes


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def maps_of(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(folder))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts what Linux lists under /proc")
def test_few_maps_are_open_however_many_parts_there_are(tmp_path):
    folder = folder_in(tmp_path)
    make_parts(folder, [(2,)] * 70)
    before = descriptors()
    order = np.random.default_rng(0).permutation(70)
    with open_features(folder, [utterance(f"u{number}0") for number in range(70)]) as cached:
        batch = cached.packed(order)
        assert maps_of(folder) <= 64
        assert descriptors() <= before + 64
        np.testing.assert_array_equal(batch, stacked(cached, order))
    assert maps_of(folder) == 0
    assert descriptors() == before


def test_a_batch_maps_each_part_once(tmp_path, monkeypatch):
    monkeypatch.setattr("ser_cache.store.reader._MAPS", 1)
    make_parts(folder_in(tmp_path))
    mapped: list[int] = []
    real = CachedFeatures._map
    monkeypatch.setattr(CachedFeatures, "_map", lambda self, part: mapped.append(part) or real(self, part))
    with open_features(folder_in(tmp_path), [utterance(name) for name in NAMES]) as cached:
        cached.packed([5, 0, 4, 2, 5, 1])
    assert mapped == [0, 1, 2]


def test_threads_may_share_a_reader_with_fewer_maps_than_parts(cached, monkeypatch):
    monkeypatch.setattr("ser_cache.store.reader._MAPS", 1)
    orders = [np.random.default_rng(seed).integers(0, len(NAMES), 20).tolist() for seed in range(200)]
    expected = [stacked(cached, order) for order in orders]
    with ThreadPoolExecutor(8) as pool:
        for found, wanted in zip(pool.map(cached.packed, orders), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


FORKED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_parts import utterance
from ser_cache.store import open_features
names = sys.argv[3].split()
with open_features(Path(sys.argv[1]), [utterance(name) for name in names]) as cached:
    expected = cached.packed([5, 0, 2]).tobytes()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os._exit(0 if cached.packed([5, 0, 2]).tobytes() == expected else 1)
        children.append(child)
    sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""


def test_forked_children_pack_the_same_batch(folder):
    command = [sys.executable, "-c", FORKED, str(folder), str(Path(__file__).parent), " ".join(NAMES)]
    subprocess.run(command, check=True, timeout=60)


class Batches(Dataset):
    """Each item is a whole batch, as a training loop over the cache would have it."""

    def __init__(self, cached: CachedFeatures, batches: Sequence[Sequence[int]]) -> None:
        self.cached, self.batches = cached, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> bytes:
        return self.cached.packed(self.batches[place]).tobytes()


# A fork of a process with threads of its own draws a warning from Python 3.12 on.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_pack_the_same_batches(cached, start):
    batches = [[5, 0, 2], [1], [2, 2, 4]]
    expected = [cached.packed(batch).tobytes() for batch in batches]
    workers = 2 if start == "fork" else 1  # a spawned one imports torch first, which takes seconds
    loader = DataLoader(
        Batches(cached, batches), batch_size=None, num_workers=workers, multiprocessing_context=start
    )
    assert list(loader) == expected


def test_what_was_announced_ahead_is_not_announced_again(tmp_path, monkeypatch):
    make_parts(folder_in(tmp_path))
    asked: list[int] = []
    monkeypatch.setattr(
        "ser_cache.store.reader.announce",
        lambda *told: asked.append(len(told[3])),  # the starts
    )
    with open_features(folder_in(tmp_path), [utterance(name) for name in NAMES]) as cached:
        cached.announce(np.array([5, 0, 4, 2, 5, 1]))
        ahead = sum(asked)
        asked.clear()
        cached.packed([5, 0, 4, 2, 5, 1])
        assert (ahead, sum(asked)) == (6, 0)
        cached.packed([3])
        assert sum(asked) == 1


def test_a_layer_that_is_not_cached_cannot_be_announced(tmp_path):
    make_parts(folder_in(tmp_path))
    cached = open_features(folder_in(tmp_path), [utterance(name) for name in NAMES])
    with cached, pytest.raises(CacheError, match="layer 99"):
        cached.announce([0], [99])


@settings(max_examples=40, deadline=None)
@given(
    indices=st.lists(st.integers(-len(NAMES), len(NAMES) - 1), max_size=12),
    layers=st.none() | st.lists(st.sampled_from(LAYERS), max_size=8),
)
def test_means_of_some_utterances_are_those_of_all(folder, indices, layers):
    with open_features(folder, [utterance(name) for name in reversed(NAMES)]) as cached:
        wanted = cached.layers if layers is None else layers
        expected = [cached.mean(layer)[np.array(indices, dtype=int)] for layer in wanted]
        found = cached.means(indices, layers)
        np.testing.assert_array_equal(found, np.reshape(expected, found.shape))
