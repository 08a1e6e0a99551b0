"""Make what the package knows of CREMA-D, and its ready manifest, from a clone of the corpus.

    python docs/make_cremad.py CREMA-D

CREMA-D is a clone of https://github.com/CheyneyComputerScience/CREMA-D; its audio may still be Git LFS
pointers, because a pointer states size and SHA-256. Written are ``actors.csv`` and ``votes.csv`` in
``ser_cache/reference/cremad``, ``ser_cache/reference/checksums/cremad.csv`` and ``manifests/cremad.csv``.
A test makes them anew.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

from ser_cache.corpora.cremad import CODES, MODALITIES
from ser_cache.files import sha256_of_file, write_csv
from ser_cache.manifest import write_manifest

ROOT = Path(__file__).resolve().parents[1]
POINTER = b"version https://git-lfs.github.com/spec/v1\n"
WAV_HEADER = 44  # bytes; the official files hold nothing but it and the samples
QUERY_TYPES = dict(zip("123", MODALITIES, strict=True))  # first digit of a row's id; see the corpus's README


def actors(clone: Path) -> list[tuple[str, ...]]:
    """(actor, age, sex, race, ethnicity) of each, as the corpus writes it."""
    with (clone / "VideoDemographics.csv").open(encoding="utf-8-sig", newline="") as file:
        columns = ("ActorID", "Age", "Sex", "Race", "Ethnicity")
        return sorted(tuple(row[column] for column in columns) for row in csv.DictReader(file))


def votes(clone: Path) -> list[tuple[str, ...]]:
    """(clip, six counts a modality, sum of levels a modality) of each clip; counts in the order of CODES."""
    cells: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    with (clone / "processedResults" / "tabulatedVotes.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            counts = [int(row[code]) for code in CODES]
            level = float(row["meanEmoResp"]) * sum(counts)
            if sum(counts) != int(row["numResponses"]) or abs(level - round(level)) > 1e-6:
                sys.exit(f"row {row['']}: votes or levels, which are whole numbers, do not add up")
            cells[row["fileName"]][QUERY_TYPES[row[""][0]]] = (
                " ".join(map(str, counts)),
                str(round(level)),
            )
    return [
        (clip, *(of[modality][part] for part in (0, 1) for modality in MODALITIES))
        for clip, of in sorted(cells.items())
    ]


def checksums(clone: Path) -> list[tuple[str, str, int]]:
    """(clip, SHA-256, samples) of each file in AudioWAV, from the file itself or from its pointer."""
    rows = []
    for path in sorted((clone / "AudioWAV").glob("*.wav")):
        start = path.read_bytes()[:1024]
        if start.startswith(POINTER):
            stated = dict(line.split(" ", 1) for line in start.decode().splitlines())
            digest, size = stated["oid"].removeprefix("sha256:"), int(stated["size"])
        else:
            digest, size = sha256_of_file(path), path.stat().st_size
        rows.append((path.stem, digest, (size - WAV_HEADER) // 2))
    return rows


def main(clone: Path, reference: Path, manifests: Path) -> None:
    """Write all four files."""
    sums, counts = ("clip", *MODALITIES), tuple(f"{modality}_level" for modality in MODALITIES)
    write_csv(
        reference / "cremad" / "actors.csv", ("actor", "age", "sex", "race", "ethnicity"), actors(clone)
    )
    write_csv(reference / "cremad" / "votes.csv", (*sums, *counts), votes(clone))
    write_csv(
        reference / "checksums" / "cremad.csv",
        ("name", "sha256", "samples", "seconds"),
        [(*row, "") for row in checksums(clone)],
    )
    from ser_cache.official import ready_manifest  # reads what was just written

    write_manifest(manifests / "cremad.csv", ready_manifest("cremad"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), ROOT / "ser_cache" / "reference", ROOT / "manifests")
