"""Named training protocols: the settings of a study under one name, stored with every run.

What a study does that a cache of features cannot redo stands beside its settings, and is said with its
results.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ser_cache.errors import UnknownNameError
from ser_cache.heads import HeadOptions
from ser_cache.learning_rate_search import RateSearchOptions
from ser_cache.schedules import ScheduleOptions
from ser_cache.training_options import TrainingOptions

_PAPER_HEADS = ("linear", "nonlinear", "multilayer")


@dataclass(frozen=True)
class Protocol:
    """How heads are shaped and trained.

    Attributes:
        name: what the run says it followed.
        source: the publication, and the code where it was read.
        head: shape of the heads.
        training: how they are trained.
        heads: the study's own, which are trained where none is asked for.
        standardise: of the features; a name in ``standardising.STANDARDISATIONS``.
        search: how the learning rate is searched for, for each fold and head; None for the training's own.
        differs: what the study does otherwise and a run of ours does not, one line each.
    """

    name: str
    source: str
    head: HeadOptions = field(default_factory=HeadOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    heads: tuple[str, ...] = _PAPER_HEADS
    standardise: str = "none"
    search: RateSearchOptions | None = None
    differs: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """Every setting that decides a result as JSON: a run does not depend on what a name means later."""
        return {
            "name": self.name,
            "head": asdict(self.head),
            "standardise": self.standardise,
            "training": _listed(asdict(self.training)),
            "search": None if self.search is None else asdict(self.search),
        }


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: what is written must equal what is read back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "dasaro2024",
            "D'Asaro et al., CLiC-it 2024, sections 3 and 4.2; batch size, dropout and best epoch are ours",
        ),
        Protocol(
            "peft-ser",
            "Feng and Narayanan, PEFT-SER, ACII 2023; its code at usc-sail/peft-ser",
            heads=("multilayer",),
            training=TrainingOptions(
                select="ua",
                class_weights="inverse",
                drop_last=True,
                schedule=ScheduleOptions("plateau", factor=0.5, patience=5, floor=5e-5),
            ),
            differs=(
                "PEFT-SER feeds padding without an attention mask, extraction hides it",
                "PEFT-SER adds noise and time masks to the audio, which a cache cannot",
                "PEFT-SER trains with the frozen backbone's dropout on, which a cache cannot",
                "PEFT-SER hears the first 6 s of a clip: extract with --max-seconds 6",
                "PEFT-SER feeds waveforms as they are: extract with --normalise no",
                "PEFT-SER hears the first channel of a clip, extraction averages all",
            ),
        ),
        Protocol(
            "pepino2021",
            "Pepino et al., Interspeech 2021; its code at habla-liaa/ser-with-w2v2",
            heads=("pepino",),
            head=HeadOptions(hidden=128, dropout=0.2),
            standardise="speaker",
            training=TrainingOptions(
                epochs=100,
                learning_rate=1e-4,
                weight_decay=0.0,
                betas=(0.9, 0.999),
                epsilon=1e-7,
                select="loss",
                patience=4,
                clip_value=1.0,
            ),
            differs=(
                "standardised by speaker, all clips of a test speaker are needed at once, as in the study",
                "the study cuts clips to 5 s (RAVDESS) or 8 s (IEMOCAP): extract with --max-seconds",
                "parameters start as torch's do (Kaiming), not as Keras's (Glorot, biases 0)",
                # Which files and commits: docs/probing.md.
                "dropout 0.2 is in the study's code, but not in the configuration that its script names",
            ),
        ),
        Protocol(
            "superb",
            "Yang et al., SUPERB, Interspeech 2021; its code at s3prl/s3prl",
            heads=("superb",),
            training=TrainingOptions(
                steps=30_000,
                learning_rate=1e-4,
                weight_decay=0.0,
                betas=(0.9, 0.999),
                select="wa",
                steps_between=1_000,
                clip_norm=1.0,
            ),
            differs=("SUPERB validates on clips of training speakers; the split here is as --split says",),
        ),
        Protocol(
            "ser",
            "ours: standardised features, the learning-rate search of Wang et al. 2023, early stopping",
            standardise="global",
            training=TrainingOptions(epochs=60, patience=10),
            search=RateSearchOptions(),
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        UnknownNameError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
