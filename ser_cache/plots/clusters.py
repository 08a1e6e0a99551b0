"""Clusters, drawn: two principal components, silhouettes, explained variance, agreement by layer."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.clustering import GLOBAL, LABELS
from ser_cache.plots.canvas import (
    COLOURS,
    DASHES,
    LARGE,
    MARKERS,
    PLAIN,
    SMALL,
    apart,
    check_plot,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from ser_cache.clustering import Clustering, StoredClustering

Axes = Any
"""Of matplotlib, which is an extra and not there for mypy."""
_WIDTH, _SCATTER, _ROW, _BAR = 10.0, 4.6, 3.2, 0.14
"""Inches of the figure of one clustering: its width, the heights of its rows, and of a cluster's name."""
_LABEL = 0.045
"""Height of a written label, as a share of the axes."""
_FAN = 0.11
"""Of names at the sides, whose lines would hide each other if they were closer."""
_LEGEND_ENTRIES = 12
"""Beyond these a legend would be larger than the picture; names at the means have to do."""
_NUMBER = 2
"""Letters of a group's name that is a number."""
_SHOWN_SHARE = 0.9
_VECTORS = 10_000
"""Points beyond which a file of vectors holds them as a picture: it would take seconds to open."""
_LONGEST_TITLE = 60


def draw_clustering(path: Path, stored: StoredClustering) -> None:
    """Draw one clustering: components by cluster and by emotion, silhouettes, explained variance.

    With several numbers of clusters there is a row more, with silhouette and inertia of each.

    Args:
        path: where to; its suffix chooses the format.
        stored: the clustering.

    Raises:
        PlotError: matplotlib is not installed, or the suffix names no format.
    """
    check_plot(path)
    found = stored.clustering
    rows = 2 + (len(found.trials) > 1)
    heights = [_SCATTER, max(_ROW, _BAR * found.k + 0.8), _ROW][:rows]
    figure = new_figure(_WIDTH, sum(heights))
    axes = figure.subplots(rows, 2, height_ratios=heights)
    numbers = [f"cluster {number}" for number in found.members.clusters]
    _scatter(axes[0, 0], found, numbers, "by cluster", [str(n) for n in range(found.k)])
    label = "emotion" if "emotion" in found.members.labels else next(iter(found.members.labels), None)
    if label is None:
        axes[0, 1].set_visible(False)
    else:
        values = found.members.labels[label]
        _scatter(axes[0, 1], found, values, f"by {label}", sorted(set(values) - {""}))
    _silhouettes(axes[1, 0], found)
    _explained(axes[1, 1], found)
    if rows > 2:
        ks = [trial.k for trial in found.trials]
        _by_number(axes[2, 0], ks, [t.silhouette for t in found.trials], "silhouette", found.k)
        _by_number(axes[2, 1], ks, [t.inertia for t in found.trials], "inertia", found.k)
    config = stored.config
    reduced = "" if config.reduce is None else f", {config.reduce} components"
    within = "" if config.standardise == GLOBAL else f", standardised within {config.standardise}"
    figure.suptitle(
        f"{config.corpus}, {config.backbone}, layer {config.layer}, k {found.k}{reduced}{within}",
        fontsize=LARGE + 1,
    )
    save(figure, path)


def draw_layer_agreement(
    path: Path, sweeps: Sequence[Sequence[StoredClustering]], score: str, heading: str
) -> None:
    """Draw how clusters agree with each label, layer by layer: a panel for each corpus and backbone.

    Args:
        path: where to; its suffix chooses the format.
        sweeps: the layers of each corpus and backbone.
        score: attribute of an agreement.
        heading: what it is called, for the axis.

    Raises:
        PlotError: matplotlib is not installed, or the suffix names no format.
    """
    check_plot(path)
    figure = new_figure(7.5, 3.4 * len(sweeps))
    for axes, layers in zip(np.atleast_1d(figure.subplots(len(sweeps), 1)), sweeps, strict=True):
        _curves(axes, layers, score, heading)
    save(figure, path)


def _curves(axes: Axes, layers: Sequence[StoredClustering], score: str, heading: str) -> None:
    numbers = [one.config.layer for one in layers]
    labels = list(dict.fromkeys(name for one in layers for name in one.clustering.agreements))
    ends: dict[str, tuple[str, Sequence[Sequence[float]]]] = {}
    for name in labels:
        place = _place(name, labels)
        values = [[getattr(a, score) for a in one.clustering.agreements[name]] for one in layers]
        style = {"marker": MARKERS[place % len(MARKERS)], "linestyle": DASHES[place % len(DASHES)]}
        ends[name] = (_line(axes, numbers, values, COLOURS[place % len(COLOURS)], **style), values)
    silhouettes = [one.clustering.trial.silhouette for one in layers]
    ends["silhouette of clusters"] = (
        _line(axes, numbers, silhouettes, "0.45", linestyle=":", lw=1),
        silhouettes,
    )
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    _name_ends(
        axes, {name: (colour, float(np.mean(v[-1]))) for name, (colour, v) in ends.items()}, numbers[-1]
    )
    ks = sorted({one.clustering.k for one in layers})
    clusters = f"{ks[0]} clusters" if len(ks) == 1 else f"{ks[0]} to {ks[-1]} clusters"
    config = layers[0].config
    within = "" if config.standardise == GLOBAL else f", standardised within {config.standardise}"
    axes.set_title(f"{config.corpus}, {config.backbone}, {clusters}{within}", fontsize=LARGE)
    axes.set_xlabel("layer", fontsize=PLAIN)
    axes.set_ylabel(heading, fontsize=PLAIN)
    axes.set_xticks(numbers)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _place(name: str, labels: Sequence[str]) -> int:
    """The number of a label's colour and shape, which is the same in every panel."""
    further = [label for label in labels if label not in LABELS]
    return LABELS.index(name) if name in LABELS else len(LABELS) + further.index(name)


def _line(
    axes: Axes, x: Sequence[int], values: Sequence[Sequence[float]], colour: str, **style: object
) -> str:
    """Means with bars of one standard deviation where there are several values; returns the colour."""
    means = [float(np.mean(one)) for one in values]
    bars = [float(np.std(one, ddof=1)) for one in values] if len(values[0]) > 1 else None
    axes.errorbar(x, means, yerr=bars, color=colour, markersize=4, capsize=2, elinewidth=0.8, **style)
    return colour


def _name_ends(axes: Axes, ends: dict[str, tuple[str, float]], last: int) -> None:
    """Write what each line is to the right of its end, without one name over another."""
    low, high = axes.get_ylim()
    places = apart([value for _, value in ends.values()], 0.065 * (high - low))
    for (name, (colour, value)), height in zip(ends.items(), places, strict=True):
        axes.annotate(
            name,
            (last, value),
            (1.03, float(height)),
            textcoords=axes.get_yaxis_transform(),
            fontsize=PLAIN,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 0, "shrinkB": 4},
        )


def _scatter(axes: Axes, found: Clustering, groups: Sequence[str], title: str, names: Sequence[str]) -> None:
    """Two principal components; groups differ in shape and colour, and are named at their means."""
    points = found.members.components
    size = float(np.clip(9000 / len(points), 4, 22))
    of = np.array(groups)
    drawn = sorted(
        set(groups) - {""}, key=lambda name: (len(name), name) if name.startswith("cluster ") else (0, name)
    )
    for place, name in enumerate(drawn):
        x, y = points[of == name].T
        colour, again = COLOURS[place % len(COLOURS)], place // len(MARKERS)
        hollow = (place + again) % 2 == 1  # so that a shape that comes again looks otherwise
        axes.scatter(
            x,
            y,
            s=size,
            marker=MARKERS[place % len(MARKERS)],
            facecolor="none" if hollow else colour,
            edgecolor=colour,
            linewidth=0.6,
            alpha=0.75,
            rasterized=len(points) > _VECTORS,
            label=f"{name} ({len(x):,})",
        )
    _name_means(axes, [points[of == name].mean(axis=0) for name in drawn], names)
    shares = [100 * share for share in found.explained[:2]]
    axes.set_title(title, fontsize=LARGE)
    for number, (share, label) in enumerate(zip(shares, (axes.set_xlabel, axes.set_ylabel), strict=False)):
        label(f"PC{number + 1} ({share:.0f}% of variance)", fontsize=PLAIN)
    axes.tick_params(labelsize=SMALL)
    if len(drawn) > _LEGEND_ENTRIES:
        return
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=min(4, len(drawn)),
        fontsize=SMALL,
        frameon=False,
        handletextpad=0.1,
        columnspacing=1.0,
    )


def _name_means(axes: Axes, means: Sequence[NDArray[np.float64]], names: Sequence[str]) -> None:
    """Write each group's name, with a line to its mean: numbers just above it, words at the nearer side."""
    axes.set_xlim(*axes.get_xlim())  # or the marks and names would move them
    axes.set_ylim(*axes.get_ylim())
    shares = axes.transAxes.inverted().transform(axes.transData.transform(np.array(means)))
    if max(map(len, names)) > _NUMBER:
        order = np.argsort(shares[:, 0], kind="stable")
        sides = [(order[: len(order) // 2], 0.015, "left"), (order[len(order) // 2 :], 0.985, "right")]
        for members, x, alignment in sides:
            for place, y in zip(members, _within(shares[members, 1], _FAN), strict=True):
                _name(axes, names[place], shares[place], (x, float(y)), alignment)
    else:
        for place, y in enumerate(_above(shares)):
            _name(axes, names[place], shares[place], (float(shares[place, 0]), y), "center")
    axes.plot(*np.array(means).T, "k+", markersize=7, markeredgewidth=1.6)


def _above(shares: NDArray[np.float64]) -> list[float]:
    """Heights of numbers above their means, each as low as those below and beside it allow."""
    heights = np.empty(len(shares))
    order = np.argsort(shares[:, 1], kind="stable")
    for rank, place in enumerate(order):
        height = shares[place, 1] + _LABEL
        beside = [one for one in order[:rank] if abs(shares[one, 0] - shares[place, 0]) < _LABEL]
        while any(abs(heights[one] - height) < _LABEL for one in beside):
            height += _LABEL / 3
        heights[place] = height
    found: list[float] = heights.tolist()
    return found


def _within(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Heights of names in shares of the axes: apart, and inside as far as they all fit."""
    placed = apart(heights.tolist(), min(gap, (1 - 2 * _LABEL) / max(1, len(heights) - 1)))
    if not len(placed):
        return placed
    shift = max(0.0, _LABEL - float(placed.min())) - max(0.0, float(placed.max()) - (1 - _LABEL))
    return placed + shift


def _name(
    axes: Axes, name: str, mean: NDArray[np.float64], place: tuple[float, float], alignment: str
) -> None:
    axes.annotate(
        name,
        tuple(mean),
        place,
        "axes fraction",
        "axes fraction",
        fontsize=PLAIN,
        fontweight="bold",
        ha=alignment,
        va="center",
        bbox={
            "boxstyle": "round,pad=0.15",
            "facecolor": "white",
            "edgecolor": "0.3",
            "alpha": 0.85,
            "lw": 0.5,
        },
        arrowprops={"arrowstyle": "-", "color": "black", "lw": 0.8, "shrinkA": 0, "shrinkB": 2},
    )


def _silhouettes(axes: Axes, found: Clustering) -> None:
    """A bar for every utterance, sorted within its cluster; the clusters in turn dark and hatched."""
    members, top, middles, names = found.members, 0, [], []
    gap = max(1, len(members.ids) // 60)
    room = int(1.2 * len(members.ids) * _BAR / max(_ROW - 0.8, _BAR * found.k))  # for the name of a small one
    means, sizes = found.cluster_silhouettes(), found.sizes()
    for number in range(found.k):
        values = np.sort(members.silhouettes[members.clusters == number])[::-1]
        heights = np.arange(top, top + len(values))
        style = (
            {"facecolor": "0.45"}
            if number % 2 == 0
            else {"facecolor": "white", "edgecolor": "0.25", "hatch": "////"}
        )
        axes.fill_betweenx(heights, 0, values, step="mid", linewidth=0.4, **style)
        middles.append(top + len(values) / 2)
        names.append(f"{number}: {sizes[number]:,} clips, {means[number]:.2f}")
        top += max(len(values) + gap, room)
    axes.axvline(found.silhouette, color="black", linestyle="--", lw=1)
    axes.annotate(
        f"mean {found.silhouette:.2f}",
        (found.silhouette, -gap),
        (3, 0),
        textcoords="offset points",
        fontsize=PLAIN,
    )
    axes.set_ylim(top, -3 * gap)
    axes.set_yticks(middles, names, fontsize=SMALL)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.axvline(0, color="black", lw=0.6)
    axes.set_xlabel("silhouette", fontsize=PLAIN)
    axes.set_title("silhouette of each utterance, by cluster", fontsize=LARGE)
    axes.spines[["top", "right"]].set_visible(False)


def _explained(axes: Axes, found: Clustering) -> None:
    """Cumulative share of the variance, as far as nearly all of it, with the numbers that matter named."""
    total = 100 * np.cumsum(found.explained)
    last = min(len(total), max(10, int(np.searchsorted(total, 99)) + 1))
    most = int(np.searchsorted(total, 100 * _SHOWN_SHARE)) + 1
    marker = "o" if last <= 30 else ""
    axes.plot(range(1, last + 1), total[:last], color="black", marker=marker, markersize=3, lw=1)
    for number in sorted({min(2, last), min(most, last)}):
        value = float(total[number - 1])
        axes.plot([number, number, 0], [0, value, value], color="0.5", linestyle=":", lw=1)
        axes.annotate(
            f"{number}: {value:.0f}%", (number, value), (6, -10), textcoords="offset points", fontsize=PLAIN
        )
    axes.set_ylim(0, 103)
    axes.set_xlim(0, last + 0.5)
    axes.set_xlabel("principal components", fontsize=PLAIN)
    axes.set_ylabel("variance explained, percent", fontsize=PLAIN)
    axes.set_title("explained variance", fontsize=LARGE)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _by_number(
    axes: Axes, ks: Sequence[int], values: Sequence[Sequence[float]], name: str, chosen: int
) -> None:
    """A score of each number of clusters; the chosen one has a ring."""
    _line(axes, ks, values, "black", marker="o", lw=1)
    at = ks.index(chosen)
    axes.plot(chosen, np.mean(values[at]), marker="o", markersize=11, fillstyle="none", color="black")
    axes.set_xlabel("clusters", fontsize=PLAIN)
    axes.set_ylabel(name, fontsize=PLAIN)
    axes.set_title(textwrap.shorten(f"{name} by number of clusters", _LONGEST_TITLE), fontsize=LARGE)
    axes.set_xticks(ks)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
