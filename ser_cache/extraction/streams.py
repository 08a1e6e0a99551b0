"""Queues of work on a GPU, so that no batch waits for another batch's kernels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_idle: dict[str, list[torch.cuda.Stream]] = {}
"""Queues that nobody uses, by device.

They are lent again and never thrown away: what a queue has freed, PyTorch keeps for that queue, and a working
space of cuBLAS too, so that new queues for the threads of every part would take more of the GPU's memory with
each part.
"""


@contextmanager
def own_stream(device: str) -> Iterator[None]:
    """A queue of this thread's own for as long as the block lasts; none on a processor.

    Leave it only when everything that was queued has come to its end, or the next who gets it waits for that.

    Args:
        device: as torch writes it, such as "cuda:0".
    """
    if not (device.startswith("cuda") and torch.cuda.is_available()):
        yield
        return
    with _lock:
        idle = _idle.setdefault(device, [])
        stream = idle.pop() if idle else torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch leaves it untyped
    try:
        # The weights were moved, and perhaps computed, in the default queue, which otherwise nobody awaits.
        stream.wait_stream(torch.cuda.default_stream(device))
        with torch.cuda.stream(stream):
            yield
    finally:
        with _lock:
            idle.append(stream)
