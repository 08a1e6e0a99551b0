"""The classifiers on top of frozen features: those of D'Asaro et al. 2024, SUPERB and Pepino et al. 2021.

A head takes packed frames (see :mod:`ser_cache.packing`) and gives one row of logits an utterance. It is a
stack of models that differ in their seeds. What a model draws, it draws from generators of its own seed, so
that its result depends neither on the models that train beside it nor on what ran before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from ser_cache.errors import TrainingError, UnknownNameError
from ser_cache.mixing import mix
from ser_cache.packing import Segments
from ser_cache.stacked_layers import Dropout, ReluDropout, StackedLinear, generator_of


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
    """Several models of one shape, stacked: what every head has, and how it is built.

    Each parameter has the models as its first axis, and model s is the same whatever else is in the stack.
    One model is a stack of one.

    Attributes:
        pools_first: whether the mean over frames can be taken before anything else, so that training needs
            time means only.
        mixes: whether it is fed a weighted sum of layers, of which it holds the weights.
    """

    pools_first: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    def __init__(
        self, layers: int, width: int, classes: int, options: HeadOptions, seeds: Sequence[int]
    ) -> None:
        """Draw new models.

        Args:
            layers: how many layers each is fed.
            width: d, features per frame.
            classes: k.
            options: their shape.
            seeds: one a model; it sets that model's initialisation and dropout, and nothing else does.
        """
        super().__init__()
        self.shape = (layers, width, classes)
        self.options = options
        self.seeds = tuple(seeds)
        generators = [generator_of("initialisation", seed) for seed in seeds]
        for name, outputs, inputs in self.linears(width, classes, options):
            self.add_module(name, StackedLinear(inputs, outputs, generators))

    @staticmethod
    @abstractmethod
    def linears(width: int, classes: int, options: HeadOptions) -> tuple[tuple[str, int, int], ...]:
        """Its Linears in the order in which they are drawn: name, outputs, inputs."""

    @staticmethod
    def reads(layers: Sequence[int]) -> tuple[int, ...]:
        """Which of the cached layers, ascending, the head is fed: the last one unless it says otherwise."""
        return (layers[-1],)

    @abstractmethod
    def forward(self, states: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify what each model is fed.

        Args:
            states: (models, frames, width), mixed already for a head that mixes; the first axis may be 1
                where all models are fed the same.
            segments: which frames belong to which utterance.

        Returns:
            Logits, (models, utterances, k).
        """

    def shares(self) -> torch.Tensor | None:
        """The share of each layer read, (models, layers); None for a head that mixes no layers."""
        return None

    def classify_layers(self, frames: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Logits (models, utterances, k) from all that the head reads, (layers, frames, width)."""
        shares = self.shares()
        logits: torch.Tensor = self(frames[-1:] if shares is None else mix(frames, shares), segments)
        return logits

    def state_of(self, model: int) -> dict[str, torch.Tensor]:
        """A copy of one model's parameters by name, without the models' axis."""
        return {
            name: _as_of_one(value[model]).detach().clone(memory_format=torch.contiguous_format)
            for name, value in self.named_parameters()
        }

    def restore(self, states: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Take the parameters of every model, as :meth:`state_of` gave them.

        Raises:
            ValueError: other models, names or shapes than this head has.
        """
        if len(states) != len(self.seeds):
            raise ValueError(f"{len(states)} states for a stack of {len(self.seeds)} models")
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                for place, state in enumerate(states):
                    own = _as_of_one(parameter[place])
                    if name not in state or state[name].shape != own.shape:
                        raise ValueError(f"{name} is missing, or of another shape than {tuple(own.shape)}")
                    own.copy_(state[name])


class LinearHead(Head):
    """Per-frame Linear d to m, mean over frames, Linear m to k (D'Asaro et al. 2024, section 3).

    Nothing in it is non-linear, so the mean commutes with the first Linear and is taken first.
    """

    pools_first = True
    project: StackedLinear
    classify: StackedLinear

    @staticmethod
    def linears(width: int, classes: int, options: HeadOptions) -> tuple[tuple[str, int, int], ...]:
        """Its Linears: name, outputs, inputs."""
        return (("project", options.hidden, width), ("classify", classes, options.hidden))

    def forward(self, states: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (models or 1, frames, width) to logits (models, utterances, k)."""
        logits: torch.Tensor = self.classify(self.project(segments.mean(states)))
        return logits


class NonlinearHead(Head):
    """Per frame two blocks of Linear, ReLU, Dropout, then a Linear; mean; Linear, ReLU; Linear m to k.

    D'Asaro et al. 2024, section 3. The third per-frame Linear is applied to the mean, with which it commutes:
    a quarter of the work less.
    """

    first: StackedLinear
    second: StackedLinear
    third: StackedLinear
    pooled: StackedLinear
    classify: StackedLinear

    def __init__(
        self, layers: int, width: int, classes: int, options: HeadOptions, seeds: Sequence[int]
    ) -> None:
        super().__init__(layers, width, classes, options, seeds)
        self.activate = ReluDropout(options.dropout, seeds)

    @staticmethod
    def linears(width: int, classes: int, options: HeadOptions) -> tuple[tuple[str, int, int], ...]:
        """Its Linears: name, outputs, inputs."""
        hidden = options.hidden
        inner = tuple((name, hidden, hidden) for name in ("second", "third", "pooled"))
        return (("first", hidden, width), *inner, ("classify", classes, hidden))

    def forward(self, states: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (models or 1, frames, width) to logits (models, utterances, k)."""
        states = self.activate(self.first(states))
        states = self.activate(self.second(states))
        states = self.third(segments.mean(states))
        logits: torch.Tensor = self.classify(functional.relu(self.pooled(states)))
        return logits


class SoftmaxMixing(Head):
    """A head that is fed a weighted sum of layers; the weights are a softmax and start equal."""

    mixes = True

    def __init__(
        self, layers: int, width: int, classes: int, options: HeadOptions, seeds: Sequence[int]
    ) -> None:
        super().__init__(layers, width, classes, options, seeds)
        self.mix = nn.Parameter(torch.zeros(len(seeds), layers))

    def shares(self) -> torch.Tensor:
        """The share of each layer read, (models, layers); each row sums to 1."""
        return torch.softmax(self.mix, dim=1)


class MultilayerHead(SoftmaxMixing, NonlinearHead):
    """A weighted sum over the layers 1..L, then the nonlinear head (D'Asaro et al. 2024, section 3)."""

    @staticmethod
    def reads(layers: Sequence[int]) -> tuple[int, ...]:
        """All layers but 0, which is what enters the first Transformer block."""
        wanted = tuple(layer for layer in layers if layer > 0)
        if not wanted:
            raise TrainingError("the multilayer head needs a cached layer above 0; extract more layers.")
        return wanted


class SuperbHead(SoftmaxMixing, LinearHead):
    """A weighted sum over the layers 0..L, then the linear head (Yang et al. 2021, SUPERB, section 3).

    Nothing but the softmax of the layer weights is non-linear, so it trains from time means.
    """

    @staticmethod
    def reads(layers: Sequence[int]) -> tuple[int, ...]:
        """All cached layers."""
        return tuple(layers)


class PepinoHead(Head):
    """An average of the layers 0..L, two per-frame blocks of Dropout, Linear, ReLU, then mean, Linear to k.

    Pepino et al. 2021: the layers' weights are their absolute values over their sum, and start equal. Where
    the study's code has dropout (docs/probing.md), the library that it is built with puts it before each
    Linear (mrpep/dienen, unfolders.py, 0181795b), so first on the averaged features.
    """

    mixes = True
    first: StackedLinear
    second: StackedLinear
    classify: StackedLinear

    def __init__(
        self, layers: int, width: int, classes: int, options: HeadOptions, seeds: Sequence[int]
    ) -> None:
        super().__init__(layers, width, classes, options, seeds)
        self.mix = nn.Parameter(torch.ones(len(seeds), layers))
        self.drop = Dropout(options.dropout, seeds)

    @staticmethod
    def linears(width: int, classes: int, options: HeadOptions) -> tuple[tuple[str, int, int], ...]:
        """Its Linears: name, outputs, inputs."""
        hidden = options.hidden
        return (("first", hidden, width), ("second", hidden, hidden), ("classify", classes, hidden))

    @staticmethod
    def reads(layers: Sequence[int]) -> tuple[int, ...]:
        """All cached layers."""
        return tuple(layers)

    def shares(self) -> torch.Tensor:
        """The share of each layer read, (models, layers); each row sums to 1."""
        weights = self.mix.abs()
        return weights / weights.sum(dim=1, keepdim=True)

    def forward(self, states: torch.Tensor, segments: Segments) -> torch.Tensor:
        """Classify: (models or 1, frames, width) to logits (models, utterances, k)."""
        states = functional.relu(self.first(self.drop(states)))
        states = functional.relu(self.second(self.drop(states)))
        logits: torch.Tensor = self.classify(segments.mean(states))
        return logits


def _as_of_one(value: torch.Tensor) -> torch.Tensor:
    """One model's share of a parameter in the shape that torch's Linear gives it."""
    return value.T if value.ndim == 2 else value


HEADS: dict[str, type[Head]] = {
    "linear": LinearHead,
    "nonlinear": NonlinearHead,
    "multilayer": MultilayerHead,
    "superb": SuperbHead,
    "pepino": PepinoHead,
}


def head_kind(name: str) -> type[Head]:
    """Look a head up.

    Raises:
        UnknownNameError: no such head.
    """
    if name not in HEADS:
        raise UnknownNameError("head", name, HEADS)
    return HEADS[name]
