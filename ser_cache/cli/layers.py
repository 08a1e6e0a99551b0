"""``ser layers``: which layers matter, from runs that are there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import OUTPUT_FILE, listed_manifests, readable_manifests, where_things_live
from ser_cache.errors import ResultsError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ser_cache.layer_analysis import LayerScores, LayerWeights
    from ser_cache.manifest import Manifest
    from ser_cache.results import Run

SCORES = {"ua": "UA", "wa": "WA", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
_BAR = 24


@click.command(
    epilog="Example: ser layers --model xls-r --plot layers.pdf",
    short_help="Which layers matter, from trained runs.",
)
@click.option("--model", "models", multiple=True, help="Runs of this backbone; repeatable [default: all].")
@click.option("--corpus", "corpora", multiple=True, help="Runs on this corpus; repeatable [default: all].")
@click.option("--head", "heads", multiple=True, help="Runs of this head; repeatable [default: all].")
@click.option("--protocol", help="Runs of this protocol alone.")
@click.option("--split", help="Runs of this kind of split alone.")
@click.option(
    "--score", default="macro_f1", show_default=True, metavar="|".join(SCORES), help="Of each layer alone."
)
@click.option("--plot", type=OUTPUT_FILE, help="Draw it as well: FILE.png, .pdf or .svg (needs matplotlib).")
@where_things_live("manifests", "cache", "runs")
def layers(
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    heads: tuple[str, ...],
    protocol: str | None,
    split: str | None,
    score: str,
    plot: Path | None,
    manifests: Path | None,
    cache: Path | None,
    runs: Path | None,
) -> None:
    """Show how heads weight the layers, and how well each layer does alone, from the runs there are.

    Weights come from heads that mix layers (`ser probe --head multilayer`), averaged over folds and seeds,
    then over corpora: raw, and rescaled by each layer's root mean square over the training frames, since
    equal weights do not mean equal parts where one layer's states are larger than another's. Scores come from
    a head trained on one layer at a time (`ser probe --head linear --layer all`). Trains nothing.
    """
    from ser_cache.layer_analysis import layer_weights, norms_from_cache, scores_by_layer

    if score not in SCORES:
        raise UnknownNameError("score", score, SCORES)
    if plot is not None:
        from ser_cache.plots import check_plot

        check_plot(plot)
    where = settings.locate(manifests, cache, runs)
    chosen = [
        run
        for run in _readable(where.runs)
        if (not models or run.config.backbone in models)
        and (not corpora or run.config.corpus in corpora)
        and (not heads or run.config.head in heads)
        and protocol in (None, run.config.protocol.get("name"))
        and split in (None, run.config.split.get("kind"))
    ]
    weights = layer_weights(chosen, norms_from_cache(where.cache, _manifests(where, chosen)))
    scores = scores_by_layer(chosen, score)
    if not weights and not scores:
        raise ResultsError(
            f"of the runs in {where.runs}, {len(chosen)} fit, and none of them mixes layers or tries each "
            "alone; train some: ser probe --head multilayer, or ser probe --head linear --layer all"
        )
    for row in weights:
        _show_weights(row)
    for curve in scores:
        _show_scores(curve, score)
    if weights:
        _show_map(weights)
    if plot is not None:
        from ser_cache.plots import draw_layers

        draw_layers(plot, weights, scores, SCORES[score])
        screen.say(f"figure: {plot}")


def _readable(runs: Path) -> list[Run]:
    """Every run that can be read; a line for one that cannot."""
    from ser_cache.results import list_runs, read_run

    found = []
    for folder in list_runs(runs):
        try:
            found.append(read_run(folder))
        except ResultsError as error:
            screen.note(f"skipped: {error}")
    return found


def _manifests(where: settings.Locations, runs: list[Run]) -> Mapping[str, Manifest]:
    """The manifests of the runs' corpora that can be read; without one, weights stay as they are."""
    wanted = {corpus for run in runs for corpus in run.config.training_corpora}
    paths = listed_manifests(where.manifests)
    return readable_manifests({corpus: path for corpus, path in paths.items() if corpus in wanted})


def _show_weights(row: LayerWeights) -> None:
    from ser_cache.layer_analysis import bar

    shown = row.raw if row.rescaled is None else row.rescaled
    cells = [
        (
            str(layer),
            f"{100 * row.raw[place]:.1f}",
            "" if row.rescaled is None else f"{100 * row.rescaled[place]:.1f}",
            bar(shown[place] / shown.max(), _BAR),
        )
        for place, layer in enumerate(row.layers)
    ]
    over = f"mean of {', '.join(row.corpora)}"
    title = f"Layer weights of {row.backbone}, {row.head}, {row.protocol}, split {row.split}: {over}"
    screen.table(title, {"layer": "right", "raw": "right", "rescaled": "right", "": "left"}, cells)
    kind = "raw" if row.rescaled is None else "rescaled"
    screen.say(f"percent of the sum of weights; bars: {kind}, the largest is full")
    for note in row.notes:
        screen.note(f"note: {note}")
    screen.say("")


def _show_scores(row: LayerScores, score: str) -> None:
    from ser_cache.layer_analysis import bar

    cells = []
    for place, layer in enumerate(row.layers):
        mean, std = 100 * row.mean[place], 100 * row.std[place]
        text = f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f}±{std:.1f}"
        cells.append((str(layer), text, bar(float(row.mean[place]), 2 * _BAR)))
    title = f"Score by layer of {row.backbone} on {row.corpus}, {row.head}, {row.protocol}, split {row.split}"
    screen.table(title, {"layer": "right", SCORES[score]: "right", "": "left"}, cells)
    best = row.layers[int(row.mean.argmax())]
    screen.say(f"percent; mean over seeds ± standard deviation; bars: 100 is full; best layer: {best}")
    for note in row.notes:
        screen.note(f"note: {note}")
    screen.say("")


def _show_map(weights: list[LayerWeights]) -> None:
    from ser_cache.reproduction import layer_map

    section = layer_map(weights)
    screen.table("Layer weights, averaged over corpora", section.columns, section.rows)
    screen.say(section.notes[0])
