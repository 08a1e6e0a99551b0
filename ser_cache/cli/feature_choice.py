"""Which cached features and which of their layers a command line means, for all that train or cluster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features


def cached_folder(name: str, cached: Collection[str], kind: str = "backbone") -> str:
    """Features' folder in the cache, by that name or by the alias, hub id or folder they were made from.

    Args:
        name: as it was typed.
        cached: the folders that there are.
        kind: what the message calls them.

    Raises:
        UnknownNameError: none of them is meant.
    """
    for candidate in (name, name.replace("/", "--"), Path(name).name):
        if candidate in cached:
            return candidate
    remedy = "See: ser cache ls" if "+" in name else f"Cache it with: ser extract --model {name}"
    raise UnknownNameError(kind, name, cached, remedy)


def chosen_layers(wanted: Sequence[str], features: Features) -> tuple[int, ...]:
    """Layers from ``--layer``, each once and each of them cached, in the order they were typed.

    Args:
        wanted: numbers, or "all".
        features: what is cached.

    Returns:
        The layers; all that are cached for "all", none where none was asked for.

    Raises:
        SettingsError: a word is no number, or the layer is not cached.
    """
    numbers = [text for text in wanted if text != "all"]
    for text in numbers:
        if not text.isdecimal():
            raise SettingsError(f"--layer {text} is no layer; give a number, or all.")
        if int(text) not in features.layers:
            raise SettingsError(
                f"{features.backbone}/{features.corpus} has no layer {text}; cached are "
                f"{', '.join(map(str, features.layers))}."
            )
    return tuple(features.layers) if "all" in wanted else tuple(dict.fromkeys(map(int, numbers)))
