"""The whole way on real speech and real weights: what the cache holds is what the plain model gives."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor, WhisperModel

from ser_cache.cli import run
from ser_cache.manifest import read_manifest
from ser_cache.store import open_features

# One of each emotion, from all speakers.
CLIPS = ("dis-f1-b1", "gio-f2-b3", "neu-f3-l2", "pau-m1-n3", "rab-m2-d1", "sor-m3-n5", "tri-m3-l4")


def take(clips: Sequence[str], shared: Path, folder: Path) -> None:
    """Copy some clips of EMOVO to a folder, and make their manifest beside them."""
    (folder / "audio").mkdir()
    for clip in clips:
        shutil.copy(shared / "data" / "emovo" / "audio" / f"{clip}.flac", folder / "audio")
    assert run(["manifest", "emovo", str(folder / "audio"), "--manifests", str(folder)]) == 0


@pytest.fixture(scope="module")
def plain(shared: Path) -> PlainModel:
    """The stock feature extractor and encoder, loaded as their own documentation does."""
    folder = shared / "models" / "whisper-base-encoder"
    encoder = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.eval()
    return PlainModel(WhisperFeatureExtractor.from_pretrained(folder), encoder)


@dataclass(frozen=True)
class PlainModel:
    """Layers 0..L of one clip without anything of ours, (layers, frames, width)."""

    extractor: Any
    encoder: Any

    def full(self, audio: np.ndarray) -> np.ndarray:
        """By the model itself, of the clip padded to 30 s."""
        with torch.inference_mode():
            output = self.encoder(self._spectrogram(audio), output_hidden_states=True)
        states = torch.cat([*output.hidden_states[:-1], output.last_hidden_state])
        return states[:, : frames_of(audio)].numpy()

    def audio(self, audio: np.ndarray) -> np.ndarray:
        """By the model's parts: spectrogram and positional embedding are cropped to the clip."""
        return self._by_parts(self._spectrogram(audio)[:, :, : 2 * frames_of(audio)])

    def full_by_parts(self, audio: np.ndarray) -> np.ndarray:
        return self._by_parts(self._spectrogram(audio))[:, : frames_of(audio)]

    def _spectrogram(self, audio: np.ndarray) -> torch.Tensor:
        return self.extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features

    def _by_parts(self, spectrogram: torch.Tensor) -> np.ndarray:
        gelu = torch.nn.functional.gelu
        with torch.inference_mode():
            hidden = gelu(self.encoder.conv2(gelu(self.encoder.conv1(spectrogram)))).transpose(1, 2)
            hidden = hidden + self.encoder.embed_positions.weight[: hidden.shape[1]]
            states = [hidden]
            for block in self.encoder.layers:
                hidden = block(hidden, None)
                states.append(hidden)
            states[-1] = self.encoder.layer_norm(hidden)
        return torch.cat(states).numpy()


def frames_of(audio: np.ndarray) -> int:
    return -(-len(audio) // 320)


def test_the_parts_of_the_plain_model_put_together_are_the_plain_model(
    plain: PlainModel, shared: Path
) -> None:
    audio, _ = soundfile.read(shared / "data" / "emovo" / "audio" / f"{CLIPS[0]}.flac", dtype="float32")
    np.testing.assert_allclose(plain.full_by_parts(audio), plain.full(audio), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("context", "folder", "clips"),
    [
        ("audio", "whisper-base-encoder", CLIPS),
        ("full", "whisper-base-encoder+full", CLIPS[::3]),  # 30 s each, whatever their length
    ],
    ids=["audio", "full"],
)
def test_the_cache_holds_what_the_plain_model_gives(
    context: str, folder: str, clips: Sequence[str], plain: PlainModel, shared: Path, tmp_path: Path
) -> None:
    take(clips, shared, tmp_path)
    arguments = ["--model", str(shared / "models" / "whisper-base-encoder"), "--whisper-context", context]
    places = ["--manifests", str(tmp_path), "--cache", str(tmp_path)]
    assert run(["extract", *arguments, "--corpus", "emovo", *places]) == 0
    manifest = read_manifest(tmp_path / "emovo.csv")
    with open_features(tmp_path / folder / "emovo", manifest.utterances) as features:
        assert features.layers == tuple(range(7))
        assert len(features) == len(clips)
        for index, utterance in enumerate(manifest.utterances):
            audio, _ = soundfile.read(tmp_path / "audio" / utterance.path, dtype="float32")
            expected = getattr(plain, context)(audio)
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
