"""DEMoS: Italian, 68 speakers, elicited speech in seven emotions and neutral."""

import re
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Edition, Fields

_NAME = re.compile(
    r"(?:(?P<typical>PR|NP)_)?(?P<gender>[fm])_(?P<speaker>\d{2})_(?P<code>[a-z]{3})(?P<take>\d{2}[a-z])"
)


def _parse(path: PurePosixPath) -> Fields | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    typical = {"PR": "yes", "NP": "no"}.get(match["typical"] or "", "")
    return Fields(
        speaker=match["speaker"],
        code=match["code"],
        gender="female" if match["gender"] == "f" else "male",
        extra=((("prototypical", typical),) if typical else ()) + (("take", match["take"]),),
    )


CORPUS = Corpus(
    name="demos",
    title="Database of Elicited Mood in Speech",
    language="it",
    citation=(
        "E. Parada-Cabaleiro, G. Costantini, A. Batliner, M. Schmitt, B. W. Schuller: DEMoS: an Italian "
        "emotional speech corpus. Elicitation methods, machine learning, and perception. Language Resources "
        "and Evaluation 54(2):341-383, 2020."
    ),
    licence="restricted: an agreement, signed by a university's permanent staff, is sent with the request",
    source="https://zenodo.org/record/2544829",
    labels={
        "col": "guilt",
        "dis": "disgust",
        "gio": "happiness",
        "neu": "neutral",
        "pau": "fear",
        "rab": "anger",
        "sor": "surprise",
        "tri": "sadness",
    },
    expected={
        "anger": 1477,
        "disgust": 1678,
        "fear": 1156,
        "guilt": 1129,
        "happiness": 1395,
        "neutral": 332,
        "sadness": 1530,
        "surprise": 1000,
    },
    speakers=68,
    parse=_parse,
    layout=(
        "names such as PR_m_23_tri00a.wav (prototypical or not: PR or NP, gender, speaker, initials of the "
        "emotion in Italian, take) in DEMOS, and f_55_neu03b.wav in NEU."
    ),
    warts=(
        (
            "The 332 neutral clips lie in a folder, and an archive, of their own. All 8 classes are taken; "
            "for the 7 emotions without them, name those with --emotions of ser probe."
        ),
        (
            "1,564 clips are prototypical (PR), rated as such by the speakers and by others; the column "
            "prototypical says which. The rest is NP."
        ),
        "The speakers are numbered 01 to 69, without 35.",
    ),
    download="wav_DEMoS.zip and the archive of the neutral clips, once access is granted",
    editions=(
        Edition("the 7 emotions without the neutral clips", 9365),
        Edition("the prototypical clips alone (PR)", 1564),
    ),
)
