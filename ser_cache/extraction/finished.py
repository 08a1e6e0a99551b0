"""Whether an extraction has nothing to do, found out without loading the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_cache.backbones.loading import BackboneOptions, identity_on_record
from ser_cache.errors import SerCacheError
from ser_cache.extraction.folders import choose_folder
from ser_cache.extraction.options import ExtractionOptions
from ser_cache.extraction.pipeline import ExtractionReport
from ser_cache.extraction.planning import Outlined, plan
from ser_cache.extractor import AUTO, PRECISION
from ser_cache.manifest import Utterance
from ser_cache.mfcc import MfccExtractor
from ser_cache.store import open_part, part_paths


def finished_report(
    model: str,
    backbone_options: BackboneOptions,
    outline: Outlined,
    options: ExtractionOptions,
    cache: Path,
    corpus: str,
    utterances: Sequence[Utterance],
) -> ExtractionReport | None:
    """The report of an extraction that would find everything cached; None where it has something to do.

    None too wherever that cannot be told for certain without the model: its files were touched since they
    were loaded for what is cached, or anything is wrong with cache or checkpoint. The extraction itself then
    says what.

    Args:
        model: as for ``opening.load_extractor``.
        backbone_options: likewise.
        outline: what is known of the model without its weights.
        options: how to extract and store.
        cache: the cache's root.
        corpus: the corpus.
        utterances: the manifest's utterances, in its order.
    """
    try:
        folder = choose_folder(cache, corpus, outline, options)
        paths = part_paths(folder)
        if not paths:
            return None
        asked = _asked(model, backbone_options, outline, paths[-1])
        if asked is None:
            return None
        if choose_folder(cache, corpus, outline, options, asked) != folder:
            return None
        planned = plan(outline, utterances, folder, options, asked)
    except (SerCacheError, OSError):
        return None
    if planned.todo or planned.superseded:
        return None
    return ExtractionReport(folder, 0, planned.reused, {}, 0.0, 0.0, {})


def _asked(
    model: str, options: BackboneOptions, outline: Outlined, recorded_in: Path
) -> Mapping[str, Any] | None:
    """What is asked of the features: of MFCC its settings, of a backbone the identity on record.

    A precision that is to be chosen is not asked for. None where a backbone's files may have changed.
    """
    if isinstance(outline, MfccExtractor):
        return outline.identity
    recorded = open_part(recorded_in)
    identity = identity_on_record(model, options, recorded.fingerprint.features, recorded.provenance)
    if identity is None:
        return None
    return {key: value for key, value in identity.items() if key != PRECISION or options.precision != AUTO}
