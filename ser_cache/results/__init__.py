"""Runs on disk: what was trained on what, what it predicted, and how good that was.

Nothing here imports torch, so listing runs is quick.
"""

from ser_cache.results.config import (
    SCHEMA,
    RunConfig,
    RunData,
    manifest_digest,
    splits_as_json,
)
from ser_cache.results.detail import LayerWeights, read_layer_weights
from ser_cache.results.finding import find_run
from ser_cache.results.folder import (
    Found,
    Run,
    are_speakers_apart,
    checked_path,
    find,
    list_runs,
    read_fingerprint,
    read_predictions,
    read_run,
    read_sides,
    read_training_sides,
)
from ser_cache.results.generations import (
    REPLACED,
    UNKNOWN,
    Stale,
    is_stale,
    keep_current,
    newest_data,
    stale_runs,
)
from ser_cache.results.grids import GridSearch, parameters_text, read_grid_search
from ser_cache.results.scoring import HEADLINE, FoldPredictions, score_run
from ser_cache.results.summary import RunSummary, summarise
from ser_cache.results.writing import TrainedModel, write_run

__all__ = [
    "HEADLINE",
    "REPLACED",
    "SCHEMA",
    "UNKNOWN",
    "FoldPredictions",
    "Found",
    "GridSearch",
    "LayerWeights",
    "Run",
    "RunConfig",
    "RunData",
    "RunSummary",
    "Stale",
    "TrainedModel",
    "are_speakers_apart",
    "checked_path",
    "find",
    "find_run",
    "is_stale",
    "keep_current",
    "list_runs",
    "manifest_digest",
    "newest_data",
    "parameters_text",
    "read_fingerprint",
    "read_grid_search",
    "read_layer_weights",
    "read_predictions",
    "read_run",
    "read_sides",
    "read_training_sides",
    "score_run",
    "splits_as_json",
    "stale_runs",
    "summarise",
    "write_run",
]
