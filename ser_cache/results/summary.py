"""One line per run: what a table of results shows, from a run's stored metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_cache.results.folder import Run
from ser_cache.results.scoring import HEADLINE
from ser_cache.statistics import Interval, Spread


@dataclass(frozen=True)
class RunSummary:
    """One corpus, backbone and head, over folds and seeds; scores are fractions from 0 to 1.

    Attributes:
        corpus: name of the corpus.
        backbone: folder name of the backbone.
        head: name of the head.
        layers: those the head was fed.
        ua: unweighted accuracy, predictions pooled over folds; mean and standard deviation over seeds.
        wa: accuracy, likewise.
        macro_f1: over all of the run's emotions (one fold alone: those in its truth), likewise.
        weighted_f1: likewise.
        intervals: 95% confidence interval over test speakers of each of these four by name; empty for none.
        no_interval: why there is none; empty where there is one.
        speakers: on the test sides, all folds together.
        seeds: how many.
        folds: how many.
        utterances: tested, all folds together.
        reused: whether the run was there already.
        warnings: what must be known before believing the numbers, one line each.
        folder: the run's folder.
    """

    corpus: str
    backbone: str
    head: str
    layers: tuple[int, ...]
    ua: Spread
    wa: Spread
    macro_f1: Spread
    weighted_f1: Spread
    intervals: Mapping[str, Interval]
    no_interval: str
    speakers: int
    seeds: int
    folds: int
    utterances: int
    reused: bool
    warnings: tuple[str, ...]
    folder: Path


def summarise(run: Run, *, reused: bool = False, warnings: tuple[str, ...] = ()) -> RunSummary:
    """The row of a run."""
    pooled, interval = run.metrics["pooled"], run.metrics["interval"]
    count = len(run.config.seeds)
    spreads = {name: Spread(pooled["mean"][name], pooled["std"][name], count) for name in HEADLINE}
    caution = interval.get("caution", "")
    intervals = {}
    if "reason" not in interval:
        for name in HEADLINE:
            low, high = interval[name]
            intervals[name] = Interval(low, high, interval["level"], interval["speakers"])
    return RunSummary(
        corpus=run.config.corpus,
        backbone=run.config.backbone,
        head=run.config.head,
        layers=run.config.layers,
        **spreads,
        intervals=intervals,
        no_interval=interval.get("reason", ""),
        speakers=interval["speakers"],
        seeds=count,
        folds=len(run.metrics["folds"]),
        utterances=sum(row["support"] for row in run.metrics["per_class"]),
        reused=reused,
        warnings=(*warnings, caution) if caution else warnings,
        folder=run.folder,
    )
