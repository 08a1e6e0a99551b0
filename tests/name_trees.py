"""Folders of empty files: finding a corpus looks at names alone."""

from pathlib import Path


def tree(root: Path, *paths: str) -> Path:
    """Touch files below a root and return the root."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root
