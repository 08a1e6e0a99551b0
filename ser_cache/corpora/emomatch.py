"""EmoMatchSpanishDB: Spanish, 50 people who are no actors, elicited speech in seven emotions."""

import re
import unicodedata
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Fields

_NAME = re.compile(r"(?P<speaker>\d{2})_(?P<code>[A-Za-z]+)_(?P<sentence>\d{2})")

# Of the 29 speakers that the code of the corpus's first author works with; it does not say it of the others.
_MEN = frozenset({"01", "02", "05", "09", "12", "13", "22", "23", "31", "35", "36", "37", "43"})
_WOMEN = frozenset(
    {"03", "04", "06", "07", "08", "10", "11", "20", "25", "29", "33", "40", "41", "45", "46", "49"}
)

_LABELS = {
    "Alegria": "happiness",
    "Asco": "disgust",
    "Ira": "anger",
    "Miedo": "fear",
    "Neutro": "neutral",
    "Sorpresa": "surprise",
    "Tristeza": "sadness",
}


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(_plain(path.stem))
    if match is None:
        return None
    speaker = match["speaker"]
    gender = "male" if speaker in _MEN else "female" if speaker in _WOMEN else ""
    code = match["code"].capitalize()
    return Fields(speaker=speaker, code=code, sentence=match["sentence"], gender=gender)


def _plain(name: str) -> str:
    """A name without accents: Alegría is written in either way, and with one character or two."""
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


CORPUS = Corpus(
    name="emomatch",
    title="EmoMatchSpanishDB",
    language="es",
    citation=(
        "E. Garcia-Cuesta, A. Barba Salvador, D. Gachet Páez: EmoMatchSpanishDB: study of speech emotion "
        "recognition machine learning models in a new Spanish elicited database. Multimedia Tools and "
        "Applications 83:13093-13112, 2024."
    ),
    licence="not confirmed: ask the authors",
    source="the authors of https://doi.org/10.1007/s11042-023-15959-w",
    labels=_LABELS,
    expected={},
    speakers=50,
    parse=_parse,
    layout="names such as 03_Alegria_02.WAV (speaker, emotion in Spanish, sentence); 48 kHz.",
    warts=(
        (
            "It is the part of EmoSpanishDB where the crowd's emotion is the one that was elicited. Both "
            "name their files alike: give a folder that holds EmoMatchSpanishDB alone."
        ),
        (
            "How many clips each emotion has is not known here, and the whole number only from D'Asaro et "
            "al., Table 1; others write 2,005 or about 2,050."
        ),
        (
            "The gender is filled in for 29 of the 50 speakers, from the same published code as the names; "
            "tables by gender say 'not stated' of the others."
        ),
    ),
    download="what the authors send",
    unverified=(
        "the names are as the published code of the corpus's first author reads them; neither a list of them "
        "nor a file was seen here"
    ),
    size=2020,
)
