"""EmoBox's fold files: matched to a manifest by file name, with every difference named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ser_cache.cli import run
from ser_cache.errors import SplitError
from ser_cache.manifest import Utterance
from ser_cache.results import splits_as_json
from ser_cache.splits import (
    SIDES,
    SplitOptions,
    check_split,
    make_splits,
    shared_speakers,
    split_config,
    warnings,
)

LABELS = {"rab": "anger", "gio": "happiness", "neu": "neutral"}
ENGLISH = {"rab": "Angry", "gio": "Happy", "neu": "Neutral"}
SPEAKERS = ("f1", "f2", "m1", "m2")


def clips(takes=5):
    """(speaker, code, name) of every clip."""
    return [(s, code, f"{code}-{s}-{take}") for s in SPEAKERS for code in LABELS for take in range(takes)]


def corpus(suffix="flac"):
    rows = [
        Utterance(name, f"audio/{s}/{name}.{suffix}", s, LABELS[code], code, "it", 16_000, "0" * 64)
        for s, code, name in clips()
    ]
    return sorted((replace(row, id=row.path.rpartition(".")[0]) for row in rows), key=lambda row: row.id)


def line(speaker, code, name):
    wav = f"downloads/emovo/{speaker}/{name}.wav"
    values = {
        "key": f"emovo-{name}",
        "dataset": "emovo",
        "wav": wav,
        "type": "raw",
        "emo": code,
        "channel": 1,
    }
    return json.dumps(values) + "\n"


def write_list(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line(*row) for row in rows), encoding="utf-8")


def write_folds(data: Path, corpus="emovo", rows=None) -> Path:
    """A fold a speaker, as EmoBox has them for EMOVO."""
    rows = clips() if rows is None else rows
    for number, tested in enumerate(SPEAKERS, 1):
        for side, chosen in (
            ("train", [row for row in rows if row[0] != tested]),
            ("test", [row for row in rows if row[0] == tested]),
        ):
            write_list(data / corpus / f"fold_{number}" / f"{corpus}_{side}_fold_{number}.jsonl", chosen)
    (data / corpus / "label_map.json").write_text(json.dumps(ENGLISH))
    return data / corpus


def options(folder: Path, seed=0) -> SplitOptions:
    return SplitOptions("emobox", seed=seed, fold_files=folder)


def refusal(rows, folder: Path) -> str:
    with pytest.raises(SplitError) as caught:
        make_splits(rows, options(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_fold_tests_what_emobox_tests_and_a_fifth_of_the_rest_validates(tmp_path):
    rows, folder = corpus(), write_folds(tmp_path)
    splits = make_splits(rows, options(folder))
    assert [split.fold for split in splits] == ["1", "2", "3", "4"]
    for split, tested in zip(splits, SPEAKERS, strict=True):
        assert {identifier.split("/")[1] for identifier in split.test} == {tested}
        assert [len(split.side(side)) for side in SIDES] == [36, 9, 15]
        assert all(sum(code in id_ for id_ in split.validation) == 3 for code in LABELS)
        assert split.left_out == ()
    assert make_splits(rows[::-1], options(folder)) == splits
    other = make_splits(rows, options(folder, seed=1))
    assert [split.test for split in other] == [split.test for split in splits]
    assert [split.validation for split in other] != [split.validation for split in splits]


def test_validation_shares_its_speakers_with_training_and_that_is_said(tmp_path):
    rows, folder = corpus(), write_folds(tmp_path)
    splits = make_splits(rows, options(folder))
    assert not any(split.speaker_disjoint for split in splits)
    lines = warnings(splits, rows, options(folder))
    assert "the validation speakers are also trained on; those who are tested are not" in lines
    assert not any("speaker-dependent" in line for line in lines)
    assert any(line.startswith("the fold files list no validation side: a fifth") for line in lines)


def test_emoboxs_own_validation_lists_are_used(tmp_path):
    folder = write_folds(tmp_path)
    for number, validating in enumerate(SPEAKERS[1:] + SPEAKERS[:1], 1):
        path = folder / f"fold_{number}" / f"emovo_train_fold_{number}.jsonl"
        tested = SPEAKERS[number - 1]
        write_list(path, [row for row in clips() if row[0] not in {tested, validating}])
        chosen = [row for row in clips() if row[0] == validating]
        write_list(path.with_name(f"emovo_valid_fold_{number}.jsonl"), chosen)
    splits = make_splits(corpus(), options(folder))
    assert all(split.speaker_disjoint and not shared_speakers(split, corpus()) for split in splits)
    assert warnings(splits, corpus(), options(folder)) == ()


def test_tested_speakers_who_are_trained_on_make_it_speaker_dependent(tmp_path):
    rows, folder = clips(), tmp_path / "emovo"
    write_list(folder / "fold_1/emovo_train_fold_1.jsonl", [row for row in rows if row[2][-1] != "4"])
    write_list(folder / "fold_1/emovo_test_fold_1.jsonl", [row for row in rows if row[2][-1] == "4"])
    splits = make_splits(corpus(), options(folder))
    assert any(line.startswith("speaker-dependent") for line in warnings(splits, corpus(), options(folder)))


@pytest.mark.parametrize("suffix", ["wav", "flac", "WAV"])
def test_clips_match_by_name_whatever_suffix_and_folders(suffix, tmp_path):
    assert all(not split.left_out for split in make_splits(corpus(suffix), options(write_folds(tmp_path))))


def test_a_name_that_stands_twice_matches_by_its_folders_and_accents_as_any_disk_writes_them(tmp_path):
    names = [(f"Cole\u0300re/{s}", code, name) for s, code, name in clips()]
    folder = write_folds(tmp_path, rows=[])
    for number, tested in enumerate(SPEAKERS, 1):
        for side, inside in (("train", False), ("test", True)):
            chosen = [
                (s, code, str(take))
                for s, code, name in names
                for take in [name[-1]]
                if s.endswith(tested) == inside
            ]
            # One name for all emotions and speakers: only the folders tell them apart.
            rows = [(f"{s}/{code}", code, take) for s, code, take in chosen]
            write_list(folder / f"fold_{number}" / f"emovo_{side}_fold_{number}.jsonl", rows)
    ours = [
        replace(row, path=f"x/COL\u00c8RE/{row.speaker}/{row.code}/{row.id[-1]}.flac", id=f"{row.id}")
        for row in corpus()
    ]
    splits = make_splits(ours, options(folder))
    assert all(split.left_out == () and len(split.test) == 15 for split in splits)
    assert {u.speaker for u in ours if u.id in splits[0].test} == {"f1"}


def test_the_clone_itself_may_be_named_and_the_corpus_is_found_by_its_clips(tmp_path):
    folder = write_folds(tmp_path / "data")
    other = [(s, code, f"x{name}") for s, code, name in clips()]
    write_folds(tmp_path / "data", "emodb", other)
    expected = make_splits(corpus(), options(folder))
    for named in (tmp_path, tmp_path / "data"):
        assert make_splits(corpus(), options(named)) == expected
    foreign = [replace(row, id=f"y{n}", path=f"y{n}.wav") for n, row in enumerate(corpus())]
    assert "none of the 2 corpora below" in refusal(foreign, tmp_path)


def test_what_one_has_and_the_other_has_not_is_left_out_and_named(tmp_path):
    folder = write_folds(tmp_path)
    extra = replace(corpus()[0], id="audio/f1/new", path="audio/f1/new.flac")
    rows = sorted([*corpus()[1:], extra], key=lambda row: row.id)
    splits = make_splits(rows, options(folder))
    assert all(split.left_out == ("audio/f1/new",) for split in splits)
    lines = warnings(splits, rows, options(folder))
    assert "1 of 60 clips of the fold files are not here: downloads/emovo/f1/gio-f1-0.wav" in lines
    assert "left out, as some fold file does not list them: 1 of 60, audio/f1/new" in lines
    recorded = splits_as_json(splits)["folds"]
    assert all(fold["left_out"] == ["audio/f1/new"] for fold in recorded)
    assert "left_out" not in splits_as_json(make_splits(corpus(), options(folder)))["folds"][0]


def test_labels_that_differ_are_named_and_ours_are_used(tmp_path):
    folder = write_folds(tmp_path)
    rows = corpus()
    rows[0] = replace(rows[0], emotion="neutral")
    lines = warnings(make_splits(rows, options(folder)), rows, options(folder))
    assert "1 of 60 labels differ; ours are used: gio-f1-0.wav happiness, here neutral" in lines


def test_a_label_that_no_map_explains_is_not_compared_and_named(tmp_path):
    folder = write_folds(tmp_path)
    (folder / "label_map.json").write_text(json.dumps(ENGLISH | {"rab": "Angry", "GIO": "Happy"}))
    assert not any(
        "label" in line
        for line in warnings(make_splits(corpus(), options(folder)), corpus(), options(folder))
    )
    (folder / "label_map.json").unlink()
    (folder / "label_dict.json").write_text(json.dumps({"rab": "Angry", "neu": "neutral"}))
    lines = warnings(make_splits(corpus(), options(folder)), corpus(), options(folder))
    assert "labels that no label_map.json explains were not compared: 'gio' of 20 clips" in lines


def test_lists_of_an_older_name_are_read_unless_there_are_newer_ones(tmp_path):
    folder = write_folds(tmp_path)
    expected = make_splits(corpus(), options(folder))
    write_list(folder / "fold_1" / "emovo_test_fold1.jsonl", clips()[:1])
    assert make_splits(corpus(), options(folder)) == expected
    lines = warnings(expected, corpus(), options(folder))
    assert "emovo/fold_1/emovo_test_fold1.jsonl is not read, as there is a list of the newer name" in lines
    for path in sorted(folder.glob("fold_*/*_fold_*.jsonl")):
        path.replace(path.with_name(path.name.replace("_fold_", "_fold")))
    assert make_splits(corpus(), options(folder)) == expected


def test_lists_of_another_corpus_are_refused(tmp_path):
    folder = write_folds(tmp_path, rows=[(s, code, f"x{name}") for s, code, name in clips()])
    assert f"only 0 of the 60 clips of {folder} are in the manifest (not downloads" in refusal(
        corpus(), folder
    )
    folder = write_folds(tmp_path)
    assert "only 48 of the 60 clips" in refusal(corpus()[12:], folder)


def test_what_is_wrong_with_fold_files_is_named(tmp_path):
    assert "holds no folder fold_1; give data/<corpus>" in refusal(corpus(), tmp_path)
    assert "holds no folder fold_1" in refusal(corpus(), tmp_path / "absent")
    folder = write_folds(tmp_path)
    path = folder / "fold_2" / "emovo_test_fold_2.jsonl"
    whole = path.read_bytes()
    for content, says in (
        (whole + b"{", f"{path}, line 16: not JSON"),
        (b"[1]\n", f"{path}, line 1: no wav and emo"),
        (b'{"wav": 1, "emo": "rab"}\n', f"{path}, line 1: no wav and emo"),
        (b"\xff\n", f"{path} is not UTF-8"),
        (line("f1", "rab", "rab-f1-0").encode(), "on two sides of fold 2, train and test"),
        (b"", "fold '2': no utterance is left for the test side"),
    ):
        path.write_bytes(content)
        assert says in refusal(corpus(), folder)
    path.unlink()
    assert "fold_2 has no list emovo_test_fold_2.jsonl" in refusal(corpus(), folder)
    (path).mkdir()
    assert "cannot be read" in refusal(corpus(), folder)
    path.rmdir()
    path.write_bytes(whole)
    (folder / "label_map.json").write_text("[]")
    with pytest.raises(SplitError, match=r"label_map\.json holds no map of labels"):
        warnings(make_splits(corpus(), options(folder)), corpus(), options(folder))
    with pytest.raises(SplitError, match="needs --fold-files FOLDER"):
        make_splits(corpus(), SplitOptions("emobox"))


def test_an_emotion_that_the_lists_leave_out_is_an_error(tmp_path):
    folder = write_folds(tmp_path)
    guilty = replace(corpus()[0], id="z", path="z.wav", emotion="guilt")
    assert "no training utterance of guilt" in refusal([*corpus(), guilty], folder)


def test_where_the_fold_files_are_does_not_make_a_run_another_one(tmp_path):
    assert split_config(options(tmp_path)) == {"kind": "emobox", "seed": 0}


def test_what_is_left_out_cannot_be_on_a_side(tmp_path):
    (split, *_) = make_splits(corpus(), options(write_folds(tmp_path)))
    with pytest.raises(SplitError, match="is on a side, and left out"):
        check_split(replace(split, left_out=split.test[:1]), corpus())


def test_a_probe_follows_the_fold_files_and_says_what_they_lack(tones, capsys):
    rows = [
        (path.stem.split("_")[0], path.stem.split("_")[1], path.stem) for path in sorted(tones.rglob("*.wav"))
    ]
    people = sorted({row[0] for row in rows})
    folder = tones.parent / "EmoBox" / "data" / "tones"
    for number, tested in enumerate(people, 1):
        chosen = {
            side: [row for row in rows if (row[0] == tested) == (side == "test")]
            for side in ("train", "test")
        }
        for side, clips_ in chosen.items():
            write_list(folder / f"fold_{number}" / f"tones_{side}_fold_{number}.jsonl", clips_)
    assert run(["extract", "--model", "mfcc", "--corpus", "tones"]) == 0
    command = ["probe", "--head", "linear", "--set", "epochs=1", "--split", "emobox"]
    capsys.readouterr()
    assert run(command) == 1
    assert "--split emobox needs --fold-files FOLDER" in capsys.readouterr().err
    assert run(["probe", "--split", "loso", "--fold-files", str(folder)]) == 1
    assert "--fold-files changes nothing of --split loso; it is for emobox" in capsys.readouterr().err
    assert run([*command, "--fold-files", str(tones.parent / "EmoBox")]) == 0
    said = capsys.readouterr()
    assert "a fifth of the training clips" in " ".join((said.out + said.err).split())
    (made,) = (tones.parent / "runs").glob("tones-*/splits.json")
    folds = json.loads(made.read_text())["folds"]
    assert [fold["fold"] for fold in folds] == [str(number) for number in range(1, len(people) + 1)]
    # Other lists are another run; the same ones are not trained again.
    assert run([*command, "--fold-files", str(folder)]) == 0
    assert len(list((tones.parent / "runs").glob("tones-*/splits.json"))) == 1
    write_list(
        folder / "fold_1" / "tones_train_fold_1.jsonl", [row for row in rows if row[0] != people[0]][:-1]
    )
    assert run([*command, "--fold-files", str(folder)]) == 0
    assert len(list((tones.parent / "runs").glob("tones-*/splits.json"))) == 2
