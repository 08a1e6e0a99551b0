"""MFCC against librosa, and its shape as an extractor."""

import re
import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_cache.errors import SerCacheError
from ser_cache.mfcc import MfccExtractor, MfccOptions, mfcc_options


def voiced(samples: int, seed: int = 0) -> np.ndarray:
    """A gliding tone with noise, louder in the middle: (samples,) at 16 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    tone = np.sin(2 * np.pi * (180 * time + 40 * time**2)) * np.hanning(samples)
    return (0.3 * tone + 0.01 * rng.standard_normal(samples)).astype(np.float32)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("samples", [2048, 2049, 16_000, 31_999, 80_000])
def test_coefficients_equal_those_of_librosa(samples):
    audio = voiced(samples)
    theirs = librosa.feature.mfcc(y=audio, sr=16_000, n_mfcc=13).T
    ours = MfccExtractor().prepare(audio)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert relative_error(ours, theirs) < 1e-5
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_other_settings_equal_those_of_librosa():
    audio = voiced(20_000)
    options = MfccOptions(coefficients=40, fft_samples=400, hop_samples=160, bands=64)
    theirs = librosa.feature.mfcc(y=audio, sr=16_000, n_mfcc=40, n_fft=400, hop_length=160, n_mels=64).T
    assert relative_error(MfccExtractor(options).prepare(audio), theirs) < 1e-5


@pytest.mark.parametrize("samples", [1, 500, 1023, 2046, 2047, 20_000])
@pytest.mark.parametrize(
    "name",
    [
        "mfcc",
        "mfcc+n40+fft400+hop160+mel64",
        "mfcc+fft4096",
        "mfcc+fft1601+hop341",
        "mfcc+hop1024",
        "mfcc+n20+mel20",
        "mfcc+sr8000",
    ],
)
def test_every_setting_and_length_gives_librosas_values(name, samples):
    options = mfcc_options(name)
    audio = np.float32(1e-6) * np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    audio[-1] = 0.9  # more than 80 dB louder than the rest, in a frame that would lie beyond the end
    heard = (
        audio if options.sample_rate == 16_000 else librosa.resample(audio, orig_sr=16_000, target_sr=8_000)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a window longer than the clip, and of empty bands
        theirs = librosa.feature.mfcc(
            y=heard,
            sr=options.sample_rate,
            n_mfcc=options.coefficients,
            n_fft=options.fft_samples,
            hop_length=options.hop_samples,
            n_mels=options.bands,
        ).T
    ours = MfccExtractor(options).prepare(audio)
    assert ours.shape == theirs.shape
    assert relative_error(ours, theirs) < 1e-5
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_bands_without_a_frequency_are_told_in_one_line_and_no_warning():
    extractor = MfccExtractor(mfcc_options("mfcc+n20+fft256+hop160"))
    assert np.isfinite(extractor.prepare(voiced(8000))).all()
    assert re.fullmatch(r"13 of 128 mel bands lie between .* as in mfcc\+fft256\+mel25", extractor.caution)
    assert MfccExtractor().caution == ""
    assert MfccExtractor(mfcc_options("mfcc+n20+fft256+hop160+mel25")).caution == ""


def test_first_clip_keeps_its_golden_coefficients():
    frame = MfccExtractor().prepare(voiced(16_000))[15]
    np.testing.assert_allclose(frame[:4], GOLDEN, rtol=1e-4)


GOLDEN = [-218.31206, 15.572145, 20.108437, 17.888918]  # librosa 0.11.0, NumPy 2.4


@pytest.mark.parametrize("audio", [np.zeros(16_000, np.float32), np.zeros(1, np.float32), voiced(320)])
def test_silence_and_clips_shorter_than_a_window_give_finite_frames_without_warnings(audio):
    extractor = MfccExtractor()
    frames = extractor.prepare(audio)
    assert frames.shape == (extractor.frames(len(audio)), 13)
    assert np.isfinite(frames).all()


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 20_000), longest=st.sampled_from([None, 0.5, 3.0]))
def test_frames_are_as_many_as_announced(samples, longest):
    extractor = MfccExtractor(MfccOptions(max_seconds=longest))
    assert len(extractor.prepare(voiced(samples))) == extractor.frames(samples)


def test_a_batch_is_the_clips_one_after_another():
    extractor = MfccExtractor()
    batch = [extractor.prepare(voiced(n)) for n in (4_000, 9_000)]
    emitted = []
    extractor.forward(batch, [1], lambda layer, states: emitted.append((layer, states.numpy())))
    ((layer, states),) = emitted
    assert layer == 1
    np.testing.assert_array_equal(states, np.concatenate(batch))


def test_settings_show_in_variant_and_identity():
    plain, wide = MfccExtractor(), MfccExtractor(MfccOptions(coefficients=40, max_seconds=6))
    assert (plain.name, plain.variant, plain.geometry.layers, plain.geometry.width) == ("mfcc", "", (1,), 13)
    assert (wide.variant, wide.geometry.width) == ("n40+max6s", 40)
    assert plain.identity != wide.identity
    assert plain.provenance == {"model": "mfcc"}


@pytest.mark.parametrize("settings", [{"coefficients": 0}, {"coefficients": 200}, {"max_seconds": 0}])
def test_settings_that_give_nothing_are_refused(settings):
    with pytest.raises(SerCacheError):
        MfccOptions(**settings)


def test_deltas_and_another_sampling_rate_equal_those_of_librosa():
    audio = voiced(20_000)
    heard = librosa.resample(audio, orig_sr=16_000, target_sr=22_050)
    theirs = librosa.feature.mfcc(y=heard, sr=22_050, n_mfcc=13)
    theirs = np.concatenate([theirs, librosa.feature.delta(theirs), librosa.feature.delta(theirs, order=2)]).T
    ours = MfccExtractor(MfccOptions(sample_rate=22_050, deltas=2)).prepare(audio)
    assert ours.shape == theirs.shape == (54, 39)
    assert relative_error(ours, theirs) < 1e-5
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 20_000),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100]),
    deltas=st.integers(0, 2),
)
def test_frames_are_as_many_as_announced_at_any_rate(samples, rate, deltas):
    extractor = MfccExtractor(MfccOptions(sample_rate=rate, deltas=deltas))
    frames = extractor.prepare(voiced(samples))
    assert frames.shape == (extractor.frames(samples), extractor.geometry.width)
    assert np.isfinite(frames).all()


def test_a_name_says_the_settings_in_any_order():
    options = mfcc_options("mfcc+d2+hop160+n20+max6s")
    assert options == MfccOptions(coefficients=20, hop_samples=160, deltas=2, max_seconds=6)
    assert options.variant == "n20+hop160+d2+max6s"
    assert mfcc_options(f"mfcc+{options.variant}") == options
    assert mfcc_options("mfcc") == MfccOptions()


def test_settings_that_came_later_leave_older_features_alone():
    assert not {"deltas", "sample_rate"} & MfccExtractor().identity.keys()
    assert MfccExtractor(MfccOptions(deltas=1)).identity["deltas"] == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mfcc+q3", "unknown setting of mfcc 'q3'"),
        ("mfcc+20", "unknown setting of mfcc '20'"),
        ("mfcc+", "unknown setting of mfcc ''"),
        ("mfcc+n20+n30", "mfcc+n20+n30 sets n twice"),
        ("mfcc+d3", "3 orders of deltas"),
        ("mfcc+sr16", "MFCC at 16 Hz"),
        ("mfcc+n200", "200 coefficients cannot come from 128 mel bands"),
        ("mfcc+max0s", "clips cannot be cut to 0 s"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, told):
    with pytest.raises(SerCacheError, match=re.escape(told)):
        mfcc_options(name)
