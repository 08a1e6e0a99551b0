"""Train the cells of one corpus and backbone; runs that are there already are reused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.store import open_features

if TYPE_CHECKING:
    from ser_cache.probing import Progress
    from ser_cache.reproduction.planning import Job, Plan
    from ser_cache.results import RunSummary


def run_job(
    plan: Plan,
    job: Job,
    cache: Path,
    runs: Path,
    places: Sequence[str] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[RunSummary]:
    """Probe one corpus and backbone under the study's protocol.

    Args:
        plan: what the job is part of.
        job: which cells.
        cache: root of the cache.
        runs: folder of all runs.
        places: what a command in a message needs to find the same folders.
        on_progress: called after every epoch.

    Returns:
        One summary per head.

    Raises:
        SerCacheError: the features or the corpus do not allow it; see :func:`ser_cache.probing.probe`.
    """
    from ser_cache.probing import ProbeOptions, probe
    from ser_cache.protocols import protocol_named

    options = ProbeOptions(
        heads=job.heads,
        split=plan.options.split,
        seeds=plan.options.seeds,
        protocol=protocol_named(plan.study.protocol),
        device=plan.options.device,
        force=plan.options.force,
    )
    folder = cache / job.column.folder / job.manifest.corpus
    with open_features(folder, job.manifest.utterances, places) as features:
        return probe(features, job.manifest, options, runs, on_progress)
