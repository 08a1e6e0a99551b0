"""``--emotions``: which of a corpus's emotions are classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ser_cache.cli import screen
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from ser_cache.emotions import ChosenManifest, EmotionChoice
    from ser_cache.manifest import Manifest

Command = TypeVar("Command", bound=Callable[..., Any])


def emotions_option(command: Command) -> Command:
    """Add ``--emotions`` to a command."""
    return click.option(
        "--emotions",
        metavar="LIST|FILE.toml",
        help="Classes, such as anger,happiness=happiness+surprise,neutral; others are left out. In a file: "
        '[emotions] surprise = "happiness" [default: all emotions of a corpus].',
    )(command)


def chosen_emotions(text: str | None) -> EmotionChoice | None:
    """The choice that was typed, or that a file holds; None for all emotions.

    Raises:
        SettingsError: it is not of the form that the option describes.
        ManifestError: the file cannot be read.
    """
    from ser_cache.emotions import EmotionChoice

    if text is None:
        return None
    if not text.lower().endswith(".toml"):
        return EmotionChoice.parse(text)
    from ser_cache.importing import read_labels  # opens the audio library too, which a list does without

    read = read_labels(Path(text))
    if read.language:
        raise SettingsError(f"{text} names a language, which says nothing of emotions; leave it out.")
    return EmotionChoice.from_map(read.emotions)


def with_emotions(
    manifests: Sequence[Manifest], choice: EmotionChoice | None, *, named: bool
) -> list[Manifest]:
    """Manifests restricted to the chosen emotions, with a line for each about what is left out.

    Args:
        manifests: whole.
        choice: None for all emotions, without a line.
        named: whether they were asked for by name: a corpus without one of the classes is then an error, and
            otherwise left out with a line.

    Raises:
        UnknownNameError: an emotion is no usual one, and no corpus has it.
        ManifestError: a corpus lacks a class.
        SettingsError: all of them do.
    """
    from ser_cache.emotions import absent_classes, check_known, choose_emotions

    if choice is None:
        return list(manifests)
    check_known(choice, manifests)
    found: list[ChosenManifest] = []
    for manifest in manifests:
        absent = absent_classes(manifest, choice)
        if absent and not named:
            screen.note(
                f"skipped: {manifest.corpus} has no {' and no '.join(absent)}; "
                f"it has {', '.join(manifest.emotions)}."
            )
            continue
        found.append(choose_emotions(manifest, choice))
    if not found:
        raise SettingsError(f"no corpus here has {', '.join(choice.classes)}; choose others with --emotions.")
    for chosen in found:
        screen.note(f"{chosen.corpus}: {chosen.summary}")
    return [*found]
