"""The recipes beside a study's counts, and the page that is made of them."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from small_grid import manifest

from ser_cache.catalogue import Size, compare, facts
from ser_cache.corpora import CORPORA
from ser_cache.manifest import Manifest
from ser_cache.published import study_named

STUDY = study_named("dasaro2024")


def of(corpus, manifests=()):
    comparisons = compare(STUDY, {made.corpus: made for made in manifests})
    return next(each for each in comparisons if each.corpus == corpus)


def test_every_known_corpus_is_compared_once_in_order():
    assert [each.corpus for each in compare(STUDY, {})] == sorted(CORPORA)
    assert {each.corpus for each in compare(STUDY, {}) if each.published} == STUDY.corpora.keys()


@pytest.mark.parametrize(
    ("corpus", "verdict"),
    [
        ("aesdd", "104 more"),
        ("cafe", "the same"),
        ("demos", "8 emotions for 7"),
        ("emodb", "the same"),
        ("emomatch", "not confirmed"),
        ("emovo", "the same"),
        ("eyase", "the same"),
        ("oreau", "68 fewer"),
        ("shemo", "the same"),
        ("ravdess", ""),
        ("iemocap", ""),
    ],
)
def test_recipes_differ_from_the_paper_as_is_known(corpus, verdict):
    assert of(corpus).verdict == verdict


@pytest.mark.parametrize("corpus", sorted(STUDY.corpora))
def test_every_difference_is_explained_and_the_choice_stated(corpus):
    each = of(corpus)
    assert each.explanation
    assert (each.verdict == "the same") == (each.choice == "")


@pytest.mark.parametrize("corpus", sorted(STUDY.corpora))
def test_an_explanation_of_a_difference_speaks_of_the_papers_number(corpus):
    each = of(corpus)
    if each.verdict not in ("the same", "not confirmed"):
        assert f"{each.published.utterances:,} is " in each.explanation


def test_a_manifest_here_is_what_is_compared():
    made = manifest("emodb")
    each = of("emodb", [made])
    assert each.prepared == Size(36, 3)
    assert each.verdict == "499 fewer, 3 emotions for 7"
    assert of("emovo", [made]).prepared is None


def test_a_number_taken_from_the_study_confirms_nothing_until_files_are_counted():
    made = manifest("emomatch", emotions=CORPORA["emomatch"].emotions)
    copies = [replace(clip, id=f"{clip.id}-{n}") for n in range(25) for clip in made.utterances][:2020]
    assert of("emomatch", [Manifest("emomatch", tuple(copies))]).verdict == "the same"


def test_a_corpus_without_a_recipe_is_no_part_of_it():
    assert len(compare(STUDY, {"mine": manifest("mine")})) == len(CORPORA)


@pytest.mark.parametrize("corpus", sorted(CORPORA))
def test_the_facts_say_where_under_which_licence_what_to_do_and_what_to_cite(corpus):
    recipe = CORPORA[corpus]
    told = dict(facts(recipe))
    assert [told["from"], told["licence"], told["cite"]] == [recipe.source, recipe.licence, recipe.citation]
    assert told["then"] == f"ser manifest {corpus} ROOT"
    assert told["layout"] == recipe.layout
    assert told["download"]
    assert ("unverified" in told) == bool(recipe.unverified)
    assert told.get("differs", "") == recipe.differs
    assert [text for name, text in facts(recipe) if name == "mind"] == list(recipe.warts)
    assert max(map(len, told)) <= 11  # the width of a field's name on the screen


def test_the_page_of_corpora_is_made_from_the_recipes():
    docs = Path(__file__).resolve().parents[1] / "docs"
    page = runpy.run_path(str(docs / "make_corpora.py"))["page"]()
    assert (docs / "corpora.md").read_text(encoding="utf-8") == page, "run: python docs/make_corpora.py"
