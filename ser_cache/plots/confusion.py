"""A confusion matrix, drawn: grey by the share of each truth, with the numbers written into it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ser_cache.errors import PlotError
from ser_cache.plots.canvas import LARGE, PLAIN, SMALL, check_plot, new_figure, save

_CELL, _MARGIN, _LETTER = 0.72, 1.1, 0.065
"""Inches of a cell's side, of the room beside the matrix without names, and of a letter of a name."""
_LEAST = 3.6
"""Inches of the figure's sides."""
_LONG = 10
"""Letters of a class's name that a cell has room for; longer ones stand upright below the matrix."""
_TITLE_LETTERS = 13
"""To the inch."""
_DARK = 0.55
"""Share from which on numbers are white."""


def draw_confusion(path: Path, confusion: ArrayLike, classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix.

    Args:
        path: where to; its suffix chooses the format.
        confusion: counts, (k, k); rows are the truth.
        classes: the k names.
        title: above it.

    Raises:
        PlotError: matplotlib is not installed, the suffix names no format, or counts and names do not fit.
    """
    check_plot(path)
    counts = np.asarray(confusion)
    if counts.shape != (len(classes), len(classes)):
        raise PlotError(f"a confusion matrix of {counts.shape} does not fit {len(classes)} classes.")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    cells, longest = _CELL * len(classes), max(map(len, classes))
    upright = longest > _LONG
    width = max(cells + _MARGIN + _LETTER * longest, _LEAST)
    figure = new_figure(width, max(cells + _MARGIN + _LETTER * (longest if upright else 3), _LEAST))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    for row, column in np.ndindex(counts.shape):
        text = f"{100 * shares[row, column]:.0f}%\n{counts[row, column]:,}" if totals[row] else "-"
        shade = "white" if shares[row, column] > _DARK else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=shade)
    axes.set_xticks(range(len(classes)), classes, fontsize=PLAIN, rotation=90 if upright else 0)
    names = [f"{name}\n{total:,}" for name, total in zip(classes, totals[:, 0], strict=True)]
    axes.set_yticks(range(len(classes)), names, fontsize=PLAIN)
    axes.set_xlabel("predicted", fontsize=PLAIN)
    axes.set_ylabel("truth", fontsize=PLAIN)
    lines = [
        piece for line in title.splitlines() for piece in textwrap.wrap(line, int(_TITLE_LETTERS * width))
    ]
    figure.suptitle("\n".join(lines), fontsize=LARGE)
    save(figure, path)
