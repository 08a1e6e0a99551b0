"""Runs of the same choices on other data: labels, audio, features or splits changed, and both are kept.

What such runs say must not be mixed, and the newest counts. Which is newest, the time of writing tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_cache.files import canonical_json
from ser_cache.results.config import RunData
from ser_cache.results.folder import Run


def newest_data(runs: Sequence[Run]) -> RunData:
    """The data of the run that was written last, of one at least; of equals, the last by name."""
    return max(runs, key=lambda run: (run.written, run.folder.name)).config.data


def stale_runs(runs: Sequence[Run]) -> frozenset[Path]:
    """The folders of the runs that have a newer one of the same choices on other data."""
    generations: dict[str, list[Run]] = {}
    for run in runs:
        generations.setdefault(canonical_json(run.config.choices()), []).append(run)
    return frozenset(
        run.folder
        for same in generations.values()
        for newest in (newest_data(same),)
        for run in same
        if run.config.data != newest
    )
