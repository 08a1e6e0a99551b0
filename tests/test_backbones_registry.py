"""What is known of backbones without their weights: the table, frames per clip, and outlines."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_cache.backbones.loading import FAMILIES, BackboneOptions, describe
from ser_cache.backbones.outline import ConvolutionFrames, WhisperFrames
from ser_cache.backbones.registry import BACKBONES, bytes_per_hour
from ser_cache.errors import BackboneError


@pytest.mark.parametrize(
    ("alias", "hub_id", "layers", "width"),
    [
        ("wav2vec2-base", "facebook/wav2vec2-base", 12, 768),
        ("wav2vec2-large", "facebook/wav2vec2-large", 24, 1024),
        ("xls-r", "facebook/wav2vec2-xls-r-300m", 24, 1024),
        ("whisper-small-en", "openai/whisper-small.en", 12, 768),
        ("whisper-small", "openai/whisper-small", 12, 768),
        ("whisper-medium", "openai/whisper-medium", 24, 1024),
        # those above are the paper's six, those below run on a laptop or are the largest
        ("whisper-tiny", "openai/whisper-tiny", 4, 384),
        ("whisper-tiny-en", "openai/whisper-tiny.en", 4, 384),
        ("whisper-base", "openai/whisper-base", 6, 512),
        ("whisper-base-en", "openai/whisper-base.en", 6, 512),
        ("whisper-large-v2", "openai/whisper-large-v2", 32, 1280),
    ],
)
def test_models_have_their_published_shapes(alias, hub_id, layers, width):
    spec = BACKBONES[alias]
    assert (spec.alias, spec.hub_id, spec.layers, spec.width) == (alias, hub_id, layers, width)
    assert describe(alias).geometry.layers == tuple(range(layers + 1))


@pytest.mark.parametrize(
    ("alias", "folder"),
    [("whisper-base", "whisper-base-encoder"), ("whisper-tiny-en", "whisper-tiny.en-encoder")],
)
def test_real_checkpoints_have_the_shapes_that_their_aliases_say(shared, alias, folder):
    assert describe(alias).geometry == describe(str(shared / "models" / folder)).geometry


@pytest.mark.parametrize("spec", BACKBONES.values(), ids=BACKBONES)
def test_every_entry_can_be_loaded_by_a_known_family_and_is_pinned_to_a_commit_or_to_nothing(spec):
    assert spec.family in FAMILIES
    assert len(spec.revision) in (0, 40)
    assert set(spec.revision) <= set("0123456789abcdef")


def test_an_hour_takes_the_space_the_documentation_says():
    assert bytes_per_hour(12, 768) == pytest.approx(3.6e9, rel=0.01)
    assert bytes_per_hour(24, 1024) == pytest.approx(9.2e9, rel=0.01)


def test_listing_and_outlining_import_neither_torch_nor_transformers():
    code = (
        "import sys; import ser_cache.backbones.registry; from ser_cache.backbones.loading import describe;"
        "describe('xls-r'); heavy = ('torch', 'transformers', 'huggingface_hub');"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@given(st.integers(0, 100_000))
def test_convolution_frames_equal_a_count_of_the_steps(samples):
    length = samples
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        length = len(range(0, length - kernel + 1, stride))
    assert ConvolutionFrames().frames(samples) == length


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49)]
)
def test_400_samples_are_the_shortest_clip_of_the_convolutional_models(samples, frames):
    assert ConvolutionFrames().frames(samples) == frames


@pytest.mark.parametrize(
    ("samples", "frames", "audio", "full"),
    [(1, 1, 320, 480_000), (320, 1, 320, 480_000), (321, 2, 640, 480_000), (480_001, 1501, 480_320, 960_000)],
)
def test_whisper_has_a_frame_per_started_320_samples(samples, frames, audio, full):
    for context, padded in (("audio", audio), ("full", full)):
        rule = WhisperFrames(context)
        assert (rule.frames(samples), rule.padded_samples(samples)) == (frames, padded)


@pytest.mark.parametrize(
    ("model", "options", "variant"),
    [
        ("whisper-small", {}, ""),
        ("whisper-small", {"context": "full"}, "full"),
        ("whisper-small", {"context": "full", "max_seconds": 6}, "full+max6s"),
        ("xls-r", {"normalise": False, "max_seconds": 2.5}, "raw+max2.5s"),
        ("xls-r", {"normalise": True}, "norm"),
    ],
)
def test_only_options_that_change_the_features_show_in_the_variant(model, options, variant):
    assert describe(model, BackboneOptions(**options)).variant == variant


def test_a_context_is_whispers_alone():
    with pytest.raises(BackboneError, match=r"xls-r is no Whisper model.*leave --whisper-context out"):
        describe("xls-r", BackboneOptions(context="full"))


def test_a_cut_to_some_seconds_bounds_frames_and_work():
    outline = describe("xls-r", BackboneOptions(max_seconds=1))
    assert outline.frames(16_000) == outline.frames(160_000) == 49
    assert outline.padded_samples(160_000) == 16_000
    assert outline.frames(399) == 0
