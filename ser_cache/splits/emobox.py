"""EmoBox's splits for our utterances: its fold files matched by file name, and every difference told.

EmoBox's paths are those of its authors' downloads, so a clip is matched by the name of its file, and by the
folders above it only where a corpus uses a name twice.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ser_cache.errors import SplitError
from ser_cache.splits.division import Split, SplitOptions, divide, shared_speakers
from ser_cache.splits.fold_files import (
    WHERE_FROM,
    Clip,
    FoldLists,
    corpus_folders,
    first_clips,
    read_folds,
    read_label_map,
    unread_lists,
)
from ser_cache.splits.utterances import shuffled_by_emotion

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

# EmoBox's English, where it is not ours. Its map for EmoDB spells boredom so.
_OUR_WORDS = {
    "angry": "anger",
    "bored": "boredom",
    "boredem": "boredom",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
_VALIDATING = 5  # one in five: the 80/20 that EmoBox's loader means to draw where there is no list
_LEAST_FOUND = 90  # percent of the lists' clips
_LOOKED_AT = 20  # clips, to tell which corpus a manifest is of


def by_fold_files(utterances: Sequence[Utterance], options: SplitOptions) -> list[Split]:
    """One split a fold of EmoBox's, with what it does not list left out.

    Where EmoBox lists no validation side, a fifth of the training clips of each emotion validate, drawn by
    ``options.seed``. A split claims to be speaker-disjoint exactly when it is.

    Raises:
        SplitError: no fold files were named, they cannot be read, they put a clip on two sides, or fewer than
            90% of their clips are among the utterances.
    """
    finder = _Finder(utterances)
    folder = _corpus_folder(options, finder)
    folds = read_folds(folder)
    _demand_enough(folder, folds, finder)
    return [_split(fold, utterances, finder, options.seed) for fold in folds]


def fold_file_notes(utterances: Sequence[Utterance], options: SplitOptions) -> list[str]:
    """What differs between the fold files and the utterances, and what was chosen for them, one line each."""
    finder = _Finder(utterances)
    folder = _corpus_folder(options, finder)
    folds = read_folds(folder)
    clips = _clips(folds)
    notes = []
    if lacking := _lacking(clips, finder):
        notes.append(f"{_of(lacking, clips)} clips of the fold files are not here: {_some(lacking)}")
    splits = [_split(fold, utterances, finder, options.seed) for fold in folds]
    if left := sorted({id_ for split in splits for id_ in split.left_out}):
        notes.append(
            f"left out, as some fold file does not list them: {_of(left, utterances)}, {_some(left)}"
        )
    notes += _label_notes(read_label_map(folder), clips.values(), utterances, finder)
    if drawn := [fold.name for fold in folds if "validation" not in fold.clips]:
        where = "" if len(drawn) == len(folds) else f" of fold {', '.join(drawn)}"
        notes.append(
            f"the fold files list no validation side{where}: a fifth of the training clips of each emotion "
            f"validates, drawn by split seed {options.seed}"
        )
    return notes + [
        f"{path} is not read, as there is a list of the newer name" for path in unread_lists(folder)
    ]


def _split(fold: FoldLists, utterances: Sequence[Utterance], finder: _Finder, seed: int) -> Split:
    side_of: dict[str, str] = {}
    for side, clips in fold.clips.items():
        for clip in clips:
            id_ = finder.find(clip.path)
            if id_ is not None and side_of.setdefault(id_, side) != side:
                raise SplitError(
                    f"the fold files put {clip.path!r} on two sides of fold {fold.name}, {side_of[id_]} and "
                    f"{side}; {WHERE_FROM}, as it is there."
                )
    if "validation" not in fold.clips:
        trained = (utterance for utterance in utterances if side_of.get(utterance.id) == "train")
        for ids in shuffled_by_emotion(trained, f"{seed}:{fold.name}"):
            side_of |= dict.fromkeys(ids[: len(ids) // _VALIDATING], "validation")
    placed = [utterance for utterance in utterances if utterance.id in side_of]
    split = divide(placed, fold.name, [side_of[u.id] for u in placed], speaker_disjoint=False)
    return replace(
        split,
        speaker_disjoint=not shared_speakers(split, placed),
        left_out=tuple(utterance.id for utterance in utterances if utterance.id not in side_of),
    )


class _Finder:
    """Finds the utterance of a path, whatever folders and suffix it has there."""

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        self._named: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for utterance in utterances:
            parts = _parts(utterance.path)
            self._named[parts[-1]].append((parts, utterance.id))

    def find(self, path: str) -> str | None:
        """The id; None where no name is the same, or several fit equally well."""
        parts = _parts(path)
        rated = [(_common_end(parts, theirs), id_) for theirs, id_ in self._named.get(parts[-1], ())]
        most = max((common for common, _ in rated), default=0)
        best = [id_ for common, id_ in rated if common == most]
        return best[0] if len(best) == 1 else None


def _parts(path: str) -> tuple[str, ...]:
    """Folders and name without suffix, as they compare: another disk may decompose accents or lose case."""
    pure = PurePosixPath(path)
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in (*pure.parent.parts, pure.stem))


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts are the same, counted from the end."""
    same = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        same += 1
    return same


def _corpus_folder(options: SplitOptions, finder: _Finder) -> Path:
    """The folder of the manifest's corpus: the one that was named, or the one below with these clips."""
    if options.fold_files is None:
        raise SplitError(f"--split emobox needs --fold-files FOLDER: {WHERE_FROM}.")
    candidates = corpus_folders(options.fold_files)
    if len(candidates) == 1:
        return candidates[0]
    rated = [
        (sum(finder.find(clip.path) is not None for clip in first_clips(folder, _LOOKED_AT)), folder)
        for folder in candidates
    ]
    most, folder = max(rated, key=lambda pair: pair[0])
    if not most or [count for count, _ in rated].count(most) > 1:
        raise SplitError(
            f"none of the {len(candidates)} corpora below {options.fold_files} is plainly the manifest's; "
            f"{WHERE_FROM}."
        )
    return folder


def _clips(folds: Iterable[FoldLists]) -> dict[str, Clip]:
    """Every clip of the lists once, by its path."""
    return {clip.path: clip for fold in folds for side in fold.clips.values() for clip in side}


def _lacking(clips: Iterable[str], finder: _Finder) -> list[str]:
    return sorted(path for path in clips if finder.find(path) is None)


def _demand_enough(folder: Path, folds: Sequence[FoldLists], finder: _Finder) -> None:
    """Refuse lists of another corpus, or of one that is hardly here: their numbers would not compare."""
    clips = _clips(folds)
    lacking = _lacking(clips, finder)
    here = len(clips) - len(lacking)
    if not here or 100 * here < _LEAST_FOUND * len(clips):
        example = f" (not {_some(lacking)})" if lacking else ""
        raise SplitError(
            f"only {here:,} of the {len(clips):,} clips of {folder} are in the manifest{example}, too few to "
            f"compare with EmoBox's numbers; name this corpus's folder, or make the manifest of all of it."
        )


def _label_notes(
    meaning: Mapping[str, str], clips: Iterable[Clip], utterances: Sequence[Utterance], finder: _Finder
) -> list[str]:
    """Labels that are not ours after EmoBox's map, and those it has no word for."""
    emotion_of = {utterance.id: utterance.emotion for utterance in utterances}
    emotions = set(emotion_of.values())
    differing, unexplained = [], Counter[str]()
    for clip in clips:
        ours = emotion_of.get(finder.find(clip.path) or "")
        word = meaning.get(clip.label.casefold(), clip.label).casefold()
        theirs = _OUR_WORDS.get(word, word)
        if ours is None or ours == theirs:
            continue
        if theirs in emotions or clip.label.casefold() in meaning:
            differing.append(f"{PurePosixPath(clip.path).name} {theirs}, here {ours}")
        else:
            unexplained[clip.label] += 1
    notes = []
    if differing:
        notes.append(f"{_of(differing, emotion_of)} labels differ; ours are used: {_some(differing, '; ')}")
    if unexplained:
        listed = [f"{label!r} of {count} clips" for label, count in sorted(unexplained.items())]
        notes.append(f"labels that no label_map.json explains were not compared: {_some(listed)}")
    return notes


def _of(some: Sized, whole: Sized) -> str:
    return f"{len(some):,} of {len(whole):,}"


def _some(names: Sequence[str], between: str = ", ") -> str:
    """The first few of many."""
    return between.join(names[:3]) + (f"{between}..." if len(names) > 3 else "")
