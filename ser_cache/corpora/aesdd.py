"""AESDD: Greek, actors speaking 20 sentences in five emotions; it has grown since its first version."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Edition, Fields

# Copies lose the space, or have an underscore for it. Five files have (01), which is speaker 1: they are the
# very sentences that (1) lacks.
_NAME = re.compile(r"(?P<code>[a-z])(?P<sentence>\d{2})[ _]?\(0?(?P<speaker>[1-9]\d?)\)(?P<take>[a-z]?)")


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    return Fields(
        speaker=match["speaker"],
        code=match["code"],
        sentence=match["sentence"],
        extra=(("take", match["take"]),) if match["take"] else (),
    )


CORPUS = Corpus(
    name="aesdd",
    title="Acted Emotional Speech Dynamic Database",
    language="el",
    citation=(
        "N. Vryzas, R. Kotsakis, A. Liatsou, C. A. Dimoulas, G. Kalliris: Speech Emotion Recognition for "
        "Performance Interaction. Journal of the Audio Engineering Society 66(6):457-467, 2018."
    ),
    licence="not stated; its page calls it publicly available, for research",
    source="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    labels={"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"},
    expected={"anger": 121, "disgust": 122, "fear": 120, "happiness": 119, "sadness": 122},
    speakers=6,
    parse=_parse,
    layout=(
        "names such as a03 (4).wav (initial of the emotion, sentence, speaker in brackets), with a letter "
        "after the brackets where two takes were kept, in folders anger to sadness; 44.1 kHz."
    ),
    warts=(
        (
            "The number in brackets is the speaker: the database's own readme says so, as EmoBox reads it. "
            "Five files have (01) for (1); EmoBox counts that as the same speaker, a plain reader as a "
            "seventh."
        ),
        (
            "Version 1 had five actors; the sixth came later, and others may. Who is a woman is not taken "
            "over: the readme has three women and two men among the first five, a list in circulation the "
            "reverse."
        ),
        (
            "A 605th file, s05 (3).wav, holds no samples in the copies that others report on (no data "
            "chunk). It is then listed as failed, and the 604 are complete."
        ),
        (
            "One of the 20 sentence numbers is an improvisation, so its words differ from speaker to "
            "speaker; which one is not said."
        ),
    ),
    download="the archive linked on the page; unpack all five folders",
    editions=(
        Edition("the first five speakers, those of version 1 ('around 500')", 504),
        Edition("a copy in which s05 (3).wav can be read", 605),
    ),
)
