"""Which precision a model computes in: the fastest whose error stays below that of storing the features.

A GPU is several times as fast in half precision as in fp32, and so are processors with matrix units for
bf16. What that costs depends on the model (a few channels of Whisper reach 500), so it is measured on audio
of the corpus, layer by layer, against the same model in fp32.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ser_cache.audio import SAMPLE_RATE, Recording, read
from ser_cache.errors import SerCacheError
from ser_cache.extraction.encoding import is_out_of_memory
from ser_cache.extraction.layers import ClipEncoder, element_type
from ser_cache.extractor import PRECISIONS, Extractor, Prepared
from ser_cache.manifest import path_of
from ser_cache.store import CODECS, Fingerprint, open_part, part_paths

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

EXACT = PRECISIONS[0]
CANDIDATES = {"cpu": ("bf16",), "cuda": ("fp16", "bf16")}
"""What is measured on each device: fp16 is slower than fp32 on a processor."""
SAMPLE_CLIPS = 4
"""Clips to measure on. The worst layer's error may double from one sample to the next (2.7 and 5.9% of bf16
in whisper-base were seen), which is far from the factor that decides."""
SAMPLE_SECONDS = 3.0
"""What is heard of each, so that all their layers fit into memory beside each other."""
LEAST_GAIN = 1.2
"""How many times as fast a precision must be; below, the noise of timing would decide."""
_TIMED_RUNS = 3


@dataclass(frozen=True)
class MeasuredPrecision:
    """One precision beside fp32, on some clips of the corpus.

    Attributes:
        precision: which.
        layer: the layer in which its error is largest beside that of the codec.
        error: its relative error there: the norm of the difference from fp32 over the norm.
        storage_error: the codec's relative error there.
        speed: how many times as fast as fp32.
    """

    precision: str
    layer: int
    error: float
    storage_error: float
    speed: float

    @property
    def accurate(self) -> bool:
        """Whether it changes the features less than storing them does, in every layer."""
        return self.error < self.storage_error


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision, and what speaks for it.

    Attributes:
        precision: one of ``PRECISIONS``.
        measured: the others, as measured; empty when nothing was.
    """

    precision: str
    measured: tuple[MeasuredPrecision, ...] = ()


def cached_precision(folder: Path) -> str | None:
    """The precision of the features in a folder of the cache; None when there are none.

    Raises:
        CacheError: a part is damaged.
    """
    paths = part_paths(folder)
    return str(open_part(paths[0]).fingerprint.features.get("precision", EXACT)) if paths else None


def choose_precision(
    extractor: Extractor,
    utterances: Sequence[Utterance],
    root: Path,
    fingerprint: Fingerprint,
    read_audio: Callable[[Path], Recording] = read,
) -> PrecisionChoice:
    """Measure every precision on a few clips and choose the fastest accurate one.

    Args:
        extractor: the model, in any precision.
        utterances: the corpus; the beginnings of a few clips are taken evenly from all of it.
        root: the folder of its audio.
        fingerprint: the layers, and the codec whose error is the measure.
        read_audio: decodes a file.
    """
    if fingerprint.storage["tier"] == "pooled" or fingerprint.storage["codec"] == "fp32":
        return PrecisionChoice(EXACT)  # whose rounding no other precision could stay below
    batch, frames = _sample(extractor, utterances, root, read_audio)
    if not batch:
        return PrecisionChoice(EXACT)
    try:
        return _choose(extractor, batch, frames, fingerprint)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return PrecisionChoice(EXACT)  # what fits is found out later, batch by batch


def _choose(
    extractor: Extractor, batch: Sequence[Prepared], frames: Sequence[int], fingerprint: Fingerprint
) -> PrecisionChoice:
    layers, codec = fingerprint.layers, str(fingerprint.storage["codec"])
    exact, exact_seconds = _states(extractor.at_precision(EXACT), batch, layers)
    storage = [_relative(_stored(states, frames, codec), states) for states in exact]
    measured = []
    for precision in CANDIDATES[exact[0].device.type]:
        rough, seconds = _states(extractor.at_precision(precision), batch, layers)
        errors = [_relative(*pair) for pair in zip(rough, exact, strict=True)]
        worst = max(range(len(layers)), key=lambda place: errors[place] / storage[place])
        speed = exact_seconds / seconds
        measured.append(MeasuredPrecision(precision, layers[worst], errors[worst], storage[worst], speed))
    better = [one for one in measured if one.accurate and one.speed >= LEAST_GAIN]
    chosen = max(better, key=lambda one: one.speed).precision if better else EXACT
    return PrecisionChoice(chosen, tuple(measured))


def _sample(
    extractor: Extractor, utterances: Sequence[Utterance], root: Path, read_audio: Callable[[Path], Recording]
) -> tuple[list[Prepared], list[int]]:
    """The beginnings of a few clips that can be read, evenly from the corpus; and their frames."""
    batch, frames = [], []
    for utterance in utterances[:: max(1, len(utterances) // SAMPLE_CLIPS)]:
        try:
            heard = read_audio(path_of(root, utterance)).samples[: int(SAMPLE_SECONDS * SAMPLE_RATE)]
            count = extractor.frames(len(heard))
            prepared = extractor.prepare(heard) if count else None
        except (SerCacheError, OSError):
            continue  # the extraction will say what is wrong with it
        if prepared is not None:
            batch.append(prepared)
            frames.append(count)
        if len(batch) == SAMPLE_CLIPS:
            break
    return batch, frames


def _states(
    extractor: Extractor, batch: Sequence[Prepared], layers: Sequence[int]
) -> tuple[list[torch.Tensor], float]:
    """The layers of a batch, and the least seconds of several runs after one that warms up."""
    states: list[torch.Tensor] = []
    extractor.forward(batch, layers, lambda _, layer: states.append(layer.clone()))
    seconds = []
    for _ in range(_TIMED_RUNS):
        _wait(states[0])
        started = time.perf_counter()
        extractor.forward(batch, layers, lambda *_: None)
        _wait(states[0])
        seconds.append(time.perf_counter() - started)
    return states, min(seconds)


def _wait(states: torch.Tensor) -> None:
    if states.device.type == "cuda":
        torch.cuda.synchronize(states.device)


def _stored(states: torch.Tensor, frames: Sequence[int], codec: str) -> torch.Tensor:
    """What storing leaves of one layer: (frames of all clips, width) to the same."""
    encoded = ClipEncoder(frames, CODECS[codec], average=1)(states)
    pieces = [piece.to(element_type(CODECS[codec])).float() for piece in encoded.hidden]
    if encoded.scale is not None:
        pieces = [piece * scale for piece, scale in zip(pieces, encoded.scale, strict=True)]
    return torch.cat(pieces)


def _relative(rough: torch.Tensor, fine: torch.Tensor) -> float:
    """The norm of the difference over the norm; infinite where something is not finite."""
    error = float((rough - fine).double().norm() / fine.double().norm())
    return math.inf if math.isnan(error) else error
