"""What manifests and cache hold now, beside what a run or a clustering was made from.

A run says by digests which labels, speakers, audio and features it rests on. Where a manifest was corrected
since, or features were extracted anew with other settings, the same command would give another result: the
run is of the past. Nothing is stale for what is not here: that a cache was deleted, or that runs were copied
to another machine, changes no result. What is here and cannot be read leaves it unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.emotions import EmotionChoice, emotions_text, restrict
from ser_cache.errors import (
    CacheError,
    ManifestError,
    ResultsError,
    SettingsError,
    SplitError,
)
from ser_cache.files import sha256_of_value
from ser_cache.joined_features import qualified
from ser_cache.manifest import find_manifests, read_manifest
from ser_cache.results import UNKNOWN, Run, RunConfig, manifest_digest, read_sides, splits_as_json
from ser_cache.splits import SIDES, SplitOptions, make_splits

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest, Utterance

REASONS = {
    "manifest": "labels, speakers or audio of its clips have changed in the manifest",
    "clips": "clips of its classes came into the manifest, or left it",
    "features": "the cached features were made otherwise",
    "split": "the manifest's fold column divides otherwise",
    UNKNOWN: "its manifest or its cached features are here and cannot be read",
}
"""Why a run is not what its command would give today, or why that is unknown."""


@dataclass(frozen=True)
class Cached:
    """The features of one corpus under one backbone.

    Attributes:
        digest: of their fingerprint.
        done: ids of the utterances that have features.
        failed: of those that extraction failed on, which no run asks for.
    """

    digest: str
    done: frozenset[str]
    failed: frozenset[str]


@dataclass(frozen=True)
class Data:
    """What a run of some corpora, backbone and emotions would rest on now; ids as the run has them.

    Attributes:
        utterances: of the classes, by id; None unless every corpus has a manifest.
        done: ids with features; None unless every corpus is cached.
        failed: ids that extraction failed on.
        features: digests of the fingerprints that are cached.
        digest: of the manifests, as ``RunData.manifest``; empty without manifests.
    """

    utterances: Mapping[str, Utterance] | None
    done: frozenset[str] | None
    failed: frozenset[str]
    features: frozenset[str]
    digest: str


class Present:
    """Manifests and cached features as they are now, each read once, and only what is asked for.

    Attributes:
        unreadable: what is wrong with those that were asked for and cannot be read, by what they are of: a
            corpus, or "corpus, backbone".
    """

    def __init__(self, manifests: Path, cache: Path) -> None:
        """Name the folders, which need not exist.

        Args:
            manifests: one ``<corpus>.csv`` a corpus.
            cache: the root of the cache.
        """
        self.unreadable: dict[str, str] = {}
        self._folder, self._cache = manifests, cache
        self._manifests: dict[str, Manifest | None] = {}
        self._cached: dict[tuple[str, str], Cached | None] = {}
        self._data: dict[tuple[str, ...], Data] = {}

    def manifest(self, corpus: str) -> Manifest | None:
        """A corpus's manifest; None where there is none that can be read."""
        if corpus not in self._manifests:
            try:
                self._manifests[corpus] = _manifest(self._folder, corpus)
            except ManifestError as error:
                self._manifests[corpus] = None
                self.unreadable[corpus] = str(error)
        return self._manifests[corpus]

    def cached(self, backbone: str, corpus: str) -> Cached | None:
        """What is cached of a corpus; None where there is nothing that can be read."""
        if (backbone, corpus) not in self._cached:
            try:
                self._cached[backbone, corpus] = _cached(self._cache / backbone / corpus)
            except (CacheError, OSError) as error:
                self._cached[backbone, corpus] = None
                self.unreadable[f"{corpus}, {backbone}"] = str(error)
        return self._cached[backbone, corpus]

    @property
    def complaints(self) -> tuple[str, ...]:
        """A line for each that cannot be read, which names the file and says what to do."""
        return tuple(
            f"unknown whether results on {of} are stale: {why}" for of, why in self.unreadable.items()
        )

    def doubts(self, corpora: Sequence[str], backbone: str) -> bool:
        """Whether a manifest or features of these were asked for and cannot be read."""
        names = {*corpora, *(f"{corpus}, {backbone}" for corpus in corpora)}
        return not names.isdisjoint(self.unreadable)

    def data(self, config: RunConfig) -> Data:
        """What a run of these choices would rest on."""
        corpora = _corpora(config)
        key = (config.backbone, emotions_text(config.emotions), config.tested_on, *corpora)
        if key not in self._data:
            caches = [self.cached(config.backbone, corpus) for corpus in corpora]
            there = [one for one in caches if one is not None]
            whole = [(corpus, one) for corpus, one in zip(corpora, caches, strict=True) if one is not None]
            done = {_own(config, corpus, id_) for corpus, one in whole for id_ in one.done}
            failed = {_own(config, corpus, id_) for corpus, one in whole for id_ in one.failed}
            utterances = self._utterances(config)
            used = [u for id_, u in (utterances or {}).items() if len(there) < len(caches) or id_ in done]
            self._data[key] = Data(
                utterances=utterances,
                done=frozenset(done) if len(there) == len(caches) else None,
                failed=frozenset(failed),
                features=frozenset(one.digest for one in there),
                digest="" if utterances is None else manifest_digest(used),
            )
        return self._data[key]

    def _utterances(self, config: RunConfig) -> dict[str, Utterance] | None:
        found: dict[str, Utterance] = {}
        for corpus in _corpora(config):
            manifest = self.manifest(corpus)
            if manifest is None:
                return None
            if config.emotions:
                manifest = restrict(manifest, EmotionChoice.of(config.emotions))
            for one in manifest.utterances:
                id_ = _own(config, corpus, one.id)
                speaker = _own(config, corpus, one.speaker)
                found[id_] = replace(one, id=id_, speaker=speaker) if config.tested_on else one
        return found


def stale_now(runs: Iterable[Run], present: Present) -> dict[Path, tuple[str, ...]]:
    """The runs that the same command would not, or perhaps not, give today: folder to ``changes_since``."""
    found = {}
    for run in runs:
        with suppress(ResultsError, SettingsError):  # damage is named where the run is read
            if reasons := changes_since(run, present):
                found[run.folder] = reasons
    return found


def changes_since(run: Run, present: Present) -> tuple[str, ...]:
    """What has changed since a run was made, as names of ``REASONS``; empty for nothing.

    Where something cannot be read, and what can be read has not changed, UNKNOWN is the only one.

    Raises:
        ResultsError: its splits cannot be read.
        SettingsError: its emotions are no choice of emotions.
    """
    found = _known_changes(run, present)
    doubtful = present.doubts(_corpora(run.config), run.config.backbone)
    return found or ((UNKNOWN,) if doubtful else ())


def _known_changes(run: Run, present: Present) -> tuple[str, ...]:
    data, made = present.data(run.config), run.config.data
    found = ["features"] if data.features - {made.fingerprint} else []
    if data.utterances is None:
        return tuple(found)
    if data.digest != made.manifest:
        found += _manifest_changes(run, data)
    elif data.done is not None and data.utterances.keys() - data.done - data.failed:
        found.append("clips")  # what has features is what the run used, and there is more to extract
    elif run.config.split["kind"] == "column" and _column_digest(data) != made.splits:
        found.append("split")
    return tuple(found)


def _manifest(folder: Path, corpus: str) -> Manifest | None:
    paths, _ = find_manifests(folder)  # what else lies there concerns no run
    return read_manifest(paths[corpus]) if corpus in paths else None


def _cached(folder: Path) -> Cached | None:
    if not folder.is_dir():
        return None
    from ser_cache.store import DONE, FAILED, current_rows, open_part, part_paths, read_states

    parts = [open_part(path) for path in part_paths(folder)]
    states = [read_states(part) for part in parts]
    if not parts:
        return None
    done, failed = set[str](), set[str]()
    for part, state, current in zip(parts, states, current_rows(parts, states), strict=True):
        for ids, kind in ((done, DONE), (failed, FAILED)):
            ids.update(part.ids[row] for row in (current & (state == kind)).nonzero()[0].tolist())
    return Cached(parts[0].fingerprint.digest, frozenset(done), frozenset(failed))


def _corpora(config: RunConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*config.training_corpora, config.test_corpus]))


def _own(config: RunConfig, corpus: str, name: str) -> str:
    """An id or a speaker as the run has it: with the corpus before it where there are several."""
    return qualified(corpus, name) if config.tested_on else name


def _manifest_changes(run: Run, data: Data) -> list[str]:
    """Why the manifests are others: what a run would use now, beside what this one used."""
    utterances, config = data.utterances or {}, run.config
    sides = read_sides(run)
    tested = {_own(config, config.tested_on, id_) for id_ in sides["test"]}
    used, left_out = tested | sides["train"] | sides["validation"], sides["left_out"]
    if used - utterances.keys():
        return ["clips"]
    # Who is on no side is listed whole, and counts in the digest where it has features.
    readings = [used | left_out, used | (left_out & (data.done or frozenset()))]
    known = {manifest_digest(utterances[id_] for id_ in ids if id_ in utterances) for ids in readings}
    found = [] if config.data.manifest in known else ["manifest"]
    if data.done is not None and utterances.keys() - used - left_out - data.failed:
        found.append("clips")
    return found


def _column_digest(data: Data) -> str:
    """Digest of the folds that the manifest's column makes now; empty where it makes none."""
    utterances = data.utterances or {}
    held = utterances.keys() if data.done is None else data.done
    try:
        splits = make_splits(utterances.values(), SplitOptions("column"))
    except SplitError:
        return ""
    kept = []
    for split in splits:
        train, validation, test = (tuple(id_ for id_ in split.side(name) if id_ in held) for name in SIDES)
        kept.append(replace(split, train=train, validation=validation, test=test))
    return sha256_of_value(splits_as_json(kept))
