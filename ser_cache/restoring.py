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
from ser_cache.results import checked_path
from ser_cache.results.contents import STANDARDISATION, WEIGHTS

if TYPE_CHECKING:
    from ser_cache.packing import Segments
    from ser_cache.results import Run


@dataclass(frozen=True)
class RestoredHead:
    """One trained model.

    Attributes:
        fold: name of the fold whose training side it saw.
        seed: of its initialisation and dropout.
        head: the model in evaluation mode, a stack of one, on the CPU.
        standardise: mean and deviation, (layers, width) each, of the features it was trained on; None where
            they were as the backbone gave them.
    """

    fold: str
    seed: int
    head: Head
    standardise: tuple[torch.Tensor, torch.Tensor] | None = None


def require_models(run: Run, folds: Sequence[str] = (), seeds: Sequence[int] = ()) -> None:
    """Make sure, from a run's configuration alone, that the wanted models exist and can hear new audio.

    Args:
        run: what was trained.
        folds: names of the folds wanted; empty for all.
        seeds: likewise.

    Raises:
        UnknownNameError: the run has no such fold or seed.
        ResultsError: its features were standardised within each speaker, which new audio has not; or it is
            of a classical classifier, which is not kept.
    """
    if "grid" in run.config.protocol:
        raise ResultsError(
            f"{run.folder.name} is a baseline, and {run.config.head} models are not kept: scikit-learn "
            "stores them as code that loading would run. Choose a run of ser probe."
        )
    if run.config.protocol.get("standardise") == "speaker":
        raise ResultsError(
            f"{run.folder.name} was trained on features standardised within each speaker, and who speaks in "
            "new audio is not known; train it with --standardise global or none."
        )
    for fold in folds:
        if fold not in run.metrics["folds"]:
            raise UnknownNameError("fold", fold, run.metrics["folds"])
    for seed in seeds:
        if seed not in run.config.seeds:
            raise UnknownNameError("seed", str(seed), map(str, run.config.seeds))


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
        ResultsError: its weights are damaged, or do not fit its configuration; or its features were
            standardised within each speaker, which new audio has not.
    """
    require_models(run, folds, seeds)
    known_folds, known_seeds = list(run.metrics["folds"]), list(run.config.seeds)
    config = run.config
    how = config.protocol.get("standardise", "none")
    kind = head_kind(config.head)
    path = checked_path(run, WEIGHTS)
    restored = []
    try:
        tensors = load_file(path)
        moments = load_file(checked_path(run, STANDARDISATION)) if how == "global" else {}
        options = HeadOptions(**config.protocol["head"])
        for fold in folds or known_folds:
            for seed in seeds or known_seeds:
                prefix = f"{fold}/{seed}/"
                state = {
                    name.removeprefix(prefix): value
                    for name, value in tensors.items()
                    if name.startswith(prefix)
                }
                head = kind(len(config.layers), width, len(config.classes), options, [seed])
                head.restore([state])
                pair = (moments[f"{fold}/mean"], moments[f"{fold}/deviation"]) if moments else None
                restored.append(RestoredHead(fold, seed, head.eval(), pair))
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
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
        logits = torch.cat([_logits(one, frames, segments) for one in heads])
    return torch.softmax(logits.double().cpu(), dim=-1)


def _logits(one: RestoredHead, frames: torch.Tensor, segments: Segments) -> torch.Tensor:
    if one.standardise is not None:
        mean, deviation = (values.to(frames.device)[:, None] for values in one.standardise)
        frames = (frames - mean) / deviation
    return one.head.classify_layers(frames, segments)
