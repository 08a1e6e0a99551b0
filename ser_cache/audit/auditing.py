"""An audit: a corpus divided, every check run on it, and the report of what they found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ser_cache.audit.acoustics import Measurement
from ser_cache.audit.checks import CHECKS
from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding
from ser_cache.audit.overview import EmotionRow, emotion_rows, shared_counts
from ser_cache.audit.prediction import PredictionOptions
from ser_cache.manifest import Manifest
from ser_cache.splits import SIDES, SplitOptions, make_splits, remarks, split_config

FORMAT = 2
"""Of the JSON; to be raised when a key changes its meaning or goes."""


@dataclass(frozen=True)
class AuditOptions:
    """What is audited.

    Attributes:
        split: how the corpus is divided.
        prediction: of the tests of what tells the emotion by itself.
    """

    split: SplitOptions = field(default_factory=SplitOptions)
    prediction: PredictionOptions = field(default_factory=PredictionOptions)


@dataclass(frozen=True)
class Report:
    """What an audit found.

    Attributes:
        facts: what was looked at.
        options: how.
        findings: of all checks, in their order.
        emotions: one row each, sorted.
        shared: by "speakers", "sentences" and "recordings": how many distinct ones stand on both of two sides
            in some fold, by "train-validation", "train-test" and "validation-test".
        left_out: checks that could not be run, with the reason.
    """

    facts: Facts
    options: AuditOptions
    findings: tuple[Finding, ...]
    emotions: tuple[EmotionRow, ...]
    shared: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, str]

    @property
    def risks(self) -> tuple[Finding, ...]:
        """The findings that are risks."""
        return tuple(finding for finding in self.findings if finding.severity == "risk")

    def as_json(self) -> dict[str, Any]:
        """The report as JSON; docs/audit.md says what its keys hold."""
        manifest = self.facts.manifest
        return {
            "corpus": manifest.corpus,
            "verdict": "risk" if self.risks else "ok",
            "utterances": len(manifest),
            "speakers": len(manifest.speakers),
            "measured": len(self.facts.heard),
            "split": split_config(self.options.split),
            "folds": [
                {
                    "fold": split.fold,
                    **{side: len(split.side(side)) for side in SIDES},
                    "left_out": len(split.left_out),
                }
                for split in self.facts.splits
            ],
            "emotions": [asdict(row) | {"rates": list(row.rates)} for row in self.emotions],
            "shared": {what: dict(pairs) for what, pairs in self.shared.items()},
            "findings": [finding.as_json() for finding in self.findings],
            "left_out": dict(self.left_out),
        }


def audit(
    manifest: Manifest,
    measured: Mapping[str, Measurement],
    options: AuditOptions | None = None,
    on_check: Callable[[int, str], None] = lambda *_: None,
) -> Report:
    """Run every check that can be run on a corpus under a split.

    Args:
        manifest: the corpus.
        measured: what was measured of its clips, by id (see ``measure_corpus``); empty without audio.
        options: the split, and how cues are tested.
        on_check: told how many checks are done and which comes next.

    Raises:
        UnknownNameError: no such split.
        SplitError: the corpus cannot be divided that way, which is no training's either.
    """
    options = options or AuditOptions()
    facts = Facts(manifest, make_splits(manifest.utterances, options.split), measured)
    findings, left_out = _of_division(facts, options.split), {}
    for done, (name, check) in enumerate(CHECKS.items()):
        on_check(done, name)
        if check.needs_audio and not len(facts.heard):
            left_out[name] = "no audio is at hand"
        else:
            findings += check.run(facts, options.prediction)
    return Report(facts, options, tuple(findings), emotion_rows(facts), shared_counts(facts), left_out)


def _of_division(facts: Facts, options: SplitOptions) -> list[Finding]:
    """Notes of how the corpus was divided: shares other than those asked for, clips that are on no side."""
    numbers = {"left_out": len({identifier for split in facts.splits for identifier in split.left_out})}
    told = remarks(facts.splits, facts.utterances, options)
    return [Finding("split", "note", remark, numbers=numbers) for remark in told]
