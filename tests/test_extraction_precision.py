"""Reduced precision: what it changes, and that the choice follows from what is measured."""

from typing import ClassVar

import numpy as np
import pytest
import small_models
import torch
from fake_extractor import FakeCorpus, FakeExtractor
from small_models import relative_error, states

from ser_cache.backbones.loading import BackboneOptions, describe, load
from ser_cache.errors import SerCacheError, UnknownNameError
from ser_cache.extraction import ExtractionOptions, choose_folder, extract, precision, wanted_fingerprint
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


@pytest.mark.parametrize("name", SAVERS)
def test_every_family_computes_in_bf16_near_fp32_and_hands_over_fp32(tmp_path, name):
    model = load(str(SAVERS[name](tmp_path)), BackboneOptions(device="cpu"))
    batch = clips(16_000, 4_000, 9_000)
    exact, rough = states(model, batch), states(model.at_precision("bf16"), batch)
    again = states(model, batch)
    for layer, one in exact.items():
        assert rough[layer].dtype == torch.float32
        assert 1e-5 < relative_error(rough[layer], one) < 0.05
        assert torch.equal(one, again[layer])


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
    delays: ClassVar = {"fp32": 20.0, "bf16": 1.0, "fp16": 5.0}
    clock: ClassVar = 0.0

    def forward(self, batch, layers, emit):
        used = self.identity["precision"]
        type(self).clock += self.delays[used]
        super().forward(batch, layers, lambda layer, values: emit(layer, values * (1 + self.errors[used])))


@pytest.fixture
def rounding(monkeypatch):
    monkeypatch.setattr(precision, "CANDIDATES", {"cpu": ("fp16", "bf16")})
    monkeypatch.setattr(precision.time, "perf_counter", lambda: RoundingExtractor.clock)
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
    choice = choose_precision(rounding, corpus.utterances, tmp_path, wanted, unreadable.read)
    assert (choice.precision, choice.measured) == ("fp32", ())
    monkeypatch.setattr(RoundingExtractor, "delays", {"fp32": 1.1, "fp16": 1.0, "bf16": 1.0})
    assert choose_precision(rounding, corpus.utterances, tmp_path, wanted, corpus.read).precision == "fp32"


def test_what_is_cached_says_its_precision(rounding, tmp_path):
    folder = tmp_path / "fake" / "c"
    assert cached_precision(folder) is None
    corpus = FakeCorpus.make([6400] * 3)
    for name in PRECISIONS:
        where = tmp_path / name / "c"
        extract(rounding.at_precision(name), corpus.utterances, tmp_path, where, None, None, corpus.read)
        assert cached_precision(where) == name


def test_only_the_beginning_of_a_long_clip_is_measured(rounding, tmp_path):
    corpus = FakeCorpus.make([16_000 * 60] * 2)
    wanted = wanted_fingerprint(rounding, ExtractionOptions(), rounding.identity)
    heard: list[int] = []
    rounding.prepare = lambda audio: heard.append(len(audio)) or audio
    choose_precision(rounding, corpus.utterances, tmp_path, wanted, corpus.read)
    assert heard == [16_000 * 3] * 2


def test_what_does_not_fit_into_memory_is_not_measured(rounding, tmp_path, monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(RoundingExtractor, "forward", refuse)
    corpus = FakeCorpus.make([6400] * 3)
    wanted = wanted_fingerprint(rounding, ExtractionOptions(), rounding.identity)
    choice = choose_precision(rounding, corpus.utterances, tmp_path, wanted, corpus.read)
    assert choice == precision.PrecisionChoice("fp32")


@pytest.mark.parametrize("cached", ["bf16", "fp32"])
def test_a_subset_is_served_in_whatever_precision_where_that_is_left_open(rounding, tmp_path, cached):
    corpus = FakeCorpus.make([6400] * 3)
    whole = tmp_path / "fake" / "c"
    extract(rounding.at_precision(cached), corpus.utterances, tmp_path, whole, None, None, corpus.read)
    open_identity = {key: value for key, value in rounding.identity.items() if key != "precision"}
    for options in (ExtractionOptions(layers=(1,)), ExtractionOptions(tier="pooled")):
        assert choose_folder(tmp_path, "c", rounding, options, open_identity) == whole
        strict = choose_folder(tmp_path, "c", rounding, options, rounding.identity)
        assert (strict == whole) == (cached == "fp32")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("codec", ["fp16", "int8"])
def test_a_precision_is_chosen_on_a_gpu(tmp_path, codec):
    model = load(str(small_models.save_whisper(tmp_path)), BackboneOptions(device="cuda"))
    corpus = FakeCorpus.make([16_000] * 4)
    wanted = wanted_fingerprint(model, ExtractionOptions(codec=codec), model.identity)
    assert choose_precision(model, corpus.utterances, tmp_path, wanted, corpus.read).precision in PRECISIONS
