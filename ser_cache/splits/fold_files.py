"""EmoBox's fold files: the splits behind its published numbers, read as they are in its repository.

EmoBox (Ma et al., Interspeech 2024) keeps, for each of its 32 corpora, ``data/<corpus>/fold_K/
<corpus>_train_fold_K.jsonl`` and ``_test_``, for a few corpora also ``_valid_``, with an object a line whose
``wav`` names the file and whose ``emo`` is the corpus's own label; ``label_map.json`` puts it into English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ser_cache.errors import SplitError
from ser_cache.splits.division import SIDES

WHERE_FROM = "give data/<corpus> of a clone of github.com/emo-box/EmoBox"
"""What to do about missing fold files, as a part of a sentence."""

_FOLD = re.compile(r"fold_?(\d{1,4})")
_LIST = re.compile(r".+_(?P<side>train|valid|test)_fold(?P<newer>_?)\d{1,4}\.jsonl")
_SIDE = {"train": "train", "valid": "validation", "test": "test"}
_LABEL_MAPS = ("label_map.json", "label_dict.json")


@dataclass(frozen=True)
class Clip:
    """A line of a list.

    Attributes:
        path: of the audio file, as EmoBox's authors had it.
        label: in the corpus's own code.
    """

    path: str
    label: str


@dataclass(frozen=True)
class FoldLists:
    """The lists of one fold.

    Attributes:
        name: its number.
        clips: by side; validation only where EmoBox lists it.
    """

    name: str
    clips: Mapping[str, Sequence[Clip]]


def corpus_folders(named: Path) -> list[Path]:
    """The folders of corpora at or below the folder that a user named, sorted.

    Raises:
        SplitError: there is none.
    """
    try:
        below = [named, *sorted(named.glob("*/")), *sorted(named.glob("data/*/"))]
        found = [folder for folder in below if _fold_folders(folder)]
    except OSError as error:
        raise SplitError(f"{named} cannot be read ({error.strerror}).") from error
    if not found:
        raise SplitError(f"{named} holds no folder fold_1; {WHERE_FROM}.")
    return found


def first_clips(folder: Path, count: int) -> list[Clip]:
    """Some clips of a corpus, from the first list there is."""
    lists = [path for _, fold in _fold_folders(folder) for path in _lists(fold).values()]
    return list(islice(_read_list(lists[0]), count)) if lists else []


def read_folds(folder: Path) -> list[FoldLists]:
    """Every fold of a corpus, in the order of their numbers.

    Raises:
        SplitError: a list is missing, cannot be read, or is not what EmoBox's lists are; with the line.
    """
    folds = []
    for number, path in _fold_folders(folder):
        lists = _lists(path)
        if absent := [side for side in ("train", "test") if side not in lists]:
            raise SplitError(
                f"{path} has no list {folder.name}_{absent[0]}_fold_{number}.jsonl; {WHERE_FROM}, whole."
            )
        clips = {side: tuple(_read_list(lists[side])) for side in SIDES if side in lists}
        folds.append(FoldLists(str(number), clips))
    return folds


def unread_lists(folder: Path) -> list[Path]:
    """Lists that were not read because there is one of the newer name beside them."""
    return [
        path.relative_to(folder.parent)
        for _, fold in _fold_folders(folder)
        for path in sorted(fold.iterdir())
        if _LIST.fullmatch(path.name) and path not in _lists(fold).values()
    ]


def read_label_map(folder: Path) -> dict[str, str]:
    """EmoBox's English by the corpus's own label, labels in lower case; empty where there is no map.

    Raises:
        SplitError: it cannot be read.
    """
    path = next((folder / name for name in _LABEL_MAPS if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        values = _parsed(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SplitError(f"{path} cannot be read; {WHERE_FROM}, as it is there.") from error
    if not isinstance(values, dict):
        raise SplitError(f"{path} holds no map of labels; {WHERE_FROM}, as it is there.")
    return {str(label).casefold(): str(word) for label, word in values.items()}


def _fold_folders(folder: Path) -> list[tuple[int, Path]]:
    """The numbers and folders of a corpus's folds, ascending."""
    if not folder.is_dir():
        return []
    named = [(_FOLD.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return sorted((int(match[1]), path) for match, path in named if match)


def _lists(fold: Path) -> dict[str, Path]:
    """The list of each side; of two names for one, the newer ``_fold_1`` before ``_fold1``."""
    named = [(_LIST.fullmatch(path.name), path) for path in fold.iterdir()]
    ordered = sorted((match["newer"], path.name, match["side"], path) for match, path in named if match)
    return {_SIDE[side]: path for _, _, side, path in ordered}


def _read_list(path: Path) -> Iterator[Clip]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _clip(line, f"{path}, line {number}")
    except UnicodeDecodeError as error:
        raise SplitError(f"{path} is not UTF-8; {WHERE_FROM}, as it is there.") from error
    except OSError as error:
        raise SplitError(f"{path} cannot be read ({error.strerror}).") from error


def _clip(line: str, where: str) -> Clip:
    values = _parsed(line, where)
    path, label = (values.get(name) if isinstance(values, dict) else None for name in ("wav", "emo"))
    if not isinstance(path, str) or not isinstance(label, str) or not path:
        raise SplitError(f"{where}: no wav and emo, which EmoBox's lists have; {WHERE_FROM}.")
    return Clip(path, label)


def _parsed(text: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SplitError(f"{where}: not JSON; {WHERE_FROM}, as it is there.") from error
