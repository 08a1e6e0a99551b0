"""Oréau: French, 32 people who are no actors, in seven emotions."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Edition, Fields, NoClip
from ser_cache.corpora.lookalikes import EMODB_CODES, OREAU_CODES, could_be_emodb, in_oreau_folder

_NAME = re.compile(r"(?P<speaker>\d{2})(?P<sentence>[az]\d{2})(?P<code>[A-Z])(?P<take>[a-z]?)")

# From the folders f and m.
_WOMEN = frozenset({"10", "11", "13", "21", "24", "37", "42"})
_MEN = frozenset(
    {"07", "08", "09", "12", "14", "16", "18", "19", "20", "22", "23", "25", "26", "27"}
) | frozenset({"28", "29", "30", "31", "32", "33", "36", "38", "39", "40", "41"})


def _parse(path: PurePosixPath) -> Fields | NoClip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None or match["speaker"] not in _WOMEN | _MEN:
        return None
    speaker, sentence, code = match["speaker"], match["sentence"], match["code"]
    if not in_oreau_folder(path):
        if code in EMODB_CODES - OREAU_CODES:
            return None
        if could_be_emodb(speaker, sentence, code):
            return NoClip("EmoDB names a file so too, and no folder of Oréau's (such as sessn) is around it")
    return Fields(
        speaker=speaker,
        code=code,
        # Each emotion has sentences of its own, all numbered from a01.
        sentence=sentence + code,
        gender="female" if speaker in _WOMEN else "male",
        extra=(("take", match["take"]),) if match["take"] else (),
    )


CORPUS = Corpus(
    name="oreau",
    title="Oréau: French emotional speech database",
    language="fr",
    citation=(
        "L. Kerkeni, C. Cleder, Y. Serrestou, K. Raoof: French Emotional Speech Database - Oréau. Zenodo, "
        "2020, https://doi.org/10.5281/zenodo.4405783."
    ),
    licence="not confirmed: see the page of the record",
    source="https://zenodo.org/record/4405783",
    labels={
        "C": "anger",
        "D": "disgust",
        "J": "happiness",
        "N": "neutral",
        "P": "fear",
        "S": "surprise",
        "T": "sadness",
    },
    expected={
        "anger": 67,
        "disgust": 67,
        "fear": 51,
        "happiness": 62,
        "neutral": 70,
        "sadness": 55,
        "surprise": 62,
    },
    speakers=32,
    parse=_parse,
    layout=(
        "names such as 10a01Ca.wav (speaker, sentence, initial of the emotion in French, take), in folders f "
        "and m with sessc to sesst; 44.1 kHz."
    ),
    warts=(
        (
            "The archive holds two versions side by side: OréauFR_01 with all 502 clips, and OréauFR_02 with "
            "the 434 whose emotion listeners recognised. Give the folder of one. Choosing clips by what "
            "listeners recognised makes the task easier."
        ),
        (
            "Only the names of version 2 were seen here. Those of version 1 are read alike, as published "
            "code reads them, with or without the letter of the take."
        ),
        (
            "The sentences were written for each emotion (a01 to a13 of one have other words than of "
            "another): what is said gives the label away."
        ),
        (
            "EmoDB names its files alike, four of them the same. The 20 names that EmoDB could have are "
            "taken only inside a folder of Oréau's."
        ),
        (
            "The é in its folder is written in either way, with one character or two, or is mangled; none of "
            "it matters."
        ),
    ),
    download="the archive; unpack it and give OréauFR_01 or OréauFR_02",
    editions=(Edition("version 1, before its perception test (OréauFR_01)", 502),),
)
