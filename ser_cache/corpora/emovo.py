"""EMOVO: Italian, six actors (three women, three men), 14 sentences in seven emotions."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Fields

_NAME = re.compile(r"(?P<code>[a-z]{3})-(?P<speaker>[fm]\d)-(?P<sentence>[a-z]\d)")


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker = match["speaker"]
    return Fields(
        speaker=speaker,
        code=match["code"],
        sentence=match["sentence"],
        gender="female" if speaker[0] == "f" else "male",
    )


CORPUS = Corpus(
    name="emovo",
    title="Italian emotional speech database",
    language="it",
    citation=(
        "G. Costantini, I. Iaderola, A. Paoloni, M. Todisco: EMOVO Corpus: an Italian Emotional Speech "
        "Database. LREC 2014."
    ),
    licence="research use; not redistributable (terms not stated in the archive)",
    source="Fondazione Ugo Bordoni, http://voice.fub.it/activities/corpora/emovo/index.html",
    labels={
        "dis": "disgust",
        "gio": "happiness",
        "neu": "neutral",
        "pau": "fear",
        "rab": "anger",
        "sor": "surprise",
        "tri": "sadness",
    },
    expected={
        "anger": 84,
        "disgust": 84,
        "fear": 84,
        "happiness": 84,
        "neutral": 84,
        "sadness": 84,
        "surprise": 84,
    },
    speakers=6,
    parse=_parse,
    layout="names such as dis-f1-b1.wav (emotion, speaker, sentence), in folders f1 to m3; 48 kHz stereo.",
    warts=(
        "Its 14 sentences are the same in every emotion, so a split by speakers has them on every side.",
        (
            "Two names, tri-f3-n1 and tri-f3-n2, are one recording in the copy read here (ser audit finds "
            "it): one sentence of the two is missing."
        ),
    ),
    download="the archive linked on the page, or a mirror",
)
