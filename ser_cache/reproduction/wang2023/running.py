"""Run what of the study a cache of MFCC suffices for, as `ser baseline` and `ser cluster` would.

A run that is there already is reused, whichever command made it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.baselines import BaselineOptions, Progress, baseline, protocol_named
from ser_cache.clustering import ClusterOptions, StoredClustering, cluster
from ser_cache.reproduction.wang2023.study import CLASSIFIERS
from ser_cache.splits import SplitOptions

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features
    from ser_cache.manifest import Manifest
    from ser_cache.results import RunSummary

BY_UTTERANCE, NEW_SPEAKERS, CLUSTERS = "by utterance", "new speakers", "clusters"
"""The parts that need features: classifiers tested in two ways, and k-means."""
PROTOCOLS = {BY_UTTERANCE: "wang2023", NEW_SPEAKERS: "classical"}
"""The baseline protocol of each way of testing."""


@dataclass(frozen=True)
class StudyOptions:
    """What to run, and how.

    Attributes:
        classifiers: our names, in the order of the study.
        features: MFCC, by the name of their folder in the cache.
        held_out: how speakers are held out beside the study's split; None leaves this out.
        split_seed: of the study's split.
        seeds: of forests and of k-means.
        jobs: threads; no result depends on them.
        force: run again what is there already.
    """

    classifiers: tuple[str, ...] = tuple(CLASSIFIERS)
    features: str = "mfcc"
    held_out: SplitOptions | None = field(default_factory=lambda: held_out("speaker", 0))
    split_seed: int = 0
    seeds: tuple[int, ...] = (0,)
    jobs: int = 1
    force: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """What is run of each corpus, quick things first."""
        tested = (BY_UTTERANCE, NEW_SPEAKERS) if self.held_out else (BY_UTTERANCE,)
        return (CLUSTERS, *tested)

    def baseline(self, part: str) -> BaselineOptions:
        """How classifiers are trained and tested in one of the two ways.

        Raises:
            KeyError: the part is not one of them.
        """
        protocol = protocol_named(PROTOCOLS[part])
        split = study_split(self.split_seed) if part == BY_UTTERANCE else self.held_out
        return BaselineOptions(
            classifiers=self.classifiers,
            split=split or SplitOptions(),
            protocol=protocol,
            seeds=self.seeds,
            jobs=self.jobs,
            force=self.force,
        )


def study_split(seed: int) -> SplitOptions:
    """The study's way of dividing: 70/30 by utterance."""
    protocol = protocol_named(PROTOCOLS[BY_UTTERANCE])
    return SplitOptions(protocol.split, seed, protocol.ratios)


def held_out(kind: str, seed: int) -> SplitOptions:
    """A split that holds speakers out; one of a single draw tests as large a share as the study's."""
    return SplitOptions(kind, seed, study_split(seed).ratios)


def classify(
    part: str,
    features: Features,
    manifest: Manifest,
    options: StudyOptions,
    runs: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[RunSummary]:
    """Train and test the study's classifiers on one corpus; a run that is there is reused.

    Args:
        part: ``BY_UTTERANCE`` or ``NEW_SPEAKERS``.
        features: cached MFCC of the corpus.
        manifest: the corpus.
        options: what to run.
        runs: the folder of all runs.
        on_progress: called as candidates of the grids are done.

    Returns:
        One summary a classifier.

    Raises:
        SerCacheError: the corpus or its features do not allow it; see :func:`ser_cache.baselines.baseline`.
    """
    return baseline(features, manifest, options.baseline(part), runs, on_progress)


def cluster_as_study(
    features: Features,
    manifest: Manifest,
    options: StudyOptions,
    runs: Path,
    on_progress: Callable[[int, int, str], None] = lambda _done, _total, _what: None,
) -> StoredClustering:
    """k-means on standardised MFCC with as many clusters as emotions; a clustering that is there is reused.

    Args:
        features: cached MFCC of the corpus.
        manifest: the corpus.
        options: what to run.
        runs: the folder of all runs.
        on_progress: told how many steps are done of how many, and the step.

    Raises:
        ClusteringError: the corpus or its features do not allow it.
    """
    (found,) = cluster(
        features,
        manifest,
        features.layers[-1:],
        ClusterOptions(seeds=options.seeds),
        runs,
        force=options.force,
        progress=on_progress,
    )
    return found
