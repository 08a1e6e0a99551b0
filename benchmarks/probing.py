"""One pass over the cache against run by run, the usual script, and the backbone in the loop.

python benchmarks/probing.py models/whisper-base-encoder emovo
python benchmarks/probing.py models/whisper-base-encoder emovo --device cuda --usual-epochs 30 --usual-seeds 5

The model is what `ser extract --model` took, the corpus one that is cached for it and whose audio is at hand.
All ways train the paper's three heads on the same split (by speaker, seed 0), for the epochs of the protocol,
and take turns, `--rounds` times; a ratio is the median over the rounds of two times of the same round.

- one pass: what `ser probe --head all --seeds 5` does after start-up, until the runs are written.
- single runs: the same models one by one, `--single-seeds` of each head, times seeds / single seeds: a head's
  runs differ in the seed alone.
- usual script: `usual_training.py`, over one fp32 .npy of all layers an utterance, written beforehand;
  `--usual-seeds` of each head, likewise scaled. Of each run `--usual-epochs` epochs are timed, validation
  included, and the rest counted at the mean of those after the first. It is tried with and without worker
  processes for an epoch, and takes what is faster.
- backbone in the loop, SUPERB's manner: every step prepares a batch of waveforms (decoded beforehand, in
  memory), runs the frozen backbone on it without gradients, pads its layers and trains the head; the
  validation side goes through the backbone in every epoch, the test side once. `--loop-steps` batches of each
  are timed after a warm-up, and scaled by their seconds of audio to all epochs. The forward is that of
  `ser extract`, in the precision of the cache, so the loop lacks nothing that the cache had.
- re-probing: one run of one head from the cache, seed 0.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from machine import Stolen, machine
from numpy.typing import NDArray
from torch.nn import functional
from usual_training import UsualCase, UsualHead, adam, layers_read, train_usually

from ser_cache import settings
from ser_cache.audio import SAMPLE_RATE, read
from ser_cache.backbones.loading import BackboneOptions
from ser_cache.devices import choose_device
from ser_cache.extraction import ExtractionOptions, choose_folder
from ser_cache.extraction.opening import load_extractor
from ser_cache.extraction.precision import cached_precision
from ser_cache.extractor import Extractor
from ser_cache.manifest import Manifest, path_of, read_manifest
from ser_cache.probing import Features, ProbeOptions, probe
from ser_cache.protocols import protocol_named
from ser_cache.splits import SplitOptions, make_splits
from ser_cache.store import open_features
from ser_cache.training import Sides

HEADS = ("linear", "nonlinear", "multilayer")
SPLIT = SplitOptions()
Times = dict[str, list[float]]
ONE_PASS, SINGLES, USUAL = "one pass", "single runs", "usual script"


@dataclass(frozen=True)
class Case:
    """One corpus under one backbone, and how much of each way is run."""

    features: Features
    manifest: Manifest
    extractor: Extractor
    root: Path
    options: ProbeOptions
    usual: UsualCase
    arguments: argparse.Namespace

    @property
    def epochs(self) -> int:
        """Of every run."""
        return self.options.protocol.training.epochs

    def audio(self, side: NDArray[np.int64]) -> float:
        """Seconds of audio of a side."""
        by_id = {utterance.id: utterance.samples for utterance in self.manifest.utterances}
        return sum(by_id[self.features.ids[place]] for place in side) / SAMPLE_RATE


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print both tables."""
    arguments = _arguments(words)
    where = settings.locate(arguments.manifests, arguments.cache, None)
    manifest = read_manifest(where.manifests / f"{arguments.corpus}.csv")
    root = arguments.root or settings.read_roots(where.manifests)[arguments.corpus]
    extractor = load_extractor(arguments.model, BackboneOptions(device=arguments.device))
    folder = choose_folder(where.cache, manifest.corpus, extractor, ExtractionOptions())
    extractor = extractor.at_precision(cached_precision(folder) or "fp32")
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        open_features(folder, manifest.utterances) as features,
    ):
        case = _case(features, manifest, extractor, root, arguments, Path(name))
        stolen = Stolen()
        times = measure(case, Path(name))
        report(case, times)
        print(f"\n{stolen}.")
    if arguments.json:
        arguments.json.write_text(json.dumps(times, indent=2) + "\n")


def measure(case: Case, temporary: Path) -> Times:
    """Wall seconds of each way in each round, whole or extrapolated as the module says."""
    workers = _best_workers(case)
    first = _Loop(case, "linear").rates()  # warms up the backbone; the probes' warm-up follows
    _probe(case, HEADS, (0,), temporary, epochs=1)
    _tell(f"warmed up: {1 / first[0]:.1f} s of audio/s through the backbone, {workers} worker processes")
    times: Times = {}

    def note(way: str, seconds: float) -> None:
        times.setdefault(way, []).append(seconds)
        _tell(f"round {len(times[way])}: {way} {seconds:.2f} s")

    seeds = case.options.seeds
    for _ in range(case.arguments.rounds):
        note(ONE_PASS, _probe(case, HEADS, seeds, temporary))
        for head in HEADS:
            singles = [
                _probe(case, (head,), (seed,), temporary) for seed in seeds[: case.arguments.single_seeds]
            ]
            note(f"probe {head}", singles[0])
            note(f"{SINGLES} {head}", sum(singles) * len(seeds) / len(singles))
        for head in HEADS:
            usual = [_usual(case, head, seed, workers) for seed in seeds[: case.arguments.usual_seeds]]
            note(f"{USUAL} {head}", sum(usual) * len(seeds) / len(usual))
        for head in HEADS:
            note(f"loop {head}", _Loop(case, head).seconds())
    for way in (SINGLES, USUAL):
        times[way] = [sum(each) for each in zip(*(times[f"{way} {head}"] for head in HEADS), strict=True)]
    return times


def _probe(
    case: Case, heads: Sequence[str], seeds: Sequence[int], temporary: Path, epochs: int | None = None
) -> float:
    protocol = case.options.protocol
    if epochs is not None:
        protocol = replace(protocol, training=replace(protocol.training, epochs=epochs))
    options = replace(case.options, heads=tuple(heads), seeds=tuple(seeds), protocol=protocol)
    started = perf_counter()
    probe(case.features, case.manifest, options, temporary / "runs")
    return perf_counter() - started


def _usual(case: Case, head: str, seed: int, workers: int, epochs: int | None = None) -> float:
    protocol = case.options.protocol
    timed = min(epochs or case.arguments.usual_epochs, case.epochs)
    options = replace(protocol.training, epochs=timed)
    run = train_usually(case.usual, head, protocol.head, options, seed, workers)
    return run.seconds_for(case.epochs)


def _best_workers(case: Case) -> int:
    """How many worker processes make the usual script fastest on the head that reads most."""
    if case.arguments.workers is not None:
        return int(case.arguments.workers)
    tried = {
        workers: _usual(case, "multilayer", 0, workers, epochs=2) for workers in (0, os.cpu_count() or 1)
    }
    return min(tried, key=tried.__getitem__)


class _Loop:
    """Training with the backbone in the loop."""

    def __init__(self, case: Case, head: str) -> None:
        self.case, self.head = case, head
        self.protocol, self.usual, geometry = case.options.protocol, case.usual, case.extractor.geometry
        self.layers = geometry.layers[layers_read(head)]
        torch.manual_seed(0)
        self.model = UsualHead(
            head, len(self.layers), geometry.width, self.usual.classes, self.protocol.head
        ).to(self.usual.device)
        self.optimiser = adam(self.model, self.protocol.training)

    def seconds(self) -> float:
        """Of a whole run, extrapolated by seconds of audio."""
        train, evaluation = self.rates()
        sides, audio = self.usual.sides, self.case.audio
        epoch = train * audio(sides.train) + evaluation * audio(sides.validation)
        return self.case.epochs * epoch + evaluation * audio(sides.test)

    def rates(self) -> tuple[float, float]:
        """Seconds per second of audio, in training and in evaluation."""
        size, steps = self.protocol.training.batch_size, self.case.arguments.loop_steps
        order = np.random.default_rng(0).permutation(self.usual.sides.train)
        batches = [order[start : start + size] for start in range(0, len(order), size)][:steps]
        held_out = [self.usual.sides.validation[start * size : (start + 1) * size] for start in range(steps)]
        return (
            self._rate(batches, self._train),
            self._rate([chosen for chosen in held_out if len(chosen)], self._evaluate),
        )

    def _rate(
        self,
        batches: Sequence[NDArray[np.int64]],
        step: Callable[[NDArray[np.int64], list[NDArray[np.float32]]], None],
    ) -> float:
        by_id = {utterance.id: utterance for utterance in self.case.manifest.utterances}
        chosen = [[by_id[self.case.features.ids[place]] for place in batch] for batch in batches]
        waves = [[read(path_of(self.case.root, one)).samples for one in batch] for batch in chosen]
        step(batches[0], waves[0])
        self._wait()
        started = perf_counter()
        for batch, wave in zip(batches, waves, strict=True):
            step(batch, wave)
        self._wait()
        samples = sum(one.samples for batch in chosen for one in batch)
        return (perf_counter() - started) / samples * SAMPLE_RATE

    def _wait(self) -> None:
        if self.usual.device.type == "cuda":
            torch.cuda.synchronize()

    def _states(self, waves: list[NDArray[np.float32]]) -> tuple[torch.Tensor, torch.Tensor]:
        """The backbone's layers, padded: (utterances, layers, longest, width), and their lengths."""
        extractor = self.case.extractor
        lengths = [extractor.frames(len(wave)) for wave in waves]
        shape = (len(waves), len(self.layers), max(lengths), extractor.geometry.width)
        padded = torch.zeros(shape, device=self.usual.device)
        place = {layer: number for number, layer in enumerate(self.layers)}

        def emit(layer: int, states: torch.Tensor) -> None:
            for row, part in zip(padded, states.split(lengths), strict=True):
                row[place[layer], : len(part)] = part

        extractor.forward([extractor.prepare(wave) for wave in waves], self.layers, emit)
        return padded, torch.tensor(lengths, device=self.usual.device)

    def _train(self, batch: NDArray[np.int64], waves: list[NDArray[np.float32]]) -> None:
        self.model.train()
        truth = torch.from_numpy(self.usual.labels[batch]).to(self.usual.device)
        self.optimiser.zero_grad()
        functional.cross_entropy(self.model(*self._states(waves)), truth).backward()
        self.optimiser.step()

    def _evaluate(self, batch: NDArray[np.int64], waves: list[NDArray[np.float32]]) -> None:  # noqa: ARG002 - as _train
        self.model.eval()
        with torch.no_grad():
            self.model(*self._states(waves)).argmax(1).cpu()


def report(case: Case, times: Times) -> None:
    """Print both tables and what they were measured with."""
    arguments, seeds, sides = case.arguments, len(case.options.seeds), case.usual.sides
    sizes = [str(len(side)) for side in (sides.train, sides.validation, sides.test)]
    print(f"{machine('ser-cache', 'torch', 'transformers')}; {torch.get_num_threads()} threads\n")
    print(
        f"## {case.features.backbone}, {case.features.corpus}, {case.usual.device.type}: {' + '.join(sizes)} "
        f"utterances, {case.epochs} epochs\n"
    )
    runs = len(HEADS) * seeds
    print(f"### One pass: {len(HEADS)} heads x {seeds} seeds\n")
    print("| | seconds, median | this / one pass | rounds |\n|---|---|---|---|")
    rows = {ONE_PASS: ONE_PASS, SINGLES: f"{runs} single runs", USUAL: f"{runs} runs of the usual script"}
    for way, title in {**rows, "probe multilayer": "one multilayer run"}.items():
        print(f"| {title} | {median(times[way]):.2f} | {_ratio(times, way, ONE_PASS)} |")
    for way in (SINGLES, USUAL):
        shares = ", ".join(f"{head} {median(times[f'{way} {head}']):.1f}" for head in HEADS)
        print(f"\nseconds of {rows[way]} by head: {shares}")
    print("\n### Re-probing against the backbone in the loop\n")
    print("| head | re-probing, s | backbone in the loop, s | ratio | rounds |\n|---|---|---|---|---|")
    for head in HEADS:
        own, loop = (f"{way} {head}" for way in ("probe", "loop"))
        seconds = f"{median(times[own]):.2f} | {median(times[loop]):,.0f}"
        print(f"| {head} | {seconds} | {_ratio(times, loop, own)} |")
    singles, usual = (min(some, seeds) for some in (arguments.single_seeds, arguments.usual_seeds))
    print(
        f"\nMeasured: {singles} of {seeds} seeds of the single runs; of the usual script {usual} of {seeds} "
        f"seeds and {min(arguments.usual_epochs, case.epochs)} of {case.epochs} epochs; of the loop "
        f"{arguments.loop_steps} batches of {case.options.protocol.training.batch_size}. "
        "The rest is extrapolated: seeds by their number, epochs at the mean of those after the first, the "
        "loop by seconds of audio."
    )


def _ratio(times: Times, way: str, beside: str) -> str:
    """The ratio of two ways within rounds: median, and its range as the next column."""
    ratios = [one / other for one, other in zip(times[way], times[beside], strict=True)]
    return f"{median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f}"


def _case(
    features: Features,
    manifest: Manifest,
    extractor: Extractor,
    root: Path,
    arguments: argparse.Namespace,
    temporary: Path,
) -> Case:
    protocol = protocol_named("dasaro2024")
    if arguments.epochs:
        protocol = replace(protocol, training=replace(protocol.training, epochs=arguments.epochs))
    options = ProbeOptions(
        split=SPLIT,
        seeds=tuple(range(arguments.seeds)),
        protocol=protocol,
        device=arguments.device,
        force=True,
    )
    emotions = {utterance.id: utterance.emotion for utterance in manifest.utterances}
    classes = sorted({emotions[name] for name in features.ids})
    labels = np.array([classes.index(emotions[name]) for name in features.ids], dtype=np.int64)
    place = {name: number for number, name in enumerate(features.ids)}
    split = make_splits(manifest.utterances, SPLIT)[0]
    train, validation, test = (
        np.array([place[name] for name in side if name in place], dtype=np.int64)
        for side in (split.train, split.validation, split.test)
    )
    files = _write_npy(features, temporary)
    device = choose_device(arguments.device)
    usual = UsualCase(files, labels, Sides(train, validation, test), len(classes), device)
    return Case(features, manifest, extractor, root, options, usual, arguments)


def _write_npy(features: Features, temporary: Path) -> list[Path]:
    """One fp32 file of all layers an utterance, as the usual script of an extraction leaves them."""
    files = [temporary / f"{number}.npy" for number in range(len(features.ids))]
    for number, file in enumerate(files):
        np.save(file, features.hidden(number).astype(np.float32))
    return files


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("corpus")
    parser.add_argument("--manifests", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument(
        "--root", type=Path, help="the corpus's audio; by default where its manifest was made"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="instead of the protocol's")
    parser.add_argument("--single-seeds", type=int, default=5, help="of each head, in each round")
    parser.add_argument("--usual-seeds", type=int, default=1, help="of each head, in each round")
    parser.add_argument("--usual-epochs", type=int, default=3, help="timed of each run of the usual script")
    parser.add_argument(
        "--workers", type=int, help="of the usual script's DataLoader; by default what is faster"
    )
    parser.add_argument(
        "--loop-steps", type=int, default=3, help="batches timed with the backbone in the loop"
    )
    parser.add_argument("--folder", type=Path, help="where to put temporary files, the .npy among them")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
