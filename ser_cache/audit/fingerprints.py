"""A short code of what a clip sounds like, which survives another encoding, gain, rate, and cutting its ends.

After Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002, section 4: every 10 ms a
word of 32 bits, each the sign of how the difference between two neighbouring bands changed in time. Two clips
of one recording agree in most bits once they are lined up; two others, one speaker's two takes of one
sentence included, agree in half of them, as coins do.

Fitted to speech clips: bands of a telephone line (300 to 3,400 Hz, so that narrowband copies match too),
windows of 128 ms and not 370, because clips last seconds; changes over 50 ms, and of logarithms, because what
changes more flips less. Frames without speech get the word 0, and are not compared: pauses say nothing of a
recording but how it was encoded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ser_cache.audio import SAMPLE_RATE

HOP = 160
"""Samples at 16 kHz from one word to the next: 10 ms."""
_WINDOW = 2048
_LAG = 5  # words: 50 ms
_BANDS = 33
_EDGES_HERTZ = np.geomspace(300.0, 3400.0, _BANDS + 1)
_FLOOR = 1e-7  # of the loudest band: 70 dB below it everything counts as equally quiet
_ACTIVE = 10.0**-3.5  # of the loudest frame's energy: 35 dB below it a pause begins
_BLOCK = 4096  # frames at a time: 32 MB of spectrum
_POWERS = (1 << np.arange(32, dtype=np.uint32)).astype(np.uint32)


def fingerprint(samples: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The words of a clip, one every 10 ms, (words,) uint32; 0 where nothing is said.

    Args:
        samples: (samples,) mono at 16 kHz. A clip too short for one word, under 178 ms, has none.
    """
    frames = (len(samples) - _WINDOW) // HOP + 1
    if frames <= _LAG:
        return np.zeros(0, dtype=np.uint32)
    energies = _band_energies(samples, frames)
    total = energies.sum(axis=1)
    if total.max() <= 0:
        return np.zeros(frames - _LAG, dtype=np.uint32)
    levels = np.log(np.maximum(energies, _FLOOR * energies.max()))
    slopes = levels[:, :-1] - levels[:, 1:]
    words = ((slopes[_LAG:] > slopes[:-_LAG]) * _POWERS).sum(axis=1, dtype=np.uint32)
    words[words == 0] = 1
    loud = total > _ACTIVE * total.max()
    return np.where(loud[_LAG:], words, np.uint32(0))


def _band_energies(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Energy in each band of each window, (frames, bands)."""
    from scipy.fft import rfft

    edges = np.round(_EDGES_HERTZ * _WINDOW / SAMPLE_RATE).astype(np.intp)
    taper = np.hanning(_WINDOW).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP][:frames]
    found = np.empty((frames, _BANDS), dtype=np.float32)
    for start in range(0, frames, _BLOCK):
        spectrum = rfft(windows[start : start + _BLOCK] * taper, axis=1)[:, : edges[-1]]
        power = spectrum.real**2 + spectrum.imag**2
        found[start : start + _BLOCK] = np.add.reduceat(power, edges[:-1], axis=1)
    return found
