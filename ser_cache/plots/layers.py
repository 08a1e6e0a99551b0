"""Which layers matter, drawn: the map of layer weights, and the score of each layer alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_cache.errors import PlotError
from ser_cache.plots.canvas import COLOURS, DASHES, MARKERS, check_plot, new_figure, save

if TYPE_CHECKING:
    from ser_cache.layer_analysis import LayerScores, LayerWeights

_NUMBERED = 13
"""Layers up to which there is room for a number in each cell of the map."""
_NAMED = 3
_ROW, _CURVE = 0.34, 2.6
"""Inches of height of a row of the map, and of a panel of curves."""


def draw_layers(
    path: Path,
    weights: Sequence[LayerWeights] = (),
    scores: Sequence[LayerScores] = (),
    score: str = "macro F1",
) -> None:
    """Draw the map of layer weights as Figure 2 of D'Asaro et al. 2024, and the score of each layer.

    One grey row per backbone and manner, dark where the weight is large, raw to the left and rescaled to the
    right; below, a panel per corpus with a curve per backbone and head, which differ in mark and dash,
    and a band of one standard deviation over seeds.

    Args:
        path: where to; its suffix chooses the format.
        weights: rows of the map.
        scores: curves.
        score: what the scores are, for the axis.

    Raises:
        PlotError: matplotlib is not installed, the suffix names no format, or there is nothing to draw.
    """
    check_plot(path)
    if not weights and not scores:
        raise PlotError("there are neither layer weights nor scores by layer to draw.")
    corpora = list(dict.fromkeys(row.corpus for row in scores))
    heights = [1.2 + _ROW * len(weights)] * bool(weights) + [_CURVE] * len(corpora)
    figure = new_figure(9, sum(heights))
    panels = list(np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights)))
    if weights:
        _draw_map(panels.pop(0), weights)
    for panel, corpus in zip(panels, corpora, strict=True):
        _draw_curves(panel.subplots(), corpus, [row for row in scores if row.corpus == corpus], score)
    save(figure, path)


def _draw_map(panel: Any, weights: Sequence[LayerWeights]) -> None:  # noqa: ANN401 - matplotlib is not there for mypy
    alike = len({row.corpora for row in weights}) == 1
    names = [_name(row, weights) + ("" if alike else f"\n{_corpora(row)}") for row in weights]
    for axes, title in zip(
        panel.subplots(1, 2, sharey=True), ("raw weight", "rescaled by norm"), strict=True
    ):
        values = [row.raw if title.startswith("raw") else row.rescaled for row in weights]
        layers = sorted({layer for row in weights for layer in row.layers})
        grid = np.full((len(weights), len(layers)), np.nan)
        for line, (row, shares) in enumerate(zip(weights, values, strict=True)):
            if shares is not None:
                # Each row has its own scale: with 24 layers a weight is half of what it is with 12.
                grid[line, [layers.index(layer) for layer in row.layers]] = shares / shares.max()
        axes.patch.set(hatch="////", edgecolor="0.8")  # shows where there is no layer, or no norm
        image = axes.imshow(grid, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        if len(layers) <= _NUMBERED:
            _write_shares(axes, values, weights, layers)
        axes.set_title(f"{title}, percent", fontsize=9)
        axes.set_xlabel("layer", fontsize=8)
        axes.set_xticks(range(len(layers)), [str(layer) for layer in layers], fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    bar = panel.colorbar(image, ax=panel.axes, shrink=0.9, ticks=[0, 0.5, 1])
    bar.set_label("of the row's largest", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    heads, sets = ", ".join(dict.fromkeys(row.head for row in weights)), {row.corpora for row in weights}
    of = f", {_corpora(weights[0])}" if len(sets) == 1 else ""
    panel.suptitle(f"Layer weights: {heads} head{of}", fontsize=9)


def _corpora(row: LayerWeights) -> str:
    """What a row is the mean of, in a few words."""
    names = ", ".join(row.corpora) if len(row.corpora) <= _NAMED else f"{len(row.corpora)} corpora"
    return f"mean of {names}" if len(row.corpora) > 1 else names


def _write_shares(
    axes: Any,  # noqa: ANN401 - matplotlib is not there for mypy
    values: Sequence[Any],
    weights: Sequence[LayerWeights],
    layers: Sequence[int],
) -> None:
    """The percentage in each cell: rows have scales of their own, and near-equal weights look equal."""
    for line, (row, shares) in enumerate(zip(weights, values, strict=True)):
        for layer, share in zip(row.layers, () if shares is None else shares / shares.sum(), strict=False):
            dark = share * shares.sum() > 0.6 * shares.max()
            place = layers.index(layer), line
            axes.text(
                *place, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color="w" if dark else "k"
            )


def _draw_curves(axes: Any, corpus: str, scores: Sequence[LayerScores], score: str) -> None:  # noqa: ANN401
    for place, row in enumerate(scores):
        mean = 100 * row.mean
        # As many of each as share no factor: without colour, marks and dashes alone tell 84 curves apart.
        style = {"marker": MARKERS[place % len(MARKERS)], "linestyle": DASHES[place % len(DASHES)]}
        colour = COLOURS[place % len(COLOURS)]
        (line,) = axes.plot(
            row.layers, mean, color=colour, markersize=4, lw=1.2, label=_name(row, scores), **style
        )
        if not np.isnan(row.std).all():
            band = np.nan_to_num(100 * row.std)
            axes.fill_between(row.layers, mean - band, mean + band, color=line.get_color(), alpha=0.2, lw=0)
    axes.set_title(corpus, fontsize=9)
    axes.set_xlabel("layer", fontsize=8)
    axes.set_ylabel(f"{score}, percent", fontsize=8)
    axes.set_xticks(sorted({layer for row in scores for layer in row.layers}))
    axes.tick_params(labelsize=7)
    # Beside the curves, which fill the panel: on them it would hide some.
    axes.legend(fontsize=7, handlelength=4, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _name(row: LayerWeights | LayerScores, beside: Sequence[LayerWeights | LayerScores]) -> str:
    """The backbone, and of head, protocol and split what tells it from the others."""
    kinds = [(r.head, r.protocol, r.split) for r in beside]
    differing = [
        value
        for place, value in enumerate((row.head, row.protocol, row.split))
        if len({kind[place] for kind in kinds}) > 1
    ]
    return ", ".join([row.backbone, *differing])
