"""Folders of empty files: finding a corpus looks at names alone."""

from pathlib import Path


def tree(root: Path, *paths: str) -> Path:
    """Touch files below a root and return the root."""
    for folder in {path.rpartition("/")[0] for path in paths}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path in paths:
        Path(f"{root}/{path}").touch()
    return root
