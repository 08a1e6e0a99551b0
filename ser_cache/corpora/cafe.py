"""CaFE: Canadian French, twelve actors, six sentences in seven emotions, six of them at two intensities."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Fields

_NAME = re.compile(r"(?P<speaker>\d{2})-(?P<code>[A-Z])-(?P<intensity>[12])-(?P<sentence>\d)")

# In years, from the corpus's own description.
_AGES = {
    "01": "46",
    "02": "64",
    "03": "18",
    "04": "50",
    "05": "22",
    "06": "34",
    "07": "15",
    "08": "25",
    "09": "42",
    "10": "20",
    "11": "35",
    "12": "37",
}


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None or match["speaker"] not in _AGES:
        return None
    strength = "mild" if match["intensity"] == "1" else "strong"
    return Fields(
        speaker=match["speaker"],
        code=match["code"],
        sentence=match["sentence"],
        gender="male" if int(match["speaker"]) % 2 else "female",
        age=_AGES[match["speaker"]],
        intensity="" if match["code"] == "N" else strength,
    )


CORPUS = Corpus(
    name="cafe",
    title="Canadian French Emotional speech dataset",
    language="fr",
    citation=(
        "P. Gournay, O. Lahaie, R. Lefebvre: A Canadian French Emotional Speech Dataset. ACM Multimedia "
        "Systems Conference 2018, pages 399-402."
    ),
    licence="CC BY-NC-SA 4.0 (see the page of the record)",
    source="https://zenodo.org/record/1478765",
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
        "anger": 144,
        "disgust": 144,
        "fear": 144,
        "happiness": 144,
        "neutral": 72,
        "sadness": 144,
        "surprise": 144,
    },
    speakers=12,
    parse=_parse,
    layout=(
        "names such as 01-C-1-1.wav (speaker, initial of the emotion in French, intensity, sentence), in "
        "folders Colère to Tristesse, each but Neutre with Faible and Fort."
    ),
    warts=(
        (
            "The archive has the names of its folders in an old code page, so that Colère and Dégoût come "
            "out with other letters for è, é and û. The names of the files say it all: nothing need be "
            "renamed, unless a folder's name is no text at all; those files are listed as failed until the "
            "folder is renamed."
        ),
        "The same clips are offered at 48 and at 192 kHz. Unpack one of them.",
    ),
    download="CaFE_48k.zip",
)
