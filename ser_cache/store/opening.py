"""Find the features of some utterances among the parts of a folder.

Stage 2 has no weights, so it checks what it can see: that the parts of a corpus agree, and that the audio
behind each row is the manifest's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.errors import CacheError, StaleCacheError
from ser_cache.store.commands import remake_of
from ser_cache.store.failures import read_failures
from ser_cache.store.fingerprint import differences
from ser_cache.store.lock import naming_the_writer
from ser_cache.store.part import Part, open_part, part_paths, read_states
from ser_cache.store.reader import CachedFeatures
from ser_cache.store.schema import DONE, FAILED, SUPERSEDED

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_DIGITS = 12


def open_features(
    folder: Path, utterances: Sequence[Utterance], places: Sequence[str] = ()
) -> CachedFeatures:
    """Open the features of some utterances of one corpus under one backbone.

    Args:
        folder: ``<cache>/<backbone>[+variant]/<corpus>``.
        utterances: the utterances wanted, in the order wanted. Rows of others are ignored.
        places: what a command in a message needs to find the same folders, such as ``--cache`` and a folder.

    Raises:
        CacheError: nothing is cached there, parts are damaged or disagree, or utterances are missing.
        StaleCacheError: features were made from other audio than the manifest's.
        LockedError: another process is taking parts away, as a merge does.
    """
    with naming_the_writer(folder):
        parts = [open_part(path) for path in part_paths(folder)]
        located = _locate(parts)
    again = remake_of(folder, parts).command(places)
    if not parts:
        raise CacheError(f"{folder} holds no features: run {again}.")
    check_agreement(parts)
    rows: list[tuple[int, int]] = []
    ids: list[str] = []
    failed: list[str] = []
    missing = 0
    for utterance in utterances:
        part, row, state = located.get(utterance.id, (0, 0, b""))
        if state in (DONE, FAILED) and (found := _audio_difference(parts[part], row, utterance)):
            raise StaleCacheError(
                f"{folder} was made from another recording of {utterance.id!r} ({found}): run {again}, which "
                "redoes the changed ones only."
            )
        if state == DONE:
            ids.append(utterance.id)
            rows.append((part, row))
        elif state == FAILED:
            failed.append(utterance.id)
        else:
            missing += 1
    if missing:
        raise CacheError(f"{folder} is incomplete: {missing} of {len(utterances)} missing, run {again}.")
    reasons = read_failures(folder) if failed else {}
    return CachedFeatures(
        parts, ids, rows, {id_: reasons.get(id_, "no reason is recorded") for id_ in failed}
    )


def _audio_difference(part: Part, row: int, utterance: Utterance) -> str:
    """How the audio behind a row differs from the manifest's, or ""."""
    if part.audio_sha256[row] != utterance.sha256:
        ours, theirs = part.audio_sha256[row][:_DIGITS], utterance.sha256[:_DIGITS]
        return f"audio hash: cache {ours}, manifest {theirs}"
    if (samples := int(part.samples[row])) != utterance.samples:  # the same file, decoded otherwise
        return f"samples at 16 kHz: cache {samples}, manifest {utterance.samples}"
    return ""


def check_agreement(parts: Sequence[Part]) -> None:
    """Check that the parts of one folder hold the same kind of features.

    Raises:
        StaleCacheError: two parts differ in fingerprint; the message shows how.
    """
    for part in parts[1:]:
        found = differences(parts[0].fingerprint, part.fingerprint)
        if found:
            raise StaleCacheError(
                f"{parts[0].path} and {part.path.name} were made differently ({'; '.join(found)}): delete "
                "one of them and run `ser extract` again."
            )


def _locate(parts: Sequence[Part]) -> dict[str, tuple[int, int, bytes]]:
    """Where each id's current row is: ``(part, row, state)``."""
    located: dict[str, tuple[int, int, bytes]] = {}
    for number, part in enumerate(parts):
        for row, state in enumerate(read_states(part).tolist()):
            if state != SUPERSEDED:
                located[part.ids[row]] = (number, row, state)
    return located
