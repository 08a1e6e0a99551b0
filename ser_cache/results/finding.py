"""Which run a word on the command line means: a folder, a name, its beginning, or digits of its hash."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path

from ser_cache.errors import ResultsError
from ser_cache.results.contents import CONFIG
from ser_cache.results.folder import Run, list_runs, read_run

HASH_DIGITS = 10
"""At the end of a run's name."""
LISTED_CANDIDATES = 5
_DIGITS = re.compile(rf"[0-9a-f]{{4,{HASH_DIGITS}}}")
_LEAST_LIKENESS = 0.6


def find_run(runs: Path, text: str) -> Run:
    """Find the one run that a word means.

    Tried in this order: a run's whole name, a folder's path, the beginning of exactly one name, and the
    first digits (four at least) of the hash at the end of exactly one name, as tables of runs show them.
    A beginning may have the folder of the runs before it, as a shell completes it.

    Args:
        runs: the folder of all runs; need not exist.
        text: what was typed.

    Raises:
        ResultsError: no run or several are meant (the message lists the closest), the folder is no run's, or
            the one that is meant is damaged or of a newer version.
    """
    names = [folder.name for folder in list_runs(runs)]
    if text in names:
        return read_run(runs / text)
    path = Path(text)
    if text and path.is_dir() and ("/" in text or (path / CONFIG).is_file()):
        return _run_at(path)
    found = _meant(names, text)
    if not found and "/" in text and path.parent.is_dir():
        beside = [folder.name for folder in list_runs(path.parent) if (folder / CONFIG).is_file()]
        if found := _meant(beside, path.name):
            runs, text = path.parent, path.name
    if len(found) == 1:
        return read_run(runs / found[0])
    if found:
        raise ResultsError(
            f"{text!r} is the beginning of {len(found)} runs in {runs}: {_told_apart(runs, found)}. "
            "Give more letters, or the digits of one."
        )
    raise ResultsError(f"there is no run {text!r} in {runs}. {_instead(names, text)}")


def _run_at(folder: Path) -> Run:
    """The run in a folder that was named by its path."""
    if not (folder / CONFIG).is_file():
        inside = any((path / CONFIG).is_file() for path in list_runs(folder))
        hint = f"it holds runs: ser runs --runs {folder}" if inside else "list runs with: ser runs"
        raise ResultsError(f"{folder} is not the folder of a run (it has no {CONFIG}); {hint}")
    return read_run(folder)


def _meant(names: Sequence[str], text: str) -> list[str]:
    """The names that a beginning or some digits fit."""
    return [name for name in names if text and name.startswith(text)] or _by_digits(names, text)


def _told_apart(runs: Path, names: Sequence[str]) -> str:
    """The first of several runs by their names; where these differ in digits alone, with what does differ."""
    if len({name.rpartition("-")[0] for name in names}) > 1:
        return _listed(names) if len(names) <= LISTED_CANDIDATES else _grouped(names)
    about = {name: _choices(runs / name) for name in names}
    differing = [place for place in range(_CHOICES) if len({found[place] for found in about.values()}) > 1]
    digits = short_digits(names)
    shown = [
        f"{digits[name]} ({', '.join(about[name][place] for place in differing)})" if differing else name
        for name in names
    ]
    return _listed(shown)


def _grouped(names: Sequence[str]) -> str:
    """How many names go on in which way after what they have in common: "emodb4-... (8), emovo-... (5)"."""
    words = [name.split("-") for name in names]
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    common = len(list(alike))
    groups: dict[str, list[str]] = {}
    for name, parts in zip(names, words, strict=True):
        groups.setdefault("-".join(parts[: common + 1]), []).append(name)
    return _listed(
        [f"{way}-... ({len(found)})" if len(found) > 1 else found[0] for way, found in groups.items()]
    )


_CHOICES = 4


def _choices(folder: Path) -> tuple[str, ...]:
    """What two runs of one corpus, backbone and head may differ in: split, protocol, layers, seeds."""
    from ser_cache.results.query import layers_text, protocol_name, split_text

    try:
        run = read_run(folder)
        config = run.config
        seeds = len(config.seeds)
        told = (split_text(config.split), protocol_name(run), f"layer {layers_text(config.layers)}")
    except (ResultsError, KeyError, TypeError, ValueError):
        return ("damaged",) * _CHOICES
    return (*told, f"{seeds} seed{'s' if seeds > 1 else ''}")


def digits_of(name: str) -> str:
    """The hash at the end of a run's name."""
    return name.rpartition("-")[2]


def short_digits(names: Iterable[str]) -> dict[str, str]:
    """The first digits of each name's hash, as few as tell all of them apart, six at least.

    Names that end in the same hash, as copies in several folders do, keep all of it.
    """
    digits = {name: digits_of(name) for name in names}
    distinct = set(digits.values())
    length = next(
        (n for n in range(6, HASH_DIGITS) if len({d[:n] for d in distinct}) == len(distinct)), HASH_DIGITS
    )
    return {name: value[:length] for name, value in digits.items()}


def _by_digits(names: Sequence[str], text: str) -> list[str]:
    if not _DIGITS.fullmatch(text):
        return []
    return [name for name in names if digits_of(name).startswith(text)]


def _listed(names: Sequence[str]) -> str:
    further = len(names) - LISTED_CANDIDATES
    return ", ".join(names[:LISTED_CANDIDATES]) + (f" and {further} more" if further > 0 else "")


def _instead(names: Sequence[str], text: str) -> str:
    """What else could have been meant, nearest first, as a sentence."""
    if not names:
        return "It holds none yet; train some with: ser probe"
    wanted = Path(text).name.casefold()
    likeness = {name: _likeness(name.casefold(), wanted) for name in names}
    close = sorted((name for name in names if likeness[name] >= _LEAST_LIKENESS), key=lambda n: -likeness[n])
    return f"Close to it: {_listed(close)}." if close else "List them with: ser runs"


def _likeness(name: str, wanted: str) -> float:
    """From 0 to 1; what was typed may be any part of the name, or its beginning with a slip."""
    if wanted and wanted in name:
        return 1.0
    return max(
        SequenceMatcher(None, name[: len(wanted)], wanted).ratio(),
        SequenceMatcher(None, name, wanted).ratio(),
    )
