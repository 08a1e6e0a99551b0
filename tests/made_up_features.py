"""Features of a made-up corpus, as probing asks the cache for them, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_cache.manifest import Utterance

EMOTIONS = ("anger", "fear", "neutral")
WIDTH = 8


@dataclass(frozen=True)
class Digest:
    digest: str = "a" * 64


class Features:
    """What the cache gives, made up: three layers, of which the last two tell the emotions apart."""

    backbone, corpus, width, frame_average = "whisper-small", "toy", WIDTH, 1
    tier, scaled = "frames", False

    def __init__(self, utterances: Sequence[Utterance], layers=(0, 1, 2), failed=None, noise=1.0):
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(len(EMOTIONS), WIDTH))
        self.layers, self.failed, self.fingerprint = layers, failed or {}, Digest()
        self.origin = {"features": {"family": "toy"}, "storage": {}, "provenance": {}}
        usable = [u for u in utterances if u.id not in self.failed]
        self.ids = tuple(u.id for u in usable)
        self.states, self.announced = [], []
        for u in usable:
            shift = centres[EMOTIONS.index(u.emotion)] if u.emotion in EMOTIONS else 0
            states = rng.normal(size=(len(layers), int(rng.integers(2, 7)), WIDTH)) * noise
            states[-2:] += shift
            self.states.append(states.astype(np.float16))
        self.frames = np.array([states.shape[1] for states in self.states])

    def hidden(self, index, layers=None):
        states = self.states[index]
        view = states if layers is None else states[[self.layers.index(layer) for layer in layers]]
        view.flags.writeable = False
        return view

    def announce(self, indices, layers=None):
        self.announced.append(tuple(indices))

    def group_sizes(self, index):
        return np.ones(self.frames[index], dtype=np.int64)

    def mean(self, layer):
        place = self.layers.index(layer)
        return np.stack([states[place].astype(np.float32).mean(axis=0) for states in self.states])

    def means(self, indices, layers):
        return np.stack([self.mean(layer)[indices] for layer in layers])

    def std(self, layer):
        place = self.layers.index(layer)
        return np.stack([states[place].astype(np.float32).std(axis=0) for states in self.states])


def utterances(speakers=5, each=3, emotions=EMOTIONS):
    return tuple(
        Utterance(f"s{s}-{e}-{n}", "a.wav", f"s{s}", e, "x", "it", 16000, "")
        for s in range(speakers)
        for e in sorted(emotions)
        for n in range(each)
    )
