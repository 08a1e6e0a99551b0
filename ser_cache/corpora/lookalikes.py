"""EmoDB and Oréau name their files alike, four of them the same: what tells them apart."""

import re
from pathlib import PurePosixPath

EMODB_SPEAKERS = frozenset({"03", "08", "09", "10", "11", "12", "13", "14", "15", "16"})
EMODB_SENTENCES = frozenset({"a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"})
EMODB_CODES = frozenset("WLEAFNT")
OREAU_CODES = frozenset("CDJNPST")

# Its accent may be two characters, or the two or three that a wrong decoding makes of it.
_OREAU_FOLDER = re.compile(r"sess[cdjnpst]|or.{1,3}au(?:fr|[\d_ -]|$).*", re.IGNORECASE)


def could_be_emodb(speaker: str, sentence: str, code: str) -> bool:
    """Whether EmoDB has this speaker, this sentence and this code."""
    return speaker in EMODB_SPEAKERS and sentence in EMODB_SENTENCES and code in EMODB_CODES


def in_oreau_folder(path: PurePosixPath) -> bool:
    """Whether a path leads through one of Oréau's folders: ``OréauFR_02``, ``sessc`` and the like."""
    return any(_OREAU_FOLDER.fullmatch(part) for part in path.parts[:-1])
