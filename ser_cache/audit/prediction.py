"""How well one thing alone, such as a clip's length, tells its emotion, and whether chance could do as well.

The classifier is a histogram: values are cut into cells, training counts each emotion in each cell, and a
clip is given the emotion that is likeliest in its cell when all emotions are equally common. It has no
settings to tune, finds what depends on the value in any way (long or short against middling; exactly 2 s),
and takes classes of things (speakers, formats) as they are. Where cells are cut does not look at labels.

What chance would score is found by permutation: emotions are dealt out anew among the clips of each speaker,
and all folds trained and scored again. A cue that merely tells speakers apart gains nothing that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_cache import metrics

Integers = NDArray[np.int64]
_BLOCK = 100  # permutations at a time
_STEPS = 2**20
_NUMBERS = 4_000_000  # or fewer, so that a block of a large corpus stays within 100 MB


@dataclass(frozen=True)
class PredictionOptions:
    """How a cue is tested.

    Attributes:
        cells: at most so many cells for numbers.
        clips_a_cell: and on average at least so many clips of each emotion in one.
        permutations: where the effect is large enough to matter.
        glance: permutations where it is not, and the p-value is only shown.
        seed: of the permutations.
    """

    cells: int = 16
    clips_a_cell: int = 4
    permutations: int = 1999
    glance: int = 199
    seed: int = 0


@dataclass(frozen=True)
class Fold:
    """Clip numbers that a cue is learned from and tested on."""

    train: Integers
    test: Integers


@dataclass(frozen=True)
class Effect:
    """What a cue must reach to matter, in either of two ways; see ``Prediction``.

    Attributes:
        excess: over all emotions.
        told: for one of them.
    """

    excess: float
    told: float


@dataclass(frozen=True)
class Prediction:
    """What one cue alone achieves; scores are fractions from 0 to 1.

    Attributes:
        uar: mean recall over the emotions, test sides of all folds pooled.
        macro_f1: of the same predictions.
        chance: the mean UAR over permutations.
        excess: how much of the way from chance to perfect the UAR goes; 0 for chance.
        p: share of permutations with a UAR at least as high, the real labels counted among them.
        tell: the emotion that the cue tells best.
        told: how well: its recall minus the share of other clips taken for it (Youden's J), -1 to 1.
        p_told: share of permutations in which some emotion is told at least as well.
        within_speakers: whether the permutations kept each speaker's emotions.
    """

    uar: float
    macro_f1: float
    chance: float
    excess: float
    p: float
    tell: int
    told: float
    p_told: float
    within_speakers: bool


def cells_of_numbers(values: NDArray[np.float64], classes: int, options: PredictionOptions) -> Integers:
    """Cut numbers into cells that hold about equally many clips, (clips,); equal numbers stay together.

    A number that fills a cell by itself has it for itself: no padding at all, or exactly 2 s.
    """
    wanted = min(options.cells, max(2, len(values) // (options.clips_a_cell * max(classes, 1))))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, wanted + 1)[1:-1], method="higher"))
    common = edges[[np.count_nonzero(values == edge) * wanted >= len(values) for edge in edges]]
    edges = np.unique(np.concatenate([edges, np.nextafter(common, np.inf)]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def cells_of_names(names: Sequence[str]) -> Integers:
    """One cell for each name, (clips,)."""
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def predict(
    cells: Integers,
    labels: Integers,
    speakers: Integers,
    folds: Sequence[Fold],
    effect: Effect,
    options: PredictionOptions,
    within_speakers: bool = True,
) -> Prediction:
    """Learn labels from cells on each fold's training side, score the test sides pooled, compare with chance.

    Args:
        cells: the cell of each clip, (clips,).
        labels: the emotion of each clip as a number from 0, (clips,).
        speakers: the speaker of each clip as a number from 0, (clips,).
        folds: which clips are learned from and tested on.
        effect: below it, the p-values come from fewer permutations.
        options: of the classifier and of the permutations.
        within_speakers: deal emotions out anew within speakers; if not, or if more than half of the clips are
            of speakers with a single emotion, among all clips.
    """
    within = within_speakers and _vary(labels, speakers)
    group = speakers if within else np.zeros_like(speakers)
    task = _Task(cells, int(labels.max()) + 1, folds)
    real = task.confusions(labels[None])[0]
    scored, told = float(metrics.unweighted_average_recall(real)), _told(real)
    tell = int(np.argmax(told))
    generator = np.random.default_rng(options.seed)
    chances: list[float] = []
    p = p_told = 1.0
    for permutations in (options.glance, options.permutations):
        while len(chances) < permutations:
            count = min(_BLOCK, 1 + _NUMBERS // len(labels), permutations - len(chances))
            dealt = task.confusions(_shuffled(labels, group, count, generator))
            scores, best = metrics.unweighted_average_recall(dealt), _told(dealt).max(axis=-1)
            # A hair's breadth below counts as equal: sums in another order differ in their last bits.
            p, p_told = (
                p + int((scores >= scored - 1e-9).sum()),
                p_told + int((best >= told[tell] - 1e-9).sum()),
            )
            chances += scores.tolist()
        chance = float(np.mean(chances))
        excess = (scored - chance) / (1 - chance) if chance < 1 else 0.0
        if excess < effect.excess and told[tell] < effect.told:
            break
    return Prediction(
        uar=scored,
        macro_f1=float(metrics.macro_f1(real, np.ones(real.shape[-1], dtype=np.bool_))),
        chance=chance,
        excess=excess,
        p=p / (len(chances) + 1),
        tell=tell,
        told=float(told[tell]),
        p_told=p_told / (len(chances) + 1),
        within_speakers=within,
    )


def _vary(labels: Integers, speakers: Integers) -> bool:
    """Whether at least half of the clips are of speakers with more than one emotion."""
    table = np.zeros((int(speakers.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (speakers, labels), 1)
    several = (table > 0).sum(axis=1) > 1
    return bool(table[several].sum() * 2 >= len(labels))


def _shuffled(labels: Integers, group: Integers, count: int, generator: np.random.Generator) -> Integers:
    """Labels dealt out anew within each group, so many times, (count, clips)."""
    order = np.argsort(group, kind="stable")
    keys = generator.random((count, len(labels))) + group[order]  # whole parts keep the groups apart
    dealt = np.empty((count, len(labels)), dtype=np.int64)
    dealt[:, order] = labels[order][np.argsort(keys, axis=1)]
    return dealt


def _told(confusion: metrics.Counts) -> NDArray[np.float64]:
    """Recall of each class minus the share of other clips taken for it, (..., k); 0 for an absent class."""
    support = confusion.sum(axis=-1)
    others = support.sum(axis=-1, keepdims=True) - support
    wrong = confusion.sum(axis=-2) - np.diagonal(confusion, axis1=-2, axis2=-1)
    false_alarms = np.divide(wrong, others, out=np.zeros(others.shape), where=others > 0)
    return np.where(support > 0, metrics.recall_per_class(confusion) - false_alarms, 0.0)


class _Task:
    """Folds and cells, ready to be trained and tested on many labellings at once."""

    def __init__(self, cells: Integers, classes: int, folds: Sequence[Fold]) -> None:
        self._cells, self._classes, self._folds = cells, classes, folds
        self._count = int(cells.max()) + 1

    def confusions(self, labels: Integers) -> Integers:
        """Confusion counts pooled over the folds, (labellings, k, k), of labels (labellings, clips)."""
        whole = self._table(np.arange(len(self._cells)), labels)
        found = np.zeros((len(labels), self._classes, self._classes), dtype=np.float32)
        for fold in self._folds:
            tested = self._table(fold.test, labels)
            # What is not tested is learned from: to take away is less work than to count again.
            rest = len(fold.train) + len(fold.test) == len(self._cells)
            learned = whole - tested if rest else self._table(fold.train, labels)
            found += tested.transpose(0, 2, 1) @ _answers(learned)
        return found.astype(np.int64)

    def _table(self, clips: Integers, labels: Integers) -> NDArray[np.float32]:
        """How many clips of each class are in each cell, (labellings, cells, k)."""
        k, many = self._classes, len(labels)
        size = self._count * k
        place = self._cells[clips] * k + labels[:, clips] + np.arange(many)[:, None] * size
        counts = np.bincount(place.ravel(), minlength=many * size)
        # float32 holds counts exactly up to 16 million, and multiplies many times as fast as integers.
        return counts.reshape(many, self._count, k).astype(np.float32)


def _answers(learned: NDArray[np.float32]) -> NDArray[np.float32]:
    """The class given to each cell, as a 1 among zeros, (labellings, cells, k).

    It is the class that would be likeliest if all were equally common; a tie goes to the first. A clip's
    worth of each class is spread over the cells as all clips are, so that one clip alone in its cell does not
    decide it against hundreds.
    """
    of_class = learned.sum(axis=1, keepdims=True)
    of_cell = learned.sum(axis=2, keepdims=True) / np.maximum(of_class.sum(axis=2, keepdims=True), 1)
    likelihood = np.where(of_class > 0, (learned + of_cell) / (of_class + 1), np.float32(-1))
    # In steps of a millionth or so, or rounding would break ties, otherwise on each machine. A power of two,
    # because a fraction of small numbers then never lies between two steps.
    answers = np.rint(likelihood * np.float32(_STEPS)).argmax(axis=2)
    chosen: NDArray[np.bool_] = answers[:, :, None] == np.arange(learned.shape[2])
    return chosen.astype(np.float32)
