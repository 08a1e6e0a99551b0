"""``ser protocols``, and the options of ``ser probe`` that change one setting of a protocol."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click

from ser_cache.cli import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ser_cache.protocols import Protocol

_INSTEAD = "Instead of the protocol's."

_OPTIONS = (
    click.option("--epochs", type=click.IntRange(1), help="Passes over the training side, at most."),
    click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Without a search for it."),
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
)


def training_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add an option for each setting of a protocol that can be changed by itself."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def changed_protocol(protocol: Protocol, changes: Mapping[str, Any]) -> Protocol:
    """A protocol with settings of the user's own, which its name then says.

    Args:
        protocol: where to start from.
        changes: what :func:`training_options` added to a command, None for what was not given.
    """
    from ser_cache.learning_rate_search import RateSearchOptions

    given = {name: value for name, value in changes.items() if value is not None}
    result = protocol
    if "search" in given or "learning_rate" in given:
        how = given.get("search", "none")
        search = None if how == "none" else RateSearchOptions(as_printed=how == "as-printed")
        result = replace(result, search=search)
    result = replace(
        result,
        standardise=given.get("standardise", result.standardise),
        head=_changed(result.head, given),
        training=_changed(result.training, given | _derived(result, given)),
    )
    if result == protocol:
        return protocol
    told = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in given.items())
    return replace(result, name=f"{protocol.name} but {told}")


def _changed(options: Any, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any of the option classes
    """An options dataclass with those of its fields that were given."""
    names = {field.name for field in fields(options)}
    return replace(options, **{name: value for name, value in given.items() if name in names})


def _derived(protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings that are not typed as they are kept."""
    schedule = protocol.training.schedule
    derived: dict[str, Any] = {
        "schedule": replace(
            schedule,
            name=given.get("schedule", schedule.name),
            warmup_ratio=given.get("warmup_ratio", schedule.warmup_ratio),
        )
    }
    if "epochs" in given:  # instead of a protocol's steps, which would otherwise go before them
        derived["steps"] = None
    if "patience" in given:
        derived["patience"] = given["patience"] or None
    return derived


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.command(
    epilog="Example: ser protocols",
    short_help="Show the settings of published studies.",
)
def protocols() -> int:
    """Show the named protocols: every setting of a study, and what a cache of features cannot redo of it.

    Any setting can be changed by itself in ser probe; the run's protocol is then named accordingly.
    """
    from ser_cache.protocols import PROTOCOLS

    shown = list(PROTOCOLS.values())
    screen.table(
        "Protocols",
        {"setting": "left", **dict.fromkeys(PROTOCOLS, "left")},
        list(zip(_SETTINGS, *(_column(protocol) for protocol in shown), strict=True)),
    )
    for protocol in shown:
        screen.say(f"{protocol.name}: {protocol.source}")
        for line in protocol.differs:
            screen.say(f"  - {line}")
    return 0


_SETTINGS = (
    "heads",
    "width, dropout",
    "features",
    "epochs or steps",
    "learning rate",
    "schedule",
    "weight decay",
    "betas",
    "epsilon",
    "batch",
    "best epoch by",
    "patience",
    "evaluation",
    "class weights",
    "clipping",
)


def _column(protocol: Protocol) -> tuple[str, ...]:
    training, head = protocol.training, protocol.head
    clipped = [f"norm {training.clip_norm:g}"] if training.clip_norm is not None else []
    clipped += [f"value {training.clip_value:g}"] if training.clip_value is not None else []
    return (
        ", ".join(protocol.heads),
        f"{head.hidden}, {head.dropout:g}",
        "as they are" if protocol.standardise == "none" else f"standardised, {protocol.standardise}",
        f"{training.epochs} epochs" if training.steps is None else f"{training.steps} steps",
        f"{training.learning_rate:g}" if protocol.search is None else "searched for",
        training.schedule.name,
        f"{training.weight_decay:g}",
        ", ".join(f"{beta:g}" for beta in training.betas),
        f"{training.epsilon:g}",
        f"{training.batch_size}{', last dropped' if training.drop_last else ''}",
        training.select,
        "-" if training.patience is None else str(training.patience),
        "every epoch" if training.steps_between == 1 else f"every {training.steps_between} steps",
        training.class_weights,
        ", ".join(clipped) or "none",
    )
