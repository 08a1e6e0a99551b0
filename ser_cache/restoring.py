"""Trained heads, back from a run's folder and ready to classify: one for each fold and seed wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ser_cache.errors import ResultsError, UnknownNameError
from ser_cache.heads import Head, HeadOptions, head_kind

if TYPE_CHECKING:
    from ser_cache.packing import Segments
    from ser_cache.results import Run


@dataclass(frozen=True)
class RestoredHead:
    """One trained model.

    Attributes:
        fold: name of the fold whose training side it saw.
        seed: of its initialisation and dropout.
        head: the model in evaluation mode, on the CPU.
    """

    fold: str
    seed: int
    head: Head


def restore_heads(
    run: Run, width: int, folds: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[RestoredHead]:
    """Load the models of a run.

    Args:
        run: what was trained.
        width: d, features per frame.
        folds: names of the folds wanted; empty for all.
        seeds: likewise.

    Raises:
        UnknownNameError: the run has no such fold, seed or kind of head.
        ResultsError: its weights are damaged, or do not fit its configuration.
    """
    known_folds, known_seeds = list(run.metrics["folds"]), list(run.config.seeds)
    for fold in folds:
        if fold not in known_folds:
            raise UnknownNameError("fold", fold, known_folds)
    for seed in seeds:
        if seed not in known_seeds:
            raise UnknownNameError("seed", str(seed), map(str, known_seeds))
    config = run.config
    kind = head_kind(config.head)
    path = run.folder / "weights.safetensors"
    restored = []
    try:
        tensors = load_file(path)
        options = HeadOptions(**config.protocol["head"])
        for fold in folds or known_folds:
            for seed in seeds or known_seeds:
                prefix = f"{fold}/{seed}/"
                state = {
                    name.removeprefix(prefix): value
                    for name, value in tensors.items()
                    if name.startswith(prefix)
                }
                head = kind(len(config.layers), width, len(config.classes), options, seed)
                head.load_state_dict(state)
                restored.append(RestoredHead(fold, seed, head.eval()))
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        what = " ".join(str(error).split())[:200]
        raise ResultsError(
            f"the weights in {path} do not fit the run's configuration ({what}); repeat it with --force."
        ) from error
    return restored


def class_scores(heads: Sequence[RestoredHead], frames: torch.Tensor, segments: Segments) -> torch.Tensor:
    """Classify utterances with every model.

    Args:
        heads: the models, all of one run.
        frames: packed, (layers, frames of all utterances, width) float32, on the models' device.
        segments: which frames belong to which utterance.

    Returns:
        Softmax probabilities, (models, utterances, k) float64, on the CPU.
    """
    with torch.no_grad():
        logits = torch.stack([one.head(frames, segments) for one in heads])
    return torch.softmax(logits.double().cpu(), dim=-1)
