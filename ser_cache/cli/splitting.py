"""How a corpus is divided: the options of every command that splits one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ser_cache.cli.options import FOLDER, typed
from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.splits import SplitOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--split",
        default="speaker",
        show_default=True,
        metavar="speaker|loso|folds|random|column|emobox",
        help="How to divide: by speaker 80/10/10, leave one speaker out, speaker k-fold, by utterance "
        "(speaker-dependent), as the manifest's fold column says, as EmoBox's --fold-files say.",
    ),
    click.option("--split-seed", default=0, show_default=True, help="Seed of the split, apart from models'."),
    click.option("--folds", default=5, show_default=True, type=click.IntRange(3), help="For --split folds."),
    click.option(
        "--ratios",
        default="80/10/10",
        show_default=True,
        help="Train/validation/test, for --split speaker and random.",
    ),
    click.option(
        "--fold-files",
        type=FOLDER,
        help="For --split emobox: a clone of EmoBox, or its data/<corpus>.",
    ),
)
_PERCENT = (50, 200)
"""Ratios whose sum is between these are percent, where a slip shows: 3/1/1 are parts, 80/10/20 is a slip."""
# The option that sets each attribute of SplitOptions.
_SETS = {"folds": "folds", "split_seed": "seed", "ratios": "ratios", "fold_files": "fold_files"}


def split_options(command: Command) -> Command:
    """Add ``--split`` and the options that belong to it to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_split(given: Mapping[str, Any]) -> tuple[SplitOptions, dict[str, Any]]:
    """The split that was asked for, and what else was given.

    Args:
        given: a command's options, those of ``split_options`` among them.

    Raises:
        UnknownNameError: no such split.
        SettingsError: an option without effect on this kind of split, or ratios that are not three numbers.
    """
    from ser_cache.splits import SPLITS, SplitOptions

    kind = given["split"]
    if kind not in SPLITS:
        raise UnknownNameError("split", kind, SPLITS)
    _refuse_without_effect(kind)
    if "fold_files" in SPLITS[kind].options and given["fold_files"] is None:
        raise SettingsError(
            f"--split {kind} needs --fold-files FOLDER: clone https://github.com/emo-box/EmoBox and name it."
        )
    options = SplitOptions(
        kind, given["split_seed"], _ratios(given["ratios"]), given["folds"], given["fold_files"]
    )
    return options, {name: value for name, value in given.items() if name not in {"split", *_SETS}}


def _refuse_without_effect(kind: str) -> None:
    """Refuse settings that this kind of split has no use for, where they were typed."""
    from ser_cache.splits import SPLITS

    for parameter, field in _SETS.items():
        if field in SPLITS[kind].options or not typed(parameter):
            continue
        option = f"--{parameter.replace('_', '-')}"
        users = ", ".join(name for name, other in SPLITS.items() if field in other.options)
        raise SettingsError(f"{option} changes nothing of --split {kind}; it is for {users}.")


def _ratios(text: str) -> tuple[float, float, float]:
    """Shares from ``80/10/10`` or ``0.8/0.1/0.1``; only their proportions count.

    Shares are hundredths of their sum, so that both ways of writing them are the same split.
    """
    parts = text.split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
        raise SettingsError(f"--ratios {text} is not three positive numbers; write 80/10/10, for example.")
    whole = sum(numbers)
    if _PERCENT[0] < whole < _PERCENT[1] and abs(whole - 100) > 1:
        raise SettingsError(f"--ratios {text} adds up to {whole:g} percent; write 80/10/10, for example.")
    train, validation, test = (round(number / whole, 12) for number in numbers)
    return train, validation, test
