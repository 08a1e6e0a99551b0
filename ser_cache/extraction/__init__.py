"""Stage 1: run a frozen extractor once over a corpus and fill its part of the cache.

`planning` says what there is to do, from lengths alone; `batching` groups it; `loading` decodes ahead of the
model; `encoding` takes each layer off it; `writing` stores behind it; `pipeline` joins them. Only `encoding`
imports torch, and only when a batch is about to run, so a dry run stays light.
"""

from ser_cache.extraction.pipeline import ExtractionReport, Progress, extract
from ser_cache.extraction.planning import (
    ExtractionOptions,
    ExtractionPlan,
    choose_folder,
    plan,
    wanted_fingerprint,
)

__all__ = [
    "ExtractionOptions",
    "ExtractionPlan",
    "ExtractionReport",
    "Progress",
    "choose_folder",
    "extract",
    "plan",
    "wanted_fingerprint",
]
