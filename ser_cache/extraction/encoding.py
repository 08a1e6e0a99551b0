"""Take each layer off the model as it appears: means and deviations in fp32, then the codec, then the host.

So no more than one layer of a batch exists in fp32 beside what the model itself holds.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.errors import BackboneError
from ser_cache.extraction.writing import Outcome
from ser_cache.extractor import Extractor, Prepared
from ser_cache.store import CODECS, LARGEST, Fingerprint

_ROUNDING = 0.99
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


class EncodedBatch:
    """The features of one batch, filled layer by layer.

    Args:
        frames: frames of each utterance, each at least 1.
        fingerprint: the layers and the codec.
        width: features per frame.

    Attributes:
        problems: why an utterance's features cannot be stored, by its place in the batch.
        seconds: time spent in `emit`.
    """

    def __init__(self, frames: Sequence[int], fingerprint: Fingerprint, width: int) -> None:
        self._frames = list(frames)
        self._bounds = np.concatenate(([0], np.cumsum(self._frames))).tolist()
        self._layers = fingerprint.layers
        self._codec = str(fingerprint.storage["codec"])
        self._hidden = np.empty((len(self._layers), self._bounds[-1], width), dtype=CODECS[self._codec])
        self._mean = np.empty((len(frames), len(self._layers), width), dtype=np.float32)
        self._std = np.empty_like(self._mean)
        self._emitted: list[int] = []
        self.problems: dict[int, str] = {}
        self.seconds = 0.0

    def emit(self, layer: int, states: torch.Tensor) -> None:
        """Take one layer: ``states`` is (frames of all utterances, width), float32, on any device."""
        started = time.perf_counter()
        place = len(self._emitted)
        if place == len(self._layers) or self._layers[place] != layer:
            raise BackboneError(
                f"the model gave layer {layer} out of turn; wanted were {list(self._layers)}."
            )
        if tuple(states.shape) != self._hidden.shape[1:]:
            raise BackboneError(
                f"the model gave {tuple(states.shape)} values in layer {layer} where "
                f"{self._hidden.shape[1:]} were planned from the clips' lengths."
            )
        self._emitted.append(layer)
        clips = torch.split(states, self._frames)
        means = torch.stack([clip.mean(dim=0) for clip in clips])
        torch.from_numpy(self._mean)[:, place].copy_(means)
        torch.from_numpy(self._std)[:, place].copy_(_deviations(clips, means))
        self._check_range(layer, place, clips)
        torch.from_numpy(self._hidden[place]).copy_(states)
        self.seconds += time.perf_counter() - started

    def features(self, index: int) -> Mapping[str, NDArray[Any]]:
        """What to store for one utterance: ``hidden`` (layers, frames, width), ``mean``, ``std``."""
        start, stop = self._bounds[index : index + 2]
        return {"hidden": self._hidden[:, start:stop], "mean": self._mean[index], "std": self._std[index]}

    def check_complete(self) -> None:
        """Check that every layer was handed over.

        Raises:
            BackboneError: one was not.
        """
        if len(self._emitted) < len(self._layers):
            missing = self._layers[len(self._emitted)]
            raise BackboneError(f"the model never gave layer {missing}; it may have fewer than it declares.")

    def _check_range(self, layer: int, place: int, clips: Sequence[torch.Tensor]) -> None:
        """Note the utterances whose values the codec cannot hold, by their largest absolute value."""
        limit = LARGEST[self._codec]
        for index, clip in enumerate(clips):
            # No value is further from the mean than std * sqrt(frames), so most clips need no look at all.
            # Not finite statistics fail the comparison; the margin is for their rounding.
            with np.errstate(over="ignore", invalid="ignore"):
                spread = self._std[index, place] * self._frames[index] ** 0.5
                bound = np.abs(self._mean[index, place]) + spread
            if bound.max() < _ROUNDING * limit:
                continue
            finite = bool(np.isfinite(self._std[index, place]).all())
            largest = _largest(clip)
            if not (finite and np.isfinite(largest)):
                reason = f"layer {layer} holds NaN, infinity, or values too large to square."
            elif largest > limit:
                reason = (
                    f"layer {layer} reaches {largest:.0f}, beyond the {limit:.0f} that {self._codec} holds: "
                    "extract with --codec fp32."
                )
            else:
                continue
            self.problems.setdefault(index, reason)


def _deviations(clips: Sequence[torch.Tensor], means: torch.Tensor) -> torch.Tensor:
    """Population standard deviations over time, (clips, width), in two passes.

    `torch.var_mean` over the first dimension takes 15 times as long on a CPU.
    """
    variances = []
    for clip, mean in zip(clips, means, strict=True):
        centred = clip - mean
        variances.append(centred.mul_(centred).mean(dim=0))
    return torch.stack(variances).sqrt_()


def _largest(states: torch.Tensor) -> float:
    """The largest absolute value; NaN if there is one."""
    return float(torch.stack(states.aminmax()).abs().max())


def encode_batch(
    extractor: Extractor, batch: Sequence[Prepared], frames: Sequence[int], fingerprint: Fingerprint
) -> EncodedBatch:
    """Run the model once over a batch and encode its layers.

    Args:
        extractor: the model.
        batch: its prepared utterances.
        frames: the frames of each.
        fingerprint: the layers and the codec.

    Raises:
        BackboneError: the model's layers or shapes are not the planned ones.
    """
    encoded = EncodedBatch(frames, fingerprint, extractor.geometry.width)
    with torch.inference_mode():
        extractor.forward(batch, fingerprint.layers, encoded.emit)
    encoded.check_complete()
    return encoded


def encode_in_pieces(
    extractor: Extractor, batch: Sequence[Prepared], frames: Sequence[int], fingerprint: Fingerprint
) -> tuple[list[Outcome], float]:
    """Encode a batch, in halves (and theirs) where the memory does not hold it whole.

    The features of a shrunk batch can differ in their low bits from those of a whole one, because matrix
    products are then summed in another order.

    Args:
        extractor: the model.
        batch: its prepared utterances.
        frames: the frames of each.
        fingerprint: the layers and the codec.

    Returns:
        The features of each utterance, or the reason why it has none; and the seconds spent on encoding.

    Raises:
        BackboneError: the model's layers or shapes are not the planned ones.
    """
    try:
        encoded = encode_batch(extractor, batch, frames, fingerprint)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    else:
        outcomes = [encoded.problems.get(i) or encoded.features(i) for i in range(len(batch))]
        return outcomes, encoded.seconds
    # Only out here: the error's traceback would keep the tensors of the failed attempt alive.
    torch.cuda.empty_cache()  # does nothing where there is no CUDA
    if len(batch) == 1:
        return [_does_not_fit(extractor)], 0.0
    half = len(batch) // 2
    first, first_seconds = encode_in_pieces(extractor, batch[:half], frames[:half], fingerprint)
    second, second_seconds = encode_in_pieces(extractor, batch[half:], frames[half:], fingerprint)
    return first + second, first_seconds + second_seconds


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """PyTorch has a class of its own for CUDA only; a CPU's allocator gives a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in _OUT_OF_MEMORY)


def _does_not_fit(extractor: Extractor) -> str:
    on_cpu = str(getattr(extractor, "device", "cpu")) == "cpu"
    way_out = "on a machine with more of it" if on_cpu else "with --device cpu"
    return f"it does not fit into memory, even alone: cut clips with --max-seconds, or extract {way_out}."
