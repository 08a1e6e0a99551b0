"""``ser describe``: how a corpus is made up, from its manifest alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.delivery import as_json, deliver, delivery_options, shape_of
from ser_cache.cli.options import chosen_manifests, where_things_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ser_cache.description import Description
    from ser_cache.manifest import Manifest

_FORMATS = ("table", "csv", "json", "markdown")


@click.command(epilog="Example: ser describe cremad", short_help="How a corpus is made up.")
@click.argument("corpora", metavar="[CORPUS]...", nargs=-1)
@click.option(
    "--corpus", "named", multiple=True, help="The same as CORPUS, as for other commands; repeatable."
)
@click.option(
    "--years", default=10, show_default=True, type=click.IntRange(1, 100), help="Width of the bands of ages."
)
@delivery_options(_FORMATS)
@where_things_live("manifests")
def describe(
    corpora: tuple[str, ...],
    named: tuple[str, ...],
    years: int,
    shape: str | None,
    output: Path | None,
    manifests: Path | None,
) -> None:
    """Show how each CORPUS is made up: all that have a manifest here, unless some are named.

    Emotions with the lengths of their clips; emotions by gender, age, race, ethnicity, intensity, fold and
    sentence, where the manifest knows them; and where it holds votes of a crowd (columns such as
    voice_votes), how far the raters agreed and how often they chose the intended emotion, beside published
    figures. Where lengths of clips give emotions away, a line says so. No audio is needed: cremad is
    described without a manifest, as ser_cache has its list. A manifest that cannot be read is named, and the
    others are described; the exit status is then 3.
    """
    from ser_cache.description import Description

    where = settings.locate(manifests=manifests)
    shape = shape_of(shape, output, _FORMATS)
    made = [Description(manifest, years) for manifest in _manifests(where, (*corpora, *named))]
    if shape == "table":
        for description in made:
            _show(description)
        return
    write = {"csv": _as_csv, "json": _as_json, "markdown": _as_markdown}[shape]
    deliver(write(made), output, screen.count(len(made), "description"))


def _manifests(where: settings.Locations, corpora: Sequence[str]) -> list[Manifest]:
    """The manifests here; of a corpus that has none, the ready one that comes with ser_cache."""
    from ser_cache.manifest import list_manifests
    from ser_cache.official import ready_corpora, ready_manifest

    here = list_manifests(where.manifests)
    found = []
    for corpus in dict.fromkeys(corpora):
        if corpus in here or corpus not in ready_corpora():
            found += chosen_manifests(where, [corpus])
            continue
        screen.note(
            f"note: {corpus} has no manifest in {where.manifests}; this is the complete corpus as published."
        )
        found.append(ready_manifest(corpus))
    return found or chosen_manifests(where, corpora)


def _show(description: Description) -> None:
    from ser_cache.description import sections

    screen.say(f"{description.headline}\n")
    for section in sections(description):
        screen.section(section)


def _as_csv(made: Sequence[Description]) -> str:
    from ser_cache.description import as_rows

    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("corpus", "table", "group", "emotion", "measure", "value"))
    for description in made:
        table.writerows(as_rows(description))
    return text.getvalue()


def _as_json(made: Sequence[Description]) -> str:
    from ser_cache.description import as_data

    return as_json([as_data(description) for description in made])


def _as_markdown(made: Sequence[Description]) -> str:
    from ser_cache.description import sections
    from ser_cache.sections import as_markdown

    return "\n".join(as_markdown(sections(one), one.manifest.corpus, (one.headline,)) for one in made)
