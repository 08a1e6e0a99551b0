"""What a protocol promises: scikit-learn's own results, and nothing of a test side in what is trained."""

import re
from dataclasses import replace

import numpy as np
import pytest
from made_up_features import EMOTIONS, WIDTH
from scipy.stats import binomtest
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_baselines import PROTOCOLS, SMALL, THEIRS, chosen, corpus

from ser_cache.baselines import CLASSIFIERS, BaselineProtocol, baseline, one_run, protocol_named, running
from ser_cache.baselines.inner_folds import inner_folds
from ser_cache.errors import SerCacheError
from ser_cache.manifest import Manifest
from ser_cache.results import read_grid_search, read_predictions, read_run
from ser_cache.splits import make_splits


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small_grids")
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
        fold_of = inner_folds([by_id[id_] for id_ in inside], options.protocol.inner, 5, 0)
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


def random_emotions():
    """A corpus in which speakers are plain to hear, and emotions are drawn."""
    features, manifest = corpus(speakers=9, each=12)
    rng = np.random.default_rng(5)
    for place, utterance in enumerate(manifest.utterances):
        features.states[place] += np.float16(3 * int(utterance.speaker[1:]))
    emotions = rng.choice(manifest.emotions, len(manifest.utterances))
    drawn = [replace(u, emotion=str(e)) for u, e in zip(manifest.utterances, emotions, strict=True)]
    return features, Manifest("toy", tuple(drawn))


def holds_chance(summary):
    """Whether the confidence interval of the accuracy holds one third."""
    right = round(summary.wa.mean * summary.utterances)
    interval = binomtest(right, summary.utterances).proportion_ci(0.95)
    return interval.low < 1 / 3 < interval.high


@pytest.fixture
def memorising(monkeypatch, small_grids):
    """Classifiers that know what they were trained on by heart, whichever candidate is chosen."""
    grid = {"n_neighbors": (1, 8), "weights": ("distance",)}
    monkeypatch.setitem(CLASSIFIERS, "knn", replace(CLASSIFIERS["knn"], grid=grid))
    return "knn", "rf"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_labels_give_chance(protocol, tmp_path, memorising):
    made = baseline(*random_emotions(), chosen("svm", *memorising, protocol=protocol), tmp_path)
    assert [holds_chance(summary) for summary in made] == [True, True, True]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_labels_give_more_than_chance_where_the_test_side_leaks(
    protocol, tmp_path, monkeypatch, memorising
):
    for module in (one_run, running):
        monkeypatch.setattr(module, "TRAINED_ON", ("train", "validation", "test"))
    made = baseline(*random_emotions(), chosen(*memorising, protocol=protocol), tmp_path)
    assert [holds_chance(summary) for summary in made] == [False, False]


@pytest.mark.usefixtures("small_grids")
def test_labels_of_speakers_are_at_chance_only_where_speakers_are_held_out_of_test_and_inner_folds(tmp_path):
    features, manifest = corpus(speakers=18, each=2, noise=1.0)
    voices = 4 * np.random.default_rng(1).normal(size=(18, WIDTH))
    for place, utterance in enumerate(manifest.utterances):
        features.states[place] += voices[int(utterance.speaker[1:])].astype(np.float16)
    labelled = [replace(u, emotion=EMOTIONS[int(u.speaker[1:]) % 3]) for u in manifest.utterances]
    scores = {}
    for protocol in PROTOCOLS:
        (summary,) = baseline(
            features, Manifest("toy", tuple(labelled)), chosen("knn", protocol=protocol), tmp_path
        )
        inner = [
            search.scores[search.best].mean()
            for search in read_grid_search(read_run(summary.folder)).searches
        ]
        scores[protocol] = (summary.wa.mean, np.mean(inner))
    assert max(scores["classical"]) < 0.5
    assert min(scores["wang2023"]) > 0.95


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small_grids")
def test_a_tested_utterance_has_no_part_in_any_other_prediction(name, protocol, tmp_path):
    told = []
    for loudness in (1, 50):
        features, manifest = corpus()
        options = chosen(name, protocol=protocol)
        first = make_splits(manifest.utterances, options.split)[0]
        loud = first.test[0]
        features.states[features.ids.index(loud)] *= np.float16(loudness)
        (summary,) = baseline(features, manifest, options, tmp_path / f"{loudness}")
        run = read_run(summary.folder)
        rows = [row for row in read_predictions(run) if row["fold"] == first.fold]
        search = read_grid_search(run).searches[0]
        told.append(([row for row in rows if row["id"] != loud], search.best, search.scores.tolist()))
        assert len(told[-1][0]) == len(first.test) - 1
    assert told[0] == told[1]


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
