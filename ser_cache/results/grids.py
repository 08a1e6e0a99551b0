"""The grid search of a run of a classical classifier: every candidate, and how it did in every inner fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.results.contents import GRID_SEARCH, damaged, open_contents
from ser_cache.results.folder import Run


@dataclass(frozen=True)
class GridOfFold:
    """The search inside the training side of one fold.

    Attributes:
        fold: its name.
        seed: of the classifier.
        best: place of the chosen candidate.
        scores: (candidates, inner folds).
        stopped: of each candidate, the inner folds in which its solver was stopped before it converged.
        stopped_on_all: whether that of the chosen one was, on the whole training side.
    """

    fold: str
    seed: int
    best: int
    scores: NDArray[np.float64]
    stopped: tuple[int, ...]
    stopped_on_all: bool

    @property
    def is_doubtful(self) -> bool:
        """Whether the chosen candidate's solver was stopped anywhere."""
        return bool(self.stopped[self.best]) or self.stopped_on_all


@dataclass(frozen=True)
class GridSearch:
    """All searches of a run.

    Attributes:
        selected_by: the score that candidates are compared by.
        candidates: parameters of each, in the order of the grid.
        searches: one for each fold and seed.
    """

    selected_by: str
    candidates: tuple[dict[str, Any], ...]
    searches: tuple[GridOfFold, ...]

    @property
    def stopped(self) -> int:
        """How many candidates were stopped in any search."""
        rows = zip(*(search.stopped for search in self.searches), strict=True)
        return sum(any(counts) for counts in rows)


def parameters_text(parameters: dict[str, Any]) -> str:
    """Parameters in few words: ``C 10, gamma 0.01, kernel rbf``."""
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def read_grid_search(run: Run) -> GridSearch | None:
    """The grid search of a run; None where nothing was searched so.

    Raises:
        ResultsError: the file is damaged.
    """
    contents = open_contents(run.folder)
    if not contents.has(GRID_SEARCH):
        return None
    raw = contents.json(GRID_SEARCH)
    try:
        candidates = tuple(dict(candidate) for candidate in raw["candidates"])
        searches = tuple(_search(one, len(candidates)) for one in raw["searches"])
        if not searches:
            raise damaged(run.folder, f"{GRID_SEARCH} holds no search")
        return GridSearch(str(raw["selected_by"]), candidates, searches)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(run.folder, f"{GRID_SEARCH} cannot be read") from error


def _search(raw: dict[str, Any], candidates: int) -> GridOfFold:
    scores = np.array(raw["scores"], dtype=np.float64)
    stopped = tuple(int(count) for count in raw["stopped"])
    best = int(raw["best"])
    if scores.ndim != 2 or not len(scores) == len(stopped) == candidates or not 0 <= best < candidates:
        raise ValueError("scores of another shape")
    return GridOfFold(str(raw["fold"]), int(raw["seed"]), best, scores, stopped, bool(raw["stopped_on_all"]))
