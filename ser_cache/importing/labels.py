"""What a corpus's emotion codes mean, and how a label map says so."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ser_cache.errors import ManifestError
from ser_cache.languages import language_code
from ser_cache.manifest import CANONICAL_EMOTIONS, Utterance
from ser_cache.tables import emotion_complaint


@dataclass(frozen=True)
class Labels:
    """What a corpus's emotion codes mean.

    Attributes:
        emotions: code to English name in lower case.
        language: ISO 639-1 code of utterances that state none; empty where unknown.
    """

    emotions: Mapping[str, str] = field(default_factory=dict)
    language: str = ""

    def emotion(self, code: str) -> str | None:
        """The name of a code: from the map, else the code itself if it is a canonical name in any case."""
        named = self.emotions.get(code)
        if named is None and code.lower() in CANONICAL_EMOTIONS:
            return code.lower()
        return named


def read_labels(path: Path) -> Labels:
    """Read a label map: TOML with a table ``[emotions]`` of code = "emotion", and optionally ``language``.

    Raises:
        ManifestError: the file is missing or not TOML, holds other keys, has no table, names an emotion
            that is not in lower-case words, or a language that is unknown.
    """
    form = 'expected is a table [emotions] with lines such as ang = "anger", and before it language = "it"'
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ManifestError(f"{path} does not exist; {form}.") from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not TOML ({error}); {form}.") from error
    unknown = sorted(table.keys() - {"emotions", "language"})
    emotions, language = table.get("emotions"), table.get("language", "")
    if unknown:
        raise ManifestError(f"{path} holds {unknown[0]!r}, which means nothing here; {form}.")
    if not isinstance(emotions, dict) or not emotions or not isinstance(language, str):
        raise ManifestError(f"{path} is not a label map; {form}.")
    for code, emotion in emotions.items():
        complaint = emotion_complaint(emotion) if isinstance(emotion, str) else "the emotion is not a text."
        if complaint:
            raise ManifestError(f"{path}: code {code!r}: {complaint}")
    try:
        return Labels(emotions, language_code(language))
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def label(clips: Iterable[Utterance], labels: Labels) -> tuple[Utterance, ...]:
    """Fill in the emotions from the codes.

    Raises:
        ManifestError: codes without a meaning; all of them, with counts and an example each.
    """
    labelled: list[Utterance] = []
    unknown, example = Counter[str](), dict[str, str]()
    for clip in clips:
        emotion = labels.emotion(clip.code)
        if emotion is None:
            unknown[clip.code] += 1
            example.setdefault(clip.code, clip.path)
        else:
            labelled.append(replace(clip, emotion=emotion))
    if unknown:
        listing = ", ".join(
            f"{code!r} ({unknown[code]:,}, such as {example[code]})" for code in sorted(unknown)
        )
        raise ManifestError(
            f"unknown emotion codes: {listing}; say what they mean in a label map (--labels FILE.toml)."
        )
    return tuple(labelled)
