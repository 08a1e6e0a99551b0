"""Tables with notes, as a terminal and Markdown can both show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
        else:  # commands
            pieces.append("\n".join(["```", *section.notes, "```"]))
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
