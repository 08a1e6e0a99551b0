"""Tables that come with the package, from ``ser_cache/reference``; the READMEs there name their sources."""

from __future__ import annotations

import csv
import tomllib
from importlib import resources
from typing import Any


def packaged_rows(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file below ``ser_cache/reference``, each as column -> cell."""
    return list(csv.DictReader(_text(name).splitlines()))


def packaged_toml(name: str) -> dict[str, Any]:
    """A TOML file below ``ser_cache/reference``."""
    return tomllib.loads(_text(name))


def _text(name: str) -> str:
    return resources.files("ser_cache").joinpath("reference", *name.split("/")).read_text(encoding="utf-8")
