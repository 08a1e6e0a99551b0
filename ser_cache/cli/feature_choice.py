"""Which cached features and which of their layers a command line means, for all that train or cluster."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.cli.options import root_of
from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features
    from ser_cache.settings import Locations


def cached_folder(name: str, cached: Collection[str], kind: str = "backbone") -> str:
    """Features' folder in the cache, by that name or by the alias, hub id or folder they were made from.

    Args:
        name: as it was typed.
        cached: the folders that there are.
        kind: what the message calls them.

    Raises:
        UnknownNameError: none of them is meant.
    """
    from ser_cache.store import folder_called

    folder = folder_called(name, cached)
    if folder is None:
        raise UnknownNameError(kind, name, cached, _remedy(name, cached))
    return folder


def how_to_cache(where: Locations, corpus: str, backbone: str, places: Sequence[str]) -> str:
    """The end of a message that a corpus lacks features: what to do, which depends on whether it has audio.

    Args:
        where: where things live.
        corpus: its name; it has a manifest.
        backbone: folder of the features in the cache.
        places: what a command needs to find the same folders.
    """
    if root_of(where, corpus) is None:
        manifests = places[places.index("--manifests") :][:2] if "--manifests" in places else ()
        command = shlex.join(["ser", "manifest", corpus, "ROOT", *manifests])
        return f", and its audio is not here; say where: {command}"
    from ser_cache.store import remake_of

    return f"; run: {remake_of(where.cache / backbone / corpus, []).command(places)}"


def _remedy(name: str, cached: Collection[str]) -> str:
    """What to do about a name that is not cached: only commands that can work are advised."""
    from ser_cache.backbones.registry import BACKBONES

    variants = sorted(one for one in cached if one.partition("+")[0] in (name, name.replace("/", "--")))
    if variants:
        return f"Of it only {', '.join(variants)} is cached; name that, or extract it without the option."
    if name in BACKBONES or any(spec.hub_id == name for spec in BACKBONES.values()) or Path(name).is_dir():
        return f"Cache it with: ser extract --model {name}"
    return "See: ser cache ls for what is cached, ser models for what can be."


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
