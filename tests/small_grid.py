"""Made-up caches of a published study's backbones and corpora, small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from small_parts import WIDTH, audio_hash, features, fingerprint, row, utterance

from ser_cache.manifest import Manifest, Utterance, write_manifest
from ser_cache.store import PartWriter, create_part

SPEAKERS, EMOTIONS = 6, ("anger", "fear", "neutral")
HUB = {"whisper-small": "openai/whisper-small", "wav2vec2-base": "facebook/wav2vec2-base"}


def manifest(corpus: str, emotions: Sequence[str] = EMOTIONS) -> Manifest:
    """Six speakers, each with two utterances of each emotion."""
    clips = [
        replace(utterance(f"{corpus}-s{speaker}-{emotion}-{take}"), speaker=f"s{speaker}", emotion=emotion)
        for speaker in range(SPEAKERS)
        for emotion in emotions
        for take in (0, 1)
    ]
    return Manifest(corpus, tuple(sorted(clips, key=lambda clip: clip.id)))


def save_manifest(folder: Path, made: Manifest) -> Manifest:
    """Write it to ``<folder>/<corpus>.csv``."""
    write_manifest(folder / f"{made.corpus}.csv", made)
    return made


def cache_features(
    cache: Path,
    backbone: str,
    made: Manifest,
    layers: Sequence[int] = tuple(range(13)),
    provenance: Mapping[str, Any] | None = None,
    finished: int | None = None,
    failing: int = 0,
    **storage: Any,
) -> None:
    """Cache noise with a trace of the emotion; a published name is said to come from the hub.

    Of the utterances only the first ``finished`` are cached; extraction of the last ``failing`` has failed.
    """
    origin = {"model": backbone, "hub_id": HUB.get(backbone, "")} if provenance is None else dict(provenance)
    part = create_part(
        cache / backbone / made.corpus / "part-0000.h5",
        fingerprint(layers=layers, **storage),
        [row(clip.id, 4) for clip in made.utterances],
        WIDTH,
        origin,
    )
    with PartWriter(part) as writer:
        whole = len(made.utterances) - failing
        for place, clip in enumerate(made.utterances[:finished]):
            assert clip.sha256 == audio_hash(clip.id)
            if place < whole:
                writer.write(place, _shifted(features(part, place), clip))
            else:
                writer.fail(place, "not audio")


def _shifted(values: dict[str, np.ndarray], clip: Utterance) -> dict[str, np.ndarray]:
    shift = 20 * EMOTIONS.index(clip.emotion) if clip.emotion in EMOTIONS else 0
    moved = {name: (array / 10 + shift).astype(array.dtype) for name, array in values.items()}
    return moved | {"std": np.abs(values["std"])}
