"""Spread and intervals: against a plain re-implementation with SciPy's t, and by simulated coverage."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ser_cache import metrics
from ser_cache.statistics import (
    bootstrap_correction,
    no_interval_reason,
    speaker_interval,
    spread,
    t_quantile,
    t_two_sided,
)

SCORES = (
    metrics.unweighted_average_recall,
    metrics.accuracy,
    metrics.macro_f1,
    metrics.weighted_f1,
)


def test_spread_divides_by_n_minus_one():
    three = spread([0.5, 0.6, 0.7])
    assert (three.mean, three.std, three.count) == (pytest.approx(0.6), pytest.approx(0.1), 3)
    assert spread([0.5]).std is None
    with pytest.raises(ValueError, match="no values"):
        spread([])


def interval_by_hand(confusions, score, level=0.95):
    """Loops over seeds and speakers, and the definitions as printed: CR2, Bell and McCaffrey, Wilson."""
    seeds, speakers = confusions.shape[:2]
    sizes = [int(confusions[0, s].sum()) for s in range(speakers)]
    total = sum(sizes)

    def mean_score(left_out):
        kept = [s for s in range(speakers) if s != left_out]
        return np.mean([score(sum(confusions[seed, s] for s in kept)) for seed in range(seeds)])

    centre = mean_score(None)
    without = [mean_score(s) for s in range(speakers)]
    mean = sum(without) / speakers
    variance = 0.0
    for value, size in zip(without, sizes, strict=True):
        scale = (1 - size / total) / (1 - 1 / speakers)
        variance += (speakers - 1) / speakers * (value - mean) ** 2 * scale
    # Residuals of speakers' means, each with its CR2 weight; the covariance of these when all means have
    # variance 1 gives the degrees of freedom.
    rows = []
    for s in range(speakers):
        weight = sizes[s] / total / np.sqrt(1 - sizes[s] / total)
        rows.append([weight * ((s == other) - sizes[other] / total) for other in range(speakers)])
    covariance = np.array(rows) @ np.array(rows).T
    eigenvalues = np.linalg.eigvalsh(covariance)
    t = stats.t.ppf(0.5 + level / 2, eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    n = centre * (1 - centre) / variance
    middle = (centre + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * np.sqrt(centre * (1 - centre) / n + t**2 / (4 * n**2))
    return middle - half, middle + half


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("speakers", [3, 7])
def test_the_interval_is_what_its_definition_says(score, speakers):
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 6, size=(speakers, 3, 3))
    counts[0] *= 4  # one speaker has much more
    other = counts[:, :, [1, 0, 2]]  # the same truths, answered otherwise by another seed
    confusions = np.stack([counts, other])
    interval = speaker_interval(confusions, score, 0.9)
    assert (interval.low, interval.high) == pytest.approx(interval_by_hand(confusions, score, 0.9))
    assert (interval.speakers, interval.level) == (speakers, 0.9)


counts_of_speakers = st.integers(3, 6).flatmap(
    lambda speakers: arrays(np.int64, (2, speakers, 3, 3), elements=st.integers(0, 4))
)


@settings(max_examples=100, deadline=None)
@given(counts_of_speakers, st.sampled_from(SCORES))
def test_an_interval_holds_its_score_and_stays_within_0_and_1(confusions, score):
    confusions[1] = confusions[0][:, :, [2, 0, 1]]  # every seed answers the same utterances
    interval = speaker_interval(confusions, score)
    if interval is None:
        assert np.sum(confusions[0].sum(axis=(1, 2)) > 0) < 3
        return
    value = np.mean(score(confusions.sum(axis=1)))
    assert 0 <= interval.low <= value <= interval.high <= 1
    assert interval.low < interval.high


def test_speakers_without_an_utterance_are_no_speakers():
    confusions = np.random.default_rng(0).integers(0, 6, size=(1, 5, 3, 3))
    padded = np.concatenate([confusions, np.zeros((1, 3, 3, 3), dtype=np.int64)], axis=1)
    assert speaker_interval(padded, metrics.accuracy) == speaker_interval(confusions, metrics.accuracy)


def test_under_three_speakers_there_is_no_interval_and_a_reason():
    assert speaker_interval(np.ones((5, 2, 3, 3), dtype=np.int64), metrics.accuracy) is None
    assert "only 2 test speakers" in no_interval_reason(2)
    assert "only 1 test speaker," in no_interval_reason(1)
    assert no_interval_reason(3) == ""


@pytest.mark.parametrize("right", [1.0, 0.0])
def test_where_all_are_right_or_wrong_the_utterances_say_how_sure_that_is(right):
    """A jackknife alone would claim certainty after three speakers."""
    one = np.eye(3, dtype=np.int64) * 10 if right else np.roll(np.eye(3, dtype=np.int64) * 10, 1, axis=1)
    few = speaker_interval(np.tile(one, (1, 3, 1, 1)), metrics.accuracy)
    many = speaker_interval(np.tile(one, (1, 30, 1, 1)), metrics.accuracy)
    assert abs(right - (few.low if right else few.high)) == pytest.approx(0.17, abs=0.01)
    assert abs(right - (many.low if right else many.high)) < 0.01
    assert (few.high if right else few.low) == right


def test_equal_shares_have_the_usual_correction_and_unequal_ones_fewer_degrees_of_freedom():
    assert bootstrap_correction(np.full(6, 1 / 6)) == (pytest.approx(6 / 5), 5)
    nearly = np.full(6, 1 / 6) + 1e-9 * np.arange(-3, 3)
    assert bootstrap_correction(nearly) == (pytest.approx(6 / 5), pytest.approx(5))
    share = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    bias, degrees = bootstrap_correction(share)
    assert degrees < 3
    levels = np.random.default_rng(0).normal(size=(100_000, 6))  # the variance it claims is the true one
    residuals = levels - levels @ share[:, None]
    assert bias * np.mean((residuals * share) ** 2 @ np.ones(6)) == pytest.approx(share @ share, rel=0.02)


def test_students_t_is_scipys():
    assert t_quantile(2.5, 0.975) == pytest.approx(stats.t.ppf(0.975, 2.5))
    assert t_two_sided(-1.3, 2.5) == pytest.approx(2 * stats.t.sf(1.3, 2.5))


# Coverage. `python benchmarks/interval_coverage.py` has 1,000 trials for eleven numbers of speakers; here the
# seeds are fixed, and the bounds are four standard errors wide.


@pytest.fixture(scope="module")
def simulated(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(request.config.rootpath / "benchmarks"))
        coverage = importlib.import_module("interval_coverage")
        return {
            (world, speakers): coverage.simulate(world, speakers, ["ser_cache", "utterances"], 300)
            for world in ("acted", "talk")
            for speakers in (4, 24)
        }


@pytest.mark.parametrize("score", ["UA", "WA", "macro F1", "weighted F1"])
@pytest.mark.parametrize("speakers", [4, 24])
@pytest.mark.parametrize("world", ["acted", "talk"])
def test_intervals_cover_under_speaker_effects(simulated, world, speakers, score):
    assert 90 <= simulated[world, speakers]["ser_cache"].share(score) <= 99


@pytest.mark.parametrize("speakers", [4, 24])
@pytest.mark.parametrize("world", ["acted", "talk"])
def test_an_interval_over_utterances_covers_far_less(simulated, world, speakers):
    tallies = simulated[world, speakers]
    for score in ("UA", "WA", "macro F1", "weighted F1"):
        assert tallies["utterances"].share(score) < 70
        assert tallies["ser_cache"].mean_width(score) > 1.5 * tallies["utterances"].mean_width(score)
