"""What all backbones share: their outline, their place, and walking the blocks of a Transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ser_cache.backbones.packing import exact_float32
from ser_cache.backbones.weights import settle_parametrizations
from ser_cache.errors import UnknownNameError
from ser_cache.extractor import PRECISIONS

if TYPE_CHECKING:
    from ser_cache.backbones.outline import Outline
    from ser_cache.extractor import EmitLayer, Geometry

_SMALLEST_VARIANCE = 1e-7
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
Step = Callable[[torch.Tensor], torch.Tensor]


class Backbone:
    """A frozen encoder; the families add ``prepare`` and ``forward``.

    Attributes:
        name: folder in the cache, without the variant.
        variant: what non-default options add to it, without ``+``.
        geometry: layers 0..L and width.
        codec: the number format to store its features in.
        identity: what makes the features, as JSON; compared.
        provenance: "model" as it was asked for, and where the weights came from ("hub_id", "revision");
            recorded, not compared, because the same weights and preprocessing are the same features.
        precision: the one of ``PRECISIONS`` it computes in; part of the identity.
        device: where the model is.
    """

    name: str
    variant: str
    geometry: Geometry
    codec: str
    identity: Mapping[str, Any]
    provenance: Mapping[str, str]

    def __init__(
        self,
        encoder: nn.Module,
        outline: Outline,
        identity: Mapping[str, Any],
        provenance: Mapping[str, str],
        normalise: bool,
    ) -> None:
        """Take over a loaded encoder.

        Args:
            encoder: frozen, in evaluation mode, on its device.
            outline: name, variant, shape, frames.
            identity: see the class.
            provenance: see the class.
            normalise: bring each clip to zero mean and unit variance.
        """
        settle_parametrizations(encoder)
        self.name, self.variant, self.geometry = outline.name, outline.variant, outline.geometry
        self.codec = outline.codec
        self.identity, self.provenance = identity, provenance
        self.device = next(encoder.parameters()).device
        self.precision = str(identity["precision"])
        self._encoder: Any = encoder
        self._outline = outline
        self._normalise = normalise

    def at_precision(self, precision: str) -> Self:
        """The same model computing in another precision; the weights are shared.

        Raises:
            UnknownNameError: not one of ``PRECISIONS``.
        """
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
        other = copy(self)
        other.precision = precision
        other.identity = {**self.identity, "precision": precision}
        return other

    def frames(self, samples: int) -> int:
        """Frames for a clip of ``samples`` at 16 kHz; 0 when the clip is too short for one frame."""
        return self._outline.frames(samples)

    def padded_samples(self, samples: int) -> int:
        """Samples at 16 kHz that the model works through for such a clip."""
        return self._outline.padded_samples(samples)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """How the model computes: frozen, and in its precision.

        Below fp32, autocast takes products, convolutions and attention in half precision. The sum that runs
        through the blocks, and the norms, stay in fp32, where half precision would lose most.
        """
        reduced = self.precision != "fp32"
        with (
            torch.inference_mode(),
            exact_float32(self.device),
            torch.autocast(self.device.type, _DTYPES[self.precision], enabled=reduced),
        ):
            yield

    def _scaled(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """The clip, cut to the longest length allowed and normalised where the model wants it."""
        kept = audio[: self._outline.kept(len(audio))]
        if not self._normalise:
            return kept
        scaled: NDArray[np.float32] = (kept - kept.mean()) / np.sqrt(
            kept.var() + np.float32(_SMALLEST_VARIANCE)
        )
        return scaled.astype(np.float32, copy=False)


def emit_states(
    states: Iterator[torch.Tensor],
    layers: Sequence[int],
    pack: Step,
    emit: EmitLayer,
    last: Step | None,
    depth: int,
) -> None:
    """Hand over the wanted layers of a walk through a Transformer, and stop after the highest of them.

    Args:
        states: layer 0, 1, ..., each (batch, frames, width), made as they are asked for.
        layers: wanted layers, ascending.
        pack: takes the padding out.
        emit: receives (layer, packed states).
        last: the final normalisation, applied to layer ``depth`` alone; None where the blocks include it.
        depth: number of blocks L.
    """
    wanted = set(layers)
    for layer, hidden in enumerate(states):
        if layer in wanted:
            final = last(hidden) if last is not None and layer == depth else hidden
            emit(layer, pack(final).float())
        if layer == max(layers):
            return
