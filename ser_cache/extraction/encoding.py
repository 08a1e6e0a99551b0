"""Take each layer off the model as it appears: means and deviations in fp32, then the codec, then the host.

Everything happens on the model's device, so that no more than one layer of a batch exists in fp32 beside what
the model itself holds, and only what will be stored crosses to the host. From a GPU it crosses into pinned
memory without waiting; `EncodedBatch.finish` waits.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.errors import BackboneError
from ser_cache.extraction.layers import ClipEncoder, PaddedEncoder, element_type
from ser_cache.extraction.running import Turns
from ser_cache.extraction.streams import own_stream
from ser_cache.extraction.writing import Outcome
from ser_cache.extractor import PRECISION, PRECISIONS, Extractor, Prepared
from ser_cache.store import CODECS, Fingerprint, stored_frames

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class EncodedBatch:
    """The features of one batch, filled layer by layer.

    Args:
        frames: frames of each utterance, each at least 1.
        fingerprint: the layers, the codec and the averaging.
        width: features per frame.

    Attributes:
        seconds: time spent in `emit`; on a GPU, time to queue the work.
    """

    def __init__(self, frames: Sequence[int], fingerprint: Fingerprint, width: int) -> None:
        storage = fingerprint.storage
        self._frames = list(frames)
        stored = [stored_frames(storage, count) for count in frames]
        self._bounds = np.concatenate(([0], np.cumsum(stored))).tolist()
        self._layers = fingerprint.layers
        self._width = width
        exact = fingerprint.features.get(PRECISION, PRECISIONS[0]) == PRECISIONS[0]
        self._way_out = "leave this clip out" if exact else f"extract with --{PRECISION} {PRECISIONS[0]}"
        self._name = str(storage["codec"])
        self._codec = CODECS[self._name]
        self._average = int(storage["frame_average"])
        self._keeps_frames = storage["tier"] == "frames"
        self._encode: ClipEncoder | PaddedEncoder | None = None
        self._on_host: dict[str, torch.Tensor] = {}
        self._emitted = 0
        self._copied: torch.cuda.Event | None = None
        self.seconds = 0.0

    def emit(self, layer: int, states: torch.Tensor) -> None:
        """Take one layer: ``states`` is (frames of all utterances, width), float32, on any device."""
        started = time.perf_counter()
        place = self._emitted
        if place == len(self._layers) or self._layers[place] != layer:
            raise BackboneError(
                f"the model gave layer {layer} out of turn; wanted were {list(self._layers)}."
            )
        if tuple(states.shape) != (sum(self._frames), self._width):
            raise BackboneError(
                f"the model gave {tuple(states.shape)} values in layer {layer} where "
                f"{(sum(self._frames), self._width)} were planned from the clips' lengths."
            )
        on_gpu = states.device.type == "cuda"
        if self._encode is None:
            self._encode = self._encoder(states.device)
            self._on_host = self._room(pinned=on_gpu)
        encoded = self._encode(states)
        for name, room in self._on_host.items():
            if name != "hidden":
                room[place].copy_(getattr(encoded, name), non_blocking=True)
        if self._keeps_frames:
            rooms = torch.split(self._on_host["hidden"][place], [len(piece) for piece in encoded.hidden])
            for piece, room in zip(encoded.hidden, rooms, strict=True):
                room.copy_(piece, non_blocking=True)
        self._emitted += 1
        if on_gpu and self._emitted == len(self._layers):
            # Blocking: waiting for it sleeps, and leaves the processor to decoding.
            self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call] # torch leaves it untyped
            self._copied.record(torch.cuda.current_stream(states.device))
        self.seconds += time.perf_counter() - started

    def finish(self) -> list[Outcome]:
        """Wait until everything is on the host; the features of each utterance, or why it has none.

        Returns:
            For each utterance ``hidden`` (layers, stored frames, width), ``scale`` where the codec has one,
            ``mean`` and ``std`` (layers, width); or a reason.

        Raises:
            BackboneError: a layer was never given.
        """
        if self._emitted < len(self._layers):
            missing = self._layers[self._emitted]
            raise BackboneError(f"the model never gave layer {missing}; it may have fewer than it declares.")
        if self._copied is not None:
            self._copied.synchronize()
        arrays = {name: values.numpy() for name, values in self._on_host.items()}
        return [
            self._problem(arrays, index) or self._features(arrays, index)
            for index in range(len(self._frames))
        ]

    def _encoder(self, device: torch.device) -> ClipEncoder | PaddedEncoder:
        if device.type == "cpu":
            return ClipEncoder(self._frames, self._codec, self._average)
        return PaddedEncoder(self._frames, self._codec, self._average, device)

    def _room(self, pinned: bool) -> dict[str, torch.Tensor]:
        """Memory on the host for what will be stored, layers first."""
        layers, clips = len(self._layers), len(self._frames)

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.empty(layers, *shape, dtype=dtype, pin_memory=pinned)

        room = {name: empty(clips, self._width) for name in ("mean", "std")} | {"largest": empty(clips)}
        if self._keeps_frames:
            room["hidden"] = empty(self._bounds[-1], self._width, dtype=element_type(self._codec))
            if self._codec.scaled:
                room["scale"] = empty(clips, self._width)
        return room

    def _features(self, arrays: Mapping[str, NDArray[Any]], index: int) -> Mapping[str, NDArray[Any]]:
        features = {name: arrays[name][:, index] for name in ("mean", "std", "scale") if name in arrays}
        if self._keeps_frames:
            start, stop = self._bounds[index : index + 2]
            features["hidden"] = arrays["hidden"][:, start:stop]
        return features

    def _problem(self, arrays: Mapping[str, NDArray[Any]], index: int) -> str:
        """Why an utterance cannot be stored, or "": the lowest layer with values the codec cannot hold."""
        for place, layer in enumerate(self._layers):
            largest = float(arrays["largest"][place, index])
            if not (np.isfinite(largest) and np.isfinite(arrays["std"][place, index]).all()):
                return f"layer {layer} holds NaN, infinity, or values too large to square: {self._way_out}."
            if self._keeps_frames and largest > self._codec.largest:
                return (
                    f"layer {layer} reaches {largest:.0f}, beyond the {self._codec.largest:.0f} that "
                    f"{self._name} holds: extract with --codec fp32."
                )
        return ""


def encode_batch(
    extractor: Extractor, batch: Sequence[Prepared], frames: Sequence[int], fingerprint: Fingerprint
) -> EncodedBatch:
    """Run the model once over a batch and encode its layers.

    Args:
        extractor: the model.
        batch: its prepared utterances.
        frames: the frames of each.
        fingerprint: the layers and how to store them.

    Raises:
        BackboneError: the model's layers or shapes are not the planned ones.
    """
    encoded = EncodedBatch(frames, fingerprint, extractor.geometry.width)
    with torch.inference_mode():
        extractor.forward(batch, fingerprint.layers, encoded.emit)
    return encoded


def encode_in_pieces(
    extractor: Extractor,
    batch: Sequence[Prepared],
    frames: Sequence[int],
    fingerprint: Fingerprint,
    turns: Turns | None = None,
) -> tuple[list[Outcome], float]:
    """Encode a batch, in halves (and theirs) where the memory does not hold it whole.

    A batch that met its end beside others is tried again with no other batch in the model, so that which
    batches are shrunk depends on their size alone. The features of a shrunk batch can differ in their low
    bits from those of a whole one, because matrix products are then summed in another order.

    Args:
        extractor: the model.
        batch: its prepared utterances.
        frames: the frames of each.
        fingerprint: the layers and how to store them.
        turns: shared by all who run this model at once; None where nobody else does.

    Returns:
        The features of each utterance, or the reason why it has none; and the seconds spent on encoding.

    Raises:
        BackboneError: the model's layers or shapes are not the planned ones.
    """
    turns = turns or Turns()
    with turns.shared():
        encoded = _attempt(extractor, batch, frames, fingerprint)
    if encoded is not None:
        return encoded
    with turns.alone():
        return _in_halves(extractor, batch, frames, fingerprint)


def _attempt(
    extractor: Extractor, batch: Sequence[Prepared], frames: Sequence[int], fingerprint: Fingerprint
) -> tuple[list[Outcome], float] | None:
    """Encode a batch whole; None where the memory does not hold it.

    Nothing of a failed attempt is alive afterwards; the error's traceback would keep its tensors.
    """
    try:
        with own_stream(str(getattr(extractor, "device", "cpu"))):
            encoded = encode_batch(extractor, batch, frames, fingerprint)
            return encoded.finish(), encoded.seconds
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def _in_halves(
    extractor: Extractor, batch: Sequence[Prepared], frames: Sequence[int], fingerprint: Fingerprint
) -> tuple[list[Outcome], float]:
    torch.cuda.empty_cache()  # does nothing where there is no CUDA
    encoded = _attempt(extractor, batch, frames, fingerprint)
    if encoded is not None:
        return encoded
    if len(batch) == 1:
        return [_does_not_fit(extractor)], 0.0
    half = len(batch) // 2
    first, first_seconds = _in_halves(extractor, batch[:half], frames[:half], fingerprint)
    second, second_seconds = _in_halves(extractor, batch[half:], frames[half:], fingerprint)
    return first + second, first_seconds + second_seconds


def is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether the memory was too small; PyTorch has a class of its own for some of CUDA's cases only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in _OUT_OF_MEMORY)


def _does_not_fit(extractor: Extractor) -> str:
    on_cpu = str(getattr(extractor, "device", "cpu")) == "cpu"
    way_out = "on a machine with more of it" if on_cpu else "with --device cpu"
    return f"it does not fit into memory, even alone: cut clips with --max-seconds, or extract {way_out}."
