"""Train models on features: one `fit`, which knows neither a corpus nor a cache.

Several models may train together over one pass of the data: each batch is read once and every model takes its
step on it. They share the batches and nothing else, so a model's result is the same alone and in company. The
settings are those of D'Asaro et al. 2024, section 4.2, and of the PEFT-SER settings it refers to.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ser_cache import __version__
from ser_cache.errors import TrainingError
from ser_cache.metrics import score
from ser_cache.packing import EVALUATION_FRAMES, FeatureSource

if TYPE_CHECKING:
    from ser_cache.heads import Head

Indices = NDArray[np.int64]
_FEW_FRAMES = 512  # a batch below this gains nothing from a second thread


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained.

    Attributes:
        epochs: passes over the training data.
        learning_rate: of Adam.
        weight_decay: coupled, that is, added to the gradient.
        betas: decay of Adam's two averages.
        epsilon: added to Adam's denominator.
        batch_size: utterances a step; the last, shorter batch of an epoch is used too.
    """

    epochs: int = 30
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    batch_size: int = 32


@dataclass(frozen=True)
class Sides:
    """Utterance numbers of each side of a split.

    Attributes:
        train: (n,) numbers of utterances in the feature source.
        validation: as ``train``.
        test: as ``train``.
    """

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class EpochLog:
    """What one epoch of one model came to.

    Attributes:
        epoch: from 1.
        train_loss: mean cross-entropy over the training utterances, as the epoch went, with dropout.
        validation_loss: mean cross-entropy over the validation utterances after the epoch.
        validation_macro_f1: over the classes present in the validation truth.
        validation_ua: unweighted accuracy on the validation side.
        seconds: wall time of the epoch, shared equally among the models that trained together.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_macro_f1: float
    validation_ua: float
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """One trained model.

    Attributes:
        best_epoch: the epoch with the best validation macro F1, the first of equals.
        log: one entry an epoch.
        test_scores: softmax probabilities of that epoch's model, (test utterances, k) in the order of the
            test side.
        weights: that epoch's parameters by name.
        layer_weights: that epoch's share of each layer, (layers,); None for a head that mixes none.
    """

    best_epoch: int
    log: tuple[EpochLog, ...]
    test_scores: NDArray[np.float64]
    weights: dict[str, NDArray[Any]]
    layer_weights: NDArray[Any] | None


@dataclass
class _Trainee:
    """A model in training, with what belongs to it alone."""

    name: str
    model: Head
    optimiser: torch.optim.Optimizer
    log: list[EpochLog] = field(default_factory=list)
    loss: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    best_f1: float = -1.0
    best_epoch: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def fit(
    source: FeatureSource,
    labels: Indices,
    sides: Sides,
    models: Mapping[str, Head],
    options: TrainingOptions,
    order_key: str,
    on_epoch: Callable[[int], None] = lambda _: None,
) -> dict[str, FitResult]:
    """Train models together, keep each one's best epoch, and test that once.

    Args:
        source: where features come from.
        labels: class number of every utterance in the source, (N,).
        sides: who trains, validates and is tested.
        models: freshly drawn heads by name, on the source's device; they are trained in place.
        options: the settings they share.
        order_key: fixes the order of batches together with the epoch; name the split's seed and fold in it,
            and nothing of the models.
        on_epoch: called with the epoch's number after each epoch.

    Raises:
        TrainingError: a side is empty, a class has no training utterance, or a loss is not finite.
    """
    classes = int(labels.max()) + 1 if len(labels) else 0
    _check_sides(sides, labels, classes)
    trainees = [_Trainee(name, model, _adam(model, options)) for name, model in models.items()]
    with _suitable_threads(source, options):
        for epoch in range(1, options.epochs + 1):
            started = time.perf_counter()
            order = sides.train[batch_order(order_key, epoch, len(sides.train))]
            _train_epoch(source, labels, order, trainees, options.batch_size)
            logits = _evaluate(source, sides.validation, trainees)
            seconds = (time.perf_counter() - started) / len(trainees)
            for trainee, validated in zip(trainees, logits, strict=True):
                _judge(trainee, epoch, validated, labels, sides, options, seconds)
            on_epoch(epoch)
        return _test(source, sides.test, trainees)


def batch_order(key: str, epoch: int, count: int) -> Indices:
    """A permutation of ``range(count)`` that the key and the epoch fix, on every machine and for good.

    It sorts raw output of PCG64, whose stream NumPy promises to keep, unlike that of its shuffles.
    """
    seed = int.from_bytes(hashlib.sha256(f"{key}:{epoch}".encode()).digest(), "little")
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def environment(device: torch.device) -> dict[str, Any]:
    """What a result may depend on beside its configuration, as JSON: versions, threads, device."""
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "ser_cache": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": device.type,
        "device_name": named,
        "platform": platform.platform(),
    }


@contextmanager
def _suitable_threads(source: FeatureSource, options: TrainingOptions) -> Iterator[None]:
    """One thread where batches are small, as of time means; torch's own number is restored after.

    Threads wait for each other at every small operation; on cores that others use too, that made an epoch of
    the linear head twenty times as slow (measured).
    """
    threads = torch.get_num_threads()
    small = float(source.lengths.mean()) * options.batch_size < _FEW_FRAMES
    torch.set_num_threads(1 if small else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_sides(sides: Sides, labels: Indices, classes: int) -> None:
    for name, indices in (("training", sides.train), ("validation", sides.validation), ("test", sides.test)):
        if not len(indices):
            raise TrainingError(f"the {name} side is empty; use another --split.")
    absent = np.flatnonzero(np.bincount(labels[sides.train], minlength=classes) == 0)
    if len(absent):
        raise TrainingError(f"class number {absent[0]} has no training utterance; use another --split.")


def _adam(model: Head, options: TrainingOptions) -> torch.optim.Optimizer:
    # The fused step is one pass over each tensor; the default's many small ones dominate small heads.
    return torch.optim.Adam(
        model.parameters(),
        lr=options.learning_rate,
        betas=options.betas,
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=True,
    )


def _train_epoch(
    source: FeatureSource, labels: Indices, order: Indices, trainees: Sequence[_Trainee], batch_size: int
) -> None:
    for trainee in trainees:
        trainee.model.train()
        trainee.loss = torch.zeros((), device=source.device)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = source.batch(chosen)
        truth = torch.from_numpy(labels[chosen]).to(source.device)
        for trainee in trainees:
            trainee.optimiser.zero_grad()
            loss = functional.cross_entropy(trainee.model(batch.frames, batch.segments), truth)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            trainee.optimiser.step()
            # Summed on the device and read once an epoch: reading each step would make a GPU wait.
            trainee.loss = trainee.loss + loss.detach() * (len(chosen) / len(order))


def _chunks(lengths: NDArray[np.int64], indices: Indices) -> Iterator[slice]:
    """Consecutive slices of ``indices`` that hold about ``EVALUATION_FRAMES`` frames each."""
    ends = np.cumsum(lengths[indices])
    start = 0
    while start < len(indices):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + EVALUATION_FRAMES, side="right"))
        yield slice(start, max(stop, start + 1))
        start = max(stop, start + 1)


def _evaluate(source: FeatureSource, indices: Indices, trainees: Sequence[_Trainee]) -> list[torch.Tensor]:
    """Logits of every model without dropout, (indices, k) on the CPU."""
    parts: list[list[torch.Tensor]] = [[] for _ in trainees]
    for trainee in trainees:
        trainee.model.eval()
    # Not inference_mode: the source's buffer may grow in here, and training must be able to use it after.
    with torch.no_grad():
        for chunk in _chunks(source.lengths, indices):
            batch = source.batch(indices[chunk])
            for part, trainee in zip(parts, trainees, strict=True):
                part.append(trainee.model(batch.frames, batch.segments))
    return [torch.cat(part).cpu() for part in parts]


def _judge(
    trainee: _Trainee,
    epoch: int,
    logits: torch.Tensor,
    labels: Indices,
    sides: Sides,
    options: TrainingOptions,
    seconds: float,
) -> None:
    """Log an epoch and keep its parameters where it is the best so far."""
    truth = labels[sides.validation]
    train_loss = float(trainee.loss)
    validation_loss = float(functional.cross_entropy(logits, torch.from_numpy(truth)))
    if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
        raise TrainingError(
            f"{trainee.name}: the loss is not finite in epoch {epoch} at learning rate "
            f"{options.learning_rate:g}; lower the learning rate, or check the features."
        )
    names = [str(number) for number in range(logits.shape[1])]
    scores = score(truth, logits.argmax(dim=1).numpy(), names, present_only=True)
    trainee.log.append(EpochLog(epoch, train_loss, validation_loss, scores.macro_f1, scores.ua, seconds))
    if scores.macro_f1 > trainee.best_f1:
        trainee.best_f1, trainee.best_epoch = scores.macro_f1, epoch
        trainee.best = {name: value.clone() for name, value in trainee.model.state_dict().items()}


def _test(source: FeatureSource, indices: Indices, trainees: Sequence[_Trainee]) -> dict[str, FitResult]:
    for trainee in trainees:
        trainee.model.load_state_dict(trainee.best)
    results = {}
    for trainee, logits in zip(trainees, _evaluate(source, indices, trainees), strict=True):
        shares = trainee.model.layer_weights
        results[trainee.name] = FitResult(
            best_epoch=trainee.best_epoch,
            log=tuple(trainee.log),
            test_scores=torch.softmax(logits.double(), dim=1).numpy(),
            weights={name: value.cpu().numpy() for name, value in trainee.best.items()},
            layer_weights=None if shares is None else shares.cpu().numpy(),
        )
    return results
