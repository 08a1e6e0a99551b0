"""Whatever a table calls a language, it gets one code; what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_cache.corpora import CORPORA
from ser_cache.errors import ManifestError
from ser_cache.languages import language_code
from ser_cache.packaged import packaged_rows

ROWS = packaged_rows("languages.csv")


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" English ", "en"),
        ("en-US", "en"),
        ("en_GB", "en"),
        ("eng", "en"),
        ("ger", "de"),
        ("Deutsch", "de"),
        ("FRANÇAIS", "fr"),
        ("French (Ca)", "fr"),
        ("pt_BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("Egyptian  Arabic", "arz"),
        ("Cantonese", "yue"),
        ("", ""),
        ("und", ""),
    ],
)
def test_one_language_has_one_code_however_it_is_written(written, code):
    assert language_code(written) == code


@pytest.mark.parametrize("written", ["Klingon", "xx", "e", "en/de", "English and German", "-", "1"])
def test_what_is_no_language_is_refused(written):
    with pytest.raises(ManifestError, match=r"no language is known as .*ISO 639-1 code") as caught:
        language_code(written)
    assert "\n" not in str(caught.value)


def test_a_slip_is_told_with_what_was_meant():
    with pytest.raises(ManifestError, match=r"did you mean it \(italian\)\?"):
        language_code("Itallian")


@given(st.sampled_from(ROWS), st.sampled_from([str.upper, str.lower, str.title]), st.data())
def test_every_spelling_leads_to_its_own_code(row, case, data):
    spellings = [row["code"], *row["three_letters"].split(";"), *row["names"].split(";")]
    assert language_code(case(data.draw(st.sampled_from(spellings)))) == row["code"]


def test_no_spelling_is_of_two_languages():
    owners: dict[str, set[str]] = {}
    for row in ROWS:
        for spelling in [row["code"], *row["three_letters"].split(";"), *row["names"].split(";")]:
            owners.setdefault(spelling.casefold(), set()).add(row["code"])
    assert {spelling for spelling, codes in owners.items() if len(codes) > 1} == set()
    codes = [row["code"] for row in ROWS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_known_corpus_states_such_a_code(corpus):
    assert language_code(CORPORA[corpus].language) == CORPORA[corpus].language
