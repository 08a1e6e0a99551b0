"""Imports from a table: what it may hold, which rows fail alone and which stop everything."""

from pathlib import Path

import pytest
from noise_clips import sound, sounds, text

from ser_cache.corpora import CORPORA
from ser_cache.errors import ManifestError, SettingsError
from ser_cache.importing import (
    Failure,
    Labels,
    prepare,
    prepare_corpus,
    read_labels,
    read_pattern,
    read_table,
)
from ser_cache.manifest import read_manifest, write_manifest


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
    manifest = prepare_corpus(CORPORA["emovo"], root).manifest
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
