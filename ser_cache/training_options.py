"""How models are trained, what is written down of an epoch, and what the best epoch is best in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ser_cache.errors import UnknownNameError
from ser_cache.schedules import ScheduleOptions

CLASS_WEIGHTS = ("none", "inverse")


@dataclass(frozen=True)
class EpochLog:
    """What one epoch of one model came to.

    Attributes:
        epoch: from 1.
        learning_rate: at its end.
        train_loss: mean cross-entropy over the training utterances since the entry before, as training went,
            with dropout and class weights.
        validation_loss: mean cross-entropy over the validation utterances after the epoch.
        validation_macro_f1: over the classes present in the validation truth.
        validation_ua: unweighted accuracy on the validation side.
        validation_wa: accuracy on the validation side.
        seconds: wall time since the entry before, shared equally among the models that trained together.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    validation_macro_f1: float
    validation_ua: float
    validation_wa: float
    seconds: float


SELECTED_BY: dict[str, Callable[[EpochLog], float]] = {
    "macro_f1": lambda entry: entry.validation_macro_f1,
    "ua": lambda entry: entry.validation_ua,
    "wa": lambda entry: entry.validation_wa,
    "loss": lambda entry: -entry.validation_loss,
}
"""What an epoch can be best in: larger is better."""


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained.

    Attributes:
        epochs: passes over the training data, at most.
        steps: where given, as many passes as make at least this many steps, instead of ``epochs``.
        learning_rate: of Adam, where the schedule starts.
        weight_decay: coupled, that is, added to the gradient.
        betas: decay of Adam's two averages.
        epsilon: added to Adam's denominator.
        batch_size: utterances a step.
        drop_last: leave the last, shorter batch of an epoch out.
        schedule: how the learning rate changes.
        select: what the best epoch is best in, on the validation side: macro_f1, ua, wa or loss.
        patience: stop a model after this many evaluations without a better one; None to go on to the end.
        steps_between: evaluate after the first epoch that completes so many steps since the last evaluation.
        class_weights: none, or inverse: each class weighs its inverse frequency in the training side.
        clip_norm: largest norm of all of a model's gradients together; None for no limit.
        clip_value: largest absolute value of a gradient; None for no limit.
    """

    epochs: int = 30
    steps: int | None = None
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    batch_size: int = 32
    drop_last: bool = False
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    select: str = "macro_f1"
    patience: int | None = None
    steps_between: int = 1
    class_weights: str = "none"
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        """Refuse unknown names.

        Raises:
            UnknownNameError: of a score to select by, or of class weights.
        """
        if self.select not in SELECTED_BY:
            raise UnknownNameError("score to select by", self.select, SELECTED_BY)
        if self.class_weights not in CLASS_WEIGHTS:
            raise UnknownNameError("class weighting", self.class_weights, CLASS_WEIGHTS)

    def passes(self, count: int) -> int:
        """How many epochs at most, for so many training utterances."""
        return self.epochs if self.steps is None else -(-self.steps // self.batches(count))

    def batches(self, count: int) -> int:
        """Batches of an epoch over so many utterances; at least one, however few."""
        whole, rest = divmod(count, self.batch_size)
        return max(1, whole + (rest > 0 and not self.drop_last))
