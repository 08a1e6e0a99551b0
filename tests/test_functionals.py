"""Functionals of cached frames: against NumPy on the frames themselves."""

import re
from pathlib import Path

import numpy as np
import pytest
from made_up_features import Features, utterances
from small_parts import features, fingerprint, folder_in, full_part, utterance

from ser_cache.errors import SerCacheError, SettingsError
from ser_cache.functionals import summarise_frames
from ser_cache.store import open_features

ALL = ("max", "mean", "p25", "std", "min", "p97.5")


def naive(frames, names):
    """(frames, width) -> (functionals * width)."""
    known = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
    return np.concatenate(
        [
            known[name](frames, axis=0) if name in known else np.percentile(frames, float(name[1:]), axis=0)
            for name in names
        ]
    )


@pytest.mark.parametrize("names", [("mean",), ("std", "mean"), ("p50",), ALL])
def test_functionals_are_those_of_the_frames(names):
    made = Features(utterances(), noise=3.0)
    found = summarise_frames(made, 1, names)
    assert found.shape == (len(made.ids), len(names) * made.width)
    assert found.dtype == np.float64
    for index, row in enumerate(found):
        frames = made.hidden(index)[1].astype(np.float64)
        np.testing.assert_allclose(row, naive(frames, names), rtol=1e-5, atol=1e-5)


def test_averaged_frames_count_as_often_as_they_have_frames(tmp_path: Path):
    folder = folder_in(tmp_path)
    folder.mkdir(parents=True)
    part = full_part(folder, frames=(7, 2), fingerprint=fingerprint("fp32", frame_average=3))
    opened = open_features(folder, [utterance("u00"), utterance("u01")])
    found = summarise_frames(opened, 1, ("mean", "p40", "max"))
    for place, sizes in enumerate(([3, 3, 1], [2])):
        stored = features(part, place)["hidden"][1].astype(np.float64)
        frames = np.repeat(stored, sizes, axis=0)
        np.testing.assert_allclose(found[place, 3:], naive(frames, ("p40", "max")))
        # Of the model's own frames, before they were averaged.
        np.testing.assert_array_equal(found[place, :3], features(part, place)["mean"][1])


def test_time_means_alone_serve_mean_and_deviation(tmp_path: Path):
    folder = folder_in(tmp_path)
    folder.mkdir(parents=True)
    full_part(folder, fingerprint=fingerprint(tier="pooled"))
    opened = open_features(folder, [utterance("u00"), utterance("u02")])
    found = summarise_frames(opened, 2, ("std", "mean"))
    np.testing.assert_array_equal(found, np.concatenate([opened.std(2), opened.mean(2)], axis=1))
    with pytest.raises(SettingsError, match="keeps time means and deviations only, and p25 needs frames"):
        summarise_frames(opened, 2, ("mean", "p25"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "no functional was given"),
        (("mean", "mean"), "name one twice"),
        (("median",), "unknown functional 'median'"),
        (("p101",), "unknown functional 'p101'"),
        (("p-1",), "unknown functional 'p-1'"),
        (("pN",), "unknown functional 'pN'"),
    ],
)
def test_functionals_that_mean_nothing_are_refused(names, told):
    with pytest.raises(SerCacheError, match=re.escape(told)):
        summarise_frames(Features(utterances()), 1, names)
