"""Make the list of a corpus's published files from them: ``python docs/make_checksums.py CORPUS ROOT``.

Written is ``ser_cache/reference/checksums/CORPUS.csv``; what it is of goes into ``lists.toml`` beside it, by
hand.
"""

import sys
from pathlib import Path, PurePosixPath

from ser_cache import audio
from ser_cache.corpora import known_corpus
from ser_cache.files import write_csv

FOLDER = Path(__file__).resolve().parents[1] / "ser_cache" / "reference" / "checksums"
HEADER = ("name", "sha256", "samples", "seconds")


def rows(corpus: str, root: Path) -> list[tuple[str, str, int, str]]:
    """Name, SHA-256 and samples at 16 kHz of each clip that the corpus's recipe finds below a folder."""
    made = []
    for clip in known_corpus(corpus).scan(root).found:
        recording = audio.read(root / clip.path)
        made.append((PurePosixPath(clip.path).stem, recording.sha256, len(recording.samples), ""))
    return sorted(made)


if __name__ == "__main__":
    name, root = sys.argv[1], Path(sys.argv[2])
    write_csv(FOLDER / f"{name}.csv", HEADER, rows(name, root))
