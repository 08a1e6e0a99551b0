"""IEMOCAP: North American English, five dyads of actors; the four classes of SUPERB and PEFT-SER."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ser_cache.corpora.corpus import Corpus, Edition, Fields, NoClip
from ser_cache.errors import ManifestError

_DIALOGUE = r"Ses(?P<session>0[1-5])[FM]_(?P<dialogue>impro\d{2}[a-z]?|script\d{2}_\d[a-z]?)"
# The letter before the turn says who speaks; the one in Ses01F says who wore the markers.
_TURN = re.compile(_DIALOGUE + r"_(?P<gender>[FM])(?P<turn>\d{3}|XX\d+)")
_WHOLE = re.compile(_DIALOGUE)
_LABEL = re.compile(r"\[\d+\.\d+ - \d+\.\d+\][ \t]+(?P<turn>Ses\w+)[ \t]+(?P<code>[a-z]{3})[ \t]+\[")


def _parse(path: PurePosixPath) -> Fields | NoClip | None:
    if _WHOLE.fullmatch(path.stem):
        return NoClip("a whole dialogue", expected=True)
    match = _TURN.fullmatch(path.stem)
    if match is None:
        return None
    session = match["session"].lstrip("0")
    return Fields(
        speaker=f"Ses{match['session']}{match['gender']}",
        code="",
        gender="female" if match["gender"] == "F" else "male",
        fold=session,
        extra=(
            ("dialogue", match["dialogue"]),
            ("session", session),
            ("spoken", "improvised" if match["dialogue"].startswith("impro") else "scripted"),
        ),
    )


def _read_codes(root: Path) -> Mapping[str, str]:
    """The emotion of every turn, as the majority of the annotators has it, from dialog/EmoEvaluation/*.txt.

    Raises:
        ManifestError: there is no such file, or two of them disagree about a turn.
    """
    codes: dict[str, str] = {}
    for path in _label_files(root):
        # Latin-1 reads any bytes; what matters here is ASCII.
        for match in _LABEL.finditer(path.read_text(encoding="latin-1")):
            if codes.setdefault(match["turn"], match["code"]) != match["code"]:
                raise ManifestError(
                    f"{path} says {match['code']!r} of {match['turn']}, and another file below {root} says "
                    f"{codes[match['turn']]!r}; give the folder of one copy."
                )
    if not codes:
        raise ManifestError(
            f"{root} holds turns of iemocap and no label files (Session1/dialog/EmoEvaluation/*.txt and so "
            "on); give the folder that holds Session1 to Session5."
        )
    return codes


def _label_files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        # Its subfolders hold what each annotator said, in other formats.
        if os.path.basename(folder) == "EmoEvaluation":  # noqa: PTH119 - os.walk gives text
            yield from (Path(folder, name) for name in sorted(names) if re.fullmatch(r"Ses.*\.txt", name))


CORPUS = Corpus(
    name="iemocap",
    title="Interactive emotional dyadic motion capture",
    language="en",
    citation=(
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. "
        "Narayanan: IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and "
        "Evaluation 42(4):335-359, 2008."
    ),
    licence="the release form of the University of Southern California, research use",
    source="https://sail.usc.edu/iemocap/iemocap_release.htm",
    labels={"ang": "anger", "exc": "happiness", "hap": "happiness", "neu": "neutral", "sad": "sadness"},
    expected={"anger": 1103, "happiness": 1636, "neutral": 1708, "sadness": 1084},
    speakers=10,
    parse=_parse,
    layout=(
        "names such as Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav, with labels in "
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt; 16 kHz."
    ),
    warts=(
        (
            "Four classes, with excitement taken for happiness, as SUPERB and PEFT-SER report on. A label "
            'map gives the others a meaning, or keeps excitement apart: exc = "excitement", fru = '
            '"frustration".'
        ),
        (
            "The fold column holds the session, so that --split column tests each session in turn, as SUPERB "
            "does. Here the next session validates; SUPERB takes a fifth of the training clips, whose "
            "speakers it trains on."
        ),
        (
            "Scripted dialogues are the same in every session: what is said gives the label away (column "
            "spoken)."
        ),
    ),
    differs=(
        "the speaker is who speaks: Ses01F_impro01_M000 is the man of session 1 (Ses01M), and the F before "
        "is who wore the markers. EmoBox's script takes Ses01F, which puts both voices under each name. "
        "Splits by session are the same either way, splits by speaker are not."
    ),
    download=(
        "the full release, once the form is signed; unpack it and give the folder that holds Session1 to "
        "Session5"
    ),
    unverified=(
        "the folders, names and label files are as its readme describes them and published code reads them; "
        "no copy of it was seen here"
    ),
    editions=(Edition("all classes", 10039),),
    omitted={
        "dis": "disgust",
        "fea": "fear",
        "fru": "frustration",
        "oth": "another emotion",
        "sur": "surprise",
        "xxx": "no majority",
    },
    read_codes=_read_codes,
)
