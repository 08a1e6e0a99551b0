"""Which folder of the cache features belong into, by the options they were made with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_cache.extraction.options import ExtractionOptions
from ser_cache.extraction.planning import Outlined, comparable, wanted_fingerprint
from ser_cache.store import open_part, part_paths, serves


def choose_folder(
    cache: Path,
    corpus: str,
    outline: Outlined,
    options: ExtractionOptions,
    identity: Mapping[str, Any] | None = None,
) -> Path:
    """Where these features belong: ``<cache>/<backbone>[+variant]/<corpus>``.

    A subset of layers, and time means alone, belong into a folder of their own where there is one, and
    otherwise into the folder of all layers or of frames if that serves them already.

    Args:
        cache: the cache's root.
        corpus: the corpus.
        outline: the extractor, or what is known of it before its weights are loaded.
        options: the options of the extraction.
        identity: what makes the features; None when the weights are not at hand: then it is not compared.
            Without its ``PRECISION``, features of any serve.

    Raises:
        UnknownNameError: a layer that the extractor does not have.
        CacheError: a part of a folder that might serve is damaged.
    """
    wanted = wanted_fingerprint(outline, options, identity)
    stored = _storage_variants(outline, options)
    layers = [] if wanted.layers == outline.geometry.layers else [f"layers{_ranges(wanted.layers)}"]

    def folder(*variants: str) -> Path:
        return cache / "+".join(filter(None, [outline.name, outline.variant, *variants])) / corpus

    own = folder(*stored, *layers)
    if part_paths(own):
        return own  # or it could never be completed, nor mended, beside a larger one
    frames = [] if options.tier == "pooled" else stored
    for whole in (folder(*stored), folder(*frames), folder(*frames, *layers)):
        paths = part_paths(whole)
        if whole != own and paths and serves(comparable(open_part(paths[0]).fingerprint, identity), wanted):
            return whole
    return own


def _storage_variants(outline: Outlined, options: ExtractionOptions) -> list[str]:
    """What options of storage other than the defaults add to a folder's name, but for the layers."""
    if options.tier == "pooled":
        return ["pooled"]
    variants = []
    if options.codec is not None and options.codec != outline.codec:
        variants.append(options.codec)
    if options.frame_average > 1:
        variants.append(f"avg{options.frame_average}")
    return variants


def _ranges(layers: Sequence[int]) -> str:
    """Layers as a short part of a folder's name: (0, 3, 4, 5) is ``0.3-5``."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ".".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
