"""Runs of the same choices on other data: labels, audio, features or splits changed, and both are kept.

What such runs say must not be mixed, and the newest counts. Which is newest, the time of writing tells, or
that of using a run again after its data had changed and changed back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ser_cache.errors import ResultsError
from ser_cache.files import canonical_json, write_json
from ser_cache.results.config import RunData
from ser_cache.results.folder import USED, Run, list_runs, read_run

Stale = Mapping[Path, tuple[str, ...]]
"""The folders of runs that are stale, or perhaps are, each with its reasons: REPLACED, or what has changed
since; UNKNOWN alone where that could not be found out."""
REPLACED = "replaced"
"""A newer run of the same choices is on other data."""
UNKNOWN = "unknown"
"""What the run rests on is here and cannot be read."""


def is_stale(reasons: Sequence[str]) -> bool | None:
    """Whether a run with these reasons is stale; None where that is unknown."""
    return None if tuple(reasons) == (UNKNOWN,) else bool(reasons)


def newest_data(runs: Sequence[Run]) -> RunData:
    """The data of the run that was written or used again last; of equals, the last by name."""
    return max(runs, key=lambda run: run.recency).config.data


def keep_current(folder: Path, reused: Sequence[Run]) -> None:
    """Let runs that were used again count as newer than those on other data that came in between.

    Args:
        folder: of all runs.
        reused: those whose data are the present ones.
    """
    if not reused:
        return
    prefixes = tuple({run.config.prefix for run in reused})
    beside = []
    for path in list_runs(folder):
        if path.name.startswith(prefixes):
            with suppress(ResultsError):  # a damaged neighbour is named where it is asked for
                beside.append(read_run(path))
    stale = stale_runs(beside)
    for run in reused:
        if run.folder in stale:
            # What cannot be noted, in a folder that is read-only, changes a table's marks and no number.
            with suppress(OSError):
                write_json(run.folder / USED, {"used": datetime.now(UTC).isoformat(timespec="microseconds")})


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
