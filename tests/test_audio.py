"""Decoding: what comes out of good files, and the one line that bad ones get."""

import csv
import hashlib
import io
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from ser_cache import audio
from ser_cache.containers import mp3_frame
from ser_cache.corpora import AUDIO_SUFFIXES
from ser_cache.errors import AudioError

RATE = 16_000
rng = np.random.default_rng(0)


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float) -> np.ndarray:
    return (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def encoded(samples, form: str, subtype: str | None = None, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype, **options)
    return buffer.getvalue()


def saved(folder: Path, data: bytes, name: str = "clip.wav") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    """The message of the error, which is one line and names the path."""
    with pytest.raises(AudioError) as caught:
        audio.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# Good input


def test_the_hash_is_of_the_bytes_and_the_samples_are_float32_mono(tmp_path):
    data = encoded(tone(0.5), "WAV", "PCM_16")
    recording = audio.read(saved(tmp_path, data))
    assert recording.sha256 == hashlib.sha256(data).hexdigest()
    assert recording.samples.dtype == np.float32
    assert recording.samples.shape == (8000,)
    assert recording.samples.flags.c_contiguous
    np.testing.assert_allclose(recording.samples, tone(0.5), atol=2**-15)


def test_44_khz_stereo_is_averaged_then_resampled_over_the_whole_clip(tmp_path):
    left, right = tone(1.0, 44_100), tone(1.0, 44_100, 1000.0)
    path = saved(tmp_path, encoded(np.stack([left, right], axis=1), "WAV", "FLOAT", 44_100))
    expected = soxr.resample((left + right) / 2, 44_100, RATE, quality="HQ")
    np.testing.assert_allclose(audio.read(path).samples, expected, atol=1e-6)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_24", 2**-23), ("PCM_32", 2**-24)])
def test_wav_of_8_24_and_32_bits_keeps_its_precision(tmp_path, subtype, step):
    path = saved(tmp_path, encoded(tone(0.2), "WAV", subtype))
    np.testing.assert_allclose(audio.read(path).samples, tone(0.2), atol=step)


def test_flac_is_exact(tmp_path):
    samples = np.round(tone(0.3) * 32767) / 32768
    path = saved(tmp_path, encoded(samples, "FLAC", "PCM_16"), "clip.flac")
    np.testing.assert_array_equal(audio.read(path).samples, samples.astype(np.float32))


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)),
        *((form, "PCM_16") for form in ("AIFF", "AU", "WAVEX", "W64", "RF64", "CAF")),
    ],
)
def test_other_formats_decode_to_their_full_length(tmp_path, form, subtype):
    samples = audio.read(saved(tmp_path, encoded(tone(2.0), form, subtype), "clip.bin")).samples
    assert len(samples) == 2 * RATE
    assert np.corrcoef(samples, tone(2.0))[0, 1] > 0.99


def test_mp3_of_constant_bit_rate_decodes_to_its_full_length(tmp_path):
    data = encoded(tone(2.0), "MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    assert len(audio.read(saved(tmp_path, data)).samples) == 2 * RATE


def test_an_mp3_with_tags_before_and_after_is_whole(tmp_path):
    size = 3000
    sevens = bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127])
    tagged = b"ID3\x03\x00\x00" + sevens + bytes(size) + encoded(tone(2.0), "MP3") + b"TAG" + bytes(125)
    assert len(audio.read(saved(tmp_path, tagged, "clip.mp3")).samples) == 2 * RATE


def test_a_clip_of_40_seconds_is_read_whole(tmp_path):
    path = saved(tmp_path, encoded(noise(40.0), "FLAC"), "long.flac")
    assert len(audio.read(path).samples) == 40 * RATE


def test_digital_silence_is_no_error(tmp_path):
    samples = audio.read(saved(tmp_path, encoded(np.zeros(8000), "WAV", "PCM_16"))).samples
    assert len(samples) == 8000
    assert not samples.any()


def test_a_clip_of_one_sample_is_read(tmp_path):
    assert len(audio.read(saved(tmp_path, encoded(np.full(1, 0.5), "WAV", "PCM_16"))).samples) == 1


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_streamed_wav_that_states_no_size_is_read_whole(tmp_path, size):
    data = bytearray(encoded(tone(0.5), "WAV", "PCM_16"))
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    struct.pack_into("<I", data, 4, 36 if size == 0 else 0xFFFFFFFF)
    path = saved(tmp_path, bytes(data))
    recording = audio.read(path)
    assert len(recording.samples) == 8000
    assert recording.sha256 == hashlib.sha256(data).hexdigest()


def test_a_streamed_flac_that_states_no_length_is_read_whole(tmp_path):
    data = bytearray(encoded(tone(2.0), "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the 36 bits of STREAMINFO that hold the number of samples
    assert len(audio.read(saved(tmp_path, bytes(data))).samples) == 2 * RATE


def test_a_wav_whose_header_counts_itself_as_samples_is_not_truncated(tmp_path):
    data = bytearray(encoded(tone(0.5), "WAV", "PCM_16"))
    struct.pack_into("<I", data, data.index(b"data") + 4, len(data))
    assert len(audio.read(saved(tmp_path, bytes(data))).samples) == 8000


def test_a_chunk_behind_the_samples_is_neither_read_nor_missed(tmp_path):
    data = encoded(tone(0.5), "WAV", "PCM_16") + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert len(audio.read(saved(tmp_path, data)).samples) == 8000


def test_threads_read_the_same_as_one(tmp_path):
    paths = [saved(tmp_path, encoded(tone(0.3, hertz=100.0 + i), "OGG"), f"{i}.ogg") for i in range(8)]
    alone = [audio.read(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(audio.read, paths))
    for one, other in zip(alone, together, strict=True):
        assert one.sha256 == other.sha256
        np.testing.assert_array_equal(one.samples, other.samples)


def test_every_suffix_taken_for_audio_is_a_format_of_libsndfile():
    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    aliases = {
        ".aif": ".aiff",
        ".aifc": ".aiff",
        ".oga": ".ogg",
        ".opus": ".ogg",
        ".snd": ".au",
        ".sph": ".nist",
    }
    assert {aliases.get(suffix, suffix) for suffix in AUDIO_SUFFIXES} <= known


def test_the_identity_constants_say_what_is_done():
    assert (audio.SAMPLE_RATE, audio.RESAMPLER, audio.CHANNELS) == (RATE, "soxr HQ", "averaged")


# Audio without speech


@pytest.mark.parametrize(
    ("samples", "doubt"),
    [
        (np.zeros(50), "only 3 ms"),
        (tone(0.0999), "only 99 ms"),
        (np.zeros(32_000), "silent"),
        (np.full(32_000, 0.3), "silent"),
        (np.resize([-(2.0**-15), 0, 2.0**-15], 32_000), "silent"),
        (tone(0.1), ""),
        (tone(2.0) * 1e-3, ""),
    ],
    ids=["3 ms", "just too short", "zeros", "an offset", "dither", "a syllable", "quiet speech"],
)
def test_clips_that_can_hardly_hold_speech_are_doubted(samples, doubt):
    assert audio.speech_doubt(samples.astype("f4")) == doubt


# Bad input


def test_a_missing_file_is_named(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent.wav")


def test_a_folder_is_named(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_a_device_is_not_read():
    assert "not a regular file" in refusal(Path("/dev/zero"))


def test_a_nul_in_the_name_is_an_audio_error(tmp_path):
    with pytest.raises(AudioError, match="cannot be read"):
        audio.read(Path("clip\0.wav"))


def test_an_empty_file_is_named(tmp_path):
    assert "empty (0 bytes)" in refusal(saved(tmp_path, b""))


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU"])
def test_a_file_without_samples_is_named(tmp_path, form):
    assert "no samples" in refusal(saved(tmp_path, encoded(np.zeros(0), form)))


def test_a_git_lfs_pointer_is_named_with_what_to_run(tmp_path):
    pointer = audio.GIT_LFS_POINTER + b"v1\noid sha256:0\nsize 1\n"
    assert "is a Git LFS pointer and no audio; run `git lfs pull`" in refusal(saved(tmp_path, pointer))


def test_an_empty_wav_with_a_chunk_behind_is_empty_not_noise(tmp_path):
    data = bytearray(encoded(np.zeros(0), "WAV", "PCM_16") + b"LIST" + struct.pack("<I", 4) + b"INFO")
    struct.pack_into("<I", data, 4, len(data) - 8)
    assert "no samples" in refusal(saved(tmp_path, bytes(data)))


@pytest.mark.parametrize("data", [b"hello, this is text\n" * 50, bytes(5000), b"RIFF" + b"\1" * 1000, b"x"])
def test_bytes_that_are_not_audio_are_named(tmp_path, data):
    assert "cannot be decoded" in refusal(saved(tmp_path, data))


def test_random_bytes_are_refused(tmp_path):
    for size in (10, 1000, 10_000):
        refusal(saved(tmp_path, rng.bytes(size)))


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "AIFF", "AU", "RF64", "FLAC", "OGG"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path, form, share):
    data = encoded(noise(2.0), form)
    message = refusal(saved(tmp_path, data[: int(len(data) * share)]))
    assert "truncated" in message or "cannot be decoded" in message


def test_a_wav_that_lacks_one_byte_is_truncated(tmp_path):
    assert "1 bytes more" in refusal(saved(tmp_path, encoded(tone(0.5), "WAV", "PCM_16")[:-1]))


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_mp3_with_a_length_header_is_truncated(tmp_path, share):
    data = encoded(noise(2.0), "MP3")
    assert "truncated" in refusal(saved(tmp_path, data[: int(len(data) * share)], "clip.mp3"))


def without_length_header(mp3: bytes) -> bytes:
    first = mp3.index(b"\xff")
    return mp3[mp3_frame(mp3, first).size + first :]


def test_an_mp3_that_would_be_shortened_for_want_of_a_length_is_refused(tmp_path):
    data = without_length_header(encoded(tone(2.0), "MP3"))
    assert len(soundfile.read(io.BytesIO(data))[0]) < RATE, "libsndfile believes the first frame's bit rate"
    assert "without a length header" in refusal(saved(tmp_path, data, "clip.mp3"))


def test_an_mp3_of_constant_bit_rate_needs_no_length_header(tmp_path):
    data = without_length_header(encoded(tone(2.0), "MP3", bitrate_mode="CONSTANT", compression_level=0.5))
    assert len(audio.read(saved(tmp_path, data, "clip.mp3")).samples) >= 2 * RATE


def test_an_mp3_cut_within_a_frame_is_truncated(tmp_path):
    data = without_length_header(encoded(tone(2.0), "MP3", bitrate_mode="CONSTANT", compression_level=0.5))
    assert "last frame is incomplete" in refusal(saved(tmp_path, data[:-20], "clip.mp3"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_named_with_their_time(tmp_path, value):
    samples = tone(0.5)
    samples[4000] = value
    assert "the first at 0.250 s" in refusal(saved(tmp_path, encoded(samples, "WAV", "FLOAT")))


def test_a_double_beyond_float32_is_not_finite(tmp_path):
    samples = np.zeros(100)
    samples[3] = 1e300
    assert "NaN or infinite" in refusal(saved(tmp_path, encoded(samples, "WAV", "DOUBLE")))


def test_averaging_channels_near_the_largest_float_does_not_overflow(tmp_path):
    samples = np.full((100, 2), 3e38, np.float32)
    assert np.isfinite(audio.read(saved(tmp_path, encoded(samples, "WAV", "FLOAT"))).samples).all()


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_an_implausible_rate_is_refused_before_memory_is_spent(tmp_path, rate):
    data = bytearray(encoded(tone(0.5), "WAV", "PCM_16"))
    struct.pack_into("<I", data, 24, rate)
    assert re.search(r"rate of \d+ Hz", refusal(saved(tmp_path, bytes(data))))


# Real material


@pytest.mark.parametrize("corpus", ["emovo", "emodb", "ravdess"])
def test_real_clips_have_the_length_their_metadata_states(shared, corpus):
    root = shared / "data" / corpus
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::40]:
        recording = audio.read(root / row["path"])
        assert len(recording.samples) / RATE == pytest.approx(float(row["duration_s"]), abs=1e-4)
