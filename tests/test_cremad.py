"""CREMA-D without its audio: what is joined by file name, the ready manifest, and how both are made anew."""

import csv
import hashlib
import runpy
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
import soundfile
from small_corpora import tone

from ser_cache.cli import run
from ser_cache.corpora import CORPORA
from ser_cache.corpora.cremad import CODES, MODALITIES, WITHOUT_AUDIO
from ser_cache.importing import list_corpus
from ser_cache.manifest import Manifest, read_manifest, write_manifest
from ser_cache.official import official_list, ready_manifest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = CORPORA["cremad"]


@pytest.fixture(scope="module")
def ready() -> Manifest:
    return ready_manifest("cremad")


@pytest.fixture(scope="module")
def clips(shared: Path) -> list[dict[str, str]]:
    """The corpus's own facts, a row a clip, as somebody else joined them."""
    with (shared / "reference" / "cremad" / "clips.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def parsed(path: str):
    return RECIPE.parse(PurePosixPath(path))


# Joining by file name


def test_every_clip_is_joined_with_its_actor_and_its_votes(clips, ready):
    made = {PurePosixPath(utterance.path).stem: utterance for utterance in ready.utterances}
    assert made.keys() == {clip["filename"] for clip in clips}
    for clip in clips:
        utterance = made[clip["filename"]]
        extra = dict(utterance.extra)
        assert (utterance.speaker, utterance.age, utterance.gender) == (
            clip["actor"],
            clip["age"],
            clip["sex"].lower(),
        )
        assert (utterance.race, utterance.ethnicity) == (clip["race"], clip["ethnicity"])
        assert (utterance.sentence, utterance.intensity) == (clip["sentence"], clip["level"])
        assert (utterance.emotion, utterance.code) == (clip["emotion"], clip["emotion_code"])
        assert utterance.sha256 == clip["wav_sha256_official"]
        assert utterance.samples == (int(clip["wav_bytes_official"]) - 44) // 2
        assert abs(utterance.samples / 16_000 - float(clip["duration_s"])) < 6e-5
        for modality in MODALITIES:
            votes = " ".join(
                f"{emotion}:{clip[f'{modality}_{code}']}"
                for code, emotion in CODES.items()
                if clip[f"{modality}_{code}"] != "0"
            )
            assert extra[f"{modality}_votes"] == votes
            assert extra[f"{modality}_vote"] == clip[f"{modality}_vote"]
            assert extra[f"{modality}_ratings"] == clip[f"{modality}_n"]
            for column, theirs in (
                ("agreement", "agreement"),
                ("intended", "frac_intended"),
                ("level", "mean_level"),
            ):
                assert abs(float(extra[f"{modality}_{column}"]) - float(clip[f"{modality}_{theirs}"])) <= 1e-4


def test_a_clip_is_joined_whatever_its_folder_and_format():
    fields = parsed("somewhere/else/1001_IEO_ANG_MD.flac")
    extra = dict(fields.extra)
    assert (fields.speaker, fields.age, fields.gender, fields.race) == ("1001", "51", "male", "Caucasian")
    assert (fields.sentence, fields.code, fields.intensity) == ("IEO", "ANG", "medium")
    assert fields.ethnicity == "Not Hispanic"
    # of 12 raters five heard anger and five disgust
    assert extra["voice_vote"] == "anger:disgust"
    assert extra["voice_votes"] == "anger:5 disgust:5 neutral:1 sadness:1"
    assert (extra["voice_ratings"], extra["voice_agreement"]) == ("12", "0.4167")
    assert (extra["voice_intended"], extra["voice_level"]) == ("0.4167", "50.5833")


def test_the_actor_whose_race_is_unknown_is_so(ready):
    assert {utterance.speaker for utterance in ready.utterances if utterance.race == "Unknown"} == {"1047"}


def test_a_clip_that_nobody_rated_is_a_clip_without_votes():
    assert parsed("1001_XYZ_ANG_XX.wav").extra == ()


@pytest.mark.parametrize(
    "name",
    ["1092_DFA_ANG_XX", "1001_DFA_ANG", "1001_DFA_ANG_YY", "1001_DFA_ANG_XX copy", "x1001_DFA_ANG_XX"],
)
def test_other_names_are_not_recognised(name):
    assert parsed(f"{name}.wav") is None


def test_a_whole_clone_is_one_copy_of_the_corpus_and_its_mp3_alone_is_too(tmp_path):
    for path in ("AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    scan = RECIPE.scan(tmp_path)
    assert [clip.path for clip in scan.found] == ["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert scan.unrecognised == ()
    assert [path for path, _ in scan.left_out] == ["AudioMP3/1001_DFA_ANG_XX.mp3"]
    assert len(RECIPE.scan(tmp_path / "AudioMP3").found) == 1


# The ready manifest


def test_the_ready_manifest_is_the_complete_corpus(ready):
    assert len(ready) == 7442
    assert len(ready.speakers) == RECIPE.speakers
    assert Counter(utterance.emotion for utterance in ready.utterances) == RECIPE.expected
    assert round(ready.hours, 3) == 5.257


def test_the_shipped_manifest_is_the_one_that_the_package_makes(ready, tmp_path):
    write_manifest(tmp_path / "cremad.csv", ready)
    assert (tmp_path / "cremad.csv").read_bytes() == (ROOT / "manifests" / "cremad.csv").read_bytes()


def test_a_scan_of_the_official_tree_lists_what_the_ready_manifest_holds(ready, tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    for file in official_list("cremad").files:
        (tmp_path / "AudioWAV" / f"{file.name}.wav").touch()
    listed = list_corpus(RECIPE, tmp_path)
    assert listed.failures == ()
    by_id = {utterance.id: utterance for utterance in listed.utterances}
    for utterance in ready.utterances:
        found = by_id.pop(utterance.id)
        assert (found.samples, found.sha256) == (0, "")
        for name in found.__slots__:
            assert name in {"samples", "sha256"} or getattr(found, name) == getattr(utterance, name)
    assert not by_id


def test_a_manifest_of_audio_has_the_ready_ones_rows(ready, empty_folder):
    root = empty_folder / "clone" / "AudioWAV"
    root.mkdir(parents=True)
    names = ("1001_DFA_ANG_XX", "1076_MTI_SAD_XX", "1091_WSI_HAP_XX")
    for name in names:
        soundfile.write(root / f"{name}.wav", tone(0.4, 200), 16_000, subtype="PCM_16")
    assert run(["manifest", "cremad", "clone"]) == 0
    made = read_manifest(Path("manifests/cremad.csv"))
    expected = [utterance for utterance in ready.utterances if PurePosixPath(utterance.path).stem in names]
    for utterance, listed in zip(made.utterances, expected, strict=True):
        assert utterance.samples == 6400
        for name in listed.__slots__:
            assert name in {"samples", "sha256"} or getattr(utterance, name) == getattr(listed, name)


def test_three_pairs_of_clips_with_different_emotions_are_the_same_bytes_and_told(ready):
    same: dict[str, list[str]] = {}
    for utterance in ready.utterances:
        same.setdefault(utterance.sha256, []).append(PurePosixPath(utterance.path).stem)
    pairs = [names for names in same.values() if len(names) > 1]
    assert pairs == [
        ["1006_TIE_HAP_XX", "1006_TIE_NEU_XX"],
        ["1013_WSI_DIS_XX", "1013_WSI_SAD_XX"],
        ["1017_IWW_ANG_XX", "1017_IWW_FEA_XX"],
    ]
    (wart,) = (wart for wart in RECIPE.warts if "identical bytes" in wart)
    assert all(" and ".join(pair) in wart for pair in pairs)


def test_the_clip_without_audio_is_listed_and_told(ready):
    (name,) = WITHOUT_AUDIO
    assert f"AudioWAV/{name}" in {utterance.id for utterance in ready.utterances}
    assert any(f"{name}.wav has no audio" in wart for wart in RECIPE.warts)


@pytest.mark.parametrize(
    "path", ["ser_cache/reference/cremad/LICENSE.txt", "manifests/cremad-LICENSE.txt", "docs/cremad.md"]
)
def test_the_licence_stands_beside_what_comes_of_the_corpus(path):
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    assert "http://opendatacommons.org/licenses/odbl/1.0/" in text
    assert "http://opendatacommons.org/licenses/dbcl/1.0/" in text


def test_more_than_half_of_the_voices_are_heard_as_neutral_as_the_page_says(ready):
    heard = Counter(dict(utterance.extra)["voice_vote"] for utterance in ready.utterances)["neutral"]
    assert f"(`voice_vote` of {heard:,} of the {len(ready):,})" in (ROOT / "docs" / "cremad.md").read_text(
        encoding="utf-8"
    )
    assert 2 * heard > len(ready)


# Made anew


def clone_of(clips: list[dict[str, str]], root: Path) -> Path:
    """A clone of the corpus whose audio Git LFS has not fetched, with the columns that are read."""
    (root / "AudioWAV").mkdir(parents=True)
    (root / "processedResults").mkdir()
    actors = sorted({tuple(clip[c] for c in ("actor", "age", "sex", "race", "ethnicity")) for clip in clips})
    with (root / "VideoDemographics.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("ActorID", "Age", "Sex", "Race", "Ethnicity"), *actors])
    with (root / "processedResults" / "tabulatedVotes.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("", *CODES, "fileName", "numResponses", "meanEmoResp"))
        for digit, modality in zip("123", MODALITIES, strict=True):
            for number, clip in enumerate(clips):
                counts = [clip[f"{modality}_{code}"] for code in CODES]
                ends = (clip["filename"], clip[f"{modality}_n"], clip[f"{modality}_mean_level"])
                table.writerow((f"{digit}{number:05}", *counts, *ends))
    for clip in clips:
        (root / "AudioWAV" / f"{clip['filename']}.wav").write_text(
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{clip['wav_sha256_official']}\nsize {clip['wav_bytes_official']}\n"
        )
    return root


def test_what_is_packaged_is_made_anew_from_a_clone_to_the_byte(clips, tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "make_cremad.py"))
    script["main"](clone_of(clips, tmp_path / "clone"), tmp_path, tmp_path)
    for name in ("cremad/actors.csv", "cremad/votes.csv", "checksums/cremad.csv"):
        shipped = ROOT / "ser_cache" / "reference" / name
        assert (tmp_path / name).read_bytes() == shipped.read_bytes(), name


def test_pointers_and_fetched_audio_give_the_same_list(tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "make_cremad.py"))
    fetched, pointed = (tmp_path / name / "AudioWAV" for name in ("fetched", "pointed"))
    fetched.mkdir(parents=True)
    pointed.mkdir(parents=True)
    wav = fetched / "1001_DFA_ANG_XX.wav"
    soundfile.write(wav, tone(0.5, 200), 16_000, subtype="PCM_16")
    digest = hashlib.sha256(wav.read_bytes()).hexdigest()
    (pointed / wav.name).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {wav.stat().st_size}\n"
    )
    rows = [script["checksums"](tmp_path / name) for name in ("fetched", "pointed")]
    assert rows[0] == rows[1] == [("1001_DFA_ANG_XX", digest, 8000)]
