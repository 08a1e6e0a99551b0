"""Write docs/commands.md from what ``--help`` says: ``python docs/make_commands.py``. A test compares."""

from collections.abc import Iterator
from pathlib import Path

import click

from ser_cache.cli import ser

PAGE = Path(__file__).with_name("commands.md")
WIDTH = 100


def commands(group: click.Group, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group that is not itself a group, with its names."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


def page() -> str:
    """The whole page, as Markdown."""
    pieces = ["# Commands\n\nWritten by `python docs/make_commands.py` from what `--help` says.\n"]
    for names, command in commands(ser, ("ser",)):
        context = click.Context(command, info_name=" ".join(names), terminal_width=WIDTH)
        context.help_option_names = ser.context_settings["help_option_names"]
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        pieces.append(f"## {' '.join(names)}\n\n```\n{text}\n```\n")
    return "\n".join(pieces)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
