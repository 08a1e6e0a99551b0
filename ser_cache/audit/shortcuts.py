"""Checks of cues that should not tell the emotion, each by itself: duration, loudness, format, speaker ...

Two kinds of cue. Speech itself is longer, slower or louder in some emotions; such *natural* cues are a risk
only beyond what any corpus measured so far shows. Where a file's format, padding or speaker tells the
emotion, that says nothing of speech, and much less is a risk. docs/audit.md has the figures behind both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ser_cache.audit.acoustics import Measurement
from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding
from ser_cache.audit.prediction import (
    Effect,
    Integers,
    Prediction,
    PredictionOptions,
    cells_of_names,
    cells_of_numbers,
    predict,
)
from ser_cache.manifest import Utterance

SIGNIFICANT = 5e-4
"""Of each of two tests of each of nine cues: at most 0.9% of innocent audits show a risk by chance."""
NATURAL = Effect(excess=0.35, told=0.75)
ARTIFICIAL = Effect(excess=0.15, told=0.4)
_SAMPLES_A_SECOND = 16_000  # of the manifest's lengths

Number = Callable[[Measurement], float]


@dataclass(frozen=True)
class Cue:
    """Something to tell the emotion by.

    Attributes:
        effect: what it must reach to be a risk.
        cells: the cell of each of some clips (given as their numbers), (clips,).
        advice: what to do where it is a risk.
        needs_audio: whether it reads measurements.
        within_speakers: whether chance is to keep each speaker's emotions.
    """

    effect: Effect
    cells: Callable[[Facts, Integers, PredictionOptions], Integers]
    advice: str
    needs_audio: bool = True
    within_speakers: bool = True


def _measured(value: Number) -> Callable[[Facts, Integers, PredictionOptions], Integers]:
    def cells(facts: Facts, clips: Integers, options: PredictionOptions) -> Integers:
        heard = [value(facts.measured[facts.utterances[clip].id]) for clip in clips]
        return cells_of_numbers(np.array(heard, dtype=np.float64), len(facts.manifest.emotions), options)

    return cells


def _length(facts: Facts, clips: Integers, options: PredictionOptions) -> Integers:
    lengths = np.array([facts.utterances[clip].samples for clip in clips], dtype=np.float64)
    return cells_of_numbers(lengths / _SAMPLES_A_SECOND, len(facts.manifest.emotions), options)


def _named(
    name: Callable[[Facts, Utterance], str],
) -> Callable[[Facts, Integers, PredictionOptions], Integers]:
    def cells(facts: Facts, clips: Integers, _: PredictionOptions) -> Integers:
        return cells_of_names([name(facts, facts.utterances[clip]) for clip in clips])

    return cells


def _format(facts: Facts, utterance: Utterance) -> str:
    measured = facts.measured.get(utterance.id)
    return measured.format if measured else PurePosixPath(utterance.path).suffix.lower()


_TRIM = "trim or pad all clips alike before extracting"
CUES: dict[str, Cue] = {
    "duration": Cue(
        NATURAL,
        _length,
        "look for clips that were cut or padded; compare scores with extraction under --max-seconds",
        needs_audio=False,
    ),
    "loudness": Cue(
        NATURAL,
        _measured(lambda clip: clip.level),
        "look for emotions recorded or normalised apart; bring all clips to one level",
    ),
    "leading silence": Cue(NATURAL, _measured(lambda clip: clip.leading), _TRIM),
    "trailing silence": Cue(NATURAL, _measured(lambda clip: clip.trailing), _TRIM),
    "digital padding": Cue(ARTIFICIAL, _measured(lambda clip: clip.padding), _TRIM),
    "clipping": Cue(
        Effect(excess=0.25, told=0.5),  # shouted anger clips first: between natural and artificial
        _measured(lambda clip: clip.clipped),
        "use the recordings before they were clipped, or say so beside scores",
    ),
    "format": Cue(
        ARTIFICIAL,
        _named(_format),
        "bring all clips to the poorest of these formats; resampling does not hide where they are from",
        needs_audio=False,
    ),
    "sentence": Cue(
        ARTIFICIAL,
        _named(lambda _, utterance: utterance.sentence),
        "a model can read the label from the words: hold sentences out (--split column), or leave such out",
        needs_audio=False,
    ),
    "speaker": Cue(
        ARTIFICIAL,
        _named(lambda _, utterance: utterance.speaker),
        "a known voice gives the label away: hold speakers out (--split speaker, loso or folds)",
        needs_audio=False,
        within_speakers=False,
    ),
}
"""What is tried, by name. A new cue goes here and into the table of docs/audit.md."""


def check_cue(name: str, facts: Facts, options: PredictionOptions) -> list[Finding]:
    """How well one cue tells the emotion under the split; a risk beyond its threshold and beyond chance.

    Args:
        name: in ``CUES``.
        facts: with splits, and with measurements where the cue needs them.
        options: of the classifier and of the permutations.
    """
    cue, check = CUES[name], f"{name} alone"
    kept = facts.heard if cue.needs_audio else np.arange(len(facts.utterances))
    folds, labels = facts.folds(kept), facts.labels[kept]
    cells = cue.cells(facts, kept, options)
    if not folds or not cells.any() or len(np.unique(labels)) < 2:
        return [Finding(check, "ok", f"{name} is the same everywhere", numbers={"varies": False})]
    found = predict(cells, labels, facts.speakers[kept], folds, cue.effect, options, cue.within_speakers)
    emotion = facts.manifest.emotions[found.tell]
    overall = found.excess >= cue.effect.excess and found.p <= SIGNIFICANT
    if not overall and (found.told < cue.effect.told or found.p_told > SIGNIFICANT):
        return [
            Finding(check, "ok", f"{name} alone tells no more than usual", numbers=_numbers(found, emotion))
        ]
    what = (
        f"{name} alone tells the emotion: UAR {100 * found.uar:.0f}% where chance gives "
        f"{100 * found.chance:.0f}%, best {emotion} (recall "
        f"{100 * found.told:.0f} points above false alarms); p {_p(found.p if overall else found.p_told)}"
    )
    return [Finding(check, "risk", what, cue.advice, numbers=_numbers(found, emotion))]


def _p(value: float) -> str:
    return "under 0.001" if value < 1e-3 else f"{value:.3f}"


def _numbers(found: Prediction, emotion: str) -> dict[str, Any]:
    return {
        "varies": True,
        "uar": found.uar,
        "macro_f1": found.macro_f1,
        "chance": found.chance,
        "excess": found.excess,
        "p": found.p,
        "tells": emotion,
        "told": found.told,
        "p_told": found.p_told,
        "shuffled_within_speakers": found.within_speakers,
    }
