"""Runs as a matrix: trained on (rows) by tested on (columns), with the score within each corpus beside.

Scores stand in one table only where nothing differs but the corpora: each backbone, head, protocol, set of
classes, number of seeds and way of dividing has a table of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_cache.cli import screen
from ser_cache.cli.run_table import PERCENT, SCORES, percent

if TYPE_CHECKING:
    from pathlib import Path

    from ser_cache.results import Run

_Cell = tuple[str, str]
"""Corpora trained on, and the corpus tested."""
_Cells = dict[_Cell, list["Run"]]


@dataclass(frozen=True, order=True)
class _Setting:
    """What all runs of a table share, within a corpus or across."""

    backbone: str
    head: str
    layers: str
    protocol: str
    classes: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class _Matrix:
    """One table.

    Attributes:
        setting: what all of its runs share.
        across: how those across corpora divided the training side.
        within: how those within a corpus divided it; empty where there are none.
        cells: the runs.
    """

    setting: _Setting
    across: str
    within: str
    cells: _Cells


def show_matrices(runs: Sequence[Run], score: str, stale: Collection[Path]) -> None:
    """Print a matrix for each setting that has runs across corpora.

    Args:
        runs: those to lay out; where several fill a cell, the newest does.
        score: which of the four.
        stale: folders of runs that are stale; those that a newer one replaces are passed over.

    Raises:
        ResultsError: runs of one cell took emotions together differently.
    """
    kept = _newest(runs)
    made = list(_matrices(kept))
    for matrix in made:
        _check_emotions(matrix)
    for matrix in made:
        _show(matrix, made, score)
    ways = {matrix.within for matrix in made} - {""}
    inside = "; where both are one corpus: within it" if ways else ""
    one_way = f", {ways.pop()}" if len(ways) == 1 else ""
    screen.say(f"{PERCENT}\ncolumns: tested on{inside}{one_way}")
    _say_left_out(kept, made)
    shown = {run.folder for matrix in made for run in _runs(matrix.cells)}
    changed = [run.folder.name for run in kept if run.folder in shown & set(stale)]
    if changed:
        screen.note(
            f"note: stale, as labels or features have changed since: {screen.named(changed)}; see: ser runs"
        )


def _newest(runs: Sequence[Run]) -> list[Run]:
    """The runs without those that a newer one of the same choices replaces."""
    from ser_cache.results import stale_runs

    replaced = stale_runs(runs)
    return [run for run in runs if run.folder not in replaced]


def _matrices(runs: Sequence[Run]) -> list[_Matrix]:
    """A matrix for each setting, way of validating across corpora, and way of dividing a corpus."""
    across: dict[tuple[_Setting, str], _Cells] = {}
    within: dict[_Setting, dict[str, _Cells]] = {}
    for run in runs:
        setting, split = _setting(run), _split(run)
        if run.config.tested_on:
            cells = across.setdefault((setting, split), {})
        else:
            cells = within.setdefault(setting, {}).setdefault(split, {})
        cells.setdefault(_cell(run), []).append(run)
    found = []
    for (setting, split), cells in sorted(across.items(), key=lambda item: item[0]):
        corpora = {
            corpus for run in _runs(cells) for corpus in (*run.config.trained_on, run.config.tested_on)
        }
        inside = {
            way: own
            for way, every in sorted(within.get(setting, {}).items())
            if (own := {cell: found for cell, found in every.items() if cell[1] in corpora})
        }
        for way, own in (inside or {"": {}}).items():
            found.append(_Matrix(setting, split, way, cells | own))
    return found


def _setting(run: Run) -> _Setting:
    from ser_cache.results.query import layers_text, protocol_name

    config = run.config
    layers = layers_text(config.layers)
    return _Setting(config.backbone, config.head, layers, protocol_name(run), config.classes, config.seeds)


def _cell(run: Run) -> _Cell:
    return "+".join(run.config.training_corpora), run.config.test_corpus


def _runs(cells: Mapping[_Cell, Sequence[Run]]) -> list[Run]:
    return [run for found in cells.values() for run in found]


def _split(run: Run) -> str:
    """How a run divides, since not every way holds its speakers out; empty for the usual across corpora."""
    from ser_cache.cross_corpus import KIND
    from ser_cache.results.query import split_text

    text = split_text(run.config.split)
    if run.config.tested_on:
        return text.removeprefix(KIND).strip(", ")
    return f"split {text}{' (speaker-dependent)' if run.config.split['kind'] == 'random' else ''}"


def _check_emotions(matrix: _Matrix) -> None:
    """Refuse to choose between runs whose classes have the same names and are made of other emotions."""
    from ser_cache.emotions import emotions_text
    from ser_cache.errors import ResultsError

    for (trained, tested), found in matrix.cells.items():
        choices = sorted({emotions_text(_made_of(run)) for run in found})
        if len(choices) > 1:
            raise ResultsError(
                f"runs trained on {trained} and tested on {tested} have classes of the same names made of "
                f"different emotions; choose one with: --emotions {' or --emotions '.join(choices)}"
            )


def _made_of(run: Run) -> Mapping[str, tuple[str, ...]]:
    return run.config.emotions or {name: (name,) for name in run.config.classes}


def _show(matrix: _Matrix, all_of_them: Sequence[_Matrix], score: str) -> None:
    """One table, with a title that says whatever tells it from the others."""
    from ser_cache.results import summarise

    setting, cells = matrix.setting, matrix.cells
    newest = {cell: max(found, key=lambda run: run.recency) for cell, found in cells.items()}
    tested = sorted({test for _, test in cells})
    rows = [
        (
            trained,
            *(
                percent(getattr(summarise(newest[trained, test]), score)) if (trained, test) in newest else ""
                for test in tested
            ),
        )
        for trained in sorted({trained for trained, _ in cells}, key=lambda name: (name.count("+"), name))
    ]
    words = [setting.backbone, setting.head, f"layer {setting.layers}", setting.protocol]
    if len({one.setting.seeds for one in all_of_them}) > 1:
        words.append(screen.count(len(setting.seeds), "seed"))
    if matrix.across:
        words.append(matrix.across)
    if len({one.within for one in all_of_them} - {""}) > 1 and matrix.within:
        words.append(f"within a corpus {matrix.within}")
    title = f"{SCORES[score]} of {', '.join(words)}: {', '.join(setting.classes)}"
    screen.table(title, {"trained on": "fold"} | dict.fromkeys(tested, "right"), rows)
    crowded = [newest[cell].folder.name for cell, found in cells.items() if len(found) > 1]
    if crowded:
        screen.note(f"note: the newest of several runs: {screen.named(crowded)}; ser runs lists all.")
    _say_made_of(newest)


def _say_made_of(newest: Mapping[_Cell, Run]) -> None:
    """Say where a class is made of more emotions in one cell than in another, as corpora have them."""
    made: dict[str, dict[str, list[str]]] = {}
    for (trained, tested), run in newest.items():
        for name, members in _made_of(run).items():
            where = f"{trained} to {tested}" if trained != tested else tested
            made.setdefault(name, {}).setdefault("+".join(members), []).append(where)
    for name, ways in made.items():
        if len(ways) > 1:
            told = "; ".join(f"{members}: {screen.named(where)}" for members, where in sorted(ways.items()))
            screen.note(f"note: {name} is not made of the same emotions everywhere: {told}")


def _say_left_out(runs: Sequence[Run], made: Sequence[_Matrix]) -> None:
    """Name the runs of a table's backbone and head that other settings keep out of every table."""
    shown = {run.folder for matrix in made for run in _runs(matrix.cells)}
    kinds = {(m.setting.backbone, m.setting.head, test) for m in made for _, test in m.cells}
    absent = [
        run.folder.name
        for run in runs
        if run.folder not in shown and (run.config.backbone, run.config.head, run.config.corpus) in kinds
    ]
    if absent:
        screen.note(
            f"note: within a corpus, of another protocol, layer, emotions or seeds, and so in no table: "
            f"{screen.named(absent)}"
        )
