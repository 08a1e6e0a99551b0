"""Runs for papers and for other programs: CSV holds everything, Markdown and LaTeX the table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ser_cache.cli.run_table import INTERVAL, RunTable

if TYPE_CHECKING:
    from ser_cache.results.query import Record

EN_DASH = "\N{EN DASH}"
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$])")
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
}
_NOTE = (
    "UA: unweighted accuracy (mean recall); WA: accuracy. Percent; mean over seeds ± standard deviation "
    "where there are several. 95% CI: 95% confidence interval of {score}, clustered by test speaker."
)


def as_csv(records: Sequence[Record]) -> str:
    """One row a run, one column for whatever any of them has; lists have spaces between their elements."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return text.getvalue()


def as_markdown(table: RunTable, score: str) -> str:
    """A table in GitHub's Markdown, numbers to the right, with its explanation below."""
    lines = [
        _markdown_row(table.headings),
        _markdown_row(["---:" if table.is_number(heading) else ":---" for heading in table.headings]),
        *(
            _markdown_row([_in_markdown(_dashed(table, place, cell)) for place, cell in enumerate(row)])
            for row in table.rows
        ),
    ]
    note = _note(table, score)
    in_common = _in_markdown(table.in_common())
    return "\n".join([*lines, "", f"All rows: {in_common}. {note}" if in_common else note]) + "\n"


def as_latex(table: RunTable, score: str) -> str:
    """A table environment for the package booktabs; each row's run stands in a comment behind it."""
    places = [place for place, heading in enumerate(table.headings) if heading != "run"]
    headings = [table.headings[place] for place in places]
    alignment = "".join("r" if table.is_number(heading) else "l" for heading in headings)
    rows = [
        " & ".join(_in_latex(_dashed(table, place, row[place])) for place in places) + rf" \\ % {name}"
        for row, name in zip(table.rows, table.names, strict=True)
    ]
    in_common = f"All rows: {table.in_common()}. " if table.shared else ""
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_in_latex(in_common + _note(table, score))}}}",
            r"  \label{tab:ser-runs}",
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            "    " + " & ".join(_in_latex(heading) for heading in headings) + r" \\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _note(table: RunTable, score: str) -> str:
    note = _NOTE.format(score=score)
    legend = table.stale_legend()
    return f"{note} {legend[0].upper()}{legend[1:]}." if legend else note


def _cell(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _dashed(table: RunTable, place: int, cell: str) -> str:
    """Intervals and layers with the dash that ranges have in print."""
    return cell.replace("-", EN_DASH) if table.headings[place] in (INTERVAL, "layers") else cell


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(r"\\\1", text)


def _in_latex(text: str) -> str:
    escaped = "".join(_LATEX_SPECIAL.get(letter, letter) for letter in text)
    return escaped.replace(EN_DASH, "--")
