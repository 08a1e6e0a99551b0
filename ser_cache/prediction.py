"""Emotions of new audio: extract with a trained run's backbone, and let the run's models classify.

The one place, beside the demonstration, where both stages meet: the features must be made exactly as the
run's were, so its fingerprint is compared with the backbone's, and what the cache's codec and frame averaging
did to the training data is done to the new audio too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.audio import SAMPLE_RATE, read, speech_doubt
from ser_cache.backbones.loading import BackboneOptions
from ser_cache.backbones.registry import BACKBONES
from ser_cache.errors import (
    BackboneError,
    ResultsError,
    SerCacheError,
    StaleCacheError,
    UnknownNameError,
)
from ser_cache.extraction.batching import batch_seconds_for, batches
from ser_cache.extraction.encoding import encode_in_pieces
from ser_cache.extraction.loading import Failure, load_ahead
from ser_cache.extraction.opening import load_extractor
from ser_cache.extraction.running import settle_vector_mathematics
from ser_cache.extractor import Extractor, Prepared
from ser_cache.given_files import require_any, without_audio
from ser_cache.heads import head_kind
from ser_cache.mfcc import MfccExtractor, MfccOptions, is_mfcc
from ser_cache.packing import Segments
from ser_cache.restoring import RestoredHead, class_scores, require_models, restore_heads
from ser_cache.results import Run, read_fingerprint
from ser_cache.store import Fingerprint, differences, open_part, part_paths

_FILES_AHEAD = 16  # decoded together, and batched by length among each other; three such groups in memory


@dataclass(frozen=True)
class PredictionOptions:
    """How to predict.

    Attributes:
        model: alias, hub id or folder of the backbone; "" for the one that the run's features came from.
        folds: whose models to ask; empty for all.
        seeds: likewise.
        device: auto, cpu or cuda; for the backbone and the heads.
        local_files_only: never use the network.
        decode_threads: how many files are decoded at once.
    """

    model: str = ""
    folds: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    device: str = "auto"
    local_files_only: bool = False
    decode_threads: int = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Prediction:
    """What the models of a run say about one file.

    Attributes:
        path: the file.
        seconds: how long it is.
        scores: class probabilities, the mean over models, (k,) in the order of the run's classes.
        emotion: the class with the highest.
        agreement: the share of models that chose it.
        doubt: why the file can hardly hold speech, so that the scores mean nothing, as of
            ``audio.speech_doubt``; empty where it can.
    """

    path: Path
    seconds: float
    scores: NDArray[np.float64]
    emotion: str
    agreement: float
    doubt: str = ""


@dataclass(frozen=True)
class PredictionReport:
    """Everything that was predicted.

    Attributes:
        run: what was trained.
        models: how many models were asked.
        predictions: in the order of the files.
        failed: the reason for each file that could not be predicted.
    """

    run: Run
    models: int
    predictions: tuple[Prediction, ...]
    failed: Mapping[Path, str]


@dataclass(frozen=True)
class _Loaded:
    """One decoded file: how many samples, its input, the frames that will come out, and its doubt."""

    samples: int
    prepared: Prepared
    frames: int
    doubt: str


def predict(
    run: Run,
    files: Sequence[Path],
    options: PredictionOptions | None = None,
    cache: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> PredictionReport:
    """Classify audio files with a trained run.

    A file that is missing, cannot be read, is too short for one frame or does not fit into memory is reported
    and stops nothing, and so is a folder without audio. What can be known without the backbone is checked
    before it is loaded.

    Args:
        run: what was trained.
        files: the audio; see ``given_files.collect_files``.
        options: which models, and where the backbone is; the defaults when None.
        cache: the root of the cache, asked only about runs that do not hold their fingerprint.
        on_progress: called with (files dealt with, files) after each batch.

    Raises:
        ResultsError: the run's weights are damaged, nothing says what its features were made from, or they
            were standardised within each speaker.
        BackboneError: the backbone cannot be loaded.
        StaleCacheError: it gives other features than the run was trained on; the message shows how.
        UnknownNameError: no such fold, seed or backbone.
        AudioError: not one of the files exists.
    """
    options = options or PredictionOptions()
    require_models(run, options.folds, options.seeds)
    require_any(files)
    fingerprint, provenance = fingerprint_of(run, cache)
    extractor = load_matching_extractor(run, fingerprint, provenance, options)
    heads = restore_heads(run, extractor.geometry.width, options.folds, options.seeds)
    return predict_with(run, extractor, fingerprint, heads, files, options.decode_threads, on_progress)


def fingerprint_of(run: Run, cache: Path | None = None) -> tuple[Fingerprint, Mapping[str, str]]:
    """What a run's features were made from, and where the backbone came from.

    Args:
        run: what was trained.
        cache: where to look if the run does not say, as those of earlier versions.

    Raises:
        ResultsError: neither knows, or the run's folder is damaged.
    """
    digest = run.config.data.fingerprint
    recorded = read_fingerprint(run)
    if recorded is not None:
        try:
            fingerprint = Fingerprint(recorded["features"], recorded["storage"])
            if fingerprint.digest == digest:
                return fingerprint, dict(recorded["provenance"])
        except (KeyError, TypeError, ValueError):
            pass
        raise ResultsError(
            f"the fingerprint.json of the run {run.folder} is damaged; repeat it with --force."
        )
    folder = (cache or Path("cache")) / run.config.backbone / run.config.training_corpora[0]
    for path in part_paths(folder):
        part = open_part(path)
        if part.fingerprint.digest == digest:
            return part.fingerprint, part.provenance
    raise ResultsError(
        f"the run {run.folder.name} does not say what its features were made from, and {folder} does not "
        "hold them: give --cache, or repeat the run with: ser probe --force"
    )


def load_matching_extractor(
    run: Run, fingerprint: Fingerprint, provenance: Mapping[str, str], options: PredictionOptions
) -> Extractor:
    """Load the backbone with the settings of the run's features, and make sure that it is the same.

    Raises:
        BackboneError, UnknownNameError: it cannot be loaded.
        StaleCacheError: it gives other features; the message shows the differences.
    """
    recorded = str(provenance.get("model") or run.config.backbone.partition("+")[0].replace("--", "/"))
    model = options.model or recorded
    wanted = fingerprint.features
    try:
        extractor = _load(model, wanted, provenance, options)
    except (BackboneError, UnknownNameError) as error:
        # Another name than the model's, as of a device, is not mended by saying where the model is.
        if options.model or (isinstance(error, UnknownNameError) and error.name != model):
            raise
        raise BackboneError(f"{error} Say where the run's backbone is with --model.") from error
    storage = fingerprint.storage
    found = differences(fingerprint, Fingerprint(extractor.identity, storage), ("run", "backbone"))
    if found:
        raise StaleCacheError(
            f"{model} gives other features than the run {run.folder.name} was trained on "
            f"({'; '.join(found)}): give the backbone that it was trained with as --model."
        )
    return extractor


def _load(
    model: str, wanted: Mapping[str, Any], provenance: Mapping[str, str], options: PredictionOptions
) -> Extractor:
    if is_mfcc(model):
        names = {field.name for field in fields(MfccOptions)}
        return MfccExtractor(MfccOptions(**{name: wanted[name] for name in names & wanted.keys()}))
    is_recorded_hub_id = not options.model and model not in BACKBONES and model == provenance.get("hub_id")
    settings = BackboneOptions(
        context=str(wanted.get("context", BackboneOptions.context)),
        normalise=wanted.get("normalise"),
        max_seconds=wanted.get("max_seconds"),
        precision=str(wanted.get("precision", BackboneOptions.precision)),
        device=options.device,
        revision=str(provenance.get("revision") or "") if is_recorded_hub_id else "",
        local_files_only=options.local_files_only,
        download_bars=True,
    )
    return load_extractor(model, settings)


def predict_with(
    run: Run,
    extractor: Extractor,
    fingerprint: Fingerprint,
    heads: Sequence[RestoredHead],
    files: Sequence[Path],
    decode_threads: int = 1,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> PredictionReport:
    """Classify files with a backbone and heads that are loaded already; see :func:`predict`."""
    storage = dict(fingerprint.storage) | {"layers": list(run.config.layers)}
    if head_kind(run.config.head).pools_first:
        # Such a head was trained on time means, which are taken before any codec or averaging.
        storage |= {"tier": "pooled", "codec": "fp32", "frame_average": 1}
    device = torch.device(str(getattr(extractor, "device", "cpu")))
    for one in heads:
        one.head.to(device)
    task = _Task(run, extractor, Fingerprint(fingerprint.features, storage), heads, device)
    outcomes: dict[int, Prediction | str] = {}
    groups = [
        range(start, min(start + _FILES_AHEAD, len(files))) for start in range(0, len(files), _FILES_AHEAD)
    ]
    settle_vector_mathematics()
    with closing(
        load_ahead(groups, lambda place: _decode(extractor, files[place]), decode_threads)
    ) as loading:
        for places, loaded in loading:
            for found in _classify_group(task, files, places, loaded):
                outcomes |= found
                on_progress(len(outcomes), len(files))
    ordered = [(files[place], outcomes[place]) for place in range(len(files))]
    return PredictionReport(
        run=run,
        models=len(heads),
        predictions=tuple(outcome for _, outcome in ordered if isinstance(outcome, Prediction)),
        failed={path: outcome for path, outcome in ordered if isinstance(outcome, str)},
    )


@dataclass(frozen=True)
class _Task:
    """What every batch needs."""

    run: Run
    extractor: Extractor
    fingerprint: Fingerprint
    heads: Sequence[RestoredHead]
    device: torch.device


def _decode(extractor: Extractor, path: Path) -> _Loaded | Failure:
    try:
        if path.is_dir():
            return Failure(without_audio(path))
        samples = read(path).samples
        frames = extractor.frames(len(samples))
        if frames == 0:
            seconds = len(samples) / SAMPLE_RATE
            return Failure(f"{path}: {seconds:.3f} s is too short for one frame of {extractor.name}.")
        return _Loaded(len(samples), extractor.prepare(samples), frames, speech_doubt(samples))
    except MemoryError:
        return Failure(f"{path} does not fit into memory when it is decoded: split it.")
    except (SerCacheError, OSError) as error:
        return Failure(str(error))


def _classify_group(
    task: _Task, files: Sequence[Path], places: Sequence[int], loaded: Sequence[_Loaded | Failure]
) -> Iterator[dict[int, Prediction | str]]:
    """Batch by batch, what is said of each file, by its place."""
    failures = {
        place: item.reason for place, item in zip(places, loaded, strict=True) if isinstance(item, Failure)
    }
    if failures:
        yield dict(failures)
    ready = [(place, item) for place, item in zip(places, loaded, strict=True) if isinstance(item, _Loaded)]
    padded = [task.extractor.padded_samples(item.samples) for _, item in ready]
    limit = int(batch_seconds_for(task.device.type) * SAMPLE_RATE)
    for batch in batches(padded, limit):
        members = [ready[number] for number in batch]
        said = _classify(task, [item for _, item in members])
        yield {
            place: f"{files[place]}: {what}"
            if isinstance(what, str)
            else _prediction(task, files[place], item, what)
            for (place, item), what in zip(members, said, strict=True)
        }


def _classify(task: _Task, items: Sequence[_Loaded]) -> list[NDArray[np.float64] | str]:
    """Class probabilities of every model for each clip, (models, k), or why there are none."""
    outcomes, _ = encode_in_pieces(
        task.extractor, [item.prepared for item in items], [item.frames for item in items], task.fingerprint
    )
    whole = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, str)]
    result: list[NDArray[np.float64] | str] = [o if isinstance(o, str) else np.empty(0) for o in outcomes]
    if not whole:
        return result
    states, sizes = [], []
    average = int(task.fingerprint.storage["frame_average"])
    for number in whole:
        outcome = outcomes[number]
        if not isinstance(outcome, str):
            states.append(_states(outcome))
            sizes.append(_group_sizes(items[number].frames, states[-1].shape[1], average))
    frames = torch.from_numpy(np.concatenate(states, axis=1)).to(task.device)
    lengths = [piece.shape[1] for piece in states]
    segments = Segments(lengths, frames.dtype, task.device, np.concatenate(sizes) if average > 1 else None)
    scores = class_scores(task.heads, frames, segments).numpy()
    for place, number in enumerate(whole):
        result[number] = scores[:, place]
    return result


def _states(features: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """What training would read from the cache, (layers, frames, width); a time mean counts as one frame."""
    if "hidden" not in features:
        return np.asarray(features["mean"][:, None], dtype=np.float32)
    hidden = features["hidden"].astype(np.float32)
    return hidden * features["scale"][:, None] if "scale" in features else hidden


def _group_sizes(frames: int, stored: int, average: int) -> NDArray[np.int64]:
    """How many of the model's frames each stored one is the mean of, (stored,); for time means unused."""
    sizes = np.full(stored, average, dtype=np.int64)
    sizes[-1:] = frames - sizes[:-1].sum()
    return sizes


def _prediction(task: _Task, path: Path, item: _Loaded, scores: NDArray[np.float64]) -> Prediction:
    mean = scores.mean(axis=0)
    chosen = int(mean.argmax())
    return Prediction(
        path=path,
        seconds=item.samples / SAMPLE_RATE,
        scores=mean,
        emotion=task.run.config.classes[chosen],
        agreement=float((scores.argmax(axis=1) == chosen).mean()),
        doubt=item.doubt,
    )
