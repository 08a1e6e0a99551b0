"""`ser audit` as a user types it: what is shown, written, kept, and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from made_up_speech import changed, innocent, speech, write
from printed import last_line

from ser_cache.audit import CHECKS, CUES
from ser_cache.cli import run
from ser_cache.errors import SplitError
from ser_cache.manifest import read_manifest
from ser_cache.splits import SplitOptions, make_splits

LOSO = ["audit", "--split", "loso"]


@pytest.fixture
def made(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An innocent corpus with its manifest; returns its root."""
    root = write(innocent())
    capsys.readouterr()
    return root


def test_an_audit_shows_facts_notes_and_a_verdict(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(LOSO) == 0
    told = capsys.readouterr()
    for piece in (
        "made, split loso, 6 folds: 48 utterances, 6 speakers; medians",
        "On both sides of some fold",
        "What tells the emotion by itself",
        "note: 2 of 2 sentences on both the training and the test side in all 6 folds",
        "made: no risk found; 18 checks found nothing",
    ):
        assert piece in told.out
    assert "Traceback" not in told.err
    assert max(map(len, told.out.split("note:")[0].splitlines())) <= 80


def test_a_risk_fails_only_when_strict(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--split", "random"]) == 0
    assert (
        "of 6 speakers on both the training and the test side (100% of tested clips)"
        in capsys.readouterr().out
    )
    assert run(["audit", "--split", "random", "--strict"]) == 1
    told = capsys.readouterr()
    assert "made: 2 risks" in told.out
    assert told.err.splitlines()[-1] == "error: 2 risks in made, which --strict does not allow."


def test_the_json_holds_every_check_and_is_documented(made: Path) -> None:
    assert run([*LOSO, "--json", "found.json"]) == 0
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert found["format"] == 2
    (report,) = found["corpora"]
    assert {finding["check"] for finding in report["findings"]} == set(CHECKS)
    assert report["split"] == {"kind": "loso"}
    assert [fold["test"] for fold in report["folds"]] == [8] * 6
    page = (Path(__file__).resolve().parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    keys = {*found, *report, *report["findings"][0], *report["emotions"][0], *report["shared"]}
    keys |= {key for finding in report["findings"] for key in finding["numbers"]}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_every_check_and_every_cue_is_documented() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert [name for name in CHECKS if f"`{name}`" not in page and not name.endswith(" alone")] == []
    assert [name for name in CUES if f"| {name} |" not in page] == []


def test_a_second_audit_decodes_nothing(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(LOSO) == 0
    first = capsys.readouterr().out
    monkeypatch.delattr("ser_cache.audit.measurements.read_original")
    assert run(LOSO) == 0
    assert capsys.readouterr().out == first


def test_a_clip_that_has_changed_since_it_was_measured_is_listed(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(LOSO) == 0
    (made / "s0_anger_a_0.wav").write_bytes((made / "s0_anger_b_0.wav").read_bytes())
    assert run(LOSO) == 3
    told = capsys.readouterr()
    assert "s0_anger_a_0.wav has changed since the manifest" in told.err
    assert "no risk found" in told.out


def test_manifests_that_cannot_be_written_beside_are_audited_all_the_same(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("manifests/measurements").write_bytes(b"a file where the folder should be")
    assert run(LOSO) == 0
    told = capsys.readouterr()
    assert "no risk found" in told.out
    assert "cannot be written" in told.err
    (made / "s0_anger_a_0.wav").unlink()
    assert run(LOSO) == 3
    assert "1 failed.\n" in capsys.readouterr().err


def test_stale_measurements_are_said_to_be(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(LOSO) == 0
    Path("manifests/measurements/made.npz").write_bytes(b"damaged")
    assert run(LOSO) == 0
    assert "measured anew" in capsys.readouterr().err


def test_without_audio_the_rest_is_checked_and_what_is_left_out_is_named(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.rename("elsewhere")
    assert run(LOSO) == 0
    told = capsys.readouterr()
    assert "ser manifest made ROOT" in told.err
    assert (
        "left out, as no audio is at hand: silent clips, clipped clips, mixed formats, loudness" in told.out
    )
    assert "duration" in told.out
    assert "lead" not in told.out.split("note:")[0].split("On both")[0]


def test_no_audio_decodes_nothing_and_says_nothing_of_roots(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*LOSO, "--no-audio"]) == 0
    told = capsys.readouterr()
    assert "left out, as no audio is at hand" in told.out
    assert told.err == ""
    assert not Path("manifests/measurements").exists()


def test_clips_that_cannot_be_read_are_listed_and_the_rest_is_audited(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (made / "s0_anger_a_0.wav").write_bytes(b"no audio")
    assert run(LOSO) == 3
    told = capsys.readouterr()
    assert "failed: s0_anger_a_0" in told.err
    assert "no risk found" in told.out
    listed = Path("manifests/measurements/failures/made.csv")
    assert "s0_anger_a_0" in listed.read_text(encoding="utf-8")
    soundfile.write(made / "s0_anger_a_0.wav", speech(7), 16_000)
    assert run(["manifest", "made", str(made), "--pattern", "{speaker}_{emotion}_{sentence}_{take}.*"]) == 0
    assert run(LOSO) == 0
    assert not listed.exists()


def test_a_root_with_nothing_of_the_corpus_is_an_error(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for clip in made.iterdir():
        clip.unlink()
    assert run(LOSO) == 1
    assert "none of its clips could be read" in last_line(capsys)


def test_a_corpus_that_cannot_be_divided_is_an_error_and_the_others_are_audited(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(innocent(speakers=("s0", "s1")), name="pair")
    assert run([*LOSO, "--json", "found.json"]) == 1
    told = capsys.readouterr()
    assert "error: pair: leave-one-speaker-out with a validation speaker needs at least 3" in told.err
    assert "made: no risk found" in told.out
    assert "pair, split" not in told.out
    assert [one["corpus"] for one in json.loads(Path("found.json").read_text())["corpora"]] == ["made"]


def test_more_folds_than_speakers_are_the_error_that_training_gives_before_any_audio_is_decoded(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("ser_cache.audit.measurements.read_original")
    assert run(["audit", "--split", "folds", "--folds", "9"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    with pytest.raises(SplitError) as caught:
        make_splits(read_manifest(Path("manifests/made.csv")).utterances, SplitOptions("folds", folds=9))
    assert told.err == f"error: {caught.value}\n"
    assert "needs at least 9 speakers, and there are 6" in told.err


def test_several_corpora_are_named_by_strict(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = changed(innocent(), "fear", samples=lambda clip: clip.samples * 0.01)
    write([replace(clip, suffix="flac") for clip in clips], name="quiet")
    assert run([*LOSO, "--strict"]) == 1
    assert "error: 1 risk in quiet, which" in last_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "piece"),
    [
        (["--corpus", "nothing"], "unknown corpus 'nothing'"),
        (["--split", "speakers"], "unknown split 'speakers'"),
        (["--split", "loso", "--folds", "4"], "--folds changes nothing of --split loso"),
        (["--split", "column"], "has no fold"),
    ],
)
def test_what_cannot_be_audited_is_said_in_a_line(
    arguments: list[str], piece: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["audit", "--no-audio", *arguments]) == 1
    told = capsys.readouterr()
    assert piece in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("corpus", "split", "expected"),
    [
        ("emovo", "loso", []),
        ("emovo", "random", ["speakers", "copies across sides"]),
        ("emodb", "loso", ["lengths"]),
        ("ravdess", "folds", []),
    ],
)
@pytest.mark.slow
def test_real_corpora_get_the_verdicts_that_docs_say(
    corpus: str, split: str, expected: list[str], shared: Path, empty_folder: Path
) -> None:
    assert run(["manifest", corpus, str(shared / "data" / corpus / "audio")]) == 0
    status = run(["audit", "--corpus", corpus, "--split", split, "--strict", "--json", "found.json"])
    (report,) = json.loads(Path("found.json").read_text(encoding="utf-8"))["corpora"]
    found = [one["check"] for one in report["findings"] if one["severity"] == "risk"]
    assert (found, status) == (expected, 1 if expected else 0)
    copies = [one["examples"] for one in report["findings"] if one["check"] == "copies across sides"]
    assert (
        copies
        == {
            "emovo": [["tri-f3-n1 = tri-f3-n2 (4% of bits differ)"]],
            "ravdess": [["03-01-03-01-02-01-07 = 03-01-03-01-02-02-07 (equal bytes)"]],
            "emodb": [[]],
        }[corpus]
    )


def test_chosen_emotions_alone_are_audited_and_what_is_measured_is_kept_whole(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_emotions = sorted({u.emotion for u in read_manifest(Path("manifests/made.csv")).utterances})
    two = ",".join(all_emotions[:2])
    assert run([*LOSO, "--emotions", two, "--json", "found.json"]) == 0
    (report,) = json.loads(Path("found.json").read_text(encoding="utf-8"))["corpora"]
    assert report["utterances"] < 48
    told = capsys.readouterr()
    assert f"made: 48 utterances: {report['utterances']} of the 2 emotions" in told.err + told.out
    monkeypatch.delattr("ser_cache.audit.measurements.read_original")  # nothing is left to be decoded
    assert run(LOSO) == 0


def test_an_audit_of_emotions_that_a_corpus_lacks_is_refused(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*LOSO, "--corpus", "made", "--emotions", "boredom,guilt"]) == 1
    assert "made has no boredom and no guilt; it has anger 12" in last_line(capsys)
