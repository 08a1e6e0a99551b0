"""``ser corpora``: which corpora are known, and which are prepared here."""

from __future__ import annotations

from pathlib import Path

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import root_of, where_things_live


@click.command(epilog="Example: ser corpora", short_help="Which corpora are known, and prepared.")
@where_things_live("manifests")
def corpora(manifests: Path | None) -> None:
    """List the corpora that are known, and those that have a manifest here."""
    from ser_cache.corpora import CORPORA
    from ser_cache.manifest import list_manifests, read_manifest

    where = settings.locate(manifests=manifests)
    prepared = {name: read_manifest(path) for name, path in list_manifests(where.manifests).items()}
    rows = []
    for name in sorted(CORPORA.keys() | prepared.keys()):
        recipe, made = CORPORA.get(name), prepared.get(name)
        languages = sorted({utterance.language for utterance in made.utterances}) if made else []
        rows.append(
            (
                name,
                recipe.language if recipe else " ".join(languages),
                f"{recipe.utterances:,}" if recipe else "",
                f"{len(made):,}" if made else "",
                f"{made.hours:.2f}" if made else "",
                recipe.title if recipe else "from a table or a pattern",
                _audio(where, name) if made else "",
            )
        )
    columns = {"corpus": "left", "language": "left", "complete": "right", "prepared": "right"}
    screen.table("Corpora", columns | {"hours": "right", "title": "fold", "audio": "fold"}, rows)
    screen.say("complete: utterances of the whole corpus. prepared: those in the manifest here.")
    if not prepared:
        screen.note("None is prepared yet; begin with: ser manifest CORPUS ROOT")


def _audio(where: settings.Locations, corpus: str) -> str:
    root = root_of(where, corpus)
    return str(root) if root else "not here: ser manifest again"
