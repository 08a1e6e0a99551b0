"""What baselines to train, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from ser_cache.baselines.protocols import BaselineProtocol, protocol_named
from ser_cache.splits import SplitOptions

DEFAULT = ("svm", "rf")


@dataclass(frozen=True)
class BaselineOptions:
    """What to train.

    Attributes:
        classifiers: names in ``classifiers.CLASSIFIERS``.
        layers: the cached layers to take features from, a run for each; empty for the last one.
        split: how the corpus is divided; train and validation are both trained on.
        protocol: how candidates are compared, on which functionals of the frames.
        seeds: of classifiers with chance in them; the others are trained once.
        jobs: threads, or processes for forests; no result depends on them.
        force: repeat runs that are there already.
    """

    classifiers: tuple[str, ...] = DEFAULT
    layers: tuple[int, ...] = ()
    split: SplitOptions = field(default_factory=SplitOptions)
    protocol: BaselineProtocol = field(default_factory=lambda: protocol_named("classical"))
    seeds: tuple[int, ...] = (0,)
    jobs: int = 1
    force: bool = False


@dataclass(frozen=True)
class Progress:
    """How far all runs of a corpus are, in candidates trained for one inner fold.

    Attributes:
        done: of them.
        total: of them.
        what: classifier, layer, fold and seed that are worked on, as far as there are several; or that frames
            are read.
    """

    done: int
    total: int
    what: str
