"""``ser reproduce wang2023``: what of the study a cache of MFCC suffices for, beside its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.delivery import as_json, deliver, shape_of
from ser_cache.cli.on_demand import MFCC, FeatureJob, extract_if_missing, feature_jobs
from ser_cache.cli.options import OUTPUT_FILE, given_places, readable_manifests, where_things_live
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ser_cache.baselines import Progress
    from ser_cache.manifest import Manifest
    from ser_cache.reproduction.wang2023 import Planned, Report, StudyOptions
    from ser_cache.sections import Section
    from ser_cache.store import CachedFeatures

FORMATS = ("table", "csv", "json", "markdown")
_TITLE = "wang2023, redone"
_CALLED = (".md", ".csv", ".json")
_WAYS = ("speaker", "folds", "loso", "none")


@dataclass(frozen=True)
class Work:
    """A corpus of the plan, and what its features are to come from.

    Attributes:
        planned: the corpus.
        job: None where it has neither MFCC nor audio.
        reason: why there is no job.
    """

    planned: Planned
    job: FeatureJob | None
    reason: str = ""


@click.command(
    epilog="Example: ser reproduce wang2023 --dry-run",
    short_help="CREMA-D: who is in it, MFCC with k-means, SVM and forest.",
)
@click.option(
    "--corpus",
    "corpora",
    multiple=True,
    help="Repeatable [default: cremad, the study's; without its audio, every corpus that has some].",
)
@click.option("--svm", is_flag=True, help="Support vector machine.")
@click.option("--rf", is_flag=True, help="Random forest [default: both].")
@click.option(
    "--features",
    default=MFCC,
    show_default=True,
    help="MFCC, other settings in the name: mfcc+sr22050, mfcc+n20+d1.",
)
@click.option(
    "--split",
    type=click.Choice(_WAYS),
    default=_WAYS[0],
    show_default=True,
    help="Beside the study's 70/30 by utterance, how speakers are held out: 30% of them, in folds, one by "
    "one, or not at all.",
)
@click.option("--split-seed", default=0, show_default=True, help="Seed of both splits.")
@click.option(
    "--seeds", default=1, show_default=True, type=click.IntRange(1), help="Forests a fold; k-means a corpus."
)
@click.option("--jobs", type=click.IntRange(1), help="Cores to use; no result depends on it [default: all].")
@click.option("--plot", type=OUTPUT_FILE, help="Draw clusters and confusions too: FILE.png, .pdf or .svg.")
@click.option("--force", is_flag=True, help="Run again what is there already.")
@click.option("--dry-run", is_flag=True, help="Show what needs no audio, what can run, how to get the rest.")
@click.option("--format", "shape", type=click.Choice(FORMATS), help="Of what is printed [default: table].")
@click.option("--output", type=OUTPUT_FILE, help="Write the report there as well: FILE.md, .csv or .json.")
@where_things_live("manifests", "cache", "runs")
def wang2023(
    corpora: tuple[str, ...],
    svm: bool,
    rf: bool,
    features: str,
    split: str,
    split_seed: int,
    seeds: int,
    jobs: int | None,
    plot: Path | None,
    force: bool,
    dry_run: bool,
    shape: str | None,
    output: Path | None,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
) -> int:
    """Redo Wang, Raud, Pal 2023 on CREMA-D, as far as a cache can, beside their figures.

    Who is in CREMA-D and how far its raters agreed, which need no audio; k-means on MFCC; SVM and forest by
    grid search, 70/30 by utterance as the study, and on new speakers; and where the paper contradicts itself.
    Without CREMA-D's audio the same runs on the corpora there are, with nothing published beside. MFCC are
    extracted first where they are not cached. Runs and clusterings are those of `ser baseline` and
    `ser cluster`, and reused.
    """
    where = settings.locate(manifests, cache, runs)
    written = _written(shape, output)
    if plot is not None:
        from ser_cache.plots import check_plot

        check_plot(plot)
    options = _options({"rf": rf, "svm": svm}, features, split, split_seed, seeds, jobs, force=force)
    places = given_places(manifests, cache)
    work = _plan(where, corpora, options, places)
    report = _report(where, options, work, places)
    shape, status = shape or "table", 0
    if shape == "table":
        _show(report.opening())
    try:
        if not dry_run:
            status = _run(where, [one for one in work if one.job or corpora], report, places)
    finally:  # also after Ctrl-C: what is done is worth showing
        _finish(report, shape, written, output)
        if plot is not None:
            _draw(report, plot)
    if not dry_run and not corpora and not any(one.job for one in work):
        raise _nothing_to_run(where, options)
    return status


def _options(
    asked: Mapping[str, bool],
    features: str,
    split: str,
    split_seed: int,
    seeds: int,
    jobs: int | None,
    *,
    force: bool,
) -> StudyOptions:
    """How to run the study, from the command line; without a classifier asked for, with all."""
    from ser_cache.extraction.running import usable_processors
    from ser_cache.reproduction.wang2023 import StudyOptions, held_out

    return StudyOptions(
        classifiers=tuple(name for name, wanted in asked.items() if wanted or not any(asked.values())),
        features=_folder(features),
        held_out=None if split == "none" else held_out(split, split_seed),
        split_seed=split_seed,
        seeds=tuple(range(seeds)),
        jobs=jobs or usable_processors(),
        force=force,
    )


def _nothing_to_run(where: settings.Locations, options: StudyOptions) -> SettingsError:
    """What to say where no corpus has features, or audio to make them of."""
    from ser_cache.reproduction.wang2023 import CORPUS

    return SettingsError(
        f"no corpus in {where.manifests} has {options.features} in {where.cache}, or audio to extract it "
        f"from; begin with: ser manifest {CORPUS} ROOT"
    )


def _written(shape: str | None, output: Path | None) -> str:
    """The format of the report's file: as it is called, else as what is printed; "" where there is none."""
    if output is None:
        return ""
    is_called = output.suffix.lower() in _CALLED
    return shape_of(None if is_called else shape, output, FORMATS)


def _folder(features: str) -> str:
    """The folder in the cache of MFCC with these settings.

    Raises:
        SettingsError: no MFCC, which is what the study is about.
    """
    from ser_cache.mfcc import is_mfcc, mfcc_options

    if not is_mfcc(features):
        raise SettingsError(
            f"--features {features}: the study's features are MFCC, such as mfcc+sr22050; for others: "
            f"ser baseline --protocol wang2023 --features {features}"
        )
    return "+".join(filter(None, [MFCC, mfcc_options(features).variant]))


def _plan(
    where: settings.Locations, corpora: Sequence[str], options: StudyOptions, places: Sequence[str]
) -> list[Work]:
    """The corpora to run on, and the study's own, whether it is here or not.

    Raises:
        UnknownNameError: a named corpus has no manifest, unless it is the study's.
        ManifestError: that of a named corpus cannot be read.
    """
    from ser_cache.manifest import list_manifests
    from ser_cache.reproduction.wang2023 import CORPUS, runs_found

    paths = list_manifests(where.manifests)
    here = paths if corpora else readable_manifests(paths)
    found = runs_found(options, where.runs)

    def look_at(corpus: str) -> Work:
        return _work(where, corpus, options, found, places, known=corpus in here)

    if corpora:
        return [look_at(corpus) for corpus in dict.fromkeys(corpora)]
    own = look_at(CORPUS)
    others = [] if own.job else [look_at(corpus) for corpus in here if corpus != CORPUS]
    return [own, *(one for one in others if one.job)]


def _work(
    where: settings.Locations,
    corpus: str,
    options: StudyOptions,
    found: set[tuple[str, str, str]],
    places: Sequence[str],
    *,
    known: bool,
) -> Work:
    """What is at hand of one corpus."""
    from ser_cache.manifest import read_manifest
    from ser_cache.reproduction.wang2023 import ABSENT, AUDIO, CACHED, CORPUS, planned

    if corpus == CORPUS and not known:
        reason = f"{corpus} has no manifest in {where.manifests}; make it with: ser manifest {corpus} ROOT"
        return Work(planned(corpus, None, ABSENT, options, found), None, reason)
    try:
        (job,) = feature_jobs(where, [options.features], [corpus], None, places)
    except SettingsError as error:
        made = read_manifest(where.manifests / f"{corpus}.csv")
        return Work(planned(corpus, made, ABSENT, options, found), None, str(error))
    return Work(planned(corpus, job.manifest, CACHED if job.root is None else AUDIO, options, found), job)


def _report(
    where: settings.Locations, options: StudyOptions, work: Sequence[Work], places: Sequence[str]
) -> Report:
    from ser_cache.backbones.registry import BACKBONES
    from ser_cache.reproduction.wang2023 import Report

    aliases = {spec.hub_id: alias for alias, spec in BACKBONES.items()}
    return Report(options, [one.planned for one in work], aliases, where.runs, places)


def _run(where: settings.Locations, work: Sequence[Work], report: Report, places: Sequence[str]) -> int:
    """Run corpus by corpus what can be run; one without features or audio that was named is an error."""

    def run_one(one: Work) -> int:
        if one.job is None:
            raise SettingsError(one.reason)
        status = extract_if_missing(where, one.job)
        job = one.job
        folder = where.cache / job.backbone / job.manifest.corpus
        with open_features(folder, job.manifest.utterances, places) as features:
            if features.failed:
                left_out = screen.count(len(features.failed), "utterance")
                screen.note(f"note: {job.manifest.corpus}: {left_out} without features left out.")
            parts = report.options.parts
            return max(
                status,
                screen.each(
                    parts,
                    lambda part: f"{job.manifest.corpus}, {part}",
                    lambda part: _part(part, features, job.manifest, report),
                ),
            )

    from ser_cache.store import open_features

    status = screen.each(work, lambda one: one.planned.corpus, run_one)
    screen.note_reused(report.reused, report.made, "repeats")
    return status


def _part(part: str, features: CachedFeatures, manifest: Manifest, report: Report) -> int:
    """Run one part of the study on one corpus, and add it to the report."""
    from ser_cache.reproduction.wang2023 import CLUSTERS, classify, cluster_as_study, published, tested

    corpus = manifest.corpus
    with screen.bar(f"{corpus} {part}", 1) as bar:
        if part == CLUSTERS:
            report.clusterings[corpus] = cluster_as_study(
                features, manifest, report.options, report.runs, bar.restate
            )
            return 0

        def show(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, progress.what)

        summaries = classify(part, features, manifest, report.options, report.runs, show)
    report.tests += [tested(part, summary, published()) for summary in summaries]
    return 0


def _show(sections: Sequence[Section]) -> None:
    for section in sections:
        screen.section(section)


def _finish(report: Report, shape: str, written: str, output: Path | None) -> None:
    """Show what was run and what is to be said of the paper; write the report where it is asked for."""
    if shape == "table":
        _show([*report.results(), *report.closing()])
    else:
        deliver(_as(shape, report), None, "")
    if output is not None:
        deliver(_as(written, report), output, "report")


def _as(shape: str, report: Report) -> str:
    """The report as Markdown, CSV or JSON."""
    from ser_cache.cli.run_formats import as_csv
    from ser_cache.sections import as_markdown

    if shape == "json":
        return as_json(report.as_data())
    if shape == "csv":
        return as_csv([record.as_dict() for record in report.records()])
    return as_markdown(report.sections(), _TITLE, report.introduction)


def _draw(report: Report, plot: Path) -> None:
    """Clusters of each corpus, and the confusion of each classifier by utterance and on new speakers."""
    from ser_cache.plots import draw_clustering, draw_confusion
    from ser_cache.results import read_run

    paths = []
    for corpus, stored in report.clusterings.items():
        paths.append(plot.with_stem(f"{plot.stem}-{corpus}-clusters"))
        draw_clustering(paths[-1], stored)
    for one in report.tests:
        run = read_run(one.summary.folder)
        name = f"{plot.stem}-{one.corpus}-{one.classifier}-{one.part.replace(' ', '-')}"
        paths.append(plot.with_stem(name))
        title = f"{one.corpus}, {one.classifier}, {one.part}"
        draw_confusion(paths[-1], run.metrics["confusion"], run.config.classes, title)
    for path in paths:
        screen.note(f"figure: {path}")
