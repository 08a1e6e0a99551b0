"""The command that makes the features of a folder, for messages that say what to do next."""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ser_cache.errors import CacheError
from ser_cache.store.part import Part, open_part, part_paths

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
_MFCC = "mfcc"


@dataclass(frozen=True)
class Remake:
    """The extraction that makes what is missing in a folder.

    Attributes:
        model: as the user once gave it; where no part says so, what the folder's name suggests.
        known: whether a part says which model it was.
        name: what ``--name`` has to be, or "" where the model gives the folder its name.
        corpus: the corpus.
        options: the options that the folder's name tells.
        untold: what the folder's name says beyond those; "" where that is nothing.
    """

    model: str
    known: bool
    name: str
    corpus: str
    options: tuple[str, ...]
    untold: str

    def command(self, places: Sequence[str] = ()) -> str:
        """The command between backticks, ready to be pasted into a shell.

        Args:
            places: words that say where things live, such as ``--cache`` and a folder.
        """
        words = ["--model", self.model, *(("--name", self.name) if self.name else ())]
        words += ["--corpus", self.corpus, *self.options, *places]
        rest = f" with the options it was made with ({self.untold})" if self.untold else ""
        return f"`{shlex.join(['ser', 'extract', *words])}`{rest}"


def remake_of(folder: Path, parts: Sequence[Part]) -> Remake:
    """Find out how the features of a folder were made.

    Args:
        folder: ``<cache>/<backbone>[+variant]/<corpus>``.
        parts: those of its parts that can be read; where there are none, the same backbone's other
            corpora and variants are asked for the model.
    """
    backbone, *variants = folder.parent.name.split("+")
    recorded = next((part.provenance for part in parts or _siblings(folder)), {})
    model = str(recorded.get("model") or backbone.replace("--", "/"))
    name = str(recorded.get("name") or backbone)
    if backbone == _MFCC:  # whose settings are part of its name
        model = "+".join([model, *(text for text in variants if not _option(text))])
        variants = [text for text in variants if _option(text)]
    options = [_option(variant) for variant in variants]
    return Remake(
        model=model,
        known="model" in recorded,
        # A folder or a hub id gives the cache its own name, unless the user chose another.
        name="" if backbone == _MFCC or name in (model, model.replace("/", "--"), Path(model).name) else name,
        corpus=folder.name,
        options=tuple(word for option in options for word in option.split()) if all(options) else (),
        untold="" if all(options) else f"+{'+'.join(variants)}",
    )


def _siblings(folder: Path) -> Iterator[Part]:
    """The readable parts of the other folders of the same backbone, those of the same variant first."""
    backbone = folder.parent.name.split("+")[0]
    named = [path for path in folder.parents[1].glob("*/*/") if path.parent.name.split("+")[0] == backbone]
    for path in sorted(named, key=lambda path: (path.parent != folder.parent, path)):
        for part in part_paths(path):
            with suppress(CacheError):
                yield open_part(part)


def _option(variant: str) -> str:
    """The option that a part of a folder's name stands for, or ""."""
    for pattern, option in _OPTIONS:
        if found := re.fullmatch(pattern, variant):
            # Layers are written 0.3-5 in a name, where commas would be awkward.
            value = found.expand(option)
            return value.replace(".", ",") if option.startswith("--layers") else value
    return ""
