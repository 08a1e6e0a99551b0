"""Write docs/corpora.md from the recipes: ``python docs/make_corpora.py``. A test compares."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_cache.catalogue import Size, compare, facts
from ser_cache.corpora import AUDIO_SUFFIXES, CORPORA
from ser_cache.published import study_named

PAGE = Path(__file__).with_name("corpora.md")
INTRODUCTION = f"""# Corpora

Written by `python docs/make_corpora.py` from the recipes in `ser_cache/corpora/`. `ser corpora --how NAME`
prints what stands here of one corpus. No audio comes with this software and none is downloaded: each corpus
is had from its owner, under its owner's licence. A recipe reads the names of files wherever the corpus is
unpacked, in any of these audio formats: {" ".join(sorted(AUDIO_SUFFIXES))}.
Other corpora are imported from a table or a pattern (`manifests/README.md`).
What a recipe leaves out on purpose is counted by `ser manifest`, with the reason, and is no failure.

A recipe with "no" under "checked" was never held against a copy of the corpus or an official list of its
files; its section says what it rests on. Every other reads each name of such a list, or of the corpus itself,
as the list or the corpus's metadata says; tests compare.
"""
BESIDE = """## Beside D'Asaro et al. 2024, Table 1

`ser corpora --check` prints this, and what is prepared on your machine beside it. The explanations are ours;
where the paper does not say which clips it left out, that is said.
"""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def overview() -> str:
    """A row per corpus."""
    columns = ("corpus", "language", "utterances", "speakers", "classes", "checked", "licence")
    rows = [
        (
            f"[{name}](#{name})",
            recipe.language,
            f"{recipe.utterances:,}",
            str(recipe.speakers),
            str(len(recipe.emotions)),
            "no" if recipe.unverified else "yes",
            recipe.licence,
        )
        for name, recipe in sorted(CORPORA.items())
    ]
    return table(columns, rows)


def beside_the_paper() -> str:
    """Table 1 of the paper beside the recipes, and what explains each number."""
    columns = ("corpus", "paper", "recipe", "ours", "why, and what is taken")
    rows = [
        (
            each.corpus,
            size(each.published),
            size(each.recipe),
            each.verdict,
            f"{each.explanation} {each.choice}",
        )
        for each in compare(study_named("dasaro2024"), {})
        if each.published is not None
    ]
    return table(columns, [[cell.strip() for cell in row] for row in rows]) + "\nUtterances / emotions.\n"


def size(given: Size) -> str:
    """Utterances and classes."""
    return f"{given.utterances:,} / {given.emotions}"


def sections() -> Iterator[str]:
    """What there is to know of each corpus."""
    for name, recipe in sorted(CORPORA.items()):
        lines, before = [], ""
        for field, text in facts(recipe):
            shown = f"`{text}`" if field == "then" else escaped(text)
            lines.append(f"  - {shown}" if field == before else f"- {field}: {shown}")
            before = field
        yield f"## {name}\n\n{recipe.title}\n\n" + "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A text whose underscores and stars are no Markdown; addresses are left as they are."""
    words = text.split(" ")
    return " ".join(
        word if word.startswith("http") else word.replace("_", r"\_").replace("*", r"\*") for word in words
    )


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([INTRODUCTION, overview(), BESIDE, beside_the_paper(), *sections()])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
