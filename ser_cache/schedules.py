"""Learning-rate schedules: the rate of one model at each of its steps, decided without torch.

A stack of models trains in one pass with a rate of its own for each; so a schedule is an object that is asked
for its model's rate, not one that reaches into an optimiser. The decisions are those of the libraries that
people compare with: linear and cosine as in transformers' ``get_linear_schedule_with_warmup`` and
``get_cosine_schedule_with_warmup``, plateau as in torch's ``ReduceLROnPlateau`` (mode min, relative
threshold 1e-4, no cooldown).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from ser_cache.errors import TrainingError, UnknownNameError

_THRESHOLD = 1e-4
"""Share by which a loss must fall below the best one to count as better."""
_LEAST_CHANGE = 1e-8
"""A cut of the rate that is not larger than this is not made."""


@dataclass(frozen=True)
class ScheduleOptions:
    """How the learning rate changes in training.

    Attributes:
        name: one of ``SCHEDULES``.
        warmup_ratio: share of all steps over which linear and cosine rise from zero to the full rate.
        factor: by what plateau multiplies the rate; this and the next two are PEFT-SER's.
        patience: epochs without a better validation loss that plateau lets pass.
        floor: below which plateau does not lower the rate.
    """

    name: str = "none"
    warmup_ratio: float = 0.0
    factor: float = 0.5
    patience: int = 5
    floor: float = 5e-5


class Schedule(ABC):
    """The learning rate of one model."""

    def __init__(self, options: ScheduleOptions, base_rate: float, total_steps: int) -> None:
        """Begin at the first step.

        Args:
            options: the settings.
            base_rate: the full learning rate.
            total_steps: how many steps the training takes if nothing stops it early.
        """
        self.options, self.base_rate, self.total_steps = options, base_rate, total_steps

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate to take a step with; steps are counted from 0 over the whole training."""

    def after_epoch(self, validation_loss: float) -> None:  # noqa: B027 - most schedules do not look at it
        """Take note of the validation loss of an epoch; nan counts as no improvement."""


class Constant(Schedule):
    """The full rate at every step."""

    def rate(self, step: int) -> float:  # noqa: ARG002 - other schedules look at it
        """The full rate."""
        return self.base_rate


class _Warmed(Schedule):
    """Rises linearly from zero over the warm-up, then does as its kind does.

    As in transformers, the first step of a warm-up is taken with a rate of zero.
    """

    def rate(self, step: int) -> float:
        """The learning rate to take a step with."""
        warmup = warmup_steps(self.total_steps, self.options.warmup_ratio)
        if step < warmup:
            return self.base_rate * (step / warmup)
        return self.base_rate * self._share((step - warmup) / max(1, self.total_steps - warmup))

    @abstractmethod
    def _share(self, progress: float) -> float:
        """The share of the full rate at this progress, 0 to 1, through the steps after the warm-up."""


class Linear(_Warmed):
    """Falls in a straight line, to zero after the last step."""

    def _share(self, progress: float) -> float:
        return max(0.0, 1.0 - progress)


class Cosine(_Warmed):
    """Falls along half a cosine, to zero after the last step."""

    def _share(self, progress: float) -> float:
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


class Plateau(Schedule):
    """Lowers the rate when the validation loss has not become better for more than ``patience`` epochs."""

    def __init__(self, options: ScheduleOptions, base_rate: float, total_steps: int) -> None:
        super().__init__(options, base_rate, total_steps)
        self._rate, self._best, self._waited = base_rate, math.inf, 0

    def rate(self, step: int) -> float:  # noqa: ARG002 - other schedules look at it
        """The rate that the epochs so far have left."""
        return self._rate

    def after_epoch(self, validation_loss: float) -> None:
        """Count an epoch, and lower the rate where one too many has passed."""
        if validation_loss < self._best * (1 - _THRESHOLD):
            self._best, self._waited = validation_loss, 0
            return
        self._waited += 1
        if self._waited > self.options.patience:
            self._waited = 0
            lowered = max(self._rate * self.options.factor, self.options.floor)
            if self._rate - lowered > _LEAST_CHANGE:
                self._rate = lowered


SCHEDULES: dict[str, type[Schedule]] = {
    "none": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "plateau": Plateau,
}


def schedule_for(options: ScheduleOptions, base_rate: float, total_steps: int) -> Schedule:
    """A schedule for one model, at its first step.

    Raises:
        UnknownNameError: no such schedule.
        TrainingError: an impossible setting, or a warm-up for a schedule that has none.
    """
    if options.name not in SCHEDULES:
        raise UnknownNameError("schedule", options.name, SCHEDULES)
    kind = SCHEDULES[options.name]
    _check(options, issubclass(kind, _Warmed))
    return kind(options, base_rate, total_steps)


def warmup_steps(total_steps: int, ratio: float) -> int:
    """How many steps a share of all steps is, rounded up as transformers' Trainer does."""
    return math.ceil(total_steps * ratio)


def _check(options: ScheduleOptions, warms: bool) -> None:
    if not 0 <= options.warmup_ratio <= 1:
        raise TrainingError(f"a warm-up ratio of {options.warmup_ratio:g} is impossible; use 0 to 1.")
    if options.warmup_ratio and not warms:
        raise TrainingError(
            f"the schedule {options.name!r} has no warm-up; use linear or cosine, or a warm-up ratio of 0."
        )
    if not 0 < options.factor < 1:
        raise TrainingError(
            f"a plateau factor of {options.factor:g} lowers nothing; use above 0 and below 1."
        )
    if options.patience < 0 or options.floor < 0:
        raise TrainingError(
            f"a patience of {options.patience} and a floor of {options.floor:g} cannot be; use 0 or more."
        )
