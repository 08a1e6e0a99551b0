"""A quick, deterministic stand-in for a backbone, and a made-up corpus, for the tests of extraction."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_cache.audio import Recording
from ser_cache.errors import AudioError
from ser_cache.extractor import EmitLayer, Geometry
from ser_cache.manifest import Utterance

HOP = 320


@dataclass
class FakeExtractor:
    """States are a function of the audio, plus a trace of the batch's size and length.

    The trace stands for what batching does to the low bits of a real model, made large enough to see: a
    resumed run that forms another batch gives other features.
    """

    name: str = "fake"
    variant: str = ""
    codec: str = "fp16"
    geometry: Geometry = field(default_factory=lambda: Geometry((0, 1, 2), 4, 50.0))
    identity: Mapping[str, Any] = field(default_factory=lambda: {"weights": "abc", "context": "audio"})
    provenance: Mapping[str, str] = field(
        default_factory=lambda: {"model": "org/fake", "hub_id": "org/fake", "revision": "0" * 40}
    )
    seconds_per_batch: float = 0.0
    poison: Mapping[float, float] = field(default_factory=dict)
    """First sample of a clip: the value that layer 1 then holds."""
    batches: list[int] = field(default_factory=list)

    def at_precision(self, precision: str) -> FakeExtractor:
        return dataclasses.replace(self, identity={**self.identity, "precision": precision})

    def frames(self, samples: int) -> int:
        return samples // HOP

    def padded_samples(self, samples: int) -> int:
        return samples

    def prepare(self, audio: np.ndarray) -> np.ndarray:
        return audio

    def forward(self, batch: Sequence[np.ndarray], layers: Sequence[int], emit: EmitLayer) -> None:
        self.batches.append(len(batch))
        time.sleep(self.seconds_per_batch)
        trace = len(batch) + max(map(len, batch)) / HOP
        for layer in layers:
            emit(layer, torch.cat([torch.from_numpy(self.states(clip, layer, trace)) for clip in batch]))

    def states(self, clip: np.ndarray, layer: int, trace: float) -> np.ndarray:
        frames = clip[: self.frames(len(clip)) * HOP].reshape(-1, HOP)
        values = frames[:, : self.geometry.width] * (layer + 1) + np.float32(trace)
        if layer == 1 and float(clip[0]) in self.poison:
            values[-1, -1] = self.poison[float(clip[0])]
        return values.astype(np.float32)


@dataclass
class FakeCorpus:
    """Utterances whose "files" are seeds; files really exist only as far as `read` says so."""

    audio: dict[str, np.ndarray]

    @classmethod
    def make(cls, lengths: Sequence[int], seed: int = 0) -> FakeCorpus:
        generator = np.random.default_rng(seed)
        return cls(
            {
                f"clip{place:04d}": generator.standard_normal(length).astype(np.float32)
                for place, length in enumerate(lengths)
            }
        )

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        return tuple(
            Utterance(id_, f"{id_}.wav", "s1", "anger", "A", "it", len(audio), sha256(audio))
            for id_, audio in sorted(self.audio.items())
        )

    def read(self, path: Path) -> Recording:
        if path.stem not in self.audio:
            raise AudioError(f"{path} does not exist.")
        audio = self.audio[path.stem]
        return Recording(audio, sha256(audio))


def sha256(audio: np.ndarray) -> str:
    return hashlib.sha256(audio.tobytes()).hexdigest()
