"""Each check on facts made by hand: what is a risk, what a note, and what is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ser_cache.audit import CHECKS, CUES, AuditOptions, Facts, Finding, Report, audit
from ser_cache.audit.prediction import PredictionOptions
from ser_cache.errors import SplitError, UnknownNameError
from ser_cache.manifest import Manifest, Utterance
from ser_cache.splits import Split, SplitOptions

EMOTIONS = ("anger", "fear", "neutral")


def clip(speaker: str, emotion: str, take: int, **changes: Any) -> Utterance:
    name = f"{speaker}_{emotion}_{take}"
    length = 20_000 + int(np.random.default_rng([take, *name.encode()]).integers(20_000))
    plain = Utterance(name, f"{name}.wav", speaker, emotion, emotion, "", length, f"{hash_of(name):064x}")
    return replace(plain, **changes)


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big") % 16**64


def corpus(speakers: int = 6, takes: int = 5, **changes: Any) -> list[Utterance]:
    return [
        clip(f"s{number}", emotion, take, **changes)
        for number in range(speakers)
        for emotion in EMOTIONS
        for take in range(takes)
    ]


def audited(clips: list[Utterance], kind: str = "loso") -> Report:
    manifest = Manifest("made", tuple(sorted(clips, key=lambda one: one.id)))
    return audit(manifest, {}, AuditOptions(SplitOptions(kind)))


def severities(report: Report) -> dict[str, str]:
    """Every check that found something, with how severe it is at worst."""
    found: dict[str, str] = {}
    for finding in report.findings:
        if finding.severity != "ok" and found.get(finding.check) != "risk":
            found[finding.check] = finding.severity
    return found


def sided(clips: list[Utterance], sides: dict[str, str]) -> list[Utterance]:
    """The clips with the side of their speaker in the fold column."""
    return [replace(one, fold=sides.get(one.speaker, "train")) for one in clips]


SIDES = {"s4": "validation", "s5": "test"}


def test_honest_speakers_are_nothing() -> None:
    assert severities(audited(corpus())) == {}


def test_a_speaker_moved_across_is_a_risk_with_name_and_share() -> None:
    clips = sided(corpus(takes=26), SIDES)
    assert severities(audited(clips, "column")) == {}
    clips = [replace(one, fold="train") if one.id == "s5_fear_0" else one for one in clips]
    report = audited(clips, "column")
    assert severities(report) == {"speakers": "risk"}
    (risk,) = report.risks
    assert risk.examples == ("s5",)
    assert risk.numbers == {"speakers": 1, "share_of_tested_clips": 1.0}
    assert "1 of 6 speakers on both the training and the test side (100% of tested clips): s5" in risk.line


def test_a_speaker_who_only_validates_and_trains_is_a_note() -> None:
    clips = sided(corpus(takes=25), SIDES)
    clips = [replace(one, fold="train") if one.id == "s4_fear_0" else one for one in clips]
    assert severities(audited(clips, "column")) == {"speakers": "note"}


@pytest.mark.parametrize("other", ["S1", "s_1", "S-1", "s 01"])
def test_a_speaker_whose_name_is_written_in_two_ways_is_a_risk_where_both_sides_have_it(other: str) -> None:
    clips = [replace(one, speaker="s 1") if one.speaker == "s1" else one for one in corpus(takes=20)]
    clips = [
        replace(one, speaker=other.replace("S1", "S 1"))
        if one.speaker == "s 1" and one.id[-1] in "13"
        else one
        for one in clips
    ]
    report = audited(clips)
    assert severities(report) == {"speakers": "risk"}
    assert "1 speaker with a name that is written in two ways, one trained on and the other tested" in (
        report.risks[0].line
    )
    sides = SIDES | {"s4": "validation"}
    assert severities(audited(sided(clips, sides), "column"))["speakers"] == "note"


def test_the_shares_that_were_got_are_a_note_and_what_is_left_out_is_counted() -> None:
    report = audited(corpus(takes=25), "speaker")
    (note,) = [finding for finding in report.findings if finding.check == "split"]
    assert (note.severity, note.what[:24]) == ("note", "asked for 80/10/10, got ")
    assert report.as_json()["folds"][0]["left_out"] == 0


def test_what_an_emobox_list_leaves_out_is_told(tmp_path: Path) -> None:
    clips = corpus(speakers=4, takes=10)
    fold = tmp_path / "made" / "fold_1"
    fold.mkdir(parents=True)
    for side, speakers in (("train", "012"), ("test", "3")):
        lines = [
            json.dumps({"wav": f"d/{one.id}.wav", "emo": one.emotion})
            for one in clips
            if one.speaker[1] in speakers and one.id != "s0_fear_7"
        ]
        (fold / f"made_{side}_fold_1.jsonl").write_text("\n".join(lines))
    report = audit(
        Manifest("made", tuple(clips)), {}, AuditOptions(SplitOptions("emobox", fold_files=tmp_path))
    )
    told = [finding for finding in report.findings if finding.check == "split"]
    assert [one.numbers for one in told] == [{"left_out": 1}] * len(told)
    assert any("left out" in one.what and "s0_fear_7" in one.what for one in told)
    assert report.as_json()["folds"][0]["left_out"] == 1


def test_many_classes_that_a_fold_lacks_are_one_note_a_side() -> None:
    report = audited([one for one in corpus(takes=12) if one.speaker != "s5" or one.emotion == "fear"])
    lines = [finding.line for finding in report.findings if finding.check == "classes"]
    others = sorted(set(EMOTIONS) - {"fear"})
    named = f"{', '.join(others[:-1])} or {others[-1]}"
    assert lines == [f"no {named} on the {side} side in 1 of 6 folds" for side in ("validation", "test")]


def test_a_random_split_shares_all_speakers() -> None:
    report = audited(corpus(takes=20), "random")
    (risk,) = report.risks
    assert (risk.check, len(risk.examples)) == ("speakers", 6)
    assert report.shared["speakers"]["train-test"] == 6


def test_speakers_that_tell_the_emotion_are_found_where_they_are_known() -> None:
    clips = [
        one
        for one in corpus(takes=30)
        if EMOTIONS[int(one.speaker[1]) % 3] == one.emotion or one.id[-2:] == "_1"
    ]
    assert "speaker alone" in {risk.check for risk in audited(clips, "random").risks}
    assert "speaker alone" not in {risk.check for risk in audited(clips, "loso").risks}


def test_a_class_absent_from_the_test_side_is_a_risk() -> None:
    clips = [one for one in sided(corpus(takes=9), SIDES) if (one.speaker, one.emotion) != ("s5", "fear")]
    report = audited(clips, "column")
    (risk,) = report.risks
    assert risk.what == "no fear on the test side"


def test_a_class_that_one_of_several_folds_lacks_is_a_note() -> None:
    clips = [one for one in corpus(takes=9) if (one.speaker, one.emotion) != ("s5", "fear")]
    report = audited(clips)
    assert severities(report) == {"classes": "note", "emotions of speakers": "note"}
    lines = [finding.line for finding in report.findings if finding.check == "classes"]
    assert lines == [
        "no fear on the validation side in 1 of 6 folds",
        "no fear on the test side in 1 of 6 folds",
    ]


@pytest.mark.parametrize(("takes", "severity"), [(4, "risk"), (5, "note"), (24, "note"), (25, None)])
def test_a_class_of_few_tested_clips_is_a_note_and_of_hardly_any_a_risk(
    takes: int, severity: str | None
) -> None:
    clips = [one for one in sided(corpus(takes=40), SIDES) if one.fold != "test" or one.emotion != "fear"]
    clips += [clip("s5", "fear", take, fold="test") for take in range(takes)]
    assert severities(audited(clips, "column")).get("classes") == severity


def test_a_speaker_with_one_emotion_is_a_risk_unless_chance_explains_it() -> None:
    for takes, severity in ((3, None), (12, "risk")):
        clips = [*corpus(), *(clip("s9", "fear", take) for take in range(takes))]
        report = audited(clips)
        found = severities(report)
        assert found["emotions of speakers"] == (severity or "note")
        if severity:
            assert next(risk for risk in report.risks if "one emotion" in risk.what).examples == (
                "s9 (fear)",
            )


def test_a_corpus_of_one_emotion_blames_no_speaker() -> None:
    manifest = Manifest("made", tuple(one for one in corpus() if one.emotion == "fear"))
    facts = Facts(manifest)
    (finding,) = CHECKS["emotions of speakers"].run(facts, PredictionOptions())
    assert finding.severity == "ok"


def test_equal_bytes_are_told_by_where_they_stand() -> None:
    same = {"sha256": "f" * 64}
    pairs = {
        "note": ("s1_fear_0", "s1_fear_1"),
        "copies across sides, copies of speakers": ("s1_fear_0", "s2_fear_0"),
        "copies of emotions": ("s1_fear_0", "s1_anger_0"),
    }
    for expected, pair in pairs.items():
        clips = [replace(one, **same) if one.id in pair else one for one in corpus()]
        report = audited(clips)
        if expected == "note":
            assert severities(report) == {"copies across sides": "note"}
        else:
            assert ", ".join(risk.check for risk in report.risks) == expected
        lines = [finding.line for finding in report.findings if "copies" in finding.check]
        assert any(f"{' = '.join(sorted(pair))} (equal bytes)" in line for line in lines)


def test_copies_in_training_and_validation_are_a_note() -> None:
    clips = sided(corpus(takes=9), SIDES)
    pair = ("s0_fear_0", "s4_fear_0")
    clips = [replace(one, sha256="f" * 64) if one.id in pair else one for one in clips]
    report = audited(clips, "column")
    assert severities(report)["copies across sides"] == "note"
    assert report.shared["recordings"] == {"train-validation": 1, "train-test": 0, "validation-test": 0}


def test_shared_sentences_are_a_note_unless_they_tell_the_emotion() -> None:
    fixed = [replace(one, sentence=f"t{one.id[-1]}") for one in corpus()]
    report = audited(fixed)
    assert severities(report) == {"sentences": "note"}
    assert report.shared["sentences"]["train-test"] == 5
    telling = [replace(one, sentence=one.emotion[0]) for one in corpus()]
    assert severities(audited(telling)) == {"sentences": "note", "sentence alone": "risk"}


def test_sentences_that_are_held_out_are_nothing() -> None:
    clips = [replace(one, sentence=one.speaker) for one in corpus()]
    assert severities(audited(clips)) == {}


def test_a_cue_that_is_the_same_everywhere_is_said_to_be() -> None:
    for finding in audited(corpus(samples=20_000)).findings:
        if finding.check in {"duration alone", "format alone", "sentence alone"}:
            assert (finding.numbers, finding.severity) == ({"varies": False}, "ok")
        elif finding.check == "speaker alone":
            assert finding.numbers["varies"]


def test_formats_that_differ_between_speakers_only_are_nothing() -> None:
    clips = [replace(one, path=f"{one.id}.{'flac' if one.speaker < 's3' else 'mp3'}") for one in corpus()]
    assert severities(audited(clips)) == {}
    clips = [replace(one, path=f"{one.id}.{'flac' if one.emotion == 'fear' else 'mp3'}") for one in corpus()]
    assert severities(audited(clips)) == {"format alone": "risk"}


def test_what_cannot_be_divided_is_an_error() -> None:
    with pytest.raises(SplitError, match="needs at least 3 speakers, and there are 2"):
        audited(corpus(speakers=2))


def test_without_audio_the_checks_that_need_it_are_named() -> None:
    report = audited(corpus())
    assert set(report.left_out.values()) == {"no audio is at hand"}
    assert set(report.left_out) == {name for name, check in CHECKS.items() if check.needs_audio}
    assert {"loudness alone", "silent clips"} <= set(report.left_out)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        audited(corpus(), "speakers")


@cache
def report_on_innocence(made_up: ModuleType) -> Report:
    report: Report = made_up.audited(1)
    return report


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_says_something_under_its_own_name(
    name: str, script: Callable[[str], ModuleType]
) -> None:
    report = report_on_innocence(script("audit_false_alarms"))
    found = [finding for finding in report.findings if finding.check == name]
    assert found
    assert not report.left_out
    for finding in found:
        assert finding.what[:1].strip()
        assert not finding.line.endswith(".")
        assert "\n" not in finding.line


def test_a_check_without_anything_to_look_at_is_ok() -> None:
    clips = [replace(one, sentence="") for one in corpus()]
    facts = Facts(Manifest("made", tuple(clips)), splits(clips))
    for name in ("sentence", "format"):
        (finding,) = CHECKS[f"{name} alone"].run(facts, PredictionOptions())
        assert finding == Finding(
            f"{name} alone", "ok", f"{name} is the same everywhere", numbers={"varies": False}
        )


def splits(clips: list[Utterance]) -> tuple[Split, ...]:
    half = [one.id for one in clips if one.speaker < "s3"]
    rest = [one.id for one in clips if one.speaker >= "s3"]
    return (Split("0", tuple(half), (), tuple(rest), speaker_disjoint=True),)


def test_clips_that_a_split_leaves_out_are_neither_learned_from_nor_tested() -> None:
    clips = corpus()
    left_out = {one.id for one in clips if one.id.endswith("_0")}
    (split,) = splits([one for one in clips if one.id not in left_out])
    # Those left out have lengths that give the emotion away; nothing may be learned from that.
    lengths = {emotion: 100_000 * (place + 1) for place, emotion in enumerate(EMOTIONS)}
    clips = [replace(one, samples=lengths[one.emotion]) if one.id in left_out else one for one in clips]
    facts = Facts(Manifest("made", tuple(clips)), (split,))
    (finding,) = CHECKS["duration alone"].run(facts, PredictionOptions())
    assert finding.severity == "ok"
    (fold,) = facts.folds(np.arange(len(clips)))
    assert len(fold.train) + len(fold.test) == len(clips) - len(left_out)


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_that_tells_everything_is_a_risk_and_one_that_tells_nothing_is_not(
    cue: str, script: Callable[[str], ModuleType]
) -> None:
    made = script("audit_false_alarms").innocent(2)
    place = {emotion: number for number, emotion in enumerate(made.manifest.emotions)}
    fields = {"loudness": "level", "leading silence": "leading", "trailing silence": "trailing"}
    fields |= {"digital padding": "padding", "clipping": "clipped", "format": "rate"}
    clips, measured = [], {}
    for one in made.manifest.utterances:
        number, own = place[one.emotion], made.measured[one.id]
        changes = {
            "duration": {"samples": 20_000 + 10_000 * number + len(clips)},
            "sentence": {"sentence": str(number)},
        }
        clips.append(replace(one, **changes.get(cue, {})))
        measured[one.id] = replace(own, **{fields[cue]: 1 + number}) if cue in fields else own
    manifest = Manifest("made", tuple(clips))
    kind = "loso"
    if cue == "speaker":
        manifest, kind = Manifest("made", tuple(replace(c, speaker=c.emotion) for c in clips)), "random"
    for plant, severity in ((manifest, "risk"), (made.manifest, "ok")):
        known = measured if plant is manifest else made.measured
        report = audit(plant, known, AuditOptions(SplitOptions(kind)))
        (finding,) = (finding for finding in report.findings if finding.check == f"{cue} alone")
        assert finding.severity == severity, finding
