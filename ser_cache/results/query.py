"""All runs of a folder: read, chosen, sorted, and each as one flat record of all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_cache.emotions import EmotionChoice, emotions_text
from ser_cache.errors import ResultsError, UnknownNameError
from ser_cache.results.contents import damaged
from ser_cache.results.folder import Run, list_runs, read_run
from ser_cache.results.generations import REPLACED, Stale, is_stale, stale_runs
from ser_cache.results.scoring import HEADLINE
from ser_cache.splits import SplitOptions

Record = dict[str, Any]
"""Column -> text, number, list of either, or None where a run has no such thing."""

DEFAULT_ORDER = ("corpus", "backbone", "head", "layers", "split", "protocol", "run")
_USUAL_SHARE = round(SplitOptions().ratios[1] / sum(SplitOptions().ratios[:2]), 6)
"""Of the training corpora that validate, where others are tested."""
_ALIASES = {"layer": "layers", "model": "backbone"}
_BEST_FIRST = ("precision.", "recall.", "f1.", "mean_of_folds.")
"""Beginnings of the columns that are scores, beside the headline's own."""


@dataclass(frozen=True)
class Wanted:
    """Which runs to choose; an empty tuple allows all, several values any of them.

    Attributes:
        corpora: names.
        trained_on: names of corpora, one of which was trained on, with or without being tested.
        tested_on: names of corpora tested, with or without being trained on.
        splits: kinds, or what :func:`split_text` says of a run ("5 folds"), or ratios ("70/10/20").
        emotions: the classes that the run has, made of these emotions or of what its corpus has of them.
        backbones: folder names in the cache, or the hub ids or local folders they were made from.
        heads: names.
        protocols: names as the runs have them, changed settings included ("dasaro2024 but epochs 2").
        layers: numbers; a run is chosen when its head was fed one of them.
        stale: True for the stale ones alone, False for all but those; None for both.
    """

    corpora: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    stale: bool | None = None
    trained_on: tuple[str, ...] = ()
    tested_on: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    emotions: EmotionChoice | None = None


@dataclass(frozen=True)
class Listing:
    """The runs of a folder.

    Attributes:
        runs: those that could be read, by name.
        unreadable: for each of the others one line that names it and says what is wrong.
        stale: folders of those that have a newer run of the same choices on other data, with the reason.
    """

    runs: tuple[Run, ...]
    unreadable: tuple[str, ...]
    stale: Stale = field(default_factory=dict)


def read_all(folder: Path) -> Listing:
    """Read every run of a folder, which need not exist; what cannot be read stops nothing."""
    runs, unreadable = [], []
    for path in list_runs(folder):
        try:
            run = read_run(path)
            record(run)
        except ResultsError as error:
            unreadable.append(str(error))
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            unreadable.append(str(damaged(path, " ".join(str(error).split()))))
        else:
            runs.append(run)
    return Listing(tuple(runs), tuple(unreadable), dict.fromkeys(stale_runs(runs), (REPLACED,)))


def select(runs: Sequence[Run], wanted: Wanted, stale: Stale | None = None) -> list[Run]:
    """The runs that meet every condition, in the order given.

    Args:
        runs: what to choose from.
        wanted: the conditions.
        stale: the stale ones among them; one of which that is unknown counts with those that are not.

    Raises:
        UnknownNameError: a name that no run has, so that a slip does not look like an empty result.
    """
    chosen = list(runs)
    conditions: tuple[tuple[str, Sequence[Any], Callable[[Run], Any]], ...] = (
        ("corpus", wanted.corpora, lambda run: run.config.corpus),
        ("tested corpus", wanted.tested_on, lambda run: run.config.test_corpus),
        ("backbone", wanted.backbones, lambda run: run.config.backbone),
        ("head", wanted.heads, lambda run: run.config.head),
        ("protocol", wanted.protocols, protocol_name),
    )
    for kind, names, value in conditions:
        if names:
            known = {value(run) for run in runs}
            accepted = {_known_as(kind, name, known) for name in names}
            chosen = [run for run in chosen if value(run) in accepted]
    if wanted.trained_on:
        known = {corpus for run in runs for corpus in run.config.training_corpora}
        trained = {_known_as("training corpus", name, known) for name in wanted.trained_on}
        chosen = [run for run in chosen if trained & set(run.config.training_corpora)]
    if wanted.splits:
        known = {spelling for run in runs for spelling in _split_spellings(run)}
        accepted = {_known_as("split", name, known) for name in wanted.splits}
        chosen = [run for run in chosen if accepted & set(_split_spellings(run))]
    if wanted.emotions is not None:
        fitting = _of_emotions(runs, wanted.emotions)
        chosen = [run for run in chosen if run.folder in fitting]
    if wanted.layers:
        chosen = [run for run in chosen if set(run.config.layers) & set(wanted.layers)]
    if wanted.stale is not None:
        marks = stale or {}
        chosen = [run for run in chosen if bool(is_stale(marks.get(run.folder, ()))) is wanted.stale]
    return chosen


def sort_runs(
    runs: Iterable[Run], key: str = "", stale: Stale | None = None, *, reverse: bool = False
) -> list[Run]:
    """Sort by any column of the records: scores best first, everything else ascending, what lacks it last.

    Args:
        runs: what to sort.
        key: a column, in any spelling of case, spaces and hyphens ("macro F1"); empty for the order of
            corpus, backbone, head, layers. That order also decides between equals.
        stale: the stale ones among them.
        reverse: turn the order round; what lacks the column stays last.

    Raises:
        UnknownNameError: no run has such a column.
    """
    records = {run.folder: record(run, stale=(stale or {}).get(run.folder, ())) for run in runs}
    by_name = sorted(runs, key=lambda run: [_comparable(records[run.folder][name]) for name in DEFAULT_ORDER])
    if not key or not by_name:
        return by_name[::-1] if reverse else by_name
    column = column_named(key, records.values())
    having = [run for run in by_name if records[run.folder].get(column) is not None]
    lacking = [run for run in by_name if records[run.folder].get(column) is None]
    descending = is_score(column) != reverse
    having.sort(key=lambda run: _comparable(records[run.folder][column]), reverse=descending)
    return having + lacking


def column_named(key: str, records: Iterable[Mapping[str, Any]]) -> str:
    """The column that a person's spelling means.

    Raises:
        UnknownNameError: none of the records has it.
    """
    columns = list(dict.fromkeys(name for values in records for name in values))
    spelled = key.strip().casefold().replace(" ", "_").replace("-", "_")
    spelled = _ALIASES.get(spelled, spelled)
    for name in columns:
        if name.casefold().replace(" ", "_").replace("-", "_") == spelled:
            return name
    plain = [name for name in columns if "." not in name]
    raise UnknownNameError("column", key, plain, "Those with a dot: see the first line of --format csv.")


def is_score(column: str) -> bool:
    """Whether more is better in a column."""
    return column.removesuffix("_low").removesuffix("_high") in HEADLINE or column.startswith(_BEST_FIRST)


def record(run: Run, *, stale: Sequence[str] = ()) -> Record:
    """Everything about a run but its predictions and weights, flat: nested settings have dots in their names.

    Scores are fractions from 0 to 1; ``<score>_std`` is over seeds (null for one), ``<score>_low`` and
    ``_high`` are the confidence interval over test speakers (null without, and ``no_interval`` says why).

    Args:
        run: which.
        stale: why it is, which one run does not know.
    """
    config, metrics = run.config, run.metrics
    values: Record = {
        "run": run.folder.name,
        "corpus": config.corpus,
        "trained_on": list(config.training_corpora),
        "tested_on": config.test_corpus,
        "backbone": config.backbone,
        "head": config.head,
        "layers": list(config.layers),
        "split": split_text(config.split),
        "protocol": protocol_name(run),
        "seeds": len(config.seeds),
        "folds": len(metrics["folds"]),
    }
    for name in HEADLINE:
        values |= _score(run, name)
    values |= {
        "no_interval": metrics["interval"].get("reason"),
        "speakers": metrics["interval"]["speakers"],
        "utterances": sum(row["support"] for row in metrics["per_class"]),
        "macro_f1_over": metrics.get("macro_f1_over"),
        "classes": list(config.classes),
        "emotions": emotions_text(config.emotions) or None,
        "seed_numbers": list(config.seeds),
        "date": run.written or None,
        "stale": is_stale(stale),
        "stale_because": list(stale),
        "folder": str(run.folder),
    }
    for kind in ("mean", "std"):
        fold_means = metrics["mean_of_folds"][kind]
        values |= {f"mean_of_folds.{n}{'_std' * (kind == 'std')}": fold_means[n] for n in HEADLINE}
    for row in metrics["per_class"]:
        values |= {f"{kind}.{row['class']}": row[kind] for kind in ("precision", "recall", "f1", "support")}
    settings = {name: value for name, value in config.to_json().items() if name not in values}
    nested = {"split": config.split, "protocol": config.protocol, **settings, "environment": run.environment}
    return values | {name: value for name, value in _flat(nested) if name != "protocol.name"}


def protocol_name(run: Run) -> str:
    """The name of a run's protocol, changed settings included."""
    return str(run.config.protocol["name"])


def split_text(split: Mapping[str, Any]) -> str:
    """A split in few words: its kind, and the settings that are not the usual ones."""
    usual = SplitOptions()
    words = f"{split['folds']} folds" if "folds" in split else str(split["kind"])
    if split.get("validation", usual.kind) != usual.kind:
        words += f", {split['validation']} validation"
    if split.get("share", _USUAL_SHARE) != _USUAL_SHARE:
        words += f", {100 * split['share']:.0f}% validate"
    if split.get("seed", usual.seed) != usual.seed:
        words += f" seed {split['seed']}"
    ratios = split.get("ratios")
    if ratios is not None and list(ratios) != list(usual.ratios):
        words += f" {ratios_text(ratios)}"
    return words


def _split_spellings(run: Run) -> list[str]:
    """What a split may be asked for by: its kind, all that is said of it, its ratios alone."""
    split = run.config.split
    ratios = [ratios_text(split["ratios"])] if "ratios" in split else []
    return [str(split["kind"]), split_text(split), *ratios]


def ratios_text(ratios: Sequence[float]) -> str:
    """Shares in percent, as ``--ratios`` takes them: "80/10/10"."""
    return "/".join(f"{100 * share:g}" for share in ratios)


def _of_emotions(runs: Sequence[Run], choice: EmotionChoice) -> set[Path]:
    """Folders of the runs whose classes are those of a choice.

    A corpus may lack an emotion that a class takes in: what a corpus has, its runs together tell.

    Raises:
        UnknownNameError: there are none.
    """
    has: dict[str, set[str]] = {}
    for run in runs:
        has.setdefault(run.config.corpus, set()).update(*_made_of(run).values())
    found = set()
    for run in runs:
        here = has[run.config.corpus]
        wanted = {name: here & set(members) for name, members in choice.classes.items()}
        if {name: set(members) for name, members in _made_of(run).items()} == wanted:
            found.add(run.folder)
    if not found and runs:
        known = {emotions_text(_made_of(run)) for run in runs}
        raise UnknownNameError(
            "choice of emotions", str(choice), known, "Those are the classes of runs here."
        )
    return found


def _made_of(run: Run) -> Mapping[str, tuple[str, ...]]:
    """The emotions of each class of a run."""
    return run.config.emotions or {name: (name,) for name in run.config.classes}


def layers_text(layers: Sequence[int]) -> str:
    """Layer numbers in few characters: "12", "1-12", "0,3-5"."""
    spans: list[list[int]] = []
    for layer in sorted(layers):
        if spans and layer == spans[-1][1] + 1:
            spans[-1][1] = layer
        else:
            spans.append([layer, layer])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _score(run: Run, name: str) -> Record:
    pooled, interval = run.metrics["pooled"], run.metrics["interval"]
    low, high = interval.get(name, (None, None))
    return {
        name: pooled["mean"][name],
        f"{name}_std": pooled["std"][name],
        f"{name}_low": low,
        f"{name}_high": high,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _known_as(kind: str, name: str, known: Iterable[str]) -> str:
    """The name the runs have for it; a backbone may also be given as hub id or folder, as to `ser probe`."""
    names = set(known)
    spellings = (name, name.replace("/", "--"), Path(name).name) if kind == "backbone" else (name,)
    for spelling in spellings:
        if spelling in names:
            return spelling
    raise UnknownNameError(kind, name, names, "That is what the runs here have.")


def _comparable(value: object) -> tuple[int, Any]:
    """A value that compares with any other: numbers, then lists, then text; lists by their elements."""
    if isinstance(value, bool | int | float):
        return (0, value)
    if isinstance(value, list | tuple):
        return (1, [_comparable(item) for item in value])
    return (2, str(value))
