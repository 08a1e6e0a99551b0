"""``ser corpora``: which corpora are known and prepared here, how to get one, and their published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.delivery import as_json, deliver, delivery_options, shape_of
from ser_cache.cli.options import listed_manifests, readable_manifests, root_of, where_things_live
from ser_cache.errors import ManifestError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ser_cache.catalogue import Size
    from ser_cache.manifest import Manifest

STUDY = "dasaro2024"
FORMATS = ("table", "csv", "json")


@click.command(
    epilog="Example: ser corpora --how cafe", short_help="Which corpora are known, and how to get one."
)
@click.option("--how", metavar="NAME", help="Where and under which licence NAME is had, and what to mind.")
@click.option(
    "--check", is_flag=True, help="Our counts beside those of D'Asaro et al. 2024, Table 1, and why."
)
@delivery_options(FORMATS)
@where_things_live("manifests")
def corpora(
    how: str | None, check: bool, shape: str | None, output: Path | None, manifests: Path | None
) -> None:
    """List the corpora that are known, and those that have a manifest here.

    A manifest that cannot be read is named, and the others are listed; the exit status is then 3.

    Nothing is ever downloaded: --how says where a corpus is had, under which licence, what to fetch, what to
    do then, and what to cite.
    """
    from ser_cache.corpora import CORPORA
    from ser_cache.manifest import read_manifest

    if how is not None and check:
        raise click.UsageError("--how is about one corpus, --check about all; give one of them.")
    if not check and (shape is not None or output is not None):
        raise click.UsageError("--format and --output are for --check.")
    where = settings.locate(manifests=manifests)
    paths = listed_manifests(where.manifests)
    if how is not None:
        try:
            made = read_manifest(paths[how]) if how in paths else None
        except ManifestError as error:
            if how not in CORPORA:
                raise
            screen.note(f"note: {error}")  # what its recipe says holds all the same
            made = None
        _say_how(where, how, made)
        return
    prepared = readable_manifests(paths)
    if not check:
        _list(where, prepared, unreadable=len(paths) - len(prepared))
    elif (chosen := shape_of(shape, output, FORMATS)) == "table":
        _check(prepared)
    else:
        _deliver_check(prepared, chosen, output)


def _list(where: settings.Locations, prepared: Mapping[str, Manifest], *, unreadable: int) -> None:
    from ser_cache.corpora import CORPORA

    known = [
        (name, recipe.language, f"{recipe.utterances:,}", str(recipe.speakers), recipe.title)
        for name, recipe in sorted(CORPORA.items())
    ]
    columns = {"corpus": "left", "language": "left", "complete": "right", "speakers": "right"}
    screen.table("Corpora", columns | {"title": "fold"}, known)
    screen.say_folded(_editions())
    screen.say(_unverified())
    screen.say("How to get one, and what to mind: ser corpora --how NAME\n")
    if not prepared:
        if not unreadable:  # else the lines above say what is prepared, and how to mend it
            screen.note("None is prepared here; begin with: ser manifest CORPUS ROOT")
        return
    here = [
        (
            name,
            " ".join(sorted({utterance.language for utterance in made.utterances})),
            f"{len(made):,}",
            str(len(made.speakers)),
            f"{made.hours:.2f}",
            _audio(where, name),
        )
        for name, made in sorted(prepared.items())
    ]
    columns = {"corpus": "left", "language": "left", "prepared": "right", "speakers": "right"}
    screen.table("Prepared here", columns | {"hours": "right", "audio": "fold"}, here)


def _audio(where: settings.Locations, corpus: str) -> str:
    root = root_of(where, corpus)
    return str(root) if root else "not here: ser manifest again"


def _editions() -> str:
    from ser_cache.corpora import CORPORA

    names = (name for name, recipe in CORPORA.items() if recipe.editions)
    return f"complete: utterances. Other sizes: {', '.join(sorted(names))}."


def _unverified() -> str:
    from ser_cache.corpora import CORPORA

    names = (name for name, recipe in CORPORA.items() if recipe.unverified)
    return f"Not verified against a copy: {', '.join(sorted(names))}."


def _say_how(where: settings.Locations, name: str, made: Manifest | None) -> None:
    from ser_cache.catalogue import facts
    from ser_cache.corpora import CORPORA, known_corpus

    if made is not None and name not in CORPORA:
        raise SettingsError(
            f"{name} is a corpus of your own, prepared here from a table or a pattern ({len(made):,} "
            f"utterances, audio: {_audio(where, name)}): no recipe says where it is had."
        )
    recipe = known_corpus(name)
    screen.say(f"{recipe.name}: {recipe.title}\n")
    before = ""
    for field, text in facts(recipe):
        screen.say_field("" if field == before else field, text)
        before = field
    if made is not None:
        screen.say_field("prepared", f"{len(made):,} utterances, audio: {_audio(where, name)}")
    screen.say("\nNothing is downloaded for you: fetch it yourself, under its licence.")


def _check(prepared: Mapping[str, Manifest]) -> None:
    from ser_cache.catalogue import compare
    from ser_cache.corpora import CORPORA
    from ser_cache.importing import differences
    from ser_cache.published import study_named

    study = study_named(STUDY)
    comparisons = compare(study, prepared)
    columns = {"corpus": "left", "paper": "right", "recipe": "right"}
    columns |= {"prepared": "right"} if any(each.prepared for each in comparisons) else {}
    rows = []
    for each in comparisons:
        cells = {"paper": each.published, "recipe": each.recipe, "prepared": each.prepared}
        rows.append([each.corpus, *(_size(cells[name]) for name in columns if name in cells), each.verdict])
    screen.table("Corpora beside D'Asaro et al. 2024, Table 1", columns | {"ours": "fold"}, rows)
    screen.say("utterances / emotions. ours: the manifest here, else the recipe.\n")
    for each in comparisons:
        if each.explanation:
            screen.say_field(each.corpus, " ".join(filter(None, [each.explanation, each.choice])))
    screen.say(f"\n{_unverified()}")
    for name, made in prepared.items():
        if name in CORPORA and (lines := differences(CORPORA[name], made)):
            screen.say_field(name, f"here differs from the complete corpus: {'; '.join(lines)}.")


def _deliver_check(prepared: Mapping[str, Manifest], shape: str, output: Path | None) -> None:
    from ser_cache.catalogue import as_records, compare
    from ser_cache.cli.run_formats import as_csv
    from ser_cache.published import study_named

    records = as_records(compare(study_named(STUDY), prepared))
    text = as_json(records) if shape == "json" else as_csv(records)
    deliver(text, output, f"{len(records)} corpora")


def _size(size: Size | None) -> str:
    return f"{size.utterances:,} / {size.emotions}" if size else ""
