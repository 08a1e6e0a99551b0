"""What the studies of storage and of Whisper's context share: extract, probe over speaker folds, compare.

Two ways of making or keeping features are compared on the same folds with the same seeds, so that what is
reported is the difference within a fold, not the spread between folds. Whatever is in the cache and among the
runs is reused, also what `ser extract` and `ser probe --split folds` made: a script that was killed goes on
where it was.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from ser_cache import settings
from ser_cache.backbones.loading import BackboneOptions
from ser_cache.errors import SerCacheError
from ser_cache.extraction import ExtractionOptions, choose_folder, extract
from ser_cache.extraction import Progress as Extracted
from ser_cache.extraction.opening import MFCC, load_extractor
from ser_cache.extractor import Extractor
from ser_cache.files import write_text
from ser_cache.manifest import Manifest, read_manifest
from ser_cache.probing import ProbeOptions, probe
from ser_cache.probing import Progress as Trained
from ser_cache.protocols import Protocol, protocol_named
from ser_cache.results import read_run
from ser_cache.settings import Locations
from ser_cache.splits import SplitOptions
from ser_cache.statistics import Spread, spread
from ser_cache.store import open_features

PROTOCOL = "dasaro2024"
_LIBRARIES = ("ser-cache", "torch", "transformers", "numpy", "h5py")
_EMPTY = Path("no-cache")


@dataclass(frozen=True)
class Study:
    """What is studied, and where things live.

    Attributes:
        model: as `ser extract --model` takes it.
        corpora: manifests and the folders of their audio.
        where: manifests, cache and runs.
        folds: how many folds of speakers.
        seeds: how many models are trained per head and fold; a fold's score is their mean.
        heads: names in ``heads.HEADS``.
        protocol: how heads are trained.
    """

    model: str
    corpora: tuple[tuple[Manifest, Path], ...]
    where: Locations
    folds: int
    seeds: int
    heads: tuple[str, ...]
    protocol: Protocol

    @property
    def described(self) -> str:
        """Folds, seeds and protocol in words."""
        seeds = "seed 0" if self.seeds == 1 else f"mean of {self.seeds} seeds"
        return f"{self.folds} folds of speakers, {seeds}, protocol {self.protocol.name}"

    def extractor(self, context: str = "audio") -> Extractor:
        """The model, in fp32, so that every variant of its features comes from the same states."""
        if self.model == MFCC:
            return load_extractor(MFCC, BackboneOptions())
        return load_extractor(self.model, BackboneOptions(context=context, precision="fp32"))

    def cached(
        self, extractor: Extractor, manifest: Manifest, root: Path, options: ExtractionOptions
    ) -> Path:
        """Extract what is missing of one corpus; returns the folder of its features."""
        # Asked of an empty cache: in a full one, a folder that serves a smaller tier too would be chosen.
        own = choose_folder(_EMPTY, manifest.corpus, extractor, options)
        folder = self.where.cache / own.relative_to(_EMPTY)

        def show(now: Extracted) -> None:
            _tell(f"{folder.parent.name} {manifest.corpus}: {now.utterances} of {now.total} extracted")

        report = extract(extractor, manifest.utterances, root, folder, options, show)
        failed = f", {len(report.failed)} failed and left out of everything" if report.failed else ""
        _tell(f"{folder}: {report.done} extracted, {report.reused} reused{failed}", last=True)
        return folder

    def scores(self, folder: Path, manifest: Manifest, heads: Sequence[str]) -> dict[str, list[float]]:
        """Macro F1 in percent of each head in each fold; trained where it has not been yet."""
        options = ProbeOptions(
            heads=tuple(heads),
            split=SplitOptions(kind="folds", folds=self.folds),
            seeds=tuple(range(self.seeds)),
            protocol=self.protocol,
        )

        def show(now: Trained) -> None:
            _tell(f"{folder.parent.name} {manifest.corpus} {now.heads}: epoch {now.done} of {now.total}")

        with open_features(folder, manifest.utterances) as features:
            summaries = probe(features, manifest, options, self.where.runs, show)
        for summary in summaries:
            _tell(f"{summary.folder}: {'reused' if summary.reused else 'trained'}", last=True)
        return {summary.head: _fold_scores(summary.folder) for summary in summaries}


@dataclass(frozen=True)
class Paired:
    """Differences within folds, in percentage points.

    Attributes:
        mean: of the differences.
        std: their standard deviation, n - 1.
        better: folds in which the difference is above zero.
        worse: folds in which it is below.
        folds: how many there are.
    """

    mean: float
    std: float
    better: int
    worse: int
    folds: int

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.std:.1f} ({self.better}/{self.folds})"


def paired(scores: Sequence[float], beside: Sequence[float]) -> Paired:
    """``scores`` less ``beside``, fold by fold."""
    differences = np.subtract(scores, beside)
    return Paired(
        mean=float(differences.mean()),
        std=float(differences.std(ddof=1)),
        better=int(np.sum(differences > 0)),
        worse=int(np.sum(differences < 0)),
        folds=len(differences),
    )


def over_folds(scores: Sequence[float]) -> Spread:
    """Mean and standard deviation over folds."""
    return spread(list(scores))


def shown(value: Spread) -> str:
    """A spread as text."""
    return f"{value.mean:.1f} ± {value.std:.1f}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every study."""
    parser.add_argument("model", help="as in ser extract --model")
    parser.add_argument("corpora", nargs="+", metavar="corpus", help="as in ser manifest")
    for name in ("manifests", "cache", "runs"):
        parser.add_argument(f"--{name}", type=Path, help=f"[default: ./{name}]")
    parser.add_argument("--folds", type=int, default=5, help="folds of speakers [default: 5]")
    parser.add_argument("--seeds", type=int, default=1, help="models per head and fold [default: 1]")
    parser.add_argument(
        "--heads", default=",".join(protocol_named(PROTOCOL).heads), help="[default: %(default)s]"
    )
    parser.add_argument("--epochs", type=int, help="instead of the protocol's, for a quick look")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")


def study_of(arguments: argparse.Namespace) -> Study:
    """What the arguments say."""
    where = settings.locate(arguments.manifests, arguments.cache, arguments.runs)
    roots = settings.read_roots(where.manifests)
    corpora = []
    for name in arguments.corpora:
        if name not in roots:
            raise SerCacheError(f"the audio of {name} is not here; say where: ser manifest {name} ROOT")
        corpora.append((read_manifest(where.manifests / f"{name}.csv"), roots[name]))
    heads = tuple(arguments.heads.split(",")) if arguments.heads else ()
    protocol = protocol_named(PROTOCOL)
    if arguments.epochs is not None:
        training = replace(protocol.training, epochs=arguments.epochs)
        name = f"{protocol.name} but epochs {arguments.epochs}"
        protocol = replace(protocol, name=name, training=training)
    return Study(arguments.model, tuple(corpora), where, arguments.folds, arguments.seeds, heads, protocol)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table; the first columns, which hold names, to the left, the others to the right."""
    lines = [columns, ["---"] * names + ["---:"] * (len(columns) - names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def heading() -> str:
    """The machine, and the versions of what computes."""
    return machine(*_LIBRARIES)


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures as JSON, where a file was named."""
    if path is not None:
        write_text(path, json.dumps({"machine": heading(), **figures}, indent=2, default=asdict) + "\n")


def run(main: Callable[[], None]) -> None:
    """Run a script; an error that a user can mend becomes one line."""
    try:
        main()
    except SerCacheError as error:
        sys.exit(f"error: {error}")


def _fold_scores(folder: Path) -> list[float]:
    """Macro F1 of each fold in percent, the mean over seeds."""
    scores: dict[str, list[float]] = {}
    for row in read_run(folder).metrics["mean_of_folds"]["per_fold"]:
        scores.setdefault(row["fold"], []).append(100 * row["macro_f1"])
    return [sum(fold) / len(fold) for _, fold in sorted(scores.items())]


def _tell(line: str, *, last: bool = False) -> None:
    """Progress, on standard error, so that standard output holds the tables alone; a log gets last lines."""
    if sys.stderr.isatty():
        print(f"\r{line:<100}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last:
        print(line, file=sys.stderr, flush=True)
