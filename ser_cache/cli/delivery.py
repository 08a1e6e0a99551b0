"""Where results for a file or another program go: the format that is meant, and the writing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from ser_cache.cli import screen
from ser_cache.cli.options import OUTPUT_FILE, Command

_SUFFIXES = {".csv": "csv", ".json": "json", ".md": "markdown", ".tex": "latex"}


def delivery_options(formats: Sequence[str]) -> Callable[[Command], Command]:
    """Add ``--format``, one of ``formats``, and ``--output`` to a command."""

    def add(command: Command) -> Command:
        output = click.option("--output", type=OUTPUT_FILE, help="Write to this file instead of the screen.")
        shape = click.option(
            "--format",
            "shape",
            type=click.Choice(formats),
            help="[default: table, or as the --output file is called]",
        )
        return shape(output(command))

    return add


def shape_of(chosen: str | None, output: Path | None, known: Sequence[str]) -> str:
    """The format that is meant: the one chosen, else the one that the file's name asks for, else a table.

    Args:
        chosen: ``--format``, if given.
        output: ``--output``, if given.
        known: the formats of the command, "table" among them.

    Raises:
        click.UsageError: a file is to be written, and no format for it is known.
    """
    if output is None:
        return chosen or "table"
    shape = chosen or _SUFFIXES.get(output.suffix.lower(), "")
    written = [name for name in known if name != "table"]
    if shape == "table":
        raise click.UsageError(f"a table goes to the screen; for a file choose --format {'|'.join(written)}.")
    if shape not in written:
        raise click.UsageError(f"say with --format what {output.name} shall be: {', '.join(written)}.")
    return shape


def deliver(text: str, output: Path | None, what: str) -> None:
    """Print text, or write it to a file that is then whole or absent, and say so.

    Args:
        text: ends in a newline.
        output: the file; None for the screen.
        what: what it holds, such as "3 runs".
    """
    from ser_cache.files import write_text

    if output is None:
        screen.say(text.removesuffix("\n"))
        return
    write_text(output, text)
    screen.note(f"{what} written to {output}")


def as_json(value: object) -> str:
    """Indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
