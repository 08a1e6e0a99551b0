"""``ser extract``: run a frozen backbone once over a corpus and fill the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.extracting import CorpusExtraction, show_report
from ser_cache.cli.options import chosen_manifests, where_things_live
from ser_cache.errors import CacheError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ser_cache.backbones.loading import BackboneOptions
    from ser_cache.extraction import ExtractionOptions, ExtractionPlan
    from ser_cache.extraction.planning import Outlined
    from ser_cache.manifest import Manifest

Job = tuple["Manifest", Path]


@click.command(
    epilog="Example: ser extract --model xls-r --corpus emovo",
    short_help="Run a frozen model once, fill the cache.",
)
@click.option(
    "--model",
    required=True,
    help="An alias of `ser models`, a hub id, a local folder, or mfcc (with settings: mfcc+n20+d2).",
)
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all that have audio here].")
@click.option("--layers", help="Layers to store, such as 0,6-12 or last [default: all].")
@click.option(
    "--whisper-context",
    default="audio",
    show_default=True,
    metavar="audio|full",
    help="Work through the audio only, or through windows padded to 30 s.",
)
@click.option(
    "--normalise", metavar="yes|no", help="Zero mean, unit variance per clip [default: the checkpoint's]."
)
@click.option("--max-seconds", type=float, help="Keep the first seconds of each clip only (at least 0.1).")
@click.option(
    "--codec", metavar="fp16|fp32|int8", help="Number format in the cache [default: fp16; mfcc: fp32]."
)
@click.option(
    "--frame-average", type=int, default=1, show_default=True, help="Store the mean of so many frames."
)
@click.option(
    "--tier",
    default="frames",
    show_default=True,
    metavar="frames|pooled",
    help="Store frames and their time means, or the means alone (all that the linear head needs).",
)
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    metavar="auto|fp32|bf16|fp16",
    help="What the model computes in; auto measures which is fastest and closer to fp32 than the codec.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where the model runs."
)
@click.option(
    "--batch-seconds",
    type=float,
    help="Most seconds of padded audio in a batch [default: 20 on a processor, 60 on a GPU].",
)
@click.option("--name", default="", help="Name in the cache [default: the alias, hub id or folder's name].")
@click.option("--revision", default="", help="Commit, branch or tag of a hub id [default: pinned, or main].")
@click.option("--offline", is_flag=True, help="Use downloaded checkpoints only.")
@click.option("--strict", is_flag=True, help="Stop at the first utterance that fails; keep what is done.")
@click.option("--no-lock", is_flag=True, help="Do not lock the cache (file systems that cannot).")
@click.option("--dry-run", is_flag=True, help="Show utterances, frames, bytes and free disk; do nothing.")
@where_things_live("manifests", "cache")
def extract(
    model: str,
    corpora: tuple[str, ...],
    layers: str | None,
    whisper_context: str,
    normalise: str | None,
    max_seconds: float | None,
    codec: str | None,
    frame_average: int,
    tier: str,
    precision: str,
    device: str,
    batch_seconds: float | None,
    name: str,
    revision: str,
    offline: bool,
    strict: bool,
    no_lock: bool,
    dry_run: bool,
    manifests: Path | None,
    cache: Path | None,
) -> int:
    """Run a frozen model once over each corpus and cache the hidden states of its layers.

    Killed and started again, it goes on where it was. Utterances that fail are listed, and named in
    failures.csv beside the features; the exit status is then 3.
    """
    from ser_cache.backbones.loading import BackboneOptions
    from ser_cache.extraction import ExtractionOptions, opening

    where = settings.locate(manifests, cache)
    backbone_options = BackboneOptions(
        context=whisper_context,
        normalise=_yes_or_no(normalise),
        max_seconds=max_seconds,
        precision=precision,
        device=device,
        name=name,
        revision=revision,
        local_files_only=offline,
        download_bars=True,
    )
    outline = opening.outline_of(model, backbone_options)
    options = ExtractionOptions(
        layers=_layers(layers, outline.geometry.layers),
        codec=codec,
        frame_average=frame_average,
        tier=tier,
        batch_seconds=batch_seconds,
        strict=strict,
        lock=not no_lock,
    )
    jobs = _jobs(where, corpora)
    if dry_run:
        _show_plans(outline, options, where, jobs)
        return 0
    if stopped := _what_stops_all(outline, options, where, jobs):
        return screen.each(jobs, lambda job: f"{job[0].corpus}, {outline.name}", _raise_of(stopped))
    known = _say_all_cached(model, backbone_options, outline, options, where, jobs)
    return 0 if known else _extract_each(model, backbone_options, options, where, jobs)


def _say_all_cached(
    model: str,
    backbone_options: BackboneOptions,
    outline: Outlined,
    options: ExtractionOptions,
    where: settings.Locations,
    jobs: Sequence[Job],
) -> bool:
    """Where everything is cached, for certain, say so; loading the model to see that takes seconds."""
    from ser_cache.extraction import finished_report

    reports = []
    for manifest, _ in jobs:
        report = finished_report(
            model, backbone_options, outline, options, where.cache, manifest.corpus, manifest.utterances
        )
        if report is None:
            return False
        reports.append(report)
    for (manifest, _), report in zip(jobs, reports, strict=True):
        show_report(report, f"{manifest.corpus} {report.folder.parent.name}")
    return True


def _extract_each(
    model: str,
    backbone_options: BackboneOptions,
    options: ExtractionOptions,
    where: settings.Locations,
    jobs: Sequence[Job],
) -> int:
    """Load the model, and extract one corpus after another."""
    from ser_cache.extraction import opening
    from ser_cache.extractor import AUTO
    from ser_cache.mfcc import is_mfcc

    screen.busy(f"loading {model}")
    extractor = opening.load_extractor(model, backbone_options)
    auto = backbone_options.precision == AUTO and not is_mfcc(model)
    run = CorpusExtraction(extractor, options, where, auto)
    return screen.each(jobs, lambda job: f"{job[0].corpus}, {extractor.name}", lambda job: run.one(*job))


def _yes_or_no(answer: str | None) -> bool | None:
    meaning = {None: None, "yes": True, "no": False}
    if answer not in meaning:
        raise SettingsError(f"--normalise takes yes or no, not {answer!r}.")
    return meaning[answer]


def _layers(text: str | None, available: Sequence[int]) -> tuple[int, ...] | None:
    """Read ``0,6-12`` or ``last``; None for all. Whether the layers exist is the plan's to check."""
    if text is None or text == "all":
        return None
    chosen: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        if first == "last" and not dash:
            chosen.add(available[-1])
        elif first.isdecimal() and (last.isdecimal() or not dash) and len(last) < 5:
            chosen.update(range(int(first), int(last or first) + 1))
        else:
            raise SettingsError(f"--layers takes numbers and ranges such as 0,6-12, or last; not {text!r}.")
    if not chosen:
        raise SettingsError(f"--layers {text} names no layer; the smaller number of a range comes first.")
    return tuple(sorted(chosen))


def _jobs(where: settings.Locations, corpora: tuple[str, ...]) -> list[Job]:
    """The corpora to extract; one whose audio is not here is skipped with a line, unless it was named."""
    jobs = []
    for manifest in chosen_manifests(where, corpora):
        root = settings.read_roots(where.manifests).get(manifest.corpus)
        # One that was named may be cached already, which needs no audio.
        if root is not None and (root.is_dir() or corpora):
            jobs.append((manifest, root))
            continue
        complaint = (
            f"the audio of {manifest.corpus} is not here; say where: ser manifest {manifest.corpus} ROOT"
        )
        if corpora:
            raise SettingsError(complaint)
        screen.note(f"skipped: {complaint}")
    if not jobs:
        raise SettingsError(f"no manifest in {where.manifests} has its audio here; see above.")
    return jobs


def _what_stops_all(
    outline: Outlined, options: ExtractionOptions, where: settings.Locations, jobs: Sequence[Job]
) -> dict[str, CacheError | SettingsError]:
    """Why each corpus cannot be written, known before the weights are loaded, which takes seconds.

    Empty if any can: what stops the others is then said when their turn comes, but for a disk that cannot
    hold them all, which is said now.
    """
    from ser_cache.extraction import demand_root

    reasons: dict[str, CacheError | SettingsError] = {}
    needed, free = 0, 0
    for manifest, root in jobs:
        try:
            planned = _plan_of(manifest, outline, options, where)
            if planned.todo:
                demand_root(root, manifest.corpus)
            if planned.todo or planned.superseded:
                planned.require_writable(lock=options.lock)
                planned.require_space()
        except (CacheError, SettingsError) as error:
            reasons[manifest.corpus] = error
        else:
            needed, free = needed + planned.bytes, planned.free
    if len(reasons) == len(jobs):
        return reasons
    if needed > free:
        screen.note(
            f"note: these corpora need {screen.size(needed)} together, and {screen.size(free)} are free on "
            f"the disk of {where.cache}: not all will fit."
        )
    return {}


def _plan_of(
    manifest: Manifest, outline: Outlined, options: ExtractionOptions, where: settings.Locations
) -> ExtractionPlan:
    from ser_cache.extraction import choose_folder, plan
    from ser_cache.store import naming_the_writer

    folder = choose_folder(where.cache, manifest.corpus, outline, options)
    with naming_the_writer(folder, enabled=options.lock):
        return plan(outline, manifest.utterances, folder, options)


def _raise_of(errors: Mapping[str, CacheError | SettingsError]) -> Callable[[Job], int]:
    def raise_error(job: Job) -> int:
        raise errors[job[0].corpus]

    return raise_error


def _show_plans(
    outline: Outlined, options: ExtractionOptions, where: settings.Locations, jobs: Sequence[Job]
) -> None:
    rows, needed, free, begun = [], 0, 0, False
    for manifest, _ in jobs:
        planned = _plan_of(manifest, outline, options, where)
        needed, free = needed + planned.bytes, planned.free
        reserved = any(part.new_rows is None for part in planned.parts)
        begun |= reserved
        rows.append(
            (
                manifest.corpus,
                str(planned.folder),
                f"{len(planned.todo):,}",
                f"{planned.reused:,}",
                f"{planned.frames:,}",
                f"{planned.seconds / 3600:.2f}",
                "reserved" if reserved and not planned.bytes else screen.size(planned.bytes),
            )
        )
    columns = {"corpus": "left", "folder": "fold", "to do": "right", "cached": "right", "frames": "right"}
    screen.table(
        f"What extracting {outline.name} would do", columns | {"hours": "right", "size": "right"}, rows
    )
    already = "; parts that were begun have their space already" if begun else ""
    screen.say(
        f"{screen.size(needed)} needed, {screen.size(free)} free on the disk of {where.cache}{already}"
    )
    if needed > free:
        screen.note("It does not fit: choose fewer --layers, or another disk with --cache.")
