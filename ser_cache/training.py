"""Train models on features: one `fit`, which knows neither a corpus nor a cache.

Several models may train together over one pass of the data: each batch is read once and every model takes its
step on it. They share the batches and nothing else, so a model's result is the same alone and in company; a
single model is a stack of one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.errors import TrainingError
from ser_cache.metrics import Scores, score
from ser_cache.packing import EVALUATION_FRAMES, Batch, FeatureSource
from ser_cache.stacks import Model, Stack, Trainee, build_stacks, cross_entropies, logits_of, train_batch
from ser_cache.training_options import SELECTED_BY, EpochLog, TrainingOptions

__all__ = ["FitResult", "Sides", "TrainingOptions", "batch_order", "check_sides", "fit"]

Indices = NDArray[np.int64]
_FEW_FRAMES = 512  # a batch below this gains nothing from a second thread


@dataclass(frozen=True)
class Sides:
    """Utterance numbers of each side of a split.

    Attributes:
        train: (n,) numbers of utterances in the feature source.
        validation: as ``train``.
        test: as ``train``.
        tests: how many of the test side, one after another, are tested by themselves; empty for all of them
            together. What is tested with an utterance may change the last bit of its scores.
    """

    train: Indices
    validation: Indices
    test: Indices
    tests: tuple[int, ...] = ()


@dataclass(frozen=True)
class FitResult:
    """One trained model.

    Attributes:
        best_epoch: the epoch that is best in what the options select by, the first of equals; 0 for a model
            that diverged.
        best_score: the validation score of that epoch, larger is better; nan for a model that diverged.
        log: one entry an evaluation.
        test_scores: softmax probabilities of that epoch's model, (test utterances, k) in the order of the
            test side; none where nothing was to be tested.
        weights: that epoch's parameters by name.
        layer_weights: that epoch's share of each layer, (layers,); None for a head that mixes none.
    """

    best_epoch: int
    best_score: float
    log: tuple[EpochLog, ...]
    test_scores: NDArray[np.float64]
    weights: dict[str, NDArray[Any]]
    layer_weights: NDArray[Any] | None


def fit(
    source: FeatureSource,
    labels: Indices,
    sides: Sides,
    models: Sequence[Model],
    options: TrainingOptions,
    order_key: str,
    on_epoch: Callable[[int], None] = lambda _: None,
    *,
    trial: bool = False,
) -> dict[str, FitResult]:
    """Train models together, keep each one's best epoch, and test that once.

    Args:
        source: where features come from.
        labels: class number of every utterance in the source, (N,).
        sides: who trains, validates and is tested.
        models: what to train; their names differ.
        options: the settings they share.
        order_key: fixes the order of batches together with the epoch; name the split's seed and fold in it,
            and nothing of the models.
        on_epoch: called with the epoch's number after each epoch; a last time where all stopped early.
        trial: test nothing, and let a model diverge instead of raising: its score is then nan.

    Raises:
        TrainingError: a side is empty, a class has no training utterance, or a loss or score is not finite.
    """
    classes = int(labels.max()) + 1 if len(labels) else 0
    check_sides(sides, labels, classes)
    small = _is_small(source, sides, options)
    stacks = build_stacks(
        models,
        small or source.device.type == "cuda",
        width=source.width,
        classes=classes,
        options=options,
        steps=options.passes(len(sides.train)) * options.batches(len(sides.train)),
        device=source.device,
        dtype=source.dtype,
    )
    with _threads(1 if small else None):
        _train(source, labels, sides, stacks, options, order_key, on_epoch, trial=trial)
        _restore_best(stacks)
        tested = [None] * len(stacks) if trial else _test(source, sides, stacks)
    return {
        trainee.model.name: _result(stack, trainee, logits)
        for stack, logits in zip(stacks, tested, strict=True)
        for trainee in stack.trainees
    }


def _train(
    source: FeatureSource,
    labels: Indices,
    sides: Sides,
    stacks: Sequence[Stack],
    options: TrainingOptions,
    order_key: str,
    on_epoch: Callable[[int], None],
    *,
    trial: bool,
) -> None:
    """Epoch by epoch, until the last or until every model has stopped."""
    last = options.passes(len(sides.train))
    weights = _class_weights(labels[sides.train], options, source)
    started, since = time.perf_counter(), 0
    for epoch in range(1, last + 1):
        active = [stack for stack in stacks if stack.active]
        order = sides.train[batch_order(order_key, epoch, len(sides.train))]
        since += _train_epoch(source, labels, order, active, options, weights)
        if since >= options.steps_between or epoch == last:
            logits = _evaluate(source, sides.validation, active)
            seconds = (time.perf_counter() - started) / sum(len(stack.trainees) for stack in active)
            for stack, validated in zip(active, logits, strict=True):
                _judge(stack, epoch, validated, labels, sides, options, seconds, trial=trial)
            started, since = time.perf_counter(), 0
        on_epoch(epoch)
        if not any(stack.active for stack in stacks):
            on_epoch(last)
            return


def batch_order(key: str, epoch: int, count: int) -> Indices:
    """A permutation of ``range(count)`` that the key and the epoch fix, on every machine and for good.

    It sorts raw output of PCG64, whose stream NumPy promises to keep, unlike that of its shuffles.
    """
    seed = int.from_bytes(hashlib.sha256(f"{key}:{epoch}".encode()).digest(), "little")
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def _is_small(source: FeatureSource, sides: Sides, options: TrainingOptions) -> bool:
    """Whether a batch is so small that operations, not arithmetic, take the time; as of time means.

    By the training side alone: what is tested must not change how it is trained.
    """
    return float(source.lengths[sides.train].mean()) * options.batch_size < _FEW_FRAMES


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Set torch's threads, None for as many as it has; its own number is restored after.

    Small batches take one: threads wait for each other at every small operation, and on cores that others use
    too, that made an epoch of the linear head twenty times as slow (measured).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_sides(sides: Sides, labels: Indices, classes: int) -> None:
    """Refuse a split that cannot be trained on.

    Raises:
        TrainingError: a side is empty, or a class has no training utterance.
    """
    for name, indices in (("training", sides.train), ("validation", sides.validation), ("test", sides.test)):
        if not len(indices):
            raise TrainingError(f"the {name} side is empty; use another --split.")
    absent = np.flatnonzero(np.bincount(labels[sides.train], minlength=classes) == 0)
    if len(absent):
        raise TrainingError(f"class number {absent[0]} has no training utterance; use another --split.")


def _class_weights(truth: Indices, options: TrainingOptions, source: FeatureSource) -> torch.Tensor | None:
    """Weight of each class, (k,), with mean 1 over the training utterances; None where all weigh the same."""
    if options.class_weights == "none":
        return None
    counts = np.bincount(truth)
    weights = len(truth) / (len(counts) * counts)
    return torch.from_numpy(weights).to(device=source.device, dtype=source.dtype)


def _train_epoch(
    source: FeatureSource,
    labels: Indices,
    order: Indices,
    stacks: Sequence[Stack],
    options: TrainingOptions,
    weights: torch.Tensor | None,
) -> int:
    """One pass; returns the number of steps."""
    steps = options.batches(len(order))
    used = order[: steps * options.batch_size]
    for stack in stacks:
        stack.head.train()
    chosen = [used[start : start + options.batch_size] for start in range(0, len(used), options.batch_size)]
    for indices, batch in _batches(source, chosen):
        truth = torch.from_numpy(labels[indices]).to(source.device)
        train_batch(stacks, batch, truth, weights, len(indices) / len(used))
    for stack in stacks:
        stack.passes += 1
    return steps


def _batches(source: FeatureSource, chosen: Sequence[Indices]) -> Iterator[tuple[Indices, Batch]]:
    """Batch after batch; while one is worked on, the next is fetched from disk."""
    for indices, following in zip_longest(chosen, chosen[1:]):
        batch = source.batch(indices)
        if following is not None:
            source.prefetch(following)
        yield indices, batch


def _chunks(lengths: NDArray[np.int64], indices: Indices) -> Iterator[Indices]:
    """Consecutive pieces of ``indices`` that hold about ``EVALUATION_FRAMES`` frames each."""
    ends = np.cumsum(lengths[indices])
    start = 0
    while start < len(indices):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + EVALUATION_FRAMES, side="right"))
        yield indices[start : max(stop, start + 1)]
        start = max(stop, start + 1)


def _evaluate(source: FeatureSource, indices: Indices, stacks: Sequence[Stack]) -> list[torch.Tensor]:
    """Logits of every model without dropout, a stack each: (models, indices, k) on the CPU."""
    parts: dict[int, list[torch.Tensor]] = {id(stack): [] for stack in stacks}
    for stack in stacks:
        stack.head.eval()
    # Not inference_mode: the source's buffer may grow in here, and training must be able to use it after.
    with torch.no_grad():
        for _, batch in _batches(source, list(_chunks(source.lengths, indices))):
            for stack, logits in logits_of(stacks, batch):
                parts[id(stack)].append(logits)
    return [torch.cat(parts[id(stack)], dim=1).cpu() for stack in stacks]


def _test(source: FeatureSource, sides: Sides, stacks: Sequence[Stack]) -> list[torch.Tensor]:
    """Logits of the test side, as :func:`_evaluate`."""
    if not sides.tests:
        return _evaluate(source, sides.test, stacks)
    ends = np.cumsum(sides.tests)[:-1]
    parts = [_evaluate(source, indices, stacks) for indices in np.split(sides.test, ends)]
    return [torch.cat(logits, dim=1) for logits in zip(*parts, strict=True)]


def _judge(
    stack: Stack,
    epoch: int,
    logits: torch.Tensor,
    labels: Indices,
    sides: Sides,
    options: TrainingOptions,
    seconds: float,
    *,
    trial: bool,
) -> None:
    """Log an epoch of a stack's models, keep the parameters of those that are at their best, stop others."""
    truth = labels[sides.validation]
    train_losses = (stack.loss / stack.passes).tolist()
    stack.loss, stack.passes = torch.zeros_like(stack.loss), 0
    losses = cross_entropies(logits, torch.from_numpy(truth)).tolist()
    for trainee in stack.trainees:
        if trainee.stopped:
            continue
        train_loss, loss = train_losses[trainee.place], losses[trainee.place]
        rate = trainee.schedule.rate(stack.steps)
        if not (math.isfinite(train_loss) and math.isfinite(loss)):
            _diverge(trainee, epoch, rate, trial=trial)
            continue
        found = _validation_scores(truth, logits[trainee.place])
        entry = EpochLog(epoch, rate, train_loss, loss, found.macro_f1, found.ua, found.wa, seconds)
        trainee.log.append(entry)
        trainee.schedule.after_epoch(loss)
        _keep_if_best(stack, trainee, SELECTED_BY[options.select](entry), options)


def _diverge(trainee: Trainee, epoch: int, rate: float, *, trial: bool) -> None:
    if not trial:
        raise TrainingError(
            f"{trainee.model.name}: the loss is not finite in epoch {epoch} at learning rate "
            f"{rate:g}; look for damaged features with `ser cache verify`, or lower the learning rate."
        )
    trainee.stopped, trainee.best_epoch, trainee.best_score = True, 0, math.nan


def _validation_scores(truth: Indices, logits: torch.Tensor) -> Scores:
    names = [str(number) for number in range(logits.shape[1])]
    return score(truth, logits.argmax(dim=1).numpy(), names, present_only=True)


def _keep_if_best(stack: Stack, trainee: Trainee, value: float, options: TrainingOptions) -> None:
    if value > trainee.best_score:
        trainee.best_score, trainee.best_epoch = value, trainee.log[-1].epoch
        trainee.best = stack.head.state_of(trainee.place)
    elif options.patience is not None:
        after = sum(entry.epoch > trainee.best_epoch for entry in trainee.log)
        trainee.stopped = after >= options.patience


def _restore_best(stacks: Sequence[Stack]) -> None:
    for stack in stacks:
        states = [trainee.best or stack.head.state_of(trainee.place) for trainee in stack.trainees]
        stack.head.restore(states)


def _result(stack: Stack, trainee: Trainee, logits: torch.Tensor | None) -> FitResult:
    shares = stack.head.shares()
    scores = torch.zeros(0, 0) if logits is None else torch.softmax(logits[trainee.place].double(), dim=1)
    if not torch.isfinite(scores).all():  # they would pass for the first class
        name = trainee.model.name
        raise TrainingError(f"{name}: scores of the test side are not finite; see: ser cache verify")
    return FitResult(
        best_epoch=trainee.best_epoch,
        best_score=trainee.best_score,
        log=tuple(trainee.log),
        test_scores=scores.double().numpy(),
        weights={name: value.cpu().numpy() for name, value in trainee.best.items()},
        layer_weights=None if shares is None else shares[trainee.place].detach().cpu().numpy(),
    )
