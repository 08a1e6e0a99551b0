"""What ``ser manifest --check`` shows: a download beside the files that were published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ser_cache.cli import screen

if TYPE_CHECKING:
    from ser_cache.checking import Check, Verdict

_MEANING: dict[Verdict, str] = {
    "published": "as published",
    "lossless": "the same samples, in other bytes",
    "converted": "other bytes, the right length",
    "changed": "another length",
    "unreadable": "not readable as audio",
    "pointer": "not fetched by Git LFS",
    "missing": "missing",
    "extra": "not on the list",
}
_ADVICE: dict[Verdict, str] = {
    "lossless": "re-encoded without loss (rebuilt as WAV they have the published SHA-256): as good as the "
    "published files.",
    "converted": "re-encoded or edited: another format, rate or channel count, such as 16 kHz FLAC, or a new "
    "header. Their lengths agree; whether the sound does, a hash cannot tell.",
    "changed": "cut, padded, or a different recording under this name: do not compare scores on them with "
    "published ones; get the originals.",
    "unreadable": "each says why; what is damaged or was cut off while downloading, fetch again.",
    "pointer": "the clone has no audio yet: run `git lfs install`, then `git lfs pull` in it.",
    "missing": "not downloaded or not unpacked, or renamed.",
    "extra": "they would be listed as failed, or make a second copy, in `ser manifest`: move them away.",
}


def check_download(corpus: str, root: Path, jobs: int, verbose: bool) -> int:
    """Compare the files below a folder with the official list, show it, and return the exit status.

    0 where all is as good as published, and where the whole corpus was converted and every name and length
    agrees: nothing is then known to be wrong, and no file is the odd one out. Else 3.
    """
    from ser_cache.checking import check_files
    from ser_cache.official import official_list

    listed = official_list(corpus)
    with screen.bar(f"checking {corpus}", len(listed.files)) as bar:
        check = check_files(listed, root, bar.restate, jobs)
    _show(check, root)
    if check.converted_whole and not verbose:
        return 0
    _name(check, verbose)
    return 0 if check.good or check.converted_whole else 3


def _show(check: Check, root: Path) -> None:
    from ser_cache.checking import VERDICTS

    listed = check.listed
    rows = [
        (_MEANING[verdict], f"{len(found):,}", found[0].path)
        for verdict in VERDICTS
        if (found := check.of(verdict))
    ]
    screen.table(
        f"{listed.corpus}: {len(listed.files):,} published files, looked for below {root}",
        {"below it": "left", "files": "right", "such as": "fold"},
        rows,
    )
    screen.say_folded(f"The list: {listed.origin}")
    for verdict, advice in _ADVICE.items():
        if check.of(verdict) and not check.converted_whole:
            meaning = _MEANING[verdict]
            screen.say_folded(f"{meaning[0].upper()}{meaning[1:]}: {advice}")
        if verdict == "changed":
            _say_one_length(check)
    if check.passed_over:
        screen.say(f"{check.passed_over:,} files in {listed.aside} are passed over: the same clips.")
    if check.good:
        screen.say(f"{listed.corpus} is complete and holds what was published.")
    if check.converted_whole:
        screen.say_folded(
            f"{listed.corpus} is complete: all {len(listed.files):,} names are here and no other, each "
            f"within {1000 * check.widest:.1f} ms of the published length. As every file was converted, no "
            "hash can show that the sound is the published one."
        )


def _say_one_length(check: Check) -> None:
    """Whether the changed clips were cut or padded to one length, and what copy that may be."""
    from ser_cache.audio import SAMPLE_RATE

    clips, samples = check.one_length
    if clips:
        known = f" {check.listed.copies}" if check.listed.copies else ""
        seconds = samples / SAMPLE_RATE
        screen.say_folded(
            f"  {clips:,} of these are exactly {seconds:.3f} s: somebody cut or padded them.{known}"
        )


def _name(check: Check, verbose: bool) -> None:
    """Every file that is not as good as the published one, or the first few of each kind, on stderr."""
    from ser_cache.checking import GOOD, VERDICTS

    hidden = False
    for verdict in VERDICTS:
        if verdict in GOOD:
            continue
        lines = [f"{verdict}: {file.path}: {file.detail}" for file in check.of(verdict)]
        hidden |= len(lines) > screen.LISTED_FAILURES and not verbose
        if verbose:
            for line in lines:
                screen.note(line)
        else:
            screen.list_first(lines)
    if hidden:
        screen.note("To name them all, add --verbose.")
