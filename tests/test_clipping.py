"""The cut to the first seconds of a clip, one rule for backbones and MFCC."""

import math

import pytest

from ser_cache.backbones.loading import BackboneOptions, describe
from ser_cache.clipping import LEAST_SECONDS, Clipping
from ser_cache.errors import SettingsError
from ser_cache.mfcc import MfccExtractor, MfccOptions


@pytest.mark.parametrize("options", [Clipping, BackboneOptions, MfccOptions])
@pytest.mark.parametrize("seconds", [0, -1, 1e-5, 0.0999, math.nan, math.inf])
def test_a_cut_to_next_to_nothing_is_refused(options, seconds):
    with pytest.raises(SettingsError, match=r"give at least 0\.1 s, or leave --max-seconds out") as caught:
        options(max_seconds=seconds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "samples", "kept"),
    [(None, 9, 9), (0.1, 9, 9), (0.1, 16_000, 1600), (2.5, 40_001, 40_000), (1.00004, 20_000, 16_001)],
)
def test_what_is_kept_is_the_nearest_number_of_samples(seconds, samples, kept):
    assert Clipping(seconds).kept(samples) == kept


def test_the_shortest_cut_leaves_a_frame_to_every_model():
    for model in ("xls-r", "whisper-small"):
        assert describe(model, BackboneOptions(max_seconds=LEAST_SECONDS)).frames(160_000) > 1
    assert MfccExtractor(MfccOptions(max_seconds=LEAST_SECONDS)).frames(160_000) > 1


def test_backbones_and_mfcc_name_a_cut_alike():
    for seconds in (6, 6.0, 0.25):
        backbone = describe("xls-r", BackboneOptions(max_seconds=seconds))
        assert backbone.variant == MfccExtractor(MfccOptions(max_seconds=seconds)).variant
        assert backbone.variant == f"max{seconds:g}s"
