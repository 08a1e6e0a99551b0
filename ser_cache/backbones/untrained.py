"""A small wav2vec 2.0 with random weights, in the format of a published checkpoint.

The demonstration runs the whole pipeline on it where no checkpoint can be had. It has the architecture of
wav2vec2-base (Baevski et al., 2020: group-norm convolutions, 20 ms frames, post-norm Transformer) at a
hundredth of its cost; what a probe reads from it is what random filters happen to pass on, nothing learnt.
"""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

LAYERS = 4
WIDTH = 128

_CONVOLUTION_WIDTH = 64


def save_untrained_wav2vec2(folder: Path, seed: int = 0) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` to a folder.

    The same seed gives the same bytes, so features cached from an earlier copy stay valid. PyTorch's global
    generator is left as it was. Each file is replaced whole, the weights last.

    Args:
        folder: made if absent; other files in it stay.
        seed: of every weight.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Wav2Vec2Model(_configuration())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".untrained-") as name:
        temporary = Path(name)
        model.config.save_pretrained(temporary)
        # Not model.save_pretrained: it draws a progress bar on the terminal.
        save_file(model.state_dict(), temporary / "model.safetensors", metadata={"format": "pt"})
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(temporary)
        for path in sorted(temporary.iterdir(), key=lambda path: path.suffix):  # .json before .safetensors
            path.replace(folder / path.name)


def _configuration() -> Wav2Vec2Config:
    """wav2vec2-base's kernels, strides and norms; narrower and with fewer layers."""
    return Wav2Vec2Config(
        architectures=["Wav2Vec2Model"],
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        conv_dim=(_CONVOLUTION_WIDTH,) * 7,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        conv_bias=False,
        feat_extract_norm="group",
        do_stable_layer_norm=False,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
    )
