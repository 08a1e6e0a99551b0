"""The states of wav2vec 2.0, HuBERT and WavLM, on small seeded random models (no trained weights at hand)."""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import small_models
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import relative_error, states

from ser_cache.backbones.loading import BackboneOptions, describe, load

MODELS = {
    "wav2vec2-group": ("Wav2Vec2Model", small_models.save_wav2vec2),
    "wav2vec2-layer": ("Wav2Vec2Model", partial(small_models.save_wav2vec2, norm="layer")),
    "hubert-group": ("HubertModel", small_models.save_hubert),
    "hubert-layer": ("HubertModel", partial(small_models.save_hubert, norm="layer")),
    # A batch norm before the positional convolution would turn zero padding into something else.
    "hubert-batch": ("HubertModel", partial(small_models.save_hubert, conv_pos_batch_norm=True)),
    "wavlm-group": ("WavLMModel", small_models.save_wavlm),
    "wavlm-layer": ("WavLMModel", partial(small_models.save_wavlm, norm="layer")),
}
ALL = list(range(small_models.LAYERS + 1))
every_model = pytest.mark.parametrize("model", MODELS)


HOME: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    """Where the models of this module are saved; hypothesis needs them across examples."""
    HOME.append(tmp_path_factory.mktemp("models"))


@cache
def folder(model: str) -> Path:
    return MODELS[model][1](HOME[0] / model)


@cache
def extractor(model: str, **options):
    return load(str(folder(model)), BackboneOptions(device="cpu", **options))


@cache
def plain(model: str):
    return getattr(transformers, MODELS[model][0]).from_pretrained(folder(model)).eval()


def speechlike(samples: int, seed: int = 0) -> np.ndarray:
    """Noise under a slow envelope, off centre: (samples,) float32 at 16 kHz."""
    rng = np.random.default_rng([seed, samples])
    envelope = 0.05 + 0.2 * np.abs(np.sin(np.arange(samples) / 2000))
    return (envelope * rng.standard_normal(samples) + 0.02).astype(np.float32)


@every_model
@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(st.integers(400, 24_000), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_features_do_not_depend_on_batch_mates(model, lengths, seed):
    model = extractor(model)
    clips = [speechlike(length, seed) for length in lengths]
    together, alone = states(model, clips), [states(model, [clip]) for clip in clips]
    for layer in ALL:
        parts = together[layer].split([model.frames(length) for length in lengths])
        for own, part in zip(alone, parts, strict=True):
            assert relative_error(part, own[layer]) <= 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@every_model
def test_a_gpu_gives_the_states_of_a_processor_whatever_the_batch(model):
    there = load(str(folder(model)), BackboneOptions(device="cuda"))
    lengths = [400, 9_000, 24_000, 16_001]
    clips = [speechlike(length) for length in lengths]
    together, here = states(there, clips), states(extractor(model), clips)
    for layer in ALL:
        assert relative_error(together[layer].cpu(), here[layer]) <= 1e-4
        parts = together[layer].split([there.frames(length) for length in lengths])
        for clip, part in zip(clips, parts, strict=True):
            assert relative_error(part, states(there, [clip], [layer])[layer]) <= 1e-5


@every_model
def test_a_clip_alone_has_the_states_of_the_plain_model(model):
    clip = speechlike(20_000)
    ours, reference = extractor(model), plain(model)
    with torch.no_grad():
        output = reference(ours.prepare(clip)[None], output_hidden_states=True)
    expected = [*output.hidden_states[:-1], output.last_hidden_state]
    found = states(ours, [clip])
    assert len(expected) == len(found)
    for layer, theirs in enumerate(expected):
        assert relative_error(found[layer], theirs[0]) <= 1e-5, layer


@pytest.mark.parametrize("model", ["wav2vec2-group", "wav2vec2-layer"])
def test_the_input_is_scaled_as_the_stock_feature_extractor_does(model):
    clip = speechlike(9_000)
    stock = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder(model))
    expected = stock(clip, sampling_rate=16_000, return_tensors="np")["input_values"][0]
    np.testing.assert_allclose(extractor(model).prepare(clip).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_normalisation_can_be_overruled_and_ignores_gain_and_offset():
    clip = speechlike(8_000)
    raw, scaled = extractor("wav2vec2-layer", normalise=False), extractor("wav2vec2-group", normalise=True)
    np.testing.assert_array_equal(raw.prepare(clip).numpy(), clip)
    assert relative_error(scaled.prepare(3 * clip + 0.1), scaled.prepare(clip)) < 1e-4
    assert (raw.variant, scaled.variant) == ("raw", "norm")


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(400, 50_000))
def test_frames_are_as_many_as_announced(samples):
    for name in ("wav2vec2-group", "wavlm-layer"):
        model = extractor(name)
        emitted = states(model, [speechlike(samples)], [1])[1]
        assert emitted.shape == (model.frames(samples), small_models.WIDTH)
        assert emitted.dtype == torch.float32
        assert describe(str(folder(name))).frames(samples) == model.frames(samples)


@every_model
def test_wanted_layers_come_in_order_and_equal_those_of_a_full_run(model):
    clips = [speechlike(5_000), speechlike(7_000)]
    everything, some = states(extractor(model), clips), states(extractor(model), clips, [1, 2])
    assert list(some) == [1, 2]
    for layer, packed in some.items():
        assert torch.equal(packed, everything[layer])


def test_blocks_above_the_highest_wanted_layer_are_not_computed():
    model = load(str(folder("wav2vec2-group")), BackboneOptions(device="cpu"))
    last = model._encoder.encoder.layers[-1]
    last.register_forward_hook(lambda *_: pytest.fail("the last block ran"))
    assert list(states(model, [speechlike(2_000)], [0, 2])) == [0, 2]


def test_max_seconds_gives_the_features_of_the_cut_clip():
    clip = speechlike(30_000)
    cut, whole = extractor("hubert-group", max_seconds=1.0), extractor("hubert-group")
    assert cut.frames(30_000) == 49
    for layer, packed in states(cut, [clip]).items():
        assert torch.equal(packed, states(whole, [clip[:16_000]], [layer])[layer])


@every_model
def test_digital_silence_has_finite_states(model):
    for packed in states(extractor(model), [np.zeros(4_000, np.float32)]).values():
        assert torch.isfinite(packed).all()


def test_an_adapter_behind_the_encoder_is_left_out(tmp_path):
    with_adapter = small_models.save_wav2vec2(tmp_path / "adapter", add_adapter=True, output_hidden_size=8)
    model = load(str(with_adapter), BackboneOptions(device="cpu"))
    packed = states(model, [speechlike(4_000)], ALL[-1:])[ALL[-1]]
    assert packed.shape == (model.frames(4_000), small_models.WIDTH)


@pytest.mark.parametrize("model", ["wavlm-group", "wavlm-layer"])
def test_wavlm_takes_the_attention_call_of_transformers_5_0_too(model):
    model, clips = load(str(folder(model)), BackboneOptions(device="cpu")), [speechlike(4_000)]
    expected = states(model, clips)
    for block in model._blocks:
        ours = block.attention.torch_multi_head_self_attention
        older = lambda hidden, mask, bias, *_, ours=ours: ours(hidden, mask, bias, False)  # noqa: E731
        block.attention.torch_multi_head_self_attention = older
    for layer, packed in states(model, clips).items():
        assert torch.equal(packed, expected[layer])


def test_states_carry_no_gradient_and_dropout_is_off():
    model = extractor("wav2vec2-group")
    first, second = (states(model, [speechlike(3_000)])[3] for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in model._encoder.parameters())
