"""The features that a command of the classical side works on; MFCC that are not cached are extracted first.

`ser cluster` and `ser baseline` begin with MFCC, which take seconds and need no weights: to be told to run
another command first would be a nuisance. Backbones take hours, so they are never run unasked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.emotion_options import chosen_emotions, with_emotions
from ser_cache.cli.feature_choice import cached_folder, how_to_cache
from ser_cache.cli.options import chosen_manifests, root_of
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ser_cache.emotions import EmotionChoice
    from ser_cache.manifest import Manifest
    from ser_cache.store import CacheSummary

MFCC = "mfcc"


@dataclass(frozen=True)
class FeatureJob:
    """A corpus under one kind of features.

    Attributes:
        whole: the corpus.
        manifest: what of it is worked on: the chosen emotions, or all.
        backbone: the folder of the features in the cache.
        root: of the audio, where the features have to be extracted first; None where they are cached.
    """

    whole: Manifest
    manifest: Manifest
    backbone: str
    root: Path | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.corpus}, {self.backbone}"

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.whole.corpus


def feature_jobs(
    where: settings.Locations,
    features: Sequence[str],
    corpora: Sequence[str],
    emotions: str | None,
    places: Sequence[str],
) -> list[FeatureJob]:
    """Every chosen corpus with every chosen kind of features, those of MFCC that are still to be made too.

    What was asked for by name and cannot be had is an error; what was not is left out with a line.

    Args:
        where: where things live.
        features: "mfcc", with settings as in mfcc+n20+d2, or backbones as the cache, an alias, a hub id or a
            folder names them.
        corpora: names; none for every manifest.
        emotions: the classes, as ``--emotions`` has them; None for all.
        places: what a command in a message needs to find the same folders.

    Raises:
        SettingsError: a named corpus lacks features or, for MFCC, audio; or nothing is left.
        UnknownNameError: a corpus, a backbone or an emotion that is not there.
        ManifestError: a named corpus lacks a chosen class.
    """
    from ser_cache.store import summaries

    manifests = chosen_manifests(where, corpora)
    cached = summaries(where.cache, {manifest.corpus: manifest.utterances for manifest in manifests})
    jobs, skipped = [], []
    for name in dict.fromkeys(features):
        backbone = _folder_of(name, {summary.backbone for summary in cached})
        there = {summary.corpus: summary for summary in cached if summary.backbone == backbone}
        for manifest in manifests:
            found = _job(where, manifest, backbone, there.get(manifest.corpus), places)
            if isinstance(found, FeatureJob):
                jobs.append(found)
            elif corpora:
                raise SettingsError(found)
            else:
                skipped.append(found)
    if not jobs and len(skipped) == 1:
        raise SettingsError(skipped[0])
    for line in skipped:
        screen.note(f"skipped: {line}")
    if not jobs:
        raise SettingsError(f"no corpus in {where.manifests} has these features; see above.")
    return _restricted(jobs, chosen_emotions(emotions), named=bool(corpora))


def _restricted(jobs: Sequence[FeatureJob], choice: EmotionChoice | None, *, named: bool) -> list[FeatureJob]:
    """Jobs whose corpora have the chosen emotions, which alone are worked on; all that can be is cached."""
    whole = {job.corpus: job.whole for job in jobs}
    chosen = {manifest.corpus: manifest for manifest in with_emotions([*whole.values()], choice, named=named)}
    return [replace(job, manifest=chosen[job.corpus]) for job in jobs if job.corpus in chosen]


def extract_if_missing(where: settings.Locations, job: FeatureJob) -> int:
    """Extract a job's MFCC where they are missing, which is said on stderr.

    Returns:
        The exit status: 3 where utterances failed, else 0.
    """
    if job.root is None:
        return 0
    from ser_cache.cli.extracting import CorpusExtraction
    from ser_cache.extraction import ExtractionOptions
    from ser_cache.mfcc import MfccExtractor, mfcc_options

    screen.note(f"{job.backbone} of {job.corpus} is not cached completely: extracting it first.")
    extraction = CorpusExtraction(
        MfccExtractor(mfcc_options(job.backbone)),
        ExtractionOptions(),
        where,
        auto=False,
        measured="fp32",
        say=screen.note,
    )
    return extraction.one(job.whole, job.root)


def _job(
    where: settings.Locations,
    manifest: Manifest,
    backbone: str,
    summary: CacheSummary | None,
    places: Sequence[str],
) -> FeatureJob | str:
    """The job of one corpus, or why there is none."""
    # Damage is for the reader to name; extraction would refuse it too.
    if summary is not None and (summary.complete or summary.damaged):
        return FeatureJob(manifest, manifest, backbone)
    corpus = manifest.corpus
    if backbone.partition("+")[0] != MFCC:
        if summary is not None and summary.done:
            return FeatureJob(manifest, manifest, backbone)  # what is missing, opening it says
        return f"{corpus} is not cached for {backbone}{how_to_cache(where, corpus, backbone, places)}"
    root = root_of(where, corpus)
    if root is not None:
        return FeatureJob(manifest, manifest, backbone, root)
    lacking = "not cached completely" if summary is not None and summary.done else "not cached"
    return f"{backbone} of {corpus} is {lacking}{how_to_cache(where, corpus, backbone, places)}"


def _folder_of(name: str, cached: Collection[str]) -> str:
    """Features' folder in the cache; MFCC have one before they are extracted."""
    if name.partition("+")[0] == MFCC and name not in cached:
        from ser_cache.mfcc import mfcc_options  # settings in any order lead to one folder

        return "+".join(filter(None, [MFCC, mfcc_options(name).variant]))
    return cached_folder(name, {*cached, MFCC}, "features")
