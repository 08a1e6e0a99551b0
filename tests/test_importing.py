"""Imports: known corpora, tables and name patterns; what fails alone and what stops everything."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_cache.corpora import CORPORA
from ser_cache.errors import AudioError, ManifestError, SettingsError
from ser_cache.importing import (
    Failure,
    Labels,
    NamePattern,
    differences,
    list_corpus,
    prepare,
    prepare_corpus,
    read_labels,
    read_pattern,
    read_table,
)
from ser_cache.manifest import Manifest, Utterance, read_manifest, write_manifest

EMOVO = CORPORA["emovo"]


def sound(path: Path, seed: int = 0, samples: int = 1600) -> Path:
    """A short clip of noise; the same seed gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, samples), 16_000)
    return path


def sounds(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        sound(root / path, seed)
    return root


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


# Known corpora


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


# Tables


def test_a_table_keeps_every_column_it_does_not_know(tmp_path):
    root = sounds(tmp_path / "audio", "a.wav", "b.wav")
    table = text(
        tmp_path / "clips.csv",
        "emotion,path,speaker,age,mood,id,sha256\nAnger,b.wav,2,31,,x,y\nfear,a.wav,1,,grim,x,y\n",
    )
    manifest = prepare("mine", read_table(table, root), root).manifest
    first, second = manifest.utterances
    assert (first.id, first.emotion, first.code, first.extra) == ("a", "fear", "fear", (("mood", "grim"),))
    assert (second.emotion, second.code, second.age, second.extra) == ("anger", "Anger", "31", ())
    assert len(first.sha256) == 64


def test_a_manifest_can_be_imported_as_a_table(tmp_path):
    root = sounds(tmp_path / "audio", "dis-f1-b1.wav", "gio-f1-b1.wav")
    manifest = prepare_corpus(EMOVO, root).manifest
    write_manifest(tmp_path / "emovo.csv", manifest)
    again = prepare("again", read_table(tmp_path / "emovo.csv", root), root).manifest
    for old, new in zip(manifest.utterances, again.utterances, strict=True):
        assert (old.id, old.speaker, old.emotion, old.language, old.sha256, old.samples) == (
            *(new.id, new.speaker, new.emotion, new.language, new.sha256),
            new.samples,
        )


def test_the_real_metadata_is_a_table(shared):
    root = shared / "data" / "emovo"
    listing = read_table(root / "metadata.csv", root, Labels(language="it"))
    assert len(listing.utterances) == 588
    assert listing.failures == ()
    clip = listing.utterances[0]
    assert (clip.speaker, clip.emotion, clip.gender, clip.language) == ("f1", "disgust", "female", "it")
    assert dict(clip.extra)["text_id"] == "b1"


def test_rows_without_a_file_are_listed_with_their_number(tmp_path):
    root = sounds(tmp_path / "audio", "a.wav")
    table = text(tmp_path / "t.csv", "path,speaker,emotion\na.wav,1,anger\ngone.wav,1,fear\n")
    listing = read_table(table, root)
    assert listing.failures == (Failure("gone.wav", "it does not exist (t.csv, row 3)"),)
    assert len(listing.utterances) == 1


def test_a_link_out_of_the_root_is_listed(tmp_path):
    root = sounds(tmp_path / "audio", "a.wav")
    (root / "b.wav").symlink_to(sound(tmp_path / "outside.wav"))
    table = text(tmp_path / "t.csv", "path,speaker,emotion\na.wav,1,anger\nb.wav,1,fear\n")
    assert [failure.path for failure in read_table(table, root).failures] == ["b.wav"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "is empty"),
        ("path,speaker\na.wav,1\n", "no column emotion"),
        ("path;speaker\na.wav;1\n", "no column emotion (its columns: path, speaker)"),
        ("path;speaker;emotion\na.wav;1\n", "row 2: 2 cells where 3 are expected; check its semicolons"),
        ("path|speaker|emotion\na.wav|1|anger\n", "has bars between its cells; save it with commas"),
        ("path|speaker\n", "has bars between its cells, and it has no column emotion; save it with commas"),
        (
            "path,speaker,emotion,language\na.wav,1,anger,Martian\n",
            "row 2: no language is known",
        ),
        ("path,speaker,emotion\n", "no rows"),
        ("path,speaker,emotion\na.wav,,anger\n", "row 2: the speaker is missing"),
        ("path,speaker,emotion\na.wav,1, \n", "row 2: the emotion is missing"),
        ("path,speaker,emotion\na.wav,1,anger\na.wav,2,fear\n", "row 3: a.wav is already in row 2"),
        ("path,speaker,emotion\n../a.wav,1,anger\n", "row 2: the path '../a.wav' leads out"),
        ("path,speaker,emotion\n/a.wav,1,anger\n", "row 2: the path '/a.wav' is absolute"),
        ("path,speaker,emotion\na.wav,1\n", "row 2: 2 cells"),
        ("path,speaker,emotion\na.wav,1,joy\n", "unknown emotion codes: 'joy' (1, such as a.wav)"),
    ],
)
def test_a_broken_table_is_named_with_the_row(tmp_path, content, cause):
    root = sounds(tmp_path / "audio", "a.wav")
    with pytest.raises(ManifestError) as caught:
        read_table(text(tmp_path / "t.csv", content), root)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", [",", ";", "\t"], ids=["commas", "semicolons", "tabs"])
def test_a_table_is_read_whatever_separates_its_cells(tmp_path, mark):
    root = sounds(tmp_path / "audio", "a.wav")
    lines = [["path", "speaker", "emotion", "note"], ["a.wav", "1", "anger", '"1,5; a' + "\t" + 'b"']]
    table = text(tmp_path / "t.csv", "\n".join(mark.join(line) for line in lines) + "\n")
    (clip,) = read_table(table, root).utterances
    assert (clip.speaker, clip.emotion, clip.extra) == ("1", "anger", (("note", "1,5; a\tb"),))


def test_languages_of_tables_patterns_and_label_maps_become_codes(tmp_path):
    root = sounds(tmp_path / "audio", "1_anger_English.wav", "2_fear_pt-BR.wav")
    rows = "1_anger_English.wav,1,anger,EN\n2_fear_pt-BR.wav,2,fear,\n"
    table = text(tmp_path / "t.csv", f"path,speaker,emotion,language\n{rows}")
    labels = read_labels(text(tmp_path / "l.toml", 'language = "Italian"\n[emotions]\nrab = "anger"\n'))
    assert [clip.language for clip in read_table(table, root, labels).utterances] == ["en", "it"]
    named = read_pattern("{speaker}_{emotion}_{language}.wav", root)
    assert [clip.language for clip in named.utterances] == ["en", "pt"]
    with pytest.raises(ManifestError, match=r"2_fear_pt-BR\.wav: no language is known as 'fear'"):
        read_pattern("{speaker}_{language}_{emotion}.wav", sounds(tmp_path / "b", "2_fear_pt-BR.wav"))
    with pytest.raises(ManifestError, match=r"m\.toml: no language is known as 'Itlian'"):
        read_labels(text(tmp_path / "m.toml", 'language = "Itlian"\n[emotions]\nrab = "anger"\n'))


@pytest.mark.parametrize(
    ("given", "meant", "where"),
    [
        ("corpus/audio/f1", "corpus/audio", "above"),
        ("corpus/audio/f1/deep", "corpus/audio", "above"),
        ("corpus", "corpus/audio", "below"),
        (".", "corpus/audio", "below"),
    ],
)
def test_a_root_too_deep_or_too_shallow_is_told(tmp_path, monkeypatch, given, meant, where):
    monkeypatch.chdir(tmp_path)
    sounds(Path("corpus/audio"), "f1/a.wav", "f1/b.wav", "f2/a.wav")
    Path("corpus/audio/f1/deep").mkdir()
    table = text(Path("t.csv"), "path,speaker,emotion\nf1/a.wav,1,anger\nf1/b.wav,1,fear\nf2/a.wav,2,fear\n")
    with pytest.raises(ManifestError) as caught:
        read_table(table, Path(given))
    assert str(caught.value) == (
        f"t.csv: none of its 3 files is below {given}, such as f1/a.wav, but they are in the folder {where} "
        f"it: give {meant} as ROOT."
    )
    assert len(read_table(table, Path(meant)).utterances) == 3


def test_where_the_files_are_nowhere_near_each_is_listed(tmp_path):
    root = sounds(tmp_path / "a" / "b" / "c", "x.wav")
    table = text(tmp_path / "t.csv", "path,speaker,emotion\ny.wav,1,anger\n" + "z" * 3000 + ".wav,1,fear\n")
    assert [failure.path[0] for failure in read_table(table, root).failures] == ["y", "z"]


def test_lines_within_a_cell_survive_the_import(tmp_path):
    root = sounds(tmp_path / "audio", "a.wav")
    table = tmp_path / "t.csv"
    table.write_bytes(b'path,speaker,emotion,words\r\na.wav,1,anger,"one\r\ntwo"\r\n')
    manifest = prepare("mine", read_table(table, root), root).manifest
    assert manifest.utterances[0].extra == (("words", "one\ntwo"),)
    write_manifest(tmp_path / "mine.csv", manifest)
    assert read_manifest(tmp_path / "mine.csv") == manifest


def test_a_missing_root_is_named_for_tables_and_patterns(tmp_path):
    table = text(tmp_path / "t.csv", "path,speaker,emotion\na.wav,1,anger\n")
    with pytest.raises(SettingsError, match="does not exist"):
        read_table(table, tmp_path / "absent")
    with pytest.raises(SettingsError, match="is a file"):
        read_pattern("{speaker}_{emotion}.wav", table)


# Patterns


def test_a_pattern_reads_file_names_in_any_folder(tmp_path):
    root = sounds(tmp_path, "x/f1_anger_01.wav", "f2_FEAR_02.WAV", "notes.wav")
    listing = read_pattern("{speaker}_{emotion}_{take}.wav", root)
    found = {clip.path: clip for clip in listing.utterances}
    assert found.keys() == {"x/f1_anger_01.wav", "f2_FEAR_02.WAV"}
    assert found["f2_FEAR_02.WAV"].emotion == "fear"
    assert found["x/f1_anger_01.wav"].extra == (("take", "01"),)
    assert [failure.path for failure in listing.failures] == ["notes.wav"]


def test_a_pattern_with_folders_reads_the_whole_path(tmp_path):
    root = sounds(tmp_path, "f1/anger/1.wav", "f2/fear/2.wav", "deep/f3/fear/3.wav")
    listing = read_pattern("{speaker}/{emotion}/*.wav", root, Labels(language="en"))
    assert [(clip.speaker, clip.emotion, clip.language) for clip in listing.utterances] == [
        ("f1", "anger", "en"),
        ("f2", "fear", "en"),
    ]
    deep = read_pattern("**/{speaker}/{emotion}/*.wav", root)
    assert {clip.speaker for clip in deep.utterances} == {"f1", "f2", "f3"}


def test_known_placeholders_fill_their_columns(tmp_path):
    root = sounds(tmp_path, "f1-anger-de-female-s3.wav")
    (clip,) = read_pattern("{speaker}-{emotion}-{language}-{gender}-{sentence}.wav", root).utterances
    assert (clip.language, clip.gender, clip.sentence, clip.extra) == ("de", "female", "s3", ())


def test_labels_give_codes_their_meaning_and_canonical_names_still_hold(tmp_path):
    root = sounds(tmp_path, "f1_ang.wav", "f1_odd.wav", "f2_sadness.wav")
    labels = Labels({"ang": "anger", "odd": "amazement"})
    clips = read_pattern("{speaker}_{emotion}.wav", root, labels).utterances
    assert [clip.emotion for clip in clips] == ["anger", "amazement", "sadness"]


def match(pattern: str, path: str):
    return NamePattern.compile(pattern).match(path)[0]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{speaker}_{emotion}.wav", "a_b.wav", {"speaker": "a", "emotion": "b"}),
        ("{speaker}_{emotion}.wav", "a_b.WAV", {"speaker": "a", "emotion": "b"}),
        ("{speaker}_{emotion}.wav", "a_b.flac", None),
        ("{speaker}_{emotion}.*", "a_b.flac", {"speaker": "a", "emotion": "b"}),
        ("{speaker}_{emotion}.*", "a_b.txt", None),
        ("{speaker}_{emotion}.wav", "a_b_c.wav", None),
        ("{speaker}_{emotion}.wav", "ab.wav", None),
        ("{speaker}_{emotion}.wav", "_b.wav", None),
        (
            "{speaker:2}{sentence:3}{emotion:1}*.wav",
            "03a01Fa.wav",
            {"speaker": "03", "sentence": "a01", "emotion": "F"},
        ),
        ("{speaker}/{speaker}_{emotion}.wav", "f1/f1_joy.wav", {"speaker": "f1", "emotion": "joy"}),
        ("{speaker}/{speaker}_{emotion}.wav", "f1/f2_joy.wav", None),
        ("{speaker}/{emotion}/*.wav", "f1/joy/x.wav", {"speaker": "f1", "emotion": "joy"}),
        ("{speaker}/{emotion}/*.wav", "f1/joy/x/y.wav", None),
        ("{speaker}.{emotion} (1).wav", "a.b (1).wav", {"speaker": "a", "emotion": "b"}),
        ("{speaker}+{emotion}.wav", "a+b.wav", {"speaker": "a", "emotion": "b"}),
        ("{speaker}_{emotion}_*.wav", "a_b_c_d.wav", None),
        ("{speaker:1}_{emotion:1}_*.wav", "a_b_c_d.wav", {"speaker": "a", "emotion": "b"}),
    ],
)
def test_what_patterns_match(pattern, path, expected):
    assert match(pattern, path) == expected


def test_a_name_with_two_readings_is_listed_with_both(tmp_path):
    root = sounds(tmp_path, "f1_anger.wav", "f_02_anger.wav")
    listing = read_pattern("{speaker}_{emotion}.wav", root)
    (failure,) = listing.failures
    assert "more than one way" in failure.reason
    assert "speaker is 'f' or 'f_02'" in failure.reason
    assert "{speaker:2}" in failure.reason


names = st.text("ab_", min_size=1, max_size=7)


@given(name=names, count=st.integers(2, 4))
def test_a_pattern_matches_exactly_the_names_with_one_reading(name, count):
    fields = ["speaker", "emotion", "x", "y"][:count]
    pattern = "_".join(f"{{{field}}}" for field in fields) + ".wav"
    readings = []

    def split(rest: str, parts: list[str]) -> None:
        if len(parts) == count - 1:
            if rest:
                readings.append([*parts, rest])
            return
        for at, letter in enumerate(rest):
            if letter == "_" and at > 0:
                split(rest[at + 1 :], [*parts, rest[:at]])

    split(name, [])
    expected = dict(zip(fields, readings[0], strict=True)) if len(readings) == 1 else None
    assert match(pattern, f"{name}.wav") == expected


@pytest.mark.parametrize(
    ("pattern", "cause"),
    [
        ("{emotion}_{take}.wav", "no {speaker}; splits that keep speakers apart"),
        ("{speaker}_{take}.wav", "no {emotion}"),
        ("{speaker}_{emotion}", "no audio suffix"),
        ("{speaker}_{emotion}.txt", "no audio suffix"),
        ("", "no audio suffix"),
        ("{speaker}_{emotion.wav", "brace"),
        ("{speaker}_emotion}.wav", "brace"),
        ("{speaker}_{emotion}_{}.wav", "placeholder '{}'"),
        ("{speaker}_{emotion}_{My Take}.wav", "placeholder"),
        ("{speaker}_{emotion:x}.wav", "width"),
        ("{speaker}_{emotion:0}.wav", "width"),
        ("{speaker}_{emotion}_{id}.wav", "worked out"),
        ("{speaker}_{emotion}_{sha256}.wav", "worked out"),
    ],
)
def test_a_malformed_pattern_is_named(tmp_path, pattern, cause):
    with pytest.raises(ManifestError) as caught:
        read_pattern(pattern, tmp_path)
    assert repr(pattern) in str(caught.value)
    assert cause in str(caught.value)


def test_a_pattern_that_matches_nothing_shows_a_file_it_missed(tmp_path):
    with pytest.raises(ManifestError, match=r"f1-anger\.wav: its name does not match"):
        read_pattern("{speaker}_{emotion}.wav", sounds(tmp_path, "f1-anger.wav"))


def test_a_pattern_over_an_empty_folder_says_so(tmp_path):
    with pytest.raises(ManifestError, match="no audio at all"):
        read_pattern("{speaker}_{emotion}.wav", tmp_path)


# Label maps


def test_a_label_map_is_read(tmp_path):
    path = text(tmp_path / "l.toml", 'language = "it"\n[emotions]\nrab = "anger"\n"1" = "fear"\n')
    assert read_labels(path) == Labels({"rab": "anger", "1": "fear"}, "it")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "not a label map"),
        ("[emotions]\n", "not a label map"),
        ("emotions = 3\n", "not a label map"),
        ("language = 3\n[emotions]\na = 'fear'\n", "not a label map"),
        ("[emotion]\na = 'fear'\n", "'emotion'"),
        ("[emotions]\na = 'Fear'\n", "code 'a': the emotion 'Fear' is not in lower-case words"),
        ("[emotions]\na = 3\n", "code 'a'"),
        ("[emotions\n", "not TOML"),
    ],
)
def test_a_broken_label_map_is_named(tmp_path, content, cause):
    path = text(tmp_path / "l.toml", content)
    with pytest.raises(ManifestError) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_label_map_shows_how_one_looks(tmp_path):
    with pytest.raises(ManifestError, match=r"\[emotions\]"):
        read_labels(tmp_path / "absent.toml")
