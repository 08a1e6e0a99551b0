"""Reduced precision: what it changes, and that the choice follows from what is measured."""

from typing import ClassVar

import numpy as np
import pytest
import small_models
import torch
from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.backbones.loading import BackboneOptions, describe, load
from ser_cache.errors import SerCacheError, UnknownNameError
from ser_cache.extraction import ExtractionOptions, extract, precision, wanted_fingerprint
from ser_cache.extraction.precision import cached_precision, choose_precision
from ser_cache.extractor import PRECISIONS
from ser_cache.mfcc import MfccExtractor

SAVERS = {
    "wav2vec2-group": lambda folder: small_models.save_wav2vec2(folder, "group"),
    "wav2vec2-layer": lambda folder: small_models.save_wav2vec2(folder, "layer"),
    "hubert": lambda folder: small_models.save_hubert(folder, "group"),
    "wavlm": lambda folder: small_models.save_wavlm(folder, "layer"),
    "whisper": small_models.save_whisper,
}


def clips(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [0.1 * generator.standard_normal(length).astype(np.float32) for length in lengths]


def states(model, batch) -> list[torch.Tensor]:
    kept: list[torch.Tensor] = []
    prepared = [model.prepare(clip) for clip in batch]
    model.forward(prepared, model.geometry.layers, lambda _, layer: kept.append(layer))
    return kept


@pytest.mark.parametrize("name", SAVERS)
def test_every_family_computes_in_bf16_near_fp32_and_hands_over_fp32(tmp_path, name):
    model = load(str(SAVERS[name](tmp_path)), BackboneOptions(device="cpu"))
    batch = clips(16_000, 4_000, 9_000)
    exact, rough = states(model, batch), states(model.at_precision("bf16"), batch)
    for one, other in zip(exact, rough, strict=True):
        assert other.dtype == torch.float32
        error = float((one - other).norm() / one.norm())
        assert 1e-5 < error < 0.05
    again = states(model, batch)
    assert all(torch.equal(one, other) for one, other in zip(exact, again, strict=True))


def test_the_precision_is_part_of_what_makes_the_features(tmp_path):
    folder = str(small_models.save_whisper(tmp_path))
    model = load(folder, BackboneOptions(device="cpu"))
    other = model.at_precision("bf16")
    assert (model.identity["precision"], other.identity["precision"]) == ("fp32", "bf16")
    assert model.identity == other.at_precision("fp32").identity
    asked = BackboneOptions(device="cpu", precision="bf16")
    assert load(folder, asked).identity == other.identity
    assert describe(folder, asked).variant == "compute-bf16"
    assert describe(folder, BackboneOptions(precision="fp32")).variant == ""


def test_an_unknown_precision_is_named():
    with pytest.raises(UnknownNameError, match=r"unknown precision 'fp8'.*Known: auto, bf16, fp16, fp32"):
        BackboneOptions(precision="fp8")
    with pytest.raises(SerCacheError, match="mfcc is computed in fp32 only"):
        MfccExtractor().at_precision("bf16")


class RoundingExtractor(FakeExtractor):
    """Adds an error of its own size to each precision, and takes its own time over it."""

    errors: ClassVar = {"fp32": 0.0, "bf16": 1e-3, "fp16": 1e-5}
    delays: ClassVar = {"fp32": 0.02, "bf16": 0.001, "fp16": 0.005}

    def forward(self, batch, layers, emit):
        used = self.identity["precision"]
        self.seconds_per_batch = self.delays[used]
        super().forward(batch, layers, lambda layer, values: emit(layer, values * (1 + self.errors[used])))


@pytest.fixture
def rounding(monkeypatch):
    monkeypatch.setattr(precision, "CANDIDATES", {"cpu": ("fp16", "bf16")})
    return RoundingExtractor(identity={"weights": "abc", "precision": "fp32"})


@pytest.mark.parametrize(("codec", "chosen"), [("fp16", "fp16"), ("int8", "bf16"), ("fp32", "fp32")])
def test_the_fastest_precision_closer_to_fp32_than_the_codec_is_chosen(rounding, tmp_path, codec, chosen):
    corpus = FakeCorpus.make([6400] * 9)
    wanted = wanted_fingerprint(rounding, ExtractionOptions(codec=codec), rounding.identity)
    choice = choose_precision(rounding, corpus.utterances, tmp_path, wanted, corpus.read)
    assert choice.precision == chosen
    for one in choice.measured:
        assert one.error == pytest.approx(rounding.errors[one.precision], rel=0.05)
        assert one.accurate == (one.error < one.storage_error)


def test_without_readable_audio_and_without_gain_it_stays_fp32(rounding, tmp_path, monkeypatch):
    corpus = FakeCorpus.make([6400] * 9)
    wanted = wanted_fingerprint(rounding, ExtractionOptions(), rounding.identity)
    unreadable = FakeCorpus({})
    (tmp_path / "readme.txt").touch()  # a folder of audio that is not empty
    choice = choose_precision(rounding, corpus.utterances, tmp_path, wanted, unreadable.read)
    assert (choice.precision, choice.measured) == ("fp32", ())
    monkeypatch.setattr(RoundingExtractor, "delays", {"fp32": 0.001, "fp16": 0.03, "bf16": 0.03})
    assert choose_precision(rounding, corpus.utterances, tmp_path, wanted, corpus.read).precision == "fp32"


def test_what_is_cached_says_its_precision(rounding, tmp_path):
    folder = tmp_path / "fake" / "c"
    assert cached_precision(folder) is None
    corpus = FakeCorpus.make([6400] * 3)
    for name in PRECISIONS:
        where = tmp_path / name / "c"
        extract(rounding.at_precision(name), corpus.utterances, tmp_path, where, None, None, corpus.read)
        assert cached_precision(where) == name
