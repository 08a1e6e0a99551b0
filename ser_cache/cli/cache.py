"""``ser cache``: what is in the cache."""

from __future__ import annotations

from pathlib import Path

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import where_things_live


@click.group()
def cache() -> None:
    """Look at the cache of hidden states."""


@cache.command("ls", epilog="Example: ser cache ls")
@where_things_live("cache")
def list_cached(cache: Path | None) -> None:
    """List what is cached: complete or not, size, fingerprint."""
    from ser_cache.store import summaries

    where = settings.locate(cache=cache).cache
    found = summaries(where)
    rows = [
        (
            summary.backbone,
            summary.corpus,
            f"{summary.done:,}/{summary.total:,}",
            _state(summary.complete, summary.failed, bool(summary.damaged)),
            f"{len(summary.layers)} x {summary.width}",
            f"{summary.hours:.2f}",
            screen.size(summary.bytes),
            summary.codec,
            summary.short,
        )
        for summary in found
    ]
    columns = {"backbone": "left", "corpus": "left", "done": "right", "state": "left"}
    columns |= {
        "layers x d": "right",
        "hours": "right",
        "size": "right",
        "codec": "left",
        "fingerprint": "left",
    }
    screen.table(f"Cache {where}", columns, rows)
    if not found:
        screen.note("Nothing is cached yet; begin with: ser extract --model MODEL --corpus CORPUS")
    for summary in found:
        if summary.damaged:
            screen.note(f"damaged: {summary.backbone} {summary.corpus}: {summary.damaged}")


def _state(complete: bool, failed: int, damaged: bool) -> str:
    if damaged:
        return "damaged"
    if not complete:
        return "incomplete"
    return f"complete, {failed:,} failed" if failed else "complete"
