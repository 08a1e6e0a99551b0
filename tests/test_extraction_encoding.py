"""Codecs, statistics and averaging, against one clip and one channel at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_cache.errors import BackboneError
from ser_cache.extraction.encoding import EncodedBatch
from ser_cache.extraction.layers import ClipEncoder, PaddedEncoder, element_type
from ser_cache.store import CODECS, Fingerprint

CPU = torch.device("cpu")
NOT_FINITE = "layer 0 holds NaN, infinity, or values too large to square: leave this clip out."
ENCODERS = {
    "clip": ClipEncoder,
    "padded": lambda frames, codec, average: PaddedEncoder(frames, codec, average, CPU),
}


def states_of(frames: list[int], width: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 500.0, 1e-3, 3.0, 0.0, 20.0])[:width]
    offset = torch.tensor([0.0, 100.0, 0.0, -7.0, 0.0, 1.0])[:width]
    return torch.randn(sum(frames), width, generator=generator) * scale + offset


def fingerprint(codec: str = "fp16", layers: tuple[int, ...] = (0, 1), **storage: object) -> Fingerprint:
    whole = {"codec": codec, "layers": layers, "tier": "frames", "frame_average": 1, "schema": 1}
    return Fingerprint({}, whole | storage)


def filled(frames: list[int], kind: Fingerprint, states: torch.Tensor) -> EncodedBatch:
    batch = EncodedBatch(frames, kind, states.shape[1])
    for layer in kind.layers:
        batch.emit(layer, states * (layer + 1))
    return batch


def naive_groups(clip: np.ndarray, average: int) -> np.ndarray:
    return np.stack([clip[start : start + average].mean(axis=0) for start in range(0, len(clip), average)])


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    codec=st.sampled_from(sorted(CODECS)),
    average=st.integers(1, 7),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_layer_is_encoded_as_clip_by_clip_and_channel_by_channel(encoder, frames, codec, average, seed):
    states = states_of(frames, seed=seed)
    encoded = ENCODERS[encoder](frames, CODECS[codec], average)(states)
    hidden = torch.cat([piece.to(element_type(CODECS[codec])) for piece in encoded.hidden]).numpy()
    start = 0
    for index, clip in enumerate(torch.split(states.double(), frames)):
        values = clip.numpy()
        np.testing.assert_allclose(encoded.mean[index], values.mean(axis=0), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(encoded.std[index], values.std(axis=0), rtol=1e-4, atol=1e-4)
        kept = naive_groups(values, average)
        assert np.abs(kept).max() * 0.9999 <= encoded.largest[index] < 65_504
        ours = hidden[start : start + len(kept)].astype(np.float64)
        start += len(kept)
        if codec == "int8":
            scale = np.abs(kept).max(axis=0) / 127
            np.testing.assert_allclose(encoded.scale[index], scale, rtol=1e-5)
            assert np.abs(ours).max() <= 127
            assert np.all(np.abs(ours * scale - kept) <= scale * 0.5001 + 1e-6)
        else:
            digits = {"fp16": 2**-10, "fp32": 1e-5}[codec]
            np.testing.assert_allclose(ours, kept, rtol=digits, atol=1e-4)
    assert start == len(hidden)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("average", [1, 3])
def test_both_encoders_agree(codec, average):
    frames = [9, 1, 30, 3]
    states = states_of(frames)
    one, other = (make(frames, CODECS[codec], average)(states) for make in ENCODERS.values())
    apart = torch.cat(list(one.hidden)) - torch.cat(list(other.hidden)).float()
    assert float(apart.abs().max()) <= (1.0 if codec == "int8" else 0.5)  # a step of fp16 near 1000
    for name in ("mean", "std"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_average_over_more_frames_than_any_clip_has_needs_no_memory_for_them(encoder):
    frames = [4, 9]
    encoded = ENCODERS[encoder](frames, CODECS["fp32"], 10**15)(states_of(frames))
    torch.testing.assert_close(torch.cat(list(encoded.hidden)), encoded.mean, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_is_wrong_with_one_clip_stays_with_it(encoder):
    frames = [4, 5, 6]
    states = states_of(frames)
    sound = ENCODERS[encoder](frames, CODECS["int8"], 2)(states)
    states[5, 3] = float("nan")
    encoded = ENCODERS[encoder](frames, CODECS["int8"], 2)(states)
    assert encoded.largest.isfinite().tolist() == [True, False, True]
    for name in ("mean", "std", "scale"):
        ours, theirs = getattr(encoded, name), getattr(sound, name)
        assert torch.equal(ours[[0, 2]], theirs[[0, 2]])


def test_features_come_layer_by_layer_in_the_shapes_of_the_store():
    frames = [5, 8]
    states = states_of(frames)
    kind = fingerprint("int8", (1, 4), frame_average=2)
    first, second = filled(frames, kind, states).finish()
    assert first["hidden"].shape == (2, 3, 6)
    assert second["hidden"].shape == (2, 4, 6)
    assert (first["hidden"].dtype, first["scale"].dtype) == (np.int8, np.float32)
    for name in ("scale", "mean", "std"):
        assert second[name].shape == (2, 6)
    np.testing.assert_allclose(second["mean"][1], (states[5:] * 5).mean(dim=0), rtol=1e-5, atol=1e-4)


def test_the_pooled_tier_has_statistics_alone():
    kind = fingerprint("fp32", tier="pooled")
    outcomes = filled([3, 2], kind, states_of([3, 2])).finish()
    assert [sorted(outcome) for outcome in outcomes] == [["mean", "std"]] * 2


@pytest.mark.parametrize(
    ("codec", "value", "reason"),
    [
        (
            "fp16",
            70_000.0,
            "layer 1 reaches 140000, beyond the 65504 that fp16 holds: extract with --codec fp32.",
        ),
        (
            "fp16",
            float("inf"),
            NOT_FINITE,
        ),
        ("fp32", 70_000.0, ""),
        ("int8", 70_000.0, ""),
        (
            "int8",
            float("nan"),
            NOT_FINITE,
        ),
        ("fp32", 1e30, NOT_FINITE),
    ],
)
def test_a_clip_that_the_codec_cannot_hold_has_a_reason_and_no_features(codec, value, reason):
    states = states_of([3, 4])
    states[4, 0] = value
    kind = fingerprint(codec, (0, 1) if value != 70_000.0 else (1,))
    good, bad = filled([3, 4], kind, states).finish()
    assert not isinstance(good, str)
    assert bad == reason if reason else not isinstance(bad, str)


def test_what_overflowed_in_half_precision_says_what_to_compute_in():
    kind = Fingerprint({"precision": "fp16"}, fingerprint("fp32").storage)
    (reason,) = filled([3], kind, states_of([3]) * float("inf")).finish()
    assert str(reason).endswith("too large to square: extract with --precision fp32.")


def test_layers_that_are_missing_or_out_of_turn_are_errors():
    kind = fingerprint()
    with pytest.raises(BackboneError, match="never gave layer 0"):
        EncodedBatch([3], kind, 6).finish()
    with pytest.raises(BackboneError, match="layer 1 out of turn"):
        EncodedBatch([3], kind, 6).emit(1, states_of([3]))
    with pytest.raises(BackboneError, match=r"gave \(4, 6\) values in layer 0 where \(3, 6\) were planned"):
        EncodedBatch([3], kind, 6).emit(0, states_of([4]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("codec", CODECS)
def test_a_gpu_gives_the_features_of_a_processor(codec):
    frames = [40, 7, 120]
    states = states_of(frames)
    ours = filled(frames, fingerprint(codec), states.cuda()).finish()
    theirs = filled(frames, fingerprint(codec), states).finish()
    for one, other in zip(ours, theirs, strict=True):
        for name, values in one.items():
            np.testing.assert_allclose(
                values.astype(float),
                other[name].astype(float),
                rtol=1e-3,
                atol=1.0 if codec == "int8" and name == "hidden" else 1e-4,
            )
