"""How a classical classifier is chosen and tested: inner folds, selection, features; by name."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from ser_cache.errors import SettingsError, UnknownNameError
from ser_cache.functionals import check_functionals

INNER = {
    "speakers": "whole speakers are held out, each emotion's share as even as they allow",
    "stratified": "by utterance, each emotion's share even; training speakers are in every fold",
}
"""How the inner folds of the grid search can be made, and what that means."""
SELECTIONS = {
    "macro_f1": "mean over inner folds of macro F1 over the classes in a fold's truth",
    "accuracy": "mean over inner folds of accuracy (WA), as scikit-learn's GridSearchCV selects",
}
"""What the best candidate can be best in, and what that means."""


@dataclass(frozen=True)
class BaselineProtocol:
    """How candidates are compared, on which features.

    Attributes:
        name: what the run says it followed.
        source: the publication, or "ours", and what is whose.
        inner: how inner folds are made; one of ``INNER``.
        folds: inner folds, at most.
        select: what the best candidate is best in; one of ``SELECTIONS``.
        functionals: of the frames, as ``functionals.FUNCTIONALS`` names them.
        max_iterations: of each problem that a support vector machine solves (one for each pair of classes),
            and of logistic regression's solver; None for until it converges.
        split: the kind of split that goes with it, and its ratios; "" for the one that is asked for.
        ratios: of that split; train and validation are both trained on.
        notes: what must be said with its results, one line each.
    """

    name: str
    source: str
    inner: str = "speakers"
    folds: int = 5
    select: str = "macro_f1"
    functionals: tuple[str, ...] = ("mean",)
    max_iterations: int | None = 100_000
    split: str = ""
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what nothing could be done with."""
        for kind, name, known in (
            ("way of making inner folds", self.inner, INNER),
            ("selection score", self.select, SELECTIONS),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        check_functionals(self.functionals)
        if self.folds < 2:
            raise SettingsError(f"{self.folds} inner fold is too few: one is held out, the rest train.")
        if self.max_iterations is not None and self.max_iterations < 1:
            raise SettingsError("--max-iterations takes a whole number from 1, or none for no limit.")

    def changed(self, **values: Any) -> BaselineProtocol:  # noqa: ANN401 - each field has a type of its own
        """The same with other settings, which its name then says, in the order of the attributes."""
        result = replace(self, **values)
        told = [
            f"{field.name.replace('_', ' ')} {_shown(getattr(result, field.name))}"
            for field in fields(self)
            if getattr(result, field.name) != getattr(self, field.name)
        ]
        return replace(result, name=f"{self.name} but {', '.join(told)}") if told else self


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "none" if value is None else str(value)


PROTOCOLS: dict[str, BaselineProtocol] = {
    protocol.name: protocol
    for protocol in (
        BaselineProtocol(
            "classical",
            "ours: the grids of Wang et al. 2023; speakers are held out in the split and in the inner folds",
        ),
        BaselineProtocol(
            "wang2023",
            "Wang, Raud, Pal 2023: 70/30 by utterance, grid search by 5-fold cross-validation",
            inner="stratified",
            select="accuracy",
            split="random",
            # Whole numbers of hundredths of the 70 that are trained on: only their sum counts.
            ratios=(0.6, 0.1, 0.3),
            notes=("wang2023 shares speakers between inner folds too, as the study does",),
        ),
    )
}


def protocol_named(name: str) -> BaselineProtocol:
    """Look a protocol up.

    Raises:
        UnknownNameError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
