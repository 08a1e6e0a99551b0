from __future__ import annotations

import dataclasses
import os

import pytest
from fake_extraction import SMALL, run
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.errors import CacheError, StaleCacheError, UnknownNameError
from ser_cache.extraction import ExtractionOptions, choose_folder, extract, plan, wanted_fingerprint
from ser_cache.extractor import Geometry
from ser_cache.store import open_features, part_paths


@pytest.fixture
def corpus() -> FakeCorpus:
    return FakeCorpus.make([3200, 100, 6400, 960, 1600])


def test_a_plan_counts_utterances_frames_and_bytes_without_touching_anything(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    planned = plan(FakeExtractor(), corpus.utterances, folder, SMALL)
    assert len(planned.todo) == 5
    assert planned.reused == 0
    assert planned.frames == 10 + 0 + 20 + 3 + 5
    assert planned.seconds == pytest.approx((3200 + 100 + 6400 + 960 + 1600) / 16_000)
    assert planned.bytes > planned.frames * 3 * 4 * 2
    assert planned.free > 0
    assert not folder.exists()


def test_the_planned_bytes_are_enough_for_the_parts(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    planned = plan(FakeExtractor(), corpus.utterances, folder, SMALL)
    run(corpus, folder)
    taken = sum(path.stat().st_size for path in part_paths(folder))
    assert taken <= planned.bytes <= taken + 65_536


def test_nothing_is_left_to_do_after_an_extraction(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    del corpus.audio["clip0001"]  # too short, and so tried again each time
    run(corpus, folder)
    planned = plan(FakeExtractor(), corpus.utterances, folder, SMALL, FakeExtractor().identity)
    assert (planned.todo, planned.reused, planned.bytes) == ((), 4, 0)


def test_parts_hold_their_limit_in_manifest_order(tmp_path):
    corpus = FakeCorpus.make([3200] * 7)  # 10 frames of 3 layers, 4 wide, 2 bytes: 240 bytes each
    options = dataclasses.replace(SMALL, part_bytes=500)
    planned = plan(FakeExtractor(), corpus.utterances, tmp_path / "fake" / "corpus", options)
    assert [[row.id for row in part.new_rows] for part in planned.parts] == [
        ["clip0000", "clip0001"],
        ["clip0002", "clip0003"],
        ["clip0004", "clip0005"],
        ["clip0006"],
    ]
    assert [part.path.name for part in planned.parts] == [f"part-000{number}.h5" for number in range(4)]


def test_decoding_uses_the_processors_there_are_up_to_eight(monkeypatch):
    for usable, expected in ((1, 1), (4, 4), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=usable: set(range(n)), raising=False)
        assert ExtractionOptions().decode_threads == expected
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert ExtractionOptions().decode_threads == 3


def test_an_utterance_larger_than_a_part_has_one_of_its_own(tmp_path):
    corpus = FakeCorpus.make([320, 32_000, 320])
    options = dataclasses.replace(SMALL, part_bytes=500)
    planned = plan(FakeExtractor(), corpus.utterances, tmp_path / "fake" / "corpus", options)
    assert [len(part.new_rows) for part in planned.parts] == [1, 1, 1]


def test_features_made_otherwise_are_refused_with_the_difference_and_kept(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    run(corpus, folder)
    before = part_paths(folder)[0].read_bytes()
    other = FakeExtractor(identity={"weights": "xyz", "context": "audio"})
    with pytest.raises(
        StaleCacheError, match=r"weights: cache 'abc', asked 'xyz'.*--name.*nothing was changed"
    ):
        run(corpus, folder, other)
    with pytest.raises(StaleCacheError, match="codec: cache 'fp16', asked 'fp32'"):
        run(corpus, folder, options=ExtractionOptions(codec="fp32"))
    assert part_paths(folder)[0].read_bytes() == before


def test_without_weights_only_the_storage_is_compared(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    run(corpus, folder)
    assert plan(FakeExtractor(), corpus.utterances, folder, SMALL).reused == 4
    with pytest.raises(StaleCacheError, match="codec"):
        plan(FakeExtractor(), corpus.utterances, folder, ExtractionOptions(codec="fp32"))


def test_a_cache_of_more_layers_serves_fewer(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    run(corpus, folder)
    fewer = ExtractionOptions(layers=(2,))
    identity = FakeExtractor().identity
    assert choose_folder(tmp_path, "corpus", FakeExtractor(), fewer, identity) == folder
    assert plan(FakeExtractor(), corpus.utterances, folder, fewer, identity).reused == 4
    # New utterances join with all the layers the folder has, so that its parts stay alike.
    corpus.audio["clip9999"] = corpus.audio["clip0000"] * 2
    assert run(corpus, folder, options=fewer).done == 1
    with open_features(folder, corpus.utterances) as cached:
        assert cached.layers == (0, 1, 2)
        assert len(cached) == 5


def test_a_cache_of_fewer_layers_does_not_serve_more(tmp_path, corpus):
    folder = tmp_path / "fake" / "corpus"
    run(corpus, folder, options=ExtractionOptions(layers=(2,)))
    with pytest.raises(StaleCacheError, match=r"layers: cache \[2\], asked \[0, 1, 2\]"):
        run(corpus, folder)


def test_non_default_options_make_a_folder_of_their_own(tmp_path):
    def folder(extractor, **options):
        return choose_folder(tmp_path, "c", extractor, ExtractionOptions(**options)).relative_to(tmp_path)

    wide = Geometry(tuple(range(25)), 4, 50.0)
    assert folder(FakeExtractor()).as_posix() == "fake/c"
    assert folder(FakeExtractor(variant="full")).as_posix() == "fake+full/c"
    assert folder(FakeExtractor(), codec="fp16").as_posix() == "fake/c"
    assert folder(FakeExtractor(variant="full"), codec="fp32").as_posix() == "fake+full+fp32/c"
    assert folder(FakeExtractor(), layers=(1, 2)).as_posix() == "fake+layers1-2/c"
    chosen = (24, 0, 3, 4, 5)
    assert folder(FakeExtractor(geometry=wide), layers=chosen).as_posix() == "fake+layers0.3-5.24/c"
    assert folder(FakeExtractor(), layers=(0, 1, 2)).as_posix() == "fake/c"


def test_features_are_stored_in_the_extractors_own_codec_unless_told_otherwise(tmp_path):
    mfcc = FakeExtractor(name="mfcc", codec="fp32")
    assert wanted_fingerprint(mfcc, ExtractionOptions()).storage["codec"] == "fp32"
    assert choose_folder(tmp_path, "c", mfcc, ExtractionOptions()) == tmp_path / "mfcc" / "c"
    half = ExtractionOptions(codec="fp16")
    assert choose_folder(tmp_path, "c", mfcc, half) == tmp_path / "mfcc+fp16" / "c"


@pytest.mark.parametrize("options", [{"layers": (1,)}, {"tier": "pooled"}])
def test_a_smaller_folder_that_is_there_is_completed_beside_the_one_of_everything(tmp_path, options):
    corpus, fake = FakeCorpus.make([3200] * 4), FakeExtractor()
    small = ExtractionOptions(**options)
    own = choose_folder(tmp_path, "c", fake, small, fake.identity)
    extract(fake, corpus.utterances[:2], tmp_path, own, small, None, corpus.read)
    whole = choose_folder(tmp_path, "c", fake, ExtractionOptions(), fake.identity)
    extract(fake, corpus.utterances, tmp_path, whole, None, None, corpus.read)
    assert own != whole
    assert choose_folder(tmp_path, "c", fake, small, fake.identity) == own


def test_an_unknown_layer_or_codec_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown layer of fake '7'.*Known: 0, 1, 2"):
        wanted_fingerprint(FakeExtractor(), ExtractionOptions(layers=(0, 7)))
    with pytest.raises(UnknownNameError, match=r"unknown codec 'fp61'.*Did you mean 'fp16'"):
        ExtractionOptions(codec="fp61")
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CacheError, match="--batch-seconds"):
            ExtractionOptions(batch_seconds=seconds)


def test_too_little_disk_is_said_before_anything_is_written(tmp_path, corpus, monkeypatch):
    folder = tmp_path / "fake" / "corpus"
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("ser_cache.extraction.planning.shutil.disk_usage", lambda path: usage)
    with pytest.raises(CacheError, match=r"needs 6\d kB and 1 kB are free"):
        run(corpus, folder)
    assert part_paths(folder) == []
