"""What is known of a corpus before a file of it is seen, and how its files are found below a folder.

A recipe says how to read a name; it never says where the corpus was unpacked.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ser_cache.errors import ManifestError, SettingsError
from ser_cache.tables import cell_complaint, path_complaint

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".sph", ".nist"}
)
"""Of files that are taken for audio; all are formats that libsndfile decodes."""


@dataclass(frozen=True)
class Fields:
    """What the path of one clip says about it; the meaning of each is that of ``manifest.Utterance``.

    Attributes:
        speaker: who speaks.
        code: the corpus's own word or letter for the emotion.
        sentence: the corpus's name for what is said.
        gender: "female" or "male".
        age: in years.
        intensity: the corpus's level of portrayed emotion.
        race: as the corpus writes it.
        ethnicity: as the corpus writes it.
        extra: anything else, as (column, value), sorted by column.
    """

    speaker: str
    code: str
    sentence: str = ""
    gender: str = ""
    age: str = ""
    intensity: str = ""
    race: str = ""
    ethnicity: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Found:
    """A clip that a recipe recognised: its path relative to the root, with ``/``, and what the path says."""

    path: str
    fields: Fields


@dataclass(frozen=True)
class Scan:
    """What is below a root.

    Attributes:
        found: the recognised clips, sorted by path.
        unrecognised: (path, reason) of audio files that are no clip of the corpus and of folders that could
            not be entered, sorted by path.
    """

    found: tuple[Found, ...]
    unrecognised: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Corpus:
    """A recipe: everything needed to turn a folder of a known corpus into a manifest.

    Attributes:
        name: of the manifest and the cache folder.
        title: in full.
        language: ISO 639-1 code.
        citation: the paper to cite.
        licence: as stated by its owner, or that it is not.
        source: where it is had.
        labels: the corpus's emotion codes to canonical English names.
        expected: utterances per canonical emotion in the complete corpus.
        speakers: how many the complete corpus has.
        parse: reads a path relative to the root, of which most recipes need only the stem; None when it is no
            clip of this corpus. An emotion code without a label is for the caller to report, so ``parse``
            returns it rather than None.
        layout: how the files are named, and the warts worth knowing.
    """

    name: str
    title: str
    language: str
    citation: str
    licence: str
    source: str
    labels: Mapping[str, str]
    expected: Mapping[str, int]
    speakers: int
    parse: Callable[[PurePosixPath], Fields | None] = field(repr=False)
    layout: str

    @property
    def utterances(self) -> int:
        """How many the complete corpus has."""
        return sum(self.expected.values())

    def scan(self, root: Path) -> Scan:
        """Find the corpus's clips anywhere below a folder, by their names.

        Raises:
            SettingsError: the root is missing, or is not a folder.
            ManifestError: one clip lies there twice under the same name (a second copy of the corpus), or no
                clip of the corpus is there.
        """
        found, unrecognised = [], []
        for path, problem in audio_files(root):
            fields = None if problem else self.parse(PurePosixPath(path))
            if fields is None:
                unrecognised.append((path, problem or f"its name is not one of {self.name}'s"))
            else:
                found.append(Found(path, fields))
        if not found:
            seen = f"{len(unrecognised):,} other audio files" if unrecognised else "no audio files at all"
            raise ManifestError(
                f"{root} holds no clip of {self.name} and {seen}; expected are: {self.layout} "
                "Give the folder that holds the unpacked corpus, or import by --table or --pattern."
            )
        _refuse_second_copy(root, found)
        return Scan(tuple(found), tuple(unrecognised))


def audio_files(root: Path) -> Iterator[tuple[str, str]]:
    """Every audio file below a folder, by its suffix: (path relative to the root with ``/``, problem).

    Sorted by path. The problem is empty but for names that no manifest can hold, links that lead out of the
    root and folders that cannot be listed. Hidden files and folders are left out, among them the ``._`` files
    that macOS leaves in archives; links to folders inside the root are not followed, as their files are found
    without.

    Raises:
        SettingsError: the root is missing, or is not a folder.
    """
    demand_folder(root)
    yield from sorted(_walk(root, os.path.realpath(root).rstrip(os.sep) + os.sep, ""))


def demand_folder(root: Path) -> None:
    """Make sure that a corpus's root is a folder.

    Raises:
        SettingsError: it is missing, or is not a folder.
    """
    if not root.exists():
        raise SettingsError(f"{root} does not exist; give the folder that holds the corpus's audio.")
    if not root.is_dir():
        raise SettingsError(f"{root} is a file; give the folder that holds the corpus's audio.")


def _walk(folder: Path, base: str, prefix: str) -> Iterator[tuple[str, str]]:
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        yield prefix.rstrip("/") or ".", f"the folder cannot be listed ({error.strerror})"
        return
    for entry in entries:
        path = prefix + entry.name
        is_audio = os.path.splitext(entry.name)[1].lower() in AUDIO_SUFFIXES  # noqa: PTH122 - pathlib is slower
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, base, path + "/")
        elif entry.is_symlink() and (is_audio or entry.is_dir()):
            if not (os.path.realpath(entry.path) + os.sep).startswith(base):
                yield path, "it is a link out of the root; copy it into the root"
            elif is_audio:
                yield path, cell_complaint("path", path) or path_complaint(path)
        elif is_audio:
            yield path, cell_complaint("path", path) or path_complaint(path)


def _refuse_second_copy(root: Path, found: list[Found]) -> None:
    first: dict[str, str] = {}
    for clip in found:
        stem = PurePosixPath(clip.path).stem
        other = first.setdefault(stem, clip.path)
        if other != clip.path:
            raise ManifestError(
                f"{root} holds {stem!r} twice ({other} and {clip.path}), which looks like two copies of the "
                "corpus; give the folder of one copy."
            )
