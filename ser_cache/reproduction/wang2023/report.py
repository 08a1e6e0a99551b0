"""The report on the study redone: what needs no audio, what was run, what contradicts, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ser_cache.clustering import StoredClustering
from ser_cache.manifest import Manifest
from ser_cache.official import ready_manifest
from ser_cache.reproduction.wang2023.contradictions import (
    Contradiction,
    contradiction_table,
    contradictions,
    implied_table,
)
from ser_cache.reproduction.wang2023.corpus_tables import Agreement, agreement_table, agreements, share_table
from ser_cache.reproduction.wang2023.planning import (
    ABSENT,
    Planned,
    how_to_get,
    nearest_probes,
    not_reproduced,
    plan_table,
)
from ser_cache.reproduction.wang2023.results import Record, Tested, records
from ser_cache.reproduction.wang2023.running import PROTOCOLS, StudyOptions, study_split
from ser_cache.reproduction.wang2023.study import CITATION, CORPUS, PublishedStudy, published
from ser_cache.reproduction.wang2023.tables import (
    class_tables,
    cluster_table,
    overall_table,
    published_tables,
    run_table,
)
from ser_cache.sections import Section
from ser_cache.splits import split_config


@dataclass
class Report:
    """Everything that is said of the study; ``tests`` and ``clusterings`` fill as things are run.

    Attributes:
        options: what is run.
        plan: the corpora, the study's own among them.
        aliases: hub id -> alias, of the checkpoints that the study fine-tuned.
        runs: the folder of all runs.
        places: words that say where things live, such as ``--cache`` and a folder.
        tests: classifiers that were tested.
        clusterings: by corpus.
    """

    options: StudyOptions
    plan: Sequence[Planned]
    aliases: Mapping[str, str]
    runs: Path
    places: Sequence[str] = ()
    tests: list[Tested] = field(default_factory=list)
    clusterings: dict[str, StoredClustering] = field(default_factory=dict)

    @property
    def study(self) -> PublishedStudy:
        """The published figures."""
        return published()

    @cached_property
    def corpus(self) -> Manifest:
        """All of CREMA-D, as it comes with ser_cache, without its audio."""
        return ready_manifest(CORPUS)

    @cached_property
    def agreements(self) -> list[Agreement]:
        """Of its raters."""
        return agreements(self.corpus, self.study.agreement)

    @cached_property
    def contradictions(self) -> list[Contradiction]:
        """Those of the paper."""
        return contradictions(self.study, self.corpus, study_split(self.options.split_seed))

    @property
    def introduction(self) -> tuple[str, ...]:
        """What was followed, in two lines."""
        options = self.options
        ways = [f"{part} ({_split(options, part)})" for part in options.parts if part in PROTOCOLS]
        seeds = ", ".join(map(str, options.seeds))
        return CITATION, f"Features {options.features}; tested {', and on '.join(ways)}; seeds {seeds}."

    @property
    def reused(self) -> int:
        """How many runs and clusterings were there already."""
        runs = sum(one.summary.reused for one in self.tests)
        return runs + sum(one.reused for one in self.clusterings.values())

    @property
    def made(self) -> int:
        """How many runs and clusterings there are."""
        return len(self.tests) + len(self.clusterings)

    def opening(self) -> list[Section]:
        """What is known before anything is run."""
        return [
            plan_table(self.plan, self.options),
            share_table(self.corpus),
            agreement_table(self.agreements),
        ]

    def results(self) -> list[Section]:
        """What was run; empty before."""
        found = [cluster_table(self.clusterings, self.study)] if self.clusterings else []
        if self.tests:
            found += [overall_table(self.tests), *published_tables(self.tests), *class_tables(self.tests)]
        return [*found, run_table(self.tests, self.clusterings)] if found else []

    def closing(self) -> list[Section]:
        """What is to be said of the paper, and what is missing."""
        absent = any(one.corpus == CORPUS and one.features == ABSENT for one in self.plan)
        return [
            implied_table(self.study),
            contradiction_table(self.contradictions, self.study),
            not_reproduced(self.study, self.aliases, self.runs),
            *([how_to_get(self.places)] if absent else []),
        ]

    def sections(self) -> list[Section]:
        """All of it."""
        return [*self.opening(), *self.results(), *self.closing()]

    def records(self) -> list[Record]:
        """Every figure, one a row."""
        return records(self.corpus, self.agreements, self.study, self.tests, self.clusterings)

    def as_data(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        probes = nearest_probes(self.study, self.aliases, self.runs)
        models = []
        for model in self.study.models:
            probe = probes.get(model.hub_id)
            here = {"best_here": probe.folder.name, "macro_f1": probe.macro_f1.mean} if probe else {}
            models.append({**asdict(model), "alias": self.aliases[model.hub_id], **here})
        return {
            "study": CITATION,
            "corpora": [
                {"corpus": one.corpus, "features": one.features, "state": dict(one.state)}
                for one in self.plan
            ],
            "figures": [record.as_dict() for record in self.records()],
            "implied": [
                {
                    "classifier": name,
                    "best_accuracy": one.best_accuracy,
                    "best_fold": one.best_fold,
                    "fold_mean": one.fold_mean,
                    "accuracy": one.accuracy,
                    "ua": one.ua,
                    "macro_f1": one.macro_f1,
                    "weighted_f1": one.weighted_f1,
                    "tested": one.tested,
                    "off_share": one.distance_from_shares(self.study.clips),
                }
                for name, one in self.study.classifiers.items()
            ],
            "contradictions": [asdict(one) for one in self.contradictions],
            "not_reproduced": models,
        }


def _split(options: StudyOptions, part: str) -> str:
    """A part's protocol and split in words."""
    wanted = options.baseline(part)
    settings = ", ".join(f"{name} {value}" for name, value in split_config(wanted.split).items())
    return f"protocol {wanted.protocol.name}; split {settings}"
