"""What an extraction has to do, from the manifest, the cache and the extractor's arithmetic alone.

No audio is read and no weights are loaded, so ``--dry-run`` costs nothing.
"""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ser_cache.audio import SAMPLE_RATE
from ser_cache.errors import CacheError, StaleCacheError, UnknownNameError
from ser_cache.extraction.options import ExtractionOptions
from ser_cache.extractor import PRECISION, Geometry
from ser_cache.manifest import Utterance
from ser_cache.store import (
    DONE,
    OVERHEAD,
    SCHEMA,
    SUPERSEDED,
    Fingerprint,
    Part,
    Row,
    check_agreement,
    differences,
    frame_bytes,
    next_number,
    open_part,
    part_paths,
    read_states,
    require_unlocked,
    require_writable,
    row_bytes,
    runs_within,
    serves,
    stored_frames,
)


class Outlined(Protocol):
    """What planning needs of an extractor; one whose weights are not loaded gives it too."""

    @property
    def name(self) -> str:
        """The extractor's folder in the cache, without the variant."""

    @property
    def variant(self) -> str:
        """What its non-default options add to that name, or ""."""

    @property
    def geometry(self) -> Geometry:
        """Layers and width."""

    @property
    def codec(self) -> str:
        """The number format its features are stored in unless the user says otherwise."""

    def frames(self, samples: int) -> int:
        """Frames for a clip of so many samples at 16 kHz."""


@dataclass(frozen=True)
class PartPlan:
    """What to do in one part.

    Attributes:
        path: the part's file.
        new_rows: the rows of a part that is yet to be created; None for one that exists.
        utterances: the manifest's utterance of each row, where the manifest still has it.
        missing: rows without features, ascending: pending, failed before, or of a damaged state.
    """

    path: Path
    new_rows: tuple[Row, ...] | None
    utterances: Mapping[int, Utterance]
    missing: tuple[int, ...]


@dataclass(frozen=True)
class ExtractionPlan:
    """What an extraction would do.

    Attributes:
        folder: ``<cache>/<backbone>[+variant]/<corpus>``.
        fingerprint: of the features in that folder; it may hold more layers than asked for.
        reused: utterances whose features are there already.
        todo: utterances to extract.
        parts: the parts with something to do, new ones last.
        superseded: rows to retire, by part: their audio has changed, a later part holds them too, or they
            have no features and their utterance left the manifest, which would leave the part incomplete for
            ever.
        frames: frames to extract.
        seconds: seconds of audio to extract.
        bytes: disk space that new parts will take.
        free: free bytes on the disk of the cache.
    """

    folder: Path
    fingerprint: Fingerprint
    reused: int
    todo: tuple[Utterance, ...]
    parts: tuple[PartPlan, ...]
    superseded: Mapping[Path, Sequence[int]]
    frames: int
    seconds: float
    bytes: int
    free: int

    def require_writable(self, lock: bool = True) -> None:
        """Check that the folder can be written to: nobody else does, and the file system lets us.

        Args:
            lock: whether the extraction will hold the folder's lock.

        Raises:
            LockedError: another process is writing there.
            CacheError: the file system is read-only, or the folder belongs to somebody else.
        """
        if lock:
            require_unlocked(self.folder)
        require_writable(self.folder)

    def require_space(self) -> None:
        """Check that the disk can hold the new parts.

        Raises:
            CacheError: it cannot; the message holds both sizes.
        """
        if self.bytes > self.free:
            raise CacheError(
                f"{self.folder} needs {_size(self.bytes)} and {_size(self.free)} are free: free some, choose "
                "fewer --layers, or set a cache on another disk with --cache."
            )


def wanted_fingerprint(
    outline: Outlined, options: ExtractionOptions, identity: Mapping[str, Any] | None = None
) -> Fingerprint:
    """The fingerprint that an extraction with these options gives its features.

    Raises:
        UnknownNameError: a layer that the extractor does not have.
    """
    known = outline.geometry.layers
    layers = known if options.layers is None else tuple(sorted(set(options.layers)))
    for layer in layers:
        if layer not in known:
            raise UnknownNameError(f"layer of {outline.name}", str(layer), map(str, known))
    pooled = options.tier == "pooled"
    storage = {
        "codec": "fp32" if pooled else options.codec or outline.codec,
        "layers": layers,
        "tier": options.tier,
        "frame_average": options.frame_average,
        "schema": SCHEMA,
    }
    return Fingerprint(features=identity or {}, storage=storage)


def plan(
    outline: Outlined,
    utterances: Sequence[Utterance],
    folder: Path,
    options: ExtractionOptions,
    identity: Mapping[str, Any] | None = None,
) -> ExtractionPlan:
    """Find out what there is to do, and change nothing.

    Args:
        outline: the extractor, or what is known of it before its weights are loaded.
        utterances: the manifest's utterances, in its order.
        folder: ``<cache>/<backbone>[+variant]/<corpus>``; it need not exist.
        options: the options of the extraction.
        identity: what makes the features; None when the weights are not at hand: then it is not compared.

    Raises:
        StaleCacheError: the folder holds features made otherwise; the message shows the differences.
        CacheError: a part is damaged.
        UnknownNameError: a layer that the extractor does not have.
    """
    wanted = wanted_fingerprint(outline, options, identity)
    parts = [open_part(path) for path in part_paths(folder)]
    fingerprint = _settle(folder, parts, wanted, identity)
    current = {utterance.id: utterance for utterance in utterances}
    placed: set[str] = set()
    superseded: dict[Path, list[int]] = {}
    plans: list[PartPlan] = []
    # From the last: where a killed merge left an utterance in two parts, readers take the later one.
    for part in reversed(parts):
        existing, retired = _plan_existing(part, current, placed)
        placed.update(utterance.id for utterance in existing.utterances.values())
        if retired:
            superseded[part.path] = retired
        if existing.missing:
            plans.insert(0, existing)
    fresh = [utterance for utterance in utterances if utterance.id not in placed]
    new = list(_plan_new(outline, fresh, folder, fingerprint, options))
    plans.extend(new)
    todo = tuple(part.utterances[row] for part in plans for row in part.missing)
    return ExtractionPlan(
        folder=folder,
        fingerprint=fingerprint,
        reused=len(utterances) - len(todo),
        todo=todo,
        parts=tuple(plans),
        superseded=superseded,
        frames=sum(outline.frames(utterance.samples) for utterance in todo),
        seconds=sum(utterance.samples for utterance in todo) / SAMPLE_RATE,
        bytes=sum(_bytes_of(part.new_rows or (), outline, fingerprint) for part in new),
        free=shutil.disk_usage(_nearest_existing(folder)).free,
    )


def _settle(
    folder: Path, parts: Sequence[Part], wanted: Fingerprint, identity: Mapping[str, Any] | None
) -> Fingerprint:
    """The fingerprint to extract under: the folder's own where it serves, so that its parts stay alike."""
    if not parts:
        return wanted
    check_agreement(parts)
    cached = parts[0].fingerprint
    if serves(comparable(cached, identity), wanted):
        return cached
    found = "; ".join(differences(comparable(cached, identity), wanted))
    elsewhere = "--cache" if folder.parent.name.startswith("mfcc") else "--name"  # MFCC have one name
    raise StaleCacheError(
        f"{folder} holds features made otherwise ({found}): choose another {elsewhere} for these, or delete "
        "that folder; nothing was changed."
    )


def comparable(cached: Fingerprint, identity: Mapping[str, Any] | None) -> Fingerprint:
    """Of a cached fingerprint, what an identity can be compared with.

    That is nothing without one, and all but the precision where it leaves that open.
    """
    if identity is None:
        return Fingerprint({}, cached.storage)
    features = {key: value for key, value in cached.features.items() if key != PRECISION or key in identity}
    return Fingerprint(features, cached.storage)


def _plan_existing(
    part: Part, current: Mapping[str, Utterance], placed: Collection[str]
) -> tuple[PartPlan, list[int]]:
    """What to do in a part that exists, and which of its rows to retire; ``placed`` are in later parts."""
    members: dict[int, Utterance] = {}
    missing: list[int] = []
    retired: list[int] = []
    for row, state in enumerate(read_states(part).tolist()):
        utterance = current.get(part.ids[row])
        if state == SUPERSEDED:
            continue
        if utterance is None:
            if state != DONE:  # done ones stay: their utterance may come back
                retired.append(row)
        elif utterance.id in placed or (utterance.sha256, utterance.samples) != (
            part.audio_sha256[row],
            int(part.samples[row]),
        ):
            retired.append(row)
        else:
            members[row] = utterance
            if state != DONE:
                missing.append(row)
    return PartPlan(part.path, None, members, tuple(missing)), retired


def _plan_new(
    outline: Outlined,
    utterances: Sequence[Utterance],
    folder: Path,
    fingerprint: Fingerprint,
    options: ExtractionOptions,
) -> Iterator[PartPlan]:
    """Split new utterances into parts, greedily and in order, so that a resumed run splits them alike."""
    per_frame = frame_bytes(fingerprint.storage, outline.geometry.width)
    rows = [
        Row(utterance.id, utterance.samples, utterance.sha256, outline.frames(utterance.samples))
        for utterance in utterances
    ]
    sizes = [stored_frames(fingerprint.storage, row.frames) * per_frame for row in rows]
    first = next_number(part_paths(folder))
    for number, run in enumerate(runs_within(sizes, options.part_bytes), start=first):
        members = dict(enumerate(utterances[run.start : run.stop]))
        new = tuple(rows[run.start : run.stop])
        yield PartPlan(folder / f"part-{number:04d}.h5", new, members, tuple(members))


def _bytes_of(rows: Sequence[Row], outline: Outlined, fingerprint: Fingerprint) -> int:
    width = outline.geometry.width
    per_row = row_bytes(fingerprint.storage, width) + max((len(row.id.encode()) for row in rows), default=0)
    frames = sum(stored_frames(fingerprint.storage, row.frames) for row in rows)
    return OVERHEAD + frames * frame_bytes(fingerprint.storage, width) + len(rows) * per_row


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
