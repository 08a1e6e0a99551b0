"""Imports of known corpora: what fails alone, what stops all, what differs from the complete corpus."""

import threading
from dataclasses import replace

import pytest
from noise_clips import sound, sounds

from ser_cache.corpora import CORPORA
from ser_cache.errors import AudioError, ManifestError
from ser_cache.importing import (
    Labels,
    differences,
    list_corpus,
    prepare,
    prepare_corpus,
    read_pattern,
)
from ser_cache.manifest import Manifest, Utterance, read_manifest, write_manifest

EMOVO = CORPORA["emovo"]


def test_a_corpus_becomes_a_manifest(tmp_path):
    root = sounds(tmp_path / "EMOVO", "m1/gio-m1-l2.wav", "f1/dis-f1-b1.wav")
    result = prepare_corpus(EMOVO, root)
    assert result.failures == ()
    assert result.duplicates == ()
    first, second = result.manifest.utterances
    assert (first.id, first.path) == ("f1/dis-f1-b1", "f1/dis-f1-b1.wav")
    assert (first.speaker, first.emotion, first.code, first.language) == ("f1", "disgust", "dis", "it")
    assert (first.gender, first.sentence, first.samples) == ("female", "b1", 1600)
    assert second.emotion == "happiness"
    write_manifest(tmp_path / "emovo.csv", result.manifest)
    assert read_manifest(tmp_path / "emovo.csv") == result.manifest


def test_bad_files_are_listed_and_the_rest_goes_on(tmp_path):
    root = sounds(tmp_path, "dis-f1-b1.wav", "dis-f1-b2.wav", "other.wav")
    (root / "dis-f1-b2.wav").write_bytes(b"")
    result = prepare_corpus(EMOVO, root)
    assert [clip.path for clip in result.manifest.utterances] == ["dis-f1-b1.wav"]
    assert [failure.path for failure in result.failures] == ["dis-f1-b2.wav", "other.wav"]
    assert "empty (0 bytes)" in result.failures[0].reason
    assert "not one of emovo's" in result.failures[1].reason


def test_strict_stops_at_an_unreadable_file(tmp_path):
    root = sounds(tmp_path, "dis-f1-b1.wav", "dis-f1-b2.wav")
    (root / "dis-f1-b2.wav").write_bytes(b"nonsense")
    with pytest.raises(AudioError, match="dis-f1-b2"):
        prepare_corpus(EMOVO, root, strict=True)


def test_strict_stops_at_a_file_that_does_not_belong(tmp_path):
    with pytest.raises(ManifestError, match="other"):
        prepare_corpus(EMOVO, sounds(tmp_path, "dis-f1-b1.wav", "other.wav"), strict=True)


def test_a_stray_file_with_a_code_that_the_corpus_has_not_is_listed_and_the_rest_goes_on(tmp_path):
    root = sounds(tmp_path, "dis-f1-b1.wav", "a/xyz-f1-b1.wav", "zzz.wav", "__other.wav")
    result = prepare_corpus(EMOVO, root)
    assert [clip.path for clip in result.manifest.utterances] == ["dis-f1-b1.wav"]
    assert [failure.path for failure in result.failures] == ["__other.wav", "a/xyz-f1-b1.wav", "zzz.wav"]
    reason = result.failures[1].reason
    assert "its emotion code 'xyz' is none of emovo's" in reason
    assert "--labels" in reason
    with pytest.raises(ManifestError, match="__other"):
        prepare_corpus(EMOVO, root, strict=True)


def test_where_no_code_of_a_known_corpus_means_anything_all_are_named_with_counts_and_examples(tmp_path):
    root = sounds(tmp_path, "abc-f1-b1.wav", "abc-f1-b2.wav", "xyz-f1-b1.wav")
    with pytest.raises(ManifestError) as caught:
        prepare_corpus(EMOVO, root)
    assert "'abc' (2, such as abc-f1-b1.wav), 'xyz' (1, such as xyz-f1-b1.wav)" in str(caught.value)
    assert "--labels" in str(caught.value)


def test_a_label_map_adds_to_a_recipe_and_overrides_it(tmp_path):
    root = sounds(tmp_path, "abc-f1-b1.wav", "dis-f1-b1.wav")
    labels = Labels({"abc": "pleasant surprise", "dis": "anger"}, "fr")
    manifest = prepare_corpus(EMOVO, root, labels=labels).manifest
    assert [clip.emotion for clip in manifest.utterances] == ["pleasant surprise", "anger"]
    assert {clip.language for clip in manifest.utterances} == {"fr"}


def test_identical_bytes_are_noted_not_refused(tmp_path):
    root = sounds(tmp_path, "dis-f1-b1.wav", "dis-f1-b3.wav")
    sound(root / "dis-f1-b2.wav", seed=0)
    result = prepare_corpus(EMOVO, root)
    assert len(result.manifest) == 3
    assert result.duplicates == (("dis-f1-b1", "dis-f1-b2"),)


def test_the_number_of_threads_changes_nothing_and_progress_comes_from_the_caller(tmp_path):
    root = sounds(tmp_path, *(f"dis-f1-b{number}.wav" for number in range(9)))
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total, threading.current_thread() is threading.main_thread()))

    one = prepare_corpus(EMOVO, root, jobs=1)
    assert prepare_corpus(EMOVO, root, progress, jobs=4) == one
    assert calls == [(number, 9, True) for number in range(1, 10)]


def test_nothing_readable_is_an_error_not_an_empty_manifest(tmp_path):
    root = sounds(tmp_path, "dis-f1-b1.wav")
    (root / "dis-f1-b1.wav").write_bytes(b"")
    with pytest.raises(ManifestError, match="not one clip could be read"):
        prepare_corpus(EMOVO, root)


def test_clips_that_differ_in_their_suffix_only_are_refused(tmp_path):
    sound(tmp_path / "f1_anger.wav")
    sound(tmp_path / "f1_anger.flac")
    listing = read_pattern("{speaker}_{emotion}.*", tmp_path)
    with pytest.raises(ManifestError, match="differ only in their suffix"):
        prepare("mine", listing, tmp_path)


def test_a_bad_corpus_name_is_refused_before_anything_is_decoded(tmp_path):
    listing = read_pattern("{speaker}_{emotion}.wav", sounds(tmp_path, "f1_anger.wav"))
    (tmp_path / "f1_anger.wav").unlink()
    with pytest.raises(ManifestError, match="cannot be the name"):
        prepare("../mine", listing, tmp_path)


def test_differences_are_readable_lines(shared):
    root = shared / "data" / "emodb"
    complete = prepare_corpus(CORPORA["emodb"], root).manifest
    assert differences(CORPORA["emodb"], complete) == []
    kept = tuple(clip for clip in complete.utterances if clip.emotion != "fear" and clip.speaker != "03")
    lines = differences(CORPORA["emodb"], Manifest("emodb", kept))
    assert f"535 utterances expected, {len(kept)} found" in lines
    assert "10 speakers expected, 9 found" in lines
    assert "fear: 69 expected, 0 found" in lines


def test_differences_name_the_edition_that_a_manifest_is_as_large_as():
    clip = Utterance("a", "a.wav", "10", "anger", "C", "fr", 1, "0" * 64)
    clips = tuple(replace(clip, id=str(number), path=f"{number}.wav") for number in range(502))
    lines = differences(CORPORA["oreau"], Manifest("oreau", clips))
    others = [emotion for emotion in CORPORA["oreau"].emotions if emotion != "anger"]
    assert lines == [
        "502 utterances for 434, as many as version 1, before its perception test (OréauFR_01)",
        "32 speakers expected, 1 found",
        *(f"{emotion}: none found" for emotion in others),
    ]


def test_where_only_the_whole_number_is_known_a_class_that_is_absent_or_unknown_is_told():
    clip = Utterance("a", "a.wav", "10", "anger", "Ira", "es", 1, "0" * 64)
    emotions = [*CORPORA["emomatch"].emotions, "boredom"]
    clips = [replace(clip, id=each, path=f"{each}.wav", emotion=each) for each in emotions if each != "fear"]
    assert differences(CORPORA["emomatch"], Manifest("emomatch", tuple(clips)))[2:] == [
        "boredom: none expected, 1 found",
        "fear: some expected, 0 found",
    ]


def test_a_folder_of_another_known_corpus_is_told_which_it_is(tmp_path):
    sound(tmp_path / "female" / "F01A01.wav")
    sound(tmp_path / "female" / "F01A02.wav")
    sound(tmp_path / "unknown.wav")
    with pytest.raises(ManifestError, match=r"no clip of emovo.*2 of its files look like shemo's; for those"):
        list_corpus(EMOVO, tmp_path)


def test_ravdess_has_its_one_identical_pair(shared):
    result = prepare_corpus(CORPORA["ravdess"], shared / "data" / "ravdess", strict=True)
    assert [tuple(name.rpartition("/")[2] for name in group) for group in result.duplicates] == [
        ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")
    ]
