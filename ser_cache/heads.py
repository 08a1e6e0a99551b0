"""The classifiers on top of frozen features: the three heads of D'Asaro et al. 2024, section 3.

A head takes packed frames (see :mod:`ser_cache.packing`) and gives one row of logits an utterance. What it
draws, it draws from generators of its own seed, so that a model's result depends neither on the models that
train beside it nor on what ran before it.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ser_cache.errors import TrainingError, UnknownNameError
from ser_cache.packing import Segments

_LEVELS = 65536  # dropout decides by 16 random bits: four decisions for each draw of 64


@dataclass(frozen=True)
class HeadOptions:
    """The shape of a head.

    Attributes:
        hidden: m, the width of every layer between features and classes (256 in the paper).
        dropout: probability of dropping an activation in training, rounded to 1/65536. The paper says that
            there is dropout, not how much.
    """

    hidden: int = 256
    dropout: float = 0.1


class Head(nn.Module, ABC):
    """What every head has, and how it is built.

    Attributes:
        pools_first: whether the mean over frames can be taken before anything else, so that training needs
            time means only.
    """

    pools_first: ClassVar[bool] = False

    def __init__(self, layers: int, width: int, classes: int, options: HeadOptions, seed: int) -> None:
        """Draw a new head.

        Args:
            layers: how many layers it is fed.
            width: d, features per frame.
            classes: k.
            options: its shape.
            seed: sets its initialisation and its dropout, and nothing else does.
        """
        super().__init__()
        self.shape = (layers, width, classes)
        self.options = options
        self.seed = seed

    @staticmethod
    def reads(layers: Sequence[int]) -> tuple[int, ...]:
        """Which of the cached layers, ascending, the head is fed: the last one unless it says otherwise."""
        return (layers[-1],)

    @abstractmethod
    def forward(self, frames: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (layers read, frames, width) to logits (utterances, k)."""

    @property
    def layer_weights(self) -> torch.Tensor | None:
        """The share of each layer read, (layers,), summing to 1; None for a head that mixes no layers."""
        return None


class LinearHead(Head):
    """Per-frame Linear d to m, mean over frames, Linear m to k.

    Nothing in it is non-linear, so the mean commutes with the first Linear and is taken first.
    """

    pools_first = True

    def __init__(self, layers: int, width: int, classes: int, options: HeadOptions, seed: int) -> None:
        super().__init__(layers, width, classes, options, seed)
        generator = _generator("initialisation", seed)
        self.project = _linear(width, options.hidden, generator)
        self.classify = _linear(options.hidden, classes, generator)

    def forward(self, frames: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (1, frames, width) to logits (utterances, k)."""
        logits: torch.Tensor = self.classify(self.project(segments.mean(frames[-1])))
        return logits


class NonlinearHead(Head):
    """Per frame two blocks of Linear, ReLU, Dropout, then a Linear; mean; Linear, ReLU; Linear m to k.

    The third per-frame Linear is applied to the mean, with which it commutes: a quarter of the work less.
    """

    def __init__(self, layers: int, width: int, classes: int, options: HeadOptions, seed: int) -> None:
        super().__init__(layers, width, classes, options, seed)
        generator = _generator("initialisation", seed)
        hidden = options.hidden
        self.first = _linear(width, hidden, generator)
        self.second = _linear(hidden, hidden, generator)
        self.third = _linear(hidden, hidden, generator)
        self.pooled = _linear(hidden, hidden, generator)
        self.classify = _linear(hidden, classes, generator)
        self.activate = ReluDropout(options.dropout, seed)

    def forward(self, frames: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (1, frames, width) to logits (utterances, k)."""
        return self._classify(frames[-1], segments)

    def _classify(self, states: torch.Tensor, segments: Segments) -> torch.Tensor:
        states = self.activate(self.first(states))
        states = self.activate(self.second(states))
        states = self.third(segments.mean(states))
        logits: torch.Tensor = self.classify(functional.relu(self.pooled(states)))
        return logits


class MultilayerHead(NonlinearHead):
    """A weighted sum over the layers 1..L, then the nonlinear head.

    The weights are a softmax and start equal.
    """

    def __init__(self, layers: int, width: int, classes: int, options: HeadOptions, seed: int) -> None:
        super().__init__(layers, width, classes, options, seed)
        self.mix = nn.Parameter(torch.zeros(layers))

    @staticmethod
    def reads(layers: Sequence[int]) -> tuple[int, ...]:
        """All layers but 0, which is what enters the first Transformer block."""
        wanted = tuple(layer for layer in layers if layer > 0)
        if not wanted:
            raise TrainingError("the multilayer head needs a cached layer above 0; extract more layers.")
        return wanted

    def forward(self, frames: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (layers, frames, width) to logits (utterances, k)."""
        shares = torch.softmax(self.mix, dim=0)
        # A product with the flattened layers is one pass over them; adding layer by layer would be several.
        mixed = shares @ frames.reshape(len(frames), -1)
        return self._classify(mixed.view(frames.shape[1:]), segments)

    @property
    def layer_weights(self) -> torch.Tensor:
        """The share of each layer read, (layers,), summing to 1."""
        return torch.softmax(self.mix.detach(), dim=0)


class ReluDropout(nn.Module):
    """ReLU and dropout in one, in place, with random bits of its own generator.

    Torch's dropout draws from the global generator, or takes longer than the matrix products around it.
    """

    def __init__(self, probability: float, seed: int) -> None:
        """Set the probability of dropping an activation, 0 to below 1."""
        super().__init__()
        if not 0 <= probability < 1:
            raise TrainingError(
                f"a dropout of {probability} is impossible; it must be at least 0 and below 1."
            )
        self.dropped = round(probability * _LEVELS)
        self.scale = _LEVELS / max(1, _LEVELS - self.dropped)
        self._seed = _seed_of("dropout", seed)
        self._bits = np.random.SFC64(self._seed)
        self._generator: torch.Generator | None = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Activate, (..., m) to the same shape; overwrites its input."""
        if not self.training or self.dropped == 0:
            return functional.relu(inputs, inplace=True)
        outputs: torch.Tensor = _ReluDropout.apply(inputs, self._keep(inputs), self.scale)  # type: ignore[no-untyped-call]
        return outputs

    def _keep(self, like: torch.Tensor) -> torch.Tensor:
        """Which activations stay, as booleans in the shape of ``like``."""
        if like.device.type == "cpu":
            words = self._bits.random_raw(-(-like.numel() // 4))
            bits = torch.from_numpy(words.view(np.int16))[: like.numel()]
        else:
            if self._generator is None:
                self._generator = torch.Generator(like.device).manual_seed(self._seed)
            bits = torch.empty(like.numel(), dtype=torch.int16, device=like.device)
            bits.random_(-_LEVELS // 2, _LEVELS // 2, generator=self._generator)
        return (bits >= self.dropped - _LEVELS // 2).view(like.shape)


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


HEADS: dict[str, type[Head]] = {
    "linear": LinearHead,
    "nonlinear": NonlinearHead,
    "multilayer": MultilayerHead,
}


def head_kind(name: str) -> type[Head]:
    """Look a head up.

    Raises:
        UnknownNameError: no such head.
    """
    if name not in HEADS:
        raise UnknownNameError("head", name, HEADS)
    return HEADS[name]


def _seed_of(purpose: str, seed: int) -> int:
    """63 bits that differ for each purpose, so that dropout never repeats the initialisation's draws."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "little") >> 1


def _generator(purpose: str, seed: int) -> torch.Generator:
    """A generator on the CPU, so that a model starts the same on every device."""
    return torch.Generator().manual_seed(_seed_of(purpose, seed))


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A Linear with torch's default initialisation (Kaiming uniform, a = sqrt 5), drawn from a generator."""
    layer: nn.Linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
