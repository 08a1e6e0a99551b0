"""What heads are made of, for several models at once: Linears and dropout, each model's from its own seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ser_cache.errors import TrainingError

_LEVELS = 65536  # dropout decides by 16 random bits: four decisions for each draw of 64


class StackedLinear(nn.Module):
    """A Linear for each of several models: weights (models, inputs, outputs), biases (models, outputs).

    A model's own state has (outputs, inputs), as torch's Linear; here they are turned, because a product then
    leaves the gradient as it is stored, and no copy turns it.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        """Draw with torch's default initialisation (Kaiming uniform, a = sqrt 5), a generator a model."""
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weights = torch.empty(len(generators), inputs, outputs)
        biases = torch.empty(len(generators), outputs)
        for weight, bias, generator in zip(weights, biases, generators, strict=True):
            weight.copy_(torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator).T)
            bias.uniform_(-bound, bound, generator=generator)
        self.weight, self.bias = nn.Parameter(weights), nn.Parameter(biases)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply: (models or 1, n, inputs) to (models, n, outputs)."""
        spread = inputs.expand(len(self.weight), -1, -1)
        return torch.baddbmm(self.bias[:, None], spread, self.weight)


class Dropout(nn.Module):
    """Dropout with random bits of a generator for each model of a stack.

    Torch's dropout draws from the global generator, or takes longer than the matrix products around it.
    """

    def __init__(self, probability: float, seeds: Sequence[int]) -> None:
        """Set the probability of dropping an activation, 0 to below 1, and the models' seeds."""
        super().__init__()
        if not 0 <= probability < 1:
            raise TrainingError(
                f"a dropout of {probability} is impossible; it must be at least 0 and below 1."
            )
        self.dropped = round(probability * _LEVELS)
        self.scale = _LEVELS / max(1, _LEVELS - self.dropped)
        self._seeds = [_seed_of("dropout", seed) for seed in seeds]
        self._bits = [np.random.SFC64(seed) for seed in self._seeds]
        self._generators: list[torch.Generator] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop, (models, ..., m) to the same shape; an input that all models share is given to each."""
        if not self.training or self.dropped == 0:
            return inputs
        inputs = inputs.expand(len(self._seeds), *inputs.shape[1:])
        return inputs * (self._keep(inputs) * self.scale)

    def _keep(self, like: torch.Tensor) -> torch.Tensor:
        """Which activations stay, as booleans in the shape of ``like``."""
        drawn = [self._draw(place, like[place]) for place in range(len(like))]
        bits = drawn[0] if len(drawn) == 1 else torch.cat(drawn)
        return (bits >= self.dropped - _LEVELS // 2).view(like.shape)

    def _draw(self, place: int, like: torch.Tensor) -> torch.Tensor:
        """16 random bits for each activation of one model, flat."""
        if like.device.type == "cpu":
            words = self._bits[place].random_raw(-(-like.numel() // 4))
            return torch.from_numpy(words.view(np.int16))[: like.numel()]
        if not self._generators:
            self._generators = [torch.Generator(like.device).manual_seed(seed) for seed in self._seeds]
        bits = torch.empty(like.numel(), dtype=torch.int16, device=like.device)
        return bits.random_(-_LEVELS // 2, _LEVELS // 2, generator=self._generators[place])


class ReluDropout(Dropout):
    """ReLU and dropout in one, in place."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Activate, (models, ..., m) to the same shape; overwrites its input."""
        if not self.training or self.dropped == 0:
            return functional.relu(inputs, inplace=True)
        outputs: torch.Tensor = _ReluDropout.apply(inputs, self._keep(inputs), self.scale)  # type: ignore[no-untyped-call]
        return outputs


class _ReluDropout(torch.autograd.Function):
    """Overwrites its input, and remembers the output alone: where that is positive, the gradient passes."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, keep: torch.Tensor, scale: float) -> torch.Tensor:  # noqa: ANN401 - torch's context has no public type
        outputs = inputs.clamp_min_(0).mul_(keep).mul_(scale)
        ctx.mark_dirty(inputs)
        ctx.save_for_backward(outputs)
        ctx.scale = scale
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401 - as above
        (outputs,) = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradient, outputs, 0)
        return passed.mul_(ctx.scale), None, None


def _seed_of(purpose: str, seed: int) -> int:
    """63 bits that differ for each purpose, so that dropout never repeats the initialisation's draws."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "little") >> 1


def generator_of(purpose: str, seed: int) -> torch.Generator:
    """A generator on the CPU, so that a model starts the same on every device."""
    return torch.Generator().manual_seed(_seed_of(purpose, seed))
