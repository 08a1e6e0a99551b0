"""What came out, as plain figures beside the published ones: the rows of tables, CSV and JSON alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ser_cache.clustering import StoredClustering
from ser_cache.manifest import Manifest
from ser_cache.reproduction.wang2023.corpus_tables import Agreement, shares
from ser_cache.reproduction.wang2023.running import BY_UTTERANCE
from ser_cache.reproduction.wang2023.study import (
    CORPUS,
    MEASURES,
    ClassScores,
    PublishedClassifier,
    PublishedStudy,
)
from ser_cache.results import RunSummary, read_grid_search, read_run

OVERALL = ("accuracy", "ua", "macro_f1", "fold_mean", "best_fold")
"""Scores of a whole test side, then of the chosen candidate in the folds of cross-validation."""


@dataclass(frozen=True)
class Tested:
    """One classifier on one corpus, tested in one way.

    Attributes:
        part: ``BY_UTTERANCE`` or ``NEW_SPEAKERS``.
        summary: of its run.
        classes: of its test side, sorted by emotion.
        fold_mean: mean score of the chosen candidates in the inner folds.
        best_fold: the highest of these.
        selected_by: what that score is: accuracy or macro_f1.
        expected: the published figures; None where the study has none of this.
    """

    part: str
    summary: RunSummary
    classes: tuple[ClassScores, ...]
    fold_mean: float
    best_fold: float
    selected_by: str
    expected: PublishedClassifier | None

    @property
    def corpus(self) -> str:
        """The corpus."""
        return self.summary.corpus

    @property
    def classifier(self) -> str:
        """The classifier's name."""
        return self.summary.head

    @property
    def clips(self) -> int:
        """How many were tested."""
        return self.summary.utterances

    @property
    def overall(self) -> dict[str, float]:
        """Each of ``OVERALL``."""
        summary = self.summary
        scores = (summary.wa.mean, summary.ua.mean, summary.macro_f1.mean, self.fold_mean, self.best_fold)
        return dict(zip(OVERALL, scores, strict=True))

    def beside(self) -> Iterator[tuple[ClassScores, ClassScores]]:
        """Every emotion with its published row; none where there are no published figures."""
        published = {row.emotion: row for row in self.expected.classes} if self.expected else {}
        yield from ((row, published[row.emotion]) for row in self.classes if row.emotion in published)


def tested(part: str, summary: RunSummary, study: PublishedStudy) -> Tested:
    """Read what a run holds beyond its summary.

    Args:
        part: how it was tested.
        summary: of the run.
        study: whose figures are put beside those of its own corpus and way of testing, and no other.

    Raises:
        ResultsError: the run is damaged.
    """
    run = read_run(summary.folder)
    grid = read_grid_search(run)
    chosen = np.concatenate([one.scores[one.best] for one in grid.searches]) if grid else np.full(1, np.nan)
    same = summary.corpus == CORPUS and part == BY_UTTERANCE
    return Tested(
        part,
        summary,
        tuple(
            ClassScores(row["class"], row["precision"], row["recall"], row["f1"], row["support"])
            for row in sorted(run.metrics["per_class"], key=lambda row: str(row["class"]))
        ),
        float(chosen.mean()),
        float(chosen.max()),
        grid.selected_by if grid else "",
        study.classifiers.get(summary.head) if same else None,
    )


def published_overall(one: PublishedClassifier) -> dict[str, float]:
    """Each of ``OVERALL``: of the published table, then as the text has them."""
    return {name: float(getattr(one, name)) for name in OVERALL}


@dataclass(frozen=True)
class Record:
    """One figure, as CSV and JSON have it; what does not apply is empty or None.

    Attributes:
        corpus: whose figure it is.
        table: clips, agreement, classifiers or clusters.
        classifier: our name.
        tested: by utterance or new speakers.
        group: an emotion, or a group of speakers.
        measure: what is measured.
        ours: the figure.
        published: that of the study.
        difference: ours less the published one.
        run: the folder it is from.
    """

    corpus: str
    table: str
    classifier: str
    tested: str
    group: str
    measure: str
    ours: float
    published: float | None = None
    run: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the published figure."""
        return None if self.published is None else self.ours - self.published

    def as_dict(self) -> dict[str, Any]:
        """All of it, the difference after the figures."""
        values = asdict(self)
        run = values.pop("run")
        return values | {"difference": self.difference, "run": run}


def records(
    corpus: Manifest,
    agreement: Sequence[Agreement],
    study: PublishedStudy,
    tests: Sequence[Tested],
    clusterings: Mapping[str, StoredClustering],
) -> list[Record]:
    """Every figure of the report."""
    found = [
        Record(CORPUS, "clips", "", "", share.name, emotion, count)
        for share in shares(corpus)
        for emotion, count in share.clips.items()
    ]
    found += [
        Record(CORPUS, "agreement", "", "", row.emotion, "agreement", row.ours, row.published)
        for row in agreement
    ]
    for one in tests:
        found += _of_test(one)
    for stored in clusterings.values():
        found += _of_clusters(stored, study)
    return found


def _of_test(one: Tested) -> Iterator[Record]:
    about = (one.corpus, "classifiers", one.classifier, one.part)
    run = one.summary.folder.name
    published = published_overall(one.expected) if one.expected else {}
    clips = one.expected.tested if one.expected else None
    yield Record(*about, "", "clips", one.clips, clips, run)
    for name, value in one.overall.items():
        yield Record(*about, "", name, value, published.get(name), run)
    theirs = {ours.emotion: row for ours, row in one.beside()}
    for row in one.classes:
        for measure in MEASURES:
            figure = getattr(theirs[row.emotion], measure) if row.emotion in theirs else None
            yield Record(*about, row.emotion, measure, getattr(row, measure), figure, run)


def _of_clusters(stored: StoredClustering, study: PublishedStudy) -> Iterator[Record]:
    about = (stored.config.corpus, "clusters", "", "", "")
    name = stored.folder.name
    same = stored.config.corpus == CORPUS
    clips = len(stored.clustering.members.ids)
    yield Record(*about, "k", stored.clustering.k, len(study.clips) if same else None, name)
    yield Record(*about, "clips", clips, study.clustered if same else None, name)
    yield Record(*about, "silhouette", silhouette(stored), run=name)
    yield Record(*about, "explained_by_two", two_components(stored), run=name)
    for label, found in stored.clustering.agreements.items():
        for measure in ("ari", "ami", "purity", "purity_chance"):
            value = float(np.mean([getattr(one, measure) for one in found]))
            yield Record(*about[:-1], label, measure, value, run=name)


def silhouette(stored: StoredClustering) -> float:
    """Mean over seeds."""
    return float(np.mean(stored.clustering.trial.silhouette))


def two_components(stored: StoredClustering) -> float:
    """Share of the variance that the first two principal components explain."""
    return float(sum(stored.clustering.explained[:2]))
