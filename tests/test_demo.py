"""The demonstration corpus and backbone: deterministic, plausible, reused, and clear when something lacks."""

import csv
import shutil
import sys
import wave
from collections import Counter

import numpy as np
import pytest

from ser_cache.demo import espeak
from ser_cache.demo import run as demo_run
from ser_cache.demo.cast import EMOTIONS, SENTENCES, SPEAKERS
from ser_cache.demo.corpus import (
    COLUMNS,
    MARKER,
    NEUTRAL,
    TABLE,
    DemoOptions,
    plan,
    speakers,
    state,
    synthesise,
)
from ser_cache.demo.espeak import SAMPLE_RATE, Prosody, Synthesiser
from ser_cache.errors import DemoError, UnknownNameError
from ser_cache.files import sha256_of_file

SMALL = DemoOptions(seed=3, languages=("Greek", "Persian"), sentences=1)


def read_wave(path):
    with wave.open(str(path), "rb") as handle:
        assert (handle.getnchannels(), handle.getsampwidth()) == (1, 2)
        assert handle.getframerate() == SAMPLE_RATE
        return np.frombuffer(handle.readframes(handle.getnframes()), dtype="<i2") / 32768


def rows_of(table):
    with table.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def hashes(folder):
    return {
        str(path.relative_to(folder)): sha256_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pitch(samples):
    """Median fundamental frequency in hertz, by autocorrelation of the louder frames."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512]
    frames = frames[frames.std(axis=1) > 0.5 * frames.std(axis=1).max()]
    frames = frames - frames.mean(axis=1, keepdims=True)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)[:, :512]
    # Fewer samples overlap at long lags; without this the shortest lag would win.
    correlation /= 1024 - np.arange(512)
    shortest, longest = SAMPLE_RATE // 450, SAMPLE_RATE // 60
    lags = shortest + correlation[:, shortest:longest].argmax(axis=1)
    return SAMPLE_RATE / np.median(lags)


@pytest.fixture(scope="module")
def speech():
    return pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def full(speech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    table = synthesise(folder, DemoOptions())
    rows = rows_of(table)
    return folder, rows, {row["path"]: read_wave(folder / row["path"]) for row in rows}


# --- The plan: no synthesiser needed ---------------------------------------------------------------------


def test_the_plan_has_every_speaker_say_every_sentence_in_every_emotion():
    clips = plan(DemoOptions())
    assert len(clips) == len(SPEAKERS) * len(EMOTIONS) * 4 == 280
    assert Counter((clip.speaker, clip.emotion, clip.sentence) for clip in clips).most_common(1)[0][1] == 1
    assert {clip.language for clip in clips} == {
        "Italian", "German", "French", "Spanish", "Greek", "Persian", "Arabic",
    }  # fmt: skip
    assert [clip.path for clip in clips] == sorted(clip.path for clip in clips)


def test_every_language_has_a_woman_and_a_man_and_voices_differ():
    assert len({speaker.name for speaker in SPEAKERS}) == len({speaker.voice for speaker in SPEAKERS}) == 14
    for language in SENTENCES:
        chosen = speakers(DemoOptions(languages=(language,)))
        assert [speaker.gender for speaker in chosen] == ["female", "male"]


def test_a_clip_does_not_depend_on_which_others_are_made():
    assert set(plan(SMALL)) <= set(plan(DemoOptions(seed=3)))


def test_the_seed_changes_the_prosody_and_nothing_else():
    one, two = plan(DemoOptions(seed=1)), plan(DemoOptions(seed=2))
    assert [clip.path for clip in one] == [clip.path for clip in two]
    assert sum(a.prosody != b.prosody for a, b in zip(one, two, strict=True)) > 250


def test_without_variation_all_speakers_express_an_emotion_by_the_same_shifts():
    clips = plan(DemoOptions(variation=0))
    for emotion, cues in EMOTIONS.items():
        prosodies = [clip.prosody for clip in clips if clip.emotion == emotion]
        assert {prosody.rate for prosody in prosodies} == {round(NEUTRAL.rate * cues.rate)}
        assert len({(prosody.span, prosody.volume) for prosody in prosodies}) == 1


def test_prosody_stays_in_the_synthesiser_range_however_wild_the_variation():
    for clip in plan(DemoOptions(variation=20)):
        assert 80 <= clip.prosody.rate <= 450
        assert 0 <= clip.prosody.pitch <= 99
        assert 0 <= clip.prosody.span <= 99
        assert 1 <= clip.prosody.volume <= 90


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"languages": ()}, "at least one language"),
        ({"sentences": 0}, "1 to 4 sentences"),
        ({"sentences": 5}, "1 to 4 sentences"),
        ({"variation": -1.0}, "variation"),
        ({"variation": float("nan")}, "variation"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(DemoError, match=message):
        DemoOptions(**options)


def test_an_unknown_language_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"'Klingon'.*Arabic, French"):
        DemoOptions(languages=("Klingon",))


def test_without_the_loader_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DemoError, match="pip install espeakng-loader"):
        synthesise(tmp_path, SMALL)
    assert state(tmp_path, SMALL) == "absent"


# --- The synthesiser ---------------------------------------------------------------------------------------


def test_the_same_calls_give_the_same_samples_in_every_synthesiser(speech):
    def session():
        with Synthesiser() as synthesiser:
            first = synthesiser.speak("Il libro è sul tavolo.", "it+f2", NEUTRAL, 5)  # f2 has breath noise
            return first, synthesiser.speak("Il libro è sul tavolo.", "it+f2", NEUTRAL, 5)

    (first, second), (first_again, second_again) = session(), session()
    np.testing.assert_array_equal(first, first_again)
    np.testing.assert_array_equal(second, second_again)


def test_two_synthesisers_do_not_disturb_each_other(speech):
    with Synthesiser() as one, Synthesiser() as two:
        two.speak("Das Buch liegt auf dem Tisch.", "de+m1", NEUTRAL, 1)
        mixed = one.speak("Il libro è sul tavolo.", "it+f2", NEUTRAL, 5)
    with Synthesiser() as alone:
        np.testing.assert_array_equal(mixed, alone.speak("Il libro è sul tavolo.", "it+f2", NEUTRAL, 5))


def test_each_parameter_does_what_its_name_says(speech):
    with Synthesiser() as synthesiser:

        def say(**changes):
            settings = {"rate": 170, "pitch": 50, "span": 42, "volume": 30} | changes
            return synthesiser.speak(SENTENCES["German"]["market"], "de+m1", Prosody(**settings), 1) / 32768

        assert len(say(rate=130)) > 1.2 * len(say(rate=170))
        assert pitch(say(pitch=75)) == pytest.approx(pitch(say()) * 2**0.5, rel=0.12)
        assert say(volume=60).std() == pytest.approx(2 * say().std(), rel=0.1)


def test_an_unknown_voice_names_the_call_that_failed(speech):
    with (
        Synthesiser() as synthesiser,
        pytest.raises(DemoError, match=r"espeak_SetVoiceByName\(tlh.*status"),
    ):
        synthesiser.speak("nuqneH", "tlh-nowhere", NEUTRAL, 1)


def test_a_text_without_speech_is_an_error(speech):
    with Synthesiser() as synthesiser, pytest.raises(DemoError, match="said nothing"):
        synthesiser.speak(" ", "it", NEUTRAL, 1)


def test_data_in_a_path_longer_than_the_library_can_hold_are_still_found(speech, tmp_path, monkeypatch):
    library, data = espeak._installed()
    deep = tmp_path / ("x" * 120) / ("y" * 120) / "espeak-ng-data"
    deep.mkdir(parents=True)
    for name in ("phontab", "phonindex", "phondata", "intonations", "it_dict"):
        shutil.copy(data / name, deep)
    shutil.copytree(data / "lang" / "roa", deep / "lang" / "roa")
    shutil.copytree(data / "voices" / "!v", deep / "voices" / "!v")
    monkeypatch.setattr(espeak, "_installed", lambda: (library, deep))
    with Synthesiser() as synthesiser:
        assert synthesiser.speak("Il libro è sul tavolo.", "it+f2", NEUTRAL, 1).any()


def test_a_temporary_folder_too_deep_for_the_library_is_named(speech, tmp_path, monkeypatch):
    deep = tmp_path / ("t" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(DemoError, match="set TMPDIR to a shorter path"), Synthesiser():
        pass
    assert list(deep.iterdir()) == []


# --- The corpus --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(speech, tmp_path):
    synthesise(tmp_path / "one", SMALL)
    synthesise(tmp_path / "two", SMALL)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    other = DemoOptions(seed=4, languages=SMALL.languages, sentences=1)
    synthesise(tmp_path / "three", other)
    audio = {value for name, value in hashes(tmp_path / "three").items() if name.endswith(".wav")}
    assert not audio & set(hashes(tmp_path / "one").values())


def test_the_table_lists_every_file_with_its_labels(full):
    folder, rows, _ = full
    assert len(rows) == 280
    assert tuple(rows[0]) == COLUMNS
    assert {row["path"] for row in rows} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.wav")
    }
    for row in rows:
        name = f"{row['speaker']}_{row['emotion']}_{row['sentence']}.wav"
        assert row["path"] == f"audio/{row['language']}/{name}"
    assert set(Counter((row["speaker"], row["emotion"]) for row in rows).values()) == {4}
    assert {row["text"] for row in rows} == {
        text for sentences in SENTENCES.values() for text in sentences.values()
    }


def test_every_clip_is_speech_of_a_sensible_length_that_does_not_clip(full):
    for path, samples in full[2].items():
        assert 0.5 < len(samples) / SAMPLE_RATE < 6, path
        assert samples.std() > 0.003, path
        assert np.abs(samples).max() < 0.99, path


def test_emotions_differ_from_neutral_in_the_reported_directions(full):
    _, rows, audio = full

    def mean(measure, emotion):
        return np.mean([measure(audio[row["path"]]) for row in rows if row["emotion"] == emotion])

    def loudness(samples):
        return 20 * np.log10(samples.std())

    def log_pitch(samples):
        return 12 * np.log2(pitch(samples))

    neutral = {measure: mean(measure, "neutral") for measure in (len, log_pitch, loudness)}
    for emotion in ("anger", "happiness", "fear"):
        assert mean(len, emotion) < 0.93 * neutral[len], emotion
        assert mean(log_pitch, emotion) > neutral[log_pitch] + 2, emotion
    assert mean(len, "sadness") > 1.15 * neutral[len]
    assert mean(log_pitch, "sadness") < neutral[log_pitch] - 1
    assert mean(loudness, "anger") > mean(loudness, "happiness") + 2 > neutral[loudness] + 2
    assert mean(loudness, "sadness") < mean(loudness, "fear") < neutral[loudness] - 2


def test_women_speak_higher_than_men(full):
    _, rows, audio = full
    medians = {
        speaker.name: np.median([pitch(audio[row["path"]]) for row in rows if row["speaker"] == speaker.name])
        for speaker in SPEAKERS
    }
    lowest_woman = min(medians[speaker.name] for speaker in SPEAKERS if speaker.gender == "female")
    highest_man = max(medians[speaker.name] for speaker in SPEAKERS if speaker.gender == "male")
    assert lowest_woman > highest_man


def test_a_finished_corpus_is_reused_without_the_synthesiser(speech, tmp_path, monkeypatch):
    table = synthesise(tmp_path, SMALL)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    progress = []
    assert synthesise(tmp_path, SMALL, lambda done, total: progress.append((done, total))) == table
    assert progress == [(20, 20)]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_absent_stale_and_good_are_told_apart(speech, tmp_path):
    assert state(tmp_path, SMALL) == "absent"
    synthesise(tmp_path, SMALL)
    assert state(tmp_path, SMALL) == "good"
    assert state(tmp_path, DemoOptions()) == "stale"
    clip = next(tmp_path.rglob("*.wav"))
    original = clip.read_bytes()
    clip.write_bytes(original[:-2])
    assert state(tmp_path, SMALL) == "stale"
    synthesise(tmp_path, SMALL)
    assert clip.read_bytes() == original
    clip.unlink()
    assert state(tmp_path, SMALL) == "stale"
    (tmp_path / MARKER).write_text("[]", encoding="utf-8")
    assert state(tmp_path, SMALL) == "absent"


def test_an_interrupted_corpus_is_absent_and_made_again(speech, tmp_path):
    def interrupt(done, _):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path, SMALL, interrupt)
    assert state(tmp_path, SMALL) == "absent"
    assert len(list(tmp_path.rglob("*.wav"))) == 7
    synthesise(tmp_path, SMALL)
    assert state(tmp_path, SMALL) == "good"


def test_a_stale_corpus_leaves_no_clips_behind_and_touches_nothing_else(speech, tmp_path):
    synthesise(tmp_path / "demo", SMALL)
    mine = tmp_path / "demo" / "audio" / "mine.wav"
    outside = tmp_path / "outside.wav"
    for path in (mine, outside):
        path.write_bytes(b"keep")
    marker = tmp_path / "demo" / MARKER
    marker.write_text(marker.read_text().replace('"files": {', '"files": {"../outside.wav": "0",'))
    fewer = DemoOptions(languages=("Greek",), sentences=1)
    table = synthesise(tmp_path / "demo", fewer)
    left = {path.relative_to(tmp_path / "demo").as_posix() for path in (tmp_path / "demo").rglob("*.wav")}
    assert left == {row["path"] for row in rows_of(table)} | {"audio/mine.wav"}
    assert outside.read_bytes() == b"keep"
    assert table.name == TABLE


# --- The untrained backbone --------------------------------------------------------------------------------


def test_the_untrained_backbone_has_the_same_bytes_for_the_same_seed(tmp_path, capfd):
    import torch

    from ser_cache.backbones.untrained import save_untrained_wav2vec2

    before = torch.get_rng_state()
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        save_untrained_wav2vec2(tmp_path / folder, seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert set(hashes(tmp_path / "one")) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    weights = [sha256_of_file(tmp_path / name / "model.safetensors") for name in ("one", "three")]
    assert weights[0] != weights[1]
    assert capfd.readouterr() == ("", "")


def test_the_untrained_backbone_loads_whole_and_gives_twenty_millisecond_frames(tmp_path):
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    from ser_cache.backbones.untrained import LAYERS, WIDTH, save_untrained_wav2vec2

    save_untrained_wav2vec2(tmp_path)
    model, report = Wav2Vec2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert Wav2Vec2FeatureExtractor.from_pretrained(tmp_path).do_normalize
    model.eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 16_000), output_hidden_states=True)
    assert len(output.hidden_states) == LAYERS + 1
    assert output.last_hidden_state.shape == (1, 49, WIDTH)
    assert output.last_hidden_state.isfinite().all()


def test_a_second_run_does_not_claim_the_work_of_the_first(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_run, "_extract", lambda *_: tmp_path)
    monkeypatch.setattr(demo_run, "_probe", lambda *_: [])
    assert not demo_run.run_demo(tmp_path, SMALL).resumed
    assert demo_run.run_demo(tmp_path, SMALL).resumed
    assert not demo_run.run_demo(tmp_path, DemoOptions(seed=4, languages=("Greek",), sentences=1)).resumed
