"""The weighted sum over layers, for several models at once, with a gradient for the weights alone.

A batch of all layers is the largest thing that training touches, and the sum needs little arithmetic for
every value it reads: it is bound by memory. So the models of a pass share one reading of it, forwards and
backwards. No bit of a model's result depends on how many others there are (a test compares).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_CHUNK = 65_536
"""Values of each layer in a piece of the gradient: those of all layers fit a core's cache together."""


def mix(frames: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Weight the layers: (layers, frames, width) by (models, layers) to (models, frames, width)."""
    # A product with the flattened layers is one pass over them; adding layer by layer would be several.
    return (shares @ frames.reshape(len(frames), -1)).view(len(shares), *frames.shape[1:])


def gradient_of_shares(frames: torch.Tensor, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the mixed states' gradients say about the shares.

    Args:
        frames: (layers, frames, width), as they were mixed.
        gradients: of each model's mixed states, (frames, width) each.

    Returns:
        (models, layers): for each the sum over frames and channels of gradient times layer.
    """
    flat = frames.reshape(len(frames), -1)
    rows = [gradient.reshape(-1) for gradient in gradients]
    if flat.device.type != "cpu":
        return torch.stack(rows) @ flat.T
    # Model by model, so that company changes no bit; piece by piece, so that all but the first find the
    # piece in the cache.
    total = flat.new_zeros(len(rows), len(flat))
    for start in range(0, flat.shape[1], _CHUNK):
        piece = flat[:, start : start + _CHUNK]
        for place, row in enumerate(rows):
            total[place] += piece @ row[start : start + _CHUNK]
    return total
