"""Two runs compared: against plain loops and SciPy, under simulated speakers, or refused in one line."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import f1_score
from small_runs import CLASSES, Entry, small_config

from ser_cache.comparison import ComparisonOptions, compare_runs
from ser_cache.errors import ResultsError
from ser_cache.paired import mcnemar, paired_bootstrap
from ser_cache.results import (
    HEADLINE,
    FoldPredictions,
    RunData,
    TrainedModel,
    read_run,
    write_run,
)
from ser_cache.splits import Split

QUICK = ComparisonOptions(draws=400)


def corpus(speakers=5, each=12):
    """Ids with their speaker and their truth."""
    rng = np.random.default_rng(0)
    return {
        f"s{s}-{n}": (f"s{s}", int(truth))
        for s in range(speakers)
        for n, truth in enumerate(rng.integers(0, 3, each))
    }


def run_of(folder, rows, skill=0.5, number=1, **changes):
    """A run whose models are right about as often as ``skill`` says; one fold a speaker."""
    made = small_config(**changes)
    models = []
    for seed in made.seeds:
        rng = np.random.default_rng([number, seed])
        for speaker in sorted({speaker for speaker, _ in rows.values()}):
            ids = tuple(name for name, (who, _) in rows.items() if who == speaker)
            truth = np.array([rows[name][1] for name in ids])
            scores = rng.dirichlet(np.ones(3), len(ids)) + skill * np.eye(3)[truth]
            part = FoldPredictions(speaker, seed, ids, (speaker,) * len(ids), truth, scores / (1 + skill))
            models.append(TrainedModel(part, 1, (Entry(1, 0.5),), {"w": np.zeros(1, np.float32)}, None))
    splits = [Split("all", train=("x",), validation=("y",), test=tuple(rows), speaker_disjoint=True)]
    return write_run(folder, made, splits, models, {"torch": "2"})


@pytest.fixture
def pair(tmp_path):
    rows = corpus()
    return run_of(tmp_path, rows), run_of(tmp_path, rows, 0.8, number=2, head="multilayer", seeds=(0, 1, 2))


def predictions_of(run):
    with (run.folder / "predictions.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def rewrite(run, change):
    """Change the rows of a run's predictions, None drops one; the run becomes one that lists no hashes."""
    rows = [changed for row in predictions_of(run) if (changed := change(dict(row))) is not None]
    with (run.folder / "predictions.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (run.folder / "files.json").unlink(missing_ok=True)
    return read_run(run.folder)


def test_scores_are_those_of_the_runs_and_in_their_order(pair):
    first, second = pair
    found = compare_runs(first, second, QUICK)
    assert tuple(row.score for row in found.differences) == HEADLINE
    for row in found.differences:
        assert row.first == pytest.approx(first.metrics["pooled"]["mean"][row.score])
        assert row.second == pytest.approx(second.metrics["pooled"]["mean"][row.score])
        assert row.difference == pytest.approx(row.second - row.first)
        assert row.low < row.difference < row.high
        assert (row.p < 0.05) == (row.low > 0 or row.high < 0)
    assert (found.utterances, found.speakers, found.drawn, found.seeds) == (60, 5, "speakers", (2, 3))
    assert found.left_out == (0, 0)


def test_the_bootstrap_is_the_plain_one_with_students_t(pair):
    """One draw after another, rows of utterances collected speaker by speaker, scikit-learn's macro F1."""
    found = compare_runs(*pair, ComparisonOptions(draws=60, seed=7, level=0.9))
    rows = [predictions_of(run) for run in pair]
    speakers = sorted({row["speaker"] for row in rows[0]})

    def macro(rows, drawn):
        per_seed = []
        for seed in sorted({row["seed"] for row in rows}):
            taken = [r for who in drawn for r in rows if r["seed"] == seed and r["speaker"] == who]
            truth, predicted = [r["truth"] for r in taken], [r["predicted"] for r in taken]
            per_seed.append(
                f1_score(truth, predicted, labels=list(CLASSES), average="macro", zero_division=0)
            )
        return np.mean(per_seed)

    rng = np.random.default_rng(7)
    drawn = []
    for weights in rng.multinomial(5, np.full(5, 1 / 5), size=60):
        names = [speaker for speaker, times in zip(speakers, weights, strict=True) for _ in range(times)]
        drawn.append(macro(rows[1], names) - macro(rows[0], names))
    error = np.std(drawn) * np.sqrt(5 / 4)
    row = found.differences[2]
    assert row.score == "macro_f1"
    assert row.high - row.difference == pytest.approx(stats.t.ppf(0.95, 4) * error)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(row.difference) / error, 4))


def test_the_same_seed_gives_the_same_figures_and_another_nearly(pair):
    one = compare_runs(*pair, QUICK)
    assert compare_runs(*pair, QUICK) == one
    other = compare_runs(*pair, replace(QUICK, seed=1))
    assert other.differences != one.differences
    for mine, theirs in zip(one.differences, other.differences, strict=True):
        assert mine.low == pytest.approx(theirs.low, abs=0.05)


def test_swapping_the_runs_turns_every_sign(pair):
    there, back = compare_runs(*pair, QUICK), compare_runs(*reversed(pair), QUICK)
    for one, other in zip(there.differences, back.differences, strict=True):
        assert (one.difference, one.low, one.high) == pytest.approx(
            (-other.difference, -other.high, -other.low)
        )
        assert one.p == pytest.approx(other.p)
    assert (there.mcnemar.only_first, there.mcnemar.p) == (back.mcnemar.only_second, back.mcnemar.p)


def test_a_difference_of_two_equal_speakers_sizes_does_not_depend_on_batches_of_draws(monkeypatch):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, size=(2, 4, 3, 3))
    other = counts[:, :, :, [1, 0, 2]]
    whole = paired_bootstrap(counts, other, QUICK)
    monkeypatch.setattr("ser_cache.paired._NUMBERS_AT_ONCE", 400)
    assert paired_bootstrap(counts, other, QUICK) == whole


def test_equal_answers_differ_by_nothing():
    counts = np.random.default_rng(0).integers(0, 5, size=(1, 4, 3, 3))
    for row in paired_bootstrap(counts, counts, QUICK):
        assert (row.difference, row.low, row.high, row.p) == (0, None, None, 1)
        assert row.no_interval.startswith("none of the 4 units differs")


def test_a_difference_that_no_speaker_varies_is_as_sure_as_their_number():
    counts = np.tile(np.diag([4, 4]), (1, 5, 1, 1))
    worse = np.tile(np.array([[3, 1], [1, 3]]), (1, 5, 1, 1))
    row = paired_bootstrap(counts, worse, QUICK, "speakers")[1]
    assert (row.difference, row.p, row.low, row.high) == (-0.25, 2 / 2**5, None, None)
    assert row.no_interval == "all 5 speakers differ alike, which does not say how far others would"


@given(
    st.integers(2, 6),
    st.integers(1, 4),
    st.lists(st.integers(1, 9), min_size=3, max_size=6),
    st.integers(0, 9),
)
def test_units_of_any_size_that_differ_alike_give_no_interval(right, wrong, sizes, seed):
    """Equal shares of unequal sizes differ by rounding alone, which must not pass for an error."""
    better, worse = np.diag([right + wrong] * 2), np.array([[right, wrong], [wrong, right]])
    first, second = (np.array([[size * one for size in sizes]] * 3) for one in (worse, better))
    for row in paired_bootstrap(first, second, ComparisonOptions(draws=50, seed=seed)):
        assert (row.low, row.high, row.p) == (None, None, 2.0 ** (1 - len(sizes)))


@given(arrays(np.int64, (2, 4, 2, 2), elements=st.integers(1, 4)), st.floats(0.5, 0.99))
def test_p_is_below_one_less_the_level_exactly_where_the_interval_leaves_out_0(counts, level):
    for row in paired_bootstrap(counts[:1], counts[1:], ComparisonOptions(draws=40, level=level)):
        if row.low is None:
            assert row.no_interval
        else:
            assert row.low < row.high
            assert (row.p < 1 - level) == (row.low > 0 or row.high < 0)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0, 0), (3, 0), (2, 9), (7, 7), (60, 35), (400, 300)]
)
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True] * 5 + [False] * 4)
    second = np.array([False] * only_first + [True] * only_second + [True] * 5 + [False] * 4)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.both, found.neither) == (only_first, only_second, 5, 4)
    discordant = only_first + only_second
    expected = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert found.p == pytest.approx(expected)


def test_mcnemar_takes_the_mean_scores_over_seeds(pair):
    found = compare_runs(*pair, QUICK)
    right = []
    for run in pair:
        scores: dict[str, np.ndarray] = {}
        truth = {}
        for row in predictions_of(run):
            mine = np.array([float(row[f"score:{name}"]) for name in CLASSES])
            scores[row["id"]] = scores.get(row["id"], 0) + mine
            truth[row["id"]] = row["truth"]
        right.append({name: CLASSES[int(total.argmax())] == truth[name] for name, total in scores.items()})
    assert found.mcnemar.only_first == sum(right[0][name] and not right[1][name] for name in right[0])
    assert found.mcnemar.only_second == sum(right[1][name] and not right[0][name] for name in right[0])
    assert any("highest mean probability" in note for note in found.notes)


def test_with_one_seed_mcnemar_takes_the_prediction_as_stored(tmp_path):
    rows = corpus()
    first = run_of(tmp_path, rows, seeds=(0,))
    second = run_of(tmp_path, rows, 0.9, number=2, seeds=(1,))
    tied = dict.fromkeys((f"score:{name}" for name in CLASSES), "0.333333")
    second = rewrite(second, lambda row: row | tied)
    found = compare_runs(first, second, QUICK).mcnemar
    right = [
        {r["id"] for r in predictions_of(run) if r["truth"] == r["predicted"]} for run in (first, second)
    ]
    assert (found.only_first, found.only_second) == (len(right[0] - right[1]), len(right[1] - right[0]))
    assert not any("seeds" in note for note in compare_runs(first, second, QUICK).notes)


def test_only_common_utterances_are_compared_and_the_others_counted(tmp_path):
    rows = corpus()
    fewer = {name: row for name, row in rows.items() if name not in {"s0-0", "s1-3", "s4-11"}}
    first, second = run_of(tmp_path, rows), run_of(tmp_path, fewer, number=2, head="nonlinear")
    found = compare_runs(first, second, QUICK)
    assert (found.utterances, found.left_out) == (57, (3, 0))
    assert found.tested == (60, 57)
    (caution,) = found.cautions
    assert caution == (
        "only 57 utterances are compared, those that both runs tested: 95% of the 60 of the first run, all "
        "57 of the second; the scores of the whole runs are others"
    )
    splits = json.loads((first.folder / "splits.json").read_text())
    splits["folds"][0]["test"] = list(fewer)
    (first.folder / "splits.json").write_text(json.dumps(splits))
    kept = rewrite(first, lambda row: row if row["id"] in fewer else None)
    assert compare_runs(kept, second, QUICK).differences == found.differences


@pytest.mark.parametrize("speakers", [1, 2])
def test_under_three_speakers_utterances_are_drawn_and_that_is_said(tmp_path, speakers):
    rows = corpus(speakers, each=40)
    found = compare_runs(run_of(tmp_path, rows), run_of(tmp_path, rows, number=2, head="nonlinear"), QUICK)
    assert (found.drawn, found.speakers) == ("utterances", speakers)
    assert any(f"only {speakers} test speaker" in note and "too narrow" in note for note in found.notes)


def test_classes_are_matched_by_name(tmp_path):
    """A run that knows fewer emotions, on the utterances of these."""
    rows = {name: row for name, row in corpus().items() if row[1] < 2}
    first = run_of(tmp_path, rows)
    second = run_of(tmp_path, rows, number=1, classes=("anger", "fear", "sadness"))
    found = compare_runs(first, second, QUICK)
    assert found.differences[1].first == pytest.approx(found.differences[1].second)
    assert [change.setting for change in found.changes] == ["classes"]
    assert found.cautions[0].startswith(
        "the runs have different classes: anger, fear, neutral in the first, anger, fear, sadness in the"
    )
    assert [caution.partition(";")[0] for caution in found.cautions[1:]] == [
        "the first run could also answer neutral, which no common utterance is",
        "the second run could also answer sadness, which no common utterance is",
    ]
    assert found.cautions[0].endswith("only utterances of anger, fear are compared")
    alike = run_of(tmp_path, rows, backbone="whisper-small")
    assert compare_runs(first, alike, QUICK).cautions == ()


def test_emotions_that_were_taken_together_are_one_setting(tmp_path):
    rows = {name: row for name, row in corpus().items() if row[1] < 2}
    first = run_of(tmp_path, rows, emotions={"anger": ("anger",), "fear": ("fear",)})
    second = run_of(tmp_path, rows, number=1, emotions={"anger": ("anger",), "fear": ("fear", "worry")})
    (change,) = compare_runs(first, second, QUICK).changes
    assert (change.setting, change.first, change.second) == ("emotions", "each a class", "fear=fear+worry")
    assert compare_runs(first, second, QUICK).cautions == (
        "fear is made of other emotions in one run than in the other (--emotions)",
    )


def test_what_differs_is_named_plainly(tmp_path):
    rows = corpus()
    settings = {"learning_rate": 0.0005, "epochs": 30}
    first = run_of(tmp_path, rows, protocol={"name": "dasaro2024", "training": settings})
    protocol = {"name": "ser", "training": settings | {"learning_rate": 0.001}}
    second = run_of(
        tmp_path,
        rows,
        number=2,
        backbone="whisper-small",
        layers=(12,),
        split={"kind": "folds", "folds": 5},
        protocol=protocol,
        data=RunData("0" * 64, "e" * 64, "0" * 64),
    )
    (caution,) = compare_runs(first, second, QUICK).cautions
    assert caution.startswith(
        "the runs divide the corpus differently (loso in the first run, 5 folds in the second): what differs"
    )
    changes = {c.setting: (c.first, c.second) for c in compare_runs(first, second, QUICK).changes}
    assert changes == {
        "backbone": ("whisper-base", "whisper-small"),
        "layers": ([2], [12]),
        "split": ("loso", "folds"),
        "split folds": (None, 5),
        "protocol": ("dasaro2024", "ser"),
        "learning rate": (0.0005, 0.001),
    }


def test_what_only_a_probe_or_one_classifier_can_have_is_not_listed_beside_another(tmp_path):
    rows = corpus()
    trained = {"name": "dasaro2024", "standardise": "none", "training": {"epochs": 30, "select": "macro_f1"}}
    shared = {"name": "classical", "standardise": "training side", "select": "macro_f1"}
    svm = shared | {"inner": {"folds": 5}, "classifier": "support vector machine", "grid": {"C": [1]}}
    knn = shared | {
        "inner": {"folds": 4},
        "classifier": "nearest neighbours",
        "grid": {"weights": ["uniform"]},
    }
    probe = run_of(tmp_path, rows, protocol=trained)
    first = run_of(tmp_path, rows, number=2, head="svm", protocol=svm)
    second = run_of(tmp_path, rows, number=3, head="knn", protocol=knn)
    assert [change.setting for change in compare_runs(probe, first, QUICK).changes] == [
        "head",
        "protocol",
        "standardise",
    ]
    changes = {c.setting: (c.first, c.second) for c in compare_runs(first, second, QUICK).changes}
    assert changes == {"head": ("svm", "knn"), "inner folds": (5, 4)}


def test_runs_on_different_data_are_said_to_be_and_which_is_the_older(tmp_path):
    rows = corpus()
    first = run_of(tmp_path, rows)
    third = run_of(tmp_path, rows, number=3, data=RunData("1" * 64, "0" * 64, "d" * 64))
    first = replace(first, environment={"written": "2026-01-01T00:00:00+00:00"})
    found = compare_runs(first, third, QUICK)
    assert [change.setting for change in found.changes] == ["cached features", "labels or audio"]
    assert "from different data (cached features, labels or audio)" in found.cautions[0]
    assert found.cautions[0].endswith("the first is the older")
    assert compare_runs(third, first, QUICK).cautions[0].endswith("the second is the older")


RANDOM = {"kind": "random", "seed": 0, "ratios": [0.8, 0.1, 0.1]}


def knowing_speakers(run):
    """The run with splits that train on speakers who are tested, as an earlier version wrote them."""
    path = run.folder / "splits.json"
    splits = json.loads(path.read_text())
    splits["folds"] = [
        splits["folds"][0] | {"fold": fold, "speaker_disjoint": False, "test": [], "train": ["s0-0", "s1-0"]}
        for fold in sorted({row["fold"] for row in predictions_of(run)})
    ]
    splits["folds"][0]["test"] = list({row["id"]: None for row in predictions_of(run)})
    path.write_text(json.dumps(splits))
    (run.folder / "files.json").unlink()
    return run


def test_a_run_that_knows_the_speakers_it_tests_is_said_to_or_refused(tmp_path):
    rows = corpus()
    apart = run_of(tmp_path, rows)
    knowing = knowing_speakers(run_of(tmp_path, rows, number=2, split=RANDOM))
    for pair, which in (((apart, knowing), "second"), ((knowing, apart), "first")):
        (caution,) = compare_runs(*pair, QUICK).cautions
        assert f"the {which} was trained on speakers that it tests, which makes its score too high" in caution
        assert "loso in the" in caution
        assert "random in the" in caution
    other = knowing_speakers(run_of(tmp_path, rows, number=2, split=RANDOM, head="nonlinear"))
    with pytest.raises(ResultsError) as caught:
        compare_runs(apart, other, QUICK)
    assert "was trained on speakers that it tests (random)" in str(caught.value)
    assert "head differs too" in str(caught.value)
    assert compare_runs(knowing, other, QUICK).cautions == (), "both know them"


def test_speakers_that_only_validation_shares_are_not_known(tmp_path):
    rows = corpus()
    column = run_of(tmp_path, rows, number=2, split={"kind": "column"}, head="nonlinear")
    path = column.folder / "splits.json"
    splits = json.loads(path.read_text())
    folds = sorted({who for who, _ in rows.values()})
    splits["folds"] = [
        splits["folds"][0]
        | {
            "fold": fold,
            "speaker_disjoint": False,
            "train": [id_ for id_, (who, _) in rows.items() if who != fold],
            "test": [id_ for id_, (who, _) in rows.items() if who == fold],
        }
        for fold in folds
    ]
    path.write_text(json.dumps(splits))
    (column.folder / "files.json").unlink()
    (caution,) = compare_runs(run_of(tmp_path, rows), column, QUICK).cautions
    assert "who, and how many, they were trained on" in caution


def test_utterances_of_one_class_are_refused(tmp_path):
    rows = corpus()
    anger = {name: row for name, row in rows.items() if row[1] == 0}
    with pytest.raises(ResultsError, match=r"utterances that both tested are all anger"):
        compare_runs(run_of(tmp_path, rows), run_of(tmp_path, anger, number=2, head="nonlinear"), QUICK)


def other_truth(row):
    return row | {"truth": "fear" if row["truth"] != "fear" else "anger"} if row["id"] == "s2-4" else row


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_truth, "the truth of 's2-4' is"),
        (lambda row: row | {"speaker": "someone"} if row["id"] == "s2-4" else row, "by speaker 's2'"),
        (lambda row: row | {"id": "new-" + row["id"]}, "no utterance in common"),
        (
            lambda row: row | ({} if row["id"] == "s2-4" else {"id": "new-" + row["id"]}),
            "one utterance only in common",
        ),
        (lambda row: None if (row["id"], row["seed"]) == ("s2-4", "1") else row, "has 179 rows"),
        (lambda row: row | ({"seed": "7"} if (row["id"], row["seed"]) == ("s2-4", "1") else {}), "not every"),
        (lambda row: row | ({"predicted": "joy"} if row["id"] == "s2-4" else {}), "'s2-4' cannot be read"),
        (lambda row: row | ({"score:fear": "?"} if row["id"] == "s2-4" else {}), "'s2-4' cannot be read"),
        (lambda row: row | ({"id": "s2-5"} if row["id"] == "s2-4" else {}), "'s2-5' in more than one fold"),
    ],
)
def test_what_cannot_be_compared_gets_one_line(pair, change, says):
    first, second = pair
    with pytest.raises(ResultsError) as caught:
        compare_runs(first, rewrite(second, change), QUICK)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_corpora_and_one_run_twice_are_refused(tmp_path, pair):
    elsewhere = run_of(tmp_path, corpus(), corpus="ravdess")
    with pytest.raises(ResultsError, match="different corpora, emovo and ravdess"):
        compare_runs(pair[0], elsewhere)
    with pytest.raises(ResultsError, match="named twice"):
        compare_runs(pair[0], read_run(pair[0].folder))


def draw(rng, speakers, gain):
    """Counts of two runs, the second better by ``gain`` for the average speaker, in a way speakers vary."""
    own = rng.normal(0, 0.8, size=(speakers, 1, 1))
    taste = rng.normal(0, 0.5, size=(speakers, 1, 1))
    sides = []
    for more in (0, gain + taste):
        right = rng.binomial(15, 1 / (1 + np.exp(-(0.4 + own + more))), size=(speakers, 2, 1))
        sides.append(np.concatenate([right, 15 - right], axis=2))
    first, second = sides
    for side in sides:
        side[:, 1] = side[:, 1, ::-1]
    return first[None], second[None]


@pytest.mark.parametrize("speakers", [5, 24])
def test_where_two_runs_are_alike_one_in_twenty_comparisons_finds_a_difference(speakers):
    """Utterances taken as independent find one far more often, because speakers differ in what suits them."""
    rng = np.random.default_rng(5)
    by_speaker = by_utterance = 0
    for _ in range(300):
        first, second = draw(rng, speakers, 0.0)
        by_speaker += paired_bootstrap(first, second, ComparisonOptions(draws=200))[1].p < 0.05
        only_first = np.maximum(first[0] - second[0], 0)[:, [0, 1], [0, 1]].sum()
        only_second = np.maximum(second[0] - first[0], 0)[:, [0, 1], [0, 1]].sum()
        pairs = np.arange(only_first + only_second) < only_first
        by_utterance += mcnemar(pairs, ~pairs).p < 0.05
    assert by_speaker / 300 < 0.10
    assert by_utterance / 300 > 0.15
