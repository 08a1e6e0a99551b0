"""Stage 1: run a frozen extractor once over a corpus and fill its part of the cache.

`planning` says what there is to do, from lengths and `options` alone, and `folders` where; `batching` groups
it; `loading` decodes ahead of the model; `running` runs it on several batches at once; `encoding` takes each
layer off it, which `layers` encodes; `writing` stores behind it; `pipeline` joins them. `precision` chooses
what the model computes in; `finished` tells without the model that nothing is to be done. torch is imported
when a batch is about to run, so a dry run stays light.
"""

from ser_cache.extraction.finished import finished_report
from ser_cache.extraction.folders import choose_folder
from ser_cache.extraction.loading import demand_root
from ser_cache.extraction.options import ExtractionOptions
from ser_cache.extraction.pipeline import ExtractionReport, Progress, extract
from ser_cache.extraction.planning import ExtractionPlan, plan, wanted_fingerprint

__all__ = [
    "ExtractionOptions",
    "ExtractionPlan",
    "ExtractionReport",
    "Progress",
    "choose_folder",
    "demand_root",
    "extract",
    "finished_report",
    "plan",
    "wanted_fingerprint",
]
