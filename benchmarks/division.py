"""How near to the wish divisions of speakers are: the best of random draws, and what is found from there.

python benchmarks/division.py manifests/*.csv

A row per manifest: mismatches of ``--split speaker`` and ``--split folds`` in hundredths, for three seeds
(see docs/splits.md for what it sums), and the speakers on each side.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser_cache.errors import SplitError
from ser_cache.manifest import read_manifest
from ser_cache.splits import SIDES, SplitOptions, make_splits
from ser_cache.splits.counting import MILLION, SpeakerCounts, Yardstick
from ser_cache.splits.search import best_division
from ser_cache.splits.speakers import _best_drawn, _cut_by_ratios, _deal

SEEDS = (0, 1, 2)
FOLDS = 5


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    print("| corpus | speakers | `speaker`, drawn | found | `folds` (5), drawn | found | sides got |")
    print("|---|---|---|---|---|---|---|")
    for path in parser.parse_args(words).manifests:
        made = read_manifest(path)
        table = SpeakerCounts.of(made.utterances)
        cells = [*by_ratios(table), *by_folds(table), got(made.utterances)]
        print(f"| {made.corpus} | {len(table.speakers)} | {' | '.join(cells)} |", flush=True)


def by_ratios(table: SpeakerCounts) -> list[str]:
    """Mismatches for 80/10/10: of the draws, and found."""
    wanted = [8 * MILLION // 10, MILLION // 10, MILLION // 10]
    measure = Yardstick(table.counts, wanted, SIDES.index("train"))
    return rated(table, measure, lambda order: _cut_by_ratios(table, order, wanted))


def by_folds(table: SpeakerCounts) -> list[str]:
    """Mismatches for five folds, where there are as many speakers."""
    if len(table.speakers) < FOLDS:
        return ["-", "-"]
    measure = Yardstick(table.counts, [MILLION // FOLDS] * FOLDS, None)
    return rated(table, measure, lambda order: _deal(table, order, FOLDS))


def rated(table: SpeakerCounts, measure: Yardstick, cut) -> list[str]:  # noqa: ANN001 - as _best_drawn takes it
    """The mismatches of each seed's best draw, and of what is found from it."""
    drawn = [_best_drawn(table, measure, seed, cut) for seed in SEEDS]
    found = [best_division(table, measure, seed, each) for seed, each in zip(SEEDS, drawn, strict=True)]
    return [
        ", ".join(f"{measure.of_division(table.counts, each) / 10_000:.1f}" for each in each_seed)
        for each_seed in (drawn, found)
    ]


def got(utterances) -> str:  # noqa: ANN001 - as read_manifest gives them
    """The shares and speakers of the usual split."""
    try:
        (split,) = make_splits(utterances, SplitOptions())
    except SplitError as error:
        return str(error)
    speaker_of = {utterance.id: utterance.speaker for utterance in utterances}
    sides = [split.side(side) for side in SIDES]
    shares = "/".join(f"{100 * len(side) / len(utterances):.0f}" for side in sides)
    speakers = "/".join(str(len({speaker_of[id_] for id_ in side})) for side in sides)
    return f"{shares} ({speakers} speakers)"


if __name__ == "__main__":
    main()
