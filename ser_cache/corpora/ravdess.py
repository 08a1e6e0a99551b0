"""RAVDESS, the speech audio: North American English, 24 actors, two sentences in eight emotions."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Fields

# Modality 03 is audio alone, channel 01 is speech: video (01, 02) and song (02) are other data of the same
# actors, which would double or mix the corpus.
_NAME = re.compile(
    r"03-01-(?P<code>\d{2})-(?P<intensity>01|02)-(?P<sentence>\d{2})-(?P<take>\d{2})-(?P<speaker>\d{2})"
)


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    return Fields(
        speaker=match["speaker"],
        code=match["code"],
        sentence=match["sentence"],
        gender="male" if int(match["speaker"]) % 2 else "female",
        intensity="normal" if match["intensity"] == "01" else "strong",
        extra=(("take", match["take"]),),
    )


CORPUS = Corpus(
    name="ravdess",
    title="Ryerson audio-visual database, speech",
    language="en",
    citation=(
        "S. R. Livingstone, F. A. Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391, 2018."
    ),
    licence="CC BY-NC-SA 4.0",
    source="https://zenodo.org/records/1188976",
    labels={
        "01": "neutral",
        "02": "calm",
        "03": "happiness",
        "04": "sadness",
        "05": "anger",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    },
    expected={
        "anger": 192,
        "calm": 192,
        "disgust": 192,
        "fear": 192,
        "happiness": 192,
        "neutral": 96,
        "sadness": 192,
        "surprise": 192,
    },
    speakers=24,
    parse=_parse,
    layout=(
        "names such as 03-01-06-01-02-01-12.wav (audio, speech, emotion, intensity, sentence, take, "
        "speaker), in folders Actor_01 to Actor_24; 48 kHz."
    ),
    warts=(
        "Song (03-02-) and video are other data of the same actors; they are listed, and not taken.",
        (
            "One pair of files has identical bytes in the official release: 03-01-03-01-02-01-07 and "
            "03-01-03-01-02-02-07."
        ),
        "Its two sentences are the same in every emotion, so a split by speakers has them on every side.",
    ),
    download="Audio_Speech_Actors_01-24.zip",
)
