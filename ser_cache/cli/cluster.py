"""``ser cluster``: what features are about, without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.delivery import as_json, deliver, delivery_options, shape_of
from ser_cache.cli.emotion_options import emotions_option
from ser_cache.cli.feature_choice import chosen_layers
from ser_cache.cli.on_demand import FeatureJob, extract_if_missing, feature_jobs
from ser_cache.cli.options import OUTPUT_FILE, given_places, typed, where_things_live
from ser_cache.errors import ResultsError, SettingsError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ser_cache.clustering import ClusterOptions, StoredClustering
    from ser_cache.sections import Section
    from ser_cache.staleness import Present

FORMATS = ("table", "csv", "json", "markdown")
SOME_FAILED = 3


@click.command(
    epilog="Example: ser cluster --features whisper-small --layer all --plot layers.svg",
    short_help="What features are about: k-means, beside labels.",
)
@click.option(
    "--features",
    multiple=True,
    default=("mfcc",),
    show_default=True,
    metavar="mfcc|BACKBONE",
    help="Cached features; repeatable. MFCC are extracted first where they are missing.",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="N|all",
    help="Repeatable [default: the last that is cached].",
)
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all that have features].")
@emotions_option
@click.option(
    "--k",
    default="emotion",
    show_default=True,
    metavar="N|N-M|LABEL",
    help="Clusters: a number, a range of which the best silhouette counts, or as many as a label has groups.",
)
@click.option(
    "--seeds", default=1, show_default=True, type=click.IntRange(1), help="Repeat k-means, to see its spread."
)
@click.option(
    "--standardise",
    default="global",
    show_default=True,
    metavar="global|LABEL",
    help="Features over all utterances, or within each group of a label: speaker takes out who speaks.",
)
@click.option(
    "--reduce",
    type=click.IntRange(1),
    help="Cluster so many principal components [default: the standardised features].",
)
@click.option(
    "--against", multiple=True, metavar="COLUMN", help="A further column of the manifest; repeatable."
)
@click.option(
    "--score", default="ari", show_default=True, metavar="ari|ami|nmi|purity", help="Of the table by layer."
)
@click.option("--plot", type=OUTPUT_FILE, help="Draw it as well: FILE.png, .pdf or .svg (needs matplotlib).")
@click.option("--force", is_flag=True, help="Cluster again what is there already.")
@click.option(
    "--list",
    "only_list",
    is_flag=True,
    help="List the clusterings that are there, of --corpus, --features and --layer where given.",
)
@delivery_options(FORMATS)
@where_things_live("manifests", "cache", "runs")
def cluster(
    features: tuple[str, ...],
    layers: tuple[str, ...],
    corpora: tuple[str, ...],
    emotions: str | None,
    score: str,
    plot: Path | None,
    force: bool,
    only_list: bool,
    shape: str | None,
    output: Path | None,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
    **manner: Any,  # noqa: ANN401 - what click read of how to cluster
) -> int:
    """Cluster utterances by their features, and compare the clusters with emotion and every other label.

    Time means are standardised and clustered by k-means, as in Wang et al. 2023. The same clusters are
    compared with emotions, speakers, gender, sentences and whatever else the manifest has: the closest is
    what the features are mostly about. With several layers, one row a layer. Assignments of each utterance
    and all scores are kept in runs/clusterings, and shown again when the same is asked for.
    """
    from ser_cache.cli import cluster_tables

    where = settings.locate(manifests, cache, runs)
    shape = shape_of(shape, output, FORMATS)
    if score not in cluster_tables.SCORES:
        raise UnknownNameError("score", score, cluster_tables.SCORES)
    if plot is not None:
        from ser_cache.plots import check_plot

        check_plot(plot)
    if only_list:
        return _list(where, shape, output, _listed(features, layers, corpora))
    options = _options(**manner)
    places = given_places(manifests, cache)
    jobs = feature_jobs(where, features, corpora, emotions, places)
    found: list[list[StoredClustering]] = []

    def cluster_one(job: FeatureJob) -> int:
        status = extract_if_missing(where, job)
        found.append(_cluster_one(where, job, layers, options, places, force=force))
        return status

    try:
        return screen.each(jobs, lambda job: job.name, cluster_one)
    finally:
        if found:  # also after Ctrl-C: what is clustered is worth showing
            _print(found, score, shape, output)
            if plot is not None:
                _draw(found, score, plot)


def _cluster_one(
    where: settings.Locations,
    job: FeatureJob,
    layers: Sequence[str],
    options: ClusterOptions,
    places: Sequence[str],
    *,
    force: bool,
) -> list[StoredClustering]:
    """Cluster one corpus's features, layer by layer."""
    from ser_cache.clustering import cluster as cluster_layers
    from ser_cache.store import open_features

    manifest = job.manifest
    folder = where.cache / job.backbone / manifest.corpus
    with (
        open_features(folder, manifest.utterances, places) as features,
        screen.bar(f"{manifest.corpus} {job.backbone}", 1) as bar,
    ):
        chosen = tuple(sorted(chosen_layers(layers, features))) or features.layers[-1:]
        if features.failed:
            screen.note(
                f"note: {manifest.corpus}: {screen.count(len(features.failed), 'utterance')} without "
                "features left out."
            )
        return cluster_layers(
            features, manifest, chosen, options, where.runs, force=force, progress=bar.restate
        )


def _options(k: str, seeds: int, **others: Any) -> ClusterOptions:  # noqa: ANN401 - as the attributes
    """How to cluster, from the command line."""
    from ser_cache.clustering import ClusterOptions

    numbers, label = _clusters(k)
    return ClusterOptions(k=numbers, k_of=label, seeds=tuple(range(seeds)), **others)


def _clusters(text: str) -> tuple[tuple[int, ...], str]:
    """Numbers of clusters from ``7`` or ``2-10``; none, and a label, from any other word."""
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        return (), text
    numbers = tuple(range(int(first), int(last or first) + 1))
    if not numbers:
        raise SettingsError(f"--k {text} holds no number; the smaller one comes first.")
    return numbers, "emotion"


def _print(found: Sequence[Sequence[StoredClustering]], score: str, shape: str, output: Path | None) -> None:
    from ser_cache.cli import cluster_tables
    from ser_cache.cli.run_formats import as_csv

    flat = [one for layers in found for one in layers]
    what = screen.count(len(flat), "clustering")
    sections: list[Section] = []
    for layers in found:
        several = len(layers) > 1
        sections += (
            cluster_tables.all_layers(layers, score) if several else cluster_tables.one_layer(layers[0])
        )
    if shape == "csv":
        deliver(as_csv([cluster_tables.record(one) for one in flat]), output, what)
    elif shape == "json":
        deliver(as_json([cluster_tables.full_record(one) for one in flat]), output, what)
    elif shape == "markdown":
        deliver(_markdown(sections), output, what)
    else:
        for section in sections:
            screen.section(section)
        for folder in dict.fromkeys(one.folder.parent if len(flat) > 1 else one.folder for one in flat):
            screen.say(f"assignments: {folder}")
    reused = sum(one.reused for one in flat)
    if reused:
        screen.note(f"{reused} of {what} reused; --force repeats.")


def _markdown(sections: Sequence[Section]) -> str:
    from ser_cache.sections import as_markdown

    return as_markdown(sections, "Clusters", ())


def _draw(found: Sequence[Sequence[StoredClustering]], score: str, plot: Path) -> None:
    """One figure a clustering; all sweeps over layers in one."""
    from ser_cache.cli.cluster_tables import SCORES
    from ser_cache.plots import draw_clustering, draw_layer_agreement

    sweeps = [layers for layers in found if len(layers) > 1]
    single = [layers[0] for layers in found if len(layers) == 1]
    if sweeps:
        draw_layer_agreement(plot, sweeps, score, SCORES[score])
        screen.note(f"figure: {plot}")
    for one in single:
        alone = len(single) == 1 and not sweeps
        path = plot if alone else plot.with_stem(f"{plot.stem}-{one.config.corpus}-{one.config.backbone}")
        draw_clustering(path, one)
        screen.note(f"figure: {path}")


def _listed(
    features: Sequence[str], layers: Sequence[str], corpora: Sequence[str]
) -> Callable[[StoredClustering], bool]:
    """Which clusterings are to be listed.

    Raises:
        SettingsError: an option that says how to cluster, where nothing is clustered.
    """
    from ser_cache.store import folder_called

    for name in ("emotions", "k", "seeds", "standardise", "reduce", "against", "score", "plot", "force"):
        if typed(name):
            raise SettingsError(
                f"--{name} changes nothing of --list, which is of all settings; choose by --corpus, "
                "--features and --layer."
            )
    chosen = features if typed("features") else ()

    def is_wanted(one: StoredClustering) -> bool:
        config = one.config
        return (
            (not corpora or config.corpus in corpora)
            and (not chosen or any(folder_called(name, {config.backbone}) for name in chosen))
            and (not layers or "all" in layers or str(config.layer) in layers)
        )

    return is_wanted


def _list(
    where: settings.Locations,
    shape: str,
    output: Path | None,
    is_wanted: Callable[[StoredClustering], bool],
) -> int:
    """The stored clusterings that are wanted, then the ones that could not be read."""
    from ser_cache.cli import cluster_tables
    from ser_cache.cli.run_formats import as_csv
    from ser_cache.clustering import read_clustering, stored_clusterings
    from ser_cache.staleness import Present

    found, unreadable = [], []
    for folder in stored_clusterings(where.runs):
        try:
            found.append(read_clustering(folder))
        except ResultsError as error:
            unreadable.append(str(error))
    stored, found = len(found), [one for one in found if is_wanted(one)]
    present = Present(where.manifests, where.cache)
    what, stale = screen.count(len(found), "clustering"), _stale(where.runs, found, present)
    if shape in ("csv", "json"):
        rows = [cluster_tables.record(one, stale=stale.get(one.folder, ())) for one in found]
        deliver(as_csv(rows) if shape == "csv" else as_json(rows), output, what)
    elif stored and not found:
        screen.note(f"None of the {screen.count(stored, 'clustering')} in {where.runs} is of these.")
    elif not found:
        screen.note(f"There are no clusterings in {where.runs}; make some with: ser cluster")
    elif shape == "markdown":
        deliver(_markdown([cluster_tables.listing(found, stale)]), output, what)
    else:
        screen.section(cluster_tables.listing(found, stale))
    unreadable += present.complaints
    for line in unreadable:
        screen.note(line)
    return SOME_FAILED if unreadable else 0


def _stale(runs: Path, found: Sequence[StoredClustering], present: Present) -> dict[Path, tuple[str, ...]]:
    """Which clusterings are stale, and why: replaced by newer ones, or on data that has changed since."""
    from ser_cache import clustering_staleness
    from ser_cache.clustering import stale_clusterings
    from ser_cache.results import REPLACED

    replaced, since = stale_clusterings(found), clustering_staleness.stale_clusterings(runs, present)
    reasons = {
        one.folder: ((REPLACED,) if one.folder in replaced else ()) + since.get(one.folder, ())
        for one in found
    }
    return {folder: why for folder, why in reasons.items() if why}
