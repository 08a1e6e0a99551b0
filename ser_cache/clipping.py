"""``--max-seconds``: which part of a clip is worked through, the same for backbones and MFCC."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ser_cache.audio import SAMPLE_RATE
from ser_cache.errors import SettingsError

LEAST_SECONDS = 0.1
"""Below this there is no speech to recognise, and soon no whole frame (400 samples of wav2vec 2.0, 25 ms)."""


@dataclass(frozen=True)
class Clipping:
    """Keep the first seconds of each clip.

    Attributes:
        max_seconds: how many; None keeps all.
    """

    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse a cut that leaves next to nothing.

        Raises:
            SettingsError: ``max_seconds`` is below ``LEAST_SECONDS`` or not finite.
        """
        if self.max_seconds is not None and not LEAST_SECONDS <= self.max_seconds < math.inf:
            raise SettingsError(
                f"clips cannot be cut to {self.max_seconds:g} s; give at least {LEAST_SECONDS:g} s, "
                "or leave --max-seconds out."
            )

    def kept(self, samples: int) -> int:
        """Samples left of a clip of ``samples`` at 16 kHz."""
        return samples if self.max_seconds is None else min(samples, round(self.max_seconds * SAMPLE_RATE))

    @property
    def variant(self) -> str:
        """Its part in the name of the cache's folder: "max6s", or empty."""
        return "" if self.max_seconds is None else f"max{self.max_seconds:g}s"
