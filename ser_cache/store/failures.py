"""``failures.csv`` beside the parts: which utterances could not be extracted, and why."""

import csv
import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ser_cache.files import write_csv

FAILURES_FILE = "failures.csv"


def read_failures(folder: Path) -> dict[str, str]:
    """The reason of each failed utterance of a corpus under a backbone; empty when none failed.

    The states in the parts say which utterances failed. This file only explains them, so rows that cannot be
    read are passed over.
    """
    try:
        text = (folder / FAILURES_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    with suppress(csv.Error):  # a quote that is never closed makes one cell of all that follows
        for row in csv.DictReader(io.StringIO(text, newline="")):
            if row.get("id") and row.get("reason"):
                found[row["id"]] = row["reason"]
    return found


def update_failures(folder: Path, added: Mapping[str, str], removed: Iterable[str]) -> None:
    """Add and remove reasons, atomically; the file is left alone when nothing changes, gone when empty."""
    before, gone = read_failures(folder), set(removed)
    after = {id_: reason for id_, reason in before.items() if id_ not in gone} | dict(added)
    if after == before:
        return
    if not after:
        (folder / FAILURES_FILE).unlink(missing_ok=True)
        return
    write_csv(folder / FAILURES_FILE, ("id", "reason"), sorted(after.items()))
