"""Our figures beside the published ones, as tables that a terminal and Markdown can both show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from ser_cache.layer_analysis import LayerWeights, shaded
from ser_cache.published import Study
from ser_cache.reproduction.columns import Column
from ser_cache.reproduction.planning import Plan
from ser_cache.results import RunSummary
from ser_cache.sections import Section
from ser_cache.statistics import Spread

Results = Mapping[tuple[str, str, str], RunSummary]
"""The run of each (corpus, folder of the backbone, head)."""

_F1 = ("macro_f1", "weighted_f1")
_SCORES = {"macro F1": "right", "weighted F1": "right", "paper": "right", "diff": "right", "diff w": "right"}
_STATES = (
    "done: trained already; ready: cached; part: not completely cached; -: not cached; "
    "no: the corpus has no manifest"
)
_MAP = (
    "the fuller the block, the larger the weight, first layer first; raw: as learnt; rescaled: times the "
    "layer's root mean square over the training frames, which is what it adds to the sum"
)
_MEANING = (
    "percent, mean over seeds; the paper says F1 and not which: diff is our macro F1 less the paper's, "
    "diff w our weighted F1 less the paper's"
)


def plan_table(plan: Plan) -> Section:
    """What is at hand: a row a backbone, a column a corpus."""
    columns = {"backbone": "left", **{corpus.name: "left" for corpus in plan.corpora}}
    rows = [
        (column.label, *(plan.state[corpus.name, column.folder] for corpus in plan.corpora))
        for column in plan.columns
    ]
    options = plan.options
    seeds = "1 seed" if len(options.seeds) == 1 else f"{len(options.seeds)} seeds"
    manner = f"protocol {plan.study.protocol}, split {options.split.kind}, {seeds}"
    title = f"{plan.study.name}: what is at hand ({manner})"
    return Section(title, columns, rows, (_STATES, plan.coverage, *plan.notes))


def head_table(plan: Plan, results: Results) -> Section:
    """The study's Table 2: each backbone with each head, averaged over the corpora there are runs of."""
    rows: list[tuple[str, ...]] = []
    total = len(plan.study.corpora)
    for column in plan.columns:
        for head in plan.heads:
            keys = [(corpus.name, column.folder, head) for corpus in plan.corpora]
            found = [results[key] for key in keys if key in results]
            if found:
                macro, weighted = (fmean(getattr(run, name).mean for run in found) for name in _F1)
                paper = plan.study.head_means[column.published.name, head] if column.published else None
                ours = (f"{len(found)} of {total}", f"{100 * macro:.2f}", f"{100 * weighted:.2f}")
                rows.append((column.label, head, *ours, *_beside(column, head, paper, macro, weighted)))
    columns = {"backbone": "fold", "head": "left", "corpora": "right", **_SCORES}
    notes = [_MEANING]
    counts = {row[2] for row in rows}
    if counts - {f"{total} of {total}"}:
        notes.append(
            f"our means are over as many corpora as stated, the paper's over {total}: not like for like; "
            "Table 3 compares corpus by corpus"
        )
    return Section("Table 2: mean over corpora", columns, rows, tuple(notes))


def best_head_table(plan: Plan, results: Results) -> Section:
    """The study's Table 3: each corpus and backbone, with the head that the study found best for it.

    A backbone that the study does not have is shown with the head that is best here. The notes hold what must
    be known before believing the runs.
    """
    rows: list[tuple[str, ...]] = []
    notes = [_MEANING]
    for corpus in plan.corpora:
        for column in plan.columns:
            keys = [(corpus.name, column.folder, head) for head in plan.heads]
            runs = [results[key] for key in keys if key in results]
            if runs:
                row, note = _best_row(plan.study, corpus.name, column, runs)
                rows += row
                notes += note
    if any(column.published is None for column in plan.columns):
        notes.append("backbones that the paper does not have: with the head that did best on the test side")
    cautions = [
        f"{run.corpus}: {line}" for run in results.values() for line in (*run.warnings, run.no_interval)
    ]
    notes += [line for line in dict.fromkeys(cautions) if not line.endswith(": ")]
    columns = {"corpus": "left", "backbone": "fold", "head": "left", **_SCORES}
    title = "Table 3: each corpus, with the head that the paper found best for the backbone"
    return Section(title, columns, rows, tuple(notes))


def _best_row(
    study: Study, corpus: str, column: Column, runs: Sequence[RunSummary]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The row of one corpus and backbone, none where the study's head was not trained; and a note on ours."""
    best = max(runs, key=lambda run: run.macro_f1.mean)
    spec = column.published
    head, paper = (study.best_head[spec.name], study.best[corpus, spec.name]) if spec else (best.head, None)
    rows: list[tuple[str, ...]] = [
        (
            *(corpus, column.label, head, _spread(run.macro_f1), _spread(run.weighted_f1)),
            *_beside(column, head, paper, run.macro_f1.mean, run.weighted_f1.mean),
        )
        for run in runs
        if run.head == head
    ]
    if best.head == head:
        return rows, []
    ours = f"{corpus}, {column.label}: our best head is {best.head}, macro F1 {_spread(best.macro_f1)}"
    return rows, [ours]


def disagreement_table(study: Study) -> Section:
    """Where the study's Table 2 is not the mean of its Table 3."""
    rows = [
        (row.backbone, row.head, f"{row.stated:.2f}", f"{row.mean:.2f}", _signed(row.stated - row.mean))
        for row in study.disagreements
    ]
    count, all_ = len(rows), len(study.best_head)
    agreement = (
        f"both tables report a backbone with its best head, and {count} of {all_} cells disagree: a mean "
        "over all corpora can match one of the two at most"
    )
    columns = {
        "backbone": "left",
        "head": "left",
        "Table 2": "right",
        "mean of Table 3": "right",
        "diff": "right",
    }
    return Section(
        f"{study.name}: the published Table 2 is not the mean of Table 3", columns, rows, (agreement,)
    )


def layer_map(weights: Sequence[LayerWeights], columns: Sequence[Column] = ()) -> Section:
    """The study's Figure 2: which layers the multi-layer head weights, a row of grey a backbone.

    Args:
        weights: from :func:`ser_cache.layer_analysis.layer_weights`.
        columns: the backbones, for their labels.
    """
    labels = {column.folder: column.label for column in columns}
    rows: list[tuple[str, ...]] = []
    notes = [_MAP]
    for row in weights:
        for kind, shares in (("raw", row.raw), ("rescaled", row.rescaled)):
            if shares is not None:
                peak = f"{row.layers[int(shares.argmax())]} ({100 * shares.max():.1f}%)"
                which = f"{row.layers[0]} to {row.layers[-1]}"
                label = labels.get(row.backbone, row.backbone)
                rows.append((label, kind, which, shaded(shares, 1), peak, str(len(row.corpora))))
        notes += [f"{row.backbone}: {note}" for note in row.notes]
    heads = {
        "backbone": "fold",
        "weights": "left",
        "layers": "left",
        "map": "left",
        "largest": "left",
        "corpora": "right",
    }
    return Section("Figure 2: layer weights, averaged over corpora", heads, rows, tuple(notes))


def _beside(
    column: Column, head: str, paper: float | None, macro: float, weighted: float
) -> tuple[str, str, str]:
    """The published figure and both differences; none where comparing would mean nothing."""
    if paper is None:
        return "", "", ""
    if column.doubt_about(head):
        return f"{paper:.2f}", "n/a", "n/a"
    return f"{paper:.2f}", _signed(100 * macro - paper), _signed(100 * weighted - paper)


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _spread(spread: Spread) -> str:
    std = "" if spread.std is None else f"±{100 * spread.std:.2f}"
    return f"{100 * spread.mean:.2f}{std}"
