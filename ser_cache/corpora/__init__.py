"""The corpora that are known by name: one small file each, with citation, licence, labels and file names."""

from pathlib import Path, PurePosixPath

from ser_cache.corpora import (
    aesdd,
    cafe,
    cremad,
    demos,
    emodb,
    emomatch,
    emovo,
    eyase,
    iemocap,
    oreau,
    ravdess,
    shemo,
)
from ser_cache.corpora.corpus import (
    AUDIO_SUFFIXES,
    LINK_OUT,
    Corpus,
    Edition,
    Fields,
    Found,
    NoClip,
    Scan,
    audio_files,
    demand_folder,
)
from ser_cache.errors import UnknownNameError

CORPORA: dict[str, Corpus] = {
    recipe.name: recipe
    for recipe in (
        aesdd.CORPUS,
        cafe.CORPUS,
        cremad.CORPUS,
        demos.CORPUS,
        emodb.CORPUS,
        emomatch.CORPUS,
        emovo.CORPUS,
        eyase.CORPUS,
        iemocap.CORPUS,
        oreau.CORPUS,
        ravdess.CORPUS,
        shemo.CORPUS,
    )
}

__all__ = [
    "AUDIO_SUFFIXES",
    "CORPORA",
    "LINK_OUT",
    "Corpus",
    "Edition",
    "Fields",
    "Found",
    "NoClip",
    "Scan",
    "audio_files",
    "demand_folder",
    "known_corpus",
    "recognised_by",
]


def recognised_by(root: Path) -> dict[str, int]:
    """How many of the audio files below a folder each recipe takes, the most first; without those of none."""
    paths = [PurePosixPath(path) for path, problem in audio_files(root) if not problem]
    taken = {
        name: sum(isinstance(recipe.parse(path), Fields) for path in paths)
        for name, recipe in CORPORA.items()
    }
    most_first = sorted(taken.items(), key=lambda item: (-item[1], item[0]))
    return {name: number for name, number in most_first if number}


def known_corpus(name: str) -> Corpus:
    """The recipe of this name.

    Raises:
        UnknownNameError: there is none; the message lists the known ones and how to import any other.
    """
    if name not in CORPORA:
        raise UnknownNameError(
            "corpus", name, CORPORA, hint="Any other is imported by --table FILE.csv or by --pattern."
        )
    return CORPORA[name]
