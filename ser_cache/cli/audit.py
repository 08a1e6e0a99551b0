"""``ser audit``: whether scores on a corpus under a split can be believed."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.emotion_options import chosen_emotions, emotions_option, with_emotions
from ser_cache.cli.options import OUTPUT_FILE, chosen_manifests, root_of, where_things_live
from ser_cache.cli.splitting import chosen_split, split_options
from ser_cache.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ser_cache.audit import Report
    from ser_cache.audit.acoustics import Measurement
    from ser_cache.audit.overview import EmotionRow
    from ser_cache.manifest import Manifest


@click.command(
    epilog="Example: ser audit --corpus emovo --split loso --strict",
    short_help="Find leaks between the sides of a split.",
)
@click.option("--corpus", "corpora", multiple=True, help="Repeatable [default: all with a manifest].")
@emotions_option
@split_options
@click.option("--strict", is_flag=True, help="Exit with status 1 if there is any risk.")
@click.option(
    "--json", "json_file", type=OUTPUT_FILE, help="Write everything that was found to this file, too."
)
@click.option("--no-audio", is_flag=True, help="Only what the manifest tells; decode nothing.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Decoding threads.")
@where_things_live("manifests")
def audit(
    corpora: tuple[str, ...],
    emotions: str | None,
    strict: bool,
    json_file: Path | None,
    no_audio: bool,
    jobs: int,
    manifests: Path | None,
    **split: Any,  # noqa: ANN401 - what click read for split_options
) -> int:
    """Say what could make scores on a corpus too good, or meaningless, under a split.

    Speakers, sentences and copies of a recording on two sides; emotions that are missing or rare; speakers
    with one emotion; silence, clipping and formats; and how well duration, loudness, silence, format,
    sentence or speaker alone tell the emotion, beside chance. A risk can make scores wrong; a note is worth
    knowing. A corpus that cannot be divided as asked is an error, as it is for `ser probe`; the others are
    audited.

    Audio is decoded once, and what was measured is kept in measurements/ beside the manifests: an audit under
    another split takes seconds. What each check does: docs/audit.md.
    """
    from ser_cache.audit import AuditOptions
    from ser_cache.audit import audit as audit_corpus
    from ser_cache.splits import make_splits

    where = settings.locate(manifests=manifests)
    chosen, _ = chosen_split(split)
    options = AuditOptions(split=chosen)
    reports: list[Report] = []
    whole = {manifest.corpus: manifest for manifest in chosen_manifests(where, corpora)}
    audited = with_emotions([*whole.values()], chosen_emotions(emotions), named=bool(corpora))

    def audit_one(manifest: Manifest) -> int:
        make_splits(manifest.utterances, chosen)  # what cannot be divided is told before audio is decoded
        # of all clips, whatever the emotions: what is kept for the corpus is for any choice of them
        measured, status = _measured(where, whole[manifest.corpus], jobs) if not no_audio else ({}, 0)
        with screen.bar(f"checking {manifest.corpus}", _checks()) as bar:
            report = audit_corpus(manifest, measured, options, bar.update)
        _show(report)
        reports.append(report)
        return status

    status = screen.each(audited, lambda manifest: manifest.corpus, audit_one)
    if json_file is not None:
        _write(json_file, reports)
    risky = [report.facts.manifest.corpus for report in reports if report.risks]
    if strict and risky:
        risks = sum(len(report.risks) for report in reports)
        screen.note(
            f"error: {screen.count(risks, 'risk')} in {', '.join(risky)}, which --strict does not allow."
        )
        return 1
    return status


def _write(path: Path, reports: Sequence[Report]) -> None:
    from ser_cache.audit.auditing import FORMAT
    from ser_cache.files import write_json

    write_json(path, {"format": FORMAT, "corpora": [report.as_json() for report in reports]})
    screen.note(f"written to {path}")


def _checks() -> int:
    from ser_cache.audit import CHECKS

    return len(CHECKS)


def _measured(
    where: settings.Locations, manifest: Manifest, jobs: int
) -> tuple[Mapping[str, Measurement], int]:
    """What is measured of a corpus's audio, and the exit status: 3 where clips could not be read."""
    from ser_cache.audit import measure_corpus
    from ser_cache.files import write_csv

    root = root_of(where, manifest.corpus)
    if root is None:
        screen.note(
            f"note: {manifest.corpus}: no audio at hand, so what needs it is left out; to name its folder: "
            f"ser manifest {manifest.corpus} ROOT"
        )
        return {}, 0
    folder = where.manifests / "measurements"
    kept_in, failed_in = folder / f"{manifest.corpus}.npz", folder / "failures" / f"{manifest.corpus}.csv"
    with screen.bar(f"measuring {manifest.corpus}", len(manifest)) as bar:
        measured = measure_corpus(manifest, root, kept_in, jobs, bar.restate)
    if measured.kept == "stale":
        screen.note(f"note: {kept_in} was damaged or of another version; the audio was measured anew.")
    if measured.unkept:
        screen.note(f"note: {measured.unkept}; the next audit will measure all audio again.")
    if not measured.failures:
        with suppress(OSError):  # of a folder that cannot be written to, and has no such list to mislead with
            failed_in.unlink(missing_ok=True)
        return measured.by_id, 0
    listed: Path | None = failed_in
    try:
        write_csv(failed_in, ("id", "reason"), measured.failures.items())
    except OSError as error:
        listed = None
        screen.note(f"note: {failed_in} cannot be written ({error.strerror}).")
    screen.list_failures(measured.failures, listed)
    if not measured.by_id:
        raise SettingsError(
            f"none of its clips could be read below {root}; name another folder with ser manifest, or use "
            "--no-audio."
        )
    return measured.by_id, 3


def _show(report: Report) -> None:
    manifest = report.facts.manifest
    title = (
        f"{manifest.corpus}, split {report.options.split.kind}, "
        f"{screen.count(len(report.facts.splits), 'fold')}: "
        f"{screen.count(len(manifest), 'utterance')}, {screen.count(len(manifest.speakers), 'speaker')}"
    )
    _show_emotions(report, title)
    _show_shared(report)
    _show_cues(report)
    for severity in ("note", "risk"):
        for finding in report.findings:
            if finding.severity == severity:
                screen.say_folded(f"{severity}: {finding.line}.")
    if report.left_out:
        reasons = Counter(report.left_out.values())
        for reason in reasons:
            names = ", ".join(name for name, why in report.left_out.items() if why == reason)
            screen.say_folded(f"left out, as {reason}: {names}")
    fine = sum(finding.severity == "ok" for finding in report.findings)
    verdict = f"{screen.count(len(report.risks), 'risk')}" if report.risks else "no risk found"
    screen.say(f"{manifest.corpus}: {verdict}; {screen.count(fine, 'check')} found nothing\n")


_EMOTION_COLUMNS: dict[str, Callable[[EmotionRow], str]] = {
    "emotion": lambda row: row.emotion,
    "clips": lambda row: f"{row.clips:,}",
    "speakers": lambda row: f"{row.speakers:,}",
    "seconds": lambda row: f"{row.seconds:.2f}",
    "lead": lambda row: _number(row.leading, ".2f"),
    "trail": lambda row: _number(row.trailing, ".2f"),
    "dB": lambda row: _number(row.level, ".1f"),
    "padded": lambda row: _percent(row.padded),
    "clipped": lambda row: _percent(row.clipped),
    "kHz": lambda row: "/".join(f"{rate / 1000:g}" for rate in row.rates),
}


def _show_emotions(report: Report, title: str) -> None:
    """By emotion: counts, and medians of what was measured; columns without a value are left out."""
    rows = [[cell(row) for cell in _EMOTION_COLUMNS.values()] for row in report.emotions]
    shown = [place for place in range(len(_EMOTION_COLUMNS)) if any(row[place] for row in rows)]
    headings = list(_EMOTION_COLUMNS)
    kinds = {headings[place]: "right" if place else "left" for place in shown}
    screen.table(f"{title}; medians", kinds, [[row[place] for place in shown] for row in rows])


def _show_shared(report: Report) -> None:
    pairs = ("train-validation", "train-test", "validation-test")
    rows = [[what, *(f"{counts[pair]:,}" for pair in pairs)] for what, counts in report.shared.items()]
    several = " of some fold" if len(report.facts.splits) > 1 else ""
    headings = {pair.replace("-", " & "): "right" for pair in pairs}
    screen.table(f"On both sides{several}", {"": "left", **headings}, rows)
    if "sentences" not in report.shared:
        screen.say_folded("sentences: the manifest names none, so whether sides share them is unknown.")


def _show_cues(report: Report) -> None:
    """What each cue alone achieves; those that are the same everywhere achieve nothing, and are left out."""
    rows = []
    for finding in report.findings:
        numbers = finding.numbers
        if "uar" in numbers:
            rows.append(
                [
                    finding.check.removesuffix(" alone"),
                    f"{100 * numbers['uar']:.1f}",
                    f"{100 * numbers['chance']:.1f}",
                    f"{100 * numbers['macro_f1']:.1f}",
                    f"{numbers['p']:.3f}",
                    f"{numbers['tells']} {100 * numbers['told']:+.0f}" if numbers["told"] > 0 else "",
                    finding.severity if finding.severity == "risk" else "",
                ]
            )
    if rows:
        columns = {"cue": "left", "UAR": "right", "chance": "right", "macro F1": "right", "p": "right"}
        screen.table("What tells the emotion by itself", {**columns, "best told": "left", "": "left"}, rows)


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"
