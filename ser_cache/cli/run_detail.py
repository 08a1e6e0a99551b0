"""One run in detail on the screen: what made it, how good it is and where, how it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ser_cache.cli import screen
from ser_cache.cli.run_table import SCORES, percent

if TYPE_CHECKING:
    from ser_cache.results import Run
    from ser_cache.results.detail import LayerWeights
    from ser_cache.results.grids import GridOfFold

BAR_WIDTH = 30


def show_run(run: Run) -> None:
    """Print everything about a run but its predictions and weights.

    Raises:
        ResultsError: its log, its layer weights or what it says of a search are damaged.
    """
    _show_configuration(run)
    _show_scores(run)
    _show_classes(run)
    _show_confusion(run)
    _show_folds(run)
    _show_layer_weights(run)
    _show_grid(run)
    _show_found_rates(run)
    _show_training(run)


def detail_record(run: Run) -> dict[str, Any]:
    """The same for other programs: configuration, metrics, environment, training or searches, layer weights.

    Raises:
        ResultsError: its log, its layer weights or what it says of a search are damaged.
    """
    from ser_cache.results import read_grid_search
    from ser_cache.results.detail import read_found_rates, read_layer_weights, read_training_log

    weights, grid = read_layer_weights(run), read_grid_search(run)
    log = None if grid else read_training_log(run)
    return {
        "run": run.folder.name,
        "folder": str(run.folder),
        "config": run.config.to_json(),
        "metrics": dict(run.metrics),
        "environment": dict(run.environment),
        "training": log and {"epochs": log.epochs, "best_epochs": list(log.best_epochs)},
        "grid_search": grid and {**vars(grid), "searches": [_plain(one) for one in grid.searches]},
        "learning_rates": [vars(found) for found in read_found_rates(run)],
        "layer_weights": None
        if weights is None
        else {
            "layers": list(weights.layers),
            "mean": weights.mean.tolist(),
            "models": weights.models.tolist(),
        },
    }


def _show_configuration(run: Run) -> None:
    from ser_cache.emotions import emotions_text
    from ser_cache.results.query import layers_text, protocol_name

    config, data = run.config, run.config.data
    settings = {key: value for key, value in config.protocol.items() if key != "name"}
    if settings.get("search"):  # a table has the rates that were found; the training's own was not used
        training = settings["training"].items()
        settings["training"] = {key: value for key, value in training if key != "learning_rate"}
    across = {"trained on": ", ".join(config.trained_on), "tested on": config.tested_on}
    lines = {
        "corpus": config.corpus,
        **(across if config.tested_on else {}),
        "backbone": f"{config.backbone}, layer{'s' * (len(config.layers) > 1)} {layers_text(config.layers)}",
        "head": config.head,
        "classes": ", ".join(config.classes),
        **({"emotions": emotions_text(config.emotions)} if config.emotions else {}),
        "split": _split(config.split),
        "protocol": protocol_name(run),
        **{f"  {name}": _settings(value) for name, value in settings.items() if value not in ({}, None, "")},
        "seeds": ", ".join(map(str, config.seeds)),
        "data": f"features {data.fingerprint[:12]}, manifest {data.manifest[:12]}, splits {data.splits[:12]}",
    }
    screen.say(f"Run {run.folder.name}\n")
    for name, value in lines.items():
        screen.say_field(name, value)
    screen.say("")


def _split(split: Mapping[str, Any]) -> str:
    from ser_cache.results.query import split_text

    further = {name: value for name, value in split.items() if name != "kind"}
    return f"{split_text(split)} ({_settings(further)})" if further else split_text(split)


def _settings(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Nested settings in a line: "epochs 30, betas 0.9 0.98"; what is switched off is left out."""
    if isinstance(value, Mapping):
        if value.get("name") == "none":  # as a schedule, whose other settings then say nothing
            return "none"
        on = {name: item for name, item in value.items() if item is not None and item is not False}
        return ", ".join(f"{name.replace('_', ' ')} {_settings(item)}".strip() for name, item in on.items())
    if value is True:
        return ""
    if isinstance(value, list | tuple):
        return " ".join(map(_settings, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show_scores(run: Run) -> None:
    from ser_cache.results import summarise
    from ser_cache.statistics import Spread

    summary, folds = summarise(run), run.metrics["mean_of_folds"]
    rows = []
    for name, heading in SCORES.items():
        interval = summary.intervals.get(name)
        rows.append(
            (
                heading,
                percent(getattr(summary, name)),
                f"{100 * interval.low:.1f} to {100 * interval.high:.1f}" if interval else "none",
                percent(Spread(folds["mean"][name], folds["std"][name], summary.seeds)),
            )
        )
    columns = {"score": "left"} | dict.fromkeys(("pooled", "95% interval", "mean of folds"), "right")
    title = f"Scores over {screen.count(summary.folds, 'fold')} and {screen.count(summary.seeds, 'seed')}"
    screen.table(title, columns, rows)
    screen.say("percent; mean over seeds ± standard deviation where there are several")
    screen.say(f"macro F1 over {run.metrics.get('macro_f1_over', 'all classes')}")
    interval = run.metrics["interval"]
    method = f"interval: {interval['method']}" if "method" in interval else "interval"
    screen.say_folded(summary.no_interval or f"{method}, of {screen.count(summary.speakers, 'speaker')}")
    screen.say("")


def _show_classes(run: Run) -> None:
    rows = [
        (
            row["class"],
            *(f"{100 * row[kind]:.1f}" for kind in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        )
        for row in run.metrics["per_class"]
    ]
    columns = {"emotion": "left"} | dict.fromkeys(("precision", "recall", "F1", "support"), "right")
    screen.table("Per emotion, folds pooled, mean over seeds", columns, rows)


def _show_confusion(run: Run) -> None:
    classes, seeds = run.config.classes, len(run.config.seeds)
    shares, counted = [], []
    for name, counts in zip(classes, run.metrics["confusion"], strict=True):
        total = sum(counts)
        shares.append((name, *(_share(count, total) for count in counts)))
        counted.append((name, *(f"{_share(count, total)} ({count:,})" for count in counts)))
    columns = {"truth": "left"} | dict.fromkeys(classes, "right")
    over = f"; counts are over {seeds} seeds" if seeds > 1 else ""
    title = "Confusion: percent of each row's truth that was taken for"
    if screen.fits(columns, counted):
        screen.table(f"{title} (count){over}", columns, counted)
    else:  # the counts are what a narrow terminal can do without: their sums stand in the table above
        screen.table(f"{title}; counts: --format json", columns, shares)


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f}" if total else "-"


def _show_folds(run: Run) -> None:
    from ser_cache.results.detail import fold_scores

    found = fold_scores(run)
    if len(found) < 2:
        return
    rows = [(fold, *(percent(scores[name]) for name in SCORES)) for fold, scores in found.items()]
    columns = {"fold": "left"} | dict.fromkeys(SCORES.values(), "right")
    over = run.metrics["mean_of_folds"].get("std_over_folds", {})  # runs of earlier versions lack it
    if all(over.get(name) is not None for name in SCORES):
        rows.append(("±", *(f"{100 * over[name]:.1f}" for name in SCORES)))
    screen.table("Per fold, over the classes in its truth; ±: standard deviation over folds", columns, rows)


def _show_layer_weights(run: Run) -> None:
    from ser_cache.results.detail import read_layer_weights

    weights = read_layer_weights(run)
    if weights is None:
        return
    rows = [_layer_row(weights, place) for place in range(len(weights.layers))]
    columns = {"layer": "right", "weight": "right", "of models": "left", "": "left"}
    screen.table(
        f"Layer weights in percent, mean of {screen.count(len(weights.models), 'model')}", columns, rows
    )


def _layer_row(weights: LayerWeights, place: int) -> tuple[str, ...]:
    shares, highest = weights.models[:, place], float(weights.mean.max())
    mean = float(weights.mean[place])
    spanned = f"{100 * shares.min():.1f} to {100 * shares.max():.1f}"
    bar = "█" * round(BAR_WIDTH * mean / highest) if highest > 0 else ""
    return (str(weights.layers[place]), f"{100 * mean:.1f}", spanned, bar)


def _show_grid(run: Run) -> None:
    """What was chosen in each fold's grid search, and how it did in the inner folds."""
    from ser_cache.results import parameters_text, read_grid_search

    grid = read_grid_search(run)
    if grid is None:
        return
    rows = []
    for search in grid.searches:
        scores = search.scores[search.best]
        inner = " ".join(f"{100 * score:.1f}" for score in scores)
        chosen = parameters_text(grid.candidates[search.best]) + (" (stopped)" if search.is_doubtful else "")
        rows.append((search.fold, str(search.seed), chosen, f"{100 * scores.mean():.1f}", inner))
    columns = {"fold": "left", "seed": "right", "chosen": "fold", "mean": "right", "inner folds": "fold"}
    name = SCORES.get(grid.selected_by, grid.selected_by)
    screen.table(
        f"Grid search: {len(grid.candidates)} candidates, {name} by cross-validation, percent", columns, rows
    )
    if grid.stopped:
        limit = run.config.protocol["max_iterations"]
        screen.say(f"{grid.stopped} candidates were stopped at {limit:,} iterations before they converged\n")


def _show_found_rates(run: Run) -> None:
    """The learning rate that was found for each fold."""
    from ser_cache.results.contents import SEARCH
    from ser_cache.results.detail import read_found_rates

    found = read_found_rates(run)
    if not found:
        return
    by = str(run.config.protocol["training"]["select"])
    rows = [
        (
            one.fold,
            f"{one.rate:g}",
            f"{-one.score:.4f}" if by == "loss" else f"{100 * one.score:.1f}",
            str(one.epochs),
            str(one.rounds),
        )
        for one in found
    ]
    columns = {"fold": "left", "found": "right", SCORES.get(by, by): "right"}
    columns |= {"after epochs": "right", "rounds": "right"}
    screen.table("Learning rates, by a search on the validation side", columns, rows)
    screen.say("rounds train for different lengths, so that their scores are not like for like;")
    screen.say(f"all of them: {run.folder / SEARCH}\n")


def _show_training(run: Run) -> None:
    environment, seconds = run.environment, run.environment.get("seconds")
    took = f"; {seconds:,.1f} s" if isinstance(seconds, int | float) else ""
    device = " ".join(str(environment[key]) for key in ("device", "device_name") if key in environment)
    screen.say_field("training", f"{_trained(run)}{took}{' on ' + device if device else ''}")
    versions = {
        key: environment[key]
        for key in ("ser_cache", "torch", "scikit_learn", "numpy", "python")
        if key in environment
    }
    if versions:
        screen.say_field("versions", _settings(versions))
    if "written" in environment:
        screen.say(f"written     {environment['written']}")
    screen.say(f"predictions {run.folder / 'predictions.csv'}")


def _trained(run: Run) -> str:
    """How many models, and how long each was trained or among how many it was chosen."""
    from ser_cache.results import read_grid_search
    from ser_cache.results.detail import read_training_log

    grid = read_grid_search(run)
    if grid is not None:
        inner = sum(search.scores.size for search in grid.searches)
        return f"{screen.count(len(grid.searches), 'model')}, chosen by {inner:,} trainings in inner folds"
    log = read_training_log(run)
    best = sorted(log.best_epochs)
    middle = best[len(best) // 2]
    return (
        f"{screen.count(log.models, 'model')}, up to {screen.count(log.epochs, 'epoch')}; "
        f"best epochs {best[0]} to {best[-1]}, median {middle}"
    )


def _plain(search: GridOfFold) -> dict[str, Any]:
    return {**vars(search), "scores": search.scores.tolist(), "stopped": list(search.stopped)}
