"""Extraction against the bare forward of the same batches, and against the script that people write.

python benchmarks/extraction.py untrained:wav2vec2-base
python benchmarks/extraction.py whisper-tiny.en/ --manifest manifests/emovo.csv --root ~/corpora/EMOVO
python benchmarks/extraction.py untrained:xls-r untrained:whisper-medium --device cuda --clips 1000

A model is anything that `ser extract --model` takes, or untrained:wav2vec2-base, untrained:xls-r,
untrained:whisper-medium: random weights of that size, made in a temporary folder, as fast as trained ones.
Without a manifest it takes `--clips` made-up clips of 1 to 6 s.

- bare: the forward alone, over the very batches of the extraction, prepared and in memory, each product
  shared out between all threads, results thrown away.
- ser extract: everything after start-up: planning, creating the parts, decoding, forward, encoding, storing,
  until all is flushed to disk.
- usual script: batch of one, `output_hidden_states`, the stock feature extractor (which pads Whisper's input
  to 30 s), one fp32 .npy of all layers per utterance, decoded by soundfile. Run on every `--every`-th clip
  and scaled by seconds of audio.

The three take turns, `--repeats` times; a ratio is the median over the rounds of two times of the same round.
On CUDA it also prints the share of the device's peak, and where the time of an extraction goes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import soundfile
import torch
import transformers
from machine import Stolen, machine
from made_up_corpus import listed, write_tones

from ser_cache.audio import SAMPLE_RATE, read
from ser_cache.backbones.loading import BackboneOptions, load
from ser_cache.extraction import ExtractionOptions, ExtractionReport, extract
from ser_cache.extraction.batching import batch_seconds_for, batches
from ser_cache.extractor import Extractor, Prepared
from ser_cache.manifest import Utterance, path_of, read_manifest

UNTRAINED = {
    "wav2vec2-base": transformers.Wav2Vec2Config(),
    "xls-r": transformers.Wav2Vec2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    ),
    "whisper-medium": transformers.WhisperConfig(
        d_model=1024, encoder_layers=24, encoder_attention_heads=16, encoder_ffn_dim=4096, decoder_layers=1
    ),
}
"""Published sizes of Wav2Vec2Config's defaults (base), of XLS-R 300M and of Whisper medium's encoder."""
PEAK_TFLOPS = {"H100": (67.0, 989.0), "H200": (67.0, 989.0), "A100": (19.5, 312.0)}
"""Dense peak of a device in fp32 without tensor cores, and in fp16 or bf16 with them, from its data sheet."""


@dataclass
class Case:
    """One model on one corpus."""

    name: str
    folder: str
    extractor: Extractor
    utterances: Sequence[Utterance]
    root: Path
    device: str
    every: int
    options: ExtractionOptions

    @property
    def seconds(self) -> float:
        """Seconds of audio."""
        return sum(utterance.samples for utterance in self.utterances) / SAMPLE_RATE


def main() -> None:
    """Measure every model and print a table of each."""
    arguments = _arguments()
    print(f"{machine('torch', 'transformers')}; {torch.get_num_threads()} threads\n")
    results = {}
    for model in arguments.models:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            temporary = Path(name)
            if arguments.manifest is None:
                root = write_tones(temporary / "tones", arguments.clips, 1.0, 6.0)
                utterances = listed(root)
            else:
                root, utterances = arguments.root, read_manifest(arguments.manifest).utterances
            case = _case(model, utterances[:: arguments.take_every], root, arguments, temporary)
            stolen = Stolen()
            results[model] = measure(case, arguments.repeats, temporary)
            report(case, results[model])
            print(f"{stolen}.\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(case: Case, repeats: int, temporary: Path) -> dict[str, list[float]]:
    """Wall seconds of each way in each round, and the stages of the extractions."""
    prepared = _prepared(case)
    usual = _usual_script(case, temporary / "npy")
    _bare(case.extractor, prepared[:2])  # warms up
    times: dict[str, list[float]] = {"bare": [], "ser extract": [], "usual script": []}
    for round_ in range(repeats):
        times["bare"].append(_bare(case.extractor, prepared))
        report_ = _extract(case, temporary / f"cache-{round_}")
        times["ser extract"].append(report_.wall_seconds)
        for stage, seconds in report_.stages.items():
            times.setdefault(stage, []).append(seconds)
        if usual is not None:
            times["usual script"].append(usual())
    return times


def report(case: Case, times: dict[str, list[float]]) -> None:
    """Print one model's table."""
    print(
        f"## {case.name}, {len(case.utterances)} utterances, {case.seconds:,.0f} s of audio, {case.device}\n"
    )
    print("| | seconds, median | s audio/s | bare forward / this | rounds |\n|---|---|---|---|---|")
    for way in ("bare", "ser extract", "usual script"):
        if not times[way]:
            continue
        ratios = [bare / own for bare, own in zip(times["bare"], times[way], strict=True)]
        seconds = median(times[way])
        print(
            f"| {way} | {seconds:.2f} | {case.seconds / seconds:.1f} | {median(ratios):.3f} "
            f"| {min(ratios):.3f} to {max(ratios):.3f} |"
        )
    if times["usual script"]:
        gain = median(a / b for a, b in zip(times["usual script"], times["ser extract"], strict=True))
        print(f"\nser extract is {gain:.1f} times as fast as the usual script.")
    stages = {stage: median(seconds) for stage, seconds in times.items() if stage not in _WAYS}
    print(f"\nseconds per stage of ser extract: {', '.join(f'{s} {v:.2f}' for s, v in stages.items())}")
    if case.device == "cuda":
        _report_peak(case, median(times["ser extract"]))


_WAYS = ("bare", "ser extract", "usual script")


def _report_peak(case: Case, seconds: float) -> None:
    """The share of the device's peak, counting 2 operations per weight of the blocks and frame."""
    name = torch.cuda.get_device_name()
    parameters = sum(p.numel() for p in case.extractor._encoder.parameters())  # type: ignore[attr-defined]
    frames = sum(case.extractor.frames(utterance.samples) for utterance in case.utterances)
    tflops = 2 * parameters * frames / seconds / 1e12
    for known, peaks in PEAK_TFLOPS.items():
        if known in name:
            peak = peaks[0 if case.extractor.identity["precision"] == "fp32" else 1]
            print(f"\n{name}: {tflops:.1f} TFLOP/s of its {peak:.0f} peak ({tflops / peak:.1%})")
            return
    print(f"\n{name}: {tflops:.1f} TFLOP/s; its peak is not in PEAK_TFLOPS")


def _case(
    model: str, utterances: Sequence[Utterance], root: Path, arguments: argparse.Namespace, temporary: Path
) -> Case:
    folder = _untrained(model, temporary / "model") if model.startswith("untrained:") else model
    options = BackboneOptions(
        device=arguments.device, precision=arguments.precision, context=arguments.context
    )
    extractor = load(folder, options)
    device = str(extractor.device).split(":")[0]  # type: ignore[attr-defined]
    storing = ExtractionOptions(codec=arguments.codec, batch_seconds=arguments.batch_seconds)
    shown = model if model.startswith("untrained:") else extractor.name
    return Case(shown, folder, extractor, utterances, root, device, arguments.every, storing)


def _untrained(model: str, folder: Path) -> str:
    """Save random weights of a published size."""
    config = UNTRAINED[model.removeprefix("untrained:")]
    whisper = isinstance(config, transformers.WhisperConfig)
    torch.manual_seed(0)
    (transformers.WhisperModel if whisper else transformers.Wav2Vec2Model)(config).save_pretrained(folder)
    if whisper:
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    else:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return str(folder)


def _prepared(case: Case) -> list[list[Prepared]]:
    """The batches of the extraction, ready to run."""
    limit = case.options.batch_seconds or batch_seconds_for(case.device)
    padded = [case.extractor.padded_samples(utterance.samples) for utterance in case.utterances]
    groups = batches(padded, int(limit * SAMPLE_RATE))
    return [
        [case.extractor.prepare(read(path_of(case.root, case.utterances[row])).samples) for row in group]
        for group in groups
    ]


def _bare(extractor: Extractor, prepared: Sequence[Sequence[Prepared]]) -> float:
    started = perf_counter()
    for batch in prepared:
        extractor.forward(batch, extractor.geometry.layers, lambda *_: None)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - started


def _extract(case: Case, folder: Path) -> ExtractionReport:
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / case.extractor.name / "corpus"
    report_ = extract(case.extractor, case.utterances, case.root, target, case.options)
    assert not report_.failed, report_.failed
    shutil.rmtree(folder)
    return report_


def _usual_script(case: Case, folder: Path) -> Callable[[], float] | None:
    """What people write, as a function that gives its time for the whole corpus; None for every = 0."""
    if case.every == 0:
        return None
    chosen = case.utterances[:: case.every]
    share = sum(utterance.samples for utterance in chosen) / SAMPLE_RATE / case.seconds
    model = transformers.AutoModel.from_pretrained(case.folder).eval().to(case.device)
    features = transformers.AutoFeatureExtractor.from_pretrained(case.folder)
    whisper = hasattr(model, "encoder") and "input_features" in features.model_input_names
    encoder = model.encoder if whisper else model

    def run() -> float:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = perf_counter()
        for utterance in chosen:
            audio, rate = soundfile.read(path_of(case.root, utterance), dtype="float32")
            inputs = features(audio, sampling_rate=rate, return_tensors="pt").to(case.device)
            with torch.no_grad():
                states = encoder(**inputs, output_hidden_states=True).hidden_states
            layers = torch.cat(states).float().cpu().numpy()
            target = folder / f"{utterance.id.replace('/', '--')}.npy"
            np.save(target, layers)
        return (perf_counter() - started) / share

    return run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--root", type=Path, help="the manifest's folder of audio, 16 kHz mono")
    parser.add_argument("--clips", type=int, default=150, help="made-up clips where there is no manifest")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--context", default="audio")
    parser.add_argument("--codec", default=None)
    parser.add_argument("--batch-seconds", type=float, default=None)
    parser.add_argument("--every", type=int, default=8, help="clips for the usual script; 0 leaves it out")
    parser.add_argument("--take-every", type=int, default=1, help="take every n-th utterance of the manifest")
    parser.add_argument("--folder", type=Path, default=None, help="where to put temporary files")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if bool(arguments.manifest) != bool(arguments.root):
        parser.error("--manifest and --root go together")
    return arguments


if __name__ == "__main__":
    main()
