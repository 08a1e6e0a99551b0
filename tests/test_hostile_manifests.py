"""Manifests from anywhere: whatever is in the file, it is read whole or refused in one line with the row."""

import csv
import io

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ser_cache.audio import read
from ser_cache.cli import run
from ser_cache.errors import ManifestError
from ser_cache.manifest import COLUMNS, REQUIRED_COLUMNS, Manifest, read_manifest
from ser_cache.settings import remember_root

FINE = {
    "id": "f1/a",
    "path": "f1/a.wav",
    "speaker": "f1",
    "emotion": "anger",
    "code": "rab",
    "language": "it",
    "samples": "16000",
    "sha256": "0" * 64,
}
OTHER = FINE | {"id": "f1/b", "path": "f1/b.wav"}


def text(*rows: dict[str, str], columns: tuple[str, ...] = REQUIRED_COLUMNS) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def second(**changes: str) -> bytes:
    """A manifest whose second row, row 3 of the file, is changed."""
    return text(FINE, OTHER | changes, columns=COLUMNS).encode()


def pair(one: str, other: str) -> bytes:
    """Two clips of these names."""
    names = ({"id": name, "path": f"{name}.wav"} for name in (one, other))
    return text(*(FINE | name for name in names)).encode()


ACCENTED = text(FINE, OTHER | {"id": "Colère", "path": "Colère.wav"})
GREEK = text(FINE, OTHER | {"speaker": "Άννα"})

# What is in the file, and what the refusal says.
HOSTILE = {
    "a path out of the root": (second(path="../b.wav"), "row 3: the path '../b.wav' leads out of the root"),
    "a path out of the root further in": (second(path="f1/../../b.wav"), "row 3: the path 'f1/../../b.wav'"),
    "an absolute path": (second(path="/etc/passwd"), "row 3: the path '/etc/passwd' is absolute"),
    "a drive": (second(path="C:\\clips\\b.wav"), "row 3: the path 'C:\\\\clips\\\\b.wav' is absolute"),
    "a network share": (
        second(path="\\\\host\\b.wav"),
        "row 3: the path '\\\\\\\\host\\\\b.wav' holds a backsl",
    ),
    "backslashes": (second(path="f1\\b.wav"), "row 3: the path 'f1\\\\b.wav' holds a backslash"),
    "NUL in a path": (second(path="f1/b\0.wav"), "row 3: the path holds a control character"),
    "NUL in a speaker": (second(speaker="f\x001"), "row 3: the speaker holds a control character"),
    "a line feed in an id": (second(id="f1/b\nc"), "row 3: the id 'f1/b\\nc' holds a control character"),
    "a line separator in a speaker": (
        second(speaker="f1\u2028"),
        "row 3: the speaker 'f1\\u2028' holds a contr",
    ),
    "a long path": (second(path="b" * 100_000), "row 3: the path has 100,000 characters"),
    "a long speaker": (second(speaker="b" * 100_000), "row 3: the speaker has 100,000 characters"),
    "a long fold": (second(fold="9" * 100_000), "row 3: the fold has 100,000 characters"),
    "a cell longer than csv takes": (second(code="x" * 200_000), "row 3: not CSV (field larger than"),
    "a formula": (
        second(code='=HYPERLINK("x")'),
        "row 3: the code '=HYPERLINK(\"x\")' starts like a spreadsh",
    ),
    "a formula that begins with @": (second(speaker="@SUM(A1)"), "row 3: the speaker '@SUM(A1)' starts like"),
    "a formula that begins with -": (second(age="-2+3+cmd|' /C calc'!A0"), 'row 3: the age "-2+3+cmd|'),
    "a full-width formula": (second(sentence="\uff1d1+1"), "row 3: the sentence '\uff1d1+1' starts like"),
    "an id twice": (second(id="f1/a"), "row 3: the id 'f1/a' stands there twice"),
    "a path twice": (second(path="f1/a.wav"), "row 3: the path 'f1/a.wav' stands there twice"),
    "ids that differ by case": (
        pair("f1/a", "f1/A"),
        "row 3: the id 'f1/A' differs from 'f1/a' only by case",
    ),
    "ids that differ by case, otherwise": (pair("F1/a", "f1/a"), "row 3: the id 'f1/a' differs from 'F1/a'"),
    "ids that are composed otherwise": (
        pair("Col\u00e8re", "Cole\u0300re"),
        "row 3: the id 'Cole\\u0300re' differs from 'Col\\xe8re' only by case or by how accents",
    ),
    "paths that differ by case": (
        second(path="f1/A.wav"),
        "row 3: the path 'f1/A.wav' differs from 'f1/a.wav'",
    ),
    "a speaker with a space behind": (second(speaker="f1 "), "row 3: the speaker 'f1 ' starts or ends with"),
    "a fold with a space before": (second(fold=" 1"), "row 3: the fold ' 1' starts or ends with a space"),
    "an id with a space behind": (second(id="f1/b "), "row 3: the id 'f1/b ' starts or ends with a space"),
    "a path with a space behind": (second(path="f1/b.wav "), "row 3: the path 'f1/b.wav ' starts or ends"),
    "an id without width": (
        second(id="f1/\u200bb"),
        "row 3: the id 'f1/\\u200bb' holds a character that does",
    ),
    "a speaker that turns round": (second(speaker="f\u202e1"), "row 3: the speaker 'f\\u202e1' holds a char"),
    "samples in words": (second(samples="1e9"), "row 3: samples is '1e9', not a whole number"),
    "samples in Arabic digits": (second(samples="١٢"), "row 3: samples is '١٢', not a whole number"),
    "samples without end": (second(samples="9" * 5000), "row 3: samples is '999"),
    "negative samples": (second(samples="-1"), "row 3: samples is -1; it cannot be negative"),
    "a header twice": (text(FINE).encode() * 2, "row 3: samples is 'samples', not a whole number"),
    "a column twice": (b"id," + text(FINE).encode(), "two columns called 'id'"),
    "columns twice among ten thousand": (
        ",".join([*REQUIRED_COLUMNS, *(f"x{n % 5000}" for n in range(10_000))]).encode(),
        "two columns called 'x0'",
    ),
    "ten thousand wrong columns": (
        ",".join(f"x{n}" for n in range(10_000)).encode(),
        "has no column id, path",
    ),
    "a row of ten thousand cells": (
        text(FINE).encode() + b"," * 9_999 + b"\n",
        "row 3: 10000 cells where 8 are expected",
    ),
    "a quote that does not end": (text(FINE, OTHER).replace("f1/b", '"f1/b', 1).encode(), "row 3: not CSV"),
    "nothing": (b"", "c.csv is empty"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "c.csv is empty"),
    "only blank lines": (b"\n\n\n", "c.csv is empty"),
    "only a header": (text().encode(), "c.csv holds no utterances"),
    "UTF-16": (ACCENTED.encode("utf-16"), "row 1: not UTF-8"),
    "UTF-16 without a mark": (text(FINE).encode("utf-16-le"), "row 1: not UTF-8"),
    "UTF-32": (text(FINE).encode("utf-32"), "row 1: not UTF-8"),
    "latin-1": (ACCENTED.encode("latin-1"), "row 3: not UTF-8"),
    "cp1253": (GREEK.encode("cp1253"), "row 3: not UTF-8"),
    "a sound file": (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\xff\xfe\xfa", "row 1: not UTF-8"),
    "JSON": (b'{"id": "f1/a"}\n', "has no column id"),
    "semicolons": (
        text(FINE).replace(",", ";").encode(),
        "has semicolons between its cells; save it with commas",
    ),
}

FRIENDLY = {
    "a byte-order mark": b"\xef\xbb\xbf" + text(FINE).encode(),
    "CR LF": text(FINE).replace("\n", "\r\n").encode(),
    "CR alone": text(FINE).replace("\n", "\r").encode(),
    "no newline at the end": text(FINE).strip().encode(),
    "blank lines": b"\n" + text(FINE).replace("\n", "\n\n").encode(),
    "ten thousand further columns": text(FINE, columns=(*REQUIRED_COLUMNS, *map(str, range(9_992)))).encode(),
}


def place(folder, content: bytes):
    (folder / "c.csv").write_bytes(content)
    return folder / "c.csv"


def assert_one_line(message: str) -> None:
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 600


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_refused_in_one_line_with_the_row(name, tmp_path):
    content, says = HOSTILE[name]
    with pytest.raises(ManifestError) as caught:
        read_manifest(place(tmp_path, content))
    assert says in str(caught.value)
    assert_one_line(str(caught.value))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_command_refuses_it_in_the_same_line(name, tmp_path, capsys):
    content, _ = HOSTILE[name]
    path = place(tmp_path, content)
    remember_root(tmp_path, "c", tmp_path)
    command = ["extract", "--model", "mfcc", "--dry-run", "--corpus", "c", "--manifests", str(tmp_path)]
    assert run([*command, "--cache", str(tmp_path / "cache")]) == 1
    said = capsys.readouterr()
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert said.err == f"error: {caught.value}\n"
    assert said.out == ""


@pytest.mark.parametrize("name", FRIENDLY)
def test_what_is_only_unusual_is_read(name, tmp_path):
    (utterance,) = read_manifest(place(tmp_path, FRIENDLY[name])).utterances
    assert (utterance.id, utterance.speaker, utterance.samples) == ("f1/a", "f1", 16_000)


def test_a_file_whose_name_ends_in_a_space_before_its_suffix_is_a_file(tmp_path):
    content = text(FINE, OTHER | {"id": "f1/b ", "path": "f1/b .wav"}).encode()
    assert [u.id for u in read_manifest(place(tmp_path, content)).utterances] == ["f1/a", "f1/b "]


@pytest.mark.parametrize(
    "name", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937"]
)
def test_a_name_in_persian_or_hindi_may_hold_what_its_letters_join_by(name, tmp_path):
    place(tmp_path, second(id=name, path=f"{name}.wav", speaker=name))
    assert len(read_manifest(tmp_path / "c.csv")) == 2
    place(tmp_path, second(speaker=f"{name}\u200c"))
    with pytest.raises(ManifestError, match="does not show"):
        read_manifest(tmp_path / "c.csv")


def test_what_people_write_is_not_taken_for_a_formula(tmp_path):
    rows = [
        FINE | {"id": name, "path": f"{name}.wav", "sentence": sentence}
        for name, sentence in {"-a (1)/x": "+39 02", "+b": "-1", "c": "a|b", "d": "می\u200cروم"}.items()
    ]
    made = read_manifest(place(tmp_path, text(*rows, columns=COLUMNS).encode()))
    assert {u.sentence for u in made.utterances} == {"+39 02", "-1", "a|b", "می\u200cروم"}


def test_a_folder_in_the_place_of_the_manifest_is_named_by_a_command(tmp_path, capsys):
    (tmp_path / "c.csv").mkdir()
    remember_root(tmp_path, "c", tmp_path)
    assert (
        run(["extract", "--model", "mfcc", "--dry-run", "--corpus", "c", "--manifests", str(tmp_path)]) == 1
    )
    assert capsys.readouterr().err == f"error: {tmp_path / 'c.csv'} cannot be read (Is a directory).\n"


@pytest.mark.parametrize(
    ("bad", "says"), [("link", "link out of"), ("folder", "folder"), ("absent", "absent")]
)
def test_a_clip_that_is_no_file_of_the_root_fails_by_name_and_the_others_are_extracted(
    bad, says, tmp_path, capsys
):
    root = tmp_path / "root"
    root.mkdir()
    tone = np.sin(np.arange(16_000) / 20).astype(np.float32)
    for path in (root / "good.wav", tmp_path / "outside.wav"):
        soundfile.write(path, tone, 16_000)
    (root / "link.wav").symlink_to(tmp_path / "outside.wav")
    (root / "folder.wav").mkdir()
    sha256 = read(root / "good.wav").sha256
    rows = [FINE | {"id": name, "path": f"{name}.wav", "sha256": sha256} for name in ("good", bad)]
    place(tmp_path, text(*rows).encode())
    remember_root(tmp_path, "c", root)
    places = ["--manifests", str(tmp_path), "--cache", str(tmp_path / "cache")]
    assert run(["extract", "--model", "mfcc", "--corpus", "c", *places]) == 3
    said = capsys.readouterr()
    failed = [line for line in (said.out + said.err).splitlines() if f"{bad}.wav" in line]
    assert failed
    assert any(says in line for line in failed)


cells = st.one_of(
    st.text(max_size=20), st.sampled_from(sorted({c for row in (FINE, OTHER) for c in row.values()}))
)
tables = st.lists(st.lists(cells, min_size=8, max_size=8), max_size=4)


def as_csv(rows: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([REQUIRED_COLUMNS, *rows])
    return file.getvalue().encode(errors="surrogatepass")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode), tables.map(as_csv)))
@example(content=b'\xef\xbb\xbf"id')
@example(content=b"\x00" * 50)
@example(content=text(FINE, OTHER).encode())
def test_no_content_gives_anything_but_a_manifest_or_a_named_error(content, tmp_path):
    path = place(tmp_path, content)
    try:
        made = read_manifest(path)
    except ManifestError as error:
        assert_one_line(str(error))
        return
    # Nothing is dropped: every record behind the header is an utterance.
    records = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
    assert isinstance(made, Manifest)
    assert len(made) == len(records) - 1
