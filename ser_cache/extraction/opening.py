"""From a model's name to what extracts its features: MFCC by its own name, anything else a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ser_cache.backbones.loading import BackboneOptions, describe, load
from ser_cache.errors import BackboneError, UnknownNameError
from ser_cache.extraction.planning import Outlined
from ser_cache.extractor import Extractor
from ser_cache.mfcc import MFCC, MfccExtractor, is_mfcc, mfcc_options

Opened = TypeVar("Opened")


def outline_of(model: str, options: BackboneOptions) -> Outlined:
    """What is known of an extractor without its weights, for a dry run.

    Args:
        model: "mfcc", with settings as ``mfcc.mfcc_options`` reads them, an alias, a hub id or a local
            folder.
        options: those of a backbone; MFCC takes ``max_seconds`` from them and refuses the rest.

    Raises:
        UnknownNameError: no such model.
        BackboneError: its configuration cannot be read, or an option means nothing to it.
    """
    return _mfcc(model, options) if is_mfcc(model) else _known(describe, model, options)


def load_extractor(model: str, options: BackboneOptions) -> Extractor:
    """An extractor ready to run; see ``outline_of`` and ``ser_cache.backbones.loading.load``."""
    return _mfcc(model, options) if is_mfcc(model) else _known(load, model, options)


def _known(opening: Callable[[str, BackboneOptions], Opened], model: str, options: BackboneOptions) -> Opened:
    """Open a backbone; an unknown name is compared with MFCC's too."""
    try:
        return opening(model, options)
    except UnknownNameError as error:
        if error.name != model:
            raise
        raise UnknownNameError("model", model, [*error.known, MFCC], error.hint, error.guess) from None


def _mfcc(model: str, options: BackboneOptions) -> MfccExtractor:
    defaults = BackboneOptions()
    for option in ("context", "normalise", "precision", "name", "revision"):
        if getattr(options, option) != getattr(defaults, option):
            raise BackboneError(f"mfcc is no backbone: {option!r} means nothing to it; leave it out.")
    settings = mfcc_options(model)
    if options.max_seconds is not None:
        settings = replace(settings, max_seconds=options.max_seconds)
    return MfccExtractor(settings)
