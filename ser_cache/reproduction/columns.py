"""Which folder of the cache stands for which published backbone, and what speaks against comparing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_cache.errors import CacheError, UnknownNameError
from ser_cache.published import PublishedBackbone, Study
from ser_cache.store import CacheSummary, folder_called, open_part, part_paths

MIXING = ("multilayer",)
"""Heads of a study that read the layers 1..L, not the last one alone."""
_UNTRAINED = re.compile(r"untrained|random|dummy", re.IGNORECASE)  # in a name, not in the path to it
_LOSSY_CODECS = ("int8",)  # not fp16, which rounds to within 0.05%


@dataclass(frozen=True)
class Column:
    """A backbone of the grid.

    Attributes:
        folder: its folder in the cache, variant included; what would be its folder where nothing is cached.
        published: the backbone of the study that it stands for; None for a further one.
        untrained: whether its weights are random, by its name or by that of the model it was made from.
        doubt: why a difference from the published figure would mean nothing; empty where it means something.
        mixing_doubt: likewise, for heads that mix layers alone.
        notes: what else must be known before comparing.
    """

    folder: str
    published: PublishedBackbone | None
    untrained: bool = False
    doubt: str = ""
    mixing_doubt: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What tables call it; an untrained one is never shown without the word."""
        return f"{self.folder} (untrained)" if self.untrained else self.folder

    def doubt_about(self, head: str) -> str:
        """Why a difference from the published figure of this head would mean nothing; or empty."""
        return self.doubt or (self.mixing_doubt if head in MIXING else "")

    @property
    def remarks(self) -> tuple[str, ...]:
        """Doubts and notes, one line each."""
        mixing = "" if self.doubt else self.mixing_doubt
        return tuple(line for line in (self.doubt, mixing, *self.notes) if line)


def published_columns(
    study: Study, models: Sequence[str], cached: Sequence[CacheSummary], cache: Path
) -> tuple[Column, ...]:
    """A column for each published backbone that was asked for, and each variant named; all for no name.

    Args:
        study: the grid.
        models: aliases or hub ids of the study, or folders of the cache such as ``whisper-small+full``.
        cached: what the cache holds.
        cache: its root.

    Raises:
        UnknownNameError: a model that the study does not have.
    """
    folders = list(dict.fromkeys(summary.backbone for summary in cached))
    found = []
    for name in models or study.backbones:
        spec = _published(study, name)
        folder = name.replace("/", "--") if "+" in name else _folder_of(spec, folders, cached)
        found.append(_column(folder, spec, cached, cache))
    return tuple(dict.fromkeys(found))


def further_columns(names: Sequence[str], cached: Sequence[CacheSummary], cache: Path) -> tuple[Column, ...]:
    """Columns for backbones that no figure was published for, which are shown beside the others.

    Raises:
        UnknownNameError: nothing is cached under that name.
    """
    folders = {summary.backbone for summary in cached}
    found = []
    for name in names:
        folder = folder_called(name, folders)
        if folder is None:
            raise UnknownNameError("backbone", name, folders, "See: ser cache ls")
        found.append(_column(folder, None, cached, cache))
    return tuple(found)


def _published(study: Study, name: str) -> PublishedBackbone:
    base = name.partition("+")[0]
    for spec in study.backbones.values():
        if base in (spec.name, spec.hub_id, spec.hub_id.replace("/", "--")):
            return spec
    hint = f"A backbone that {study.name} does not have is shown beside with --also {name}."
    raise UnknownNameError("backbone", name, study.backbones, hint)


def _folder_of(spec: PublishedBackbone, folders: Sequence[str], cached: Sequence[CacheSummary]) -> str:
    """The alias; else the hub id's folder; else the variant that is cached for most corpora."""
    names = (spec.name, spec.hub_id.replace("/", "--"))
    for name in names:
        if name in folders:
            return name
    variants = [folder for folder in folders if folder.partition("+")[0] in names]
    corpora = {folder: sum(row.backbone == folder for row in cached) for folder in variants}
    return max(variants, key=lambda folder: (corpora[folder], folder), default=spec.name)


def _column(
    folder: str, spec: PublishedBackbone | None, cached: Sequence[CacheSummary], cache: Path
) -> Column:
    rows = [row for row in cached if row.backbone == folder]
    origin = _origin(rows, cache)
    made_from = str(origin.get("model", ""))
    untrained = any(_UNTRAINED.search(name) for name in (folder, Path(made_from).name))
    if spec is None or not rows:
        return Column(folder, spec, untrained)
    notes = []
    if folder != spec.name:
        notes.append(f"{folder} stands for {spec.name}")
    if spec.name.startswith("whisper") and any(_context(row) == "audio" for row in rows):
        notes.append(
            f"{folder} worked through the audio alone; transformers pads it to 30 s, for which extract with "
            "--whisper-context full"
        )
    if origin.get("hub_id") != spec.hub_id:
        source = made_from or "an unknown place"
        notes.append(
            f"{folder} was extracted from {source}, not from {spec.hub_id}: whether these are the published "
            "weights was not checked"
        )
    doubt = _doubt(folder, spec, rows, untrained=untrained)
    return Column(
        folder, spec, untrained, doubt, _mixing_doubt(folder, spec, rows), (*notes, *_lossy(folder, rows))
    )


def _context(row: CacheSummary) -> object:
    return row.fingerprint.features.get("context") if row.fingerprint else None


def _doubt(folder: str, spec: PublishedBackbone, rows: Sequence[CacheSummary], *, untrained: bool) -> str:
    if untrained:
        return f"{folder} is untrained (random weights): its figures are not compared"
    last = {row.layers[-1] for row in rows if row.layers}
    if last - {spec.layers}:
        return (
            f"the last layer cached of {folder} is {min(last)}, that of {spec.name} is {spec.layers}: "
            "its figures are not compared"
        )
    return ""


def _mixing_doubt(folder: str, spec: PublishedBackbone, rows: Sequence[CacheSummary]) -> str:
    """The study's head mixes all of 1..L; over fewer it is another head."""
    all_ = range(1, spec.layers + 1)
    absent = {layer for row in rows if row.layers for layer in all_ if layer not in row.layers}
    if not absent:
        return ""
    return (
        f"{folder} lacks {len(absent)} of the layers 1 to {spec.layers} ({_listed(absent)}), all of which "
        f"the paper's {MIXING[0]} head mixes: its figures are not compared"
    )


def _listed(layers: Iterable[int]) -> str:
    """Numbers with neighbours as a range: ``1-5, 7``."""
    ordered = sorted(layers)
    first = [layer for layer in ordered if layer - 1 not in ordered]
    last = [layer for layer in ordered if layer + 1 not in ordered]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(first, last, strict=True))


def _lossy(folder: str, rows: Sequence[CacheSummary]) -> list[str]:
    """What is kept with a loss that may show in the figures; time means are taken before any of it.

    Where time means alone are kept, nothing is lost to the heads that can be trained, and the plan says which
    cannot.
    """
    stored = [row.fingerprint.storage for row in rows if row.fingerprint]
    framed = [storage for storage in stored if storage["tier"] != "pooled"]
    codecs = sorted({str(storage["codec"]) for storage in framed} & set(_LOSSY_CODECS))
    averages = sorted({int(storage["frame_average"]) for storage in framed} - {1})
    manners = [f"in {codec}" for codec in codecs]
    manners += [f"as means of {frames} frames" for frames in averages]
    return [f"{folder} is stored {manner}: heads that read frames read these" for manner in manners]


def _origin(rows: Sequence[CacheSummary], cache: Path) -> Mapping[str, Any]:
    """What the first readable part says about where its model came from."""
    for row in rows:
        for path in part_paths(cache / row.backbone / row.corpus):
            with suppress(CacheError):
                return open_part(path).provenance
    return {}
