"""From names and folders to extractors, and what is refused on the way."""

import json
import os
import re
import shutil
import socket
from types import SimpleNamespace

import huggingface_hub
import pytest
import small_models
import torch
import transformers
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from ser_cache.backbones import checkpoints, weights
from ser_cache.backbones.loading import BackboneOptions, describe, load
from ser_cache.backbones.registry import BACKBONES
from ser_cache.errors import BackboneError, SettingsError, UnknownNameError

CPU = BackboneOptions(device="cpu")
CUDA = torch.device("cuda")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return small_models.save_wav2vec2(tmp_path_factory.mktemp("models") / "tiny", norm="layer")


@pytest.fixture
def copy(saved, tmp_path):
    """A copy of the small wav2vec 2.0 that a test may damage."""
    return shutil.copytree(saved, tmp_path / "tiny")


def change_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rename_weights(folder, rename):
    """Save the weights under other names; ``rename`` gives None for a weight to drop."""
    path = folder / "model.safetensors"
    weights = {rename(name): tensor for name, tensor in load_file(path).items() if rename(name)}
    save_file(weights, path, metadata={"format": "pt"})


def test_a_folder_is_named_by_its_basename_or_as_asked(saved):
    assert load(str(saved), CPU).name == "tiny"
    assert load(str(saved), BackboneOptions(device="cpu", name="my-model")).name == "my-model"


def test_the_name_to_extract_again_with_is_recorded_as_it_was_given(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    given = f"./{saved.name}"
    model = load(given, BackboneOptions(device="cpu", name="my-model"))
    assert model.provenance.items() >= {"model": given, "hub_id": "", "revision": ""}.items()


def test_the_outline_of_a_folder_equals_that_of_the_loaded_model(saved):
    outline, model = describe(str(saved)), load(str(saved), CPU)
    assert (outline.name, outline.variant, outline.geometry) == (model.name, model.variant, model.geometry)
    assert outline.geometry.layers == (0, 1, 2, 3)
    assert [outline.frames(n) for n in (100, 5_000)] == [model.frames(n) for n in (100, 5_000)]


def test_loading_prints_nothing(copy, capfd):
    rename_weights(copy, lambda name: f"wav2vec2.{name}")
    load(str(copy), CPU)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("layout", ["pickle", "old names", "head", "shards", "no pre-training weights"])
def test_the_same_weights_have_the_same_identity_however_they_are_stored(saved, copy, layout):
    path = copy / "model.safetensors"
    weights = load_file(path)
    if layout == "pickle":
        torch.save(weights, copy / "pytorch_model.bin")
        path.unlink()
    elif layout == "old names":  # as saved before torch had parametrizations
        rename_weights(
            copy,
            lambda n: n.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ),
        )
        assert any(name.endswith("weight_g") for name in load_file(path))
    elif layout == "head":  # as in a model tuned for transcription
        save_file(
            {**{f"wav2vec2.{n}": t for n, t in weights.items()}, "lm_head.weight": torch.zeros(8, 32)},
            path,
            metadata={"format": "pt"},
        )
    elif layout == "shards":
        transformers.Wav2Vec2Model.from_pretrained(saved).save_pretrained(copy, max_shard_size="40KB")
        path.unlink(missing_ok=True)
        assert len(list(copy.glob("model-*.safetensors"))) > 1
        shutil.copy(saved / "config.json", copy)
    else:
        rename_weights(copy, lambda name: None if name == "masked_spec_embed" else name)
    assert load(str(copy), CPU).identity == load(str(saved), CPU).identity


def test_half_precision_weights_are_computed_in_single_precision(saved, copy):
    halves = {name: tensor.half() for name, tensor in load_file(copy / "model.safetensors").items()}
    save_file(halves, copy / "model.safetensors", metadata={"format": "pt"})
    change_json(copy / "config.json", dtype="float16")
    model = load(str(copy), CPU)
    assert {parameter.dtype for parameter in model._encoder.parameters()} == {torch.float32}
    assert model.identity["weights"] != load(str(saved), CPU).identity["weights"]


def test_where_the_weights_came_from_is_recorded_but_does_not_make_the_features(saved, copy):
    change_json(
        copy / "config.json", transformers_version="4.0.0", _name_or_path="elsewhere", dtype="float64"
    )
    assert load(str(copy), CPU).identity == load(str(saved), CPU).identity
    change_json(copy / "config.json", layer_norm_eps=1e-3)
    assert load(str(copy), CPU).identity != load(str(saved), CPU).identity


def test_identity_is_json_and_tells_options_apart(saved):
    options = [{}, {"normalise": False}, {"max_seconds": 6}]
    spellings = {json.dumps(load(str(saved), BackboneOptions(device="cpu", **o)).identity) for o in options}
    assert len(spellings) == len(options)


def test_settings_nested_in_a_processor_are_found(copy):
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").unlink()
    (copy / "processor_config.json").write_text(json.dumps({"feature_extractor": settings}))
    assert load(str(copy), CPU).identity["normalise"] is True


def test_an_unknown_name_lists_the_known_ones_and_says_what_else_works():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'xls-r'.*whisper-small.*hub id.*local folder"):
        describe("xlsr")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "whisper-turbo-x",
            "give its hub id as its page on the hub has it (such as openai/whisper-small.en)",
        ),
        ("hubert-xlarge-ll60k", "(such as facebook/hubert-base-ls960), or a local folder."),
        ("whisper-tiny.en", "Did you mean 'whisper-tiny-en'"),
        ("whisper-meduim", "Did you mean 'whisper-medium'"),
        ("wavlm-base", "Did you mean 'wavlm-base-plus'"),
    ],
)
def test_a_sibling_without_an_alias_is_not_taken_for_a_slip_of_the_pen(name, says):
    with pytest.raises(UnknownNameError) as caught:
        describe(name)
    assert says in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == ("Did you mean" in says)


@pytest.mark.parametrize("options", [{"context": "whole"}, {"device": "tpu"}])
def test_an_unknown_option_lists_the_known_ones(options):
    with pytest.raises(UnknownNameError, match="Known: "):
        BackboneOptions(**options)


class Refused:
    """An encoder whose move to a device ends with an error."""

    def __init__(self, error: RuntimeError) -> None:
        self.error = error

    def to(self, device):
        raise self.error


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_a_gpu_without_room_for_the_weights_names_the_way_out(saved, kind):
    checkpoint = checkpoints.find(checkpoints.resolve(str(saved)))
    with pytest.raises(
        BackboneError, match=r"tiny does not fit into the free memory of cuda: .* --device cpu"
    ):
        weights.move(checkpoint, Refused(kind("CUDA out of memory. Tried to allocate 9 GiB.")), CUDA)
    with pytest.raises(RuntimeError, match="device-side assert"):
        weights.move(checkpoint, Refused(RuntimeError("CUDA error: device-side assert triggered")), CUDA)


def test_cuda_without_a_device_is_an_error_that_names_the_way_out(saved, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="--device cpu or auto"):
        load(str(saved), BackboneOptions(device="cuda"))


@pytest.mark.parametrize("use", [describe, load])
def test_options_that_mean_nothing_to_a_model_are_refused(saved, use):
    with pytest.raises(BackboneError, match=r"tiny is no Whisper model.*leave --whisper-context out"):
        use(str(saved), BackboneOptions(device="cpu", context="full"))
    with pytest.raises(BackboneError, match=r"tiny is a local folder.*no revision v2; leave --revision out"):
        use(str(saved), BackboneOptions(device="cpu", revision="v2"))


def test_folders_that_hold_no_checkpoint_are_named(tmp_path, copy):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "a b").mkdir()
    for path, message in [
        (tmp_path / "empty", r"empty holds no config\.json"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "gone", "there is no folder"),
        (tmp_path / "a b", "--name"),
    ]:
        with pytest.raises(BackboneError, match=message):
            load(str(path), CPU)
    with pytest.raises(BackboneError, match="cannot be a folder of the cache"):
        load(str(copy), BackboneOptions(name="a/b"))


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def damaged_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not a pickle")


def foreign_names(folder):
    """What ``WhisperEncoder.from_pretrained`` meets: transformers would go on with random weights."""
    rename_weights(folder, lambda name: f"other.{name}")


def one_weight_missing(folder):
    rename_weights(
        folder, lambda name: None if name == "encoder.layers.1.feed_forward.output_dense.weight" else name
    )


def positional_weight_missing(folder):
    rename_weights(folder, lambda name: None if name.endswith("original1") else name)


def other_shape(folder):
    change_json(folder / "config.json", intermediate_size=48)


def infinite_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer_norm.weight"][0] = float("inf")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def other_kind(folder):
    change_json(folder / "config.json", model_type="bert")


def broken_config(folder):
    (folder / "config.json").write_text("{")


def config_without_width(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))


def no_preprocessor(folder):
    (folder / "preprocessor_config.json").unlink()


def other_rate(folder):
    change_json(folder / "preprocessor_config.json", sampling_rate=8000)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_weights, r"holds no weights \(model\.safetensors, pytorch_model\.bin\)"),
        (truncated_weights, "cannot be loaded .*download them again"),
        (damaged_pickle, "cannot be loaded .*download them again"),
        (foreign_names, r"lacks \d+ of the encoder's weights.*random"),
        (one_weight_missing, r"lacks 1 of the encoder's weights, encoder\.layers\.1\.feed_forward"),
        (positional_weight_missing, "lacks 1 of the encoder's weights, encoder.pos_conv_embed"),
        (other_shape, "cannot be loaded|lacks"),
        (infinite_weight, r"encoder\.layer_norm\.weight holds values that are not finite"),
        (other_kind, "type 'bert' are not supported; known types: wav2vec2, hubert, wavlm, whisper"),
        (broken_config, "cannot be read as JSON"),
        (config_without_width, "hidden_size"),
        (no_preprocessor, r"--normalise yes\|no"),
        (other_rate, "sampling_rate = 8000; only 16000"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_checkpoint_that_would_give_wrong_features_is_refused_in_one_line(copy, damage, message):
    damage(copy)
    with pytest.raises(BackboneError, match=message) as caught:
        load(str(copy), CPU)
    assert "\n" not in str(caught.value)
    assert "tiny" in str(caught.value)


def test_a_missing_preprocessor_is_no_obstacle_when_the_user_says_how_to_normalise(copy):
    no_preprocessor(copy)
    model = load(str(copy), BackboneOptions(device="cpu", normalise=True))
    assert (model.identity["normalise"], model.variant) == (True, "norm")


def test_a_whisper_encoder_saved_alone_is_refused_or_complete_never_random(tmp_path):
    whole = small_models.save_whisper(tmp_path / "whole")
    weights = load_file(whole / "model.safetensors")
    encoder = {name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}
    for prefix in ("", "model.", "other."):
        folder = shutil.copytree(whole, tmp_path / f"prefix-{prefix}x")
        renamed = {f"{prefix}{name}": tensor for name, tensor in encoder.items()}
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
        if prefix == "other.":
            with pytest.raises(BackboneError, match="encoder's weights"):
                load(str(folder), CPU)
        else:
            assert load(str(folder), CPU).identity == load(str(whole), CPU).identity


def test_whisper_with_other_windows_is_refused(tmp_path):
    folder = small_models.save_whisper(tmp_path / "short", max_source_positions=750)
    with pytest.raises(BackboneError, match="750 positions"):
        load(str(folder), CPU)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty local cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: False)
    return tmp_path / "hub"


def put_in_hub_cache(hub, saved, repository="org/tiny", revision="main"):
    folder = hub / f"models--{repository.replace('/', '--')}"
    shutil.copytree(saved, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / revision).write_text(COMMIT)


@pytest.mark.parametrize("model", ["whisper-small", "org/never-heard-of"])
def test_a_model_out_of_reach_says_how_to_get_it(hub, model):
    with pytest.raises(
        BackboneError, match=r"config\.json.*out of reach .*; run `hf download .*HF_HOME.*folder"
    ):
        load(model, CPU)


def test_no_repository_is_advised_that_is_not_known():
    for name in ("whisper-gigantic", "hubert-xlarge-ll60k", "wavlm-nonsense", "wav2vec2-conformer-rel-pos"):
        with pytest.raises(UnknownNameError) as caught:
            describe(name)
        named = set(re.findall(r"\b(?:openai|facebook|microsoft)/[\w.-]*\w", str(caught.value)))
        assert named <= {spec.hub_id for spec in BACKBONES.values()}


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        ("openai/whisper-smal", " (did you mean openai/whisper-small, alias whisper-small?)"),
        ("facebook/wav2vec-xls-r-300m", " (did you mean facebook/wav2vec2-xls-r-300m, alias xls-r?)"),
        ("openai/whisper-small", ""),
        ("org/never-heard-of", ""),
    ],
)
@pytest.mark.parametrize("reachable", [False, True])
def test_a_slip_in_a_hub_id_is_told_with_the_known_one(hub, monkeypatch, model, meant, reachable):
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: reachable)
    answer = SimpleNamespace(headers={}, request=None)  # all that the hub's error looks at
    unknown = errors.RepositoryNotFoundError("Repository Not Found", response=answer)
    if reachable:
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off(unknown))
    with pytest.raises(BackboneError) as caught:
        load(model, CPU)
    said = str(caught.value)
    assert ("did you mean" in said, meant in said) == (bool(meant), True)
    assert ("the hub has no repository" in said) == reachable


def test_a_model_in_the_hubs_cache_needs_no_network(hub, saved):
    put_in_hub_cache(hub, saved)
    model = load("org/tiny", CPU)
    assert model.name == "org--tiny"
    assert model.provenance.items() >= {"model": "org/tiny", "hub_id": "org/tiny", "revision": COMMIT}.items()
    assert model.identity == load(str(saved), CPU).identity
    assert load("org/tiny", BackboneOptions(device="cpu", revision=COMMIT)).identity == model.identity
    assert describe("org/tiny").geometry == model.geometry


def test_weights_missing_from_the_hubs_cache_are_named(hub, saved, copy):
    no_weights(copy)
    put_in_hub_cache(hub, copy)
    assert describe("org/tiny").geometry.width == small_models.WIDTH
    with pytest.raises(BackboneError, match="org/tiny: the hub's local cache lacks the weights"):
        load("org/tiny", CPU)


def test_an_alias_is_looked_up_at_its_pinned_revision(hub):
    with pytest.raises(BackboneError, match=r"facebook/wav2vec2-xls-r-300m.*--revision 1a640f32ac3e"):
        load("xls-r", CPU)


def breaks_off(hub_error):
    """A download in which the hub's client ends with an error."""

    def download(*args, **kwargs):
        raise hub_error

    return download


def hub_is_down():
    """What the hub's client makes of a 5xx or a timeout when its cache lacks the file, too."""
    error = errors.LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub")
    error.__cause__ = TimeoutError("timed out")
    return error


def test_a_hub_that_does_not_answer_is_not_a_file_that_is_not_there(hub, monkeypatch):
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off(hub_is_down()))
    with pytest.raises(BackboneError, match=r"org/x: .*cannot be reached just now.*\(timed out\); try again"):
        load("org/x", CPU)
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: False)
    with pytest.raises(BackboneError, match=r"lacks config\.json.*out of reach"):
        load("org/x", CPU)


def test_a_preprocessor_that_cannot_be_had_just_now_does_not_count_as_absent(hub, saved, copy, monkeypatch):
    no_preprocessor(copy)
    put_in_hub_cache(hub, copy)
    commit = BackboneOptions(device="cpu", revision=COMMIT, normalise=True)
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off(hub_is_down()))
    with pytest.raises(BackboneError, match=r"just now for preprocessor_config\.json"):
        load("org/tiny", commit)
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: False)
    assert load("org/tiny", commit).identity["normalise"] is True


def test_a_repository_without_a_configuration_is_told_from_a_hub_that_is_down(hub, monkeypatch):
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off(errors.EntryNotFoundError("404")))
    with pytest.raises(BackboneError, match=r"does not hold config\.json; it is no transformers checkpoint"):
        load("org/x", CPU)


def test_a_connection_that_breaks_off_is_one_line(hub, monkeypatch):
    transport = errors.HfHubHTTPError.__bases__[0]
    assert not issubclass(transport, OSError)
    monkeypatch.setattr(checkpoints, "_hub_is_reachable", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks_off(transport("peer closed connection")))
    with pytest.raises(BackboneError, match=r"config\.json .*\(peer closed connection\); try again"):
        load("org/x", CPU)


@pytest.mark.parametrize(
    ("variables", "reachable"),
    [
        ({}, False),
        ({"no_proxy": "localhost"}, False),
        ({"no_proxy": "localhost", "https_proxy": "http://proxy:3128"}, True),
        ({"ALL_PROXY": "socks5://proxy:1080"}, True),
    ],
)
def test_only_a_proxy_stands_in_for_name_resolution(monkeypatch, variables, reachable):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", breaks_off(socket.gaierror("no such host")))
    assert checkpoints._hub_is_reachable() is reachable
