"""The backbones known by a short name; imports no torch, so that listing them is instant.

Layers and widths are those of the published checkpoints. A revision is pinned where the commit could be
confirmed in several independent public sources; without one the hub's ``main`` branch is taken.
"""

from dataclasses import dataclass

FRAMES_PER_SECOND = 50
"""Every listed family makes one frame of 320 samples at 16 kHz."""


@dataclass(frozen=True)
class BackboneSpec:
    """What is known about a backbone without touching its files.

    Attributes:
        alias: the short name, also its folder in the cache.
        hub_id: repository on the Hugging Face hub.
        family: "wav2vec2", "hubert", "wavlm" or "whisper".
        layers: number of Transformer blocks L; the cache holds L + 1 states, layer 0 being their input.
        width: features per frame d.
        revision: pinned commit of the repository; empty: the branch ``main``.
        note: one phrase for ``ser models``.
    """

    alias: str
    hub_id: str
    family: str
    layers: int
    width: int
    revision: str = ""
    note: str = ""


_SPECS = (
    BackboneSpec(
        "wav2vec2-base",
        "facebook/wav2vec2-base",
        "wav2vec2",
        12,
        768,
        revision="0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        note="English, D'Asaro et al. 2024",
    ),
    BackboneSpec(
        "wav2vec2-large",
        "facebook/wav2vec2-large",
        "wav2vec2",
        24,
        1024,
        note="English, D'Asaro et al. 2024",
    ),
    BackboneSpec(
        "xls-r",
        "facebook/wav2vec2-xls-r-300m",
        "wav2vec2",
        24,
        1024,
        revision="1a640f32ac3e39899438a2931f9924c02f080a54",
        note="128 languages, D'Asaro et al. 2024, Wang et al. 2023",
    ),
    BackboneSpec(
        "whisper-small-en",
        "openai/whisper-small.en",
        "whisper",
        12,
        768,
        revision="e8727524f962ee844a7319d92be39ac1bd25655a",
        note="English, D'Asaro et al. 2024",
    ),
    BackboneSpec(
        "whisper-small",
        "openai/whisper-small",
        "whisper",
        12,
        768,
        revision="973afd24965f72e36ca33b3055d56a652f456b4d",
        note="multilingual, D'Asaro et al. 2024",
    ),
    BackboneSpec(
        "whisper-medium",
        "openai/whisper-medium",
        "whisper",
        24,
        1024,
        revision="abdf7c39ab9d0397620ccaea8974cc764cd0953e",
        note="multilingual, D'Asaro et al. 2024",
    ),
    BackboneSpec(
        "wav2vec2-base-960h",
        "facebook/wav2vec2-base-960h",
        "wav2vec2",
        12,
        768,
        revision="22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        note="English, tuned for transcription, Wang et al. 2023",
    ),
    BackboneSpec(
        "wav2vec2-large-960h",
        "facebook/wav2vec2-large-960h",
        "wav2vec2",
        24,
        1024,
        revision="bdeaacdf88f7a155f50a2704bc967aa81fbbb2ab",
        note="English, tuned for transcription, Wang et al. 2023",
    ),
    BackboneSpec(
        "xlsr-53-english",
        "jonatasgrosman/wav2vec2-large-xlsr-53-english",
        "wav2vec2",
        24,
        1024,
        revision="569a6236e92bd5f7652a0420bfe9bb94c5664080",
        note="53 languages, tuned for English transcription, Wang et al. 2023",
    ),
    BackboneSpec(
        "voxpopuli-100k",
        "facebook/wav2vec2-large-100k-voxpopuli",
        "wav2vec2",
        24,
        1024,
        note="23 European languages",
    ),
    BackboneSpec(
        "hubert-base",
        "facebook/hubert-base-ls960",
        "hubert",
        12,
        768,
        revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        note="English",
    ),
    BackboneSpec(
        "hubert-large",
        "facebook/hubert-large-ll60k",
        "hubert",
        24,
        1024,
        revision="ff022d095678a2995f3c49bab18a96a9e553f782",
        note="English",
    ),
    BackboneSpec(
        "wavlm-base-plus",
        "microsoft/wavlm-base-plus",
        "wavlm",
        12,
        768,
        revision="4c66d4806a428f2e922ccfa1a962776e232d487b",
        note="English",
    ),
    BackboneSpec(
        "wavlm-large",
        "microsoft/wavlm-large",
        "wavlm",
        24,
        1024,
        revision="c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
        note="English",
    ),
    BackboneSpec(
        "whisper-tiny-en",
        "openai/whisper-tiny.en",
        "whisper",
        4,
        384,
        revision="87c7102498dcde7456f24cfd30239ca606ed9063",
        note="English",
    ),
    BackboneSpec(
        "whisper-tiny",
        "openai/whisper-tiny",
        "whisper",
        4,
        384,
        revision="169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        note="multilingual",
    ),
    BackboneSpec(
        "whisper-base-en",
        "openai/whisper-base.en",
        "whisper",
        6,
        512,
        revision="911407f4214e0e1d82085af863093ec0b66f9cd6",
        note="English",
    ),
    BackboneSpec(
        "whisper-base",
        "openai/whisper-base",
        "whisper",
        6,
        512,
        revision="e37978b90ca9030d5170a5c07aadb050351a65bb",
        note="multilingual",
    ),
    BackboneSpec(
        "whisper-large-v2",
        "openai/whisper-large-v2",
        "whisper",
        32,
        1280,
        revision="ae4642769ce2ad8fc292556ccea8e901f1530655",
        note="multilingual",
    ),
    BackboneSpec(
        "whisper-large-v3",
        "openai/whisper-large-v3",
        "whisper",
        32,
        1280,
        revision="06f233fe06e710322aca913c1bc4249a0d71fce1",
        note="multilingual, 128 mel bands",
    ),
)

BACKBONES: dict[str, BackboneSpec] = {spec.alias: spec for spec in _SPECS}
"""Every known backbone by its alias, in the order of ``ser models``."""


def bytes_per_hour(layers: int, width: int, itemsize: int = 2) -> int:
    """Bytes that one hour of audio takes in the cache, all layers.

    Args:
        layers: Transformer blocks L; L + 1 states are stored.
        width: features per frame.
        itemsize: bytes per value, 2 for fp16.
    """
    return (layers + 1) * width * itemsize * FRAMES_PER_SECOND * 3600
