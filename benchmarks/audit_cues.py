"""How well duration alone tells the emotion in corpora of which only a list of files is at hand.

``python benchmarks/audit_cues.py cafe.csv shemo.csv`` reads tables with the columns speaker, emotion_original
(or emotion) and duration_s, and prints what `ser audit --split loso` would of that cue: the evidence for the
threshold between speech that differs and lengths that leak.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from ser_cache.audit.prediction import (
    Fold,
    Prediction,
    PredictionOptions,
    cells_of_names,
    cells_of_numbers,
    predict,
)
from ser_cache.audit.shortcuts import NATURAL


def of_list(path: Path) -> tuple[int, int, str, Prediction]:
    """Clips, speakers, the emotion told best, and the prediction."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["duration_s"] and (row.get("speaker") or row.get("actor"))
        ]
    emotions = [row.get("emotion_original") or row["emotion"] for row in rows]
    labels, names = cells_of_names(emotions), sorted(set(emotions))
    speakers = cells_of_names([row.get("speaker") or row["actor"] for row in rows])
    options = PredictionOptions()
    cells = cells_of_numbers(np.array([float(row["duration_s"]) for row in rows]), len(names), options)
    folds = [Fold(np.flatnonzero(speakers != s), np.flatnonzero(speakers == s)) for s in np.unique(speakers)]
    found = predict(cells, labels, speakers, folds, NATURAL, options)
    return len(rows), len(folds), names[found.tell], found


def main() -> None:
    """Print a line for each list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lists", type=Path, nargs="+")
    print(f"{'list':12s} clips  speakers   UAR  chance  excess  told")
    for path in parser.parse_args().lists:
        clips, speakers, emotion, found = of_list(path)
        scores = f"{100 * found.uar:5.1f}  {100 * found.chance:6.1f}  {found.excess:6.2f}  {found.told:.2f}"
        print(f"{path.stem:12s} {clips:5d}  {speakers:8d} {scores} ({emotion})")


if __name__ == "__main__":
    main()
