"""Whisper's spectrogram and states, in both contexts: small random models, and the real whisper-base."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import small_models
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from small_models import relative_error, states
from torch.nn import functional

from ser_cache import audio
from ser_cache.backbones import whisper
from ser_cache.backbones.loading import BackboneOptions, load
from ser_cache.backbones.log_mel import LogMel

WINDOW = 480_000
ALL = list(range(small_models.LAYERS + 1))


HOME: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    """Where the model of this module is saved; hypothesis needs it across examples."""
    HOME.append(tmp_path_factory.mktemp("models"))


@cache
def folder() -> Path:
    return small_models.save_whisper(HOME[0] / "whisper")


@cache
def extractor(context: str, **options):
    return load(str(folder()), BackboneOptions(context=context, device="cpu", **options))


def speechlike(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, samples])
    envelope = 0.01 + 0.2 * np.abs(np.sin(np.arange(samples) / 3000))
    return (envelope * rng.standard_normal(samples)).astype(np.float32)


def stock_mel(clip: np.ndarray, bands: int = 80, **kwargs) -> torch.Tensor:
    """The stock feature extractor's spectrogram of the clip padded to 30 s: (bands, 3000)."""
    stock = transformers.WhisperFeatureExtractor(feature_size=bands)
    return stock(clip, sampling_rate=16_000, return_tensors="pt", **kwargs)["input_features"][0]


# The lengths around which frames begin to reach the clip's end, the window's end, and the mirror at both.
@settings(max_examples=20, deadline=None)
@given(samples=st.integers(1, WINDOW))
@example(1)
@example(160)
@example(161)
@example(201)
@example(320)
@example(479_640)
@example(479_641)
@example(479_800)
@example(479_801)
@example(479_999)
@example(WINDOW)
def test_log_mel_equals_that_of_the_stock_extractor_for_the_padded_clip(samples):
    clip = speechlike(samples)
    window, expected = LogMel(80)(clip), stock_mel(clip)
    torch.testing.assert_close(window.full(), expected, rtol=0, atol=1e-5)
    assert window.frames == -(-samples // 320)
    assert torch.equal(window.cropped(), window.full()[:, : 2 * window.frames])


@pytest.mark.parametrize(
    "clip",
    [
        np.zeros(16_000, np.float32),
        np.full(16_000, 0.5, np.float32),
        np.sin(np.arange(48_000) * 0.4).astype(np.float32),
        np.concatenate([np.zeros(8_000), 1e-6 * np.ones(200)]).astype(np.float32),
        (1e-4 * np.random.default_rng(0).standard_normal(WINDOW)).astype(np.float32),
    ],
    ids=["silence", "offset", "tone", "nearly silent", "quiet and full"],
)
def test_log_mel_equals_the_stock_one_for_extreme_clips(clip):
    torch.testing.assert_close(LogMel(80)(clip).full(), stock_mel(clip), rtol=0, atol=1e-5)


def test_log_mel_of_128_bands_equals_the_stock_one():
    clip = speechlike(30_000)
    torch.testing.assert_close(LogMel(128)(clip).full(), stock_mel(clip, bands=128), rtol=0, atol=1e-5)


def test_a_normalised_clip_has_the_stock_log_mel_with_normalisation():
    clip = speechlike(24_000) + np.float32(0.1)
    (window,) = extractor("full", normalise=True).prepare(clip)
    expected = stock_mel(clip, do_normalize=True)
    torch.testing.assert_close(window.full(), expected, rtol=0, atol=1e-5)


def plain_states(model_folder: Path, clip: np.ndarray) -> list[torch.Tensor]:
    """All layers of the plain encoder for one clip of at most 30 s, cut to the frames that hold audio."""
    encoder = transformers.WhisperModel.from_pretrained(model_folder, dtype=torch.float32).eval().encoder
    with torch.no_grad():
        output = encoder(stock_mel(clip)[None], output_hidden_states=True)
    frames = -(-len(clip) // 320)
    return [layer[0, :frames] for layer in (*output.hidden_states[:-1], output.last_hidden_state)]


def naive_audio_states(model_folder: Path, clip: np.ndarray, heads: int) -> list[torch.Tensor]:
    """The audio context written out for one clip, from the tensors of the file (Radford et al. 2022)."""
    weights = {}
    for name, tensor in load_file(model_folder / "model.safetensors").items():
        weights[name.removeprefix("model.").removeprefix("encoder.")] = tensor.float()

    def norm(values, name):
        return functional.layer_norm(
            values, values.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"]
        )

    def linear(values, name):
        return values @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", torch.zeros(()))

    def attend(values, name):
        length, width = values.shape
        split = [
            linear(values, f"{name}.{part}_proj").reshape(length, heads, width // heads).transpose(0, 1)
            for part in "qkv"
        ]
        scores = split[0] @ split[1].transpose(1, 2) / (width // heads) ** 0.5
        mixed = (scores.softmax(-1) @ split[2]).transpose(0, 1).reshape(length, width)
        return linear(mixed, f"{name}.out_proj")

    frames = -(-len(clip) // 320)
    mel = stock_mel(clip)[:, : 2 * frames]
    hidden = functional.gelu(
        functional.conv1d(mel, weights["conv1.weight"], weights["conv1.bias"], padding=1)
    )
    hidden = functional.conv1d(hidden, weights["conv2.weight"], weights["conv2.bias"], stride=2, padding=1)
    hidden = functional.gelu(hidden).T + weights["embed_positions.weight"][:frames]
    layers = [hidden]
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    for block in range(depth):
        name = f"layers.{block}"
        hidden = hidden + attend(norm(hidden, f"{name}.self_attn_layer_norm"), f"{name}.self_attn")
        inner = functional.gelu(linear(norm(hidden, f"{name}.final_layer_norm"), f"{name}.fc1"))
        hidden = hidden + linear(inner, f"{name}.fc2")
        layers.append(hidden)
    layers[-1] = norm(layers[-1], "layer_norm")
    return layers


@pytest.mark.parametrize("samples", [300, 16_000, 31_999])
def test_both_contexts_equal_independent_implementations_on_one_clip(samples):
    clip = speechlike(samples)
    expected = {"full": plain_states(folder(), clip), "audio": naive_audio_states(folder(), clip, heads=4)}
    for context, layers in expected.items():
        found = states(extractor(context), [clip], ALL)
        for layer, theirs in enumerate(layers):
            assert relative_error(found[layer], theirs) <= 1e-5, (context, layer)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 60_000), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_audio_features_do_not_depend_on_batch_mates(lengths, seed):
    assert_alone_equals_together("audio", [speechlike(length, seed) for length in lengths])


def test_full_features_do_not_depend_on_batch_mates():
    assert_alone_equals_together("full", [speechlike(length) for length in (100, 16_000, 47_321)])


@pytest.mark.parametrize("context", ["audio", "full"])
def test_a_clip_of_several_windows_does_not_depend_on_batch_mates(context):
    assert_alone_equals_together(context, [speechlike(length) for length in (500_000, 5_000)])


def assert_alone_equals_together(context, clips):
    model = extractor(context)
    together, alone = states(model, clips, ALL), [states(model, [clip], ALL) for clip in clips]
    for layer in ALL:
        parts = together[layer].split([model.frames(len(clip)) for clip in clips])
        for own, part in zip(alone, parts, strict=True):
            assert relative_error(part, own[layer]) <= 1e-5


@pytest.mark.parametrize("context", ["audio", "full"])
def test_wanted_layers_come_in_order_and_equal_those_of_a_full_run(context):
    model, clips = extractor(context), [speechlike(5_000), speechlike(7_000)]
    everything = states(model, clips, ALL)
    for wanted in ([0, 2], [1], ALL[-1:]):
        some = states(model, clips, wanted)
        assert list(some) == wanted
        assert all(torch.equal(packed, everything[layer]) for layer, packed in some.items())


@pytest.mark.parametrize("context", ["audio", "full"])
def test_audio_beyond_30_seconds_goes_window_by_window(context):
    model = extractor(context)
    clip = speechlike(WINDOW + 12_345)
    whole = states(model, [clip], ALL)
    parts = [states(model, [part], ALL) for part in (clip[:WINDOW], clip[WINDOW:])]
    for layer, packed in whole.items():
        assert packed.shape == (model.frames(len(clip)), small_models.WIDTH)
        assert relative_error(packed, torch.cat([part[layer] for part in parts])) <= 1e-5


@pytest.mark.parametrize("context", ["audio", "full"])
def test_a_long_clip_goes_through_a_block_a_few_windows_at_a_time(context, monkeypatch):
    model = load(str(folder()), BackboneOptions(context=context, device="cpu"))
    clips = [speechlike(3 * WINDOW + 4_000), speechlike(9_000)]
    whole = states(model, clips, ALL)
    seen = []
    for module in (model._encoder.conv1, model._encoder.layers[1]):
        module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    monkeypatch.setattr(whisper, "_FRAMES_AT_ONCE", 3_000)
    for layer, packed in states(model, clips, ALL).items():
        assert relative_error(packed, whole[layer]) <= 1e-5
    assert seen == [2, 2, 1, 2, 2, 1]  # five windows


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 50_000))
def test_frames_are_as_many_as_announced(samples):
    model = extractor("audio")
    assert len(states(model, [speechlike(samples)], [1])[1]) == model.frames(samples)


def test_the_two_contexts_share_layer_0_but_for_the_last_frame():
    clip = speechlike(16_000)
    audio_states, full_states = (states(extractor(context), [clip], ALL) for context in ("audio", "full"))
    torch.testing.assert_close(audio_states[0][:-1], full_states[0][:-1])
    assert relative_error(audio_states[3], full_states[3]) > 1e-3


def test_contexts_have_their_own_folder_and_identity():
    in_audio, in_full = extractor("audio"), extractor("full")
    assert (in_audio.variant, in_full.variant) == ("", "full")
    assert in_audio.identity["weights"] == in_full.identity["weights"]
    assert in_audio.identity != in_full.identity


@pytest.fixture(scope="module")
def real(shared):
    """The real whisper-base encoder's folder, and three EMOVO clips of different lengths."""
    files = sorted((shared / "data/emovo/audio").glob("*.flac"))
    clips = sorted((audio.read(path).samples for path in files[::60]), key=len)
    return shared / "models/whisper-base-encoder", [clips[0], clips[len(clips) // 2], clips[-1]]


@pytest.mark.slow
def test_real_full_states_equal_the_plain_encoder_on_the_utterance_alone(real):
    weights, clips = real
    model = load(str(weights), BackboneOptions(context="full", device="cpu"))
    layers = model.geometry.layers
    assert layers == tuple(range(7))
    together = {
        layer: packed.split([model.frames(len(c)) for c in clips])
        for layer, packed in states(model, clips, layers).items()
    }
    for index, clip in enumerate(clips):
        for layer, theirs in enumerate(plain_states(weights, clip)):
            assert relative_error(together[layer][index], theirs) <= 1e-4, layer


def test_real_audio_states_equal_a_naive_implementation_on_the_utterance_alone(real):
    weights, clips = real
    model = load(str(weights), BackboneOptions(device="cpu"))
    together = {
        layer: packed.split([model.frames(len(c)) for c in clips])
        for layer, packed in states(model, clips, model.geometry.layers).items()
    }
    for index, clip in enumerate(clips):
        for layer, theirs in enumerate(naive_audio_states(weights, clip, heads=8)):
            assert relative_error(together[layer][index], theirs) <= 1e-4, layer


def test_real_activations_are_large_but_fit_half_precision(real):
    weights, clips = real
    found = states(load(str(weights), BackboneOptions(device="cpu")), clips[1:2], range(7))
    assert 100 < max(float(packed.abs().max()) for packed in found.values()) < 65_504
