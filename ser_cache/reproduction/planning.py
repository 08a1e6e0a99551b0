"""Plan a published grid: which cells are at hand, which lack a cache or a corpus, and how to get those."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ser_cache.corpora import known_corpus
from ser_cache.errors import ResultsError, UnknownNameError
from ser_cache.manifest import Manifest
from ser_cache.published import PublishedCorpus, Study
from ser_cache.reproduction.columns import Column, further_columns, published_columns
from ser_cache.results import RunConfig, list_runs, read_run
from ser_cache.splits import SplitOptions, split_config
from ser_cache.store import CacheSummary, summaries

TRAINED, READY, PARTLY, NOT_CACHED, NO_MANIFEST = "done", "ready", "part", "-", "no"


@dataclass(frozen=True)
class ReproductionOptions:
    """Which part of a grid to redo, and how.

    Attributes:
        models: backbones of the study, or variants of them in the cache; all for none.
        corpora: corpora of the study; all for none.
        heads: heads of the study; all for none.
        also: folders of the cache that are no backbone of the study.
        split: how each corpus is divided.
        seeds: of the models.
        device: auto, cpu or cuda.
        force: train again what is there already.
    """

    models: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    split: SplitOptions = field(default_factory=SplitOptions)
    seeds: tuple[int, ...] = (0,)
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class Job:
    """One corpus under one backbone, with the heads to train on it."""

    manifest: Manifest
    column: Column
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What can be done of a grid.

    Attributes:
        study: the grid.
        options: what was asked for.
        corpora: the chosen corpora.
        columns: the chosen backbones, those of the study first.
        heads: the chosen heads.
        state: of each (corpus, folder): done, ready, part (not completely cached), ``-`` (not cached) or no
            (the corpus has no manifest).
        jobs: what can run, done or not: a run that is there is reused.
        notes: what must be known before comparing, one line each.
    """

    study: Study
    options: ReproductionOptions
    corpora: tuple[PublishedCorpus, ...]
    columns: tuple[Column, ...]
    heads: tuple[str, ...]
    state: Mapping[tuple[str, str], str]
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]

    @property
    def coverage(self) -> str:
        """How much of the whole grid is at hand, in words."""
        cells = sum(len(job.heads) for job in self.jobs if job.column.published)
        further = sum(len(job.heads) for job in self.jobs if not job.column.published)
        beside = f", and {further} of backbones that it does not have" if further else ""
        asked = (
            len(self.heads) * len(self.corpora) * sum(column.published is not None for column in self.columns)
        )
        of = f"{asked} cells asked for" if asked < self.study.cells else f"{asked} cells"
        return f"{cells} of the {of} of {self.study.name} can run here{beside}"

    def to_do(self, places: Sequence[str] = ()) -> list[str]:
        """What is missing and the commands that get it, ready to be pasted.

        Args:
            places: words that say where things live, such as ``--cache`` and a folder.
        """
        lines = []
        for corpus in self.corpora:
            if all(self.state[corpus.name, column.folder] == NO_MANIFEST for column in self.columns):
                lines += _how_to_get(corpus, self.study, places)
        published = [column for column in self.columns if column.published]
        for column in published:
            lacking = [c for c in self.corpora if self.state[c.name, column.folder] in (PARTLY, NOT_CACHED)]
            if lacking:
                lines.append(_extraction(column, [corpus.name for corpus in lacking], places))
        absent = [c.name for c in self.corpora if (c.name, NO_MANIFEST) in _states(self)]
        if absent and published:
            example = _extraction(published[0], absent[:1], places)
            lines.append(f"then, for each new corpus and each backbone: {example}")
        if lines and any(column.folder.startswith("whisper") for column in published):
            lines.append("for Whisper, --whisper-context full pads audio to 30 s, as transformers does")
        return lines


def _states(plan: Plan) -> set[tuple[str, str]]:
    return {(corpus, state) for (corpus, _), state in plan.state.items()}


def make_plan(
    study: Study, options: ReproductionOptions, manifests: Mapping[str, Manifest], cache: Path, runs: Path
) -> Plan:
    """Look what of a grid is at hand. Reads headers and configurations only.

    Args:
        study: the grid.
        options: which part of it.
        manifests: by corpus, those there are.
        cache: root of the cache.
        runs: folder of all runs.

    Raises:
        UnknownNameError: a corpus, backbone or head that the study does not have, or a further backbone that
            is not cached.
    """
    corpora = tuple(study.corpora[name] for name in _chosen("corpus", options.corpora, study.corpora))
    heads = _chosen("head", options.heads, study.heads)
    wanted = {corpus.name for corpus in corpora}
    known = {name: manifests[name].utterances for name in manifests.keys() & wanted}
    cached = summaries(cache, known)
    columns = published_columns(study, options.models, cached, cache)
    columns += further_columns(options.also, cached, cache)
    held = {(row.corpus, row.backbone): row for row in cached}
    trained = _trained(study, options, runs)
    state, jobs = {}, []
    for corpus in corpora:
        for column in columns:
            row = held.get((corpus.name, column.folder))
            possible = _possible(heads, row)
            state[corpus.name, column.folder] = _state(corpus.name in known, row, possible, trained)
            if state[corpus.name, column.folder] in (TRAINED, READY):
                jobs.append(Job(manifests[corpus.name], column, possible))
    notes = tuple(line for column in columns for line in column.remarks)
    if options.split.kind != SplitOptions().kind:
        notes += (f"split {options.split.kind}: the paper's is {SplitOptions().kind}",)
    notes += _other_corpora(corpora, manifests) + _heads_left_out(heads, jobs)
    return Plan(study, options, corpora, columns, heads, state, tuple(jobs), notes)


def _chosen(kind: str, names: Sequence[str], known: Sequence[str] | Mapping[str, object]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return tuple(name for name in known if not names or name in names)


def _possible(heads: tuple[str, ...], row: CacheSummary | None) -> tuple[str, ...]:
    """The heads that the features suffice for; where only time means are kept, those that need no frames."""
    if row is None or row.fingerprint is None or row.fingerprint.storage["tier"] != "pooled":
        return heads
    from ser_cache.heads import head_kind  # imports torch, which a plan seldom needs

    return tuple(head for head in heads if head_kind(head).pools_first)


def _state(
    has_manifest: bool,
    row: CacheSummary | None,
    heads: Sequence[str],
    trained: Set[tuple[str, str, str, str, int]],
) -> str:
    if not has_manifest:
        return NO_MANIFEST
    if row is None:
        return NOT_CACHED
    if not row.complete or row.fingerprint is None:
        return PARTLY
    data = (row.fingerprint.digest, row.layers[-1])
    if heads and all((row.corpus, row.backbone, head, *data) in trained for head in heads):
        return TRAINED
    return READY if heads else PARTLY


def _trained(study: Study, options: ReproductionOptions, runs: Path) -> Set[tuple[str, str, str, str, int]]:
    """Corpus, backbone, head, features and last layer of each run that may answer a cell.

    Whether labels have changed since shows only when the cell runs.
    """
    found = set()
    for folder in list_runs(runs):
        with suppress(ResultsError):  # a damaged run answers nothing; training its cell says so
            config = read_run(folder).config
            if _answers(config, study, options):
                cell = (config.corpus, config.backbone, config.head)
                found.add((*cell, config.data.fingerprint, config.layers[-1]))
    return found


def _answers(config: RunConfig, study: Study, options: ReproductionOptions) -> bool:
    return (
        config.protocol.get("name") == study.protocol
        and not config.emotions
        and config.seeds == options.seeds
        and dict(config.split) == split_config(options.split)
    )


def _other_corpora(corpora: Sequence[PublishedCorpus], manifests: Mapping[str, Manifest]) -> tuple[str, ...]:
    """Where a corpus here is not the one of the study."""
    notes = []
    for corpus in corpora:
        manifest = manifests.get(corpus.name)
        if manifest is None:
            continue
        here, there = (len(manifest), len(manifest.emotions)), (corpus.samples, corpus.emotions)
        if here != there:
            notes.append(
                f"{corpus.name}: {here[0]:,} utterances of {here[1]} emotions here, "
                f"{there[0]:,} of {there[1]} in the paper (see ser corpora --check)"
            )
    return tuple(notes)


def _heads_left_out(heads: Sequence[str], jobs: Sequence[Job]) -> tuple[str, ...]:
    return tuple(
        f"{job.manifest.corpus}: {job.column.folder} keeps time means only; left out: "
        f"{', '.join(head for head in heads if head not in job.heads)}"
        for job in jobs
        if len(job.heads) < len(heads)
    )


def _how_to_get(corpus: PublishedCorpus, study: Study, places: Sequence[str]) -> list[str]:
    """A corpus without a manifest: what it is, whence it comes, and the command that lists it."""
    recipe = known_corpus(corpus.name)
    command = shlex.join(["ser", "manifest", corpus.name, "ROOT", *_of(places, "--manifests")])
    lines = [
        f"{corpus.name}: {recipe.title} ({corpus.language}, {corpus.samples:,} samples in {study.name})",
        f"  from {recipe.source}; licence: {recipe.licence}",
        f"  {command}",
    ]
    return lines + ([f"  not verified: {recipe.unverified}"] if recipe.unverified else [])


def _extraction(column: Column, corpora: Sequence[str], places: Sequence[str]) -> str:
    base, *variants = column.folder.split("+")
    model = column.published.name if column.published else base
    words = ["ser", "extract", "--model", model]
    words += [word for corpus in corpora for word in ("--corpus", corpus)]
    rest = f" (with the options that make +{'+'.join(variants)})" if variants else ""
    return shlex.join([*words, *places]) + rest


def _of(places: Sequence[str], option: str) -> list[str]:
    """The option of that name and its value, where it is among the words."""
    return list(places[places.index(option) : places.index(option) + 2]) if option in places else []
