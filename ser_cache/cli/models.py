"""``ser models``: which models are known by an alias, and what is cached of them and of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.cache import Known, known_utterances
from ser_cache.cli.options import where_things_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ser_cache.store import CacheSummary


@click.command(epilog="Example: ser models", short_help="Which models are known, and cached.")
@where_things_live("manifests", "cache")
def models(manifests: Path | None, cache: Path | None) -> None:
    """List the models known by an alias, what they cost in the cache, and for which corpora they are cached.

    Any other wav2vec 2.0, HuBERT, WavLM or Whisper checkpoint works too: give its hub id or a local folder.
    """
    from ser_cache.backbones.registry import BACKBONES, bytes_per_hour
    from ser_cache.mfcc import MfccExtractor
    from ser_cache.store import summaries

    where = settings.locate(manifests, cache)
    known = known_utterances(where)
    found = summaries(where.cache, known.utterances)
    rows = [
        (
            spec.alias,
            spec.hub_id,
            str(spec.layers),
            str(spec.width),
            screen.size(bytes_per_hour(spec.layers, spec.width)),
            _corpora(found, spec.alias),
        )
        for spec in BACKBONES.values()
    ]
    mfcc = MfccExtractor().geometry
    size = screen.size(mfcc.width * 4 * mfcc.frames_per_second * 3600)
    rows.append(("mfcc", "librosa", "1", str(mfcc.width), size, _corpora(found, "mfcc")))
    columns = {"alias": "left", "checkpoint": "fold", "layers": "right", "width": "right"}
    screen.table("Models", columns | {"per hour": "right", "cached": "left"}, rows)
    screen.say(
        "layers: Transformer blocks; layer 0, their input, is stored too.\n"
        "per hour: of audio in the cache, all layers in fp16 (mfcc: fp32)."
    )
    for line in _cached(found, known):
        screen.say(line)


def _corpora(found: Sequence[CacheSummary], alias: str) -> str:
    """For how many corpora a model is cached, in whatever variant; their names would break the table."""
    corpora = {summary.corpus for summary in found if summary.backbone.partition("+")[0] == alias}
    if not corpora:
        return ""
    return f"{len(corpora):,} {'corpus' if len(corpora) == 1 else 'corpora'}"


def _cached(found: Sequence[CacheSummary], known: Known) -> list[str]:
    """A line for each folder of a backbone, models without an alias included."""
    folders: dict[str, list[str]] = {}
    for summary in found:
        doubt = "" if summary.corpus not in known.unreadable else " (unknown whether complete)"
        name = f"{summary.corpus}{doubt if summary.complete else ' (incomplete)'}"
        folders.setdefault(summary.backbone, []).append(name)
    return ["", "Cached (more: ser cache ls)", ""] * bool(folders) + [
        f"{folder}: {', '.join(corpora)}" for folder, corpora in folders.items()
    ]
