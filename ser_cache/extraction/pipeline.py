"""Extract: plan, create the parts, then decode, run the model and store, each ahead of the next.

Some threads decode (`loading`), some run the model (`running`), another stores (`writing`), and this one
hands batches from each to the next, so that memory does not grow with the corpus: at most two batches are
loaded ahead, one for each thread of the model and one more are in it or done, and three are being stored.
"""

import math
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ser_cache.audio import SAMPLE_RATE, Recording, read
from ser_cache.errors import ExtractionError
from ser_cache.extraction.batching import batch_seconds_for, batches
from ser_cache.extraction.loading import Failure, LoadedBatch, demand_root, load, load_ahead
from ser_cache.extraction.memory import FreedMemory
from ser_cache.extraction.options import ExtractionOptions
from ser_cache.extraction.planning import ExtractionPlan, PartPlan, plan
from ser_cache.extraction.running import Turns, model_threads, run_ahead, settle_vector_mathematics
from ser_cache.extraction.writing import BackgroundWriter, Outcome
from ser_cache.extractor import Extractor, Prepared
from ser_cache.manifest import Utterance
from ser_cache.store import (
    Part,
    PartWriter,
    create_part,
    folder_lock,
    naming_the_writer,
    open_part,
    remove_leftovers,
)

_FORMER_BATCH_SECONDS = 60.0  # of parts begun before this was recorded in them
_STAGES = ("waiting for audio", "forward", "encoding", "waiting for the disk")
_LIBRARIES = ("ser-cache", "torch", "transformers", "librosa", "numpy", "h5py", "soundfile", "soxr")


@dataclass(frozen=True)
class Progress:
    """How far an extraction is.

    Attributes:
        utterances: utterances dealt with in this run, failed ones included.
        total: utterances this run has to deal with.
        seconds: seconds of their audio.
        total_seconds: seconds of audio in total.
        failed: utterances that failed in this run.
    """

    utterances: int
    total: int
    seconds: float
    total_seconds: float
    failed: int


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did.

    Attributes:
        folder: where the features are.
        done: utterances extracted in this run.
        reused: utterances whose features were there already.
        failed: the reason of each utterance that failed in this run.
        seconds: seconds of audio extracted in this run, as far as the model saw it.
        wall_seconds: time the run took.
        stages: seconds per stage: "forward" and "encoding", added up over the threads that run the model;
            "waiting for audio" and "waiting for the disk", when a batch was wanted and not there, or done and
            not taken.
    """

    folder: Path
    done: int
    reused: int
    failed: Mapping[str, str]
    seconds: float
    wall_seconds: float
    stages: Mapping[str, float]


def extract(
    extractor: Extractor,
    utterances: Sequence[Utterance],
    root: Path,
    folder: Path,
    options: ExtractionOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    read_audio: Callable[[Path], Recording] = read,
) -> ExtractionReport:
    """Extract what is missing of a corpus; what is cached already is reused.

    May be killed or interrupted at any moment: the next call goes on where it was, with features that are
    bit-identical to those of an undisturbed run on the same machine. An utterance that cannot be decoded, is
    too short, has changed since the manifest, does not fit into memory even alone, or has values that the
    codec cannot hold is marked failed and listed with its reason in ``failures.csv`` in the folder; the next
    call tries it again, and it stays failed until that has come to an end. Rows without features whose
    utterance has left the manifest are retired.

    A batch that does not fit into memory is run in halves, and so on. The features of a shrunk batch, and of
    one whose other members failed, can differ in their low bits from those of a whole one.

    Args:
        extractor: the model.
        utterances: the manifest's utterances, in its order.
        root: the folder of the corpus's audio.
        folder: ``<cache>/<backbone>[+variant]/<corpus>`` (see `choose_folder`).
        options: how to extract and store; the defaults when None.
        on_progress: called after each batch, in this thread.
        read_audio: decodes a file.

    Raises:
        StaleCacheError: the folder holds features made otherwise.
        LockedError: another process is writing there.
        CacheError: the disk is full, read-only or cannot lock, or a part is damaged.
        ExtractionError: an utterance failed and ``options.strict`` is set; what was done is kept.
        SettingsError: the folder of audio does not exist, or vanished in mid-run; what was done is kept.
    """
    started = time.perf_counter()
    options = options or ExtractionOptions()
    with naming_the_writer(folder, enabled=options.lock):
        planned = plan(extractor, utterances, folder, options, extractor.identity)
    run = _Run(extractor, root, options, on_progress, read_audio, planned)
    if planned.todo or planned.superseded:
        if planned.todo:
            demand_root(root, folder.name)
        with folder_lock(folder, enabled=options.lock):
            remove_leftovers(folder)
            # Again, now that nobody else can write: another process may have been here since.
            planned = plan(extractor, utterances, folder, options, extractor.identity)
            planned.require_space()
            run = _Run(extractor, root, options, on_progress, read_audio, planned)
            run.all_parts()
    return ExtractionReport(
        folder=folder,
        done=run.dealt - len(run.failed),
        reused=planned.reused,
        failed=run.failed,
        seconds=run.extracted,
        wall_seconds=time.perf_counter() - started,
        stages=run.stages,
    )


@dataclass
class _Run:
    """One extraction in progress."""

    extractor: Extractor
    root: Path
    options: ExtractionOptions
    on_progress: Callable[[Progress], None] | None
    read_audio: Callable[[Path], Recording]
    plan: ExtractionPlan
    dealt: int = 0
    seconds: float = 0.0
    extracted: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _turns: Turns = field(default_factory=Turns)

    def all_parts(self) -> None:
        """Retire rows, create every new part, then fill them one by one."""
        settle_vector_mathematics()  # here, before the first thread that may use it
        # Retired before their successors exist: a kill in between leaves them merely missing.
        for path, rows in self.plan.superseded.items():
            with PartWriter(open_part(path)) as writer:
                writer.supersede(rows)
        # All created before the first is filled: the disk is claimed now, and `ser cache ls` knows the total.
        parts = [self._opened(part) for part in self.plan.parts]
        for part_plan, part in zip(self.plan.parts, parts, strict=True):
            with (
                PartWriter(part, flush_seconds=self.options.flush_seconds) as writer,
                BackgroundWriter(writer, self.options.flush_seconds) as sink,
            ):
                self._fill(part_plan, part, sink)

    def _opened(self, part: PartPlan) -> Part:
        if part.new_rows is None:
            return open_part(part.path)
        width = self.extractor.geometry.width
        provenance = _provenance(self.extractor) | {"batch_seconds": self._batch_seconds(None)}
        return create_part(part.path, self.plan.fingerprint, part.new_rows, width, provenance)

    def _batch_seconds(self, part: Part | None) -> float:
        """As asked for; else as the part was begun with, so that a resume forms the same batches."""
        if self.options.batch_seconds is not None:
            return self.options.batch_seconds
        if part is None:
            return batch_seconds_for(self.device)
        return float(part.provenance.get("batch_seconds", _FORMER_BATCH_SECONDS))

    def _fill(self, part_plan: PartPlan, part: Part, sink: BackgroundWriter) -> None:
        missing = set(part_plan.missing)
        short = [row for row in part_plan.missing if part.frames(row) == 0]
        self._settle(part_plan, sink, [(row, self._too_short(part_plan.utterances[row])) for row in short])
        members = _members(self.extractor, part, part_plan, self._batch_seconds(part))
        loading = load_ahead(
            [batch for batch in members if missing.intersection(batch)],
            lambda row: load(self.extractor, self.read_audio, self.root, part_plan.utterances[row]),
            self.options.decode_threads,
        )
        waits = self._waits(loading)
        running = run_ahead(
            waits, lambda item: self._outcomes(part, *item, missing), model_threads(self.device)
        )
        freed = FreedMemory()
        with closing(loading), closing(running):
            for outcomes in running:
                self._settle(part_plan, sink, outcomes)
                freed.settle()

    def _waits(self, loading: Iterator[LoadedBatch]) -> Iterator[LoadedBatch]:
        """The loaded batches, with the time spent waiting for each counted."""
        while True:
            with self._timed("waiting for audio"):
                item = next(loading, None)
            if item is None:
                return
            yield item

    @property
    def device(self) -> str:
        """Where the extractor says that it is; one that does not say is on a processor."""
        return str(getattr(self.extractor, "device", "cpu"))

    def _outcomes(
        self, part: Part, batch: Sequence[int], loaded: Sequence[Prepared | Failure], missing: set[int]
    ) -> list[tuple[int, Outcome]]:
        """Run one batch; returns the outcome of each of its rows that has no features yet."""
        outcomes: dict[int, Outcome] = {
            row: item.reason for row, item in zip(batch, loaded, strict=True) if isinstance(item, Failure)
        }
        running = [
            (row, item) for row, item in zip(batch, loaded, strict=True) if not isinstance(item, Failure)
        ]
        if missing.intersection(row for row, _ in running):
            outcomes.update(self._forward(part, running))
        return [(row, outcomes[row]) for row in batch if row in missing]

    def _forward(self, part: Part, running: Sequence[tuple[int, Prepared]]) -> dict[int, Outcome]:
        from ser_cache.extraction.encoding import encode_in_pieces

        frames = [int(part.model_frames[row]) for row, _ in running]
        started = time.perf_counter()
        outcomes, encoding = encode_in_pieces(
            self.extractor, [item for _, item in running], frames, self.plan.fingerprint, self._turns
        )
        self._count(forward=time.perf_counter() - started - encoding, encoding=encoding)
        return {row: outcome for (row, _), outcome in zip(running, outcomes, strict=True)}

    def _settle(
        self, part_plan: PartPlan, sink: BackgroundWriter, outcomes: Sequence[tuple[int, Outcome]]
    ) -> None:
        """Hand outcomes over for storing, count them and report progress."""
        if not outcomes:
            return
        with self._timed("waiting for the disk"):
            sink.store(outcomes)
        for row, outcome in outcomes:
            utterance = part_plan.utterances[row]
            self.dealt += 1
            self.seconds += utterance.samples / SAMPLE_RATE
            if isinstance(outcome, str):
                self.failed[utterance.id] = outcome
            else:
                longest = self.extractor.identity.get("max_seconds") or math.inf
                self.extracted += min(utterance.samples / SAMPLE_RATE, longest)
        if self.on_progress is not None:
            self.on_progress(
                Progress(self.dealt, len(self.plan.todo), self.seconds, self.plan.seconds, len(self.failed))
            )
        if self.failed and self.options.strict:
            id_, reason = next(iter(self.failed.items()))
            raise ExtractionError(f"{id_}: {reason} (--strict stops here; what was done is kept)")

    def _too_short(self, utterance: Utterance) -> str:
        seconds = utterance.samples / SAMPLE_RATE
        return f"{seconds:.3f} s is too short for one frame of {self.extractor.name}."

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._count(**{stage: time.perf_counter() - started})

    def _count(self, **seconds: float) -> None:
        """Add to the stages; called from several threads."""
        with self._counting:
            for stage, spent in seconds.items():
                self.stages[stage] += spent


def _members(
    extractor: Extractor, part: Part, part_plan: PartPlan, batch_seconds: float
) -> list[tuple[int, ...]]:
    """The batches of a part, without rows that the manifest no longer has or whose audio has changed."""
    padded = [
        extractor.padded_samples(int(samples)) if part.frames(row) else 0
        for row, samples in enumerate(part.samples)
    ]
    grouped = batches(padded, int(batch_seconds * SAMPLE_RATE))
    return [tuple(row for row in batch if row in part_plan.utterances) for batch in grouped]


def _provenance(extractor: Extractor) -> dict[str, Any]:
    """What is worth knowing about how features came about, though it does not define them.

    "name" and "model" (what the user gave) let messages say how to extract again.
    """
    libraries = {}
    for library in _LIBRARIES:
        try:
            libraries[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        **extractor.provenance,
        "name": extractor.name,
        "libraries": libraries,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(getattr(extractor, "device", "unknown")),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
