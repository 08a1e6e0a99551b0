"""Published figures that ours are put beside: read from ``ser_cache/reference``, which names their source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ser_cache.errors import UnknownNameError
from ser_cache.packaged import packaged_rows


@dataclass(frozen=True)
class PublishedCorpus:
    """A corpus of a study, as the study counts it.

    Attributes:
        name: of its recipe and its manifest.
        language: as the study calls it.
        samples: how many utterances the study had.
        emotions: how many classes.
        explanation: what its count is of, as far as that can be told; not from the study.
        choice: what is taken here instead, and what follows from it; empty where it is the same clips.
    """

    name: str
    language: str
    samples: int
    emotions: int
    explanation: str = ""
    choice: str = ""


@dataclass(frozen=True)
class PublishedBackbone:
    """A backbone of a study.

    Attributes:
        name: its alias, which is also its folder in the cache.
        hub_id: the checkpoint.
        layers: number of Transformer blocks; the last one is what a head without ``multilayer`` reads.
    """

    name: str
    hub_id: str
    layers: int


@dataclass(frozen=True)
class Disagreement:
    """Where a study reports one thing twice.

    Attributes:
        backbone: the backbone.
        head: its best head, which both tables report.
        stated: the mean over corpora that Table 2 states, percent.
        mean: the mean of that backbone's column of Table 3, percent.
    """

    backbone: str
    head: str
    stated: float
    mean: float


@dataclass(frozen=True)
class Study:
    """A grid of backbones, corpora and heads with published F1, in percent.

    Attributes:
        name: what ``ser reproduce`` calls it.
        citation: the publication.
        protocol: the training protocol that redoes it.
        heads: in the order of its Table 2.
        corpora: by name, in the order of its tables.
        backbones: by name, likewise.
        head_means: its Table 2: F1 of (backbone, head), said to be the mean over corpora.
        best: its Table 3: F1 of (corpus, backbone) with the backbone's best head.
        best_head: of each backbone.
    """

    name: str
    citation: str
    protocol: str
    heads: tuple[str, ...]
    corpora: Mapping[str, PublishedCorpus]
    backbones: Mapping[str, PublishedBackbone]
    head_means: Mapping[tuple[str, str], float]
    best: Mapping[tuple[str, str], float]
    best_head: Mapping[str, str]

    @property
    def cells(self) -> int:
        """How many combinations of backbone, corpus and head the whole grid has."""
        return len(self.corpora) * len(self.backbones) * len(self.heads)

    @cached_property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """The backbones whose Table 2 is not the mean of Table 3, by more than rounding (0.005) explains."""
        found = []
        for name, head in self.best_head.items():
            values = [self.best[corpus, name] for corpus in self.corpora]
            row = Disagreement(name, head, self.head_means[name, head], sum(values) / len(values))
            if abs(row.stated - row.mean) > _ROUNDING:
                found.append(row)
        return tuple(found)


_ROUNDING = 0.01  # both tables have two decimals: 0.005 of the mean, and as much of what it is made of


def study_named(name: str) -> Study:
    """Look a study up.

    Raises:
        UnknownNameError: no such study.
    """
    if name not in STUDIES:
        raise UnknownNameError("study", name, STUDIES)
    return STUDIES[name]()


def _dasaro2024() -> Study:
    heads = packaged_rows("dasaro2024_table2_heads.csv")
    best = packaged_rows("dasaro2024_table3_best_head_f1.csv")
    columns = dict(column.split(":") for column in best[0] if ":" in column)
    return Study(
        name="dasaro2024",
        citation="D'Asaro, Márquez Villacís, Rizzo, Bottino: Using Large Speech Models for Feature "
        "Extraction in Cross-Lingual Speech Emotion Recognition. CLiC-it 2024.",
        protocol="dasaro2024",
        heads=tuple(column for column in heads[0] if column != "backbone"),
        corpora=_corpora("dasaro2024"),
        backbones={
            row["backbone"]: PublishedBackbone(row["backbone"], row["hub_id"], int(row["layers"]))
            for row in packaged_rows("dasaro2024_backbones.csv")
        },
        head_means={
            (row["backbone"], head): float(value)
            for row in heads
            for head, value in row.items()
            if head != "backbone"
        },
        best={
            (row["corpus"], name): float(row[f"{name}:{head}"])
            for row in best
            for name, head in columns.items()
        },
        best_head=columns,
    )


STUDIES: Mapping[str, Callable[[], Study]] = {"dasaro2024": _dasaro2024}
"""Every study whose figures are here, by name."""


def _corpora(study: str) -> dict[str, PublishedCorpus]:
    known = {row["corpus"]: row for row in packaged_rows(f"{study}_corpora.csv")}
    return {
        row["corpus"]: PublishedCorpus(
            name=row["corpus"],
            language=row["language"],
            samples=int(row["samples"]),
            emotions=int(row["emotions"]),
            explanation=known[row["corpus"]]["explanation"],
            choice=known[row["corpus"]]["choice"],
        )
        for row in packaged_rows(f"{study}_table1_corpora.csv")
    }


@dataclass(frozen=True)
class PublishedCrowd:
    """What others report of a corpus's raters, as fractions.

    Attributes:
        agreement: the winning emotion's share of the votes, by intended emotion.
        agreement_source: the publication.
        recognised: the share of votes for the intended emotion, by modality.
        recognised_source: the publication.
    """

    agreement: Mapping[str, float]
    agreement_source: str
    recognised: Mapping[str, float]
    recognised_source: str


def _cremad_crowd() -> PublishedCrowd:
    agreement = packaged_rows("wang2023_crowd_agreement_cremad.csv")
    recognised = packaged_rows("cao2014_recognition_cremad.csv")
    return PublishedCrowd(
        {row["emotion"]: float(row["agreement"]) for row in agreement},
        "Wang, Raud, Pal 2023",
        {row["modality"]: float(row["recognised"]) for row in recognised},
        "Cao et al. 2014, abstract",
    )


CROWDS: Mapping[str, Callable[[], PublishedCrowd]] = {"cremad": _cremad_crowd}
"""Every corpus of whose raters published figures are here, by name."""
