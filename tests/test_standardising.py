"""Standardised features against the mean and deviation of all frames laid end to end."""

import numpy as np
import pytest
import torch

from ser_cache.errors import UnknownNameError
from ser_cache.packing import PackedFeatures
from ser_cache.standardising import StandardisedFeatures, check_standardisation, moments

LENGTHS = np.array([3, 1, 7, 2, 5])
MEMBERS = [np.array([0, 2]), np.array([1, 3, 4])]
GROUP = np.array([0, 1, 0, 1, 1])


@pytest.fixture
def states():
    rng = np.random.default_rng(0)
    made = [(rng.normal(500, 3, size=(2, n, 4)) * [1, 10, 0.1, 1]).astype(np.float32) for n in LENGTHS]
    for array in made:
        array[:, :, 3] = 7.0  # a channel that never changes
    return made


def found(states, members=MEMBERS, group=GROUP):
    layers = (4, 9)
    mean = {layer: np.stack([s[p].mean(axis=0) for s in states]) for p, layer in enumerate(layers)}
    std = {layer: np.stack([s[p].std(axis=0) for s in states]) for p, layer in enumerate(layers)}
    return moments(mean.__getitem__, std.__getitem__, layers, LENGTHS, members, group)


def test_moments_of_means_and_deviations_are_those_of_all_frames(states):
    result = found(states)
    for number, rows in enumerate(MEMBERS):
        frames = np.concatenate([states[row] for row in rows], axis=1).astype(np.float64)
        np.testing.assert_allclose(result.mean[number], frames.mean(axis=1), rtol=1e-6)
        deviation = frames.std(axis=1)
        np.testing.assert_allclose(result.deviation[number][:, :3], deviation[:, :3], rtol=1e-4)
    assert (result.deviation[:, :, 3] == 1).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 501.3, -3.3e-5])
def test_a_channel_that_never_changes_but_by_rounding_has_a_deviation_of_one(value):
    """Means of equal numbers, as the cache has them, differ in their last bits; so does half precision."""
    lengths = np.random.default_rng(0).integers(20, 300, 50)
    same = [torch.full((n, 3), value) for n in lengths]
    mean, std = (
        np.stack([one.numpy() for one in values]) for values in zip(*map(_moments, same), strict=True)
    )
    everyone = [np.arange(50)], np.zeros(50, dtype=np.int64)
    result = moments(lambda _: mean, lambda _: std, (0,), lengths, *everyone)
    assert (result.deviation == 1).all()
    stored = torch.cat(same).half()[None]
    source = StandardisedFeatures(PackedFeatures(stored, lengths), result)
    assert float(source.batch(np.arange(50)).frames.abs().max()) <= max(abs(value) / 2048, 2**-24)


def _moments(frames):
    return frames.mean(dim=0), frames.std(dim=0, correction=0)


@pytest.mark.parametrize("groups", ["one", "several"])
def test_batches_are_standardised_each_utterance_by_its_group(states, groups):
    result = (
        found(states) if groups == "several" else found(states, [np.arange(5)], np.zeros(5, dtype=np.int64))
    )
    packed = torch.from_numpy(np.concatenate(states, axis=1))
    source = StandardisedFeatures(PackedFeatures(packed, LENGTHS), result)
    for indices in ([4, 0, 1], [2], [0, 1, 2, 3, 4]):
        expected = [
            (states[i] - result.mean[result.group[i]][:, None]) / result.deviation[result.group[i]][:, None]
            for i in indices
        ]
        batch = source.batch(np.array(indices))
        np.testing.assert_allclose(batch.frames, np.concatenate(expected, axis=1), atol=1e-3)
        assert batch.segments.lengths.tolist() == LENGTHS[indices].tolist()
    again = source.batch(np.array([4, 0, 1]))
    np.testing.assert_array_equal(again.frames, source.batch(np.array([4, 0, 1])).frames)
    np.testing.assert_array_equal(packed, np.concatenate(states, axis=1))  # the source's own stay as they are


def test_standardised_features_have_mean_zero_and_deviation_one(states):
    every = found(states, [np.arange(5)], np.zeros(5, dtype=np.int64))
    packed = torch.from_numpy(np.concatenate(states, axis=1)).double()
    source = StandardisedFeatures(PackedFeatures(packed, LENGTHS, dtype=torch.float64), every)
    frames = source.batch(np.arange(5)).frames[:, :, :3]
    assert float(frames.mean(dim=1).abs().max()) < 1e-3
    torch.testing.assert_close(frames.std(dim=1, correction=0), torch.ones(2, 3).double(), rtol=1e-3, atol=0)


def test_an_unknown_standardisation_lists_the_known():
    with pytest.raises(UnknownNameError, match="global, none, speaker"):
        check_standardisation("z-score")
