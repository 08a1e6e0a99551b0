"""wav2vec 2.0, HuBERT and WavLM: convolutions over the waveform, then a Transformer.

The convolutions, the projection and the positional convolution run on each clip by itself, at its exact
length; only the Transformer's blocks see a padded batch, with the padding masked in attention. Padding the
waveform instead changes the states of group-norm models by half their size, because the first convolution is
normalised over the whole clip. Layer 0 is the input of the first block (Baevski et al. 2020, section 2, after
the positional convolution), 1..L are the blocks' outputs, L after the final normalisation where there is one.

The blocks are called one by one instead of hooking the model's own forward: each layer is handed over as soon
as it exists, blocks above the highest wanted layer are not computed, and the model's own masking (which
writes zeros into its input) is not needed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ser_cache.backbones.base import Backbone, emit_states
from ser_cache.backbones.packing import pad
from ser_cache.devices import moved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from ser_cache.backbones.outline import Outline
    from ser_cache.extractor import EmitLayer


class Wav2Vec2Extractor(Backbone):
    """A frozen wav2vec 2.0, HuBERT or WavLM encoder."""

    def __init__(
        self,
        encoder: nn.Module,
        outline: Outline,
        identity: Mapping[str, Any],
        provenance: Mapping[str, str],
        normalise: bool,
    ) -> None:
        """Take over a loaded model; see ``Backbone``."""
        super().__init__(encoder, outline, identity, provenance, normalise)
        self._stable = bool(self._encoder.config.do_stable_layer_norm)
        self._blocks = list(self._encoder.encoder.layers)
        self._relative = self._encoder.config.model_type == "wavlm"
        if self._relative:
            for block in self._blocks:
                attention = block.attention
                attention.torch_multi_head_self_attention = partial(_biased_attention, attention)

    def prepare(self, audio: NDArray[np.float32]) -> torch.Tensor:
        """One clip, (samples,) at 16 kHz, cut and normalised as the model wants it; on the CPU."""
        return torch.from_numpy(np.ascontiguousarray(self._scaled(audio), dtype=np.float32))

    def forward(self, batch: Sequence[torch.Tensor], layers: Sequence[int], emit: EmitLayer) -> None:
        """Run a batch of prepared clips and hand over each wanted layer; see ``extractor.Extractor``."""
        with self._computing():
            hidden, padding = pad([self._front(clip) for clip in batch])
            last = self._encoder.encoder.layer_norm if self._stable else None
            states = self._walk(hidden, padding.mask)
            emit_states(states, layers, padding.pack, emit, last, len(self._blocks))

    def _front(self, clip: torch.Tensor) -> torch.Tensor:
        """Layer 0 of one clip: (samples,) -> (frames, width)."""
        model = self._encoder
        convolved = model.feature_extractor(moved(clip, self.device).unsqueeze(0)).transpose(1, 2)
        projected = model.feature_projection(convolved)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        # In fp32 always: the sum that runs through the blocks begins here; and in bf16, oneDNN's grouped
        # convolutions are wrong for some shapes (32 channels, 4 groups, kernel 16: no digit right).
        with torch.autocast(self.device.type, enabled=False):
            hidden = hidden.float()
            hidden = hidden + model.encoder.pos_conv_embed(hidden)
        if not self._stable:
            hidden = model.encoder.layer_norm(hidden)
        states: torch.Tensor = hidden[0]
        return states

    def _walk(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> Iterator[torch.Tensor]:
        """The input of the first block, then the output of each: (batch, frames, width)."""
        yield hidden
        bias = None  # WavLM's first block makes the position bias that the others share
        for block in self._blocks:
            if self._relative:
                hidden, bias = block(hidden, attention_mask=mask, position_bias=bias)
            else:
                output = block(hidden, attention_mask=mask)
                hidden = output[0] if isinstance(output, tuple) else output
            yield hidden


def _biased_attention(
    attention: Any,  # noqa: ANN401 - transformers publishes no types
    hidden: torch.Tensor,
    mask: torch.Tensor | None,
    bias: torch.Tensor,
    *_: object,
) -> tuple[torch.Tensor, None]:
    """WavLM's attention with its gated position bias (Chen et al. 2022, section III-B), fused.

    transformers goes through ``multi_head_attention_forward``, which also makes the average of the attention
    weights that nobody reads, and warns when it is given a mask beside the bias.

    Args:
        attention: the block's attention module.
        hidden: (batch, frames, width).
        mask: added to the scores, (batch, 1, 1, frames), or None.
        bias: added to the scores, (batch * heads, frames, frames).
        _: transformers 5.0 also says whether to return the attention weights; it never asks for them here.
    """
    batch, frames, width = hidden.shape

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(batch, frames, attention.num_heads, attention.head_dim).transpose(1, 2)

    scores = bias.view(batch, attention.num_heads, frames, frames)
    mixed = functional.scaled_dot_product_attention(
        heads(attention.q_proj(hidden)),
        heads(attention.k_proj(hidden)),
        heads(attention.v_proj(hidden)),
        attn_mask=scores if mask is None else scores + mask,
    )
    return attention.out_proj(mixed.transpose(1, 2).reshape(batch, frames, width)), None
