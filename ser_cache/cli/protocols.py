"""``ser protocols``, and the options of ``ser probe`` that change one setting of a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ser_cache.cli import screen
from ser_cache.cli.setting import SETTINGS, assigned, parsed, shown, with_settings
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ser_cache.protocols import Protocol

_OPTIONS = (
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help="Passes over the training side, at most; instead of a protocol's steps, each is evaluated.",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        help="Without a search for it; with --search, where that starts.",
    ),
    click.option("--search", type=click.Choice(["none", "beam", "as-printed"]), help="For a learning rate."),
    click.option("--schedule", metavar="none|linear|cosine|plateau", help="Of the learning rate."),
    click.option("--warmup-ratio", type=click.FloatRange(0, 1), help="Share of the steps; linear, cosine."),
    click.option("--batch-size", type=click.IntRange(1), help="Utterances a step."),
    click.option("--weight-decay", type=click.FloatRange(0), help="Coupled, as Adam's is."),
    click.option("--hidden", type=click.IntRange(1), help="Width of the heads."),
    click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="Of the heads."),
    click.option("--patience", type=click.IntRange(0), help="Evaluations without a better one; 0: go on."),
    click.option("--select", metavar="macro_f1|ua|wa|loss", help="What the best epoch is best in."),
    click.option("--class-weights", metavar="none|inverse", help="In the loss."),
    click.option("--standardise", metavar="none|global|speaker", help="Of the features."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any setting that `ser protocols` shows, such as betas=0.9,0.999; repeatable.",
    ),
)


def training_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add an option for each setting of a protocol that is often changed, and ``--set`` for any."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def changed_protocol(protocol: Protocol, changes: Mapping[str, Any]) -> Protocol:
    """A protocol with settings of the user's own, which its name then says.

    Args:
        protocol: where to start from.
        changes: what :func:`training_options` added to a command, None for what was not given.

    Raises:
        SettingsError: a value that a setting cannot have, or settings that contradict each other.
        UnknownNameError: ``--set`` with a setting that there is not.
    """
    named = {
        name: parsed(
            name, str(value), f"{SETTINGS[name].option} {value}"
        )  # click lets nan through its ranges
        for name, value in changes.items()
        if name in SETTINGS and value is not None
    }
    others = assigned(changes.get("assignments") or ())
    for name in named:
        if name in others:
            raise SettingsError(f"{SETTINGS[name].option} and --set {name} are the same; give one of them.")
    return with_settings(protocol, named | others)


@click.command(
    epilog="Example: ser protocols superb",
    short_help="Show the settings of published studies.",
)
@click.argument("name", required=False)
def protocols(name: str | None) -> int:
    """Show the named protocols: every setting of a study, and what a cache of features cannot redo of it.

    With a NAME that one alone, and how each of its settings is changed in ser probe; the run's protocol is
    then named accordingly. A setting without a value is one that the protocol does not look at.
    """
    from ser_cache.protocols import PROTOCOLS, protocol_named

    chosen = list(PROTOCOLS.values()) if name is None else [protocol_named(name)]
    columns = {"setting": "left", **dict.fromkeys((protocol.name for protocol in chosen), "left")}
    rows = [(setting, *(_value(protocol, setting) for protocol in chosen)) for setting in SETTINGS]
    if name is not None:
        columns["changed with"] = "left"
        rows = [(*row, SETTINGS[row[0]].option or f"--set {row[0]}=") for row in rows]
    screen.table("Protocols" if name is None else f"Protocol {name}", columns, rows)
    for protocol in chosen:
        screen.say(f"{protocol.name}: {protocol.source}")
        screen.say(f"  heads: {', '.join(protocol.heads)}")
        for line in protocol.differs:
            screen.say(f"  - {line}")
    return 0


def _value(protocol: Protocol, setting: str) -> str:
    """A setting as a table shows it: nothing where the protocol does not look at it."""
    known = SETTINGS[setting]
    return shown(known.read(protocol)) if known.counts(protocol) else ""
