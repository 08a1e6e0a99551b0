"""``ser reproduce dasaro2024``: redo a published grid with what is at hand, beside the published figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import OUTPUT_FILE, given_places, readable_manifests, where_things_live
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ser_cache.manifest import Manifest
    from ser_cache.reproduction import Job, Plan
    from ser_cache.results import RunSummary
    from ser_cache.sections import Section


@click.command(
    epilog="Example: ser reproduce dasaro2024 --dry-run",
    short_help="Six frozen models, nine corpora, three heads.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A backbone of the study, or a variant of one in the cache (whisper-small+full); repeatable "
    "[default: all].",
)
@click.option("--corpus", "corpora", multiple=True, help="A corpus of the study; repeatable [default: all].")
@click.option("--head", "heads", multiple=True, help="A head of the study; repeatable [default: all].")
@click.option(
    "--also",
    multiple=True,
    metavar="MODEL",
    help="A cached backbone that the study does not have; repeatable.",
)
@click.option(
    "--split",
    default="speaker",
    show_default=True,
    metavar="speaker|loso|folds|random|column",
    help="The study's is by speaker; others as in `ser probe`.",
)
@click.option("--split-seed", default=0, show_default=True, help="Seed of the split, apart from the models'.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Models per cell.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to train.")
@click.option("--force", is_flag=True, help="Train again what is there already.")
@click.option("--dry-run", is_flag=True, help="Show what can run and how to get the rest; train nothing.")
@click.option("--output", type=OUTPUT_FILE, help="Write the report there as well, as Markdown.")
@where_things_live("manifests", "cache", "runs")
def dasaro2024(
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    heads: tuple[str, ...],
    also: tuple[str, ...],
    split: str,
    split_seed: int,
    seeds: int,
    device: str,
    force: bool,
    dry_run: bool,
    output: Path | None,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
) -> int:
    """Redo Tables 2 and 3 of D'Asaro et al., CLiC-it 2024, with what is at hand, beside their figures.

    6 backbones, 9 corpora, 3 heads. Runs that are there already are reused. A part of the grid is fine: the
    report says how much each figure is of.
    """
    from ser_cache.published import study_named
    from ser_cache.reproduction import ReproductionOptions, disagreement_table, make_plan, plan_table
    from ser_cache.splits import SplitOptions

    where = settings.locate(manifests, cache, runs)
    options = ReproductionOptions(
        models=models,
        corpora=corpora,
        heads=heads,
        also=also,
        split=SplitOptions(kind=split, seed=split_seed),
        seeds=tuple(range(seeds)),
        device=device,
        force=force,
    )
    published = study_named("dasaro2024")
    here = _manifests(where, corpora or published.corpora, named=bool(corpora))
    plan = make_plan(published, options, here, where.cache, where.runs)
    places = given_places(manifests, cache)
    sections = [plan_table(plan), *_missing(plan, places)]
    disagreement = disagreement_table(published)
    planned_only = dry_run or not plan.jobs
    for section in sections if planned_only else sections[:1]:
        screen.section(section)
    if dry_run:
        screen.section(disagreement)
    status = 0
    try:
        if not dry_run:
            status = _run(plan, where, places, sections)
    finally:
        sections.append(disagreement)
        if not planned_only:  # what would bury the results is told in full by the plan, and in the report
            lacking = " and how to get what is missing" if len(plan.to_do(places)) else ""
            screen.note(f"note: {disagreement.title}; --dry-run shows where{lacking}.")
        if output is not None:
            _write(output, plan, sections)
    return status


def _manifests(where: settings.Locations, corpora: Collection[str], *, named: bool) -> dict[str, Manifest]:
    """The manifests there are of some corpora; one that cannot be read is an error if it was named."""
    from ser_cache.manifest import list_manifests, read_manifest

    paths = {name: path for name, path in list_manifests(where.manifests).items() if name in corpora}
    if named:
        return {name: read_manifest(path) for name, path in paths.items()}
    return readable_manifests(paths)


def _missing(plan: Plan, places: Sequence[str]) -> list[Section]:
    from ser_cache.sections import Section

    lines = plan.to_do(places)
    return [Section("What is missing, and how to get it", {}, (), tuple(lines))] if lines else []


def _run(plan: Plan, where: settings.Locations, places: Sequence[str], sections: list[Section]) -> int:
    """Train what can be trained, and add the tables to the report; also after Ctrl-C."""
    from ser_cache.reproduction import best_head_table, head_table

    if not plan.jobs:
        raise SettingsError(
            f"no corpus of {plan.study.name} is completely cached for any of its backbones in {where.cache}; "
            f"the list above says how to get there{_instead(plan, where)}."
        )
    results: dict[tuple[str, str, str], RunSummary] = {}

    def run_one(job: Job) -> int:
        for summary in _run_one(plan, job, where, places):
            results[summary.corpus, summary.backbone, summary.head] = summary
        return 0

    try:
        return screen.each(plan.jobs, lambda job: f"{job.manifest.corpus}, {job.column.folder}", run_one)
    finally:
        if results:
            made = [head_table(plan, results), best_head_table(plan, results), *_map(plan, where, results)]
            sections += made
            for section in made:
                screen.section(section)
            _note_reused(results.values())


def _instead(plan: Plan, where: settings.Locations) -> str:
    """Backbones that the study does not have and that are cached for a corpus it has."""
    from ser_cache.store import summaries

    corpora = {corpus.name for corpus in plan.corpora}
    others = dict.fromkeys(
        row.backbone for row in summaries(where.cache) if row.corpus in corpora and row.complete
    )
    return (
        f"; or show others beside the paper's: {' '.join(f'--also {name}' for name in others)}"
        if others
        else ""
    )


def _map(
    plan: Plan, where: settings.Locations, results: Mapping[tuple[str, str, str], RunSummary]
) -> list[Section]:
    """The study's Figure 2, where a head that mixes layers was trained."""
    from ser_cache.layer_analysis import layer_weights, norms_from_cache
    from ser_cache.reproduction import layer_map
    from ser_cache.results import read_run

    manifests = {job.manifest.corpus: job.manifest for job in plan.jobs}
    runs = [read_run(summary.folder) for summary in results.values()]
    weights = layer_weights(runs, norms_from_cache(where.cache, manifests))
    return [layer_map(weights, plan.columns)] if weights else []


def _run_one(plan: Plan, job: Job, where: settings.Locations, places: Sequence[str]) -> list[RunSummary]:
    from ser_cache.probing import Progress
    from ser_cache.reproduction import run_job

    with screen.bar(f"{job.manifest.corpus} {job.column.folder}", 1) as bar:

        def show_progress(progress: Progress) -> None:
            bar.restate(progress.done, progress.total, f"{progress.heads}, fold {progress.fold}")

        return run_job(plan, job, where.cache, where.runs, places, show_progress)


def _note_reused(summaries: Collection[RunSummary]) -> None:
    screen.note_reused(sum(summary.reused for summary in summaries), len(summaries), "trains again")


def _write(path: Path, plan: Plan, sections: Sequence[Section]) -> None:
    from ser_cache.files import write_text
    from ser_cache.sections import as_markdown
    from ser_cache.splits import split_config

    options = plan.options
    split = ", ".join(f"{name} {value}" for name, value in split_config(options.split).items())
    introduction = (
        plan.study.citation,
        f"Protocol {plan.study.protocol}; split {split}; seeds {', '.join(map(str, options.seeds))}.",
    )
    write_text(path, as_markdown(sections, f"{plan.study.name}, redone", introduction))
    screen.say(f"report: {path}")
