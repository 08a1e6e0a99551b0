"""What is measured of a clip is what was put into it; what was measured is kept, and told from stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_speech import innocent, speech, write

from ser_cache.audio import Original, as_recording, read_original
from ser_cache.audit import acoustics, measure_corpus
from ser_cache.audit.acoustics import QUIETEST, Measurement, clipped_share, measure
from ser_cache.audit.measurements import read_kept, write_kept
from ser_cache.manifest import Manifest, read_manifest


def measured(samples: np.ndarray, rate: int = 16_000, coding: str = "PCM_16") -> Measurement:
    shaped = np.asarray(samples, "f4").reshape(len(samples), -1)
    original = Original(shaped, rate, "WAV", coding, "0" * 64)
    return measure(original, as_recording(Path("made.wav"), original))


def steady(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A tone of one level, -9 dB of full scale in its mean square."""
    return 0.5 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * rate)) / rate)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000]),
    st.integers(2, 60),
    st.integers(0, 60),
    st.sampled_from([1.0, 0.01]),
)
def test_silence_level_and_padding_are_what_was_put_in(
    rate: int, before: int, after: int, gain: float
) -> None:
    lead, trail = np.zeros(before * rate // 100), np.zeros(after * rate // 100)
    found = measured(np.concatenate([lead, steady(0.5, rate), trail]) * gain, rate)
    assert found.leading == pytest.approx(before / 100, abs=0.011)
    assert found.trailing == pytest.approx(after / 100, abs=0.011)
    assert found.padding == pytest.approx((before + (after > 1) * after) / 100, abs=0.021)
    assert found.level == pytest.approx(-9.03 + 20 * np.log10(gain), abs=0.2)
    assert found.seconds == pytest.approx(0.5 + (before + after) / 100, abs=0.01)
    assert found.clipped == 0


def test_noise_far_below_is_silence_but_no_padding() -> None:
    noise = np.random.default_rng(0).normal(scale=0.002, size=8000)
    found = measured(np.concatenate([noise, steady(0.5), noise]))
    assert found.leading == pytest.approx(0.5, abs=0.02)
    assert found.trailing == pytest.approx(0.5, abs=0.02)
    assert found.padding == 0


def test_a_constant_offset_is_no_sound() -> None:
    found = measured(np.full(16_000, 0.25))
    assert (found.level, found.doubt, found.leading) == (QUIETEST, "silent", 1)
    spoken = measured(np.concatenate([np.zeros(8000), steady(0.5)]) + 0.2)
    assert spoken.leading == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("samples", [1, 2, 50, 161])
def test_a_clip_of_hardly_any_samples_is_measured(samples: int) -> None:
    found = measured(np.linspace(-0.5, 0.5, samples))
    assert found.doubt.startswith("only")
    assert np.isfinite(found.level)
    assert found.padding <= found.seconds


@pytest.mark.parametrize("gain", [1.0, 0.4])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_flat_tops_are_clipping_even_turned_down_afterwards(rate: int, gain: float) -> None:
    clip = np.clip(8 * steady(1.0, rate), -1, 1)
    rounded = np.round(clip * gain * 32767) / 32768
    assert measured(rounded, rate).clipped == pytest.approx(np.mean(np.abs(clip) == 1), abs=0.02)


@pytest.mark.parametrize("hertz", [60, 100, 440, 3000])
@pytest.mark.parametrize("peak", [0.05, 0.3, 0.999])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_round_tops_are_no_clipping(hertz: int, peak: float, rate: int) -> None:
    wave = peak * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    # Below 100 Hz rounding to 16 bits flattens a top for a sample or two more than is forgiven.
    assert measured(np.round(wave * 32768) / 32768, rate).clipped <= (0.02 if hertz < 100 else 0)


def test_speech_in_coarse_codings_is_not_taken_for_clipped() -> None:
    for seed in range(5):
        clip = speech(seed)
        coarse = np.round(clip / np.abs(clip).max() * 127) / 128
        assert measured(coarse, coding="PCM_U8").clipped < 1e-3


def naive_clipped(samples: np.ndarray, run: int, peak: float) -> int:
    """Samples in runs of at least ``run`` that are at full scale, or equal and near the peak."""
    flat = set()
    for start in range(len(samples) - run + 1):
        piece = samples[start : start + run]
        at_full_scale = (np.abs(piece) >= 0.9999).all()
        equal = (piece == piece[0]).all() and abs(piece[0]) >= 0.9 * peak and peak > 0.25
        if at_full_scale or equal:
            flat |= set(range(start, start + run))
    return len(flat)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.9, 0.95, 1.0, -1.0, -0.95]), min_size=1, max_size=40))
def test_clipping_is_counted_as_a_naive_count_does(values: list[float]) -> None:
    samples = np.array(values, "f4")
    original = Original(samples[:, None], 16_000, "WAV", "PCM_16", "")
    expected = naive_clipped(samples, 3, float(np.abs(samples).max()))
    assert clipped_share(original) == pytest.approx(expected / len(samples))


def test_a_lossless_copy_has_the_same_content_and_another_has_not(tmp_path: Path) -> None:
    contents = {}
    for name, gain in (("a.wav", 1.0), ("a.flac", 1.0), ("b.wav", 0.99)):
        whole = np.round(speech(0) * gain * 32768).astype(np.int16)
        soundfile.write(tmp_path / name, whole, 16_000)
        original = read_original(tmp_path / name)
        contents[name] = measure(original, as_recording(tmp_path / name, original)).content
    assert contents["a.wav"] == contents["a.flac"] != contents["b.wav"]


def test_the_format_is_that_of_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", np.stack([speech(0)] * 2, axis=1), 22_050, subtype="VORBIS")
    original = read_original(tmp_path / "a.ogg")
    found = measure(original, as_recording(tmp_path / "a.ogg", original))
    assert found.format == "22.05 kHz, 2 channels, OGG VORBIS"


@pytest.fixture
def made(empty_folder: Path) -> tuple[Manifest, Path]:
    """A corpus of eight clips with its manifest; and its root."""
    root = write(innocent(speakers=("s0",)))
    return read_manifest(Path("manifests/made.csv")), root


KEPT = Path("manifests/measurements/made.npz")


def same(one: Measurement, other: Measurement) -> bool:
    fields = {name: getattr(one, name) for name in vars(one) if name != "words"}
    return all(getattr(other, name) == value for name, value in fields.items()) and np.array_equal(
        one.words, other.words
    )


def test_a_second_audit_decodes_nothing_and_knows_the_same(made: tuple[Manifest, Path]) -> None:
    first = measure_corpus(*made, KEPT)
    assert (first.kept, first.decoded, len(first.by_id)) == ("absent", 8, 8)
    again = measure_corpus(*made, KEPT)
    assert (again.kept, again.decoded) == ("good", 0)
    assert all(same(first.by_id[name], again.by_id[name]) for name in first.by_id)


def test_only_what_changed_is_decoded_again(made: tuple[Manifest, Path]) -> None:
    manifest, root = made
    measure_corpus(manifest, root, KEPT)
    (root / "s0_anger_a_0.wav").rename(root / "s0_anger_a_7.wav")
    soundfile.write(root / "s0_fear_a_0.wav", speech(99), 16_000)
    write([], root=root)
    again = measure_corpus(read_manifest(Path("manifests/made.csv")), root, KEPT)
    assert (again.decoded, len(again.by_id)) == (1, 8)
    assert "s0_anger_a_7" in again.by_id


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "version"])
def test_stale_measurements_are_made_anew(
    damage: str, made: tuple[Manifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_corpus(*made, KEPT)
    whole = KEPT.read_bytes()
    if damage == "version":
        monkeypatch.setattr("ser_cache.audit.measurements.VERSION", acoustics.VERSION + 1)
    else:
        KEPT.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"no archive"}[damage])
    assert read_kept(KEPT) == ("stale", {})
    again = measure_corpus(*made, KEPT)
    assert (again.kept, again.decoded) == ("stale", 8)
    assert measure_corpus(*made, KEPT).kept == "good"


def test_what_cannot_be_read_or_has_changed_is_a_failure_with_its_reason(
    made: tuple[Manifest, Path],
) -> None:
    manifest, root = made
    (root / "s0_anger_a_0.wav").unlink()
    (root / "s0_anger_b_0.wav").write_bytes(b"no audio")
    soundfile.write(root / "s0_fear_a_0.wav", speech(99), 16_000)
    found = measure_corpus(manifest, root, KEPT)
    assert len(found.by_id) == 5
    reasons = [found.failures[f"s0_{name}_0"] for name in ("anger_a", "anger_b", "fear_a")]
    for reason, piece in zip(reasons, ("does not exist", "cannot be decoded", "has changed"), strict=True):
        assert piece in reason


def test_what_was_measured_before_an_interruption_is_kept(made: tuple[Manifest, Path]) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 8
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_corpus(*made, KEPT, on_progress=stop)
    assert measure_corpus(*made, KEPT).decoded == 5


def test_what_is_measured_is_on_disk_while_the_rest_is_measured(
    made: tuple[Manifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_cache.audit.measurements._STEP", 0.0)
    kept: list[int] = []
    measure_corpus(*made, KEPT, on_progress=lambda *_: kept.append(len(read_kept(KEPT)[1])))
    assert kept == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    ]  # so a kill, which nothing can catch, loses what is after the last step


def test_where_nothing_can_be_kept_that_is_tried_once(
    made: tuple[Manifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_cache.audit.measurements._STEP", 0.0)
    tried: list[Path] = []

    def refuse(path: Path, measured: object) -> None:
        tried.append(path)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("ser_cache.audit.measurements.write_kept", refuse)
    found = measure_corpus(*made, KEPT)
    assert (tried, found.decoded, found.unkept) == (
        [KEPT],
        8,
        f"{KEPT} cannot be written (Permission denied)",
    )


def test_clips_of_equal_bytes_are_decoded_once(made: tuple[Manifest, Path]) -> None:
    _, root = made
    (root / "s1_anger_a_0.wav").write_bytes((root / "s0_anger_a_0.wav").read_bytes())
    write([], root=root)
    found = measure_corpus(read_manifest(Path("manifests/made.csv")), root, KEPT)
    assert (found.decoded, len(found.by_id)) == (8, 9)


def test_what_has_changed_since_it_was_measured_is_a_failure_and_the_rest_is_as_it_was(
    made: tuple[Manifest, Path],
) -> None:
    manifest, root = made
    first = measure_corpus(manifest, root, KEPT)
    soundfile.write(root / "s0_fear_a_0.wav", speech(99), 16_000)
    (root / "s0_anger_a_0.wav").unlink()
    again = measure_corpus(manifest, root, KEPT)
    assert (again.kept, again.decoded, len(again.by_id)) == ("good", 0, 6)
    assert {name: reason.split(".wav ")[1][:11] for name, reason in again.failures.items()} == {
        "s0_anger_a_0": "does not ex",
        "s0_fear_a_0": "has changed",
    }
    assert all(same(first.by_id[name], measurement) for name, measurement in again.by_id.items())


def test_a_copy_that_cannot_be_read_does_not_hide_the_other(made: tuple[Manifest, Path]) -> None:
    _, root = made
    (root / "s1_anger_a_0.wav").write_bytes((root / "s0_anger_a_0.wav").read_bytes())
    write([], root=root)
    (root / "s0_anger_a_0.wav").unlink()
    found = measure_corpus(read_manifest(Path("manifests/made.csv")), root, KEPT)
    assert (list(found.failures), found.decoded) == (["s0_anger_a_0"], 8)
    assert "s1_anger_a_0" in found.by_id


def test_what_cannot_be_kept_is_measured_all_the_same(made: tuple[Manifest, Path]) -> None:
    KEPT.parent.write_bytes(b"a file where the folder should be")
    found = measure_corpus(*made, KEPT)
    assert (found.decoded, len(found.by_id)) == (8, 8)
    assert "cannot be written" in found.unkept


def test_kept_measurements_read_back_as_they_were(tmp_path: Path) -> None:
    clips = [measured(speech(0)), measured(np.zeros(10)), measured(speech(1)[:100])]
    clips = [Measurement(**(vars(clip) | {"sha256": f"{n:064x}"})) for n, clip in enumerate(clips)]
    write_kept(tmp_path / "kept.npz", clips)
    state, known = read_kept(tmp_path / "kept.npz")
    assert state == "good"
    assert all(same(clip, known[clip.sha256]) for clip in clips)
