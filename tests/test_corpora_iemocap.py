"""IEMOCAP's recipe, whose labels lie in files of their own: made-up dialogues in the layout of its readme."""

from pathlib import Path

import pytest
import soundfile
from name_trees import tree
from small_corpora import tone

from ser_cache.cli import run
from ser_cache.corpora import CORPORA
from ser_cache.errors import ManifestError
from ser_cache.importing import Labels, about_left_out, list_corpus, prepare_corpus
from ser_cache.manifest import read_manifest
from ser_cache.splits import SplitOptions, make_splits

IEMOCAP = CORPORA["iemocap"]
TAKEN = {"F000": "neu", "M000": "ang", "F001": "exc", "M001": "hap", "F002": "sad"}
TURNS = TAKEN | {"M002": "fru", "F003": "xxx"}


def label_lines(dialogue: str, turns: dict[str, str]) -> str:
    """A label file as it is: a head, then per turn its line and what each annotator said."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, (turn, code) in enumerate(turns.items()):
        name = f"{dialogue}_{turn}"
        lines.append(f"[{number}.2901 - {number + 1}.2357]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]")
        lines += ["C-E2:\tNeutral;\t()", "C-F1:\tAnger; Frustration;\t(hello [1.0 - 2.0])", ""]
    return "\n".join(lines)


def release(root: Path, sessions: int = 5, turns: dict[str, str] = TURNS) -> Path:
    """A release of two dialogues a session, the second with the man wearing the markers."""
    for session in range(1, sessions + 1):
        for dialogue in (f"Ses0{session}F_impro01", f"Ses0{session}M_script01_1b"):
            home = root / f"Session{session}"
            tree(
                home,
                f"dialog/wav/{dialogue}.wav",
                *(f"sentences/wav/{dialogue}/{dialogue}_{turn}.wav" for turn in turns),
                f"dialog/EmoEvaluation/._{dialogue}.txt",
                f"dialog/EmoEvaluation/Categorical/{dialogue}_e1_cat.txt",
            )
            text = label_lines(dialogue, turns)
            (home / "dialog/EmoEvaluation" / f"{dialogue}.txt").write_text(text, encoding="ascii")
            annotator = home / "dialog/EmoEvaluation/Categorical" / f"{dialogue}_e1_cat.txt"
            annotator.write_text(f"{dialogue}_F000 :Sadness; ()\n", encoding="ascii")
    return root


def by_id(listing):
    return {clip.id.rpartition("/")[2]: clip for clip in listing.utterances}


def test_labels_come_from_the_label_files_and_excitement_is_happiness(tmp_path):
    clips = by_id(list_corpus(IEMOCAP, release(tmp_path)))
    assert len(clips) == 5 * 2 * 5
    first = [clips[f"Ses01F_impro01_{turn}"] for turn in TAKEN]
    assert [clip.code for clip in first] == list(TAKEN.values())
    assert [clip.emotion for clip in first] == ["neutral", "anger", "happiness", "happiness", "sadness"]


def test_the_speaker_is_who_speaks_and_not_who_wears_the_markers(tmp_path):
    clips = by_id(list_corpus(IEMOCAP, release(tmp_path)))
    assert clips["Ses02M_script01_1b_F000"].speaker == clips["Ses02F_impro01_F000"].speaker == "Ses02F"
    assert clips["Ses02M_script01_1b_M000"].speaker == clips["Ses02F_impro01_M000"].speaker == "Ses02M"
    assert len({clip.speaker for clip in clips.values()}) == IEMOCAP.speakers


def test_other_classes_and_whole_dialogues_are_left_out_and_counted_and_no_failure(tmp_path):
    listing = list_corpus(IEMOCAP, release(tmp_path))
    assert listing.failures == ()
    assert about_left_out(listing.left_out) == (
        "30 files, as the recipe says: a whole dialogue 10, frustration 10, no majority 10"
    )
    assert list(listing.left_out) == sorted(listing.left_out, key=lambda failure: failure.path)
    assert about_left_out(()) == ""


def test_a_label_map_takes_classes_in_and_keeps_excitement_apart(tmp_path):
    labels = Labels({"fru": "frustration", "exc": "excitement"})
    listing = list_corpus(IEMOCAP, release(tmp_path), labels)
    emotions = {clip.emotion for clip in listing.utterances}
    assert emotions == {"anger", "excitement", "frustration", "happiness", "neutral", "sadness"}
    assert {failure.reason for failure in listing.left_out} == {"a whole dialogue", "no majority"}


def test_the_fold_column_tests_each_session_in_turn(tmp_path):
    utterances = list_corpus(IEMOCAP, release(tmp_path)).utterances
    splits = make_splits(utterances, SplitOptions(kind="column"))
    assert [split.fold for split in splits] == ["1", "2", "3", "4", "5"]
    speaker = {clip.id: clip.speaker for clip in utterances}
    for split in splits:
        assert {speaker[clip] for clip in split.test} == {f"Ses0{split.fold}F", f"Ses0{split.fold}M"}
        assert not {speaker[clip] for clip in split.test} & {speaker[clip] for clip in split.train}


def test_one_session_is_enough_and_lies_at_any_depth(tmp_path):
    release(tmp_path / "IEMOCAP_full_release", sessions=1)
    assert len(list_corpus(IEMOCAP, tmp_path).utterances) == 10
    assert len(list_corpus(IEMOCAP, tmp_path / "IEMOCAP_full_release" / "Session1").utterances) == 10


def test_audio_without_its_label_files_says_which_folder_to_give(tmp_path):
    release(tmp_path)
    with pytest.raises(ManifestError, match=r"no label files.*holds Session1 to Session5"):
        IEMOCAP.scan(tmp_path / "Session1" / "sentences")


def test_a_turn_that_no_label_file_names_is_a_failure(tmp_path):
    root = tree(release(tmp_path), "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_M099.wav")
    (failure,) = list_corpus(IEMOCAP, root).failures
    assert (failure.path.rpartition("/")[2], failure.reason) == (
        "Ses03F_impro01_M099.wav",
        "no label file names it",
    )


def test_label_files_that_contradict_each_other_are_refused(tmp_path):
    root = release(tmp_path)
    other = tree(root, "old/EmoEvaluation/Ses01F_impro01.txt") / "old/EmoEvaluation/Ses01F_impro01.txt"
    other.write_text(label_lines("Ses01F_impro01", TURNS | {"F000": "sad"}), encoding="ascii")
    with pytest.raises(ManifestError, match=r"of Ses01F_impro01_F000, and another file .* one copy"):
        IEMOCAP.scan(root)
    other.write_text(label_lines("Ses01F_impro01", TURNS), encoding="ascii")
    assert len(IEMOCAP.scan(root).found) == 70


def test_an_unknown_code_is_told_with_a_file(tmp_path):
    root = release(tmp_path, sessions=1, turns=TURNS | {"M003": "zzz"})
    listed = list_corpus(IEMOCAP, root)
    strange = [failure for failure in listed.failures if "'zzz'" in failure.reason]
    assert len(strange) == 2
    assert all(failure.path.endswith("_M003.wav") for failure in strange)
    assert not any("M003" in clip.path for clip in listed.utterances)


def test_where_every_class_is_left_out_that_is_said(tmp_path):
    root = release(tmp_path, sessions=1, turns={"F000": "fru", "M000": "xxx"})
    with pytest.raises(ManifestError, match=r"frustration, no majority.*--labels"):
        list_corpus(IEMOCAP, root)


def test_the_command_says_what_is_left_out_and_that_the_recipe_is_unverified(empty_folder, capsys):
    root = release(empty_folder / "release", sessions=3)
    for number, path in enumerate(root.rglob("sentences/wav/*/*.wav")):
        soundfile.write(path, tone(0.4, 200, seed=number), 16_000)
    assert run(["manifest", "iemocap", str(root)]) == 0
    err = capsys.readouterr().err
    assert "left out: 18 files, as the recipe says: a whole dialogue 6, frustration 6, no majority 6\n" in err
    assert "5,531 utterances expected, 30 found; 10 speakers expected, 6 found" in err
    assert "note: unlike others' readings, the speaker is who speaks: Ses01F_impro01_M000 is the man" in err
    assert "the recipe of iemocap is not verified: the folders, names and label files" in err
    made = read_manifest(Path("manifests/iemocap.csv"))
    assert {(clip.fold, dict(clip.extra)["session"]) for clip in made.utterances} == {(n, n) for n in "123"}
    assert prepare_corpus(IEMOCAP, root, strict=True).manifest.utterances == made.utterances
