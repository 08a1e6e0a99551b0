"""Redo a published grid of backbones, corpora and heads with what is at hand, and put ours beside it.

`planning` says which cells can run and how to get the others, `running` trains one corpus and backbone,
`comparison` makes the tables. Planning imports no torch.
"""

from ser_cache.reproduction.columns import Column
from ser_cache.reproduction.comparison import (
    Results,
    best_head_table,
    disagreement_table,
    head_table,
    layer_map,
    plan_table,
)
from ser_cache.reproduction.planning import Job, Plan, ReproductionOptions, make_plan
from ser_cache.reproduction.running import run_job

__all__ = [
    "Column",
    "Job",
    "Plan",
    "ReproductionOptions",
    "Results",
    "best_head_table",
    "disagreement_table",
    "head_table",
    "layer_map",
    "make_plan",
    "plan_table",
    "run_job",
]
