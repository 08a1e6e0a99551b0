"""What an extraction stores, reuses and records."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_extraction import SMALL, content, run
from fake_extractor import HOP, FakeExtractor

from ser_cache.extraction import ExtractionOptions, extract
from ser_cache.store import folder_lock, open_features, open_part, part_paths, summaries


def test_states_means_and_deviations_are_those_of_the_model(folder, corpus):
    extractor = FakeExtractor()
    options = ExtractionOptions(batch_seconds=1e-3, codec="fp32")  # one clip a batch
    report = run(corpus, folder, extractor, options)
    assert (report.done, report.reused, report.failed) == (20, 0, {})
    with open_features(folder, corpus.utterances) as cached:
        assert cached.frames.tolist() == [u.samples // HOP for u in corpus.utterances]
        for index, id_ in enumerate(cached.ids):
            clip = corpus.audio[id_]
            for place, layer in enumerate(cached.layers):
                expected = extractor.states(clip, layer, 1 + len(clip) / HOP)
                np.testing.assert_array_equal(cached.hidden(index)[place], expected)
                exact = expected.astype(np.float64)
                np.testing.assert_allclose(cached.mean(layer)[index], exact.mean(0), rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(cached.std(layer)[index], exact.std(0), rtol=1e-5, atol=1e-5)


def test_fp16_rounds_to_the_nearest_value(folder, corpus):
    run(corpus, folder)
    run(corpus, folder.with_name("exact"), options=dataclasses.replace(SMALL, codec="fp32"))
    with (
        open_features(folder, corpus.utterances) as half,
        open_features(folder.with_name("exact"), corpus.utterances) as exact,
    ):
        for index in range(len(half)):
            np.testing.assert_array_equal(half.hidden(index), exact.hidden(index).astype(np.float16))
        np.testing.assert_array_equal(half.mean(2), exact.mean(2))
        np.testing.assert_array_equal(half.std(2), exact.std(2))


def test_a_second_run_reuses_everything(folder, corpus):
    run(corpus, folder)
    extractor = FakeExtractor()
    report = run(corpus, folder, extractor)
    assert (report.done, report.reused, extractor.batches) == (0, 20, [])


def test_a_finished_cache_needs_neither_its_audio_nor_the_right_to_write(folder, corpus):
    run(corpus, folder)
    missing = Path("/nonexistent")
    with folder_lock(folder):
        report = extract(FakeExtractor(), corpus.utterances, missing, folder, SMALL, None, corpus.read)
    assert report.reused == 20


def test_progress_reaches_the_total(folder, corpus):
    seen = []
    report = run(corpus, folder, on_progress=seen.append)
    assert (seen[-1].utterances, seen[-1].total) == (20, 20)
    assert seen[-1].seconds == pytest.approx(seen[-1].total_seconds)
    assert report.seconds == pytest.approx(seen[-1].seconds)
    assert [p.utterances for p in seen] == sorted(p.utterances for p in seen)
    assert set(report.stages) == {"waiting for audio", "forward", "encoding", "waiting for the disk"}


def test_a_part_records_where_its_features_came_from(folder, corpus):
    run(corpus, folder)
    recorded = open_part(part_paths(folder)[0]).provenance
    assert {key: recorded[key] for key in ("name", "model", "hub_id", "revision")} == {
        "name": "fake",
        "model": "org/fake",
        "hub_id": "org/fake",
        "revision": "0" * 40,
    }
    assert "numpy" in recorded["libraries"]


def test_other_provenance_makes_no_other_features(folder, corpus):
    run(corpus, folder)
    assert run(corpus, folder, FakeExtractor(provenance={"model": "/copy"})).reused == 20


def test_several_parts_are_created_before_the_first_is_filled(folder, corpus):
    options = dataclasses.replace(SMALL, part_bytes=2000)
    pending = []

    def note(progress):
        pending.append((len(part_paths(folder)), sum(s.total for s in summaries(folder.parent.parent))))

    run(corpus, folder, options=options, on_progress=note)
    assert len(set(pending)) == 1
    assert pending[0][0] > 2
    assert pending[0][1] == 20
    assert len(content(folder, corpus.utterances)) == 20


def test_nothing_records_gradients(folder, corpus):
    class Watched(FakeExtractor):
        def forward(self, batch, layers, emit):
            assert torch.is_inference_mode_enabled()
            super().forward(batch, layers, emit)

    assert run(corpus, folder, Watched()).done == 20


def test_a_dry_run_does_not_import_torch():
    code = "import sys, ser_cache.extraction; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
