"""The demonstration from end to end: speak a corpus, make its manifest, extract, train the heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from ser_cache.backbones.loading import BackboneOptions
from ser_cache.backbones.untrained import save_untrained_wav2vec2
from ser_cache.demo.corpus import DemoOptions, state, synthesise
from ser_cache.errors import DemoError
from ser_cache.extraction import ExtractionOptions, choose_folder, extract, opening
from ser_cache.importing import prepare, read_table
from ser_cache.manifest import Manifest, write_manifest
from ser_cache.probing import ProbeOptions, probe
from ser_cache.results import RunSummary
from ser_cache.settings import Locations, remember_root
from ser_cache.splits import SplitOptions
from ser_cache.store import open_features

CORPUS = "demo"
BACKBONE = "untrained-wav2vec2"

OnStep = Callable[[str, int, int], None]
"""Receives (step, done, total) as a step goes on."""


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration made.

    Attributes:
        where: its own manifests, cache and runs, so that nothing of the user's is touched.
        manifest: of the synthetic corpus.
        summaries: one per backbone and head.
        seconds: wall time of this run.
        resumed: whether an earlier run had got beyond the speech, which this one then took up.
    """

    where: Locations
    manifest: Manifest
    summaries: tuple[RunSummary, ...]
    seconds: float
    resumed: bool


def run_demo(folder: Path, options: DemoOptions, on_step: OnStep = lambda *_: None) -> DemoReport:
    """Run every stage in a folder of its own; what an earlier run finished is reused.

    Args:
        folder: for the corpus, the model, manifests, cache and runs.
        options: which corpus to speak.
        on_step: told how each step goes on.

    Raises:
        DemoError: the speech synthesiser is missing or fails, or a clip could not be used.
        SerCacheError: whatever a stage raises.
    """
    started = perf_counter()
    where = Locations(folder / "manifests", folder / "cache", folder / "runs")
    resumed = state(folder / "corpus", options) == "good"
    table = synthesise(folder / "corpus", options, lambda done, total: on_step("speaking", done, total))
    manifest = _manifest(table, where, on_step)
    model = _model(folder, options.seed)
    summaries: list[RunSummary] = []
    for name in ("mfcc", str(model)):
        features = _extract(name, manifest, table.parent, where, on_step)
        summaries += _probe(features, manifest, where, on_step)
    return DemoReport(where, manifest, tuple(summaries), perf_counter() - started, resumed)


def _model(folder: Path, seed: int) -> Path:
    """The untrained model of this seed; made once, because another torch may draw other weights."""
    model = folder / f"{BACKBONE}-{seed}"
    if not (model / "model.safetensors").exists():  # which is put in place last
        save_untrained_wav2vec2(model, seed)
    return model


def _manifest(table: Path, where: Locations, on_step: OnStep) -> Manifest:
    imported = prepare(
        CORPUS,
        read_table(table, table.parent),
        table.parent,
        lambda done, total: on_step("decoding", done, total),
        strict=True,
    )
    write_manifest(where.manifests / f"{CORPUS}.csv", imported.manifest)
    remember_root(where.manifests, CORPUS, table.parent)
    return imported.manifest


def _extract(model: str, manifest: Manifest, root: Path, where: Locations, on_step: OnStep) -> Path:
    extractor = opening.load_extractor(model, BackboneOptions())
    options = ExtractionOptions()
    folder = choose_folder(where.cache, CORPUS, extractor, options, extractor.identity)
    step = f"extracting {extractor.name}"
    report = extract(
        extractor,
        manifest.utterances,
        root,
        folder,
        options,
        lambda progress: on_step(step, progress.utterances, progress.total),
    )
    for identifier, reason in report.failed.items():
        raise DemoError(f"{identifier} could not be extracted: {reason}")
    return folder


def _probe(folder: Path, manifest: Manifest, where: Locations, on_step: OnStep) -> list[RunSummary]:
    options = ProbeOptions(split=SplitOptions(kind="folds", folds=3))
    step = f"training on {folder.parent.name}"
    with open_features(folder, manifest.utterances) as features:
        return probe(
            features,
            manifest,
            options,
            where.runs,
            lambda progress: on_step(step, progress.done, progress.total),
        )
