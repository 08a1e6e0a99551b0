"""From a name to a frozen extractor, or to an outline of it without touching its weights.

torch and transformers are imported when weights are loaded, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ser_cache import audio, devices
from ser_cache.backbones import checkpoints, unchanged
from ser_cache.backbones.checkpoints import Checkpoint
from ser_cache.backbones.outline import ConvolutionFrames, FrameRule, Outline, WhisperFrames
from ser_cache.backbones.registry import FRAMES_PER_SECOND
from ser_cache.clipping import Clipping
from ser_cache.errors import BackboneError, UnknownNameError
from ser_cache.extractor import AUTO, PRECISIONS, Extractor, Geometry
from ser_cache.files import sha256_of_value

CONTEXTS = ("audio", "full")
FAMILIES: dict[str, str] = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "wavlm": "WavLMModel",
    "whisper": "WhisperModel",
}
"""``model_type`` of a checkpoint, and the class of transformers that holds its encoder."""
FEATURES_VERSION = 1
"""Raised when our own computation changes, so that features made before it are not taken for new ones."""

# Settings of config.json that cannot change what an encoder gives in evaluation mode: where the file came
# from, its number format, and the parts after the encoder. Anything else, known or not, counts.
_VOLATILE = frozenset(
    {
        "_name_or_path",
        "_attn_implementation_autoset",
        "architectures",
        "dtype",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "label2id",
        "problem_type",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)


@dataclass(frozen=True)
class BackboneOptions:
    """What can be chosen about a backbone.

    Attributes:
        context: for Whisper, "audio" (only the audio is worked through) or "full" (padded to 30 s).
        normalise: bring each clip to zero mean and unit variance; None follows the checkpoint.
        max_seconds: keep the first seconds of each clip; None keeps all. See ``clipping``.
        precision: one of ``PRECISIONS`` to compute in; "auto" loads in fp32 and leaves the choice to the
            extraction (``extraction.precision``).
        device: one of ``devices.DEVICES``.
        name: replaces the folder's name in the cache.
        revision: replaces the pinned revision of a hub repository.
        local_files_only: never use the network.
        download_bars: let the hub's client show its download bars on standard error.
    """

    context: str = "audio"
    normalise: bool | None = None
    max_seconds: float | None = None
    precision: str = AUTO
    device: str = "auto"
    name: str = ""
    revision: str = ""
    local_files_only: bool = False
    download_bars: bool = False

    def __post_init__(self) -> None:
        """Refuse what no backbone could do."""
        if self.context not in CONTEXTS:
            raise UnknownNameError("Whisper context", self.context, CONTEXTS)
        if self.precision not in (AUTO, *PRECISIONS):
            raise UnknownNameError("precision", self.precision, (AUTO, *PRECISIONS))
        devices.check_device(self.device)
        Clipping(self.max_seconds)

    @property
    def clipping(self) -> Clipping:
        """The part of each clip to keep."""
        return Clipping(self.max_seconds)


def describe(model: str, options: BackboneOptions | None = None) -> Outline:
    """Outline a backbone for a plan: name, variant, layers, width and frames, without its weights.

    An alias needs no file and no network. Any other name needs its ``config.json``.

    Args:
        model: alias, hub id or local folder.
        options: as for ``load``.

    Raises:
        UnknownNameError: no such backbone, context or device.
        BackboneError: the configuration is missing, not reachable or of another kind of model, or an option
            means nothing to the model.
    """
    options = options or BackboneOptions()
    source = checkpoints.resolve(model, options.name, options.revision)
    if (spec := source.spec) is not None:
        return _outline(source.name, spec.family, spec.layers, spec.width, ConvolutionFrames(), options)
    checkpoint = checkpoints.find(source, weights=False, local_files_only=options.local_files_only)
    return _outline_of(checkpoint, _family(checkpoint), options)


def load(model: str, options: BackboneOptions | None = None) -> Extractor:
    """Load a frozen backbone in evaluation mode, its weights in fp32 whatever its files hold.

    Args:
        model: alias, hub id or local folder.
        options: context, normalisation, device, ...

    Raises:
        UnknownNameError: no such backbone, context or device.
        BackboneError: the checkpoint is missing, incomplete, damaged or of another kind of model; it does not
            say how to normalise; an option means nothing to it; or the environment makes a processor round.
        SettingsError: there is no CUDA device where one was asked for.
    """
    options = options or BackboneOptions()
    checkpoint = _find(model, options)
    family = _family(checkpoint)
    outline = _outline_of(checkpoint, family, options)
    normalise = _normalise(checkpoint, family, options)
    _check_preprocessor(checkpoint, family)
    stamp = unchanged.stamp(checkpoint.folder)  # before the weights are read: a change meanwhile shows later

    from ser_cache.backbones import weights
    from ser_cache.backbones.packing import require_exact_environment
    from ser_cache.backbones.wav2vec2 import Wav2Vec2Extractor
    from ser_cache.backbones.whisper import WhisperExtractor

    device = devices.choose_device(options.device)
    require_exact_environment(device)
    encoder = weights.load_encoder(checkpoint, FAMILIES[family], family)
    identity = _identity(checkpoint, family, normalise, options, weights.digest(encoder))
    provenance = {
        "model": model,
        "hub_id": checkpoint.source.hub_id,
        "revision": checkpoint.source.revision,
        "files": stamp,
    }
    weights.move(checkpoint, encoder, device)
    kind = WhisperExtractor if family == "whisper" else Wav2Vec2Extractor
    return kind(encoder, outline, identity, provenance, normalise)


def identity_on_record(
    model: str, options: BackboneOptions, features: Mapping[str, Any], provenance: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The identity that ``load`` would give, its weights' digest taken from features made before.

    Everything but that digest is found out anew.

    Args:
        model: alias, hub id or local folder.
        options: as for ``load``.
        features: the identity under which the features were made.
        provenance: what was recorded with them.

    Returns:
        None where the checkpoint's files are not, for certain, those that the features were made with.

    Raises:
        UnknownNameError, BackboneError: as ``load``.
    """
    checkpoint = _find(model, options)
    stamp = unchanged.stamp(checkpoint.folder)
    if not stamp or provenance.get("files") != stamp or "weights" not in features:
        return None
    family = _family(checkpoint)
    normalise = _normalise(checkpoint, family, options)
    _check_preprocessor(checkpoint, family)
    return _identity(checkpoint, family, normalise, options, str(features["weights"]))


def _find(model: str, options: BackboneOptions) -> Checkpoint:
    source = checkpoints.resolve(model, options.name, options.revision)
    return checkpoints.find(source, local_files_only=options.local_files_only, bars=options.download_bars)


def _family(checkpoint: Checkpoint) -> str:
    kind = checkpoint.config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise BackboneError(
            f"{checkpoint.source.shown}: models of type {kind!r} are not supported; "
            f"known types: {', '.join(FAMILIES)}."
        )
    return kind


def _outline_of(checkpoint: Checkpoint, family: str, options: BackboneOptions) -> Outline:
    """The outline from ``config.json``; settings that the file leaves out have transformers' defaults."""
    config = checkpoint.config
    try:
        if family == "whisper":
            layers, width = int(config["encoder_layers"]), int(config["d_model"])
            return _outline(checkpoint.source.name, family, layers, width, ConvolutionFrames(), options)
        published = ConvolutionFrames()
        rule = ConvolutionFrames(
            kernels=tuple(config.get("conv_kernel", published.kernels)),
            strides=tuple(config.get("conv_stride", published.strides)),
        )
        layers, width = int(config["num_hidden_layers"]), int(config["hidden_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"{checkpoint.folder / 'config.json'} lacks a setting or holds a wrong one ({error}); "
            "download it again."
        ) from error
    return _outline(checkpoint.source.name, family, layers, width, rule, options)


def _outline(
    name: str, family: str, layers: int, width: int, convolution: ConvolutionFrames, options: BackboneOptions
) -> Outline:
    if family != "whisper" and options.context != BackboneOptions.context:
        raise BackboneError(
            f"{name} is no Whisper model: the context {options.context!r} means nothing to it; "
            "leave --whisper-context out."
        )
    rule: FrameRule = WhisperFrames(options.context) if family == "whisper" else convolution
    return Outline(
        name=name,
        variant=_variant(family, options),
        geometry=Geometry(tuple(range(layers + 1)), width, float(FRAMES_PER_SECOND)),
        rule=rule,
        clipping=options.clipping,
    )


def _variant(family: str, options: BackboneOptions) -> str:
    """What was asked for beyond the defaults, as it stands in the cache folder's name."""
    parts = []
    if family == "whisper" and options.context == "full":
        parts.append("full")
    if options.normalise is not None:
        parts.append("norm" if options.normalise else "raw")
    if options.precision not in (AUTO, "fp32"):
        parts.append(f"compute-{options.precision}")
    parts.append(options.clipping.variant)
    return "+".join(filter(None, parts))


def _normalise(checkpoint: Checkpoint, family: str, options: BackboneOptions) -> bool:
    """Whether clips are brought to zero mean and unit variance: as asked for, else as in training.

    Whisper's own checkpoints do not say, and are not normalised.
    """
    if options.normalise is not None:
        return options.normalise
    declared = (checkpoint.preprocessor or {}).get("do_normalize", False if family == "whisper" else None)
    if declared is None:
        raise BackboneError(
            f"{checkpoint.source.shown} has no preprocessor_config.json that says do_normalize; say how its "
            "training audio was scaled with --normalise yes|no (zero mean and unit variance each, or not)."
        )
    return bool(declared)


def _check_preprocessor(checkpoint: Checkpoint, family: str) -> None:
    """Refuse a checkpoint whose input is not what we prepare."""
    expected: dict[str, Any] = {"sampling_rate": audio.SAMPLE_RATE}
    if family == "whisper":
        bands = checkpoint.config.get("num_mel_bins", 80)
        expected |= {"n_fft": 400, "hop_length": 160, "chunk_length": 30, "feature_size": bands}
    for key, value in expected.items():
        found = (checkpoint.preprocessor or {}).get(key, value)
        if found != value:
            raise BackboneError(
                f"{checkpoint.source.shown}: its preprocessor has {key} = {found}; only {value} is supported."
            )


def _identity(
    checkpoint: Checkpoint, family: str, normalise: bool, options: BackboneOptions, weights: str
) -> Mapping[str, Any]:
    """What makes the features, and nothing else: where the files came from is provenance."""
    identity: dict[str, Any] = {
        "family": family,
        "weights": weights,
        "config": sha256_of_value({k: v for k, v in checkpoint.config.items() if k not in _VOLATILE}),
        "normalise": normalise,
        "max_seconds": options.max_seconds,
        "precision": "fp32" if options.precision == AUTO else options.precision,
        "resampler": audio.RESAMPLER,
        "channels": audio.CHANNELS,
        "features_version": FEATURES_VERSION,
    }
    if family == "whisper":
        identity["context"] = options.context
    return identity
