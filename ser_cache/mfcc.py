"""Mel-frequency cepstral coefficients by librosa, as an extractor of one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.audio import CHANNELS, RESAMPLER, SAMPLE_RATE
from ser_cache.clipping import Clipping
from ser_cache.errors import SerCacheError
from ser_cache.extractor import Geometry

if TYPE_CHECKING:
    from ser_cache.extractor import EmitLayer

FEATURES_VERSION = 1
"""Raised when the computation changes, so that older features are not taken for new ones."""


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
        max_seconds: keep the first seconds of each clip; None keeps all. See ``clipping``.
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
        Clipping(self.max_seconds)


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

    name = "mfcc"
    codec = "fp32"

    def __init__(self, options: MfccOptions | None = None) -> None:
        """Make the filters for these settings."""
        self._options = options or MfccOptions()
        self._clipping = Clipping(self._options.max_seconds)
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
        self.provenance: Mapping[str, str] = {"model": self.name}

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
        return 1 + self._clipping.kept(samples) // self._options.hop_samples

    def padded_samples(self, samples: int) -> int:
        """The clip itself."""
        return self._clipping.kept(samples)

    def prepare(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coefficients of one clip: (samples,) at 16 kHz -> (frames, coefficients); thread-safe."""
        import librosa  # takes seconds, which only MFCC should cost

        options = self._options
        kept = audio[: self._clipping.kept(len(audio))]
        # librosa pads with zeros anyway, but warns of clips shorter than a window
        padded = np.pad(kept, (0, max(0, options.fft_samples - len(kept))))
        coefficients: NDArray[np.float32] = librosa.feature.mfcc(
            y=padded,
            sr=SAMPLE_RATE,
            n_mfcc=options.coefficients,
            n_fft=options.fft_samples,
            hop_length=options.hop_samples,
            n_mels=options.bands,
        )
        return np.ascontiguousarray(coefficients.T[: self.frames(len(audio))], dtype=np.float32)

    def forward(self, batch: Sequence[NDArray[np.float32]], layers: Sequence[int], emit: EmitLayer) -> None:
        """Hand over the prepared coefficients of a batch as layer 1."""
        import torch

        if 1 in layers:
            emit(1, torch.from_numpy(np.concatenate(batch)))


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
    parts.append(Clipping(options.max_seconds).variant)
    return "+".join(filter(None, parts))
