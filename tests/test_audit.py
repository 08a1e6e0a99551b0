"""Every planted defect is found, under its own name and no other; innocent corpora pass in silence."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from made_up_speech import SPEAKERS, Clip, changed, innocent, speech, write

from ser_cache.cli import run


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """An innocent corpus, to plant defects in: 6 speakers, 4 emotions, 48 clips."""
    return innocent()


def risks(split: str = "loso", *further: str) -> dict[str, str]:
    """What `ser audit` of the corpus "made" says is a risk: its line by its check."""
    status = run(
        ["audit", "--corpus", "made", "--split", split, "--strict", "--json", "found.json", *further]
    )
    (report,) = json.loads(Path("found.json").read_text(encoding="utf-8"))["corpora"]
    found = {
        finding["check"]: f"{finding['what']}: {', '.join(finding['examples'])}"
        for finding in report["findings"]
        if finding["severity"] == "risk"
    }
    assert status == (1 if found else 0)
    assert report["verdict"] == ("risk" if found else "ok")
    return found


def again(clip: Clip, **changes: object) -> Clip:
    """A copy of a clip as a further take."""
    return replace(clip, **({"take": 9, "suffix": "flac"} | changes))


def mp3(clip: Clip) -> np.ndarray:
    coded = io.BytesIO()
    soundfile.write(coded, clip.samples, clip.rate, format="MP3")
    coded.seek(0)
    return soundfile.read(coded, dtype="float32")[0]


def clip_tops(clip: Clip) -> np.ndarray:
    return np.clip(clip.samples * (4 / np.abs(clip.samples).max()), -1, 1)


def pad(clip: Clip) -> np.ndarray:
    return np.concatenate([clip.samples, np.zeros(8000, "f4")])


def longer(clip: Clip) -> np.ndarray:
    number = 100 * SPEAKERS.index(clip.speaker) + 10 * clip.take + (clip.sentence == "b")
    return speech(number, 1.5 + 0.001 * number)


Plant = Callable[[list[Clip]], list[Clip]]
AUDIO_DEFECTS: dict[str, tuple[str, Plant]] = {
    "a duplicate as FLAC under another speaker": (
        "copies across sides, copies of speakers",
        lambda clips: [*clips, again(clips[0], speaker="s5")],
    ),
    "a duplicate cut by 50 ms under another speaker": (
        "copies across sides, copies of speakers",
        lambda clips: [*clips, again(clips[0], speaker="s5", samples=clips[0].samples[800:])],
    ),
    "a duplicate as MP3 under another speaker": (
        "copies across sides, copies of speakers",
        lambda clips: [*clips, again(clips[0], speaker="s5", samples=mp3(clips[0]))],
    ),
    "a speaker again under another name, quieter and at another rate": (
        "copies across sides, copies of speakers",
        lambda clips: [
            *clips,
            *(
                again(
                    c,
                    speaker="s9",
                    take=0,
                    samples=soxr.resample(0.3 * c.samples, 16_000, 22_050),
                    rate=22_050,
                )
                for c in clips
                if c.speaker == "s1"
            ),
        ],
    ),
    "a quieter duplicate with another emotion": (
        "copies of emotions",
        lambda clips: [*clips, again(clips[0], emotion="sadness", samples=clips[0].samples * 0.3)],
    ),
    "durations that give an emotion away": (
        "duration alone",
        lambda clips: changed(clips, "fear", samples=longer),
    ),
    "clips of one emotion cut to one length": (
        "duration alone, lengths",
        lambda clips: changed(clips, "fear", samples=lambda clip: clip.samples[:9000]),
    ),
    "a quiet emotion": (
        "loudness alone",
        lambda clips: changed(clips, "fear", samples=lambda clip: clip.samples * 0.02),
    ),
    "an emotion with silence before it": (
        "digital padding alone, duration alone, leading silence alone",
        lambda clips: changed(clips, "fear", samples=lambda clip: pad(clip)[::-1]),
    ),
    "an emotion with silence after it": (
        "digital padding alone, duration alone, trailing silence alone",
        lambda clips: changed(clips, "fear", samples=pad),
    ),
    "a clipped emotion": (
        "clipping alone, loudness alone",
        lambda clips: changed(clips, "fear", samples=clip_tops),
    ),
    "an emotion at another rate": ("format alone", lambda clips: changed(clips, "fear", rate=22_050)),
    "an emotion in another format": ("format alone", lambda clips: changed(clips, "fear", suffix="flac")),
    "silent clips": (
        "silent clips",
        lambda clips: [
            replace(clip, samples=clip.samples * 0)
            if clip.sentence == "a" and clip.emotion == "fear"
            else clip
            for clip in clips
        ],
    ),
    "a speaker with one emotion": (
        "emotions of speakers",
        lambda clips: (
            [c for c in clips if c.speaker != "s4"]
            + [Clip("s4", "anger", "a", take, speech(take)) for take in range(15)]
        ),
    ),
    "a sentence that tells the emotion": (
        "sentence alone",
        lambda clips: changed(clips, "fear", sentence="c"),
    ),
}


@pytest.mark.parametrize(("expected", "plant"), AUDIO_DEFECTS.values(), ids=AUDIO_DEFECTS)
def test_a_planted_defect_is_found(
    expected: str, plant: Plant, clips: list[Clip], empty_folder: Path
) -> None:
    write(plant(clips))
    assert ", ".join(sorted(risks())) == expected


def test_an_innocent_corpus_passes_in_silence(clips: list[Clip], empty_folder: Path) -> None:
    write(clips)
    assert risks() == {}
    assert risks("folds") == {}
