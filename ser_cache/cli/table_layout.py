"""How a table gives way where a terminal is too narrow for it: between words, then column by column.

A name is broken after a hyphen, a slash, a space and the like, so that its pieces can still be read and put
together again. Only where that is not enough are columns left out that the caller can spare, which the table
then says; and only where that is not enough either is a word broken anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

GAP, NARROW_GAP = 2, 1
LONGEST_PIECE = 20
"""Of a name between two places to break it; what is longer is broken anywhere."""
LEAST_WIDTH = 8
"""Of a column that folds."""
_BREAK = re.compile(r"(?<=[-_/+,;=| ])(?=[^ ])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Layout:
    """A table that is ready to print.

    Attributes:
        columns: heading -> "left", "right" or "fold", without those left out.
        rows: one string per column, with a line feed where it folds.
        gap: spaces between columns.
        left_out: headings of the columns there was no room for.
    """

    columns: dict[str, str]
    rows: list[tuple[str, ...]]
    gap: int
    left_out: tuple[str, ...] = ()


def lay_out(
    columns: Mapping[str, str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    spare: Sequence[str] = (),
) -> Layout:
    """Fit a table into a width.

    Args:
        columns: heading -> "left", "right" or "fold"; those that fold give way first.
        rows: one string per column.
        width: of the terminal; None for a file or a pipe, where nothing folds and nothing is left out.
        spare: headings of columns that may be left out, the first first.
    """
    shown = [tuple(map(printable, row)) for row in rows]
    if width is None or least_width(columns, shown) <= width:
        return Layout(dict(columns), shown, GAP)
    kept, left_out = dict(columns), list[str]()
    waiting = [heading for heading in spare if heading in kept]
    while (widths := _widths(kept, shown, width, LONGEST_PIECE)) is None and waiting:
        place = list(kept).index(waiting[0])
        left_out.append(waiting.pop(0))
        del kept[left_out[-1]]
        shown = [(*row[:place], *row[place + 1 :]) for row in shown]
    if widths is None:
        widths = _widths(kept, shown, width, LEAST_WIDTH) or _least(kept, shown, LONGEST_PIECE)
    folded = [
        tuple("\n".join(fold(cell, room)) for cell, room in zip(row, widths, strict=True)) for row in shown
    ]
    headings = {
        "\n".join(fold(heading, room)) if kind == "fold" else heading: kind
        for (heading, kind), room in zip(kept.items(), widths, strict=True)
    }
    return Layout(headings, folded, NARROW_GAP, tuple(left_out))


def least_width(columns: Mapping[str, str], rows: Sequence[Sequence[str]], gap: int = GAP) -> int:
    """Characters that a table takes with every cell on one line."""
    widths = _natural(columns, rows)
    return sum(widths) + gap * (len(widths) - 1)


def fold(text: str, width: int) -> list[str]:
    """A text in lines of a width, broken between words; within a word only where it alone is too wide."""
    lines = [""]
    for piece in _pieces(text):
        if cell_len(lines[-1]) + cell_len(piece.rstrip()) <= width:
            lines[-1] += piece
            continue
        if lines[-1]:
            lines.append("")
        rest = piece
        while cell_len(rest.rstrip()) > width:
            cut = _fitting(rest, width)
            lines[-1:] = [rest[:cut], ""]
            rest = rest[cut:]
        lines[-1] += rest
    return [line.rstrip() for line in lines]


def printable(text: str) -> str:
    """A text on one line: what would start another or move the cursor is written as Python writes it."""
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)


def _pieces(text: str) -> list[str]:
    return _BREAK.split(text)


def _fitting(text: str, width: int) -> int:
    """How many characters fit, one at least; some take two cells."""
    count = 1
    while count < len(text) and cell_len(text[: count + 1]) <= width:
        count += 1
    return count


def _natural(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(map(cell_len, (heading, *(row[place] for row in rows)))) for place, heading in enumerate(columns)
    ]


def _least(columns: Mapping[str, str], rows: Sequence[Sequence[str]], longest: int) -> list[int]:
    """The width of each column with those that fold as narrow as they may be."""
    found = _natural(columns, rows)
    for place, (heading, kind) in enumerate(columns.items()):
        if kind == "fold":
            texts = (heading, *(row[place] for row in rows))
            piece = max(cell_len(piece.rstrip()) for text in texts for piece in _pieces(text))
            found[place] = min(found[place], max(min(piece, longest), LEAST_WIDTH))
    return found


def _widths(
    columns: Mapping[str, str], rows: Sequence[Sequence[str]], width: int, longest: int
) -> list[int] | None:
    """The width of each column where they fit together, the widest folded first; None where they cannot."""
    widths, least = _natural(columns, rows), _least(columns, rows, longest)
    room = width - NARROW_GAP * (len(widths) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max(
            (place for place in range(len(widths)) if widths[place] > least[place]), key=lambda p: widths[p]
        )
        widths[widest] -= 1
    return widths
