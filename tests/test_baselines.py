"""Classical classifiers: against scikit-learn one by one, and what a run of them promises."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import Features, utterances
from scipy.stats import binomtest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, PredefinedSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_cache.baselines import (
    CLASSIFIERS,
    BaselineOptions,
    BaselineProtocol,
    baseline,
    kept,
    protocol_named,
    running,
)
from ser_cache.baselines import classifiers as classifiers_module
from ser_cache.baselines.classifiers import Effort, Sides, kernel_matrix
from ser_cache.baselines.grid_search import search_grid
from ser_cache.baselines.inner_folds import inner_folds
from ser_cache.errors import ResultsError, SerCacheError, TrainingError
from ser_cache.manifest import Manifest
from ser_cache.restoring import require_models
from ser_cache.results import find_run, read_grid_search, read_predictions, read_run
from ser_cache.splits import SplitOptions, make_splits

SMALL = {
    "svm": {"C": (0.1, 10), "gamma": (0.1, 0.01), "kernel": ("rbf", "poly")},
    "rf": {
        "n_estimators": (2, 5),
        "max_depth": (20,),
        "min_samples_split": (2, 5),
        "min_samples_leaf": (1, 4),
    },
    "knn": {"n_neighbors": (1, 3, 8), "weights": ("uniform", "distance")},
    "logreg": {"C": (0.01, 1)},
}
"""Grids that take a second."""
THEIRS = {
    "svm": SVC(break_ties=True),
    "rf": RandomForestClassifier(random_state=0),
    "knn": KNeighborsClassifier(),
    "logreg": LogisticRegression(max_iter=100_000),
}
PROTOCOLS = {
    "classical": SplitOptions("folds", folds=3),
    "wang2023": SplitOptions("random", ratios=(0.6, 0.1, 0.3)),
}


@pytest.fixture
def small(monkeypatch):
    for name, grid in SMALL.items():
        monkeypatch.setitem(CLASSIFIERS, name, replace(CLASSIFIERS[name], grid=grid))


def corpus(speakers=6, each=4, **changes):
    """A manifest and features of three emotions."""
    manifest = Manifest("toy", utterances(speakers, each))
    return Features(manifest.utterances, **{"noise": 2.0, **changes}), manifest


def chosen(*classifiers, protocol="classical", **changes):
    values = {
        "classifiers": classifiers,
        "split": PROTOCOLS[protocol],
        "protocol": protocol_named(protocol),
        **changes,
    }
    return BaselineOptions(**values)


def sides(classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 90)
    points = rng.normal(size=(classes, 5))[labels] + rng.normal(size=(90, 5))
    return Sides(points[:60], labels[:60], points[60:], classes)


def test_the_grids_are_those_of_the_study():
    assert CLASSIFIERS["rf"].grid == {
        "n_estimators": (100, 200, 300),
        "max_depth": (10, 20),
        "min_samples_split": (2, 5, 10),
        "min_samples_leaf": (1, 2, 4),
    }
    assert CLASSIFIERS["svm"].grid == {
        "C": (0.1, 1, 10, 100),
        "gamma": (1, 0.1, 0.01, 0.001),
        "kernel": ("rbf", "poly", "sigmoid"),
    }
    followed = protocol_named("wang2023")
    assert (followed.folds, followed.inner, followed.select) == (5, "stratified", "accuracy")
    assert followed.ratios[0] + followed.ratios[1] == pytest.approx(0.7)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_candidates_come_in_the_order_of_scikit_learn(name):
    grid = CLASSIFIERS[name].grid
    theirs = list(ParameterGrid({key: list(values) for key, values in grid.items()}))
    assert CLASSIFIERS[name].candidates == theirs


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small")
def test_candidates_that_share_work_score_as_they_do_alone(name, classes):
    kind, data = CLASSIFIERS[name], sides(classes)
    for candidate in kind.candidates:
        fixed = {key: value for key, value in candidate.items() if key != kind.shared}
        values = kind.grid[kind.shared]
        outcomes = kind.evaluate(data, fixed, values, Effort(0, 100_000, threads=2))
        alone = type(THEIRS[name])(**{**THEIRS[name].get_params(), **candidate})
        alone.fit(data.train, data.labels)
        ours = outcomes[values.index(candidate[kind.shared])]
        if name == "svm":
            theirs = alone.decision_function(data.test)
            theirs = np.stack([-theirs, theirs], axis=1) if classes == 2 else theirs
            # The kernel is summed in another order, and the solver stops within its tolerance of 1e-3.
            np.testing.assert_allclose(ours.scores, theirs, atol=2e-3)
        else:
            np.testing.assert_array_equal(ours.scores, alone.predict_proba(data.test))
        np.testing.assert_array_equal(ours.scores.argmax(axis=1), alone.predict(data.test))
        assert not ours.stopped


@pytest.mark.parametrize("kernel", CLASSIFIERS["svm"].grid["kernel"])
def test_kernels_are_those_of_scikit_learn(kernel):
    from sklearn.metrics.pairwise import pairwise_kernels

    data, settings_ = sides(), {"gamma": 0.3}
    if kernel != "rbf":
        settings_["coef0"] = 0
    theirs = pairwise_kernels(data.test, data.train, metric=kernel, **settings_)
    np.testing.assert_allclose(kernel_matrix(data.test, data.train, kernel, 0.3), theirs, atol=1e-12)


@pytest.mark.usefixtures("small")
def test_a_kernel_too_large_to_hold_changes_no_prediction(monkeypatch):
    kind, data = CLASSIFIERS["svm"], sides()
    fixed = {"kernel": "rbf", "gamma": 0.1}
    whole = kind.evaluate(data, fixed, (0.1, 10), Effort())
    monkeypatch.setattr(classifiers_module, "LARGEST_KERNEL", 10)
    rows = kind.evaluate(data, fixed, (0.1, 10), Effort())
    for one, other in zip(whole, rows, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=2e-3)
        np.testing.assert_array_equal(one.scores.argmax(axis=1), other.scores.argmax(axis=1))


def test_forests_that_are_grown_once_are_equal():
    data, settled = sides(), CLASSIFIERS["rf"].settled
    params = [{"min_samples_leaf": 4, "min_samples_split": split, "max_depth": 10} for split in (2, 5, 10)]
    assert settled(params[0]) == settled(params[1]) != settled(params[2])
    forests = [
        RandomForestClassifier(20, random_state=0, **one).fit(data.train, data.labels) for one in params[:2]
    ]
    np.testing.assert_array_equal(*(forest.predict_proba(data.test) for forest in forests))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small")
def test_a_run_is_what_scikit_learn_gives_for_the_same_protocol(name, protocol, tmp_path):
    features, manifest = corpus()
    options = chosen(name, protocol=protocol)
    (summary,) = baseline(features, manifest, options, tmp_path)
    run = read_run(summary.folder)
    told = {(row["fold"], row["id"]): row["predicted"] for row in read_predictions(run)}
    grid = read_grid_search(run)
    points = dict(zip(features.ids, features.mean(2).astype(np.float64), strict=True))
    by_id = {utterance.id: utterance for utterance in manifest.utterances}
    for split, search in zip(make_splits(manifest.utterances, options.split), grid.searches, strict=True):
        inside = sorted((*split.train, *split.validation))
        fold_of, _ = inner_folds([by_id[id_] for id_ in inside], options.protocol.inner, 5, 0)
        steps = make_pipeline(StandardScaler(), THEIRS[name])
        step = type(THEIRS[name]).__name__.lower()
        theirs = GridSearchCV(
            steps,
            {f"{step}__{key}": list(values) for key, values in SMALL[name].items()},
            cv=PredefinedSplit(fold_of),
            scoring={"accuracy": "accuracy", "macro_f1": "f1_macro"}[options.protocol.select],
        )
        theirs.fit([points[id_] for id_ in inside], [by_id[id_].emotion for id_ in inside])
        scores = [theirs.cv_results_[f"split{fold}_test_score"] for fold in range(fold_of.max() + 1)]
        np.testing.assert_allclose(search.scores, np.transpose(scores), atol=1e-12)
        assert {f"{step}__{k}": v for k, v in grid.candidates[search.best].items()} == theirs.best_params_
        predicted = theirs.predict([points[id_] for id_ in split.test])
        assert [told[split.fold, id_] for id_ in split.test] == list(predicted)
    assert len(told) == sum(len(split.test) for split in make_splits(manifest.utterances, options.split))


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small")
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.usefixtures("small")
def test_random_labels_give_chance(protocol, tmp_path):
    features, manifest = corpus(speakers=9, each=12)
    rng = np.random.default_rng(5)
    # Speakers are plain to hear, so that a leak of theirs would show; emotions are drawn.
    for place, utterance in enumerate(manifest.utterances):
        features.states[place] += np.float16(3 * int(utterance.speaker[1:]))
    emotions = rng.choice(manifest.emotions, len(manifest.utterances))
    drawn = [replace(u, emotion=str(e)) for u, e in zip(manifest.utterances, emotions, strict=True)]
    options = chosen("svm", "knn", protocol=protocol)
    for summary in baseline(features, Manifest("toy", tuple(drawn)), options, tmp_path):
        right = round(summary.wa.mean * summary.utterances)
        interval = binomtest(right, summary.utterances).proportion_ci(0.95)
        assert interval.low < 1 / 3 < interval.high


@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
)
@settings(max_examples=15, deadline=None)
def test_inner_folds_hold_whole_speakers_out(counts, folds, seed):
    made = [u for n, many in enumerate(counts) for u in utterances(n + 1, many) if u.speaker == f"s{n}"]
    fold_of, note = inner_folds(made, "speakers", folds, seed)
    speakers = [u.speaker for u in made]
    assert len(set(zip(speakers, fold_of.tolist(), strict=True))) == len(counts)
    assert set(fold_of.tolist()) == set(range(min(folds, len(counts))))
    assert bool(note) is (len(counts) < folds)
    turned, _ = inner_folds(made[::-1], "speakers", folds, seed)
    np.testing.assert_array_equal(turned[::-1], fold_of)


@given(
    counts=st.lists(st.integers(2, 23), min_size=2, max_size=5),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_stratified_inner_folds_share_each_emotion_evenly(counts, folds, seed):
    one = utterances(1, 1)[0]
    made = [
        replace(one, id=f"{e}-{n}", emotion=f"e{e}") for e, many in enumerate(counts) for n in range(many)
    ]
    fold_of, note = inner_folds(made, "stratified", folds, seed)
    made_folds = min(folds, *counts)
    assert bool(note) is (made_folds < folds)
    table = np.zeros((len(counts), made_folds), dtype=int)
    np.add.at(table, ([int(u.emotion[1:]) for u in made], fold_of), 1)
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(axis=0)) <= 1
    turned, _ = inner_folds(made[::-1], "stratified", folds, seed)
    np.testing.assert_array_equal(turned[::-1], fold_of)


@pytest.mark.usefixtures("small")
def test_a_search_is_told_as_it_goes_and_ends_where_it_said(tmp_path):
    features, manifest = corpus()
    seen = []
    baseline(features, manifest, chosen("svm", "knn", jobs=2), tmp_path, seen.append)
    # Three outer folds; four speakers are left for inner folds, one each, and the best is trained once more.
    assert seen[-1].done == seen[-1].total == 3 * (8 * 4 + 1) + 3 * (6 * 4 + 1)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert {one.what.split(",")[0] for one in seen} == {"svm", "knn"}


@pytest.mark.usefixtures("small")
def test_an_interruption_leaves_finished_runs_and_nothing_half(tmp_path):
    features, manifest = corpus()

    def press(progress):
        if progress.what.startswith("svm"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        baseline(features, manifest, chosen("knn", "svm", jobs=2), tmp_path, press)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("toy-whisper-small-knn-")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.usefixtures("small")
def test_finished_folds_of_an_interrupted_run_are_not_searched_again(force, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "WORTH_KEEPING", 0.0)
    features, manifest = corpus()
    options = chosen("svm", force=force)

    def press(progress):
        if progress.what == "svm, fold 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        baseline(features, manifest, options, tmp_path / "a", press)
    searched = []
    monkeypatch.setattr(running, "search_grid", lambda *a: searched.append(1) or search_grid(*a))
    seen = []
    (gone_on,) = baseline(features, manifest, options, tmp_path / "a", seen.append)
    assert len(searched) == 1
    assert seen[-1].done == seen[-1].total
    assert [path.name for path in (tmp_path / "a").iterdir()] == [gone_on.folder.name]
    (undisturbed,) = baseline(features, manifest, options, tmp_path / "b")
    for file in ("predictions.csv", "grid_search.json", "log.csv", "metrics.json"):
        assert (gone_on.folder / file).read_bytes() == (undisturbed.folder / file).read_bytes()


@pytest.mark.parametrize("change", ["code", "content"])
@pytest.mark.usefixtures("small")
def test_folds_that_would_be_made_otherwise_now_are_searched_again(change, tmp_path, monkeypatch):
    config = read_run(baseline(*corpus(), chosen("knn"), tmp_path)[0].folder).config
    place = kept.KeptSearches(tmp_path, config, {"numpy": "2"})
    place.save(0, {"seconds": 5.0, "best": 1})
    assert place.load(0) == {"seconds": 5.0, "best": 1}
    assert place.load(1) is None
    if change == "code":
        monkeypatch.setattr(kept, "source_digest", lambda: "as it was before a change")
        place = kept.KeptSearches(tmp_path, config, {"numpy": "2"})
    else:
        file = place.folder / "0000.json"
        file.write_text(file.read_text().replace('"best": 1', '"best": 2'))
    assert place.load(0) is None


@pytest.mark.usefixtures("small")
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


@pytest.mark.usefixtures("small")
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


def test_solvers_that_were_stopped_are_told_also_when_reused(tmp_path, small):
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


@pytest.mark.usefixtures("small")
def test_an_emotion_that_an_inner_fold_has_not_is_never_predicted_there():
    labels = np.repeat([0, 1, 2], [20, 20, 4])
    points = np.random.default_rng(0).normal(size=(44, 3)) + labels[:, None]
    fold_of = np.tile([0, 1], 22)
    fold_of[40:] = 0  # fold 0 holds out all that there is of class 2
    for name in CLASSIFIERS:
        found = search_grid(CLASSIFIERS[name], points, labels, fold_of, 3, "accuracy", Effort(), 1)
        assert np.isfinite(found.scores).all()
        assert found.scores[:, 0].max() <= 20 / 24


def one_speaker(features, manifest):
    return features, Manifest("toy", tuple(u for u in manifest.utterances if u.speaker == "s0"))


def not_finite(features, manifest):
    features.states[5][2, 0, 3] = np.nan
    return features, manifest


def constant(features, manifest):
    for states in features.states:
        states[:] = 1
    return features, manifest


def one_emotion(features, manifest):
    return features, Manifest("toy", tuple(u for u in manifest.utterances if u.emotion == "fear"))


def one_each(features, manifest):
    seen = {u.emotion: u for u in manifest.utterances}
    return features, Manifest("toy", tuple(seen.values()))


def few_of_one(features, manifest):
    fear = [u for u in manifest.utterances if u.emotion == "fear"]
    return features, Manifest("toy", tuple(u for u in manifest.utterances if u not in fear[2:]))


def three_speakers(features, manifest):
    kept = {"s0", "s1", "s2"}
    fear = {"s0"}
    return features, Manifest(
        "toy",
        tuple(
            u
            for u in manifest.utterances
            if u.speaker in kept and (u.emotion == "anger" or u.speaker in fear)
        ),
    )


@pytest.mark.parametrize(
    ("spoil", "protocol", "told"),
    [
        (one_speaker, "classical", "needs at least 3 speakers, and there are 1 (s0)"),
        (not_finite, "classical", "s0-fear-1 have values that are not finite"),
        (constant, "wang2023", "all 72 utterances have the same features, which tell no emotions apart"),
        (one_emotion, "wang2023", "toy has the one emotion fear"),
        (one_each, "wang2023", "no utterance is left for the validation side"),
        (few_of_one, "wang2023", "2 inner folds instead of 5: fear has no more utterances to train on"),
        (three_speakers, "classical", "has no training utterance of fear, neutral"),
    ],
)
@pytest.mark.usefixtures("small")
def test_a_corpus_too_poor_is_one_line(spoil, protocol, told, tmp_path):
    features, manifest = spoil(*corpus())
    known = {u.id for u in manifest.utterances}
    kept = [place for place, id_ in enumerate(features.ids) if id_ in known]
    features.ids = tuple(features.ids[place] for place in kept)
    features.states = [features.states[place] for place in kept]
    try:
        (summary,) = baseline(features, manifest, chosen("knn", protocol=protocol), tmp_path)
    except SerCacheError as error:
        lines = [str(error)]
        assert not list(tmp_path.iterdir())
    else:
        lines = list(summary.warnings)
    assert any(told in line for line in lines), lines
    assert all("\n" not in line for line in lines)


def test_inner_folds_that_cannot_be_are_one_line():
    one = utterances(1, 3)
    with pytest.raises(TrainingError, match="s0 is the only speaker to train on"):
        inner_folds(one, "speakers", 5, 0)
    with pytest.raises(TrainingError, match="fear has 1 utterance to train on"):
        inner_folds([u for u in one if u.id not in ("s0-fear-0", "s0-fear-1")], "stratified", 5, 0)
    apart = [u for u in utterances(2, 3) if (u.emotion == "anger") is (u.speaker == "s0")]
    with pytest.raises(TrainingError, match="its inner fold 0 the training side has one emotion, neutral"):
        inner_folds([u for u in apart if u.emotion != "fear"], "speakers", 5, 0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folds": 1}, "1 inner fold is too few"),
        ({"select": "f2"}, "unknown selection score 'f2'"),
        ({"inner": "by moon"}, "unknown way of making inner folds 'by moon'"),
        ({"functionals": ("mode",)}, "unknown functional 'mode'"),
        ({"max_iterations": 0}, "--max-iterations takes a whole number from 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, told):
    with pytest.raises(SerCacheError, match=re.escape(told)):
        BaselineProtocol("x", "y", **changes)


def test_a_changed_protocol_says_so_in_its_name():
    protocol = protocol_named("classical")
    changed = protocol.changed(functionals=("mean", "std"), folds=3, max_iterations=None)
    assert changed.name == "classical but folds 3, functionals mean std, max iterations none"
    assert protocol.changed(folds=5, select="macro_f1") == protocol


@pytest.mark.usefixtures("small")
def test_predicting_with_a_baseline_and_a_damaged_grid_are_one_line(tmp_path):
    features, manifest = corpus()
    (summary,) = baseline(features, manifest, chosen("knn"), tmp_path)
    run = find_run(tmp_path, summary.folder.name)
    with pytest.raises(ResultsError, match="is a baseline, and knn models are not kept"):
        require_models(run)
    (summary.folder / "grid_search.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"damaged \(grid_search.json has 2 bytes"):
        read_grid_search(run)
