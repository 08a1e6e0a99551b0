"""Runs as a matrix: trained on (rows) by tested on (columns), with the score within each corpus beside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ser_cache.cli import screen
from ser_cache.cli.run_table import PERCENT, SCORES, percent

if TYPE_CHECKING:
    from pathlib import Path

    from ser_cache.results import Run

_Key = tuple[str, str, str, str, tuple[str, ...]]


def show_matrices(runs: Sequence[Run], score: str, stale: Collection[Path]) -> None:
    """Print one matrix for each backbone, head, layers, protocol and set of classes.

    Args:
        runs: those to lay out; where several fill a cell, the newest does, and a matrix without any run
            across corpora is left out.
        score: which of the four.
        stale: folders of runs that a newer one on other data replaces; they are passed over.
    """
    from ser_cache.results import summarise

    groups: dict[_Key, dict[tuple[str, str], list[Run]]] = {}
    within: set[str] = set()
    for run in runs:
        if run.folder not in stale:
            cell = ("+".join(run.config.training_corpora), run.config.test_corpus)
            groups.setdefault(_key(run), {}).setdefault(cell, []).append(run)
    for (backbone, head, layers, protocol, classes), cells in sorted(groups.items()):
        if all(trained == test for trained, test in cells):
            continue  # nothing is set against another corpus
        tested = sorted({test for _, test in cells})
        newest = {cell: max(found, key=lambda run: run.recency) for cell, found in cells.items()}
        within |= {_split(run) for run in newest.values() if not run.config.tested_on}
        rows = [
            (
                trained,
                *(
                    percent(getattr(summarise(newest[trained, test]), score))
                    if (trained, test) in newest
                    else ""
                    for test in tested
                ),
            )
            for trained in sorted({trained for trained, _ in cells}, key=lambda name: (name.count("+"), name))
        ]
        title = f"{SCORES[score]} of {backbone}, {head}, layer {layers}, {protocol}: {', '.join(classes)}"
        screen.table(title, {"trained on": "fold"} | dict.fromkeys(tested, "right"), rows)
        _say_crowded(cells, newest)
    inside = f"; where both are one corpus: within it, {', '.join(sorted(within))}" if within else ""
    screen.say(f"{PERCENT}\ncolumns: tested on{inside}")


def _key(run: Run) -> _Key:
    from ser_cache.results.query import layers_text, protocol_name

    config = run.config
    return config.backbone, config.head, layers_text(config.layers), protocol_name(run), config.classes


def _split(run: Run) -> str:
    """How a run within a corpus divides it, since not every way holds its speakers out."""
    from ser_cache.results.query import split_text

    kind = run.config.split["kind"]
    return f"split {split_text(run.config.split)}{' (speaker-dependent)' if kind == 'random' else ''}"


def _say_crowded(cells: dict[tuple[str, str], list[Run]], newest: dict[tuple[str, str], Run]) -> None:
    """Name the runs that stand in a cell which others would fill as well."""
    crowded = [newest[cell].folder.name for cell, found in cells.items() if len(found) > 1]
    if crowded:
        screen.note(f"note: the newest of several runs: {screen.named(crowded)}; ser runs lists all.")
