"""Run the model on several batches at once, and keep the results in order.

On a processor, two threads with a batch each are faster than one batch whose every product is shared out
between two threads: nothing waits for its neighbour at the end of each product, and the decoding beside it
takes time from one batch only. On a GPU, one thread queues the kernels of a batch while another waits for
the results of the batch before.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_BATCHES = 8  # in the model at once; each takes memory for its states


@dataclass(frozen=True)
class ModelThreads:
    """How the model is run.

    Attributes:
        batches: batches at once, each in a thread.
        inner: threads that share out each product of one batch.
    """

    batches: int
    inner: int


def model_threads(device: str) -> ModelThreads:
    """What suits a device: all processors this process may use, or two threads for a GPU."""
    if not device.startswith("cpu"):
        return ModelThreads(batches=2, inner=1)
    import torch

    processors = min(torch.get_num_threads(), usable_processors())
    inner = -(-processors // _MOST_BATCHES)
    return ModelThreads(processors // inner, inner)


def settle_vector_mathematics() -> None:
    """Use torch's vector mathematics once, in one thread, before several may.

    Where two threads are the first to use it at the same moment, MKL has not settled its accuracy for one of
    them: in about 1 of 100 processes the roots of some batches had four right digits
    (`benchmarks/first_use.py`).
    """
    import torch

    values = torch.ones(64)
    for function in (torch.sqrt, torch.exp, torch.log, torch.log10, torch.erf, torch.tanh, torch.sin):
        function(values)


def usable_processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Turns:
    """Many may run at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others; waits while somebody wants to be alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until everybody has left, and run while nobody may enter; never from inside `shared`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._is_alone = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()


def run_ahead(
    items: Iterable[Item], run: Callable[[Item], Result], threads: ModelThreads
) -> Generator[Result, None, None]:
    """Yield what ``run`` makes of each item, in order, while threads work on the next ones.

    An item is taken when a thread is about to be free for it. An error of ``run`` is raised in its turn.
    Closing the generator waits for the items that are being run.

    Args:
        items: what to run; asked for in the caller's thread.
        run: runs one item; it must be thread-safe.
        threads: how many at once.
    """
    import torch

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        threads.batches,
        thread_name_prefix="model",
        initializer=partial(torch.set_num_threads, threads.inner),
    )
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(run, item))
            if len(waiting) > threads.batches:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)  # threads made later would take over the last number set
