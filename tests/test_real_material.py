"""The whole way on real speech and real weights: what the cache holds is what the plain model gives."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor, WhisperModel

from ser_cache.cli import run
from ser_cache.manifest import read_manifest
from ser_cache.store import open_features

CLIPS = ("dis-f1-b1", "gio-f2-b3", "neu-f3-l2", "pau-m1-n3", "rab-m2-d1", "sor-m3-n5", "tri-m3-l4")


@pytest.fixture(scope="module")
def few(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some clips of EMOVO, one of each emotion and from all speakers, and their manifest."""
    folder = tmp_path_factory.mktemp("emovo")
    (folder / "audio").mkdir()
    for clip in CLIPS:
        shutil.copy(shared / "data" / "emovo" / "audio" / f"{clip}.flac", folder / "audio")
    assert run(["manifest", "emovo", str(folder / "audio"), "--manifests", str(folder)]) == 0
    return folder


def naive_states(shared: Path, audio: np.ndarray, context: str) -> np.ndarray:
    """Layers 0..L of one clip by the plain model, (layers, frames, width), without anything of ours.

    In audio context the padded window's spectrogram and the positional embedding are cropped to the clip.
    """
    folder = shared / "models" / "whisper-base-encoder"
    encoder = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.eval()
    mel = WhisperFeatureExtractor.from_pretrained(folder)(audio, sampling_rate=16_000, return_tensors="pt")
    frames = -(-len(audio) // 320)
    spectrogram = mel.input_features if context == "full" else mel.input_features[:, :, : 2 * frames]
    gelu = torch.nn.functional.gelu
    with torch.inference_mode():
        hidden = gelu(encoder.conv2(gelu(encoder.conv1(spectrogram)))).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        states = [hidden]
        for block in encoder.layers:
            hidden = block(hidden, None)
            states.append(hidden)
        states[-1] = encoder.layer_norm(hidden)
        if context == "full":
            plain = encoder(mel.input_features).last_hidden_state
            torch.testing.assert_close(states[-1], plain, rtol=1e-4, atol=1e-4)
    return torch.cat(states)[:, :frames].numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("context", "folder"), [("audio", "whisper-base-encoder"), ("full", "whisper-base-encoder+full")]
)
def test_the_cache_holds_what_the_plain_model_gives(
    context: str, folder: str, few: Path, shared: Path, tmp_path: Path
) -> None:
    arguments = ["--model", str(shared / "models" / "whisper-base-encoder"), "--whisper-context", context]
    places = ["--manifests", str(few), "--cache", str(tmp_path)]
    assert run(["extract", *arguments, "--corpus", "emovo", *places]) == 0
    manifest = read_manifest(few / "emovo.csv")
    with open_features(tmp_path / folder / "emovo", manifest.utterances) as features:
        assert features.layers == tuple(range(7))
        for index, utterance in enumerate(manifest.utterances):
            audio, _ = soundfile.read(few / "audio" / utterance.path, dtype="float32")
            expected = naive_states(shared, audio, context)
            cached = features.hidden(index).astype(np.float32)
            assert cached.shape == expected.shape
            errors = np.linalg.norm(cached - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
            assert errors.max() <= 1e-3, (utterance.id, errors)
            np.testing.assert_allclose(features.mean(6)[index], expected[6].mean(axis=0), atol=1e-3)


@pytest.mark.parametrize(("corpus", "clips"), [("emovo", 588), ("emodb", 535), ("ravdess", 1440)])
def test_whole_corpora_become_manifests(corpus: str, clips: int, shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / corpus / "audio"
    assert run(["manifest", corpus, str(root), "--manifests", str(tmp_path)]) == 0
    assert len(read_manifest(tmp_path / f"{corpus}.csv")) == clips


def test_the_table_of_a_subset_becomes_a_manifest(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "emodb"
    table = root / "metadata_4class_original.csv"
    assert run(["manifest", "emodb4", str(root), "--table", str(table), "--manifests", str(tmp_path)]) == 0
    manifest = read_manifest(tmp_path / "emodb4.csv")
    assert len(manifest) == 339
    assert manifest.emotions == ("anger", "happiness", "neutral", "sadness")
    assert len(manifest.speakers) == 10
