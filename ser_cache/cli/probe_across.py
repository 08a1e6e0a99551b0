"""``ser probe --train A --test B``: which corpora are set against each other, and their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_cache.cli import screen
from ser_cache.cli.options import chosen_manifests
from ser_cache.cli.probe_options import fitting
from ser_cache.errors import SettingsError, SplitError

if TYPE_CHECKING:
    from ser_cache.cross_corpus import Crossing
    from ser_cache.emotions import EmotionChoice
    from ser_cache.manifest import Manifest
    from ser_cache.probing import ProbeOptions
    from ser_cache.results import RunSummary
    from ser_cache.settings import Locations
    from ser_cache.splits import SplitOptions
    from ser_cache.store import CacheSummary

ALL = "all"
"""Every corpus that is cached, but for those on the other side."""


@dataclass(frozen=True)
class CrossJob:
    """Corpora set against each other, and a backbone's folder in the cache."""

    crossing: Crossing
    backbone: str

    @property
    def name(self) -> str:
        """What an error calls it."""
        return f"{self.crossing.name('+'.join(m.corpus for m in self.crossing.test))}, {self.backbone}"


def cross_jobs(
    where: Locations,
    backbones: Sequence[str],
    train: Sequence[str],
    test: Sequence[str],
    choice: EmotionChoice | None,
    places: Sequence[str],
    *,
    named: bool,
) -> list[CrossJob]:
    """One job a backbone that is cached for every corpus named.

    Args:
        where: where things live.
        backbones: folders in the cache.
        train: names of corpora, or "all".
        test: likewise.
        choice: the classes; those common to all of the corpora when None.
        places: what a command in a message needs to find the same folders.
        named: whether the backbones were asked for by name: one that lacks a corpus is then an error, and
            otherwise left out with a line.

    Raises:
        SettingsError: a side is missing, both are "all", or nothing is cached for every corpus.
        SerCacheError: the corpora cannot be set against each other; see :func:`ser_cache.cross_corpus.cross`.
    """
    from ser_cache.cross_corpus import cross
    from ser_cache.store import summaries

    _check_sides(train, test)
    explicit = [name for name in (*train, *test) if name != ALL]
    whole = {m.corpus: m for m in chosen_manifests(where, () if ALL in (*train, *test) else explicit)}
    if absent := [name for name in explicit if name not in whole]:
        chosen_manifests(where, absent)  # raises, and says how to prepare it
    cached = summaries(where.cache)
    jobs, lacking = [], []
    for backbone in backbones:
        own = [row for row in cached if row.backbone == backbone]
        there = {row.corpus: row for row in own if row.corpus in whole}
        if absent := [name for name in explicit if name not in there]:
            lacking.append(_not_cached(where, backbone, absent[0], cached, places))
            continue
        pools = {corpus: whole[corpus] for corpus in there}
        sides = [_side(own, other, pools) for own, other in ((train, test), (test, train))]
        if ALL in (*train, *test):
            for row in own:
                if row.corpus not in whole:
                    screen.note(f"skipped: {row.corpus} is cached for {backbone} but has no manifest here.")
            sides = _compatible(train, sides, explicit, there, choice)
        jobs.append(CrossJob(cross(sides[0], sides[1], choice), backbone))
    if lacking and (named or not jobs):
        raise SettingsError(lacking[0])
    for line in lacking:
        screen.note(f"skipped: {line}")
    if not jobs:
        raise SettingsError(f"nothing is cached in {where.cache}; begin with: ser extract --model MODEL")
    return jobs


def tell(jobs: Sequence[CrossJob], split: SplitOptions) -> None:
    """Say once what is trained on, who validates and what is tested, and what is left out of each."""
    from ser_cache.cross_corpus import cross_split
    from ser_cache.joined_features import qualified

    told: list[str] = []
    for job in jobs:
        crossing, division = job.crossing, cross_split(job.crossing, split)
        told.append(f"classes: {', '.join(crossing.classes)}")
        speaker = {utterance.id: utterance.speaker for utterance in crossing.utterances()}
        for manifest in crossing.train:
            own = [id_ for id_ in division.validation if id_.startswith(qualified(manifest.corpus, ""))]
            who = screen.count(len({speaker[id_] for id_ in own}), "speaker")
            told.append(f"train {manifest.corpus}: {manifest.summary}; {len(own):,} of {who} validate")
        told += [f"test {manifest.corpus}: {manifest.summary}" for manifest in crossing.test]
    for line in dict.fromkeys(told):
        screen.note(line)


def probe_across_one(
    where: Locations,
    job: CrossJob,
    options: ProbeOptions,
    heads: Sequence[str],
    layers: Sequence[str],
    places: Sequence[str],
) -> list[RunSummary]:
    """Train on one side and test on the other."""
    from ser_cache.joined_features import JoinedFeatures
    from ser_cache.probing import Progress, probe_across
    from ser_cache.store import open_features

    with ExitStack() as stack:
        opened = [
            stack.enter_context(
                open_features(where.cache / job.backbone / manifest.corpus, manifest.utterances, places)
            )
            for manifest in job.crossing.corpora
        ]
        features = JoinedFeatures(opened)
        options = fitting(options, features, heads, layers)
        bar = stack.enter_context(screen.bar(job.name, 1))

        def show(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, progress.heads)

        return probe_across(features, job.crossing, options, where.runs, show)


def _check_sides(train: Sequence[str], test: Sequence[str]) -> None:
    for given, other, lacking in ((train, "--train", "--test"), (test, "--test", "--train")):
        if given and not (test if given is train else train):
            raise SettingsError(
                f"{other} {given[0]} needs {lacking} as well: which corpus the other side is. "
                "Within one corpus: ser probe --corpus NAME"
            )
    if ALL in train and ALL in test:
        raise SettingsError("--train all and --test all leave nobody for either side; name one of them.")


def _side(own: Sequence[str], other: Sequence[str], pools: dict[str, Manifest]) -> list[Manifest]:
    if ALL in own:
        return [manifest for corpus, manifest in pools.items() if corpus not in other]
    return [pools[corpus] for corpus in dict.fromkeys(own)]


def _compatible(
    train: Sequence[str],
    sides: Sequence[list[Manifest]],
    explicit: Sequence[str],
    cached: Mapping[str, CacheSummary],
    choice: EmotionChoice | None,
) -> list[list[Manifest]]:
    """The sides without those of "all" that cannot be set against what was named; a line for each."""
    many = 0 if ALL in train else 1
    named = [manifest for side in sides for manifest in side if manifest.corpus in explicit]
    kept = []
    for manifest in sides[many]:
        reason = "" if manifest.corpus in explicit else _obstacle(manifest, named, cached, choice)
        if reason:
            screen.note(f"skipped: {manifest.corpus} {reason}.")
        else:
            kept.append(manifest)
    if not kept:
        names = ", ".join(manifest.corpus for manifest in named)
        raise SplitError(f"beside {names} no corpus is cached that could be set against it; name some.")
    return [kept, sides[1]] if many == 0 else [sides[0], kept]


def _obstacle(
    manifest: Manifest,
    named: Sequence[Manifest],
    cached: Mapping[str, CacheSummary],
    choice: EmotionChoice | None,
) -> str:
    """Why a corpus cannot be set against those named, as the rest of a sentence; empty if it can."""
    from ser_cache.cross_corpus import shared_recordings
    from ser_cache.emotions import absent_classes

    row, other = cached[manifest.corpus], cached[named[0].corpus]
    if not row.complete:
        return f"is not cached completely for {row.backbone}"
    if row.fingerprint and other.fingerprint and row.fingerprint.digest != other.fingerprint.digest:
        return f"has features that were made otherwise than those of {other.corpus} (see ser cache ls)"
    if twin := next((one.corpus for one in named if shared_recordings(manifest, one)), ""):
        return f"has recordings of {twin}"
    if choice is not None:
        absent = absent_classes(manifest, choice)
        return f"has no {' and no '.join(absent)}" if absent else ""
    if len(set(manifest.emotions).intersection(*(one.emotions for one in named))) < 2:
        return f"has not two emotions in common with {', '.join(one.corpus for one in named)}"
    return ""


def _not_cached(
    where: Locations, backbone: str, corpus: str, cached: Sequence[CacheSummary], places: Sequence[str]
) -> str:
    """That a corpus lacks features of a backbone, with the command, and whether another variant has them."""
    from ser_cache.store import remake_of

    command = remake_of(where.cache / backbone / corpus, []).command(places)
    model = backbone.partition("+")[0]
    others = [r.backbone for r in cached if r.corpus == corpus and r.backbone.partition("+")[0] == model]
    variants = f" ({', '.join(others)} has it, whose features are others)" if others else ""
    return f"{corpus} is not cached for {backbone}{variants}; run: {command}"
