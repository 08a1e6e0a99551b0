"""EmoDB (Berlin): German, ten actors, ten sentences in seven emotions."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Fields
from ser_cache.corpora.lookalikes import EMODB_CODES, EMODB_SENTENCES, OREAU_CODES, in_oreau_folder

_NAME = re.compile(r"(?P<speaker>\d{2})(?P<sentence>[ab]\d{2})(?P<code>[A-Z])(?P<take>[a-z]?)")

# Gender and age in years, from the corpus's own description.
_SPEAKERS = {
    "03": ("male", "31"),
    "08": ("female", "34"),
    "09": ("female", "21"),
    "10": ("male", "32"),
    "11": ("male", "26"),
    "12": ("male", "30"),
    "13": ("female", "32"),
    "14": ("female", "35"),
    "15": ("male", "25"),
    "16": ("female", "31"),
}


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None or match["speaker"] not in _SPEAKERS or match["sentence"] not in EMODB_SENTENCES:
        return None
    if match["code"] in OREAU_CODES - EMODB_CODES or in_oreau_folder(path):
        return None
    gender, age = _SPEAKERS[match["speaker"]]
    return Fields(
        speaker=match["speaker"],
        code=match["code"],
        sentence=match["sentence"],
        gender=gender,
        age=age,
        extra=(("take", match["take"]),) if match["take"] else (),
    )


CORPUS = Corpus(
    name="emodb",
    title="Berlin database of emotional speech",
    language="de",
    citation=(
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss: A Database of German Emotional "
        "Speech. Interspeech 2005."
    ),
    licence="not stated in the archive; cite the paper",
    source="http://emodb.bilderbar.info/",
    labels={
        "W": "anger",
        "L": "boredom",
        "E": "disgust",
        "A": "fear",
        "F": "happiness",
        "N": "neutral",
        "T": "sadness",
    },
    expected={
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    },
    speakers=10,
    parse=_parse,
    layout="names such as 03a01Fa.wav (speaker, sentence, initial of the emotion in German, take); 16 kHz.",
    warts=(
        "One copy in circulation has every clip cut or padded to 2 s.",
        "Oréau names its files alike, four of them the same; what lies in a folder of Oréau's is not taken.",
    ),
    download="download.zip; unpack it",
)
