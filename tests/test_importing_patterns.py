"""Imports by file names and label maps: what patterns match, and how broken ones are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_clips import sounds, text

from ser_cache.errors import ManifestError
from ser_cache.importing import Labels, NamePattern, read_labels, read_pattern


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
