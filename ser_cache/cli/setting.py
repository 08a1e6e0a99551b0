"""The settings of a protocol by name: what each holds, how it is typed, and a protocol with some changed.

The name of a changed protocol is stored with a run and is part of what identifies it. So it is made of what
differs from the protocol, in the order of ``SETTINGS``, and not of what was typed: the same configuration has
one name however it was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ser_cache.learning_rate_search import RateSearchOptions
    from ser_cache.protocols import Protocol


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        place: where it is kept: protocol, head, training, schedule or search.
        field: of that place's dataclass; for the search itself none.
        expects: what can be typed, in words.
        parse: typed words to the value; ValueError for what was not expected.
        option: the option of its own in ``ser probe``, where it has one.
    """

    place: str
    field: str
    expects: str
    parse: Callable[[str], Any]
    option: str = ""

    def read(self, protocol: Protocol) -> Any:  # noqa: ANN401 - each setting has a type of its own
        """The value in a protocol; of the search without one, None."""
        if self.place == "search":
            search = protocol.search
            return _manner(search) if not self.field else getattr(search, self.field, None)
        holders = {"protocol": protocol, "head": protocol.head, "training": protocol.training}
        return getattr(holders.get(self.place, protocol.training.schedule), self.field)

    def counts(self, protocol: Protocol) -> bool:
        """Whether a training under the protocol looks at it."""
        training, search = protocol.training, protocol.search
        if self.field == "epochs" and self.place == "training":
            return training.steps is None
        if self.field == "steps":
            return training.steps is not None
        if self.field == "learning_rate":
            return search is None
        if self.field == "warmup_ratio":
            return training.schedule.name in ("linear", "cosine")
        if self.place == "schedule" and self.field != "name":
            return training.schedule.name == "plateau"
        return self.place != "search" or not self.field or search is not None


def _whole(text: str, least: int) -> int:
    value = int(text)
    if value < least:
        raise ValueError(text)
    return value


def _number(text: str, fits: Callable[[float], bool]) -> float:
    value = float(text)
    if not (math.isfinite(value) and fits(value)):
        raise ValueError(text)
    return value


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(text)
    return text


def _betas(text: str) -> tuple[float, float]:
    first, second = (_number(part, lambda beta: 0 <= beta < 1) for part in text.split(","))
    return first, second


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "none" else parse(text)


def _count(place: str, field: str, option: str = "", least: int = 1) -> Setting:
    return Setting(place, field, f"a whole number from {least}", lambda text: _whole(text, least), option)


def _real(place: str, field: str, expects: str, fits: Callable[[float], bool], option: str = "") -> Setting:
    return Setting(place, field, f"a number {expects}", lambda text: _number(text, fits), option)


def _positive(place: str, field: str, option: str = "") -> Setting:
    return _real(place, field, "above 0", lambda value: value > 0, option)


def _not_negative(place: str, field: str, option: str = "") -> Setting:
    return _real(place, field, "from 0", lambda value: value >= 0, option)


def _perhaps(setting: Setting) -> Setting:
    return replace(setting, expects=f"{setting.expects}, or none", parse=_or_none(setting.parse))


def _word(place: str, field: str, option: str, expects: str) -> Setting:
    """A name that the code which uses it looks up, with an error that lists the known ones."""
    return Setting(place, field, expects, str, option)


_SEARCHES = ("none", "beam", "as-printed")
_ANSWERS = {"yes": True, "true": True, "no": False, "false": False}

SETTINGS: dict[str, Setting] = {
    "epochs": _count("training", "epochs", "--epochs"),
    "steps": _perhaps(_count("training", "steps")),
    "steps_between": _count("training", "steps_between"),
    "learning_rate": _positive("training", "learning_rate", "--learning-rate"),
    "search": Setting(
        "search", "", "none, beam or as-printed", lambda text: _one_of(text, _SEARCHES), "--search"
    ),
    "search.start": _positive("search", "start"),
    "search.epochs": _count("search", "epochs"),
    "search.factor": _positive("search", "factor"),
    "search.max_rounds": _count("search", "max_rounds"),
    "schedule": _word("schedule", "name", "--schedule", "none, linear, cosine or plateau"),
    "warmup_ratio": _real(
        "schedule", "warmup_ratio", "from 0 to 1", lambda value: 0 <= value <= 1, "--warmup-ratio"
    ),
    "schedule.factor": _real("schedule", "factor", "above 0 and below 1", lambda value: 0 < value < 1),
    "schedule.patience": _count("schedule", "patience", least=0),
    "schedule.floor": _not_negative("schedule", "floor"),
    "batch_size": _count("training", "batch_size", "--batch-size"),
    "drop_last": Setting("training", "drop_last", "yes or no", lambda text: _ANSWERS[text]),
    "weight_decay": _not_negative("training", "weight_decay", "--weight-decay"),
    "betas": Setting("training", "betas", "two numbers from 0 to below 1, such as 0.9,0.999", _betas),
    "epsilon": _positive("training", "epsilon"),
    "clip_norm": _perhaps(_positive("training", "clip_norm")),
    "clip_value": _perhaps(_positive("training", "clip_value")),
    "hidden": _count("head", "hidden", "--hidden"),
    "dropout": _real("head", "dropout", "from 0 to below 1", lambda value: 0 <= value < 1, "--dropout"),
    "patience": _perhaps(_count("training", "patience", "--patience", least=0)),
    "select": _word("training", "select", "--select", "macro_f1, ua, wa or loss"),
    "class_weights": _word("training", "class_weights", "--class-weights", "none or inverse"),
    "standardise": _word("protocol", "standardise", "--standardise", "none, global or speaker"),
}
"""Every setting of a protocol, in the order in which names and tables have them. Those that have an option of
their own are called as that is; the rest as their field, those of schedule and search after these words.
"""


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """What ``--set NAME=VALUE`` said, by the setting's name.

    Raises:
        SettingsError: no value, one that the setting cannot have, or two.
        UnknownNameError: no such setting.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        name = name.replace("-", "_")
        if name not in SETTINGS:
            raise UnknownNameError("setting", name, SETTINGS)
        if not equals:
            raise SettingsError(f"--set {assignment}: give a value too, as in --set {name}=VALUE.")
        if name in values:
            raise SettingsError(f"--set {name} was given twice; give it once.")
        values[name] = parsed(name, text, f"--set {assignment}")
    return values


def parsed(name: str, text: str, typed: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
    """The value of a setting from its text.

    Args:
        name: of the setting.
        text: what it is to be.
        typed: what the user typed, for the error.

    Raises:
        SettingsError: not a value of this setting.
    """
    try:
        return SETTINGS[name].parse(text)
    except (ValueError, KeyError):
        raise SettingsError(f"{typed}: {name} takes {SETTINGS[name].expects}.") from None


def with_settings(protocol: Protocol, given: Mapping[str, Any]) -> Protocol:
    """A protocol with settings of the user's own, which its name then says.

    A learning rate ends a protocol's search, unless a search is asked for beside it, which then starts there.
    Epochs go instead of a protocol's steps, and are evaluated each unless ``steps_between`` is given too.

    Args:
        protocol: where to start from; returned itself where nothing differs from it.
        given: values by the name of the setting.

    Raises:
        SettingsError: settings that contradict each other, or that nothing would look at.
    """
    _check_pairs(given)
    values = dict(given)
    if given.get("patience") == 0:
        values["patience"] = None
    if "epochs" in given:
        values["steps"] = None
    if values.get("steps", 0) is None and protocol.training.steps is not None:
        values.setdefault("steps_between", 1)
    if "epochs" in given and protocol.training.steps_between > 1:
        values.setdefault("steps_between", 1)
    search = _search(protocol, values)

    def of(place: str) -> dict[str, Any]:
        return {
            SETTINGS[name].field: value for name, value in values.items() if SETTINGS[name].place == place
        }

    result = replace(
        protocol,
        **of("protocol"),
        head=replace(protocol.head, **of("head")),
        search=search,
        training=replace(
            protocol.training,
            schedule=replace(protocol.training.schedule, **of("schedule")),
            **of("training"),
        ),
    )
    _check_use(result, given)
    told = differences(protocol, result)
    return replace(result, name=f"{protocol.name} but {', '.join(told)}") if result != protocol else protocol


def _check_pairs(given: Mapping[str, Any]) -> None:
    if "epochs" in given and given.get("steps") is not None:
        raise SettingsError("epochs and steps both say how long to train; give one of them.")
    searched = given.get("search", "none") != "none"
    if searched and "learning_rate" in given and "search.start" in given:
        raise SettingsError("--learning-rate is where a search starts, and so is search.start; give one.")


def _check_use(protocol: Protocol, given: Mapping[str, Any]) -> None:
    """Refuse what would be stored with the run, and change nothing.

    A warm-up that the schedule does not have is refused by the schedule.
    """
    for name in given:
        setting = SETTINGS[name]
        if setting.place == "search" and setting.field and not setting.counts(protocol):
            raise SettingsError(f"--set {name}: there is no search for a learning rate; add --search beam.")
        if setting.place == "schedule" and name.startswith("schedule.") and not setting.counts(protocol):
            raise SettingsError(
                f"--set {name}: the schedule {protocol.training.schedule.name!r} has no {setting.field}; "
                "add --schedule plateau."
            )


def _search(protocol: Protocol, values: dict[str, Any]) -> RateSearchOptions | None:
    """The search that the values ask for; takes a learning rate out of them that is its start."""
    from ser_cache.learning_rate_search import RateSearchOptions

    how = values.get("search", "none" if "learning_rate" in values else _manner(protocol.search))
    if how == "none":
        return None
    changed = {SETTINGS[name].field: value for name, value in values.items() if name.startswith("search.")}
    if "learning_rate" in values:
        changed["start"] = values.pop("learning_rate")
    return replace(protocol.search or RateSearchOptions(), as_printed=how == "as-printed", **changed)


def _manner(search: RateSearchOptions | None) -> str:
    return "none" if search is None else "as-printed" if search.as_printed else "beam"


def differences(protocol: Protocol, changed: Protocol) -> list[str]:
    """Each setting of a changed protocol that differs, with its value, in the order of ``SETTINGS``.

    What follows from another difference is not told: that a rate which is given is not searched for, that
    epochs go instead of steps, and that they are evaluated each.
    """
    from ser_cache.learning_rate_search import RateSearchOptions

    before = replace(protocol, search=protocol.search or RateSearchOptions()) if changed.search else protocol
    instead = protocol.training.steps is not None and changed.training.steps is None
    told = []
    for name, setting in SETTINGS.items():
        value, was = setting.read(changed), setting.read(before)
        if name == "search":
            was = _manner(protocol.search)
        elif name == "steps_between" and instead:
            was = 1
        newly = name in ("learning_rate", "epochs") and not setting.counts(protocol)
        ended = name == "search" and changed.search is None  # told by the rate that is given instead
        if setting.counts(changed) and (value != was or newly) and not ended:
            told.append(f"{name.replace('_', ' ').replace('.', ' ')} {shown(value)}")
    return told


def shown(value: object) -> str:
    """A value as it is typed after ``--set NAME=``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    if isinstance(value, float):  # short where that says all of it: two settings never share a name
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "none" if value is None else str(value)
