"""SIGKILL real extractions at random moments; resumed, they must end bit for bit as if undisturbed.

python benchmarks/kills.py
python benchmarks/kills.py --kills 200 --model FOLDER --manifest manifests/emovo.csv --root ~/corpora/EMOVO

Without arguments: two small random models (wav2vec 2.0 with group norm, Whisper) over a made-up corpus of
tones. The batches, the parts and the seconds between flushes are small, so that kills strike in every phase.
Half of the rounds begin with an empty folder. The others begin with a half-filled one whose manifest has
changed since: some rows are retired first and go into a new part. One clip is too short for a frame, so that
``failures.csv`` is written too.

After every kill each part must be sound, with every row that says it is done matching its checksum. Every
resume must count each utterance once (extracted, reused or failed), and reuse just the rows that were done.
At the end hidden states, means and deviations must equal the undisturbed run's, byte by byte.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import killing
import numpy as np
import torch
import transformers
from machine import machine
from made_up_corpus import listed, write_tone, write_tones

from ser_cache import audio
from ser_cache.backbones.loading import BackboneOptions
from ser_cache.backbones.untrained import save_untrained_wav2vec2
from ser_cache.errors import ExtractionError
from ser_cache.extraction import ExtractionOptions, Progress, extract, opening, plan
from ser_cache.extractor import Extractor
from ser_cache.manifest import Utterance, read_manifest
from ser_cache.store import DONE, open_features, open_part, part_paths, read_states

CLIPS, PARTS = 36, 3
BATCH_SECONDS, FLUSH_SECONDS = 3.0, 0.02


def main() -> None:
    """Print a table of where the kills struck, and what was checked."""
    arguments = parse()
    torch.set_num_threads(1)  # a pool of threads would not survive the fork
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        root = arguments.root or write_corpus(folder / "tones")
        utterances = (
            read_manifest(arguments.manifest).utterances[: arguments.limit]
            if arguments.manifest
            else listed(root)
        )
        models = [arguments.model] if arguments.model else small_models(folder)
        jobs = {}
        for model in models:
            extractor = opening.load_extractor(
                str(model), BackboneOptions(device="cpu", local_files_only=True)
            )
            options = small_options(extractor, utterances, folder)
            fresh = job_of(extractor, utterances, root, options)
            jobs[f"{model.name}, from nothing"] = fresh
            start = half_filled(extractor, utterances, root, folder / "old" / model.name, options)
            jobs[f"{model.name}, half-filled and changed"] = replace(fresh, start=start)
        tallies = {}
        for number, (title, job) in enumerate(jobs.items()):
            kills = arguments.kills * (number + 1) // len(jobs) - arguments.kills * number // len(jobs)
            tallies[title] = killing.kill_and_resume(
                job, folder / f"job-{number}", kills, arguments.seed + number
            )
    show(tallies, len(utterances), next(iter(jobs.values())).phases)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="a folder with a checkpoint")
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--root", type=Path, help="the manifest's folder of audio")
    parser.add_argument("--limit", type=int, default=CLIPS, help="utterances of the manifest to use")
    arguments = parser.parse_args()
    if bool(arguments.manifest) != bool(arguments.root):
        parser.error("--manifest and --root go together")
    return arguments


def write_corpus(root: Path) -> Path:
    """Clips of 0.2 to 1.2 s, and one of 10 ms, too short for a frame."""
    write_tones(root, CLIPS - 1, 0.2, 1.2)
    write_tone(root / "short.wav", np.random.default_rng(1), 0.01)
    return root


def small_models(folder: Path) -> list[Path]:
    """Two seeded random checkpoints."""
    wav2vec2, whisper = folder / "random-wav2vec2", folder / "random-whisper"
    save_untrained_wav2vec2(wav2vec2)
    sizes = {"d_model": 64, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 128}
    rest = {"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "vocab_size": 8}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    config = transformers.WhisperConfig(**sizes, **rest, **tokens, max_target_positions=4)
    transformers.WhisperModel(config).save_pretrained(whisper)
    transformers.WhisperFeatureExtractor().save_pretrained(whisper)
    return [wav2vec2, whisper]


def small_options(extractor: Extractor, utterances: Sequence[Utterance], folder: Path) -> ExtractionOptions:
    """Options that make several batches and several parts of any corpus."""
    options = ExtractionOptions(batch_seconds=BATCH_SECONDS, flush_seconds=FLUSH_SECONDS, decode_threads=2)
    whole = plan(extractor, utterances, folder / "nowhere", options, extractor.identity)
    return replace(options, part_bytes=whole.bytes // PARTS)


def job_of(
    extractor: Extractor, utterances: Sequence[Utterance], root: Path, options: ExtractionOptions
) -> killing.Job:
    """The real pipeline over a corpus, watched in its forward and in its decoding."""

    def run(folder: Path) -> None:
        # Two batches in the model at once. And here, as PyTorch rebuilds its pool of threads at the first use
        # after a fork, which fails where threads race for it.
        torch.set_num_threads(2)
        there = done_rows(folder, utterances)
        # Looked up at every call, so that the watched function is the one that is called.
        report = extract(
            extractor,
            utterances,
            root,
            folder,
            options,
            read_audio=lambda path: audio.read(path),  # noqa: PLW0108
        )
        assert report.reused == there, f"{report.reused} reused, {there} were done"
        assert report.done + report.reused + len(report.failed) == len(utterances)

    def content(folder: Path) -> list[object]:
        with open_features(folder, utterances) as cached:
            hidden = [cached.hidden(index).tobytes() for index in range(len(cached))]
            pooled = [(cached.mean(layer).tobytes(), cached.std(layer).tobytes()) for layer in cached.layers]
            return [cached.ids, hidden, pooled]

    calls = (("decoding", audio, "read"), ("forward", type(extractor), "forward"))
    return killing.Job(run, content, calls)


def done_rows(folder: Path, utterances: Sequence[Utterance]) -> int:
    """Rows that are done and are still what the manifest lists."""
    current = {(utterance.id, utterance.sha256) for utterance in utterances}
    rows = 0
    for part in map(open_part, part_paths(folder)):
        keys = zip(part.ids, part.audio_sha256, strict=True)
        rows += sum(
            state == DONE and key in current
            for state, key in zip(read_states(part).tolist(), keys, strict=True)
        )
    return rows


def half_filled(
    extractor: Extractor,
    utterances: Sequence[Utterance],
    root: Path,
    folder: Path,
    options: ExtractionOptions,
) -> Path:
    """Half an extraction of a manifest in which every fifth utterance was another recording.

    Their audio of then is that of a neighbour, so that the files need not change.
    """
    earlier = [
        replace(utterances[place - 1], id=utterance.id) if place % 5 == 4 else utterance
        for place, utterance in enumerate(utterances)
    ]

    def stop_half_way(progress: Progress) -> None:
        if progress.utterances > progress.total // 2:
            raise ExtractionError("half-way")

    try:
        extract(extractor, earlier, root, folder, options, stop_half_way)
    except ExtractionError:
        return folder
    raise RuntimeError("the corpus is too small to stop half-way")


def show(tallies: dict[str, killing.Tally], clips: int, phases: Sequence[str]) -> None:
    """Print what happened as Markdown."""
    print(
        f"{machine('torch', 'transformers')}; {clips} clips in about {PARTS} parts, batches of "
        f"{BATCH_SECONDS:g} s, a flush every {FLUSH_SECONDS * 1000:.0f} ms\n"
    )
    print("| | kills | rounds | resumes | done rows verified | equal to the undisturbed run |")
    print("|---|---|---|---|---|---|")
    for title, tally in tallies.items():
        print(
            f"| {title} | {tally.kills} | {tally.rounds} | {tally.resumes} | {tally.verified:,} | yes, all |"
        )
    print("\n| struck while | by the clock | inside the call |\n|---|---|---|")
    for phase in (*phases, killing.ELSEWHERE):
        clock = sum(tally.clock[phase] for tally in tallies.values())
        inside = sum(tally.inside[phase] for tally in tallies.values())
        print(f"| {phase} | {clock} | {inside} |")
    print("\nA kill by the clock counts for each thread's work, so that column may exceed the kills.")


if __name__ == "__main__":
    main()
