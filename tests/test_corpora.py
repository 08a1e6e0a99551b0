"""Recipes against the metadata of every real file, and finding audio files below a root."""

import csv
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from name_trees import tree

from ser_cache.corpora import CORPORA, LINK_OUT, audio_files, known_corpus
from ser_cache.errors import ManifestError, SettingsError, UnknownNameError
from ser_cache.manifest import CANONICAL_EMOTIONS, check_corpus_name

WITH_METADATA = ("emodb", "emovo", "ravdess")


def parsed(corpus: str, path: str):
    return CORPORA[corpus].parse(PurePosixPath(path))


# Recipes


@pytest.mark.parametrize("corpus", WITH_METADATA)
def test_every_file_of_the_metadata_is_read_as_it_is_there(shared, corpus):
    recipe = CORPORA[corpus]
    with (shared / "data" / corpus / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == recipe.utterances
    for row in rows:
        fields = recipe.parse(PurePosixPath(row["path"]))
        assert fields is not None, row["path"]
        take = dict(fields.extra).get("take", "")
        assert {
            "emotion": recipe.labels[fields.code],
            "emotion_original": fields.code,
            "speaker": fields.speaker,
            "gender": fields.gender,
            "text_id": fields.sentence,
            "age": fields.age,
            "intensity": fields.intensity,
            "take": take,
        } == {
            "emotion": row["emotion"],
            "emotion_original": row["emotion_original"],
            **{
                column: row[column] for column in ("speaker", "gender", "text_id", "age", "intensity", "take")
            },
        }


@pytest.mark.parametrize("corpus", WITH_METADATA)
def test_the_real_folders_are_found_whole(shared, corpus):
    scan = CORPORA[corpus].scan(shared / "data" / corpus)
    assert len(scan.found) == CORPORA[corpus].utterances
    assert not scan.unrecognised
    assert len({clip.fields.speaker for clip in scan.found}) == CORPORA[corpus].speakers


@pytest.mark.parametrize("corpus", sorted(CORPORA))
def test_a_recipe_is_complete_and_its_labels_are_canonical(corpus):
    recipe = CORPORA[corpus]
    assert recipe.name == corpus
    check_corpus_name(recipe.name)
    assert set(recipe.labels.values()) <= set(CANONICAL_EMOTIONS)
    assert recipe.emotions == tuple(sorted(set(recipe.labels.values())))
    assert recipe.expected.keys() == set(recipe.labels.values()) or (not recipe.expected and recipe.size)
    assert all([recipe.title, recipe.citation, recipe.licence, recipe.source, recipe.layout])
    assert recipe.utterances > 0 < recipe.speakers
    assert len(recipe.language) == 2
    assert not any("\n" in text for text in (recipe.layout, recipe.licence, recipe.source, *recipe.warts))


@pytest.mark.parametrize("corpus", sorted(CORPORA))
def test_what_a_recipe_says_reads_as_sentences_and_contradicts_nothing(corpus):
    recipe = CORPORA[corpus]
    assert recipe.citation.endswith(".")
    assert all(
        (wart[0].isupper() or wart[0].isdigit()) and wart.endswith((".", '".')) for wart in recipe.warts
    )
    assert not recipe.unverified.endswith(".")
    assert not recipe.omitted.keys() & recipe.labels.keys()
    sizes = [recipe.utterances, *(edition.utterances for edition in recipe.editions)]
    assert len(set(sizes)) == len(sizes)
    assert recipe.edition_of(recipe.utterances) is None
    for edition in recipe.editions:
        assert recipe.edition_of(edition.utterances) == edition


def test_the_recipes_that_no_copy_or_official_list_confirms_say_so():
    assert {name for name, recipe in CORPORA.items() if recipe.unverified} == {"emomatch", "eyase", "iemocap"}


@pytest.mark.parametrize(
    ("corpus", "utterances", "speakers"),
    [
        ("aesdd", 604, 6),
        ("cafe", 936, 12),
        ("demos", 9697, 68),
        ("emodb", 535, 10),
        ("emomatch", 2020, 50),
        ("emovo", 588, 6),
        ("eyase", 579, 6),
        ("iemocap", 5531, 10),
        ("oreau", 434, 32),
        ("ravdess", 1440, 24),
        ("shemo", 3000, 87),
    ],
)
def test_the_expected_counts_are_the_published_ones(corpus, utterances, speakers):
    assert (CORPORA[corpus].utterances, CORPORA[corpus].speakers) == (utterances, speakers)


@pytest.mark.parametrize(
    ("corpus", "path"),
    [
        ("emovo", "dis-f1"),
        ("emovo", "dis-x1-b1.wav"),
        ("emovo", "dis-f1-b1 copy.wav"),
        ("emodb", "03a01.wav"),
        ("emodb", "03c01Fa.wav"),
        ("emodb", "99a01Fa.wav"),
        ("emodb", "10a03Na.wav"),
        ("emodb", "10a01Ca.wav"),
        ("emodb", "OréauFR_02/f/sessn/10a01Na.wav"),
        ("aesdd", "a03.wav"),
        ("aesdd", "a03 (0).wav"),
        ("aesdd", "fm03_ang (1).wav"),
        ("cafe", "13-C-1-1.wav"),
        ("cafe", "01-C-3-1.wav"),
        ("demos", "PR_x_23_tri00a.wav"),
        ("demos", "F_01_OISHI_S_10_ANGRY_1.wav"),
        ("emomatch", "3_Alegria_02.wav"),
        ("emomatch", "1001_DFA_ANG.wav"),
        ("eyase", "fm03_ang.wav"),
        ("iemocap", "Ses06F_impro01_F000.wav"),
        ("oreau", "05a01Ca.wav"),
        ("oreau", "08a01Wa.wav"),
        ("shemo", "X01A01.wav"),
        ("ravdess", "02-01-06-01-02-01-12.wav"),
        ("ravdess", "01-01-06-01-02-01-12.wav"),
        ("ravdess", "03-02-06-01-02-01-12.wav"),
        ("ravdess", "03-01-06-03-02-01-12.wav"),
        ("ravdess", "03-01-06-01-02-01.wav"),
    ],
)
def test_names_of_other_data_are_not_recognised(corpus, path):
    assert parsed(corpus, path) is None


def test_an_unknown_emotion_code_is_read_for_the_caller_to_report():
    assert parsed("emovo", "xyz-f1-b1.wav").code == "xyz"
    assert parsed("emodb", "03a01Xa.wav").code == "X"
    assert parsed("shemo", "F01X01.wav").code == "X"
    assert parsed("demos", "PR_m_23_xyz00a.wav").code == "xyz"
    assert parsed("ravdess", "03-01-09-01-02-01-12.wav").code == "09"


def test_ravdess_tells_gender_from_the_parity_of_the_actor():
    assert parsed("ravdess", "03-01-06-01-02-01-11.wav").gender == "male"
    assert parsed("ravdess", "03-01-06-02-02-01-12.wav").gender == "female"
    assert parsed("ravdess", "03-01-06-02-02-01-12.wav").intensity == "strong"


def test_an_unknown_corpus_lists_the_known_ones_and_the_other_ways():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'emovo'.*--table"):
        known_corpus("emov")
    assert known_corpus("emovo") is CORPORA["emovo"]


def test_listing_corpora_imports_neither_numpy_nor_a_decoder():
    code = "import sys, ser_cache.corpora; print({'numpy', 'soundfile', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Finding files


def test_a_corpus_is_found_wherever_it_lies_and_in_any_audio_format(tmp_path):
    tree(tmp_path, "EMOVO/f1/dis-f1-b1.wav", "EMOVO/m3/gio-m3-d2.FLAC", "deep/er/tri-f2-n1.ogg")
    scan = CORPORA["emovo"].scan(tmp_path)
    assert [clip.path for clip in scan.found] == [
        "EMOVO/f1/dis-f1-b1.wav",
        "EMOVO/m3/gio-m3-d2.FLAC",
        "deep/er/tri-f2-n1.ogg",
    ]
    assert scan.unrecognised == ()


def test_song_and_video_are_named_and_not_mixed_in(tmp_path):
    tree(
        tmp_path,
        "Actor_12/03-01-06-01-02-01-12.wav",
        "Actor_12/03-02-06-01-02-01-12.wav",
        "Actor_12/02-01-06-01-02-01-12.wav",
    )
    scan = CORPORA["ravdess"].scan(tmp_path)
    assert [clip.path for clip in scan.found] == ["Actor_12/03-01-06-01-02-01-12.wav"]
    assert [path for path, _ in scan.unrecognised] == [
        "Actor_12/02-01-06-01-02-01-12.wav",
        "Actor_12/03-02-06-01-02-01-12.wav",
    ]
    assert "not one of ravdess's" in scan.unrecognised[0][1]


def test_two_versions_of_a_corpus_side_by_side_are_refused_and_named(tmp_path):
    tree(tmp_path, "OréauFR_01/f/sessc/10a01Ca.wav", "OréauFR_02/f/sessc/10a01Ca.wav")
    with pytest.raises(ManifestError, match=r"two copies.*version 1.*OréauFR_01.*502 utterances"):
        CORPORA["oreau"].scan(tmp_path)
    assert len(CORPORA["oreau"].scan(tmp_path / "OréauFR_02").found) == 1


def test_the_same_name_of_two_speakers_is_no_second_copy(tmp_path):
    tree(tmp_path, "Female01/fm01_ang (1).wav", "Female02/fm01_ang (1).wav")
    assert [clip.fields.speaker for clip in CORPORA["eyase"].scan(tmp_path).found] == ["Female01", "Female02"]
    tree(tmp_path, "copy/Female02/fm01_ang (1).wav")
    with pytest.raises(ManifestError, match="give the folder of one copy"):
        CORPORA["eyase"].scan(tmp_path)


def test_a_name_and_a_folder_that_contradict_each_other_are_named(tmp_path):
    tree(tmp_path, "Male01/fm01_ang (1).wav", "Male01/ml01_ang (1).wav")
    assert CORPORA["eyase"].scan(tmp_path).unrecognised == (
        ("Male01/fm01_ang (1).wav", "its name says female, and its folder Male01 does not"),
    )


def test_two_copies_of_a_corpus_are_refused_rather_than_doubled(tmp_path):
    name = "03-01-06-01-02-01-12.wav"
    tree(tmp_path, f"Actor_12/{name}", f"audio_speech_actors_01-24/Actor_12/{name}")
    with pytest.raises(ManifestError, match="give the folder of one copy"):
        CORPORA["ravdess"].scan(tmp_path)


def test_hidden_files_and_what_is_no_audio_are_left_out(tmp_path):
    tree(
        tmp_path,
        "f1/dis-f1-b1.wav",
        "f1/._dis-f1-b2.wav",
        ".cache/dis-f1-b3.wav",
        "__MACOSX/f1/._dis-f1-b1.wav",
        "readme.txt",
        "dis-f1-b1",
    )
    assert list(audio_files(tmp_path)) == [("f1/dis-f1-b1.wav", "")]


def test_files_are_sorted_whatever_the_order_of_the_disk(tmp_path):
    names = [f"{letter}{number}.wav" for letter in "zma" for number in (3, 1, 2)]
    tree(tmp_path, *names)
    assert [path for path, _ in audio_files(tmp_path)] == sorted(names)


def test_links_out_of_the_root_are_named_and_links_inside_are_followed(tmp_path):
    root = tree(tmp_path / "root", "a.wav", "folder/b.wav")
    tree(tmp_path / "outside", "c.wav")
    (root / "in.wav").symlink_to("a.wav")
    (root / "again").symlink_to("folder")
    (root / "loop").symlink_to(".")
    (root / "out.wav").symlink_to(tmp_path / "outside/c.wav")
    (root / "outer").symlink_to(tmp_path / "outside")
    found = dict(audio_files(root))
    assert sorted(path for path, problem in found.items() if not problem) == [
        "a.wav",
        "folder/b.wav",
        "in.wav",
    ]
    assert sorted(path for path, problem in found.items() if "link out" in problem) == ["out.wav", "outer"]


def test_a_corpus_of_links_out_of_the_root_is_refused_with_the_reason_and_not_as_another_corpus(tmp_path):
    outside = tree(tmp_path / "outside", "dis-f1-b1.wav", "dis-f1-b2.wav")
    root = tree(tmp_path / "root")
    root.mkdir()
    for path in outside.iterdir():
        (root / path.name).symlink_to(path)
    with pytest.raises(ManifestError) as caught:
        CORPORA["emovo"].scan(root)
    assert str(caught.value) == (
        f"{root} holds nothing that can be taken for emovo; the first of 2, dis-f1-b1.wav: {LINK_OUT}."
    )
    tree(root, "other.wav")
    with pytest.raises(
        ManifestError, match=r"1 other audio file; expected are: .* 2 more cannot be taken, such"
    ):
        CORPORA["emovo"].scan(root)
    tree(root, "dis-f1-b3.wav")
    assert [path for path, _ in CORPORA["emovo"].scan(root).unrecognised] == [
        "dis-f1-b1.wav",
        "dis-f1-b2.wav",
        "other.wav",
    ]


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="needs names of arbitrary bytes")
def test_a_name_that_is_not_utf8_is_named(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/Col\x8are.wav")).touch()
    ((_, problem),) = audio_files(tmp_path)
    assert "not valid UTF-8" in problem


@pytest.mark.parametrize("name", ["a\\b.wav", "=a.wav", "a\nb.wav"])
def test_a_name_that_no_manifest_can_hold_is_named(tmp_path, name):
    (tmp_path / name).touch()
    ((_, problem),) = audio_files(tmp_path)
    assert problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    assert dict(audio_files(tmp_path)) == {"closed": "the folder cannot be listed (Permission denied)"}


def test_a_missing_root_and_a_file_as_root_are_named(tmp_path):
    with pytest.raises(SettingsError, match="absent does not exist"):
        CORPORA["emovo"].scan(tmp_path / "absent")
    with pytest.raises(SettingsError, match=r"a\.wav is a file"):
        CORPORA["emovo"].scan(tree(tmp_path, "a.wav") / "a.wav")


@pytest.mark.parametrize(
    ("paths", "seen"), [((), "no audio files at all"), (("x.wav", "y.wav"), "2 other audio files")]
)
def test_a_folder_of_another_corpus_is_refused_and_the_layout_told(tmp_path, paths, seen):
    with pytest.raises(ManifestError, match=f"{seen}.*dis-f1-b1"):
        CORPORA["emovo"].scan(tree(tmp_path, *paths))
