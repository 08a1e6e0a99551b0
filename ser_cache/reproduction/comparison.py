"""Our figures beside the published ones, as tables that a terminal and Markdown can both show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ser_cache.published import PublishedCorpus, Study
from ser_cache.reproduction.columns import Column
from ser_cache.reproduction.planning import Plan
from ser_cache.results import RunSummary
from ser_cache.statistics import Spread

Results = Mapping[tuple[str, str, str], RunSummary]
"""The run of each (corpus, folder of the backbone, head)."""

_SCORES = {"macro F1": "right", "weighted F1": "right", "paper": "right", "diff": "right", "diff w": "right"}
_MEANING = (
    "percent, mean over seeds; the paper says F1 and not which: diff is our macro F1 less the paper's, "
    "diff w our weighted F1 less the paper's"
)


@dataclass(frozen=True)
class Section:
    """One table with what is to be said about it.

    Attributes:
        title: one line.
        columns: heading to "left", "right" or "fold", as the terminal's tables take it.
        rows: the cells; empty where the section is its notes alone.
        notes: lines below the table.
    """

    title: str
    columns: Mapping[str, str]
    rows: Sequence[Sequence[str]]
    notes: tuple[str, ...] = ()


def plan_table(plan: Plan) -> Section:
    """What is at hand: a row a backbone, a column a corpus."""
    columns = {"backbone": "left", **{corpus.name: "left" for corpus in plan.corpora}}
    rows = [
        (column.label, *(plan.state[corpus.name, column.folder] for corpus in plan.corpora))
        for column in plan.columns
    ]
    notes = (
        "done: trained already; ready: cached; part: not completely cached; -: not cached; "
        "no: the corpus has no manifest",
        plan.coverage,
        *plan.notes,
    )
    return Section(f"{plan.study.name}: what is at hand", columns, rows, notes)


def head_table(plan: Plan, results: Results) -> Section:
    """The study's Table 2: each backbone with each head, averaged over the corpora there are runs of."""
    rows, total = [], len(plan.study.corpora)
    for column in plan.columns:
        for head in plan.heads:
            found = [results[c.name, column.folder, head] for c in plan.corpora if _key(c, column, head) in results]
            if not found:
                continue
            macro = fmean(run.macro_f1.mean for run in found)
            weighted = fmean(run.weighted_f1.mean for run in found)
            paper = plan.study.head_means[column.published.name, head] if column.published else None
            here = (column.label, head, f"{len(found)} of {total}", f"{100 * macro:.1f}", f"{100 * weighted:.1f}")
            rows.append((*here, *_beside(column, paper, macro, weighted)))
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
    """The study's Table 3: each corpus and backbone, with the head that the study found best for it."""
    rows, notes = [], [_MEANING]
    for corpus in plan.corpora:
        for column in plan.columns:
            runs = [results[key] for head in plan.heads if (key := _key(corpus, column, head)) in results]
            if not runs:
                continue
            best = max(runs, key=lambda run: run.macro_f1.mean)
            head = plan.study.best_head[column.published.name] if column.published else best.head
            run = next((run for run in runs if run.head == head), None)
            if run is None:
                continue
            paper = plan.study.best[corpus.name, column.published.name] if column.published else None
            here = (corpus.name, column.label, head, _spread(run.macro_f1), _spread(run.weighted_f1))
            rows.append((*here, *_beside(column, paper, run.macro_f1.mean, run.weighted_f1.mean)))
            if best.head != head:
                notes.append(
                    f"{corpus.name}, {column.label}: our best head is {best.head}, macro F1 "
                    f"{_spread(best.macro_f1)}"
                )
    columns = {"corpus": "left", "backbone": "fold", "head": "left", **_SCORES}
    title = "Table 3: each corpus, with the head that the paper found best for the backbone"
    return Section(title, columns, rows, tuple(notes))


def disagreement_table(study: Study) -> Section:
    """Where the study's Table 2 is not the mean of its Table 3."""
    rows = [
        (row.backbone, row.head, f"{row.stated:.2f}", f"{row.mean:.2f}", _signed(row.stated - row.mean, 2))
        for row in study.disagreements
    ]
    count, all_ = len(rows), len(study.best_head)
    notes = (
        f"both tables report a backbone with its best head, and {count} of {all_} cells disagree: a mean over "
        "all corpora can match one of the two at most",
    )
    columns = {
        "backbone": "left",
        "head": "left",
        "Table 2": "right",
        "mean of Table 3": "right",
        "diff": "right",
    }
    return Section(f"{study.name}: the published Table 2 is not the mean of Table 3", columns, rows, notes)


def as_markdown(sections: Sequence[Section], title: str, introduction: Sequence[str] = ()) -> str:
    """All sections as one Markdown document."""
    pieces = [f"# {title}", *introduction]
    for section in sections:
        pieces.append(f"## {section.title}")
        if section.rows:
            marks = ["---:" if kind == "right" else "---" for kind in section.columns.values()]
            lines = [list(section.columns), marks, *section.rows]
            pieces.append("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))
        pieces.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _key(corpus: PublishedCorpus, column: Column, head: str) -> tuple[str, str, str]:
    return (corpus.name, column.folder, head)


def _beside(column: Column, paper: float | None, macro: float, weighted: float) -> tuple[str, str, str]:
    """The published figure and both differences; none where comparing would mean nothing."""
    if paper is None:
        return "", "", ""
    if column.doubt:
        return f"{paper:.2f}", "n/a", "n/a"
    return f"{paper:.2f}", _signed(100 * macro - paper), _signed(100 * weighted - paper)


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}"


def _spread(spread: Spread) -> str:
    std = "" if spread.std is None else f"±{100 * spread.std:.1f}"
    return f"{100 * spread.mean:.1f}{std}"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
