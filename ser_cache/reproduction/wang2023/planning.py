"""What of the study can run here: which corpora have MFCC or audio, what is done already, what is missing."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ser_cache.baselines import classifier_named
from ser_cache.corpora import known_corpus
from ser_cache.errors import ResultsError
from ser_cache.manifest import Manifest
from ser_cache.reproduction.wang2023.running import PROTOCOLS, StudyOptions
from ser_cache.reproduction.wang2023.study import CORPUS, PublishedStudy
from ser_cache.results import RunConfig, RunSummary, list_runs, read_run, summarise
from ser_cache.sections import Section
from ser_cache.splits import split_config

CACHED, AUDIO, ABSENT = "cached", "to extract", "no audio"
"""What is at hand of a corpus: its MFCC, its audio, or neither."""
DONE, PARTLY, READY, NOTHING = "done", "part", "ready", "-"
"""Whether all runs of a part are there, some, or none and they can be made, or cannot."""


@dataclass(frozen=True)
class Planned:
    """A corpus that the study is, or could be, run on.

    Attributes:
        corpus: its name.
        manifest: None where it has none here.
        features: ``CACHED``, ``AUDIO`` or ``ABSENT``.
        state: of each part with classifiers, in words.
    """

    corpus: str
    manifest: Manifest | None
    features: str
    state: Mapping[str, str]


def runs_found(options: StudyOptions, runs: Path) -> set[tuple[str, str, str]]:
    """Corpus, part and classifier of every run that may answer.

    Whether labels or features have changed since shows only when the part is run.

    Args:
        options: what is to be run.
        runs: the folder of all runs.
    """
    found = set()
    for folder in list_runs(runs):
        with suppress(ResultsError):  # a damaged run answers nothing; running it again says so
            config = read_run(folder).config
            found |= {
                (config.corpus, part, config.head)
                for part in options.parts
                if part in PROTOCOLS and _answers(config, part, options)
            }
    return found


def _answers(config: RunConfig, part: str, options: StudyOptions) -> bool:
    if config.head not in options.classifiers or config.emotions:
        return False
    wanted = options.baseline(part)
    return (
        config.backbone == options.features
        and config.protocol.get("name") == wanted.protocol.name
        and dict(config.split) == split_config(wanted.split)
        and config.seeds == (options.seeds if classifier_named(config.head).seeded else (0,))
    )


def planned(
    corpus: str,
    manifest: Manifest | None,
    features: str,
    options: StudyOptions,
    found: set[tuple[str, str, str]],
) -> Planned:
    """What is at hand of one corpus.

    Args:
        corpus: its name.
        manifest: None where it has none here.
        features: ``CACHED``, ``AUDIO`` or ``ABSENT``.
        options: what is to be run.
        found: by :func:`runs_found`.
    """
    state = {}
    for part in options.parts:
        if part not in PROTOCOLS:
            continue
        done = sum((corpus, part, name) in found for name in options.classifiers)
        can_run = READY if features != ABSENT else NOTHING
        state[part] = DONE if done == len(options.classifiers) else PARTLY if done else can_run
    return Planned(corpus, manifest, features, state)


def plan_table(corpora: Sequence[Planned], options: StudyOptions) -> Section:
    """What is at hand: a row a corpus."""
    parts = [part for part in options.parts if part in PROTOCOLS]
    columns = {"corpus": "fold", "clips": "right", "speakers": "right", "emotions": "right"}
    columns |= {options.features: "left"} | dict.fromkeys(parts, "left")
    rows = []
    for one in corpora:
        made = one.manifest
        counts = (len(made), len(made.speakers), len(made.emotions)) if made else ()
        cells = [f"{count:,}" for count in counts] or [NOTHING] * 3
        rows.append((one.corpus, *cells, one.features, *(one.state[part] for part in parts)))
    notes = [
        f"{', '.join(options.classifiers)} tested by utterance, as the study does"
        + (", and on new speakers" if options.held_out else ""),
        "done: trained already; part: some are; ready: can run",
    ]
    if AUDIO in [one.features for one in corpora]:
        notes.append(f"{AUDIO}: {options.features} takes seconds and is extracted first")
    notes += _other_corpus(corpora)
    return Section("wang2023: what of it runs here", columns, rows, tuple(notes))


def _other_corpus(corpora: Sequence[Planned]) -> list[str]:
    """Where the study's corpus is not here as a whole, or with other labels."""
    whole = known_corpus(CORPUS).expected
    own = next((one.manifest for one in corpora if one.corpus == CORPUS and one.manifest), None)
    if own is None or Counter(clip.emotion for clip in own.utterances) == whole:
        return []
    clips = f"{len(own):,} of {sum(whole.values()):,} clips"
    return [f"{CORPUS} here is not the whole: {clips}; for that alone it would differ from the published"]


def how_to_get(places: Sequence[str]) -> Section:
    """Where the study's corpus is had, and the commands that follow, ready to be pasted."""
    recipe = known_corpus(CORPUS)
    manifests = list(places[places.index("--manifests") :][:2]) if "--manifests" in places else []
    lines = (
        f"{recipe.name}: {recipe.title}",
        f"  from {recipe.source}",
        f"  licence: {recipe.licence}",
        f"  {recipe.download}",
        f"  what to mind: ser corpora --how {CORPUS}",
        "then:",
        f"  {shlex.join(['ser', 'manifest', CORPUS, 'ROOT', *manifests])}",
        f"  {shlex.join(['ser', 'reproduce', 'wang2023', *places])}",
    )
    return Section("The study's corpus is not here; how to get it", {}, (), lines)


def nearest_probes(study: PublishedStudy, aliases: Mapping[str, str], runs: Path) -> dict[str, RunSummary]:
    """The best probe of each fine-tuned checkpoint on the study's corpus, by macro F1, where there is one.

    Args:
        study: its figures.
        aliases: hub id -> alias; a folder in the cache is called by either.
        runs: the folder of all runs.
    """
    best: dict[str, RunSummary] = {}
    folders = {
        model.hub_id: {model.hub_id.replace("/", "--"), aliases[model.hub_id]} for model in study.models
    }
    for folder in list_runs(runs):
        with suppress(ResultsError):
            run = read_run(folder)
            config = run.config
            if config.test_corpus != CORPUS or config.emotions:
                continue
            for hub_id, names in folders.items():
                if config.backbone.partition("+")[0] in names:
                    summary = summarise(run)
                    known = best.get(hub_id)
                    if known is None or summary.macro_f1.mean > known.macro_f1.mean:
                        best[hub_id] = summary
    return best


def not_reproduced(study: PublishedStudy, aliases: Mapping[str, str], runs: Path) -> Section:
    """What a cache of frozen features cannot redo, and what is nearest to it here.

    Args:
        study: its figures.
        aliases: hub id -> alias.
        runs: the folder of all runs, whose probes stand beside.
    """
    probes = nearest_probes(study, aliases, runs)
    rows = []
    for model in study.models:
        probe = probes.get(model.hub_id)
        ours = (probe.head, f"{probe.macro_f1.mean:.4f}") if probe else ("", "")
        cells = (aliases[model.hub_id], str(model.epochs), f"{model.learning_rate:g}", f"{model.f1:.4f}")
        rows.append((*cells, *ours))
    columns = {"fine-tuned": "left", "epochs": "right", "rate": "right", "published F1": "right"}
    columns |= {"best here": "left", "macro F1": "right"}
    subgroups = (
        "its errors by subgroup are those of the fine-tuned models; nearest: predictions.csv of a run, "
        "beside gender, age, race and ethnicity of the manifest"
    )
    notes = (
        "fine-tuning changes the backbone, of which a cache holds one state; nearest, frozen:",
        f"  ser extract --model {rows[0][0]} --corpus {CORPUS}",
        f"  ser probe --head all --model {rows[0][0]} --corpus {CORPUS}",
        subgroups,
    )
    return Section("Not reproduced here", columns, rows, notes)
