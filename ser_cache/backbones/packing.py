"""Clips of different lengths in one tensor, and their frames out of it again.

The mask and the zeros keep the padding from reaching any frame of audio, so that the features of an utterance
do not depend on what it was batched with.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from ser_cache.devices import moved
from ser_cache.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


@dataclass(frozen=True)
class Padding:
    """Where the frames of audio lie in a padded batch.

    Attributes:
        mask: added to attention scores, (batch, 1, 1, frames): 0 for audio, the lowest float32 for padding;
            None when nothing is padded, so that a clip alone takes the same path as in the plain model.
        rows: positions of the frames of audio in the batch flattened to (batch * frames, width), in order;
            None when every frame is audio.
    """

    mask: torch.Tensor | None
    rows: torch.Tensor | None

    def pack(self, states: torch.Tensor) -> torch.Tensor:
        """Frames of audio of all clips: (batch, frames, width) -> (sum of the clips' frames, width)."""
        flat = states.reshape(-1, states.shape[-1])
        return flat if self.rows is None else flat.index_select(0, self.rows)


def padding(lengths: Sequence[int], total: int, device: torch.device, masked: bool = True) -> Padding:
    """Describe a batch of clips of ``lengths`` frames, each padded at its end to ``total`` frames.

    Args:
        lengths: frames of audio of each clip.
        total: frames of the padded tensor.
        device: where the states are.
        masked: False lets attention see the padding (Whisper in full context was trained so).
    """
    if all(length == total for length in lengths):
        return Padding(mask=None, rows=None)
    audio = torch.arange(total) < torch.tensor(lengths).unsqueeze(1)
    rows = moved(audio.flatten().nonzero().squeeze(1), device)
    if not masked:
        return Padding(mask=None, rows=rows)
    lowest = torch.finfo(torch.float32).min
    mask = moved(torch.zeros(audio.shape).masked_fill(~audio, lowest)[:, None, None, :], device)
    return Padding(mask=mask, rows=rows)


def pad(clips: Sequence[torch.Tensor]) -> tuple[torch.Tensor, Padding]:
    """Stack clips of (frames, width) into (batch, most frames, width), zeros after each clip's end."""
    stacked = pad_sequence(list(clips), batch_first=True)
    return stacked, padding([len(clip) for clip in clips], stacked.shape[1], stacked.device)


def exact_float32(device: torch.device) -> AbstractContextManager[None]:
    """Keep float32 from being rounded in convolutions and products; that costs three digits.

    CUDA rounds to TF32 in convolutions by default; a processor with bf16 units rounds to bf16 where
    ``torch.set_float32_matmul_precision("medium")`` asks for it. That is not in the fingerprint, so it must
    not change features. The flags belong to the process and not to a thread, so they change when the first of
    several threads enters, and are as before when the last is out.
    """
    return _EXACT.get(device.type, nullcontext())


def require_exact_environment(device: torch.device) -> None:
    """Refuse a variable of the environment that makes a library round, which no flag of torch overrules.

    oneDNN reads its own when torch is imported, cuBLAS and cuDNN theirs at their first use, so that it cannot
    be set right from here.

    Raises:
        BackboneError: such a variable is set.
    """
    harmless = dict.fromkeys(("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"), ("", "STRICT"))
    if device.type == "cuda":
        harmless["NVIDIA_TF32_OVERRIDE"] = ("", "0")
    for variable, values in harmless.items():
        value = os.environ.get(variable, "")
        if value.upper() not in values:
            raise BackboneError(
                f"the environment's {variable}={value} would round the features by up to a percent, and the "
                "cache could not tell: unset it; `--precision bf16` is as fast, and is recorded."
            )


def _exact_on_processor() -> list[tuple[Any, str, object]]:
    """Flags of torch as (owner, name, value); a torch before 2.9 has none for a processor."""
    onednn = torch.backends.mkldnn
    owners = [getattr(onednn, name, None) for name in ("conv", "matmul")]
    return [(owner, "fp32_precision", "ieee") for owner in owners if hasattr(owner, "fp32_precision")]


def _exact_on_cuda() -> list[tuple[Any, str, object]]:
    """Flags of torch as (owner, name, value), of the generation that this torch has.

    torch 2.9 renamed the TF32 flags, and reading an old one raises where a program has set a new one. The new
    ones are set for the operation itself, because "none" would follow ``torch.backends.fp32_precision``.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings: list[tuple[Any, str, object]] = [(cudnn, "benchmark", False), (cudnn, "deterministic", True)]
    if hasattr(matmul, "fp32_precision"):
        owners = (cudnn.conv, matmul)  # type: ignore[attr-defined] # made at run time
        return settings + [(owner, "fp32_precision", "ieee") for owner in owners]
    return settings + [(owner, "allow_tf32", False) for owner in (cudnn, matmul)]


class _Changed(AbstractContextManager[None]):
    """Attributes set for as long as at least one thread is inside."""

    def __init__(self, settings: Callable[[], Sequence[tuple[Any, str, object]]]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[tuple[Any, str, object]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                settings = self._settings()
                self._before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
                _set(settings)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _set(self._before)


def _set(settings: Sequence[tuple[Any, str, object]]) -> None:
    for owner, name, value in settings:
        setattr(owner, name, value)


_EXACT = {"cuda": _Changed(_exact_on_cuda), "cpu": _Changed(_exact_on_processor)}
