"""`ser manifest` as a user types it: roots that move, manifests that are replaced, files that come and go."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from printed import last_line
from small_corpora import PATTERN, tone, write_tone_corpus

from ser_cache import settings
from ser_cache.cli import run


def test_a_manifest_of_ones_own_takes_a_new_root(
    tones: Path, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones.rename(empty_folder / "moved")
    assert run(["extract", "--model", "mfcc", "--corpus", "tones"]) == 1
    assert run(["manifest", "tones", "manifests"]) == 1
    assert "none of the 36 files" in (told := last_line(capsys))
    assert "s1_anger_1.wav does not exist" in told
    (empty_folder / "moved" / "s1_anger_1.wav").rename(empty_folder / "s1_anger_1.wav")
    assert run(["manifest", "tones", "moved"]) == 3
    assert "s1_anger_1.wav" in Path("manifests/failures/tones.csv").read_text(encoding="utf-8")
    (empty_folder / "s1_anger_1.wav").rename(empty_folder / "moved" / "s1_anger_1.wav")
    assert run(["manifest", "tones", "moved"]) == 0
    assert run(["extract", "--model", "mfcc", "--corpus", "tones"]) == 0


def test_a_new_root_of_links_is_refused_with_the_reason(
    tones: Path, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    links = empty_folder / "links"
    links.mkdir()
    for clip in tones.iterdir():
        (links / clip.name).symlink_to(clip)
    assert run(["manifest", "tones", "links"]) == 1
    assert "is a link out of links" in last_line(capsys)


def test_manifests_made_side_by_side_keep_each_others_roots(empty_folder: Path) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    names = [f"tones{number}" for number in range(4)]
    command = [sys.executable, "-m", "ser_cache.cli", "manifest"]
    running = [subprocess.Popen([*command, name, str(root), "--pattern", PATTERN]) for name in names]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert sorted(settings.read_roots(Path("manifests"))) == names


def test_an_unknown_emotion_code_names_the_code_and_a_file(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    soundfile.write(root / "s1_xyz_1.wav", tone(0.5, 200), 16_000)
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 1
    line = last_line(capsys)
    assert all(piece in line for piece in ("'xyz'", "s1_xyz_1.wav", "--labels"))
    assert not Path("manifests/tones.csv").exists()


def test_a_manifest_that_replaces_another_says_what_changes(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["manifest", "tones", str(tones), "--pattern", PATTERN]
    assert run(again) == 0
    assert "replaced" not in capsys.readouterr().err
    (tones / "s1_anger_1.wav").rename(tones / "s9_anger_1.wav")
    assert run(again) == 0
    replaced = "this replaced a manifest of 36 utterances: 1 new (s9_anger_1), 1 gone (s1_anger_1); that one"
    assert replaced in capsys.readouterr().err


def test_a_replaced_manifest_is_kept_beside(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("manifests/tones.csv").read_text(encoding="utf-8")
    table = tones / "table.csv"
    table.write_text("path,speaker,emotion\ns1_anger_1.wav,s1,anger\ns2_sadness_1.wav,s2,sadness\n")
    assert run(["manifest", "tones", str(tones), "--table", str(table)]) == 0
    assert "34 gone (s1_anger_2, s1_neutral_1, s1_neutral_2 and 31 more)" in capsys.readouterr().err
    assert Path("manifests/replaced/tones.csv").read_text(encoding="utf-8") == before


def test_a_root_one_level_up_is_told_from_other_files(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["manifest", "tones", str(tones.parent), "--pattern", f"tones/{PATTERN}"]) == 0
    assert "They are the same files below another ROOT" in capsys.readouterr().err


def test_files_that_a_manifest_lacks_are_told_when_it_is_compared(
    tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tones / "s9_anger_1.wav", tone(0.5, 300), 16_000)
    assert run(["manifest", "tones", str(tones)]) == 0
    told = capsys.readouterr()
    assert "36 of 36 files" in told.out
    assert "1 audio file beyond those of the manifest, such as s9_anger_1.wav" in told.err


def test_files_left_out_stay_listed_and_files_that_are_fine_again_do_not(tones: Path) -> None:
    (tones / "s9_anger_1.wav").write_bytes(b"no audio")
    assert run(["manifest", "tones", str(tones), "--pattern", PATTERN]) == 3
    clip = tones / "s1_anger_1.wav"
    whole = clip.read_bytes()
    clip.write_bytes(b"")
    listed = Path("manifests/failures/tones.csv")
    assert run(["manifest", "tones", str(tones)]) == 3
    assert [line.split(",")[0] for line in listed.read_text().splitlines()] == [
        "path",
        "s9_anger_1.wav",
        "s1_anger_1.wav",
    ]
    clip.write_bytes(whole)
    assert run(["manifest", "tones", str(tones)]) == 0
    assert [line.split(",")[0] for line in listed.read_text().splitlines()] == ["path", "s9_anger_1.wav"]


def test_no_correction_made_by_hand_is_ever_lost(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = ["manifest", "tones", str(tones), "--pattern", PATTERN]
    made, aside = Path("manifests/tones.csv"), Path("manifests/replaced")
    edits = [
        made.read_text(encoding="utf-8").replace(",anger,", f",{other},", 1) for other in ("fear", "calm")
    ]
    broken = edits[0].replace("s1", "", 1)
    for edit in (*edits, edits[0], broken):
        made.write_text(edit, encoding="utf-8")
        assert run(again) == 0
        assert "that one is now" in capsys.readouterr().err
    assert {path.read_text(encoding="utf-8") for path in aside.iterdir()} == {*edits, broken}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"other,columns\n1,2\n", b'path,reason\n"never closed'])
def test_a_damaged_list_of_failures_stops_nothing(tones: Path, content: bytes) -> None:
    listed = Path("manifests/failures/tones.csv")
    listed.parent.mkdir(exist_ok=True)
    listed.write_bytes(content)
    assert run(["manifest", "tones", str(tones)]) == 0


def test_clips_without_speech_stay_in_and_are_named(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    soundfile.write(root / "s1_anger_8.wav", np.zeros(50), 16_000)
    soundfile.write(root / "s1_anger_9.wav", np.zeros(16_000), 16_000)
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 0
    told = capsys.readouterr()
    assert "38 utterances" in told.out
    assert "2 clips can hardly hold speech" in told.err
    assert "s1_anger_8 (only 3 ms), s1_anger_9 (silent);" in told.err


def test_clips_of_one_length_in_one_emotion_are_warned_of(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tone_corpus(empty_folder / "tones")
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 0
    assert "warning" not in capsys.readouterr().err
    for clip in root.glob("*_sadness_*.wav"):
        soundfile.write(clip, tone(0.77, 500), 16_000)
    assert run(["manifest", "tones", str(root), "--pattern", PATTERN]) == 0
    warning = "warning: 12 of 36 clips are exactly 0.770 s, all of them in 1 of 3 emotions (sadness 12 of 12)"
    assert warning in capsys.readouterr().err
