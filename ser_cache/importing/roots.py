"""Which folder was meant, where the one that was given is one or two too deep or too shallow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_LEVELS = 2  # up and down: corpora unpack to a folder in a folder, seldom deeper
_TRIED = 20  # files, spread over the list: enough to tell folders apart, whatever the corpus's size
_MOST_FOLDERS = 2_000  # looked into on the way down


def describe_root(root: Path, paths: Sequence[str]) -> str:
    """Where the files of a list lie that are not below a root, as a sentence; empty if nowhere near.

    Args:
        root: the folder that was given; none of the files is below it.
        paths: relative to the folder that was meant, with ``/``.
    """
    tried = paths[:: max(1, len(paths) // _TRIED)][:_TRIED]
    found = {
        folder: sum(os.path.isfile(folder / path) for path in tried)  # noqa: PTH113 - pathlib raises for long names
        for folder in _near(root)
    }
    best = max(found, key=lambda folder: found[folder], default=root)
    if not found.get(best):
        return ""
    where = "above" if best in root.absolute().parents or best in root.parents else "below"
    return (
        f"none of its {len(paths):,} files is below {root}, such as {tried[0]}, but they are in the folder "
        f"{where} it: give {best} as ROOT."
    )


def _near(root: Path) -> Iterator[Path]:
    """Folders above and below a root, the nearest first."""
    # as they were written, where they go that far up: "corpora" is easier to read than its whole path
    yield from [*root.parents, *list(root.absolute().parents)[len(root.parents) :]][:_LEVELS]
    level, seen = [root], 0
    for _ in range(_LEVELS):
        level = [Path(entry) for folder in level for entry in _folders(folder)]
        for folder in level:
            seen += 1
            if seen > _MOST_FOLDERS:
                return
            yield folder


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
