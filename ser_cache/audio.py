"""The one place that decodes: a file's bytes in, mono samples at 16 kHz and the hash of those bytes out.

Reading once matters: hash and samples come from the same bytes, so a file that changes in mid-run cannot be
recorded under the hash of another version of itself.

libsndfile is lenient where a cache must not be. It shortens a WAV or OGG that was cut without a word, and it
trusts a guessed length for MP3 files that state none (one of 2 s came out as 0.3 s). Decoding therefore
compares what was decoded with what the container promises.
"""

import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_cache.containers import missing_bytes, mp3_frames, ogg_is_whole, with_data_size
from ser_cache.errors import AudioError

SAMPLE_RATE = 16_000
"""Hertz; what every known backbone was trained on."""
RESAMPLER = "soxr HQ"
"""How other rates are brought to 16 kHz, over the whole clip at once; part of every extractor's identity."""
CHANNELS = "averaged"
"""How several channels become one; part of every extractor's identity."""

GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the text begins that stands for a file in a clone whose large files have not been fetched."""

SHORTEST_SPEECH = 0.1
"""Seconds; below about this not even one syllable is said (they last 0.1 to 0.3 s)."""

_PLAUSIBLE_RATES = range(1_000, 1_000_001)
_NO_SIGNAL = 2.0**-14  # full scale is 1: between the lowest and the highest sample, two steps of 16 bits
_BLOCK = 1 << 20
# Above this many frames (1.5 h at 48 kHz) the header's length is not trusted with an allocation: a streamed
# FLAC states none, which libsndfile reports as 2**63 - 1.
_TRUSTED_FRAMES = 1 << 28


@dataclass(frozen=True)
class Recording:
    """One decoded file.

    Attributes:
        samples: (samples,) float32, mono, 16 kHz, finite; full scale is 1, decoded MP3 and OGG may exceed it.
        sha256: of the file's bytes, in hexadecimal.
    """

    samples: NDArray[np.float32]
    sha256: str


@dataclass(frozen=True)
class Original:
    """One decoded file as it was stored, before channels are averaged and the rate is changed.

    Attributes:
        samples: (frames, channels) float32, at least one frame, finite; full scale is 1.
        rate: frames a second.
        container: libsndfile's name of the file's format, such as WAV, FLAC, OGG, MP3.
        coding: libsndfile's name of how its samples are coded, such as PCM_16, VORBIS, ULAW.
        sha256: of the file's bytes, in hexadecimal.
    """

    samples: NDArray[np.float32]
    rate: int
    container: str
    coding: str
    sha256: str


def read(path: Path) -> Recording:
    """Decode a file to what models are given: mono, 16 kHz; see ``read_original``.

    Raises:
        AudioError: as ``read_original``, or the file is shorter than one sample at 16 kHz.
    """
    return as_recording(path, read_original(path))


def as_recording(path: Path, original: Original) -> Recording:
    """Average the channels of a decoded file and bring it to 16 kHz.

    Args:
        path: named in errors.
        original: from ``read_original``.

    Raises:
        AudioError: resampled, it has no sample left, or one that is not finite.
    """
    decoded, rate = original.samples, original.rate
    mono = (
        decoded.mean(axis=1, dtype=np.float64).astype(np.float32) if decoded.shape[1] > 1 else decoded[:, 0]
    )
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
        _demand_finite(path, mono[:, None], SAMPLE_RATE)
    if len(mono) == 0:
        raise AudioError(f"{path} is shorter than one sample at 16 kHz; leave it out.")
    return Recording(samples=np.ascontiguousarray(mono, dtype=np.float32), sha256=original.sha256)


def read_original(path: Path) -> Original:
    """Decode a file of any format libsndfile reads, whatever its suffix.

    Thread-safe. libmpg123 may write a line about a damaged MP3 to the process's standard error.

    Detected as truncated: WAV, RF64, AIFF and AU whose header promises more bytes than there are (a streamed
    file, with a placeholder for its length, promises nothing); OGG without its last page; FLAC and MP3 that
    decode to fewer samples than they state; MP3 whose last frame is incomplete. Not detected: a cut at a
    frame boundary of an MP3 without a length header or of a streamed FLAC; a W64 or CAF that was cut.

    Args:
        path: the file; its bytes are read once.

    Raises:
        AudioError: the file is missing, not a regular file, empty, not audio, truncated, without samples, at
            an implausible rate, or holds NaN or infinite samples. The message names the path and what to do.
    """
    data = _bytes_of(path)
    digest = hashlib.sha256(data).hexdigest()
    decoded, rate, container, coding = _decode(path, data)
    if len(decoded) == 0:
        raise AudioError(f"{path} holds no samples; replace it or leave it out.")
    _demand_finite(path, decoded, rate)
    return Original(decoded, rate, container, coding, digest)


def speech_doubt(samples: NDArray[np.float32]) -> str:
    """Why a clip can hardly hold speech, in a word or two; empty where nothing speaks against it.

    Such a clip is valid audio, and every model has an opinion on it; the opinion means nothing. A clip is
    silent when its samples differ by no more than the last of 16 bits to either side, so that a constant
    offset and the dither of a silent recording count as silence too.

    Args:
        samples: (samples,) at 16 kHz, at least one.
    """
    if len(samples) < SHORTEST_SPEECH * SAMPLE_RATE:
        return f"only {1000 * len(samples) // SAMPLE_RATE} ms"
    return "silent" if float(np.ptp(samples)) <= _NO_SIGNAL else ""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file of audio, in hexadecimal, without decoding it.

    Raises:
        AudioError: it cannot be read.
    """
    return hashlib.sha256(_bytes_of(path)).hexdigest()


def sha256_as_wav(path: Path) -> str:
    """The SHA-256 that a file would have as a WAV of 16-bit samples with the shortest header, in hexadecimal.

    A lossless copy of such a WAV, as FLAC for one, gives the hash of the original. Nothing is resampled or
    mixed; what does not hold 16-bit samples is rounded to them, and then gives another hash.

    Raises:
        AudioError: the file cannot be decoded.
    """
    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} cannot be decoded ({error}); copy or convert it again.") from error
    frame = 2 * samples.shape[1]
    layout = struct.pack("<IHHIIHH", 16, 1, samples.shape[1], rate, rate * frame, frame, 16)
    data = samples.astype("<i2").tobytes()
    digest = hashlib.sha256(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + layout)
    digest.update(b"data" + struct.pack("<I", len(data)) + data)
    return digest.hexdigest()


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder where an audio file should be; give the file itself.")
        if path.exists() and not path.is_file():
            raise AudioError(f"{path} is not a regular file; copy the audio into one.")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise AudioError(f"{path} does not exist; restore it or leave it out.") from error
    except (OSError, ValueError) as error:
        # ValueError: a NUL byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AudioError(
            f"{str(path)!r} cannot be read ({reason}); check its name and permissions."
        ) from error
    if not data:
        raise AudioError(f"{path} is empty (0 bytes); copy it again from its source.")
    if data.startswith(GIT_LFS_POINTER):
        raise AudioError(f"{path} is a Git LFS pointer and no audio; run `git lfs pull` in its clone.")
    return data


def _decode(path: Path, data: bytes) -> tuple[NDArray[np.float32], int, str, str]:
    """All frames as (frames, channels) float32, the rate in hertz, container, coding; no truncation."""
    missing = missing_bytes(data)
    if missing:
        raise _truncated(path, f"its header promises {missing:,} bytes more than it holds")
    try:
        with _ForwardOnly(io.BytesIO(with_data_size(data))) as file:
            rate, promised = file.samplerate, file.frames
            container, coding = file.format, file.subtype
            if rate not in _PLAUSIBLE_RATES:
                raise AudioError(f"{path} claims a sampling rate of {rate} Hz; mend its header.")
            decoded = _all_frames(file)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise AudioError(
            f"{path} cannot be decoded: {reason}; it is damaged or not audio, copy or convert it again."
        ) from error
    if container == "MP3":
        _check_mp3(path, data, promised, len(decoded))
    elif promised < _TRUSTED_FRAMES and len(decoded) < promised:
        raise _truncated(path, f"it decodes to {len(decoded):,} of {promised:,} samples")
    elif container == "OGG" and not ogg_is_whole(data):
        raise _truncated(path, "its last page is missing")
    return decoded, rate, container, coding


class _ForwardOnly(soundfile.SoundFile):  # type: ignore[misc] # soundfile publishes no types
    """A file that is read from its start to its end.

    soundfile seeks after each read of a seekable file, which libsndfile cannot do in a FLAC without a length.
    """

    def seekable(self) -> bool:
        return False


def _all_frames(file: soundfile.SoundFile) -> NDArray[np.float32]:
    if file.frames < _TRUSTED_FRAMES:
        whole: NDArray[np.float32] = file.read(file.frames, dtype="float32", always_2d=True)
        return whole
    blocks = []
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        blocks.append(block)
    return np.concatenate(blocks) if blocks else np.zeros((0, file.channels), np.float32)


def _demand_finite(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise AudioError(
            f"{path} holds NaN or infinite samples (the first at {first / rate:.3f} s); "
            "export it again or leave it out."
        )


def _truncated(path: Path, evidence: str) -> AudioError:
    return AudioError(f"{path} is truncated: {evidence}; copy it again from its source.")


def _check_mp3(path: Path, data: bytes, promised: int, decoded: int) -> None:
    """Compare what was decoded with the length header, where there is one, and with the frames themselves.

    Without a length header libmpg123 guesses from the first frame's bit rate, and libsndfile stops there.
    Encoder delay and padding (in practice under three frames) are rightly left out of ``decoded``.
    """
    frames = mp3_frames(data)
    if not frames:
        return
    first, last = frames[0], frames[-1]
    beginning = data[first.start : first.start + first.size]
    states_length = any(tag in beginning for tag in (b"Xing", b"Info", b"VBRI"))
    slack = 3 * first.samples
    if last.start + last.size > len(data):
        raise _truncated(path, "its last frame is incomplete")
    if states_length and decoded + slack < promised:
        raise _truncated(path, f"it decodes to {decoded:,} of {promised:,} samples")
    walked = sum(frame.samples for frame in frames[states_length:])
    if not states_length and decoded + slack < walked:
        raise AudioError(
            f"{path} is an MP3 without a length header, of which only {decoded:,} of {walked:,} samples "
            "can be decoded; convert it to WAV or FLAC."
        )
