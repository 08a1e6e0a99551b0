"""Mel-frequency cepstral coefficients by librosa, as an extractor of one layer.

Settings other than the usual ones are part of the name: ``mfcc+n20+hop160+d2`` is both what is asked for and
the folder in the cache.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.audio import CHANNELS, RESAMPLER, SAMPLE_RATE
from ser_cache.clipping import Clipping
from ser_cache.errors import SerCacheError, UnknownNameError
from ser_cache.extractor import Geometry

if TYPE_CHECKING:
    from ser_cache.extractor import EmitLayer

MFCC = "mfcc"
"""What names of MFCC begin with; settings other than the defaults follow, each after a ``+``."""
FEATURES_VERSION = 1
"""Raised when the computation changes, so that older features are not taken for new ones."""

_MARKS = {
    "n": "coefficients",
    "fft": "fft_samples",
    "hop": "hop_samples",
    "mel": "bands",
    "sr": "sample_rate",
    "d": "deltas",
}
"""How a name says each setting, in the order of the cache's folder names."""
_LATER = ("sample_rate", "deltas")
_RATES = (2_000, 96_000)
_MOST_DELTAS = 2
_DELTA_FRAMES = 9


@dataclass(frozen=True)
class MfccOptions:
    """Settings of the coefficients; the window is Hann's, and a window of zeros lies beyond both ends.

    The defaults are librosa's own, so that "MFCC" means what a call of ``librosa.feature.mfcc`` gives, as in
    most published SER baselines; librosa chose the window for music at 22,050 Hz, and at 16 kHz it is 128 ms
    long, in steps of 32 ms. The baseline of Wang et al. 2023 has 13 coefficients.

    Attributes:
        coefficients: cepstral coefficients kept, the 0th among them.
        fft_samples: length of the window and of its Fourier transform.
        hop_samples: samples between frames.
        bands: mel bands, up to half the sampling rate.
        sample_rate: audio is resampled to (by soxr, as ``librosa.resample`` does); everything else in this
            package hears 16 kHz.
        deltas: orders of regression over nine frames that follow the coefficients: 1 for their slopes, 2 for
            the slopes' slopes too. Clips of fewer frames repeat their first and last.
        max_seconds: keep the first seconds of each clip; None keeps all. See ``clipping``.
    """

    coefficients: int = 13
    fft_samples: int = 2048
    hop_samples: int = 512
    bands: int = 128
    sample_rate: int = SAMPLE_RATE
    deltas: int = 0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse settings that give nothing."""
        if min(self.coefficients, self.fft_samples, self.hop_samples, self.bands) < 1:
            raise SerCacheError("every MFCC setting but the deltas must be at least 1.")
        if not _RATES[0] <= self.sample_rate <= _RATES[1]:
            raise SerCacheError(
                f"MFCC at {self.sample_rate:,} Hz: give {_RATES[0]:,} to {_RATES[1]:,}, such as mfcc+sr22050."
            )
        if not 0 <= self.deltas <= _MOST_DELTAS:
            raise SerCacheError(f"{self.deltas} orders of deltas: give 1 or 2, as in mfcc+d2.")
        if self.coefficients > self.bands:
            raise SerCacheError(
                f"{self.coefficients} coefficients cannot come from {self.bands} mel bands; ask for fewer."
            )
        Clipping(self.max_seconds)

    @property
    def variant(self) -> str:
        """Settings other than the defaults, as the name has them."""
        parts = [
            f"{mark}{getattr(self, field)}"
            for mark, field in _MARKS.items()
            if getattr(self, field) != getattr(MfccOptions, field)
        ]
        return "+".join(filter(None, [*parts, Clipping(self.max_seconds).variant]))

    def identity(self) -> dict[str, Any]:
        """Every setting, but for those that came later and have their defaults: older features stay."""
        later = [field for field in _LATER if getattr(self, field) == getattr(MfccOptions, field)]
        return {name: value for name, value in asdict(self).items() if name not in later}


def is_mfcc(model: str) -> bool:
    """Whether a name on the command line means MFCC."""
    return model.partition("+")[0] == MFCC


def mfcc_options(model: str) -> MfccOptions:
    """The settings that a name such as ``mfcc+n20+hop160+sr8000+d2`` asks for, in any order.

    Raises:
        UnknownNameError: a part of the name is no setting.
        SerCacheError: settings that give nothing, or one twice.
    """
    values: dict[str, Any] = {}
    for part in model.split("+")[1:]:
        found = re.fullmatch(r"([a-z]+)(\d{1,6})", part)
        clipped = re.fullmatch(r"max(\d+(?:\.\d+)?)s", part)
        if clipped:
            field, value = "max_seconds", float(clipped[1])
        elif found and found[1] in _MARKS:
            field, value = _MARKS[found[1]], int(found[2])
        else:
            hint = "As in mfcc+n20+fft400+hop160+mel40+sr8000+d2+max6s."
            raise UnknownNameError("setting of mfcc", part, [*(f"{mark}N" for mark in _MARKS), "maxNs"], hint)
        if field in values:
            raise SerCacheError(f"{model} sets {part.rstrip('0123456789')} twice; give it once.")
        values[field] = value
    return MfccOptions(**values)


class MfccExtractor:
    """MFCC with the shape of ``extractor.Extractor``: one layer, numbered 1.

    Attributes:
        name: "mfcc".
        codec: "fp32": there is little of it, and its values span a range that fp16 would round coarsely.
        variant: settings other than the defaults.
        geometry: layer 1, as wide as there are coefficients.
        identity: the settings, as JSON.
        provenance: "model", the name it goes by; there are no weights to come from anywhere.
    """

    name = MFCC
    codec = "fp32"

    def __init__(self, options: MfccOptions | None = None) -> None:
        """Make the filters for these settings."""
        self._options = options or MfccOptions()
        self._clipping = Clipping(self._options.max_seconds)
        self.variant = self._options.variant
        width = self._options.coefficients * (1 + self._options.deltas)
        self.geometry = Geometry((1,), width, self._options.sample_rate / self._options.hop_samples)
        self.identity: Mapping[str, Any] = {
            "family": "mfcc",
            **self._options.identity(),
            "precision": "fp32",
            "resampler": RESAMPLER,
            "channels": CHANNELS,
            "features_version": FEATURES_VERSION,
        }
        self.provenance: Mapping[str, str] = {"model": self.name}
        self._making_filters = Lock()

    @property
    def caution(self) -> str:
        """What must be known of these settings, in a line; empty for nothing."""
        empty = int((self._filters.max(axis=1) == 0).sum())
        if not empty:
            return ""
        options = self._options
        return (
            f"{empty} of {options.bands} mel bands lie between two frequencies of a transform of "
            f"{options.fft_samples} samples and are always empty; fewer bands are usual with it, as in "
            f"mfcc+fft{options.fft_samples}+mel{max(1, options.fft_samples // 10)}"
        )

    @cached_property
    def _filters(self) -> NDArray[np.float32]:
        """The mel filters, (bands, frequencies), made once for all clips."""
        import librosa  # takes seconds, which only MFCC should cost

        with self._making_filters, warnings.catch_warnings():
            # They are told once, as a caution.
            warnings.filterwarnings("ignore", "Empty filters", UserWarning)
            filters: NDArray[np.float32] = librosa.filters.mel(
                sr=self._options.sample_rate, n_fft=self._options.fft_samples, n_mels=self._options.bands
            )
        return filters

    def at_precision(self, precision: str) -> MfccExtractor:
        """Itself: MFCC is computed in fp32 and nothing else.

        Raises:
            SerCacheError: another precision is asked for.
        """
        if precision != self.identity["precision"]:
            raise SerCacheError(f"mfcc is computed in fp32 only, not in {precision}; leave --precision out.")
        return self

    def frames(self, samples: int) -> int:
        """Frames for a clip of ``samples`` at 16 kHz: one per started hop, and one more at a whole number."""
        kept = self._clipping.kept(samples)
        if self._options.sample_rate != SAMPLE_RATE:
            kept = math.ceil(kept * (self._options.sample_rate / SAMPLE_RATE))  # as librosa.resample counts
        odd = self._options.fft_samples % 2  # a window that has a middle sample begins half a sample later
        return 1 + (kept - odd) // self._options.hop_samples

    def padded_samples(self, samples: int) -> int:
        """The clip itself."""
        return self._clipping.kept(samples)

    def prepare(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coefficients of one clip: (samples,) at 16 kHz -> (frames, coefficients and their deltas).

        Thread-safe.
        """
        import librosa

        options = self._options
        kept = audio[: self._clipping.kept(len(audio))]
        if options.sample_rate != SAMPLE_RATE:
            kept = librosa.resample(kept, orig_sr=SAMPLE_RATE, target_sr=options.sample_rate)
        # librosa pads with zeros anyway, but warns of clips shorter than a window
        padded = np.pad(kept, (0, max(0, options.fft_samples - len(kept))))
        spectrum = librosa.stft(padded, n_fft=options.fft_samples, hop_length=options.hop_samples)
        # Before decibels: librosa cuts them off 80 below the loudest, which must be in a frame of the clip.
        power = np.abs(spectrum[:, : self.frames(len(audio))]) ** 2.0
        decibels = librosa.power_to_db(np.einsum("ft,mf->mt", power, self._filters, optimize=True))
        coefficients: NDArray[np.float32] = librosa.feature.mfcc(S=decibels, n_mfcc=options.coefficients)
        mode = "interp" if coefficients.shape[1] >= _DELTA_FRAMES else "nearest"
        slopes = [
            librosa.feature.delta(coefficients, width=_DELTA_FRAMES, order=order, mode=mode)
            for order in range(1, options.deltas + 1)
        ]
        return np.ascontiguousarray(np.concatenate([coefficients, *slopes]).T, dtype=np.float32)

    def forward(self, batch: Sequence[NDArray[np.float32]], layers: Sequence[int], emit: EmitLayer) -> None:
        """Hand over the prepared coefficients of a batch as layer 1."""
        import torch

        if 1 in layers:
            emit(1, torch.from_numpy(np.concatenate(batch)))
