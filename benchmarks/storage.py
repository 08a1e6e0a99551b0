"""What each way of storing features costs: bytes, time, error, and macro F1 as a difference from fp16.

    python benchmarks/storage.py openai/whisper-base emovo ravdess --json storage.json

Every corpus is extracted once per variant, and every head trained over folds of speakers; what the cache and
the runs hold already is reused, so it can be killed and started again. `--heads ""` leaves out the training;
`--alternatives` measures other ways of using eight bits.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from paired_folds import (
    Paired,
    Study,
    add_arguments,
    heading,
    markdown,
    over_folds,
    paired,
    run,
    shown,
    study_of,
    write_figures,
)

from ser_cache.errors import SerCacheError, UnknownNameError
from ser_cache.extraction import ExtractionOptions
from ser_cache.extraction.encoding import EncodedBatch
from ser_cache.feature_sources import open_source
from ser_cache.heads import head_kind
from ser_cache.manifest import Manifest
from ser_cache.packing import FeatureSource
from ser_cache.statistics import Spread
from ser_cache.store import INT8_STEPS, CachedFeatures, Fingerprint, open_features
from ser_cache.store.listing import summarise

BASE = "fp16"
EXACT = "fp32"
VARIANTS = {
    "fp16": ExtractionOptions(codec="fp16"),
    "fp32": ExtractionOptions(codec="fp32"),
    "int8": ExtractionOptions(codec="int8"),
    "avg2": ExtractionOptions(codec="fp16", frame_average=2),
    "avg4": ExtractionOptions(codec="fp16", frame_average=4),
    "pooled": ExtractionOptions(tier="pooled"),
}
SAMPLE_CLIPS, BATCH_CLIPS, ROUNDS = 48, 8, 9
BLOCK = 32
NONE = "none"


@dataclass(frozen=True)
class Corpus:
    """One corpus, extracted in every variant: its manifest, and the folder of each variant."""

    manifest: Manifest
    folders: Mapping[str, Path]

    def open(self, variant: str) -> CachedFeatures:
        """The features of one variant."""
        return open_features(self.folders[variant], self.manifest.utterances)


def main(argv: Sequence[str] | None = None) -> None:
    """Extract, measure, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--variants", default=",".join(VARIANTS), help="[default: %(default)s]")
    parser.add_argument("--alternatives", action="store_true", help="other ways of using eight bits")
    arguments = parser.parse_args(argv)
    study = study_of(arguments)
    variants = _variants(arguments.variants)
    extractor = study.extractor()
    corpora = [
        Corpus(manifest, {name: study.cached(extractor, manifest, root, VARIANTS[name]) for name in variants})
        for manifest, root in study.corpora
    ]
    for corpus in corpora:
        _check_alike(corpus)
    figures: dict[str, Any] = {"model": extractor.name, "sizes": sizes(corpora, variants)}
    figures["speeds"] = speeds(corpora[0], variants)
    print(heading() + "\n")
    print_costs(figures["sizes"], figures["speeds"])
    if EXACT in variants:
        figures["errors"] = {c.manifest.corpus: errors(c, variants) for c in corpora}
        note = (
            "Norm of the difference over the norm, all utterances; an average stands for each frame it is of."
        )
        print_errors(figures["errors"], "Relative error against fp32", note)
        if arguments.alternatives:
            figures["alternatives"] = {c.manifest.corpus: alternatives(c) for c in corpora}
            title = "Ways of using eight bits, relative error against fp32"
            print_errors(figures["alternatives"], title, "As above, every tenth utterance.")
    write_figures(arguments.json, figures)  # what is known so far: training takes longest
    if study.heads:
        figures["macro_f1"] = {c.manifest.corpus: losses(study, c) for c in corpora}
        print_losses(figures["macro_f1"], variants, study)
        write_figures(arguments.json, figures)


def _variants(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in VARIANTS:
            raise UnknownNameError("variant", name, VARIANTS)
    if BASE not in names:
        raise SerCacheError(f"{BASE} is what the others are compared with: add it to --variants.")
    return names


def _check_alike(corpus: Corpus) -> None:
    """Variants are compared utterance by utterance, so each must hold the same ones."""
    held = {}
    for name in corpus.folders:
        with corpus.open(name) as features:
            held[features.ids] = name
    if len(held) > 1:
        raise SerCacheError(
            f"{', '.join(held.values())} of {corpus.manifest.corpus} do not hold the same utterances; see "
            "failures.csv beside the features."
        )


def sizes(corpora: Sequence[Corpus], variants: Sequence[str]) -> dict[str, float]:
    """Bytes of whole part files per hour of audio, over all corpora."""
    found = {}
    for variant in variants:
        summaries = [summarise(corpus.folders[variant]) for corpus in corpora]
        found[variant] = sum(s.bytes for s in summaries) / sum(s.hours for s in summaries)
    return found


def speeds(corpus: Corpus, variants: Sequence[str]) -> dict[str, dict[str, float]]:
    """MB of fp16 features encoded and decoded per second, one thread, everything in memory.

    The variants take turns, so that a busy moment slows all of them; the median of the rounds counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ExitStack() as stack:
            features = {name: stack.enter_context(corpus.open(name)) for name in variants}
            exact = features[EXACT if EXACT in features else BASE]
            chosen = np.unique(np.linspace(0, len(exact) - 1, SAMPLE_CLIPS).astype(np.int64))
            megabytes = exact.frames[chosen].sum() * len(exact.layers) * exact.width * 2 / 1e6
            jobs = _jobs(features, _sample(exact, chosen), chosen)
            seconds: dict[tuple[str, str], list[float]] = {job: [] for job in jobs}
            for number in range(ROUNDS + 1):
                for job, work in jobs.items():
                    started = time.perf_counter()
                    work()
                    if number:  # the first round brings everything into memory
                        seconds[job].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    found: dict[str, dict[str, float]] = {name: {} for name in variants}
    for (name, kind), spent in seconds.items():
        found[name][kind] = float(megabytes / statistics.median(spent))
    return found


Batch = tuple[list[int], list[torch.Tensor]]


def _sample(features: CachedFeatures, chosen: NDArray[np.int64]) -> list[Batch]:
    """Batches of clips as a model gives them: frames of each clip, and each layer in float32."""
    batches = []
    for start in range(0, len(chosen), BATCH_CLIPS):
        clips = [features.hidden(int(i)).astype(np.float32) for i in chosen[start : start + BATCH_CLIPS]]
        layers = [torch.from_numpy(layer.copy()) for layer in np.concatenate(clips, axis=1)]
        batches.append(([clip.shape[1] for clip in clips], layers))
    return batches


def _jobs(
    features: Mapping[str, CachedFeatures], sample: Sequence[Batch], chosen: NDArray[np.int64]
) -> dict[tuple[str, str], Callable[[], object]]:
    jobs: dict[tuple[str, str], Callable[[], object]] = {}
    for name, cached in features.items():

        def encoding(fingerprint: Fingerprint = cached.fingerprint, width: int = cached.width) -> None:
            _encode(sample, fingerprint, width)

        jobs[name, "encode"] = encoding
        if cached.tier == "frames":
            # As heads read: copied into one float32 batch, which the source reuses.
            source = open_source(cached, cached.layers, torch.device("cpu"), pooled=False)

            def decoding(source: FeatureSource = source) -> None:
                for start in range(0, len(chosen), BATCH_CLIPS):
                    source.batch(chosen[start : start + BATCH_CLIPS])

            jobs[name, "decode"] = decoding
    return jobs


def _encode(sample: Sequence[Batch], fingerprint: Fingerprint, width: int) -> None:
    with torch.inference_mode():
        for frames, layers in sample:
            encoded = EncodedBatch(frames, fingerprint, width)
            for layer, states in zip(fingerprint.layers, layers, strict=True):
                encoded.emit(layer, states)
            encoded.finish()


def print_costs(bytes_per_hour: Mapping[str, float], speed: Mapping[str, Mapping[str, float]]) -> None:
    """Bytes and speeds, one row a variant."""
    print("### Size and speed\n")
    rows = []
    for name, size in bytes_per_hour.items():
        decode = f"{speed[name]['decode']:,.0f}" if "decode" in speed[name] else NONE
        ratio = f"{size / bytes_per_hour[BASE]:.3f}"
        rows.append([name, f"{size / 1e6:,.1f}", ratio, f"{speed[name]['encode']:,.0f}", decode])
    print(markdown(["variant", "MB per audio hour", "of fp16", "encode MB/s", "decode MB/s"], rows))
    print(
        "\nMB per hour: the whole files. MB/s: of the fp16 features that the same audio gives, on one "
        f"thread, in memory, median of {ROUNDS} rounds in which the variants take turns.\n"
    )


def errors(corpus: Corpus, variants: Sequence[str]) -> dict[str, dict[int, float]]:
    """Relative error of each variant with frames in each layer, over every utterance of a corpus.

    A frame average stands for each of the frames it is the mean of, so its error is what is lost in time.
    """
    found = {}
    with corpus.open(EXACT) as exact:
        for name in variants:
            if name == EXACT or VARIANTS[name].tier == "pooled":
                continue
            with corpus.open(name) as rough:
                found[name] = _relative(exact, range(len(exact)), lambda i, _, r=rough: _repeated(r, i))
    return found


def _repeated(features: CachedFeatures, index: int) -> NDArray[Any]:
    hidden = features.hidden(index)
    if features.frame_average == 1:
        return hidden
    return np.repeat(hidden, features.group_sizes(index), axis=1)


def _relative(
    exact: CachedFeatures,
    indices: Sequence[int],
    approximate: Callable[[int, NDArray[np.float32]], NDArray[Any]],
) -> dict[int, float]:
    """Norm of the difference over the norm, layer by layer, over some utterances."""
    off, size = np.zeros(len(exact.layers)), np.zeros(len(exact.layers))
    for index in indices:
        fine = exact.hidden(index)
        difference = approximate(index, fine).astype(np.float32) - fine
        off += np.einsum("lfw,lfw->l", difference, difference, dtype=np.float64)
        size += np.einsum("lfw,lfw->l", fine, fine, dtype=np.float64)
    return {layer: float(value) for layer, value in zip(exact.layers, np.sqrt(off / size), strict=True)}


def alternatives(corpus: Corpus) -> dict[str, dict[int, float]]:
    """Relative error of other ways of using eight bits, over every tenth utterance."""
    ways: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
        "one scale per channel": _scaled,
        "scale and offset per channel": _centred,
        f"one scale per channel and {BLOCK} frames": _blocked,
    }
    with corpus.open(EXACT) as exact:
        every_tenth = range(0, len(exact), 10)
        return {name: _relative(exact, every_tenth, lambda _, f, w=way: w(f)) for name, way in ways.items()}


def _scaled(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """To int8 and back: (layers, frames, width)."""
    scale = np.abs(states).max(axis=1, keepdims=True) / INT8_STEPS
    return np.rint(states / np.where(scale > 0, scale, 1)) * scale


def _centred(states: NDArray[np.float32]) -> NDArray[np.float32]:
    offset = (states.max(axis=1, keepdims=True) + states.min(axis=1, keepdims=True)) / 2
    return _scaled(states - offset) + offset


def _blocked(states: NDArray[np.float32]) -> NDArray[np.float32]:
    cuts = range(BLOCK, states.shape[1], BLOCK)
    return np.concatenate([_scaled(block) for block in np.split(states, cuts, axis=1)], axis=1)


def print_errors(found: Mapping[str, Mapping[str, Mapping[int, float]]], title: str, note: str) -> None:
    """One row a corpus and variant, one column a layer."""
    print(f"### {title}, percent\n")
    layers = sorted({layer for by_name in found.values() for error in by_name.values() for layer in error})
    rows = [
        [corpus, name, *(f"{100 * error[layer]:.3g}" for layer in layers)]
        for corpus, by_name in found.items()
        for name, error in by_name.items()
    ]
    print(markdown(["corpus", "variant", *(f"layer {layer}" for layer in layers)], rows, names=2))
    print(f"\n{note}\n")


def losses(study: Study, corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Per head: fp16's scores over folds, their spread, and every other variant's difference from it."""
    scores: dict[str, dict[str, list[float]]] = {head: {} for head in study.heads}
    for name, folder in corpus.folders.items():
        # Time means serve the heads that pool first, and no other.
        heads = [h for h in study.heads if VARIANTS[name].tier == "frames" or head_kind(h).pools_first]
        for head, values in study.scores(folder, corpus.manifest, heads).items():
            scores[head][name] = values
    return {
        head: {
            "per_fold": by_name,
            BASE: over_folds(by_name[BASE]),
            "difference": {
                name: paired(values, by_name[BASE]) for name, values in by_name.items() if name != BASE
            },
        }
        for head, by_name in scores.items()
    }


def print_losses(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]], variants: Sequence[str], study: Study
) -> None:
    """One row a corpus and head, one column a variant; then whether each stays within fp16's spread."""
    print(f"### Macro F1, percent, {study.described}\n")
    others = [name for name in variants if name != BASE]
    rows = []
    for corpus, by_head in found.items():
        for head, row in by_head.items():
            cells = [str(row["difference"].get(name, NONE)) for name in others]
            rows.append([f"{corpus} {head}", shown(row[BASE]), *cells])
    print(markdown(["corpus, head", BASE, *others], rows))
    print(
        f"\n{BASE}: mean ± standard deviation over folds. Others: mean difference from {BASE} within a fold "
        "± its standard deviation (folds in which it is better). The linear head trains from time means, "
        "which are kept in fp32 whatever the codec; pooled has no frames, which the others need.\n"
    )
    for name in others:
        print(_verdict(name, [row for by_head in found.values() for row in by_head.values()]))


def _verdict(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    compared = [(row[BASE], row["difference"][name]) for row in rows if name in row["difference"]]
    if not compared:
        return f"- {name}: none of these heads can use it."
    within = sum(_within(*pair) for pair in compared)
    mean = float(np.mean([difference.mean for _, difference in compared]))
    return (
        f"- {name}: {mean:+.2f} on average; within one standard deviation of {BASE}'s folds in {within} of "
        f"{len(compared)} rows."
    )


def _within(base: Spread, difference: Paired) -> bool:
    return abs(difference.mean) <= (base.std or 0.0)


if __name__ == "__main__":
    run(main)
