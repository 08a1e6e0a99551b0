"""Checks of one recording that stands in a corpus more than once: across sides, speakers or emotions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ser_cache.audit.copies import KINDS, CopyGroup
from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding, Severity, counted, folds_in_words
from ser_cache.manifest import Utterance


def check_copies_across(facts: Facts) -> list[Finding]:
    """A recording that is tested and also learned from is a risk; one that is there twice, a note."""
    folds: Counter[CopyGroup] = Counter()
    for split in facts.splits:
        tested, learned = set(split.test), {*split.train, *split.validation}
        folds.update(
            g for g in facts.copies if not tested.isdisjoint(g.ids) and not learned.isdisjoint(g.ids)
        )
    found = []
    if folds:
        crossing = sorted(folds, key=lambda group: group.ids)
        where = folds_in_words(max(folds.values()), len(facts.splits))
        found.append(
            _finding(
                "copies across sides",
                "risk",
                f"{counted(len(crossing), 'recording')} on both the training and the test side{where}",
                "keep one of each",
                crossing,
            )
        )
    if rest := [group for group in facts.copies if group not in folds]:
        apart = ", but not both tested and learned from" if facts.splits else ""
        text = f"{counted(len(rest), 'recording')} in the corpus more than once{apart}"
        found.append(_finding("copies across sides", "note", text, "", rest))
    return found or [
        Finding("copies across sides", "ok", "no recording more than once", numbers=_numbers(()))
    ]


def check_copies_of_speakers(facts: Facts) -> list[Finding]:
    """One recording under two speakers is a risk under any split: it makes some of them share a voice."""
    return _differing(facts, "copies of speakers", lambda u: u.speaker, "two speakers", "one is wrong")


def check_copies_of_emotions(facts: Facts) -> list[Finding]:
    """One recording with two emotions is a risk: one of the labels is wrong."""
    return _differing(facts, "copies of emotions", lambda u: u.emotion, "two emotions", "one label is wrong")


def _differing(
    facts: Facts, check: str, key: Callable[[Utterance], str], under: str, wrong: str
) -> list[Finding]:
    groups = [group for group in facts.copies if len({key(facts.by_id[i]) for i in group.ids}) > 1]
    if not groups:
        return [Finding(check, "ok", f"no recording under {under}", numbers=_numbers(()))]
    text = f"{counted(len(groups), 'recording')} under {under}"
    return [_finding(check, "risk", text, f"{wrong}: listen, and mend the manifest", groups)]


def _finding(check: str, severity: Severity, what: str, advice: str, groups: Sequence[CopyGroup]) -> Finding:
    examples = tuple(f"{' = '.join(group.ids)} ({_likeness(group)})" for group in groups)
    return Finding(check, severity, what, advice, examples, _numbers(groups))


def _likeness(group: CopyGroup) -> str:
    return f"{100 * group.errors:.0f}% of bits differ" if group.kind == KINDS[2] else group.kind


def _numbers(groups: Sequence[CopyGroup]) -> dict[str, int]:
    return {
        "recordings": len(groups),
        "clips": sum(len(group.ids) for group in groups),
        **{kind.replace(" ", "_"): sum(group.kind == kind for group in groups) for kind in KINDS},
    }
