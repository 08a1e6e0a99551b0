"""Whisper on the audio alone, or on windows padded to 30 s: speed, and macro F1 of every head.

    python benchmarks/whisper_context.py openai/whisper-base emovo ravdess emodb --json context.json

The speed is measured anew on a sample of clips, both contexts in turns; features and runs that are there
already are reused, so it can be killed and started again. `--heads ""` leaves out the training, `--clips 0`
the speed.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paired_folds import (
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

from ser_cache.extraction import ExtractionOptions, extract
from ser_cache.extractor import Extractor

CONTEXTS = ("audio", "full")
TURNS = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, extract, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--clips", type=int, default=60, help="for the speed [default: 60]")
    arguments = parser.parse_args(argv)
    study = study_of(arguments)
    extractors = {context: study.extractor(context) for context in CONTEXTS}
    figures: dict[str, Any] = {"model": extractors["audio"].name}
    print(heading() + "\n")
    if arguments.clips:
        figures["seconds_per_second"] = speeds(study, extractors, arguments.clips)
        print_speeds(figures["seconds_per_second"], arguments.clips)
        write_figures(arguments.json, figures)
    if study.heads:
        figures["macro_f1"] = scores(study, extractors)
        print_scores(figures["macro_f1"], study)
        write_figures(arguments.json, figures)


def speeds(study: Study, extractors: Mapping[str, Extractor], clips: int) -> dict[str, float]:
    """Seconds of audio extracted per second in each context, over clips spread evenly over all corpora."""
    everything = [(root, utterance) for manifest, root in study.corpora for utterance in manifest.utterances]
    chosen = np.unique(np.linspace(0, len(everything) - 1, clips).astype(np.int64))
    sample = [everything[place] for place in chosen]
    audio, wall = dict.fromkeys(CONTEXTS, 0.0), dict.fromkeys(CONTEXTS, 0.0)
    for turn in range(-1, min(TURNS, len(sample))):
        # The first turn warms up on one clip and does not count.
        members = sample[:1] if turn < 0 else sample[turn::TURNS]
        for context, extractor in extractors.items():
            with tempfile.TemporaryDirectory() as folder:
                for number, root in enumerate(dict.fromkeys(root for root, _ in members)):
                    utterances = [utterance for home, utterance in members if home == root]
                    target = Path(folder) / context / f"corpus{number}"
                    report = extract(extractor, utterances, root, target, ExtractionOptions())
                    if turn >= 0:
                        audio[context] += report.seconds
                        wall[context] += report.wall_seconds
    return {context: audio[context] / wall[context] for context in CONTEXTS}


def print_speeds(found: Mapping[str, float], clips: int) -> None:
    """Both contexts, and their ratio."""
    print("### Speed\n")
    rows = [[context, f"{speed:.1f}", f"{speed / found['full']:.1f}"] for context, speed in found.items()]
    print(markdown(["context", "seconds of audio per second", "as fast as full"], rows))
    print(f"\nWhole extractions of {clips} clips spread evenly over the corpora, the contexts in turns.\n")


def scores(study: Study, extractors: Mapping[str, Extractor]) -> dict[str, dict[str, dict[str, Any]]]:
    """Per corpus and head: the scores of each context over folds, and full's difference from audio."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for manifest, root in study.corpora:
        by_context = {}
        for context, extractor in extractors.items():
            folder = study.cached(extractor, manifest, root, ExtractionOptions())
            by_context[context] = study.scores(folder, manifest, study.heads)
        found[manifest.corpus] = {
            head: {
                "per_fold": {context: by_context[context][head] for context in CONTEXTS},
                **{context: over_folds(by_context[context][head]) for context in CONTEXTS},
                "difference": paired(by_context["full"][head], by_context["audio"][head]),
            }
            for head in study.heads
        }
    return found


def print_scores(found: Mapping[str, Mapping[str, Mapping[str, Any]]], study: Study) -> None:
    """One row a corpus and head; then which context is better where."""
    print(f"### Macro F1, percent, {study.described}\n")
    rows = [
        [f"{corpus} {head}", shown(row["audio"]), shown(row["full"]), str(row["difference"])]
        for corpus, by_head in found.items()
        for head, row in by_head.items()
    ]
    print(markdown(["corpus, head", "audio", "full", "full less audio"], rows))
    print(
        "\nMean ± standard deviation over folds; full less audio: mean difference within a fold ± its "
        "standard deviation (folds in which full is better).\n"
    )
    print(conclusion(found))


def conclusion(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Which context is better where, by the mean over folds, and by how much on average."""
    better: dict[str, list[str]] = {context: [] for context in CONTEXTS}
    means = []
    for corpus, by_head in found.items():
        for head, row in by_head.items():
            means.append(row["difference"].mean)
            if means[-1]:
                better["full" if means[-1] > 0 else "audio"].append(f"{corpus} {head}")
    parts = [f"{name} is better on {', '.join(where) or 'none'}" for name, where in better.items()]
    return f"{'; '.join(parts)}. Full less audio on average: {np.mean(means):+.2f}."


if __name__ == "__main__":
    run(main)
