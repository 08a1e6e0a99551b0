"""What a check says: a risk, a note or that all is well, with the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "note", "risk"]
"""A risk can make scores wrong; a note is worth knowing, and usual in honest corpora."""

MOST_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One thing a check found, or that it found nothing.

    Attributes:
        check: the name of the check in ``checks.CHECKS``.
        severity: risk, note or ok.
        what: what was found and how bad it is, a clause without a full stop.
        advice: what to do about it, a clause without a full stop; empty where nothing is to be done.
        examples: ids of clips, names of speakers and the like, all there are.
        numbers: what the sentence says, for programs; keys are those of docs/audit.md.
    """

    check: str
    severity: Severity
    what: str
    advice: str = ""
    examples: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The finding in one line, with the first few examples."""
        such = f": {listed(self.examples)}" if self.examples else ""
        return f"{self.what}{such}{f'; {self.advice}' if self.advice else ''}"

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON, examples in full."""
        return {
            "check": self.check,
            "severity": self.severity,
            "what": self.what,
            "advice": self.advice,
            "examples": list(self.examples),
            "numbers": dict(self.numbers),
        }


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    further = len(names) - MOST_EXAMPLES
    return ", ".join(names[:MOST_EXAMPLES]) + (f" and {further:,} more" if further > 0 else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 clip", "6 clips"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def folds_in_words(folds: int, of: int) -> str:
    """In how many folds something is so: "", " in all 6 folds", " in 2 of 6 folds"."""
    if of == 1:
        return ""
    return f" in all {of} folds" if folds == of else f" in {folds} of {of} folds"
