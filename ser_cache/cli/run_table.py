"""The table of results that `ser probe` and `ser runs` share: one row a run, as text for any format.

Scores are in percent with the standard deviation over seeds; the interval is over test speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_cache.cli import screen

if TYPE_CHECKING:
    from ser_cache.results import Run, RunSummary, Stale
    from ser_cache.statistics import Spread

SCORES = {"ua": "UA", "wa": "WA", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
"""Attribute of a summary -> heading, in the order of every table."""
INTERVAL = "95% CI"
_NARROW = {"weighted F1": "w. F1"}
"""Headings that are wider than what stands below them; a terminal has no columns to spare."""
_FOLDING = {"corpus", "emotions", "backbone", "split", "protocol", "stale"}
_NUMBERS = {*SCORES.values(), INTERVAL, "seeds", "folds"}
COLUMNS = {
    "corpus": "fold",
    "backbone": "fold",
    "head": "left",
    "UA": "right",
    "WA": "right",
    "macro F1": "right",
    INTERVAL: "right",
    "w. F1": "right",
}
"""Of `ser probe`: heading -> how it gives way in a narrow terminal."""
PERCENT = "percent; mean over seeds ± standard deviation where there are several"
NAMES = "UA: unweighted accuracy (mean recall), WA: accuracy, w. F1: weighted F1"
SPARE = ("w. F1", "WA", "seeds", "folds", "UA", INTERVAL)
"""Columns that a narrow terminal does without, the first first; what tells runs apart stays."""


@dataclass(frozen=True)
class RunTable:
    """Rows as text, and what they all have in common, which would only take room in every row.

    Attributes:
        headings: of the columns that differ, and of the scores.
        rows: one string per heading.
        shared: heading -> the value of every row.
        names: the runs' whole names, one a row.
        stale: the reasons that any of the runs is stale for.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shared: dict[str, str]
    names: tuple[str, ...]
    stale: tuple[str, ...] = ()

    def columns(self) -> dict[str, str]:
        """Headings for a terminal -> how each gives way in a narrow one."""
        kinds = {h: "fold" if h in _FOLDING else "right" if h in _NUMBERS else "left" for h in self.headings}
        return {_NARROW.get(heading, heading): kind for heading, kind in kinds.items()}

    def is_number(self, heading: str) -> bool:
        """Whether a column is aligned to the right."""
        return heading in _NUMBERS

    def in_common(self) -> str:
        """What all rows share, as a line: "split loso, protocol dasaro2024, 5 seeds"; empty for nothing."""
        counted = {"seeds": "seed", "folds": "fold"}
        return ", ".join(
            screen.count(int(value), counted[heading])
            if heading in counted
            else f"{heading} ({value})"
            if ", " in value
            else f"{heading} {value}"
            for heading, value in self.shared.items()
        )

    def stale_legend(self) -> str:
        """What the reasons mean, as a line; empty without any."""
        if not self.stale:
            return ""
        from ser_cache.results import REPLACED, UNKNOWN
        from ser_cache.staleness import REASONS

        told = {REPLACED: "a newer run of the same choices is on other data"}
        told |= {name: f"since the run, {text}" for name, text in REASONS.items() if name != UNKNOWN}
        told[UNKNOWN] = REASONS[UNKNOWN]
        return f"stale: {'; '.join(f'{name}: {told[name]}' for name in self.stale)}"


def table_of(
    runs: Sequence[Run], score: str = "macro_f1", stale: Stale | None = None, show_layers: bool = False
) -> RunTable:
    """Lay runs out.

    Args:
        runs: in the order of the rows.
        score: the one that the interval is of, which stands beside it.
        stale: the stale runs, with the reasons.
        show_layers: also where backbone and head tell them, as where some were asked for: a table of layer 3
            alone would otherwise read as one of the last.
    """
    from ser_cache.emotions import emotions_text
    from ser_cache.results import summarise
    from ser_cache.results.finding import short_digits
    from ser_cache.results.query import layers_text, protocol_name, split_text

    digits = short_digits(run.folder.name for run in runs)
    reasons = {run.folder: (stale or {}).get(run.folder, ()) for run in runs}
    about: dict[str, Callable[[Run], str]] = {
        "run": lambda run: digits[run.folder.name],
        "corpus": lambda run: run.config.corpus,
        "emotions": lambda run: emotions_text(run.config.emotions).replace(",", ", "),
        "backbone": lambda run: run.config.backbone,
        "head": lambda run: run.config.head,
        "layers": lambda run: layers_text(run.config.layers),
        "split": lambda run: split_text(run.config.split),
        "protocol": protocol_name,
        "seeds": lambda run: str(len(run.config.seeds)),
        "folds": lambda run: str(len(run.metrics["folds"])),
        "stale": lambda run: ", ".join(reasons[run.folder]),
    }
    cells = {heading: [text(run) for run in runs] for heading, text in about.items()}
    for heading in ("stale", "emotions"):  # which few runs have
        if not any(cells[heading]):
            del cells[heading]
    shared = {
        heading: values[0] for heading, values in cells.items() if heading != "run" and len(set(values)) == 1
    }
    _drop_implied(cells, shared, runs, show_layers)
    if len(runs) == 1:
        shared |= {"folds": about["folds"](runs[0])}
        shared = {heading: shared[heading] for heading in ("split", "protocol", "seeds", "folds")}
    kept = {heading: values for heading, values in cells.items() if heading not in shared}
    kept |= _score_cells([summarise(run) for run in runs], score)
    return RunTable(
        headings=tuple(kept),
        rows=tuple(zip(*kept.values(), strict=True)),
        shared=shared,
        names=tuple(run.folder.name for run in runs),
        stale=tuple(sorted({reason for found in reasons.values() for reason in found})),
    )


def _drop_implied(
    cells: dict[str, list[str]], shared: dict[str, str], runs: Sequence[Run], show_layers: bool
) -> None:
    """Take away, in place, columns that others tell already, for which a terminal has no room."""
    from ser_cache.cross_corpus import KIND

    if not show_layers and _implied(
        cells["layers"], list(zip(cells["backbone"], cells["head"], strict=True))
    ):
        del cells["layers"]
        shared.pop("layers", None)
    across = [bool(run.config.tested_on) for run in runs]
    if any(across) and _implied(cells["folds"], cells["split"]):
        # Beside runs within a corpus there is no room to say twice that theirs are several.
        del cells["folds"]
        shared.pop("folds", None)
    if len(set(across)) == 2 and _implied(cells["split"], across):
        # Nor to say of each whether it is across corpora, which its corpus says.
        shared["split within a corpus"] = cells["split"][across.index(False)]
        if unusual := cells["split"][across.index(True)].removeprefix(KIND).strip(", "):
            shared["across corpora"] = unusual
        del cells["split"]


def show_runs(table: RunTable, title: str, score: str = "macro_f1") -> None:
    """Print rows in a terminal, with what they share, and what the columns are.

    Args:
        table: the rows.
        title: above them.
        score: the one that the interval is of.
    """
    in_common = table.in_common()
    screen.table(f"{title}: {in_common}" if in_common else title, table.columns(), table.rows, _spare(score))
    for line in (PERCENT, _interval_of(score), NAMES):
        screen.say_folded(line)
    if legend := table.stale_legend():
        screen.say_folded(legend)


def _spare(score: str) -> list[str]:
    """Columns to do without in a narrow terminal, but for the score that is asked for."""
    heading = SCORES[score]
    return [name for name in SPARE if name != _NARROW.get(heading, heading)]


def show_summaries(summaries: Sequence[RunSummary], title: str) -> None:
    """Print one row a run, then what must be known before believing the numbers, each once."""
    score_cells = _score_cells(summaries, "macro_f1")
    # A sweep over layers has many rows of one corpus, backbone and head.
    places = [(s.corpus, s.backbone, s.head) for s in summaries]
    columns, layers = dict(COLUMNS), None
    if not _implied([s.layers for s in summaries], places):
        from ser_cache.results.query import layers_text

        layers = [layers_text(s.layers) for s in summaries]
        columns = {"corpus": "fold", "backbone": "fold", "head": "left", "layers": "left"} | columns
    rows = [
        (*place, *([layers[number]] if layers else []), *(values[number] for values in score_cells.values()))
        for number, place in enumerate(places)
    ]
    screen.table(title, columns, rows, _spare("macro_f1"))
    seeds = {summary.seeds for summary in summaries}
    over = f"{screen.count(seeds.pop(), 'seed')}; " if len(seeds) == 1 else ""
    for line in (f"{over}{PERCENT}", _interval_of("macro_f1"), NAMES):
        screen.say_folded(line)
    notes: dict[str, list[str]] = {}
    for summary in summaries:
        for line in filter(None, (*summary.warnings, summary.no_interval)):
            notes.setdefault(line, []).append(summary.corpus)
    for line, corpora in notes.items():
        screen.note(f"note: {', '.join(dict.fromkeys(corpora))}: {line}")
    screen.note_reused(sum(summary.reused for summary in summaries), len(summaries), "trains again")
    screen.say(f"runs: {summaries[0].folder.parent}")


def _interval_of(score: str) -> str:
    return f"{INTERVAL}: 95% interval of {SCORES[score]} over test speakers"


def percent(spread: Spread) -> str:
    """A score in percent, with its standard deviation where there is one: "62.3±1.4"."""
    if spread.std is None:
        return f"{100 * spread.mean:.1f}"
    return f"{100 * spread.mean:.1f}±{100 * spread.std:.1f}"


def interval_text(summary: RunSummary, score: str) -> str:
    """The confidence interval of a score, "55.1-68.9"; without one the few speakers that are the reason."""
    if score not in summary.intervals:
        return screen.count(summary.speakers, "speaker")
    interval = summary.intervals[score]
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"


def _score_cells(summaries: Sequence[RunSummary], score: str) -> dict[str, list[str]]:
    """Heading -> cells; the interval after the score it is of."""
    cells: dict[str, list[str]] = {}
    for name, heading in SCORES.items():
        cells[heading] = [percent(getattr(summary, name)) for summary in summaries]
        if name == score:
            cells[INTERVAL] = [interval_text(summary, score) for summary in summaries]
    return cells


def _implied(values: Sequence[object], by: Sequence[object]) -> bool:
    """Whether equal keys always have equal values, so that the values need no column."""
    return len(set(zip(by, values, strict=True))) == len(set(by))
