"""CREMA-D: English, 91 actors, twelve sentences in six emotions, each clip rated by about ten people thrice.

Who the actors are and what the crowd voted is joined by file name from ``ser_cache/reference/cremad``; the
voice alone, the face alone, and both together were rated by different people.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import PurePosixPath

from ser_cache.corpora.corpus import Corpus, Fields, NoClip
from ser_cache.crowd import TIE, agreement, format_votes, share, winners
from ser_cache.packaged import packaged_rows

MODALITIES = ("voice", "face", "av")
"""What the raters were given: sound alone, picture alone, or both."""
CODES = {
    "A": "anger",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
}
"""Letters of the answers to emotions, in the order of the corpus's own tables."""
WITHOUT_AUDIO = ("1076_MTI_SAD_XX",)
"""Clips of which the corpus's README says that they have no audio; their files are there all the same."""

_NAME = re.compile(r"(?P<speaker>\d{4})_(?P<sentence>[A-Z]{3})_(?P<code>[A-Z]{3})_(?P<level>XX|LO|MD|HI)")
_LEVELS = {"XX": "unspecified", "LO": "low", "MD": "medium", "HI": "high"}
_LABELS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}


_SECOND_COPY = "AudioMP3"  # of the official clone: what the raters heard, compressed


def _parse(path: PurePosixPath) -> Fields | NoClip | None:
    if _SECOND_COPY in path.parts:
        return NoClip(f"{_SECOND_COPY} holds the clips of AudioWAV again", expected=True)
    match = _NAME.fullmatch(path.stem)
    actor = _actors().get(match["speaker"]) if match else None
    if match is None or actor is None:
        return None
    code = match["code"]
    return Fields(
        speaker=match["speaker"],
        code=code,
        sentence=match["sentence"],
        gender=actor["sex"].lower(),
        age=actor["age"],
        intensity=_LEVELS[match["level"]],
        race=actor["race"],
        ethnicity=actor["ethnicity"],
        extra=_crowd(path.stem, _LABELS.get(code, "")),
    )


@cache
def _actors() -> Mapping[str, Mapping[str, str]]:
    return {row["actor"]: row for row in packaged_rows("cremad/actors.csv")}


@cache
def _votes() -> Mapping[str, Mapping[str, str]]:
    return {row["clip"]: row for row in packaged_rows("cremad/votes.csv")}


def _crowd(clip: str, intended: str) -> tuple[tuple[str, str], ...]:
    """What the crowd made of a clip, as further columns; none for a clip that nobody rated."""
    row = _votes().get(clip)
    if row is None:
        return ()
    columns = []
    for modality in MODALITIES:
        counts = dict(zip(CODES.values(), map(int, row[modality].split()), strict=True))
        ratings = sum(counts.values())
        columns += [
            (f"{modality}_agreement", _decimal(agreement(counts))),
            (f"{modality}_intended", _decimal(share(counts, intended))),
            (f"{modality}_level", _decimal(int(row[f"{modality}_level"]) / ratings)),
            (f"{modality}_ratings", str(ratings)),
            (f"{modality}_vote", TIE.join(winners(counts))),
            (f"{modality}_votes", format_votes(counts)),
        ]
    return tuple(sorted(columns))


def _decimal(number: float) -> str:
    """Four decimals at most: enough to tell any two ratios of so few raters apart."""
    return f"{number:.4f}".rstrip("0").rstrip(".")


CORPUS = Corpus(
    name="cremad",
    title="Crowd-sourced emotional multimodal actors",
    language="en",
    citation=(
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: Crowd-sourced "
        "Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377-390, 2014."
    ),
    licence="ODbL 1.0, its contents DbCL 1.0",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    labels=_LABELS,
    expected={
        "anger": 1271,
        "disgust": 1271,
        "fear": 1271,
        "happiness": 1271,
        "neutral": 1087,
        "sadness": 1271,
    },
    speakers=91,
    parse=_parse,
    layout=(
        "names such as 1001_DFA_ANG_XX.wav (actor, sentence, emotion, level: XX unspecified, LO, MD, HI), in "
        "AudioWAV; 16 kHz."
    ),
    warts=(
        "AudioMP3 beside AudioWAV holds the same clips again, compressed, and is left out.",
        "The README says that 1076_MTI_SAD_XX.wav has no audio.",
        (
            "Three pairs of clips with different emotions have identical bytes: 1006_TIE_HAP_XX and "
            "1006_TIE_NEU_XX, 1013_WSI_DIS_XX and 1013_WSI_SAD_XX, 1017_IWW_ANG_XX and 1017_IWW_FEA_XX."
        ),
        "The emotions are those that were meant: of those who heard the voice alone, two in five chose them.",
    ),
    download="git clone with Git LFS, or AudioWAV alone; ser manifest cremad ROOT --check verifies it",
)
