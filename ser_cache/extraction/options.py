"""How to extract and store, whatever the model and the corpus are."""

from dataclasses import dataclass, field

from ser_cache.errors import CacheError, UnknownNameError
from ser_cache.extraction.running import usable_processors
from ser_cache.store import CODECS, LARGEST_PART, TIERS

_MOST_AVERAGED = 1_000_000  # frames, over five hours: each utterance is then its mean
_MOST_BATCH_SECONDS = 1_000_000
_MOST_THREADS = 8  # beyond these, decoding is ahead of any model


def _decode_threads() -> int:
    """As many as the processors this process may use, at most eight."""
    return min(_MOST_THREADS, usable_processors())


@dataclass(frozen=True)
class ExtractionOptions:
    """How to extract and store.

    Attributes:
        layers: the layers to store; None for all of the extractor's.
        codec: one of ``store.CODECS``; None for the extractor's own (fp32 for MFCC, else fp16).
        frame_average: store the mean of so many frames instead of each.
        tier: one of ``store.TIERS``: "frames" with their statistics, or "pooled": the statistics alone.
        batch_seconds: the most seconds of padded audio in a batch; a longer clip runs alone. None for what
            the part was begun with, or suits the device (see `batch_seconds_for`).
        decode_threads: threads that decode and prepare audio ahead of the model; by default the processors
            this process may use, at most 8.
        strict: stop at the first utterance that fails.
        lock: hold the folder's lock; False only where the file system cannot lock.
        part_bytes: the most bytes of hidden states in a part.
        flush_seconds: what is written is safe on disk at least this often.
    """

    layers: tuple[int, ...] | None = None
    codec: str | None = None
    frame_average: int = 1
    tier: str = "frames"
    batch_seconds: float | None = None
    decode_threads: int = field(default_factory=_decode_threads)
    strict: bool = False
    lock: bool = True
    part_bytes: int = LARGEST_PART
    flush_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.codec is not None and self.codec not in CODECS:
            raise UnknownNameError("codec", self.codec, CODECS)
        if self.tier not in TIERS:
            raise UnknownNameError("tier", self.tier, TIERS)
        if not 1 <= self.frame_average <= _MOST_AVERAGED:
            raise CacheError(f"--frame-average is {self.frame_average}; it must be 1 to {_MOST_AVERAGED:,}.")
        if self.tier == "pooled" and (self.codec, self.frame_average) != (None, 1):
            raise CacheError(
                "--tier pooled keeps time means in fp32 and no frames: --codec and --frame-average mean "
                "nothing to it; leave them out."
            )
        seconds = self.batch_seconds
        if seconds is not None and not 0 < seconds <= _MOST_BATCH_SECONDS:
            raise CacheError(
                f"--batch-seconds is {seconds:g}; it must be above 0 and at most {_MOST_BATCH_SECONDS:,}."
            )
        if self.decode_threads < 1:
            raise CacheError(f"{self.decode_threads} decoding threads cannot decode; give at least 1.")
