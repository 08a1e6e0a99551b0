"""What the files of a corpus are, as published: names, lengths and SHA-256, without a byte of audio.

``ser manifest CORPUS ROOT --check`` compares a download with these lists. Where lengths are exact and a
recipe can say the rest from the names, they also make a manifest before any audio is here
(``ready_manifest``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from ser_cache.corpora import CORPORA, Fields
from ser_cache.errors import ManifestError, SettingsError
from ser_cache.manifest import SAMPLE_RATE, Manifest, Utterance
from ser_cache.packaged import packaged_rows, packaged_toml


@dataclass(frozen=True)
class OfficialFile:
    """One published file.

    Attributes:
        name: its name without folder and suffix.
        sha256: of its bytes, in hexadecimal.
        seconds: how long it is; exact where ``samples`` is known, else rounded to 0.1 ms.
        samples: its length at 16 kHz; None where it is not known to the sample.
    """

    name: str
    sha256: str
    seconds: float
    samples: int | None


@dataclass(frozen=True)
class OfficialList:
    """The published files of a corpus.

    Attributes:
        corpus: its name.
        files: by name, sorted.
        origin: where names, lengths and hashes are from, as a sentence.
        copies: what is known of other copies in circulation, as a sentence; empty where nothing is.
        aside: a folder of the official corpus that holds the same clips once more; empty if none.
        path: where a file lies in the official folder, with ``{name}``; empty if no ready manifest is made.
    """

    corpus: str
    files: tuple[OfficialFile, ...]
    origin: str
    copies: str
    aside: str
    path: str

    @cached_property
    def by_name(self) -> dict[str, OfficialFile]:
        """Each file by its name."""
        return {file.name: file for file in self.files}


def listed_corpora() -> tuple[str, ...]:
    """The corpora whose published files are listed here, sorted."""
    return tuple(sorted(_lists()))


def official_list(corpus: str) -> OfficialList:
    """The published files of a corpus.

    Raises:
        SettingsError: they are not listed here.
    """
    known = _lists()
    if corpus not in known:
        raise SettingsError(
            f"which files {corpus} was published with is not known here, only of {', '.join(sorted(known))}; "
            f"a manifest of your own is compared with its files by: ser manifest {corpus} ROOT"
        )
    files = []
    for row in packaged_rows(f"checksums/{corpus}.csv"):
        samples = int(row["samples"]) if row["samples"] else None
        seconds = float(row["seconds"]) if samples is None else samples / SAMPLE_RATE
        files.append(OfficialFile(row["name"], row["sha256"], seconds, samples))
    about = known[corpus]
    return OfficialList(
        corpus, tuple(files), about["origin"], *(about.get(key, "") for key in ("copies", "aside", "path"))
    )


def ready_corpora() -> tuple[str, ...]:
    """The corpora that have a manifest without any audio, sorted."""
    return tuple(sorted(corpus for corpus, about in _lists().items() if about.get("path")))


def ready_manifest(corpus: str) -> Manifest:
    """The manifest that ``ser manifest CORPUS ROOT`` makes of the official files, made without them.

    Raises:
        SettingsError: there is none for this corpus, as its lengths are not known to the sample.
        ManifestError: list and recipe do not fit together, which a test rules out.
    """
    if corpus not in ready_corpora():
        raise SettingsError(
            f"no ready manifest of {corpus} comes with ser_cache (only of {', '.join(ready_corpora())}); "
            f"make it from the audio: ser manifest {corpus} ROOT"
        )
    listed = official_list(corpus)
    clips = [_utterance(listed, file) for file in listed.files]
    return Manifest(corpus, tuple(sorted(clips, key=lambda clip: clip.id)))


def _utterance(listed: OfficialList, file: OfficialFile) -> Utterance:
    recipe = CORPORA[listed.corpus]
    path = PurePosixPath(listed.path.format(name=file.name))
    fields = recipe.parse(path)
    if not isinstance(fields, Fields) or file.samples is None:
        raise ManifestError(f"the list of {listed.corpus} holds {file.name}, which its recipe cannot place.")
    return Utterance(
        id=str(path.with_suffix("")),
        path=str(path),
        emotion=recipe.labels[fields.code],
        language=recipe.language,
        samples=file.samples,
        sha256=file.sha256,
        **vars(fields),
    )


def _lists() -> dict[str, dict[str, str]]:
    return packaged_toml("checksums/lists.toml")
