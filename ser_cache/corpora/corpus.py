"""What is known of a corpus before a file of it is seen, and how its files are found below a folder.

A recipe says how to read a name; it never says where the corpus was unpacked. Where a corpus keeps its labels
in files of their own, its recipe reads those too.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ser_cache.errors import ManifestError, SettingsError
from ser_cache.tables import cell_complaint, path_complaint

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".sph", ".nist"}
)
"""Of files that are taken for audio; all are formats that libsndfile decodes."""

LINK_OUT = "it is a link out of the root; give the folder it leads to as ROOT, or a copy by cp -RL"
"""Why such a file is not taken: paths of a manifest hold elsewhere only where they stay below the root."""


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
        fold: the part of the corpus that studies test on together.
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
    fold: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NoClip:
    """Why a recipe does not take a file, where it can say more than that it knows no such name.

    Attributes:
        reason: as part of a sentence.
        expected: whether the complete corpus holds it, so that leaving it out is no failure.
    """

    reason: str
    expected: bool = False


@dataclass(frozen=True)
class Edition:
    """Another size in which a corpus is met: an earlier release, or a part of it.

    Attributes:
        name: what it is.
        utterances: how many it has.
    """

    name: str
    utterances: int


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
        left_out: (path, reason) of files that belong to the corpus and are no clips to take, sorted by path.
    """

    found: tuple[Found, ...]
    unrecognised: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...] = ()


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
        expected: utterances per canonical emotion in the complete corpus; empty where only ``size`` is known.
        speakers: how many the complete corpus has.
        parse: reads a path relative to the root, of which most recipes need only the stem; None (or why, as a
            ``NoClip``) when it is no clip of this corpus. An emotion code without a label is for the caller
            to report, so ``parse`` returns it rather than None.
        layout: how the files are named, with an example.
        warts: what else is worth knowing before using it, a sentence or two each.
        differs: where this recipe reads names otherwise than others do, and what follows; as sentences, said
            whenever a manifest is made. Empty where it does not.
        download: what to fetch from the source, and what to ask for first.
        unverified: what the recipe rests on, where neither a copy of the corpus nor an official list of its
            files could be read here; empty for a recipe that was checked against real names.
        size: utterances of the complete corpus, where ``expected`` does not say.
        editions: other sizes in which it is met.
        omitted: codes of emotions that are no class of the corpus as studies use it, and what they mean;
            their clips are left out unless a label map gives the code a meaning.
        read_codes: reads the emotion codes, by the stem of the clip, from label files below a root; None
            where the names hold them. Where it is given, ``parse`` leaves the code empty.
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
    parse: Callable[[PurePosixPath], Fields | NoClip | None] = field(repr=False)
    layout: str
    warts: tuple[str, ...] = ()
    differs: str = ""
    download: str = ""
    unverified: str = ""
    size: int = 0
    editions: tuple[Edition, ...] = ()
    omitted: Mapping[str, str] = field(default_factory=dict)
    read_codes: Callable[[Path], Mapping[str, str]] | None = field(default=None, repr=False)

    @property
    def utterances(self) -> int:
        """How many the complete corpus has."""
        return sum(self.expected.values()) or self.size

    @property
    def emotions(self) -> tuple[str, ...]:
        """The canonical names of its classes, sorted."""
        return tuple(sorted(set(self.labels.values())))

    def edition_of(self, utterances: int) -> Edition | None:
        """The other edition of exactly this size; None for the complete corpus and for any other size."""
        same = (edition for edition in self.editions if edition.utterances == utterances)
        return None if utterances == self.utterances else next(same, None)

    def scan(self, root: Path) -> Scan:
        """Find the corpus's clips anywhere below a folder, by their names.

        Raises:
            SettingsError: the root is missing, or is not a folder.
            ManifestError: one clip lies there twice under the same name (a second copy of the corpus), no
                clip of the corpus is there, or the files that hold its labels are missing or contradict each
                other.
        """
        listed = list(audio_files(root))
        read = [(path, self._read(path, problem)) for path, problem in listed]
        if self.read_codes is not None and any(isinstance(clip, Fields) for _, clip in read):
            codes = self.read_codes(root)
            read = [(path, _coded(PurePosixPath(path).stem, clip, codes)) for path, clip in read]
        found = tuple(Found(path, clip) for path, clip in read if isinstance(clip, Fields))
        others = [(path, clip) for path, clip in read if isinstance(clip, NoClip)]
        if not found:
            raise ManifestError(self._no_clip(root, listed))
        self._refuse_second_copy(root, found)
        return Scan(
            found,
            tuple((path, clip.reason) for path, clip in others if not clip.expected),
            tuple((path, clip.reason) for path, clip in others if clip.expected),
        )

    def _no_clip(self, root: Path, listed: Sequence[tuple[str, str]]) -> str:
        """What to say of a folder in which nothing could be taken: a name that is right may be barred too."""
        barred = [(path, problem) for path, problem in listed if problem]
        first = f"{barred[0][0]}: {barred[0][1]}." if barred else ""
        if barred and len(barred) == len(listed):
            of = f"the first of {len(barred):,}, " if len(barred) > 1 else ""
            return f"{root} holds nothing that can be taken for {self.name}; {of}{first}"
        others = len(listed) - len(barred)
        seen = f"{others:,} other audio file{'s' * (others != 1)}" if others else "no audio files at all"
        more = f" {len(barred):,} more cannot be taken, such as {first}" if barred else ""
        return (
            f"{root} holds no clip of {self.name} and {seen}; expected are: {self.layout} "
            f"Give the folder that holds the unpacked corpus, or import by --table or --pattern.{more}"
        )

    def _read(self, path: str, problem: str) -> Fields | NoClip:
        if problem:
            return NoClip(problem)
        return self.parse(PurePosixPath(path)) or NoClip(f"its name is not one of {self.name}'s")

    def _refuse_second_copy(self, root: Path, found: tuple[Found, ...]) -> None:
        first: dict[tuple[str, str], str] = {}
        for clip in found:
            # The speaker as well, because EYASE gives two speakers the same names in different folders.
            stem = PurePosixPath(clip.path).stem
            other = first.setdefault((clip.fields.speaker, stem), clip.path)
            if other != clip.path:
                known = "; ".join(f"{each.name}, {each.utterances:,} utterances" for each in self.editions)
                raise ManifestError(
                    f"{root} holds {stem!r} twice ({other} and {clip.path}), which looks like two copies of "
                    f"the corpus; give the folder of one copy{f' (its editions: {known})' if known else ''}."
                )


def _coded(stem: str, clip: Fields | NoClip, codes: Mapping[str, str]) -> Fields | NoClip:
    """A clip with its code from the label files, where it is a clip."""
    if isinstance(clip, NoClip):
        return clip
    return replace(clip, code=codes[stem]) if stem in codes else NoClip("no label file names it")


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
                yield path, LINK_OUT
            elif is_audio:
                yield path, cell_complaint("path", path) or path_complaint(path)
        elif is_audio:
            yield path, cell_complaint("path", path) or path_complaint(path)
