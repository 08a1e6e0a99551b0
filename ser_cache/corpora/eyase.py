"""EYASE: Egyptian Arabic, three actresses and three actors of a television series, in four emotions."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Edition, Fields, NoClip

_NAME = re.compile(r"(?P<gender>fm|ml)(?P<number>\d{2})_(?P<code>[a-z]{3})[ _]?\((?P<take>\d{1,3})\)")
_FOLDER = re.compile(r"(?P<gender>fe)?male(?P<number>\d{2})", re.IGNORECASE)


def _parse(path: PurePosixPath) -> Fields | NoClip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    gender, number = "female" if match["gender"] == "fm" else "male", match["number"]
    folders = (_FOLDER.fullmatch(part) for part in reversed(path.parts[:-1]))
    folder = next((found for found in folders if found), None)
    if folder is not None:
        if (folder["gender"] is None) != (gender == "male"):
            return NoClip(f"its name says {gender}, and its folder {folder[0]} does not")
        number = folder["number"]
    return Fields(
        speaker=f"{gender.capitalize()}{number}",
        code=match["code"],
        gender=gender,
        extra=(("take", match["take"]),),
    )


CORPUS = Corpus(
    name="eyase",
    title="Egyptian Arabic speech emotion database",
    language="ar",
    citation=(
        "L. Abdel-Hamid: Egyptian Arabic speech emotion recognition using prosodic, spectral and wavelet "
        "features. Speech Communication 122:19-30, 2020."
    ),
    licence="not confirmed: ask the author",
    source="the author, L. Abdel-Hamid",
    labels={"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"},
    expected={"anger": 150, "happiness": 132, "neutral": 150, "sadness": 147},
    speakers=6,
    parse=_parse,
    layout=(
        "names such as fm03_ang (12).wav (gender, speaker, initials of the emotion, number), in folders "
        "Female01 to Male03; 44.1 kHz."
    ),
    warts=(
        (
            "Unpacked into one folder, 80 clips overwrite 80 others, which leaves 499 (as others have had) "
            "and one actress for two."
        ),
        "The clips come from a television series, so that what else is heard may go with the emotion.",
    ),
    differs=(
        "the folder says who speaks, where it is called Female01 and so on: by the list that this recipe "
        "rests on, the files in Female02 are named fm01 like those in Female01. Who reads the names alone "
        "counts five speakers."
    ),
    download="what the author sends",
    unverified=(
        "the names are as a public list of all 579 has them, whose counts are the published ones; no file "
        "was seen here"
    ),
    editions=(Edition("all folders unpacked into one, with 80 clips overwritten", 499),),
)
