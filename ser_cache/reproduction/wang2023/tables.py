"""Our classifiers and clusters as tables, beside the study's where it has the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np

from ser_cache.clustering import StoredClustering
from ser_cache.reproduction.wang2023.results import (
    OVERALL,
    Tested,
    published_overall,
    silhouette,
    two_components,
)
from ser_cache.reproduction.wang2023.running import BY_UTTERANCE, NEW_SPEAKERS
from ser_cache.reproduction.wang2023.study import (
    CLASSIFIERS,
    CORPUS,
    MEASURES,
    TITLES,
    ClassScores,
    PublishedClassifier,
    PublishedStudy,
)
from ser_cache.sections import Section

_OVERALL = dict(zip(OVERALL, ("accuracy", "UA", "macro F1", "CV", "best"), strict=True))
_SHORT = {"precision": "P", "recall": "R", "f1": "F1", "support": "n"}


def overall_table(tests: Sequence[Tested]) -> Section:
    """Every classifier on every corpus: by utterance, beside the study, and on new speakers."""
    rows: list[tuple[str, ...]] = []
    for one in sorted(tests, key=_order):
        head = (one.corpus, one.classifier)
        rows.append((*head, one.part, f"{one.clips:,}", *(f"{one.overall[name]:.3f}" for name in OVERALL)))
        if one.expected:
            rows += [(*head, *cells) for cells in _published_rows(one, one.expected)]
    columns = {"corpus": "fold", "": "left", "tested": "left", "clips": "right"}
    columns |= dict.fromkeys(_OVERALL.values(), "right")
    return Section("MFCC with grid search: test scores", columns, rows, tuple(_overall_notes(tests)))


def _published_rows(one: Tested, expected: PublishedClassifier) -> list[tuple[str, ...]]:
    figures = published_overall(expected)
    differences = {name: value - figures[name] for name, value in one.overall.items()}
    return [
        ("published", f"{expected.tested:,}", *(f"{figures[name]:.3f}" for name in OVERALL)),
        ("diff", f"{one.clips - expected.tested:+,}", *(f"{differences[name]:+.3f}" for name in OVERALL)),
    ]


def _overall_notes(tests: Sequence[Tested]) -> list[str]:
    notes = ["CV, best: mean and best of the folds of the search, of the candidate it chose"]
    chosen = {one.part: one.selected_by.replace("_f1", " F1") for one in tests}
    told = ", ".join(f"{part} {score}" for part, score in sorted(chosen.items()))
    notes.append(f"what candidates are chosen by: {told}")
    beside = [one for one in tests if one.expected]
    if beside:
        one = max(beside, key=lambda one: one.clips)
        share = one.overall["accuracy"]
        error = sqrt(share * (1 - share) / one.clips)
        notes.append(
            "published accuracy and UA: as recall and support of its table imply; its CV: as in its text"
        )
        notes.append(
            f"another draw of {one.clips:,} clips moves an accuracy by {error:.3f} (standard error): a "
            "difference of less than twice that says nothing"
        )
    elif tests:
        notes.append(f"the study is on {CORPUS} alone: nothing published stands beside other corpora")
    return [*notes, *_costs(tests), *_cautions(tests)]


def _costs(tests: Sequence[Tested]) -> list[str]:
    """How much accuracy each classifier loses on new speakers, where both ways were tested."""
    accuracy = {(one.classifier, one.corpus, one.part): one.overall["accuracy"] for one in tests}
    found = []
    for name in CLASSIFIERS:
        lost = [
            f"{corpus} {accuracy[name, corpus, NEW_SPEAKERS] - value:+.3f}"
            for (classifier, corpus, part), value in accuracy.items()
            if (classifier, part) == (name, BY_UTTERANCE) and (name, corpus, NEW_SPEAKERS) in accuracy
        ]
        found += [f"what new speakers change in accuracy, {name}: {', '.join(lost)}"] if lost else []
    return found


def _cautions(tests: Sequence[Tested]) -> list[str]:
    """What the runs warn of, each warning once, after the corpora that it is about."""
    about: dict[str, list[str]] = {}
    for one in tests:
        for line in one.summary.warnings:
            about.setdefault(line, []).append(one.corpus)
    return [f"{', '.join(dict.fromkeys(corpora))}: {line}" for line, corpora in about.items()]


def published_tables(tests: Sequence[Tested]) -> list[Section]:
    """Each classifier's table of the study, with ours and the difference in every cell."""
    found: list[Section] = []
    for one in sorted(tests, key=_order):
        rows = [
            (
                ours.emotion,
                *_beside(ours.precision, theirs.precision),
                *_beside(ours.recall, theirs.recall),
                *_beside(ours.f1, theirs.f1),
                f"{ours.support}/{theirs.support}",
            )
            for ours, theirs in one.beside()
        ]
        columns = {"emotion": "left", "precision": "right", "dP": "right", "recall": "right", "dR": "right"}
        columns |= {"F1": "right", "dF1": "right", "support": "right"}
        legend = () if found else ("ours/published; dP, dR, dF1: ours less the published figure",)
        if rows:
            found.append(
                Section(f"{one.corpus}, {TITLES[one.classifier]}: the study's table", columns, rows, legend)
            )
    return found


def _beside(ours: float, published: float) -> tuple[str, str]:
    return f"{ours:.2f}/{published:.2f}", f"{ours - published:+.2f}"


def class_tables(tests: Sequence[Tested]) -> list[Section]:
    """Every emotion of each corpus and classifier: by utterance, and on new speakers.

    What stands in :func:`published_tables` is not repeated.
    """
    found: list[Section] = []
    rest = [one for one in sorted(tests, key=_order) if not one.expected]
    for corpus, name in dict.fromkeys((one.corpus, one.classifier) for one in rest):
        ways = {one.part: one for one in rest if (one.corpus, one.classifier) == (corpus, name)}
        classes = {part: {row.emotion: row for row in one.classes} for part, one in ways.items()}
        emotions = sorted({emotion for rows in classes.values() for emotion in rows})
        columns = {"emotion": "left"}
        for part in ways:
            columns |= {_heading(part, measure): "right" for measure in MEASURES}
        rows = [
            (emotion, *(cell for part in ways for cell in _cells(classes[part].get(emotion))))
            for emotion in emotions
        ]
        legend = () if found else _legend([one.part for one in rest])
        found.append(Section(f"{corpus}, {TITLES[name]}: every emotion", columns, rows, legend))
    return found


def _heading(part: str, measure: str) -> str:
    return _SHORT[measure] if part == BY_UTTERANCE else f"{_SHORT[measure]} new"


def _legend(parts: Sequence[str]) -> tuple[str, ...]:
    words = "P, R, F1, n: precision, recall, F1, support"
    return (f"{words}; new: on {NEW_SPEAKERS}" if NEW_SPEAKERS in parts else f"{words}, {BY_UTTERANCE}",)


def _cells(row: ClassScores | None) -> tuple[str, ...]:
    if row is None:
        return ("", "", "", "")
    return (*(f"{getattr(row, measure):.2f}" for measure in MEASURES[:-1]), f"{row.support:,}")


def cluster_table(clusterings: Mapping[str, StoredClustering], study: PublishedStudy) -> Section:
    """k-means on every corpus, beside what the study says of its own."""
    rows: list[tuple[str, ...]] = []
    for corpus, stored in clusterings.items():
        found = stored.clustering
        means = {
            label: {key: float(np.mean([getattr(a, key) for a in many])) for key in _AGREEMENT}
            for label, many in found.agreements.items()
        }
        emotion = means.get("emotion", dict.fromkeys(_AGREEMENT, float("nan")))
        closest = max(means, key=lambda label: means[label]["ami"], default="")
        rows.append(
            (
                *(corpus, str(found.k), f"{len(found.members.ids):,}", f"{silhouette(stored):.3f}"),
                f"{emotion['ari']:.2f}",
                f"{emotion['purity']:.2f} ({emotion['purity_chance']:.2f})",
                f"{closest} {means[closest]['ami']:.2f}" if closest else "",
                f"{two_components(stored):.0%}",
            )
        )
        if corpus == CORPUS:
            below = f"< {study.silhouette_below}"
            rows.append(("published", str(len(study.clips)), f"{study.clustered:,}", below, "", "", "", ""))
            difference = len(found.members.ids) - study.clustered
            rows.append(("diff", "", f"{difference:+,}", "", "", "", "", ""))
    columns = {"corpus": "fold", "k": "right", "clips": "right", "silhouette": "right", "ARI": "right"}
    columns |= {"purity (chance)": "right", "closest, AMI": "left", "2 PCs": "right"}
    notes = [
        "k-means of standardised MFCC; ARI and purity: with emotion",
        "closest: the label that clusters agree with best; 2 PCs: variance of two components",
    ]
    return Section("Clusters of MFCC", columns, rows, (*notes, *_silhouette_note(clusterings, study)))


_AGREEMENT = ("ari", "ami", "purity", "purity_chance")


def _silhouette_note(clusterings: Mapping[str, StoredClustering], study: PublishedStudy) -> list[str]:
    above = [name for name, one in clusterings.items() if silhouette(one) >= study.silhouette_below]
    limit = study.silhouette_below
    if not above:
        return [f"every silhouette is below {limit}, as in the study"]
    return [f"silhouette not below {limit}, unlike the study's: {', '.join(above)}"]


def run_table(tests: Sequence[Tested], clusterings: Mapping[str, StoredClustering]) -> Section:
    """Where each figure is from."""
    rows = [
        (one.corpus, one.classifier, one.part, one.summary.folder.name) for one in sorted(tests, key=_order)
    ]
    rows += [(corpus, "k-means", "", stored.folder.name) for corpus, stored in clusterings.items()]
    columns = {"corpus": "fold", "": "left", "tested": "left", "folder": "left"}
    notes = ("intervals over speakers, confusion, grid: ser runs FOLDER; k-means: ser cluster --list",)
    return Section("Runs", columns, rows, notes)


def _order(one: Tested) -> tuple[bool, str, int, bool]:
    """The study's corpus first, classifiers as in the study, its way of testing first."""
    place = list(CLASSIFIERS).index(one.classifier)
    return one.corpus != CORPUS, one.corpus, place, one.part != BY_UTTERANCE
