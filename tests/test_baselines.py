"""A baseline's runs: the same for any jobs and order, reused, counted as they go, told what was stopped."""

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_baselines import chosen, corpus

from ser_cache.baselines import CLASSIFIERS, baseline, running
from ser_cache.errors import ResultsError, TrainingError
from ser_cache.manifest import Manifest
from ser_cache.restoring import require_models
from ser_cache.results import find_run, read_grid_search


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small_grids")
def test_neither_jobs_nor_the_order_of_rows_change_a_result(name, tmp_path):
    written = []
    for jobs, turned in ((1, False), (3, False), (2, True)):
        features, manifest = corpus()
        if turned:
            manifest = Manifest("toy", manifest.utterances[::-1])
            features.ids, features.states = features.ids[::-1], features.states[::-1]
            features.frames = features.frames[::-1]
        baseline(features, manifest, chosen(name, jobs=jobs), tmp_path / f"{jobs}")
        (folder,) = (tmp_path / f"{jobs}").glob("toy-*")
        written.append([(folder / file).read_bytes() for file in ("predictions.csv", "log.csv")])
    assert written[0] == written[1] == written[2]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are listed by Linux")
@pytest.mark.usefixtures("small_grids")
def test_processes_that_grew_forests_do_not_outlive_the_baseline(tmp_path, monkeypatch):
    def left() -> list[str]:
        words = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        lines = [Path(f"/proc/{word}/cmdline").read_bytes().decode() for word in words]
        return [line for line in lines if "LokyProcess" in line]

    features, manifest = corpus()
    with monkeypatch.context() as changed:
        changed.setattr(running, "end_processes", lambda: None)
        baseline(features, manifest, chosen("rf", jobs=2), tmp_path / "kept")
        assert left()
    baseline(features, manifest, chosen("rf", jobs=2), tmp_path / "ended")
    assert not left()


@pytest.mark.usefixtures("small_grids")
def test_a_search_is_told_as_it_goes_and_ends_where_it_said(tmp_path):
    features, manifest = corpus()
    seen = []
    baseline(features, manifest, chosen("svm", "knn", jobs=2), tmp_path, seen.append)
    # Three outer folds; four speakers are left for inner folds, one each, and the best is trained once more.
    assert seen[-1].done == seen[-1].total == 3 * (8 * 4 + 1) + 3 * (6 * 4 + 1)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert {one.what.split(",")[0] for one in seen} == {"svm", "knn"}


@pytest.mark.usefixtures("small_grids")
def test_a_search_tells_layer_and_seed_where_there_are_several_and_frames_that_are_read(tmp_path):
    features, manifest = corpus()
    seen = []
    options = chosen("rf", "knn", protocol="wang2023", layers=(1, 2), seeds=(0, 1))
    options = replace(options, protocol=options.protocol.changed(functionals=("mean", "p90")))
    baseline(features, manifest, options, tmp_path, seen.append)
    told = list(dict.fromkeys(one.what for one in seen if "frames" not in one.what))
    assert told == [
        *("rf, layer 1, seed 0", "rf, layer 1, seed 1", "knn, layer 1"),
        *("rf, layer 2, seed 0", "rf, layer 2, seed 1", "knn, layer 2"),
    ]
    frames = [one.what for one in seen if "frames" in one.what]
    assert frames[0] == "frames of 1/72"
    assert frames.count("frames of 72/72") == 2  # once a layer, for both classifiers
    assert [one.done for one in seen] == sorted(one.done for one in seen)


@pytest.mark.usefixtures("small_grids")
def test_a_run_is_reused_until_labels_change_or_it_is_forced(tmp_path):
    features, manifest = corpus()
    options = chosen("knn")
    (first,) = baseline(features, manifest, options, tmp_path)
    (again,) = baseline(features, manifest, replace(options, jobs=2), tmp_path)
    assert (first.reused, again.reused) == (False, True)
    assert again.folder == first.folder
    (forced,) = baseline(features, manifest, replace(options, force=True), tmp_path)
    assert not forced.reused
    other = [replace(u, emotion="fear" if u.id == "s0-anger-0" else u.emotion) for u in manifest.utterances]
    (stale,) = baseline(features, Manifest("toy", tuple(other)), options, tmp_path)
    assert "used another manifest" in stale.warnings[-1]


@pytest.mark.usefixtures("small_grids")
def test_seeds_are_for_forests_and_layers_a_run_each(tmp_path):
    features, manifest = corpus()
    options = chosen("rf", "knn", protocol="wang2023", layers=(1, 2), seeds=(0, 1))
    made = baseline(features, manifest, options, tmp_path)
    assert [(one.head, one.layers, one.seeds) for one in made] == [
        ("rf", (1,), 2),
        ("knn", (1,), 1),
        ("rf", (2,), 2),
        ("knn", (2,), 1),
    ]
    with pytest.raises(TrainingError, match=re.escape("has no layer 7; cached are 0, 1, 2")):
        baseline(features, manifest, replace(options, layers=(7,)), tmp_path)


@pytest.mark.usefixtures("small_grids")
def test_solvers_that_were_stopped_are_told_also_when_reused(tmp_path):
    features, manifest = corpus()
    options = chosen("svm", protocol="classical")
    options = replace(options, protocol=options.protocol.changed(max_iterations=2))
    for _ in range(2):
        (summary,) = baseline(features, manifest, options, tmp_path)
        assert summary.warnings[-1] == (
            "svm: 8 of 8 candidates were stopped at 2 iterations (--max-iterations); "
            "one of them was chosen in 3 of 3 searches"
        )
    with (summary.folder / "log.csv").open() as handle:
        assert {row["stopped"] for row in csv.DictReader(handle)} == {"4"}


@pytest.mark.usefixtures("small_grids")
def test_predicting_with_a_baseline_and_a_damaged_grid_are_one_line(tmp_path):
    features, manifest = corpus()
    (summary,) = baseline(features, manifest, chosen("knn"), tmp_path)
    run = find_run(tmp_path, summary.folder.name)
    with pytest.raises(ResultsError, match="is a baseline, and knn models are not kept"):
        require_models(run)
    (summary.folder / "grid_search.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"damaged \(grid_search.json has 2 bytes"):
        read_grid_search(run)
