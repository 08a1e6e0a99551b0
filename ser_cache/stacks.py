"""Models in training, stacked: what they are fed, their optimiser, and what belongs to each of them alone.

Models of one shape train as one stack where batches are small, as of time means, and on a GPU: there the
number of operations counts. On a processor a batch of frames keeps every core busy with one model, whose
activations then stay in its cache; so each is a stack of its own, and only the reading and mixing of layers
is shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.optim.adam import adam

from ser_cache.mixing import gradient_of_shares, mix
from ser_cache.packing import Batch
from ser_cache.schedules import Schedule, schedule_for
from ser_cache.training_options import EpochLog, TrainingOptions

if TYPE_CHECKING:
    from ser_cache.heads import Head, HeadOptions


_VECTOR = 64
"""Values in the longest vector of a processor, with room to spare."""


@dataclass(frozen=True)
class Model:
    """One model to train.

    Attributes:
        name: what errors and results call it.
        head: its kind.
        options: its shape.
        seed: of its initialisation and dropout.
        places: which of the source's layers it is fed, ascending.
        learning_rate: instead of the training options'; None for theirs.
    """

    name: str
    head: type[Head]
    options: HeadOptions
    seed: int
    places: tuple[int, ...]
    learning_rate: float | None = None


@dataclass
class Trainee:
    """What belongs to one model of a stack: its schedule, its log and its best state so far."""

    model: Model
    place: int
    schedule: Schedule
    log: list[EpochLog] = field(default_factory=list)
    best_score: float = -float("inf")
    best_epoch: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    stopped: bool = False


class Stack:
    """Models of one shape that take every step together.

    Attributes:
        head: the models.
        trainees: what belongs to each alone, in their order.
        loss: summed training loss of each since the last evaluation, (models,), in means over epochs.
        passes: epochs since the last evaluation.
        steps: taken in all.
    """

    def __init__(
        self,
        models: Sequence[Model],
        width: int,
        classes: int,
        options: TrainingOptions,
        steps: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Draw the models.

        Args:
            models: of one kind and shape; those of a head that mixes are fed the same layers.
            width: features per frame.
            classes: k.
            options: how they are trained.
            steps: of the whole training, which some schedules divide.
            device: where they are.
            dtype: of their parameters.
        """
        first = models[0]
        seeds = [model.seed for model in models]
        head = first.head(len(first.places), width, classes, first.options, seeds)
        self.head: Head = head.to(device=device, dtype=dtype)
        rates = [model.learning_rate or options.learning_rate for model in models]
        self.trainees = [
            Trainee(model, place, schedule_for(options.schedule, rate, steps))
            for place, (model, rate) in enumerate(zip(models, rates, strict=True))
        ]
        self.loss = torch.zeros(len(models), device=device)
        self.passes = 0
        self.steps = 0
        self._options = options
        self._parameters = list(self.head.parameters())
        self._averages = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]

    @property
    def active(self) -> bool:
        """Whether any of its models still trains."""
        return not all(trainee.stopped for trainee in self.trainees)

    def losses(
        self, states: torch.Tensor, batch: Batch, truth: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Mean cross-entropy of each model, (models,), from what it is fed, (models or 1, frames, width)."""
        logits = self.head(states, batch.segments)
        return cross_entropies(logits, truth, weights)

    def step(self) -> None:
        """Adam's step for every model that still trains, at its own rate."""
        training = [trainee for trainee in self.trainees if not trainee.stopped]
        rates = {trainee.place: trainee.schedule.rate(self.steps) for trainee in training}
        whole = len(rates) == len(self.trainees) and len(set(rates.values())) == 1
        if whole and self._options.clip_norm is None:  # whose norm is each model's own
            self._adam(list(rates), next(iter(rates.values())), whole=True)
        else:
            for place, rate in rates.items():
                self._adam([place], rate, whole=False)
        self.steps += 1

    def _adam(self, places: Sequence[int], rate: float, *, whole: bool) -> None:
        """Adam's step for some models at one rate; ``whole`` where they are all of the stack."""
        options = self._options
        pieces = [
            [tensor.detach()[piece] for tensor in (parameter, _gradient(parameter), average, square)]
            for parameter, average, square in zip(
                self._parameters, self._averages, self._squares, strict=True
            )
            for piece in ([slice(None)] if whole and _is_even(parameter) else places)
        ]
        parameters, gradients, averages, squares = (list(column) for column in zip(*pieces, strict=True))
        _clip(gradients, options)
        # Torch's own Adam as a function: its Optimizer class imports a compiler, which takes seconds.
        adam(
            parameters,
            gradients,
            averages,
            squares,
            [],
            list(torch.full((len(gradients),), float(self.steps), device=self.loss.device).unbind()),
            fused=True,  # one pass over each tensor
            amsgrad=False,
            beta1=options.betas[0],
            beta2=options.betas[1],
            lr=rate,
            weight_decay=options.weight_decay,
            eps=options.epsilon,
            maximize=False,
        )


def build_stacks(models: Iterable[Model], together: bool, **arguments: Any) -> list[Stack]:  # noqa: ANN401 - those of Stack
    """Stack models of one shape; where not ``together``, one model a stack."""
    groups: dict[object, list[Model]] = {}
    for number, model in enumerate(models):
        fed = model.places if model.head.mixes else len(model.places)
        groups.setdefault((model.head, model.options, fed) if together else number, []).append(model)
    return [Stack(group, **arguments) for group in groups.values()]


def cross_entropies(
    logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross-entropy of each model.

    Args:
        logits: (models, n, k).
        truth: class numbers, (n,).
        weights: of each class, (k,); the mean is then weighted, as torch's is.

    Returns:
        (models,).
    """
    each = functional.cross_entropy(
        logits.flatten(0, 1), truth.repeat(len(logits)), weight=weights, reduction="none"
    )
    count = len(truth) if weights is None else weights[truth].sum()
    return each.view(len(logits), -1).sum(dim=1) / count


def train_batch(
    stacks: Sequence[Stack], batch: Batch, truth: torch.Tensor, weights: torch.Tensor | None, share: float
) -> None:
    """One step of every model on one batch; ``share`` is the batch's part of its epoch, for the mean loss."""
    for frames, group, shares in _groups(stacks, batch.frames):
        fed = None if shares is None else mix(frames, shares)
        gradients: list[torch.Tensor] = []
        for stack, rows in _rows(group):
            states = _fed(stack, batch.frames) if fed is None else fed[rows].requires_grad_()
            stack.head.zero_grad()
            losses = stack.losses(states, batch, truth, weights)
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            # Summed on the device and read once an epoch: reading each step would make a GPU wait.
            stack.loss += losses.detach() * share
            if fed is not None:
                gradients += _gradient(states)
        if fed is not None:
            _pass_to_shares(group, gradient_of_shares(frames, gradients))
        for stack in group:
            stack.step()


def logits_of(stacks: Sequence[Stack], batch: Batch) -> Iterator[tuple[Stack, torch.Tensor]]:
    """Every stack with its logits, (models, utterances, k); call it without gradients."""
    for frames, group, shares in _groups(stacks, batch.frames):
        fed = None if shares is None else mix(frames, shares)
        for stack, rows in _rows(group):
            states = _fed(stack, batch.frames) if fed is None else fed[rows]
            yield stack, stack.head(states, batch.segments)


def _groups(
    stacks: Sequence[Stack], frames: torch.Tensor
) -> Iterator[tuple[torch.Tensor, list[Stack], torch.Tensor | None]]:
    """Stacks that are fed alike: for those that mix the same layers, the layers and everyone's shares."""
    groups: dict[tuple[int, ...], list[Stack]] = {}
    for stack in stacks:
        groups.setdefault(stack.trainees[0].model.places if stack.head.mixes else (), []).append(stack)
    for places, group in groups.items():
        if not places:
            yield frames, group, None
            continue
        with torch.no_grad():
            shares = torch.cat([_shares(stack) for stack in group])
        yield _chosen(frames, places), group, shares


def _rows(group: Sequence[Stack]) -> Iterator[tuple[Stack, slice]]:
    """Every stack with the rows of its models among all of the group's."""
    start = 0
    for stack in group:
        yield stack, slice(start, start + len(stack.trainees))
        start += len(stack.trainees)


def _fed(stack: Stack, frames: torch.Tensor) -> torch.Tensor:
    """What models that read one layer each are fed, (models, frames, width), or (1, ...) where it is one."""
    places = [trainee.model.places[-1] for trainee in stack.trainees]
    return _chosen(frames, places[:1] if len(set(places)) == 1 else places)


def _chosen(frames: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """Some layers: a view where they are consecutive, else a copy."""
    first, count = places[0], len(places)
    if list(places) == list(range(first, first + count)):
        return frames[first : first + count]
    return frames[list(places)]


def _pass_to_shares(group: Sequence[Stack], gradients: torch.Tensor) -> None:
    """Carry the gradients of the shares, (models, layers), on to the parameters behind them."""
    for stack, rows in _rows(group):
        _shares(stack).backward(gradients[rows])  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _shares(stack: Stack) -> torch.Tensor:
    shares = stack.head.shares()
    assert shares is not None  # noqa: S101 - only asked of heads that mix
    return shares


def _gradient(tensor: torch.Tensor) -> torch.Tensor:
    gradient = tensor.grad
    assert gradient is not None  # noqa: S101 - after backward there is one
    return gradient


def _clip(gradients: Sequence[torch.Tensor], options: TrainingOptions) -> None:
    """Bound one model's gradients in place, by value or by the norm over all of them."""
    if options.clip_value is not None:
        for gradient in gradients:
            gradient.clamp_(-options.clip_value, options.clip_value)
    if options.clip_norm is not None:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        factor = (options.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)


def _is_even(parameter: torch.Tensor) -> bool:
    """Whether each model's share fills whole vectors of the processor.

    The rest of a tensor is computed otherwise, to another last bit; so it must not depend on the company
    whether a value is in the rest.
    """
    return parameter[0].numel() % _VECTOR == 0
