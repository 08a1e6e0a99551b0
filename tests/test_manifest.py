"""Manifests: what is written is what is read, and every broken contract is named with its row."""

import csv
import dataclasses
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_cache import audio
from ser_cache import manifest as manifest_module
from ser_cache.errors import ManifestError
from ser_cache.manifest import (
    CANONICAL_EMOTIONS,
    COLUMNS,
    REQUIRED_COLUMNS,
    Manifest,
    Utterance,
    check_corpus_name,
    list_manifests,
    path_of,
    read_manifest,
    validate,
    write_manifest,
)

HASH = "0" * 64


def clip(name: str = "f1/a", **changes) -> Utterance:
    fields = {
        "id": name,
        "path": f"{name}.wav",
        "speaker": "f1",
        "emotion": "anger",
        "code": "rab",
        "language": "it",
        "samples": 16_000,
        "sha256": HASH,
    }
    return Utterance(**{**fields, **changes})


def row(**changes) -> dict[str, str]:
    return {column: str(getattr(clip(**changes), column)) for column in COLUMNS}


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "\0" not in message
    return message


# Writing and reading

lines = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=8)
FORMULA = set("=@+-\uff1d\uff20")
cells = lines.filter(lambda text: text[:1] not in FORMULA)
# Names tell things apart, so that what does not show has no place in them.
names = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cf", "Mn", "Z"], exclude_characters="=@+-\uff1d\uff20"
    ),
    max_size=8,
)
words = names.filter(bool)
NAMES = {"gender", "fold"}
further_names = st.text(string.ascii_lowercase, min_size=1, max_size=6).filter(
    lambda name: name not in COLUMNS
)
further_texts = st.text(st.sampled_from("a\",\n\té;' "), min_size=1, max_size=8)


@st.composite
def utterances(draw, number: int) -> Utterance:
    folder = draw(st.sampled_from(["", "Colère/", "a b (1)/x/", "-/"]))
    extra = draw(st.dictionaries(further_names, further_texts, max_size=2))
    optional = {
        column: draw(names if column in NAMES else cells) for column in manifest_module.OPTIONAL_COLUMNS
    }
    return Utterance(
        id=f"{folder}{number}",
        path=f"{folder}{number}.flac",
        speaker=draw(words),
        emotion=draw(st.sampled_from([*CANONICAL_EMOTIONS, "pleasant surprise", "überdruss"])),
        code=draw(names),
        language=draw(names),
        samples=draw(st.integers(0, 10**14)),
        sha256=draw(st.text(string.hexdigits[:16], min_size=64, max_size=64)),
        extra=tuple(sorted(extra.items())),
        **optional,
    )


@st.composite
def manifests(draw) -> Manifest:
    clips = [draw(utterances(number)) for number in range(draw(st.integers(1, 4)))]
    return Manifest("corpus", tuple(sorted(clips, key=lambda clip: clip.id)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(manifest=manifests())
def test_a_manifest_is_read_back_as_it_was_written(tmp_path, manifest):
    path = tmp_path / "corpus.csv"
    write_manifest(path, manifest)
    assert read_manifest(path) == manifest
    before = path.read_bytes()
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == before


def test_the_file_is_utf8_with_line_feeds_and_stable_columns(tmp_path):
    path = tmp_path / "c.csv"
    clips = (clip("Colère/1", extra=(("b", "2"), ("take", "x"))), clip("a/2"))
    write_manifest(path, Manifest("c", clips))
    text = path.read_bytes().decode("utf-8")
    assert "\r" not in text
    assert text.splitlines()[0] == ",".join([*COLUMNS, "b", "take"])
    assert text.splitlines()[1].startswith("Colère/1,Colère/1.wav,f1,anger,rab,it,16000,000")
    assert text.splitlines()[1].endswith(",2,x")


def test_rows_in_any_order_read_the_same(tmp_path):
    rows = [row(name="a"), row(name="b"), row(name="c")]
    one = read_manifest(table(tmp_path / "c.csv", rows))
    other = read_manifest(table(tmp_path / "c.csv", rows[::-1]))
    assert one == other
    assert [utterance.id for utterance in one.utterances] == ["a", "b", "c"]


def test_optional_columns_may_be_absent_and_columns_in_any_order(tmp_path):
    short = {column: row()[column] for column in reversed(REQUIRED_COLUMNS)}
    assert read_manifest(table(tmp_path / "c.csv", [short])).utterances == (clip(),)


def test_a_byte_order_mark_and_blank_lines_are_skipped(tmp_path):
    path = table(tmp_path / "c.csv", [row()])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\n")
    assert read_manifest(path).utterances == (clip(),)


def test_crlf_is_read(tmp_path):
    path = table(tmp_path / "c.csv", [row()])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_manifest(path).utterances == (clip(),)


def test_emotions_that_are_not_canonical_are_allowed(tmp_path):
    path = table(tmp_path / "c.csv", [row(emotion="pleasant surprise")])
    assert read_manifest(path).emotions == ("pleasant surprise",)


def test_the_summary_counts_speakers_emotions_and_hours():
    half_hour = 16_000 * 1800
    other = clip("b", speaker="m1", emotion="fear", samples=half_hour)
    manifest = Manifest("c", (clip("a", samples=half_hour), other))
    assert len(manifest) == 2
    assert manifest.speakers == ("f1", "m1")
    assert manifest.emotions == ("anger", "fear")
    assert manifest.hours == 1.0


def test_the_rate_is_that_of_audio():
    assert manifest_module.SAMPLE_RATE == audio.SAMPLE_RATE


def test_reading_manifests_imports_neither_numpy_nor_a_decoder():
    code = "import sys, ser_cache.manifest; print({'numpy', 'soundfile', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Broken contracts


@pytest.mark.parametrize("column", ["id", "path", "speaker", "emotion"])
def test_a_missing_cell_is_named_with_its_row(tmp_path, column):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="b", **{column: ""})])
    assert f"row 3: the {column} is missing" in refusal(path)


def test_a_duplicate_id_is_named_with_its_row(tmp_path):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="a", path="other.wav")])
    assert "row 3: the id 'a' stands there twice" in refusal(path)


def test_a_duplicate_path_is_named_with_its_row(tmp_path):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="b", path="a.wav")])
    assert "row 3: the path 'a.wav' stands there twice" in refusal(path)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        ("/etc/passwd.wav", "absolute"),
        ("C:/clips/a.wav", "absolute"),
        ("../a.wav", "out of the root"),
        ("a/../../b.wav", "out of the root"),
        ("..", "out of the root"),
        ("a//b.wav", "shortest form"),
        ("./a.wav", "shortest form"),
        ("a/", "shortest form"),
        ("a\\b.wav", "backslash"),
        ("a\0b.wav", "control character"),
        ("a\nb.wav", "control character"),
        ("=cmd.wav", "formula"),
        ("@cmd.wav", "formula"),
        ("é" * 5000, "5,000 characters"),
        ("a" * 100_000, "100,000 characters"),
    ],
)
def test_a_path_that_is_not_plainly_below_the_root_is_refused(tmp_path, bad, cause):
    path = table(tmp_path / "c.csv", [row(path=bad)])
    message = refusal(path)
    assert "row 2" in message
    assert cause in message


def test_a_path_with_two_dots_in_a_name_is_fine(tmp_path):
    path = table(tmp_path / "c.csv", [row(path="take..2/a..b.wav")])
    assert read_manifest(path).utterances[0].path == "take..2/a..b.wav"


@pytest.mark.parametrize("bad", ["", "1.5", "x", "1e3", "1_000", "١٢", " 12", "9" * 16])
def test_samples_that_are_no_whole_number_are_refused(tmp_path, bad):
    path = table(tmp_path / "c.csv", [{**row(), "samples": bad}])
    assert "row 2: samples is" in refusal(path)


def test_negative_samples_are_refused(tmp_path):
    assert "cannot be negative" in refusal(table(tmp_path / "c.csv", [row(samples=-1)]))


@pytest.mark.parametrize("bad", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_a_malformed_hash_is_refused(tmp_path, bad):
    assert "row 2: the sha256" in refusal(table(tmp_path / "c.csv", [row(sha256=bad)]))


@pytest.mark.parametrize("bad", ["Anger", "ANGER", "anger1", " anger", "anger ", "an_", "?"])
def test_an_emotion_not_in_lower_case_words_is_refused(tmp_path, bad):
    assert "lower-case words" in refusal(table(tmp_path / "c.csv", [row(emotion=bad)]))


@pytest.mark.parametrize("column", ["speaker", "code", "gender", "fold"])
@pytest.mark.parametrize("bad", ["=1+1", "@sum", "a\0b", "a\nb", "x" * 5000])
def test_hostile_cells_are_refused(tmp_path, column, bad):
    assert f"row 2: the {column}" in refusal(table(tmp_path / "c.csv", [row(**{column: bad})]))


@pytest.mark.parametrize("bad", ["=1+1", "a\0b", "x" * 5000])
def test_hostile_further_cells_are_refused(tmp_path, bad):
    assert "row 2: the note" in refusal(table(tmp_path / "c.csv", [{**row(), "note": bad}]))


def test_a_cell_longer_than_the_csv_module_allows_is_refused(tmp_path):
    assert "row 3: not CSV" in refusal(
        table(tmp_path / "c.csv", [{**row(name="a"), "note": ""}, {**row(), "note": "x" * 200_000}])
    )


def test_absent_columns_are_all_named(tmp_path):
    rows = [{column: row()[column] for column in COLUMNS if column not in {"samples", "speaker"}}]
    assert "no column speaker, samples" in refusal(table(tmp_path / "c.csv", rows))


def test_a_column_named_twice_is_refused(tmp_path):
    path = table(tmp_path / "c.csv", [row()])
    path.write_text(path.read_text().replace("gender", "age", 1))
    assert "two columns called 'age'" in refusal(path)


@pytest.mark.parametrize(("old", "new"), [("rab", "rab,"), (",rab", "")])
def test_a_row_of_another_length_is_named(tmp_path, old, new):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="b")])
    head, _, tail = path.read_text().rpartition(old)
    path.write_text(head + new + tail)
    assert "row 3:" in refusal(path)
    assert "cells where" in refusal(path)


def test_a_stray_quote_is_named_instead_of_swallowing_rows(tmp_path):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="b"), row(name="c")])
    path.write_text(path.read_text().replace("rab", '"rab', 1))
    assert "row 2" in refusal(path)


def test_latin_1_is_named_with_its_row(tmp_path):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="Colère")])
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert "row 3: not UTF-8" in refusal(path)


def test_utf_16_is_named(tmp_path):
    path = table(tmp_path / "c.csv", [row()])
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    assert "not UTF-8" in refusal(path)


def test_a_missing_manifest_says_how_to_make_it(tmp_path):
    assert "ser manifest emovo ROOT" in refusal(tmp_path / "emovo.csv")


def test_an_empty_file_and_a_header_alone_are_refused(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("")
    assert "is empty" in refusal(path)
    path.write_text(",".join(COLUMNS) + "\n")
    assert "no utterances" in refusal(path)


def test_a_folder_in_the_place_of_a_manifest_is_named(tmp_path):
    (tmp_path / "c.csv").mkdir()
    assert "cannot be read" in refusal(tmp_path / "c.csv")


def test_validate_names_the_utterance():
    with pytest.raises(ManifestError, match=r"corpus c: utterance 'a': the path '\.\./x' leads out"):
        validate(Manifest("c", (clip("a", path="../x"),)))


def test_validate_demands_order():
    with pytest.raises(ManifestError, match="sort by id"):
        validate(Manifest("c", (clip("b"), clip("a"))))


@pytest.mark.parametrize("name", ["id", "", " note", "=x", "a\nb"])
def test_validate_refuses_further_columns_that_cannot_be_read_back(name):
    with pytest.raises(ManifestError):
        validate(Manifest("c", (clip(extra=((name, "x"),)),)))


def test_a_carriage_return_is_refused_because_csv_would_not_bring_it_back():
    with pytest.raises(ManifestError, match="the note holds a control character"):
        validate(Manifest("c", (clip(extra=(("note", "a\rb"),)),)))


def test_a_name_that_is_not_utf8_is_refused():
    with pytest.raises(ManifestError, match="not valid UTF-8"):
        validate(Manifest("c", (clip("Col\udce8re"),)))


def test_nothing_is_written_when_the_manifest_is_broken(tmp_path):
    path = tmp_path / "c.csv"
    write_manifest(path, Manifest("c", (clip(),)))
    before = path.read_bytes()
    with pytest.raises(ManifestError):
        write_manifest(path, Manifest("c", (clip(speaker=""),)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.csv"]


def test_a_manifest_is_not_written_under_another_name(tmp_path):
    with pytest.raises(ManifestError, match=r"call it c\.csv"):
        write_manifest(tmp_path / "d.csv", Manifest("c", (clip(),)))


# Names, folders, links


@pytest.mark.parametrize("name", ["emovo", "my-corpus_2.1", "_x", "A"])
def test_plain_names_are_allowed(name):
    check_corpus_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "é", "a\n"])
def test_names_that_are_no_plain_file_name_are_refused(name):
    with pytest.raises(ManifestError, match="cannot be the name"):
        check_corpus_name(name)


def test_list_manifests_finds_csv_files_only(tmp_path):
    for name in ("b.csv", "a.csv", ".c.csv.1.tmp", ".d.csv", "roots.toml", "README.md"):
        (tmp_path / name).touch()
    assert list_manifests(tmp_path) == {"a": tmp_path / "a.csv", "b": tmp_path / "b.csv"}
    assert list_manifests(tmp_path / "absent") == {}


def test_list_manifests_names_a_file_no_corpus_can_have(tmp_path):
    (tmp_path / "my corpus.csv").touch()
    with pytest.raises(ManifestError, match="my corpus"):
        list_manifests(tmp_path)


def test_path_of_stays_below_the_root(tmp_path):
    assert path_of(tmp_path, clip("f1/a")) == tmp_path / "f1/a.wav"
    assert path_of(Path("/"), clip("f1/a")) == Path("/f1/a.wav")
    with pytest.raises(ManifestError, match="out of the root"):
        path_of(tmp_path, clip(path="../a.wav"))


def test_path_of_refuses_links_out_of_the_root(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "root-but-not"
    root.mkdir()
    outside.mkdir()
    (outside / "a.wav").touch()
    (root / "file.wav").symlink_to(outside / "a.wav")
    (root / "folder").symlink_to(outside)
    for path in ("file.wav", "folder/a.wav"):
        with pytest.raises(ManifestError, match="link out of"):
            path_of(root, clip(path=path))


def test_path_of_follows_links_within_the_root_and_a_root_that_is_a_link(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.wav").touch()
    (root / "b.wav").symlink_to("a.wav")
    (tmp_path / "link").symlink_to(root)
    assert path_of(tmp_path / "link", clip("b")) == tmp_path / "link/b.wav"


def test_a_large_manifest_is_read_at_a_rate_that_allows_a_million_rows_a_minute(tmp_path):
    rows = 30_000
    clips = tuple(
        clip(f"s{number % 50:02d}/{number:07d}", speaker=f"s{number % 50:02d}", extra=(("n", f"{number}"),))
        for number in range(rows)
    )
    path = tmp_path / "big.csv"
    write_manifest(path, Manifest("big", tuple(sorted(clips, key=lambda clip: clip.id))))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assert len(read_manifest(path)) == rows
        seconds.append(time.process_time() - start)
    assert min(seconds) < 60 * rows / 1_000_000


def test_repeated_texts_are_shared_in_memory(tmp_path):
    path = table(tmp_path / "c.csv", [row(name="a"), row(name="b")])
    one, other = read_manifest(path).utterances
    assert all(
        getattr(one, field.name) is getattr(other, field.name)
        for field in dataclasses.fields(one)
        if field.name in {"speaker", "emotion", "code", "language", "gender"}
    )
