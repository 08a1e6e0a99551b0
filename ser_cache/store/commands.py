"""The command that makes the features of a folder, for messages that say what to do next."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from ser_cache.store.part import Part

_OPTIONS = (
    (r"full", r"--whisper-context full"),
    (r"norm", r"--normalise yes"),
    (r"raw", r"--normalise no"),
    (r"max([0-9.e+-]+)s", r"--max-seconds \1"),
    (r"compute-(\w+)", r"--precision \1"),
    (r"(fp16|fp32|int8)", r"--codec \1"),
    (r"avg(\d+)", r"--frame-average \1"),
    (r"pooled", r"--tier pooled"),
    (r"layers([0-9.-]+)", r"--layers \1"),
)
"""What a folder's name says of the options it was made with."""


def extract_command(folder: Path, parts: Sequence[Part]) -> str:
    """The command that extracts what is missing in a folder, with the model as the user once gave it.

    Args:
        folder: ``<cache>/<backbone>[+variant]/<corpus>``.
        parts: those of its parts that can be read.
    """
    backbone, *variants = folder.parent.name.split("+")
    recorded = parts[0].provenance if parts else {}
    model = str(recorded.get("model") or backbone.replace("--", "/"))
    name = str(recorded.get("name") or backbone)
    words = [f"--model {shlex.quote(model)}"]
    # A folder or a hub id gives the cache its own name, unless the user chose another.
    if name not in (model, model.replace("/", "--"), Path(model).name):
        words.append(f"--name {name}")
    words.append(f"--corpus {folder.name}")
    options = [_option(variant) for variant in variants]
    if all(options):
        return f"`ser extract {' '.join(words + options)}`"
    return f"`ser extract {' '.join(words)}` with the options it was made with (+{'+'.join(variants)})"


def _option(variant: str) -> str:
    """The option that a part of a folder's name stands for, or ""."""
    for pattern, option in _OPTIONS:
        if found := re.fullmatch(pattern, variant):
            # Layers are written 0.3-5 in a name, where commas would be awkward.
            value = found.expand(option)
            return value.replace(".", ",") if option.startswith("--layers") else value
    return ""
