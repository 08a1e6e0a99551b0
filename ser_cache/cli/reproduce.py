"""``ser reproduce``: redo a published study with what is at hand, beside its figures."""

from __future__ import annotations

import click

from ser_cache.cli.reproduce_dasaro2024 import dasaro2024
from ser_cache.cli.reproduce_wang2023 import wang2023
from ser_cache.errors import UnknownNameError


class Studies(click.Group):
    """A group whose commands are studies: an unknown one is named together with those that are known."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the study.

        Raises:
            UnknownNameError: no such study.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise UnknownNameError("study", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Studies,
    epilog="Example: ser reproduce dasaro2024 --dry-run",
    short_help="Redo a published study, beside its figures.",
)
def reproduce() -> None:
    """Redo a published study with the corpora and features at hand, and show ours beside its figures.

    Runs that are there already are reused, whichever command made them. A part of a study is fine: the report
    says what each figure is of, and how to get the rest.
    """


for _command in (dasaro2024, wang2023):
    reproduce.add_command(_command)
