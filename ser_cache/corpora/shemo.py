"""ShEMO: Persian, 87 speakers of radio plays, in six emotions."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Edition, Fields

_NAME = re.compile(r"(?P<speaker>(?P<gender>[FM])\d{2})(?P<code>[A-Z])(?P<take>\d{2})")


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    return Fields(
        speaker=match["speaker"],
        code=match["code"],
        gender="female" if match["gender"] == "F" else "male",
        extra=(("take", match["take"]),),
    )


CORPUS = Corpus(
    name="shemo",
    title="Sharif Emotional Speech Database",
    language="fa",
    citation=(
        "O. Mohamad Nezami, P. Jamshid Lou, M. Karami: ShEMO: a large-scale validated database for Persian "
        "speech emotion detection. Language Resources and Evaluation 53(1):1-16, 2019."
    ),
    licence=(
        "free of charge for academic purposes, as the paper says; the authors' own copies state Apache-2.0"
    ),
    source=(
        "https://github.com/mansourehk/ShEMO; working links: "
        "https://github.com/pariajm/sharif-emotional-speech-dataset"
    ),
    labels={
        "A": "anger",
        "F": "fear",
        "H": "happiness",
        "N": "neutral",
        "S": "sadness",
        "W": "surprise",
    },
    expected={
        "anger": 1059,
        "fear": 38,
        "happiness": 201,
        "neutral": 1028,
        "sadness": 449,
        "surprise": 225,
    },
    speakers=87,
    parse=_parse,
    layout=(
        "names such as F01A02.wav (gender and speaker, initial of the emotion, number), in folders female "
        "and male."
    ),
    warts=(
        "F is a woman at the front of a name and fear behind the speaker; surprise is W.",
        (
            "Fear has 38 clips of 3,000 (29 of the 2,838 that EmoBox could load): too few to stand on every "
            "side of most splits."
        ),
        "121 clips of that list are at 22.05 kHz, the others at 44.1 kHz; lengths go from 0.4 to 33 s.",
    ),
    download="female.zip and male.zip; unpack both below one folder",
    editions=(Edition("EmoBox's list of it", 2838),),
)
