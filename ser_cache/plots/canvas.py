"""What all figures share: the canvas, how it is saved, and shapes that tell groups apart without colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import PlotError

FORMATS = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 150
SMALL, PLAIN, LARGE = 7, 8, 9
"""Sizes of letters, in points; figures are made to be shown at their own size."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
"""Of Okabe and Ito, which most colour-blind people tell apart; grey where they run out."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 3)), (0, (3, 1, 1, 1)))


def check_plot(path: Path) -> None:
    """Make sure, before any work is done, that a figure can be drawn.

    Raises:
        PlotError: matplotlib is not installed, or the suffix is not one of ``FORMATS``.
    """
    if path.suffix.lower() not in FORMATS:
        raise PlotError(f"{path} does not end in {', '.join(FORMATS)}; name the figure so.")
    figure_class()


def new_figure(width: float, height: float) -> Any:  # noqa: ANN401 - matplotlib is not there for mypy
    """An empty figure of so many inches."""
    return figure_class()(figsize=(width, height), layout="constrained", dpi=DOTS_PER_INCH)


def save(figure: Any, path: Path) -> None:  # noqa: ANN401
    """Write a figure; its suffix chooses the format. The same figure gives the same bytes.

    Raises:
        PlotError: matplotlib is not installed, or the suffix names no format.
    """
    check_plot(path)
    from matplotlib import rc_context

    path.parent.mkdir(parents=True, exist_ok=True)
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    with rc_context({"svg.hashsalt": "ser_cache"}):
        figure.savefig(path, metadata=undated)


def figure_class() -> Any:  # noqa: ANN401
    """The Figure of matplotlib.

    Raises:
        PlotError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError("drawing needs matplotlib; install it with: pip install matplotlib") from error
    return Figure


def apart(heights: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Heights of labels that keep a gap, each as near as that allows to where it belongs, in their order.

    Args:
        heights: where the labels belong, in any order.
        gap: between two of them.
    """
    order = np.argsort(heights, kind="stable")
    blocks: list[list[float]] = []  # centre, number of labels, of labels that touch
    for height in np.asarray(heights, dtype=np.float64)[order]:
        blocks.append([float(height), 1])
        while len(blocks) > 1 and _touch(blocks[-2], blocks[-1], gap):
            above, below = blocks.pop(), blocks.pop()
            number = above[1] + below[1]
            blocks.append([(above[0] * above[1] + below[0] * below[1]) / number, number])
    placed = np.empty(len(order))
    placed[order] = [
        centre + gap * (place - (number - 1) / 2) for centre, number in blocks for place in range(int(number))
    ]
    return placed


def _touch(below: Sequence[float], above: Sequence[float], gap: float) -> bool:
    return above[0] - gap * (above[1] - 1) / 2 - (below[0] + gap * (below[1] - 1) / 2) < gap
