"""Exact single precision: which flags are set meanwhile, and that they are as they were afterwards.

The flags exist without a GPU, so this runs anywhere; it says nothing of what a GPU makes of them.
"""

import types
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import small_models
import torch

from ser_cache.backbones import packing
from ser_cache.backbones.loading import BackboneOptions, load
from ser_cache.backbones.packing import exact_float32, require_exact_environment
from ser_cache.errors import BackboneError

CUDA = torch.device("cuda")
new_flags = pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="needs the flags of torch 2.9"
)


def flags():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return (cudnn.conv.fp32_precision, matmul.fp32_precision, cudnn.deterministic, cudnn.benchmark)
    return (cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark)


@pytest.fixture
def _restored():
    """Both kinds of flags as they were, whatever a test set."""
    before = torch.backends.fp32_precision
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    own = (cudnn.conv.fp32_precision, matmul.fp32_precision)
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.fp32_precision = before
    cudnn.conv.fp32_precision, matmul.fp32_precision = own


def test_products_and_convolutions_are_exact_inside_and_flags_restored_after():
    before = flags()
    with exact_float32(CUDA):
        assert flags() in {("ieee", "ieee", True, False), (False, False, True, False)}
    assert flags() == before
    with pytest.raises(KeyError), exact_float32(CUDA):
        raise KeyError
    assert flags() == before


@new_flags
@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("way", ["old matmul", "new matmul", "everything", "one convolution"])
def test_a_program_that_allows_tf32_is_overruled_and_gets_it_back(way):
    if way == "old matmul":
        torch.set_float32_matmul_precision("high")
    elif way == "new matmul":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    elif way == "everything":
        torch.backends.fp32_precision = "tf32"
    else:
        torch.backends.cudnn.conv.fp32_precision = "ieee"
    before = flags()
    with exact_float32(CUDA):
        assert flags() == ("ieee", "ieee", True, False)
    assert flags() == before


def test_an_older_torch_has_its_older_flags_set(monkeypatch):
    cudnn = types.SimpleNamespace(benchmark=True, deterministic=False, allow_tf32=True)
    matmul = types.SimpleNamespace(allow_tf32=True)
    backends = types.SimpleNamespace(cudnn=cudnn, cuda=types.SimpleNamespace(matmul=matmul))
    monkeypatch.setattr(packing, "torch", types.SimpleNamespace(backends=backends))
    with exact_float32(CUDA):
        assert (cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark) == (False, False, False)
        assert cudnn.deterministic
    assert cudnn.allow_tf32
    assert matmul.allow_tf32
    assert cudnn.benchmark
    assert not cudnn.deterministic


@new_flags
def test_a_processor_is_exact_inside_too_and_its_flags_restored_after():
    onednn = torch.backends.mkldnn
    torch.set_float32_matmul_precision("medium")
    try:
        before = (onednn.conv.fp32_precision, onednn.matmul.fp32_precision)
        with exact_float32(torch.device("cpu")):
            assert (onednn.conv.fp32_precision, onednn.matmul.fp32_precision) == ("ieee", "ieee")
        assert (onednn.conv.fp32_precision, onednn.matmul.fp32_precision) == before
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    "save", [partial(small_models.save_wav2vec2, hidden_size=64), small_models.save_whisper]
)
def test_a_flag_of_the_program_does_not_round_the_features(tmp_path, save):
    """On a processor with bf16 units it did, by half a percent, and no fingerprint knew.

    Whisper's spectrograms are made in other threads than its states, so they need a guard of their own.
    """
    folder = save(tmp_path / "random")
    clip = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)

    def features():
        model = load(str(folder), BackboneOptions(device="cpu"))
        return torch.cat(list(small_models.states(model, [clip]).values()))

    plain = features()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(features(), plain)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("variable", ["ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"])
def test_an_environment_that_rounds_is_refused(tmp_path, monkeypatch, variable):
    model = small_models.save_wav2vec2(tmp_path / "random")
    monkeypatch.setenv(variable, "strict")
    load(str(model), BackboneOptions(device="cpu"))
    monkeypatch.setenv(variable, "BF16")
    with pytest.raises(BackboneError, match=f"{variable}=BF16 would round the features"):
        load(str(model), BackboneOptions(device="cpu"))


@pytest.mark.parametrize(("value", "rounds"), [("", False), ("0", False), ("1", True)])
def test_an_environment_that_rounds_on_a_gpu_is_refused_there_alone(monkeypatch, value, rounds):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    require_exact_environment(torch.device("cpu"))
    refusal = pytest.raises(BackboneError, match=r"NVIDIA_TF32_OVERRIDE=1 .* unset it")
    with refusal if rounds else nullcontext():
        require_exact_environment(CUDA)


def test_other_devices_keep_their_flags():
    before = flags()
    with exact_float32(torch.device("cpu")):
        assert flags() == before
