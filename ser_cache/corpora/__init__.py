"""The corpora that are known by name: one small file each, with citation, licence, labels and file names."""

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
    "Corpus",
    "Edition",
    "Fields",
    "Found",
    "NoClip",
    "Scan",
    "audio_files",
    "demand_folder",
    "known_corpus",
]


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
