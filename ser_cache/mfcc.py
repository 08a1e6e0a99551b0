"""Mel-frequency cepstral coefficients as an extractor of one layer, equal to ``librosa.feature.mfcc``.

It is written out in NumPy: the arithmetic is a page, and importing librosa (numba, scipy, ...) takes longer
than computing the coefficients of a thousand clips.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.audio import CHANNELS, RESAMPLER, SAMPLE_RATE
from ser_cache.errors import SerCacheError
from ser_cache.extractor import Geometry

if TYPE_CHECKING:
    from ser_cache.extractor import EmitLayer

FEATURES_VERSION = 1
"""Raised when the computation changes, so that older features are not taken for new ones."""
_SMALLEST_POWER = 1e-10
_DYNAMIC_RANGE = 80.0  # dB below the clip's loudest mel band, librosa's ``top_db``


@dataclass(frozen=True)
class MfccOptions:
    """Settings of the coefficients.

    The defaults are librosa's own, so that "MFCC" means what a call of ``librosa.feature.mfcc`` gives, as in
    most published SER baselines; librosa chose the window for music at 22,050 Hz, and at 16 kHz it is 128 ms
    long, in steps of 32 ms. The baseline of Wang et al. 2023 has 13 coefficients.

    Attributes:
        coefficients: cepstral coefficients kept, the 0th among them.
        fft_samples: length of the window and of its Fourier transform.
        hop_samples: samples between frames.
        bands: mel bands.
        max_seconds: keep the first seconds of each clip; None keeps all.
    """

    coefficients: int = 13
    fft_samples: int = 2048
    hop_samples: int = 512
    bands: int = 128
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse settings that give nothing."""
        if min(self.coefficients, self.fft_samples, self.hop_samples, self.bands) < 1:
            raise SerCacheError("every MFCC setting must be at least 1.")
        if self.coefficients > self.bands:
            raise SerCacheError(
                f"{self.coefficients} coefficients cannot come from {self.bands} mel bands; ask for fewer."
            )
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise SerCacheError(f"the longest clip must be above 0 seconds, not {self.max_seconds}.")


class MfccExtractor:
    """MFCC with the shape of ``extractor.Extractor``: one layer, numbered 1.

    Attributes:
        name: "mfcc".
        variant: settings other than the defaults.
        geometry: layer 1, as wide as there are coefficients.
        identity: the settings, as JSON.
        provenance: empty; there are no weights.
    """

    name = "mfcc"

    def __init__(self, options: MfccOptions | None = None) -> None:
        """Make the filters for these settings."""
        self._options = options or MfccOptions()
        self.variant = _variant(self._options)
        self.geometry = Geometry((1,), self._options.coefficients, SAMPLE_RATE / self._options.hop_samples)
        self.identity: Mapping[str, Any] = {
            "family": "mfcc",
            **asdict(self._options),
            "precision": "fp32",
            "resampler": RESAMPLER,
            "channels": CHANNELS,
            "features_version": FEATURES_VERSION,
        }
        self.provenance: Mapping[str, str] = {}

    def frames(self, samples: int) -> int:
        """Frames for a clip of ``samples`` at 16 kHz: one per started hop, and one more at a whole number."""
        return 1 + self._kept(samples) // self._options.hop_samples

    def padded_samples(self, samples: int) -> int:
        """The clip itself."""
        return self._kept(samples)

    def prepare(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coefficients of one clip: (samples,) at 16 kHz -> (frames, coefficients); thread-safe."""
        options = self._options
        half = options.fft_samples // 2
        padded = np.pad(audio[: self._kept(len(audio))], half)
        framed = np.lib.stride_tricks.sliding_window_view(padded, options.fft_samples)[:: options.hop_samples]
        spectrum = np.fft.rfft(framed * self._taper, axis=-1)
        power = np.square(np.abs(spectrum)).astype(np.float32, copy=False) @ self._filters
        decibels = 10.0 * np.log10(np.maximum(power, _SMALLEST_POWER))
        limited = np.maximum(decibels, decibels.max() - _DYNAMIC_RANGE)
        coefficients: NDArray[np.float32] = (limited @ self._cosines).astype(np.float32)
        return coefficients

    def forward(self, batch: Sequence[NDArray[np.float32]], layers: Sequence[int], emit: EmitLayer) -> None:
        """Hand over the prepared coefficients of a batch as layer 1."""
        import torch

        if 1 in layers:
            emit(1, torch.from_numpy(np.concatenate(batch)))

    def _kept(self, samples: int) -> int:
        seconds = self._options.max_seconds
        return samples if seconds is None else min(samples, round(seconds * SAMPLE_RATE))

    @cached_property
    def _taper(self) -> NDArray[np.float32]:
        """Periodic Hann window."""
        steps = np.arange(self._options.fft_samples) / self._options.fft_samples
        return (0.5 - 0.5 * np.cos(2 * np.pi * steps)).astype(np.float32)

    @cached_property
    def _filters(self) -> NDArray[np.float32]:
        return mel_filters(self._options.fft_samples, self._options.bands)

    @cached_property
    def _cosines(self) -> NDArray[np.float32]:
        """Orthonormal discrete cosine transform of type II: (bands, coefficients)."""
        bands = self._options.bands
        angles = np.outer(np.arange(bands) + 0.5, np.arange(self._options.coefficients)) * (np.pi / bands)
        cosines = np.cos(angles) * math.sqrt(2 / bands)
        cosines[:, 0] /= math.sqrt(2)
        return cosines.astype(np.float32)


def _variant(options: MfccOptions) -> str:
    defaults = MfccOptions()
    parts = [
        f"{label}{getattr(options, field)}"
        for label, field in (
            ("n", "coefficients"),
            ("fft", "fft_samples"),
            ("hop", "hop_samples"),
            ("mel", "bands"),
        )
        if getattr(options, field) != getattr(defaults, field)
    ]
    if options.max_seconds is not None:
        parts.append(f"max{options.max_seconds:g}s")
    return "+".join(parts)


def mel_filters(fft_samples: int, bands: int) -> NDArray[np.float32]:
    """Triangles of equal area on Slaney's mel scale, from 0 to 8 kHz: (frequencies, bands).

    The scale is linear below 1 kHz and logarithmic above (Slaney 1998, Auditory Toolbox).
    """
    nyquist = SAMPLE_RATE / 2
    edges = _hertz(np.linspace(0.0, _mel(nyquist), bands + 2))
    frequencies = np.linspace(0.0, nyquist, fft_samples // 2 + 1)[:, np.newaxis]
    rising = (frequencies - edges[:-2]) / np.diff(edges[:-1])
    falling = (edges[2:] - frequencies) / np.diff(edges[1:])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)


_LINEAR_HERTZ = 200.0 / 3  # hertz per mel below the corner
_CORNER_HERTZ = 1000.0
_CORNER_MEL = _CORNER_HERTZ / _LINEAR_HERTZ
_LOG_STEP = math.log(6.4) / 27  # above it, 27 mel for a factor of 6.4


def _mel(hertz: float) -> float:
    if hertz < _CORNER_HERTZ:
        return hertz / _LINEAR_HERTZ
    return _CORNER_MEL + math.log(hertz / _CORNER_HERTZ) / _LOG_STEP


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    curved = _CORNER_HERTZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _LINEAR_HERTZ, curved)
