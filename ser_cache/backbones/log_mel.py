"""Whisper's log-mel spectrogram, computed where there is audio and known to be constant where there is not.

It equals the stock feature extractor's for the clip padded to 30 s (Radford et al. 2022, section 2.2: 25 ms
windows, 10 ms steps, log10, floored 8 below the window's maximum, scaled to about -1..1), which spends most
of its time on the silence after the clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.audio_utils import mel_filter_bank

from ser_cache.backbones.outline import SAMPLES_PER_FRAME, WINDOW_SAMPLES
from ser_cache.backbones.packing import exact_float32

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FFT_SAMPLES = 400
HOP_SAMPLES = 160
WINDOW_FRAMES = WINDOW_SAMPLES // HOP_SAMPLES
_EDGE = FFT_SAMPLES // 2
_SMALLEST_POWER = 1e-10
_RANGE = 8.0


@dataclass(frozen=True)
class MelWindow:
    """The log-mel spectrogram of one window of at most 30 s.

    Attributes:
        values: (mel bands, frames of 10 ms that the audio touches), float32, on the CPU.
        silence: the value of every later frame of the 30 s window, in every band.
        frames: encoder frames (20 ms) that hold audio.
    """

    values: torch.Tensor
    silence: float
    frames: int

    def cropped(self) -> torch.Tensor:
        """The part under the encoder frames that hold audio: (mel bands, 2 * frames)."""
        return self.values[:, : 2 * self.frames]

    def full(self) -> torch.Tensor:
        """The whole window of 30 s: (mel bands, 3000)."""
        bands, touched = self.values.shape
        whole = self.values.new_full((bands, WINDOW_FRAMES), self.silence)
        whole[:, :touched] = self.values
        return whole


class LogMel:
    """The spectrogram for a number of mel bands; safe to call from several threads."""

    def __init__(self, bands: int) -> None:
        """Make the filters: ``bands`` triangles on the Slaney mel scale from 0 to 8 kHz."""
        filters = mel_filter_bank(
            num_frequency_bins=FFT_SAMPLES // 2 + 1,
            num_mel_filters=bands,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=16_000,
            norm="slaney",
            mel_scale="slaney",
        )
        self._filters = torch.from_numpy(filters).to(torch.float32).T.contiguous()
        self._taper = torch.hann_window(FFT_SAMPLES)
        self._empty = float(torch.tensor(_SMALLEST_POWER).log10())

    def __call__(self, audio: NDArray[np.float32]) -> MelWindow:
        """Spectrogram of one window; ``audio`` is (samples,) at 16 kHz, 1 to 480,000 samples."""
        touched = min(WINDOW_FRAMES, -(-(len(audio) + _EDGE) // HOP_SAMPLES))
        with exact_float32(self._taper.device):
            spectrum = torch.stft(
                _extended(torch.from_numpy(audio), touched),
                FFT_SAMPLES,
                HOP_SAMPLES,
                window=self._taper,
                center=False,
                return_complex=True,
            )
            # A product with the conjugate: abs() would take roots only to square them, 7 times as long.
            power = self._filters @ (spectrum * spectrum.conj()).real
        levels = power.clamp(min=_SMALLEST_POWER).log10()
        floor = float(levels.max()) - _RANGE
        return MelWindow(
            values=(levels.clamp(min=floor) + 4.0) / 4.0,
            silence=(max(self._empty, floor) + 4.0) / 4.0,
            frames=-(-len(audio) // SAMPLES_PER_FRAME),
        )


def _extended(audio: torch.Tensor, touched: int) -> torch.Tensor:
    """The samples under the first ``touched`` frames of the padded window, mirrored at the window's ends.

    Frame t is centred on sample 160 t and reaches 200 samples to both sides, so the first ones reach before
    the window, and the last ones (only when the audio nearly fills it) reach beyond its end.
    """
    end = (touched - 1) * HOP_SAMPLES + _EDGE
    inside = audio.new_zeros(min(end, WINDOW_SAMPLES))
    inside[: len(audio)] = audio[: len(inside)]
    beyond = end - len(inside)
    after = inside[len(inside) - 1 - beyond : len(inside) - 1].flip(0)
    return torch.cat([inside[1 : _EDGE + 1].flip(0), inside, after])
