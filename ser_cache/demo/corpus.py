"""The demonstration corpus on disk: planned from a seed, spoken, written, and reused when it is whole.

``<folder>/audio/<language>/<speaker>_<emotion>_<sentence>.wav`` (22,050 Hz, 16 bit, mono), ``table.csv`` with
one row per clip (path relative to the folder, speaker, emotion, language, gender, sentence, text), and
``corpus.json``, the marker that is written last.
"""

import csv
import hashlib
import io
import json
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ser_cache.demo.cast import EMOTIONS, SENTENCES, SPEAKERS, Cues, Speaker
from ser_cache.demo.espeak import SAMPLE_RATE, Prosody, Synthesiser
from ser_cache.errors import DemoError, UnknownNameError
from ser_cache.files import replacing, sha256_of_file, sha256_of_value, write_json, write_text

TABLE = "table.csv"
MARKER = "corpus.json"
_FORMAT = 1
"""To be raised when the same plan is written in another way, so that older corpora count as stale."""
COLUMNS = ("path", "speaker", "emotion", "language", "gender", "sentence", "text")

NEUTRAL = Prosody(rate=170, pitch=50, span=42, volume=34)
"""The neutral voice: below espeak-ng's defaults (175, 50, 50, 100), to leave room for louder emotions."""

# Standard deviations of the random variation: speaker = a habit of the person in every clip; manner = how
# this person expresses this emotion; clip = the chance of the moment. Rate and span are logarithms of ratios.
_SPEAKER = Cues(rate=0.05, pitch=0.0, span=0.08, loudness=0.8)  # pitch: the table of speakers has it
_MANNER = Cues(rate=0.03, pitch=0.6, span=0.08, loudness=0.7)
_CLIP = Cues(rate=0.03, pitch=0.6, span=0.08, loudness=0.7)
_EXPRESSIVENESS = (0.75, 1.25)
"""The least and the most expressive speaker's share of an emotion's shifts."""

State = Literal["absent", "stale", "good"]
OnProgress = Callable[[int, int], None]
"""Receives the clips done and the clips there will be."""


@dataclass(frozen=True)
class DemoOptions:
    """What is spoken.

    Attributes:
        seed: draws each speaker's habits and each clip's variation.
        languages: names from `SENTENCES`; two speakers each.
        sentences: how many of the language's sentences each speaker says in each emotion, 1 to 4.
        variation: scale of the random variation; 0 makes all speakers express an emotion alike.

    Raises:
        UnknownNameError: a language that is not in the table.
        DemoError: no language, a number of sentences out of range, or a negative variation.
    """

    seed: int = 0
    languages: tuple[str, ...] = tuple(SENTENCES)
    sentences: int = 4
    variation: float = 1.0

    def __post_init__(self) -> None:
        for language in self.languages:
            if language not in SENTENCES:
                raise UnknownNameError("language", language, SENTENCES)
        most = min(len(sentences) for sentences in SENTENCES.values())
        if not self.languages:
            raise DemoError("the demo corpus needs at least one language.")
        if not 1 <= self.sentences <= most:
            raise DemoError(f"the demo corpus has 1 to {most} sentences per language, not {self.sentences}.")
        if not self.variation >= 0:
            raise DemoError(f"the variation of the demo corpus must be 0 or more, not {self.variation}.")


@dataclass(frozen=True)
class Clip:
    """One utterance to be spoken; ``path`` is relative to the corpus's folder."""

    path: str
    speaker: str
    emotion: str
    language: str
    gender: str
    sentence: str
    text: str
    voice: str
    prosody: Prosody
    noise_seed: int


def speakers(options: DemoOptions) -> tuple[Speaker, ...]:
    """The speakers of the chosen languages, in the order of the table."""
    return tuple(speaker for speaker in SPEAKERS if speaker.language in options.languages)


def plan(options: DemoOptions) -> tuple[Clip, ...]:
    """Every clip of the corpus, sorted by path; a function of the options alone.

    A clip's variation is drawn from a generator of its own, so it does not depend on which others are made.
    """
    clips = [
        _clip(options, speaker, emotion, sentence)
        for speaker in speakers(options)
        for emotion in EMOTIONS
        for sentence in list(SENTENCES[speaker.language])[: options.sentences]
    ]
    return tuple(sorted(clips, key=lambda clip: clip.path))


def state(folder: Path, options: DemoOptions) -> State:
    """Whether the folder holds this corpus.

    Returns:
        ``good``: whole, and every file as it was written. ``stale``: made with other options, or a file has
        changed or gone since. ``absent``: no corpus, or one that was never finished.
    """
    marker = _read_marker(folder)
    if marker is None:
        return "absent"
    fingerprint, hashes = marker
    if fingerprint != _fingerprint(plan(options)):
        return "stale"
    whole = all(
        (folder / name).is_file() and sha256_of_file(folder / name) == hashes[name] for name in hashes
    )
    return "good" if whole else "stale"


def synthesise(folder: Path, options: DemoOptions, on_progress: OnProgress = lambda *_: None) -> Path:
    """Speak the corpus into a folder, unless it is already there, whole and with the same options.

    A stale corpus is replaced: the files its marker lists are deleted, and nothing else is.

    Args:
        folder: made if absent.
        options: what is spoken.
        on_progress: called after each clip; once with everything done when the corpus is reused.

    Returns:
        The path of ``table.csv``.

    Raises:
        DemoError: espeak-ng is not installed, or a call to it failed.
    """
    clips = plan(options)
    if state(folder, options) == "good":
        on_progress(len(clips), len(clips))
        return folder / TABLE
    with Synthesiser() as synthesiser:
        _delete_listed(folder)
        for done, clip in enumerate(clips, start=1):
            samples = synthesiser.speak(clip.text, clip.voice, clip.prosody, clip.noise_seed)
            write_wave(folder / clip.path, samples)
            on_progress(done, len(clips))
        version = synthesiser.version
    write_text(folder / TABLE, _table(clips))
    hashes = {name: sha256_of_file(folder / name) for name in [TABLE, *(clip.path for clip in clips)]}
    marker = {"fingerprint": _fingerprint(clips), "espeak-ng": version, "files": hashes}
    write_json(folder / MARKER, marker)
    return folder / TABLE


def write_wave(path: Path, samples: NDArray[np.int16]) -> None:
    """Write (samples,) at 22,050 Hz as a mono WAV file, whole or not at all."""
    with replacing(path) as temporary, wave.open(str(temporary), "wb") as handle:
        handle.setnchannels(1)
        handle.setsampwidth(2)
        handle.setframerate(SAMPLE_RATE)
        handle.writeframes(samples.astype("<i2").tobytes())


def _clip(options: DemoOptions, speaker: Speaker, emotion: str, sentence: str) -> Clip:
    name = f"{speaker.name}_{emotion}_{sentence}"
    return Clip(
        path=f"audio/{speaker.language}/{name}.wav",
        speaker=speaker.name,
        emotion=emotion,
        language=speaker.language,
        gender=speaker.gender,
        sentence=sentence,
        text=SENTENCES[speaker.language][sentence],
        voice=speaker.voice,
        prosody=_prosody(options, speaker, emotion, sentence),
        noise_seed=int(_generator(options, "noise", name).integers(1, 1 << 31)),
    )


def _prosody(options: DemoOptions, speaker: Speaker, emotion: str, sentence: str) -> Prosody:
    """The emotion's shifts as this speaker expresses them, with the speaker's habits and some chance."""
    habits = _generator(options, speaker.name)
    expressiveness = habits.uniform(*_EXPRESSIVENESS) if options.variation else 1.0
    deviations = (
        _draw(_SPEAKER, habits)
        + _draw(_MANNER, _generator(options, speaker.name, emotion))
        + _draw(_CLIP, _generator(options, speaker.name, emotion, sentence))
    )
    rate, pitch, span, loudness = expressiveness * _shifts(EMOTIONS[emotion]) + options.variation * deviations
    pitch += speaker.pitch
    return Prosody(
        rate=_within(NEUTRAL.rate * np.exp(rate), 80, 450),
        pitch=_within(NEUTRAL.pitch + pitch * 50 / 12, 0, 99),
        span=_within(NEUTRAL.span * np.exp(span), 0, 99),
        volume=_within(NEUTRAL.volume * 10 ** (loudness / 20), 1, 90),  # above 90 some voices clip
    )


def _shifts(cues: Cues) -> NDArray[np.float64]:
    return np.array([np.log(cues.rate), cues.pitch, np.log(cues.span), cues.loudness])


def _draw(deviation: Cues, generator: np.random.Generator) -> NDArray[np.float64]:
    scale = np.array([deviation.rate, deviation.pitch, deviation.span, deviation.loudness])
    return scale * generator.standard_normal(4)


def _generator(options: DemoOptions, *names: str) -> np.random.Generator:
    digest = hashlib.sha256("/".join((str(options.seed), *names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def _within(value: float, least: int, most: int) -> int:
    return min(max(round(value), least), most)


def _table(clips: tuple[Clip, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(clip, column) for column in COLUMNS] for clip in clips)
    return text.getvalue()


def _fingerprint(clips: tuple[Clip, ...]) -> str:
    return sha256_of_value({"format": _FORMAT, "clips": [asdict(clip) for clip in clips]})


def _read_marker(folder: Path) -> tuple[str, dict[str, str]] | None:
    """The fingerprint and the files of a finished corpus; None when there is none, or it cannot be read."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return str(marker["fingerprint"]), {str(name): str(value) for name, value in marker["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _delete_listed(folder: Path) -> None:
    """Delete a finished corpus; the marker goes first, so that a kill in the middle leaves none."""
    marker = _read_marker(folder)
    (folder / MARKER).unlink(missing_ok=True)
    if marker is not None:
        for name in marker[1]:
            if ".." not in Path(name).parts and not Path(name).is_absolute():
                (folder / name).unlink(missing_ok=True)
