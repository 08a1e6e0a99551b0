"""What is trained on some features: the heads and layers that were asked for and that they suffice for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ser_cache.cli import screen
from ser_cache.cli.feature_choice import chosen_layers
from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.feature_sources import Features
    from ser_cache.probing import ProbeOptions


def chosen_heads(wanted: Sequence[str], of_protocol: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """Heads from the command line, each once; "all" are the protocol's, and come first.

    Raises:
        UnknownNameError: no such head.
        SettingsError: layers were chosen, and every head mixes them.
    """
    from ser_cache.heads import HEADS, head_kind

    named = [head for head in wanted if head != "all"]
    for head in named:
        if head not in HEADS:
            raise UnknownNameError("head", head, [*HEADS, "all"])
    heads = tuple(dict.fromkeys([*(of_protocol if "all" in wanted else ()), *named]))
    mixing = [head for head in heads if head_kind(head).mixes]
    if mixing and any(layer != "all" for layer in layers):  # they read all in any case
        if mixing == list(heads):
            raise SettingsError(
                f"--layer is for heads that read one layer, and {', '.join(heads)} mixes layers: leave it "
                "out, or choose another --head."
            )
        screen.note(f"note: --layer does not concern {', '.join(mixing)}, which mixes layers.")
    return heads


def fitting(
    options: ProbeOptions, features: Features, named: Sequence[str], layers: Sequence[str]
) -> ProbeOptions:
    """Options as far as the features suffice for them.

    Args:
        options: as asked for.
        features: what is cached.
        named: heads from the command line; where there are time means alone, heads that need frames are left
            out unless they are among these.
        layers: from the command line.

    Raises:
        SettingsError: a layer is not cached, or no head is left.
    """
    from ser_cache.heads import head_kind

    options = replace(options, layers=chosen_layers(layers, features))
    heads = options.chosen_heads
    if features.tier == "pooled":
        heads = tuple(head for head in heads if head in named or head_kind(head).pools_first)
    if heads == options.chosen_heads:
        return options
    if not heads:
        raise SettingsError(
            f"{features.corpus}: {features.backbone} keeps time means only, and the heads of "
            f"{options.protocol.name} need frames; extract with --tier frames."
        )
    screen.note(
        f"note: {features.corpus}: {features.backbone} keeps time means only; heads that need frames are "
        f"left out, which leaves {', '.join(heads)}."
    )
    return replace(options, heads=heads)
