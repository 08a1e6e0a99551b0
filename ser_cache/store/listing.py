"""What a cache holds, at a glance: for ``ser cache ls`` and ``ser models``. Imports no torch."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import CacheError
from ser_cache.store.contents import current_rows, in_manifest, statuses
from ser_cache.store.fingerprint import Fingerprint, differences
from ser_cache.store.part import Part, open_part, part_paths, read_states
from ser_cache.store.schema import DONE, FAILED, PENDING, SAMPLES_PER_HOUR, STATES

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_UNKNOWN, _ABSENT = b"?", b"-"


def folder_called(name: str, folders: Collection[str]) -> str | None:
    """The folder that is meant by its own name, or by the hub id or folder its features were made from."""
    candidates = (name, name.replace("/", "--"), Path(name).name)
    return next((folder for folder in candidates if folder in folders), None)


@dataclass(frozen=True)
class CacheSummary:
    """One corpus under one backbone; where its manifest is known, beside what that asks for.

    Attributes:
        backbone: the folder of the backbone, variant included.
        corpus: the corpus.
        layers: stored layers, ascending; empty when no part could be read.
        width: features per frame; 0 when no part could be read.
        done: utterances with features; of a known manifest, those that are in it with the same audio, and so
            for the next two.
        failed: utterances that could not be extracted.
        pending: utterances planned and not yet extracted.
        bytes: size of all parts.
        reserved: how much of that is set aside for pending utterances, of which nothing is written.
        codec: how the hidden states are stored.
        fingerprint: what made the features; None when no part could be read.
        hours: hours of audio of the done utterances.
        damaged: what is wrong with the parts, or "".
        wanted: utterances of the manifest; None where it is not known.
        absent: utterances here that a known manifest does not have.
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
    wanted: int | None = None
    absent: int = 0
    reserved: int = 0

    @property
    def total(self) -> int:
        """Utterances of the manifest; where it is not known, those planned: done, failed and pending."""
        return self.done + self.failed + self.pending if self.wanted is None else self.wanted

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or damaged; failed utterances do not make a cache incomplete."""
        return self.done + self.failed == self.total and not self.damaged

    @property
    def short(self) -> str:
        """The first digits of the fingerprint's digest."""
        return self.fingerprint.short if self.fingerprint else ""


def summaries(
    cache_root: Path, manifests: Mapping[str, Sequence["Utterance"]] | None = None
) -> list[CacheSummary]:
    """Every corpus under every backbone of a cache, sorted; damage is reported in the row, never raised.

    Reads headers and states only. A cache folder that does not exist is an empty list.

    Args:
        cache_root: the cache.
        manifests: the utterances of each corpus whose manifest is known.
    """
    known = manifests or {}
    folders = sorted(path for path in cache_root.glob("*/*") if path.is_dir())
    return [summarise(folder, known.get(folder.name)) for folder in folders if part_paths(folder)]


def summarise(folder: Path, utterances: Sequence["Utterance"] | None = None) -> CacheSummary:
    """Summarise ``<cache>/<backbone>/<corpus>``, beside the manifest's utterances where they are known."""
    parts: list[Part] = []
    found: dict[Path, NDArray[np.bytes_]] = {}
    problems: list[str] = []
    for path in part_paths(folder):
        try:
            part = open_part(path)
            found[part.path] = read_states(part)
            parts.append(part)
        except CacheError as error:
            if path.exists():  # else a merge or an rm beside us has deleted it
                problems.append(str(error))
    for part in parts[1:]:
        disagreement = differences(parts[0].fingerprint, part.fingerprint)
        if disagreement:
            problems.append(f"{part.path.name} and {parts[0].path.name} disagree: {'; '.join(disagreement)}")
    first = parts[0] if parts else None
    counts, hours = _count(parts, [found[part.path] for part in parts], utterances)
    if counts[_UNKNOWN]:
        problems.append(f"rows of a damaged state: {counts[_UNKNOWN]}; run `ser extract` again to redo them.")
    return CacheSummary(
        backbone=folder.parent.name,
        corpus=folder.name,
        layers=first.layers if first else (),
        width=first.width if first else 0,
        done=counts[DONE],
        failed=counts[FAILED],
        pending=counts[PENDING],
        bytes=sum(status.st_size for status in statuses(part_paths(folder))),
        codec=str(first.fingerprint.storage["codec"]) if first else "",
        fingerprint=first.fingerprint if first else None,
        hours=hours,
        damaged=" ".join(problems),
        wanted=None if utterances is None else len(utterances),
        absent=counts[_ABSENT],
        reserved=sum(part.size_of(found[part.path] == PENDING) for part in parts),
    )


def _count(
    parts: Sequence[Part], found: Sequence[NDArray[np.bytes_]], utterances: Sequence["Utterance"] | None
) -> tuple[dict[bytes, int], float]:
    """Rows in each state, and the hours of audio of the done ones; see `CacheSummary` for which rows."""
    counts = dict.fromkeys((DONE, FAILED, PENDING, _UNKNOWN, _ABSENT), 0)
    samples = 0
    for part, all_states, current in zip(parts, found, current_rows(parts, found), strict=True):
        counts[_UNKNOWN] += int(np.count_nonzero(~np.isin(all_states[current], STATES)))
        wanted = current
        if utterances is not None:
            wanted = current & _same_audio(part, utterances)
            counts[_ABSENT] += int(np.count_nonzero(current & ~in_manifest(part, utterances)))
        states = all_states[wanted]
        for state in (DONE, FAILED, PENDING):
            counts[state] += int(np.count_nonzero(states == state))
        samples += int(part.samples[wanted][states == DONE].sum())
    return counts, samples / SAMPLES_PER_HOUR


def _same_audio(part: Part, utterances: Sequence["Utterance"]) -> NDArray[np.bool_]:
    """Which rows are of the audio that the manifest has for them; extraction redoes the others."""
    audio = {utterance.id: (utterance.sha256, utterance.samples) for utterance in utterances}
    rows = zip(part.ids, part.audio_sha256, part.samples.tolist(), strict=True)
    return np.array([audio.get(id_) == (sha256, samples) for id_, sha256, samples in rows], dtype=np.bool_)
