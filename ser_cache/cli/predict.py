"""``ser predict``: the emotions of new audio, as a trained run hears them."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.delivery import as_json, deliver, delivery_options, shape_of
from ser_cache.cli.options import where_things_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ser_cache.prediction import Prediction, PredictionOptions, PredictionReport
    from ser_cache.results import Run

SOME_FAILED = 3
FORMATS = ("table", "csv", "json")


@click.command(
    epilog="Example: ser predict emovo-whisper-small-multilayer recordings/ --format csv",
    short_help="Emotions of new audio, by a trained run.",
)
@click.argument("run")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--fold", "folds", multiple=True, help="Ask the models of this fold; repeatable [default: all]."
)
@click.option("--seed", "seeds", multiple=True, type=int, help="... of this seed; repeatable [default: all].")
@click.option("--model", default="", help="Where the run's backbone is now [default: where it was].")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to run.")
@click.option("--offline", is_flag=True, help="Use downloaded checkpoints only.")
@delivery_options(FORMATS)
@where_things_live("cache", "runs")
def predict(
    run: str,
    files: tuple[Path, ...],
    folds: tuple[str, ...],
    seeds: tuple[int, ...],
    model: str,
    device: str,
    offline: bool,
    shape: str | None,
    output: Path | None,
    cache: Path | None,
    runs: Path | None,
) -> int:
    """Predict the emotions of audio FILES with a trained RUN.

    RUN is a run's name, its beginning, the digits that `ser runs` shows, or a folder. FILES are audio files,
    or folders with audio at any depth. The scores are class probabilities, the mean over all models of the
    run (folds times seeds). Files that cannot be used are listed; the exit status is then 3. Files of less
    than 0.1 s, and silent ones, are predicted and marked: their scores mean nothing. Files that the run was
    trained on are not recognised: what is said of them is better than it would be of others.
    """
    from ser_cache.given_files import collect_files, require_any
    from ser_cache.results import find_run

    shape = shape_of(shape, output, FORMATS)
    where = settings.locate(cache=cache, runs=runs)
    found = find_run(where.runs, run)
    wanted = collect_files(files)
    require_any(wanted)
    screen.busy(f"loading {model or found.config.backbone}")
    from ser_cache.prediction import PredictionOptions  # imports torch, which takes seconds

    options = PredictionOptions(model, tuple(folds), tuple(seeds), device, offline)
    report = _predict(found, wanted, options, where.cache)
    _deliver(report, shape, output)
    _note_doubts(report)
    for reason in report.failed.values():  # all of them: nothing else names them
        screen.note(f"failed: {reason}")
    return SOME_FAILED if report.failed else 0


def _predict(run: Run, files: Sequence[Path], options: PredictionOptions, cache: Path) -> PredictionReport:
    from ser_cache.prediction import predict

    started = monotonic()
    with screen.bar("predicting", len(files)) as bar:

        def show(done: int, total: int) -> None:
            bar.restate(done, total, f"{done / max(monotonic() - started, 1e-9):.1f} files/s")

        return predict(run, files, options, cache, show)


def _deliver(report: PredictionReport, shape: str, output: Path | None) -> None:
    if shape == "table":
        _show_table(report)
        return
    text = _as_csv(report) if shape == "csv" else _as_json(report)
    if output is not None:
        for line in _header(report):
            screen.note(line)
    deliver(text, output, screen.count(len(report.predictions), "prediction"))


def _header(report: PredictionReport) -> list[str]:
    """Which run says this, and how far it can be believed."""
    from ser_cache.cli.run_table import interval_text, percent
    from ser_cache.results import summarise

    run, summary = report.run, summarise(report.run)
    among = f" (95% interval {interval_text(summary, 'macro_f1')})" if summary.intervals else ""
    models = screen.count(report.models, "model")
    classes = ", ".join(run.config.classes)
    return [
        f"run {run.folder.name}: {models} of the {summary.head} head on {summary.backbone}",
        f"trained on {', '.join(run.config.training_corpora)} for {classes}",
        f"macro F1 on {run.config.tested_on or 'its test sides'}: {percent(summary.macro_f1)}%{among}",
    ]


def _show_table(report: PredictionReport) -> None:
    for line in _header(report):
        screen.say_folded(line)
    if not report.predictions:
        return
    screen.say("")
    files = [str(one.path) for one in report.predictions]
    title, (columns, rows) = "Predictions: class probabilities in percent", _whole(report, files)
    if not screen.fits(columns, rows):
        folder, files = _below_a_folder(files)
        if folder:
            screen.say(f"files in {folder}:\n")  # not folded: it must be possible to copy it
        columns, rows = _whole(report, files)
    short = not screen.fits(columns, rows)
    if short:  # names that can be read are worth more than the probabilities of every class
        title, (columns, rows) = (
            "Predictions: the likeliest class and the next, percent",
            _short(report, files),
        )
    screen.table(title, columns, rows)
    if short:
        screen.say_folded("every class: in a wider terminal, or with --format csv")
    if report.models > 1:
        screen.say_folded(
            f"mean of {report.models} models; agree: percent of the models that chose the emotion"
        )


_Cells = tuple[dict[str, str], list[tuple[str, ...]]]
"""Columns and rows of a table."""


def _whole(report: PredictionReport, files: Sequence[str]) -> _Cells:
    """A column for each class."""
    columns = {"file": "fold", "emotion": "left"} | dict.fromkeys(report.run.config.classes, "right")
    further, cells = _agreement_and_note(report)
    rows = [
        (file, one.emotion, *(f"{100 * score:.1f}" for score in one.scores), *more)
        for file, one, more in zip(files, report.predictions, cells, strict=True)
    ]
    return columns | further, rows


def _short(report: PredictionReport, files: Sequence[str]) -> _Cells:
    """The likeliest class and the next."""
    classes = report.run.config.classes
    columns = {"file": "fold", "emotion": "left", "percent": "right", "next": "left"}
    further, cells = _agreement_and_note(report)
    rows = []
    for file, one, more in zip(files, report.predictions, cells, strict=True):
        first, second = (-one.scores).argsort(kind="stable")[:2].tolist()
        then = f"{classes[second]} {100 * one.scores[second]:.1f}"
        rows.append((file, one.emotion, f"{100 * one.scores[first]:.1f}", then, *more))
    return columns | further, rows


def _agreement_and_note(report: PredictionReport) -> _Cells:
    """The last columns: of several models how many agree, and a note where any file needs one."""
    several, doubtful = report.models > 1, any(one.doubt for one in report.predictions)
    columns = ({"agree": "right"} if several else {}) | ({"note": "left"} if doubtful else {})
    rows = [
        (*[f"{100 * one.agreement:.0f}"] * several, *[one.doubt] * doubtful) for one in report.predictions
    ]
    return columns, rows


def _below_a_folder(files: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that all files are in, and their paths below it; "" and the paths where there is none."""
    try:
        folder = os.path.commonpath([Path(file).parent for file in files])
    except ValueError:  # some are given from the root on, and some are not
        folder = ""
    if not folder:
        return "", list(files)
    return folder, [os.path.relpath(file, folder) for file in files]


def _note_doubts(report: PredictionReport) -> None:
    """Say that some files were classified and can hardly hold speech; the column "note" marks them."""
    doubtful = [one for one in report.predictions if one.doubt]
    if not doubtful:
        return
    named = screen.named([f"{one.path} ({one.doubt})" for one in doubtful])
    screen.note(f"note: too short or silent, so that what is predicted of them means nothing: {named}")


def _record(report: PredictionReport, one: Prediction) -> dict[str, Any]:
    scores = zip(report.run.config.classes, one.scores.tolist(), strict=True)
    return {
        "file": str(one.path),
        "emotion": one.emotion,
        "agreement": one.agreement,
        "seconds": one.seconds,
        "note": one.doubt,
        "scores": dict(scores),
    }


def _as_csv(report: PredictionReport) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    classes = report.run.config.classes
    writer.writerow(
        ["file", "emotion", "agreement", "seconds", "note", *(f"score:{name}" for name in classes)]
    )
    for one in report.predictions:
        scores = [f"{score:.6g}" for score in one.scores]
        about = [f"{one.agreement:.6g}", f"{one.seconds:.6g}", one.doubt]
        writer.writerow([one.path, one.emotion, *about, *scores])
    return text.getvalue()


def _as_json(report: PredictionReport) -> str:
    run = report.run
    value = {
        "run": run.folder.name,
        "corpus": run.config.corpus,
        "trained_on": list(run.config.training_corpora),
        "tested_on": run.config.test_corpus,
        "backbone": run.config.backbone,
        "head": run.config.head,
        "classes": list(run.config.classes),
        "macro_f1": run.metrics["pooled"]["mean"]["macro_f1"],
        "models": report.models,
        "predictions": [_record(report, one) for one in report.predictions],
        "failed": {str(path): reason for path, reason in report.failed.items()},
    }
    return as_json(value)
