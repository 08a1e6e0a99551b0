"""What a cache holds, at a glance: for ``ser cache ls`` and ``ser models``. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_cache.errors import CacheError
from ser_cache.store.contents import current_rows
from ser_cache.store.fingerprint import Fingerprint, differences
from ser_cache.store.part import Part, open_part, part_paths, read_states
from ser_cache.store.schema import DONE, FAILED, PENDING, SAMPLES_PER_HOUR, STATES

_UNKNOWN = b"?"


@dataclass(frozen=True)
class CacheSummary:
    """One corpus under one backbone.

    Attributes:
        backbone: the folder of the backbone, variant included.
        corpus: the corpus.
        layers: stored layers, ascending; empty when no part could be read.
        width: features per frame; 0 when no part could be read.
        done: utterances with features.
        failed: utterances that could not be extracted.
        pending: utterances planned and not yet extracted.
        bytes: size of all parts.
        codec: how the hidden states are stored.
        fingerprint: what made the features; None when no part could be read.
        hours: hours of audio of the done utterances.
        damaged: what is wrong with the parts, or "".
    """

    backbone: str
    corpus: str
    layers: tuple[int, ...]
    width: int
    done: int
    failed: int
    pending: int
    bytes: int
    codec: str
    fingerprint: Fingerprint | None
    hours: float
    damaged: str

    @property
    def total(self) -> int:
        """Utterances planned: done, failed and pending."""
        return self.done + self.failed + self.pending

    @property
    def complete(self) -> bool:
        """Whether nothing is pending or damaged; failed utterances do not make a cache incomplete."""
        return not self.pending and not self.damaged

    @property
    def short(self) -> str:
        """The first digits of the fingerprint's digest."""
        return self.fingerprint.short if self.fingerprint else ""


def summaries(cache_root: Path) -> list[CacheSummary]:
    """Every corpus under every backbone of a cache, sorted; damage is reported in the row, never raised.

    Reads headers and states only. A cache folder that does not exist is an empty list.
    """
    folders = sorted(path for path in cache_root.glob("*/*") if path.is_dir())
    return [summarise(folder) for folder in folders if part_paths(folder)]


def summarise(folder: Path) -> CacheSummary:
    """Summarise ``<cache>/<backbone>/<corpus>``."""
    parts: list[Part] = []
    problems: list[str] = []
    for path in part_paths(folder):
        try:
            parts.append(open_part(path))
        except CacheError as error:
            problems.append(str(error))
    for part in parts[1:]:
        disagreement = differences(parts[0].fingerprint, part.fingerprint)
        if disagreement:
            problems.append(f"{part.path.name} and {parts[0].path.name} disagree: {'; '.join(disagreement)}")
    first = parts[0] if parts else None
    counts, hours = _count(parts)
    if counts[_UNKNOWN]:
        problems.append(
            f"{counts[_UNKNOWN]} rows have a damaged state; run `ser extract` again to redo them."
        )
    return CacheSummary(
        backbone=folder.parent.name,
        corpus=folder.name,
        layers=first.layers if first else (),
        width=first.width if first else 0,
        done=counts[DONE],
        failed=counts[FAILED],
        pending=counts[PENDING],
        bytes=sum(path.stat().st_size for path in part_paths(folder)),
        codec=str(first.fingerprint.storage["codec"]) if first else "",
        fingerprint=first.fingerprint if first else None,
        hours=hours,
        damaged=" ".join(problems),
    )


def _count(parts: Sequence[Part]) -> tuple[dict[bytes, int], float]:
    """Rows in each state, and the hours of audio of the done ones."""
    counts = dict.fromkeys((DONE, FAILED, PENDING, _UNKNOWN), 0)
    samples = 0
    found = [read_states(part) for part in parts]
    for part, all_states, current in zip(parts, found, current_rows(parts, found), strict=True):
        states = all_states[current]
        counts[_UNKNOWN] += int(np.count_nonzero(~np.isin(states, STATES)))
        for state in (DONE, FAILED, PENDING):
            counts[state] += int(np.count_nonzero(states == state))
        samples += int(part.samples[current][states == DONE].sum())
    return counts, samples / SAMPLES_PER_HOUR
