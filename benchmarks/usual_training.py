"""Heads trained the usual way: a Dataset of .npy files, a DataLoader that pads, one model a run.

It is written as users of s3prl and of PEFT-SER's code write it, and with care: only the layers that a head
reads leave the disk, batches are padded to their longest utterance and no further, the loss is read once an
epoch, and worker processes are used where they pay. Nothing of ser_cache is in it but the score
and the options.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from ser_cache.heads import HeadOptions
from ser_cache.metrics import score
from ser_cache.training import Sides, TrainingOptions

Item = tuple[torch.Tensor, int]
PaddedBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def layers_read(head: str) -> slice:
    """Which layers of a file that holds layers 0..L a head of the paper reads."""
    return slice(1, None) if head == "multilayer" else slice(-1, None)


class NpyDataset(Dataset[Item]):
    """One fp32 .npy file an utterance, (layers, frames, width), and its class."""

    def __init__(self, files: Sequence[Path], labels: NDArray[np.int64], layers: slice) -> None:
        self.files, self.labels, self.layers = files, labels, layers

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        states = np.load(self.files[index], mmap_mode="r")
        return torch.from_numpy(np.array(states[self.layers])), int(self.labels[index])


def pad(items: Sequence[Item]) -> PaddedBatch:
    """States (utterances, layers, longest, width), their lengths, and the classes."""
    layers, _, width = items[0][0].shape
    lengths = torch.tensor([states.shape[1] for states, _ in items])
    padded = torch.zeros(len(items), layers, int(lengths.max()), width)
    for row, (states, _) in zip(padded, items, strict=True):
        row[:, : states.shape[1]] = states
    return padded, lengths, torch.tensor([label for _, label in items])


class UsualHead(nn.Module):
    """A head of D'Asaro et al. 2024 on padded states, in the order of the paper, with a masked mean."""

    def __init__(self, head: str, layers: int, width: int, classes: int, options: HeadOptions) -> None:
        super().__init__()
        m, dropout = options.hidden, options.dropout
        self.mix = nn.Parameter(torch.zeros(layers)) if head == "multilayer" else None
        if head == "linear":
            self.frame: nn.Module = nn.Linear(width, m)
            self.out: nn.Module = nn.Linear(m, classes)
        else:
            blocks = [nn.Linear(width, m), nn.ReLU(), nn.Dropout(dropout)]
            blocks += [nn.Linear(m, m), nn.ReLU(), nn.Dropout(dropout), nn.Linear(m, m)]
            self.frame = nn.Sequential(*blocks)
            self.out = nn.Sequential(nn.Linear(m, m), nn.ReLU(), nn.Linear(m, classes))

    def forward(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Classify (utterances, layers, frames, width)."""
        if self.mix is None:
            frames = states[:, -1]
        else:
            frames = torch.einsum("l,bltd->btd", torch.softmax(self.mix, 0), states)
        mask = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
        pooled = (self.frame(frames) * mask[..., None]).sum(1) / lengths[:, None]
        logits: torch.Tensor = self.out(pooled)
        return logits


def adam(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Torch's Adam as it comes, with the protocol's settings."""
    return torch.optim.Adam(
        model.parameters(),
        lr=options.learning_rate,
        betas=options.betas,
        eps=options.epsilon,
        weight_decay=options.weight_decay,
    )


@dataclass(frozen=True)
class UsualCase:
    """What is trained on.

    Attributes:
        files: one an utterance.
        labels: class numbers, (N,).
        sides: who trains, validates and is tested.
        classes: k.
        device: where the model is.
    """

    files: Sequence[Path]
    labels: NDArray[np.int64]
    sides: Sides
    classes: int
    device: torch.device

    def loader(self, side: NDArray[np.int64], layers: slice, batch: int, workers: int) -> DataLoader[Item]:
        """A side in batches; the training side shuffled anew in each epoch."""
        chosen = NpyDataset([self.files[place] for place in side], self.labels[side], layers)
        return DataLoader(
            chosen,
            batch,
            shuffle=side is self.sides.train,
            num_workers=workers,
            collate_fn=pad,
            pin_memory=self.device.type == "cuda",
            persistent_workers=workers > 0,
        )


@dataclass(frozen=True)
class UsualRun:
    """Where the time of one run went, in seconds, and what its best epoch scored.

    Attributes:
        setup: model, optimiser and loaders.
        epochs: of each epoch, validation included.
        test: of testing the best epoch.
        macro_f1: on the test side.
    """

    setup: float
    epochs: tuple[float, ...]
    test: float
    macro_f1: float

    def seconds_for(self, epochs: int) -> float:
        """Of a run of so many epochs: those that were run, the rest at the mean of those after the first."""
        rest = self.epochs[1:] or self.epochs
        return self.setup + sum(self.epochs) + (epochs - len(self.epochs)) * float(np.mean(rest)) + self.test


def train_usually(
    case: UsualCase, head: str, shape: HeadOptions, options: TrainingOptions, seed: int, workers: int
) -> UsualRun:
    """Train one model for ``options.epochs`` epochs, and test the one with the best validation macro F1."""
    started = perf_counter()
    torch.manual_seed(seed)
    layers = layers_read(head)
    train, validation, test = (
        case.loader(side, layers, options.batch_size, workers)
        for side in (case.sides.train, case.sides.validation, case.sides.test)
    )
    count, _, width = np.load(case.files[0], mmap_mode="r")[layers].shape
    model = UsualHead(head, count, width, case.classes, shape).to(case.device)
    optimiser = adam(model, options)
    setup, epochs = perf_counter() - started, []
    best, best_f1 = copy.deepcopy(model.state_dict()), -1.0
    for _ in range(options.epochs):
        started = perf_counter()
        model.train()
        total = torch.zeros((), device=case.device)
        for batch in train:
            states, lengths, truth = (part.to(case.device, non_blocking=True) for part in batch)
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(states, lengths), truth)
            loss.backward()
            optimiser.step()
            total += loss.detach()
        assert total.isfinite()
        macro_f1 = _macro_f1(model, validation, case.device)
        if macro_f1 > best_f1:
            best, best_f1 = copy.deepcopy(model.state_dict()), macro_f1
        epochs.append(perf_counter() - started)
    started = perf_counter()
    model.load_state_dict(best)
    tested = _macro_f1(model, test, case.device)
    return UsualRun(setup, tuple(epochs), perf_counter() - started, tested)


def _macro_f1(model: nn.Module, loader: DataLoader[Item], device: torch.device) -> float:
    model.eval()
    predicted, truths = [], []
    with torch.no_grad():
        for batch in loader:
            states, lengths, truth = (part.to(device, non_blocking=True) for part in batch)
            logits = model(states, lengths)
            predicted.append(logits.argmax(1).cpu())
            truths.append(truth.cpu())
    names = [str(number) for number in range(logits.shape[1])]
    return score(torch.cat(truths).numpy(), torch.cat(predicted).numpy(), names, present_only=True).macro_f1
