"""`ser manifest --check` and `--listed` as a user types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
import soundfile
from printed import last_line
from small_corpora import tone

from ser_cache import official
from ser_cache.audio import read
from ser_cache.cli import run
from ser_cache.corpora import LINK_OUT

SHIPPED = Path(__file__).resolve().parents[1] / "manifests" / "cremad.csv"
NAMES = tuple(
    f"{emotion}-f1-b{sentence}" for emotion in ("dis", "gio", "neu", "pau") for sentence in (1, 2, 3)
)


@pytest.fixture
def emovo(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of twelve clips with EMOVO's names, and a list on which they are what was published."""
    root = empty_folder / "EMOVO"
    root.mkdir()
    files = []
    for number, name in enumerate(NAMES):
        soundfile.write(root / f"{name}.wav", tone(0.4 + number / 50, 300), 16_000, subtype="PCM_16")
        recording = read(root / f"{name}.wav")
        count = len(recording.samples)
        files.append(official.OfficialFile(name, recording.sha256, count / 16_000, count))
    listed = official.OfficialList("emovo", tuple(files), "Made up.", "A copy is known.", "", "")
    monkeypatch.setattr(official, "official_list", lambda corpus: listed)
    return root


def test_a_download_of_links_out_of_the_folder_is_told_to_be_that(emovo, empty_folder, capsys):
    links = empty_folder / "links"
    links.mkdir()
    for clip in emovo.iterdir():
        (links / clip.name).symlink_to(clip)
    assert run(["manifest", "emovo", "links", "--check"]) == 3
    told = capsys.readouterr()
    assert "not readable as audio     12" in told.out
    assert f"unreadable: dis-f1-b1.wav: {LINK_OUT}" in told.err
    (empty_folder / "folders").mkdir()
    (empty_folder / "folders" / "audio").symlink_to(emovo)
    assert run(["manifest", "emovo", "folders", "--check"]) == 1
    assert last_line(capsys).endswith(f"give the folder that holds the corpus. audio: {LINK_OUT}.")


def test_a_download_that_is_as_published_is_said_to_be_and_nothing_is_written(emovo, empty_folder, capsys):
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 0
    told = capsys.readouterr()
    assert "emovo is complete and holds what was published." in told.out
    assert told.err == ""
    assert [path.name for path in empty_folder.iterdir()] == ["EMOVO"]


def test_what_is_wrong_is_named_and_explained(emovo, capsys):
    (emovo / "dis-f1-b1.wav").unlink()
    soundfile.write(emovo / "dis-f1-b2.wav", tone(0.2, 300), 16_000)
    soundfile.write(emovo / "dis-f1-b9.wav", tone(0.2, 300), 16_000)
    samples, rate = soundfile.read(emovo / "dis-f1-b3.wav", dtype="int16")
    soundfile.write(emovo / "dis-f1-b3.flac", samples, rate)
    (emovo / "dis-f1-b3.wav").unlink()
    soundfile.write(emovo / "gio-f1-b1.wav", tone(0.46, 300, seed=9), 16_000)
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 3
    told = capsys.readouterr()
    for line in (
        "missing: dis-f1-b1: it is not there",
        "changed: dis-f1-b2.wav: 0.200 s where 0.420 s were published",
        "extra: dis-f1-b9.wav: it is not on the list",
        "converted: gio-f1-b1.wav: other bytes, 0.460 s as published",
    ):
        assert line in told.err.splitlines()
    assert "dis-f1-b3" not in told.err  # as good as published
    assert ["as", "published", "8"] in [line.split()[:3] for line in told.out.splitlines()]
    for explained in ("Re-encoded", "Cut, padded", "re-encoded without loss", "Missing: not downloaded"):
        assert explained.lower() in told.out.lower()
    assert "A copy is known" not in told.out


@pytest.fixture
def flac(emovo: Path) -> Path:
    """The same folder, converted: other samples of the same lengths."""
    for path in sorted(emovo.glob("*.wav")):
        samples, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".flac"), 0.5 * samples, rate)
        path.unlink()
    return emovo


def test_a_faithful_conversion_is_complete_and_what_cannot_be_shown_is_said(flac, capsys, monkeypatch):
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 0
    told = capsys.readouterr()
    assert (
        "emovo is complete: all 12 names are here and no other, each within 0.0 ms of the published length. "
        "As every file was converted, no hash can show that the sound is the published one." in told.out
    )
    assert told.err == ""
    assert run(["manifest", "emovo", "EMOVO", "--check", "--verbose"]) == 0
    assert capsys.readouterr().err.count("converted: ") == 12
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 0
    assert max(map(len, click.unstyle(capsys.readouterr().out).splitlines())) <= 80


@pytest.mark.parametrize("wrong", ["missing", "extra", "cut", "unreadable"])
def test_a_conversion_with_anything_else_about_it_is_not_complete(wrong, flac, capsys):
    one = flac / "dis-f1-b2.flac"
    if wrong == "extra":
        soundfile.write(flac / "dis-f1-b9.flac", tone(0.2, 300), 16_000)
    elif wrong == "cut":
        soundfile.write(one, tone(0.3, 300), 16_000)
    elif wrong == "unreadable":
        one.write_bytes(b"fLaC")
    else:
        one.unlink()
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 3
    told = capsys.readouterr()
    assert "is complete" not in told.out
    assert {"cut": "changed"}.get(wrong, wrong) in told.err


def test_one_converted_file_among_published_ones_is_the_odd_one_out(emovo, capsys):
    soundfile.write(emovo / "dis-f1-b2.wav", tone(0.42, 300, seed=9), 16_000)
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 3
    told = capsys.readouterr()
    assert "converted: dis-f1-b2.wav" in told.err
    assert "is complete" not in told.out


def test_a_stray_file_is_named_by_the_import_as_by_the_check(emovo, capsys):
    soundfile.write(emovo / "xyz-f1-b1.wav", tone(0.2, 300), 16_000)
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 3
    assert "extra: xyz-f1-b1.wav: it is not on the list" in capsys.readouterr().err
    assert run(["manifest", "emovo", "EMOVO"]) == 3
    told = capsys.readouterr()
    assert "failed: xyz-f1-b1.wav: its emotion code 'xyz' is none of emovo's; if it belongs" in told.err
    assert "12 utterances" in told.out
    assert "xyz-f1-b1.wav" in Path("manifests/failures/emovo.csv").read_text(encoding="utf-8")
    assert run(["manifest", "emovo", "EMOVO", "--strict"]) == 1
    assert "xyz" in last_line(capsys)


def test_what_is_explained_fits_80_columns_in_a_terminal(emovo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    soundfile.write(emovo / "dis-f1-b2.wav", tone(0.2, 300), 16_000)
    (emovo / "dis-f1-b3.wav").unlink()
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 3
    assert max(map(len, click.unstyle(capsys.readouterr().out).splitlines())) <= 80


def test_a_copy_cut_to_one_length_is_told_in_a_line(emovo, capsys):
    for path in emovo.iterdir():
        soundfile.write(path, tone(0.3, 300), 16_000)
    assert run(["manifest", "emovo", "EMOVO", "--check"]) == 3
    told = capsys.readouterr()
    assert "12 of these are exactly 0.300 s: somebody cut or padded them. A copy is known." in told.out
    assert told.err.count("changed: ") == 10
    assert "and 2 more" in told.err
    assert "To name them all, add --verbose." in told.err
    assert run(["manifest", "emovo", "EMOVO", "--check", "--verbose"]) == 3
    told = capsys.readouterr()
    assert told.err.count("changed: ") == 12
    assert "--verbose" not in told.err


def test_the_folder_given_last_is_checked_when_none_is_given(emovo, capsys):
    assert run(["manifest", "emovo", "--check"]) == 1
    assert "give ROOT" in last_line(capsys)
    assert run(["manifest", "emovo"]) == 1
    assert "give ROOT" in last_line(capsys)
    assert run(["manifest", "emovo", "EMOVO"]) == 0
    (emovo / "dis-f1-b1.wav").unlink()
    assert run(["manifest", "emovo", "--check"]) == 3
    told = capsys.readouterr().err
    assert "missing: dis-f1-b1" in told
    assert f"the audio of emovo is taken from {emovo}, the folder given last" in told
    assert run(["manifest", "emovo"]) == 0
    assert "11 utterances" in capsys.readouterr().out


@pytest.mark.parametrize("given", [["EMOVO"], ["--listed"]])
def test_where_nothing_can_be_written_that_is_said_before_anything_is_read(
    given, emovo, empty_folder, capsys
):
    Path("taken").touch()
    corpus = "cremad" if "--listed" in given else "emovo"
    for folder in ("taken", "taken/below"):
        assert run(["manifest", corpus, *given, "--manifests", folder]) == 1
        assert last_line(capsys) == (
            f"error: {folder} cannot be written to (Not a directory); give another folder: --manifests FOLDER"
        )
    assert sorted(path.name for path in empty_folder.iterdir()) == ["EMOVO", "taken"]


def test_a_folder_of_something_else_is_one_error(emovo, empty_folder, capsys):
    (empty_folder / "other").mkdir()
    assert run(["manifest", "emovo", "other", "--check"]) == 1
    assert "none of the 12 files of emovo" in last_line(capsys)


def test_a_corpus_without_a_list_is_one_error(empty_folder, capsys):
    assert run(["manifest", "mine", ".", "--check"]) == 1
    assert "cremad, emodb, emovo, ravdess" in last_line(capsys)


@pytest.mark.parametrize(
    "options",
    [["--listed"], ["--strict"], ["--table", "t.csv"], ["--pattern", "*.wav"], ["--labels", "l.toml"]],
)
def test_a_check_takes_no_options_of_an_import(options, empty_folder, capsys):
    assert run(["manifest", "cremad", ".", "--check", *options]) == 1
    assert "--check and --listed go with neither" in last_line(capsys)


def test_without_root_a_manifest_cannot_be_made_and_the_ready_one_is_pointed_to(empty_folder, capsys):
    assert run(["manifest", "emovo"]) == 1
    assert last_line(capsys).endswith("the audio of emovo. Where it is had: ser corpora --how emovo.")
    assert run(["manifest", "cremad"]) == 1
    assert last_line(capsys).endswith("Without any audio: ser manifest cremad --listed.")
    assert run(["manifest", "mine"]) == 1
    assert last_line(capsys).endswith("give ROOT, the folder that holds the audio of mine.")


def test_the_ready_manifest_is_written_without_audio_or_root(empty_folder, capsys):
    assert run(["manifest", "cremad", "--listed"]) == 0
    told = capsys.readouterr()
    assert "manifests/cremad.csv: 7,442 utterances, 91 speakers, 5.26 h" in told.out
    assert "ODbL" in told.out
    assert "No audio was read" in told.err
    assert Path("manifests/cremad.csv").read_bytes() == SHIPPED.read_bytes()
    assert not Path("manifests/roots.toml").exists()
    assert run(["manifest", "cremad", "--listed"]) == 0
    assert "replaced" not in capsys.readouterr().err


def test_the_ready_manifest_does_not_lose_another(empty_folder, capsys):
    Path("manifests").mkdir()
    corrected = SHIPPED.read_text(encoding="utf-8").replace(",male,51,", ",male,52,", 1)
    Path("manifests/cremad.csv").write_text(corrected, encoding="utf-8")
    assert run(["manifest", "cremad", "--listed"]) == 0
    assert "1 changed (AudioWAV/1001_DFA_ANG_XX)" in capsys.readouterr().err
    assert Path("manifests/replaced/cremad.csv").read_text(encoding="utf-8") == corrected


def test_of_other_corpora_there_is_no_ready_manifest(empty_folder, capsys):
    assert run(["manifest", "emovo", "--listed"]) == 1
    assert "no ready manifest of emovo" in last_line(capsys)
    assert not Path("manifests").exists()


def test_a_clone_that_git_lfs_has_not_filled_is_told_what_to_run(empty_folder, capsys):
    for folder in ("AudioWAV", "AudioMP3"):
        Path("clone", folder).mkdir(parents=True)
        for name in ("1001_DFA_ANG_XX", "1001_DFA_DIS_XX"):
            Path("clone", folder, f"{name}.{folder[-3:].lower()}").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
            )
    assert run(["manifest", "cremad", "clone", "--check"]) == 3
    told = capsys.readouterr()
    assert "Not fetched by Git LFS: " in told.out
    assert "git lfs pull" in told.out
    assert "2 files in AudioMP3 are passed over" in told.out
    assert run(["manifest", "cremad", "clone"]) == 1
    assert last_line(capsys).endswith(
        "1001_DFA_ANG_XX.wav is a Git LFS pointer and no audio; run `git lfs pull` in its clone."
    )
    shutil.rmtree("clone/AudioMP3")
    assert run(["manifest", "cremad", "clone", "--check"]) == 3
    assert "passed over" not in capsys.readouterr().out
