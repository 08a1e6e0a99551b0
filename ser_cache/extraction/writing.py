"""Store batches in a thread behind the model, with a short queue, so that the disk never piles up memory."""

import queue
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from ser_cache.store import PartWriter

Outcome = Mapping[str, NDArray[Any]] | str
"""What became of an utterance: its features, or the reason why it has none."""

_BATCHES_WAITING = 1  # so at most three are in memory: encoded, waiting, being written


class BackgroundWriter:
    """Hands outcomes to a `PartWriter` in a thread of its own.

    A context manager: leaving it waits until everything handed over is stored, and a Ctrl-C meanwhile is
    raised after that. An error of the writer stops the thread's work and is raised by the next `store`, or on
    leaving.

    Args:
        writer: the part's writer; nobody else may use it meanwhile.
        flush_seconds: an idle thread commits this often.
    """

    def __init__(self, writer: PartWriter, flush_seconds: float) -> None:
        self._writer = writer
        self._flush_seconds = flush_seconds
        self._queue: queue.Queue[Sequence[tuple[int, Outcome]] | None] = queue.Queue(_BATCHES_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def store(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
        """Queue one batch's rows and outcomes; waits while another is queued already."""
        self._raise()
        self._queue.put(outcomes)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if error is None:
            self._raise()

    def _end(self) -> None:
        """Wait for the thread, whatever interrupts that: the caller closes the writer next."""
        interrupt: BaseException | None = None
        while self._thread.is_alive():
            try:
                # Not for ever: an interrupted round's `None` may fill the queue of a thread that is gone.
                self._queue.put(None, timeout=1.0)
                self._thread.join()
            except queue.Full:
                continue
            except BaseException as error:  # noqa: BLE001 - raised again once nobody else uses the writer
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            try:
                outcomes = self._queue.get(timeout=self._flush_seconds)
            except queue.Empty:
                outcomes = ()
            if outcomes is None:
                return
            if self._error is not None:
                continue  # keep emptying the queue, or `store` would wait for ever
            try:
                self._store(outcomes)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that owns this writer
                self._error = error

    def _store(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
        for row, outcome in outcomes:
            if isinstance(outcome, str):
                self._writer.fail(row, outcome)
            else:
                self._writer.write(row, outcome)
        if not outcomes:
            self._writer.commit()
