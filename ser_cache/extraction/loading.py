"""Decode and prepare audio in threads, ahead of the model and never far ahead."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ser_cache.audio import Recording
from ser_cache.errors import SerCacheError, SettingsError
from ser_cache.extractor import Extractor, Prepared
from ser_cache.manifest import Utterance, path_of

Loaded = TypeVar("Loaded")
LoadedBatch = tuple[Sequence[int], list["Prepared | Failure"]]
"""The rows of a batch, and each one's prepared audio or why there is none."""

_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Failure:
    """Why an utterance could not be loaded."""

    reason: str


def load(
    extractor: Extractor, read: Callable[[Path], Recording], root: Path, utterance: Utterance
) -> Prepared | Failure:
    """Decode one utterance, check that it is the manifest's, and prepare it for the model.

    A file that is missing, damaged, changed or too large for the memory gives a `Failure`; so does one that
    the extractor refuses.

    Raises:
        SettingsError: all audio has vanished, as of a disk that was taken away: no utterance is to blame.
    """
    try:
        recording = read(path_of(root, utterance))
        if recording.sha256 != utterance.sha256 or len(recording.samples) != utterance.samples:
            return Failure(
                f"{utterance.path} has changed since the manifest: make the manifest again, as it was made."
            )
        return extractor.prepare(recording.samples)
    except (MemoryError, RuntimeError) as error:
        from ser_cache.extraction.encoding import is_out_of_memory  # torch has errors of its own for it

        if not is_out_of_memory(error):
            raise
        return Failure(
            f"{utterance.path} does not fit into memory when it is decoded: split it, or extract on a "
            "machine with more of it."
        )
    except (SerCacheError, OSError) as error:
        if _has_vanished(root):
            raise SettingsError(
                f"{root} has vanished: bring it back, and run the same command again to go on from here."
            ) from error
        return Failure(str(error))


def demand_root(root: Path, corpus: str) -> None:
    """Check that a corpus's audio can be there.

    Raises:
        SettingsError: its folder is none.
    """
    if not root.is_dir():
        raise SettingsError(
            f"{root}, where the audio of {corpus} was, is not there; say where it is now: "
            f"ser manifest {corpus} ROOT"
        )


def _has_vanished(root: Path) -> bool:
    """Whether a folder is gone, or empty as the place of a disk that is no longer mounted."""
    try:
        return next(root.iterdir(), None) is None
    except OSError:
        return True


def load_ahead(
    batches: Sequence[Sequence[int]], load_one: Callable[[int], Loaded], threads: int
) -> Generator[tuple[Sequence[int], list[Loaded]], None, None]:
    """Yield each batch with its loaded members, while threads load the next batches.

    At most two batches are loaded or on their way beside the one handed out. Closing the iterator drops what
    has not begun.

    Args:
        batches: what to load, in order.
        load_one: loads one member; it must be thread-safe.
        threads: how many run at once.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode", initializer=_stay_single)
    waiting: deque[tuple[Sequence[int], list[Future[Loaded]]]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, [pool.submit(load_one, member) for member in batch]))
            if len(waiting) > _BATCHES_AHEAD:
                yield _collect(*waiting.popleft())
        while waiting:
            yield _collect(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _stay_single() -> None:
    """Keep torch from sharing one clip's spectrogram out between threads: the clips already are."""
    import torch

    torch.set_num_threads(1)


def _collect(batch: Sequence[int], futures: Sequence["Future[Loaded]"]) -> tuple[Sequence[int], list[Loaded]]:
    return batch, [future.result() for future in futures]
