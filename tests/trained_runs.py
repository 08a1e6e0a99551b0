"""Runs trained on the tone corpus through the real commands, with small random models, for predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from small_corpora import PATTERN, write_tone_corpus
from small_models import save_wav2vec2, save_whisper

from ser_cache.cli import run
from ser_cache.results import Run, list_runs, read_run


@dataclass(frozen=True)
class Workshop:
    """A folder with everything in it.

    Attributes:
        folder: of manifests, cache and runs.
        audio: the corpus's root.
        wav2vec2: a random model with a layer norm in its convolutions.
        whisper: a random model.
    """

    folder: Path
    audio: Path
    wav2vec2: Path
    whisper: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def extract(self, *arguments: str) -> None:
        """Run ``ser extract`` here."""
        assert run(["extract", *arguments, *self._places("manifests", "cache")]) == 0

    def probe(self, *arguments: str) -> None:
        """Run ``ser probe`` here: three folds, two seeds, few epochs."""
        quick = ["--split", "folds", "--folds", "3", "--seeds", "2", "--epochs", "3"]
        assert run(["probe", *arguments, *quick, *self._places("manifests", "cache", "runs")]) == 0

    def run_of(self, backbone: str, head: str) -> Run:
        """The one run of a backbone's folder and a head."""
        found = [read_run(path) for path in list_runs(self.runs)]
        (wanted,) = [r for r in found if (r.config.backbone, r.config.head) == (backbone, head)]
        return wanted

    def clip(self, identifier: str) -> Path:
        """The audio of an utterance."""
        return self.audio / f"{identifier}.wav"

    def _places(self, *names: str) -> list[str]:
        return [word for name in names for word in (f"--{name}", str(self.folder / name))]


def open_workshop(folder: Path) -> Workshop:
    """Make corpus, manifest and models."""
    audio = write_tone_corpus(folder / "tones")
    places = ["--manifests", str(folder / "manifests")]
    assert run(["manifest", "tones", str(audio), "--pattern", PATTERN, *places]) == 0
    models = folder / "models"
    return Workshop(
        folder=folder,
        audio=audio,
        wav2vec2=save_wav2vec2(models / "tiny-wav2vec2", norm="layer"),
        whisper=save_whisper(models / "tiny-whisper"),
    )
