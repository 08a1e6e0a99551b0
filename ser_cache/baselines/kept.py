"""Folds tested while their run is not finished: kept beside the runs, an interruption costs one fold.

A grid on a large corpus takes hours for each fold, and a run's folder is written when all are tested. What is
kept was made by the same code and versions on the same data; anything else is searched for again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_cache.files import sha256_of_value, source_digest, write_text

if TYPE_CHECKING:
    from ser_cache.results import RunConfig

WORTH_KEEPING = 2.0
"""Seconds that folds took, alone or together; what is quicker is sooner done again than flushed to disk."""

Told = dict[str, Any]
"""What one fold and seed came to, as JSON."""


class KeptSearches:
    """What is known of a run that is not finished."""

    def __init__(
        self, runs: Path, config: RunConfig, versions: Mapping[str, Any], *, forced: bool = False
    ) -> None:
        """Name the place; nothing is read or made yet.

        Args:
            runs: the folder of all runs.
            config: what makes the run.
            versions: what its results depend on beside configuration and code.
            forced: whether the run is repeated although it is there; such folds are kept apart.
        """
        self.folder = _folder_of(runs, config, forced=forced)
        self._unwritten: list[tuple[int, Told]] = []
        self._made_by = sha256_of_value({"code": source_digest(), **versions})

    def load(self, number: int) -> Told | None:
        """What was saved under a number; None where nothing was, or otherwise than it would be made now."""
        try:
            kept = json.loads(self._path(number).read_text(encoding="utf-8"))
            if kept["made_by"] != self._made_by or kept["digest"] != sha256_of_value(kept["told"]):
                return None
            return dict(kept["told"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: searching again replaces it

    def save(self, number: int, told: Told) -> None:
        """Keep what a fold came to; it is written when enough is gathered to be worth it."""
        self._unwritten.append((number, told))
        if sum(one["seconds"] for _, one in self._unwritten) < WORTH_KEEPING:
            return
        # The search needs none of this: where it cannot be written, the run itself will tell.
        with suppress(OSError):
            for place, one in self._unwritten:
                kept = {"made_by": self._made_by, "digest": sha256_of_value(one), "told": one}
                write_text(self._path(place), json.dumps(kept))
        self._unwritten.clear()

    def discard(self) -> None:
        """Forget all of it: the run is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.json"


def forget(runs: Path, config: RunConfig) -> None:
    """Remove what a kill left between writing a run and forgetting its folds."""
    shutil.rmtree(_folder_of(runs, config, forced=False), ignore_errors=True)


def _folder_of(runs: Path, config: RunConfig, *, forced: bool) -> Path:
    return runs / f".{config.run_id}{'.forced' if forced else ''}.searches"
