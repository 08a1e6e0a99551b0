"""The splits that must never change by themselves: ``python tests/golden_splits.py`` writes them anew.

Each corpus is arithmetic, so that nothing but our own code can change what is made of it.
"""

import json
from pathlib import Path

from ser_cache.files import sha256_of_value
from ser_cache.manifest import Utterance
from ser_cache.results import splits_as_json
from ser_cache.splits import SIDES, Split, SplitOptions, make_splits

FILE = Path(__file__).with_suffix(".json")

OPTIONS = {
    "speaker": SplitOptions("speaker"),
    "speaker 60/15/25, seed 3": SplitOptions("speaker", seed=3, ratios=(0.6, 0.15, 0.25)),
    "loso": SplitOptions("loso"),
    "folds": SplitOptions("folds", folds=4),
    "folds 3, seed 2": SplitOptions("folds", seed=2, folds=3),
    "random": SplitOptions("random"),
    "random 70/15/15, seed 1": SplitOptions("random", seed=1, ratios=(0.7, 0.15, 0.15)),
    "column": SplitOptions("column"),
}


def corpus(speakers: int, lopsided: bool) -> list[Utterance]:
    """So many speakers of three emotions, in equal numbers or in all but equal ones."""
    rows = []
    for s in range(speakers):
        for e, emotion in enumerate(("anger", "fear", "neutral")):
            for n in range(1 + (s * s + 3 * e * s + e) % 7 if lopsided else 3):
                id_ = f"s{s:02d}-{emotion}-{n}"
                rows.append(
                    Utterance(id_, f"{id_}.wav", f"s{s:02d}", emotion, "", "", 1, "", fold=f"{s % 4}")
                )
    return rows


# Compared exhaustively with ties and without, and searched by exchanges.
CORPORA = {
    "6 equal": corpus(6, lopsided=False),
    "9 lopsided": corpus(9, lopsided=True),
    "15 lopsided": corpus(15, lopsided=True),
}


def as_golden(splits: tuple[Split, ...]) -> dict[str, object]:
    """What is stored: who or what is on each side for a reader, and the digest of it all."""
    told = []
    for split in splits:
        sides = [sorted({id_.split("-")[0] for id_ in split.side(side)}) for side in SIDES]
        told.append(
            f"{split.fold}: "
            + (" | ".join(map(" ".join, sides)) if split.speaker_disjoint else " ".join(split.test))
        )
    return {"folds": told, "sha256": sha256_of_value(splits_as_json(splits))}


def made() -> dict[str, dict[str, object]]:
    """Every kind of split of every corpus."""
    return {
        f"{corpus}, {name}": as_golden(make_splits(rows, options))
        for corpus, rows in CORPORA.items()
        for name, options in OPTIONS.items()
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made(), indent=1) + "\n", encoding="utf-8")
