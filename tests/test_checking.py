"""A download beside the published files: what is planted in small corpora is found for what it is."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from small_corpora import tone, write_tone_corpus

from ser_cache.audio import read, sha256_as_wav
from ser_cache.checking import VERDICTS, Check, check_files
from ser_cache.corpora import CORPORA
from ser_cache.errors import AudioError, ManifestError, SettingsError
from ser_cache.files import sha256_of_file
from ser_cache.official import (
    OfficialFile,
    OfficialList,
    listed_corpora,
    official_list,
    ready_corpora,
    ready_manifest,
)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A small published corpus: 36 clips of 16-bit WAV."""
    return write_tone_corpus(tmp_path / "published")


@pytest.fixture
def listed(published: Path) -> OfficialList:
    """The list of it."""
    files = []
    for path in sorted(published.iterdir()):
        recording = read(path)
        seconds = len(recording.samples) / 16_000
        files.append(OfficialFile(path.stem, recording.sha256, seconds, len(recording.samples)))
    return OfficialList("tones", tuple(files), "Made up.", "", "again", "")


@pytest.fixture
def checked(published: Path, listed: OfficialList) -> Callable[[], Check]:
    return lambda: check_files(listed, published)


def verdicts(check: Check) -> dict[str, int]:
    return dict(Counter(file.verdict for file in check.files))


def test_what_was_published_is_good(checked):
    check = checked()
    assert verdicts(check) == {"published": 36}
    assert check.good


def test_folders_do_not_matter(published, checked):
    (published / "deep" / "er").mkdir(parents=True)
    (published / "s1_anger_1.wav").rename(published / "deep" / "er" / "s1_anger_1.wav")
    assert checked().good


def test_every_planted_defect_is_found_for_what_it_is(published, checked):
    clip = published / "s1_anger_1.wav"
    samples, rate = soundfile.read(clip, dtype="int16")
    soundfile.write(clip.with_suffix(".flac"), samples, rate, subtype="PCM_16")  # lossless
    clip.unlink()
    soundfile.write(published / "s1_anger_2.wav", tone(0.5, 300), 16_000)  # as long, other sound
    soundfile.write(published / "s1_neutral_1.wav", tone(0.3, 300), 16_000)  # cut
    (published / "s1_neutral_2.wav").unlink()
    (published / "s1_sadness_1.wav").write_bytes(b"no audio")
    (published / "s1_sadness_2.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (published / "s2_anger_1.wav").write_bytes((published / "s2_anger_1.wav").read_bytes()[:-100])
    soundfile.write(published / "s9_anger_1.wav", tone(0.3, 300), 16_000)
    (published / "copy").mkdir()
    shutil.copy(published / "s3_anger_1.wav", published / "copy")
    check = checked()
    assert {verdict: [file.path for file in check.of(verdict)] for verdict in VERDICTS[1:]} == {
        "lossless": ["s1_anger_1.flac"],
        "converted": ["s1_anger_2.wav"],
        "changed": ["s1_neutral_1.wav"],
        "unreadable": ["s1_sadness_1.wav", "s2_anger_1.wav"],
        "pointer": ["s1_sadness_2.wav"],
        "missing": ["s1_neutral_2"],
        "extra": ["s3_anger_1.wav", "s9_anger_1.wav"],
    }
    assert not check.good
    assert check.of("changed")[0].detail == "0.300 s where 0.400 s were published"
    assert "copy/s3_anger_1.wav is the same clip" in {file.detail for file in check.of("extra")}
    assert len(check.of("published")) == 36 - 7


def test_lossless_copies_alone_are_good_and_the_hash_proves_it(published, checked):
    for path in sorted(published.iterdir()):
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".flac"), samples, rate, subtype="PCM_16")
        path.unlink()
    check = checked()
    assert verdicts(check) == {"lossless": 36}
    assert check.good
    one = published / "s1_anger_1.flac"
    samples, rate = soundfile.read(one, dtype="int16")
    samples[17] += 1  # one step of one sample
    soundfile.write(one, samples, rate, subtype="PCM_16")
    assert verdicts(checked()) == {"converted": 1, "lossless": 35}


@pytest.mark.parametrize(("suffix", "rate"), [(".flac", 16_000), (".wav", 48_000), (".mp3", 16_000)])
def test_another_rate_or_a_lossy_format_is_a_conversion_of_the_right_length(suffix, rate, published, checked):
    clip = published / "s1_anger_1.wav"
    clip.unlink()
    soundfile.write(clip.with_suffix(suffix), tone(0.4, 300, rate=rate), rate)
    assert verdicts(checked()) == {"converted": 1, "published": 35}


@pytest.mark.parametrize(("missing", "verdict"), [(16, "converted"), (160, "changed")])
def test_a_millisecond_is_rounding_and_ten_are_a_cut(missing, verdict, published, checked):
    soundfile.write(published / "s1_anger_1.wav", tone(0.4, 300)[:-missing], 16_000)
    assert verdicts(checked())[verdict] == 1


def test_clips_cut_or_padded_to_one_length_are_recognised(published, checked):
    for path in sorted(published.iterdir()):
        cut = np.zeros(11_200, dtype="f4")
        samples, rate = soundfile.read(path, dtype="float32")
        cut[: len(samples[:11_200])] = samples[:11_200]
        soundfile.write(path, cut, rate)
    check = checked()
    clips, samples = check.one_length
    assert samples == 11_200
    assert clips == len(check.of("changed")) >= 10


def test_clips_that_change_in_different_ways_have_no_one_length(published, checked):
    for number, path in enumerate(sorted(published.iterdir())):
        soundfile.write(path, tone(1 + number / 100, 200), 16_000)
    check = checked()
    assert verdicts(check) == {"changed": 36}
    assert check.one_length == (0, 0)


def test_a_folder_with_the_same_clips_again_is_passed_over_unless_it_is_all(published, listed, tmp_path):
    shutil.copytree(published, tmp_path / "both" / "again")
    shutil.copytree(published, tmp_path / "both" / "first")
    check = check_files(listed, tmp_path / "both")
    assert (check.good, check.passed_over) == (True, 36)
    shutil.rmtree(tmp_path / "both" / "first")
    check = check_files(listed, tmp_path / "both")
    assert (check.good, check.passed_over) == (True, 0)


def test_progress_is_told_after_every_file_and_threads_change_nothing(published, listed):
    told: list[tuple[int, int]] = []
    one = check_files(listed, published, lambda done, of: told.append((done, of)), jobs=1)
    assert told == [(done, 36) for done in range(1, 37)]
    assert check_files(listed, published, jobs=3) == one


def test_a_folder_of_something_else_is_an_error_that_shows_the_names(listed, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(ManifestError, match=r"none of the 36 files of tones \(s1_anger_1"):
        check_files(listed, tmp_path / "other")
    with pytest.raises(SettingsError, match="does not exist"):
        check_files(listed, tmp_path / "absent")


def test_nothing_is_written(published, checked):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in published.rglob("*")}
    checked()
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in published.rglob("*")} == before


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_a_wav_hashes_to_itself_as_flac(rate, channels, tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (500, channels), dtype="int16")
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="PCM_16")
    soundfile.write(tmp_path / "a.flac", samples, rate, subtype="PCM_16")
    assert sha256_as_wav(tmp_path / "a.flac") == sha256_of_file(tmp_path / "a.wav")
    (tmp_path / "b.flac").write_bytes(b"fLaC")
    with pytest.raises(AudioError, match=r"b\.flac cannot be decoded"):
        sha256_as_wav(tmp_path / "b.flac")


# The lists that come with the package


@pytest.mark.parametrize("corpus", listed_corpora())
def test_a_list_names_every_clip_of_the_complete_corpus_once(corpus):
    files, recipe = official_list(corpus).files, CORPORA[corpus]
    fields = [recipe.parse(PurePosixPath(file.name + ".wav")) for file in files]
    assert Counter(recipe.labels[one.code] for one in fields) == recipe.expected
    assert len({one.speaker for one in fields}) == recipe.speakers
    assert [file.name for file in files] == sorted({file.name for file in files})
    assert all(len(file.sha256) == 64 and int(file.sha256, 16) for file in files)
    assert all(0.5 < file.seconds < 20 for file in files)
    assert official_list(corpus).origin.endswith(".")


def test_ravdess_has_its_one_pair_of_identical_files_and_others_none():
    for corpus in ("emodb", "emovo", "ravdess"):
        names: dict[str, list[str]] = {}
        for file in official_list(corpus).files:
            names.setdefault(file.sha256, []).append(file.name)
        assert [same for same in names.values() if len(same) > 1] == (
            [["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]] if corpus == "ravdess" else []
        )
    assert any("03-01-03-01-02-01-07 and 03-01-03-01-02-02-07" in wart for wart in CORPORA["ravdess"].warts)


def test_a_corpus_without_a_list_says_which_have_one():
    with pytest.raises(SettingsError, match=r"cremad, emodb, emovo, ravdess.*ser manifest mine ROOT"):
        official_list("mine")
    with pytest.raises(SettingsError, match=r"only of cremad.*ser manifest emovo ROOT"):
        ready_manifest("emovo")
    assert ready_corpora() == ("cremad",)


def test_the_copy_of_emodb_with_clips_cut_to_two_seconds_is_recognised(shared):
    check = check_files(official_list("emodb"), shared / "data" / "emodb")
    assert verdicts(check) == {"lossless": 359, "converted": 44, "changed": 132}
    assert check.one_length == (132, 32_000)


@pytest.mark.parametrize("corpus", ["emovo", "ravdess"])
def test_copies_at_16_khz_have_the_published_lengths(corpus, shared, tmp_path):
    clips = sorted((shared / "data" / corpus / "audio").iterdir())[::40]
    for clip in clips:
        shutil.copy(clip, tmp_path)
    found = verdicts(check_files(official_list(corpus), tmp_path))
    assert found.pop("missing") == CORPORA[corpus].utterances - len(clips)
    assert found == {"converted": len(clips)}
