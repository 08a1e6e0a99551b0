"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the program happens to be. Inside a finaliser or a weak reference's
callback nothing can be raised: it is printed as "ignored" and gone, and the command runs to its end (seen in
one of twelve interrupted extractions). So the wish is remembered, and raised again where progress is shown.

What an interrupted command leaves behind differs: commands that can go on say what they have kept.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GO_ON = "run the same command to go on"
KEPT = {
    "audit": f"what was measured is kept: {GO_ON}",
    "probe": f"finished runs and folds are kept, but for the last seconds: {GO_ON}",
    "cluster": f"finished layers are kept: {GO_ON}",
    "reproduce": f"finished runs and folds are kept, but for the last seconds: {GO_ON}",
    "baseline": f"finished runs and folds are kept, but for the last seconds: {GO_ON}",
    "demo": f"what is finished is kept: {GO_ON}",
}
"""What a command leaves behind whenever it is interrupted; others say it as they go, or leave nothing."""

_asked = threading.Event()
_left: list[str] = []


@contextmanager
def remembered() -> Iterator[None]:
    """Remember Ctrl-C inside; where it is ignored, as in the background of a shell, it stays so."""
    _asked.clear()
    _left.clear()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _remember)
    hook = sys.unraisablehook

    def tell_others(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:  # which is remembered: its traceback would mislead
            hook(unraisable)

    sys.unraisablehook = tell_others
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)


def leaves(what: str) -> None:
    """Say what an interruption leaves behind from now on, to end in how to go on."""
    _left[:] = [what]


def farewell() -> str:
    """The line about an interruption: what is kept of the work, where a command said so."""
    return f"interrupted; {_left[0]}." if _left else "interrupted."


def raise_again() -> None:
    """Raise KeyboardInterrupt, in the main thread, where Ctrl-C was pressed and is not yet heard."""
    if _asked.is_set() and threading.current_thread() is threading.main_thread():
        _asked.clear()
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)
