"""A few names of every corpus and what they say, wherever they lie and however they are written."""

import unicodedata
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_cache.corpora import AUDIO_SUFFIXES, CORPORA, Fields, NoClip


def clip(speaker, code, **fields):
    extra = tuple(sorted(fields.pop("extra", {}).items()))
    return Fields(speaker, code, **fields, extra=extra)


NAMES = {
    "aesdd": {
        "anger/a03 (4).wav": clip("4", "a", sentence="03"),
        "fear/f18 (5)b.wav": clip("5", "f", sentence="18", extra={"take": "b"}),
        "fear/f10 (01).wav": clip("1", "f", sentence="10"),
        "happiness/h07(2).wav": clip("2", "h", sentence="07"),
        "sadness/s01_(6).wav": clip("6", "s", sentence="01"),
    },
    "cafe": {
        "CaFE_48k/Colère/Faible/01-C-1-1.wav": clip(
            "01", "C", sentence="1", gender="male", age="46", intensity="mild"
        ),
        "CaFE_48k/Dégoût/Fort/12-D-2-6.wav": clip(
            "12", "D", sentence="6", gender="female", age="37", intensity="strong"
        ),
        "CaFE_48k/Neutre/07-N-1-3.wav": clip("07", "N", sentence="3", gender="male", age="15"),
    },
    "cremad": {
        "AudioWAV/1001_XYZ_ANG_HI.wav": clip(  # a sentence that nobody rated
            "1001",
            "ANG",
            sentence="XYZ",
            gender="male",
            age="51",
            intensity="high",
            race="Caucasian",
            ethnicity="Not Hispanic",
        ),
    },
    "demos": {
        "DEMoS/DEMOS/PR_m_23_tri00a.wav": clip(
            "23", "tri", gender="male", extra={"prototypical": "yes", "take": "00a"}
        ),
        "DEMoS/DEMOS/NP_f_61_gio02c.wav": clip(
            "61", "gio", gender="female", extra={"prototypical": "no", "take": "02c"}
        ),
        "DEMoS/DEMOS/NP_f_55_col18b.wav": clip(
            "55", "col", gender="female", extra={"prototypical": "no", "take": "18b"}
        ),
        "DEMoS/NEU/f_55_neu03b.wav": clip("55", "neu", gender="female", extra={"take": "03b"}),
    },
    "emodb": {
        "wav/03a01Fa.wav": clip("03", "F", sentence="a01", gender="male", age="31", extra={"take": "a"}),
        "wav/10a01Nb.wav": clip("10", "N", sentence="a01", gender="male", age="32", extra={"take": "b"}),
        "wav/16b10Tb.wav": clip("16", "T", sentence="b10", gender="female", age="31", extra={"take": "b"}),
    },
    "emomatch": {
        "03_Alegria_02.WAV": clip("03", "Alegria", sentence="02", gender="female"),
        "EmoMatch/01_Alegría_11.wav": clip("01", "Alegria", sentence="11", gender="male"),
        "50_Neutro_12.wav": clip("50", "Neutro", sentence="12"),
    },
    "emovo": {
        "f1/dis-f1-b1.wav": clip("f1", "dis", sentence="b1", gender="female"),
        "m3/tri-m3-l4.wav": clip("m3", "tri", sentence="l4", gender="male"),
    },
    "eyase": {
        "Female03/fm03_ang (12).wav": clip("Female03", "ang", gender="female", extra={"take": "12"}),
        "Female01/fm01_neu (1).wav": clip("Female01", "neu", gender="female", extra={"take": "1"}),
        "Female02/fm01_neu (2).wav": clip("Female02", "neu", gender="female", extra={"take": "2"}),
        "Male02/ml02_sad (30).wav": clip("Male02", "sad", gender="male", extra={"take": "30"}),
        "ml01_hap(7).wav": clip("Male01", "hap", gender="male", extra={"take": "7"}),
    },
    "iemocap": {
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": clip(
            "Ses01F",
            "",
            gender="female",
            fold="1",
            extra={"dialogue": "impro01", "session": "1", "spoken": "improvised"},
        ),
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M013.wav": clip(
            "Ses01M",
            "",
            gender="male",
            fold="1",
            extra={"dialogue": "impro01", "session": "1", "spoken": "improvised"},
        ),
        "Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_F029.wav": clip(
            "Ses05F",
            "",
            gender="female",
            fold="5",
            extra={"dialogue": "script01_1b", "session": "5", "spoken": "scripted"},
        ),
    },
    "oreau": {
        "OréauFR_02/f/sessc/10a01Ca.wav": clip(
            "10", "C", sentence="a01C", gender="female", extra={"take": "a"}
        ),
        "OréauFR_02/m/sessn/08a01Na.wav": clip(
            "08", "N", sentence="a01N", gender="male", extra={"take": "a"}
        ),
        "OréauFR_01/m/sessn/08a01N.wav": clip("08", "N", sentence="a01N", gender="male"),
        "OréauFR_01/m/sesss/07z03Sa.wav": clip(
            "07", "S", sentence="z03S", gender="male", extra={"take": "a"}
        ),
    },
    "ravdess": {
        "Actor_12/03-01-06-02-02-01-12.wav": clip(
            "12", "06", sentence="02", gender="female", intensity="strong", extra={"take": "01"}
        ),
        "Actor_01/03-01-01-01-01-02-01.wav": clip(
            "01", "01", sentence="01", gender="male", intensity="normal", extra={"take": "02"}
        ),
    },
    "shemo": {
        "female/F01A02.wav": clip("F01", "A", gender="female", extra={"take": "02"}),
        "female/F26F02.wav": clip("F26", "F", gender="female", extra={"take": "02"}),
        "male/M56W01.wav": clip("M56", "W", gender="male", extra={"take": "01"}),
    },
}
FACTS = [(corpus, path, fields) for corpus, names in NAMES.items() for path, fields in names.items()]

# As programs write an accent: one character, a letter and a mark, or the old code page of an archive's names
# (cp437 and cp850 agree here) read as Windows' or as Latin-1, or UTF-8 read as either.
MANGLED = {
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "old code page as Windows'": lambda name: name.encode("cp850").decode("cp1252"),
    "old code page as Latin-1": lambda name: name.encode("cp850").decode("latin-1"),
    "UTF-8 as Windows'": lambda name: name.encode().decode("cp1252"),
    "UTF-8 as Latin-1": lambda name: name.encode().decode("latin-1"),
}


def test_every_recipe_has_names_here():
    assert NAMES.keys() == CORPORA.keys()


@pytest.mark.parametrize(("corpus", "path", "fields"), FACTS)
def test_a_name_says_what_it_says(corpus, path, fields):
    recipe = CORPORA[corpus]
    assert recipe.parse(PurePosixPath(path)) == fields
    assert recipe.read_codes or fields.code in recipe.labels


@pytest.mark.parametrize(("corpus", "path", "fields"), FACTS)
def test_a_name_says_so_in_any_folder_and_any_format(corpus, path, fields):
    recipe = CORPORA[corpus]
    stem = path.rpartition(".")[0]
    for suffix in sorted(AUDIO_SUFFIXES):
        assert recipe.parse(PurePosixPath(f"{stem}{suffix}")) == fields
        assert recipe.parse(PurePosixPath(f"deep/er down/{stem}{suffix.upper()}")) == fields


@pytest.mark.parametrize("way", MANGLED)
@pytest.mark.parametrize(("corpus", "path", "fields"), [fact for fact in FACTS if not fact[1].isascii()])
def test_a_name_says_so_however_its_folders_accents_are_written(corpus, path, fields, way):
    folder, _, name = path.rpartition("/")
    # A file's own name in the old code page is not met: only CaFE's and Oréau's folders have accents there.
    written = f"{MANGLED[way](folder)}/{MANGLED[way](name) if way.endswith('composed') else name}"
    assert CORPORA[corpus].parse(PurePosixPath(written)) == fields


@pytest.mark.parametrize(("corpus", "path", "fields"), FACTS)
def test_a_name_is_claimed_by_no_other_corpus(corpus, path, fields):
    others = [name for name in CORPORA if name != corpus]
    claiming = [name for name in others if isinstance(CORPORA[name].parse(PurePosixPath(path)), Fields)]
    assert claiming == []


def test_only_names_that_emodb_and_oreau_share_depend_on_their_folder():
    shared, own = "10a01Na.wav", "10a01Ca.wav"
    assert isinstance(CORPORA["emodb"].parse(PurePosixPath(shared)), Fields)
    refusal = CORPORA["oreau"].parse(PurePosixPath(shared))
    assert "EmoDB names a file so too" in refusal.reason
    assert not refusal.expected
    for folder in ("sessn", "SessN", "Oreau", "OréauFR_01", "Or‚auFR_02"):  # noqa: RUF001 - cp850 read as cp1252
        path = PurePosixPath(folder, shared)
        assert CORPORA["oreau"].parse(path) == replace(
            clip("10", "N", sentence="a01N", gender="female"), extra=(("take", "a"),)
        )
        assert CORPORA["emodb"].parse(path) is None
    assert isinstance(CORPORA["oreau"].parse(PurePosixPath(own)), Fields)
    for folder in ("Moreau", "sessx", "for au"):
        assert isinstance(CORPORA["emodb"].parse(PurePosixPath(folder, shared)), Fields)


NEARLY = st.builds(
    lambda path, place, piece: path[:place] + piece + path[place + 1 :],
    st.sampled_from([path for _, path, _ in FACTS]),
    st.integers(0, 60),
    st.text(max_size=3),
)


@settings(deadline=None)
@given(path=st.one_of(st.text(min_size=1), NEARLY))
def test_no_name_breaks_a_recipe_and_what_it_takes_a_manifest_can_hold(path):
    for recipe in CORPORA.values():
        read = recipe.parse(PurePosixPath(path))
        assert read is None or isinstance(read, (Fields, NoClip))
        if isinstance(read, Fields):
            assert read.speaker
            assert read.speaker.isascii()
            assert read.code or recipe.read_codes
            assert read.gender in ("female", "male", "")
            assert [column for column, _ in read.extra] == sorted(column for column, _ in read.extra)
            assert all(text for _, text in read.extra)


def test_emomatch_knows_the_gender_of_as_many_speakers_as_it_says():
    recipe = CORPORA["emomatch"]
    genders = [
        recipe.parse(PurePosixPath(f"{number:02}_Ira_01.wav")).gender
        for number in range(1, recipe.speakers + 1)
    ]
    (wart,) = (wart for wart in recipe.warts if "gender" in wart)
    assert f"for {sum(map(bool, genders))} of the {recipe.speakers} speakers" in wart
