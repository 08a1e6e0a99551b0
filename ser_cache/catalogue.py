"""The known corpora beside what a study says of them: how many clips and classes, and why they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ser_cache.corpora import CORPORA, Corpus
from ser_cache.manifest import Manifest
from ser_cache.published import PublishedCorpus, Study


@dataclass(frozen=True)
class Size:
    """How large a corpus is said to be.

    Attributes:
        utterances: clips.
        emotions: classes.
    """

    utterances: int
    emotions: int


@dataclass(frozen=True)
class Comparison:
    """One corpus in a study, in its recipe and here.

    Attributes:
        corpus: its name.
        published: as the study counts it; None where the study has it not.
        recipe: the complete corpus, as its recipe expects it.
        prepared: of the manifest here; None where there is none.
        verdict: how ours (the manifest here, else the recipe) differs from the study's, in a few words; empty
            where the study has it not.
        explanation: what the study's number is of, as a sentence; likewise.
        choice: what is taken here instead; empty where it is the same.
    """

    corpus: str
    published: Size | None
    recipe: Size
    prepared: Size | None
    verdict: str = ""
    explanation: str = ""
    choice: str = ""


def compare(study: Study, manifests: Mapping[str, Manifest]) -> tuple[Comparison, ...]:
    """Every known corpus beside a study, sorted by name.

    Args:
        study: whose corpora are compared.
        manifests: those prepared here, by corpus; of corpora without a recipe nothing is said.
    """
    return tuple(
        _compare(CORPORA[name], study.corpora.get(name), manifests.get(name)) for name in sorted(CORPORA)
    )


def _compare(recipe: Corpus, there: PublishedCorpus | None, made: Manifest | None) -> Comparison:
    expected = Size(recipe.utterances, len(recipe.emotions))
    here = Size(len(made), len(made.emotions)) if made else None
    if there is None:
        return Comparison(recipe.name, None, expected, here)
    published = Size(there.samples, there.emotions)
    # A recipe that knows no classes' counts has its whole number from such a study: it would confirm itself.
    verdict = (
        "not confirmed" if here is None and not recipe.expected else _verdict(published, here or expected)
    )
    return Comparison(recipe.name, published, expected, here, verdict, there.explanation, there.choice)


def _verdict(published: Size, ours: Size) -> str:
    pieces = []
    if more := ours.utterances - published.utterances:
        pieces.append(f"{abs(more):,} {'more' if more > 0 else 'fewer'}")
    if ours.emotions != published.emotions:
        pieces.append(f"{ours.emotions} emotions for {published.emotions}")
    return ", ".join(pieces) or "the same"


def as_records(comparisons: Iterable[Comparison]) -> list[dict[str, str | int | None]]:
    """Comparisons as flat records, for a table or for JSON; numbers that do not exist are None."""
    return [
        {
            "corpus": each.corpus,
            "paper_utterances": each.published.utterances if each.published else None,
            "paper_emotions": each.published.emotions if each.published else None,
            "recipe_utterances": each.recipe.utterances,
            "recipe_emotions": each.recipe.emotions,
            "prepared_utterances": each.prepared.utterances if each.prepared else None,
            "prepared_emotions": each.prepared.emotions if each.prepared else None,
            "ours": each.verdict,
            "explanation": each.explanation,
            "choice": each.choice,
            "unverified": CORPORA[each.corpus].unverified,
        }
        for each in comparisons
    ]


def facts(recipe: Corpus) -> Iterator[tuple[str, str]]:
    """What there is to know of a corpus before using it, as (name, text); one name may come several times."""
    yield "language", recipe.language
    yield "complete", f"{recipe.utterances:,} utterances, {recipe.speakers} speakers"
    yield "emotions", _emotions(recipe)
    for edition in recipe.editions:
        yield "also met", f"{edition.utterances:,} utterances: {edition.name}"
    if recipe.unverified:
        yield "unverified", f"{recipe.unverified}."
    yield "from", recipe.source
    yield "licence", recipe.licence
    yield "download", recipe.download
    yield "then", f"ser manifest {recipe.name} ROOT"
    yield "layout", recipe.layout
    if recipe.differs:
        yield "differs", recipe.differs
    for wart in recipe.warts:
        yield "mind", wart
    yield "cite", recipe.citation


def _emotions(recipe: Corpus) -> str:
    if recipe.expected:
        counts = ", ".join(f"{emotion} {count:,}" for emotion, count in sorted(recipe.expected.items()))
    else:
        counts = f"{', '.join(recipe.emotions)} (how many of each is not known)"
    left_out = sorted(set(recipe.omitted.values()))
    return counts + (f"; left out: {', '.join(left_out)}" if left_out else "")
