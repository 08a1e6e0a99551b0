"""Why ``ser runs`` lists nothing, where it lists nothing: which filter leaves how many runs."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_cache.results.query import Listing, Wanted

_OPTIONS = {
    "corpora": "--corpus",
    "trained_on": "--train",
    "tested_on": "--test",
    "backbones": "--model",
    "heads": "--head",
    "protocols": "--protocol",
    "splits": "--split",
    "emotions": "--emotions",
    "layers": "--layer",
    "stale": "--stale",
}
"""Attribute of ``Wanted`` -> how it is asked for."""


def why_empty(found: Listing, wanted: Wanted, folder: Path) -> str:
    """Why no run is listed: there are none, none can be read, or none passes the filters, and which."""
    from ser_cache.results.query import select

    if not found.runs:
        if found.unreadable:
            return f"No run in {folder} can be read; see below."
        return f"There are no runs in {folder}; train some with: ser probe"
    alone = {text: len(select(found.runs, one, found.stale)) for text, one in _filters(wanted).items()}
    of = f"the {len(found.runs):,} runs" if len(found.runs) > 1 else "the one run"
    counts = ", ".join(f"{text} ({number:,} alone)" for text, number in alone.items())
    passes = next(iter(alone)) if len(alone) == 1 else f"all of {counts}"
    return f"None of {of} in {folder} passes {passes}."


def _filters(wanted: Wanted) -> dict[str, Wanted]:
    """Each filter by itself, as it is typed."""
    nothing, found = type(wanted)(), {}
    for field, option in _OPTIONS.items():
        value = getattr(wanted, field)
        if value == getattr(nothing, field):
            continue
        if isinstance(value, bool):
            words = [option if value else option.replace("--", "--no-")]
        else:
            each = value if isinstance(value, tuple) else (value,)
            words = [word for one in each for word in (option, str(one))]
        found[shlex.join(words)] = replace(nothing, **{field: value})
    return found
