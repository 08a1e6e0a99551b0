"""Weights into a frozen encoder, with proof that every one of them came from the checkpoint.

transformers fills what a checkpoint lacks with random numbers and only logs it. For features that is the
worst of errors, because nothing downstream can tell; so here it is one.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils import parametrize

from ser_cache.backbones.checkpoints import Checkpoint
from ser_cache.errors import BackboneError

# What a convolutional model computes its states with. Not among them: masked_spec_embed and quantizers
# (pre-training), adapters and heads (after the encoder); many checkpoints lack those, or add them.
_CONVOLUTIONAL_PARTS = ("feature_extractor.", "feature_projection.", "encoder.")
_WHISPER_PARTS = ("encoder.",)
_UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    ImportError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)


def load_encoder(checkpoint: Checkpoint, class_name: str, family: str) -> nn.Module:
    """Load the encoder of a checkpoint: frozen, in evaluation mode, fp32, on the CPU.

    Args:
        checkpoint: a local folder with configuration and weights.
        class_name: the class of transformers that holds the encoder.
        family: "whisper" gives its encoder; the others give the model, of which only the convolutions, the
            projection and the Transformer are used.

    Raises:
        BackboneError: the files cannot be read, are of another shape, lack a weight of the encoder, or hold
            values that are not finite.
    """
    try:
        with _quiet():
            model, report = _from_pretrained(checkpoint, class_name, family)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:300]
        raise BackboneError(
            f"{checkpoint.source.shown}: its weights cannot be loaded ({type(error).__name__}: {reason}); "
            "download them again."
        ) from error
    parts = _WHISPER_PARTS if family == "whisper" else _CONVOLUTIONAL_PARTS
    _refuse_missing(checkpoint, report, parts)
    encoder: nn.Module = model.encoder if family == "whisper" else _encoder_alone(model)
    _refuse_infinite(checkpoint, encoder)
    return encoder.requires_grad_(False).eval()


def _from_pretrained(checkpoint: Checkpoint, class_name: str, family: str) -> tuple[Any, Mapping[str, Any]]:
    """The model and transformers' report of what it found; safetensors first, pickles as tensors only.

    Whisper goes through the whole model, because ``WhisperEncoder`` finds none of its names in a checkpoint.
    Its decoder gets no layers: they would double memory and loading time for nothing.
    """
    import transformers

    model_class = getattr(transformers, class_name)
    config = model_class.config_class.from_pretrained(checkpoint.folder, local_files_only=True)
    if family == "whisper":
        config.decoder_layers = 0
    attention = {} if family == "wavlm" else {"attn_implementation": "sdpa"}
    model, report = model_class.from_pretrained(
        checkpoint.folder,
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        weights_only=True,
        output_loading_info=True,
        **attention,
    )
    return model, report


def _encoder_alone(model: nn.Module) -> nn.Module:
    """Drop what comes after the encoder, or serves pre-training only."""
    for name in ("adapter", "masked_spec_embed"):
        if getattr(model, name, None) is not None:
            delattr(model, name)
    return model


def _refuse_missing(checkpoint: Checkpoint, report: Mapping[str, Any], parts: tuple[str, ...]) -> None:
    mismatched = {entry[0] for entry in report["mismatched_keys"]}
    missing = sorted(key for key in set(report["missing_keys"]) | mismatched if key.startswith(parts))
    if missing:
        raise BackboneError(
            f"{checkpoint.source.shown} lacks {len(missing)} of the encoder's weights, {missing[0]} first; "
            "they would be random. Download it again, or check that config.json belongs to it."
        )


def _refuse_infinite(checkpoint: Checkpoint, encoder: nn.Module) -> None:
    for name, tensor in encoder.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise BackboneError(
                f"{checkpoint.source.shown}: its weight {name} holds values that are not finite; "
                "download it again."
            )


def digest(encoder: nn.Module) -> str:
    """SHA-256 over all parameters and buffers in fp32, by sorted name, with their shapes.

    The same weights have the same digest in any file format and number of files. Hashing 300 million
    parameters takes about a second.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        values = tensor.detach().to(torch.float32).contiguous().numpy()
        total.update(f"{name} {tuple(values.shape)}\n".encode())
        total.update(memoryview(values.reshape(-1)).cast("B"))
    return total.hexdigest()


def move(checkpoint: Checkpoint, encoder: nn.Module, device: torch.device) -> None:
    """Move an encoder to a device, in place.

    Raises:
        BackboneError: the device has no room for it.
    """
    try:
        encoder.to(device)
    except RuntimeError as error:
        if "out of memory" not in str(error):  # the class is torch's own in some cases only
            raise
        raise BackboneError(
            f"{checkpoint.source.shown} does not fit into the free memory of {device}: end what else uses "
            "it, or extract with --device cpu."
        ) from error


def settle_parametrizations(encoder: nn.Module) -> None:
    """Compute weight-normalised weights once, not at every forward; the values are the same."""
    for module in encoder.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' log, bars and warnings while it loads: what matters becomes an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
