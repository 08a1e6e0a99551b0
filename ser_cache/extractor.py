"""What stage 1 asks of anything that turns audio into frames: a backbone, or MFCC.

The extraction pipeline knows this shape and nothing else, so a new family of features is one new class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

PRECISION = "precision"
"""The entry of an identity that says in which of ``PRECISIONS`` a model computes."""
AUTO = "auto"
"""Stands for the precision that ``extraction.precision`` finds by measuring."""
PRECISIONS = ("fp32", "bf16", "fp16")
"""Number formats a model may compute its products in; the sum through its blocks stays in fp32."""
Prepared = Any
"""One utterance, ready for the model; only the extractor that made it knows what it is."""
EmitLayer = Callable[[int, "torch.Tensor"], None]
"""Receives ``(layer, states)``; ``states`` is (frames of all utterances, width), in the batch's order."""


@dataclass(frozen=True)
class Geometry:
    """The shape of an extractor's output, known without loading its weights.

    Attributes:
        layers: the layers it can give, ascending (0..L for a backbone, (1,) for MFCC).
        width: features per frame (d).
        frames_per_second: frames per second of audio, for estimates of size only.
    """

    layers: tuple[int, ...]
    width: int
    frames_per_second: float


class Extractor(Protocol):
    """A frozen feature extractor in evaluation mode.

    Attributes:
        name: its folder in the cache, without the variant ("whisper-small", "mfcc", "org--model").
        variant: what non-default options add to that folder's name ("" or "full" or "max6s"), without ``+``.
        geometry: layers and width.
        codec: the number format its features are stored in unless the user says otherwise.
        identity: what makes its features, as JSON: weights' hash, preprocessing, context, precision (one of
            ``PRECISIONS``), ...
        provenance: where it came from ("model" as the user gave it, "hub_id", "revision"); recorded in each
            part, never compared.
    """

    name: str
    variant: str
    geometry: Geometry
    codec: str
    identity: Mapping[str, Any]
    provenance: Mapping[str, str]

    def at_precision(self, precision: str) -> Extractor:
        """The same model computing in another of ``PRECISIONS``; the weights are shared.

        Raises:
            SerCacheError: it cannot.
        """

    def frames(self, samples: int) -> int:
        """Frames for a clip of ``samples`` at 16 kHz; 0 when the clip is too short for one frame."""

    def padded_samples(self, samples: int) -> int:
        """Samples at 16 kHz that the model works through for such a clip (30 s windows in full context)."""

    def prepare(self, audio: NDArray[np.float32]) -> Prepared:
        """Turn one clip, (samples,) at 16 kHz, into the model's input, on the CPU; thread-safe."""

    def forward(self, batch: Sequence[Prepared], layers: Sequence[int], emit: EmitLayer) -> None:
        """Run the model once over a batch and hand over each wanted layer as soon as it exists.

        ``emit`` is called once per layer of ``layers``, in ascending order, with the valid frames of all
        utterances concatenated: (sum of frames, width), float32, on the model's device. The frames of an
        utterance do not depend on its batch-mates (relative error <= 1e-5 in float32).
        """
