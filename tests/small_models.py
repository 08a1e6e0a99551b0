"""Small seeded checkpoints of every family, saved to a folder as a download would be: random, not trained.

Each holds config.json, weights and preprocessor_config.json. The strides are the published ones, so that 400
samples are the shortest clip and 320 the step. And what a loaded model gives for clips, to compare.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ser_cache.extractor import Extractor

LAYERS = 3
WIDTH = 32
_CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_TRANSFORMER = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 8,
}


def save_wav2vec2(folder: Path, norm: str = "group", **changes: Any) -> Path:
    """wav2vec 2.0: ``norm`` "group" as in base and large, "layer" (with stable layer norm) as in XLS-R."""
    return _save_convolutional(folder, "Wav2Vec2", norm, changes)


def save_hubert(folder: Path, norm: str = "group", **changes: Any) -> Path:
    """HuBERT: ``norm`` "group" as in base, "layer" (with stable layer norm) as in large."""
    return _save_convolutional(folder, "Hubert", norm, changes)


def save_wavlm(folder: Path, norm: str = "group", **changes: Any) -> Path:
    """WavLM: ``norm`` "group" as in base-plus, "layer" (with stable layer norm) as in large."""
    return _save_convolutional(
        folder, "WavLM", norm, {"num_buckets": 32, "max_bucket_distance": 80, **changes}
    )


def save_whisper(folder: Path, bands: int = 80, **changes: Any) -> Path:
    """Whisper with its real window of 1500 positions; ``bands`` mel bands."""
    sizes = {
        "d_model": WIDTH,
        "encoder_layers": LAYERS,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_layers": 1,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 64,
        "vocab_size": 8,
        "max_target_positions": 4,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "decoder_start_token_id": 1,
    }
    config = transformers.WhisperConfig(num_mel_bins=bands, **{**sizes, **changes})
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands)
    return _save(folder, transformers.WhisperModel, config, extractor.to_dict())


def states(
    model: Extractor, clips: Sequence[np.ndarray], layers: Sequence[int] | None = None
) -> dict[int, torch.Tensor]:
    """Every wanted layer of a batch, or every one there is: (sum of frames, width)."""
    found: dict[int, torch.Tensor] = {}
    model.forward(
        [model.prepare(clip) for clip in clips],
        model.geometry.layers if layers is None else layers,
        lambda layer, packed: found.__setitem__(layer, packed.clone()),
    )
    return found


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The norm of the difference, as a share of the norm."""
    return float((ours - theirs).norm() / theirs.norm())


def _save_convolutional(folder: Path, prefix: str, norm: str, changes: dict[str, Any]) -> Path:
    layered = norm == "layer"
    settings = {
        **_CONVOLUTIONS,
        **_TRANSFORMER,
        "feat_extract_norm": norm,
        "conv_bias": layered,
        "do_stable_layer_norm": layered,
        **changes,
    }
    config = getattr(transformers, f"{prefix}Config")(**settings)
    preprocessor = {"do_normalize": layered, "sampling_rate": 16000, "feature_size": 1, "padding_value": 0.0}
    return _save(folder, getattr(transformers, f"{prefix}Model"), config, preprocessor)


def _save(folder: Path, model_class: Any, config: Any, preprocessor: dict[str, Any]) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # far from the near-zero start, so that every part matters
                parameter.add_(torch.randn_like(parameter) * 0.15)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
