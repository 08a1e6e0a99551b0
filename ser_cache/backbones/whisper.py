"""Whisper's encoder over the audio alone, or over whole windows of 30 s as it was trained.

In both contexts the log-mel spectrogram is that of the clip padded to 30 s, and the frames kept are those
that hold audio: one per started 320 samples. ``audio`` crops spectrogram and positional embedding to them,
much as PEFT-SER does (Feng and Narayanan 2023); ``full`` keeps the silence in view. Audio longer than 30 s
goes window by window. Layer L is taken after the final normalisation.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ser_cache.backbones.base import Backbone, emit_states
from ser_cache.backbones.log_mel import WINDOW_FRAMES, LogMel, MelWindow
from ser_cache.backbones.outline import WINDOW_SAMPLES
from ser_cache.backbones.packing import padding
from ser_cache.devices import moved
from ser_cache.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from ser_cache.backbones.outline import Outline
    from ser_cache.extractor import EmitLayer

_FRAMES_AT_ONCE = 24_000
"""Frames (and padding) that a block works through at once: 8 min, above the usual batch. Inside it, states
are several times as large as after it; a clip of an hour has 180,000 frames."""


class WhisperExtractor(Backbone):
    """A frozen Whisper encoder in one of the two contexts."""

    def __init__(
        self,
        encoder: nn.Module,
        outline: Outline,
        identity: Mapping[str, Any],
        provenance: Mapping[str, str],
        normalise: bool,
    ) -> None:
        """Take over a loaded encoder; the context is the one in ``identity``. See ``Backbone``.

        Raises:
            BackboneError: the model's window is not 30 s.
        """
        super().__init__(encoder, outline, identity, provenance, normalise)
        positions = self._encoder.embed_positions.num_embeddings
        if 2 * positions != WINDOW_FRAMES:
            raise BackboneError(
                f"{outline.name} has {positions} positions; only windows of 30 s (1500) are known."
            )
        self._full = identity["context"] == "full"
        self._log_mel = LogMel(self._encoder.num_mel_bins)

    def prepare(self, audio: NDArray[np.float32]) -> list[MelWindow]:
        """The log-mel spectrogram of each 30 s window of a clip, (samples,) at 16 kHz."""
        kept = np.ascontiguousarray(self._scaled(audio), dtype=np.float32)
        starts = range(0, len(kept), WINDOW_SAMPLES)
        return [self._log_mel(kept[start : start + WINDOW_SAMPLES]) for start in starts]

    def forward(self, batch: Sequence[list[MelWindow]], layers: Sequence[int], emit: EmitLayer) -> None:
        """Run a batch of prepared clips and hand over each wanted layer; see ``extractor.Extractor``."""
        windows = [window for clip in batch for window in clip]
        frames = [window.frames for window in windows]
        with self._computing():
            mel = self._mel(windows)
            where = padding(frames, mel.shape[-1] // 2, self.device, masked=not self._full)
            states = self._walk(self._front(mel), where.mask)
            depth = len(self._encoder.layers)
            emit_states(states, layers, where.pack, emit, self._encoder.layer_norm, depth)

    def _mel(self, windows: Sequence[MelWindow]) -> torch.Tensor:
        """Spectrograms in one tensor, (windows, mel bands, mel frames), zeros after a shorter one's end."""
        if self._full:
            return torch.stack([window.full() for window in windows])
        parts = [window.cropped() for window in windows]
        stacked = parts[0].new_zeros(len(parts), len(parts[0]), max(part.shape[1] for part in parts))
        for row, part in zip(stacked, parts, strict=True):
            row[:, : part.shape[1]] = part
        return stacked

    def _front(self, mel: torch.Tensor) -> torch.Tensor:
        """Layer 0: (windows, mel bands, 2 * frames) -> (windows, frames, width).

        The first convolution's last frame of audio sees one frame of padding, which is zero as at the end of
        a clip alone. The second's stride of 2 ends on the last frame of audio, so that what the first made
        of the padding reaches none of the frames kept.
        """
        group = self._windows_at_once(mel.shape[-1] // 2)
        return _joined([self._convolved(moved(part, self.device)) for part in torch.split(mel, group)])

    def _convolved(self, mel: torch.Tensor) -> torch.Tensor:
        encoder = self._encoder
        hidden = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).transpose(1, 2)
        states: torch.Tensor = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        return states

    def _walk(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> Iterator[torch.Tensor]:
        """The input of the first block, then the output of each: (windows, frames, width)."""
        yield hidden
        group = self._windows_at_once(hidden.shape[1])
        for block in self._encoder.layers:
            masks = repeat(None) if mask is None else torch.split(mask, group)
            outputs: list[Any] = [
                block(*part) for part in zip(torch.split(hidden, group), masks, strict=False)
            ]
            hidden = _joined([item[0] if isinstance(item, tuple) else item for item in outputs])
            yield hidden

    def _windows_at_once(self, frames: int) -> int:
        """Windows of so many frames that a block works through together; they never meet in it anyway."""
        return max(1, _FRAMES_AT_ONCE // frames)


def _joined(groups: Sequence[torch.Tensor]) -> torch.Tensor:
    """All windows in one tensor; the usual single group is not copied."""
    return groups[0] if len(groups) == 1 else torch.cat(list(groups))
