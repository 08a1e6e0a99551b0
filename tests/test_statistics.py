"""Spread and intervals: against a plain jackknife with SciPy's t, and by simulated coverage."""

import numpy as np
import pytest
from scipy import stats

from ser_cache import metrics
from ser_cache.statistics import no_interval_reason, speaker_interval, spread


def test_spread_divides_by_n_minus_one():
    three = spread([0.5, 0.6, 0.7])
    assert (three.mean, three.std, three.count) == (pytest.approx(0.6), pytest.approx(0.1), 3)
    assert spread([0.5]).std is None
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_interval_of_accuracy_is_the_plain_jackknife():
    rng = np.random.default_rng(3)
    confusions = rng.integers(0, 6, size=(2, 7, 3, 3))

    def accuracy_without(left_out):
        kept = [s for s in range(7) if s != left_out]
        per_seed = []
        for seed in range(2):
            total = sum(confusions[seed, s] for s in kept)
            per_seed.append(np.trace(total) / total.sum())
        return sum(per_seed) / 2

    values = [accuracy_without(s) for s in range(7)]
    centre = accuracy_without(None)
    error = np.sqrt(6 / 7 * np.sum((np.array(values) - np.mean(values)) ** 2))
    interval = speaker_interval(confusions, metrics.accuracy)
    t = stats.t.ppf(0.975, 6)
    assert interval.low == pytest.approx(max(0, centre - t * error))
    assert interval.high == pytest.approx(min(1, centre + t * error))
    assert interval.speakers == 7


def test_under_three_speakers_there_is_no_interval_and_a_reason():
    assert speaker_interval(np.ones((5, 2, 3, 3), dtype=np.int64), metrics.accuracy) is None
    assert "only 2 test speakers" in no_interval_reason(2)
    assert "only 1 test speaker," in no_interval_reason(1)
    assert no_interval_reason(3) == ""


def test_equal_speakers_give_an_interval_of_no_width():
    interval = speaker_interval(np.tile(np.diag([3, 2]) + 1, (1, 5, 1, 1)), metrics.macro_f1)
    assert interval.low == pytest.approx(interval.high)


@pytest.mark.parametrize("speakers", [6, 24])
@pytest.mark.parametrize("statistic", [metrics.unweighted_average_recall, metrics.macro_f1])
def test_intervals_cover_under_speaker_effects(speakers, statistic):
    """Speakers differ in how well they are recognised; the truth is the score of very many speakers."""
    rng = np.random.default_rng(11)

    def draw(number):
        skill = rng.beta(4, 3, size=(number, 1))  # a speaker effect, shared by that speaker's classes
        right = rng.binomial(12, skill, size=(number, 3))
        confusion = np.zeros((number, 3, 3), dtype=np.int64)
        for c in range(3):
            confusion[:, c, c] = right[:, c]
            confusion[:, c, (c + 1) % 3] = 12 - right[:, c]
        return confusion

    true = statistic(draw(200_000).sum(axis=0))
    hits = 0
    for _ in range(600):
        interval = speaker_interval(draw(speakers)[None], statistic)
        hits += interval.low <= true <= interval.high
    assert 0.92 <= hits / 600 <= 0.975
